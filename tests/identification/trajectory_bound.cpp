#include <metalqr/identification/trajectory_bound.hpp>

#include <cmath>
#include <limits>

#include <metalqr/identification/experiment.hpp>
#include <metalqr/identification/least_squares.hpp>

#include "support.hpp"

using metalqr::InvalidOption;
using metalqr::identification::BoundForm;
using metalqr::identification::collect;
using metalqr::identification::Dataset;
using metalqr::identification::least_squares;
using metalqr::identification::Rollout;
using metalqr::identification::trajectory_bound;
using metalqr::identification::TrajectoryBoundOptions;
using test::Backend;
using test::dense;
using test::Dense;
using test::Index;

namespace {

metalqr::Task<Backend> plant() {
  return test::make_task(
      {{{0.9, 0.2}, {0, 0.8}}, {{0}, {1}}, test::identity(2), test::identity(1), test::identity(2)});
}

Dataset<Backend> trajectory(Index horizon, std::uint64_t seed) {
  Backend::Gain K = Backend::zero_gain(1, 2);
  K(0, 0) = 0.1;
  return collect(plant(), K, Backend::zero_state(2), {.rollouts = 1, .horizon = horizon}, {.seed = seed});
}

}  // namespace

TEST_CASE("the radius of the self-normalised bound is the formula's") {
  // Two orthogonal rows: Z'Z = diag(4, 9), ridge 1: V = diag(5, 10).
  const Dataset<Backend> data(
      std::vector<Rollout<Backend>>{{test::filled(Backend::zero_matrix(2, 1), Dense{{2}, {1}}),
                                     test::filled(Backend::zero_matrix(1, 1), Dense{{0}})},
                                    {test::filled(Backend::zero_matrix(2, 1), Dense{{0}, {6}}),
                                     test::filled(Backend::zero_matrix(1, 1), Dense{{3}})}});
  const auto estimate = least_squares(data, {.ridge = 1});
  CHECK(std::abs(estimate.A(0, 0) - 2.0 / 5) < 1e-15);
  CHECK(std::abs(estimate.B(0, 0) - 18.0 / 10) < 1e-15);
  const auto bound = trajectory_bound(estimate, {.delta = 0.1, .noise = 0.5, .plant_norm = 3});
  const double radius = 0.5 * std::sqrt(8 * std::log(5 * std::sqrt(50.0) / 0.1)) + 3;
  CHECK(std::abs(bound.ellipsoid.level / (radius * radius) - 1) < 1e-14);
  CHECK(std::abs(bound.epsilon_A / (radius / std::sqrt(5.0)) - 1) < 1e-13);
  CHECK(std::abs(bound.epsilon_B / (radius / std::sqrt(10.0)) - 1) < 1e-13);
  const auto trace =
      trajectory_bound(estimate, {.delta = 0.1, .noise = 0.5, .plant_norm = 3, .form = BoundForm::trace});
  const double other = 0.5 * std::sqrt(2 * std::log(std::sqrt(50.0) / 0.1)) + 3;
  CHECK(std::abs(trace.ellipsoid.level / (other * other) - 1) < 1e-14);
  CHECK(trace.ellipsoid.trace);
  CHECK(bound.rigorous);
  CHECK_FALSE(bound.ellipsoid.trace);
  CHECK(bound.assumptions.size() == 5);
  CHECK_FALSE(trajectory_bound(least_squares(trajectory(50, 1), {.ridge = 1})).rigorous);
}

