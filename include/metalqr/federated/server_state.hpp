#pragma once

/// @file
/// What a server of a federated run carries from one event to the next.

#include <limits>
#include <vector>

#include <metalqr/core/backend.hpp>
#include <metalqr/federated/message.hpp>
#include <metalqr/federated/server_optimizer.hpp>

namespace metalqr::inline METALQR_ABI::federated {

/// What the server knows of an agent.
template <class Backend>
struct AgentRecord {
  using Scalar = typename Backend::Scalar;  ///< number type

  bool known = false;        ///< has joined at least once, and was not expelled
  bool present = false;      ///< is there
  bool working = false;      ///< has been sent a gain and not reported since
  bool waiting = false;      ///< has reported and waits for the next gain
  bool overdue = false;      ///< was at work already when the retry timer last went off
  Index version = 0;         ///< of the gain at which it was told to work, or an older one than it works at
  Index accepted = -1;       ///< the newest version of which it reported a cost within its limit
  Index reported = -1;       ///< the version of its last report
  Index asked = -1;          ///< the question that it has not answered; negative: none
  Index sends = 0;           ///< gains sent to it
  Index reports = 0;         ///< received from it
  Index participations = 0;  ///< reports of it that were used in an update
  Scalar limit = std::numeric_limits<Scalar>::infinity();  ///< the largest cost that it accepts
};

/// A gain that a server may return to.
template <class Backend>
struct Milestone {
  typename Backend::Gain gain;  ///< n_u x n_x
  Index version = 0;            ///< under which it was committed first
};

/// A step that the server makes of reports.
template <class Backend>
struct Step {
  typename Backend::Gain step;  ///< the current gain minus the next one, n_u x n_x
  Index reports = 0;            ///< behind it
  double size = 0;              ///< step size
};

/// What is asked of all agents that are present: about a candidate, or about a gain that is committed
/// already.
template <class Backend>
struct Question {
  bool open = false;            ///< whether there is one
  Index id = 0;                 ///< its number, counted over all questions
  Index waiting = 0;            ///< verdicts that are missing
  typename Backend::Gain gain;  ///< what is asked about
  Index version = -1;           ///< of that gain where it is committed; negative: it is a candidate
  Step<Backend> step;           ///< to a candidate
  int halvings = 0;             ///< of that step
};

/// Counts over a run.
struct ServerStatistics {
  Index reports = 0;             ///< received
  Index used = 0;                ///< in updates
  Index refused = 0;             ///< not finite, of another shape, or of no version or agent that there was
  Index repeated = 0;            ///< dropped because the agent has reported on what it was sent
  Index too_old = 0;             ///< dropped by the rule
  Index abandoned = 0;           ///< dropped because the server returned to an earlier gain
  Index updates = 0;             ///< of the gain
  Index questions = 0;           ///< asked of all agents
  Index halvings = 0;            ///< of a candidate's step
  Index rejections = 0;          ///< candidates given up
  Index rollbacks = 0;           ///< returns to an earlier gain
  Index refreshes = 0;           ///< agents restarted because their gain was too old
  Index retries = 0;             ///< messages sent again
  Index expelled = 0;            ///< agents that did not accept even the first gain
  Index unawaited = 0;           ///< verdicts, timers and departures that there was nothing to wait for
  std::vector<Index> staleness;  ///< of used reports: how many had each value
};

/// The whole state of a server, plain data: continuing from a copy gives the same commands, bitwise.
template <class Backend>
struct ServerState {
  typename Backend::Gain gain;               ///< the current one, n_u x n_x
  Index version = 0;                         ///< its number; a return to an earlier gain is a new version too
  Index origin = 0;                          ///< the version under which the current gain was committed first
  Index returned = 0;                        ///< the version of the last return; reports before it are void
  std::vector<AgentRecord<Backend>> agents;  ///< by number
  Index known = 0;                           ///< agents known
  Index present = 0;                         ///< of them, there
  Index working = 0;                         ///< of them, at work
  std::vector<Index> idle;                   ///< agents that wait for the next gain
  std::vector<std::vector<Index>> sent;      ///< agents by version modulo size, for rules that refresh
  std::vector<Report<Backend>> reports;      ///< received and not used yet
  OptimizerState<Backend> optimizer;         ///< of the server's optimiser
  Question<Backend> question;                ///< the open one
  Milestone<Backend> start;                  ///< K_0
  Milestone<Backend> safe;                   ///< accepted by all agents known then
  Milestone<Backend> confirmed;              ///< accepted by all agents present then
  bool window_armed = false;                 ///< the timer of the window is running
  bool retry_armed = false;                  ///< so is that of messages that are not answered
  ServerStatistics statistics;               ///< counts
};

}  // namespace metalqr::inline METALQR_ABI::federated
