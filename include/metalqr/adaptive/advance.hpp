#pragma once

/// @file
/// Learning while controlling: the loop over a true plant.

#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <type_traits>
#include <utility>

#include <metalqr/adaptive/state.hpp>
#include <metalqr/adaptive/strategy.hpp>
#include <metalqr/core/check.hpp>
#include <metalqr/equations/spectral_norm.hpp>
#include <metalqr/lqr/descent.hpp>
#include <metalqr/lqr/rollout.hpp>

namespace metalqr::inline METALQR_ABI::adaptive {

namespace detail {

/// The true errors of an estimate as if they were bounds.
template <FactoringBackend Backend>
identification::Confidence<Backend> true_errors(const identification::Estimate<Backend>& estimate,
                                                const Task<Backend>& plant) {
  const typename Backend::StateMatrix dA = estimate.A - plant.A();
  const typename Backend::InputMatrix dB = estimate.B - plant.B();
  identification::Confidence<Backend> result;
  result.epsilon_A = Backend::to_double(spectral_norm<Backend>(dA));
  result.epsilon_B = Backend::to_double(spectral_norm<Backend>(dB));
  result.ellipsoid = {.A = estimate.A, .B = estimate.B, .factor = estimate.factor, .level = 0, .trace = true};
  result.ellipsoid.level = result.ellipsoid.level_of(plant.A(), plant.B());
  result.assumptions = {"The radii are the true errors, which only a simulation knows."};
  return result;
}

/// Plays one step, whose numbers come from the streams of `key`, and adds it to the data. False, and no
/// change of x and data, if the cost or the next state overflows.
template <FactoringBackend Backend>
bool play(const Task<Backend>& plant, const GaussianState<Backend>& noise, const StreamKey& key,
          double exploration, State<Backend>& state, double& cost) {
  using StateVector = typename Backend::StateVector;
  using ControlVector = typename Backend::ControlVector;
  ControlVector u = respond<Backend>(state.controller, state.x);
  if (exploration > 0) {
    Stream stream(key.with_purpose(Purpose::excitation));
    ControlVector e = Backend::zero_like(u);
    fill_normal<Backend>(e, stream);
    u += static_cast<typename Backend::Scalar>(exploration) * e;
  }
  cost = step_cost(plant, state.x, u);
  Stream disturbance(key.with_purpose(Purpose::process_noise));
  const StateVector drift = Backend::product(plant.A(), state.x);
  const StateVector push = Backend::product(plant.B(), u);
  const StateVector next = drift + push + noise.sample(disturbance);
  if (!std::isfinite(cost) || !Backend::is_finite(next)) return false;
  state.data.add(state.x, u, next);
  state.x = next;
  return true;
}

/// The key of a step.
inline StreamKey at_step(StreamKey key, Index step) {
  key.iteration = static_cast<std::uint64_t>(step);
  return key;
}

template <FactoringBackend Backend>
bool epoch_is_over(const State<Backend>& state, const Schedule& schedule) {
  if (state.epochs == 0) return true;
  const Index age = state.step - state.epoch_start;
  if (age >= epoch_length(schedule, state.epochs - 1)) return true;
  return schedule.epochs == Epochs::determinant && age >= schedule.first &&
         state.data.log_determinant() > state.log_determinant + std::log(2.0);
}

/// The controller for the data of the state, if there is one.
template <FactoringBackend Backend, class T>
std::optional<Controller<Backend>> designed(const Task<Backend>& plant, State<Backend>& state,
                                            const T& strategy, const Options<Backend>& options) {
  state.epsilon_A = state.epsilon_B = std::numeric_limits<double>::infinity();
  // There may be no estimate, or none that can be controlled; the same holds for a plant drawn near it.
  try {
    const identification::Estimate<Backend> estimate = state.data.estimate();
    const Task<Backend> task(estimate.A, estimate.B, plant.Q(), plant.R(), plant.Sigma0());
    const Knowledge<Backend> knowledge{
        .estimate = task,
        .confidence = options.bound ? options.bound(estimate) : true_errors(estimate, plant),
        .epoch = state.epochs,
        .step = state.step,
        .current = state.controller};
    state.epsilon_A = knowledge.confidence.epsilon_A;
    state.epsilon_B = knowledge.confidence.epsilon_B;
    Stream stream(at_step(state.key, state.step).with_purpose(Purpose::tasks));
    return strategy(knowledge, stream);
  } catch (const RankDeficient&) {
  } catch (const NotStabilizable&) {
  } catch (const NotStabilizing&) {
  } catch (const NoConvergence&) {
  } catch (const NotFinite&) {
  }
  return std::nullopt;
}

template <FactoringBackend Backend, class T>
void begin_epoch(const Task<Backend>& plant, State<Backend>& state, const T& strategy,
                 const Options<Backend>& options) {
  std::optional<Controller<Backend>> controller = designed(plant, state, strategy, options);
  if (controller) {
    require_controller<Backend>(*controller, plant.nx(), plant.nu(), "strategy");
    state.controller = std::move(*controller);
  } else {
    ++state.kept;
  }
  if (options.data == Data::epoch) {
    state.data = identification::RecursiveLeastSquares<Backend>(plant.nx(), plant.nu(), options.ridge);
  }
  state.log_determinant = state.data.log_determinant();
  state.epoch_start = state.step;
  ++state.epochs;
}

}  // namespace detail

/// A run at its beginning: the plant has been under u = -K0 x + N(0, sigma_u^2 I) for the priming steps,
/// which give the first data, and is put to x = 0. K0 (n_u x n_x) stays in the loop until there is another
/// controller. The process noise has the covariance Sigma0 of the plant (`Task::with_process_noise`).
/// @throws DimensionMismatch, NotFinite for a bad K0; InvalidOption; NotStabilizable, NoConvergence for the
/// plant.
template <FactoringBackend Backend>
State<Backend> start(const Task<Backend>& plant, const std::type_identity_t<typename Backend::Gain>& K0,
                     const std::type_identity_t<Options<Backend>>& options = {}, const StreamKey& key = {}) {
  validate(options);
  detail::require_controller<Backend>(K0, plant.nx(), plant.nu(), "K0");
  State<Backend> state{.key = key,
                       .x = Backend::zero_state(plant.nx()),
                       .controller = K0,
                       .data = {plant.nx(), plant.nu(), options.ridge},
                       .regret = no_regret(plant)};
  const GaussianState<Backend> noise(plant.Sigma0());
  // Not the numbers of the steps that count.
  const StreamKey own = key.child(0x7072696d);
  for (Index t = 0; t < options.priming_steps && !state.overflowed; ++t) {
    double cost = 0;
    state.overflowed =
        !detail::play(plant, noise, detail::at_step(own, t), options.priming_excitation, state, cost);
  }
  if (state.overflowed) state.regret.overflow();
  state.x = Backend::zero_state(plant.nx());
  return state;
}

/// Continues a run by `steps` steps: when an epoch is over, the plant is estimated and the strategy asked for
/// a controller, which is then in the loop, with exploration. Where there is none, or no estimate, the last
/// one remains, and `state.kept` counts. State and regret are bitwise those of a run that was never
/// interrupted; plant, strategy and options are those that the state comes from.
///
/// The observer is called with an `Info` after each step and may return true to stop. If the state overflows,
/// the run ends there, its regret infinite. A step costs O((2 n_x + n_u)^2) besides the designs.
/// @param plant the true one; strategies see it through its data alone, but for Q, R, Sigma0 and, without
/// `options.bound`, the true errors.
/// @throws DimensionMismatch, NotFinite for a state that does not fit the plant, or a controller of the
/// strategy that does not; InvalidOption; what the strategy and `options.bound` throw, but for the errors
/// that a `Strategy` may throw.
template <FactoringBackend Backend, Strategy<Backend> T, class Observer = NoObserver>
RunResult advance(const Task<Backend>& plant, State<Backend>& state, const T& strategy,
                  const std::type_identity_t<Options<Backend>>& options, Index steps,
                  Observer&& observer = {}) {
  validate(options);
  metalqr::detail::require_option(steps >= 0, "steps", static_cast<double>(steps), "a number >= 0");
  metalqr::detail::require_shape<Backend>(state.x, plant.nx(), 1, "state.x");
  metalqr::detail::require_finite<Backend>(state.x, "state.x");
  detail::require_controller<Backend>(state.controller, plant.nx(), plant.nu(), "state.controller");
  if (state.data.nx() != plant.nx() || state.data.nu() != plant.nu()) {
    throw DimensionMismatch("state.data: expected " + metalqr::detail::shape(plant.nx(), plant.nu()) +
                            " states and inputs, got " +
                            metalqr::detail::shape(state.data.nx(), state.data.nu()));
  }
  const GaussianState<Backend> noise(plant.Sigma0());
  RunResult result;
  result.regret.reserve(static_cast<std::size_t>(steps));
  for (Index k = 0; k < steps && !state.overflowed; ++k) {
    const bool new_epoch = detail::epoch_is_over(state, options.schedule);
    if (new_epoch) detail::begin_epoch(plant, state, strategy, options);
    const double exploration = exploration_level(options.schedule, state.epochs - 1);
    double cost = 0;
    if (!detail::play(plant, noise, detail::at_step(state.key, state.step), exploration, state, cost)) {
      state.overflowed = true;
      state.regret.overflow();
      break;
    }
    ++state.step;
    result.regret.push_back(state.regret.add(cost));
    const Info<Backend> info{state, cost, new_epoch};
    if (metalqr::detail::wants_to_stop(observer, info)) {
      result.status = RunStatus::stopped;
      return result;
    }
  }
  if (state.overflowed) {
    result.status = RunStatus::overflowed;
    result.regret.resize(static_cast<std::size_t>(steps), std::numeric_limits<double>::infinity());
  }
  return result;
}

}  // namespace metalqr::inline METALQR_ABI::adaptive
