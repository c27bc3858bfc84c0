#include <metalqr/zeroth_order/gradient.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <metalqr/systems/plants.hpp>
#include <metalqr/zeroth_order/task_oracles.hpp>

#include "functions.hpp"

namespace {

namespace zo = metalqr::zeroth_order;
using metalqr::InvalidOption;
using metalqr::NotFinite;
using metalqr::StreamKey;
using test::Backend;
using test::Dense;
using test::Index;
using test::Mean;
using zo::Directions;
using zo::Points;
using zo::Unstable;
using Fixed = metalqr::EigenBackend<double, 4, 2>;
using Gain = Fixed::Gain;

const double infinity = std::numeric_limits<double>::infinity();
const double not_a_number = std::numeric_limits<double>::quiet_NaN();
const std::vector<Directions> laws{Directions::sphere, Directions::gaussian, Directions::rademacher,
                                   Directions::coordinate, Directions::orthonormal};
const std::vector<Points> all_points{Points::one, Points::one_with_baseline, Points::two};

StreamKey key(std::uint64_t iteration) {
  return {.seed = 99, .iteration = iteration, .task = 3};
}

const Gain& published_gain() {
  static const Gain K = metalqr::systems::modified_boeing_initial_gain<Fixed>();
  return K;
}

/// The published plant with the initial states of the published code, or with I/4.
metalqr::Task<Fixed> boeing(bool code) {
  const auto nominal = metalqr::systems::modified_boeing<Fixed>();
  return code ? nominal.with_initial_state(metalqr::systems::published_initial_second_moment<Fixed>())
              : nominal;
}

double error_of(const zo::GradientEstimate<Fixed>& estimate, const Dense& exact) {
  return static_cast<double>(test::norm(test::dense<Fixed>(estimate.gradient) - exact));
}

}  // namespace

// A Student's t of 1999 degrees of freedom is beyond 5.3 with probability 1.3e-7; 14 settings of 8 (6)
// entries.
TEMPLATE_TEST_CASE("estimates are unbiased on a quadratic function; false alarm 2e-5", "", Fixed, Backend) {
  using AnyBackend = TestType;
  const Index nx = AnyBackend::states == metalqr::dynamic ? 3 : 4;
  const test::Quadratic f = test::random_quadratic(2, nx, 1);
  metalqr::Stream stream = test::stream(2);
  const Dense at = test::rounded(test::random_matrix(2, nx, stream));
  const auto K = test::gain<AnyBackend>(at);
  for (const Directions law : laws) {
    for (const Points points : all_points) {
      // The unit matrices are not symmetric about zero: see the next test.
      if (law == Directions::coordinate && points != Points::two) continue;
      INFO(zo::to_string(law) << ", " << static_cast<int>(points));
      std::vector<Dense> sample;
      for (std::uint64_t i = 0; i < 2000; ++i) {
        sample.push_back(test::dense<AnyBackend>(
            zo::estimate_gradient<AnyBackend>(f.oracle<AnyBackend>(), K,
                                              {.points = points, .directions = law, .radius = 0.5}, key(i))
                .gradient));
      }
      CHECK(test::largest_z_score(sample, f.gradient(at)) < 5.3);
    }
  }
}

TEST_CASE("coordinate directions give the differences of the entries, with their bias") {
  const double r = 0.25;
  const test::Quadratic f = test::random_quadratic(2, 4, 1);
  const Dense at = test::dense<Fixed>(published_gain());
  const Dense exact = f.gradient(at);
  Dense biased = exact;
  for (std::size_t i = 0; i < 8; ++i) {
    biased.entries[i] += f.H(static_cast<Index>(i), static_cast<Index>(i)) * r / 2;
  }
  const auto estimate = [&](Points points) {
    return test::dense<Fixed>(
        zo::estimate_gradient<Fixed>(f.oracle<Fixed>(), published_gain(),
                                     {.points = points, .directions = Directions::coordinate, .radius = r})
            .gradient);
  };
  CHECK(test::relative_error(estimate(Points::two), exact) < 1e-13);
  CHECK(test::relative_error(estimate(Points::one_with_baseline), biased) < 1e-13);
  // Without a baseline J(K) itself would appear in every entry.
  CHECK(test::message_of<InvalidOption>([&] { estimate(Points::one); }) ==
        "directions: expected a law that is symmetric about zero for Points::one, got coordinate");
}

