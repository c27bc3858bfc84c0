#pragma once

/// @file
/// What a server decides: updates, questions to all agents, commits, and returns to earlier gains.

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <metalqr/core/check.hpp>
#include <metalqr/core/error.hpp>
#include <metalqr/federated/aggregation.hpp>
#include <metalqr/federated/combiner.hpp>
#include <metalqr/federated/message.hpp>
#include <metalqr/federated/milestones.hpp>
#include <metalqr/federated/roster.hpp>
#include <metalqr/federated/rule.hpp>
#include <metalqr/federated/server_options.hpp>
#include <metalqr/federated/server_state.hpp>

namespace metalqr::inline METALQR_ABI::federated::detail {

/// The part of a server that decides. Under `Guard::ask` an open question, about a candidate or, because an
/// agent has come, about the gain that is committed, keeps candidates waiting; under `Guard::rollback` none
/// does.
template <MatrixBackend Backend, Rule RuleType, class CombinerType, class OptimizerType>
class Decisions {
 public:
  using Gain = typename Backend::Gain;
  using Scalar = typename Backend::Scalar;
  using Commands = std::vector<Command<Backend>>;

  Decisions(ServerState<Backend> state, RuleType rule, const ServerOptions& options, CombinerType combiner,
            OptimizerType optimizer)
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
    prepare_refreshes(state_);
  }

 protected:
  /// Goes on from another state, of gains of the same shape.
  void adopt(ServerState<Backend> state) {
    metalqr::detail::require_shape<Backend>(state.gain, Backend::rows(state_.gain),
                                            Backend::cols(state_.gain), "state.gain");
    metalqr::detail::require_finite<Backend>(state.gain, "state.gain");
    prepare_refreshes(state);
    state_ = std::move(state);
  }

  Roster<Backend> roster() { return {state_, *out_}; }

  /// Whether no candidate can be made before a question has been answered.
  bool is_deciding() const { return options_.guard == Guard::ask && state_.question.open; }
  bool is_enough() const { return static_cast<Index>(state_.reports.size()) >= fewest_estimates(combiner_); }

  void update_if_ready() {
    while (!is_deciding() && is_enough() &&
           rule_.is_ready(Standing{.reports = static_cast<Index>(state_.reports.size()),
                                   .working = state_.working,
                                   .present = state_.present})) {
      update();
    }
    // Nobody has anything to report at this gain: another try has other random numbers.
    if (state_.working == 0 && state_.reports.empty() && !is_deciding()) roster().release_idle();
  }

  /// Makes one step of the reports, and commits it or asks about it.
  void update() {
    const std::optional<Step<Backend>> step =
        aggregation_.step(state_, rule_, combiner_, optimizer_, options_.step);
    if (!step) return give_up(0);
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
    if (options_.guard == Guard::ask) {
      confirm<Backend>(state_, state_.gain, state_.version);
      for (AgentRecord<Backend>& record : state_.agents) {
        if (record.present) record.accepted = state_.version;
      }
    }
    drop_too_old(state_, rule_);
    roster().release_idle();
    roster().refresh(federated::refresh_after(rule_));
    if (options_.guard == Guard::rollback && !state_.question.open) ask_about(state_.gain, state_.origin);
  }

  /// Asks all agents about a candidate, or about a version that is committed. Where nobody is there, the
  /// question waits for somebody to come.
  void ask_about(Gain gain, Index version) {
    open_question(std::move(gain), version);
    for (std::size_t agent = 0; agent < state_.agents.size(); ++agent) {
      if (state_.agents[agent].present) roster().ask(static_cast<Index>(agent));
    }
  }
  /// Asks an agent that has come about the current gain, which it has not seen.
  void ask_newcomer(Index agent) {
    if (!state_.question.open) {
      if (options_.guard == Guard::none || state_.origin == 0) return;
      open_question(state_.gain, state_.origin);
    }
    roster().ask(agent);
  }
  void settle_if_answered() {
    if (state_.question.open && state_.question.waiting == 0 && state_.present > 0) settle();
  }

