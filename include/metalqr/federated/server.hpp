#pragma once

/// @file
/// The server of a federated run: a state machine that turns events into commands.

#include <cmath>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <metalqr/core/backend.hpp>
#include <metalqr/federated/aggregation.hpp>
#include <metalqr/federated/combiner.hpp>
#include <metalqr/federated/decisions.hpp>
#include <metalqr/federated/message.hpp>
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
/// A report counts once for each gain that was sent. An agent of which the report cannot be used (not finite,
/// say) waits for the next gain like the others. A combiner that needs more estimates than come waits for
/// more agents. Where nobody is there, a question that is open waits for somebody who can answer it.
///
/// A report or verdict costs O(1), an update O(reports), a question, a return to an earlier gain, and each
/// time that messages are looked through for answers O(agents).
template <MatrixBackend Backend_, Rule RuleType, class CombinerType = Mean, class OptimizerType = PlainStep>
class Server : private detail::Decisions<Backend_, RuleType, CombinerType, OptimizerType> {
  using Base = detail::Decisions<Backend_, RuleType, CombinerType, OptimizerType>;

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
      : Base(start_at(K0), std::move(rule), options, std::move(combiner), std::move(optimizer)) {}
  /// Continues from a state, of a server with a rule that restarts agents after as many versions.
  /// @throws InvalidOption; DimensionMismatch or NotFinite for a state without a gain.
  Server(State state, RuleType rule, const ServerOptions& options = {}, CombinerType combiner = {},
         OptimizerType optimizer = {})
      : Base(std::move(state), std::move(rule), options, std::move(combiner), std::move(optimizer)) {}

  /// The state, to look at or to continue from.
  const State& state() const noexcept { return state_; }
  /// The current gain.
  const Gain& gain() const noexcept { return state_.gain; }
  /// Its rule.
  const RuleType& rule() const noexcept { return rule_; }
  /// Its settings.
  const ServerOptions& options() const noexcept { return options_; }

  /// Takes in an event and appends what follows from it to `commands`.
  /// @throws InvalidOption for an agent that joins with a number or a limit out of range; nothing has changed
  /// then.
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

  /// Goes on from a state, of a server with a rule that restarts agents after as many versions.
  /// @throws InvalidOption; DimensionMismatch for a gain of another shape than its own, NotFinite. Nothing
  /// has changed then.
  void restore(State state) { this->adopt(std::move(state)); }

  /// Says that all that was under way is lost, and everybody away until they join again: what an engine says
  /// first, so that a server goes on in another run, or after it was read from a file. Nothing happens to a
  /// new one.
  void interrupt() {
    Commands none;
    out_ = &none;
    roster().clear();
    out_ = nullptr;
  }

 private:
  using Base::halve;
  using Base::options_;
  using Base::out_;
  using Base::roster;
  using Base::rule_;
  using Base::state_;
  static constexpr Index window_timer = 0;
  static constexpr Index retry_timer = 1;

  static State start_at(const Gain& K0) {
    State state;
    state.gain = K0;
    state.start = state.safe = state.confirmed = {.gain = K0};
    return state;
  }

  void take(const Joined<Backend>& joined) {
    const AgentRecord<Backend>* before = roster().find(joined.agent);
    const bool was_present = before != nullptr && before->present;
    roster().enter(joined, options_.max_agents);
    this->ask_newcomer(joined.agent);
    roster().send(joined.agent, was_present);
    arm();
  }

  void take(const Left& left) {
    AgentRecord<Backend>* record = roster().find(left.agent);
    if (record == nullptr || !record->present) {
      ++state_.statistics.unawaited;
      return;
    }
    roster().remove(*record);
    this->settle_if_answered();
    this->update_if_ready();
  }

  void take(const Report<Backend>& report) {
    ++state_.statistics.reports;
    AgentRecord<Backend>* record = roster().find(report.agent);
    if (record == nullptr || report.version < 0 || report.version > state_.version) {
      ++state_.statistics.refused;
      return;
    }
    // An older one than it was told to begin was on its way, or that message was lost.
    const bool is_late = report.version < record->version;
    const bool is_awaited =
        is_late ? report.version > record->reported && record->reports + 1 < record->sends : record->working;
    if (!is_awaited) {
      ++state_.statistics.repeated;
      return;
    }
    ++record->reports;
    record->reported = report.version;
    if (!is_late) {
      record->working = false;
      --state_.working;
    }
    const bool accepted = report.cost <= record->limit;
    if (accepted && report.version > record->accepted) record->accepted = report.version;
    if (options_.guard != Guard::none && !accepted && report.version >= state_.returned &&
        !std::isnan(Backend::to_double(report.cost)) && report.version > record->accepted) {
      ++state_.statistics.abandoned;
      return this->return_for(report.agent, report.version);
    }
    bool waits = report.version == state_.version;
    if (report.version < state_.returned) {
      ++state_.statistics.abandoned;
    } else if (!detail::is_usable(report, state_.gain)) {
      ++state_.statistics.refused;
    } else if (!federated::admits(rule_, state_.version - report.version)) {
      ++state_.statistics.too_old;
    } else {
      state_.reports.push_back(report);
      waits = this->is_deciding() || !federated::keeps_working(rule_);
    }
    if (!is_late && waits) {
      roster().let_wait(report.agent);
    } else if (!is_late) {
      roster().send(report.agent);
    }
    this->update_if_ready();
  }

  void take(const Verdict<Backend>& verdict) {
    AgentRecord<Backend>* record = roster().find(verdict.agent);
    Question<Backend>& question = state_.question;
    if (record == nullptr || !question.open || verdict.candidate != question.id ||
        record->asked != question.id) {
      ++state_.statistics.unawaited;
      return;
    }
    record->asked = -1;
    --question.waiting;
    if (!(verdict.cost <= record->limit)) {
      if (question.version < 0) return halve();
      return this->return_for(verdict.agent, question.version);
    }
    if (question.version > record->accepted) record->accepted = question.version;
    this->settle_if_answered();
  }

  void take(const Timer& timer) {
    if (timer.id == window_timer && state_.window_armed) {
      state_.window_armed = false;
      if (!state_.reports.empty() && this->is_enough() && !this->is_deciding()) this->update();
    } else if (timer.id == retry_timer && state_.retry_armed) {
      state_.retry_armed = false;
      roster().retry();
    } else {
      ++state_.statistics.unawaited;
      return;
    }
    // With nobody there the timers stop, and begin again with the first to come.
    if (state_.present > 0) arm();
  }

  void arm() {
    const auto start = [this](bool& armed, Index id, double delay) {
      if (armed || !(delay > 0)) return;
      armed = true;
      roster().say(Wake{.id = id, .delay = delay});
    };
    start(state_.window_armed, window_timer, federated::window(rule_));
    start(state_.retry_armed, retry_timer, options_.retry_after);
  }
};

/// A server, of which the rule, the combiner and the optimiser say their types themselves:
/// `make_server<Backend>(K0, bounded(weighted(Buffered{.count = 20}, PolynomialWeight{}), 10))`.
template <MatrixBackend Backend, Rule RuleType, class CombinerType = Mean, class OptimizerType = PlainStep>
Server<Backend, RuleType, CombinerType, OptimizerType> make_server(
    const std::type_identity_t<typename Backend::Gain>& K0, const RuleType& rule,
    const ServerOptions& options = {}, const CombinerType& combiner = {},
    const OptimizerType& optimizer = {}) {
  return {K0, rule, options, combiner, optimizer};
}

}  // namespace metalqr::inline METALQR_ABI::federated
