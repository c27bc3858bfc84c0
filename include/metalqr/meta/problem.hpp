#pragma once

/// @file
/// Meta-training as a descent problem.

#include <algorithm>
#include <cstddef>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include <metalqr/core/parallel.hpp>
#include <metalqr/core/team.hpp>
#include <metalqr/meta/contributions.hpp>

namespace metalqr::inline METALQR_ABI::meta::detail {

/// The descent problem of meta-training (see `descend`) for the processes of a team, each of which has the
/// fleet of its shard of the tasks. The lists of the state are those of the shard; all else is the same in
/// all processes. Tasks are summed in blocks, so that a run does not depend on how they are shared out.
template <zeroth_order::Fleet Fleet, metalqr::Team Team>
class MetaProblem {
 public:
  using Backend = typename Fleet::Backend;
  using Gain = typename Backend::Gain;
  using Scalar = typename Backend::Scalar;

  /// Made by all processes together.
  /// @param fleet of the own tasks; null if there are none.
  MetaProblem(const Fleet* fleet, Team& team, const Options& options, State<Backend>& state)
      : fleet_(fleet),
        team_(team),
        first_(team.shard().first),
        count_(team.shard().count),
        options_(options),
        state_(state),
        has_start_costs_(team.any([&state] { return !state.start_costs.empty(); })) {
    if (!team.any([&state] { return !state.costs.empty(); })) return;
    at_ = team.sum(CostSum<Scalar>{}, [this] { return sum_of(state_.costs); });
  }

  bool needs_assessment() const { return options_.guard; }

  Assessment<Scalar> assess(const Gain& K) {
    std::vector<Scalar> costs;
    const CostSum<Scalar> sum = team_.sum(CostSum<Scalar>{}, [&] {
      costs = all_costs(K);
      if (!has_start_costs_) start_at(costs);
      return sum_of(costs);
    });
    has_start_costs_ = true;
    state_.calls.assessments += static_cast<Index>(team_.total());
    Assessment<Scalar> result{.value = sum.mean, .acceptable = sum.infinite == 0};
    if (options_.guard && sum.above_start > 0) {
      result.acceptable = false;
      ++state_.guard_refusals;
    }
    // The next iterate is the last trial or, where a step was not lengthened after all, the one before.
    previous_ = std::move(latest_);
    latest_ = Assessed{K, std::move(costs), sum};
    return result;
  }

