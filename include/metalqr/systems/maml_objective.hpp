#pragma once

/// @file
/// The MAML objective of a fleet and its exact gradient.

#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <type_traits>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/check.hpp>
#include <metalqr/core/error.hpp>
#include <metalqr/lqr/evaluation.hpp>
#include <metalqr/lqr/task_list.hpp>

namespace metalqr::inline METALQR_ABI::systems {

namespace detail {

template <MatrixBackend Backend>
void require_maml_arguments(const Task<Backend>& task, double eta_l, const typename Backend::Gain& K) {
  metalqr::detail::require_option(eta_l > 0 && std::isfinite(eta_l), "eta_l", eta_l, "a positive step size");
  metalqr::detail::require_shape<Backend>(K, task.nu(), task.nx(), "K");
  metalqr::detail::require_finite<Backend>(K, "K");
}

/// What `maml_gradient` adds up for one task.
template <MatrixBackend Backend>
typename Backend::Gain maml_task_gradient(const Task<Backend>& task, double eta_l,
                                          const typename Backend::Gain& K) {
  using Scalar = typename Backend::Scalar;
  using Gain = typename Backend::Gain;
  const Evaluation<Backend> at(task, K);
  const Evaluation<Backend> at_inner(task, Gain(K - static_cast<Scalar>(eta_l) * at.gradient()));
  const Gain& G = at_inner.gradient();
  return G - static_cast<Scalar>(eta_l) * at.hessian(G);
}

}  // namespace detail

/// J_ML(K) = (1/M) sum_i J_i(K - eta_l grad J_i(K)), the average cost after one exact inner step (Toso et
/// al., L4DC 2024, eq. 3); +infinity where K or an inner point is not proved stabilising; never NaN.
/// @param eta_l inner step size, > 0.
/// @throws InvalidOption (eta_l, empty list), DimensionMismatch, NotFinite (K).
template <TaskList Tasks>
ScalarOf<Tasks> maml_cost(const Tasks& tasks, double eta_l, const std::type_identity_t<GainOf<Tasks>>& K) {
  using Scalar = ScalarOf<Tasks>;
  const auto fleet = checked_fleet(tasks);
  detail::require_maml_arguments(fleet[0], eta_l, K);
  Scalar sum(0);
  for (const auto& task : fleet) {
    if (!is_stabilizing(task, K)) return std::numeric_limits<Scalar>::infinity();
    const Evaluation<BackendOf<Tasks>> at(task, K);
    // An inner point with overflowing entries costs +infinity as well.
    sum += cost(task, GainOf<Tasks>(K - static_cast<Scalar>(eta_l) * at.gradient()));
  }
  return sum / static_cast<Scalar>(static_cast<double>(fleet.size()));
}

/// The exact gradient of `maml_cost`: (1/M) sum_i (I - eta_l H_i(K)) [grad J_i(K - eta_l grad J_i(K))], H_i
/// the exact Hessian as an operator on n_u x n_x matrices. Per task two evaluations and one application of
/// the Hessian.
/// @throws NotStabilizing if K or an inner point is not proved stabilising; InvalidOption (eta_l, empty
/// list), DimensionMismatch, NotFinite (K).
template <TaskList Tasks>
GainOf<Tasks> maml_gradient(const Tasks& tasks, double eta_l, const std::type_identity_t<GainOf<Tasks>>& K) {
  using Backend = BackendOf<Tasks>;
  using Scalar = ScalarOf<Tasks>;
  using Gain = GainOf<Tasks>;
  const auto fleet = checked_fleet(tasks);
  detail::require_maml_arguments(fleet[0], eta_l, K);
  Gain sum = Backend::zero_like(K);
  for (std::size_t i = 0; i < fleet.size(); ++i) {
    try {
      sum += detail::maml_task_gradient(fleet[i], eta_l, K);
    } catch (const NotStabilizing& error) {
      throw NotStabilizing("K, or its inner point, in task " + std::to_string(i) + ": " + error.what(),
                           error.spectral_radius());
    }
  }
  return sum / static_cast<Scalar>(static_cast<double>(fleet.size()));
}

}  // namespace metalqr::inline METALQR_ABI::systems
