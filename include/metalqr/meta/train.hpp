#pragma once

/// @file
/// Meta-training: one gain from which every task of a fleet is quickly reached.

#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <metalqr/core/parallel.hpp>
#include <metalqr/meta/direction.hpp>

namespace metalqr::inline METALQR_ABI::meta {

namespace detail {

/// The descent problem of meta-training: see `descend`.
template <zeroth_order::Fleet Fleet>
class MetaProblem {
 public:
  using Backend = typename Fleet::Backend;
  using Gain = typename Backend::Gain;
  using Scalar = typename Backend::Scalar;

  MetaProblem(const Fleet& fleet, const Options& options, State<Backend>& state)
      : fleet_(fleet), options_(options), state_(state) {}

  bool needs_assessment() const { return options_.guard; }

  Assessment<Scalar> assess(const Gain& K) {
    std::vector<Scalar> costs(fleet_.size());
    parallel_for(
        static_cast<Index>(fleet_.size()),
        [&](Index i) {
          const auto task = static_cast<std::size_t>(i);
          costs[task] = fleet_.cost(task, K, TaskStep<Fleet>::assessment_key(options_, task));
        },
        options_.threads);
    state_.calls.assessments += static_cast<Index>(fleet_.size());
    if (state_.start_costs.empty()) start_at(costs);
    Assessment<Scalar> result{.value = Scalar(0), .acceptable = true};
    bool guarded = true;
    for (std::size_t i = 0; i < costs.size(); ++i) {
      result.value += costs[i] / static_cast<Scalar>(static_cast<double>(costs.size()));
      result.acceptable = result.acceptable && costs[i] < std::numeric_limits<Scalar>::infinity();
      guarded = guarded && costs[i] <= state_.start_costs[i];
    }
    if (options_.guard && !guarded) {
      result.acceptable = false;
      ++state_.guard_refusals;
    }
    assessed_.push_back({K, std::move(costs)});
    return result;
  }

  Gain direction(const Gain& K, int iteration) {
    refresh_costs(K);
    const std::size_t count = fleet_.size();
    const bool warm = state_.curvature_directions.size() == count;
    const double eta = state_.inner_step > 0 ? state_.inner_step : options_.inner_step;
    std::vector<TaskDirection<Backend>> parts(count);
    parallel_for(
        static_cast<Index>(count),
        [&](Index i) {
          const auto task = static_cast<std::size_t>(i);
          const StreamKey key{.seed = options_.seed,
                              .purpose = Purpose::directions,
                              .iteration = static_cast<std::uint64_t>(iteration),
                              .task = static_cast<std::uint64_t>(task)};
          const std::optional<Scalar> cost =
              state_.costs.empty() ? std::nullopt : std::optional<Scalar>(state_.costs[task]);
          parts[task] = TaskStep<Fleet>(fleet_, options_, task, key)
                            .run(K, cost, eta, warm ? &state_.curvature_directions[task] : nullptr);
        },
        options_.threads);
    return combine(K, parts);
  }

  const Gain& scaled(const Gain& /*G*/) const { return direction_; }
  double direction_norm() const { return Backend::to_double(Backend::norm(direction_)); }
  bool is_lost() const { return lost_; }
  bool is_small(const Gain& /*G*/, const Gain& /*K*/) {
    const double norm = direction_norm();
    if (!(state_.first_norm > 0)) state_.first_norm = norm;
    return options_.tolerance > 0 && norm <= options_.tolerance * state_.first_norm;
  }
  double smallest_inner_step() const { return smallest_inner_step_; }

  /// Costs at the iterate K, if it has been assessed since the last call.
  void refresh_costs(const Gain& K) {
    for (auto& [gain, costs] : assessed_) {
      if (Backend::norm(Gain(K - gain)) == Scalar(0)) state_.costs = costs;
    }
    assessed_.clear();
  }

 private:
  [[noreturn]] static void throw_lost_start(std::size_t task) {
    throw NotStabilizing("K0: expected a gain that stabilizes every task, the cost of task " +
                             std::to_string(task) + " is infinite",
                         std::numeric_limits<double>::infinity());
  }
  void start_at(const std::vector<Scalar>& costs) {
    for (std::size_t i = 0; i < costs.size(); ++i) {
      if (costs[i] < std::numeric_limits<Scalar>::infinity()) continue;
      throw_lost_start(i);
    }
    state_.start_costs = costs;
  }

  // Where costs are not assessed, only a task without a finite probe gives away that it may be lost.
  bool loses_task(const Gain& K, const std::vector<TaskDirection<Backend>>& parts) {
    if (!state_.start_costs.empty()) return false;
    for (std::size_t i = 0; i < parts.size(); ++i) {
      if (!parts[i].unstable) continue;
      const Scalar cost = fleet_.cost(i, K, TaskStep<Fleet>::assessment_key(options_, i));
      ++state_.calls.assessments;
      if (cost < std::numeric_limits<Scalar>::infinity()) continue;
      if (state_.descent.iteration > 0) return true;
      throw_lost_start(i);
    }
    return false;
  }

