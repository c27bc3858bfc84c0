#pragma once

/// @file
/// The engine in virtual time: a discrete-event simulation of a federated run, a function of its seed.

#include <span>
#include <type_traits>

#include <metalqr/federated/simulation.hpp>
#include <metalqr/federated/virtual_time_options.hpp>

namespace metalqr::inline METALQR_ABI::federated {

/// Runs a server and its agents in virtual time: latencies, losses and absences are drawn, what the agents
/// compute is real. The result is a function of the seeds, bitwise, whatever `threads` is, where
/// `agents.work` and `agents.cost` are functions of their arguments. At the same time, agents come before
/// others report, in the order of agents, and timers go off last. Costs O(log M) an event beside the agents'
/// own work, and O(M) memory beside what is recorded.
/// @param server is left as the run leaves it, and may go on in another.
/// @param profiles one for each agent, or one for all.
/// @param observer sees every commit and may return true to stop.
/// @param keeper sees a `Moment` after every event, of which it may take and keep the state, to go on from it
/// with `resume_simulation`, and may return true to stop.
/// @throws InvalidOption for profiles or options out of range.
template <Agents AgentsType, class ServerType, class Observer = NoObserver, class Keeper = NoObserver>
RunResult<typename AgentsType::Backend> simulate(ServerType& server, AgentsType& agents,
                                                 std::span<const AgentProfile> profiles,
                                                 const VirtualTimeOptions& options = {},
                                                 Observer&& observer = {}, Keeper&& keeper = {}) {
  detail::require_profiles(profiles, agents.size());
  validate(options);
  return detail::Simulation<AgentsType, ServerType, std::remove_reference_t<Observer>,
                            std::remove_reference_t<Keeper>>(server, agents, profiles, options, observer,
                                                             keeper)
      .run();
}

}  // namespace metalqr::inline METALQR_ABI::federated
