#pragma once

/// @file
/// The engine between processes: rank 0 serves, the other ranks own the agents. Needs the component `mpi`.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <metalqr/core/check.hpp>
#include <metalqr/core/error.hpp>
#include <metalqr/core/mpi.hpp>
#include <metalqr/federated/mpi_carrier.hpp>
#include <metalqr/federated/mpi_message.hpp>
#include <metalqr/federated/mpi_worker.hpp>
#include <metalqr/federated/profile.hpp>
#include <metalqr/federated/real_time.hpp>
#include <metalqr/federated/run_result.hpp>
#include <metalqr/federated/server.hpp>
#include <metalqr/lqr/descent.hpp>

namespace metalqr::inline METALQR_ABI::federated {

/// When a run between processes ends, and what it records. As in virtual time, set `until` where there is no
/// guard.
struct MpiOptions {
  double until = std::numeric_limits<double>::infinity();  ///< time at which it ends, in ticks
  Index max_updates = std::numeric_limits<Index>::max();   ///< of the gain
  double tick = 1e-3;                                      ///< seconds
  std::uint64_t seed = 0;                                  ///< of latencies, losses and absences
  Recording record{};                                      ///< what is written down
  /// Ticks that an agent may take to report or to answer, while others of its rank are at work too. Later it
  /// is left out, until it does so after all: what it says then is not used, but it joins again.
  double timeout = std::numeric_limits<double>::infinity();
  OnFailure on_failure = OnFailure::end;  ///< when `work` or `cost` of an agent throws
  double farewell = 1;  ///< seconds that the last messages may take to be on their way at the end
};

/// Throws `InvalidOption` naming the first field out of its range.
inline void validate(const MpiOptions& options) {
  detail::validate_real_time(options);
  metalqr::detail::require_option(options.farewell >= 0, "farewell", options.farewell, "a time >= 0");
}

/// What a run between processes did.
template <class Backend>
struct MpiRunResult : RunResult<Backend> {
  MpiTraffic traffic{};  ///< of rank 0
};

namespace detail {

/// What rank 0 knows of the agents of others.
template <MatrixBackend Backend_>
class RemoteAgents {
 public:
  using Backend = Backend_;
  using Scalar = typename Backend::Scalar;

  explicit RemoteAgents(Index agents) : owners_(static_cast<std::size_t>(agents)) {}

  Index size() const { return static_cast<Index>(owners_.size()); }
  Scalar limit(Index agent) const { return owner(agent).limit; }
  void reported(Index agent, Index round) { owners_[static_cast<std::size_t>(agent)].reported = round; }

  /// The gain of that version was sent to an agent.
  void note_version(Index agent, Index version) {
    owners_[static_cast<std::size_t>(agent)].version = version;
  }
  /// Of the last gain that was sent to an agent.
  Index version(Index agent) const { return owner(agent).version; }

  /// The rank of an agent; 0: not known yet.
  int rank(Index agent) const { return owner(agent).rank; }
  Index last_reported(Index agent) const { return owner(agent).reported; }
  bool is(Index agent, int rank) const { return agent >= 0 && agent < size() && owner(agent).rank == rank; }
  /// A rank says, once, which agents it owns. @throws ParseError if others do.
  void settle(int rank, const HelloMail<Backend>& hello) {
    require_mail(!std::any_of(owners_.begin(), owners_.end(),
                              [rank](const Owner& owner) { return owner.rank == rank; }),
                 "one greeting of a rank");
    for (std::size_t i = 0; i < hello.limits.size(); ++i) {
      require_mail(owners_[static_cast<std::size_t>(hello.first) + i].rank == 0, "agents that nobody owns");
    }
    for (std::size_t i = 0; i < hello.limits.size(); ++i) {
      owners_[static_cast<std::size_t>(hello.first) + i] = {.rank = rank, .limit = hello.limits[i]};
    }
  }

 private:
  struct Owner {
    int rank = 0;
    Scalar limit{};
    Index reported = -1;
    Index version = 0;
  };
  const Owner& owner(Index agent) const { return owners_[static_cast<std::size_t>(agent)]; }

