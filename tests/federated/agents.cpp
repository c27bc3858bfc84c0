#include <metalqr/federated/agents.hpp>

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include <metalqr/federated/server.hpp>
#include <metalqr/lqr/evaluation.hpp>
#include <metalqr/systems/perturbed_family.hpp>
#include <metalqr/systems/plants.hpp>

#include "support.hpp"

namespace fed = metalqr::federated;
namespace zo = metalqr::zeroth_order;
using metalqr::Index;
using metalqr::InvalidOption;
using Backend = metalqr::EigenBackend<double, 4, 2>;
using Gain = Backend::Gain;

namespace {

std::vector<metalqr::Task<Backend>> tasks() {
  return metalqr::systems::perturbed_family(metalqr::systems::modified_boeing<Backend>(),
                                            {.count = 3, .level = 0.01},
                                            /*seed*/ 4)
      .tasks;
}
Gain first_gain() {
  return metalqr::systems::modified_boeing_initial_gain<Backend>();
}
/// Gains that destabilise.
Gain far_gain() {
  return Gain(first_gain() + Gain::Constant(10));
}

/// Agents that write down what they are told.
struct Listeners {
  using Backend = metalqr::EigenBackend<double, 4, 2>;

  std::vector<Index> told{};

  static Index size() { return 3; }
  static double cost(Index /*agent*/, Index /*question*/, const Gain& /*K*/) { return 1; }
  static double limit(Index /*agent*/) { return 2; }
  static fed::Report<Backend> work(Index agent, Index /*round*/, Index version, const Gain& K) {
    return {.agent = agent, .version = version, .estimate = K};
  }
  void reported(Index agent, Index round) { told.insert(told.end(), {agent, round}); }
};

}  // namespace

TEST_CASE("an agent with a model reports its gradient and cost") {
  const auto fleet = tasks();
  const fed::ModelAgents<Backend> agents(fleet, first_gain());
  CHECK(agents.size() == 3);
  const metalqr::Evaluation at{fleet[1], first_gain()};
  const fed::Report<Backend> report = agents.work(1, 5, 7, first_gain());
  CHECK((report.agent == 1 && report.version == 7 && report.weight == 1));
  CHECK(report.cost == Catch::Approx(at.cost()).epsilon(1e-12));
  CHECK((report.estimate - at.gradient()).norm() <= 1e-12 * at.gradient_scale());
  CHECK(agents.limit(1) == Catch::Approx(at.cost()).epsilon(1e-12));
  CHECK(std::isinf(agents.cost(1, 0, far_gain())));
}

TEST_CASE("several local steps report the sum of the gradients on the way") {
  const auto fleet = tasks();
  const fed::AgentOptions options{.local_steps = 3, .local_step = 1e-6};
  const fed::ModelAgents<Backend> agents(fleet, first_gain(), options);
  Gain K = first_gain();
  for (int l = 0; l < 3; ++l) K -= 1e-6 * metalqr::Evaluation{fleet[2], K}.gradient();
  const Gain progress = agents.work(2, 0, 0, first_gain()).estimate;
  CHECK((first_gain() - 1e-6 * progress - K).norm() <= 1e-13);
}

TEST_CASE("an agent with an oracle reports what the estimator gives at its own key") {
  const auto fleet = tasks();
  const auto oracles = zo::exact_costs(fleet);
  using Oracle = zo::ExactCost<Backend>;
  const fed::AgentOptions options{
      .estimator = {.directions = zo::Directions::sphere, .samples = 3, .radius = 1e-3}, .seed = 8};
  const fed::OracleAgents<Backend, Oracle> agents(oracles, first_gain(), options);
  const fed::Report<Backend> report = agents.work(1, 5, 2, first_gain());
  const metalqr::StreamKey key{.seed = 8, .purpose = metalqr::Purpose::directions, .iteration = 5, .task = 1};
  const Gain expected =
      zo::estimate_gradient<Backend>(oracles[1], first_gain(), options.estimator, key).gradient;
  CHECK((report.estimate.array() == expected.array()).all());
  CHECK(report.cost == oracles[1](first_gain()));
  CHECK((agents.work(1, 6, 2, first_gain()).estimate.array() != expected.array()).any());
  CHECK((agents.work(0, 5, 2, first_gain()).estimate.array() != expected.array()).any());
  CHECK(std::isnan(fed::OracleAgents<Backend, Oracle>(oracles, first_gain(), {.report_cost = false})
                       .work(0, 0, 0, first_gain())
                       .cost));
}

