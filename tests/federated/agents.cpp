#include <metalqr/federated/agents.hpp>

#include <cmath>
#include <limits>
#include <vector>

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
  CHECK_THROWS_AS(Agents(oracles, first_gain(), {.estimator = {.radius = -1}}), InvalidOption);
}
