#pragma once

/// @file
/// A rank that owns agents of a federated run. Needs the component `mpi`.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <metalqr/core/error.hpp>
#include <metalqr/core/mpi.hpp>
#include <metalqr/federated/agents.hpp>
#include <metalqr/federated/mpi_carrier.hpp>
#include <metalqr/federated/mpi_message.hpp>
#include <metalqr/federated/tick_clock.hpp>

namespace metalqr::inline METALQR_ABI::federated {

/// The agents of a rank: those from a number on.
struct AgentRange {
  Index first = 0;  ///< number of the first one
  Index count = 0;  ///< how many
};

/// The agents of a rank where ranks 1, 2, ... own as many each, or one more: none of rank 0, which serves.
/// @throws InvalidOption unless there are two ranks at least and 0 <= rank < ranks.
inline AgentRange agents_of(Index agents, int ranks, int rank) {
  if (ranks < 2 || rank < 0 || rank >= ranks) {
    throw InvalidOption("rank: expected one of at least two, got " + std::to_string(rank) + " of " +
                        std::to_string(ranks));
  }
  if (rank == 0) return {};
  const auto begin = [&](Index worker) { return agents * worker / (ranks - 1); };
  return {.first = begin(rank - 1), .count = begin(rank) - begin(rank - 1)};
}

/// What a rank did in a run.
struct MpiWork {
  std::uint64_t reports = 0;  ///< pieces of work done
  std::uint64_t answers = 0;  ///< questions answered
  MpiTraffic traffic{};       ///< messages
};

namespace detail {

/// A call of `work_for`.
template <Agents AgentsType>
class MpiWorker {
 public:
  using Backend = typename AgentsType::Backend;
  using Gain = typename Backend::Gain;

  MpiWorker(mpi::Communicator& ranks, AgentsType& agents, Index first)
      : agents_(agents),
        first_(first),
        carrier_(ranks),
        desks_(static_cast<std::size_t>(agents.size())),
        clock_(1) {}

  MpiWork run(const Gain& shape) {
    shape_ = Backend::zero_like(shape);
    while (!run_) hear(std::numeric_limits<double>::infinity());
    try {
      enter();
      take_part();
    } catch (const mpi::MpiError&) {
      throw;
    } catch (...) {
      if (!stopped_) withdraw(mpi::detail::current_message());
      throw;
    }
    flush();
    result_.traffic.messages = carrier_.traffic();
    return result_;
  }

 private:
  struct Order {
    Index number = 0;
    Index version = 0;
    Gain gain;
    double due = 0;
  };
  struct Desk {
    std::optional<Order> piece;
    std::optional<Order> question;
    Index reported = -1;  // the last piece of work of which the server took the report
    bool dead = false;
  };
  struct Letter {
    double due = 0;
    Index agent = 0;
    Mail kind = Mail::report;
    Bytes content;
  };

  static Index take_first(std::deque<Index>& queue) {
    const Index first = queue.front();
    queue.pop_front();
    return first;
  }
  Desk& desk(Index agent) { return desks_[static_cast<std::size_t>(agent)]; }

  void take_part() {
    while (!stopped_) {
      while (!stopped_ && hear(0)) {
      }
      if (stopped_) break;
      post_what_is_due();
      if (!questions_.empty()) {
        answer(take_first(questions_));
      } else if (!pieces_.empty()) {
        work(take_first(pieces_));
      } else {
        hear(next_letter());
      }
    }
  }
  /// Rank 0 would wait for one that fails.
  void withdraw(const std::string& why) {
    carrier_.send(0, to_mail(*run_, WithdrawalMail{.message = why}));
    flush();
  }
  void flush() { carrier_.flush_until(TickClock::Clock::now() + std::chrono::seconds(5)); }

  /// Takes in a message if there is one until a time; whether there was.
  bool hear(double time) {
    const std::optional<mpi::Message> message = carrier_.receive_until(clock_.at(time), 0);
    if (!message) return false;
    try {
      take(message->content);
    } catch (const ParseError&) {
      ++result_.traffic.refused;
    }
    return true;
  }

