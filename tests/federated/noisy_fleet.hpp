#pragma once

/// @file
/// Small fleets of agents that know only sampled costs, for statistics over many runs.

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <metalqr/federated/agents.hpp>
#include <metalqr/lqr/batch.hpp>
#include <metalqr/systems/plants.hpp>
#include <metalqr/zeroth_order/task_oracles.hpp>

#include "statistics.hpp"
#include "support.hpp"

namespace test {

using Small = metalqr::EigenBackend<double, 2, 1>;
using SmallTask = metalqr::Task<Small>;
using SmallGain = Small::Gain;

/// Two states, one input: cheap, and a Hessian of condition 2.4 at the optimum, so that a few thousand steps
/// of constant size forget where they started.
inline SmallTask small_nominal() {
  return metalqr::systems::double_integrator<Small>();
}

/// Agents with two-point estimates of m = `samples` directions on the sphere, from costs of random starts
/// x0 ~ N(0, I). The numbers of a piece of work belong to the agent and the version of the gain, which is the
/// time of the experiment: runs with other delays share the seed and all laws, but hardly a number.
class NoisyFleet {
 public:
  using Backend = Small;
  using Oracle = metalqr::zeroth_order::RandomStartCost<Small>;

  NoisyFleet(std::vector<SmallTask> tasks, const SmallGain& K0, Index samples, std::uint64_t seed)
      : tasks_(std::move(tasks)),
        oracles_(oracles_of(tasks_)),
        agents_(oracles_, K0,
                {.estimator = {.directions = metalqr::zeroth_order::Directions::sphere,
                               .samples = samples,
                               .radius = 1e-3,
                               .check_direction = false},
                 .report_cost = false,
                 .seed = seed}) {}
  NoisyFleet(const NoisyFleet&) = delete;
  NoisyFleet& operator=(const NoisyFleet&) = delete;

  Index size() const { return agents_.size(); }
  double cost(Index agent, Index question, const SmallGain& K) const {
    return agents_.cost(agent, question, K);
  }
  double limit(Index agent) const { return agents_.limit(agent); }
  metalqr::federated::Report<Small> work(Index agent, Index /*round*/, Index version,
                                         const SmallGain& K) const {
    return agents_.work(agent, version, version, K);
  }

  /// Exactly: (1/M) sum_i J_i(K).
  double average_cost(const SmallGain& K) const {
    double sum = 0;
    for (const double value : metalqr::costs(tasks_, K, 1)) sum += value;
    return sum / static_cast<double>(tasks_.size());
  }

 private:
  static std::vector<Oracle> oracles_of(const std::vector<SmallTask>& tasks) {
    const metalqr::GaussianState<Small> start(Small::StateVector::Zero(), Small::StateMatrix::Identity());
    std::vector<Oracle> oracles;
    for (const SmallTask& task : tasks) oracles.emplace_back(task, start);
    return oracles;
  }

  std::vector<SmallTask> tasks_;
  std::vector<Oracle> oracles_;
  metalqr::federated::OracleAgents<Small, Oracle> agents_;
};

/// The median of `measure(K)` over the gains of the last tenth of a history.
template <class History, class Measure>
double final_median(const History& history, const Measure& measure) {
  std::vector<double> values;
  for (std::size_t i = history.size() - history.size() / 10; i < history.size(); ++i) {
    values.push_back(measure(history[i].commit.gain));
  }
  return median(std::move(values));
}

}  // namespace test
