#pragma once

/// @file
/// What every engine does between a server and its agents: it keeps who is there and at what, draws
/// latencies and losses, and records the run.

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <variant>
#include <vector>

#include <metalqr/core/random.hpp>
#include <metalqr/federated/agents.hpp>
#include <metalqr/federated/event_queue.hpp>
#include <metalqr/federated/latency.hpp>
#include <metalqr/federated/message.hpp>
#include <metalqr/federated/profile.hpp>
#include <metalqr/federated/run_result.hpp>
#include <metalqr/federated/simulation_state.hpp>
#include <metalqr/lqr/descent.hpp>

namespace metalqr::inline METALQR_ABI::federated::detail {

/// An exchange tells its engine what begins, and for how many ticks, by
/// `begin_work(agent, round, version, gain, ticks)`, `begin_answer(agent, question, gain, ticks)`,
/// `begin_presence(agent, ticks)`, `begin_absence(agent, ticks)` and `begin_timer(id, number, ticks)`. The
/// engine says what has ended by `join`, `leave`, `report`, `verdict` and `timer`, each after `set_time`, all
/// from one thread. With the same calls in the same order, all else is the same, bitwise.
template <class Engine, Fleet AgentsType, class ServerType, class Observer>
class Exchange {
 public:
  using Backend = typename AgentsType::Backend;
  using Gain = typename Backend::Gain;
  using Scalar = typename Backend::Scalar;

  Exchange(Engine& engine, ServerType& server, AgentsType& agents, std::span<const AgentProfile> profiles,
           std::uint64_t seed, const Recording& record, Observer& observer)
      : engine_(engine),
        server_(server),
        agents_(agents),
        profiles_(profiles),
        seed_(seed),
        record_(record),
        observer_(observer),
        seats_(static_cast<std::size_t>(agents.size())),
        begins_(record.timeline || record.arrivals ? seats_.size() : 0) {}

  /// Everybody's first coming begins. The server may have been through another run; pieces of work have other
  /// numbers then, so that agents draw other random numbers.
  void open() {
    server_.interrupt();
    const auto& records = server_.state().agents;
    for (Index agent = 0; agent < agents_.size(); ++agent) {
      const auto place = static_cast<std::size_t>(agent);
      if (place < records.size()) seat(agent).first_round = records[place].sends;
      engine_.begin_absence(agent, profile(agent).joins);
    }
  }
  /// Goes on where another exchange was, at this time, with a server and agents that are as they were there.
  /// Of what began before, records know only that it was there. `version(agent)`: of the gain at which an
  /// agent is at work.
  template <class Version>
  void resume(std::vector<Seat> seats, Index timers, Index updates, double now, const Version& version) {
    seats_ = std::move(seats);
    timers_ = timers;
    result_.updates = updates;
    now_ = begin_ = now;
    for (std::size_t i = 0; i < seats_.size(); ++i) {
      busy_ += (seats_[i].working ? 1 : 0) + (seats_[i].question > 0 ? 1 : 0);
      if (begins_.empty() || !seats_[i].working) continue;
      begins_[i].version = version(static_cast<Index>(i));
      begins_[i].since = now;
    }
  }
  /// The events from now on happen at this time.
  void set_time(double now) { now_ = now; }
  /// Ends the run before the next event.
  void stop() { result_.stopped = true; }

  /// Whether the report of that piece of work is still to come: it was not restarted, nor has it left.
  bool is_at_work(Index agent, Index round) const {
    const Seat& own = seats_[static_cast<std::size_t>(agent)];
    // The number may be a stranger's, to which nothing is added.
    return own.working && own.first_round + own.works - 1 == round;
  }
  /// Whether the answer to that question is still to come.
  bool is_asked(Index agent, Index question) const {
    return question > 0 && seats_[static_cast<std::size_t>(agent)].question == question;
  }
  /// Whether the agent's answer of that number is still to come. Who left and came back is asked the same
  /// question again, and begins another answer.
  bool is_answering(Index agent, Index number) const {
    const Seat& own = seats_[static_cast<std::size_t>(agent)];
    return own.question != 0 && own.answers - 1 == number;
  }
  /// Fetches ahead what is known of an agent.
  void foresee(Index agent) const {
    const auto place = static_cast<std::size_t>(agent);
    fetch_ahead(seats_[place]);
    if (place < server_.state().agents.size()) fetch_ahead(server_.state().agents[place]);
  }
  bool is_present(Index agent) const { return seats_[static_cast<std::size_t>(agent)].present; }
  /// Whether anybody is at work or asked.
  bool is_busy() const { return busy_ > 0; }

