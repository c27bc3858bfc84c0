#pragma once

/// @file
/// The engine with threads: every agent works in a thread of its own, and reports when it has finished.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <limits>
#include <mutex>
#include <optional>
#include <span>
#include <stop_token>
#include <thread>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <metalqr/core/check.hpp>
#include <metalqr/federated/agents.hpp>
#include <metalqr/federated/bounded_queue.hpp>
#include <metalqr/federated/event_queue.hpp>
#include <metalqr/federated/exchange.hpp>
#include <metalqr/federated/profile.hpp>
#include <metalqr/federated/run_result.hpp>
#include <metalqr/federated/server.hpp>
#include <metalqr/federated/tick_clock.hpp>
#include <metalqr/lqr/descent.hpp>

namespace metalqr::inline METALQR_ABI::federated {

/// When a run with threads ends, and what it records. As in virtual time, set `until` where there is no
/// guard.
struct ThreadsOptions {
  double until = std::numeric_limits<double>::infinity();  ///< time at which it ends, in ticks
  Index max_updates = std::numeric_limits<Index>::max();   ///< of the gain
  double tick = 1e-3;                                      ///< seconds
  /// Results that may wait for the server; agents that have more wait with them.
  Index capacity = 64;
  std::uint64_t seed = 0;  ///< of latencies, losses and absences
  Recording record{};      ///< what is written down
};

/// Throws `InvalidOption` naming the first field out of its range.
inline void validate(const ThreadsOptions& options) {
  using metalqr::detail::require_option;
  require_option(options.until >= 0, "until", options.until, "a time >= 0");
  require_option(options.max_updates >= 0, "max_updates", static_cast<double>(options.max_updates),
                 "a number >= 0");
  require_option(std::isfinite(options.tick) && options.tick > 0, "tick", options.tick,
                 "a positive number of seconds");
  require_option(options.capacity >= 1, "capacity", static_cast<double>(options.capacity), "at least 1");
}

namespace detail {

/// A run of `run_threads`. The thread that calls it is the server's.
template <Agents AgentsType, class ServerType, class Observer>
class ThreadsRun {
 public:
  using Backend = typename AgentsType::Backend;
  using Gain = typename Backend::Gain;
  using Scalar = typename Backend::Scalar;

  ThreadsRun(ServerType& server, AgentsType& agents, std::span<const AgentProfile> profiles,
             const ThreadsOptions& options, Observer& observer)
      : agents_(agents),
        options_(options),
        exchange_(*this, server, agents, profiles, options.seed, options.record, observer),
        clock_(options.tick),
        results_(static_cast<std::size_t>(options.capacity)),
        desks_(static_cast<std::size_t>(agents.size())) {}

  RunResult<Backend> run() {
    exchange_.open();
    std::vector<std::jthread> threads;  // whose ends request their stops, and wait for them
    threads.reserve(desks_.size());
    for (Index agent = 0; agent < agents_.size(); ++agent) {
      threads.emplace_back([this, agent](const std::stop_token& stop) { this->work(agent, stop); });
    }
    std::uint64_t events = 0;
    bool timer_was_last = false;  // so that timers do not hold up reports
    while (!exchange_.result().stopped && exchange_.result().updates < options_.max_updates &&
           (exchange_.is_busy() || !queue_.empty())) {
      const double now = clock_.now();
      if (now > options_.until) break;
      const bool due = queue_.next_time() <= now;
      const bool is_next = due && !(timer_was_last && is_timer_next());
      timer_was_last = false;
      std::optional<Result> result;
      if (!is_next) {
        result = results_.pop_until(clock_.at(due ? now : std::min(queue_.next_time(), options_.until)));
      }
      if (result) {
        exchange_.set_time(clock_.now());
        if (take(std::move(*result))) ++events;
      } else if (due) {
        timer_was_last = is_timer_next();
        const auto next = queue_.pop();
        exchange_.set_time(now);
        happen(next.agent, next.payload);
        ++events;
      }
    }
    for (std::jthread& thread : threads) thread.request_stop();
    threads.clear();
    return exchange_.close(events);
  }

  // What the exchange says.
  void begin_work(Index agent, Index round, Index version, Gain&& gain, double ticks) {
    const double due = clock_.now() + ticks;
    give(agent, [&](Desk& desk) {
      desk.work = Work{.round = round, .version = version, .gain = std::move(gain), .due = due};
    });
  }
  void begin_answer(Index agent, Index question, Gain&& gain, double ticks) {
    const double due = clock_.now() + ticks;
    give(agent, [&](Desk& desk) {
      desk.question = Question{.number = question, .gain = std::move(gain), .due = due};
    });
  }
  void begin_presence(Index agent, double ticks) { push(agent, Happening::leaves, 0, ticks); }
  void begin_absence(Index agent, double ticks) { push(agent, Happening::joins, 0, ticks); }
  void begin_timer(Index id, Index number, double ticks) { push(-1 - id, Happening::timer, number, ticks); }

 private:
  /// What the server's thread waits for by itself; timers in the place of agents below 0.
  struct Happening {
    enum Kind : std::int32_t { timer, joins, leaves };
    Kind kind = timer;
    Index number = 0;
  };
  struct Work {
    Index round = 0;
    Index version = 0;
    Gain gain;
    double due = 0;  // time at which the report is sent at the earliest
  };
  struct Question {
    Index number = 0;
    Gain gain;
    double due = 0;
  };
  /// Where an agent finds what it is to do next: a newer order takes the place of an older one.
  struct Desk {
    std::mutex mutex;
    std::condition_variable_any changed;
    std::optional<Work> work;
    std::optional<Question> question;
  };
  struct Finished {
    Index round = 0;
    Report<Backend> report;
  };
  struct Answered {
    Index question = 0;
    Scalar cost{};
  };
  /// What an agent sends to the server's thread.
  struct Result {
    Index agent = 0;
    std::variant<Finished, Answered, std::exception_ptr> what{};
  };

