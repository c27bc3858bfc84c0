#pragma once

/// @file
/// A queue of bounded length between threads.

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <optional>
#include <stop_token>
#include <utility>

#include <metalqr/core/check.hpp>

namespace metalqr::inline METALQR_ABI::federated::detail {

/// First in, first out. Whoever puts in waits while it is full, unless asked to stop.
template <class T>
class BoundedQueue {
 public:
  using Clock = std::chrono::steady_clock;

  /// @throws InvalidOption for a capacity below 1.
  explicit BoundedQueue(std::size_t capacity) : capacity_(capacity) {
    metalqr::detail::require_option(capacity >= 1, "capacity", static_cast<double>(capacity), "at least 1");
  }

  /// Whether the value was put in; if not, a stop was requested first.
  bool push(T value, const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    if (!not_full_.wait(lock, stop, [this] { return values_.size() < capacity_; })) return false;
    values_.push_back(std::move(value));
    lock.unlock();
    not_empty_.notify_one();
    return true;
  }

  /// The first value, or none if there is none until then.
  std::optional<T> pop_until(Clock::time_point time) {
    std::unique_lock lock(mutex_);
    if (!not_empty_.wait_until(lock, time, [this] { return !values_.empty(); })) return std::nullopt;
    std::optional<T> value(std::move(values_.front()));
    values_.pop_front();
    lock.unlock();
    not_full_.notify_one();
    return value;
  }

 private:
  const std::size_t capacity_;
  std::mutex mutex_;
  std::condition_variable not_empty_;
  std::condition_variable_any not_full_;
  std::deque<T> values_;
};

}  // namespace metalqr::inline METALQR_ABI::federated::detail
