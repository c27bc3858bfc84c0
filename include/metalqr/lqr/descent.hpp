#pragma once

/// @file
/// Descent on a gain: the loop that exact policy gradient, adaptation and meta-training share.

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>
#include <utility>
#include <vector>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/status.hpp>
#include <metalqr/lqr/step_size.hpp>

namespace metalqr::inline METALQR_ABI {

/// What a descent problem says of a gain.
template <class Scalar>
struct Assessment {
  Scalar value = std::numeric_limits<Scalar>::infinity();  ///< objective; +infinity where it does not exist
  bool acceptable = false;                                 ///< whether the iterate may move there
};

/// Difference of two iterates and of their gradients, which quasi-Newton steps learn from.
template <MatrixBackend Backend>
struct CurvaturePair {
  typename Backend::Gain step;    ///< K' - K
  typename Backend::Gain change;  ///< G(K') - G(K)
};

/// Everything that a descent carries from one iteration to the next; continuing from a copy gives the same
/// run.
template <MatrixBackend Backend>
struct DescentState {
  using Scalar = typename Backend::Scalar;  ///< number type
  using Gain = typename Backend::Gain;      ///< n_u x n_x

  Gain K;                                       ///< iterate
  int iteration = 0;                            ///< iterations done
  Assessment<Scalar> at{};                      ///< assessment of K, if the rule needs it
  Scalar last_step{};                           ///< last accepted step; 0: none yet
  int refused = 0;                              ///< trials refused so far
  int failures = 0;                             ///< iterations without an acceptable trial, in a row
  int skipped_pairs = 0;                        ///< pairs that failed the curvature condition
  Gain previous_K{};                            ///< iterate at which `previous_direction` was taken
  Gain previous_direction{};                    ///< gradient (or its estimate) there
  bool has_previous = false;                    ///< whether the two fields above hold something
  std::vector<CurvaturePair<Backend>> pairs{};  ///< quasi-Newton memory, oldest first
};

/// What an observer of a descent sees after each iteration.
template <MatrixBackend Backend>
struct DescentInfo {
  const DescentState<Backend>& state;       ///< after the iteration
  const typename Backend::Gain& direction;  ///< gradient (or its estimate) that was used
  double step = 0;                          ///< accepted step; 0 if none was
  int trials = 0;                           ///< trials of this iteration
};

/// The result of a descent.
template <MatrixBackend Backend>
struct DescentResult {
  typename Backend::Gain gain;              ///< last iterate
  typename Backend::Scalar value{};         ///< its objective, if it was assessed
  int iterations = 0;                       ///< iterations done
  int refused = 0;                          ///< trials refused
  Status status = Status::iteration_limit;  ///< converged, iteration_limit, stalled or stopped
};

/// Observer that does nothing.
struct NoObserver {
  /// Ignores its argument.
  template <class Info>
  void operator()(const Info& /*info*/) const {}
};

namespace detail {

/// Calls an observer that returns nothing, or true to stop.
template <class Observer, class Info>
bool wants_to_stop(Observer& observer, const Info& info) {
  if constexpr (std::is_void_v<std::invoke_result_t<Observer&, const Info&>>) {
    observer(info);
    return false;
  } else {
    return static_cast<bool>(observer(info));
  }
}

/// H G with H the BFGS approximation of the inverse Hessian (Nocedal and Wright, Numerical Optimization, 2nd
/// ed., algorithm 7.4).
template <MatrixBackend Backend>
typename Backend::Gain quasi_newton_direction(const std::vector<CurvaturePair<Backend>>& pairs,
                                              const typename Backend::Gain& G) {
  using Scalar = typename Backend::Scalar;
  typename Backend::Gain q = G;
  std::vector<Scalar> alpha(pairs.size());
  for (std::size_t i = pairs.size(); i-- > 0;) {
    const auto& [s, y] = pairs[i];
    alpha[i] = Backend::inner(s, q) / Backend::inner(s, y);
    q -= alpha[i] * y;
  }
  const auto& newest = pairs.back();
  q = (Backend::inner(newest.step, newest.change) / Backend::inner(newest.change, newest.change)) * q;
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    const auto& [s, y] = pairs[i];
    q += (alpha[i] - Backend::inner(y, q) / Backend::inner(s, y)) * s;
  }
  return q;
}

/// Stores the newest pair if it has positive curvature, clearly above rounding.
template <MatrixBackend Backend>
void learn_curvature(DescentState<Backend>& state, const typename Backend::Gain& G, int memory) {
  using Gain = typename Backend::Gain;
  using Scalar = typename Backend::Scalar;
  if (state.has_previous) {
    const Gain s = state.K - state.previous_K;
    const Gain y = G - state.previous_direction;
    const Scalar threshold = static_cast<Scalar>(1e-6) * Backend::norm(s) * Backend::norm(y);
    if (Backend::inner(s, y) > threshold) {
      if (state.pairs.size() == static_cast<std::size_t>(memory)) state.pairs.erase(state.pairs.begin());
      state.pairs.push_back({s, y});
    } else if (Backend::norm(s) > Scalar(0)) {
      ++state.skipped_pairs;
    }
  }
  state.previous_K = state.K;
  state.previous_direction = G;
  state.has_previous = true;
}

/// Lengthens an accepted step that ended well before the minimum along p: while the parabola through the
/// objective's value and slope at the start and its value at t has its minimum beyond 1.5 t, the step goes
/// there (at most 4 t, at most three times) as long as the objective falls further. The cost rises like 1/(1
/// - rho^2) towards instability, so that a Newton step from there is too short by about half. Returns the
/// number of trials.
template <MatrixBackend Backend, class Problem>
int lengthen(Problem& problem, const StepSize& step, DescentState<Backend>& state,
             const typename Backend::Scalar& start_value, const typename Backend::Gain& start,
             const typename Backend::Gain& p, const typename Backend::Scalar& slope,
             typename Backend::Scalar& t) {
  using Gain = typename Backend::Gain;
  using Scalar = typename Backend::Scalar;
  int trials = 0;
  for (; trials < 3; ++trials) {
    const Scalar excess = t * slope - (start_value - state.at.value);
    const Scalar furthest = Scalar(4) * t;
    Scalar next = furthest;
    if (excess > Scalar(0)) {
      const Scalar minimum = t * t * slope / (Scalar(2) * excess);
      if (minimum < furthest) next = minimum;
    }
    if (next < static_cast<Scalar>(1.5) * t) break;
    const Gain candidate = start - next * p;
    const Assessment<Scalar> there = problem.assess(candidate);
    if (!there.acceptable || !(there.value < state.at.value) ||
        !(there.value <= start_value - static_cast<Scalar>(step.sufficient_decrease) * next * slope)) {
      return trials + 1;
    }
    state.K = candidate;
    state.at = there;
    t = next;
  }
  return trials;
}

}  // namespace detail

