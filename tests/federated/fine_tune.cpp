#include <metalqr/federated/fine_tune.hpp>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <metalqr/federated/compressed_agents.hpp>
#include <metalqr/federated/variance_reduced_agents.hpp>
#include <metalqr/lqr/optimal_gain.hpp>

#include "support.hpp"

namespace fed = metalqr::federated;
namespace zo = metalqr::zeroth_order;
using metalqr::Index;
using metalqr::InvalidOption;
using Backend = metalqr::EigenBackend<double, 2, 1>;
using Gain = Backend::Gain;
using Options = fed::FineTuneOptions;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

Gain row(double x, double y) {
  return Gain{{x, y}};
}
bool same(const Gain& x, const Gain& y) {
  return (x.array() == y.array()).all();
}

/// Agents whose costs are |K - c_i|^2/2 + 1, above 100 counted as unstable, which write down what they are
/// told; in the rounds `blind` there is no estimate.
struct Bowls {
  using Backend = metalqr::EigenBackend<double, 2, 1>;

  std::vector<Gain> centres;
  std::vector<Index> blind{};
  std::vector<std::vector<std::string>> told = std::vector<std::vector<std::string>>(centres.size());

  Index size() const { return static_cast<Index>(centres.size()); }
  double cost(Index agent, Index /*question*/, const Gain& K) const {
    const double value = 1 + (K - centres[static_cast<std::size_t>(agent)]).squaredNorm() / 2;
    return value < 100 ? value : infinity;
  }
  double limit(Index /*agent*/) const { return 99; }
  fed::Report<Backend> work(Index agent, Index round, Index version, const Gain& K) {
    told[static_cast<std::size_t>(agent)].push_back("work " + std::to_string(round));
    fed::Report<Backend> report{.agent = agent,
                                .version = version,
                                .estimate = K - centres[static_cast<std::size_t>(agent)],
                                .cost = cost(agent, 0, K)};
    for (const Index bad : blind) {
      if (bad == round) report.estimate(0, 1) = std::numeric_limits<double>::quiet_NaN();
    }
    return report;
  }
  void reported(Index agent, Index round) {
    told[static_cast<std::size_t>(agent)].push_back("reported " + std::to_string(round));
  }
};

/// Plants at random with a gain that stabilises all of them: near one plant, whose gain it is.
struct Fleet {
  std::vector<metalqr::Task<Backend>> tasks;
  Gain K;
};
Fleet fleet(Index count, std::uint64_t seed) {
  metalqr::Stream stream = test::stream(seed);
  test::RandomProblem problem = test::random_problem(2, 1, 0.7, stream);
  Fleet result{.tasks = {}, .K = test::gain<Backend>(problem.K)};
  for (Index i = 0; i < count; ++i) {
    test::DenseTask task = problem.task;
    task.A = task.A + 0.03L * test::random_matrix(2, 2, stream);
    result.tasks.push_back(test::make_task<Backend>(task));
  }
  return result;
}

}  // namespace

TEST_CASE("each agent goes its own way from the fleet's gain, and says what it paid before and pays after") {
  Bowls agents{{row(2, 0), row(0, -4)}};
  const auto tuned = fed::fine_tune(agents, row(0, 0), {.steps = 2, .step = 0.5});
  REQUIRE(tuned.size() == 2);
  CHECK(same(tuned[0].gain, row(1.5, 0)));
  CHECK(same(tuned[1].gain, row(0, -3)));
  CHECK((tuned[0].before == 3 && tuned[0].after == 1.125));
  CHECK((tuned[1].before == 9 && tuned[1].after == 1.5));
  CHECK((tuned[0].accepted == 2 && tuned[0].halvings == 0));
}

TEST_CASE("a step that would raise the cost above that at the start is halved, at most so often") {
  Bowls agents{{row(2, 0)}};
  // 12, 6, 3: the cost is 1 + (3 - 2)^2/2.
  const auto tuned = fed::fine_tune(agents, row(0, 0), {.steps = 1, .step = 6, .max_halvings = 2});
  CHECK(same(tuned[0].gain, row(3, 0)));
  CHECK(tuned[0].after == 1.5);
  CHECK((tuned[0].accepted == 1 && tuned[0].halvings == 2));
  const auto stuck = fed::fine_tune(agents, row(0, 0), {.steps = 3, .step = 6, .max_halvings = 1});
  CHECK(same(stuck[0].gain, row(0, 0)));
  CHECK(stuck[0].after == stuck[0].before);
  CHECK((stuck[0].accepted == 0 && stuck[0].halvings == 3));
  // A step whose candidate overflows is one that is halved.
  const auto huge = fed::fine_tune(agents, row(0, 0), {.steps = 1, .step = 1e308, .max_halvings = 2000});
  CHECK(huge[0].accepted == 1);
  CHECK(huge[0].after <= 3);
}

TEST_CASE("the cost may rise on the way, though never above that at the start") {
  // 4 from the centre, then 0.4, then with a step of 6 times the gradient 2.
  Bowls agents{{row(0, 0)}};
  const auto near = fed::fine_tune(agents, row(4, 0), {.steps = 1, .step = 0.9});
  CHECK(near[0].gain(0, 0) == Catch::Approx(0.4));
  const auto tuned = fed::fine_tune(agents, row(4, 0), {.steps = 2, .step = 2.5, .max_halvings = 0});
  // 4 -> -6 is refused; nothing is left of either step.
  CHECK(tuned[0].accepted == 0);
  const auto back = fed::fine_tune(agents, row(4, 0), {.steps = 2, .step = 2, .max_halvings = 0});
  // 4 -> -4 -> 4.
  CHECK(back[0].accepted == 2);
  CHECK(same(back[0].gain, row(4, 0)));
}

