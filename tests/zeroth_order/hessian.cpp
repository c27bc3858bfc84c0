#include <metalqr/zeroth_order/hessian.hpp>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <metalqr/systems/plants.hpp>
#include <metalqr/zeroth_order/task_oracles.hpp>

#include "functions.hpp"

namespace {

namespace zo = metalqr::zeroth_order;
using metalqr::DimensionMismatch;
using metalqr::InvalidOption;
using metalqr::NotFinite;
using metalqr::StreamKey;
using test::Dense;
using test::Index;
using test::Mean;
using zo::Directions;
using Fixed = metalqr::EigenBackend<double, 4, 2>;
using Gain = Fixed::Gain;
using Dynamic = test::Backend;

const double infinity = std::numeric_limits<double>::infinity();
const double not_a_number = std::numeric_limits<double>::quiet_NaN();

StreamKey key(std::uint64_t iteration) {
  return {.seed = 77, .iteration = iteration, .task = 1};
}

const Gain& published_gain() {
  static const Gain K = metalqr::systems::modified_boeing_initial_gain<Fixed>();
  return K;
}

metalqr::Task<Fixed> boeing(bool code) {
  const auto nominal = metalqr::systems::modified_boeing<Fixed>();
  return code ? nominal.with_initial_state(metalqr::systems::published_initial_second_moment<Fixed>())
              : nominal;
}

/// The Hessian by central differences of the long double gradient; row i + n_u j belongs to X(i, j).
Dense exact_hessian(const test::DenseTask& task, const Dense& K) {
  const Index d = K.rows * K.cols;
  Dense H(d, d);
  const long double h = 1e-6L;
  for (Index column = 0; column < d; ++column) {
    Dense ahead = K;
    Dense behind = K;
    ahead(column % K.rows, column / K.rows) += h;
    behind(column % K.rows, column / K.rows) -= h;
    const Dense slope = (1 / (2 * h)) * (task.gradient(ahead) - task.gradient(behind));
    for (Index row = 0; row < d; ++row) H(row, column) = slope(row % K.rows, row / K.rows);
  }
  return H;
}

/// H of a quadratic function, from rows of K in a row to columns stacked.
Dense stacked(const Dense& H, Index nu, Index nx) {
  Dense result(H.rows, H.cols);
  const auto other = [&](Index i) { return (i % nu) * nx + i / nu; };
  for (Index i = 0; i < H.rows; ++i) {
    for (Index j = 0; j < H.cols; ++j) result(i, j) = H(other(i), other(j));
  }
  return result;
}

long double trace(const Dense& x) {
  long double sum = 0;
  for (Index i = 0; i < x.rows; ++i) sum += x(i, i);
  return sum;
}

}  // namespace

TEST_CASE("the printed estimate equals algorithm 2 written by hand") {
  const auto task = boeing(true);
  Fixed::StateMatrix covariance = Fixed::zero_state_matrix(4);
  for (Index i = 0; i < 4; ++i) covariance(i, i) = 0.25;
  const zo::RandomStartCost<Fixed> oracle(task, metalqr::GaussianState<Fixed>(covariance));
  const double r = 0.01;
  const auto directions = zo::draw_directions<Fixed>(Directions::sphere, 20, 2, 4, r, key(0));
  Dense gradient(2, 4);
  Dense hessian(2, 2);
  for (std::size_t l = 0; l < 20; ++l) {
    const StreamKey own = key(0).with_sample(l);
    const Dense U = test::dense<Fixed>(directions[l]);
    const long double ahead = oracle(Gain(published_gain() + directions[l]), own);
    const long double behind = oracle(Gain(published_gain() - directions[l]), own);
    const long double base = oracle(published_gain(), own);
    gradient = gradient + (ahead - behind) * U;
    hessian = hessian + (ahead - base) * (U * test::transpose(U) - test::identity(2));
  }
  const auto estimate =
      zo::estimate_as_printed<Fixed>(oracle, published_gain(), {.samples = 20, .radius = r}, key(0));
  const long double squared = static_cast<long double>(r) * r;
  CHECK(test::relative_error(test::dense<Fixed>(estimate.gradient.gradient),
                             (8 / (2 * squared * 20)) * gradient) < 1e-11);
  CHECK(test::relative_error(test::dense<Fixed>(estimate.hessian), (4 / (squared * 20)) * hessian) < 1e-9);
  CHECK(estimate.gradient.used == 20);
  CHECK(estimate.gradient.dropped == 0);
}

