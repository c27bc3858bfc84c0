#pragma once

/// Equality and invariants of what a server carries and says.

#include <cstddef>
#include <type_traits>
#include <variant>
#include <vector>

#include <metalqr/federated/message.hpp>
#include <metalqr/federated/server_state.hpp>

#include "fuzz.hpp"

namespace fuzz {

namespace fed = metalqr::federated;
using Command = fed::Command<Backend>;
using Event = fed::Event<Backend>;
using State = fed::ServerState<Backend>;

inline bool same(const fed::ServerStatistics& x, const fed::ServerStatistics& y) {
  return x.reports == y.reports && x.used == y.used && x.refused == y.refused && x.repeated == y.repeated &&
         x.too_old == y.too_old && x.abandoned == y.abandoned && x.updates == y.updates &&
         x.questions == y.questions && x.halvings == y.halvings && x.rejections == y.rejections &&
         x.rollbacks == y.rollbacks && x.refreshes == y.refreshes && x.retries == y.retries &&
         x.expelled == y.expelled && x.staleness == y.staleness;
}

inline bool same(const fed::AgentRecord<Backend>& x, const fed::AgentRecord<Backend>& y) {
  return x.known == y.known && x.present == y.present && x.working == y.working && x.waiting == y.waiting &&
         x.overdue == y.overdue && x.version == y.version && x.accepted == y.accepted &&
         x.reported == y.reported && x.asked == y.asked && x.sends == y.sends && x.reports == y.reports &&
         x.participations == y.participations && same(x.limit, y.limit);
}

inline bool same(const fed::Report<Backend>& x, const fed::Report<Backend>& y) {
  return x.agent == y.agent && x.version == y.version && same_matrix(x.estimate, y.estimate) &&
         same(x.cost, y.cost) && same(x.weight, y.weight);
}

inline bool same(const fed::Milestone<Backend>& x, const fed::Milestone<Backend>& y) {
  return x.version == y.version && same_matrix(x.gain, y.gain);
}

inline bool same(const fed::Question<Backend>& x, const fed::Question<Backend>& y) {
  return x.open == y.open && x.id == y.id && x.waiting == y.waiting && same_matrix(x.gain, y.gain) &&
         x.version == y.version && same_matrix(x.step.step, y.step.step) &&
         x.step.reports == y.step.reports && same(x.step.size, y.step.size) && x.halvings == y.halvings;
}

inline bool same(const fed::Send<Backend>& x, const fed::Send<Backend>& y) {
  return x.agent == y.agent && x.version == y.version && x.restart == y.restart &&
         same_matrix(x.gain, y.gain);
}
inline bool same(const fed::Ask<Backend>& x, const fed::Ask<Backend>& y) {
  return x.agent == y.agent && x.candidate == y.candidate && same_matrix(x.gain, y.gain);
}
inline bool same(const fed::Commit<Backend>& x, const fed::Commit<Backend>& y) {
  return x.version == y.version && same_matrix(x.gain, y.gain) && x.reports == y.reports &&
         same(x.step, y.step) && x.refused == y.refused && x.unconfirmed == y.unconfirmed &&
         x.refused_by == y.refused_by;
}
inline bool same(const fed::Reject& x, const fed::Reject& y) {
  return x.candidate == y.candidate;
}
inline bool same(const fed::Expel& x, const fed::Expel& y) {
  return x.agent == y.agent;
}
inline bool same(const fed::Wake& x, const fed::Wake& y) {
  return x.id == y.id && same(x.delay, y.delay);
}
inline bool same(const Command& x, const Command& y) {
  return x.index() == y.index() && std::visit(
                                       [&y](const auto& command) {
                                         return same(command, std::get<std::decay_t<decltype(command)>>(y));
                                       },
                                       x);
}

template <class T>
bool same(const std::vector<T>& x, const std::vector<T>& y) {
  if (x.size() != y.size()) return false;
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (!same(x[i], y[i])) return false;
  }
  return true;
}

