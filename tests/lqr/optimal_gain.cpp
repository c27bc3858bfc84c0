#include <metalqr/lqr/optimal_gain.hpp>

#include "reference.hpp"

TEST_CASE("the optimal gain and cost of a task agree with the reference") {
  for (const auto& reference : test::reference_cases()) {
    INFO(reference.name);
    const auto task = test::make_task(reference.task);
    const auto optimal = metalqr::solve_dare(task);
    CHECK(test::relative_error(test::dense(optimal.gain), reference.K_star) < 1e-10);
    CHECK(test::relative_error(test::dense(optimal.value), reference.P_star) < 1e-10);
    CHECK(test::relative_error(metalqr::optimal_cost(task), reference.cost_star) < 1e-10);
  }
}

TEST_CASE("the optimal gain of a scalar task is that of the quadratic equation") {
  // p = q + a^2 p r / (r + b^2 p) with a = 2, b = 1, q = r = 1: p^2 - 4 p - 1 = 0, k = 2 p / (1 + p).
  const auto task = test::make_task({{{2}}, {{1}}, {{1}}, {{1}}, {{3}}});
  const double p = 2 + std::sqrt(5.0);
  CHECK(test::relative_error(metalqr::solve_dare(task).gain(0, 0), 2 * p / (1 + p)) < 1e-14);
  CHECK(test::relative_error(metalqr::optimal_cost(task), 3 * p) < 1e-14);
}

TEST_CASE("a task that no gain stabilises has no optimal gain") {
  const auto task =
      test::make_task({{{2, 0}, {0, 0.5}}, {{0}, {1}}, {{1, 0}, {0, 1}}, {{1}}, {{1, 0}, {0, 1}}});
  CHECK_THROWS_AS(metalqr::solve_dare(task), metalqr::NotStabilizable);
  CHECK_THROWS_AS(metalqr::optimal_cost(task), metalqr::NotStabilizable);
}

TEST_CASE("options reach the solver of the Riccati equation") {
  const auto task = test::make_task({{{2}}, {{1}}, {{1}}, {{1}}, {{1}}});
  CHECK_THROWS_AS(metalqr::solve_dare(task, {.max_doublings = 0}), metalqr::InvalidOption);
}
