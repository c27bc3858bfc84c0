#pragma once

/// @file
/// The semidefinite programmes of ellipsoid synthesis.

#include <cmath>
#include <cstddef>
#include <vector>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/index.hpp>
#include <metalqr/lqr/task.hpp>
#include <metalqr/synthesis/sdp.hpp>
#include <metalqr/synthesis/static_gain_programme.hpp>

namespace metalqr::inline METALQR_ABI::synthesis::detail {

/// The lower triangular L with L L' = X, of a symmetric positive semidefinite matrix; columns whose pivot is
/// rounding are zero.
template <MatrixBackend Backend>
typename Backend::Matrix cholesky_factor(const typename Backend::Matrix& x) {
  using std::sqrt;
  using Scalar = typename Backend::Scalar;
  const Index n = Backend::rows(x);
  typename Backend::Matrix L = Backend::zero_matrix(n, n);
  const Scalar rounding = static_cast<Scalar>(static_cast<double>(4 * n)) * Backend::epsilon();
  for (Index j = 0; j < n; ++j) {
    for (Index i = j; i < n; ++i) {
      Scalar entry = x(i, j);
      for (Index k = 0; k < j; ++k) entry -= L(i, k) * L(j, k);
      if (i == j && !(entry > rounding * x(j, j))) break;
      L(i, j) = i == j ? Scalar(sqrt(entry)) : Scalar(entry / L(j, j));
    }
  }
  return L;
}

/// Whether sum y_i A_i - C, with `shift` times the size of its diagonal entries added to them, has a Cholesky
/// factorisation in every block: a check of y that does not use the solver.
inline bool is_dual_feasible(const SdpProblem& problem, const std::vector<double>& y, double shift) {
  for (std::size_t b = 0; b < problem.blocks.size(); ++b) {
    const Index n = problem.blocks[b];
    const auto at = [n](Index i, Index j) { return static_cast<std::size_t>(i * n + j); };
    std::vector<double> L(at(n, 0), 0.0);
    std::vector<double> sizes(static_cast<std::size_t>(n), 0.0);
    const auto add = [&](const std::vector<SdpEntry>& entries, double factor) {
      for (const SdpEntry& entry : entries) {
        if (entry.block != static_cast<Index>(b)) continue;
        L[at(entry.row, entry.column)] += factor * entry.value;
        if (entry.row != entry.column) {
          L[at(entry.column, entry.row)] += factor * entry.value;
        } else {
          sizes[static_cast<std::size_t>(entry.row)] += std::abs(factor * entry.value);
        }
      }
    };
    add(problem.objective, -1);
    for (std::size_t i = 0; i < problem.constraints.size(); ++i) add(problem.constraints[i].entries, y[i]);
    for (Index j = 0; j < n; ++j) {
      for (Index i = j; i < n; ++i) {
        double entry = L[at(i, j)];
        for (Index k = 0; k < j; ++k) entry -= L[at(i, k)] * L[at(j, k)];
        if (i == j) {
          entry += shift * sizes[static_cast<std::size_t>(i)];
          if (!(entry > 0)) return false;
        }
        L[at(i, j)] = i == j ? std::sqrt(entry) : entry / L[at(j, j)];
      }
    }
  }
  return true;
}

/// The unknowns y = (W, Z, M, t) and the matrix inequalities in them, with u = K x, K = Z'W^-1 and E E' the
/// inverse of the ellipsoid's matrix (Umenberger, Ferizbegovic, Schon and Hjalmarsson, "Robust exploration in
/// linear quadratic reinforcement learning", NeurIPS 2019, the matrix S-lemma; blocks with constants
/// eliminated, the ellipsoid brought to a ball):
///   [W Z; Z' M] >= 0  and
///   [W           W A' + Z B'    [W Z] E ]
///   [A W + B Z'  W - t I - N    0       ]
///   [E'[W; Z']   0              t I     ]  >= 0,  N the noise covariance.
template <MatrixBackend Backend>
class EllipsoidProgramme {
 public:
  using Matrix = typename Backend::Matrix;  ///< of any size

  /// @param task A, B, the cost and the noise; must outlive this.
  /// @param E (n_x + n_u) x (n_x + n_u), maps a ball to the ellipsoid.
  EllipsoidProgramme(const Task<Backend>& task, const Matrix& E)
      : task_(task), E_(E), n_(task.nx()), p_(task.nu()) {}