TEST_CASE("whole blocks are exact on linear functions, and with two points on quadratic ones") {
  test::Quadratic f = test::random_quadratic(2, 4, 3);
  const Dense at = test::dense<Fixed>(published_gain());
  for (const Directions law : {Directions::coordinate, Directions::orthonormal}) {
    for (const Index samples : {0, 8, 24}) {
      const auto quadratic = zo::estimate_gradient<Fixed>(
          f.oracle<Fixed>(), published_gain(), {.directions = law, .samples = samples, .radius = 0.5});
      CHECK(test::relative_error(test::dense<Fixed>(quadratic.gradient), f.gradient(at)) < 1e-14);
      test::Quadratic linear = f;
      linear.H = Dense(8, 8);
      for (const Points points : {Points::one_with_baseline, Points::two}) {
        const auto estimate = zo::estimate_gradient<Fixed>(
            linear.oracle<Fixed>(), published_gain(),
            {.points = points, .directions = law, .samples = samples, .radius = 0.5});
        CHECK(test::relative_error(test::dense<Fixed>(estimate.gradient), f.G) < 1e-14);
      }
    }
  }
}

TEST_CASE("an orthonormal block's error on the cost falls as r^2 with two points and as r with a baseline") {
  for (const bool code : {true, false}) {
    const auto task = boeing(code);
    const zo::ExactCost<Fixed> oracle(task);
    const Dense exact = test::dense(task).gradient(test::dense<Fixed>(published_gain()));
    const auto exponent = [&](Points points) {
      // Least squares on log error against log r, errors averaged over ten rotations.
      double sx = 0, sy = 0, sxx = 0, sxy = 0;
      const std::vector<double> radii{1e-4, 2e-4, 4e-4, 8e-4, 1.6e-3};
      for (const double r : radii) {
        double error = 0;
        for (std::uint64_t i = 0; i < 10; ++i) {
          error += error_of(
              zo::estimate_gradient<Fixed>(oracle, published_gain(), {.points = points, .radius = r}, key(i)),
              exact);
        }
        sx += std::log(r);
        sy += std::log(error);
        sxx += std::log(r) * std::log(r);
        sxy += std::log(r) * std::log(error);
      }
      const double n = static_cast<double>(radii.size());
      return (n * sxy - sx * sy) / (n * sxx - sx * sx);
    };
    CHECK(std::abs(exponent(Points::two) - 2) < 0.05);
    CHECK(std::abs(exponent(Points::one_with_baseline) - 1) < 0.05);
  }
}

// m independent directions leave the mean square error (d - 1)/m |g|^2; the sampled mean is beyond 5 standard
// errors with probability 6e-7.
TEST_CASE("16 calls leave 1e-5 in an orthonormal block where the sphere leaves 0.9; false alarm 6e-7") {
  const auto task = boeing(false);
  const zo::ExactCost<Fixed> oracle(task);
  const Dense exact = test::dense(task).gradient(test::dense<Fixed>(published_gain()));
  const double size = static_cast<double>(test::norm(exact));
  std::vector<double> block;
  std::vector<double> sphere;
  for (std::uint64_t i = 0; i < 400; ++i) {
    const auto orthonormal = zo::estimate_gradient<Fixed>(
        oracle, published_gain(), {.radius = 5.6e-5, .check_direction = false}, key(i));
    const auto independent = zo::estimate_gradient<Fixed>(
        oracle, published_gain(), {.directions = Directions::sphere, .radius = 5.6e-5}, key(i));
    CHECK(orthonormal.calls == 16);
    CHECK(independent.calls == 16);
    block.push_back(error_of(orthonormal, exact) / size);
    const double error = error_of(independent, exact) / size;
    sphere.push_back(error * error);
  }
  const Mean squares(sphere);
  CAPTURE(Mean(block).value, squares.value, squares.error);
  CHECK(std::abs(Mean(block).value - 9e-6) < 1e-6);
  CHECK(*std::max_element(block.begin(), block.end()) < 3e-5);
  CHECK(std::abs(squares.value - 7.0 / 8) < 5 * squares.error);
}

