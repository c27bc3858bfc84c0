#include <metalqr/federated/variance_reduced_agents.hpp>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <tuple>
#include <vector>

#include <metalqr/federated/virtual_time.hpp>
#include <metalqr/lqr/evaluation.hpp>
#include <metalqr/lqr/optimal_gain.hpp>
#include <metalqr/systems/perturbed_family.hpp>
#include <metalqr/systems/plants.hpp>

#include "support.hpp"

namespace fed = metalqr::federated;
namespace zo = metalqr::zeroth_order;
using metalqr::Index;
using metalqr::InvalidOption;
using Backend = metalqr::EigenBackend<double, 4, 2>;
using Gain = Backend::Gain;
using Oracle = zo::RandomStartCost<Backend>;
using Agents = fed::VarianceReducedAgents<Backend, Oracle>;
using Options = fed::VarianceReducedAgentOptions;

namespace {

Gain first_gain() {
  return metalqr::systems::modified_boeing_async_gain<Backend>();
}
/// A gain `distance` away from the first one.
Gain gain_at(double distance) {
  Gain K = first_gain();
  K(0, 0) += distance;
  return K;
}
bool same(const Gain& x, const Gain& y) {
  return (x.array() == y.array()).all();
}

/// Plants near the one of the experiments, with costs of random starts.
struct Fleet {
  std::vector<metalqr::Task<Backend>> tasks =
      metalqr::systems::perturbed_family(metalqr::systems::modified_boeing<Backend>(),
                                         {.count = 6, .level = 1e-3}, /*seed*/ 4)
          .tasks;
  std::vector<Oracle> oracles{};

  Fleet() {
    const metalqr::GaussianState<Backend> start(Backend::StateVector::Zero(),
                                                Backend::StateMatrix::Identity() / 4);
    for (const auto& task : tasks) oracles.emplace_back(task, start);
  }
  Fleet(const Fleet&) = delete;
  Fleet& operator=(const Fleet&) = delete;
};

metalqr::StreamKey key(std::uint64_t round, std::uint64_t agent, std::uint64_t seed = 0) {
  return {.seed = seed, .purpose = metalqr::Purpose::directions, .iteration = round, .task = agent};
}

constexpr zo::VarianceReductionOptions estimator{
    .anchor = {.samples = 16},
    .inner = {.directions = zo::Directions::sphere, .samples = 2},
    .inner_length = 3};

}  // namespace

TEST_CASE("an agent reports what the estimator gives that goes on from its last report") {
  const Fleet fleet;
  Agents agents(fleet.oracles, first_gain(), {.estimator = estimator, .seed = 8});
  zo::VarianceReductionState<Backend> state;
  for (Index round = 0; round < 8; ++round) {
    CAPTURE(round);
    const Gain K = gain_at(1e-4 * static_cast<double>(round));
    const auto expected = zo::estimate_variance_reduced<Backend>(
        fleet.oracles[2], K, estimator, state, key(static_cast<std::uint64_t>(round), 2, 8));
    const fed::Report<Backend> report = agents.work(2, round, 7, K);
    CHECK(same(report.estimate, expected.gradient));
    CHECK((report.agent == 2 && report.version == 7 && report.weight == 1));
    CHECK(report.cost == agents.cost(2, 0, K));
    agents.reported(2, round);
    CHECK(same(agents.state(2).anchor, state.anchor));
    CHECK(agents.state(2).steps == state.steps);
    CHECK(agents.state(2).calls == state.calls);
  }
  // Rounds 0, 3 and 6 are anchors of 2 * 16 calls, the others ask twice at two gains for each sample.
  CHECK(state.calls == 3 * 32 + 5 * 8);
  CHECK(same(state.anchor, gain_at(6e-4)));
  CHECK(agents.state(1).steps == 0);
}

TEST_CASE("work that is thrown away neither renews an anchor nor ages it") {
  const Fleet fleet;
  const Options options{.estimator = estimator};
  Agents agents(fleet.oracles, first_gain(), options);
  agents.work(0, 0, 0, gain_at(1));
  CHECK(agents.state(0).steps == 0);
  // Without an anchor the next work begins with one.
  const Gain K = gain_at(1e-4);
  CHECK(same(agents.work(0, 1, 0, K).estimate,
             zo::estimate_gradient<Backend>(fleet.oracles[0], K, estimator.anchor, key(1, 0)).gradient));
  agents.reported(0, 1);
  CHECK(same(agents.state(0).anchor, K));
  for (Index round = 2; round < 9; ++round) agents.work(0, round, 0, gain_at(2e-4));
  CHECK(agents.state(0).steps == 1);
  CHECK(agents.state(0).calls == 32);
  agents.work(0, 9, 0, gain_at(3e-4));
  agents.reported(0, 9);
  CHECK(agents.state(0).steps == 2);
  CHECK(same(agents.state(0).anchor, K));
}

