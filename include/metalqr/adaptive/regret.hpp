#pragma once

/// @file
/// What learning costs.

#include <limits>

#include <metalqr/core/backend.hpp>
#include <metalqr/lqr/optimal_gain.hpp>
#include <metalqr/lqr/task.hpp>

namespace metalqr::inline METALQR_ABI::adaptive {

/// The regret: sum over t of cost_t - J*, with cost_t = x'Qx + u'Ru as it was paid, exploration included, and
/// J* the least long-run average cost of the plant. Of the optimal gain from x_0 = 0 its mean is -E[x_T'P
/// x_T], while its spread grows as sqrt(T).
struct Regret {
  double optimal_cost = 0;  ///< J*
  double value = 0;         ///< so far; +infinity once the state has overflowed

  /// Adds the cost of a step, and returns the sum.
  double add(double cost) { return value += cost - optimal_cost; }
  /// The cost of what follows has no bound.
  void overflow() { value = std::numeric_limits<double>::infinity(); }
};

/// No regret yet on a plant whose noise has the covariance Sigma0: J* = tr(P Sigma0).
/// @throws NotStabilizable, NoConvergence.
template <MatrixBackend Backend>
Regret no_regret(const Task<Backend>& plant) {
  return {.optimal_cost = Backend::to_double(metalqr::optimal_cost(plant))};
}

namespace detail {

/// x'Qx + u'Ru.
template <MatrixBackend Backend>
double step_cost(const Task<Backend>& plant, const typename Backend::StateVector& x,
                 const typename Backend::ControlVector& u) {
  const typename Backend::StateVector Qx = Backend::product(plant.Q(), x);
  const typename Backend::ControlVector Ru = Backend::product(plant.R(), u);
  return Backend::to_double(Backend::inner(x, Qx) + Backend::inner(u, Ru));
}

}  // namespace detail
}  // namespace metalqr::inline METALQR_ABI::adaptive