  /// Works on one part of the tasks after the other, so that memory does not grow with what tasks contribute.
  Gain direction(const Gain& K, int iteration) {
    refresh_costs(K);
    std::vector<Gain> curvature_directions;
    const DirectionSum<Backend> zero(K);
    const DirectionSum<Backend> sum = team_.sum(zero, [&] {
      constexpr std::size_t most_at_once = 1024;
      OrderedSum<DirectionSum<Backend>> own(zero, first_);
      std::vector<TaskDirection<Backend>> parts(std::min(count_, most_at_once));
      for (std::size_t first = 0; first < count_; first += most_at_once) {
        parts.resize(std::min(count_ - first, most_at_once));
        run_tasks(K, iteration, first, parts);
        for (std::size_t i = 0; i < parts.size(); ++i) {
          own.item([&](DirectionSum<Backend>& block) { add(K, parts[i], first + i, block); });
          if (options_.order == Order::second) {
            curvature_directions.push_back(std::move(parts[i].curvature_direction));
          }
        }
      }
      return own;
    });
    if (options_.order == Order::second) state_.curvature_directions = std::move(curvature_directions);
    return combine(K, sum);
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
  Scalar mean_cost() const { return at_ ? at_->mean : not_assessed; }
  /// Largest of the costs at the iterate; NaN if they are not assessed.
  Scalar worst_cost() const { return at_ ? at_->worst : not_assessed; }

  /// Costs at the iterate K, if it has been assessed since the last call.
  void refresh_costs(const Gain& K) {
    for (std::optional<Assessed>* trial : {&previous_, &latest_}) {
      if (*trial && Backend::norm(Gain(K - (*trial)->gain)) == Scalar(0)) {
        state_.costs = std::move((*trial)->costs);
        at_ = (*trial)->sum;
      }
      trial->reset();
    }
  }

 private:
  /// A trial.
  struct Assessed {
    Gain gain;
    std::vector<Scalar> costs;  // of the own tasks
    CostSum<Scalar> sum;        // of all
  };
  static constexpr Scalar not_assessed = std::numeric_limits<Scalar>::quiet_NaN();

  OrderedSum<CostSum<Scalar>> sum_of(const std::vector<Scalar>& costs) const {
    OrderedSum<CostSum<Scalar>> sum(CostSum<Scalar>{}, first_);
    for (std::size_t i = 0; i < costs.size(); ++i) {
      const Scalar& start = state_.start_costs.empty() ? costs[i] : state_.start_costs[i];
      sum.item([&](CostSum<Scalar>& block) { block.add(costs[i], start, team_.total()); });
    }
    return sum;
  }

  StreamKey assessment_key(std::size_t task) const {
    return TaskStep<Fleet>::assessment_key(options_, first_ + task);
  }

  std::vector<Scalar> all_costs(const Gain& K) const {
    std::vector<Scalar> costs(count_);
    if (count_ == 0) return costs;
    if constexpr (requires { fleet_->costs(K, options_.threads); }) {
      costs = fleet_->costs(K, options_.threads);
    } else {
      const auto ask = [&](Index i) {
        const auto task = static_cast<std::size_t>(i);
        costs[task] = fleet_->cost(task, K, assessment_key(task));
      };
      parallel_for(static_cast<Index>(costs.size()), ask, options_.threads);
    }
    return costs;
  }

  // The gradients at K of so many tasks, where the fleet finds them at once; else none.
  std::vector<zeroth_order::GradientEstimate<Backend>> known_gradients(const Gain& K, std::size_t first,
                                                                       std::size_t count) const {
    if constexpr (requires { fleet_->gradients(K, first, count, options_.threads); }) {
      return fleet_->gradients(K, first, count, options_.threads);
    } else {
      return {};
    }
  }

  void run_tasks(const Gain& K, int iteration, std::size_t first,
                 std::vector<TaskDirection<Backend>>& parts) const {
    const bool warm = state_.curvature_directions.size() == count_;
    const double eta = state_.inner_step > 0 ? state_.inner_step : options_.inner_step;
    const auto known = known_gradients(K, first, parts.size());
    const auto run = [&](Index i) {
      const auto part = static_cast<std::size_t>(i);
      const std::size_t task = first + part;
      const StreamKey key{.seed = options_.seed,
                          .purpose = Purpose::directions,
                          .iteration = static_cast<std::uint64_t>(iteration),
                          .task = static_cast<std::uint64_t>(first_ + task)};
      const std::optional<Scalar> cost =
          state_.costs.empty() ? std::nullopt : std::optional<Scalar>(state_.costs[task]);
      parts[part] = TaskStep<Fleet>(*fleet_, options_, task, key)
                        .run(K, cost, eta, warm ? &state_.curvature_directions[task] : nullptr,
                             known.empty() ? nullptr : &known[part]);
    };
    parallel_for(static_cast<Index>(parts.size()), run, options_.threads);
  }

  void add(const Gain& K, const TaskDirection<Backend>& part, std::size_t task,
           DirectionSum<Backend>& sum) const {
    sum.add(part);
    // Where costs are not assessed, only a task without a finite probe gives away that it may be lost.
    if (!part.unstable || has_start_costs_) return;
    ++sum.calls.assessments;
    if (fleet_->cost(task, K, assessment_key(task)) < std::numeric_limits<Scalar>::infinity()) return;
    if (state_.descent.iteration == 0) throw_lost_start(first_ + task);
    ++sum.lost;
  }

  Gain combine(const Gain& K, const DirectionSum<Backend>& sum) {
    state_.calls.probes += sum.calls.probes;
    state_.calls.base += sum.calls.base;
    state_.calls.assessments += sum.calls.assessments;
    state_.calls.curvature += sum.calls.curvature;
    state_.unstable_probes += sum.unstable_probes;
    state_.skipped_inner_points += sum.inner_points_unstable;
    state_.reduced_inner_steps += sum.reductions;
    smallest_inner_step_ = sum.smallest_inner_step;
    if (options_.check_inner_step && smallest_inner_step_ > 0) {
      const double next = smallest_inner_step_ * (sum.reductions == 0 ? 2 : 1);
      state_.inner_step = options_.inner_step > 0 && next > options_.inner_step ? options_.inner_step : next;
    }
    lost_ = sum.lost > 0 || sum.usable == 0;
    if (lost_) {
      direction_ = Backend::zero_like(K);
      return direction_;
    }
    const Scalar count = static_cast<Scalar>(static_cast<double>(sum.usable));
    direction_ = sum.directions / count;
    return sum.gradients / count;
  }

  void start_at(const std::vector<Scalar>& costs) {
    for (std::size_t i = 0; i < costs.size(); ++i) {
      if (costs[i] < std::numeric_limits<Scalar>::infinity()) continue;
      throw_lost_start(first_ + i);
    }
    state_.start_costs = costs;
  }

  const Fleet* fleet_;
  Team& team_;
  std::size_t first_;  // number of the first of the own tasks
  std::size_t count_;  // of them
  const Options& options_;
  State<Backend>& state_;
  bool has_start_costs_;               // of any task
  std::optional<CostSum<Scalar>> at_;  // the iterate, if it was assessed
  Gain direction_{};
  std::optional<Assessed> previous_;  // trials of this iteration
  std::optional<Assessed> latest_;
  double smallest_inner_step_ = 0;
  bool lost_ = false;
};

}  // namespace metalqr::inline METALQR_ABI::meta::detail