TEST_CASE("the anchor stays while versions pass, and is renewed at a gain that is far from it") {
  const Fleet fleet;
  zo::VarianceReductionOptions bounded = estimator;
  bounded.inner_length = 100;
  bounded.max_distance = 5e-4;
  Agents agents(fleet.oracles, first_gain(), {.estimator = bounded});
  Index round = 0;
  const auto anchor_after = [&](Index version, double distance) {
    agents.work(3, round, version, gain_at(distance));
    agents.reported(3, round++);
    return agents.state(3).anchor;
  };
  CHECK(same(anchor_after(0, 0), first_gain()));
  CHECK(same(anchor_after(40, 1e-4), first_gain()));
  CHECK(same(anchor_after(90, 4.9e-4), first_gain()));
  CHECK(same(anchor_after(91, 5.1e-4), gain_at(5.1e-4)));
  CHECK(same(anchor_after(92, 9e-4), gain_at(5.1e-4)));
}

TEST_CASE("anchors that serve once are the plain estimates, bitwise") {
  const Fleet fleet;
  for (const int local_steps : {1, 3}) {
    const zo::EstimatorOptions plain{.directions = zo::Directions::sphere, .samples = 5};
    Agents agents(fleet.oracles, first_gain(),
                  {.estimator = {.anchor = plain, .inner_length = 1},
                   .local_steps = local_steps,
                   .local_step = 1e-5,
                   .seed = 3,
                   .weigh_by_samples = true});
    const fed::OracleAgents<Backend, Oracle> expected(fleet.oracles, first_gain(),
                                                      {.estimator = plain,
                                                       .local_steps = local_steps,
                                                       .local_step = 1e-5,
                                                       .seed = 3,
                                                       .weigh_by_samples = true});
    CHECK(agents.limit(4) == expected.limit(4));
    for (Index round = 0; round < 4; ++round) {
      const auto x = agents.work(4, round, 0, first_gain());
      const auto y = expected.work(4, round, 0, first_gain());
      agents.reported(4, round);
      CHECK(same(x.estimate, y.estimate));
      CHECK(x.cost == y.cost);
      CHECK(x.weight == y.weight);
    }
  }
}

TEST_CASE("each local step is an estimate that the anchor serves, and weighs what the anchor does") {
  const Fleet fleet;
  Agents agents(fleet.oracles, first_gain(),
                {.estimator = estimator, .local_steps = 5, .local_step = 1e-6, .weigh_by_samples = true});
  zo::VarianceReductionState<Backend> state;
  Gain K = first_gain();
  for (std::uint64_t l = 0; l < 5; ++l) {
    const metalqr::StreamKey own = l == 0 ? key(0, 1) : key(0, 1).child(l);
    K -= 1e-6 * zo::estimate_variance_reduced<Backend>(fleet.oracles[1], K, estimator, state, own).gradient;
  }
  const fed::Report<Backend> report = agents.work(1, 0, 0, first_gain());
  CHECK((first_gain() - 1e-6 * report.estimate - K).norm() <= 1e-13);
  CHECK(report.weight == 5 * 16);
  agents.reported(1, 0);
  // The anchor was renewed at the fourth step, and served the fifth.
  CHECK(agents.state(1).steps == 2);
  CHECK(agents.state(1).calls == state.calls);
}

TEST_CASE("a gain that does not stabilise leaves no estimate, and local steps to one neither") {
  const Fleet fleet;
  const Gain far = first_gain() + Gain::Constant(10);
  Agents agents(fleet.oracles, first_gain(), {.estimator = estimator});
  const auto report = agents.work(0, 0, 0, far);
  CHECK_FALSE(report.estimate.allFinite());
  CHECK(std::isinf(report.cost));
  agents.reported(0, 0);
  CHECK(agents.state(0).steps == 0);
  for (const double step : {1.0, 1e15, 1e300}) {
    Agents running(fleet.oracles, first_gain(),
                   {.estimator = estimator, .local_steps = 3, .local_step = step});
    CHECK_FALSE(running.work(0, 0, 0, first_gain()).estimate.allFinite());
  }
}

