#include <metalqr/adaptive/optimism.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

#include <metalqr/adaptive/thompson_sampling.hpp>
#include <metalqr/systems/plants.hpp>

#include "support.hpp"

namespace {

namespace adaptive = metalqr::adaptive;
using metalqr::InvalidOption;
using metalqr::Status;
using test::Backend;
using test::Dense;
using test::DenseTask;
using test::Index;
using Ellipsoid = metalqr::identification::Ellipsoid<Backend>;

const double not_a_number = std::numeric_limits<double>::quiet_NaN();
const double infinity = std::numeric_limits<double>::infinity();

/// The ball |[A B] - centre|_F^2 <= level.
Ellipsoid ball(const DenseTask& task, double level) {
  const Index size = task.A.rows + task.B.cols;
  return {.A = test::state_matrix(task.A),
          .B = test::input_matrix(task.B),
          .factor = test::filled(Backend::zero_matrix(size, size), test::identity(size)),
          .level = level,
          .trace = true};
}

const DenseTask scalar{{{0.9}}, {{0.7}}, {{2}}, {{0.5}}, {{1.5}}};

/// J* of a scalar plant: P = q + a^2 P r / (r + b^2 P).
double scalar_cost(double a, double b) {
  const double q = 2;
  const double r = 0.5;
  const double half = (r - q * b * b - a * a * r) / 2;
  if (std::abs(b) < 1e-12) return 1.5 * q / (1 - a * a);
  return 1.5 * (-half + std::sqrt(half * half + b * b * q * r)) / (b * b);
}

}  // namespace

TEST_CASE("the derivative of the least cost agrees with central differences") {
  metalqr::Stream stream = test::stream(521);
  for (const auto& [nx, nu] : {std::pair<Index, Index>{3, 2}, {1, 1}, {4, 1}, {2, 3}}) {
    const DenseTask task = test::random_problem(nx, nu, 1.1, stream).task;
    const auto plant = test::make_task(task);
    const auto gradient = adaptive::optimal_cost_gradient(plant, metalqr::solve_dare(plant));
    const Dense by_A = test::dense(gradient.A);
    const Dense by_B = test::dense(gradient.B);
    const long double size = std::sqrt(test::inner(by_A, by_A) + test::inner(by_B, by_B));
    const double h = 1e-5;
    const auto slope = [&](Dense DenseTask::*matrix, Index i, Index j) {
      DenseTask plus = task;
      DenseTask minus = task;
      (plus.*matrix)(i, j) += h;
      (minus.*matrix)(i, j) -= h;
      return (metalqr::optimal_cost(test::make_task(plus)) - metalqr::optimal_cost(test::make_task(minus))) /
             (2 * h);
    };
    for (Index i = 0; i < nx; ++i) {
      for (Index j = 0; j < nx; ++j) {
        CHECK(std::abs(slope(&DenseTask::A, i, j) - static_cast<double>(by_A(i, j))) < 1e-6 * size);
      }
      for (Index j = 0; j < nu; ++j) {
        CHECK(std::abs(slope(&DenseTask::B, i, j) - static_cast<double>(by_B(i, j))) < 1e-6 * size);
      }
    }
  }
}

TEST_CASE("the optimistic plant is the cheapest on a fine grid of a small set") {
  const auto found = adaptive::optimistic_plant(test::make_task(scalar), ball(scalar, 0.04),
                                                {.max_iterations = 2000, .tolerance = 1e-13});
  CHECK(found.status == Status::converged);
  double cheapest = infinity;
  // J* has its least value on the boundary, where it has no gradient of zero.
  for (int k = 0; k < 200000; ++k) {
    const double angle = 2 * std::acos(-1.0) * k / 200000;
    cheapest = std::min(cheapest, scalar_cost(0.9 + 0.2 * std::cos(angle), 0.7 + 0.2 * std::sin(angle)));
  }
  CHECK(cheapest < scalar_cost(0.9, 0.7));
  CHECK(found.cost == Catch::Approx(cheapest).epsilon(1e-6));
  CHECK(found.cost ==
        Catch::Approx(scalar_cost(found.plant.A()(0, 0), found.plant.B()(0, 0))).epsilon(1e-12));
  CHECK(std::hypot(found.plant.A()(0, 0) - 0.9, found.plant.B()(0, 0) - 0.7) <= 0.2 * (1 + 1e-12));
}

