#pragma once

/// @file
/// The engine in virtual time: a discrete-event simulation of a federated run, a function of its seed.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <metalqr/core/check.hpp>
#include <metalqr/core/parallel.hpp>
#include <metalqr/core/random.hpp>
#include <metalqr/federated/agents.hpp>
#include <metalqr/federated/event_queue.hpp>
#include <metalqr/federated/latency.hpp>
#include <metalqr/federated/server.hpp>
#include <metalqr/lqr/descent.hpp>

namespace metalqr::inline METALQR_ABI::federated {

/// How an agent behaves in time.
struct AgentProfile {
  Latency work = ConstantLatency{.ticks = 1};     ///< from a gain that is sent to the report of it
  Latency answer = ConstantLatency{.ticks = 1};   ///< from a question to its answer
  double loss = 0;                                ///< probability that a message is lost, each way
  double joins = 0;                               ///< when it is there for the first time
  std::optional<Latency> presence{};              ///< how long it stays each time; none: for ever
  Latency absence = ConstantLatency{.ticks = 1};  ///< how long it is away each time
};

/// When a simulation ends, and what it records.
struct VirtualTimeOptions {
  double until = std::numeric_limits<double>::infinity();                ///< time at which it ends
  Index max_updates = std::numeric_limits<Index>::max();                 ///< of the gain
  std::uint64_t max_events = std::numeric_limits<std::uint64_t>::max();  ///< of the simulation
  std::uint64_t seed = 0;  ///< of latencies, losses and absences
  int threads = 1;  ///< that evaluate what agents compute, 0: up to OpenMP; the result does not depend on it
  bool timeline = false;  ///< record who worked when
};

/// A stretch of work of an agent.
struct WorkSpan {
  /// How it ended.
  enum class End {
    reported,   ///< with a report
    lost,       ///< with a report that was lost
    restarted,  ///< because the server sent another gain
    left,       ///< because the agent went away
    open        ///< not before the simulation
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

/// What a simulation did.
template <class Backend>
struct VirtualTimeResult {
  typename Backend::Gain gain;                 ///< the last one
  double time = 0;                             ///< at the end
  std::uint64_t events = 0;                    ///< that were carried out
  Index updates = 0;                           ///< of the gain, without returns to an earlier one
  bool stopped = false;                        ///< by the observer
  std::vector<CommitRecord<Backend>> history;  ///< every gain that was committed, without the first
  std::vector<WorkSpan> timeline;              ///< see `VirtualTimeOptions`; in the order of their ends
  std::vector<Index> arrivals;  ///< agents by the order in which their reports reached the server
};

/// What an observer sees at each commit.
template <class Backend>
struct VirtualTimeInfo {
  double time = 0;                    ///< now
  const Commit<Backend>& commit;      ///< the new gain
  const ServerState<Backend>& state;  ///< of the server
};

namespace detail {

inline void validate(const AgentProfile& profile) {
  using metalqr::detail::require_option;
  federated::validate(profile.work, "work");
  federated::validate(profile.answer, "answer");
  require_option(profile.loss >= 0 && profile.loss < 1, "loss", profile.loss, "a probability below 1");
  require_option(std::isfinite(profile.joins) && profile.joins >= 0, "joins", profile.joins, "a time >= 0");
  if (profile.presence) federated::validate(*profile.presence, "presence");
  federated::validate(profile.absence, "absence");
}

/// A run of `simulate`.
template <Agents AgentsType, class ServerType, class Observer>
class Simulation {
 public:
  using Backend = typename AgentsType::Backend;
  using Gain = typename Backend::Gain;
  using Result = VirtualTimeResult<Backend>;

  Simulation(ServerType& server, AgentsType& agents, std::span<const AgentProfile> profiles,
             const VirtualTimeOptions& options, Observer& observer)
      : server_(server),
        agents_(agents),
        profiles_(profiles),
        options_(options),
        observer_(observer),
        slots_(static_cast<std::size_t>(agents.size())) {
    for (Index agent = 0; agent < agents.size(); ++agent) {
      queue_.push(profile(agent).joins, agent, Happening{.kind = Happening::joins});
    }
  }

  Result run() {
    while (!queue_.empty() && !result_.stopped && result_.events < options_.max_events &&
           result_.updates < options_.max_updates && queue_.next_time() <= options_.until) {
      const auto next = queue_.pop();
      now_ = next.time;
      ++result_.events;
      happen(next.agent, next.payload);
    }
    if (options_.timeline) {
      for (Index agent = 0; agent < agents_.size(); ++agent) end_span(agent, WorkSpan::End::open);
    }
    result_.gain = server_.gain();
    result_.time = now_;
    return std::move(result_);
  }

 private:
  static constexpr Index clock = -1;  // the timers' place among the agents

