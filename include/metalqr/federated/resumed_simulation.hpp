#pragma once

/// @file
/// A simulation of a federated run that goes on from a state that was kept.

#include <cstddef>
#include <span>
#include <type_traits>
#include <utility>

#include <metalqr/core/error.hpp>
#include <metalqr/federated/agent_memory.hpp>
#include <metalqr/federated/simulation_state.hpp>
#include <metalqr/federated/simulation_state_check.hpp>
#include <metalqr/federated/virtual_time.hpp>

namespace metalqr::inline METALQR_ABI::federated {

/// Goes on with a run of `simulate` from a state that its keeper took (`Moment::state`): every gain, time and
/// count from there on is that of the run that was not interrupted, bitwise, whatever `threads` is in either.
/// Server, agents, profiles and options are to be made as for that run; its end may be another.
///
/// Time, events and updates of the result, of moments and in the limits of the options count from the
/// beginning of the run. What is recorded begins here: history and timeline lack what was before, and what
/// began before (a piece of work, a gain that is refused later) is recorded as if it had begun here. Arrivals
/// are not recorded, since no replay could use a part of them.
/// @param server becomes the one of the state; only what it was made with is its own.
/// @param agents with a memory take back what they carried; whatever they carry is overwritten.
/// @throws InvalidOption for arrivals to be recorded, and profiles, options or a state out of range;
/// NotFinite and DimensionMismatch for a state out of range. Of the agents some may have changed then.
template <Agents AgentsType, class ServerType, class Observer = NoObserver, class Keeper = NoObserver>
RunResult<typename AgentsType::Backend> resume_simulation(
    SimulationState<typename AgentsType::Backend, MemoryOf<AgentsType>> state, ServerType& server,
    AgentsType& agents, std::span<const AgentProfile> profiles, const VirtualTimeOptions& options = {},
    Observer&& observer = {}, Keeper&& keeper = {}) {
  detail::require_profiles(profiles, agents.size());
  validate(options);
  if (options.record.arrivals) {
    throw InvalidOption(
        "record.arrivals: expected false in a run that is resumed, since a replay needs all of them, got "
        "true");
  }
  validate(state, agents.size());
  detail::require_memory<std::remove_const_t<AgentsType>>();
  for (std::size_t i = 0; i < state.memories.size(); ++i) {
    detail::remember(agents, static_cast<Index>(i), std::move(state.memories[i]));
  }
  server.restore(std::move(state.server));
  return detail::Simulation<AgentsType, ServerType, std::remove_reference_t<Observer>,
                            std::remove_reference_t<Keeper>>(server, agents, profiles, options, observer,
                                                             keeper)
      .resume(std::move(state));
}

}  // namespace metalqr::inline METALQR_ABI::federated
