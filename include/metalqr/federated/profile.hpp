#pragma once

/// @file
/// How agents behave in time.

#include <cmath>
#include <cstddef>
#include <optional>
#include <span>
#include <string>

#include <metalqr/core/check.hpp>
#include <metalqr/core/error.hpp>
#include <metalqr/core/index.hpp>
#include <metalqr/federated/latency.hpp>

namespace metalqr::inline METALQR_ABI::federated {

/// How an agent behaves in time, in ticks.
struct AgentProfile {
  Latency work = ConstantLatency{.ticks = 1};    ///< from a gain that is sent to the report of it
  Latency answer = ConstantLatency{.ticks = 1};  ///< from a question to its answer
  /// Probability that a message is lost, each way; a server without `ServerOptions::retry_after` does not ask
  /// again, and stops when all that it waits for is lost.
  double loss = 0;
  double joins = 0;                               ///< when it is there for the first time
  std::optional<Latency> presence{};              ///< how long it stays each time; none: for ever
  Latency absence = ConstantLatency{.ticks = 1};  ///< how long it is away each time
};

/// Throws `InvalidOption` naming the first field out of its range.
inline void validate(const AgentProfile& profile) {
  using metalqr::detail::require_option;
  validate(profile.work, "work");
  validate(profile.answer, "answer");
  require_option(profile.loss >= 0 && profile.loss < 1, "loss", profile.loss, "a probability below 1");
  require_option(std::isfinite(profile.joins) && profile.joins >= 0, "joins", profile.joins, "a time >= 0");
  if (profile.presence) validate(*profile.presence, "presence");
  validate(profile.absence, "absence");
}

namespace detail {

/// Throws unless the profiles are valid, and one for all or one for each agent.
inline void require_profiles(std::span<const AgentProfile> profiles, Index agents) {
  if (profiles.size() != 1 && static_cast<Index>(profiles.size()) != agents) {
    throw InvalidOption("profiles: expected one, or one for each of " + std::to_string(agents) +
                        " agents, got " + std::to_string(profiles.size()));
  }
  for (const AgentProfile& profile : profiles) validate(profile);
}

inline const AgentProfile& profile_of(std::span<const AgentProfile> profiles, Index agent) {
  return profiles[profiles.size() == 1 ? 0 : static_cast<std::size_t>(agent)];
}

}  // namespace detail

}  // namespace metalqr::inline METALQR_ABI::federated
