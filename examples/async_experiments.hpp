#pragma once

/// @file
/// The experiments of arXiv 2404.09061, section 5: Figure 2 and the panels of Figure 3.

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <string>
#include <type_traits>
#include <utility>

#include "async_fleet.hpp"
#include "async_report.hpp"

namespace examples::async {

/// Plain steps, each shorter than the one before by the same factor.
struct DecayingStep {
  double factor = 1;  ///< 1: all are equal

  template <metalqr::MatrixBackend AnyBackend>
  typename AnyBackend::Gain operator()(federated::OptimizerState<AnyBackend>& state,
                                       const std::type_identity_t<typename AnyBackend::Gain>& direction,
                                       double step) const {
    return step * std::pow(factor, state.steps - 1) * direction;
  }
};

/// The settings of a server without guard, as in the paper.
inline federated::ServerOptions unguarded(double step) {
  return {.step = step, .guard = federated::Guard::none};
}

/// Runs of a server with the agents of a fleet.
template <class RuleType>
std::function<Track(std::uint64_t)> plan(const FleetSettings& settings, const Profiles& profiles,
                                         const RuleType& rule, const federated::ServerOptions& options,
                                         const Limits& limits, double decay = 1) {
  return [=](std::uint64_t seed) {
    const Fleet fleet(settings, seed);
    federated::Server<Backend, RuleType, federated::Mean, DecayingStep> server(Fleet::start(), rule, options,
                                                                               {}, {.factor = decay});
    return run(server, fleet.agents(), fleet, profiles, limits, seed);
  };
}

/// Figure 2: one straggler or ten of latency 20 among 50 agents.
inline Curves straggler_curves(systems::ScalarDistribution distribution) {
  const FleetSettings fleet{.distribution = distribution};
  const Limits limits{.until = 20000, .target = 0.19};
  constexpr double step = 0.75e-5;
  Curves curves;
  for (const Index slow : {1, 10}) {
    const Profiles profiles = stragglers(fleet.count, slow, 20);
    const std::string count = std::to_string(slow);
    const std::string who = slow == 1 ? "one straggler" : "ten stragglers";
    curves.push_back({"asynchronous_" + count, "asynchronous, " + who,
                      plan(fleet, profiles, federated::Buffered{.count = 20}, unguarded(step), limits)});
    curves.push_back({"synchronous_" + count, "synchronous, " + who,
                      plan(fleet, profiles, federated::Synchronous{}, unguarded(step), limits)});
  }
  return curves;
}

/// Figure 3a: 20 of 50 agents with latencies 1, 3 or 10.
inline Curves staleness_curves(systems::ScalarDistribution distribution, Index updates) {
  const FleetSettings fleet{.levels = 0.01, .distribution = distribution};
  Curves curves;
  for (const int ticks : {1, 3, 10}) {
    curves.push_back({"latency_" + std::to_string(ticks), "latency " + std::to_string(ticks),
                      plan(fleet, stragglers(fleet.count, 20, ticks), federated::Buffered{.count = 20},
                           unguarded(1e-5), {.until = 1e5, .updates = updates})});
  }
  return curves;
}

/// Figure 3b: updates with 1, 20 or 40 reports. The published steps grow with the reports; here also with
/// the same step for all.
inline Curves batch_curves(systems::ScalarDistribution distribution, Index updates, bool published) {
  const FleetSettings fleet{.count = 100, .levels = 0.001, .distribution = distribution, .radius = 1e-2};
  Curves curves;
  constexpr double same_step = 1e-5;
  for (const auto& [count, published_step] :
       {std::pair{1, 1e-7}, std::pair{20, 2.5e-6}, std::pair{40, 2.25e-5}}) {
    const double step = published ? published_step : same_step;
    char label[64];
    std::snprintf(label, sizeof label, "%d report%s an update, step %g", count, count == 1 ? "" : "s", step);
    curves.push_back({(published ? "published_" : "same_step_") + std::to_string(count), label,
                      plan(fleet, Profiles(1), federated::Buffered{.count = count}, unguarded(step),
                           {.until = 1e5, .updates = updates}, published ? 1 / 1.01 : 1)});
  }
  return curves;
}

/// Figure 3c: three levels of heterogeneity. The highest one loses a plant of most fleets with the first
/// steps, so that it is shown with the guard too.
inline Curves heterogeneity_curves(systems::ScalarDistribution distribution, Index updates) {
  const systems::Levels high{0.07, 0.05, 0.05, 0.1};
  const systems::Levels low{0.001, 0.005, 0.001, 0.001};
  Curves curves;
  const auto add = [&](const char* name, const char* label, const systems::Levels& levels, Index count,
                       double latency, federated::Guard guard) {
    const FleetSettings fleet{.count = count, .levels = levels, .distribution = distribution, .radius = 1e-2};
    curves.push_back({name, label,
                      plan(fleet, stragglers(count, 20, latency), federated::Buffered{.count = 20},
                           {.step = 1e-5, .guard = guard}, {.until = 1e5, .updates = updates})});
  };
  using federated::Guard;
  add("homogeneous", "0 (100 agents, latency 2)", 0, 100, 2, Guard::none);
  add("low", ".001, .005, .001, .001", low, 50, 5, Guard::none);
  add("high", ".07, .05, .05, .1", high, 50, 5, Guard::none);
  add("high_guarded", ".07, .05, .05, .1, guarded", high, 50, 5, Guard::ask);
  return curves;
}

}  // namespace examples::async
