#include <metalqr/lqr/policy_gradient.hpp>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "reference.hpp"
#include "support.hpp"

namespace {

using metalqr::Direction;
using metalqr::Evaluation;
using metalqr::PolicyGradientOptions;
using metalqr::Status;
using metalqr::StepSize;
using test::Backend;
using test::dense;
using test::Dense;
using test::message_of;
using test::ReferenceCase;
using test::relative_error;
using Gain = Backend::Gain;
using Info = metalqr::DescentInfo<Backend>;
using Result = metalqr::DescentResult<Backend>;
using Task = metalqr::Task<Backend>;

const std::vector<Direction> directions{Direction::gradient, Direction::natural, Direction::gauss_newton};

const ReferenceCase& published_start() {
  return test::reference_cases().at(0);
}

/// Runs from the case's own gain and compares with the optimum. At a converged end the cost is exact up to
/// rounding of its decrease; the gain, on which it depends quadratically, up to the root of that.
void require_optimum(const ReferenceCase& c, const PolicyGradientOptions& options) {
  INFO(c.name << ", direction " << static_cast<int>(options.direction) << ", rule "
              << static_cast<int>(options.step.rule));
  const Task task = test::make_task<Backend>(c.task);
  const Result result = metalqr::policy_gradient(task, test::gain(c.K), options);
  CHECK(result.status == Status::converged);
  CHECK(relative_error(result.value, c.cost_star) < 1e-11);
  CHECK(relative_error(c.task.cost(dense(result.gain)), c.cost_star) < 1e-11);
  CHECK(relative_error(dense(result.gain), c.K_star) < 1e-5);
}

bool same(const Gain& x, const Gain& y) {
  return relative_error(dense(x), dense(y)) == 0;
}

}  // namespace

TEST_CASE("quasi-Newton steps reach every reference optimum in a hundred iterations") {
  for (const ReferenceCase& c : test::reference_cases()) {
    require_optimum(c, {.step = metalqr::quasi_newton(), .iterations = 100});
  }
}

TEST_CASE("policy iteration reaches every reference optimum in ten iterations") {
  for (const ReferenceCase& c : test::reference_cases()) {
    require_optimum(
        c, {.direction = Direction::gauss_newton, .step = metalqr::constant_step(0.5), .iterations = 10});
  }
}

TEST_CASE("backtracking reaches the reference optima along the natural and Gauss-Newton directions") {
  for (const ReferenceCase& c : test::reference_cases()) {
    require_optimum(c, {.direction = Direction::natural, .iterations = 5000});
    require_optimum(c, {.direction = Direction::gauss_newton, .iterations = 5000});
  }
}

TEST_CASE("backtracking along the gradient reaches the optima of well conditioned tasks") {
  for (const ReferenceCase& c : test::reference_cases()) {
    if (c.name.find("boeing") != std::string::npos || c.name == "random_4x2_rho0.95") continue;
    require_optimum(c, {.direction = Direction::gradient, .iterations = 10000});
  }
}

TEST_CASE("constant natural steps below 1/|R + B'PB| never raise the cost and reach the optimum") {
  // Fazel et al. 2018, lemma 15: the cost falls for every step up to 1/|R + B'PB|, and P falls with it.
  for (const ReferenceCase& c : test::reference_cases()) {
    if (c.rho > 0.95) continue;
    const Task task = test::make_task<Backend>(c.task);
    const double step =
        0.5 /
        static_cast<double>(spectral_norm(dense(Evaluation<Backend>(task, test::gain(c.K)).curvature())));
    require_optimum(
        c, {.direction = Direction::natural, .step = metalqr::constant_step(step), .iterations = 10000});
    double last = c.cost;
    const auto observer = [&](const Info& info) {
      CHECK(info.state.at.value <= last * (1 + 1e-14));
      CHECK(info.trials == 1);
      last = info.state.at.value;
    };
    metalqr::policy_gradient(
        task, test::gain(c.K),
        {.direction = Direction::natural, .step = metalqr::constant_step(step), .iterations = 50}, observer);
  }
}

TEST_CASE("constant gradient steps reach the optimum of a scalar plant") {
  const metalqr::Task<Backend> task = test::make_task<Backend>({{{1.2}}, {{1}}, {{1}}, {{1}}, {{1}}});
  const Result result = metalqr::policy_gradient(task, test::gain({{1}}),
                                                 {.step = metalqr::constant_step(0.05), .iterations = 5000});
  // p = 1 + 1.44 p - 1.44 p^2 / (1 + p): p^2 - 1.44 p - 1 = 0.
  const double p = 0.72 + std::sqrt(0.72 * 0.72 + 1);
  CHECK(result.status == Status::converged);
  CHECK(std::abs(result.value - p) < 1e-12);
  CHECK(std::abs(result.gain(0, 0) - 1.2 * p / (1 + p)) < 1e-8);
}