  std::vector<Owner> owners_;
};

/// A number that no other run of these processes has.
inline std::uint64_t next_run() {
  static std::uint64_t runs = 0;
  const auto now = std::chrono::system_clock::now().time_since_epoch().count();
  return (static_cast<std::uint64_t>(now) << 8) + (++runs & 255);
}

/// A run of `serve`.
template <MatrixBackend Backend, class ServerType, class Observer>
class MpiRun : public RealTimeRun<MpiRun<Backend, ServerType, Observer>, RemoteAgents<Backend>, ServerType,
                                  Observer, MpiOptions> {
  using Base = RealTimeRun<MpiRun, RemoteAgents<Backend>, ServerType, Observer, MpiOptions>;
  friend Base;

 public:
  using Gain = typename Backend::Gain;

  MpiRun(mpi::Communicator& ranks, ServerType& server, RemoteAgents<Backend>& agents,
         std::span<const AgentProfile> profiles, const MpiOptions& options, Observer& observer)
      : Base(server, agents, profiles, options, observer),
        ranks_(ranks),
        carrier_(ranks),
        shape_(Backend::zero_like(server.gain())),
        run_(next_run()) {}

  MpiRunResult<Backend> run() {
    for (int rank = 1; rank < ranks_.size(); ++rank) {
      carrier_.send(rank, to_mail(run_, OpenMail{.rows = Backend::rows(shape_),
                                                 .cols = Backend::cols(shape_),
                                                 .agents = agents_.size(),
                                                 .tick = options_.tick}));
    }
    for (Index agent = 0; agent < agents_.size(); ++agent) this->put_off(agent);
    try {
      this->await_greetings();
      this->open();
      this->conduct();
    } catch (...) {
      stop();
      throw;
    }
    stop();
    MpiRunResult<Backend> result{this->close(), traffic_};
    result.traffic.messages = carrier_.traffic();
    return result;
  }

 private:
  using Base::agents_;
  using Base::clock_;
  using Base::options_;

  // What the run in real time asks for.
  void give_work(Index agent, Index round, Index version, Gain&& gain, double ticks) {
    agents_.note_version(agent, version);
    send(Mail::work, {.agent = agent,
                      .number = round,
                      .version = version,
                      .ticks = ticks,
                      .reported = agents_.last_reported(agent),
                      .gain = std::move(gain)});
  }
  void give_question(Index agent, Index question, Gain&& gain, double ticks) {
    send(Mail::question, {.agent = agent, .number = question, .ticks = ticks, .gain = std::move(gain)});
  }
  void send(Mail kind, const OrderMail<Backend>& order) {
    carrier_.send(agents_.rank(order.agent), to_mail<Backend>(run_, kind, order));
  }

  bool await(double time) {
    const std::optional<mpi::Message> message = carrier_.receive_until(clock_.at(time));
    if (!message) return false;
    try {
      take(message->source, message->content);
    } catch (const ParseError&) {
      ++traffic_.refused;
    }
    return true;
  }

  void take(int rank, const Bytes& content) {
    ByteReader reader(content);
    const MailHead head = read_head(reader);
    if (head.run != run_) {
      ++traffic_.unawaited;
      return;
    }
    switch (head.kind) {
      case Mail::hello:
        return take_hello(rank, read_hello<Backend>(reader, agents_.size()));
      case Mail::report:
        return take_report(rank, read_report<Backend>(reader, shape_));
      case Mail::verdict:
        return take_verdict(rank, read_verdict<Backend>(reader));
      case Mail::failure:
        return take_failure(rank, read_failure(reader));
      case Mail::withdrawal:
        return take_withdrawal(rank, read_withdrawal(reader));
      default:
        require_mail(false, "an answer");
    }
  }

  void take_hello(int rank, const HelloMail<Backend>& mail) {
    agents_.settle(rank, mail);
    for (std::size_t i = 0; i < mail.limits.size(); ++i) this->heard_of(mail.first + static_cast<Index>(i));
  }
  void take_report(int rank, ReportMail<Backend>&& mail) {
    require_mail(agents_.is(mail.agent, rank), "one of the rank's agents");
    hold_to_order(mail.report, mail.agent, agents_.version(mail.agent));
    if (!this->finished(mail.agent, mail.number, std::move(mail.report))) ++traffic_.unawaited;
  }
  void take_verdict(int rank, const VerdictMail<Backend>& mail) {
    require_mail(agents_.is(mail.agent, rank), "one of the rank's agents");
    if (!this->answered(mail.agent, mail.number, mail.cost)) ++traffic_.unawaited;
  }
  void take_failure(int rank, const FailureMail& mail) {
    require_mail(agents_.is(mail.agent, rank), "one of the rank's agents");
    if (options_.on_failure == OnFailure::end) {
      throw mpi::RemoteError(rank, "agent " + std::to_string(mail.agent) + ": " + mail.message);
    }
    this->failed(mail.agent, mail.message);
  }

  void take_withdrawal(int rank, const WithdrawalMail& mail) {
    // Nobody knows whose agents will never come if the rank has not said so.
    bool known = false;
    for (Index agent = 0; agent < agents_.size(); ++agent) {
      if (!agents_.is(agent, rank)) continue;
      known = true;
      if (options_.on_failure == OnFailure::leave) this->failed(agent, mail.message);
    }
    if (!known || options_.on_failure == OnFailure::end) throw mpi::RemoteError(rank, mail.message);
  }

  void stop() {
    for (int rank = 1; rank < ranks_.size(); ++rank) {
      StopMail mail;
      for (Index agent = 0; agent < agents_.size(); ++agent) {
        if (!agents_.is(agent, rank)) continue;
        if (mail.reported.empty()) mail.first = agent;
        mail.reported.push_back(agents_.last_reported(agent));
      }
      carrier_.send(rank, to_mail(run_, mail));
    }
    const std::chrono::duration<double> farewell(std::min(options_.farewell, 1e6));
    carrier_.flush_until(TickClock::Clock::now() +
                         std::chrono::duration_cast<TickClock::Clock::duration>(farewell));
  }

  mpi::Communicator& ranks_;
  MpiCarrier carrier_;
  Gain shape_;
  std::uint64_t run_;
  MpiTraffic traffic_;
};

/// What `prepare()` returns. If it throws the workers hear of it, who wait for a run.
template <class Prepare>
auto prepared(mpi::Communicator& ranks, const Prepare& prepare) {
  try {
    return prepare();
  } catch (...) {
    const Bytes mail = to_mail(0, WithdrawalMail{.message = mpi::detail::current_message()});
    MpiCarrier carrier(ranks);
    for (int rank = 1; rank < ranks.size(); ++rank) carrier.send(rank, mail);
    carrier.flush_until(TickClock::Clock::now() + std::chrono::seconds(1));
    throw;
  }
}

}  // namespace detail

/// Runs a server at rank 0, in real time, with agents at the other ranks, each of which calls `work_for`.
/// Nobody waits for anybody: the first reports of an update are the first to arrive. Who that is depends on
/// the machine; recorded arrivals replayed in virtual time give the result again, bitwise (see `replay_of`).
/// For rules that wait for everybody there is `serve_rounds` too, with collective calls.
///
/// It begins when all ranks have said which agents they own, or after the timeout without those that have
/// not: they come when they say so. Every call at rank 0 goes with one `work_for` at each other rank: where
/// it throws before the begin, they throw too; and where one of them cannot take part, `serve` throws and
/// stops the others.
///
/// Nothing that comes from other ranks is trusted: a message that is malformed, or that speaks for another
/// rank's agents, is counted and has no effect. A rank that does not answer has its agents left out after the
/// timeout, and taken in again when it does; the run ends without waiting for it. The process does not: MPI's
/// end (`MPI_Finalize`) waits for all ranks, for one that hangs for ever. Where that may happen the job needs
/// a limit of its time, or rank 0 calls `MPI_Abort` when it has saved its result. A process that dies is
/// another matter: MPI, or its launcher, ends the whole job then. A job that was killed goes on from what an
/// observer wrote of `RunInfo::state` (see io/server_state.hpp): a server made of that state is served again.
/// @param ranks the same as the workers', at least two.
/// @param server is left as the run leaves it, and may go on in another.
/// @param agents how many the other ranks own together; each one of them.
/// @param profiles one for each agent, or one for all: latencies count from the arrival of the message to the
/// agent to the departure of the one from it, so that its work takes at least so long.
/// @param observer sees every commit, and may return true to stop.
/// @throws InvalidOption at another rank than 0 or without others, for profiles or options out of range;
/// mpi::RemoteError if an agent throws, with `OnFailure::end`, or if a rank cannot take part (see
/// `work_for`): with `OnFailure::leave` its agents are left out if it has said which they are; mpi::MpiError.
template <class ServerType, class Observer = NoObserver>
MpiRunResult<typename ServerType::Backend> serve(mpi::Communicator& ranks, ServerType& server, Index agents,
                                                 std::span<const AgentProfile> profiles,
                                                 const MpiOptions& options = {}, Observer&& observer = {}) {
  using Backend = typename ServerType::Backend;
  using Run = detail::MpiRun<Backend, ServerType, std::remove_reference_t<Observer>>;
  detail::require_server(ranks);
  auto remote = detail::prepared(ranks, [&] {
    detail::require_agents(agents);
    detail::require_profiles(profiles, agents);
    validate(options);
    return detail::RemoteAgents<Backend>(agents);
  });
  return detail::prepared(ranks, [&] { return Run(ranks, server, remote, profiles, options, observer); })
      .run();
}

}  // namespace metalqr::inline METALQR_ABI::federated