  void join(Index agent) {
    Seat& own = seat(agent);
    note(Arrival::Kind::joined, agent, own.absences, cause(&Begins::absence, agent));
    own.present = true;
    note_cause(&Begins::presence, agent);  // also where it may only be lost
    if (const auto& presence = profile(agent).presence) {
      engine_.begin_presence(agent, wait(*presence, agent, 2, own.absences));
    }
    tell(Joined<Backend>{.agent = agent, .limit = agents_.limit(agent)});
  }

  void leave(Index agent) { depart(agent, true); }
  /// An agent that is present does not answer: it is away until the engine says that it has joined.
  void lose(Index agent) { depart(agent, false); }

  /// The report of an agent that `is_at_work`.
  void report(Index agent, Report<Backend>&& report) {
    Seat& own = seat(agent);
    note(Arrival::Kind::report, agent, own.works - 1, cause(&Begins::work, agent));
    const bool lost = is_lost(agent);
    end_work(agent, lost ? WorkSpan::End::lost : WorkSpan::End::reported);
    note_reported(agents_, agent, own.first_round + own.works - 1);
    if (!lost) tell(std::move(report));
  }

  /// The answer of an agent that `is_asked`.
  void verdict(Index agent, Scalar cost) {
    Seat& own = seat(agent);
    const Index question = own.question;
    note(Arrival::Kind::verdict, agent, own.answers - 1, cause(&Begins::answer, agent));
    end_answer(own);
    if (!is_lost(agent)) tell(Verdict<Backend>{.agent = agent, .candidate = question, .cost = cost});
  }

  /// The timer of that number, counted over all.
  void timer(Index id, Index number) {
    if (record_.arrivals)
      note(Arrival::Kind::timer, id, number, timer_causes_[static_cast<std::size_t>(number)]);
    tell(Timer{.id = id});
  }

  /// What is known of the agents.
  const std::vector<Seat>& seats() const { return seats_; }
  /// Number of timers begun.
  Index timers() const { return timers_; }
  /// The time of the last event.
  double now() const { return now_; }
  /// The server.
  const ServerType& server() const { return server_; }
  /// What the run has done so far.
  const RunResult<Backend>& result() const { return result_; }
  /// Ends the run.
  RunResult<Backend> close(std::uint64_t events) {
    for (Index agent = 0; agent < agents_.size() && record_.timeline; ++agent) {
      end_work(agent, WorkSpan::End::open);
    }
    result_.events = events;
    result_.gain = server_.gain();
    result_.time = now_;
    return std::move(result_);
  }

 private:
  /// The arrivals that what is going on follows from, and what it is about.
  struct Begins {
    Index work = 0;
    Index answer = 0;
    Index presence = 0;
    Index absence = 0;
    Index version = 0;
    double since = 0;
  };

  const AgentProfile& profile(Index agent) const { return profile_of(profiles_, agent); }
  Seat& seat(Index agent) { return seats_[static_cast<std::size_t>(agent)]; }

  // Streams of an agent: 0 work, 1 answers, 2 presences, 3 absences, 4 losses.
  StreamKey key(Index agent, std::uint64_t what) const {
    return {.seed = seed_,
            .purpose = Purpose::latencies,
            .iteration = what,
            .task = static_cast<std::uint64_t>(agent)};
  }
  double wait(const Latency& law, Index agent, std::uint64_t what, Index number) const {
    return draw(law, key(agent, what), static_cast<std::uint64_t>(number));
  }
  bool is_lost(Index agent) {
    const double probability = profile(agent).loss;
    if (!(probability > 0)) return false;
    Stream stream(key(agent, 4).with_sample(static_cast<std::uint64_t>(seat(agent).messages++)));
    return stream.uniform() < probability;
  }

  void note(Arrival::Kind kind, Index agent, Index number, Index cause) {
    if (record_.arrivals)
      result_.arrivals.push_back({.kind = kind, .agent = agent, .number = number, .cause = cause});
  }
  Index cause(Index Begins::*what, Index agent) const {
    return begins_.empty() ? 0 : begins_[static_cast<std::size_t>(agent)].*what;
  }
  void note_cause(Index Begins::*what, Index agent) {
    if (begins_.empty()) return;
    begins_[static_cast<std::size_t>(agent)].*what = static_cast<Index>(result_.arrivals.size());
  }

