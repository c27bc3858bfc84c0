#pragma once

/// @file
/// Rules of aggregation side by side under heavy-tailed latencies, alone and with corrupted agents, and
/// combiners.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <type_traits>
#include <vector>

#include <metalqr/federated/geometric_median.hpp>
#include <metalqr/federated/krum.hpp>
#include <metalqr/federated/robust.hpp>

#include "async_experiments.hpp"

namespace examples::async {

/// Latencies of all agents: mean 6, infinite variance; the slowest of 50 takes 35 ticks in the median, and
/// one time in a hundred more than 1000.
inline Profiles heavy_tails() {
  return {{.work = federated::ParetoLatency{.scale = 1, .shape = 1.2}}};
}

/// Rules are compared at the step that is the same for each report: eta = 0.75e-5 where an update averages
/// 20 of them, eta/20 where it takes one, 2.5 eta where it waits for all 50. Weights and damping come on top.
inline constexpr double step_of_20_reports = 0.75e-5;

/// A rule at several steps.
struct Contender {
  std::string name;
  std::string label;
  /// The runs at the step above times a factor.
  std::function<std::function<Track(std::uint64_t)>(double factor)> at;
};

/// Rules in the order in which they are shown: at first those that wait for a buffer of 20.
inline constexpr std::size_t buffered_rules = 5;

/// The gap at which these runs end: at the longest steps 0.3 is a matter of one or two updates.
inline constexpr double hard_gap = 0.15;

/// Calls `add(name, label, rule, reports)` for all rules, where `reports` is about how many an update takes.
/// What is older than 100 reports - two for each agent - is too old for those that have a bound.
template <class Add>
void for_each_rule(const Add& add) {
  using namespace federated;
  const Buffered twenty{.count = 20};
  const Buffered one{.count = 1};
  add("buffered", "buffer of 20", twenty, 20);
  add("polynomial", "polynomial weights", weighted(twenty, PolynomialWeight{.exponent = 0.5}), 20);
  add("hinge", "hinge weights", weighted(twenty, HingeWeight{.slope = 10, .knee = 4}), 20);
  add("bounded", "staleness bound 5", bounded(twenty, 5), 20);
  add("delay_adaptive", "delay-adaptive step", damped(twenty, PolynomialWeight{.exponent = 1}), 20);
  add("synchronous", "synchronous", Synchronous{}, 50);
  add("fedasync", "FedAsync, a = 1/2", damped(one, PolynomialWeight{.exponent = 0.5}), 1);
  add("ringmaster", "Ringmaster, limit 100", Ringmaster{.limit = 100}, 1);
  add("rennala", "Rennala of 20", Rennala{.count = 20}, 20);
  add("window", "window of 2 ticks", TimeWindow{.ticks = 2}, 20);
}

/// The step of a rule whose updates take so many reports.
inline double step_of(double reports) {
  return step_of_20_reports * reports / 20;
}

/// All rules at several steps.
inline std::vector<Contender> contenders(systems::ScalarDistribution distribution) {
  const FleetSettings fleet{.distribution = distribution};
  const Limits limits{.until = 20000, .target = hard_gap};
  std::vector<Contender> list;
  for_each_rule([&](const char* name, const char* label, const auto& rule, double reports) {
    const auto at = [=](double factor) {
      return plan(fleet, heavy_tails(), rule, unguarded(factor * step_of(reports)), limits);
    };
    list.push_back({.name = std::string("rule_") + name, .label = label, .at = at});
  });
  return list;
}

/// Agents of which every fifth sends its estimate times -10.
class CorruptedAgents {
 public:
  using Backend = async::Backend;

  explicit CorruptedAgents(const Fleet::Agents& honest) : honest_(&honest) {}
  Index size() const { return honest_->size(); }
  double limit(Index agent) const { return honest_->limit(agent); }
  double cost(Index agent, Index question, const Gain& K) const { return honest_->cost(agent, question, K); }
  federated::Report<Backend> work(Index agent, Index round, Index version, const Gain& K) const {
    federated::Report<Backend> report = honest_->work(agent, round, version, K);
    if (agent % 5 == 4) report.estimate = -10 * report.estimate;
    return report;
  }

 private:
  const Fleet::Agents* honest_;
};

/// Combiners of 20 reports, of which a fifth is corrupted on average, and eight at most but for one update in
/// a thousand.
inline Curves combiner_curves(systems::ScalarDistribution distribution, federated::Guard guard) {
  const FleetSettings fleet{.distribution = distribution};
  const Limits limits{.until = 1000, .target = 0.19};
  const std::string suffix = guard == federated::Guard::none ? "" : "_guarded";
  Curves curves;
  const auto add = [&](const char* name, const char* label, const auto& combiner, bool corrupted) {
    const auto make = [=](std::uint64_t seed) {
      const Fleet own(fleet, seed);
      federated::Server<Backend, federated::Buffered, std::decay_t<decltype(combiner)>> server(
          Fleet::start(), {.count = 20}, {.step = step_of_20_reports, .guard = guard}, combiner);
      if (!corrupted) return run(server, own.agents(), own, heavy_tails(), limits, seed);
      return run(server, CorruptedAgents(own.agents()), own, heavy_tails(), limits, seed);
    };
    curves.push_back({"combiner_" + (name + suffix), label, make});
  };
  add("honest", "mean, nobody corrupted", federated::Mean{}, false);
  add("mean", "mean", federated::Mean{}, true);
  add("median", "coordinate median", federated::CoordinateMedian{}, true);
  add("trimmed", "trimmed mean, 0.4 each side", federated::TrimmedMean{.fraction = 0.4}, true);
  add("geometric", "geometric median", federated::GeometricMedian{}, true);
  add("krum", "Krum", federated::Krum{.corrupted = 8}, true);
  return curves;
}

/// When the runs of all rules with corrupted agents end, in ticks: the synchronous rule has reached 0.3 by
/// then, in the median.
inline constexpr double corrupted_end = 6000;

/// All rules with the coordinate median of an update's reports, a fifth of which is corrupted. The median of
/// one report is that report, so that nothing saves a rule that takes one at a time - but for the guard:
/// while it asks, for a tick, reports wait, and the next update has about ten to choose from.
inline Curves corrupted_rule_curves(systems::ScalarDistribution distribution, federated::Guard guard) {
  const FleetSettings fleet{.distribution = distribution};
  const Limits limits{.until = corrupted_end, .target = 0.19};
  const std::string suffix = guard == federated::Guard::none ? "" : "_guarded";
  Curves curves;
  for_each_rule([&](const char* name, const char* label, const auto& rule, double reports) {
    const auto make = [=](std::uint64_t seed) {
      const Fleet own(fleet, seed);
      federated::Server<Backend, std::decay_t<decltype(rule)>, federated::CoordinateMedian> server(
          Fleet::start(), rule, {.step = step_of(reports), .guard = guard});
      return run(server, CorruptedAgents(own.agents()), own, heavy_tails(), limits, seed);
    };
    curves.push_back({"corrupted_" + (name + suffix), label, make});
  });
  return curves;
}

}  // namespace examples::async