TEST_CASE("the printed gradient is that of the two-point estimator on the sphere, error bar included") {
  const auto task = boeing(false);
  const zo::ExactCost<Fixed> oracle(task);
  const auto printed =
      zo::estimate_as_printed<Fixed>(oracle, published_gain(), {.samples = 20, .radius = 0.001}, key(4));
  const auto plain = zo::estimate_gradient<Fixed>(
      oracle, published_gain(), {.directions = Directions::sphere, .samples = 20, .radius = 0.001}, key(4));
  CHECK(test::relative_error(test::dense<Fixed>(printed.gradient.gradient),
                             test::dense<Fixed>(plain.gradient)) < 1e-12);
  CHECK(test::relative_error(printed.gradient.standard_error, plain.standard_error) < 1e-10);
}

// 4 entries in 2 settings beyond 5 standard errors of the sampled mean: 6e-7 each.
TEST_CASE("the printed Hessian tends to -(n_u^2/(2 d)) tr(H) I, a negative scalar; false alarm 5e-6") {
  for (const bool code : {true, false}) {
    const auto task = boeing(code);
    const zo::ExactCost<Fixed> oracle(task);
    const long double trace_of_H =
        trace(exact_hessian(test::dense(task), test::dense<Fixed>(published_gain())));
    const Dense limit = (-4.0L / 16 * trace_of_H) * test::identity(2);
    std::vector<Dense> sample;
    for (std::uint64_t i = 0; i < 20000; ++i) {
      // The antithetic mean takes off the gradient's part, which is a hundred times larger and of mean zero.
      const auto forward =
          zo::estimate_as_printed<Fixed>(oracle, published_gain(), {.samples = 1, .radius = 1e-3}, key(i));
      const auto mirrored = [&](const Gain& K) { return oracle(Gain(2 * published_gain() - K)); };
      const auto backward =
          zo::estimate_as_printed<Fixed>(mirrored, published_gain(), {.samples = 1, .radius = 1e-3}, key(i));
      sample.push_back(0.5L * (test::dense<Fixed>(forward.hessian) + test::dense<Fixed>(backward.hessian)));
    }
    // The radius' own bias, of relative size 1e-4, is far below the bound.
    // Off the diagonal U U' leaves a share of r^2.
    std::vector<Dense> diagonal = sample;
    for (Dense& x : diagonal) {
      CHECK(std::abs(x(0, 1)) < 1e-5L * std::abs(limit(0, 0)));
      x(0, 1) = x(1, 0) = 0;
    }
    CHECK(test::largest_z_score(diagonal, limit) < 5);
    CHECK(trace_of_H > 0);
  }
}

TEST_CASE("the printed estimate calls 3 m times, and 2 m + 1 without repeating J(K)") {
  Index calls = 0;
  const auto counting = [&calls](const Gain& K) {
    ++calls;
    return Fixed::inner(K, K);
  };
  for (const Index m : {1, 8, 20}) {
    for (const bool repeat : {true, false}) {
      calls = 0;
      const auto estimate =
          zo::estimate_as_printed<Fixed>(counting, published_gain(), {.samples = m}, key(0), repeat);
      CHECK(calls == (repeat ? 3 * m : 2 * m + 1));
      CHECK(estimate.gradient.calls == calls);
    }
  }
}

