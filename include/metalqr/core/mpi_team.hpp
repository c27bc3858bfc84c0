#pragma once

/// @file
/// The ranks of a communicator as a `Team`. Needs the component `mpi`.

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <metalqr/core/mpi.hpp>
#include <metalqr/core/team.hpp>

namespace metalqr::inline METALQR_ABI::mpi {

namespace detail {

template <class T>
void write(const T& value, ByteWriter& out) {
  if constexpr (requires { value.write(out); }) {
    value.write(out);
  } else {
    out.put(value);
  }
}

template <class T>
void read(T& value, ByteReader& in) {
  if constexpr (requires { value.read(in); }) {
    value.read(in);
  } else {
    value = in.get<T>();
  }
}

}  // namespace detail

/// The ranks of a communicator, with a list that is split among them in the order of their numbers. What is
/// summed is a number or has members `write(ByteWriter&)` and `read(ByteReader&)`, which overwrites a value
/// of the same shape. A rank on which `work` throws throws that; the others throw `RemoteError`.
class RankTeam {
 public:
  /// Made by all ranks together, each with the number of its items. The communicator must outlive it.
  /// @throws InvalidOption on all ranks unless all but the last items are in whole blocks on one rank.
  RankTeam(Communicator& ranks, std::size_t own) : ranks_(ranks), shard_{0, own} {
    ByteWriter out;
    out.put(static_cast<std::uint64_t>(own));
    const std::vector<Bytes> all = ranks.all_gather(out.bytes());
    int unfinished = -1;
    for (std::size_t r = 0; r < all.size(); ++r) {
      const auto count = static_cast<std::size_t>(ByteReader(all[r]).get<std::uint64_t>());
      if (count > 0 && unfinished >= 0) {
        throw InvalidOption("shard: expected a multiple of " + std::to_string(reduction_block) +
                            " items on each rank but the last with any (see shard_of), got " +
                            std::to_string(total_) + " up to rank " + std::to_string(unfinished));
      }
      if (static_cast<int>(r) == ranks.rank()) shard_.first = total_;
      total_ += count;
      if (total_ % reduction_block != 0 && unfinished < 0) unfinished = static_cast<int>(r);
    }
  }

  /// The items of this rank.
  Shard shard() const noexcept { return shard_; }
  /// Number of items of all ranks.
  std::size_t total() const noexcept { return total_; }
  /// What the ranks talk through.
  Communicator& communicator() const noexcept { return ranks_; }

  /// The sum over all items; `work()` is the `OrderedSum` over the own ones.
  template <class T, class Work>
  T sum(const T& zero, Work&& work) {
    const std::vector<Bytes> parts = ranks_.all_gather_of([&work] {
      OrderedSum<T> own = std::forward<Work>(work)();
      own.close();
      ByteWriter out;
      for (const auto& node : own.nodes()) {
        out.put(node.level);
        out.put(node.index);
        detail::write(node.value, out);
      }
      return out.take();
    });
    OrderedSum<T> all(zero);
    for (const Bytes& part : parts) {
      ByteReader in(part);
      while (in.left() > 0) {
        typename OrderedSum<T>::Node node{
            .level = in.get<std::uint64_t>(), .index = in.get<std::uint64_t>(), .value = zero};
        detail::read(node.value, in);
        all.append(std::move(node));
      }
    }
    return all.total();
  }
  /// Whether `work()` is true on any rank.
  template <class Work>
  bool any(Work&& work) {
    bool result = false;
    const std::vector<Bytes> all =
        ranks_.all_gather_of([&work] { return std::forward<Work>(work)() ? Bytes(1) : Bytes(); });
    for (const Bytes& answer : all) result = result || !answer.empty();
    return result;
  }
  /// Calls `work()` on each rank.
  template <class Work>
  void together(Work&& work) {
    ranks_.together(std::forward<Work>(work));
  }

 private:
  Communicator& ranks_;
  Shard shard_;
  std::size_t total_ = 0;
};

}  // namespace metalqr::inline METALQR_ABI::mpi
