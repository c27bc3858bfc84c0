#pragma once

/// @file
/// The optimal gain and cost of a task.

#include <metalqr/equations/riccati.hpp>
#include <metalqr/lqr/task.hpp>

namespace metalqr::inline METALQR_ABI {

/// The optimal gain K* (n_u x n_x) and value matrix P* (n_x x n_x) of a task, from its Riccati equation.
/// @throws NotStabilizable, NoConvergence, InvalidOption; see the overload that takes matrices.
template <MatrixBackend Backend>
RiccatiSolution<Backend> solve_dare(const Task<Backend>& task, const RiccatiOptions& options = {}) {
  return solve_dare<Backend>(task.A(), task.B(), task.Q(), task.R(), options);
}

/// J* = tr(P* Sigma0), the least cost of a task.
/// @throws NotStabilizable, NoConvergence, InvalidOption.
template <MatrixBackend Backend>
typename Backend::Scalar optimal_cost(const Task<Backend>& task, const RiccatiOptions& options = {}) {
  return Backend::inner(solve_dare(task, options).value, task.Sigma0());
}

}  // namespace metalqr::inline METALQR_ABI