TEST_CASE("Gauss-Newton with the constant step 1/2 is Kleinman's policy iteration") {
  for (const ReferenceCase& c : test::reference_cases()) {
    if (c.rho > 0.995) continue;
    const Task task = test::make_task<Backend>(c.task);
    Dense K = c.K;
    const auto observer = [&](const Info& info) {
      const Dense P = c.task.P(K);
      const Dense BP = transpose(c.task.B) * P;
      K = solve(c.task.R + BP * c.task.B, BP * c.task.A);
      INFO(c.name << ", iteration " << info.state.iteration);
      CHECK(relative_error(dense(info.state.K), K) < 1e-9);
    };
    metalqr::policy_gradient(
        task, test::gain(c.K),
        {.direction = Direction::gauss_newton, .step = metalqr::constant_step(0.5), .iterations = 5},
        observer);
  }
}

TEST_CASE("each step of policy iteration closes at least the share of the gap that theory promises") {
  // Fazel et al. 2018, lemma 14: gap' <= (1 - lambda_min(Sigma0)/|Sigma*|) gap. The bound here is weaker:
  // 1/|Sigma0^-1|_F for lambda_min.
  for (const ReferenceCase& c : test::reference_cases()) {
    const Task task = test::make_task<Backend>(c.task);
    const long double smallest = 1 / norm(solve(c.task.Sigma0, test::identity(c.K.cols)));
    const long double rate = 1 - smallest / spectral_norm(c.task.Sigma(c.K_star));
    long double gap = c.cost - c.cost_star;
    const auto observer = [&](const Info& info) {
      const long double now = info.state.at.value - c.cost_star;
      CHECK(now <= rate * gap + 1e-13L * c.cost);
      gap = now;
    };
    metalqr::policy_gradient(
        task, test::gain(c.K),
        {.direction = Direction::gauss_newton, .step = metalqr::constant_step(0.5), .iterations = 10},
        observer);
  }
}

TEST_CASE("a huge constant step is refused and shrunk, and no iterate is ever unstable") {
  for (const Direction direction : directions) {
    for (const ReferenceCase& c : test::reference_cases()) {
      if (c.K.rows > 2 || norm(c.K - c.K_star) < 1e-3) continue;
      const Task task = test::make_task<Backend>(c.task);
      int iterations = 0;
      int refused = 0;
      const auto observer = [&](const Info& info) {
        ++iterations;
        CHECK(metalqr::is_stabilizing(task, info.state.K));
        CHECK(std::isfinite(info.state.at.value));
        if (info.trials > 1) ++refused;
        CHECK(info.step <= 1e6);
      };
      const Result result = metalqr::policy_gradient(
          task, test::gain(c.K),
          {.direction = direction, .step = metalqr::constant_step(1e6), .iterations = 30}, observer);
      CHECK(iterations == 30);
      CHECK(refused > 0);
      CHECK(result.refused > 0);
      CHECK(std::isfinite(result.value));
    }
  }
}

TEST_CASE("constant gradient steps are a hand-written loop, bit by bit") {
  const ReferenceCase& c = published_start();
  const Task task = test::make_task<Backend>(c.task);
  const double step = 1e-7;
  const Result result = metalqr::policy_gradient(task, test::gain(c.K),
                                                 {.step = metalqr::constant_step(step), .iterations = 50});
  Gain K = test::gain(c.K);
  for (int i = 0; i < 50; ++i) {
    const Evaluation<Backend> at(task, K);
    K = K - step * at.gradient();
  }
  CHECK(same(result.gain, K));
  CHECK(result.value == metalqr::cost(task, K));
  CHECK(result.refused == 0);
  CHECK(result.iterations == 50);
}

TEST_CASE("the cost falls by Armijo's condition with backtracking and quasi-Newton steps") {
  for (const ReferenceCase& c : test::reference_cases()) {
    const Task task = test::make_task<Backend>(c.task);
    for (const Direction direction : directions) {
      for (const StepSize& step : {metalqr::backtracking(), metalqr::quasi_newton()}) {
        Gain last = test::gain(c.K);
        double value = metalqr::cost(task, last);
        const auto observer = [&](const Info& info) {
          const Evaluation<Backend> at(task, last);
          CHECK(same(info.direction, at.gradient()));
          const Gain moved = last - info.state.K;
          const double required = step.sufficient_decrease * Backend::inner(moved, info.direction);
          CHECK(info.state.at.value <= value - required * (1 - 1e-6) + 1e-15 * value);
          last = info.state.K;
          value = info.state.at.value;
        };
        metalqr::policy_gradient(task, test::gain(c.K),
                                 {.direction = direction, .step = step, .iterations = 15}, observer);
      }
    }
  }
}

