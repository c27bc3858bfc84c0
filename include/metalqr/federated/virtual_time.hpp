#pragma once

/// @file
/// The engine in virtual time: a discrete-event simulation of a federated run, a function of its seed.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include <metalqr/core/check.hpp>
#include <metalqr/core/parallel.hpp>
#include <metalqr/core/random.hpp>
#include <metalqr/federated/agents.hpp>
#include <metalqr/federated/event_queue.hpp>
#include <metalqr/federated/exchange.hpp>
#include <metalqr/federated/latency.hpp>
#include <metalqr/federated/profile.hpp>
#include <metalqr/federated/run_result.hpp>
#include <metalqr/federated/server.hpp>
#include <metalqr/lqr/descent.hpp>

namespace metalqr::inline METALQR_ABI::federated {

/// When a simulation ends, and what it records. It also ends when nothing is left to happen, which agents
/// that are always sent back to work put off for ever: without a guard a gain may become unstable, every
/// report is refused then, and only `until` or `max_events` end the run.
struct VirtualTimeOptions {
  double until = std::numeric_limits<double>::infinity();  ///< time at which it ends, in ticks
  Index max_updates = std::numeric_limits<Index>::max();   ///< of the gain; one event may make several
  std::uint64_t max_events = std::numeric_limits<std::uint64_t>::max();  ///< of the simulation
  std::uint64_t seed = 0;  ///< of latencies, losses and absences
  int threads = 1;  ///< that evaluate what agents compute, 0: up to OpenMP; the result does not depend on it
  Recording record{};  ///< what is written down
  /// Of the timers, in turn, instead of what the server says; for replays.
  std::optional<Latency> timer_delays{};
};

/// Throws `InvalidOption` naming the first field out of its range.
inline void validate(const VirtualTimeOptions& options) {
  using metalqr::detail::require_option;
  require_option(options.until >= 0, "until", options.until, "a time >= 0");
  require_option(options.max_updates >= 0, "max_updates", static_cast<double>(options.max_updates),
                 "a number >= 0");
  require_option(options.threads >= 0, "threads", options.threads, "a number >= 0");
  if (options.timer_delays) validate(*options.timer_delays, "timer_delays");
}

namespace detail {

/// A run of `simulate`.
template <Agents AgentsType, class ServerType, class Observer>
class Simulation {
 public:
  using Backend = typename AgentsType::Backend;
  using Gain = typename Backend::Gain;
  using Scalar = typename Backend::Scalar;

  Simulation(ServerType& server, AgentsType& agents, std::span<const AgentProfile> profiles,
             const VirtualTimeOptions& options, Observer& observer)
      : agents_(agents),
        options_(options),
        exchange_(*this, server, agents, profiles, options.seed, options.record, observer),
        orders_(static_cast<std::size_t>(agents.size())) {}

  RunResult<Backend> run() {
    std::uint64_t events = 0;
    exchange_.open();
    while (!queue_.empty() && !exchange_.result().stopped && events < options_.max_events &&
           exchange_.result().updates < options_.max_updates && queue_.next_time() <= options_.until) {
      const auto next = queue_.pop();
      if (!queue_.empty()) foresee(queue_.foresee());
      if (is_void(next.agent, next.payload)) continue;
      exchange_.set_time(next.time);
      ++events;
      happen(next.agent, next.payload);
    }
    return exchange_.close(events);
  }

  // What the exchange says.
  void begin_work(Index agent, Index round, Index version, Gain&& gain, double ticks) {
    Order& own = order(agent);
    own.version = version;
    own.round = round;
    own.gain = std::move(gain);
    own.known = false;
    push(agent, Happening::report, round, ticks);
    if (options_.threads != 1) unknown_.push_back(agent);
  }
  void begin_answer(Index agent, Index question, Gain&& gain, double ticks) {
    if (questions_.empty()) questions_.resize(orders_.size());
    Question& own = this->question(agent);
    own.number = question;
    own.gain = std::move(gain);
    own.judged = false;
    push(agent, Happening::verdict, question, ticks);
    if (options_.threads != 1) unjudged_.push_back(agent);
  }
  void begin_presence(Index agent, double ticks) { push(agent, Happening::leaves, 0, ticks); }
  void begin_absence(Index agent, double ticks) { push(agent - agents_.size(), Happening::joins, 0, ticks); }
  void begin_timer(Index id, Index number, double ticks) {
    if (options_.timer_delays) {
      ticks =
          draw(*options_.timer_delays, StreamKey{.seed = options_.seed}, static_cast<std::uint64_t>(number));
    }
    push(agents_.size() + id, Happening::timer, number, ticks);
  }

 private:
  /// What comes out of the queue. At the same time, agents come before others report, and timers go off after
  /// that: they are in the places of agents below 0, and of agents above the last.
  struct Happening {
    enum Kind : std::int32_t { report, verdict, timer, joins, leaves };
    Kind kind = report;
    Index number = 0;  // of the piece of work, the question or the timer
  };
  /// What an agent works at.
  struct Order {
    Gain gain;
    Index version = 0;
    Index round = 0;
    bool known = false;  // the report has been found
  };
  struct Question {
    Gain gain;
    Index number = 0;
    bool judged = false;  // the cost has been found
    Scalar cost{};
  };