  /// Whether the next of what the server's thread waits for is a timer; there must be something.
  bool is_timer_next() const { return queue_.foresee() < 0; }
  Desk& desk(Index agent) { return desks_[static_cast<std::size_t>(agent)]; }

  template <class Change>
  void give(Index agent, const Change& change) {
    {
      const std::lock_guard lock(desk(agent).mutex);
      change(desk(agent));
    }
    desk(agent).changed.notify_one();
  }
  void push(Index agent, typename Happening::Kind kind, Index number, double ticks) {
    const double time = std::min(clock_.now() + ticks, std::numeric_limits<double>::max());
    queue_.push(time, agent, Happening{.kind = kind, .number = number});
  }

  void happen(Index agent, const Happening& happening) {
    switch (happening.kind) {
      case Happening::joins:
        return exchange_.join(agent);
      case Happening::leaves:
        return exchange_.leave(agent);
      case Happening::timer:
        return exchange_.timer(-1 - agent, happening.number);
    }
  }

  /// Takes in what an agent sent; whether it was still expected.
  bool take(Result&& result) {
    if (Finished* finished = std::get_if<Finished>(&result.what)) {
      if (!exchange_.is_at_work(result.agent, finished->round)) return false;
      exchange_.report(result.agent, std::move(finished->report));
    } else if (const Answered* answered = std::get_if<Answered>(&result.what)) {
      if (!exchange_.is_asked(result.agent, answered->question)) return false;
      exchange_.verdict(result.agent, answered->cost);
    } else {
      std::rethrow_exception(std::get<std::exception_ptr>(result.what));
    }
    return true;
  }

  /// The thread of an agent.
  void work(Index agent, const std::stop_token& stop) {
    try {
      serve(agent, stop);
    } catch (...) {
      results_.push({.agent = agent, .what = std::current_exception()}, stop);
    }
  }

  void serve(Index agent, const std::stop_token& stop) {
    constexpr double never = std::numeric_limits<double>::infinity();
    Result report{.agent = agent};
    Result answer{.agent = agent};
    double report_due = never;
    double answer_due = never;
    while (!stop.stop_requested()) {
      auto [work, question] = next_orders(agent, stop, std::min(report_due, answer_due));
      if (question) {
        answer.what = Answered{.question = question->number,
                               .cost = agents_.cost(agent, question->number, question->gain)};
        answer_due = question->due;
      }
      if (work) {
        report.what = Finished{.round = work->round,
                               .report = agents_.work(agent, work->round, work->version, work->gain)};
        report_due = work->due;
      }
      if (answer_due <= clock_.now()) {
        answer_due = never;
        results_.push(std::move(answer), stop);
      }
      if (report_due <= clock_.now()) {
        report_due = never;
        results_.push(std::move(report), stop);
      }
    }
  }

  /// What has been given to an agent since; waits for it until a time, or the end.
  std::pair<std::optional<Work>, std::optional<Question>> next_orders(Index agent,
                                                                      const std::stop_token& stop,
                                                                      double until) {
    Desk& own = desk(agent);
    std::unique_lock lock(own.mutex);
    own.changed.wait_until(lock, stop, clock_.at(until), [&own] { return own.work || own.question; });
    return {std::exchange(own.work, std::nullopt), std::exchange(own.question, std::nullopt)};
  }

  AgentsType& agents_;
  const ThreadsOptions& options_;
  Exchange<ThreadsRun, AgentsType, ServerType, Observer> exchange_;
  TickClock clock_;
  BoundedQueue<Result> results_;
  EventQueue<Happening> queue_;
  std::vector<Desk> desks_;
};

}  // namespace detail

/// Runs a server in the thread of the caller and each of its agents in one of its own, in real time: who is
/// first depends on the machine, and with it the result; its recorded arrivals replayed in virtual time give
/// it again, bitwise (see `replay_of`). Calls of `agents` for different agents, and those of `limit`, happen
/// at the same time. All threads have ended when this returns or throws. It ends early when nobody is at work
/// and nothing is awaited.
/// @param server is left as the run leaves it, and may go on in another.
/// @param profiles one for each agent, or one for all: latencies count from the message to the agent to the
/// one from it, so that its work takes at least so long.
/// @param observer sees every commit, in the thread of the caller, and may return true to stop.
/// @throws InvalidOption for profiles or options out of range; std::system_error where the system has no more
/// threads; what `agents` throws.
template <Agents AgentsType, class ServerType, class Observer = NoObserver>
RunResult<typename AgentsType::Backend> run_threads(ServerType& server, AgentsType& agents,
                                                    std::span<const AgentProfile> profiles,
                                                    const ThreadsOptions& options = {},
                                                    Observer&& observer = {}) {
  detail::require_profiles(profiles, agents.size());
  validate(options);
  return detail::ThreadsRun<AgentsType, ServerType, std::remove_reference_t<Observer>>(
             server, agents, profiles, options, observer)
      .run();
}

}  // namespace metalqr::inline METALQR_ABI::federated
