#include <metalqr/federated/virtual_time.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

#include <metalqr/core/parallel.hpp>
#include <metalqr/lqr/optimal_gain.hpp>
#include <metalqr/systems/masked_family.hpp>

#include "noisy_fleet.hpp"
#include "statistics.hpp"
#include "support.hpp"

// One gain for all is as far from the optimum of each as the tasks are apart.

namespace fed = metalqr::federated;
using metalqr::Index;
using Backend = test::Small;
using Gain = test::SmallGain;

namespace {

constexpr Index agent_count = 20;
constexpr Index update_count = 2000;
constexpr Index fleet_count = 10;

/// The final gap of the average task to its own optimum, (1/M) sum_i (J_i(K) - J_i*), of a run on a fleet
/// with the published masks. Fleets of one seed and different levels are the same but for the size of the
/// masks. All agents have the same law of latencies, so that all take part equally often.
double final_gap(double level, std::uint64_t fleet, std::uint64_t seed) {
  const auto tasks =
      metalqr::systems::masked_family(test::small_nominal(), {.count = agent_count, .level = level}, fleet)
          .tasks;
  double least = 0;
  for (const auto& task : tasks) {
    least += metalqr::cost(task, metalqr::solve_dare(task).gain) / static_cast<double>(agent_count);
  }
  const Gain K0 = metalqr::solve_dare(test::small_nominal()).gain;
  const test::NoisyFleet agents(tasks, K0, /*samples*/ 2, seed);
  const std::vector<fed::AgentProfile> profiles{{.work = fed::ExponentialLatency{.mean = 1}}};
  fed::Server<Backend, fed::Buffered> server(K0, {.count = 5}, {.step = 3e-4, .guard = fed::Guard::none});
  const auto result = fed::simulate(server, agents, profiles, {.max_updates = update_count, .seed = seed});
  return test::final_median(result.history, [&](const Gain& K) { return agents.average_cost(K) - least; });
}

/// Page's test of the final gaps of ten fleets at these levels, each run with its own random numbers.
double p_value(const std::vector<double>& levels) {
  std::vector<std::vector<double>> gaps(fleet_count, std::vector<double>(levels.size()));
  metalqr::parallel_for(fleet_count, [&](Index i) {
    for (std::size_t j = 0; j < levels.size(); ++j) {
      const auto fleet = static_cast<std::uint64_t>(i + 1);
      gaps[static_cast<std::size_t>(i)][j] = final_gap(levels[j], fleet, 100 * (j + 1) + fleet);
    }
  });
  return test::page_p_value(gaps);
}

}  // namespace

// With equal tasks the noise dies out at the common optimum, which is that of every start as well. Gaps that
// did not depend on the level would pass the first with probability 1e-3, as the second says.
TEST_CASE("the final gap to each task's own optimum grows with heterogeneity, significant at 1e-3") {
  CHECK(p_value({0, 0.05, 0.1, 0.15, 0.2}) < 1e-3);
}
TEST_CASE("equal heterogeneity shows no growth; false alarm 1e-3") {
  CHECK(p_value({0.1, 0.1, 0.1, 0.1, 0.1}) > 1e-3);
}
