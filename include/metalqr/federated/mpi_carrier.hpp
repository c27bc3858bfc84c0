#pragma once

/// @file
/// Messages of a federated run between ranks, without waiting for anybody. Needs the component `mpi`.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <list>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <metalqr/core/error.hpp>
#include <metalqr/core/index.hpp>
#include <metalqr/core/mpi.hpp>

namespace metalqr::inline METALQR_ABI::federated {

/// What a rank sent and received in a run.
struct MpiTraffic {
  mpi::Traffic messages{};      ///< all of them, with their bytes
  std::uint64_t refused = 0;    ///< received and refused: malformed, or from a rank that may not say so
  std::uint64_t unawaited = 0;  ///< received when they were not awaited any more, or of an earlier run
};

namespace detail {

/// Throws `InvalidOption` unless this is rank 0 of several.
inline void require_server(const mpi::Communicator& ranks) {
  if (ranks.rank() != 0) throw InvalidOption("rank: expected 0, got " + std::to_string(ranks.rank()));
  if (ranks.size() < 2) throw InvalidOption("ranks: expected at least two, got one");
}
inline void require_agents(Index agents) {
  metalqr::detail::require_option(agents >= 1, "agents", static_cast<double>(agents), "at least 1");
}
inline void require_worker(const mpi::Communicator& ranks) {
  if (ranks.rank() == 0) throw InvalidOption("rank: expected one above 0, which serves, got 0");
}

/// Sends and receives; what is sent is kept until MPI has done with it.
class MpiCarrier {
 public:
  using Clock = std::chrono::steady_clock;

  explicit MpiCarrier(mpi::Communicator& ranks)
      : ranks_(ranks), before_(ranks.traffic()), pending_(static_cast<std::size_t>(ranks.size())) {
    for (auto message = abandoned().begin(); message != abandoned().end();) {
      message = is_done(*message) ? abandoned().erase(message) : std::next(message);
    }
  }
  MpiCarrier(const MpiCarrier&) = delete;
  MpiCarrier& operator=(const MpiCarrier&) = delete;
  /// What nobody has received yet stays as long as the process: MPI may still read it.
  ~MpiCarrier() {
    for (std::list<Pending>& messages : pending_) abandoned().splice(abandoned().end(), messages);
  }

  /// @throws InvalidOption from 2 GiB on.
  void send(int rank, Bytes content) {
    mpi::detail::require_length(content.size());
    std::list<Pending>& messages = pending_[static_cast<std::size_t>(rank)];
    collect(messages);
    Pending& next = messages.emplace_back(Pending{.content = std::move(content)});
    mpi::detail::check(MPI_Isend(next.content.data(), static_cast<int>(next.content.size()), MPI_BYTE, rank,
                                 tag, ranks_.handle(), &next.request),
                       "MPI_Isend");
    ++sent_.sent;
    sent_.sent_bytes += next.content.size();
  }

  /// The next message from a rank, or from any, in the order in which they come; waits until a time at most.
  std::optional<mpi::Message> receive_until(Clock::time_point time, int source = MPI_ANY_SOURCE) {
    // MPI would wait with a busy processor, which the agents need.
    constexpr std::chrono::microseconds longest(500);
    std::chrono::microseconds pause(1);
    for (int i = 0;; ++i) {
      if (std::optional<mpi::Message> message = ranks_.try_receive(source, tag)) return message;
      const Clock::time_point now = Clock::now();
      if (now >= time) return std::nullopt;
      if (++looked_at_ >= pending_.size()) looked_at_ = 0;
      collect(pending_[looked_at_]);
      if (i < 20) {
        std::this_thread::yield();
      } else {
        std::this_thread::sleep_for(std::min(std::chrono::duration_cast<std::chrono::nanoseconds>(time - now),
                                             std::chrono::nanoseconds(pause)));
        pause = std::min(2 * pause, longest);
      }
    }
  }

  /// Waits until all that was sent is on its way, until a time at most.
  void flush_until(Clock::time_point time) {
    for (std::list<Pending>& messages : pending_) {
      while (collect(messages), !messages.empty() && Clock::now() < time) {
        std::this_thread::sleep_for(std::chrono::microseconds(100));
      }
    }
  }

  mpi::Traffic traffic() const {
    mpi::Traffic traffic = ranks_.traffic().since(before_);
    traffic.sent += sent_.sent;
    traffic.sent_bytes += sent_.sent_bytes;
    return traffic;
  }

 private:
  static constexpr int tag = 20'240;

  struct Pending {
    Bytes content;
    MPI_Request request = MPI_REQUEST_NULL;
  };

  static std::list<Pending>& abandoned() {
    static std::list<Pending> list;
    return list;
  }
  static bool is_done(Pending& one) {
    int done = 0;
    mpi::detail::check(MPI_Test(&one.request, &done, MPI_STATUS_IGNORE), "MPI_Test");
    return done != 0;
  }
  /// Drops what is done. Messages to one rank leave in their order, so that only the first is asked for: to
  /// ask for all of many thousands each time would take longer than to send them.
  static void collect(std::list<Pending>& messages) {
    while (!messages.empty() && is_done(messages.front())) messages.pop_front();
  }

  mpi::Communicator& ranks_;
  mpi::Traffic before_;
  mpi::Traffic sent_;
  std::vector<std::list<Pending>> pending_;  // by the rank that they are sent to
  std::size_t looked_at_ = 0;                // the rank whose messages were collected last
};

}  // namespace detail
}  // namespace metalqr::inline METALQR_ABI::federated
