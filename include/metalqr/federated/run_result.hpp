#pragma once

/// @file
/// What a federated run leaves behind, whichever engine it ran in.

#include <cstdint>
#include <string>
#include <vector>

#include <metalqr/federated/message.hpp>
#include <metalqr/federated/server_state.hpp>

namespace metalqr::inline METALQR_ABI::federated {

/// What an engine writes down; each takes memory in proportion to what happens.
struct Recording {
  bool history = true;    ///< every gain that is committed, and how long refused ones lived
  bool timeline = false;  ///< who worked when, and who was there at each commit
  bool arrivals = false;  ///< what reached the server, in its order, for a replay
};

/// A stretch of work of an agent.
struct WorkSpan {
  /// How it ended.
  enum class End {
    reported,   ///< with a report
    lost,       ///< with a report that was lost
    restarted,  ///< because the server sent another gain
    left,       ///< because the agent went away
    open        ///< not before the run
  };
  Index agent = 0;      ///< who
  Index version = 0;    ///< of the gain
  double begin = 0;     ///< time
  double end = 0;       ///< time
  End how = End::open;  ///< how it ended
};

/// A gain that was committed.
template <class Backend>
struct CommitRecord {
  double time = 0;               ///< when
  Commit<Backend> commit;        ///< what
  std::vector<Index> present{};  ///< the agents that were there; empty unless a timeline is recorded
};

/// A gain that was committed and refused later on: what it costs to commit first and ask afterwards.
struct RefusedGain {
  Index version = 0;  ///< of the gain
  Index agent = 0;    ///< that refused it
  double begin = 0;   ///< when it was committed
  double since = 0;   ///< when the first was that led to it without having been accepted by all
  double end = 0;     ///< when the server returned to an earlier gain
};

/// Something that happened to the server, or would have if it had not been lost on the way.
struct Arrival {
  /// What.
  enum class Kind {
    joined,   ///< an agent came
    left,     ///< an agent went
    report,   ///< of a gradient
    verdict,  ///< the answer to a question
    timer     ///< went off
  };
  Kind kind = Kind::joined;  ///< what
  Index agent = 0;           ///< who; of a timer its id
  Index number = 0;          ///< of this kind and agent, from 0, those that never arrived included
  Index cause = 0;           ///< number of the arrival that it follows from, from 1; 0: the beginning
};

/// An agent that was left out, in an engine in real time.
struct AgentFailure {
  /// Why.
  enum class Kind {
    threw,  ///< its code threw; it is left out until the end
    late    ///< it took longer than the engine's `timeout`; it joins when it answers
  };
  Kind kind = Kind::threw;  ///< why
  Index agent = 0;          ///< who
  double time = 0;          ///< when
  std::string message{};    ///< of what was thrown
};

/// What a run did. Times are in ticks.
template <class Backend>
struct RunResult {
  typename Backend::Gain gain;                 ///< the last one
  double time = 0;                             ///< at the end
  std::uint64_t events = 0;                    ///< that were carried out
  Index updates = 0;                           ///< of the gain, without returns to an earlier one
  bool stopped = false;                        ///< by the observer or the keeper
  std::vector<CommitRecord<Backend>> history;  ///< every gain that was committed, without the first
  std::vector<RefusedGain> refused;            ///< gains that the server returned from
  std::vector<WorkSpan> timeline;              ///< in the order of their ends
  std::vector<Arrival> arrivals;               ///< see `Recording`
  std::vector<AgentFailure> failures;          ///< in their order; none in virtual time
};

/// What an observer sees at each commit.
template <class Backend>
struct RunInfo {
  double time = 0;                    ///< now, in ticks
  const Commit<Backend>& commit;      ///< the new gain
  const ServerState<Backend>& state;  ///< of the server
};

}  // namespace metalqr::inline METALQR_ABI::federated
