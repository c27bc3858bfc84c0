#include <metalqr/federated/virtual_time.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include <metalqr/core/parallel.hpp>

#include "noisy_fleet.hpp"
#include "statistics.hpp"
#include "support.hpp"

// The speed-up of the paper: an update of b reports has a b-th of the variance of one report.

namespace fed = metalqr::federated;
namespace zo = metalqr::zeroth_order;
using metalqr::Index;
using Backend = test::Small;
using Gain = test::SmallGain;

namespace {

constexpr Index agent_count = 40;
constexpr Index run_count = 10;
// Divisors of the number of agents.
const std::vector<Index> buffers{1, 2, 4, 5, 8, 10, 20, 40};

/// A gain that stabilises, far enough from the optimum for a gradient.
Gain start() {
  Gain K;
  K << 0.5, 0.8;
  return K;
}

/// Trace of the covariance of the estimates that a server made its steps of, while the gain hardly moves.
template <class AgentsType>
double variance(AgentsType& agents, const fed::Latency& work, Index buffer, Index updates,
                std::uint64_t seed) {
  const double step = 1e-9;
  fed::Server<Backend, fed::Buffered> server(start(), {.count = buffer},
                                             {.step = step, .guard = fed::Guard::none});
  const std::vector<fed::AgentProfile> profiles{{.work = work}};
  const auto result = fed::simulate(server, agents, profiles, {.max_updates = updates, .seed = seed});
  Gain before = start();
  std::vector<Gain> estimates;
  Gain mean = Gain::Zero();
  for (const auto& record : result.history) {
    if (record.commit.reports != buffer) throw std::logic_error("an update of another size");
    estimates.push_back((before - record.commit.gain) / step);
    mean += estimates.back() / static_cast<double>(updates);
    before = record.commit.gain;
  }
  if (!((before - start()).norm() < 1e-3)) throw std::logic_error("the gain moved");
  double sum = 0;
  for (const Gain& estimate : estimates) sum += (estimate - mean).squaredNorm();
  return sum / static_cast<double>(updates - 1);
}

/// The slope of log variance against log b, where buffer b makes `updates(b)` updates.
template <class AgentsType, class Updates>
double exponent(AgentsType& agents, const fed::Latency& work, const Updates& updates, std::uint64_t seed) {
  std::vector<double> x;
  std::vector<double> y;
  for (const Index buffer : buffers) {
    x.push_back(std::log(static_cast<double>(buffer)));
    const std::uint64_t own = 100 * seed + static_cast<std::uint64_t>(buffer);
    y.push_back(std::log(variance(agents, work, buffer, updates(buffer), own)));
  }
  return test::slope(x, y);
}

std::vector<test::SmallTask> equal_tasks() {
  return std::vector<test::SmallTask>(static_cast<std::size_t>(agent_count), test::small_nominal());
}

}  // namespace

// Ten slopes, whose mean has a standard error below 1/80: further than 0.1 from its expectation is beyond 8
// of them, with Student's distribution of 9 degrees of freedom a probability of 2.2e-5.
TEST_CASE("the variance of an update falls like 1/b; false alarm 3e-5") {
  std::vector<double> slopes(run_count);
  metalqr::parallel_for(run_count, [&](Index i) {
    const auto seed = static_cast<std::uint64_t>(i + 1);
    const auto updates = [](Index /*buffer*/) -> Index { return 800; };
    test::NoisyFleet agents(equal_tasks(), start(), /*samples*/ 1, seed);
    slopes[static_cast<std::size_t>(i)] = exponent(agents, fed::ExponentialLatency{.mean = 1}, updates, seed);
  });
  CAPTURE(slopes);
  REQUIRE(test::standard_error(slopes) < 1.0 / 80);
  CHECK(std::abs(test::average(slopes) + 1) < 0.1);
}

// Agents that probe along the same directions and work in step all send the same, round by round.
TEST_CASE("agents with shared directions gain nothing from being many") {
  const std::vector<test::SmallTask> tasks = equal_tasks();
  const auto oracles = zo::exact_costs(tasks);
  fed::OracleAgents<Backend, zo::ExactCost<Backend>> agents(
      oracles, start(),
      {.estimator = {.directions = zo::Directions::sphere,
                     .samples = 1,
                     .radius = 1e-3,
                     .shared_directions = true,
                     .check_direction = false},
       .report_cost = false,
       .seed = 1});
  const auto hundred_rounds = [](Index buffer) { return 100 * agent_count / buffer; };
  CHECK(std::abs(exponent(agents, fed::ConstantLatency{.ticks = 1}, hundred_rounds, 1)) < 0.01);
}
