#pragma once

/// @file
/// What an experiment on a known plant will show: for planning, before there are data.

#include <algorithm>
#include <cmath>
#include <limits>

#include <metalqr/core/check.hpp>
#include <metalqr/identification/confidence.hpp>
#include <metalqr/identification/experiment.hpp>
#include <metalqr/lqr/task.hpp>

namespace metalqr::inline METALQR_ABI::identification {

/// Which constants `planning_bound` takes.
enum class Constants {
  published,  ///< those of the paper: four events with delta/4 each
  sharp       ///< the bounds of A and B share their events: log(18/delta), N >= 8 (n+p) + 16 log(2/delta)
};

/// How `planning_bound` works.
struct PlanningOptions {
  double delta = 0.05;                         ///< probability that the bound fails, in (0, 1)
  Constants constants = Constants::published;  ///< constants of the bound
};

/// @throws InvalidOption, which names the field.
inline void validate(const PlanningOptions& options) {
  detail::require_delta(options.delta);
}

/// What `planning_bound` says.
struct PlanningBound {
  double epsilon_A = 0;       ///< bound of |A_hat - A|_2; +infinity for fewer than `least_rollouts`
  double epsilon_B = 0;       ///< bound of |B_hat - B|_2; likewise
  double excitability = 0;    ///< smallest eigenvalue of the covariance of the regressors' states
  double least_rollouts = 0;  ///< the bound holds from so many rollouts on
};

namespace detail {

/// Smallest eigenvalue of sigma_u^2 G G' + sigma_w^2 F F' with G = [A^(h-1) B ... B], F = [A^(h-1) ... I]: of
/// the covariance of x_h from x_0 = 0. Infinity if the powers of A overflow.
template <FactoringBackend Backend>
double excitability(const Task<Backend>& plant, Index steps, double excitation, double noise) {
  using Scalar = typename Backend::Scalar;
  const Index nx = plant.nx();
  const Index nu = plant.nu();
  typename Backend::Matrix stacked = Backend::zero_matrix(steps * (nx + nu), nx);
  typename Backend::StateMatrix power = Backend::identity_like(plant.A());
  for (Index k = 0; k < steps; ++k) {
    const typename Backend::InputMatrix push = Backend::product(power, plant.B());
    for (Index i = 0; i < nx; ++i) {
      for (Index j = 0; j < nu; ++j)
        stacked(k * (nx + nu) + j, i) = static_cast<Scalar>(excitation) * push(i, j);
      for (Index j = 0; j < nx; ++j)
        stacked(k * (nx + nu) + nu + j, i) = static_cast<Scalar>(noise) * power(i, j);
    }
    power = Backend::product(power, plant.A());
  }
  if (!Backend::is_finite(stacked)) return std::numeric_limits<double>::infinity();
  const auto values = Backend::singular_values(stacked);
  // What is within rounding of zero is not seen, but for the noise of the last step.
  const double rounding =
      static_cast<double>(Backend::rows(stacked)) * Backend::to_double(Backend::epsilon() * values.front());
  const double smallest = Backend::to_double(values.back());
  return std::max(smallest > rounding ? smallest * smallest : 0, noise * noise);
}

}  // namespace detail

/// The a-priori bound for least squares on the last samples of an experiment (`collect` from x0 = 0 without
/// feedback): with probability at least 1 - delta, with h = T - 1 and d = n + p + max(n, p),
/// epsilon_A = 16 sigma_w / sqrt(lambda) sqrt(d log(36/delta)/N), epsilon_B with sigma_u for sqrt(lambda),
/// lambda the `excitability` after h steps; for N >= 8 (n+p) + 16 log(4/delta). Dean, Mania, Matni, Recht,
/// Tu, arXiv 1710.01688, proposition 1.1, with a d that its proof gives for any n and p. It is tens of times
/// the true error, and it takes on trust that the plant is the true one: for planning only.
/// @throws InvalidOption for bad options, a horizon below 2 or an excitation of zero; NotFinite if the powers
/// of A overflow.
template <FactoringBackend Backend>
PlanningBound planning_bound(const Task<Backend>& plant, const ExperimentOptions& experiment = {},
                             const PlanningOptions& options = {}) {
  using metalqr::detail::require_option;
  validate(experiment);
  validate(options);
  require_option(experiment.horizon >= 2, "horizon", static_cast<double>(experiment.horizon),
                 "at least 2, for the state to be excited");
  require_option(experiment.excitation > 0, "excitation", experiment.excitation, "a positive number");
  const double n = static_cast<double>(plant.nx());
  const double p = static_cast<double>(plant.nu());
  const double rollouts = static_cast<double>(experiment.rollouts);
  const bool sharp = options.constants == Constants::sharp;
  PlanningBound bound;
  bound.excitability =
      detail::excitability(plant, experiment.horizon - 1, experiment.excitation, experiment.noise);
  if (!std::isfinite(bound.excitability)) {
    throw NotFinite("horizon: expected powers of A that are finite, got an overflow within " +
                    std::to_string(experiment.horizon) + " steps");
  }
  bound.least_rollouts = 8 * (n + p) + 16 * std::log((sharp ? 2 : 4) / options.delta);
  if (rollouts < bound.least_rollouts) {
    bound.epsilon_A = bound.epsilon_B = std::numeric_limits<double>::infinity();
    return bound;
  }
  const double common =
      16 * experiment.noise *
      std::sqrt((n + p + std::max(n, p)) * std::log((sharp ? 18 : 36) / options.delta) / rollouts);
  // Without noise, a state that the inputs do not reach in time is never seen.
  bound.epsilon_A = bound.excitability > 0 ? common / std::sqrt(bound.excitability)
                                           : std::numeric_limits<double>::infinity();
  bound.epsilon_B = common / experiment.excitation;
  return bound;
}

/// The least number of rollouts for which `planning_bound` promises both errors; `experiment.rollouts` plays
/// no role. Not a whole number of any type: it can be beyond all of them.
/// @param epsilon_A, epsilon_B positive; +infinity if it does not matter.
/// @throws InvalidOption, and what `planning_bound` throws.
template <FactoringBackend Backend>
double rollouts_for(const Task<Backend>& plant, double epsilon_A, double epsilon_B,
                    ExperimentOptions experiment = {}, const PlanningOptions& options = {}) {
  metalqr::detail::require_option(epsilon_A > 0, "epsilon_A", epsilon_A, "a positive number");
  metalqr::detail::require_option(epsilon_B > 0, "epsilon_B", epsilon_B, "a positive number");
  // At any number from which the bound holds, the errors fall as its root.
  experiment.rollouts = Index{1} << 40;
  const PlanningBound bound = planning_bound(plant, experiment, options);
  const auto excess = [](double got, double wanted) { return std::isfinite(wanted) ? got / wanted : 0; };
  const double ratio = std::max(excess(bound.epsilon_A, epsilon_A), excess(bound.epsilon_B, epsilon_B));
  return std::ceil(std::max(bound.least_rollouts, static_cast<double>(experiment.rollouts) * ratio * ratio));
}

}  // namespace metalqr::inline METALQR_ABI::identification
