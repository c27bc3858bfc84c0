#pragma once

/// @file
/// The fleets of the asynchronous experiments, and runs on them in virtual time.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <metalqr/core/eigen.hpp>
#include <metalqr/federated/virtual_time.hpp>
#include <metalqr/systems/masked_family.hpp>
#include <metalqr/systems/plants.hpp>

#include "published.hpp"

namespace examples::async {

using Backend = metalqr::EigenBackend<double, 4, 2>;
using Gain = Backend::Gain;
using metalqr::Index;
namespace federated = metalqr::federated;
namespace systems = metalqr::systems;
namespace zeroth_order = metalqr::zeroth_order;
using Profiles = std::vector<federated::AgentProfile>;

/// What a fleet is made of; the defaults are those of Figure 2 of arXiv 2404.09061.
struct FleetSettings {
  Index count = 50;                                  ///< agents
  systems::Levels levels{0.03, 0.03, 0.035, 0.035};  ///< of heterogeneity
  systems::ScalarDistribution distribution = systems::ScalarDistribution::uniform;
  double radius = 1e-4;  ///< of the perturbations
  Index samples = 20;    ///< perturbations of an estimate
};

/// Agents that estimate gradients from the costs of random initial states x0 ~ N(0.5, 1e-3^2), as the
/// authors' code does, by two points on the sphere. It stays where it was made, because the agents point into
/// it.
class Fleet {
 public:
  using Oracle = zeroth_order::RandomStartCost<Backend>;
  using Agents = federated::OracleAgents<Backend, Oracle>;

  Fleet(const FleetSettings& settings, std::uint64_t seed)
      : family_(systems::masked_family(systems::modified_boeing<Backend>().with_initial_state(
                                           systems::published_initial_second_moment<Backend>()),
                                       {.count = settings.count,
                                        .level = settings.levels,
                                        .distribution = settings.distribution,
                                        .must_be_stabilised_by = start()},
                                       seed)),
        oracles_(oracles_of(family_)),
        agents_(oracles_, start(),
                {.estimator = {.directions = zeroth_order::Directions::sphere,
                               .samples = settings.samples,
                               .radius = settings.radius},
                 .report_cost = false,
                 .seed = seed}),
        gap_(family_[0]) {}
  Fleet(const Fleet&) = delete;
  Fleet& operator=(const Fleet&) = delete;
  Fleet(Fleet&&) = delete;
  Fleet& operator=(Fleet&&) = delete;
  ~Fleet() = default;

  /// K0 of all experiments.
  static Gain start() { return systems::modified_boeing_async_gain<Backend>(); }
  Index size() const { return agents_.size(); }
  const Agents& agents() const { return agents_; }
  /// J(K) - J* of the nominal plant from the papers' x0.
  double gap(const Gain& K) const { return gap_(K); }
  /// Plants drawn again because K0 lost them.
  Index redrawn() const { return family_.destabilised; }
  /// Whether K stabilises all plants.
  bool is_stable(const Gain& K) const {
    return std::all_of(family_.begin(), family_.end(),
                       [&K](const auto& task) { return metalqr::is_stabilizing(task, K); });
  }

 private:
  static std::vector<Oracle> oracles_of(const systems::Family<Backend>& family) {
    const metalqr::GaussianState<Backend> start(Backend::StateVector::Constant(0.5),
                                                1e-6 * Backend::StateMatrix::Identity());
    std::vector<Oracle> oracles;
    oracles.reserve(family.size());
    for (const auto& task : family) oracles.emplace_back(task, start);
    return oracles;
  }

  systems::Family<Backend> family_;
  std::vector<Oracle> oracles_;
  Agents agents_;
  Gap<Backend> gap_;
};

/// Latency 1 for all but `slow` agents, which are spread over the fleet and have another one.
inline Profiles stragglers(Index count, Index slow, double ticks) {
  Profiles profiles(static_cast<std::size_t>(count));
  for (Index i = 0; i < slow; ++i) {
    profiles[static_cast<std::size_t>(i * count / slow + count / slow / 2)].work =
        federated::ConstantLatency{.ticks = ticks};
  }
  return profiles;
}

/// The gaps of a run, before the first update and after each.
struct Track {
  std::vector<double> times{0};  ///< ticks
  std::vector<double> gaps{};    ///< infinite once the run has lost an agent
  double staleness = 0;          ///< mean of the reports that were used, in versions
  Index oldest = 0;              ///< largest staleness of such a report
  double reports = 0;            ///< used in an update, on average
  bool lost = false;             ///< a gain left some agent's plant unstable, and the run ended

  /// The first update after which the gap is at most `level`; infinite if there is none.
  double updates_to(double level) const {
    for (std::size_t n = 0; n < gaps.size(); ++n) {
      if (gaps[n] <= level) return static_cast<double>(n);
    }
    return std::numeric_limits<double>::infinity();
  }
  /// When that was.
  double time_to(double level) const {
    const double update = updates_to(level);
    return std::isfinite(update) ? times[static_cast<std::size_t>(update)] : update;
  }
  /// The gap at a time >= 0.
  double at(double time) const {
    const auto after = std::upper_bound(times.begin(), times.end(), time);
    return gaps[static_cast<std::size_t>(after - times.begin()) - 1];
  }
};

/// When a run ends.
struct Limits {
  double until;                                       ///< ticks; agents that get nowhere would go on for ever
  double target = 0;                                  ///< at a gap not above this
  Index updates = std::numeric_limits<Index>::max();  ///< of the gain
};

/// Runs a server with agents on the plants of `fleet`. A run that loses one of them ends there: what its
/// agent reports from then on is worth nothing.
template <class ServerType, class AgentsType>
Track run(ServerType& server, const AgentsType& agents, const Fleet& fleet, const Profiles& profiles,
          const Limits& limits, std::uint64_t seed) {
  Track track{.gaps = {fleet.gap(server.gain())}};
  const auto observe = [&](const auto& info) {
    track.lost = !fleet.is_stable(info.commit.gain);
    track.times.push_back(info.time);
    track.gaps.push_back(track.lost ? std::numeric_limits<double>::infinity() : fleet.gap(info.commit.gain));
    return track.lost || track.gaps.back() <= limits.target;
  };
  federated::simulate(server, agents, profiles,
                      {.until = limits.until, .max_updates = limits.updates, .seed = seed}, observe);
  const auto& statistics = server.state().statistics;
  for (std::size_t tau = 0; tau < statistics.staleness.size(); ++tau) {
    if (statistics.staleness[tau] == 0) continue;
    track.staleness += static_cast<double>(tau) * static_cast<double>(statistics.staleness[tau]) /
                       static_cast<double>(statistics.used);
    track.oldest = static_cast<Index>(tau);
  }
  if (statistics.updates > 0)
    track.reports = static_cast<double>(statistics.used) / static_cast<double>(statistics.updates);
  return track;
}

}  // namespace examples::async
