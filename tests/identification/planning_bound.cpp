#include <metalqr/identification/planning_bound.hpp>

#include <cmath>
#include <limits>

#include <metalqr/systems/plants.hpp>

#include "support.hpp"

using metalqr::InvalidOption;
using metalqr::identification::Constants;
using metalqr::identification::ExperimentOptions;
using metalqr::identification::planning_bound;
using metalqr::identification::rollouts_for;
using test::Backend;
using test::Dense;
using test::Index;

namespace {

metalqr::Task<Backend> plant() {
  return metalqr::systems::laplacian_3<Backend>();
}

}  // namespace

TEST_CASE("the planning bound has the reference values") {
  CHECK(std::abs(planning_bound(plant(), {.horizon = 6}).excitability / 9.836018983434569 - 1) < 1e-13);
  const auto bound = planning_bound(plant(), {.rollouts = 1000, .horizon = 7});
  CHECK(std::abs(bound.excitability / 11.754703493586412 - 1) < 1e-13);
  CHECK(std::abs(bound.least_rollouts - 118.11) < 0.005);
  CHECK(std::abs(bound.epsilon_A - 1.1356) < 5e-5);
  CHECK(std::abs(bound.epsilon_B - 3.8934) < 5e-5);
}

TEST_CASE("excitability is the smallest eigenvalue of the states' covariance") {
  // A = diag(1/2, 2), B = (1, 0)' excites the first state alone: the second's variance is the noise's.
  const metalqr::Task<Backend> task = test::make_task(
      {{{0.5, 0}, {0, 2}}, {{1}, {0}}, test::identity(2), test::identity(1), test::identity(2)});
  const auto bound = planning_bound(task, {.rollouts = 1000, .horizon = 4, .excitation = 3, .noise = 0.5});
  // First: (9 + 1/4) (1 + 1/4 + 1/16); second: 1/4 (1 + 4 + 16).
  CHECK(std::abs(bound.excitability - 5.25) < 1e-13);
  const auto weak = planning_bound(task, {.rollouts = 1000, .horizon = 4, .excitation = 0.1, .noise = 0.5});
  CHECK(std::abs(weak.excitability - 0.26 * 1.3125) < 1e-13);
}

TEST_CASE("too few rollouts promise nothing, and the errors fall as the root of their number") {
  const double infinity = std::numeric_limits<double>::infinity();
  CHECK(planning_bound(plant(), {.rollouts = 118}).epsilon_A == infinity);
  CHECK(planning_bound(plant(), {.rollouts = 118}).epsilon_B == infinity);
  const auto one = planning_bound(plant(), {.rollouts = 200});
  const auto four = planning_bound(plant(), {.rollouts = 800});
  CHECK(std::abs(one.epsilon_A / four.epsilon_A - 2) < 1e-14);
  CHECK(std::abs(one.epsilon_B / four.epsilon_B - 2) < 1e-14);
  const auto sharp = planning_bound(plant(), {.rollouts = 200}, {.constants = Constants::sharp});
  CHECK(std::abs(sharp.epsilon_A / one.epsilon_A - std::sqrt(std::log(360.0) / std::log(720.0))) < 1e-14);
  CHECK(std::abs(sharp.least_rollouts - (48 + 16 * std::log(40.0))) < 1e-12);
}

TEST_CASE("the number of rollouts for given errors is the least that promises them") {
  for (const double epsilon : {2.0, 0.3, 0.01}) {
    const double infinity = std::numeric_limits<double>::infinity();
    const double for_A = rollouts_for(plant(), epsilon, infinity);
    const double for_B = rollouts_for(plant(), infinity, epsilon);
    CHECK(rollouts_for(plant(), epsilon, epsilon) == std::max(for_A, for_B));
    const auto count = static_cast<Index>(for_A);
    CHECK(planning_bound(plant(), {.rollouts = count}).epsilon_A <= epsilon * (1 + 1e-14));
    CHECK(planning_bound(plant(), {.rollouts = count - 1}).epsilon_A > epsilon * (1 - 1e-14));
  }
  CHECK(rollouts_for(plant(), 1e6, 1e6) == 119);
}

TEST_CASE("without noise, only what the inputs reach can be seen") {
  const double infinity = std::numeric_limits<double>::infinity();
  const metalqr::Task<Backend> task = test::make_task(
      {{{0.5, 0}, {0.1, 2}}, {{0}, {1}}, test::identity(2), test::identity(1), test::identity(2)});
  const auto silent = planning_bound(task, {.rollouts = 200, .horizon = 30, .noise = 0});
  CHECK(silent.excitability == 0);
  CHECK(silent.epsilon_A == infinity);
  CHECK(silent.epsilon_B == 0);
  CHECK(rollouts_for(task, 0.1, 0.1, {.horizon = 30, .noise = 0}) == infinity);
  CHECK(rollouts_for(task, infinity, 0.1, {.horizon = 30, .noise = 0}) == 119 - 24);
  // Far too unbalanced for its smallest singular value to be computed, but the noise of one step remains.
  CHECK(planning_bound(task, {.horizon = 80, .noise = 1e-3}).excitability >= 1e-6);
  CHECK(planning_bound(plant(), {.rollouts = 200, .noise = 0}).epsilon_A == 0);
}

TEST_CASE("bad plans are refused by name") {
  const auto refusal = [](const ExperimentOptions& experiment, double delta = 0.05) {
    return test::message_of<InvalidOption>([&] { planning_bound(plant(), experiment, {.delta = delta}); });
  };
  CHECK(refusal({.horizon = 1}).find("horizon: ") == 0);
  CHECK(refusal({.excitation = 0}) == "excitation: expected a positive number, got 0");
  CHECK(refusal({.rollouts = 0}).find("rollouts: ") == 0);
  CHECK(refusal({.noise = -1}).find("noise: ") == 0);
  CHECK(refusal({}, 0).find("delta: ") == 0);
  CHECK(refusal({}, 1.5).find("delta: ") == 0);
  CHECK_THROWS_AS(planning_bound(plant(), {.horizon = 200000}), metalqr::NotFinite);
  CHECK(test::message_of<InvalidOption>([] { rollouts_for(plant(), 0, 1); }).find("epsilon_A: ") == 0);
  CHECK(test::message_of<InvalidOption>([] { rollouts_for(plant(), 1, -1); }).find("epsilon_B: ") == 0);
}