TEST_CASE("rounds are numbered from where the caller says, and agents hear that each report has left") {
  Bowls agents{{row(2, 0), row(1, 1)}};
  fed::fine_tune(agents, row(0, 0), {.steps = 2, .step = 0.5, .first_round = 70});
  const std::vector<std::string> expected{"work 70", "reported 70", "work 71", "reported 71"};
  CHECK(agents.told[0] == expected);
  CHECK(agents.told[1] == expected);
}

TEST_CASE("what is no estimate is left out, and an agent that the gain does not stabilise stays") {
  Bowls agents{{row(2, 0), row(200, 0)}, {5}};
  const auto tuned = fed::fine_tune(agents, row(0, 0), {.steps = 3, .step = 0.5, .first_round = 4});
  CHECK(same(tuned[0].gain, row(1.5, 0)));
  CHECK(tuned[0].accepted == 2);
  CHECK(same(tuned[1].gain, row(0, 0)));
  CHECK((tuned[1].before == infinity && tuned[1].after == infinity && tuned[1].accepted == 0));
  CHECK(agents.told[1].empty());
}

TEST_CASE("no steps are the gain and cost of the fleet") {
  Bowls agents{{row(2, 0)}};
  const auto tuned = fed::fine_tune(agents, row(1, 0), {.steps = 0});
  CHECK(same(tuned[0].gain, row(1, 0)));
  CHECK((tuned[0].before == 1.5 && tuned[0].after == 1.5));
}

TEST_CASE("with exact gradients every agent approaches its own optimum from a gain that is nobody's") {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    CAPTURE(seed);
    const Fleet problem = fleet(6, seed);
    fed::ModelAgents<Backend> agents(problem.tasks, problem.K);
    const auto tuned = fed::fine_tune(agents, problem.K, {.steps = 20'000, .step = 0.01});
    for (std::size_t i = 0; i < 6; ++i) {
      const auto& task = problem.tasks[i];
      const double least = metalqr::cost(task, metalqr::solve_dare(task).gain);
      CHECK(tuned[i].before == metalqr::cost(task, problem.K));
      CHECK(tuned[i].after == metalqr::cost(task, tuned[i].gain));
      CHECK(tuned[i].before - least > 1e-3 * least);
      CHECK(tuned[i].after - least <= 1e-6 * (tuned[i].before - least));
    }
  }
}

TEST_CASE("with estimates no agent ends above the fleet's cost, however long the step, and most gain") {
  int gained = 0;
  for (const double step : {1e-3, 0.05, 2.0, 1e3}) {
    CAPTURE(step);
    const Fleet problem = fleet(6, 3);
    const auto oracles = zo::exact_costs(problem.tasks);
    using Agents = fed::OracleAgents<Backend, zo::ExactCost<Backend>>;
    const fed::AgentOptions options{
        .estimator = {.directions = zo::Directions::sphere, .samples = 1, .check_direction = false},
        .report_cost = false};
    Agents agents(oracles, problem.K, options);
    for (const auto& tuned : fed::fine_tune(agents, problem.K, {.steps = 30, .step = step})) {
      CHECK(tuned.after <= tuned.before);
      gained += tuned.after < tuned.before ? 1 : 0;
    }
  }
  CHECK(gained > 20);
}

TEST_CASE("the number of threads changes nothing, of agents with a memory either") {
  const Fleet problem = fleet(40, 5);
  const auto oracles = zo::exact_costs(problem.tasks);
  using Oracle = zo::ExactCost<Backend>;
  const auto tune = [&](int threads) {
    fed::CompressedAgents agents(
        fed::VarianceReducedAgents<Backend, Oracle>(oracles, problem.K, {.estimator = {.inner_length = 4}}),
        fed::TopK{.count = 1});
    const auto tuned = fed::fine_tune(agents, problem.K,
                                      {.steps = 25, .step = 0.02, .first_round = 100, .threads = threads});
    // A second time they go on from what they have kept.
    const auto again =
        fed::fine_tune(agents, problem.K, {.steps = 5, .step = 0.02, .first_round = 200, .threads = threads});
    std::vector<Gain> gains;
    for (Index i = 0; i < 40; ++i) {
      gains.push_back(tuned[static_cast<std::size_t>(i)].gain);
      gains.push_back(again[static_cast<std::size_t>(i)].gain);
      gains.push_back(agents.feedback(i).residual);
      gains.push_back(agents.agents().state(i).anchor);
    }
    return gains;
  };
  const auto one = tune(1);
  for (const int threads : {2, 8, 0}) {
    const auto many = tune(threads);
    for (std::size_t i = 0; i < one.size(); ++i) CHECK(same(one[i], many[i]));
  }
  CHECK_FALSE(same(one[2], row(0, 0)));
}

TEST_CASE("options out of range are refused by name") {
  const auto message = [](const Options& options) {
    Bowls agents{{row(2, 0)}};
    return test::message_of<InvalidOption>([&] { fed::fine_tune(agents, row(0, 0), options); });
  };
  CHECK(message({.steps = -1}) == "steps: expected a number >= 0, got -1");
  CHECK(message({.step = 0}) == "step: expected a positive number, got 0");
  CHECK(message({.step = infinity}) == "step: expected a positive number, got inf");
  CHECK(message({.step = std::numeric_limits<double>::quiet_NaN()}) ==
        "step: expected a positive number, got nan");
  CHECK(message({.max_halvings = -1}) == "max_halvings: expected a number >= 0, got -1");
  CHECK(message({.first_round = -1}) == "first_round: expected a number >= 0, got -1");
  CHECK(message({.threads = -1}) == "threads: expected a number >= 0, got -1");
}
