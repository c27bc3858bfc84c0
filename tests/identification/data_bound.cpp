#include <metalqr/identification/data_bound.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <metalqr/identification/experiment.hpp>
#include <metalqr/identification/least_squares.hpp>
#include <metalqr/systems/plants.hpp>

#include "support.hpp"

using metalqr::InvalidOption;
using metalqr::StreamKey;
using metalqr::identification::collect;
using metalqr::identification::data_bound;
using metalqr::identification::data_bound_level;
using metalqr::identification::DataBoundOptions;
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

/// What the bound says of data sets that are drawn anew: how often it holds, and how large it is.
struct Trial {
  Index held = 0;
  double ratio_A = 0;  ///< median of bound over error
  double ratio_B = 0;
};

Trial try_bound(Index rollouts, Samples samples, Index trials) {
  Trial result;
  std::vector<double> ratios_A;
  std::vector<double> ratios_B;
  for (Index i = 0; i < trials; ++i) {
    const auto data =
        collect(plant(), {.rollouts = rollouts}, {.seed = 52, .task = static_cast<std::uint64_t>(i)}, 1);
    const auto estimate = least_squares(data, {.samples = samples});
    const auto bound = data_bound(estimate, {.noise = 1, .rigorous = samples == Samples::last});
    const double error_A = metalqr::spectral_norm<Backend>(Backend::StateMatrix(estimate.A - plant().A()));
    const double error_B = metalqr::spectral_norm<Backend>(Backend::InputMatrix(estimate.B - plant().B()));
    const bool inside = bound.ellipsoid.contains(plant().A(), plant().B());
    if (inside) {
      ++result.held;
      REQUIRE(error_A <= bound.epsilon_A);
      REQUIRE(error_B <= bound.epsilon_B);
    }
    ratios_A.push_back(bound.epsilon_A / error_A);
    ratios_B.push_back(bound.epsilon_B / error_B);
  }
  const auto median = [](std::vector<double>& values) {
    std::nth_element(values.begin(), values.begin() + static_cast<Index>(values.size() / 2), values.end());
    return values[values.size() / 2];
  };
  result.ratio_A = median(ratios_A);
  result.ratio_B = median(ratios_B);
  return result;
}

/// Coverage is far above 95 %, so that a failure by chance is out of the question (4 standard deviations of a
/// coverage of 99 % are 4 % of 100 trials). The medians lie near 3 with a spread of 1.3/sqrt(trials).
void check_bound(Index trials) {
  for (const Index rollouts : {20, 60, 100}) {
    const Trial last = try_bound(rollouts, Samples::last, trials);
    CHECK(last.held >= trials * 95 / 100);
    CHECK(last.ratio_A >= 2.5);
    CHECK(last.ratio_A <= 3.6);
    CHECK(last.ratio_B >= 2.5);
    CHECK(last.ratio_B <= 3.6);
    const Trial all = try_bound(rollouts, Samples::all, trials);
    CHECK(all.held >= trials * 95 / 100);
    CHECK(all.ratio_A >= 2.5);
    CHECK(all.ratio_A <= 3.6);
    CHECK(all.ratio_B >= 2.5);
    CHECK(all.ratio_B <= 3.6);
  }
}

}  // namespace

TEST_CASE("the level of the data bound has the reference value") {
  CHECK(std::abs(data_bound_level(3, 3, 0.05) / 43.94745118032168 - 1) < 1e-14);
  CHECK(std::abs(data_bound_level(3, 3, 0.05, 0.5) / (43.94745118032168 / 4) - 1) < 1e-14);
  CHECK(std::abs(data_bound_level(1, 3, std::exp(-2.0)) / 25 - 1) < 1e-14);
}