TEST_CASE("a run does not depend on the number of threads, with work thrown away") {
  const Fleet fleet;
  metalqr::Stream stream = test::stream(5);
  std::vector<fed::AgentProfile> profiles;
  for (int i = 0; i < 6; ++i) {
    const fed::AgentProfile profile{.work = fed::ExponentialLatency{.mean = 1 + 5 * stream.uniform()},
                                    .answer = fed::ConstantLatency{.ticks = 0.2},
                                    .loss = 0.1,
                                    .presence = fed::ExponentialLatency{.mean = 60},
                                    .absence = fed::ExponentialLatency{.mean = 10}};
    profiles.push_back(profile);
  }
  const auto run = [&](int threads) {
    Agents agents(fleet.oracles, first_gain(), {.estimator = estimator});
    fed::Server<Backend, fed::StalenessBounded<fed::Buffered>> server(
        first_gain(), fed::bounded(fed::Buffered{.count = 2}, 1), {.step = 1e-5, .retry_after = 9});
    const auto result =
        fed::simulate(server, agents, profiles, {.until = 800, .seed = 1, .threads = threads});
    CHECK(result.updates > 50);
    CHECK(server.state().statistics.refreshes > 20);
    return std::tuple(result, agents, server.state().statistics.reports);
  };
  const auto [one, agents, reports] = run(1);
  const auto [many, others, others_reports] = run(8);
  CHECK(reports == others_reports);
  REQUIRE(one.history.size() == many.history.size());
  int different = 0;
  for (std::size_t i = 0; i < one.history.size(); ++i)
    different += same(one.history[i].commit.gain, many.history[i].commit.gain) ? 0 : 1;
  CHECK(different == 0);
  Index served = 0;
  for (Index agent = 0; agent < 6; ++agent) {
    CHECK(agents.state(agent).calls == others.state(agent).calls);
    CHECK(same(agents.state(agent).anchor, others.state(agent).anchor));
    served += agents.state(agent).calls;
  }
  // With an anchor for each report they would need 32 calls each.
  CHECK(served < 20 * reports);
}

TEST_CASE(
    "to a small gap agents with anchors need less than half the calls of agents without, over nine runs") {
  using Counted = zo::Counted<Oracle>;
  const auto plant =
      metalqr::systems::modified_boeing<Backend>().with_initial_state(Backend::StateMatrix::Identity() / 4);
  const metalqr::GaussianState<Backend> start(Backend::StateVector::Zero(), plant.Sigma0());
  const double least = metalqr::cost(plant, metalqr::solve_dare(plant).gain);
  const double wanted = least + 0.01 * (metalqr::cost(plant, first_gain()) - least);
  std::atomic<Index> calls{0};
  const std::vector<Counted> oracles(5, Counted(Oracle(plant, start), calls));
  const auto calls_of = [&](auto agents) {
    calls = 0;
    fed::Server<Backend, fed::Synchronous> server(first_gain(), {},
                                                  {.step = 8e-5, .guard = fed::Guard::none});
    fed::simulate(server, agents, std::vector<fed::AgentProfile>(1), {.max_updates = 3000},
                  [&](const auto& info) { return metalqr::cost(plant, info.commit.gain) <= wanted; });
    REQUIRE(metalqr::cost(plant, server.gain()) <= wanted);
    return calls.load();
  };
  Index reduced = 0;
  Index plain = 0;
  for (std::uint64_t seed = 1; seed <= 9; ++seed) {
    reduced += calls_of(fed::VarianceReducedAgents<Backend, Counted>(
        oracles, first_gain(),
        {.estimator = {.anchor = {.samples = 8}, .inner_length = 10, .max_distance = 0.005},
         .report_cost = false,
         .seed = seed}));
    plain += calls_of(fed::OracleAgents<Backend, Counted>(
        oracles, first_gain(),
        {.estimator = {.directions = zo::Directions::sphere, .samples = 8, .check_direction = false},
         .report_cost = false,
         .seed = seed}));
  }
  CAPTURE(reduced, plain);
  CHECK(2 * reduced < plain);
}

TEST_CASE("options of a variance-reduced agent out of range are refused by name") {
  const Fleet fleet;
  const auto message = [&](const Options& options) {
    return test::message_of<InvalidOption>([&] { Agents(fleet.oracles, first_gain(), options); });
  };
  CHECK_THAT(message({.estimator = {.anchor = {.radius = -1}}}),
             Catch::Matchers::StartsWith("anchor.radius: expected"));
  CHECK_THAT(message({.estimator = {.inner_length = 0}}),
             Catch::Matchers::StartsWith("inner_length: expected"));
  CHECK_THAT(message({.local_steps = 0}), Catch::Matchers::StartsWith("local_steps: expected"));
  std::vector<Options> options(6);
  options[5].estimator.max_distance = -1;
  CHECK_THAT(test::message_of<InvalidOption>([&] { Agents(fleet.oracles, first_gain(), options); }),
             Catch::Matchers::StartsWith("options[5].max_distance: expected"));
  options.resize(4);
  CHECK_THROWS_AS(Agents(fleet.oracles, first_gain(), options), InvalidOption);
  CHECK_THROWS_AS(Agents(fleet.oracles, Gain(first_gain() + Gain::Constant(10))), InvalidOption);
  CHECK_THROWS_AS(Agents({}, first_gain()), InvalidOption);
}
