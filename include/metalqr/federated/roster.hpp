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

  /// Takes in an agent that is there now, and has lost what it was told if it was there before.
  void enter(const Joined<Backend>& joined, Index max_agents) {
    if (joined.agent < 0 || joined.agent >= max_agents) {
      throw InvalidOption("agent: expected a number >= 0 and below " + std::to_string(max_agents) + ", got " +
                          std::to_string(joined.agent));
    }
    if (joined.limit != joined.limit) throw InvalidOption("limit: expected a number, got a NaN");
    if (static_cast<std::size_t>(joined.agent) >= state_.agents.size()) {
      state_.agents.resize(static_cast<std::size_t>(joined.agent) + 1);
    }
    AgentRecord<Backend>& record = at(joined.agent);
    record.limit = joined.limit;
    if (!record.known) {
      record.known = true;
      ++state_.known;
    }
    if (record.present) remove(record);
    record.present = true;
    ++state_.present;
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
    ++record.sends;
    if (!state_.sent.empty()) {
      std::vector<Index>& agents = bucket(state_.version);
      tidy(agents, [this](const AgentRecord<Backend>& other) {
        return other.present && other.working && other.version == state_.version;
      });
      agents.push_back(agent);
    }
    say(Send<Backend>{.agent = agent, .version = state_.version, .gain = state_.gain, .restart = restart});
  }

  /// Lets an agent that has reported wait for the next gain.
  void let_wait(Index agent) {
    at(agent).waiting = true;
    tidy(state_.idle, [](const AgentRecord<Backend>& other) { return other.waiting; });
    state_.idle.push_back(agent);
  }
  /// Gives the current gain to all who wait.
  void release_idle() {
    std::vector<Index> agents = std::move(state_.idle);
    state_.idle.clear();
    std::sort(agents.begin(), agents.end());
    agents.erase(std::unique(agents.begin(), agents.end()), agents.end());
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
        ++record.sends;
        say(Send<Backend>{.agent = agent, .version = state_.version, .gain = state_.gain});
      }
      record.overdue = record.working;
      if (state_.question.open && record.asked == state_.question.id) {
        ++state_.statistics.retries;
        say(Ask<Backend>{.agent = agent, .candidate = state_.question.id, .gain = state_.question.gain});
      }
    }
  }

  /// Everybody is away, and all that was under way is lost.
  void clear() {
    for (AgentRecord<Backend>& record : state_.agents) {
      if (record.present) remove(record);
    }
    state_.idle.clear();
    for (std::vector<Index>& agents : state_.sent) agents.clear();
    state_.window_armed = state_.retry_armed = false;
  }

 private:
  /// Takes agents out of a list that no longer belong there, when it is long for the fleet.
  template <class Belongs>
  void tidy(std::vector<Index>& agents, const Belongs& belongs) {
    if (agents.size() < 2 * state_.agents.size() + 16) return;
    std::sort(agents.begin(), agents.end());
    agents.erase(std::unique(agents.begin(), agents.end()), agents.end());
    std::erase_if(agents, [&](Index agent) { return !belongs(at(agent)); });
  }

  std::vector<Index>& bucket(Index version) {
    return state_.sent[static_cast<std::size_t>(version) % state_.sent.size()];
  }

  ServerState<Backend>& state_;
  std::vector<Command<Backend>>& commands_;
};

}  // namespace metalqr::inline METALQR_ABI::federated::detail