  void take(const Bytes& content) {
    ByteReader reader(content);
    const MailHead head = read_head(reader);
    if (!run_) return take_first_mail(head, reader);
    require_mail(head.run == *run_, "one of this run");
    switch (head.kind) {
      case Mail::work:
        return take_work(read_order<Backend>(reader, shape_));
      case Mail::question:
        return take_question(read_order<Backend>(reader, shape_));
      case Mail::stop:
        return take_stop(read_stop(reader));
      default:
        require_mail(false, "an order");
    }
  }

  void take_first_mail(const MailHead& head, ByteReader& reader) {
    switch (head.kind) {
      case Mail::open:
        opened_ = read_open(reader);
        run_ = head.run;
        return;
      case Mail::withdrawal:
        throw mpi::RemoteError(0, read_withdrawal(reader).message);
      case Mail::work:
      case Mail::question:
      case Mail::stop:  // of a run from which this rank has withdrawn
        ++result_.traffic.unawaited;
        return;
      default:
        require_mail(false, "the begin of a run");
    }
  }

  void enter() {
    clock_ = TickClock(opened_.tick);
    const std::string server_shape = metalqr::detail::shape(opened_.rows, opened_.cols);
    const std::string own_shape = metalqr::detail::shape(Backend::rows(shape_), Backend::cols(shape_));
    if (server_shape != own_shape) {
      throw DimensionMismatch("shape: expected the server's " + server_shape + ", got " + own_shape);
    }
    // The server refuses what does not fit, and would wait.
    if (first_ < 0 || first_ > opened_.agents || agents_.size() > opened_.agents - first_) {
      throw InvalidOption("agents: expected some of the server's " + std::to_string(opened_.agents) +
                          ", got " + std::to_string(agents_.size()) + " from number " +
                          std::to_string(first_) + " on");
    }
    if (agents_.size() == 0) return;
    HelloMail<Backend> hello{.first = first_, .limits = {}};
    for (Index agent = 0; agent < agents_.size(); ++agent) {
      hello.limits.push_back(agents_.limit(agent));
      if (hello.limits.back() == hello.limits.back()) continue;
      throw NotFinite("limit: expected a number of agent " + std::to_string(first_ + agent) + ", got nan");
    }
    carrier_.send(0, to_mail<Backend>(*run_, hello));
  }

  Index own(Index number) const {
    require_mail(number >= first_ && number - first_ < agents_.size(), "one of this rank's agents");
    return number - first_;
  }
  Order order_of(OrderMail<Backend>&& mail) const {
    return {.number = mail.number,
            .version = mail.version,
            .gain = std::move(mail.gain),
            .due = clock_.now() + mail.ticks};
  }

  void take_work(OrderMail<Backend>&& mail) {
    const Index agent = own(mail.agent);
    note_taken(agent, mail.reported);
    if (desk(agent).dead) return;
    if (!desk(agent).piece) pieces_.push_back(agent);
    desk(agent).piece = order_of(std::move(mail));
    drop_letters(agent, Mail::report);
  }
  void take_question(OrderMail<Backend>&& mail) {
    const Index agent = own(mail.agent);
    if (desk(agent).dead) return;
    if (!desk(agent).question) questions_.push_back(agent);
    desk(agent).question = order_of(std::move(mail));
    drop_letters(agent, Mail::verdict);
  }
  void take_stop(const StopMail& mail) {
    stopped_ = true;
    for (std::size_t i = 0; i < mail.reported.size(); ++i) {
      note_taken(own(mail.first + static_cast<Index>(i)), mail.reported[i]);
    }
  }

  void note_taken(Index agent, Index reported) {
    if (reported <= desk(agent).reported) return;
    desk(agent).reported = reported;
    note_reported(agents_, agent, reported);
  }

