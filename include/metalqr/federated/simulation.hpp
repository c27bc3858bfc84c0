#pragma once

/// @file
/// The discrete-event loop of a federated run in virtual time.

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
#include <metalqr/federated/agent_memory.hpp>
#include <metalqr/federated/agents.hpp>
#include <metalqr/federated/event_queue.hpp>
#include <metalqr/federated/exchange.hpp>
#include <metalqr/federated/latency.hpp>
#include <metalqr/federated/profile.hpp>
#include <metalqr/federated/run_result.hpp>
#include <metalqr/federated/server.hpp>
#include <metalqr/federated/simulation_state.hpp>
#include <metalqr/federated/virtual_time_options.hpp>
#include <metalqr/lqr/descent.hpp>

namespace metalqr::inline METALQR_ABI::federated {

namespace detail {

/// A run of `simulate`, or of `resume_simulation`.
template <Agents AgentsType, class ServerType, class Observer, class Keeper>
class Simulation {
 public:
  using Backend = typename AgentsType::Backend;
  using Gain = typename Backend::Gain;
  using Scalar = typename Backend::Scalar;
  using Memory = MemoryOf<AgentsType>;
  using State = SimulationState<Backend, Memory>;

  Simulation(ServerType& server, AgentsType& agents, std::span<const AgentProfile> profiles,
             const VirtualTimeOptions& options, Observer& observer, Keeper& keeper)
      : agents_(agents),
        options_(options),
        keeper_(keeper),
        exchange_(*this, server, agents, profiles, options.seed, options.record, observer),
        orders_(static_cast<std::size_t>(agents.size())),
        known_(looks_ahead() ? orders_.size() : 0) {}

  RunResult<Backend> run() {
    exchange_.open();
    return go_on(0);
  }
  /// With a server and agents that are as in the state, which is valid.
  RunResult<Backend> resume(State&& state) {
    std::vector<typename EventQueue<Next>::Entry> entries;
    entries.reserve(state.waiting.size());
    for (const WaitingHappening& next : state.waiting) {
      entries.push_back({next.time, place_of(next.what.kind, next.agent), entries.size(), Next{next.what}});
    }
    const std::size_t size = entries.size();
    queue_ = EventQueue<Next>(std::move(entries), size, state.time);
    orders_ = std::move(state.orders);
    candidates_ = std::move(state.candidates);
    if (looks_ahead()) {
      judged_.resize(candidates_.size());
      for (Index agent = 0; agent < agents_.size(); ++agent) {
        if (state.seats[static_cast<std::size_t>(agent)].working) unknown_.push_back(agent);
        if (state.seats[static_cast<std::size_t>(agent)].question > 0) unjudged_.push_back(agent);
      }
    }
    exchange_.resume(std::move(state.seats), state.timers, state.updates, state.time,
                     [this](Index agent) { return order(agent).version; });
    if (state.stopped) exchange_.stop();
    return go_on(state.events);
  }

  // What the exchange says.
  void begin_work(Index agent, Index round, Index version, Gain&& gain, double ticks) {
    WorkOrder<Backend>& own = order(agent);
    own.version = version;
    own.gain = std::move(gain);
    push(agent, Kind::report, round, ticks);
    if (!looks_ahead()) return;
    known_[static_cast<std::size_t>(agent)] = 0;
    unknown_.push_back(agent);
  }
  void begin_answer(Index agent, Index /*question*/, Gain&& gain, double ticks) {
    if (candidates_.empty()) candidates_.resize(orders_.size());
    candidate(agent) = std::move(gain);
    push(agent, Kind::verdict, seat(agent).answers - 1, ticks);
    if (!looks_ahead()) return;
    judged_.resize(orders_.size());
    judged_[static_cast<std::size_t>(agent)] = 0;
    unjudged_.push_back(agent);
  }
  void begin_presence(Index agent, double ticks) { push(agent, Kind::leaves, 0, ticks); }
  void begin_absence(Index agent, double ticks) { push(agent - agents_.size(), Kind::joins, 0, ticks); }
  void begin_timer(Index id, Index number, double ticks) {
    if (options_.timer_delays) {
      ticks =
          draw(*options_.timer_delays, StreamKey{.seed = options_.seed}, static_cast<std::uint64_t>(number));
    }
    push(agents_.size() + id, Kind::timer, number, ticks);
  }

 private:
  using Kind = Happening::Kind;
  /// A type of its own makes the queue one of its own, which compilers then adapt to this simulation.
  struct Next : Happening {};

