#pragma once

/// @file
/// The future events of a simulation in virtual time, in a deterministic order.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <metalqr/core/error.hpp>
#include <metalqr/core/index.hpp>

namespace metalqr::inline METALQR_ABI::federated {

namespace detail {

/// Has the processor fetch an object that will be needed soon: of a large fleet, nothing is in its caches.
template <class T>
void fetch_ahead([[maybe_unused]] const T& object) {
#if defined(__GNUC__)
  constexpr std::size_t cache_line = 64;
  const char* const begin = reinterpret_cast<const char*>(&object);
  for (std::size_t i = 0; i < sizeof(T); i += cache_line) __builtin_prefetch(begin + i);
  __builtin_prefetch(begin + sizeof(T) - 1);
#endif
}

}  // namespace detail

/// Events waiting for their time, popped in the order of time, then agent, then insertion: a total order, so
/// that a run depends on nothing but what was pushed. Virtual time is finite, begins at 0 and does not run
/// backwards. A heap with four children a node of the keys alone, the payloads elsewhere: push and pop take
/// O(log n) comparisons and one move of the payload. Memory for the largest size so far. A queue that was
/// moved from may only be assigned or destroyed.
template <class Payload>
class EventQueue {
 public:
  /// A waiting event.
  struct Entry {
    double time = 0;             ///< when it happens, in ticks
    Index agent = 0;             ///< whom it concerns; any number
    std::uint64_t sequence = 0;  ///< number of its insertion, counted from 0
    Payload payload;             ///< what happens
  };

  /// An empty queue at time 0.
  EventQueue() = default;
  /// The queue that had these `entries()`, in any order, `next_sequence()` and `now()`. O(n log n).
  /// @throws NotFinite for a time that is not finite, InvalidOption for `now` below 0, an entry before `now`,
  /// a sequence number that is not below `next_sequence` and one that occurs twice.
  EventQueue(std::vector<Entry> entries, std::uint64_t next_sequence, double now)
      : next_sequence_(next_sequence) {
    require_time(now, [] { return std::string("now"); });
    now_ = now;
    size_ = entries.size();
    heap_.reserve(size_);
    slots_.reserve(size_);
    std::vector<std::uint64_t> sequences;
    sequences.reserve(size_);
    for (Entry& entry : entries) {
      const std::size_t slot = slots_.size();
      require_time(entry.time, [slot] { return "entries[" + std::to_string(slot) + "].time"; });
      if (entry.sequence >= next_sequence) {
        throw InvalidOption("next_sequence: expected a number above every entry's, such as " +
                            std::to_string(entry.sequence) + ", got " + std::to_string(next_sequence));
      }
      heap_.push_back({entry.time, entry.agent, entry.sequence, slot});
      sequences.push_back(entry.sequence);
      slots_.push_back(std::move(entry.payload));
    }
    std::sort(sequences.begin(), sequences.end());
    const auto twice = std::adjacent_find(sequences.begin(), sequences.end());
    if (twice != sequences.end()) {
      throw InvalidOption("entries: expected different sequence numbers, got " + std::to_string(*twice) +
                          " twice");
    }
    std::sort(heap_.begin(), heap_.end(), earlier);  // which is a heap
  }

  /// Adds an event. If it throws, the queue is as before.
  /// @throws NotFinite for a time that is not finite, InvalidOption for one before `now()`.
  void push(double time, Index agent, Payload payload) {
    require_time(time, [] { return std::string("time"); });
    // Behind the heap are the keys of the free slots.
    if (size_ == heap_.size()) heap_.push_back({0, 0, 0, size_});
    const std::size_t slot = heap_[size_].slot;
    if (slot == slots_.size()) {
      slots_.push_back(std::move(payload));
    } else {
      slots_[slot] = std::move(payload);
    }
    rise(size_++, {time, agent, next_sequence_++, slot});
  }

  /// Removes the earliest event and returns it; its time becomes `now()`.
  /// @throws InvalidOption if there is none.
  Entry pop() {
    if (size_ == 0) throw InvalidOption("queue: expected at least one event, got none");
    const Key first = heap_[0];
    Entry entry{first.time, first.agent, first.sequence, std::move(slots_[first.slot])};
    now_ = first.time;
    const Key last = heap_[--size_];
    heap_[size_].slot = first.slot;
    // The hole sinks to a leaf first: the last key belongs near the leaves, and is not compared on the way.
    if (size_ > 0) rise(sink_hole(), last);
    return entry;
  }

