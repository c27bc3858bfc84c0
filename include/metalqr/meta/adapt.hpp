#pragma once

/// @file
/// Adaptation of a gain to one plant, which may be unseen.

#include <cstdint>
#include <span>
#include <type_traits>
#include <utility>

#include <metalqr/meta/train.hpp>

namespace metalqr::inline METALQR_ABI::meta {

/// Options of adaptation: model-free policy gradient on one plant. The default is quasi-Newton steps, found
/// by backtracking, on orthonormal blocks with the guard, which never ends above the cost at its start.
struct AdaptOptions {
  int iterations = 20;                                                 ///< cap
  StepSize step = quasi_newton();                                      ///< step rule
  zeroth_order::EstimatorOptions estimator{.check_direction = false};  ///< how the gradient is estimated
  bool guard = true;       ///< accept a gain only if J(K) <= J(start), halve the step otherwise
  double tolerance = 0;    ///< ends when the gradient's norm is below this times the first one's
  std::uint64_t seed = 0;  ///< of every random stream
};

/// The published adaptation from a meta-trained gain (Toso et al., L4DC 2024, and the authors' notebooks):
/// step 1e-3, r = 1e-5, m = 50 directions on the sphere, 300 iterations, no guard. Unsafe for other initial
/// states than theirs: with Sigma0 = I/4 the step exceeds 2/lambda_max at K*, and every adaptation loses
/// stability.
inline AdaptOptions published_adaptation() {
  return {.iterations = 300,
          .step = constant_step(1e-3),
          .estimator = {.directions = zeroth_order::Directions::sphere,
                        .samples = 50,
                        .radius = 1e-5,
                        .unstable = zeroth_order::Unstable::drop},
          .guard = false};
}

/// The published adaptation from the random stabilising gain: as `published_adaptation` with step 0.35e-3. It
/// loses stability in about a quarter of the authors' own setting.
inline AdaptOptions published_adaptation_from_random_gain() {
  AdaptOptions options = published_adaptation();
  options.step = constant_step(0.35e-3);
  return options;
}

/// Adapts the gain `start` (n_u x n_x), which must stabilise the plant, by policy gradient on its cost
/// oracle. It is `train` on a fleet of one with `Order::average`; the observer is the same.
/// @throws InvalidOption; DimensionMismatch (where the oracle knows its plant's shape: not for a lambda),
/// NotFinite for a bad start; NotStabilizing if its cost is
/// infinite.
template <MatrixBackend Backend, zeroth_order::CostOracle<Backend> Oracle, class Observer = NoObserver>
Result<Backend> adapt(const Oracle& oracle, const std::type_identity_t<typename Backend::Gain>& start,
                      const AdaptOptions& options = {}, Observer&& observer = {}) {
  zeroth_order::detail::require_gain<Backend>(oracle, start, "start");
  metalqr::detail::require_finite<Backend>(start, "start");
  const zeroth_order::OracleFleet<Backend, Oracle> fleet(std::span<const Oracle>(&oracle, 1),
                                                         options.estimator);
  return train(fleet, start,
               {.order = Order::average,
                .iterations = options.iterations,
                .outer = options.step,
                .estimator = options.estimator,
                .guard = options.guard,
                .tolerance = options.tolerance,
                .seed = options.seed},
               std::forward<Observer>(observer));
}

/// Adapts to a task, which serves as an exact cost oracle and nothing else.
template <MatrixBackend Backend, class Observer = NoObserver>
Result<Backend> adapt(const Task<Backend>& task, const std::type_identity_t<typename Backend::Gain>& start,
                      const AdaptOptions& options = {}, Observer&& observer = {}) {
  return adapt<Backend>(zeroth_order::ExactCost<Backend>(task), start, options,
                        std::forward<Observer>(observer));
}

}  // namespace metalqr::inline METALQR_ABI::meta
