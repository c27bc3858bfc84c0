#pragma once

/// @file
/// Sums over a list of items that is split among processes, bitwise the same for any split.

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <metalqr/core/error.hpp>

namespace metalqr::inline METALQR_ABI {

/// Items are summed in blocks of so many, which are not split; a multiple of the lanes of any pack.
inline constexpr std::size_t reduction_block = 16;

/// The items first ... first + count - 1 of a list.
struct Shard {
  std::size_t first = 0;  ///< a multiple of `reduction_block` unless the shard is empty
  std::size_t count = 0;  ///< number of items

  /// Whether two shards are the same.
  bool operator==(const Shard&) const = default;
};

/// The part of a list of `total` items that belongs to `rank` among `ranks` processes: whole blocks, as many
/// as the others have or one less; none where there are fewer blocks than ranks.
/// @throws InvalidOption unless 0 <= rank < ranks.
inline Shard shard_of(std::size_t total, int ranks, int rank) {
  detail::require_option(ranks >= 1, "ranks", ranks, "at least 1");
  detail::require_option(rank >= 0 && rank < ranks, "rank", rank, "a number from 0 to ranks - 1");
  const std::size_t blocks = total / reduction_block + (total % reduction_block != 0 ? 1 : 0);
  const auto count = static_cast<std::size_t>(ranks);
  const auto begin = [&](int r) {
    // blocks * r / ranks rounded up, written so that nothing overflows.
    const auto number = static_cast<std::size_t>(r);
    const std::size_t rest = blocks % count * number;
    const std::size_t block = blocks / count * number + rest / count + (rest % count != 0 ? 1 : 0);
    return std::min(block * reduction_block, total);
  };
  const std::size_t first = begin(rank);
  return {first, begin(rank + 1) - first};
}

/// The sum of a list of items, or of some consecutive blocks of it. Within a block, items are added in their
/// order; blocks, by a binary tree over their numbers: node k of level l is the sum of the nodes 2k and
/// 2k + 1 below it. So the sum depends on the list alone, and of n consecutive blocks at most 2 log2(n) + 2
/// nodes have to be known. `T` has `+=`.
template <class T>
class OrderedSum {
 public:
  /// A node of the tree: the sum of the blocks index * 2^level ... (index + 1) * 2^level - 1.
  struct Node {
    std::uint64_t level = 0;  ///< 0 for a block
    std::uint64_t index = 0;  ///< number of the node in its level
    T value;                  ///< sum
  };

  /// An empty sum, of items from number `first` on, a multiple of `reduction_block`. `zero` is what a block
  /// begins with.
  explicit OrderedSum(T zero, std::size_t first = 0) : zero_(std::move(zero)), block_(zero_), next_(first) {}

  /// Adds the next item: calls `add(block)` with the sum of its block so far.
  template <class Add>
  void item(const Add& add) {
    add(block_);
    ++next_;
    open_ = true;
    if (next_ % reduction_block == 0) close();
  }
  /// Ends a block before it is full: the last one of the list.
  void close() {
    if (!open_) return;
    append({0, (next_ - 1) / reduction_block, std::move(block_)});
    block_ = zero_;
    open_ = false;
  }
  /// Adds a node that follows those that are here.
  void append(Node node) {
    while (!nodes_.empty() && nodes_.back().level == node.level && nodes_.back().index % 2 == 0 &&
           nodes_.back().index + 1 == node.index) {
      nodes_.back().value += node.value;
      node = {node.level + 1, node.index / 2, std::move(nodes_.back().value)};
      nodes_.pop_back();
    }
    nodes_.push_back(std::move(node));
  }

  /// The nodes that stand for what was added; all of it after `close()`.
  const std::vector<Node>& nodes() const noexcept { return nodes_; }
  /// The sum, if all blocks of the list from the first one on were added.
  T total() {
    close();
    if (nodes_.empty()) return zero_;
    // Towards the end of the list, a node without a sibling stands for its parent.
    T sum = nodes_.back().value;
    for (std::size_t i = nodes_.size() - 1; i-- > 0;) {
      T left = nodes_[i].value;
      left += sum;
      sum = std::move(left);
    }
    return sum;
  }

 private:
  T zero_;
  T block_;
  std::size_t next_;
  bool open_ = false;
  std::vector<Node> nodes_;
};

/// Processes that share a list of items, each with a shard of it, and that call these functions together:
/// - `shard()`: the items of this process; `total()`: how many all have;
/// - `sum(zero, work)`: the sum over all items, where `work()` is the `OrderedSum` over the own shard, begun
///   with `zero`;
/// - `any(work)`: whether `work()` is true in any process;
/// - `together(work)`: calls `work()`.
/// If `work` throws in one process, none of them goes on.
template <class T>
concept Team = requires(T& team, double zero, OrderedSum<double> (*work)(), bool (*decide)(), void (*act)()) {
  { team.shard() } -> std::same_as<Shard>;
  { team.total() } -> std::same_as<std::size_t>;
  { team.sum(zero, work) } -> std::same_as<double>;
  { team.any(decide) } -> std::same_as<bool>;
  team.together(act);
};

/// One process that has the whole list.
class Alone {
 public:
  /// With so many items.
  explicit Alone(std::size_t total) : total_(total) {}

  /// All items.
  Shard shard() const noexcept { return {0, total_}; }
  /// Number of items.
  std::size_t total() const noexcept { return total_; }
  /// The sum that `work` finds.
  template <class T, class Work>
  T sum(const T& /*zero*/, Work&& work) const {
    return std::forward<Work>(work)().total();
  }
  /// What `work` says.
  template <class Work>
  bool any(Work&& work) const {
    return std::forward<Work>(work)();
  }
  /// Calls `work`.
  template <class Work>
  void together(Work&& work) const {
    std::forward<Work>(work)();
  }

 private:
  std::size_t total_;
};

}  // namespace metalqr::inline METALQR_ABI