/// Iterates K <- K - t p for at most `iterations` more iterations, from `state`.
///
/// `problem` offers
/// - `direction(K, iteration)`: the gradient G of the objective, or an estimate of it (n_u x n_x);
/// - `scaled(G)`: the direction p to move along where it is not G itself; called after `direction`;
/// - `assess(K)`: an `Assessment`; called only if `needs_assessment()` or the rule is not constant;
/// - `is_lost()`: true after `direction` if it does not exist at K; the run ends as unstable;
/// - `is_small(G, K)`: true ends the run as converged.
///
/// The quasi-Newton rule learns curvature from G and applies it to p. Where p would lead uphill, rules other
/// than constant use G. A trial is taken if it is acceptable and, unless the rule is constant, the objective
/// falls by Armijo's condition; otherwise it is refused and the step is shrunk. A rule other than constant
/// converges also when the predicted fall t <p, G> is lost in the rounding of the (positive) objective, and
/// ends as stalled after three iterations in a row without an acceptable trial.
template <MatrixBackend Backend, class Problem, class Observer>
DescentResult<Backend> descend(DescentState<Backend>& state, Problem& problem, const StepSize& step,
                               int iterations, Observer& observer) {
  using Gain = typename Backend::Gain;
  using Scalar = typename Backend::Scalar;
  validate(step);
  const bool constant = step.rule == StepRule::constant;
  const bool assessed = !constant || problem.needs_assessment();
  const int end = state.iteration + iterations;
  Status status = Status::iteration_limit;
  if (assessed && state.iteration == 0) state.at = problem.assess(state.K);
  while (state.iteration < end) {
    const Gain G = problem.direction(state.K, state.iteration);
    if (problem.is_lost()) {
      status = Status::unstable;
      break;
    }
    if (problem.is_small(G, state.K)) {
      status = Status::converged;
      break;
    }
    Gain p = problem.scaled(G);
    bool newton = false;
    if (step.rule == StepRule::quasi_newton) {
      detail::learn_curvature(state, G, step.memory);
      if (!state.pairs.empty()) {
        p = detail::quasi_newton_direction<Backend>(state.pairs, p);
        newton = Backend::inner(p, G) > Scalar(0);
        if (!newton) state.pairs.clear();
      }
    }
    if (!constant && !newton && !(Backend::inner(p, G) > Scalar(0))) p = G;
    const Scalar slope = Backend::inner(p, G);
    Scalar t = static_cast<Scalar>(step.initial);
    if (newton) {
      t = Scalar(1);
    } else if (!constant) {
      if (state.last_step > Scalar(0) && step.rule == StepRule::backtracking) {
        t = static_cast<Scalar>(step.grow) * state.last_step;
      } else if (!(t > Scalar(0))) {
        t = state.at.value / slope;
      }
    }
    if (!constant && t * slope <= Backend::epsilon() * state.at.value) {
      status = Status::converged;
      break;
    }
    const Gain start = state.K;
    const Scalar start_value = state.at.value;
    int trials = 0;
    bool accepted = false;
    while (!accepted && trials < step.max_trials) {
      const Gain candidate = state.K - t * p;
      ++trials;
      Assessment<Scalar> there{};
      accepted = !assessed;
      if (assessed) {
        there = problem.assess(candidate);
        accepted = there.acceptable &&
                   (constant || there.value <= state.at.value -
                                                   static_cast<Scalar>(step.sufficient_decrease) * t * slope);
      }
      if (accepted) {
        state.K = candidate;
        state.at = there;
      } else {
        ++state.refused;
        t = t * static_cast<Scalar>(step.shrink);
      }
    }
    if (accepted && !constant)
      trials += detail::lengthen(problem, step, state, start_value, start, p, slope, t);
    ++state.iteration;
    state.failures = accepted ? 0 : state.failures + 1;
    if (accepted) {
      state.last_step = t;
    } else {
      state.pairs.clear();
    }
    const DescentInfo<Backend> info{state, G, accepted ? Backend::to_double(t) : 0.0, trials};
    if (detail::wants_to_stop(observer, info)) {
      status = Status::stopped;
      break;
    }
    if (!constant && state.failures == 3) {
      status = Status::stalled;
      break;
    }
  }
  return {state.K, state.at.value, state.iteration, state.refused, status};
}

}  // namespace metalqr::inline METALQR_ABI