TEST_CASE("the data bound is what Z'Z says of each block") {
  const auto data = collect(plant(), {.rollouts = 40}, key);
  const auto estimate = least_squares(data, {.samples = Samples::last});
  const auto bound = data_bound(estimate, {.delta = 0.1, .noise = 1.1});
  const Dense R = dense<Backend>(estimate.factor);
  const Dense inverse = solve(transpose(R) * R, test::identity(6));
  const double level = data_bound_level(3, 3, 0.1, 1.1);
  for (const Index first : {0, 3}) {
    Dense block(3, 3);
    for (Index i = 0; i < 3; ++i) {
      for (Index j = 0; j < 3; ++j) block(i, j) = inverse(first + i, first + j);
    }
    const double expected = std::sqrt(level * static_cast<double>(test::spectral_norm(block)));
    CHECK(std::abs((first == 0 ? bound.epsilon_A : bound.epsilon_B) / expected - 1) < 1e-12);
  }
  CHECK(bound.delta == 0.1);
  CHECK(bound.noise == 1.1);
  CHECK(std::abs(bound.ellipsoid.level / level - 1) < 1e-15);
  CHECK(bound.rigorous);
  CHECK(bound.assumptions.size() == 4);
}

TEST_CASE("dependent rows are refused unless told otherwise, and an estimated noise is no theorem") {
  const auto data = collect(plant(), {}, key);
  const auto all = least_squares(data);
  CHECK(test::message_of<InvalidOption>([&] { data_bound(all, {.noise = 1}); }) ==
        "rigorous: expected an estimate from one transition of each rollout (Samples::last), or rigorous = "
        "false, got 600 dependent transitions");
  CHECK_FALSE(data_bound(all, {.noise = 1, .rigorous = false}).rigorous);
  const auto last = least_squares(data, {.samples = Samples::last});
  CHECK(data_bound(last, {.noise = 1, .rigorous = false}).rigorous);
  const auto estimated = data_bound(last);
  CHECK_FALSE(estimated.rigorous);
  CHECK(estimated.noise == noise_level(last));
  CHECK(estimated.assumptions != data_bound(last, {.noise = 1}).assumptions);
}

TEST_CASE("a noise level that the residual refutes is no theorem") {
  const auto last = least_squares(collect(plant(), {}, key), {.samples = Samples::last});
  const double shown = noise_level(last);
  const auto refuted = data_bound(last, {.noise = 0.8 * shown});
  CHECK_FALSE(refuted.rigorous);
  CHECK(refuted.assumptions.size() == 5);
  CHECK(data_bound(last, {.noise = shown}).rigorous);
  // 282 degrees of freedom: by the exact quantile chi-squared is above 282 / 0.85^2 = 390 with probability
  // 2e-5.
  CHECK_FALSE(data_bound(last, {.delta = 0.05, .noise = 0.8 * shown}).rigorous);
  CHECK(data_bound(last, {.delta = 1e-9, .noise = 0.8 * shown}).rigorous);
}

TEST_CASE("bad options of the data bound are refused by name") {
  const auto estimate = least_squares(collect(plant(), {}, key), {.samples = Samples::last});
  const auto refusal = [&](const DataBoundOptions& options) {
    return test::message_of<InvalidOption>([&] { data_bound(estimate, options); });
  };
  CHECK(refusal({.delta = 0}) == "delta: expected a number in (0, 1), got 0");
  CHECK(refusal({.delta = 1}) == "delta: expected a number in (0, 1), got 1");
  CHECK(refusal({.delta = std::numeric_limits<double>::quiet_NaN()}).find("delta: ") == 0);
  CHECK(refusal({.noise = -1}) == "noise: expected a finite number >= 0, got -1");
  CHECK(refusal({.noise = std::numeric_limits<double>::infinity()}).find("noise: ") == 0);
  CHECK_THROWS_AS(data_bound_level(0, 1, 0.5), InvalidOption);
  CHECK_THROWS_AS(data_bound_level(1, 0, 0.5), InvalidOption);
  CHECK_THROWS_AS(data_bound_level(1, 1, 2), InvalidOption);
  const auto ridge = least_squares(collect(plant(), {}, key), {.samples = Samples::last, .ridge = 1});
  CHECK_THAT(test::message_of<InvalidOption>([&] { data_bound(ridge); }),
             Catch::Matchers::StartsWith("estimate.ridge: "));
}

TEST_CASE("the data bound holds on more than 95 % of the data sets and is about three times the error") {
  check_bound(2000);
}