  RunResult<Backend> go_on(std::uint64_t events) {
    while (goes_on(events)) {
      const auto next = queue_.pop();
      if (!queue_.empty()) foresee(queue_.foresee());
      if (is_void(next.agent, next.payload)) continue;
      exchange_.set_time(next.time);
      ++events;
      happen(next.agent, next.payload);
      if constexpr (!std::is_same_v<std::remove_const_t<Keeper>, NoObserver>) keep(events);
    }
    return exchange_.close(events);
  }

  bool goes_on(std::uint64_t events) const {
    return !queue_.empty() && !exchange_.result().stopped && events < options_.max_events &&
           exchange_.result().updates < options_.max_updates && queue_.next_time() <= options_.until;
  }

  void keep(std::uint64_t events) {
    // What is void does not happen.
    while (!queue_.empty() && is_void(queue_.foresee(), queue_.next())) queue_.pop();
    const Moment<Backend, Memory> moment(exchange_.now(), events, exchange_.server().state(),
                                         exchange_.result().updates, !goes_on(events), this,
                                         [](const void* self, std::uint64_t done) {
                                           return static_cast<const Simulation*>(self)->state(done);
                                         });
    if (metalqr::detail::wants_to_stop(keeper_, moment)) exchange_.stop();
  }

  State state(std::uint64_t events) const {
    State state{.time = exchange_.now(),
                .events = events,
                .updates = exchange_.result().updates,
                .timers = exchange_.timers(),
                .stopped = exchange_.result().stopped,
                .server = exchange_.server().state(),
                .seats = exchange_.seats(),
                .waiting = {},
                .orders = orders_,
                .candidates = candidates_,
                .memories = {}};
    for (const auto& next : queue_.entries()) {
      if (is_void(next.agent, next.payload)) continue;
      state.waiting.push_back({next.time, agent_at(next.payload.kind, next.agent), next.payload});
    }
    const Gain zeros = Backend::zero_like(state.server.gain);
    for (std::size_t i = 0; i < state.seats.size(); ++i) {
      if (!state.seats[i].working) state.orders[i] = {.gain = zeros};
      if (!state.candidates.empty() && state.seats[i].question == 0) state.candidates[i] = zeros;
    }
    require_memory<std::remove_const_t<AgentsType>>();
    if constexpr (!std::is_same_v<Memory, NoMemory>) {
      state.memories.reserve(state.seats.size());
      for (Index agent = 0; agent < agents_.size(); ++agent) {
        state.memories.push_back(agents_.memory(agent));
      }
    }
    return state;
  }

  /// Whether several threads, or processes, find reports before they are due.
  bool looks_ahead() const { return options_.threads != 1 || BatchAgents<AgentsType>; }
  WorkOrder<Backend>& order(Index agent) { return orders_[static_cast<std::size_t>(agent)]; }
  Gain& candidate(Index agent) { return candidates_[static_cast<std::size_t>(agent)]; }
  const Seat& seat(Index agent) const { return exchange_.seats()[static_cast<std::size_t>(agent)]; }
  Index round(Index agent) const { return seat(agent).first_round + seat(agent).works - 1; }

  /// At the same time, agents come before others report, and timers go off after that: they are in the places
  /// of agents below 0, and of agents above the last.
  Index place_of(Kind kind, Index agent) const {
    return agent + (kind == Kind::timer ? agents_.size() : kind == Kind::joins ? -agents_.size() : 0);
  }
  Index agent_at(Kind kind, Index place) const {
    return place - (kind == Kind::timer ? agents_.size() : kind == Kind::joins ? -agents_.size() : 0);
  }

  void push(Index place, Kind kind, Index number, double ticks) {
    // What would come later than time can tell comes last.
    const double time = std::min(queue_.now() + ticks, std::numeric_limits<double>::max());
    queue_.push(time, place, Next{{kind, number}});
    // An agent has a report, an answer and a coming or going before it at the most; the rest is void.
    if (queue_.size() < 6 * orders_.size() + 64) return;
    queue_.erase_if([this](Index whose, const Next& what) { return is_void(whose, what); });
  }

  /// The next event is this agent's.
  void foresee(Index place) const {
    if (place < 0 || place >= agents_.size()) return;
    fetch_ahead(orders_[static_cast<std::size_t>(place)]);
    exchange_.foresee(place);
  }

