#pragma once

/// @file
/// Message passing between processes (MPI 3): communicators whose calls are checked and counted, and in which
/// a failure of one rank is a failure of all. Needs the component `mpi`.

#include <climits>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <metalqr/core/bytes.hpp>
#include <metalqr/core/mpi_session.hpp>

namespace metalqr::inline METALQR_ABI::mpi {

namespace detail {

// The message of the exception that is being handled.
inline std::string current_message() {
  try {
    throw;
  } catch (const std::exception& error) {
    return error.what();
  } catch (...) {
    return "an exception of unknown type";
  }
}

inline Bytes bytes_of(const std::string& text) {
  const auto* first = reinterpret_cast<const std::byte*>(text.data());
  return {first, first + text.size()};
}
inline std::string text_of(const Bytes& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// MPI counts in int.
inline void require_length(std::uint64_t length) {
  if (length <= INT_MAX) return;
  throw InvalidOption("content: expected at most " + std::to_string(INT_MAX) + " bytes, got " +
                      std::to_string(length));
}

}  // namespace detail

/// What a rank sent and received through a communicator: the content that it hands over for others (once,
/// however many they are), and what it gets of theirs; how MPI forwards it on the way is not seen.
struct Traffic {
  std::uint64_t sent_bytes = 0;      ///< handed over
  std::uint64_t received_bytes = 0;  ///< got
  std::uint64_t sent = 0;            ///< messages to one rank
  std::uint64_t received = 0;        ///< messages from one rank
  std::uint64_t collectives = 0;     ///< calls in which all ranks take part

