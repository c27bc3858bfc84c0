#pragma once

/// @file
/// The semidefinite programmes of common Lyapunov synthesis.

#include <utility>
#include <vector>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/index.hpp>
#include <metalqr/lqr/task.hpp>
#include <metalqr/synthesis/sdp.hpp>
#include <metalqr/synthesis/static_gain_programme.hpp>

namespace metalqr::inline METALQR_ABI::synthesis::detail {

/// How the level is split between the errors of A and of B.
struct Shares {
  bool free = true;    ///< alpha is unknown
  double alpha = 0.5;  ///< else its value
};

/// The unknowns y = (X, Z, W, shares) and the matrix inequalities in them, with u = K x, K = Z X^-1 (Dean et
/// al., 2020, eq. 5.5; W_11 = X and W_12 = Z' at its optimum are put in):
///   [X Z'; Z W] >= 0  and
///   [X - I        A X + B Z   0           0               ]
///   [(A X + B Z)' X           e_A X       e_B Z'          ]
///   [0            e_A X       a_1 I       0               ]
///   [0            e_B Z       0           a_2 I           ]  >= 0.
/// Rows of an e that is zero are left out.
template <MatrixBackend Backend>
class CommonLyapunovProgramme {
 public:
  /// @param task A and B, and the cost if there is one.
  /// @param x, y e_A and e_B, radii in units of the level.
  CommonLyapunovProgramme(const Task<Backend>& task, double x, double y)
      : task_(task), n_(task.nx()), p_(task.nu()), x_(x), y_(y) {}

  /// min <Q, X> + <R, W> over `cost_scale`, with a_1 = alpha, a_2 = 1 - alpha.
  SdpProblem least_cost(const Shares& shares, double cost_scale) const {
    SdpProblem problem;
    problem.blocks = {n_ + p_, order()};
    for (Index i = 0; i < n_; ++i) problem.objective.push_back({1, i, i, 1});
    add_gain_unknowns(
        task_, cost_scale, [this](Index i, Index j, auto& entries) { add_state_unknown(1, i, j, entries); },
        [this](Index i, Index j, auto& entries) { add_input_unknown(1, i, j, entries); }, problem);
    if (shares.free) {
      SdpConstraint& alpha = problem.constraints.emplace_back();
      add_shares(1, 1, -1, alpha.entries);
      add_shares(1, 0, -1, problem.objective);
    } else {
      add_shares(1, -shares.alpha, shares.alpha - 1, problem.objective);
    }
    return problem;
  }

  /// min a_1 + a_2 over the second inequality alone, with a_1 = alpha (a_1 + a_2) unless alpha is free.
  SdpProblem least_level(const Shares& shares) const {
    SdpProblem problem;
    problem.blocks = {order()};
    for (Index i = 0; i < n_; ++i) problem.objective.push_back({0, i, i, 1});
    for (Index j = 0; j < n_; ++j) {
      for (Index i = j; i < n_; ++i) {
        add_state_unknown(0, i, j, problem.constraints.emplace_back().entries);
      }
    }
    for (Index j = 0; j < n_; ++j) {
      for (Index i = 0; i < p_; ++i) {
        SdpConstraint unknown;
        add_input_unknown(0, i, j, unknown.entries);
        // An input that does nothing costs nothing here.
        if (!unknown.entries.empty()) problem.constraints.push_back(std::move(unknown));
      }
    }
    if (shares.free) {
      add_shares(0, 1, 0, problem.constraints.emplace_back().entries);
      problem.constraints.back().right = 1;
      add_shares(0, 0, 1, problem.constraints.emplace_back().entries);
      problem.constraints.back().right = 1;
    } else {
      add_shares(0, shares.alpha, 1 - shares.alpha, problem.constraints.emplace_back().entries);
      problem.constraints.back().right = 1;
    }
    return problem;
  }

  /// K = -Z X^-1, for u = -K x, from the unknowns of `least_cost`.
  typename Backend::Gain gain(const std::vector<double>& unknowns) const {
    return gain_of_unknowns<Backend>(unknowns, n_, p_);
  }

 private:
  Index rows_of_A() const { return x_ > 0 ? n_ : 0; }
  Index order() const { return 2 * n_ + rows_of_A() + (y_ > 0 ? p_ : 0); }

  // The coefficient of X_ij = X_ji, i >= j.
  void add_state_unknown(Index block, Index i, Index j, std::vector<SdpEntry>& entries) const {
    add_entry(block, j, i, 1, entries);
    add_entry(block, n_ + j, n_ + i, 1, entries);
    const auto add_product = [&](Index row, Index column) {
      for (Index k = 0; k < n_; ++k) {
        add_entry(block, k, n_ + column, Backend::to_double(task_.A()(k, row)), entries);
      }
      add_entry(block, n_ + row, 2 * n_ + column, x_, entries);
    };
    add_product(i, j);
    if (i != j) add_product(j, i);
  }
  // The coefficient of Z_ij.
  void add_input_unknown(Index block, Index i, Index j, std::vector<SdpEntry>& entries) const {
    for (Index k = 0; k < n_; ++k) add_entry(block, k, n_ + j, Backend::to_double(task_.B()(k, i)), entries);
    add_entry(block, n_ + j, 2 * n_ + rows_of_A() + i, y_, entries);
  }
  // first I and second I in the places of a_1 I and a_2 I.
  void add_shares(Index block, double first, double second, std::vector<SdpEntry>& entries) const {
    for (Index i = 2 * n_; i < order(); ++i) {
      add_entry(block, i, i, i < 2 * n_ + rows_of_A() ? first : second, entries);
    }
  }

  const Task<Backend>& task_;
  Index n_;
  Index p_;
  double x_;
  double y_;
};

}  // namespace metalqr::inline METALQR_ABI::synthesis::detail
