#pragma once

/// @file
/// The engine with threads: every agent works in a thread of its own, and reports when it has finished.

#include <algorithm>
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
#include <metalqr/federated/profile.hpp>
#include <metalqr/federated/real_time.hpp>
#include <metalqr/federated/run_result.hpp>
#include <metalqr/federated/server.hpp>
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
  /// Ticks that an agent may take to report or to answer. Later it is left out, until it does so after all:
  /// what it says then is not used, but it joins again.
  double timeout = std::numeric_limits<double>::infinity();
  OnFailure on_failure = OnFailure::end;  ///< when `work` or `cost` of an agent throws
};

/// Throws `InvalidOption` naming the first field out of its range.
inline void validate(const ThreadsOptions& options) {
  detail::validate_real_time(options);
  metalqr::detail::require_option(options.capacity >= 1, "capacity", static_cast<double>(options.capacity),
                                  "at least 1");
}

namespace detail {

/// A run of `run_threads`. The thread that calls it is the server's.
template <Agents AgentsType, class ServerType, class Observer>
class ThreadsRun : public RealTimeRun<ThreadsRun<AgentsType, ServerType, Observer>, AgentsType, ServerType,
                                      Observer, ThreadsOptions> {
  using Base = RealTimeRun<ThreadsRun, AgentsType, ServerType, Observer, ThreadsOptions>;
  friend Base;

 public:
  using Backend = typename AgentsType::Backend;
  using Gain = typename Backend::Gain;
  using Scalar = typename Backend::Scalar;

  ThreadsRun(ServerType& server, AgentsType& agents, std::span<const AgentProfile> profiles,
             const ThreadsOptions& options, Observer& observer)
      : Base(server, agents, profiles, options, observer),
        results_(static_cast<std::size_t>(options.capacity)),
        desks_(static_cast<std::size_t>(agents.size())) {}

  RunResult<Backend> run() {
    this->open();
    std::vector<std::jthread> threads;  // whose ends request their stops, and wait for them
    threads.reserve(desks_.size());
    for (Index agent = 0; agent < agents_.size(); ++agent) {
      threads.emplace_back([this, agent](const std::stop_token& stop) { this->work(agent, stop); });
    }
    this->conduct();
    for (std::jthread& thread : threads) thread.request_stop();
    threads.clear();
    return this->close();
  }

 private:
  using Base::agents_;
  using Base::clock_;
  using Base::options_;

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

  Desk& desk(Index agent) { return desks_[static_cast<std::size_t>(agent)]; }

  // What the run in real time asks for.
  void give_work(Index agent, Index round, Index version, Gain&& gain, double ticks) {
    const double due = clock_.now() + ticks;
    give(agent, [&](Desk& desk) {
      desk.work = Work{.round = round, .version = version, .gain = std::move(gain), .due = due};
    });
  }
  void give_question(Index agent, Index question, Gain&& gain, double ticks) {
    const double due = clock_.now() + ticks;
    give(agent, [&](Desk& desk) {
      desk.question = Question{.number = question, .gain = std::move(gain), .due = due};
    });
  }
  bool await(double time) {
    std::optional<Result> result = results_.pop_until(clock_.at(time));
    if (result) take(std::move(*result));
    return result.has_value();
  }

  template <class Change>
  void give(Index agent, const Change& change) {
    {
      const std::lock_guard lock(desk(agent).mutex);
      change(desk(agent));
    }
    desk(agent).changed.notify_one();
  }

  /// Takes in what an agent sent.
  void take(Result&& result) {
    if (Finished* finished = std::get_if<Finished>(&result.what)) {
      this->finished(result.agent, finished->round, std::move(finished->report));
    } else if (const Answered* answered = std::get_if<Answered>(&result.what)) {
      this->answered(result.agent, answered->question, answered->cost);
    } else {
      fail(result.agent, std::get<std::exception_ptr>(result.what));
    }
  }
  void fail(Index agent, const std::exception_ptr& thrown) {
    if (options_.on_failure == OnFailure::end) std::rethrow_exception(thrown);
    try {
      std::rethrow_exception(thrown);
    } catch (const std::exception& error) {
      this->failed(agent, error.what());
    } catch (...) {
      this->failed(agent, "something that is no std::exception");
    }
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
                               .report = report_on(agents_, agent, work->round, work->version, work->gain)};
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

  BoundedQueue<Result> results_;
  std::vector<Desk> desks_;
};

}  // namespace detail

/// Runs a server in the thread of the caller and each of its agents in one of its own, in real time: who is
/// first depends on the machine, and with it the result; its recorded arrivals replayed in virtual time give
/// it again, bitwise (see `replay_of`). Calls of `agents` for different agents, and those of `limit`, happen
/// at the same time. It ends early when nobody is at work and nothing is awaited; those who were left out are
/// waited for as long as the timeout once more.
///
/// All threads have ended when this returns or throws. A thread cannot be made to end: with an agent that
/// hangs the run goes on without it, given a timeout, but this returns only when its `work` or `cost` has.
/// What may hang for ever belongs in a process of its own (see `serve`).
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