  void depart(Index agent, bool comes_back) {
    Seat& own = seat(agent);
    const bool was_present = own.present;
    note(Arrival::Kind::left, agent, own.absences, cause(&Begins::presence, agent));
    end_work(agent, WorkSpan::End::left);
    end_answer(own);
    own.present = false;
    note_cause(&Begins::absence, agent);
    if (comes_back) {
      engine_.begin_absence(agent, wait(profile(agent).absence, agent, 3, own.absences));
    }
    ++own.absences;
    if (was_present) tell(Left{.agent = agent});
  }
  void end_work(Index agent, WorkSpan::End how) {
    Seat& own = seat(agent);
    if (!own.working) return;
    own.working = false;
    --busy_;
    if (!record_.timeline) return;
    const Begins& begin = begins_[static_cast<std::size_t>(agent)];
    result_.timeline.push_back(
        {.agent = agent, .version = begin.version, .begin = begin.since, .end = now_, .how = how});
  }
  void end_answer(Seat& own) {
    if (own.question == 0) return;
    own.question = 0;
    --busy_;
  }

  void tell(Event<Backend> event) {
    // Carrying out a command says nothing to the server at once, so that there is one list at a time.
    commands_.clear();
    server_.on(event, commands_);
    for (Command<Backend>& command : commands_) {
      std::visit([this](auto& message) { this->carry_out(message); }, command);
    }
  }

  void carry_out(Send<Backend>& send) {
    Seat& own = seat(send.agent);
    if (is_lost(send.agent) || (own.working && !send.restart)) return;
    end_work(send.agent, WorkSpan::End::restarted);
    own.working = true;
    ++busy_;
    const Index number = own.works++;
    if (!begins_.empty()) {
      note_cause(&Begins::work, send.agent);
      begins_[static_cast<std::size_t>(send.agent)].version = send.version;
      begins_[static_cast<std::size_t>(send.agent)].since = now_;
    }
    engine_.begin_work(send.agent, own.first_round + number, send.version, std::move(send.gain),
                       wait(profile(send.agent).work, send.agent, 0, number));
  }
  void carry_out(Ask<Backend>& ask) {
    Seat& own = seat(ask.agent);
    if (is_lost(ask.agent) || own.question == ask.candidate) return;
    if (own.question == 0) ++busy_;
    own.question = ask.candidate;
    const Index number = own.answers++;
    note_cause(&Begins::answer, ask.agent);
    engine_.begin_answer(ask.agent, ask.candidate, std::move(ask.gain),
                         wait(profile(ask.agent).answer, ask.agent, 1, number));
  }
  void carry_out(Commit<Backend>& commit) {
    if (commit.reports > 0) ++result_.updates;
    const RunInfo<Backend> info{.time = now_, .commit = commit, .state = server_.state()};
    if (metalqr::detail::wants_to_stop(observer_, info)) result_.stopped = true;
    if (!record_.history) return;
    if (commit.refused > 0) note_refusal(commit);
    CommitRecord<Backend> record{.time = now_, .commit = std::move(commit)};
    for (Index agent = 0; agent < agents_.size() && record_.timeline; ++agent) {
      if (seat(agent).present) record.present.push_back(agent);
    }
    result_.history.push_back(std::move(record));
  }
  void carry_out(const Reject& /*reject*/) {}
  void carry_out(const Expel& expel) {
    end_work(expel.agent, WorkSpan::End::left);
    end_answer(seat(expel.agent));
    seat(expel.agent).present = false;
  }
  void carry_out(const Wake& wake) {
    if (record_.arrivals) timer_causes_.push_back(static_cast<Index>(result_.arrivals.size()));
    engine_.begin_timer(wake.id, timers_++, wake.delay);
  }

  void note_refusal(const Commit<Backend>& commit) {
    // Versions follow each other in the history, of which the earliest may be of before it begins.
    const auto committed = [&](Index version) {
      const Index back = commit.version - version;
      const auto records = static_cast<Index>(result_.history.size());
      return back <= records ? result_.history[static_cast<std::size_t>(records - back)].time : begin_;
    };
    result_.refused.push_back({.version = commit.refused,
                               .agent = commit.refused_by,
                               .begin = committed(commit.refused),
                               .since = committed(commit.unconfirmed),
                               .end = now_});
  }

  Engine& engine_;
  ServerType& server_;
  AgentsType& agents_;
  std::span<const AgentProfile> profiles_;
  std::uint64_t seed_;
  Recording record_;
  Observer& observer_;
  std::vector<Seat> seats_;
  std::vector<Begins> begins_;  // empty if nobody wants to know
  std::vector<Index> timer_causes_;
  Index timers_ = 0;
  Index busy_ = 0;  // pieces of work and questions open
  double now_ = 0;
  double begin_ = 0;  // of the records
  std::vector<Command<Backend>> commands_;
  RunResult<Backend> result_;
};

}  // namespace metalqr::inline METALQR_ABI::federated::detail