// Both sides estimate E|error|^2; their difference is beyond 5 standard errors with probability 6e-7.
TEST_CASE("the error bar has the size of the actual error; false alarm 4e-6") {
  const test::Quadratic f = test::random_quadratic(2, 4, 5);
  const Dense exact = f.gradient(test::dense<Fixed>(published_gain()));
  const auto difference = [&](const zo::EstimatorOptions& options) {
    std::vector<double> differences;
    for (std::uint64_t i = 0; i < 400; ++i) {
      const auto estimate =
          zo::estimate_gradient<Fixed>(f.oracle<Fixed>(), published_gain(), options, key(i));
      const double error = error_of(estimate, exact);
      differences.push_back(error * error - estimate.standard_error * estimate.standard_error);
    }
    const Mean mean(differences);
    return std::abs(mean.value) / mean.error;
  };
  for (const Directions law : {Directions::sphere, Directions::gaussian, Directions::rademacher}) {
    CHECK(difference({.directions = law, .samples = 64, .radius = 0.3}) < 5);
    CHECK(difference({.points = Points::one_with_baseline, .directions = law, .samples = 64, .radius = 0.3}) <
          5);
  }
  // Blocks are the independent replicates here.
  CHECK(difference({.points = Points::one_with_baseline, .samples = 80, .radius = 0.3}) < 5);
}

// As above, on the plant's own cost with random starts: 200 estimates.
TEST_CASE("the error bar is honest on the cost from random starts; false alarm 6e-7") {
  const auto task = boeing(true);
  Fixed::StateVector mean = Fixed::zero_state(4);
  for (Index i = 0; i < 4; ++i) mean(i, 0) = 0.5;
  Fixed::StateMatrix covariance = Fixed::zero_state_matrix(4);
  for (Index i = 0; i < 4; ++i) covariance(i, i) = 0.01;
  const metalqr::GaussianState<Fixed> start(mean, covariance);
  const zo::RandomStartCost<Fixed> oracle(task, start);
  const auto expected = task.with_initial_state(start.second_moment());
  const Dense exact = test::dense(expected).gradient(test::dense<Fixed>(published_gain()));
  std::vector<double> differences;
  for (std::uint64_t i = 0; i < 200; ++i) {
    const auto estimate = zo::estimate_gradient<Fixed>(oracle, published_gain(), {.samples = 160}, key(i));
    const double error = error_of(estimate, exact);
    differences.push_back(error * error - estimate.standard_error * estimate.standard_error);
  }
  const Mean difference(differences);
  CHECK(std::abs(difference.value) < 5 * difference.error);
}

// A defect is normal here, so that its square has a standard deviation of sqrt(2) times its mean.
TEST_CASE("a check direction gives a single block its error bar; false alarm 6e-7") {
  const double r = 0.5;
  const double s = 0.1;
  const test::Quadratic f = test::random_quadratic(2, 4, 6);
  const auto noisy = [&, exact = f.oracle<Fixed>()](const Gain& K, const StreamKey& at) {
    metalqr::Stream stream(at.with_purpose(metalqr::Purpose::user));
    return exact(K) + s * stream.normal();
  };
  const zo::EstimatorOptions options{.radius = r, .common_random_numbers = false, .check_direction = true};
  double squares = 0;
  double errors = 0;
  const int count = 2000;
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto estimate = zo::estimate_gradient<Fixed>(noisy, published_gain(), options, key(i));
    CHECK(estimate.calls == 18);
    squares += estimate.standard_error * estimate.standard_error / count;
    const double error = error_of(estimate, f.gradient(test::dense<Fixed>(published_gain())));
    errors += error * error / count;
  }
  // Each slope has the variance s^2/2: E|error|^2 = d s^2/(2 r^2); the check's own noise adds as much.
  const double expected = 8 * s * s / (r * r);
  CHECK(std::abs(errors / (expected / 2) - 1) < 5 * std::sqrt(2.0 / (8 * count)));
  CHECK(std::abs(squares / expected - 1) < 5 * std::sqrt(2.0 / count));
  const auto without =
      zo::estimate_gradient<Fixed>(noisy, published_gain(), {.radius = r, .check_direction = false});
  CHECK(std::isnan(without.standard_error));
  CHECK(without.calls == 16);
}

