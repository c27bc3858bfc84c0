#include <metalqr/federated/geometric_median.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "estimates.hpp"

namespace {

namespace fed = metalqr::federated;
using metalqr::InvalidOption;
using test::Backend;
using test::combined;
using test::corrupted_list;
using test::Dense;
using test::Estimates;
using test::estimates_of;
using test::Index;

using Numbers = std::vector<long double>;

const double not_a_number = std::numeric_limits<double>::quiet_NaN();

static_assert(fed::Combiner<fed::GeometricMedian, test::Fixed>);
static_assert(fed::Combiner<fed::GeometricMedian, Backend>);

/// sum w |Y - X| / sum w.
long double mean_distance(const Dense& Y, const Estimates<>& list) {
  long double sum = 0;
  long double total = 0;
  for (const auto& vote : list) {
    sum += vote.weight * test::norm(Y - test::dense(vote.estimate));
    total += vote.weight;
  }
  return sum / total;
}

/// Minimiser of the mean distance by compass search: steps along single entries, halved where none helps.
Dense search(Dense Y, const Estimates<>& list) {
  long double value = mean_distance(Y, list);
  for (long double step = 1; step > 1e-10L; step /= 2) {
    for (bool moved = true; moved;) {
      moved = false;
      for (std::size_t i = 0; i < Y.entries.size(); ++i) {
        for (const long double sign : {1.0L, -1.0L}) {
          Dense next = Y;
          next.entries[i] += sign * step;
          const long double there = mean_distance(next, list);
          if (there < value) {
            Y = next;
            value = there;
            moved = true;
          }
        }
      }
    }
  }
  return Y;
}

/// A random rotation of vec(K), as a list of images.
Estimates<> rotated(const Estimates<>& list, const Dense& U) {
  Estimates<> result;
  for (const auto& vote : list) {
    Dense v(8, 1);
    v.entries = test::dense(vote.estimate).entries;
    Dense image(2, 4);
    image.entries = (U * v).entries;
    result.push_back({.estimate = test::gain(image), .weight = vote.weight});
  }
  return result;
}

}  // namespace

TEST_CASE("the geometric median of known figures") {
  const fed::GeometricMedian combiner;
  const double root = std::sqrt(3.0);
  const auto is_near = [&](const Estimates<>& list, double x, double y) {
    return test::relative_error(combined(combiner, list), Dense{{x, y}}, 1) < 1e-9;
  };
  // Equilateral triangle: its centre.
  CHECK(is_near(estimates_of({{-1, 0}, {1, 0}, {0, root}}), 0, root / 3));
  // Convex quadrangle: where the diagonals cross.
  CHECK(is_near(estimates_of({{0, 0}, {4, 4}, {1, 3}, {4, 0}}), 2, 2));
  // Isosceles triangle with legs of 120 degrees seen from (0, 1/sqrt(3)).
  CHECK(is_near(estimates_of({{-1, 0}, {1, 0}, {0, 50}}), 0, 1 / root));
  // Weights 5, 5, 6 balance in a triangle of forces 3-4-5: from (0, 0) to (+-1, h), sin of the angle to the
  // axis is 4/5 and 2 * 5 * 3/5 = 6, so that h = 3/4.
  CHECK(is_near(estimates_of({{-1, 0.75}, {1, 0.75}, {0, -7}}, {5, 5, 6}), 0, 0));
  // An angle above 120 degrees, half of the weight, or a point inside a triangle: the estimate itself.
  CHECK(combined(combiner, estimates_of({{-9, 1}, {0.5, 0.25}, {10, 2}})).entries == Numbers{0.5, 0.25});
  CHECK(combined(combiner, estimates_of({{-9, 1}, {5, 25}, {10, 2}}, {1, 3, 2})).entries == Numbers{5, 25});
  CHECK(combined(combiner, estimates_of({{-9, 1}, {5, 25}, {10, 2}, {3, 5}})).entries == Numbers{3, 5});
  CHECK(combined(combiner, estimates_of({{2, 3}, {2, 3}, {50, 7}, {2, 3}, {-8, 0}})).entries ==
        Numbers{2, 3});
  // On a line: the coordinate median.
  CHECK(combined(combiner, estimates_of({{4, 8}, {1, 2}, {2, 4}, {9, 18}})).entries == Numbers{3, 6});
  CHECK(combined(combiner, estimates_of({{4, 8}, {1, 2}})).entries == Numbers{2.5, 5});
  CHECK(combined(combiner, estimates_of({{4, 8}})).entries == Numbers{4, 8});
}

