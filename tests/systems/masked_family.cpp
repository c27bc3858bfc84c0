#include <metalqr/systems/masked_family.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

#include <metalqr/systems/plants.hpp>

#include "support.hpp"

using metalqr::EigenBackend;
using metalqr::systems::ScalarDistribution;
using test::Backend;
using test::dense;
using test::Dense;
using test::message_of;

namespace systems = metalqr::systems;

namespace {

const metalqr::Task<Backend> boeing = systems::modified_boeing<Backend>();

/// a, b, q, r of the tasks 1, 2, ... of a family, in units of the levels, from one entry each.
std::vector<std::vector<double>> scalars(ScalarDistribution distribution, metalqr::Index count) {
  const systems::Levels level{0.1, 0.2, 0.3, 0.4};
  const auto family =
      systems::masked_family(boeing, {.count = count, .level = level, .distribution = distribution}, 5);
  std::vector<std::vector<double>> values(4);
  for (std::size_t i = 1; i < family.size(); ++i) {
    values[0].push_back((family[i].A()(0, 0) - boeing.A()(0, 0)) / level.A);
    values[1].push_back((family[i].B()(0, 0) - boeing.B()(0, 0)) / level.B);
    values[2].push_back((family[i].Q()(0, 0) - boeing.Q()(0, 0)) / (2 * level.Q));
    values[3].push_back((family[i].R()(0, 0) - boeing.R()(0, 0)) / (2 * level.R));
  }
  return values;
}

/// Largest distance between the sample's distribution function and `distribution`, times sqrt(count).
/// Exceeds 2.7 with probability 9e-7 (Massart's form of the Dvoretzky-Kiefer-Wolfowitz inequality).
template <class Distribution>
double kolmogorov_smirnov(std::vector<double> sample, const Distribution& distribution) {
  std::sort(sample.begin(), sample.end());
  const double n = static_cast<double>(sample.size());
  double distance = 0;
  for (std::size_t i = 0; i < sample.size(); ++i) {
    const double p = distribution(sample[i]);
    distance = std::max({distance, static_cast<double>(i + 1) / n - p, p - static_cast<double>(i) / n});
  }
  return distance * std::sqrt(n);
}

/// In how many of 200 fleets of 50 the gain of the asynchronous experiments loses a task.
int fleets_lost(ScalarDistribution distribution, double level) {
  const Backend::Gain K = systems::modified_boeing_async_gain<Backend>();
  int lost = 0;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    const auto fleet =
        systems::masked_family(boeing, {.count = 50, .level = level, .distribution = distribution}, seed);
    lost += std::all_of(fleet.begin(), fleet.end(), [&](const auto& task) { return is_stabilizing(task, K); })
                ? 0
                : 1;
  }
  return lost;
}

}  // namespace

TEMPLATE_TEST_CASE("tasks move along the published masks by scalars of their own", "", (EigenBackend<double>),
                   (EigenBackend<double, 4, 2>)) {
  const auto nominal = systems::modified_boeing<TestType>();
  const auto family = systems::masked_family(nominal, {.count = 6, .level = 0.05}, 3);
  REQUIRE(family.size() == 6);
  CHECK(family.redrawn == 0);
  const test::DenseTask centre = dense(nominal);
  CHECK(dense(family[0]).A.entries == centre.A.entries);
  const Dense masks[] = {{{1, 0, 0, 0}, {0, 2, 0, 0}, {0, 0, 3, 0}, {0, 0, 0, 4}},
                         {{1, 1}, {1, 1}, {1, 1}, {1, 1}},
                         2 * test::identity(4),
                         2 * test::identity(2)};
  for (std::size_t i = 1; i < family.size(); ++i) {
    const test::DenseTask task = dense(family[i]);
    const Dense moved[] = {task.A - centre.A, task.B - centre.B, task.Q - centre.Q, task.R - centre.R};
    for (int which = 0; which < 4; ++which) {
      const long double scalar =
          test::inner(moved[which], masks[which]) / test::inner(masks[which], masks[which]);
      CHECK((scalar > 0 && scalar < 0.05));
      CHECK(test::norm(moved[which] - scalar * masks[which]) < 1e-14);
    }
  }
}

TEST_CASE("masks of one's own replace the published ones") {
  systems::Masks<Backend> masks = systems::published_masks<Backend>(4, 2);
  masks.A = test::state_matrix({{0, 1, 0, 0}, {0, 0, 0, 0}, {0, 0, 0, 0}, {0, 0, 0, 0}});
  const auto family = systems::masked_family(boeing, {.count = 3, .level = 0.1, .masks = masks}, 3);
  CHECK(family[1].A()(0, 1) > boeing.A()(0, 1));
  CHECK(family[1].A()(0, 0) == boeing.A()(0, 0));
}

