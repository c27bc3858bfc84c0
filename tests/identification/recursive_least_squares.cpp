#include <metalqr/identification/recursive_least_squares.hpp>

#include <limits>
#include <string>

#include <metalqr/identification/experiment.hpp>
#include <metalqr/identification/least_squares.hpp>
#include <metalqr/systems/plants.hpp>

#include "support.hpp"

using metalqr::identification::collect;
using metalqr::identification::Dataset;
using metalqr::identification::Estimate;
using metalqr::identification::least_squares;
using metalqr::identification::RecursiveLeastSquares;
using test::Backend;
using test::dense;
using test::Index;
using test::relative_error;

namespace {

void add_steps(RecursiveLeastSquares<Backend>& rows, const Dataset<Backend>& data, Index rollout) {
  for (Index t = 0; t < data.steps(rollout); ++t) {
    rows.add(data[rollout].states.row(t).transpose(), data[rollout].inputs.row(t).transpose(),
             data[rollout].states.row(t + 1).transpose());
  }
}

double difference(const Estimate<Backend>& a, const Estimate<Backend>& b) {
  return std::max({relative_error(dense(a.A), dense(b.A)), relative_error(dense(a.B), dense(b.B)),
                   relative_error(dense(a.factor), dense(b.factor)), relative_error(a.residual, b.residual)});
}

}  // namespace

TEST_CASE("one transition after the other gives the batch's estimate, with and without ridge") {
  for (const double ridge : {0.0, 1e-5, 2.0}) {
    for (std::uint64_t seed = 0; seed < 5; ++seed) {
      metalqr::Stream stream = test::stream(41, seed);
      const auto problem = test::random_problem(4, 2, 0.97, stream);
      const auto data = collect(test::make_task(problem.task), test::gain(problem.K), Backend::zero_state(4),
                                {.rollouts = 3, .horizon = 200}, {.seed = seed});
      RecursiveLeastSquares<Backend> rows(4, 2, ridge);
      for (Index i = 0; i < data.size(); ++i) add_steps(rows, data, i);
      CHECK(rows.transitions() == 600);
      CHECK(difference(rows.estimate(), least_squares(data, {.ridge = ridge})) < 1e-12);
    }
  }
}

TEST_CASE("blocks and single transitions mix") {
  const auto data =
      collect(metalqr::systems::laplacian_3<Backend>(), {.rollouts = 3, .horizon = 300}, {.seed = 3});
  RecursiveLeastSquares<Backend> rows(3, 3);
  add_steps(rows, data, 1);
  rows.add(data[0], 0, 300);
  add_steps(rows, data, 2);
  CHECK(difference(rows.estimate(), least_squares(data)) < 1e-12);
}

TEST_CASE("the estimate does not drift over a million transitions") {
  // x+ = 0.5 x + u exactly, and a ridge that no longer counts.
  RecursiveLeastSquares<Backend> rows(1, 1, 1e-5);
  metalqr::Stream stream = test::stream(42);
  Backend::StateVector x = Backend::zero_state(1);
  for (int t = 0; t < 1000000; ++t) {
    const Backend::ControlVector u = Backend::ControlVector::Constant(1, stream.normal());
    const Backend::StateVector next = 0.5 * x + u;
    rows.add(x, u, next);
    x = next;
  }
  CHECK(std::abs(rows.estimate().A(0, 0) - 0.5) < 1e-9);
  CHECK(std::abs(rows.estimate().B(0, 0) - 1) < 1e-9);
}

TEST_CASE("with a ridge there is an estimate from the start: zero") {
  const auto estimate = RecursiveLeastSquares<Backend>(2, 1, 0.5).estimate();
  CHECK(Backend::max_abs(estimate.A) == 0);
  CHECK(Backend::max_abs(estimate.B) == 0);
  CHECK(std::abs(estimate.log_determinant() - 3 * std::log(0.5)) < 1e-14);
  CHECK_THROWS_AS(RecursiveLeastSquares<Backend>(2, 1).estimate(), metalqr::RankDeficient);
}