TEST_CASE("without noise, repeating J(K) changes nothing in the printed estimate") {
  const auto task = boeing(true);
  const zo::ExactCost<Fixed> oracle(task);
  const zo::EstimatorOptions options{.samples = 20, .radius = 0.01};
  const auto with = zo::estimate_as_printed<Fixed>(oracle, published_gain(), options, key(1), true);
  const auto without = zo::estimate_as_printed<Fixed>(oracle, published_gain(), options, key(1), false);
  CHECK(Fixed::norm(Fixed::ControlMatrix(with.hessian - without.hessian)) == 0);
  CHECK(Fixed::norm(Gain(with.gradient.gradient - without.gradient.gradient)) == 0);
}

TEST_CASE("the printed estimate drops samples without a finite cost and never gives NaN") {
  metalqr::Stream stream = test::stream(8);
  const Gain N = test::gain<Fixed>(test::random_matrix(2, 4, stream));
  const double border = Fixed::inner(N, published_gain()) + 0.1;
  const auto half = [&](const Gain& K) {
    return Fixed::inner(N, K) > border ? not_a_number : Fixed::inner(K, K);
  };
  const auto some = zo::estimate_as_printed<Fixed>(
      half, published_gain(), {.samples = 50, .radius = 0.5, .unstable = zo::Unstable::drop}, key(0));
  CHECK(some.gradient.used > 0);
  CHECK(some.gradient.dropped > 0);
  CHECK(some.gradient.used + some.gradient.dropped == 50);
  CHECK(Fixed::is_finite(some.gradient.gradient));
  CHECK(Fixed::is_finite(some.hessian));
  const auto shrunk =
      zo::estimate_as_printed<Fixed>(half, published_gain(), {.samples = 50, .radius = 0.5}, key(0));
  CHECK(shrunk.gradient.used == 50);
  CHECK(shrunk.gradient.shrunk == some.gradient.dropped);
  const auto none = zo::estimate_as_printed<Fixed>([](const Gain&) { return infinity; }, published_gain(),
                                                   {.samples = 5}, key(0));
  CHECK(none.gradient.used == 0);
  CHECK(none.gradient.dropped == 5);
  CHECK(Fixed::norm(none.gradient.gradient) == 0);
  CHECK(Fixed::norm(none.hessian) == 0);
}

TEST_CASE("the consistent estimate is within 3 % (Gaussian: 5 %) of the Hessian at r = 1e-3, m = 1e5") {
  for (const bool code : {true, false}) {
    const auto task = boeing(code);
    const Dense exact = exact_hessian(test::dense(task), test::dense<Fixed>(published_gain()));
    for (const Directions law : {Directions::sphere, Directions::gaussian}) {
      const auto estimate =
          zo::estimate_hessian<Fixed>(zo::ExactCost<Fixed>(task), published_gain(),
                                      {.directions = law, .samples = 100000, .radius = 1e-3}, key(0));
      const double error = test::relative_error(test::dense<Fixed>(estimate.hessian), exact);
      const double bar = estimate.standard_error / static_cast<double>(test::norm(exact));
      CAPTURE(error, bar);
      CHECK(error < (law == Directions::sphere ? 0.03 : 0.05));
      // A statistical error that large is a matter of chance alone: the bar says so.
      CHECK(error < 2 * bar);
      CHECK(bar < (law == Directions::sphere ? 0.03 : 0.05));
      CHECK(estimate.calls == 200001);
      CHECK(estimate.used == 100000);
    }
  }
}

// Exactly unbiased on a quadratic function; the means are beyond 5 standard errors with probability 6e-7:
// 64 entries and an error bar in each of 2 laws.
TEST_CASE("the consistent estimate is unbiased and its error bar honest; false alarm 8e-5") {
  const test::Quadratic f = test::random_quadratic(2, 4, 3);
  const Dense exact = stacked(f.H, 2, 4);
  for (const Directions law : {Directions::sphere, Directions::gaussian}) {
    std::vector<Dense> sample;
    std::vector<double> differences;
    for (std::uint64_t i = 0; i < 400; ++i) {
      const auto estimate = zo::estimate_hessian<Fixed>(
          f.oracle<Fixed>(), published_gain(), {.directions = law, .samples = 200, .radius = 0.3}, key(i));
      sample.push_back(test::dense<Fixed>(estimate.hessian));
      const double error = static_cast<double>(test::norm(sample.back() - exact));
      differences.push_back(error * error - estimate.standard_error * estimate.standard_error);
    }
    CHECK(test::largest_z_score(sample, exact) < 5);
    const Mean difference(differences);
    CHECK(std::abs(difference.value) < 5 * difference.error);
  }
}