TEST_CASE("the search for an optimistic plant never raises the cost and stays in the set") {
  metalqr::Stream stream = test::stream(522);
  const auto plant = metalqr::systems::laplacian_3<Backend>(10);
  const Ellipsoid set = ball(test::dense(plant), 0.02);
  double last = metalqr::optimal_cost(plant);
  for (int cap = 0; cap <= 20; ++cap) {
    const auto found = adaptive::optimistic_plant(plant, set, {.max_iterations = cap});
    CHECK(found.cost <= last);
    CHECK(found.iterations <= cap);
    CHECK(set.level_of(found.plant.A(), found.plant.B()) <= 0.04 * (1 + 1e-12));
    last = found.cost;
  }
  const auto stopped = adaptive::optimistic_plant(plant, set, {.max_iterations = 1});
  CHECK(stopped.status == Status::iteration_limit);
  CHECK(stopped.iterations == 1);
  const auto converged = adaptive::optimistic_plant(plant, set);
  CHECK(converged.status == Status::converged);
  // By the published tolerance: no plant of many drawn is cheaper by more than one per mille.
  for (int i = 0; i < 300; ++i) {
    CHECK(metalqr::optimal_cost(adaptive::draw_plant(plant, set, stream)) > converged.cost * 0.999);
  }
}

TEST_CASE("a step that is far too long is shortened") {
  // J* >= tr(Q Sigma0) = 3, which is attained within the set, where A = 0; the first step goes beyond, to a
  // plant at the boundary that costs more than the centre.
  const auto found = adaptive::optimistic_plant(test::make_task(scalar), ball(scalar, 4),
                                                {.step = 1e3, .max_iterations = 1000, .tolerance = 1e-13});
  CHECK(found.cost == Catch::Approx(3).epsilon(1e-6));
  CHECK(found.cost >= 3 * (1 - 1e-14));
  CHECK(found.iterations > 1);
}

TEST_CASE("a set of one plant leaves no choice") {
  const auto plant = metalqr::systems::laplacian_3<Backend>(10);
  const auto found = adaptive::optimistic_plant(plant, ball(test::dense(plant), 0));
  CHECK(found.status == Status::converged);
  CHECK(found.iterations == 1);
  CHECK(test::relative_error(test::dense(found.optimal.gain), test::dense(metalqr::solve_dare(plant).gain)) <
        1e-14);
}

TEST_CASE("the strategies give the gains of their plants, and none without a bound") {
  const auto plant = metalqr::systems::laplacian_3<Backend>(10);
  const adaptive::Controller<Backend> current = Backend::zero_gain(3, 3);
  adaptive::Knowledge<Backend> knowledge{plant, {}, 0, 0, current};
  knowledge.confidence.ellipsoid = ball(test::dense(plant), 0.02);
  metalqr::Stream stream = test::stream(523);
  const auto optimist = adaptive::Optimism{{.max_iterations = 7}}(knowledge, stream);
  const auto expected =
      adaptive::optimistic_plant(plant, knowledge.confidence.ellipsoid, {.max_iterations = 7}).optimal.gain;
  REQUIRE(optimist);
  CHECK(test::dense(std::get<0>(*optimist)).entries == test::dense(expected).entries);
  metalqr::Stream same = test::stream(523);
  const auto drawn = adaptive::ThompsonSampling{}(knowledge, stream);
  const auto sample = adaptive::draw_plant(plant, knowledge.confidence.ellipsoid, same);
  REQUIRE(drawn);
  CHECK(test::dense(std::get<0>(*drawn)).entries == test::dense(metalqr::solve_dare(sample).gain).entries);
  knowledge.confidence.ellipsoid.level = infinity;
  CHECK_FALSE(adaptive::Optimism{}(knowledge, stream));
  CHECK_FALSE(adaptive::ThompsonSampling{}(knowledge, stream));
}

TEST_CASE("bad input of the search is refused by name") {
  using Catch::Matchers::ContainsSubstring;
  const auto plant = test::make_task(scalar);
  const auto message = [&](const adaptive::OptimismOptions& options) {
    return test::message_of<InvalidOption>(
        [&] { adaptive::optimistic_plant(plant, ball(scalar, 0.1), options); });
  };
  for (const double bad : {0.0, -1.0, not_a_number, infinity}) {
    CHECK_THAT(message({.step = bad}), ContainsSubstring("step"));
  }
  CHECK_THAT(message({.max_iterations = -1}), ContainsSubstring("max_iterations"));
  for (const double bad : {-1e-9, not_a_number, infinity}) {
    CHECK_THAT(message({.tolerance = bad}), ContainsSubstring("tolerance"));
  }
  CHECK_THROWS_AS(adaptive::optimistic_plant(plant, ball(scalar, -1)), InvalidOption);
  DenseTask lost = scalar;
  lost.A = Dense{{1.5}};
  lost.B = Dense{{0}};
  CHECK_THROWS_AS(adaptive::optimistic_plant(test::make_task(lost), ball(lost, 0)), metalqr::NotStabilizable);
}
