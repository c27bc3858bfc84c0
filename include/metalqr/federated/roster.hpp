#pragma once

/// @file
/// The agents of a server: who is there, who works at which version, who waits, and what is sent to them.

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <metalqr/core/error.hpp>
#include <metalqr/federated/message.hpp>
#include <metalqr/federated/server_state.hpp>

namespace metalqr::inline METALQR_ABI::federated::detail {

/// The part of a server that deals with single agents.
template <MatrixBackend Backend>
class Roster {
 public:
  /// Works on a server's state; commands are appended.
  Roster(ServerState<Backend>& state, std::vector<Command<Backend>>& commands)
      : state_(state), commands_(commands) {}

  void say(Command<Backend> command) { commands_.push_back(std::move(command)); }

  /// The record of an agent that is known, or none.
  AgentRecord<Backend>* find(Index agent) {
    const bool exists = agent >= 0 && static_cast<std::size_t>(agent) < state_.agents.size();
    AgentRecord<Backend>* record = exists ? &state_.agents[static_cast<std::size_t>(agent)] : nullptr;
    return record != nullptr && record->known ? record : nullptr;
  }
  AgentRecord<Backend>& at(Index agent) { return state_.agents[static_cast<std::size_t>(agent)]; }

  /// Takes in an agent that is there now; whether it was not before.
  bool enter(const Joined<Backend>& joined) {
    if (joined.agent < 0) {
      throw InvalidOption("agent: expected a number >= 0, got " + std::to_string(joined.agent));
    }
    if (static_cast<std::size_t>(joined.agent) >= state_.agents.size()) {
      state_.agents.resize(static_cast<std::size_t>(joined.agent) + 1);
    }
    AgentRecord<Backend>& record = at(joined.agent);
    record.limit = joined.limit;
    if (!record.known) {
      record.known = true;
      ++state_.known;
    }
    if (record.present) return false;
    record.present = true;
    ++state_.present;
    return true;
  }

  /// Takes out an agent that is there.
  void remove(AgentRecord<Backend>& record) {
    record.present = false;
    --state_.present;
    if (record.working) --state_.working;
    record.working = record.waiting = false;
    if (state_.question.open && record.asked == state_.question.id) --state_.question.waiting;
    record.asked = -1;
  }

  /// Gives the current gain to an agent.
  void send(Index agent, bool restart = false) {
    AgentRecord<Backend>& record = at(agent);
    if (!record.working) ++state_.working;
    record.working = true;
    record.waiting = record.overdue = false;
    record.version = state_.version;
    if (!state_.sent.empty()) bucket(state_.version).push_back(agent);
    say(Send<Backend>{.agent = agent, .version = state_.version, .gain = state_.gain, .restart = restart});
  }

  /// Lets an agent that has reported wait for the next gain.
  void let_wait(Index agent) {
    at(agent).waiting = true;
    state_.idle.push_back(agent);
  }
  /// Gives the current gain to all who wait.
  void release_idle() {
    std::vector<Index> agents = std::move(state_.idle);
    state_.idle.clear();
    std::sort(agents.begin(), agents.end());
    for (const Index agent : agents) {
      if (at(agent).waiting) send(agent);
    }
  }

  /// Restarts those who work at a gain that has just become too old.
  void refresh(Index age) {
    if (state_.sent.empty()) return;
    const Index version = state_.version - age - 1;
    if (version < 0) return;
    const std::vector<Index> agents = std::move(bucket(version));
    bucket(version).clear();
    for (const Index agent : agents) {
      const AgentRecord<Backend>& record = at(agent);
      if (!record.present || !record.working || record.version != version) continue;
      ++state_.statistics.refreshes;
      send(agent, true);
    }
  }

  /// Asks an agent the open question.
  void ask(Index agent) {
    ++state_.question.waiting;
    at(agent).asked = state_.question.id;
    say(Ask<Backend>{.agent = agent, .candidate = state_.question.id, .gain = state_.question.gain});
  }

  /// Sends again what has not been answered since the retry timer went off before.
  void retry() {
    for (std::size_t i = 0; i < state_.agents.size(); ++i) {
      AgentRecord<Backend>& record = state_.agents[i];
      const Index agent = static_cast<Index>(i);
      if (!record.present) continue;
      if (record.working && record.overdue) {
        // Its version stays: if it is at work after all, it goes on, and reports what it was told first.
        ++state_.statistics.retries;
        say(Send<Backend>{.agent = agent, .version = state_.version, .gain = state_.gain});
      }
      record.overdue = record.working;
      if (state_.question.open && record.asked == state_.question.id) {
        ++state_.statistics.retries;
        say(Ask<Backend>{.agent = agent, .candidate = state_.question.id, .gain = state_.question.gain});
      }
    }
  }

 private:
  std::vector<Index>& bucket(Index version) {
    return state_.sent[static_cast<std::size_t>(version) % state_.sent.size()];
  }

  ServerState<Backend>& state_;
  std::vector<Command<Backend>>& commands_;
};

}  // namespace metalqr::inline METALQR_ABI::federated::detail