TEST_CASE("extreme magnitudes neither overflow nor vanish") {
  for (const double unit : {1e-200, 1e200}) {
    RecursiveLeastSquares<Backend> rows(1, 1);
    const auto vector = [unit](double value) { return Backend::StateVector::Constant(1, unit * value); };
    rows.add(vector(1), vector(2), vector(0.5 * 1 + 3 * 2));
    rows.add(vector(-2), vector(1), vector(0.5 * -2 + 3 * 1));
    const auto estimate = rows.estimate();
    CHECK(std::abs(estimate.A(0, 0) - 0.5) < 1e-14);
    CHECK(std::abs(estimate.B(0, 0) - 3) < 1e-14);
  }
}

TEST_CASE("bad sizes, ridges and transitions are refused by name") {
  using Rows = RecursiveLeastSquares<Backend>;
  const auto option = [](Index nx, Index nu, double ridge) {
    return test::message_of<metalqr::InvalidOption>([&] { Rows(nx, nu, ridge); });
  };
  CHECK(option(0, 1, 0) == "nx: expected at least 1, got 0");
  CHECK(option(1, 0, 0) == "nu: expected at least 1, got 0");
  CHECK(option(1, 1, -1) == "ridge: expected a finite number >= 0, got -1");
  Backend::Matrix factor = Backend::zero_matrix(3, 3);
  factor(1, 1) = -2;
  CHECK(test::message_of<metalqr::InvalidOption>([&] { Rows(1, 1, 0, factor, 3); }) ==
        "factor: expected numbers >= 0 on its diagonal, got -2");
  Rows rows(2, 1, 1);
  const Backend::StateVector x = Backend::zero_state(2);
  const Backend::ControlVector u = Backend::ControlVector::Zero(1);
  const auto shape = [&](const auto& a, const auto& b, const auto& c) {
    return test::message_of<metalqr::DimensionMismatch>([&] { rows.add(a, b, c); });
  };
  CHECK(shape(Backend::zero_state(3), u, x) == "x: expected shape 2x1, got 3x1");
  CHECK(shape(x, x, x) == "u: expected shape 1x1, got 2x1");
  CHECK(shape(x, u, u) == "next: expected shape 2x1, got 1x1");
  Backend::StateVector bad = x;
  bad(1) = std::numeric_limits<double>::quiet_NaN();
  const auto finite = [&](const auto& a, const auto& b, const auto& c) {
    return test::message_of<metalqr::NotFinite>([&] { rows.add(a, b, c); }).substr(0, 2);
  };
  CHECK(finite(bad, u, x) == "x:");
  CHECK(finite(x, bad.tail(1), x) == "u:");
  CHECK(finite(x, u, bad) == "ne");
  using Steps = metalqr::identification::Rollout<Backend>;
  const Steps rollout{.states = Backend::zero_matrix(4, 2), .inputs = Backend::zero_matrix(3, 1)};
  const auto range = [&](const Steps& steps, Index first, Index count) {
    return test::message_of<metalqr::DimensionMismatch>([&] { rows.add(steps, first, count); });
  };
  CHECK(range(rollout, 1, 3) == "first, count: expected transitions among 3, got 3 from 1 on");
  CHECK(range(rollout, -1, 1).find("first, count: ") == 0);
  CHECK(range(rollout, 0, -1).find("first, count: ") == 0);
  CHECK(range({.states = Backend::zero_matrix(4, 1), .inputs = Backend::zero_matrix(3, 1)}, 0, 1) ==
        "rollout.states: expected shape 4x2, got 4x1");
  CHECK(range({.states = Backend::zero_matrix(4, 2), .inputs = Backend::zero_matrix(3, 2)}, 0, 1) ==
        "rollout.inputs: expected shape 3x1, got 3x2");
  CHECK(rows.transitions() == 0);
}