/// All but the statistics.
inline bool same_but_counts(const State& x, const State& y) {
  return same_matrix(x.gain, y.gain) && x.version == y.version && x.origin == y.origin &&
         x.returned == y.returned && same(x.agents, y.agents) && x.known == y.known &&
         x.present == y.present && x.working == y.working && x.idle == y.idle && x.sent == y.sent &&
         same(x.reports, y.reports) && same_matrix(x.optimizer.first, y.optimizer.first) &&
         same_matrix(x.optimizer.second, y.optimizer.second) && x.optimizer.steps == y.optimizer.steps &&
         same(x.question, y.question) && same(x.start, y.start) && same(x.safe, y.safe) &&
         same(x.confirmed, y.confirmed) && x.window_armed == y.window_armed && x.retry_armed == y.retry_armed;
}

inline bool same(const State& x, const State& y) {
  return same_but_counts(x, y) && same(x.statistics, y.statistics);
}

/// Whether no count has fallen.
inline bool has_grown(const fed::ServerStatistics& now, const fed::ServerStatistics& before) {
  bool grown = now.staleness.size() >= before.staleness.size();
  for (std::size_t i = 0; grown && i < before.staleness.size(); ++i)
    grown = now.staleness[i] >= before.staleness[i];
  return grown && now.reports >= before.reports && now.used >= before.used && now.refused >= before.refused &&
         now.repeated >= before.repeated && now.too_old >= before.too_old &&
         now.abandoned >= before.abandoned && now.updates >= before.updates &&
         now.questions >= before.questions && now.halvings >= before.halvings &&
         now.rejections >= before.rejections && now.rollbacks >= before.rollbacks &&
         now.refreshes >= before.refreshes && now.retries >= before.retries &&
         now.expelled >= before.expelled;
}

/// What holds of a state between events.
inline void require_invariants(const State& state) {
  require(Backend::is_finite(state.gain), "the gain is finite");
  require(Backend::is_finite(state.optimizer.first) && Backend::is_finite(state.optimizer.second),
          "the optimiser's matrices are finite");
  require(0 <= state.origin && state.origin <= state.version && state.returned <= state.version,
          "the gain's versions are in order");
  require(state.start.version == 0 && state.safe.version <= state.confirmed.version &&
              state.confirmed.version <= state.origin,
          "the milestones are in order");
  Index known = 0;
  Index present = 0;
  Index working = 0;
  Index asked = 0;
  std::vector<bool> idle(state.agents.size(), false);
  for (const Index agent : state.idle) idle.at(static_cast<std::size_t>(agent)) = true;
  for (std::size_t i = 0; i < state.agents.size(); ++i) {
    const fed::AgentRecord<Backend>& record = state.agents[i];
    known += record.known ? 1 : 0;
    present += record.present ? 1 : 0;
    working += record.working ? 1 : 0;
    asked += state.question.open && record.asked == state.question.id ? 1 : 0;
    require(record.known || !record.present, "who is present is known");
    require(record.present || !(record.working || record.waiting), "who works or waits is present");
    require(!record.present || record.working != record.waiting, "who is present works or waits");
    require(!record.waiting || idle[i], "who waits is on the list");
    require(record.reports <= record.sends && record.participations <= record.reports,
            "an agent's reports have been asked for");
    require(record.version <= state.version && record.accepted <= state.version &&
                record.reported <= state.version,
            "an agent knows no later version");
  }
  require(state.known == known && state.present == present && state.working == working,
          "counts of agents are right");
  require(!state.question.open || state.question.waiting == asked, "count of missing verdicts is right");
  require(!state.question.open || asked > 0 || present == 0, "an open question waits for somebody");
  for (const fed::Report<Backend>& report : state.reports) {
    require(report.estimate.rows() == state.gain.rows() && report.estimate.cols() == state.gain.cols() &&
                Backend::is_finite(report.estimate) && report.weight > 0 &&
                !(report.weight - report.weight != 0),
            "a report that is kept can be used");
    require(report.version >= state.returned && report.version <= state.version,
            "a report that is kept is not void");
  }
}

}  // namespace fuzz