  /// What comes out of the queue.
  struct Happening {
    enum Kind : std::int32_t { report, verdict, timer, joins, leaves };
    Kind kind = report;
    Index number = 0;  // of the piece of work, the question or the timer
  };
  /// What the simulation keeps of an agent.
  struct Slot {
    bool present = false;
    bool working = false;
    bool known = false;   // what it is working on has been found
    bool judged = false;  // so has the answer to the question
    Index round = 0;      // pieces of work begun
    Index question = 0;   // the one it is to answer; 0: none
    Index answers = 0;    // questions heard
    Index messages = 0;   // that might have been lost
    Index absences = 0;
    Index version = 0;
    double since = 0;
    Gain gain;  // at which it works
    Gain candidate;
    Report<Backend> report;
    typename Backend::Scalar cost{};
  };

  const AgentProfile& profile(Index agent) const {
    return profiles_[profiles_.size() == 1 ? 0 : static_cast<std::size_t>(agent)];
  }
  Slot& slot(Index agent) { return slots_[static_cast<std::size_t>(agent)]; }

  // Streams of an agent: label 0 work, 1 answers, 2 presences, 3 absences, 4 losses.
  StreamKey key(Index agent, std::uint64_t label) const {
    return StreamKey{
        .seed = options_.seed, .purpose = Purpose::latencies, .task = static_cast<std::uint64_t>(agent)}
        .child(label);
  }
  double wait(const Latency& law, Index agent, std::uint64_t label, Index number) const {
    return draw(law, key(agent, label), static_cast<std::uint64_t>(number));
  }
  bool is_lost(Index agent) {
    const double probability = profile(agent).loss;
    if (!(probability > 0)) return false;
    Stream stream(key(agent, 4).with_sample(static_cast<std::uint64_t>(slot(agent).messages++)));
    return stream.uniform() < probability;
  }

  void happen(Index agent, const Happening& happening) {
    switch (happening.kind) {
      case Happening::joins:
        return join(agent);
      case Happening::leaves:
        return leave(agent);
      case Happening::timer:
        return tell(Timer{.id = happening.number});
      case Happening::report:
        return report(agent, happening.number);
      case Happening::verdict:
        return answer(agent, happening.number);
    }
  }

  void join(Index agent) {
    Slot& own = slot(agent);
    own.present = true;
    if (const auto& presence = profile(agent).presence) {
      queue_.push(now_ + wait(*presence, agent, 2, own.absences), agent,
                  Happening{.kind = Happening::leaves});
    }
    tell(Joined<Backend>{.agent = agent, .limit = agents_.limit(agent)});
  }

  void leave(Index agent) {
    Slot& own = slot(agent);
    end_span(agent, WorkSpan::End::left);
    own.present = own.working = false;
    own.question = 0;
    queue_.push(now_ + wait(profile(agent).absence, agent, 3, own.absences), agent,
                Happening{.kind = Happening::joins});
    ++own.absences;
    tell(Left{.agent = agent});
  }

  void report(Index agent, Index round) {
    Slot& own = slot(agent);
    if (!own.working || own.round != round) return;  // restarted or gone since
    if (!own.known) find_reports(agent);
    const bool lost = is_lost(agent);
    end_span(agent, lost ? WorkSpan::End::lost : WorkSpan::End::reported);
    own.working = false;
    if (lost) return;
    result_.arrivals.push_back(agent);
    tell(std::move(own.report));
  }

  void answer(Index agent, Index question) {
    Slot& own = slot(agent);
    if (own.question != question) return;
    if (!own.judged) find_costs(agent);
    own.question = 0;
    if (is_lost(agent)) return;
    tell(Verdict<Backend>{.agent = agent, .candidate = question, .cost = own.cost});
  }

  /// Finds the report of an agent; with several threads those of all that are at work.
  void find_reports(Index agent) {
    const auto find = [this](Index i) {
      Slot& own = slot(i);
      own.report = agents_.work(i, own.round - 1, own.version, own.gain);
      own.known = true;
    };
    find_all(agent, unknown_, find, [this](Index i) { return slot(i).working && !slot(i).known; });
  }
  void find_costs(Index agent) {
    const auto find = [this](Index i) {
      Slot& own = slot(i);
      own.cost = agents_.cost(i, own.question, own.candidate);
      own.judged = true;
    };
    find_all(agent, unjudged_, find, [this](Index i) { return slot(i).question != 0 && !slot(i).judged; });
  }
  template <class Find, class IsMissing>
  void find_all(Index agent, std::vector<Index>& agents, const Find& find, const IsMissing& is_missing) {
    if (options_.threads == 1) return find(agent);
    std::erase_if(agents, [&](Index i) { return !is_missing(i); });
    std::sort(agents.begin(), agents.end());
    agents.erase(std::unique(agents.begin(), agents.end()), agents.end());
    parallel_for(
        static_cast<Index>(agents.size()), [&](Index i) { find(agents[static_cast<std::size_t>(i)]); },
        options_.threads);
    agents.clear();
  }

