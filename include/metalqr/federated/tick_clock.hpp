#pragma once

/// @file
/// Real time in ticks.

#include <algorithm>
#include <chrono>

#include <metalqr/core/index.hpp>

namespace metalqr::inline METALQR_ABI::federated::detail {

/// The clock of a run, in ticks since its begin.
class TickClock {
 public:
  using Clock = std::chrono::steady_clock;

  explicit TickClock(double tick) : tick_(tick) {}

  double now() const { return std::chrono::duration<double>(Clock::now() - begin_).count() / tick_; }
  /// When that will be; within a century.
  Clock::time_point at(double ticks) const {
    constexpr double century = 3.2e9;
    const std::chrono::duration<double> seconds(std::min(ticks * tick_, century));
    return begin_ + std::chrono::duration_cast<Clock::duration>(seconds);
  }

 private:
  double tick_;
  Clock::time_point begin_ = Clock::now();
};

}  // namespace metalqr::inline METALQR_ABI::federated::detail