  void work(Index agent) {
    const Order order = std::move(*desk(agent).piece);
    desk(agent).piece.reset();
    guarded(agent, [&] {
      ReportMail<Backend> mail{.agent = first_ + agent, .number = order.number};
      mail.report = report_on(agents_, agent, order.number, order.version, order.gain);
      ++result_.reports;
      letters_.push_back({order.due, agent, Mail::report, to_mail<Backend>(*run_, mail)});
    });
  }
  void answer(Index agent) {
    const Order order = std::move(*desk(agent).question);
    desk(agent).question.reset();
    guarded(agent, [&] {
      const VerdictMail<Backend> mail{.agent = first_ + agent,
                                      .number = order.number,
                                      .cost = agents_.cost(agent, order.number, order.gain)};
      ++result_.answers;
      letters_.push_back({order.due, agent, Mail::verdict, to_mail<Backend>(*run_, mail)});
    });
  }

  /// Calls what may throw, of an agent that says nothing more then.
  template <class Call>
  void guarded(Index agent, const Call& call) {
    if (desk(agent).dead) return;
    try {
      call();
    } catch (const std::exception& error) {
      die(agent, error.what());
    } catch (...) {
      die(agent, "something that is no std::exception");
    }
  }
  void die(Index agent, const char* message) {
    desk(agent).dead = true;
    drop_letters(agent, Mail::report);
    drop_letters(agent, Mail::verdict);
    carrier_.send(0, to_mail(*run_, FailureMail{.agent = first_ + agent, .message = message}));
  }

  void drop_letters(Index agent, Mail kind) {
    std::erase_if(letters_,
                  [&](const Letter& letter) { return letter.agent == agent && letter.kind == kind; });
  }
  void post_what_is_due() {
    const double now = clock_.now();
    for (Letter& letter : letters_) {
      if (letter.due <= now) carrier_.send(0, std::move(letter.content));
    }
    std::erase_if(letters_, [&](const Letter& letter) { return letter.due <= now; });
  }
  double next_letter() const {
    double time = std::numeric_limits<double>::infinity();
    for (const Letter& letter : letters_) time = std::min(time, letter.due);
    return time;
  }

  AgentsType& agents_;
  Index first_;
  MpiCarrier carrier_;
  std::vector<Desk> desks_;
  std::deque<Index> questions_;  // agents that have one, which come before work, as commits wait for answers
  std::deque<Index> pieces_;     // agents that have a piece of work
  std::vector<Letter> letters_;  // to be sent when they are due
  Gain shape_;
  TickClock clock_;
  std::optional<std::uint64_t> run_;  // once it has begun
  OpenMail opened_;
  bool stopped_ = false;
  MpiWork result_;
};

}  // namespace detail

/// Does what the server at rank 0 asks of the agents of this rank, from the begin of its next run (`serve`)
/// to the end. Agents work one after the other, in the order of what they are sent, questions first; between
/// two pieces of work messages are looked through, so that a restart takes the place of what was not begun. A
/// run whose end it misses because it is busy it leaves when it is not any more.
/// @param ranks the same as the server's.
/// @param agents those of this rank, counted from 0 here; with random numbers of their own if their options
/// say so (`AgentOptions::first`).
/// @param first number of the first of them in the fleet.
/// @param shape a matrix of the gain's shape.
/// @throws InvalidOption at rank 0, or if the server has no such agents; DimensionMismatch if the server's
/// gain has another shape; NotFinite for a limit that is no number; what `limit` and `reported` of the agents
/// throw; mpi::RemoteError if `serve` could not begin. All but the first and the last of these end `serve` as
/// well.
template <Agents AgentsType>
MpiWork work_for(mpi::Communicator& ranks, AgentsType& agents, Index first,
                 const typename AgentsType::Backend::Gain& shape) {
  detail::require_worker(ranks);
  return detail::MpiWorker<AgentsType>(ranks, agents, first).run(shape);
}

}  // namespace metalqr::inline METALQR_ABI::federated
