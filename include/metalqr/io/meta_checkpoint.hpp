#pragma once

/// @file
/// Meta-training that survives being killed. Needs nlohmann-json (CMake component metalqr::json). POSIX only.

#include <optional>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include <metalqr/io/checkpointer.hpp>
#include <metalqr/io/fingerprint.hpp>
#include <metalqr/io/json_field.hpp>
#include <metalqr/io/meta_state.hpp>
#include <metalqr/meta/train.hpp>

namespace metalqr::inline METALQR_ABI::io {

/// The kind of run in the checkpoints of meta-training.
inline constexpr const char* meta_checkpoint_kind = "meta-training";

namespace detail {

inline Json options_to_json(const StepSize& options) {
  const auto& [rule, initial, shrink, grow, sufficient_decrease, max_trials, memory] = options;
  return {{"rule", static_cast<int>(rule)},
          {"initial", number_to_json(initial)},
          {"shrink", number_to_json(shrink)},
          {"grow", number_to_json(grow)},
          {"sufficient_decrease", number_to_json(sufficient_decrease)},
          {"max_trials", max_trials},
          {"memory", memory}};
}

inline Json options_to_json(const zeroth_order::EstimatorOptions& options) {
  const auto& [points, directions, samples, radius, unstable, common_random_numbers, shared_directions,
               check_direction] = options;
  return {{"points", static_cast<int>(points)},
          {"directions", static_cast<int>(directions)},
          {"samples", samples},
          {"radius", number_to_json(radius)},
          {"unstable", static_cast<int>(unstable)},
          {"common_random_numbers", common_random_numbers},
          {"shared_directions", shared_directions},
          {"check_direction", check_direction}};
}

/// Those on which the state after an iteration depends. An option that is added is missed here, and so not
/// forgotten.
inline Json options_to_json(const meta::Options& options) {
  const auto& [order, iterations, inner_steps, inner_step, check_inner_step, outer, estimator,
               repeat_base_cost, guard, tolerance, seed, threads] = options;
  return {{"order", meta::to_string(order)},          {"inner_steps", inner_steps},
          {"inner_step", number_to_json(inner_step)}, {"check_inner_step", check_inner_step},
          {"outer", options_to_json(outer)},          {"estimator", options_to_json(estimator)},
          {"repeat_base_cost", repeat_base_cost},     {"guard", guard},
          {"tolerance", number_to_json(tolerance)},   {"seed", seed}};
}

/// What a fleet says of itself.
template <zeroth_order::Fleet Fleet>
Json about(const Fleet& fleet) {
  Json result{{"plants", fleet.size()}};
  if constexpr (requires { options_to_json(fleet.options()); })
    result["estimator"] = options_to_json(fleet.options());
  return result;
}

/// @param about the fleet.
template <zeroth_order::Fleet Fleet, class Observer>
CheckpointedRun<meta::Result<typename Fleet::Backend>> train_or_resume(
    const Fleet& fleet, const typename Fleet::Backend::Gain& K0, const meta::Options& options,
    const CheckpointOptions& where, const Json& about, Observer& observer) {
  using Backend = typename Fleet::Backend;
  using State = meta::State<Backend>;
  require_kept_by_json<Backend>();
  zeroth_order::detail::require_gain<Backend>(fleet, K0, "K0");
  metalqr::detail::require_finite<Backend>(K0, "K0");
  meta::validate(options);
  Checkpointer checkpoints(
      where, meta_checkpoint_kind,
      {{"fleet", about}, {"K0", fingerprint<Backend>(K0)}, {"options", options_to_json(options)}});
  State state;
  state.descent.K = K0;
  if (const std::optional<Checkpoint> last = checkpoints.last()) {
    state = read_meta_state<Backend>(last->document, "state");
    require_within(last->path, "iterations", state.descent.iteration, options.iterations);
  }
  // What the run ends with may be further than the last iteration, which it would repeat.
  std::optional<State> unwritten;
  const auto both = [&](const meta::Info<Backend>& info) {
    const bool stop = metalqr::detail::wants_to_stop(observer, info);
    if (checkpoints.iteration([&] { return to_json(info.state); })) {
      unwritten.reset();
    } else if (where.at_end) {
      unwritten = info.state;
    }
    return stop;
  };
  CheckpointedRun<meta::Result<Backend>> run{.result = meta::resume(fleet, state, options, both)};
  if (unwritten) checkpoints.end([&] { return to_json(*unwritten); });
  run.checkpoints = checkpoints.report();
  return run;
}

}  // namespace detail

/// Meta-trains as `meta::train`, and writes checkpoints; where there is one of this run, goes on from it as
/// if it had never stopped: gain, status and counts of the result are bitwise the same. Its history is that
/// since then. A run that has ended is given back at once; with more iterations it goes on. The observer is
/// called before an iteration is written, so that it sees those since the last checkpoint once more.
///
/// A checkpoint is this run's if options, but for `iterations` and `threads`, K0, the number of plants, the
/// kind of fleet and the label are the same. The plants themselves it compares only where they are tasks: the
/// digest of anything else belongs into `CheckpointOptions::label`.
/// @throws ParseError if there are checkpoints but none is good; InvalidOption if they are another run's,
/// naming what differs, or the last has more than `iterations` iterations; FileError if none can be written;
/// otherwise as `meta::train`.
template <zeroth_order::Fleet Fleet, class Observer = NoObserver>
CheckpointedRun<meta::Result<typename Fleet::Backend>> train_or_resume(
    const Fleet& fleet, const std::type_identity_t<typename Fleet::Backend::Gain>& K0,
    const meta::Options& options, const CheckpointOptions& checkpoints, Observer&& observer = {}) {
  return detail::train_or_resume(fleet, K0, options, checkpoints, detail::about(fleet), observer);
}

/// The same on plants known by their cost oracles.
template <MatrixBackend Backend, zeroth_order::CostOracle<Backend> Oracle, class Observer = NoObserver>
CheckpointedRun<meta::Result<Backend>> train_or_resume(const std::vector<Oracle>& oracles,
                                                       const std::type_identity_t<typename Backend::Gain>& K0,
                                                       const meta::Options& options,
                                                       const CheckpointOptions& checkpoints,
                                                       Observer&& observer = {}) {
  const zeroth_order::OracleFleet<Backend, Oracle> fleet(std::span<const Oracle>(oracles), options.estimator);
  return detail::train_or_resume(fleet, K0, options, checkpoints, {{"oracles", fleet.size()}}, observer);
}

/// The same with tasks that serve as exact cost oracles, which the checkpoints compare.
template <TaskList Tasks, class Observer = NoObserver>
CheckpointedRun<meta::Result<BackendOf<Tasks>>> train_or_resume(const Tasks& tasks,
                                                                const std::type_identity_t<GainOf<Tasks>>& K0,
                                                                const meta::Options& options,
                                                                const CheckpointOptions& checkpoints,
                                                                Observer&& observer = {}) {
  using Backend = BackendOf<Tasks>;
  using Oracle = zeroth_order::ExactCost<Backend>;
  const auto own = checked_fleet(tasks);
  const std::vector<Oracle> oracles(own.begin(), own.end());
  const zeroth_order::OracleFleet<Backend, Oracle> fleet(std::span<const Oracle>(oracles), options.estimator);
  return detail::train_or_resume(fleet, K0, options, checkpoints,
                                 {{"exact_costs", fingerprint_of_tasks(tasks)}}, observer);
}

/// The same with exact derivatives, as `meta::train_with_models`.
template <TaskList Tasks, class Observer = NoObserver>
CheckpointedRun<meta::Result<BackendOf<Tasks>>> train_or_resume_with_models(
    const Tasks& tasks, const std::type_identity_t<GainOf<Tasks>>& K0, const meta::Options& options,
    const CheckpointOptions& checkpoints, Observer&& observer = {}) {
  const zeroth_order::ModelFleet<BackendOf<Tasks>> fleet(tasks);
  return detail::train_or_resume(fleet, K0, options, checkpoints, {{"models", fingerprint_of_tasks(tasks)}},
                                 observer);
}

}  // namespace metalqr::inline METALQR_ABI::io