TEST_CASE("an estimate equals a loop written by hand") {
  const auto task = boeing(true);
  Fixed::StateMatrix covariance = Fixed::zero_state_matrix(4);
  for (Index i = 0; i < 4; ++i) covariance(i, i) = 0.25;
  const zo::RandomStartCost<Fixed> oracle(task, metalqr::GaussianState<Fixed>(covariance));
  const double r = 0.01;
  for (const Directions law : laws) {
    const auto directions = zo::draw_directions<Fixed>(law, 24, 2, 4, r, key(5));
    for (const Points points : all_points) {
      if (law == Directions::coordinate && points == Points::one) continue;
      Dense sum(2, 4);
      for (std::size_t l = 0; l < 24; ++l) {
        const StreamKey own = key(5).with_sample(l);
        const Gain forward = published_gain() + directions[l];
        const Gain backward = published_gain() - directions[l];
        long double slope = oracle(forward, own);
        if (points == Points::one_with_baseline) slope -= oracle(published_gain(), own);
        if (points == Points::two) slope = (slope - oracle(backward, own)) / 2;
        sum = sum + slope * test::dense<Fixed>(directions[l]);
      }
      const auto estimate = zo::estimate_gradient<Fixed>(
          oracle, published_gain(), {.points = points, .directions = law, .samples = 24, .radius = r},
          key(5));
      CHECK(test::relative_error(test::dense<Fixed>(estimate.gradient),
                                 static_cast<long double>(8 / (r * r * 24)) * sum) < 1e-11);
      CHECK(estimate.calls == (points == Points::one ? 24 : 48));
      CHECK(estimate.used == 24);
      CHECK(estimate.dropped == 0);
      CHECK(estimate.shrunk == 0);
    }
  }
}

TEST_CASE("a sample whose cost is infinite on one side is dropped, the others give the estimate") {
  const test::Quadratic f = test::random_quadratic(2, 4, 7);
  metalqr::Stream stream = test::stream(8);
  const Gain N = test::gain<Fixed>(test::random_matrix(2, 4, stream));
  const Gain& K = published_gain();
  const double border = Fixed::inner(N, K) + 0.1;
  const auto half = [&, inside = f.oracle<Fixed>()](const Gain& gain) {
    return Fixed::inner(N, gain) > border ? not_a_number : inside(gain);
  };
  for (const Points points : all_points) {
    const auto directions = zo::draw_directions<Fixed>(Directions::sphere, 200, 2, 4, 0.5, key(1));
    Dense sum(2, 4);
    Index used = 0;
    for (const Gain& U : directions) {
      const double ahead = half(Gain(K + U));
      const double behind = points == Points::two ? half(Gain(K - U)) : points == Points::one ? 0.0 : half(K);
      if (std::isnan(ahead) || std::isnan(behind)) continue;
      sum = sum + static_cast<long double>((ahead - behind) / (points == Points::two ? 2 : 1)) *
                      test::dense<Fixed>(U);
      ++used;
    }
    REQUIRE(used > 20);
    REQUIRE(used < 180);
    const auto estimate = zo::estimate_gradient<Fixed>(half, K,
                                                       {.points = points,
                                                        .directions = Directions::sphere,
                                                        .samples = 200,
                                                        .radius = 0.5,
                                                        .unstable = Unstable::drop},
                                                       key(1));
    CHECK(estimate.used == used);
    CHECK(estimate.dropped == 200 - used);
    CHECK(estimate.shrunk == 0);
    CHECK(estimate.calls == (points == Points::one ? 200 : 400));
    CHECK(estimate.standard_error > 0);
    CHECK(test::relative_error(test::dense<Fixed>(estimate.gradient),
                               (8 / 0.25L / static_cast<long double>(used)) * sum) < 1e-12);
  }
}

TEST_CASE("with shrinking, a block beside the border of stability stays exact on a linear function") {
  test::Quadratic f = test::random_quadratic(2, 4, 7);
  f.H = Dense(8, 8);
  metalqr::Stream stream = test::stream(8);
  const Gain N = test::gain<Fixed>(test::random_matrix(2, 4, stream));
  const Gain& K = published_gain();
  const double distance = 0.1;
  const double border = Fixed::inner(N, K) + distance;
  Index calls = 0;
  const auto half = [&, inside = f.oracle<Fixed>()](const Gain& gain) {
    ++calls;
    return Fixed::inner(N, gain) > border ? infinity : inside(gain);
  };
  for (const Points points : {Points::one_with_baseline, Points::two}) {
    Index shrunk = 0;
    Index halvings = 0;
    for (const Gain& U : zo::draw_directions<Fixed>(Directions::orthonormal, 8, 2, 4, 0.5, key(2))) {
      double reach = Fixed::inner(N, U);
      if (points == Points::two) reach = std::abs(reach);
      if (reach > distance) ++shrunk;
      for (; reach > distance; reach /= 2) ++halvings;
    }
    REQUIRE(shrunk > 0);
    calls = 0;
    const auto estimate = zo::estimate_gradient<Fixed>(
        half, K, {.points = points, .radius = 0.5, .unstable = Unstable::shrink, .check_direction = false},
        key(2));
    CHECK(test::relative_error(test::dense<Fixed>(estimate.gradient), f.G) < 1e-13);
    CHECK(estimate.used == 8);
    CHECK(estimate.dropped == 0);
    CHECK(estimate.shrunk == shrunk);
    CHECK(estimate.calls == calls);
    CHECK(calls == (points == Points::two ? 16 + 2 * halvings : 16 + halvings));
  }
}

