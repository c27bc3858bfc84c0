#pragma once

/// @file
/// Optimism in the face of uncertainty: the plant of a confidence set that would be cheapest to control.

#include <cmath>
#include <optional>

#include <metalqr/adaptive/plant_set.hpp>
#include <metalqr/adaptive/strategy.hpp>
#include <metalqr/core/status.hpp>
#include <metalqr/equations/lyapunov.hpp>
#include <metalqr/lqr/evaluation.hpp>
#include <metalqr/lqr/optimal_gain.hpp>

namespace metalqr::inline METALQR_ABI::adaptive {

/// How the cheapest plant is searched for. The defaults are the published setting (Dean et al., NeurIPS
/// 2018).
struct OptimismOptions {
  double step = 0.01;        ///< of the projected gradient, positive
  int max_iterations = 100;  ///< cap on the gradients, >= 0
  double tolerance = 1e-6;   ///< ends when the cost changes by less than this times itself, >= 0
};

/// @throws InvalidOption, which names the field.
inline void validate(const OptimismOptions& options) {
  using metalqr::detail::require_option;
  require_option(options.step > 0 && std::isfinite(options.step), "step", options.step,
                 "a finite positive number");
  require_option(options.max_iterations >= 0, "max_iterations", options.max_iterations, "a number >= 0");
  require_option(options.tolerance >= 0 && std::isfinite(options.tolerance), "tolerance", options.tolerance,
                 "a finite number >= 0");
}

/// The derivative of the least cost tr(P Sigma0) of a plant.
template <MatrixBackend Backend>
struct PlantGradient {
  typename Backend::StateMatrix A;  ///< by A, n_x x n_x
  typename Backend::InputMatrix B;  ///< by B, n_x x n_u
};

/// The derivative of J* = tr(P Sigma0) by the plant's matrices: [A B] -> 2 P L Sigma [I, -K'] with L = A - B
/// K at the optimal gain K and Sigma = Sigma0 + L Sigma L'. One Lyapunov equation: since K is optimal, its
/// own change has no effect to first order, and the rest is the derivative of tr(P Sigma0) with P = Q + K'RK
/// + L'PL by L.
/// @param optimal `solve_dare(plant)`.
/// @throws DimensionMismatch; NotStabilizing unless the gain stabilises the plant.
template <MatrixBackend Backend>
PlantGradient<Backend> optimal_cost_gradient(const Task<Backend>& plant,
                                             const RiccatiSolution<Backend>& optimal) {
  using StateMatrix = typename Backend::StateMatrix;
  using Scalar = typename Backend::Scalar;
  const DiscreteLyapunov<Backend> loop(closed_loop(plant, optimal.gain));
  const StateMatrix Sigma = loop.solve_adjoint(plant.Sigma0());
  const StateMatrix PL = Backend::product(optimal.value, loop.F());
  const StateMatrix by_A = Scalar(2) * Backend::product(PL, Sigma);
  const typename Backend::InputMatrix push = Backend::product(by_A, Backend::transpose(optimal.gain));
  return {by_A, Scalar(-1) * push};
}

/// A plant of a confidence set that is cheap to control.
template <MatrixBackend Backend>
struct OptimisticPlant {
  Task<Backend> plant;                ///< A, B of the set, with the cost
  RiccatiSolution<Backend> optimal;   ///< its optimal gain and value
  double cost = 0;                    ///< J* = tr(P Sigma0) of it
  int iterations = 0;                 ///< gradients
  Status status = Status::converged;  ///< converged, iteration_limit, or stalled where no step lowers J*
};

namespace detail {

/// A plant with its optimal gain, or nothing if there is none.
template <FactoringBackend Backend>
std::optional<OptimisticPlant<Backend>> controlled(const Task<Backend>& plant) {
  try {
    OptimisticPlant<Backend> result{.plant = plant, .optimal = solve_dare(plant)};
    result.cost = Backend::to_double(Backend::inner(result.optimal.value, plant.Sigma0()));
    return result;
  } catch (const NotStabilizable&) {
    return std::nullopt;
  } catch (const NoConvergence&) {
    return std::nullopt;
  }
}

}  // namespace detail

/// A plant of the set of `draw_plant` with a low J*, by projected gradient from the centre: J* is not convex
/// in the plant, so that it is a local optimum. A step that does not lower J* is halved, which the published
/// method does not do. Each iteration costs a Riccati and a Lyapunov equation.
/// @param estimate the centre of the set, with the cost.
/// @throws NotStabilizable, NotStabilizing, NoConvergence for the centre; DimensionMismatch, NotFinite,
/// InvalidOption.
template <FactoringBackend Backend>
OptimisticPlant<Backend> optimistic_plant(const Task<Backend>& estimate,
                                          const identification::Ellipsoid<Backend>& set,
                                          const OptimismOptions& options = {}) {
  using Scalar = typename Backend::Scalar;
  validate(options);
  detail::require_set(set, estimate.nx(), estimate.nu());
  const Task<Backend> centre(set.A, set.B, estimate.Q(), estimate.R(), estimate.Sigma0());
  OptimisticPlant<Backend> best{.plant = centre, .optimal = solve_dare(centre)};
  best.cost = Backend::to_double(Backend::inner(best.optimal.value, centre.Sigma0()));
  best.status = Status::iteration_limit;
  double step = options.step;
  const double smallest = options.step * 0x1p-30;
  PlantGradient<Backend> gradient = optimal_cost_gradient(best.plant, best.optimal);
  while (best.iterations < options.max_iterations) {
    ++best.iterations;
    const Scalar s = static_cast<Scalar>(step);
    const Task<Backend> moved(best.plant.A() - s * gradient.A, best.plant.B() - s * gradient.B, centre.Q(),
                              centre.R(), centre.Sigma0());
    auto trial = detail::controlled(nearest_plant(moved, set));
    const bool settled = trial && std::abs(trial->cost - best.cost) <= options.tolerance * best.cost;
    if (trial && trial->cost < best.cost) {
      trial->iterations = best.iterations;
      trial->status = best.status;
      best = *trial;
      if (!settled) gradient = optimal_cost_gradient(best.plant, best.optimal);
    } else if (!settled) {
      step /= 2;
    }
    if (settled) best.status = Status::converged;
    if (!settled && step < smallest) best.status = Status::stalled;
    if (best.status != Status::iteration_limit) break;
  }
  return best;
}

/// The optimal gain of the plant of the confidence ellipsoid that would be cheapest to control
/// (Abbasi-Yadkori, Szepesvari, "Regret bounds for the adaptive control of linear quadratic systems", COLT
/// 2011), by projected gradient. Explores by itself: goes with `determinant_epochs`.
struct Optimism {
  OptimismOptions options{};  ///< of the search

  /// The gain; nothing if the ellipsoid has no finite level.
  /// @throws NotStabilizable, NoConvergence for the estimate; DimensionMismatch for a bad ellipsoid;
  /// InvalidOption for bad options.
  template <FactoringBackend Backend>
  std::optional<Controller<Backend>> operator()(const Knowledge<Backend>& knowledge, Stream&) const {
    if (!std::isfinite(knowledge.confidence.ellipsoid.level)) return std::nullopt;
    return optimistic_plant(knowledge.estimate, knowledge.confidence.ellipsoid, options).optimal.gain;
  }
};

}  // namespace metalqr::inline METALQR_ABI::adaptive
