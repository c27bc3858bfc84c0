#pragma once

/// @file
/// How far a run was from the optimum of a known task.

#include <vector>

#include <metalqr/lqr/evaluation.hpp>
#include <metalqr/lqr/optimal_gain.hpp>
#include <metalqr/meta/state.hpp>

namespace metalqr::inline METALQR_ABI::meta {

/// J(K_n) - J* of `task` for each record of a run, n = 1, 2, ...; +infinity where K_n does not stabilise the
/// task. The task's Sigma0 may differ from that of the training.
/// @throws what `optimal_cost` throws.
template <MatrixBackend Backend>
std::vector<typename Backend::Scalar> gaps(const Task<Backend>& task,
                                           const std::vector<Record<Backend>>& history) {
  const typename Backend::Scalar best = optimal_cost(task);
  std::vector<typename Backend::Scalar> result;
  result.reserve(history.size());
  for (const Record<Backend>& record : history) result.push_back(cost(task, record.gain) - best);
  return result;
}

}  // namespace metalqr::inline METALQR_ABI::meta