TEST_CASE("the consistent estimate is the same with dynamic sizes and any shape of the gain") {
  const test::Quadratic f = test::random_quadratic(3, 2, 4);
  const Dense exact = stacked(f.H, 3, 2);
  const auto estimate = zo::estimate_hessian<Dynamic>(f.oracle<Dynamic>(), Dynamic::zero_gain(3, 2),
                                                      {.directions = Directions::sphere, .samples = 40000});
  const double error = static_cast<double>(test::norm(test::dense(estimate.hessian) - exact));
  CHECK(error < 2 * estimate.standard_error);
  CHECK(estimate.standard_error < 0.1 * static_cast<double>(test::norm(exact)));
  for (Index i = 0; i < 6; ++i) {
    for (Index j = 0; j < i; ++j) CHECK(estimate.hessian(i, j) == Catch::Approx(estimate.hessian(j, i)));
  }
}

TEST_CASE("the consistent estimate calls 2 m + 1 times, and 3 m if costs are random") {
  Index calls = 0;
  const auto plain = [&calls](const Gain& K) {
    ++calls;
    return Fixed::inner(K, K);
  };
  const auto random = [&calls](const Gain& K, const StreamKey&) {
    ++calls;
    return Fixed::inner(K, K);
  };
  const zo::EstimatorOptions options{.directions = Directions::sphere, .samples = 30};
  CHECK(zo::estimate_hessian<Fixed>(plain, published_gain(), options).calls == 61);
  CHECK(calls == 61);
  CHECK(zo::estimate_hessian<Fixed>(random, published_gain(), options).calls == 90);
  CHECK(calls == 61 + 90);
  CHECK(zo::estimate_hessian<Fixed>(plain, published_gain()).calls == 2 * 16 * 64 + 1);
}

TEST_CASE("common random numbers cancel additive noise in the consistent estimate") {
  const test::Quadratic f = test::random_quadratic(2, 4, 5);
  const auto exact = f.oracle<Fixed>();
  const auto noisy = [&exact](const Gain& K, const StreamKey& at) {
    metalqr::Stream stream(at.with_purpose(metalqr::Purpose::user));
    return exact(K) + stream.normal();
  };
  const zo::EstimatorOptions options{.directions = Directions::gaussian, .samples = 100, .radius = 0.5};
  const auto with = zo::estimate_hessian<Fixed>(noisy, published_gain(), options, key(1));
  const auto without = zo::estimate_hessian<Fixed>(exact, published_gain(), options, key(1));
  CHECK(test::relative_error(test::dense<Fixed>(with.hessian), test::dense<Fixed>(without.hessian)) < 1e-12);
  zo::EstimatorOptions own = options;
  own.common_random_numbers = false;
  const auto apart = zo::estimate_hessian<Fixed>(noisy, published_gain(), own, key(1));
  CHECK(apart.standard_error > 3 * with.standard_error);
}

TEST_CASE("a Hessian is refused in directions without the right fourth moments") {
  const auto one = [](const Gain&) { return 1.0; };
  for (const Directions law : {Directions::rademacher, Directions::orthonormal, Directions::coordinate}) {
    CHECK(test::message_of<InvalidOption>(
              [&] { zo::estimate_hessian<Fixed>(one, published_gain(), {.directions = law}); }) ==
          std::string("directions: expected sphere or gaussian for a Hessian, got ") + zo::to_string(law));
  }
  CHECK(test::message_of<InvalidOption>([&] {
          zo::estimate_hessian<Fixed>(one, published_gain(), {.directions = Directions::sphere, .radius = 0});
        }) == "radius: expected a positive number, got 0");
  Gain bad = published_gain();
  bad(0, 0) = infinity;
  CHECK_THAT(test::message_of<NotFinite>([&] { zo::estimate_hessian<Fixed>(one, bad); }),
             Catch::Matchers::ContainsSubstring("K"));
}