TEST_CASE("at a gain that does not stabilise there is no estimate, and the cost says why") {
  const auto fleet = tasks();
  const auto oracles = zo::exact_costs(fleet);
  const fed::OracleAgents<Backend, zo::ExactCost<Backend>> probing(oracles, first_gain());
  const fed::ModelAgents<Backend> knowing(fleet, first_gain());
  for (const auto& report : {probing.work(0, 0, 0, far_gain()), knowing.work(0, 0, 0, far_gain())}) {
    CHECK(std::isinf(report.cost));
    CHECK_FALSE(report.estimate.allFinite());
  }
}

TEST_CASE("agents refuse options out of range and a first gain that loses one of them") {
  const auto fleet = tasks();
  const auto oracles = zo::exact_costs(fleet);
  using Agents = fed::OracleAgents<Backend, zo::ExactCost<Backend>>;
  CHECK_THROWS_AS(Agents(oracles, far_gain()), InvalidOption);
  CHECK_THROWS_AS(fed::ModelAgents<Backend>(fleet, far_gain()), InvalidOption);
  CHECK_THROWS_AS(Agents({}, first_gain()), InvalidOption);
  CHECK_THROWS_AS(Agents(oracles, first_gain(), {.local_steps = 0}), InvalidOption);
  CHECK_THROWS_AS(Agents(oracles, first_gain(), {.local_steps = 2}), InvalidOption);
  CHECK_THROWS_AS(Agents(oracles, first_gain(), {.local_steps = 2, .local_step = -1}), InvalidOption);
  CHECK_THROWS_AS(Agents(oracles, first_gain(), {.estimator = {.radius = -1}}), InvalidOption);
}

TEST_CASE("agents with a memory are told that a report has left, others need not be") {
  Listeners listeners;
  fed::detail::note_reported(listeners, 2, 5);
  fed::detail::note_reported(listeners, 0, 1);
  CHECK(listeners.told == std::vector<Index>{2, 5, 0, 1});
  const auto fleet = tasks();
  fed::ModelAgents<Backend> agents(fleet, first_gain());
  fed::detail::note_reported(agents, 2, 5);
}

TEST_CASE("each agent works with its own options as one of a fleet that all have them") {
  const auto fleet = tasks();
  const auto oracles = zo::exact_costs(fleet);
  using Oracle = zo::ExactCost<Backend>;
  const std::vector<fed::AgentOptions> options{
      {.estimator = {.directions = zo::Directions::sphere, .samples = 3}, .seed = 1},
      {.local_steps = 3, .local_step = 1e-6, .report_cost = false},
      {.estimator = {.radius = 1e-3}, .seed = 9, .weigh_by_samples = true}};
  const fed::OracleAgents<Backend, Oracle> own(oracles, first_gain(), options);
  const fed::ModelAgents<Backend> own_models(fleet, first_gain(), options);
  for (Index agent = 0; agent < 3; ++agent) {
    CAPTURE(agent);
    const auto& option = options[static_cast<std::size_t>(agent)];
    const fed::OracleAgents<Backend, Oracle> all(oracles, first_gain(), option);
    const auto x = own.work(agent, 4, 0, first_gain());
    const auto y = all.work(agent, 4, 0, first_gain());
    CHECK((x.estimate.array() == y.estimate.array()).all());
    CHECK((x.cost == y.cost || (std::isnan(x.cost) && std::isnan(y.cost))));
    CHECK(x.weight == y.weight);
    const fed::ModelAgents<Backend> all_models(fleet, first_gain(), option);
    CHECK((own_models.work(agent, 0, 0, first_gain()).estimate.array() ==
           all_models.work(agent, 0, 0, first_gain()).estimate.array())
              .all());
  }
  const std::vector<fed::AgentOptions> one{{.seed = 4}};
  CHECK((fed::OracleAgents<Backend, Oracle>(oracles, first_gain(), one)
             .work(2, 0, 0, first_gain())
             .estimate.array() == fed::OracleAgents<Backend, Oracle>(oracles, first_gain(), one[0])
                                      .work(2, 0, 0, first_gain())
                                      .estimate.array())
            .all());
}

