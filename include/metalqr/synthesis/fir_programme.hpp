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

/// Responses of length L on the estimate, Phi_x(1) = I, Phi_x(k+1) = A Phi_x(k) + B Phi_u(k), Phi_x(L+1) = 0.
/// The unknowns are the blocks
///   M = [P H; H' D], where the rows of block k of H hold [e_A Phi_x(k+1)', e_B Phi_u(k+1)'], k = 0 ... L-1;
///   block
/// sums of P along its diagonals and D = blkdiag(a_1 I, a_2 I) are fixed, so that M >= 0 bounds the
/// H-infinity level (Dumitrescu, Positive Trigonometric Polynomials and Signal Processing Applications,
/// theorem 5.8);
///   [1 e'; e W], for every k, with e = vec(S (Phi_u(k) - K Phi_x(k))) for the optimal K of u = K x and S'S =
///   R +
/// B'PB: completing squares, the cost is tr P + sum |e|^2.
template <MatrixBackend Backend>
class FirProgramme {
 public:
  /// @param task A and B; must outlive this.
  /// @param length L.
  /// @param x, y e_A and e_B, positive radii in units of the level.
  FirProgramme(const Task<Backend>& task, Index length, double x, double y)
      : task_(task), n_(task.nx()), p_(task.nu()), length_(length), x_(x), y_(y) {}

  /// min sum tr W with a_1 = alpha, a_2 = 1 - alpha.
  /// @param S n_u x n_u.
  /// @param SK n_u x n_x, S K.
  SdpProblem least_cost(const Shares& shares, const typename Backend::ControlMatrix& S,
                        const typename Backend::Gain& SK) const {
    SdpProblem problem = responses();
    const Index first = length_ * n_;
    // D.
    add_equal_diagonals(problem);
    if (shares.free) {
      problem.constraints.push_back({{{0, first, first, 1}, {0, first + n_, first + n_, 1}}, 1});
    } else {
      problem.constraints.push_back({{{0, first, first, 1}}, shares.alpha});
      problem.constraints.push_back({{{0, first + n_, first + n_, 1}}, 1 - shares.alpha});
    }
    // The cost.
    for (Index k = 0; k < length_; ++k) {
      problem.blocks.push_back(1 + p_ * n_);
      problem.constraints.push_back({{{k + 1, 0, 0, 1}}, 1});
      for (Index j = 0; j < n_; ++j) {
        for (Index a = 0; a < p_; ++a) {
          const Index place = 1 + a + p_ * j;
          problem.objective.push_back({k + 1, place, place, -1});
          SdpConstraint tie{{{k + 1, 0, place, -0.5}}, 0};
          for (Index l = 0; l < p_; ++l) add_input(k, l, j, Backend::to_double(S(a, l)), tie.entries);
          for (Index l = 0; l < n_; ++l) add_state(k, l, j, -Backend::to_double(SK(a, l)), tie.entries);
          problem.constraints.push_back(std::move(tie));
        }
      }
    }
    return problem;
  }

  /// min a_1 + a_2, with a_1 = alpha (a_1 + a_2) unless alpha is free.
  SdpProblem least_level(const Shares& shares) const {
    SdpProblem problem = responses();
    const Index first = length_ * n_;
    add_equal_diagonals(problem);
    if (!shares.free) {
      problem.constraints.push_back(
          {{{0, first, first, 1 - shares.alpha}, {0, first + n_, first + n_, -shares.alpha}}, 0});
    }
    problem.objective = {{0, first, first, -1}, {0, first + n_, first + n_, -1}};
    return problem;
  }

  /// Entry (a, j) of e of coefficient k (from 0), in a solution of `least_cost`.
  double deviation(const SdpSolution& solution, Index k, Index a, Index j) const {
    return solution.X[static_cast<std::size_t>(k) + 1](0, 1 + a + p_ * j);
  }
  /// a_1.
  double alpha(const SdpSolution& solution) const { return solution.X.front()(length_ * n_, length_ * n_); }

 private:
  // M >= 0 without the sizes of D.
  SdpProblem responses() const {
    SdpProblem problem;
    problem.blocks = {length_ * n_ + n_ + p_};
    for (Index shift = 0; shift < length_; ++shift) {
      for (Index i = 0; i < n_; ++i) {
        for (Index j = 0; j < (shift == 0 ? i + 1 : n_); ++j) {
          SdpConstraint sum;
          for (Index k = 0; k + shift < length_; ++k) {
            const bool diagonal = shift == 0 && i == j;
            sum.entries.push_back({0, n_ * k + i, n_ * (k + shift) + j, diagonal ? 1 : 0.5});
          }
          sum.right = shift == 0 && i == j ? 1 : 0;
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
          if (k + 1 < length_) add_state(k + 1, i, j, -1, step.entries);
          // A row of zeros reaches the end by itself.
          if (!step.entries.empty()) problem.constraints.push_back(std::move(step));
        }
      }
    }
    return problem;
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
  double x_;
  double y_;
};

}  // namespace metalqr::inline METALQR_ABI::synthesis::detail