TEST_CASE("where no sample has a finite cost the gradient is zero and nothing is used") {
  for (const double bad : {infinity, not_a_number}) {
    for (const Directions law : laws) {
      for (const Points points : all_points) {
        if (law == Directions::coordinate && points == Points::one) continue;
        for (const Unstable unstable : {Unstable::drop, Unstable::shrink}) {
          const auto estimate =
              zo::estimate_gradient<Fixed>([bad](const Gain&) { return bad; }, published_gain(),
                                           {.points = points,
                                            .directions = law,
                                            .samples = 16,
                                            .unstable = unstable,
                                            .check_direction = true});
          CHECK(estimate.used == 0);
          CHECK(estimate.dropped == 16);
          CHECK(estimate.shrunk == 0);
          CHECK(Fixed::norm(estimate.gradient) == 0);
          CHECK(estimate.calls >= 16);
          CHECK(estimate.calls <= 16 * 23);
        }
      }
    }
  }
}

TEST_CASE("a gain that destabilises is no error: its samples are dropped and counted") {
  const auto task = boeing(true);
  const auto estimate = zo::estimate_gradient<Fixed>(zo::ExactCost<Fixed>(task), Fixed::zero_gain(2, 4));
  CHECK(estimate.used == 0);
  CHECK(estimate.dropped == 8);
  CHECK(Fixed::norm(estimate.gradient) == 0);
}

TEST_CASE("estimates beside the border of stability are finite under every policy") {
  const auto task = boeing(false);
  const zo::ExactCost<Fixed> oracle(task);
  Index dropped = 0;
  Index shrunk = 0;
  for (const Directions law : laws) {
    for (const Points points : all_points) {
      if (law == Directions::coordinate && points == Points::one) continue;
      for (const Unstable unstable : {Unstable::drop, Unstable::shrink}) {
        const auto estimate = zo::estimate_gradient<Fixed>(
            oracle, published_gain(),
            {.points = points, .directions = law, .samples = 80, .radius = 0.2, .unstable = unstable},
            key(3));
        CHECK(Fixed::is_finite(estimate.gradient));
        CHECK(estimate.used + estimate.dropped == 80);
        dropped += estimate.dropped;
        shrunk += estimate.shrunk;
      }
    }
  }
  CHECK(dropped > 0);
  CHECK(shrunk > 0);
}

TEST_CASE("shared directions do not depend on the task, others do; the costs' randomness always does") {
  const test::Quadratic f = test::random_quadratic(2, 4, 9);
  const auto gradient = [&](bool shared, std::uint64_t task) {
    return zo::estimate_gradient<Fixed>(f.oracle<Fixed>(), published_gain(),
                                        {.directions = Directions::sphere, .shared_directions = shared},
                                        key(1).with_task(task))
        .gradient;
  };
  CHECK(Fixed::norm(Gain(gradient(true, 1) - gradient(true, 7))) == 0);
  CHECK(Fixed::norm(Gain(gradient(true, 7) - gradient(false, 0))) == 0);
  CHECK(Fixed::norm(Gain(gradient(false, 1) - gradient(false, 7))) > 0.01);
  std::vector<std::uint64_t> tasks;
  const auto spying = [&tasks](const Gain&, const StreamKey& at) {
    tasks.push_back(at.task);
    return 1.0;
  };
  zo::estimate_gradient<Fixed>(spying, published_gain(),
                               {.shared_directions = true, .check_direction = false}, key(1).with_task(7));
  CHECK(std::count(tasks.begin(), tasks.end(), 7U) == 16);
}