TEST_CASE("options for each agent are as many as the agents, and a bad one is named with its agent") {
  const auto fleet = tasks();
  const auto oracles = zo::exact_costs(fleet);
  using Agents = fed::OracleAgents<Backend, zo::ExactCost<Backend>>;
  using Models = fed::ModelAgents<Backend>;
  for (const std::size_t count : {0U, 2U, 4U}) {
    const std::vector<fed::AgentOptions> options(count);
    const std::string expected =
        "options: expected one, or one for each of 3 agents, got " + std::to_string(count);
    CHECK(test::message_of<InvalidOption>([&] { Agents(oracles, first_gain(), options); }) == expected);
    CHECK(test::message_of<InvalidOption>([&] { Models(fleet, first_gain(), options); }) == expected);
  }
  std::vector<fed::AgentOptions> options(3);
  options[1].estimator.radius = -1;
  CHECK_THAT(test::message_of<InvalidOption>([&] { Agents(oracles, first_gain(), options); }),
             Catch::Matchers::StartsWith("options[1].radius: expected"));
}

TEST_CASE("reports weigh what their samples do, in all local steps, those that were lost not counted") {
  const auto fleet = tasks();
  const auto oracles = zo::exact_costs(fleet);
  using Agents = fed::OracleAgents<Backend, zo::ExactCost<Backend>>;
  const auto weight = [&](const fed::AgentOptions& options) {
    return Agents(oracles, first_gain(), options).work(1, 0, 0, first_gain()).weight;
  };
  const zo::EstimatorOptions three{.directions = zo::Directions::sphere, .samples = 3};
  CHECK(weight({.estimator = three}) == 1);
  CHECK(weight({.estimator = three, .weigh_by_samples = true}) == 3);
  CHECK(weight({.weigh_by_samples = true}) == 8);
  CHECK(weight({.estimator = three, .local_steps = 4, .local_step = 1e-7, .weigh_by_samples = true}) == 12);
  // One call in four has no cost.
  int calls = 0;
  const auto lossy = [&calls](const Gain& K) {
    return calls++ % 4 == 3 ? std::numeric_limits<double>::infinity() : 1 + K.squaredNorm();
  };
  using Lossy = std::remove_cvref_t<decltype(lossy)>;
  const std::vector<Lossy> unreliable(2, lossy);
  const fed::OracleAgents<Backend, Lossy> agents(unreliable, first_gain(),
                                                 {.estimator = {.directions = zo::Directions::sphere,
                                                                .samples = 6,
                                                                .unstable = zo::Unstable::drop,
                                                                .check_direction = false},
                                                  .report_cost = false,
                                                  .weigh_by_samples = true});
  calls = 0;
  CHECK(agents.work(0, 0, 0, first_gain()).weight == 3);
  // Without any sample there is nothing to weigh.
  const fed::Report<Backend> nothing =
      Agents(oracles, first_gain(), {.weigh_by_samples = true}).work(0, 0, 0, far_gain());
  CHECK(nothing.weight == 1);
  CHECK_FALSE(nothing.estimate.allFinite());
}