  Order& order(Index agent) { return orders_[static_cast<std::size_t>(agent)]; }
  Question& question(Index agent) { return questions_[static_cast<std::size_t>(agent)]; }

  void push(Index place, typename Happening::Kind kind, Index number, double ticks) {
    // What would come later than time can tell comes last.
    const double time = std::min(queue_.now() + ticks, std::numeric_limits<double>::max());
    queue_.push(time, place, Happening{.kind = kind, .number = number});
    // An agent has a report, an answer and a coming or going before it at the most; the rest is void.
    if (queue_.size() < 6 * orders_.size() + 64) return;
    queue_.erase_if([this](Index agent, const Happening& what) { return is_void(agent, what); });
  }

  /// The next event is this agent's.
  void foresee(Index place) const {
    if (place < 0 || place >= agents_.size()) return;
    fetch_ahead(orders_[static_cast<std::size_t>(place)]);
    exchange_.foresee(place);
  }

  void happen(Index place, const Happening& happening) {
    switch (happening.kind) {
      case Happening::joins:
        return exchange_.join(place + agents_.size());
      case Happening::leaves:
        return exchange_.leave(place);
      case Happening::timer:
        return exchange_.timer(place - agents_.size(), happening.number);
      case Happening::report:
        return report(place, happening.number);
      case Happening::verdict:
        return answer(place);
    }
  }

  /// Whether nobody waits for what happens any more, because the agent was restarted or went away.
  bool is_void(Index place, const Happening& happening) const {
    switch (happening.kind) {
      case Happening::report:
        return !exchange_.is_at_work(place, happening.number);
      case Happening::verdict:
        return !exchange_.is_asked(place, happening.number);
      default:
        return false;
    }
  }

  void report(Index agent, Index round) {
    if (options_.threads == 1) {
      const Order& own = order(agent);
      return exchange_.report(agent, report_on(agents_, agent, round, own.version, own.gain));
    }
    if (!order(agent).known) find_reports();
    exchange_.report(agent, std::move(reports_[static_cast<std::size_t>(agent)]));
  }

  void answer(Index agent) {
    Question& own = question(agent);
    if (options_.threads == 1) {
      own.cost = agents_.cost(agent, own.number, own.gain);
    } else if (!own.judged) {
      find_costs();
    }
    exchange_.verdict(agent, own.cost);
  }

  /// Finds the reports of all that are at work.
  void find_reports() {
    reports_.resize(orders_.size());
    find_all(
        unknown_, [this](Index i) { return exchange_.is_at_work(i, order(i).round) && !order(i).known; },
        [this](Index i) {
          Order& own = order(i);
          reports_[static_cast<std::size_t>(i)] = report_on(agents_, i, own.round, own.version, own.gain);
          own.known = true;
        });
  }
  /// Finds the costs of all that are asked.
  void find_costs() {
    find_all(
        unjudged_,
        [this](Index i) { return exchange_.is_asked(i, question(i).number) && !question(i).judged; },
        [this](Index i) {
          Question& own = question(i);
          own.cost = agents_.cost(i, own.number, own.gain);
          own.judged = true;
        });
  }
  template <class IsMissing, class Find>
  void find_all(std::vector<Index>& agents, const IsMissing& is_missing, const Find& find) {
    std::erase_if(agents, [&](Index i) { return !is_missing(i); });
    std::sort(agents.begin(), agents.end());
    agents.erase(std::unique(agents.begin(), agents.end()), agents.end());
    parallel_for(
        static_cast<Index>(agents.size()), [&](Index i) { find(agents[static_cast<std::size_t>(i)]); },
        options_.threads);
    agents.clear();
  }

  AgentsType& agents_;
  const VirtualTimeOptions& options_;
  Exchange<Simulation, AgentsType, ServerType, Observer> exchange_;
  EventQueue<Happening> queue_;
  std::vector<Order> orders_;
  std::vector<Question> questions_;       // empty before the first
  std::vector<Report<Backend>> reports_;  // found ahead, by several threads
  std::vector<Index> unknown_;            // agents whose reports may have to be found
  std::vector<Index> unjudged_;           // and costs
};

}  // namespace detail

/// Runs a server and its agents in virtual time: latencies, losses and absences are drawn, what the agents
/// compute is real. The result is a function of the seeds, bitwise, whatever `threads` is, where
/// `agents.work` and `agents.cost` are functions of their arguments. At the same time, agents come before
/// others report, in the order of agents, and timers go off last. Costs O(log M) an event beside the agents'
/// own work, and O(M) memory beside what is recorded.
/// @param server is left as the run leaves it, and may go on in another.
/// @param profiles one for each agent, or one for all.
/// @param observer sees every commit and may return true to stop.
/// @throws InvalidOption for profiles or options out of range.
template <Agents AgentsType, class ServerType, class Observer = NoObserver>
RunResult<typename AgentsType::Backend> simulate(ServerType& server, AgentsType& agents,
                                                 std::span<const AgentProfile> profiles,
                                                 const VirtualTimeOptions& options = {},
                                                 Observer&& observer = {}) {
  detail::require_profiles(profiles, agents.size());
  validate(options);
  return detail::Simulation<AgentsType, ServerType, std::remove_reference_t<Observer>>(
             server, agents, profiles, options, observer)
      .run();
}

}  // namespace metalqr::inline METALQR_ABI::federated