TEST_CASE("the optimum does not depend on the initial state or the noise") {
  const ReferenceCase& c = test::reference_cases().at(9);
  metalqr::Stream stream = test::stream(5);
  const Task task = test::make_task<Backend>(c.task).with_process_noise(
      test::state_matrix(test::random_definite(c.K.cols, stream)));
  const Result result =
      metalqr::policy_gradient(task, test::gain(c.K), {.step = metalqr::quasi_newton(), .iterations = 200});
  CHECK(result.status == Status::converged);
  CHECK(relative_error(dense(result.gain), c.K_star) < 1e-6);
}

TEST_CASE("a run from the optimum ends at once") {
  for (const ReferenceCase& c : test::reference_cases()) {
    const Task task = test::make_task<Backend>(c.task);
    for (const Direction direction : directions) {
      const Result result = metalqr::policy_gradient(task, test::gain(c.K_star), {.direction = direction});
      CHECK(result.status == Status::converged);
      CHECK(result.iterations <= 1);
      CHECK(relative_error(dense(result.gain), c.K_star) < 1e-12);
    }
  }
}

TEST_CASE("a run of zero iterations returns the start and its cost") {
  const ReferenceCase& c = published_start();
  const Task task = test::make_task<Backend>(c.task);
  const Result result = metalqr::policy_gradient(task, test::gain(c.K), {.iterations = 0});
  CHECK(same(result.gain, test::gain(c.K)));
  CHECK(result.value == metalqr::cost(task, test::gain(c.K)));
  CHECK(result.iterations == 0);
  CHECK(result.status == Status::iteration_limit);
}

TEST_CASE("an observer of policy gradient may return nothing, or true to stop") {
  const ReferenceCase& c = published_start();
  const Task task = test::make_task<Backend>(c.task);
  int calls = 0;
  metalqr::policy_gradient(task, test::gain(c.K), {.iterations = 4}, [&](const Info&) { ++calls; });
  CHECK(calls == 4);
  const Result result = metalqr::policy_gradient(task, test::gain(c.K), {},
                                                 [](const Info& info) { return info.state.iteration == 3; });
  CHECK(result.status == Status::stopped);
  CHECK(result.iterations == 3);
}

TEST_CASE("a looser tolerance ends a run earlier, at a gradient below it") {
  const ReferenceCase& c = published_start();
  const Task task = test::make_task<Backend>(c.task);
  int last = 0;
  for (const double tolerance : {1e-2, 1e-4, 1e-6}) {
    const Result result = metalqr::policy_gradient(
        task, test::gain(c.K), {.step = metalqr::quasi_newton(), .iterations = 200, .tolerance = tolerance});
    CHECK(result.status == Status::converged);
    CHECK(result.iterations > last);
    last = result.iterations;
    const Dense K = dense(result.gain);
    CHECK(norm(c.task.gradient(K)) <= tolerance * c.task.gradient_scale(K) * (1 + 1e-6));
  }
}

TEST_CASE("a block or an expression is accepted as the start") {
  const ReferenceCase& c = published_start();
  const Task task = test::make_task<Backend>(c.task);
  const Gain K = test::gain(c.K);
  const Result result = metalqr::policy_gradient(task, 0.5 * (K + K), {.iterations = 2});
  CHECK(same(result.gain, metalqr::policy_gradient(task, K, {.iterations = 2}).gain));
}

TEST_CASE("bad starts and options of policy gradient are refused by name") {
  const ReferenceCase& c = published_start();
  const Task task = test::make_task<Backend>(c.task);
  const double not_a_number = std::numeric_limits<double>::quiet_NaN();
  CHECK(message_of<metalqr::NotStabilizing>([&] {
          metalqr::policy_gradient(task, Backend::zero_gain(2, 4));
        }).rfind("K: expected a stabilizing gain, spectral radius of A - BK below 1, got 4.7", 0) == 0);
  CHECK(message_of<metalqr::DimensionMismatch>([&] {
          metalqr::policy_gradient(task, Backend::zero_gain(4, 2));
        }) == "K: expected shape 2x4, got 4x2");
  Gain bad = test::gain(c.K);
  bad(0, 0) = not_a_number;
  CHECK(message_of<metalqr::NotFinite>([&] {
          metalqr::policy_gradient(task, bad);
        }).rfind("K: expected finite", 0) == 0);
  const auto refusal = [&](const PolicyGradientOptions& options) {
    return message_of<metalqr::InvalidOption>(
        [&] { metalqr::policy_gradient(task, test::gain(c.K), options); });
  };
  CHECK(refusal({.iterations = -1}) == "iterations: expected a number >= 0, got -1");
  CHECK(refusal({.tolerance = -1e-3}) == "tolerance: expected a number >= 0, got -0.001");
  CHECK(refusal({.tolerance = not_a_number}).rfind("tolerance: expected ", 0) == 0);
  CHECK(refusal({.step = metalqr::constant_step(0)}).rfind("step.initial: expected ", 0) == 0);
}