TEST_CASE("the consistent estimate drops samples without a finite cost") {
  const auto task = boeing(false);
  const auto wide = zo::estimate_hessian<Fixed>(
      zo::ExactCost<Fixed>(task), published_gain(),
      {.directions = Directions::sphere, .samples = 200, .radius = 0.3, .unstable = zo::Unstable::drop});
  CHECK(wide.dropped > 0);
  CHECK(wide.shrunk == 0);
  CHECK(wide.used + wide.dropped == 200);
  CHECK(Fixed::is_finite(wide.hessian));
  const auto lost = zo::estimate_hessian<Fixed>(zo::ExactCost<Fixed>(task), Fixed::zero_gain(2, 4),
                                                {.directions = Directions::sphere, .samples = 10});
  CHECK(lost.used == 0);
  CHECK(lost.dropped == 10);
  CHECK(Fixed::norm(lost.hessian) == 0);
}

TEST_CASE("the Hessian-vector product is exact on a quadratic function") {
  const test::Quadratic f = test::random_quadratic(2, 4, 6);
  metalqr::Stream stream = test::stream(9);
  const Dense X = test::rounded(test::random_matrix(2, 4, stream));
  Dense v(8, 1);
  v.entries = X.entries;
  Dense expected(2, 4);
  expected.entries = (f.H * v).entries;
  for (const double step : {0.0, 0.01, 3.0}) {
    const auto product =
        zo::estimate_hessian_product<Fixed>(f.oracle<Fixed>(), published_gain(), test::gain<Fixed>(X),
                                            {.radius = 0.5, .check_direction = false}, key(0), step);
    CHECK(test::relative_error(test::dense<Fixed>(product.product), expected) < 1e-11);
    CHECK(product.calls == 32);
    CHECK(product.usable);
  }
}

TEST_CASE("the Hessian-vector product's error on the cost falls as h^2") {
  for (const bool code : {true, false}) {
    const auto task = boeing(code);
    const zo::ExactCost<Fixed> oracle(task);
    const metalqr::Evaluation<Fixed> at(task, published_gain());
    metalqr::Stream stream = test::stream(10);
    for (int repeat = 0; repeat < 5; ++repeat) {
      const Gain X = test::gain<Fixed>(test::random_matrix(2, 4, stream));
      const Dense exact = test::dense<Fixed>(at.hessian(X));
      const auto error = [&](double h) {
        return test::relative_error(
            test::dense<Fixed>(
                zo::estimate_hessian_product<Fixed>(oracle, published_gain(), X, {.radius = h}, key(0), h)
                    .product),
            exact);
      };
      CHECK(error(1e-4) < 1e-3);
      CHECK(error(4e-4) / error(1e-4) > 12);
      CHECK(error(4e-4) / error(1e-4) < 20);
    }
  }
}

TEST_CASE("the Hessian-vector product is linear in the length of X, and zero for X = 0") {
  const auto task = boeing(true);
  const zo::ExactCost<Fixed> oracle(task);
  const Gain X = published_gain();
  const auto once = zo::estimate_hessian_product<Fixed>(oracle, published_gain(), X);
  const auto twice = zo::estimate_hessian_product<Fixed>(oracle, published_gain(), Gain(1024 * X));
  CHECK(test::relative_error(test::dense<Fixed>(twice.product), 1024.0L * test::dense<Fixed>(once.product)) <
        1e-14);
  const auto zero = zo::estimate_hessian_product<Fixed>(oracle, published_gain(), Fixed::zero_gain(2, 4));
  CHECK(Fixed::norm(zero.product) == 0);
  CHECK(zero.usable);
  CHECK(zero.calls == 0);
  CHECK(zero.standard_error == 0);
}

