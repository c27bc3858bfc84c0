#pragma once

/// @file
/// The semidefinite programmes of system-level synthesis with finite responses.

#include <cstddef>
#include <utility>
#include <vector>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/index.hpp>
#include <metalqr/lqr/task.hpp>
#include <metalqr/synthesis/common_lyapunov_programme.hpp>
#include <metalqr/synthesis/sdp.hpp>

namespace metalqr::inline METALQR_ABI::synthesis::detail {

/// Responses of length L on the estimate, Phi_x(1) = I, Phi_x(k+1) = A Phi_x(k) + B Phi_u(k), Phi_x(L+1) = -V
/// with V = 0 unless there is slack. The unknowns are the blocks
///   M = [P H; H' D], where the rows of block k of H hold [e_A Phi_x(k+1)', e_B Phi_u(k+1)'], k = 0 ... L-1;
///   block
/// sums of P along its diagonals and D = blkdiag(a_1 I, a_2 I) are fixed, so that M >= 0 bounds the
/// H-infinity level (Dumitrescu, Positive Trigonometric Polynomials and Signal Processing Applications,
/// theorem 5.8);
///   [s I, V; V', s I], with slack only, in units of the level;
///   [1 c'; c W], for every k, with c = vec(T_u Phi_u(k) + T_x Phi_x(k)): the cost is a constant and sum
///   |c|^2.
template <MatrixBackend Backend>
class FirProgramme {
 public:
  /// @param task A and B; must outlive this.
  /// @param length L.
  /// @param level the unit of the radii, and of V.
  /// @param epsilon_A, epsilon_B positive radii.
  /// @param slack whether V may differ from zero.
  FirProgramme(const Task<Backend>& task, Index length, double level, double epsilon_A, double epsilon_B,
               bool slack)
      : task_(task),
        n_(task.nx()),
        p_(task.nu()),
        length_(length),
        level_(level),
        x_(epsilon_A / level),
        y_(epsilon_B / level),
        slack_(slack) {}

  /// min sum tr W with a_1 = alpha, a_2 = 1 - alpha; with slack, a_1 + a_2 + s = 1 and a_1 = alpha (a_1 +
  /// a_2).
  /// @param U T_u, q x n_u, for any q.
  /// @param T T_x, q x n_x.
  SdpProblem least_cost(const Shares& shares, const typename Backend::Matrix& U,
                        const typename Backend::Matrix& T) const {
    SdpProblem problem = responses(shares);
    std::vector<SdpEntry> level = level_entries();
    problem.constraints.push_back({std::move(level), 1});
    const Index q = Backend::rows(U);
    for (Index k = 0; k < length_; ++k) {
      const Index block = cost_block(k);
      problem.blocks.push_back(1 + q * n_);
      problem.constraints.push_back({{{block, 0, 0, 1}}, 1});
      for (Index j = 0; j < n_; ++j) {
        for (Index a = 0; a < q; ++a) {
          const Index place = 1 + a + q * j;
          problem.objective.push_back({block, place, place, -1});
          SdpConstraint tie{{{block, 0, place, -0.5}}, 0};
          for (Index l = 0; l < p_; ++l) add_input(k, l, j, Backend::to_double(U(a, l)), tie.entries);
          for (Index l = 0; l < n_; ++l) add_state(k, l, j, Backend::to_double(T(a, l)), tie.entries);
          problem.constraints.push_back(std::move(tie));
        }
      }
    }
    return problem;
  }

  /// min a_1 + a_2, the square of the level, or with slack min a_1 + a_2 + s, the level itself; a_1 = alpha
  /// (a_1 + a_2) unless alpha is free.
  SdpProblem least_level(const Shares& shares) const {
    SdpProblem problem = responses(shares);
    problem.objective = level_entries();
    for (SdpEntry& entry : problem.objective) entry.value = -entry.value;
    return problem;
  }

  /// Entry (a, j) of c of coefficient k (from 0), of q rows, in a solution of `least_cost`.
  double cost_root(const SdpSolution& solution, Index k, Index a, Index j, Index q) const {
    return solution.X[static_cast<std::size_t>(cost_block(k))](0, 1 + a + q * j);
  }
  /// Phi_x(k+1)(i, j).
  double state(const SdpSolution& solution, Index k, Index i, Index j) const {
    return solution.X.front()(n_ * k + j, n_ * length_ + i) / x_;
  }
  /// a_1 / (a_1 + a_2).
  double alpha(const SdpSolution& solution) const {
    const double first = solution.X.front()(length_ * n_, length_ * n_);
    return first / (first + solution.X.front()((length_ + 1) * n_, (length_ + 1) * n_));
  }

