#pragma once

/// @file
/// What engines in real time share: the server's loop between what arrives and what the clock brings.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <metalqr/core/check.hpp>
#include <metalqr/federated/agents.hpp>
#include <metalqr/federated/event_queue.hpp>
#include <metalqr/federated/exchange.hpp>
#include <metalqr/federated/profile.hpp>
#include <metalqr/federated/run_result.hpp>
#include <metalqr/federated/tick_clock.hpp>

namespace metalqr::inline METALQR_ABI::federated {

/// What happens when the code of an agent throws.
enum class OnFailure {
  end,   ///< the run ends, and throws
  leave  ///< that agent is left out until the end, see `RunResult::failures`
};

namespace detail {

/// Checks the options that all engines in real time have.
template <class Options>
void validate_real_time(const Options& options) {
  using metalqr::detail::require_option;
  require_option(options.until >= 0, "until", options.until, "a time >= 0");
  require_option(options.max_updates >= 0, "max_updates", static_cast<double>(options.max_updates),
                 "a number >= 0");
  require_option(std::isfinite(options.tick) && options.tick > 0, "tick", options.tick,
                 "a positive number of seconds");
  require_option(options.timeout > 0, "timeout", options.timeout, "a positive number of ticks");
}

/// A run in real time, of which `Run` carries the messages. It has
/// `give_work(agent, round, version, gain, ticks)` and `give_question(agent, question, gain, ticks)`, with
/// the ticks that are to pass before the answer is sent, and `await(time)`, which takes in at most one
/// message, by `finished`, `answered`, `failed` or `heard_of`, waits for it until that time, and returns
/// whether there was one. All on the server's thread.
///
/// Everything that is sent has a deadline. Who misses it is lost: the server hears that the agent has left,
/// and that it joins when it says anything at all. That it left and joined is recorded like any arrival, so
/// that replays know nothing of deadlines.
template <class Run, Fleet AgentsType, class ServerType, class Observer, class Options>
class RealTimeRun {
 public:
  using Backend = typename AgentsType::Backend;
  using Gain = typename Backend::Gain;
  using Scalar = typename Backend::Scalar;

  RealTimeRun(const RealTimeRun&) = delete;
  RealTimeRun& operator=(const RealTimeRun&) = delete;

  // What the exchange says.
  void begin_work(Index agent, Index round, Index version, Gain&& gain, double ticks) {
    set_deadline(agent, Happening::work_overdue, round);
    run().give_work(agent, round, version, std::move(gain), ticks);
  }
  void begin_answer(Index agent, Index question, Gain&& gain, double ticks) {
    set_deadline(agent, Happening::answer_overdue,
                 exchange_.seats()[static_cast<std::size_t>(agent)].answers - 1);
    run().give_question(agent, question, std::move(gain), ticks);
  }
  void begin_presence(Index agent, double ticks) {
    push(agent, Happening::leaves, member(agent).departures, ticks);
  }
  void begin_absence(Index agent, double ticks) { push(agent, Happening::joins, 0, ticks); }
  void begin_timer(Index id, Index number, double ticks) { push(-1 - id, Happening::timer, number, ticks); }

 protected:
  RealTimeRun(ServerType& server, AgentsType& agents, std::span<const AgentProfile> profiles,
              const Options& options, Observer& observer)
      : agents_(agents),
        options_(options),
        exchange_(*this, server, agents, profiles, options.seed, options.record, observer),
        clock_(options.tick),
        members_(static_cast<std::size_t>(agents.size())) {}
  ~RealTimeRun() = default;

  /// Waits for those who were put off, as long as the timeout.
  void await_greetings() {
    const double time = std::min(options_.timeout, options_.until);
    while (unknown_ > 0 && clock_.now() < time) run().await(time);
  }
  /// Everybody's first coming begins.
  void open() { exchange_.open(); }

  /// Runs until something ends it.
  void conduct() {
    bool timer_was_last = false;  // so that timers do not hold up reports
    while (!exchange_.result().stopped && exchange_.result().updates < options_.max_updates) {
      const double now = clock_.now();
      if (now > options_.until || !is_awaiting(now)) break;
      const bool due = queue_.next_time() <= now;
      const bool is_next = due && !(timer_was_last && is_timer_next());
      timer_was_last = false;
      if (!is_next && run().await(due ? now : next_time(now))) continue;
      if (!due) continue;
      timer_was_last = is_timer_next();
      const auto next = queue_.pop();
      if (is_void(next.agent, next.payload)) continue;
      exchange_.set_time(now);
      ++events_;
      happen(next.agent, next.payload);
    }
  }

  RunResult<Backend> close() {
    RunResult<Backend> result = exchange_.close(events_);
    result.failures = std::move(failures_);
    return result;
  }

