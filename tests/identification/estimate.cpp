#include <metalqr/identification/estimate.hpp>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <metalqr/core/eigen.hpp>
#include <metalqr/identification/data_bound.hpp>
#include <metalqr/identification/experiment.hpp>
#include <metalqr/identification/least_squares.hpp>
#include <metalqr/identification/trajectory_bound.hpp>
#include <metalqr/systems/plants.hpp>

#include "support.hpp"

using metalqr::identification::collect;
using metalqr::identification::data_bound;
using metalqr::identification::Estimate;
using metalqr::identification::least_squares;
using metalqr::identification::noise_level;
using metalqr::identification::Samples;
using metalqr::identification::trajectory_bound;
using test::Backend;

namespace {

metalqr::Task<Backend> plant() {
  return metalqr::systems::laplacian_3<Backend>();
}

}  // namespace

TEST_CASE("condition and determinant are those of the singular values") {
  for (const double ridge : {0.0, 3.0}) {
    const auto estimate = least_squares(collect(plant(), {.rollouts = 30}, {.seed = 20}), {.ridge = ridge});
    const std::vector<double> values = Backend::singular_values(estimate.factor);
    CHECK(std::abs(estimate.condition() - values.front() / values.back()) < 1e-12 * estimate.condition());
    double log_determinant = 0;
    for (const double value : values) log_determinant += 2 * std::log(value);
    CHECK(std::abs(estimate.log_determinant() - log_determinant) < 1e-11);
  }
}

TEST_CASE("an estimate made by hand has the noise level of its residual") {
  Estimate<Backend> estimate{};
  estimate.A = Backend::zero_state_matrix(2);
  estimate.B = Backend::zero_input_matrix(2, 1);
  estimate.residual = 6;
  estimate.transitions = 21;
  CHECK(noise_level(estimate) == 1);  // 36 / (2 * 18)
}

// (m - k) n sigma_hat^2/sigma^2 is chi-squared with (m - k) n degrees of freedom for independent rows: the
// mean of 400 such estimates is within 5 standard errors.
TEST_CASE("the noise level is that of the noise; false alarm 6e-7") {
  const double sigma = 0.3;
  const int count = 400;
  const double freedom = 3.0 * (20 - 6);
  double sum = 0;
  for (int i = 0; i < count; ++i) {
    const auto data = collect(plant(), {.rollouts = 20, .noise = sigma},
                              {.seed = 5, .iteration = static_cast<std::uint64_t>(i)});
    const double level = noise_level(least_squares(data, {.samples = Samples::last}));
    sum += level * level / (sigma * sigma);
  }
  CHECK(std::abs(sum / count - 1) < 5 * std::sqrt(2 / freedom / count));
}

TEST_CASE("too little data for a noise level are refused") {
  const auto exact =
      least_squares(collect(plant(), {.rollouts = 6}, {.seed = 21}), {.samples = Samples::last});
  CHECK(test::message_of<metalqr::DimensionMismatch>([&] { noise_level(exact); }) ==
        "estimate: expected more than 6 transitions for a noise level, got 6");
}

TEST_CASE("estimates that come from elsewhere are checked by every bound") {
  const double not_a_number = std::numeric_limits<double>::quiet_NaN();
  const auto good = least_squares(collect(plant(), {}, {.seed = 21}), {.samples = Samples::last});
  const auto refused = [&](auto type, const char* member, const auto& spoil) {
    using Error = decltype(type);
    auto estimate = good;
    spoil(estimate);
    std::string expected(member);
    expected += ": ";
    CHECK(test::message_of<Error>([&] { data_bound(estimate); }).find(expected) == 0);
    estimate.ridge = 1;
    CHECK(test::message_of<Error>([&] { trajectory_bound(estimate); }).find(expected) == 0);
  };
  using metalqr::DimensionMismatch;
  using metalqr::InvalidOption;
  using metalqr::NotFinite;
  refused(DimensionMismatch(""), "estimate.A", [](auto& x) { x.A = Backend::zero_matrix(3, 2); });
  refused(DimensionMismatch(""), "estimate.B", [](auto& x) { x.B = Backend::zero_matrix(2, 3); });
  refused(DimensionMismatch(""), "estimate.factor", [](auto& x) { x.factor = Backend::zero_matrix(6, 5); });
  refused(NotFinite(""), "estimate.A", [&](auto& x) { x.A(1, 2) = not_a_number; });
  refused(NotFinite(""), "estimate.B", [&](auto& x) { x.B(0, 1) = not_a_number; });
  refused(NotFinite(""), "estimate.factor", [&](auto& x) { x.factor(2, 3) = not_a_number; });
  refused(InvalidOption(""), "estimate.residual", [&](auto& x) { x.residual = not_a_number; });
  refused(InvalidOption(""), "estimate.residual", [](auto& x) { x.residual = -1; });
  auto estimate = good;
  estimate.residual = not_a_number;
  CHECK(test::message_of<InvalidOption>([&] { noise_level(estimate); }).find("estimate.residual: ") == 0);
}

TEST_CASE("a residual that is rounding shows no noise level") {
  for (const metalqr::Index rollouts : {3, 20, 500}) {
    const auto data = collect(plant(), {.rollouts = rollouts, .noise = 0}, {.seed = 5});
    const auto estimate = least_squares(data);
    CHECK(test::message_of<metalqr::InvalidOption>([&] { noise_level(estimate); }).find("noise") == 0);
    CHECK(test::message_of<metalqr::InvalidOption>([&] {
            data_bound(estimate, {.rigorous = false});
          }).find("noise") == 0);
  }
  // A little noise is seen.
  const auto estimate = least_squares(collect(plant(), {.rollouts = 20, .noise = 1e-11}, {.seed = 5}));
  CHECK(noise_level(estimate) == Catch::Approx(1e-11).epsilon(0.2));
}