TEST_CASE("the iteration leaves an estimate that is not the minimiser") {
  // The coordinate median, where it starts, is the estimate at zero; the minimiser is not. There the plain
  // iteration stops or divides by zero.
  const auto list = estimates_of({{0, 0}, {-1, 2}, {3, -0.2}, {2, 3}, {-2, -0.1}, {0.5, 4}, {-0.3, -0.5}});
  REQUIRE(combined(fed::CoordinateMedian{}, list).entries == Numbers{0, 0});
  const Dense found = combined(fed::GeometricMedian{}, list);
  CHECK(mean_distance(found, list) < mean_distance(Dense{{0, 0}}, list) - 1e-4L);
  CHECK(test::relative_error(found, search(Dense{{1, 1}}, list)) < 1e-7);
}

TEST_CASE("the first step away from an estimate is that of Vardi and Zhang") {
  // Seen from the origin the others pull with (0, 0.4), which its weight of 0.1 reduces to (0, 0.3); the sum
  // of w/|X| is 0.6.
  const auto list = estimates_of({{0, 0}, {3, 4}, {-3, 4}, {8, -6}, {-8, -6}}, {0.1, 1, 1, 1, 1});
  CHECK(test::relative_error(combined(fed::GeometricMedian{.max_iterations = 1}, list), Dense{{0, 0.5}}) <
        1e-14);
  // More than 0.4 holds it.
  const auto held = estimates_of({{0, 0}, {3, 4}, {-3, 4}, {8, -6}, {-8, -6}}, {0.41, 1, 1, 1, 1});
  CHECK(combined(fed::GeometricMedian{}, held).entries == Numbers{0, 0});
}

TEST_CASE("the geometric median minimises the weighted sum of distances") {
  for (std::uint64_t trial = 0; trial < 60; ++trial) {
    metalqr::Stream stream = test::stream(10, trial);
    auto list = test::random_estimates(2 + trial % 20, stream, trial % 2 == 0);
    // Some with an estimate of great weight, at or near the minimiser.
    if (trial % 3 == 0) list[1].weight = 0.4 * static_cast<double>(list.size());
    const Dense found = combined(fed::GeometricMedian{}, list);
    const Dense expected = search(test::random_matrix(2, 4, stream), list);
    CAPTURE(trial);
    CHECK(mean_distance(found, list) <= mean_distance(expected, list) + 1e-15L);
    if (list.size() > 2) CHECK(test::relative_error(found, expected) < 1e-6);
  }
}

TEMPLATE_TEST_CASE("the geometric median is invariant as it should", "", Backend, test::Fixed) {
  for (const bool weighted : {false, true}) {
    test::check_invariances<TestType>(fed::GeometricMedian{}, weighted, 5, 1e-8);
  }
}

TEST_CASE("the geometric median stays near the honest estimates with floor((b - 1)/2) corrupted ones") {
  for (std::uint64_t trial = 0; trial < 200; ++trial) {
    metalqr::Stream stream = test::stream(6, trial);
    const std::size_t count = 3 + trial % 19;
    const std::size_t most = (count - 1) / 2;
    const auto list = corrupted_list(count, most, stream, trial % 2 == 0);
    // By the triangle inequality, summed over the honest and the corrupted, it is no further from any centre
    // than 2 honest/(honest - corrupted) times the honest ones.
    Dense centre(2, 4);
    for (std::size_t k = 0; k < count - most; ++k) {
      centre = centre + (1 / static_cast<long double>(count - most)) * test::dense(list[k].estimate);
    }
    long double radius = 0;
    for (std::size_t k = 0; k < count - most; ++k) {
      radius = std::max(radius, test::norm(test::dense(list[k].estimate) - centre));
    }
    const long double honest = static_cast<long double>(count - most);
    const long double bound = 2 * honest / (honest - static_cast<long double>(most)) * radius;
    CHECK(test::norm(combined(fed::GeometricMedian{}, list) - centre) <= bound);
  }
  // One more is too many, so that the test above can fail.
  metalqr::Stream stream = test::stream(7);
  CHECK(test::norm(combined(fed::GeometricMedian{}, corrupted_list(9, 5, stream, true))) > 1e299L);
}