 private:
  Index cost_block(Index k) const { return k + (slack_ ? 2 : 1); }
  // a_1 + a_2, and s.
  std::vector<SdpEntry> level_entries() const {
    const Index first = length_ * n_;
    std::vector<SdpEntry> entries{{0, first, first, 1}, {0, first + n_, first + n_, 1}};
    if (slack_) entries.push_back({1, 0, 0, 1});
    return entries;
  }
  // Everything but the level and the cost.
  SdpProblem responses(const Shares& shares) const {
    SdpProblem problem;
    problem.blocks = {length_ * n_ + n_ + p_};
    if (slack_) add_slack(problem);
    for (Index shift = 0; shift < length_; ++shift) {
      for (Index i = 0; i < n_; ++i) {
        for (Index j = 0; j < (shift == 0 ? i + 1 : n_); ++j) {
          SdpConstraint sum;
          for (Index k = 0; k + shift < length_; ++k) {
            const bool diagonal = shift == 0 && i == j;
            sum.entries.push_back({0, n_ * k + i, n_ * (k + shift) + j, diagonal ? 1 : 0.5});
          }
          if (shift == 0 && i == j) {
            if (slack_) {
              const Index first = length_ * n_;
              sum.entries.push_back({0, first, first, -1});
              sum.entries.push_back({0, first + n_, first + n_, -1});
            } else {
              sum.right = 1;
            }
          }
          problem.constraints.push_back(std::move(sum));
        }
      }
    }
    const Index first = length_ * n_;
    for (Index i = 0; i < n_ + p_; ++i) {
      for (Index j = 0; j < i; ++j) problem.constraints.push_back({{{0, first + j, first + i, 0.5}}, 0});
    }
    for (Index i = 0; i < n_; ++i) {
      for (Index j = 0; j < n_; ++j) {
        problem.constraints.push_back({{{0, j, first + i, 0.5}}, i == j ? x_ : 0});
      }
    }
    for (Index k = 0; k < length_; ++k) {
      for (Index i = 0; i < n_; ++i) {
        for (Index j = 0; j < n_; ++j) {
          SdpConstraint step;
          for (Index l = 0; l < n_; ++l)
            add_state(k, l, j, Backend::to_double(task_.A()(i, l)), step.entries);
          for (Index l = 0; l < p_; ++l)
            add_input(k, l, j, Backend::to_double(task_.B()(i, l)), step.entries);
          if (k + 1 < length_) {
            add_state(k + 1, i, j, -1, step.entries);
          } else if (slack_) {
            step.entries.push_back({1, i, n_ + j, 0.5 * level_});
          }
          // A row of zeros reaches the end by itself.
          if (!step.entries.empty()) problem.constraints.push_back(std::move(step));
        }
      }
    }
    add_equal_diagonals(problem);
    if (!shares.free) {
      problem.constraints.push_back(
          {{{0, first, first, 1 - shares.alpha}, {0, first + n_, first + n_, -shares.alpha}}, 0});
    }
    return problem;
  }
  // The diagonal blocks of [s I, V; V', s I].
  void add_slack(SdpProblem& problem) const {
    problem.blocks.push_back(2 * n_);
    for (Index i = 1; i < 2 * n_; ++i) {
      problem.constraints.push_back({{{1, i, i, 1}, {1, 0, 0, -1}}, 0});
      for (Index j = i < n_ ? 0 : n_; j < i; ++j) problem.constraints.push_back({{{1, j, i, 0.5}}, 0});
    }
  }
  void add_equal_diagonals(SdpProblem& problem) const {
    const Index first = length_ * n_;
    for (Index i = 1; i < n_ + p_; ++i) {
      const Index head = first + (i < n_ ? 0 : n_);
      if (first + i != head) {
        problem.constraints.push_back({{{0, first + i, first + i, 1}, {0, head, head, -1}}, 0});
      }
    }
  }
  // weight Phi_x(k+1)(i, j).
  void add_state(Index k, Index i, Index j, double weight, std::vector<SdpEntry>& entries) const {
    if (weight != 0) entries.push_back({0, n_ * k + j, n_ * length_ + i, 0.5 * weight / x_});
  }
  // weight Phi_u(k+1)(i, j).
  void add_input(Index k, Index i, Index j, double weight, std::vector<SdpEntry>& entries) const {
    if (weight != 0) entries.push_back({0, n_ * k + j, n_ * (length_ + 1) + i, 0.5 * weight / y_});
  }

  const Task<Backend>& task_;
  Index n_;
  Index p_;
  Index length_;
  double level_;
  double x_;
  double y_;
  bool slack_;
};

}  // namespace metalqr::inline METALQR_ABI::synthesis::detail