  /// What came since `earlier`.
  Traffic since(const Traffic& earlier) const noexcept {
    return {sent_bytes - earlier.sent_bytes, received_bytes - earlier.received_bytes, sent - earlier.sent,
            received - earlier.received, collectives - earlier.collectives};
  }
};

/// A message from one rank to another.
struct Message {
  int source = 0;  ///< rank that sent it
  int tag = 0;     ///< what the sender called it
  Bytes content;   ///< what it says
};

/// Ranks 0 ... size - 1 that call the same functions in the same order. A copy of MPI's communicator, so that
/// its messages meet no others. Errors of MPI are thrown as `MpiError`; after one, it can only be destroyed.
/// The functions that take `work` are for steps that can fail on one rank alone: then that rank throws its
/// own exception and the others throw `RemoteError`, instead of waiting for it.
class Communicator {
 public:
  /// All ranks of `ranks` make it together; it must be gone before MPI ends.
  explicit Communicator(MPI_Comm ranks = MPI_COMM_WORLD) {
    detail::check(MPI_Comm_dup(ranks, &comm_), "MPI_Comm_dup");
    detail::check(MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
    detail::check(MPI_Comm_rank(comm_, &rank_), "MPI_Comm_rank");
    detail::check(MPI_Comm_size(comm_, &size_), "MPI_Comm_size");
  }
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;
  Communicator(Communicator&&) = delete;
  Communicator& operator=(Communicator&&) = delete;
  ~Communicator() {
    int ended = 0;
    if (MPI_Finalized(&ended) == MPI_SUCCESS && ended == 0) MPI_Comm_free(&comm_);
  }

  /// This process's number.
  int rank() const noexcept { return rank_; }
  /// Number of processes.
  int size() const noexcept { return size_; }
  /// MPI's own handle.
  MPI_Comm handle() const noexcept { return comm_; }
  /// What this rank sent and received so far.
  const Traffic& traffic() const noexcept { return traffic_; }

  /// Returns when all ranks have called it.
  void barrier() {
    detail::check(MPI_Barrier(comm_), "MPI_Barrier");
    ++traffic_.collectives;
  }

  /// Whether `value` is true on all ranks.
  bool all(bool value) { return smallest(value ? 1 : 0) == 1; }
  /// Whether `value` is true on any rank.
  bool any(bool value) { return !all(!value); }
  /// The smallest of the ranks' values.
  std::int64_t smallest(std::int64_t value) { return reduce(value, MPI_MIN); }
  /// The largest of the ranks' values.
  std::int64_t largest(std::int64_t value) { return reduce(value, MPI_MAX); }
  /// The sum of the ranks' values.
  std::int64_t sum(std::int64_t value) { return reduce(value, MPI_SUM); }

  /// What each rank handed over, by rank; the lengths may differ.
  /// @throws InvalidOption on all ranks if all contents together reach 2 GiB.
  std::vector<Bytes> all_gather(std::span<const std::byte> own) {
    return exchange(own, false, everyone).contents;
  }
  /// What `work()`, a `Bytes`, is on each rank, by rank.
  /// @throws what `work` throws; RemoteError if it threw on another rank; InvalidOption as above.
  template <class Work>
  std::vector<Bytes> all_gather_of(Work&& work) {
    return after(std::forward<Work>(work), everyone);
  }
  /// Calls `work()` on each rank.
  /// @throws what `work` throws; RemoteError if it threw on another rank.
  template <class Work>
  void together(Work&& work) {
    all_gather_of([&work]() -> Bytes {
      std::forward<Work>(work)();
      return {};
    });
  }
  /// What each rank handed over, by rank, at the rank `root`; nothing elsewhere.
  /// @throws InvalidOption on all ranks if all contents together reach 2 GiB.
  std::vector<Bytes> gather(std::span<const std::byte> own, int root = 0) {
    return exchange(own, false, root).contents;
  }
  /// What `work()`, a `Bytes`, is at the rank `root`, which alone calls it.
  /// @throws what `work` throws; RemoteError elsewhere if it threw; InvalidOption from 2 GiB on.
  template <class Work>
  Bytes broadcast_of(Work&& work, int root = 0) {
    Bytes content;
    std::exception_ptr error;
    std::uint64_t header[2] = {};
    if (rank_ == root) {
      try {
        content = std::forward<Work>(work)();
      } catch (...) {
        error = std::current_exception();
        content = detail::bytes_of(detail::current_message());
      }
      header[0] = content.size();
      header[1] = error ? 1 : 0;
    }
    broadcast(std::as_writable_bytes(std::span<std::uint64_t>(header)), root);
    detail::require_length(header[0]);
    content.resize(static_cast<std::size_t>(header[0]));
    broadcast(content, root);
    if (error) std::rethrow_exception(error);
    if (header[1] != 0) throw RemoteError(root, detail::text_of(content));
    return content;
  }
  /// Overwrites `content`, of equal length everywhere, by that of the rank `root`.
  /// @throws InvalidOption from 2 GiB on.
  void broadcast(std::span<std::byte> content, int root = 0) {
    detail::require_length(content.size());
    if (content.empty()) return;
    detail::check(MPI_Bcast(content.data(), static_cast<int>(content.size()), MPI_BYTE, root, comm_),
                  "MPI_Bcast");
    ++traffic_.collectives;
    if (size_ > 1) (rank_ == root ? traffic_.sent_bytes : traffic_.received_bytes) += content.size();
  }

  /// Sends a message; may wait for the other rank to receive it.
  /// @throws InvalidOption from 2 GiB on.
  void send(int destination, int tag, std::span<const std::byte> content) {
    detail::require_length(content.size());
    detail::check(
        MPI_Send(content.data(), static_cast<int>(content.size()), MPI_BYTE, destination, tag, comm_),
        "MPI_Send");
    ++traffic_.sent;
    traffic_.sent_bytes += content.size();
  }
  /// Waits for the next message of a rank, or of any, with a tag, or with any.
  Message receive(int source = MPI_ANY_SOURCE, int tag = MPI_ANY_TAG) {
    MPI_Message handle = MPI_MESSAGE_NULL;
    MPI_Status status;
    detail::check(MPI_Mprobe(source, tag, comm_, &handle, &status), "MPI_Mprobe");
    return take(handle, status);
  }
  /// The next message of a rank, or of any, with a tag, or with any, if it is there.
  std::optional<Message> try_receive(int source = MPI_ANY_SOURCE, int tag = MPI_ANY_TAG) {
    MPI_Message handle = MPI_MESSAGE_NULL;
    MPI_Status status;
    int there = 0;
    detail::check(MPI_Improbe(source, tag, comm_, &there, &handle, &status), "MPI_Improbe");
    if (there == 0) return std::nullopt;
    return take(handle, status);
  }

 private:
  static constexpr int everyone = -1;

  struct Exchange {
    std::vector<Bytes> contents;  // empty where they are not wanted
    int failed = -1;              // the first rank that failed
  };
  struct Header {
    std::uint64_t length;
    std::uint64_t failed;
  };

  std::int64_t reduce(std::int64_t value, MPI_Op operation) {
    std::int64_t result = 0;
    detail::check(MPI_Allreduce(&value, &result, 1, MPI_INT64_T, operation, comm_), "MPI_Allreduce");
    ++traffic_.collectives;
    if (size_ > 1) {
      traffic_.sent_bytes += sizeof value;
      traffic_.received_bytes += sizeof value;
    }
    return result;
  }

  template <class Work>
  std::vector<Bytes> after(Work&& work, int root) {
    Bytes own;
    std::exception_ptr error;
    try {
      own = std::forward<Work>(work)();
    } catch (...) {
      error = std::current_exception();
      own = detail::bytes_of(detail::current_message());
    }
    Exchange result = exchange(own, error != nullptr, root);
    if (error) std::rethrow_exception(error);
    if (result.failed >= 0) {
      throw RemoteError(result.failed,
                        detail::text_of(result.contents[static_cast<std::size_t>(result.failed)]));
    }
    return std::move(result.contents);
  }

  // Contents go to everyone if a rank failed.
  Exchange exchange(std::span<const std::byte> own, bool failed, int root) {
    const auto count = static_cast<std::size_t>(size_);
    Header header{own.size(), failed ? std::uint64_t{1} : std::uint64_t{0}};
    std::vector<Header> headers(count);
    detail::check(
        MPI_Allgather(&header, sizeof header, MPI_BYTE, headers.data(), sizeof header, MPI_BYTE, comm_),
        "MPI_Allgather");
    ++traffic_.collectives;
    if (size_ > 1) {
      traffic_.sent_bytes += sizeof header;
      traffic_.received_bytes += (count - 1) * sizeof header;
    }
    Exchange result;
    std::uint64_t total = 0;
    std::vector<int> lengths(count);
    std::vector<int> offsets(count);
    for (std::size_t r = 0; r < count; ++r) {
      if (headers[r].failed != 0 && result.failed < 0) result.failed = static_cast<int>(r);
      // Saturated, so that a sum of lengths cannot wrap.
      if (headers[r].length > INT_MAX || total > INT_MAX) detail::require_length(UINT64_MAX);
      lengths[r] = static_cast<int>(headers[r].length);
      offsets[r] = static_cast<int>(total);
      total += headers[r].length;
    }
    detail::require_length(total);
    const bool wanted = root == everyone || root == rank_ || result.failed >= 0;
    if (total == 0) {
      if (wanted) result.contents.resize(count);
      return result;
    }
    Bytes all(wanted ? static_cast<std::size_t>(total) : 0);
    const auto length = static_cast<int>(own.size());
    if (root == everyone || result.failed >= 0) {
      detail::check(MPI_Allgatherv(own.data(), length, MPI_BYTE, all.data(), lengths.data(), offsets.data(),
                                   MPI_BYTE, comm_),
                    "MPI_Allgatherv");
    } else {
      detail::check(MPI_Gatherv(own.data(), length, MPI_BYTE, all.data(), lengths.data(), offsets.data(),
                                MPI_BYTE, root, comm_),
                    "MPI_Gatherv");
    }
    ++traffic_.collectives;
    if (size_ > 1) {
      if (root != rank_) traffic_.sent_bytes += own.size();
      if (wanted) traffic_.received_bytes += total - own.size();
    }
    if (!wanted) return result;
    result.contents.reserve(count);
    for (std::size_t r = 0; r < count; ++r) {
      const auto first = all.begin() + offsets[r];
      result.contents.emplace_back(first, first + lengths[r]);
    }
    return result;
  }

  Message take(MPI_Message& handle, MPI_Status& status) {
    int length = 0;
    detail::check(MPI_Get_count(&status, MPI_BYTE, &length), "MPI_Get_count");
    Message message{.source = status.MPI_SOURCE, .tag = status.MPI_TAG, .content = {}};
    message.content.resize(static_cast<std::size_t>(length));
    detail::check(MPI_Mrecv(message.content.data(), length, MPI_BYTE, &handle, MPI_STATUS_IGNORE),
                  "MPI_Mrecv");
    ++traffic_.received;
    traffic_.received_bytes += message.content.size();
    return message;
  }

  MPI_Comm comm_ = MPI_COMM_NULL;
  int rank_ = 0;
  int size_ = 1;
  Traffic traffic_;
};

}  // namespace metalqr::inline METALQR_ABI::mpi