  // What arrives. Whether it was awaited, by somebody who is not dead.
  bool finished(Index agent, Index round, Report<Backend>&& report) {
    if (!is_heard(agent) || !exchange_.is_at_work(agent, round)) return false;
    ++events_;
    exchange_.report(agent, std::move(report));
    return true;
  }
  bool answered(Index agent, Index question, Scalar cost) {
    if (!is_heard(agent) || !exchange_.is_asked(agent, question)) return false;
    ++events_;
    exchange_.verdict(agent, cost);
    return true;
  }
  /// An agent has shown that it is there.
  void heard_of(Index agent) { is_heard(agent); }
  /// The code of an agent threw, and says nothing more.
  void failed(Index agent, const std::string& message) {
    Member& own = member(agent);
    if (own.dead) return;
    own.dead = true;
    exchange_.set_time(clock_.now());
    note_failure(AgentFailure::Kind::threw, agent, message);
    if (own.lost) {
      own.lost = false;
      --lost_;
    }
    if (!exchange_.is_present(agent)) return;
    ++own.departures;
    ++events_;
    exchange_.lose(agent);
  }
  /// An agent is not to come before it is heard of.
  void put_off(Index agent) {
    if (std::exchange(member(agent).unknown, true)) return;
    ++unknown_;
  }

  AgentsType& agents_;
  const Options& options_;
  Exchange<RealTimeRun, AgentsType, ServerType, Observer> exchange_;
  TickClock clock_;

 private:
  /// What the clock brings; timers in the place of agents below 0.
  struct Happening {
    enum Kind : std::int32_t { timer, joins, leaves, work_overdue, answer_overdue };
    Kind kind = timer;
    Index number = 0;  // of the timer, the stay, the piece of work or the answer
  };
  struct Member {
    Index departures = 0;
    bool lost = false;     // left out because it was late; joins when it is heard of
    bool dead = false;     // its code threw
    bool unknown = false;  // has not been heard of yet
    bool due = false;      // would be there if it had
  };

  Run& run() { return static_cast<Run&>(*this); }
  Member& member(Index agent) { return members_[static_cast<std::size_t>(agent)]; }

  /// Whether the next of what the server's thread waits for is a timer; there must be something.
  bool is_timer_next() const { return queue_.foresee() < 0; }
  /// Until when those are waited for who may be heard of again, though nobody else is there: as long as the
  /// timeout once more.
  double patience() const {
    return lost_ + unknown_ > 0 ? last_loss_ + options_.timeout : -std::numeric_limits<double>::infinity();
  }
  /// Whether anything can happen that is not void.
  bool is_awaiting(double now) {
    if (exchange_.is_busy()) return true;
    drop_void();
    return !queue_.empty() || now < patience();
  }
  double next_time(double now) const {
    const double time = std::min(queue_.next_time(), options_.until);
    return now < patience() ? std::min(time, patience()) : time;
  }

  void push(Index agent, typename Happening::Kind kind, Index number, double ticks) {
    const double time = std::min(clock_.now() + ticks, std::numeric_limits<double>::max());
    queue_.push(time, agent, Happening{.kind = kind, .number = number});
    // An agent has two deadlines and a coming or going before it at the most; the rest is void.
    if (queue_.size() >= 6 * members_.size() + 64) drop_void();
  }
  void drop_void() {
    queue_.erase_if([this](Index place, const Happening& what) { return is_void(place, what); });
  }
  void set_deadline(Index agent, typename Happening::Kind kind, Index number) {
    if (options_.timeout < std::numeric_limits<double>::infinity()) {
      push(agent, kind, number, options_.timeout);
    }
  }

  bool is_void(Index agent, const Happening& happening) const {
    switch (happening.kind) {
      case Happening::joins:
        return members_[static_cast<std::size_t>(agent)].dead;
      case Happening::leaves:
        return members_[static_cast<std::size_t>(agent)].departures != happening.number;
      case Happening::work_overdue:
        return !exchange_.is_at_work(agent, happening.number);
      case Happening::answer_overdue:
        return !exchange_.is_answering(agent, happening.number);
      default:
        return false;
    }
  }

  void happen(Index agent, const Happening& happening) {
    switch (happening.kind) {
      case Happening::joins:
        return join(agent);
      case Happening::leaves:
        ++member(agent).departures;
        return exchange_.leave(agent);
      case Happening::work_overdue:
      case Happening::answer_overdue:
        return lose(agent);
      case Happening::timer:
        return exchange_.timer(-1 - agent, happening.number);
    }
  }

  void join(Index agent) {
    if (member(agent).unknown) {
      member(agent).due = true;
    } else {
      exchange_.join(agent);
    }
  }

  void lose(Index agent) {
    Member& own = member(agent);
    own.lost = true;
    ++lost_;
    ++own.departures;
    last_loss_ = clock_.now();
    note_failure(AgentFailure::Kind::late, agent, {});
    exchange_.lose(agent);
  }

  /// Whether what comes from this agent may be awaited. It comes back if it was lost.
  bool is_heard(Index agent) {
    Member& own = member(agent);
    if (own.dead) return false;
    exchange_.set_time(clock_.now());
    if (own.unknown) {
      own.unknown = false;
      --unknown_;
      if (own.due) {
        ++events_;
        exchange_.join(agent);
      }
    } else if (own.lost) {
      own.lost = false;
      --lost_;
      ++events_;
      exchange_.join(agent);
    }
    return true;
  }

  void note_failure(AgentFailure::Kind kind, Index agent, const std::string& message) {
    failures_.push_back({.kind = kind, .agent = agent, .time = clock_.now(), .message = message});
  }

  EventQueue<Happening> queue_;
  std::vector<Member> members_;
  std::vector<AgentFailure> failures_;
  Index lost_ = 0;
  Index unknown_ = 0;
  double last_loss_ = 0;  // 0: the begin, when nobody had been heard of
  std::uint64_t events_ = 0;
};

}  // namespace detail
}  // namespace metalqr::inline METALQR_ABI::federated