TEST_CASE("uniform scalars are uniform on (0, level), half-normal ones |N(0, level^2)|, and independent") {
  const metalqr::Index count = 4001;
  const auto uniform = scalars(ScalarDistribution::uniform, count);
  const auto half_normal = scalars(ScalarDistribution::half_normal, count);
  // False alarms: 9e-7 for each of the 8 samples, 6e-7 for each of the 12 correlations.
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(kolmogorov_smirnov(uniform[i], [](double x) { return std::clamp(x, 0.0, 1.0); }) < 2.7);
    CHECK(kolmogorov_smirnov(half_normal[i], [](double x) { return std::erf(x / std::sqrt(2.0)); }) < 2.7);
    for (std::size_t j = 0; j < i; ++j) {
      double products = 0;
      double normal_products = 0;
      for (std::size_t k = 0; k < uniform[i].size(); ++k) {
        products += (uniform[i][k] - 0.5) * (uniform[j][k] - 0.5) * 12;
        const double mean = std::sqrt(2 / 3.14159265358979);
        normal_products += (half_normal[i][k] - mean) * (half_normal[j][k] - mean) / (1 - mean * mean);
      }
      const double bound = 5 * std::sqrt(static_cast<double>(uniform[i].size()));
      CHECK(std::abs(products) < bound);
      CHECK(std::abs(normal_products) < bound);
    }
  }
}

TEST_CASE("task i depends on the seed and i alone") {
  const Backend::Gain K = systems::modified_boeing_async_gain<Backend>();
  const systems::MaskedFamily<Backend> options{.count = 50, .level = 0.1, .must_be_stabilised_by = K};
  systems::MaskedFamily<Backend> fewer = options;
  fewer.count = 5;
  const auto large = systems::masked_family(boeing, options, 8);
  const auto small = systems::masked_family(boeing, fewer, 8);
  for (std::size_t i = 0; i < small.size(); ++i) {
    CHECK(dense(small[i]).A.entries == dense(large[i]).A.entries);
    CHECK(dense(small[i]).R.entries == dense(large[i]).R.entries);
  }
  CHECK(large.destabilised > 0);
  for (const auto& task : large) CHECK(is_stabilizing(task, K));
}

TEST_CASE(
    "half-normal scalars at level 0.03 lose the published gain in the share of fleets that integration "
    "gives") {
  // The probability that one task is lost, by the midpoint rule over the scalars a and b.
  const Backend::Gain K = systems::modified_boeing_async_gain<Backend>();
  const systems::Masks<Backend> masks = systems::published_masks<Backend>(4, 2);
  const int cells = 300;
  const double width = 5.0 / cells;
  double share = 0;
  for (int i = 0; i < cells; ++i) {
    for (int j = 0; j < cells; ++j) {
      const double a = (i + 0.5) * width;
      const double b = (j + 0.5) * width;
      const metalqr::Task<Backend> task(boeing.A() + 0.03 * a * masks.A, boeing.B() + 0.03 * b * masks.B,
                                        boeing.Q(), boeing.R());
      if (is_stabilizing(task, K)) continue;
      share += 2 / 3.14159265358979 * std::exp(-(a * a + b * b) / 2) * width * width;
    }
  }
  const double fleets = 1 - std::pow(1 - share, 49);
  CHECK(std::abs(fleets - 0.600) < 0.01);
  // Binomial: 5 deviations are missed with probability 6e-7; 2 fleets for the error of the integration.
  const double bound = 5 * std::sqrt(200 * fleets * (1 - fleets)) + 2;
  CHECK(std::abs(fleets_lost(ScalarDistribution::half_normal, 0.03) - 200 * fleets) < bound);
  // Published: 109 of 200.
  CHECK(std::abs(109 - 200 * fleets) < bound);
}

TEST_CASE("uniform scalars at level 0.1 lose the published gain in every fleet") {
  // A fleet survives with probability 0.704^49 = 3e-8.
  CHECK(fleets_lost(ScalarDistribution::uniform, 0.1) == 200);
}

TEST_CASE("bad masks are refused by their names") {
  using Catch::Matchers::ContainsSubstring;
  const auto message = [&](const auto& kind, const auto& spoil) {
    systems::Masks<Backend> masks = systems::published_masks<Backend>(4, 2);
    spoil(masks);
    using Exception = std::remove_cvref_t<decltype(kind)>;
    return message_of<Exception>(
        [&] { systems::masked_family(boeing, {.count = 2, .level = 0.1, .masks = masks}, 1); });
  };
  const metalqr::DimensionMismatch shape("");
  const metalqr::NotFinite finite("");
  CHECK_THAT(message(shape, [](auto& m) { m.A = Backend::zero_state_matrix(3); }),
             ContainsSubstring("masks.A"));
  CHECK_THAT(message(shape, [](auto& m) { m.B = Backend::zero_input_matrix(2, 4); }),
             ContainsSubstring("masks.B"));
  CHECK_THAT(message(shape, [](auto& m) { m.Q = Backend::zero_state_matrix(2); }),
             ContainsSubstring("masks.Q"));
  CHECK_THAT(message(shape, [](auto& m) { m.R = Backend::zero_control_matrix(4); }),
             ContainsSubstring("masks.R"));
  CHECK_THAT(message(finite, [](auto& m) { m.A(0, 0) = std::nan(""); }), ContainsSubstring("masks.A"));
  CHECK_THAT(message(finite, [](auto& m) { m.B(0, 0) = std::nan(""); }), ContainsSubstring("masks.B"));
  CHECK_THAT(message(finite, [](auto& m) { m.Q(0, 0) = HUGE_VAL; }), ContainsSubstring("masks.Q"));
  CHECK_THAT(message(finite, [](auto& m) { m.R(0, 0) = std::nan(""); }), ContainsSubstring("masks.R"));
  const metalqr::NotPositiveDefinite definite("");
  CHECK_THAT(message(definite, [](auto& m) { m.Q(0, 0) = -1e3; }), ContainsSubstring("level"));
}
