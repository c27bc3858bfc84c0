#pragma once

/// @file
/// The server of a federated run: a state machine that turns events into commands.

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <metalqr/core/check.hpp>
#include <metalqr/core/error.hpp>
#include <metalqr/federated/aggregation.hpp>
#include <metalqr/federated/combiner.hpp>
#include <metalqr/federated/message.hpp>
#include <metalqr/federated/milestones.hpp>
#include <metalqr/federated/roster.hpp>
#include <metalqr/federated/rule.hpp>
#include <metalqr/federated/server_optimizer.hpp>
#include <metalqr/federated/server_options.hpp>
#include <metalqr/federated/server_state.hpp>

namespace metalqr::inline METALQR_ABI::federated {

/// The server of asynchronous and of synchronous federated policy gradient (Toso, Wang, Anderson,
/// "Asynchronous heterogeneous linear quadratic regulator design", 2024, algorithm 1, with the rule
/// `Buffered`): K_{n+1} = K_n - eta sum_i w_i g_i / sum_i w_i over the reports of an update, or what its
/// combiner and optimiser make of them. It has no clock, thread or socket: an engine calls `on` and carries
/// out the commands. The reports of an update are combined in the order of their agents, so that the order of
/// arrival within one does not matter.
///
/// An event costs O(1), an update O(reports), a question and a return to an earlier gain O(agents).
template <MatrixBackend Backend_, Rule RuleType, class CombinerType = Mean, class OptimizerType = PlainStep>
class Server {
 public:
  using Backend = Backend_;                        ///< matrix library
  using Gain = typename Backend::Gain;             ///< n_u x n_x
  using Scalar = typename Backend::Scalar;         ///< number type
  using State = ServerState<Backend>;              ///< what it carries
  using Commands = std::vector<Command<Backend>>;  ///< what it says

  /// @param K0 n_u x n_x, which every agent's system is stable with.
  /// @throws DimensionMismatch, NotFinite for a bad K0; InvalidOption.
  Server(const Gain& K0, RuleType rule, const ServerOptions& options = {}, CombinerType combiner = {},
         OptimizerType optimizer = {})
      : Server(start_at(K0), std::move(rule), options, std::move(combiner), std::move(optimizer)) {}
  /// Continues from a state, of a server with a rule that restarts agents after as many versions.
  /// @throws InvalidOption; DimensionMismatch or NotFinite for a state without a gain.
  Server(State state, RuleType rule, const ServerOptions& options = {}, CombinerType combiner = {},
         OptimizerType optimizer = {})
      : state_(std::move(state)),
        rule_(std::move(rule)),
        options_(options),
        combiner_(std::move(combiner)),
        optimizer_(std::move(optimizer)) {
    validate(options_);
    federated::validate(rule_);
    if constexpr (requires { validate(combiner_); }) validate(combiner_);
    if constexpr (requires { validate(optimizer_); }) validate(optimizer_);
    metalqr::detail::require_shape<Backend>(state_.gain, Backend::rows(state_.gain),
                                            Backend::cols(state_.gain), "K0");
    metalqr::detail::require_finite<Backend>(state_.gain, "K0");
    prepare_refreshes();
  }

  /// The state, to look at or to continue from.
  const State& state() const noexcept { return state_; }
  /// The current gain.
  const Gain& gain() const noexcept { return state_.gain; }

  /// Takes in an event and appends what follows from it to `commands`.
  /// @throws InvalidOption for an agent with a negative number.
  void on(const Event<Backend>& event, Commands& commands) {
    out_ = &commands;
    std::visit([this](const auto& message) { this->take(message); }, event);
    out_ = nullptr;
  }
  /// The same, with the commands as the result.
  Commands on(const Event<Backend>& event) {
    Commands commands;
    on(event, commands);
    return commands;
  }

 private:
  static constexpr Index window_timer = 0;
  static constexpr Index retry_timer = 1;

  static State start_at(const Gain& K0) {
    State state;
    state.gain = K0;
    state.start = state.safe = state.confirmed = {.gain = K0};
    return state;
  }

