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
#include <metalqr/lqr/quasi_newton.hpp>
#include <metalqr/lqr/step_size.hpp>

namespace metalqr::inline METALQR_ABI {

/// What a descent problem says of a gain.
template <class Scalar>
struct Assessment {
  Scalar value = std::numeric_limits<Scalar>::infinity();  ///< objective; +infinity where it does not exist
  bool acceptable = false;                                 ///< whether the iterate may move there
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

/// Learns from the move to K, with gradient G, since the last call.
template <MatrixBackend Backend>
void learn_curvature(DescentState<Backend>& state, const typename Backend::Gain& G, int memory) {
  using Gain = typename Backend::Gain;
  using Scalar = typename Backend::Scalar;
  if (state.has_previous) {
    const Gain s = state.K - state.previous_K;
    const Gain y = G - state.previous_direction;
    const bool stored = store_pair<Backend>(state.pairs, {s, y}, memory);
    if (!stored && Backend::norm(s) > Scalar(0)) ++state.skipped_pairs;
  }
  state.previous_K = state.K;
  state.previous_direction = G;
  state.has_previous = true;
}

/// The direction p of a step, K - t p, and what is known of it.
template <MatrixBackend Backend>
struct Move {
  typename Backend::Gain p;          ///< n_u x n_x
  typename Backend::Scalar slope{};  ///< <p, G>: the objective falls by about t times this
  typename Backend::Scalar first{};  ///< first t to try
};

/// A first step along p: value/slope, in which a linear objective would fall to zero, or as far as K is from
/// zero (as one where K is zero) if the value is not positive.
template <MatrixBackend Backend>
typename Backend::Scalar first_step(const typename Backend::Scalar& value,
                                    const typename Backend::Scalar& slope, const typename Backend::Gain& K,
                                    const typename Backend::Gain& p) {
  using Scalar = typename Backend::Scalar;
  if (value > Scalar(0)) return value / slope;
  const Scalar size = Backend::norm(K);
  return (size > Scalar(0) ? size : Scalar(1)) / Backend::norm(p);
}

/// Chooses direction and first trial of an iteration; learns curvature from G on the way.
template <MatrixBackend Backend, class Problem>
Move<Backend> choose_move(DescentState<Backend>& state, const Problem& problem, const StepSize& step,
                          const typename Backend::Gain& G) {
  using Scalar = typename Backend::Scalar;
  const bool constant = step.rule == StepRule::constant;
  Move<Backend> move{.p = problem.scaled(G), .first = static_cast<Scalar>(step.initial)};
  bool newton = false;
  if (step.rule == StepRule::quasi_newton) {
    learn_curvature(state, G, step.memory);
    if (!state.pairs.empty()) {
      move.p = quasi_newton_direction<Backend>(state.pairs, move.p);
      newton = Backend::inner(move.p, G) > Scalar(0);
      if (!newton) state.pairs.clear();
    }
  }
  if (!constant && !newton && !(Backend::inner(move.p, G) > Scalar(0))) move.p = G;
  move.slope = Backend::inner(move.p, G);
  if (newton) {
    move.first = Scalar(1);
  } else if (step.rule == StepRule::backtracking && state.last_step > Scalar(0)) {
    move.first = static_cast<Scalar>(step.grow) * state.last_step;
  } else if (!constant && !(move.first > Scalar(0))) {
    move.first = first_step<Backend>(state.at.value, move.slope, state.K, move.p);
  }
  return move;
}

/// What a line search did.
template <class Scalar>
struct SearchResult {
  Scalar step{};  ///< accepted step; 0 if none was
  int trials = 0;
};

/// Lengthens an accepted step that ended well before the minimum along p: while the parabola through the
/// objective's value and slope at the start and its value at t has its minimum beyond 1.5 t, the step goes
/// there (at most 4 t, at most three times) as long as the objective falls further. The cost rises like 1/(1
/// - rho^2) towards instability, so that a Newton step from there is too short by about half.
template <MatrixBackend Backend, class Problem>
void lengthen(Problem& problem, const StepSize& step, DescentState<Backend>& state, const Move<Backend>& move,
              const typename Backend::Gain& start, const typename Backend::Scalar& start_value,
              SearchResult<typename Backend::Scalar>& search) {
  using Gain = typename Backend::Gain;
  using Scalar = typename Backend::Scalar;
  for (int round = 0; round < 3; ++round) {
    const Scalar t = search.step;
    const Scalar excess = t * move.slope - (start_value - state.at.value);
    Scalar next = Scalar(4) * t;
    if (excess > Scalar(0)) {
      const Scalar minimum = t * t * move.slope / (Scalar(2) * excess);
      if (minimum < next) next = minimum;
    }
    if (next < static_cast<Scalar>(1.5) * t) return;
    const Gain candidate = start - next * move.p;
    const Assessment<Scalar> there = problem.assess(candidate);
    ++search.trials;
    const Scalar required = start_value - static_cast<Scalar>(step.sufficient_decrease) * next * move.slope;
    if (!there.acceptable || !(there.value < state.at.value) || !(there.value <= required)) return;
    state.K = candidate;
    state.at = there;
    search.step = next;
  }
}

/// Moves to the first acceptable trial; see `descend`.
template <MatrixBackend Backend, class Problem>
SearchResult<typename Backend::Scalar> search_along(Problem& problem, const StepSize& step, bool assessed,
                                                    DescentState<Backend>& state, const Move<Backend>& move) {
  using Gain = typename Backend::Gain;
  using Scalar = typename Backend::Scalar;
  const bool constant = step.rule == StepRule::constant;
  const Gain start = state.K;
  const Scalar start_value = state.at.value;
  SearchResult<Scalar> search;
  Scalar t = move.first;
  for (; search.trials < step.max_trials; t = t * static_cast<Scalar>(step.shrink)) {
    const Gain candidate = start - t * move.p;
    ++search.trials;
    Assessment<Scalar> there{.acceptable = true};
    if (assessed) there = problem.assess(candidate);
    const Scalar required = start_value - static_cast<Scalar>(step.sufficient_decrease) * t * move.slope;
    if (there.acceptable && (constant || there.value <= required)) {
      state.K = candidate;
      state.at = there;
      search.step = t;
      if (!constant) lengthen(problem, step, state, move, start, start_value, search);
      return search;
    }
    ++state.refused;
  }
  return search;
}

}  // namespace detail

/// Iterates K <- K - t p for at most `iterations` more iterations, from `state`.
///
/// `problem` offers
/// - `direction(K, iteration)`: the gradient G of the objective, or an estimate of it (n_u x n_x);
/// - `scaled(G)`: the direction p to move along where it is not G itself; called after `direction`;
/// - `assess(K)`: an `Assessment`; called only if `needs_assessment()` or the rule is not constant;
/// - `is_lost()`: true after `direction` if that could not be found. The iteration is then skipped, or, where
/// K was
///   not assessed and may itself be bad, the run ends as unstable;
/// - `is_small(G, K)`: true ends the run as converged.
///
/// The quasi-Newton rule learns curvature from G and applies it to p. Where p would lead uphill, rules other
/// than constant use G. A trial is taken if it is acceptable and, unless the rule is constant, the objective
/// falls by Armijo's condition; otherwise it is refused and the step is shrunk. A rule other than constant
/// converges also when the predicted fall t <p, G> is lost in the rounding of the objective, and
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
  // A state that stalled, from which this continues, has stalled here too.
  const auto has_stalled = [&] { return !constant && state.failures >= 3; };
  if (has_stalled()) return {state.K, state.at.value, state.iteration, state.refused, Status::stalled};
  while (state.iteration < end) {
    const Gain G = problem.direction(state.K, state.iteration);
    detail::SearchResult<Scalar> search;
    if (problem.is_lost()) {
      if (!assessed) {
        status = Status::unstable;
        break;
      }
    } else {
      if (problem.is_small(G, state.K)) {
        status = Status::converged;
        break;
      }
      const detail::Move<Backend> move = detail::choose_move(state, problem, step, G);
      using std::abs;
      // Written so that a direction of zero, whose automatic first step is infinite, converges too.
      if (!constant && !(move.first * move.slope > Backend::epsilon() * abs(state.at.value))) {
        status = Status::converged;
        break;
      }
      search = detail::search_along(problem, step, assessed, state, move);
    }
    ++state.iteration;
    if (search.step > Scalar(0)) {
      state.last_step = search.step;
      state.failures = 0;
    } else {
      state.pairs.clear();
      ++state.failures;
    }
    const DescentInfo<Backend> info{state, G, Backend::to_double(search.step), search.trials};
    if (detail::wants_to_stop(observer, info)) {
      status = Status::stopped;
      break;
    }
    if (has_stalled()) {
      status = Status::stalled;
      break;
    }
  }
  return {state.K, state.at.value, state.iteration, state.refused, status};
}

}  // namespace metalqr::inline METALQR_ABI
