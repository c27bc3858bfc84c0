#include <metalqr/synthesis/learned_problem.hpp>

#include <cmath>
#include <limits>

#include <metalqr/identification/bootstrap.hpp>
#include <metalqr/identification/data_bound.hpp>
#include <metalqr/identification/experiment.hpp>
#include <metalqr/identification/least_squares.hpp>
#include <metalqr/systems/plants.hpp>

#include "support.hpp"

namespace {

namespace identification = metalqr::identification;
namespace synthesis = metalqr::synthesis;
using metalqr::Index;
using metalqr::InvalidOption;
using Backend = metalqr::EigenBackend<>;

const metalqr::Task<Backend>& plant() {
  static const metalqr::Task<Backend> task = metalqr::systems::laplacian_3<Backend>();
  return task;
}
identification::Dataset<Backend> data() {
  return identification::collect(plant(), {.rollouts = 40}, {.seed = 3});
}

}  // namespace

TEST_CASE("data become a problem with the estimate, the weights, the noise level and the radii") {
  const auto estimate = identification::least_squares(data());
  const auto check = [&](const auto& bounds) {
    const auto problem = synthesis::learned_problem(estimate, bounds, plant().Q(), plant().R());
    CHECK(problem.epsilon_A == bounds.epsilon_A);
    CHECK(problem.epsilon_B == bounds.epsilon_B);
    CHECK(Backend::norm(problem.estimate.A() - estimate.A) == 0);
    CHECK(Backend::norm(problem.estimate.B() - estimate.B) == 0);
    CHECK(Backend::norm(problem.estimate.Q() - plant().Q()) == 0);
    CHECK(Backend::norm(problem.estimate.R() - plant().R()) == 0);
    for (Index i = 0; i < 3; ++i) {
      for (Index j = 0; j < 3; ++j) {
        CHECK(problem.estimate.Sigma0()(i, j) == (i == j ? bounds.noise * bounds.noise : 0));
      }
    }
  };
  check(identification::data_bound(estimate, {.noise = 0.5, .rigorous = false}));
  check(identification::bootstrap(estimate, data(), {.trials = 20}));
}

TEST_CASE("a plant is in the problem's ellipsoid where it is in that of the data") {
  const auto known = identification::data_bound(identification::least_squares(data()), {.rigorous = false});
  const auto problem = synthesis::learned_problem(known, plant().Q(), plant().R());
  CHECK(problem.estimate.Sigma0()(1, 1) == known.noise * known.noise);
  // D of rank one: D S D' has one eigenvalue, d S d'.
  metalqr::Stream stream = test::stream(11);
  for (int sample = 0; sample < 20; ++sample) {
    Backend::Matrix d = Backend::zero_matrix(6, 1);
    for (Index i = 0; i < 6; ++i) d(i, 0) = stream.normal();
    const double size = Backend::inner(d, Backend::product(problem.precision, d));
    for (const double factor : {0.999, 1.001}) {
      auto A = known.ellipsoid.A;
      auto B = known.ellipsoid.B;
      for (Index j = 0; j < 3; ++j) {
        A(1, j) += factor * d(j, 0) / std::sqrt(size);
        B(1, j) += factor * d(3 + j, 0) / std::sqrt(size);
      }
      CHECK(known.ellipsoid.contains(A, B) == (factor < 1));
    }
  }
}

TEST_CASE("what cannot be a problem is refused by name") {
  const auto estimate = identification::least_squares(data());
  auto known = identification::data_bound(estimate, {.rigorous = false});
  const auto& Q = plant().Q();
  const auto& R = plant().R();
  for (const double level : {0.0, -1.0, std::numeric_limits<double>::infinity(), std::nan("")}) {
    auto bad = known;
    bad.ellipsoid.level = level;
    CHECK(test::message_of<InvalidOption>([&] {
            synthesis::learned_problem(bad, Q, R);
          }).find("ellipsoid.level") == 0);
  }
  for (const double noise : {-1.0, std::numeric_limits<double>::infinity(), std::nan("")}) {
    auto bad = known;
    bad.noise = noise;
    CHECK(test::message_of<InvalidOption>([&] { synthesis::learned_problem(bad, Q, R); }).find("noise") == 0);
    CHECK(test::message_of<InvalidOption>([&] {
            synthesis::learned_problem(estimate, bad, Q, R);
          }).find("noise") == 0);
  }
  known.epsilon_B = -1;
  CHECK(test::message_of<InvalidOption>([&] {
          synthesis::learned_problem(estimate, known, Q, R);
        }).find("epsilon_B") == 0);
  CHECK_THROWS_AS(synthesis::learned_problem(estimate, known, Backend::zero_state_matrix(2), R),
                  metalqr::DimensionMismatch);
}
