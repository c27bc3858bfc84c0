#include <metalqr/identification/confidence.hpp>

#include <cmath>
#include <limits>

#include <metalqr/core/eigen.hpp>
#include <metalqr/identification/data_bound.hpp>
#include <metalqr/identification/experiment.hpp>
#include <metalqr/identification/least_squares.hpp>
#include <metalqr/systems/plants.hpp>

#include "support.hpp"

using metalqr::StreamKey;
using metalqr::identification::collect;
using metalqr::identification::data_bound;
using metalqr::identification::least_squares;
using metalqr::identification::Samples;
using test::dense;
using test::Dense;
using test::Index;
using Backend = metalqr::EigenBackend<double, 3, 3>;

namespace {

const StreamKey key{.seed = 51};

metalqr::Task<Backend> plant() {
  return metalqr::systems::laplacian_3<Backend>();
}

}  // namespace

TEST_CASE("the ellipsoid ends where the bound says") {
  const auto estimate = least_squares(collect(plant(), {.rollouts = 40}, key), {.samples = Samples::last});
  const auto bound = data_bound(estimate, {.noise = 1});
  CHECK(bound.ellipsoid.level_of(estimate.A, estimate.B) == 0);
  // D = s e_1 c': the largest eigenvalue of D R'R D' is s^2 |R c|^2.
  const Dense R = dense<Backend>(estimate.factor);
  metalqr::Stream stream = test::stream(53);
  const Dense c = test::random_matrix(6, 1, stream);
  const double s = std::sqrt(bound.ellipsoid.level) / static_cast<double>(test::norm(R * c));
  const auto at = [&](double scale) {
    Backend::StateMatrix A = estimate.A;
    Backend::InputMatrix B = estimate.B;
    for (Index j = 0; j < 3; ++j) {
      A(0, j) += scale * s * static_cast<double>(c(j, 0));
      B(0, j) += scale * s * static_cast<double>(c(3 + j, 0));
    }
    return bound.ellipsoid.contains(A, B);
  };
  CHECK(at(0.999));
  CHECK(at(-0.999));
  CHECK_FALSE(at(1.001));
}

TEST_CASE("plants of another size, and NaN, are refused by an ellipsoid") {
  const auto estimate = least_squares(collect(plant(), {}, key), {.samples = Samples::last});
  const auto bound = data_bound(estimate, {.noise = 1});
  using Any = metalqr::EigenBackend<double>;
  const auto any = metalqr::systems::laplacian_3<Any>();
  const auto other =
      data_bound(least_squares(collect(any, {}, key), {.samples = Samples::last}), {.noise = 1});
  CHECK_THROWS_AS(other.ellipsoid.contains(Any::zero_state_matrix(2), Any::zero_input_matrix(3, 3)),
                  metalqr::DimensionMismatch);
  CHECK_THROWS_AS(other.ellipsoid.contains(Any::zero_state_matrix(3), Any::zero_input_matrix(3, 2)),
                  metalqr::DimensionMismatch);
  Backend::StateMatrix bad = plant().A();
  bad(0, 1) = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_AS(bound.ellipsoid.contains(bad, plant().B()), metalqr::NotFinite);
}