TEST_CASE("common random numbers cancel additive noise exactly") {
  const test::Quadratic f = test::random_quadratic(2, 4, 10);
  const auto noisy = [exact = f.oracle<Fixed>()](const Gain& K, const StreamKey& at) {
    metalqr::Stream stream(at.with_purpose(metalqr::Purpose::user));
    return exact(K) + 100 * stream.normal();
  };
  const Dense exact = f.gradient(test::dense<Fixed>(published_gain()));
  const auto common = zo::estimate_gradient<Fixed>(noisy, published_gain(), {.radius = 0.5});
  CHECK(error_of(common, exact) < 1e-11);
  const auto own =
      zo::estimate_gradient<Fixed>(noisy, published_gain(), {.radius = 0.5, .common_random_numbers = false});
  CHECK(error_of(own, exact) > 10);
}

// Without common numbers the noise of a cost adds d V/(2 r^2) per block, V = the cost's variance; the bounds
// are 5 standard errors of the sampled squares (6e-7 each).
TEST_CASE("common random numbers take d V/(2 r^2) off the variance of a gradient; false alarm 2e-6") {
  const auto task = boeing(true);
  Fixed::StateVector mean = Fixed::zero_state(4);
  Fixed::StateMatrix covariance = Fixed::zero_state_matrix(4);
  for (Index i = 0; i < 4; ++i) {
    mean(i, 0) = 0.5;
    covariance(i, i) = 1e-4;
  }
  const metalqr::GaussianState<Fixed> start(mean, covariance);
  const zo::RandomStartCost<Fixed> oracle(task, start);
  const test::DenseTask dense = test::dense(task);
  const Dense at = test::dense<Fixed>(published_gain());
  const Dense P = dense.P(at);
  const Dense PS = P * test::dense<Fixed>(covariance);
  const Dense Pm = P * test::dense<Fixed>(mean);
  const double variance = static_cast<double>(2 * test::inner(test::transpose(PS), PS) +
                                              4 * test::inner(test::dense<Fixed>(mean), PS * Pm));
  const auto expected_task = task.with_initial_state(start.second_moment());
  const Dense exact = test::dense(expected_task).gradient(at);
  const double r = 1e-4;
  const auto mean_square = [&](bool common) {
    std::vector<double> squares;
    for (std::uint64_t i = 0; i < 1000; ++i) {
      const double error =
          error_of(zo::estimate_gradient<Fixed>(oracle, published_gain(),
                                                {.radius = r, .common_random_numbers = common}, key(i)),
                   exact);
      squares.push_back(error * error);
    }
    return Mean(squares);
  };
  const Mean common = mean_square(true);
  const Mean own = mean_square(false);
  const double predicted = 8 * variance / (2 * r * r);
  CAPTURE(common.value, own.value, predicted);
  CHECK(std::abs(own.value - common.value - predicted) < 5 * std::hypot(own.error, common.error));
  CHECK(common.value < own.value / 1000);
}

TEST_CASE("scaling the gain and the radius scales the estimate: bitwise for a power of two") {
  const test::Quadratic f = test::random_quadratic(2, 4, 11);
  const auto inner = f.oracle<Fixed>();
  const auto scaled = [&inner](const Gain& K) { return inner(Gain(4 * K)); };
  for (const Directions law : laws) {
    const auto there = zo::estimate_gradient<Fixed>(inner, Gain(4 * published_gain()),
                                                    {.directions = law, .radius = 0.5}, key(1));
    const auto here =
        zo::estimate_gradient<Fixed>(scaled, published_gain(), {.directions = law, .radius = 0.125}, key(1));
    CHECK(Fixed::norm(Gain(here.gradient - 4 * there.gradient)) <= 1e-14 * Fixed::norm(here.gradient));
    CHECK(
        (std::isnan(here.standard_error) || Catch::Approx(here.standard_error) == 4 * there.standard_error));
  }
}

