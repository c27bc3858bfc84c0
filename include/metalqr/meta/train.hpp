#pragma once

/// @file
/// Meta-training: one gain from which every task of a fleet is quickly reached.

#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include <metalqr/meta/problem.hpp>

namespace metalqr::inline METALQR_ABI::meta {

namespace detail {

/// Throws unless a run on a fleet can go on from the state; `name` is that of its gain.
template <zeroth_order::Fleet Fleet>
void require_fitting(const Fleet& fleet, const State<typename Fleet::Backend>& state, const Options& options,
                     const char* name) {
  using Backend = typename Fleet::Backend;
  const typename Backend::Gain& K = state.descent.K;
  zeroth_order::detail::require_gain<Backend>(fleet, K, name);
  metalqr::detail::require_finite<Backend>(K, name);
  validate(state, fleet.size(), options.guard || options.outer.rule != StepRule::constant);
  if constexpr (requires { fleet.options().radius; }) {
    if (state.descent.iteration == 0) {
      zeroth_order::detail::require_resolved<Backend>(fleet.options().radius, K);
    }
  }
}

/// Continues a run of all processes of a team, each of which has the fleet of its own tasks (null if there
/// are none), with a state that fits and, but for its lists, is the same in all. Any observer can stop it.
template <zeroth_order::Fleet Fleet, metalqr::Team Team, class Observer>
Result<typename Fleet::Backend> run(const Fleet* fleet, Team& team, State<typename Fleet::Backend>& state,
                                    const Options& options, Observer& observer) {
  using Backend = typename Fleet::Backend;
  MetaProblem<Fleet, Team> problem(fleet, team, options, state);
  Result<Backend> result;
  const auto record = [&](const DescentInfo<Backend>& info) {
    problem.refresh_costs(state.descent.K);
    result.history.push_back({.iteration = info.state.iteration,
                              .step = info.step,
                              .trials = info.trials,
                              .inner_step = problem.smallest_inner_step(),
                              .direction_norm = problem.direction_norm(),
                              .calls = state.calls,
                              .mean_cost = problem.mean_cost(),
                              .worst_cost = problem.worst_cost(),
                              .gain = state.descent.K});
    const Info<Backend> seen{state.descent.K, result.history.back(), state};
    return team.any([&] { return metalqr::detail::wants_to_stop(observer, seen); });
  };
  const int remaining =
      options.iterations > state.descent.iteration ? options.iterations - state.descent.iteration : 0;
  const DescentResult<Backend> end = descend(state.descent, problem, options.outer, remaining, record);
  result.gain = state.descent.K;
  result.status = end.status;
  result.iterations = end.iterations;
  result.calls = state.calls;
  result.guard_refusals = state.guard_refusals;
  result.skipped_inner_points = state.skipped_inner_points;
  result.reduced_inner_steps = state.reduced_inner_steps;
  result.unstable_probes = state.unstable_probes;
  return result;
}

}  // namespace detail

/// Continues a run from `state` for at most `options.iterations` iterations in total; the result and the
/// state are bitwise those of a run that was never interrupted. Fleet and options other than `iterations` are
/// those that the state comes from.
/// @throws DimensionMismatch, NotFinite or InvalidOption naming the state if its gains or lists do not fit
/// the fleet or it lacks the costs at the start; otherwise as `train`.
template <zeroth_order::Fleet Fleet, class Observer = NoObserver>
Result<typename Fleet::Backend> resume(const Fleet& fleet, State<typename Fleet::Backend>& state,
                                       const Options& options, Observer&& observer = {}) {
  validate(options);
  detail::require_fitting(fleet, state, options, "state.descent.K");
  Alone team(fleet.size());
  return detail::run(&fleet, team, state, options, observer);
}

/// Meta-trains on a fleet from the gain K0 (n_u x n_x), which must stabilise every task. The observer is
/// called with an `Info` after each iteration and may return true to stop. The result depends on the options
/// alone, seed included, not on the number of threads, nor on that of processes (see `meta/mpi.hpp`). Without
/// guard and with a constant step, the costs are not assessed: the run ends as unstable when a task is found
/// lost because none of its probes has a finite cost, or when no task has a stable inner point.
/// @throws InvalidOption; DimensionMismatch (where the fleet knows its plants' shape: not for lambdas),
/// NotFinite for a bad K0; NotStabilizing if the cost of a task at
/// K0 is not finite.
template <zeroth_order::Fleet Fleet, class Observer = NoObserver>
Result<typename Fleet::Backend> train(const Fleet& fleet,
                                      const std::type_identity_t<typename Fleet::Backend::Gain>& K0,
                                      const Options& options = {}, Observer&& observer = {}) {
  using Backend = typename Fleet::Backend;
  zeroth_order::detail::require_gain<Backend>(fleet, K0, "K0");
  metalqr::detail::require_finite<Backend>(K0, "K0");
  State<Backend> state;
  state.descent.K = K0;
  return resume(fleet, state, options, observer);
}

/// Model-free meta-training on plants known by their cost oracles (Toso et al., L4DC 2024, algorithm 3, and
/// its variants).
template <MatrixBackend Backend, zeroth_order::CostOracle<Backend> Oracle, class Observer = NoObserver>
Result<Backend> train(const std::vector<Oracle>& oracles,
                      const std::type_identity_t<typename Backend::Gain>& K0, const Options& options = {},
                      Observer&& observer = {}) {
  const zeroth_order::OracleFleet<Backend, Oracle> fleet(std::span<const Oracle>(oracles), options.estimator);
  return train(fleet, K0, options, std::forward<Observer>(observer));
}

/// Model-free meta-training in which the tasks serve as exact cost oracles and nothing else.
template <TaskList Tasks, class Observer = NoObserver>
Result<BackendOf<Tasks>> train(const Tasks& tasks, const std::type_identity_t<GainOf<Tasks>>& K0,
                               const Options& options = {}, Observer&& observer = {}) {
  using Backend = BackendOf<Tasks>;
  const auto fleet = checked_fleet(tasks);
  const std::vector<zeroth_order::ExactCost<Backend>> oracles(fleet.begin(), fleet.end());
  return train<Backend>(oracles, K0, options, std::forward<Observer>(observer));
}

/// Model-based meta-training, with exact derivatives (Toso et al., L4DC 2024, algorithm 1, and its variants).
template <TaskList Tasks, class Observer = NoObserver>
Result<BackendOf<Tasks>> train_with_models(const Tasks& tasks, const std::type_identity_t<GainOf<Tasks>>& K0,
                                           const Options& options = {}, Observer&& observer = {}) {
  using Backend = BackendOf<Tasks>;
  const zeroth_order::ModelFleet<Backend> fleet(tasks);
  return train(fleet, K0, options, std::forward<Observer>(observer));
}

}  // namespace metalqr::inline METALQR_ABI::meta
