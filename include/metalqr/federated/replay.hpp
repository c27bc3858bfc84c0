#pragma once

/// @file
/// A federated run again, in virtual time, with everything arriving in the order of its record.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include <metalqr/core/error.hpp>
#include <metalqr/federated/latency.hpp>
#include <metalqr/federated/profile.hpp>
#include <metalqr/federated/run_result.hpp>
#include <metalqr/federated/virtual_time.hpp>

namespace metalqr::inline METALQR_ABI::federated {

/// What `simulate` needs to repeat a run.
struct Replay {
  std::vector<AgentProfile> profiles;  ///< one for each agent
  VirtualTimeOptions options;          ///< with nothing recorded but the history
};

/// The simulation in which everything arrives in the order of a record: arrival k happens at time k. With
/// the same agents and a server in the state in which the recorded run found its own, every gain that it
/// commits is the recorded one, bitwise, whichever engine that was.
/// @param arrivals the whole record of a run, see `Recording`.
/// @param agents their number.
/// @param profiles of the recorded run; what it lost is lost again, by
/// @param seed the seed of the recorded run.
/// @throws InvalidOption for a number in a record that no run could have left, or profiles out of range.
inline Replay replay_of(std::span<const Arrival> arrivals, Index agents,
                        std::span<const AgentProfile> profiles, std::uint64_t seed) {
  detail::require_profiles(profiles, agents);
  const double end = static_cast<double>(arrivals.size());
  // Everything that begins is due to an arrival, and one makes few things begin.
  const auto most = 8 * static_cast<Index>(arrivals.size()) + 8;
  // What was not to come before the end of the record comes after it.
  const TraceLatency never{.ticks = {end + 1}, .repeats = false};
  const auto set = [&never](Latency& law, Index number, double ticks) {
    std::vector<double>& trace = std::get<TraceLatency>(law).ticks;
    const auto place = static_cast<std::size_t>(number);
    if (place + 1 >= trace.size()) trace.resize(place + 2, never.ticks.front());
    trace[place] = ticks;
  };
  const AgentProfile absent{
      .work = never, .answer = never, .joins = end + 1, .presence = never, .absence = never};
  Replay replay{.profiles = std::vector<AgentProfile>(static_cast<std::size_t>(agents), absent),
                .options = {.until = end, .seed = seed, .timer_delays = never}};
  for (Index agent = 0; agent < agents; ++agent) {
    replay.profiles[static_cast<std::size_t>(agent)].loss = detail::profile_of(profiles, agent).loss;
  }
  for (std::size_t i = 0; i < arrivals.size(); ++i) {
    const Arrival& arrival = arrivals[i];
    const auto place = static_cast<Index>(i) + 1;
    const bool of_agent = arrival.kind != Arrival::Kind::timer;
    if (arrival.number < 0 || arrival.number > most || arrival.cause < 0 || arrival.cause >= place ||
        arrival.agent < 0 || (of_agent && arrival.agent >= agents)) {
      throw InvalidOption("arrivals: expected the record of a run of " + std::to_string(agents) +
                          " agents, got agent " + std::to_string(arrival.agent) + ", number " +
                          std::to_string(arrival.number) + " and cause " + std::to_string(arrival.cause) +
                          " at entry " + std::to_string(i));
    }
    const double ticks = static_cast<double>(place - arrival.cause);
    if (!of_agent) {
      set(*replay.options.timer_delays, arrival.number, ticks);
      continue;
    }
    AgentProfile& profile = replay.profiles[static_cast<std::size_t>(arrival.agent)];
    switch (arrival.kind) {
      case Arrival::Kind::joined:
        if (arrival.number == 0) {
          profile.joins = static_cast<double>(place);
        } else {
          set(profile.absence, arrival.number - 1, ticks);
        }
        break;
      case Arrival::Kind::left:
        set(*profile.presence, arrival.number, ticks);
        break;
      case Arrival::Kind::report:
        set(profile.work, arrival.number, ticks);
        break;
      default:
        set(profile.answer, arrival.number, ticks);
    }
  }
  return replay;
}

}  // namespace metalqr::inline METALQR_ABI::federated