  /// One list of agents for each version that is not too old, and one for the next.
  void prepare_refreshes() {
    const Index bound = federated::refresh_after(rule_);
    const std::size_t lists = bound >= 0 ? static_cast<std::size_t>(bound) + 2 : 0;
    if (state_.agents.empty() && state_.sent.empty()) state_.sent.resize(lists);
    if (state_.sent.size() == lists) return;
    throw InvalidOption("state: expected one of a server whose rule restarts agents after " +
                        std::to_string(bound) + " versions, got one for " +
                        std::to_string(static_cast<Index>(state_.sent.size()) - 2));
  }

  detail::Roster<Backend> roster() { return {state_, *out_}; }

  void take(const Joined<Backend>& joined) {
    if (roster().enter(joined) && state_.question.open) roster().ask(joined.agent);
    roster().send(joined.agent);
    arm();
  }

  void take(const Left& left) {
    if (AgentRecord<Backend>* record = roster().find(left.agent); record != nullptr && record->present) {
      roster().remove(*record);
      if (state_.question.open && state_.question.waiting == 0) settle();
      update_if_ready();
    }
  }

  void take(const Report<Backend>& report) {
    ++state_.statistics.reports;
    AgentRecord<Backend>* record = roster().find(report.agent);
    if (record == nullptr || report.version < 0 || report.version > state_.version) {
      ++state_.statistics.refused;
      return;
    }
    if (!record->working) {
      ++state_.statistics.repeated;
      return;
    }
    ++record->reports;
    // An older report was on its way when the agent was restarted.
    if (report.version >= record->version) {
      record->working = false;
      --state_.working;
    }
    const bool accepted = report.cost <= record->limit;
    if (accepted && report.version > record->accepted) record->accepted = report.version;
    if (report.version < state_.returned) {
      ++state_.statistics.abandoned;
    } else if (options_.guard != Guard::none && !accepted && !std::isnan(Backend::to_double(report.cost)) &&
               report.version > record->accepted) {
      ++state_.statistics.abandoned;
      return_for(report.agent, report.version);
      return;
    } else if (!detail::is_usable(report, state_.gain)) {
      ++state_.statistics.refused;
    } else if (!federated::admits(rule_, state_.version - report.version)) {
      ++state_.statistics.too_old;
    } else {
      state_.reports.push_back(report);
      if (!record->working && federated::keeps_working(rule_)) {
        roster().send(report.agent);
      } else if (!record->working) {
        roster().let_wait(report.agent);
      }
      update_if_ready();
      return;
    }
    if (!record->working) roster().send(report.agent);
  }

  void take(const Verdict<Backend>& verdict) {
    AgentRecord<Backend>* record = roster().find(verdict.agent);
    Question<Backend>& question = state_.question;
    if (record == nullptr || !question.open || verdict.candidate != question.id ||
        record->asked != question.id) {
      return;
    }
    record->asked = -1;
    --question.waiting;
    if (!(verdict.cost <= record->limit)) {
      if (question.version >= 0) {
        return_for(verdict.agent, question.version);
      } else {
        halve();
      }
      return;
    }
    if (question.version > record->accepted) record->accepted = question.version;
    if (question.waiting == 0) settle();
  }

  void take(const Timer& timer) {
    if (timer.id == window_timer && federated::window(rule_) > 0) {
      roster().say(Wake{.id = window_timer, .delay = federated::window(rule_)});
      if (!state_.reports.empty() && is_enough() && !is_deciding()) update();
    } else if (timer.id == retry_timer && options_.retry_after > 0) {
      roster().say(Wake{.id = retry_timer, .delay = options_.retry_after});
      roster().retry();
    }
  }

  /// Whether a candidate is being asked about, so that no other can be made.
  bool is_deciding() const { return state_.question.open && state_.question.version < 0; }

  void arm() {
    if (state_.armed) return;
    state_.armed = true;
    if (federated::window(rule_) > 0)
      roster().say(Wake{.id = window_timer, .delay = federated::window(rule_)});
    if (options_.retry_after > 0) roster().say(Wake{.id = retry_timer, .delay = options_.retry_after});
  }

  bool is_enough() const { return static_cast<Index>(state_.reports.size()) >= fewest_estimates(combiner_); }