TEST_CASE("bad estimator options and gains are refused by name") {
  const auto one = [](const Gain&) { return 1.0; };
  const auto refusal = [&](const zo::EstimatorOptions& options) {
    return test::message_of<InvalidOption>(
        [&] { zo::estimate_gradient<Fixed>(one, published_gain(), options); });
  };
  CHECK(refusal({.samples = -1}) == "samples: expected at least 1, or 0 for n_u n_x, got -1");
  CHECK(refusal({.samples = 9}) ==
        "samples: expected a multiple of n_u n_x = 8 for orthonormal directions, got 9");
  CHECK(refusal({.radius = 0}) == "radius: expected a positive number, got 0");
  CHECK(refusal({.radius = -1e-3}) == "radius: expected a positive number, got -0.001");
  CHECK(refusal({.radius = not_a_number}).rfind("radius: ", 0) == 0);
  CHECK(refusal({.radius = infinity}) == "radius: expected a positive number, got inf");
  Gain bad = published_gain();
  bad(1, 2) = not_a_number;
  CHECK_THAT(test::message_of<NotFinite>([&] { zo::estimate_gradient<Fixed>(one, bad); }),
             Catch::Matchers::ContainsSubstring("K"));
}

TEST_CASE("a radius that would not change the gain, or whose square underflows, is refused by name") {
  const test::Quadratic f = test::random_quadratic(2, 4, 12);
  const auto oracle = f.oracle<Fixed>();
  const auto refusal = [&](double radius) {
    return test::message_of<InvalidOption>(
        [&] { zo::estimate_gradient<Fixed>(oracle, published_gain(), {.radius = radius}); });
  };
  CHECK(refusal(1e-170).rfind("radius: expected a number between 1e-150 and 1e150", 0) == 0);
  CHECK(refusal(1e-18).rfind("radius: expected at least 8 epsilon max|K| = ", 0) == 0);
  const double least = 8 * std::numeric_limits<double>::epsilon() * Fixed::max_abs(published_gain());
  CHECK(refusal(0.999 * least).rfind("radius: expected at least", 0) == 0);
  CHECK_NOTHROW(zo::estimate_gradient<Fixed>(oracle, published_gain(), {.radius = 1.001 * least}));
  CHECK(test::message_of<InvalidOption>([&] {
          zo::estimate_gradient<Fixed>(oracle, published_gain(), {.samples = 8 * zo::max_samples});
        }) == "samples: expected at most 1e8, got 8e+08");
}

TEST_CASE("about the zero gain a linear function's gradient is exact down to a radius of 1e-150") {
  test::Quadratic f = test::random_quadratic(2, 4, 12);
  f.c = 0;
  f.H = Dense(8, 8);
  for (const double radius : {1e-150, 1e-20, 1e150}) {
    const auto estimate =
        zo::estimate_gradient<Fixed>(f.oracle<Fixed>(), Fixed::zero_gain(2, 4), {.radius = radius});
    CHECK(error_of(estimate, f.G) < 1e-14);
  }
}

TEST_CASE("a radius beyond the range of single precision is refused by name") {
  using Single = metalqr::EigenBackend<float, 4, 2>;
  const auto one = [](const Single::Gain&) { return 1.0F; };
  for (const double radius : {1e-100, 1e-30, 1e30}) {
    CHECK_THAT(test::message_of<InvalidOption>(
                   [&] { zo::estimate_gradient<Single>(one, Single::zero_gain(2, 4), {.radius = radius}); }),
               Catch::Matchers::ContainsSubstring("radius: expected a number with a finite inverse square"));
  }
}

TEST_CASE("a cost of minus infinity counts as no cost") {
  const auto unbounded = [](const Gain& K) { return K(0, 0) > published_gain()(0, 0) ? -infinity : 1.0; };
  const auto estimate = zo::estimate_gradient<Fixed>(unbounded, published_gain());
  CHECK(estimate.used == 0);
  CHECK(estimate.dropped == 8);
  CHECK(Fixed::norm(estimate.gradient) == 0);
}

TEST_CASE("gains of another shape than the plant, or without entries, are refused as K") {
  const auto task = metalqr::systems::modified_boeing<Backend>();
  const zo::ExactCost<Backend> oracle(task);
  CHECK(test::message_of<metalqr::DimensionMismatch>([&] {
          zo::estimate_gradient<Backend>(oracle, Backend::zero_gain(3, 4));
        }) == "K: expected shape 2x4, got 3x4");
  const auto lambda = [](const Backend::Gain&) { return 1.0; };
  for (const Directions law : laws) {
    CHECK_THAT(test::message_of<metalqr::DimensionMismatch>([&] {
                 zo::estimate_gradient<Backend>(lambda, Backend::zero_gain(0, 0),
                                                {.directions = law, .samples = 5});
               }),
               Catch::Matchers::ContainsSubstring("K: expected at least one row"));
  }
}
