#pragma once

/// @file
/// Simulations of federated runs that survive being killed. Needs nlohmann-json (CMake component
/// metalqr::json). POSIX only.

#include <cstdint>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>
#include <variant>

#include <metalqr/federated/resumed_simulation.hpp>
#include <metalqr/io/checkpointer.hpp>
#include <metalqr/io/digest.hpp>
#include <metalqr/io/fingerprint.hpp>
#include <metalqr/io/json_field.hpp>
#include <metalqr/io/server_checkpoint.hpp>
#include <metalqr/io/simulation_state.hpp>

namespace metalqr::inline METALQR_ABI::io {

/// The kind of run in the checkpoints of simulations.
inline constexpr const char* simulation_checkpoint_kind = "simulation";

namespace detail {

inline Json latency_to_json(const federated::Latency& latency) {
  using namespace federated;
  Json numbers = Json::array();
  const auto add = [&](const auto& law) {
    using Law = std::remove_cvref_t<decltype(law)>;
    if constexpr (std::is_same_v<Law, TraceLatency>) {
      for (const double ticks : law.ticks) numbers.push_back(number_to_json(ticks));
      numbers.push_back(law.repeats);
    } else if constexpr (std::is_same_v<Law, UniformLatency>) {
      numbers = {number_to_json(law.low), number_to_json(law.high)};
    } else if constexpr (std::is_same_v<Law, ParetoLatency>) {
      numbers = {number_to_json(law.scale), number_to_json(law.shape)};
    } else {
      const auto& [number] = law;
      numbers.push_back(number_to_json(number));
    }
  };
  std::visit(add, latency);
  return {latency.index(), std::move(numbers)};
}

/// An option that is added is missed here, and so not forgotten.
inline Json profile_to_json(const federated::AgentProfile& profile) {
  const auto& [work, answer, loss, joins, presence, absence] = profile;
  return {latency_to_json(work),
          latency_to_json(answer),
          number_to_json(loss),
          number_to_json(joins),
          presence ? latency_to_json(*presence) : Json(),
          latency_to_json(absence)};
}

/// Those on which the state after an event depends.
inline Json options_to_json(const federated::VirtualTimeOptions& options) {
  const auto& [until, max_updates, max_events, seed, threads, record, timer_delays] = options;
  return {{"seed", seed}, {"timer_delays", timer_delays ? latency_to_json(*timer_delays) : Json()}};
}

template <class ServerType>
Json server_fingerprint(const ServerType& server, Index agents) {
  using Backend = typename ServerType::Backend;
  Json result{{"gain", fingerprint<Backend>(server.gain())}, {"version", server.state().version}};
  result["options"] = options_to_json(server.options());
  result["rule"] = rule_to_json(server.rule(), agents);
  return result;
}

template <federated::Agents AgentsType>
Json agents_fingerprint(AgentsType& agents, std::span<const federated::AgentProfile> profiles) {
  using Backend = typename AgentsType::Backend;
  std::uint64_t limits = fnv1a("");
  for (Index i = 0; i < agents.size(); ++i) {
    limits = fnv1a(number_to_json(Backend::to_double(agents.limit(i))).dump() + " ", limits);
  }
  std::uint64_t behaviour = fnv1a("");
  for (const auto& profile : profiles) behaviour = fnv1a(profile_to_json(profile).dump(), behaviour);
  return {{"count", agents.size()}, {"limits", hex(limits)}, {"profiles", hex(behaviour)}};
}

/// The field beside those of a state for the updates before its last event.
inline constexpr const char* updates_before = "updates_before";

/// Throws `InvalidOption` if a run with these limits would have ended before the state in a checkpoint.
template <class State>
void require_limits(const Checkpoint& checkpoint, const State& state,
                    const federated::VirtualTimeOptions& options) {
  require_within(checkpoint.path, "until", state.time, options.until);
  require_within(checkpoint.path, "max_events", state.events, options.max_events);
  // The event that ends a run by its updates may have made several.
  const JsonField before = JsonField(checkpoint.document).field("state").field(updates_before);
  if (before.integer(0, state.updates) >= options.max_updates)
    require_within(checkpoint.path, "max_updates", state.updates, options.max_updates);
}

}  // namespace detail

/// Runs a server and its agents in virtual time as `federated::simulate`, and writes checkpoints; where there
/// is one of this run, goes on from it as if it had never stopped, bitwise: see
/// `federated::resume_simulation`, also for what is recorded. A run that has ended is given back at once;
/// with later limits it goes on, unless the observer ended it. `CheckpointOptions::every` counts events.
///
/// A checkpoint is this run's if the server begins with the same gain, rule and options, if the agents have
/// as many members, the same limits and profiles, and if seed, delays of timers and the label are the same.
/// Of the server's combiner and optimiser, and of the agents' seeds and estimators, it knows nothing: what
/// may change of them belongs into the label.
/// @param server as it was when the run began; it is left as the run leaves it.
/// @param observer is called before an event is written, so that it sees commits since the last checkpoint
/// once more.
/// @throws ParseError if there are checkpoints but none is good; InvalidOption if they are another run's,
/// naming what differs, or the last is beyond the limits, or arrivals are to be recorded; FileError if none
/// can be written; otherwise as `federated::simulate`.
template <federated::Agents AgentsType, class ServerType, class Observer = NoObserver>
CheckpointedRun<federated::RunResult<typename AgentsType::Backend>> simulate_or_resume(
    ServerType& server, AgentsType& agents, std::span<const federated::AgentProfile> profiles,
    const federated::VirtualTimeOptions& options, const CheckpointOptions& checkpoints,
    Observer&& observer = {}) {
  using Backend = typename AgentsType::Backend;
  using Memory = federated::MemoryOf<AgentsType>;
  detail::require_kept_by_json<Backend>();
  federated::detail::require_profiles(profiles, agents.size());
  validate(options);
  if (options.record.arrivals) {
    throw InvalidOption("record.arrivals: expected false in a run with checkpoints, got true");
  }
  Checkpointer writer(checkpoints, simulation_checkpoint_kind,
                      {{"agents", detail::agents_fingerprint(agents, profiles)},
                       {"server", detail::server_fingerprint(server, agents.size())},
                       {"options", detail::options_to_json(options)}});
  Index updates = 0;  // before the event
  const auto keeper = [&](const federated::Moment<Backend, Memory>& moment) {
    const auto state = [&] {
      Json json = to_json(moment.state());
      json[detail::updates_before] = updates;
      return json;
    };
    if (!writer.iteration(state) && moment.is_last()) writer.end(state);
    updates = moment.updates();
  };
  CheckpointedRun<federated::RunResult<Backend>> run;
  if (const std::optional<Checkpoint> last = writer.last()) {
    auto state = read_simulation_state<Backend, Memory>(last->document, "state");
    detail::require_limits(*last, state, options);
    updates = state.updates;
    run.result =
        federated::resume_simulation(std::move(state), server, agents, profiles, options, observer, keeper);
  } else {
    run.result = federated::simulate(server, agents, profiles, options, observer, keeper);
  }
  run.checkpoints = writer.report();
  return run;
}

}  // namespace metalqr::inline METALQR_ABI::io