  // Sums in the order of the tasks, whatever thread computed them.
  Gain combine(const Gain& K, const std::vector<TaskDirection<Backend>>& parts) {
    Gain sum = Backend::zero_like(K);
    Gain gradients = Backend::zero_like(K);
    int usable = 0;
    int reductions = 0;
    smallest_inner_step_ = 0;
    for (const auto& part : parts) {
      state_.calls.probes += part.calls.probes;
      state_.calls.base += part.calls.base;
      state_.calls.assessments += part.calls.assessments;
      state_.calls.curvature += part.calls.curvature;
      state_.unstable_probes += static_cast<int>(part.unstable_probes);
      state_.skipped_inner_points += part.inner_point_unstable ? 1 : 0;
      reductions += part.reductions;
      if (part.inner_step > 0 && (smallest_inner_step_ == 0 || part.inner_step < smallest_inner_step_)) {
        smallest_inner_step_ = part.inner_step;
      }
      if (!part.usable) continue;
      sum += part.direction;
      gradients += part.gradient;
      ++usable;
    }
    state_.reduced_inner_steps += reductions;
    if (options_.check_inner_step && smallest_inner_step_ > 0) {
      const double next = smallest_inner_step_ * (reductions == 0 ? 2 : 1);
      state_.inner_step = options_.inner_step > 0 && next > options_.inner_step ? options_.inner_step : next;
    }
    if (options_.order == Order::second) {
      state_.curvature_directions.resize(parts.size());
      for (std::size_t i = 0; i < parts.size(); ++i)
        state_.curvature_directions[i] = parts[i].curvature_direction;
    }
    lost_ = loses_task(K, parts) || usable == 0;
    if (lost_) {
      direction_ = Backend::zero_like(K);
      return direction_;
    }
    const Scalar count = static_cast<Scalar>(static_cast<double>(usable));
    direction_ = sum / count;
    return gradients / count;
  }

  const Fleet& fleet_;
  const Options& options_;
  State<Backend>& state_;
  Gain direction_{};
  std::vector<std::pair<Gain, std::vector<Scalar>>> assessed_;  // trials of this iteration
  double smallest_inner_step_ = 0;
  bool lost_ = false;
};

}  // namespace detail

/// Continues a run from `state` for at most `options.iterations` iterations in total; the result and the
/// state are bitwise those of a run that was never interrupted. Fleet and options other than `iterations` are
/// those that the state comes from.
/// @throws DimensionMismatch, NotFinite or InvalidOption naming the state if its gains or lists do not fit
/// the fleet or it lacks the costs at the start; otherwise as `train`.
template <zeroth_order::Fleet Fleet, class Observer = NoObserver>
Result<typename Fleet::Backend> resume(const Fleet& fleet, State<typename Fleet::Backend>& state,
                                       const Options& options, Observer&& observer = {}) {
  using Backend = typename Fleet::Backend;
  validate(options);
  const typename Backend::Gain& K = state.descent.K;
  zeroth_order::detail::require_gain<Backend>(fleet, K, "state.descent.K");
  metalqr::detail::require_finite<Backend>(K, "state.descent.K");
  detail::validate(state, fleet.size(), options.guard || options.outer.rule != StepRule::constant);
  if constexpr (requires { fleet.options().radius; }) {
    if (state.descent.iteration == 0) {
      zeroth_order::detail::require_resolved<Backend>(fleet.options().radius, K);
    }
  }
  detail::MetaProblem<Fleet> problem(fleet, options, state);
  Result<Backend> result;
  const auto record = [&](const DescentInfo<Backend>& info) {
    problem.refresh_costs(state.descent.K);
    result.history.push_back({.iteration = info.state.iteration,
                              .step = info.step,
                              .trials = info.trials,
                              .inner_step = problem.smallest_inner_step(),
                              .direction_norm = problem.direction_norm(),
                              .calls = state.calls,
                              .costs = state.costs,
                              .gain = state.descent.K});
    const Info<Backend> seen{state.descent.K, result.history.back(), state};
    return metalqr::detail::wants_to_stop(observer, seen);
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

/// Meta-trains on a fleet from the gain K0 (n_u x n_x), which must stabilise every task. The observer is
/// called with an `Info` after each iteration and may return true to stop. The result depends on the options
/// alone, seed included, not on the number of threads. Without guard and with a constant step, the
/// costs are not assessed: the run ends as unstable when a task is found lost because none of its probes has
/// a finite cost, or when no task has a stable inner point.
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
