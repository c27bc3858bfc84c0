#pragma once

/// @file
/// Whether the fields of a server's state fit together, for what reads one. Needs nlohmann-json (CMake
/// component metalqr::json).

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include <metalqr/core/backend.hpp>
#include <metalqr/federated/server_state.hpp>
#include <metalqr/io/json_field.hpp>

namespace metalqr::inline METALQR_ABI::io::detail {

/// Checks a state that was read; what is wrong is said of its field.
template <MatrixBackend Backend>
class ServerStateCheck {
 public:
  ServerStateCheck(const federated::ServerState<Backend>& state, const JsonField& root)
      : state_(state), root_(root) {}

  void run() const {
    check_agents();
    check_reports();
    check_question();
    check_milestones();
    check_statistics();
  }

 private:
  using Record = federated::AgentRecord<Backend>;

  static void require_at_most(const JsonField& field, Index value, Index most, const char* what) {
    if (value <= most) return;
    field.fail("expected at most " + std::to_string(most) + ", " + what + ", got " + std::to_string(value));
  }
  static void require_equal(const JsonField& field, Index value, Index expected, const char* what) {
    if (value == expected) return;
    field.fail("expected " + std::to_string(expected) + ", " + what + ", got " + std::to_string(value));
  }
  template <class Holds>
  Index agents_with(const Holds& holds) const {
    return static_cast<Index>(std::count_if(state_.agents.begin(), state_.agents.end(), holds));
  }

  void check_agents() const {
    std::vector<char> idle(state_.agents.size(), 0);
    for (const Index agent : state_.idle) idle[static_cast<std::size_t>(agent)] = 1;
    for (std::size_t i = 0; i < state_.agents.size(); ++i) {
      const Record& record = state_.agents[i];
      const auto field = [&](const char* name) { return root_.field("agents").entry(i).field(name); };
      if (record.present && !record.known)
        field("present").fail("expected false of an agent that is not known, got true");
      if (record.working && !record.present)
        field("working").fail("expected false of an agent that is not present, got true");
      if (record.waiting && !record.present)
        field("waiting").fail("expected false of an agent that is not present, got true");
      if (record.waiting && record.working)
        field("waiting").fail("expected false of an agent at work, got true");
      if (record.waiting && idle[i] == 0)
        field("waiting").fail("expected false of an agent that is not in the list idle, got true");
      require_at_most(field("version"), record.version, state_.version, "the version of the gain");
      require_at_most(field("accepted"), record.accepted, state_.version, "the version of the gain");
      require_at_most(field("reported"), record.reported, state_.version, "the version of the gain");
      require_at_most(field("asked"), record.asked, state_.question.id, "the number of the last question");
      require_at_most(field("reports"), record.reports, record.sends, "the gains sent to it");
      require_at_most(field("participations"), record.participations, record.reports, "its reports");
    }
    require_equal(root_.field("known"), state_.known, agents_with([](const Record& r) { return r.known; }),
                  "the number of agents that are known");
    require_equal(root_.field("present"), state_.present,
                  agents_with([](const Record& r) { return r.present; }),
                  "the number of agents that are present");
    require_equal(root_.field("working"), state_.working,
                  agents_with([](const Record& r) { return r.working; }),
                  "the number of agents that are at work");
  }

  void check_reports() const {
    for (std::size_t i = 0; i < state_.reports.size(); ++i) {
      const federated::Report<Backend>& report = state_.reports[i];
      const JsonField field = root_.field("reports").entry(i);
      if (report.version < state_.returned) {
        field.field("version").fail("expected at least " + std::to_string(state_.returned) +
                                    ", the version of the last return, got " +
                                    std::to_string(report.version));
      }
      require_at_most(field.field("version"), report.version, state_.version, "the version of the gain");
      if (!(std::isfinite(report.weight) && report.weight > 0)) {
        field.field("weight").fail("expected a positive number, got " + metalqr::detail::text(report.weight));
      }
      if (std::isinf(Backend::to_double(report.cost))) {
        field.field("cost").fail(R"(expected a finite number or "nan", got )" +
                                 metalqr::detail::text(Backend::to_double(report.cost)));
      }
    }
  }

  void check_question() const {
    const federated::Question<Backend>& question = state_.question;
    if (!question.open) return;
    const JsonField field = root_.field("question");
    const Index asked = agents_with([&](const Record& r) { return r.present && r.asked == question.id; });
    require_equal(field.field("waiting"), question.waiting, asked,
                  "the number of agents that have not answered it");
    if (question.waiting == 0 && state_.present > 0) {
      field.field("open").fail("expected false of a question that all have answered, got true");
    }
    require_at_most(field.field("version"), question.version, state_.version, "the version of the gain");
    if (question.version >= 0) return;
    if (!(std::isfinite(question.step.size) && question.step.size >= 0)) {
      field.field("step_size")
          .fail("expected a number >= 0, got " + metalqr::detail::text(question.step.size));
    }
  }

  /// Gains are confirmed in the order of their versions, by all agents more rarely than by those present.
  void check_milestones() const {
    const auto field = [this](const char* name) { return root_.field(name).field("version"); };
    require_at_most(field("start"), state_.start.version, state_.safe.version,
                    "the version of the safe gain");
    require_at_most(field("safe"), state_.safe.version, state_.confirmed.version,
                    "the version of the confirmed gain");
    require_at_most(field("confirmed"), state_.confirmed.version, state_.origin,
                    "the version of the current gain when it was committed first");
  }

  void check_statistics() const {
    const federated::ServerStatistics& statistics = state_.statistics;
    const JsonField field = root_.field("statistics");
    Index used = 0;
    for (const Index count : statistics.staleness) {
      if (count > statistics.used - used)
        field.field("staleness")
            .fail("expected numbers with the sum " + std::to_string(statistics.used) +
                  ", the reports used, got a larger one");
      used += count;
    }
    require_equal(field.field("used"), statistics.used, used, "the sum of the list staleness");
    require_at_most(field.field("updates"), statistics.updates, state_.version, "the version of the gain");
  }

  const federated::ServerState<Backend>& state_;
  const JsonField& root_;
};

template <MatrixBackend Backend>
void require_consistent(const federated::ServerState<Backend>& state, const JsonField& root) {
  ServerStateCheck<Backend>(state, root).run();
}

}  // namespace metalqr::inline METALQR_ABI::io::detail