TEST_CASE("the Hessian-vector product uses the same directions and random numbers on both sides") {
  const test::Quadratic f = test::random_quadratic(2, 4, 6);
  const auto exact = f.oracle<Fixed>();
  const auto noisy = [&exact](const Gain& K, const StreamKey& at) {
    metalqr::Stream stream(at.with_purpose(metalqr::Purpose::user));
    return exact(K) * (1 + 0.1 * stream.normal());
  };
  // With independent directions the gradients are wrong by order one; the same ones cancel their common part.
  const auto product = zo::estimate_hessian_product<Fixed>(
      noisy, published_gain(), published_gain(),
      {.directions = Directions::sphere, .samples = 64, .radius = 1e-2}, key(0), 1e-3);
  CHECK(product.standard_error > 100 * Fixed::norm(product.product));
  CHECK(Fixed::norm(product.product) < 20 * static_cast<double>(test::norm(f.H)));
}

TEST_CASE("a Hessian-vector product without a finite sample is not usable and zero") {
  const auto task = boeing(true);
  const auto lost = zo::estimate_hessian_product<Fixed>(zo::ExactCost<Fixed>(task), Fixed::zero_gain(2, 4),
                                                        published_gain());
  CHECK_FALSE(lost.usable);
  CHECK(Fixed::norm(lost.product) == 0);
  CHECK(lost.calls > 0);
}

TEST_CASE("bad arguments of the Hessian-vector product are refused by name") {
  const auto one = [](const Dynamic::Gain&) { return 1.0; };
  const Dynamic::Gain K = Dynamic::zero_gain(2, 3);
  CHECK_THAT(test::message_of<DimensionMismatch>(
                 [&] { zo::estimate_hessian_product<Dynamic>(one, K, Dynamic::zero_gain(3, 2)); }),
             Catch::Matchers::ContainsSubstring("X"));
  Dynamic::Gain bad = K;
  bad(0, 0) = not_a_number;
  CHECK_THAT(test::message_of<NotFinite>([&] { zo::estimate_hessian_product<Dynamic>(one, K, bad); }),
             Catch::Matchers::ContainsSubstring("X"));
  CHECK_THAT(test::message_of<NotFinite>([&] {
               zo::estimate_hessian_product<Dynamic>(one, bad, Dynamic::Gain(Dynamic::zero_gain(2, 3)));
             }),
             Catch::Matchers::ContainsSubstring("K"));
  CHECK(test::message_of<InvalidOption>([&] {
          zo::estimate_hessian_product<Dynamic>(one, K, K, {}, {}, -1);
        }) == "step: expected a positive number, or 0 for the radius, got -1");
  CHECK(test::message_of<InvalidOption>([&] {
          zo::estimate_hessian_product<Dynamic>(one, K, K, {.radius = -1});
        }) == "radius: expected a positive number, got -1");
}

TEST_CASE("with shrinking, the consistent estimate beside a border is that of the quadratic without it") {
  const test::Quadratic f = test::random_quadratic(2, 4, 13);
  metalqr::Stream stream = test::stream(8);
  const Gain N = test::gain<Fixed>(test::random_matrix(2, 4, stream));
  const double distance = 0.1;
  const double border = Fixed::inner(N, published_gain()) + distance;
  Index calls = 0;
  const auto half = [&, inside = f.oracle<Fixed>()](const Gain& K) {
    ++calls;
    return Fixed::inner(N, K) > border ? infinity : inside(K);
  };
  for (const Directions law : {Directions::sphere, Directions::gaussian}) {
    calls = 0;
    const zo::EstimatorOptions options{.directions = law, .samples = 300, .radius = 0.5};
    const auto free = zo::estimate_hessian<Fixed>(f.oracle<Fixed>(), published_gain(), options, key(3));
    const auto shrunk = zo::estimate_hessian<Fixed>(half, published_gain(), options, key(3));
    Index beyond = 0;
    for (const Gain& U : zo::draw_directions<Fixed>(law, 300, 2, 4, 0.5, key(3)))
      beyond += std::abs(Fixed::inner(N, U)) > distance ? 1 : 0;
    REQUIRE(beyond > 0);
    CHECK(shrunk.shrunk == beyond);
    CHECK(shrunk.used == 300);
    CHECK(shrunk.dropped == 0);
    CHECK(shrunk.calls == calls);
    CHECK(free.shrunk == 0);
    CHECK(test::relative_error(test::dense<Fixed>(shrunk.hessian), test::dense<Fixed>(free.hessian)) < 1e-11);
    zo::EstimatorOptions dropping = options;
    dropping.unstable = zo::Unstable::drop;
    const auto dropped = zo::estimate_hessian<Fixed>(half, published_gain(), dropping, key(3));
    CHECK(dropped.dropped == beyond);
    CHECK(dropped.shrunk == 0);
  }
}