TEST_CASE("the geometric median turns with rotations of the space of gains") {
  for (std::uint64_t trial = 0; trial < 20; ++trial) {
    metalqr::Stream stream = test::stream(11, trial);
    const auto list = test::random_estimates(5 + trial, stream, trial % 2 == 0);
    // A product of reflections.
    Dense U = test::identity(8);
    for (int k = 0; k < 8; ++k) {
      const Dense v = test::random_matrix(8, 1, stream);
      U = U * (test::identity(8) - (2 / test::inner(v, v)) * (v * test::transpose(v)));
    }
    Dense v(8, 1);
    v.entries = combined(fed::GeometricMedian{}, list).entries;
    Dense expected(2, 4);
    expected.entries = (U * v).entries;
    CHECK(test::relative_error(combined(fed::GeometricMedian{}, rotated(list, U)), expected) < 1e-8);
  }
}

TEST_CASE("the geometric median needs few iterations, and ends at its cap without an error") {
  metalqr::Stream stream = test::stream(12);
  const auto list = test::random_estimates(20, stream, true);
  const Dense best = combined(fed::GeometricMedian{.max_iterations = 100000, .tolerance = 0}, list);
  CHECK(test::relative_error(best, search(Dense(2, 4), list)) < 1e-8);
  long double last = mean_distance(combined(fed::CoordinateMedian{}, list), list);
  for (const int cap : {1, 2}) {
    const long double value =
        mean_distance(combined(fed::GeometricMedian{.max_iterations = cap}, list), list);
    CHECK(value < last);
    last = value;
  }
  CHECK(test::relative_error(combined(fed::GeometricMedian{.max_iterations = 6}, list), best) < 1e-8);
  // A thousand times as long as wide: Weiszfeld's steps would take a million.
  auto thin = list;
  for (auto& vote : thin) {
    for (Index j = 0; j < 4; ++j) vote.estimate(1, j) *= 1e-3;
    for (Index j = 0; j < 3; ++j) vote.estimate(0, j) *= 1e-3;
  }
  const Dense narrow = combined(fed::GeometricMedian{.max_iterations = 40}, thin);
  const Dense exact = combined(fed::GeometricMedian{.max_iterations = 100000, .tolerance = 0}, thin);
  CHECK(test::relative_error(narrow, exact) < 1e-6);
  // A looser tolerance ends earlier.
  const double error = test::relative_error(combined(fed::GeometricMedian{.tolerance = 0.01}, list), best);
  CHECK(error > 1e-9);
  CHECK(error < 0.1);
}

TEST_CASE("the geometric median works in float and long double") {
  const auto check = [](auto backend, double tolerance) {
    using AnyBackend = decltype(backend);
    Estimates<AnyBackend> list;
    for (const double x : {1.0, 2.0, 6.0, 7.0}) {
      auto X = AnyBackend::zero_gain(1, 2);
      X(0, 0) = static_cast<typename AnyBackend::Scalar>(x);
      X(0, 1) = static_cast<typename AnyBackend::Scalar>(x * x);
      list.push_back({.estimate = X});
    }
    const auto at = [&](const auto& combiner) { return combined<AnyBackend>(combiner, list); };
    // Convex position: the diagonals from 1 to 6, y = 7 x - 6, and from 2 to 7, y = 9 x - 14, cross.
    CHECK(test::relative_error(at(fed::GeometricMedian{}), Dense{{4, 22}}) < tolerance);
  };
  // Across the diagonals the sum is 4000 times as curved as along them.
  check(metalqr::EigenBackend<float>{}, 1e-3);
  check(metalqr::EigenBackend<long double>{}, 1e-8);
}

TEST_CASE("bad options of the geometric median are refused") {
  const auto list = estimates_of({{1, 2}, {3, 4}});
  const auto message = [&](const auto& combiner) {
    return test::message_of<InvalidOption>([&] { combined(combiner, list); });
  };
  CHECK(message(fed::GeometricMedian{.max_iterations = 0}) == "max_iterations: expected at least 1, got 0");
  CHECK(message(fed::GeometricMedian{.tolerance = 1}) == "tolerance: expected a number in [0, 1), got 1");
  CHECK(message(fed::GeometricMedian{.tolerance = -1}) == "tolerance: expected a number in [0, 1), got -1");
  CHECK(message(fed::GeometricMedian{.tolerance = not_a_number}) ==
        "tolerance: expected a number in [0, 1), got nan");
  const std::span<const fed::WeightedEstimate<Backend>> none;
  CHECK_THROWS_AS(fed::GeometricMedian{}(none), InvalidOption);
}
