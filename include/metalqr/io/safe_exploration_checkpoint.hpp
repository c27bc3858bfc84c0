#pragma once

/// @file
/// Safe exploration that survives being killed. Needs nlohmann-json (CMake component metalqr::json). POSIX
/// only.

#include <algorithm>
#include <optional>
#include <span>
#include <utility>

#include <metalqr/adaptive/safe_exploration.hpp>
#include <metalqr/core/random.hpp>
#include <metalqr/io/checkpointer.hpp>
#include <metalqr/io/digest.hpp>
#include <metalqr/io/fingerprint.hpp>
#include <metalqr/io/safe_exploration_state.hpp>

namespace metalqr::inline METALQR_ABI::io {

/// The kind of run in the checkpoints of a safe exploration.
inline constexpr const char* safe_exploration_checkpoint_kind = "safe exploration";

namespace detail {

/// What an exploration depends on. An option that is added is missed here, and so not forgotten.
inline Json options_to_json(const adaptive::SafeExplorationOptions& options) {
  const auto& [epochs, steps, design] = options;
  const auto& [length, tau] = design;
  return {{"steps", steps}, {"length", length}, {"tau", tau ? number_to_json(*tau) : Json("optimised")}};
}

}  // namespace detail

/// Explores for `options.epochs` epochs in total (`adaptive::explore_safely`), with a checkpoint after an
/// epoch; where there is one of this exploration, goes on from it: bitwise as if it had never stopped, if the
/// plant does. The records of epochs are those since then. An exploration without a safe controller writes
/// nothing.
///
/// A checkpoint is this exploration's if problem, steps of an epoch, options of the designs, key and label
/// are the same. Plant and solver it cannot compare.
/// @param plant_at gives the plant, a callable as `explore_safely` takes it, that stands at a state x (n_x)
/// after a number of epochs: `plant_at(x, epochs)`. It is asked once, at the beginning or where the
/// exploration goes on. A real plant was left alone meanwhile: that must be safe, and it must be brought to
/// x.
/// @throws ParseError if there are checkpoints but none is good; InvalidOption if they are another
/// exploration's, naming what differs, or the last has more than `epochs` epochs; FileError if none can be
/// written; otherwise as `explore_safely`.
template <DecomposingBackend Backend, class PlantAt, synthesis::QpSolver Solver>
CheckpointedRun<adaptive::SafeExploration<Backend>> explore_safely_or_resume(
    const synthesis::SafeProblem<Backend>& problem, const PlantAt& plant_at, const Solver& solver,
    const adaptive::SafeExplorationOptions& options, const CheckpointOptions& checkpoints,
    const StreamKey& key = {}) {
  using Exploration = adaptive::SafeExploration<Backend>;
  detail::require_kept_by_json<Backend>();
  adaptive::validate(options);
  synthesis::validate(problem);
  Checkpointer writer(checkpoints, safe_exploration_checkpoint_kind,
                      {{"problem", hex(fnv1a(detail::problem_to_json(problem).dump()))},
                       {"options", detail::options_to_json(options)},
                       {"key", detail::key_to_json(key)}});
  std::optional<Exploration> exploration;
  if (const std::optional<Checkpoint> last = writer.last()) {
    exploration = read_safe_exploration<Backend>(last->document, "state");
    require_within(last->path, "epochs", exploration->epochs_run, options.epochs);
  }
  const Index begun = exploration ? exploration->epochs_run : 0;
  auto plant = exploration ? plant_at(*exploration->problem.x0, begun)
                           : plant_at(problem.x0.value_or(Backend::zero_state(problem.estimate.nx())), begun);
  adaptive::SafeExplorationOptions one = options;
  one.epochs = 1;
  for (Index epoch = begun; epoch < options.epochs; ++epoch) {
    exploration = exploration ? adaptive::explore_safely(std::move(*exploration), plant, solver, one, key)
                              : adaptive::explore_safely(problem, plant, solver, one, key);
    if (exploration->status == adaptive::SafeExplorationStatus::no_controller) break;
    writer.iteration([&] { return to_json(*exploration); });
  }
  if (!writer.is_written()) writer.end([&] { return to_json(*exploration); });
  return {.result = std::move(*exploration), .checkpoints = writer.report()};
}

}  // namespace metalqr::inline METALQR_ABI::io