  /// min <Q, W> + <R, M> over `cost_scale`, with the noise covariance Sigma0 over `noise_scale`, or I where
  /// that is zero: without noise W tends to zero, and with it the gain is lost.
  SdpProblem least_cost(double cost_scale, double noise_scale) const {
    SdpProblem problem;
    problem.blocks = {n_ + p_, 3 * n_ + p_};
    for (Index j = 0; j < n_; ++j) {
      for (Index i = j; i < n_; ++i) {
        const double noise =
            noise_scale > 0 ? Backend::to_double(task_.Sigma0()(j, i)) / noise_scale : (i == j ? 1 : 0);
        add_entry(1, n_ + j, n_ + i, noise, problem.objective);
      }
    }
    add_gain_unknowns(
        task_, cost_scale, [this](Index i, Index j, auto& entries) { add_state_unknown(1, i, j, entries); },
        [this](Index i, Index j, auto& entries) { add_input_unknown(1, i, j, entries); }, problem);
    SdpConstraint& multiplier = problem.constraints.emplace_back();
    for (Index i = 0; i < n_; ++i) multiplier.entries.push_back({1, n_ + i, n_ + i, -1});
    for (Index i = 0; i < n_ + p_; ++i) multiplier.entries.push_back({1, 2 * n_ + i, 2 * n_ + i, 1});
    return problem;
  }

  /// The least g^2 for which the ellipsoid times 1/g has a solution: the second inequality with t = 1 in its
  /// second row, g^2 in its third, and no noise, whose size does not matter for existence.
  SdpProblem least_level() const {
    SdpProblem problem;
    problem.blocks = {3 * n_ + p_};
    for (Index i = 0; i < n_; ++i) problem.objective.push_back({0, n_ + i, n_ + i, 1});
    for (Index j = 0; j < n_; ++j) {
      for (Index i = j; i < n_; ++i) add_state_unknown(0, i, j, problem.constraints.emplace_back().entries);
    }
    for (Index j = 0; j < n_; ++j) {
      for (Index i = 0; i < p_; ++i) add_input_unknown(0, i, j, problem.constraints.emplace_back().entries);
    }
    SdpConstraint& level = problem.constraints.emplace_back();
    for (Index i = 0; i < n_ + p_; ++i) level.entries.push_back({0, 2 * n_ + i, 2 * n_ + i, 1});
    level.right = 1;
    return problem;
  }

  /// K = -Z'W^-1, for u = -K x, from the unknowns of `least_cost`.
  typename Backend::Gain gain(const std::vector<double>& unknowns) const {
    return gain_of_unknowns<Backend>(unknowns, n_, p_);
  }

 private:
  // Row `row` of [W Z] E where W or Z has a one in the given column of [W Z].
  void add_radius(Index block, Index row, Index column, std::vector<SdpEntry>& entries) const {
    for (Index k = 0; k < n_ + p_; ++k) {
      add_entry(block, row, 2 * n_ + k, Backend::to_double(E_(column, k)), entries);
    }
  }
  // The coefficient of W_ij = W_ji, i >= j.
  void add_state_unknown(Index block, Index i, Index j, std::vector<SdpEntry>& entries) const {
    add_entry(block, j, i, 1, entries);
    add_entry(block, n_ + j, n_ + i, 1, entries);
    const auto add_row = [&](Index row, Index column) {
      for (Index k = 0; k < n_; ++k)
        add_entry(block, row, n_ + k, Backend::to_double(task_.A()(k, column)), entries);
      add_radius(block, row, column, entries);
    };
    add_row(i, j);
    if (i != j) add_row(j, i);
  }
  // The coefficient of Z'_ij.
  void add_input_unknown(Index block, Index i, Index j, std::vector<SdpEntry>& entries) const {
    for (Index k = 0; k < n_; ++k) add_entry(block, j, n_ + k, Backend::to_double(task_.B()(k, i)), entries);
    add_radius(block, j, n_ + i, entries);
  }

  const Task<Backend>& task_;
  Matrix E_;
  Index n_;
  Index p_;
};

}  // namespace metalqr::inline METALQR_ABI::synthesis::detail