TEST_CASE("local steps that lead nowhere leave no estimate, and throw nothing") {
  const auto fleet = tasks();
  const auto oracles = zo::exact_costs(fleet);
  for (const double step : {1e-3, 1e3, 1e9, 1e15, 1e200, 1e308}) {
    CAPTURE(step);
    const fed::AgentOptions options{.local_steps = 4, .local_step = step};
    const fed::OracleAgents<Backend, zo::ExactCost<Backend>> probing(oracles, first_gain(), options);
    const fed::ModelAgents<Backend> knowing(fleet, first_gain(), options);
    for (const Gain& K : {first_gain(), far_gain()}) {
      CHECK_FALSE(probing.work(0, 0, 0, K).estimate.allFinite());
      CHECK_FALSE(knowing.work(0, 0, 0, K).estimate.allFinite());
    }
  }
}

// The plants x' = u with the costs q x^2 + u^2: J(k) = (q + k^2)/(1 - k^2), J'(k) = 2 (1 + q) k/(1 - k^2)^2.
TEST_CASE("with local steps a server goes eta_g times the mean way of its agents (FedLQR)") {
  using Scalar = metalqr::EigenBackend<double, 1, 1>;
  using K1 = Scalar::Gain;
  const auto plant = [](double q) {
    return metalqr::Task<Scalar>(Scalar::StateMatrix(0.0), Scalar::InputMatrix(1.0), Scalar::StateMatrix(q),
                                 Scalar::ControlMatrix(1.0));
  };
  const std::vector<metalqr::Task<Scalar>> fleet{plant(1), plant(3)};
  const auto slope = [](double q, double k) { return 2 * (1 + q) * k / ((1 - k * k) * (1 - k * k)); };
  const double k0 = 0.5;
  const double local = 0.01;
  const double global = 0.7;
  for (const int steps : {1, 2, 5}) {
    CAPTURE(steps);
    double way = 0;
    for (const double q : {1.0, 3.0}) {
      double k = k0;
      for (int l = 0; l < steps; ++l) k -= local * slope(q, k);
      way += (k - k0) / 2;
    }
    const fed::AgentOptions options{.estimator = {.radius = 1e-5}, .local_steps = steps, .local_step = local};
    const auto oracles = zo::exact_costs(fleet);
    fed::ModelAgents<Scalar> knowing(fleet, K1(k0), options);
    fed::OracleAgents<Scalar, zo::ExactCost<Scalar>> probing(oracles, K1(k0), options);
    const auto update = [&](auto& agents) {
      fed::Server<Scalar, fed::Synchronous> server(K1(k0), {},
                                                   {.step = global * local, .guard = fed::Guard::none});
      for (Index agent = 0; agent < 2; ++agent) server.on(fed::Joined<Scalar>{.agent = agent});
      for (Index agent = 0; agent < 2; ++agent) server.on(agents.work(agent, 0, 0, K1(k0)));
      REQUIRE(server.state().version == 1);
      return server.gain()(0, 0);
    };
    CHECK(std::abs(update(knowing) - (k0 + global * way)) <= 1e-14);
    CHECK(std::abs(update(probing) - (k0 + global * way)) <= 1e-9);
    // Another step on the way would be seen.
    CHECK(std::abs(way) > 0.01);
  }
}

TEST_CASE("agents of which each cost is measured anew do not refuse their first gain, given some slack") {
  // One per cent of noise that never repeats.
  metalqr::Stream noise = test::stream(11);
  const auto task = metalqr::systems::modified_boeing<Backend>();
  const Gain K0 = first_gain();
  using Measured = std::function<double(const Gain&)>;
  const Measured measured = [&](const Gain& K) {
    return metalqr::cost(task, K) * (1 + 0.01 * noise.normal());
  };
  const std::vector<Measured> oracles(20, measured);
  const auto refusals = [&](double slack) {
    fed::OracleAgents<Backend, Measured> agents(oracles, K0, {.slack = slack});
    int count = 0;
    for (Index agent = 0; agent < 20; ++agent) count += !(agents.cost(agent, 0, K0) <= agents.limit(agent));
    return count;
  };
  CHECK(refusals(0) >= 4);    // 20 coins: fewer with probability 1.3e-3
  CHECK(refusals(0.1) == 0);  // seven standard deviations
  CHECK_THROWS_AS(refusals(-0.1), metalqr::InvalidOption);
}