  void update_if_ready() {
    while (!is_deciding() && is_enough() &&
           rule_.is_ready(Standing{.reports = static_cast<Index>(state_.reports.size()),
                                   .working = state_.working,
                                   .present = state_.present})) {
      update();
    }
  }

  /// Makes one step of the reports, and commits it or asks about it.
  void update() {
    const std::optional<Step<Backend>> step =
        aggregation_.step(state_, rule_, combiner_, optimizer_, options_.step);
    if (!step) return give_up();
    if (options_.guard != Guard::ask) return commit(state_.gain - step->step, step->reports, step->size);
    state_.question.step = *step;
    state_.question.halvings = 0;
    ask_about(state_.gain - step->step, -1);
  }

  void commit(Gain gain, Index reports, double step_size) {
    state_.gain = std::move(gain);
    state_.origin = ++state_.version;
    ++state_.statistics.updates;
    roster().say(Commit<Backend>{
        .version = state_.version, .gain = state_.gain, .reports = reports, .step = step_size});
    if (options_.guard == Guard::ask) detail::confirm<Backend>(state_, state_.gain, state_.version);
    detail::drop_too_old(state_, rule_);
    roster().release_idle();
    roster().refresh(federated::refresh_after(rule_));
    if (options_.guard == Guard::rollback && !state_.question.open) ask_about(state_.gain, state_.version);
  }

  /// Asks all agents about a candidate, or about a version that is committed.
  void ask_about(Gain gain, Index version) {
    Question<Backend>& question = state_.question;
    question.open = true;
    ++question.id;
    ++state_.statistics.questions;
    question.gain = std::move(gain);
    question.version = version;
    question.waiting = 0;
    for (std::size_t agent = 0; agent < state_.agents.size(); ++agent) {
      if (state_.agents[agent].present) roster().ask(static_cast<Index>(agent));
    }
    if (question.waiting == 0) settle();
  }
  /// All have accepted.
  void settle() {
    Question<Backend>& question = state_.question;
    question.open = false;
    if (question.version < 0) {
      commit(question.gain, question.step.reports, question.step.size);
      update_if_ready();
      return;
    }
    detail::confirm<Backend>(state_, question.gain, question.version);
    if (state_.origin > question.version) ask_about(state_.gain, state_.version);
  }

  void give_up() {
    ++state_.statistics.rejections;
    roster().say(Reject{.candidate = state_.question.id});
    roster().release_idle();
  }

  /// Asks about half the step of a candidate that somebody did not accept.
  void halve() {
    Question<Backend>& question = state_.question;
    if (question.halvings == options_.max_halvings) {
      question.open = false;
      give_up();
      update_if_ready();
      return;
    }
    ++question.halvings;
    ++state_.statistics.halvings;
    question.step.step = question.step.step / Scalar(2);
    question.step.size /= 2;
    ask_about(state_.gain - question.step.step, -1);
  }

  /// Returns to the newest gain before the current one that others accepted, because this agent does not
  /// accept the version `refused`; where there is none, the agent has to leave.
  void return_for(Index agent, Index refused) {
    const Milestone<Backend>* target = detail::newest_accepted(state_);
    if (target == nullptr) {
      AgentRecord<Backend>& record = roster().at(agent);
      ++state_.statistics.expelled;
      if (record.present) roster().remove(record);
      record.known = false;
      --state_.known;
      if (state_.question.open && state_.question.waiting == 0) settle();
      update_if_ready();
      return;
    }
    const Index unconfirmed = std::min(refused, detail::first_unconfirmed(state_));
    detail::return_to(state_, *target);
    roster().say(Commit<Backend>{.version = state_.version,
                                 .gain = state_.gain,
                                 .refused = refused,
                                 .unconfirmed = unconfirmed,
                                 .refused_by = agent});
    for (std::size_t i = 0; i < state_.agents.size(); ++i) {
      if (state_.agents[i].present) roster().send(static_cast<Index>(i), true);
    }
  }

  State state_;
  RuleType rule_;
  ServerOptions options_;
  CombinerType combiner_;
  OptimizerType optimizer_;
  detail::Aggregation<Backend> aggregation_;
  Commands* out_ = nullptr;
};

}  // namespace metalqr::inline METALQR_ABI::federated