  /// Asks about half the step of a candidate that somebody did not accept.
  void halve() {
    Question<Backend>& question = state_.question;
    if (question.halvings < options_.max_halvings) {
      ++question.halvings;
      ++state_.statistics.halvings;
      question.step.step = question.step.step / Scalar(2);
      question.step.size /= 2;
      return ask_about(state_.gain - question.step.step, -1);
    }
    question.open = false;
    give_up(question.id);
    // Perhaps somebody who has come does not accept even the gain that there is.
    ask_about(state_.gain, state_.origin);
  }

  /// Returns to the newest gain before the current one that others accepted, because this agent does not
  /// accept the version `refused`; where there is none, the agent has to leave.
  void return_for(Index agent, Index refused) {
    const Milestone<Backend>* target = newest_accepted(state_);
    if (target == nullptr) return expel(agent);
    const Index unconfirmed = std::min(refused, first_unconfirmed(state_));
    if (state_.question.open && state_.question.version < 0)
      roster().say(Reject{.candidate = state_.question.id});
    return_to(state_, *target);
    roster().say(Commit<Backend>{.version = state_.version,
                                 .gain = state_.gain,
                                 .refused = refused,
                                 .unconfirmed = unconfirmed,
                                 .refused_by = agent});
    for (std::size_t i = 0; i < state_.agents.size(); ++i) {
      if (state_.agents[i].present) roster().send(static_cast<Index>(i), true);
    }
  }

  ServerState<Backend> state_;
  RuleType rule_;
  ServerOptions options_;
  Commands* out_ = nullptr;

 private:
  /// One list of agents for each version that is not too old, and one for the next.
  void prepare_refreshes(ServerState<Backend>& state) const {
    const Index bound = federated::refresh_after(rule_);
    const std::size_t lists = bound >= 0 ? static_cast<std::size_t>(bound) + 2 : 0;
    if (state.agents.empty() && state.sent.empty()) state.sent.resize(lists);
    if (state.sent.size() == lists) return;
    throw InvalidOption("state: expected one of a server whose rule restarts agents after " +
                        std::to_string(bound) + " versions, got one for " +
                        std::to_string(static_cast<Index>(state.sent.size()) - 2));
  }

  void open_question(Gain gain, Index version) {
    Question<Backend>& question = state_.question;
    question.open = true;
    ++question.id;
    ++state_.statistics.questions;
    question.gain = std::move(gain);
    question.version = version;
    question.waiting = 0;
  }

  /// All have accepted.
  void settle() {
    Question<Backend>& question = state_.question;
    question.open = false;
    if (question.version < 0) {
      commit(question.gain, question.step.reports, question.step.size);
      return update_if_ready();
    }
    if (options_.guard == Guard::ask) {  // it was confirmed when it was committed
      if (keeps_working(rule_)) roster().release_idle();
      return update_if_ready();
    }
    confirm<Backend>(state_, question.gain, question.version);
    if (state_.origin > question.version) ask_about(state_.gain, state_.origin);
  }

  /// @param candidate 0: nobody was asked about it.
  void give_up(Index candidate) {
    ++state_.statistics.rejections;
    state_.optimizer = {};
    roster().say(Reject{.candidate = candidate});
    roster().release_idle();
  }

  void expel(Index agent) {
    AgentRecord<Backend>& record = roster().at(agent);
    ++state_.statistics.expelled;
    if (record.present) roster().remove(record);
    record.known = false;
    --state_.known;
    roster().say(Expel{.agent = agent});
    settle_if_answered();
    update_if_ready();
  }

  CombinerType combiner_;
  OptimizerType optimizer_;
  Aggregation<Backend> aggregation_;
};

}  // namespace metalqr::inline METALQR_ABI::federated::detail