  void end_span(Index agent, WorkSpan::End how) {
    Slot& own = slot(agent);
    if (!options_.timeline || !own.working) return;
    result_.timeline.push_back(
        {.agent = agent, .version = own.version, .begin = own.since, .end = now_, .how = how});
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
    Slot& own = slot(send.agent);
    if (is_lost(send.agent) || (own.working && !send.restart)) return;
    end_span(send.agent, WorkSpan::End::restarted);
    own.working = true;
    own.known = false;
    own.version = send.version;
    own.gain = std::move(send.gain);
    own.since = now_;
    const double latency = wait(profile(send.agent).work, send.agent, 0, own.round);
    ++own.round;
    queue_.push(now_ + latency, send.agent, Happening{.kind = Happening::report, .number = own.round});
    if (options_.threads != 1) unknown_.push_back(send.agent);
  }
  void carry_out(Ask<Backend>& ask) {
    Slot& own = slot(ask.agent);
    if (is_lost(ask.agent) || own.question == ask.candidate) return;
    own.question = ask.candidate;
    own.judged = false;
    own.candidate = std::move(ask.gain);
    queue_.push(now_ + wait(profile(ask.agent).answer, ask.agent, 1, own.answers), ask.agent,
                Happening{.kind = Happening::verdict, .number = ask.candidate});
    ++own.answers;
    if (options_.threads != 1) unjudged_.push_back(ask.agent);
  }
  void carry_out(Commit<Backend>& commit) {
    if (commit.reports > 0) ++result_.updates;
    const VirtualTimeInfo<Backend> info{.time = now_, .commit = commit, .state = server_.state()};
    if (metalqr::detail::wants_to_stop(observer_, info)) result_.stopped = true;
    CommitRecord<Backend> record{.time = now_, .commit = std::move(commit)};
    if (options_.timeline) {
      for (Index agent = 0; agent < agents_.size(); ++agent) {
        if (slot(agent).present) record.present.push_back(agent);
      }
    }
    result_.history.push_back(std::move(record));
  }
  void carry_out(const Reject& /*reject*/) {}
  void carry_out(const Wake& wake) {
    queue_.push(now_ + wake.delay, clock, Happening{.kind = Happening::timer, .number = wake.id});
  }

  ServerType& server_;
  AgentsType& agents_;
  std::span<const AgentProfile> profiles_;
  const VirtualTimeOptions& options_;
  Observer& observer_;
  std::vector<Slot> slots_;
  EventQueue<Happening> queue_;
  std::vector<Command<Backend>> commands_;
  std::vector<Index> unknown_;   // agents whose reports may have to be found
  std::vector<Index> unjudged_;  // and costs
  double now_ = 0;
  Result result_;
};

}  // namespace detail

/// Runs a server and its agents in virtual time: latencies, losses and absences are drawn, what the agents
/// compute is real. The result is a function of the seeds, bitwise, whatever `threads` is, where
/// `agents.work` and `agents.cost` are functions of their arguments. Events at the same time happen in the
/// order of agents. Costs O(log M) an event beside the agents' own work, and O(M) memory.
/// @param server is left as the run leaves it, and may go on in another.
/// @param profiles one for each agent, or one for all.
/// @param observer sees every commit and may return true to stop.
/// @throws InvalidOption for profiles or options out of range.
template <Agents AgentsType, class ServerType, class Observer = NoObserver>
VirtualTimeResult<typename AgentsType::Backend> simulate(ServerType& server, AgentsType& agents,
                                                         std::span<const AgentProfile> profiles,
                                                         const VirtualTimeOptions& options = {},
                                                         Observer&& observer = {}) {
  if (profiles.size() != 1 && static_cast<Index>(profiles.size()) != agents.size()) {
    throw InvalidOption("profiles: expected one, or one for each of " + std::to_string(agents.size()) +
                        " agents, got " + std::to_string(profiles.size()));
  }
  for (const AgentProfile& profile : profiles) detail::validate(profile);
  using metalqr::detail::require_option;
  require_option(options.until >= 0, "until", options.until, "a time >= 0");
  require_option(options.max_updates >= 0, "max_updates", static_cast<double>(options.max_updates),
                 "a number >= 0");
  require_option(options.threads >= 0, "threads", options.threads, "a number >= 0");
  return detail::Simulation<AgentsType, ServerType, std::remove_reference_t<Observer>>(
             server, agents, profiles, options, observer)
      .run();
}

}  // namespace metalqr::inline METALQR_ABI::federated
