#pragma once

/// @file
/// What the semidefinite programmes of static gains share.

#include <cstddef>
#include <vector>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/index.hpp>
#include <metalqr/lqr/task.hpp>
#include <metalqr/synthesis/sdp.hpp>

namespace metalqr::inline METALQR_ABI::synthesis::detail {

/// An entry unless it is zero.
inline void add_entry(Index block, Index row, Index column, double value, std::vector<SdpEntry>& entries) {
  if (value != 0) entries.push_back({block, row, column, value});
}

/// Adds the unknowns X, Z, W with u = K x, K = Z X^-1, the inequality [X Z'; Z W] >= 0 in block 0, and the
/// objective min <Q, X> + <R, W> over `cost_scale`. X and W are given by their lower triangles, Z by columns.
/// @param add_state, add_input (i, j, entries) add the coefficients of X_ij = X_ji, i >= j, and of Z_ij in
/// other blocks.
template <MatrixBackend Backend, class AddState, class AddInput>
void add_gain_unknowns(const Task<Backend>& task, double cost_scale, const AddState& add_state,
                       const AddInput& add_input, SdpProblem& problem) {
  const Index n = task.nx();
  const Index p = task.nu();
  const auto weight = [cost_scale](const auto& cost, Index i, Index j) {
    return (i == j ? 1 : 2) * Backend::to_double(cost(i, j)) / cost_scale;
  };
  for (Index j = 0; j < n; ++j) {
    for (Index i = j; i < n; ++i) {
      SdpConstraint& unknown = problem.constraints.emplace_back();
      unknown.entries.push_back({0, j, i, 1});
      add_state(i, j, unknown.entries);
      unknown.right = weight(task.Q(), i, j);
    }
  }
  for (Index j = 0; j < n; ++j) {
    for (Index i = 0; i < p; ++i) {
      SdpConstraint& unknown = problem.constraints.emplace_back();
      unknown.entries.push_back({0, j, n + i, 1});
      add_input(i, j, unknown.entries);
    }
  }
  for (Index j = 0; j < p; ++j) {
    for (Index i = j; i < p; ++i) {
      problem.constraints.push_back({{{0, n + j, n + i, 1}}, weight(task.R(), i, j)});
    }
  }
}

/// K = -Z X^-1, for u = -K x, from the unknowns of `add_gain_unknowns`.
template <MatrixBackend Backend>
typename Backend::Gain gain_of_unknowns(const std::vector<double>& unknowns, Index n, Index p) {
  using Scalar = typename Backend::Scalar;
  typename Backend::StateMatrix X = Backend::zero_state_matrix(n);
  typename Backend::InputMatrix Z = Backend::zero_input_matrix(n, p);
  std::size_t k = 0;
  for (Index j = 0; j < n; ++j) {
    for (Index i = j; i < n; ++i) X(i, j) = X(j, i) = static_cast<Scalar>(unknowns[k++]);
  }
  for (Index j = 0; j < n; ++j) {
    for (Index i = 0; i < p; ++i) Z(j, i) = static_cast<Scalar>(-unknowns[k++]);
  }
  return Backend::transpose(Backend::solve(X, Z));
}

}  // namespace metalqr::inline METALQR_ABI::synthesis::detail