  void happen(Index place, const Next& happening) {
    switch (happening.kind) {
      case Kind::joins:
        return exchange_.join(place + agents_.size());
      case Kind::leaves:
        return exchange_.leave(place);
      case Kind::timer:
        return exchange_.timer(place - agents_.size(), happening.number);
      case Kind::report:
        return report(place, happening.number);
      case Kind::verdict:
        return answer(place);
    }
  }

  /// Whether nobody waits for what happens any more, because the agent was restarted or went away.
  bool is_void(Index place, const Next& happening) const {
    switch (happening.kind) {
      case Kind::report:
        return !exchange_.is_at_work(place, happening.number);
      case Kind::verdict:
        return !exchange_.is_answering(place, happening.number);
      default:
        return false;
    }
  }

  void report(Index agent, Index round) {
    if (!looks_ahead()) {
      const WorkOrder<Backend>& own = order(agent);
      return exchange_.report(agent, report_on(agents_, agent, round, own.version, own.gain));
    }
    if (known_[static_cast<std::size_t>(agent)] == 0) find_reports();
    exchange_.report(agent, std::move(reports_[static_cast<std::size_t>(agent)]));
  }

  void answer(Index agent) {
    if (!looks_ahead()) {
      return exchange_.verdict(agent, agents_.cost(agent, seat(agent).question, candidate(agent)));
    }
    if (judged_[static_cast<std::size_t>(agent)] == 0) find_costs();
    exchange_.verdict(agent, costs_[static_cast<std::size_t>(agent)]);
  }

  /// Finds the reports of all that are at work.
  void find_reports() {
    reports_.resize(orders_.size());
    const auto is_awaited = [this](Index i) { return seat(i).working; };
    find_all(unknown_, known_, is_awaited, [this](std::span<const Index> agents) {
      if constexpr (BatchAgents<AgentsType>) {
        batch_.clear();
        for (const Index i : agents) {
          batch_.push_back(
              {.agent = i, .number = round(i), .version = order(i).version, .gain = &order(i).gain});
        }
        agents_.work_all(batch_, reports_);
      } else {
        each_of(agents, [this](Index i) {
          const WorkOrder<Backend>& own = order(i);
          reports_[static_cast<std::size_t>(i)] = report_on(agents_, i, round(i), own.version, own.gain);
        });
      }
    });
  }
  /// Finds the costs of all that are asked.
  void find_costs() {
    costs_.resize(orders_.size());
    const auto is_awaited = [this](Index i) { return seat(i).question != 0; };
    find_all(unjudged_, judged_, is_awaited, [this](std::span<const Index> agents) {
      if constexpr (BatchAgents<AgentsType>) {
        batch_.clear();
        for (const Index i : agents) {
          batch_.push_back({.agent = i, .number = seat(i).question, .version = 0, .gain = &candidate(i)});
        }
        agents_.cost_all(batch_, costs_);
      } else {
        each_of(agents, [this](Index i) {
          costs_[static_cast<std::size_t>(i)] = agents_.cost(i, seat(i).question, candidate(i));
        });
      }
    });
  }
  template <class IsAwaited, class Find>
  void find_all(std::vector<Index>& agents, std::vector<char>& found, const IsAwaited& is_awaited,
                const Find& find) {
    std::erase_if(agents, [&](Index i) { return !is_awaited(i) || found[static_cast<std::size_t>(i)] != 0; });
    std::sort(agents.begin(), agents.end());
    agents.erase(std::unique(agents.begin(), agents.end()), agents.end());
    find(std::span<const Index>(agents));
    for (const Index agent : agents) found[static_cast<std::size_t>(agent)] = 1;
    agents.clear();
  }
  template <class Find>
  void each_of(std::span<const Index> agents, const Find& find) {
    parallel_for(
        static_cast<Index>(agents.size()), [&](Index i) { find(agents[static_cast<std::size_t>(i)]); },
        options_.threads);
  }

  AgentsType& agents_;
  const VirtualTimeOptions& options_;
  Keeper& keeper_;
  Exchange<Simulation, AgentsType, ServerType, Observer> exchange_;
  EventQueue<Next> queue_;
  std::vector<WorkOrder<Backend>> orders_;
  std::vector<Gain> candidates_;  // empty before the first
  std::vector<BatchOrder<Backend>> batch_;
  // What several threads or processes have found ahead.
  std::vector<char> known_;
  std::vector<char> judged_;
  std::vector<Report<Backend>> reports_;
  std::vector<Scalar> costs_;
  std::vector<Index> unknown_;   // agents whose reports may have to be found
  std::vector<Index> unjudged_;  // and costs
};

}  // namespace detail

}  // namespace metalqr::inline METALQR_ABI::federated
