#pragma once

/// @file
/// Who worked when, at which version of the gain: one short run of a small, unreliable fleet.

#include <cstdint>
#include <type_traits>
#include <vector>

#include <metalqr/io/csv.hpp>

#include "async_experiments.hpp"

namespace examples::async {

inline constexpr Index timeline_agents = 9;
inline constexpr double timeline_end = 30;  ///< ticks

/// Six good agents, and one straggler, one that loses messages, and one that goes away and comes back.
inline Profiles unreliable() {
  using namespace federated;
  Profiles profiles(timeline_agents, {.work = UniformLatency{.low = 1.4, .high = 2.2}});
  profiles[6].work = UniformLatency{.low = 7, .high = 9};
  profiles[7].loss = 0.3;
  profiles[8].presence = UniformLatency{.low = 9, .high = 13};
  profiles[8].absence = UniformLatency{.low = 4, .high = 7};
  return profiles;
}

/// What happened under both servers.
struct Timeline {
  metalqr::io::Table spans{
      .comments =
          {"server: 0 asynchronous, 1 synchronous; agents counted from 1; version of the gain; begin "
           "and end in ticks; how it ended: 0 report, 1 report lost, 2 restarted, 3 left, 4 still open"},
      .columns = {"server", "agent", "version", "begin", "end", "how"}};
  metalqr::io::Table commits{
      .comments = {"server: 0 asynchronous, 1 synchronous; time of an update in ticks"},
      .columns = {"server", "ticks", "version", "reports"}};
  Index updates[2] = {0, 0};
};

inline Timeline timeline(std::uint64_t seed) {
  Timeline result;
  const Fleet fleet({.count = timeline_agents, .levels = 0.01}, seed);
  const Profiles profiles = unreliable();
  const federated::ServerOptions options{.step = 1e-5, .guard = federated::Guard::none, .retry_after = 3};
  const auto record = [&](auto server, int which) {
    const auto run = federated::simulate(server, fleet.agents(), profiles,
                                         {.until = timeline_end, .seed = seed, .record = {.timeline = true}});
    for (const auto& span : run.timeline) {
      // The simulation ends with its last event, a little before.
      const bool open = span.how == std::decay_t<decltype(span.how)>::open;
      result.spans.rows.push_back({static_cast<double>(which), static_cast<double>(span.agent + 1),
                                   static_cast<double>(span.version), span.begin,
                                   open ? timeline_end : span.end, static_cast<double>(span.how)});
    }
    for (const auto& entry : run.history) {
      result.commits.rows.push_back({static_cast<double>(which), entry.time,
                                     static_cast<double>(entry.commit.version),
                                     static_cast<double>(entry.commit.reports)});
    }
    result.updates[which] = run.updates;
  };
  record(federated::Server<Backend, federated::Buffered>(Fleet::start(), {.count = 4}, options), 0);
  record(federated::Server<Backend, federated::Synchronous>(Fleet::start(), {}, options), 1);
  return result;
}

}  // namespace examples::async