// Proved to hold in 95 % of the cases; as an upper bound of a union it holds in nearly all. A failure of more
// than 5 % of 300 by chance would need a true rate that the theorem excludes.
TEST_CASE(
    "the self-normalised bound holds along trajectories under feedback, and shrinks with their length") {
  for (const BoundForm form : {BoundForm::covering, BoundForm::trace}) {
    double before = std::numeric_limits<double>::infinity();
    for (const Index horizon : {30, 300, 3000}) {
      const Index trials = horizon == 3000 ? 20 : 300;
      Index held = 0;
      double size = 0;
      for (Index i = 0; i < trials; ++i) {
        const auto estimate =
            least_squares(trajectory(horizon, static_cast<std::uint64_t>(100 + i)), {.ridge = 0.1});
        const auto bound = trajectory_bound(estimate, {.noise = 1, .plant_norm = 1.7, .form = form});
        const bool inside = bound.ellipsoid.contains(plant().A(), plant().B());
        held += inside ? 1 : 0;
        const Dense error = dense(estimate.A) - dense(plant().A());
        if (inside) REQUIRE(static_cast<double>(test::spectral_norm(error)) <= bound.epsilon_A);
        size += bound.epsilon_A / static_cast<double>(trials);
      }
      CHECK(held >= trials * 95 / 100);
      CHECK(size < before / 2);
      before = size;
    }
  }
}

TEST_CASE("a bound that the data refute is no theorem") {
  // x+ = 0.5 x + 1000 u: the ridge pulls the estimate far below, and plant_norm = 10 is wrong.
  const auto steep =
      test::make_task({{{0.5}}, {{1000}}, test::identity(1), test::identity(1), test::identity(1)});
  const auto estimate = least_squares(
      collect(steep, {.rollouts = 1, .horizon = 20, .excitation = 0.1}, {.seed = 5}), {.ridge = 1});
  for (const BoundForm form : {BoundForm::covering, BoundForm::trace}) {
    const auto wrong = trajectory_bound(estimate, {.noise = 1, .form = form});
    CHECK_FALSE(wrong.ellipsoid.contains(steep.A(), steep.B()));
    CHECK_FALSE(wrong.rigorous);
    CHECK(wrong.assumptions.size() >= 6);
    const auto right = trajectory_bound(estimate, {.noise = 1, .plant_norm = 1001, .form = form});
    CHECK(right.ellipsoid.contains(steep.A(), steep.B()));
    CHECK(right.rigorous);
    const auto calm = least_squares(trajectory(300, 8), {.ridge = 0.1});
    CHECK_FALSE(trajectory_bound(calm, {.noise = 0.1, .plant_norm = 1.7, .form = form}).rigorous);
    CHECK(trajectory_bound(calm, {.noise = 0.5, .plant_norm = 1.7, .form = form}).rigorous);
  }
}

TEST_CASE("the trace form is the Frobenius norm's") {
  const auto estimate = least_squares(trajectory(100, 7), {.ridge = 0.1});
  const auto bound = trajectory_bound(estimate, {.noise = 1, .form = BoundForm::trace});
  const Dense R = dense(estimate.factor);
  metalqr::Stream stream = test::stream(55);
  const Dense D = test::random_matrix(3, 2, stream);
  Backend::StateMatrix A = estimate.A;
  Backend::InputMatrix B = estimate.B;
  for (Index i = 0; i < 2; ++i) {
    for (Index j = 0; j < 2; ++j) A(i, j) += static_cast<double>(D(j, i));
    B(i, 0) += static_cast<double>(D(2, i));
  }
  const double expected = static_cast<double>(inner(R * D, R * D));
  CHECK(std::abs(bound.ellipsoid.level_of(A, B) / expected - 1) < 1e-12);
}

TEST_CASE("bad options of the trajectory bound are refused by name") {
  const auto estimate = least_squares(trajectory(50, 1), {.ridge = 1});
  const auto refusal = [&](const TrajectoryBoundOptions& options) {
    return test::message_of<InvalidOption>([&] { trajectory_bound(estimate, options); });
  };
  CHECK(refusal({.delta = 0}).find("delta: ") == 0);
  CHECK(refusal({.delta = 1}).find("delta: ") == 0);
  CHECK(refusal({.noise = -1}).find("noise: ") == 0);
  CHECK(refusal({.plant_norm = -1}) == "plant_norm: expected a finite number >= 0, got -1");
  CHECK(refusal({.plant_norm = std::numeric_limits<double>::infinity()}).find("plant_norm: ") == 0);
  CHECK(test::message_of<InvalidOption>([] { trajectory_bound(least_squares(trajectory(50, 1))); }) ==
        "estimate.ridge: expected a positive number, got 0");
}
