#pragma once

/// @file
/// Learning while controlling that survives being killed. Needs nlohmann-json (CMake component
/// metalqr::json). POSIX only.

#include <optional>
#include <span>
#include <type_traits>
#include <utility>

#include <metalqr/adaptive/advance.hpp>
#include <metalqr/io/adaptive_state.hpp>
#include <metalqr/io/checkpointer.hpp>
#include <metalqr/io/fingerprint.hpp>
#include <metalqr/io/json_field.hpp>

namespace metalqr::inline METALQR_ABI::io {

/// The kind of run in the checkpoints of learning while controlling.
inline constexpr const char* adaptive_checkpoint_kind = "adaptive control";

/// A run of learning while controlling.
template <FactoringBackend Backend>
struct AdaptiveRun {
  adaptive::State<Backend> state;  ///< at the end
  adaptive::RunResult result;      ///< of the steps since the last checkpoint, if it went on from one
};

namespace detail {

/// What a run depends on. An option that is added is missed here, and so not forgotten.
template <FactoringBackend Backend>
Json options_to_json(const adaptive::Options<Backend>& options) {
  const auto& [schedule, data, ridge, priming_steps, priming_excitation, bound] = options;
  const auto& [epochs, first, longest, exploration, decay] = schedule;
  return {{"schedule",
           {{"epochs", static_cast<int>(epochs)},
            {"first", first},
            {"longest", longest},
            {"exploration", number_to_json(exploration)},
            {"decay", number_to_json(decay)}}},
          {"data", static_cast<int>(data)},
          {"ridge", number_to_json(ridge)},
          {"priming_steps", priming_steps},
          {"priming_excitation", number_to_json(priming_excitation)},
          {"bound", static_cast<bool>(bound)}};
}

}  // namespace detail

/// Starts a run (`adaptive::start`) and continues it to `steps` steps in total (`adaptive::advance`), writing
/// checkpoints; where there is one of this run, goes on from it as if it had never stopped: the state at the
/// end and the regret of the remaining steps are bitwise the same. A run that has ended is given back at
/// once; with more steps it goes on. The observer is called before a step is written, so that it sees those
/// since the last checkpoint once more.
///
/// A checkpoint is this run's if plant, K0, options, key and label are the same. Strategy and
/// `options.bound` it cannot compare: their names belong into `CheckpointOptions::label`.
/// @throws ParseError if there are checkpoints but none is good; InvalidOption if they are another run's,
/// naming what differs, or the last has more than `steps` steps; FileError if none can be written; otherwise
/// as `adaptive::start` and
/// `adaptive::advance`.
template <FactoringBackend Backend, adaptive::Strategy<Backend> T, class Observer = NoObserver>
CheckpointedRun<AdaptiveRun<Backend>> advance_or_resume(
    const Task<Backend>& plant, const std::type_identity_t<typename Backend::Gain>& K0, const T& strategy,
    const std::type_identity_t<adaptive::Options<Backend>>& options, Index steps,
    const CheckpointOptions& checkpoints, const StreamKey& key = {}, Observer&& observer = {}) {
  detail::require_kept_by_json<Backend>();
  adaptive::validate(options);
  metalqr::detail::require_option(steps >= 0, "steps", static_cast<double>(steps), "a number >= 0");
  Checkpointer writer(checkpoints, adaptive_checkpoint_kind,
                      {{"plant", fingerprint_of_tasks(std::span<const Task<Backend>>(&plant, 1))},
                       {"K0", fingerprint<Backend>(K0)},
                       {"options", detail::options_to_json(options)},
                       {"key", detail::key_to_json(key)}});
  const std::optional<Checkpoint> last = writer.last();
  adaptive::State<Backend> state =
      last ? read_adaptive_state<Backend>(last->document, "state") : adaptive::start(plant, K0, options, key);
  if (last) require_within(last->path, "steps", state.step, steps);
  const auto both = [&](const adaptive::Info<Backend>& info) {
    const bool stop = metalqr::detail::wants_to_stop(observer, info);
    writer.iteration([&] { return to_json(info.state); });
    return stop;
  };
  adaptive::RunResult result = adaptive::advance(plant, state, strategy, options, steps - state.step, both);
  writer.end([&] { return to_json(state); });
  return {.result = {.state = std::move(state), .result = std::move(result)}, .checkpoints = writer.report()};
}

}  // namespace metalqr::inline METALQR_ABI::io
