#pragma once

/// @file
/// Meta-training as a descent problem.

#include <algorithm>
#include <cstddef>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <metalqr/core/parallel.hpp>
#include <metalqr/meta/direction.hpp>

namespace metalqr::inline METALQR_ABI::meta::detail {

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
    std::vector<Scalar> costs = all_costs(K);
    state_.calls.assessments += static_cast<Index>(fleet_.size());
    if (state_.start_costs.empty()) start_at(costs);
    Assessment<Scalar> result{.value = mean(costs), .acceptable = true};
    bool guarded = true;
    for (std::size_t i = 0; i < costs.size(); ++i) {
      result.acceptable = result.acceptable && costs[i] < std::numeric_limits<Scalar>::infinity();
      guarded = guarded && costs[i] <= state_.start_costs[i];
    }
    if (options_.guard && !guarded) {
      result.acceptable = false;
      ++state_.guard_refusals;
    }
    // The next iterate is the last trial or, where a step was not lengthened after all, the one before.
    previous_ = std::move(latest_);
    latest_ = Assessed{K, std::move(costs)};
    return result;
  }

  /// Works on one block of tasks after the other, so that memory does not grow with what tasks contribute.
  Gain direction(const Gain& K, int iteration) {
    constexpr std::size_t most_at_once = 1024;
    refresh_costs(K);
    const std::size_t count = fleet_.size();
    std::vector<TaskDirection<Backend>> parts(std::min(count, most_at_once));
    Sums sums{.directions = Backend::zero_like(K), .gradients = Backend::zero_like(K)};
    for (std::size_t first = 0; first < count; first += most_at_once) {
      parts.resize(std::min(count - first, most_at_once));
      run_tasks(K, iteration, first, parts);
      for (std::size_t i = 0; i < parts.size(); ++i) add(parts[i], first + i, sums);
    }
    return combine(K, sums);
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

  /// Mean of the costs at the iterate; NaN if they are not assessed.
  Scalar mean_cost() const { return state_.costs.empty() ? not_assessed : mean(state_.costs); }
  /// Largest of the costs at the iterate; NaN if they are not assessed.
  Scalar worst_cost() const {
    return state_.costs.empty() ? not_assessed : *std::max_element(state_.costs.begin(), state_.costs.end());
  }

  /// Costs at the iterate K, if it has been assessed since the last call.
  void refresh_costs(const Gain& K) {
    for (std::optional<Assessed>* trial : {&previous_, &latest_}) {
      if (*trial && Backend::norm(Gain(K - (*trial)->gain)) == Scalar(0)) {
        state_.costs = std::move((*trial)->costs);
      }
      trial->reset();
    }
  }

 private:
  /// What the tasks contribute to an iteration, summed in their order, whatever thread found it.
  struct Sums {
    Gain directions;
    Gain gradients;
    int usable = 0;
    double smallest_inner_step = 0;
    int reductions = 0;
    int inner_points_unstable = 0;
    Index unstable_probes = 0;
    zeroth_order::OracleCalls calls{};
    std::vector<std::size_t> unstable_tasks{};
    std::vector<Gain> curvature_directions{};
  };
  /// A trial.
  struct Assessed {
    Gain gain;
    std::vector<Scalar> costs;
  };
  static constexpr Scalar not_assessed = std::numeric_limits<Scalar>::quiet_NaN();

  static Scalar mean(const std::vector<Scalar>& costs) {
    Scalar sum(0);
    for (const Scalar& cost : costs) sum += cost / static_cast<Scalar>(static_cast<double>(costs.size()));
    return sum;
  }

  std::vector<Scalar> all_costs(const Gain& K) const {
    if constexpr (requires { fleet_.costs(K, options_.threads); }) {
      return fleet_.costs(K, options_.threads);
    } else {
      std::vector<Scalar> costs(fleet_.size());
      const auto ask = [&](Index i) {
        const auto task = static_cast<std::size_t>(i);
        costs[task] = fleet_.cost(task, K, TaskStep<Fleet>::assessment_key(options_, task));
      };
      parallel_for(static_cast<Index>(costs.size()), ask, options_.threads);
      return costs;
    }
  }

  // The gradients at K of so many tasks, where the fleet finds them at once; else none.
  std::vector<zeroth_order::GradientEstimate<Backend>> known_gradients(const Gain& K, std::size_t first,
                                                                       std::size_t count) const {
    if constexpr (requires { fleet_.gradients(K, first, count, options_.threads); }) {
      return fleet_.gradients(K, first, count, options_.threads);
    } else {
      return {};
    }
  }

  void run_tasks(const Gain& K, int iteration, std::size_t first,
                 std::vector<TaskDirection<Backend>>& parts) const {
    const bool warm = state_.curvature_directions.size() == fleet_.size();
    const double eta = state_.inner_step > 0 ? state_.inner_step : options_.inner_step;
    const auto known = known_gradients(K, first, parts.size());
    const auto run = [&](Index i) {
      const auto part = static_cast<std::size_t>(i);
      const std::size_t task = first + part;
      const StreamKey key{.seed = options_.seed,
                          .purpose = Purpose::directions,
                          .iteration = static_cast<std::uint64_t>(iteration),
                          .task = static_cast<std::uint64_t>(task)};
      const std::optional<Scalar> cost =
          state_.costs.empty() ? std::nullopt : std::optional<Scalar>(state_.costs[task]);
      parts[part] = TaskStep<Fleet>(fleet_, options_, task, key)
                        .run(K, cost, eta, warm ? &state_.curvature_directions[task] : nullptr,
                             known.empty() ? nullptr : &known[part]);
    };
    parallel_for(static_cast<Index>(parts.size()), run, options_.threads);
  }

  void add(const TaskDirection<Backend>& part, std::size_t task, Sums& sums) const {
    sums.calls.probes += part.calls.probes;
    sums.calls.base += part.calls.base;
    sums.calls.assessments += part.calls.assessments;
    sums.calls.curvature += part.calls.curvature;
    sums.unstable_probes += part.unstable_probes;
    sums.inner_points_unstable += part.inner_point_unstable ? 1 : 0;
    sums.reductions += part.reductions;
    if (part.inner_step > 0 &&
        (sums.smallest_inner_step == 0 || part.inner_step < sums.smallest_inner_step)) {
      sums.smallest_inner_step = part.inner_step;
    }
    if (part.unstable) sums.unstable_tasks.push_back(task);
    if (options_.order == Order::second) sums.curvature_directions.push_back(part.curvature_direction);
    if (!part.usable) return;
    sums.directions += part.direction;
    sums.gradients += part.gradient;
    ++sums.usable;
  }

  Gain combine(const Gain& K, Sums& sums) {
    state_.calls.probes += sums.calls.probes;
    state_.calls.base += sums.calls.base;
    state_.calls.assessments += sums.calls.assessments;
    state_.calls.curvature += sums.calls.curvature;
    state_.unstable_probes += sums.unstable_probes;
    state_.skipped_inner_points += sums.inner_points_unstable;
    state_.reduced_inner_steps += sums.reductions;
    smallest_inner_step_ = sums.smallest_inner_step;
    if (options_.check_inner_step && smallest_inner_step_ > 0) {
      const double next = smallest_inner_step_ * (sums.reductions == 0 ? 2 : 1);
      state_.inner_step = options_.inner_step > 0 && next > options_.inner_step ? options_.inner_step : next;
    }
    if (options_.order == Order::second) state_.curvature_directions = std::move(sums.curvature_directions);
    lost_ = loses_task(K, sums.unstable_tasks) || sums.usable == 0;
    if (lost_) {
      direction_ = Backend::zero_like(K);
      return direction_;
    }
    const Scalar count = static_cast<Scalar>(static_cast<double>(sums.usable));
    direction_ = sums.directions / count;
    return sums.gradients / count;
  }

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
  bool loses_task(const Gain& K, const std::vector<std::size_t>& unstable_tasks) {
    if (!state_.start_costs.empty()) return false;
    for (const std::size_t task : unstable_tasks) {
      const Scalar cost = fleet_.cost(task, K, TaskStep<Fleet>::assessment_key(options_, task));
      ++state_.calls.assessments;
      if (cost < std::numeric_limits<Scalar>::infinity()) continue;
      if (state_.descent.iteration > 0) return true;
      throw_lost_start(task);
    }
    return false;
  }

  const Fleet& fleet_;
  const Options& options_;
  State<Backend>& state_;
  Gain direction_{};
  std::optional<Assessed> previous_;  // trials of this iteration
  std::optional<Assessed> latest_;
  double smallest_inner_step_ = 0;
  bool lost_ = false;
};

}  // namespace metalqr::inline METALQR_ABI::meta::detail