  /// Removes the events for which `is_void(agent, payload)` holds. O(n log n).
  template <class IsVoid>
  void erase_if(const IsVoid& is_void) {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < size_; ++i) {
      if (!is_void(heap_[i].agent, std::as_const(slots_[heap_[i].slot]))) std::swap(heap_[kept++], heap_[i]);
    }
    size_ = kept;
    std::sort(heap_.begin(), heap_.begin() + static_cast<std::ptrdiff_t>(size_), earlier);
  }

  /// Time of the earliest event, +infinity if there is none. O(1).
  double next_time() const noexcept {
    return size_ == 0 ? std::numeric_limits<double>::infinity() : heap_[0].time;
  }
  /// Agent of the earliest event, of which the payload is fetched ahead; there must be one. O(1).
  Index foresee() const noexcept {
    detail::fetch_ahead(slots_[heap_[0].slot]);
    return heap_[0].agent;
  }
  /// What happens next; there must be something. O(1).
  const Payload& next() const noexcept { return slots_[heap_[0].slot]; }
  /// Time of the event popped last, 0 before the first.
  double now() const noexcept { return now_; }
  /// Sequence number of the next event to be pushed.
  std::uint64_t next_sequence() const noexcept { return next_sequence_; }
  /// Number of waiting events.
  std::size_t size() const noexcept { return size_; }
  /// Whether no event is waiting.
  bool empty() const noexcept { return size_ == 0; }

  /// Copies of the waiting events, in the order in which they will be popped. O(n log n).
  std::vector<Entry> entries() const {
    std::vector<Key> keys(heap_.begin(), heap_.begin() + static_cast<std::ptrdiff_t>(size_));
    std::sort(keys.begin(), keys.end(), earlier);
    std::vector<Entry> result;
    result.reserve(size_);
    for (const Key& key : keys) result.push_back({key.time, key.agent, key.sequence, slots_[key.slot]});
    return result;
  }

 private:
  struct Key {
    double time;
    Index agent;
    std::uint64_t sequence;
    std::size_t slot;  // position of the payload
  };

  static bool earlier(const Key& x, const Key& y) {
    // Times are usually different, in an order that no processor foresees: they are compared without a
    // branch.
    bool result = x.time < y.time;
    if (x.time == y.time) [[unlikely]] {
      result = x.agent != y.agent ? x.agent < y.agent : x.sequence < y.sequence;
    }
    return result;
  }

  template <class Name>
  void require_time(double time, const Name& name) const {
    if (time >= now_ && time <= std::numeric_limits<double>::max()) return;
    if (!std::isfinite(time)) {
      throw NotFinite(name() + ": expected a finite time, got " + metalqr::detail::text(time));
    }
    throw InvalidOption(name() + ": expected at least the present time " + metalqr::detail::text(now_) +
                        ", got " + metalqr::detail::text(time));
  }

  /// Puts `key` at the place `hole` or at those of its ancestors that are later.
  void rise(std::size_t hole, const Key& key) {
    while (hole > 0) {
      const std::size_t parent = (hole - 1) / 4;
      if (!earlier(key, heap_[parent])) break;
      heap_[hole] = heap_[parent];
      hole = parent;
    }
    heap_[hole] = key;
  }

  /// Fills the root with the earliest child, that one's place likewise, and so on; returns the leaf that is
  /// left empty.
  std::size_t sink_hole() {
    Key* const keys = heap_.data();
    std::size_t hole = 0;
    for (;;) {
      const std::size_t child = 4 * hole + 1;
      if (child >= size_) return hole;
      std::size_t first = child;
      if (size_ - child >= 4) {
        // Arithmetic on the outcomes instead of branches, half of which would be foretold wrongly.
        const std::size_t low = child + static_cast<std::size_t>(earlier(keys[child + 1], keys[child]));
        const std::size_t high =
            child + 2 + static_cast<std::size_t>(earlier(keys[child + 3], keys[child + 2]));
        first = low + (high - low) * static_cast<std::size_t>(earlier(keys[high], keys[low]));
      } else {
        for (std::size_t i = child + 1; i < size_; ++i) {
          if (earlier(keys[i], keys[first])) first = i;
        }
      }
      keys[hole] = keys[first];
      hole = first;
    }
  }

  std::vector<Key> heap_;       // the keys of waiting events, then those of free slots
  std::vector<Payload> slots_;  // the payloads, where their keys' slots say
  std::size_t size_ = 0;
  std::uint64_t next_sequence_ = 0;
  double now_ = 0;
};

}  // namespace metalqr::inline METALQR_ABI::federated
