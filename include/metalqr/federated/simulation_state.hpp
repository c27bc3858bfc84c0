#pragma once

/// @file
/// What a simulation of a federated run carries from one event to the next.

#include <cstddef>
#include <cstdint>
#include <vector>

#include <metalqr/core/backend.hpp>
#include <metalqr/federated/agent_memory.hpp>
#include <metalqr/federated/server_state.hpp>

namespace metalqr::inline METALQR_ABI::federated {

/// What an engine knows of an agent: what it is doing, and how often it has.
struct Seat {
  bool present = false;   ///< is there
  bool working = false;   ///< has begun a piece of work that it has not reported
  Index first_round = 0;  ///< number of its first piece of work
  Index works = 0;        ///< pieces of work begun
  Index question = 0;     ///< the one to answer; 0: none
  Index answers = 0;      ///< begun
  Index messages = 0;     ///< that might have been lost
  Index absences = 0;     ///< begun, without the one before it came first
};

/// Something that happens in a simulation.
struct Happening {
  /// What.
  enum class Kind : std::int32_t {
    report,   ///< an agent has finished a piece of work
    verdict,  ///< or found the answer to a question
    timer,    ///< goes off
    joins,    ///< an agent comes
    leaves    ///< or goes
  };
  Kind kind = Kind::report;  ///< what
  Index number = 0;  ///< of the piece of work, of the agent's answer, or of the timer over all; else 0
};

/// Something that will happen.
struct WaitingHappening {
  double time = 0;   ///< when, in ticks
  Index agent = 0;   ///< to whom; of a timer its id
  Happening what{};  ///< what
};

/// What an agent works at.
template <class Backend>
struct WorkOrder {
  typename Backend::Gain gain{};  ///< n_u x n_x
  Index version = 0;              ///< of the gain
};

/// The whole state of a simulation between two events, plain data: `resume_simulation` continues from a copy
/// as the run would have gone on, bitwise. What the run has recorded is no part of it, nor are its profiles,
/// options, and what its server and agents were made with.
/// @tparam Memory what an agent carries from one report to the next; see `MemoryOf`.
template <class Backend, class Memory = NoMemory>
struct SimulationState {
  double time = 0;              ///< of the last event, in ticks
  std::uint64_t events = 0;     ///< carried out since the beginning
  Index updates = 0;            ///< of the gain since the beginning
  Index timers = 0;             ///< begun since the beginning
  ServerState<Backend> server;  ///< of the server
  std::vector<Seat> seats;      ///< one for each agent
  /// What will happen, in the order of time; at the same time in the order in which it will.
  std::vector<WaitingHappening> waiting;
  std::vector<WorkOrder<Backend>> orders;  ///< one for each agent; zeros for those that are not at work
  /// What each agent is asked about, n_u x n_x, zeros for those that are not asked; empty before the first
  /// question.
  std::vector<typename Backend::Gain> candidates;
  std::vector<Memory> memories;  ///< one for each agent; none if they have no memory
};

/// A moment of a simulation, after an event with all that follows from it at once. Only for the time of the
/// call that is given it.
template <class Backend, class Memory = NoMemory>
class Moment {
 public:
  /// Takes the state of a simulation; for engines.
  using Take = SimulationState<Backend, Memory> (*)(const void* simulation, std::uint64_t events);

  /// For engines.
  Moment(double time, std::uint64_t events, const ServerState<Backend>& server, Index updates,
         const void* simulation, Take take)
      : time_(time),
        events_(events),
        server_(server),
        updates_(updates),
        simulation_(simulation),
        take_(take) {}

  /// Now, in ticks.
  double time() const { return time_; }
  /// Events carried out since the beginning.
  std::uint64_t events() const { return events_; }
  /// Updates of the gain since the beginning.
  Index updates() const { return updates_; }
  /// State of the server.
  const ServerState<Backend>& server() const { return server_; }
  /// Everything that is needed to go on from here. O(M log M) time and O(M) memory, each time.
  SimulationState<Backend, Memory> state() const { return take_(simulation_, events_); }

 private:
  double time_;
  std::uint64_t events_;
  const ServerState<Backend>& server_;
  Index updates_;
  const void* simulation_;
  Take take_;
};

}  // namespace metalqr::inline METALQR_ABI::federated