TEST_CASE("shared directions of the consistent estimate do not depend on the task, others do") {
  const test::Quadratic f = test::random_quadratic(2, 4, 14);
  const auto hessian = [&](bool shared, std::uint64_t task) {
    return test::dense<Fixed>(
        zo::estimate_hessian<Fixed>(
            f.oracle<Fixed>(), published_gain(),
            {.directions = Directions::sphere, .samples = 20, .radius = 0.5, .shared_directions = shared},
            key(1).with_task(task))
            .hessian);
  };
  CHECK(hessian(true, 1).entries == hessian(true, 7).entries);
  CHECK(hessian(true, 7).entries == hessian(false, 0).entries);
  CHECK(test::relative_error(hessian(false, 1), hessian(false, 7)) > 0.01);
}

TEST_CASE("Hessian estimates refuse other points than two, too small radii and gains of another shape") {
  const auto one = [](const Gain&) { return 1.0; };
  const auto refusal = [&](const zo::EstimatorOptions& options) {
    return test::message_of<InvalidOption>(
        [&] { zo::estimate_hessian<Fixed>(one, published_gain(), options); });
  };
  CHECK(refusal({.points = zo::Points::one, .directions = Directions::sphere}) ==
        "points: expected two for a Hessian, got one");
  CHECK(refusal({.points = zo::Points::one_with_baseline, .directions = Directions::sphere}) ==
        "points: expected two for a Hessian, got one_with_baseline");
  CHECK(refusal({.directions = Directions::sphere, .radius = 1e-100}).rfind("radius: expected", 0) == 0);
  CHECK(refusal({.directions = Directions::sphere, .radius = 1e-18}).rfind("radius: expected", 0) == 0);
  const auto too_small = [&](double radius, double step) {
    return test::message_of<InvalidOption>([&] {
      zo::estimate_hessian_product<Fixed>(one, published_gain(), published_gain(), {.radius = radius}, {},
                                          step);
    });
  };
  CHECK(too_small(1e-18, 0).rfind("radius: expected at least", 0) == 0);
  CHECK(too_small(1e-4, 1e-18).rfind("step: expected at least", 0) == 0);
  CHECK(test::message_of<InvalidOption>([&] {
          zo::estimate_as_printed<Fixed>(one, published_gain(), {.radius = 1e-18}, {});
        }).rfind("radius: expected at least", 0) == 0);
  const auto task = metalqr::systems::modified_boeing<Dynamic>();
  const zo::ExactCost<Dynamic> oracle(task);
  const Dynamic::Gain wrong = Dynamic::zero_gain(3, 4);
  const auto misshapen = [&](const auto& call) { return test::message_of<DimensionMismatch>(call); };
  const std::string expected = "K: expected shape 2x4, got 3x4";
  CHECK(misshapen([&] { zo::estimate_hessian<Dynamic>(oracle, wrong); }) == expected);
  CHECK(misshapen([&] { zo::estimate_hessian_product<Dynamic>(oracle, wrong, wrong); }) == expected);
  CHECK(misshapen([&] { zo::estimate_as_printed<Dynamic>(oracle, wrong, {}, {}); }) == expected);
}
