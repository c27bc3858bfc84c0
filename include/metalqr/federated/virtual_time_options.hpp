#pragma once

/// @file
/// Settings of a simulation in virtual time.

#include <cstdint>
#include <limits>
#include <optional>

#include <metalqr/core/check.hpp>
#include <metalqr/core/index.hpp>
#include <metalqr/federated/latency.hpp>
#include <metalqr/federated/run_result.hpp>

namespace metalqr::inline METALQR_ABI::federated {

/// When a simulation ends, and what it records. It also ends when nothing is left to happen, which agents
/// that are always sent back to work put off for ever: without a guard a gain may become unstable, every
/// report is refused then, and only `until` or `max_events` end the run.
struct VirtualTimeOptions {
  double until = std::numeric_limits<double>::infinity();  ///< time at which it ends, in ticks
  Index max_updates = std::numeric_limits<Index>::max();   ///< of the gain; one event may make several
  std::uint64_t max_events = std::numeric_limits<std::uint64_t>::max();  ///< of the simulation
  std::uint64_t seed = 0;  ///< of latencies, losses and absences
  int threads = 1;  ///< that evaluate what agents compute, 0: up to OpenMP; the result does not depend on it
  Recording record{};  ///< what is written down
  /// Of the timers, in turn, instead of what the server says; for replays.
  std::optional<Latency> timer_delays{};
};

/// Throws `InvalidOption` naming the first field out of its range.
inline void validate(const VirtualTimeOptions& options) {
  using metalqr::detail::require_option;
  require_option(options.until >= 0, "until", options.until, "a time >= 0");
  require_option(options.max_updates >= 0, "max_updates", static_cast<double>(options.max_updates),
                 "a number >= 0");
  require_option(options.threads >= 0, "threads", options.threads, "a number >= 0");
  if (options.timer_delays) validate(*options.timer_delays, "timer_delays");
}

}  // namespace metalqr::inline METALQR_ABI::federated
