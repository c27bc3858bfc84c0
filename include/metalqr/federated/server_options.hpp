#pragma once

/// @file
/// Settings of a server of a federated run.

#include <cmath>

#include <metalqr/core/check.hpp>

namespace metalqr::inline METALQR_ABI::federated {

/// What protects the fleet from a gain that destabilises one of its systems. Both kinds need costs alone.
enum class Guard {
  none,  ///< nothing
  /// A candidate is committed only when every agent that is present has found its cost within its limit; else
  /// the step is halved and asked about again.
  ask,
  /// A gain is committed at once and asked about afterwards; on a cost above an agent's limit the server
  /// returns to the last gain that all accepted. The step is not shortened: with one that is too long it
  /// returns again and again (`ServerStatistics::rollbacks`).
  rollback
};

/// Settings of a server.
struct ServerOptions {
  double step = 1e-5;        ///< step size eta
  Guard guard = Guard::ask;  ///< see `Guard`
  int max_halvings = 30;     ///< of a candidate's step, before it is given up
  /// Time after which a message that was not answered is sent again, once or twice as long; 0: messages are
  /// never lost.
  double retry_after = 0;
  Index max_agents = 10'000'000;  ///< numbers of agents are below, so that a false one takes no memory
};

/// Throws `InvalidOption` naming the first field out of its range.
inline void validate(const ServerOptions& options) {
  using metalqr::detail::require_option;
  require_option(std::isfinite(options.step) && options.step > 0, "step", options.step, "a positive number");
  require_option(options.max_halvings >= 0, "max_halvings", options.max_halvings, "a number >= 0");
  require_option(std::isfinite(options.retry_after) && options.retry_after >= 0, "retry_after",
                 options.retry_after, "a number >= 0");
}

}  // namespace metalqr::inline METALQR_ABI::federated
