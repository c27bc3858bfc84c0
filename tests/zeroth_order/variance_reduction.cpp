#include <metalqr/zeroth_order/variance_reduction.hpp>

#include <atomic>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <metalqr/lqr/optimal_gain.hpp>
#include <metalqr/systems/plants.hpp>
#include <metalqr/zeroth_order/task_oracles.hpp>

#include "functions.hpp"

namespace {

namespace zo = metalqr::zeroth_order;
using metalqr::InvalidOption;
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
using State = zo::VarianceReductionState<Fixed>;
using Options = zo::VarianceReductionOptions;
using Estimate = zo::GradientEstimate<Fixed>;

const double infinity = std::numeric_limits<double>::infinity();
const double not_a_number = std::numeric_limits<double>::quiet_NaN();
const std::vector<Points> all_points{Points::one, Points::one_with_baseline, Points::two};

StreamKey key(std::uint64_t iteration) {
  return {.seed = 71, .iteration = iteration, .task = 2};
}

const Gain& published_gain() {
  static const Gain K = metalqr::systems::modified_boeing_initial_gain<Fixed>();
  return K;
}

/// A gain at the given distance from the published one, always in the same direction.
Gain gain_at(double distance) {
  metalqr::Stream stream = test::stream(4);
  Gain direction = Fixed::zero_gain(2, 4);
  metalqr::fill_normal<Fixed>(direction, stream);
  return published_gain() + (distance / Fixed::norm(direction)) * direction;
}

/// The modified Boeing plant from random starts with a mean.
struct RandomBoeing {
  metalqr::Task<Fixed> nominal = metalqr::systems::modified_boeing<Fixed>();
  metalqr::GaussianState<Fixed> start{Fixed::StateVector::Constant(0.5), nominal.Sigma0()};
  metalqr::Task<Fixed> expected = nominal.with_initial_state(start.second_moment());
  zo::RandomStartCost<Fixed> oracle{nominal, start};

  /// The gradient at K for the initial state that the oracle draws at `at`.
  Dense gradient(const Gain& K, const StreamKey& at) const {
    metalqr::Stream stream(at.with_purpose(metalqr::Purpose::initial_state));
    const Dense x0 = test::dense<Fixed>(start.sample(stream));
    test::DenseTask task = test::dense(nominal);
    task.Sigma0 = x0 * test::transpose(x0);
    return task.gradient(test::dense<Fixed>(K));
  }
};

Dense dense(const Gain& X) {
  return test::dense<Fixed>(X);
}
double square(const Dense& x) {
  return static_cast<double>(test::inner(x, x));
}
bool same_bits(const Gain& X, const Gain& Y) {
  return Fixed::max_abs(Gain(X - Y)) == 0;
}

/// A state whose anchor has served once.
State anchored(const Gain& anchor, const Gain& gradient) {
  State state;
  state.anchor = anchor;
  state.at_anchor = {.gradient = gradient, .used = 8};
  state.steps = 1;
  return state;
}

/// Slope of the straight line through log y against log x by least squares.
double exponent(const std::vector<double>& x, const std::vector<double>& y) {
  double sx = 0, sy = 0, sxx = 0, sxy = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    sx += std::log(x[i]);
    sy += std::log(y[i]);
    sxx += std::log(x[i]) * std::log(x[i]);
    sxy += std::log(x[i]) * std::log(y[i]);
  }
  const double n = static_cast<double>(x.size());
  return (n * sxy - sx * sy) / (n * sxx - sx * sx);
}

}  // namespace

TEST_CASE("the first estimate is the anchor's, bitwise, and at the anchor it is repeated without a call") {
  const RandomBoeing boeing;
  const Options options{.anchor = {.samples = 64, .radius = 1e-3}};
  State state;
  const Estimate first =
      zo::estimate_variance_reduced<Fixed>(boeing.oracle, published_gain(), options, state, key(0));
  const Estimate plain =
      zo::estimate_gradient<Fixed>(boeing.oracle, published_gain(), options.anchor, key(0));
  CHECK(same_bits(first.gradient, plain.gradient));
  CHECK(first.standard_error == plain.standard_error);
  CHECK(first.calls == 128);
  CHECK(first.used == 64);
  CHECK(same_bits(state.anchor, published_gain()));
  CHECK(same_bits(state.at_anchor.gradient, plain.gradient));
  CHECK(state.steps == 1);
  CHECK(state.calls == 128);
  const Estimate again =
      zo::estimate_variance_reduced<Fixed>(boeing.oracle, published_gain(), options, state, key(1));
  CHECK(same_bits(again.gradient, plain.gradient));
  CHECK(again.standard_error == plain.standard_error);
  CHECK(again.calls == 0);
  CHECK(again.used == 64);
  CHECK(state.steps == 2);
  CHECK(state.calls == 128);
}

TEST_CASE("at the anchor the estimates of the difference cancel bitwise, in batches of any size as well") {
  const RandomBoeing boeing;
  const Gain K = published_gain();
  const zo::detail::CostDifference<Fixed, zo::RandomStartCost<Fixed>> difference(boeing.oracle, K, K);
  for (const Points points : all_points) {
    for (const Index samples : {1, 2, 3, 5, 8, 300}) {
      for (const double radius : {1e-4, 0.3}) {
        const Estimate zero = zo::estimate_gradient<Fixed>(difference, Fixed::zero_gain(2, 4),
                                                           {.points = points,
                                                            .directions = Directions::sphere,
                                                            .samples = samples,
                                                            .radius = radius,
                                                            .common_random_numbers = false},
                                                           key(3));
        CHECK(zero.used > 0);
        CHECK(Fixed::max_abs(zero.gradient) == 0);
      }
    }
  }
}

TEST_CASE("with an inner length of one every estimate is the plain one, bitwise") {
  const RandomBoeing boeing;
  const Options options{.anchor = {.samples = 16, .radius = 1e-3}, .inner_length = 1};
  State state;
  Gain K = published_gain();
  for (std::uint64_t n = 0; n < 5; ++n) {
    const Estimate reduced = zo::estimate_variance_reduced<Fixed>(boeing.oracle, K, options, state, key(n));
    const Estimate plain = zo::estimate_gradient<Fixed>(boeing.oracle, K, options.anchor, key(n));
    CHECK(same_bits(reduced.gradient, plain.gradient));
    CHECK(reduced.calls == plain.calls);
    CHECK(same_bits(state.anchor, K));
    K = K - 1e-6 * reduced.gradient;
  }
}

// J = k^2 with r = 1/2 and the anchor 3, whose gradient is 6: at 5, J(5 + u) - J(3 + u) = 16 + 4u.
TEST_CASE("on a parabola the estimates are those worked out by hand") {
  const auto parabola = [](const Backend::Gain& K) { return K(0, 0) * K(0, 0); };
  const auto at = [](double k) { return test::gain(Dense{{k}}); };
  const auto estimate = [&](Points points, std::uint64_t n) {
    const Options options{
        .anchor = {.radius = 0.5, .check_direction = false},
        .inner = {.points = points, .directions = Directions::sphere, .samples = 1, .radius = 0.5}};
    zo::VarianceReductionState<Backend> state;
    const double first =
        zo::estimate_variance_reduced<Backend>(parabola, at(3), options, state, key(n)).gradient(0, 0);
    CHECK(std::abs(first - 6) < 1e-12);
    return zo::estimate_variance_reduced<Backend>(parabola, at(5), options, state, key(n + 1)).gradient(0, 0);
  };
  Index plus = 0;
  for (std::uint64_t n = 0; n < 20; ++n) {
    CHECK(std::abs(estimate(Points::two, n) - 10) < 1e-12);
    CHECK(std::abs(estimate(Points::one_with_baseline, n) - 10) < 1e-12);
    // (16 + 4u) u/r^2 is 36 or -28.
    const double one = estimate(Points::one, n);
    CHECK(std::abs(one - (one > 0 ? 42 : -22)) < 1e-12);
    plus += one > 0 ? 1 : 0;
  }
  CHECK(plus > 0);
  CHECK(plus < 20);
}

// With J = |K - C|^2 the slopes are 2 <K - anchor, U> with two points, with a baseline as well, and
// |K + U - C|^2 - |anchor + U - C|^2 with one.
TEMPLATE_TEST_CASE("on a sum of squares the estimate is the closed form, sample by sample", "", Fixed,
                   Backend) {
  using AnyBackend = TestType;
  using AnyGain = typename AnyBackend::Gain;
  const Index nx = AnyBackend::states == metalqr::dynamic ? 3 : 4;
  const double d = static_cast<double>(2 * nx);
  const double r = 0.25;
  metalqr::Stream stream = test::stream(5);
  const AnyGain C = test::gain<AnyBackend>(test::random_matrix(2, nx, stream));
  const AnyGain anchor = test::gain<AnyBackend>(test::random_matrix(2, nx, stream));
  const AnyGain K = test::gain<AnyBackend>(test::random_matrix(2, nx, stream));
  const auto squares = [&C](const AnyGain& X) { return AnyBackend::inner(AnyGain(X - C), AnyGain(X - C)); };
  for (const Directions law : {Directions::sphere, Directions::gaussian, Directions::orthonormal}) {
    for (const Points points : all_points) {
      for (const Index blocks : {1, 3}) {
        const Index samples = law == Directions::orthonormal ? 2 * nx * blocks : blocks;
        const Options options{
            .anchor = {.radius = r},
            .inner = {.points = points, .directions = law, .samples = samples, .radius = r}};
        zo::VarianceReductionState<AnyBackend> state;
        const auto first = zo::estimate_variance_reduced<AnyBackend>(squares, anchor, options, state, key(1));
        CHECK(AnyBackend::norm(AnyGain(first.gradient - 2 * (anchor - C))) < 1e-13);
        const auto estimate = zo::estimate_variance_reduced<AnyBackend>(squares, K, options, state, key(2));
        AnyGain expected = 2 * (anchor - C);
        for (const AnyGain& U : zo::draw_directions<AnyBackend>(law, samples, 2, nx, r, key(2))) {
          double slope = 2 * AnyBackend::inner(AnyGain(K - anchor), U);
          if (points == Points::one) slope = squares(AnyGain(K + U)) - squares(AnyGain(anchor + U));
          expected += (d / (r * r) * slope / static_cast<double>(samples)) * U;
        }
        CHECK(AnyBackend::norm(AnyGain(estimate.gradient - expected)) < 1e-12 * AnyBackend::norm(expected));
        CHECK(estimate.used == samples);
      }
    }
  }
}

TEST_CASE("costs at the gain and at the anchor are asked for along the same directions with the same keys") {
  struct Call {
    Gain K;
    StreamKey key;
  };
  std::vector<Call> calls;
  const auto record = [&calls](const Gain& K, const StreamKey& at) {
    calls.push_back({K, at});
    return Fixed::inner(K, K);
  };
  const Gain K = gain_at(0.1);
  for (const bool common : {true, false}) {
    State state = anchored(published_gain(), Fixed::zero_gain(2, 4));
    const Options options{
        .inner = {
            .directions = Directions::sphere, .samples = 3, .radius = 0.5, .common_random_numbers = common}};
    calls.clear();
    zo::estimate_variance_reduced<Fixed>(record, K, options, state, key(7));
    REQUIRE(calls.size() == 12);
    for (const Call& here : calls) {
      const Gain U = here.K - K;
      const Gain V = here.K - published_gain();
      Index partners = 0;
      for (const Call& there : calls) {
        const bool same = there.key == here.key;
        if (same && Fixed::norm(Gain(there.K - published_gain() - U)) < 1e-14) ++partners;
        if (same && Fixed::norm(Gain(there.K - K - V)) < 1e-14) ++partners;
      }
      CHECK(partners == 1);
    }
  }
}

// The bias of two points in all laws is that of the cost averaged over a ball, r^2/(2 (d + 2)) times the
// gradient of the Laplacian, up to r^4. A Student's t of 1999 degrees of freedom is beyond 5.3 with
// probability 1.3e-7; 8 entries, two laws.
TEST_CASE("with random starts the estimates are unbiased but for the smoothing; false alarm 2e-6") {
  const RandomBoeing boeing;
  const Gain K = gain_at(0.01);
  const double r = 1e-3;
  const test::DenseTask task = test::dense(boeing.expected);
  const Dense exact = task.gradient(dense(K));
  Dense laplacian(2, 4);
  const long double h = 1e-3L;
  for (std::size_t i = 0; i < 8; ++i) {
    Dense e(2, 4);
    e.entries[i] = h;
    laplacian =
        laplacian + (1 / (h * h)) * (task.gradient(dense(K) + e) + task.gradient(dense(K) - e) - 2 * exact);
  }
  const Dense expected = exact + static_cast<long double>(r * r / 20) * laplacian;
  for (const Directions law : {Directions::sphere, Directions::orthonormal}) {
    const Index samples = law == Directions::sphere ? 2 : 8;
    const Options options{.anchor = {.samples = 16, .radius = r},
                          .inner = {.directions = law, .samples = samples, .radius = r}};
    std::vector<Dense> sample;
    for (std::uint64_t i = 0; i < 2000; ++i) {
      State state;
      zo::estimate_variance_reduced<Fixed>(boeing.oracle, published_gain(), options, state, key(2 * i));
      const Estimate estimate =
          zo::estimate_variance_reduced<Fixed>(boeing.oracle, K, options, state, key(2 * i + 1));
      sample.push_back(dense(estimate.gradient));
    }
    CHECK(test::largest_z_score(sample, expected) < 5.3);
    // The test sees the difference that takes the anchor's gradient to K.
    const Dense there = task.gradient(dense(published_gain()));
    CHECK(test::largest_z_score(sample, expected + 0.5L * (there - exact)) > 5.3);
  }
}

// One two-point sample on the sphere along a gradient a is d <a, U> U/r^2, with the mean a and the mean
// square d |a|^2: here a is the difference of the gradients, for a plain estimate the gradient itself.
TEST_CASE("the variance falls as the square of the distance from the anchor; false alarm 4e-6") {
  const auto task = metalqr::systems::modified_boeing<Fixed>();
  const zo::ExactCost<Fixed> oracle(task);
  const Dense there = test::dense(task).gradient(dense(published_gain()));
  const zo::EstimatorOptions one{
      .directions = Directions::sphere, .samples = 1, .radius = 1e-4, .check_direction = false};
  const std::vector<double> distances{1e-5, 3e-5, 1e-4, 3e-4, 1e-3};
  std::vector<double> variances;
  for (const double distance : distances) {
    const Gain K = gain_at(distance);
    const Dense exact = test::dense(task).gradient(dense(K));
    const double derived = 7 * square(exact - there);
    const double derived_plain = 7 * square(exact);
    std::vector<double> reduced;
    std::vector<double> plain;
    for (std::uint64_t i = 0; i < 1000; ++i) {
      // Any gradient may stand at the anchor: the variance about it and the exact difference is measured.
      State state = anchored(published_gain(), published_gain());
      const Estimate v = zo::estimate_variance_reduced<Fixed>(oracle, K, {.inner = one}, state, key(i));
      reduced.push_back(square(dense(v.gradient) - dense(published_gain()) - (exact - there)));
      plain.push_back(square(dense(zo::estimate_gradient<Fixed>(oracle, K, one, key(i)).gradient) - exact));
    }
    const Mean mean(reduced);
    const Mean of_plain(plain);
    CAPTURE(distance, mean.value / derived, of_plain.value / derived_plain);
    CHECK(std::abs(mean.value - derived) < 5 * mean.error);
    CHECK(std::abs(of_plain.value - derived_plain) < 5 * of_plain.error);
    CHECK(mean.value < of_plain.value / 100);
    variances.push_back(mean.value);
  }
  CHECK(std::abs(exponent(distances, variances) - 2) < 0.1);
}

// Given the initial state x0, the mean square of one sample is d |a|^2 with a the difference of the gradients
// for x0 at both gains. If the gains have initial states of their own, a does not vanish at the anchor.
TEST_CASE("with random starts the variance falls only if the initial states are shared; false alarm 3e-6") {
  const RandomBoeing boeing;
  const auto other_starts = [&boeing](const Gain& K, const StreamKey& at) {
    return boeing.oracle(K, at.child(9));
  };
  const zo::EstimatorOptions one{
      .directions = Directions::sphere, .samples = 1, .radius = 1e-4, .check_direction = false};
  const std::vector<double> distances{1e-4, 1e-3};
  std::vector<double> shared;
  std::vector<double> own;
  for (const double distance : distances) {
    const Gain K = gain_at(distance);
    std::vector<double> squares;
    std::vector<double> errors;
    std::vector<double> of_own;
    std::vector<double> own_errors;
    for (std::uint64_t i = 0; i < 600; ++i) {
      State state = anchored(published_gain(), Fixed::zero_gain(2, 4));
      const Estimate v =
          zo::estimate_variance_reduced<Fixed>(boeing.oracle, K, {.inner = one}, state, key(i));
      const Dense here = boeing.gradient(K, key(i));
      squares.push_back(square(dense(v.gradient)));
      errors.push_back(squares.back() - 8 * square(here - boeing.gradient(published_gain(), key(i))));
      // The same directions at both gains, other initial states.
      const Estimate g = zo::estimate_gradient<Fixed>(boeing.oracle, K, one, key(i));
      const Estimate anchor = zo::estimate_gradient<Fixed>(other_starts, published_gain(), one, key(i));
      of_own.push_back(square(dense(g.gradient) - dense(anchor.gradient)));
      own_errors.push_back(of_own.back() -
                           8 * square(here - boeing.gradient(published_gain(), key(i).child(9))));
    }
    CHECK(std::abs(Mean(errors).value) < 5 * Mean(errors).error);
    CHECK(std::abs(Mean(own_errors).value) < 5 * Mean(own_errors).error);
    shared.push_back(Mean(squares).value);
    own.push_back(Mean(of_own).value);
  }
  CAPTURE(shared[0], shared[1], own[0], own[1]);
  CHECK(std::abs(exponent(distances, shared) - 2) < 0.1);
  CHECK(std::abs(exponent(distances, own)) < 0.05);
  CHECK(shared[0] < 1e-4 * own[0]);
  CHECK(shared[1] < 1e-2 * own[1]);
}

// The anchor's error and the difference's are independent; both sides estimate E|error|^2.
TEST_CASE("the error bar has the size of the actual error; false alarm 6e-7") {
  const RandomBoeing boeing;
  const Gain K = gain_at(0.02);
  const Dense exact = test::dense(boeing.expected).gradient(dense(K));
  const Options options{.anchor = {.directions = Directions::sphere, .samples = 64, .radius = 1e-4},
                        .inner = {.directions = Directions::sphere, .samples = 16, .radius = 1e-4}};
  std::vector<double> differences;
  double of_anchors = 0;
  double squares = 0;
  for (std::uint64_t i = 0; i < 500; ++i) {
    State state;
    const Estimate anchor =
        zo::estimate_variance_reduced<Fixed>(boeing.oracle, published_gain(), options, state, key(2 * i));
    const Estimate v = zo::estimate_variance_reduced<Fixed>(boeing.oracle, K, options, state, key(2 * i + 1));
    const double bar = v.standard_error * v.standard_error;
    differences.push_back(square(dense(v.gradient) - exact) - bar);
    of_anchors += anchor.standard_error * anchor.standard_error;
    squares += bar;
  }
  CHECK(std::abs(Mean(differences).value) < 5 * Mean(differences).error);
  // Neither part could be left out unnoticed.
  CHECK(of_anchors > 0.1 * squares);
  CHECK(of_anchors < 0.9 * squares);
}

TEST_CASE("the error bar is NaN where the anchor or the difference has none") {
  const RandomBoeing boeing;
  const auto error = [&](const zo::EstimatorOptions& anchor, const zo::EstimatorOptions& inner) {
    const Options options{.anchor = anchor, .inner = inner};
    State state;
    zo::estimate_variance_reduced<Fixed>(boeing.oracle, published_gain(), options, state, key(0));
    return zo::estimate_variance_reduced<Fixed>(boeing.oracle, gain_at(0.01), options, state, key(1))
        .standard_error;
  };
  const zo::EstimatorOptions with{.directions = Directions::sphere, .samples = 2};
  const zo::EstimatorOptions without{
      .directions = Directions::sphere, .samples = 1, .check_direction = false};
  CHECK(error(with, with) > 0);
  CHECK(std::isnan(error(with, without)));
  CHECK(std::isnan(error(without, with)));
}

TEST_CASE("reported calls are those that the oracle counts, to the last one") {
  const auto task = metalqr::systems::modified_boeing<Fixed>();
  std::atomic<Index> calls{0};
  const zo::Counted counted(zo::ExactCost<Fixed>(task), calls);
  for (const Points points : all_points) {
    for (const Unstable unstable : {Unstable::drop, Unstable::shrink}) {
      for (const bool check : {true, false}) {
        // The second radius is so wide that some probes are unstable.
        for (const double radius : {1e-3, 0.5}) {
          const Options options{.anchor = {.radius = radius, .unstable = unstable, .check_direction = check},
                                .inner = {.points = points,
                                          .directions = Directions::sphere,
                                          .samples = 5,
                                          .radius = radius,
                                          .unstable = unstable,
                                          .check_direction = check},
                                .inner_length = 3};
          State state;
          calls = 0;
          Index reported = 0;
          std::vector<Index> each;
          for (std::uint64_t n = 0; n < 7; ++n) {
            const double distance = 1e-3 * static_cast<double>(n);
            each.push_back(
                zo::estimate_variance_reduced<Fixed>(counted, gain_at(distance), options, state, key(n))
                    .calls);
            reported += each.back();
            CHECK(calls == reported);
            CHECK(state.calls == reported);
          }
          if (radius > 0.1) continue;
          const Index anchor = check ? 18 : 16;
          const Index inner = points == Points::one ? 10 : 20;
          CHECK(each == std::vector<Index>{anchor, inner, inner, anchor, inner, inner, anchor});
        }
      }
    }
  }
}

TEST_CASE("the anchor is renewed when it has served, or when the gain has moved too far from it") {
  const test::Quadratic f = test::random_quadratic(2, 4, 3);
  const auto oracle = f.oracle<Fixed>();
  const Options options{.inner_length = 4, .max_distance = 0.5};
  State state;
  const auto is_renewed = [&](double distance, std::uint64_t n) {
    const Gain K = gain_at(distance);
    zo::estimate_variance_reduced<Fixed>(oracle, K, options, state, key(n));
    return same_bits(state.anchor, K);
  };
  CHECK(is_renewed(0, 0));
  CHECK(!is_renewed(0.1, 1));
  CHECK(!is_renewed(0.49, 2));
  CHECK(!is_renewed(0.2, 3));
  CHECK(is_renewed(0.2001, 4));
  CHECK(!is_renewed(0.7, 5));
  CHECK(is_renewed(0.71, 6));
  CHECK(is_renewed(0, 7));
  CHECK(state.steps == 1);
}

TEST_CASE("a sample without a finite cost at either gain is dropped at both") {
  const test::Quadratic f = test::random_quadratic(2, 4, 7);
  metalqr::Stream stream = test::stream(8);
  const Gain N = test::gain<Fixed>(test::random_matrix(2, 4, stream));
  const Gain anchor = published_gain();
  // The anchor lies further from the border than K: many samples are lost at K alone.
  const Gain K = published_gain() + (0.1 / Fixed::inner(N, N)) * N;
  const double border = Fixed::inner(N, K) + 0.1;
  const auto half = [&, inside = f.oracle<Fixed>()](const Gain& gain) {
    return Fixed::inner(N, gain) > border ? not_a_number : inside(gain);
  };
  for (const Points points : all_points) {
    Dense sum(2, 4);
    Index used = 0;
    Index lost_at_one = 0;
    for (const Gain& U : zo::draw_directions<Fixed>(Directions::sphere, 200, 2, 4, 0.5, key(1))) {
      const auto slope = [&](const Gain& at) {
        const double behind = points == Points::two   ? half(Gain(at - U))
                              : points == Points::one ? 0.0
                                                      : half(at);
        return (half(Gain(at + U)) - behind) / (points == Points::two ? 2 : 1);
      };
      const double here = slope(K);
      const double there = slope(anchor);
      if (std::isnan(here) != std::isnan(there)) ++lost_at_one;
      if (std::isnan(here) || std::isnan(there)) continue;
      sum = sum + static_cast<long double>(here - there) * test::dense<Fixed>(U);
      ++used;
    }
    REQUIRE(used > 20);
    REQUIRE(lost_at_one > 5);
    const Options options{.inner = {.points = points,
                                    .directions = Directions::sphere,
                                    .samples = 200,
                                    .radius = 0.5,
                                    .unstable = Unstable::drop}};
    State state = anchored(anchor, N);
    const Estimate estimate = zo::estimate_variance_reduced<Fixed>(half, K, options, state, key(1));
    CHECK(estimate.used == used);
    CHECK(estimate.dropped == 200 - used);
    const Dense expected = dense(N) + (8 / 0.25L / static_cast<long double>(used)) * sum;
    CHECK(test::relative_error(dense(estimate.gradient), expected) < 1e-12);
  }
}

TEST_CASE("with shrinking, both gains shrink alike: a block beside the border stays exact") {
  const test::Quadratic f = test::random_quadratic(2, 4, 7);
  metalqr::Stream stream = test::stream(8);
  const Gain N = test::gain<Fixed>(test::random_matrix(2, 4, stream));
  const Gain K = published_gain() + (0.1 / Fixed::inner(N, N)) * N;
  const double border = Fixed::inner(N, K) + 0.1;
  const auto half = [&, inside = f.oracle<Fixed>()](const Gain& gain) {
    return Fixed::inner(N, gain) > border ? infinity : inside(gain);
  };
  // The difference of two quadratic costs with one curvature is linear.
  for (const Points points : {Points::one_with_baseline, Points::two}) {
    const Options options{.inner = {.points = points, .radius = 0.5, .check_direction = false}};
    State state = anchored(published_gain(), N);
    const Estimate estimate = zo::estimate_variance_reduced<Fixed>(half, K, options, state, key(2));
    CHECK(estimate.used == 8);
    CHECK(estimate.shrunk > 0);
    const Dense expected = dense(N) + f.gradient(dense(K)) - f.gradient(dense(published_gain()));
    CHECK(test::relative_error(dense(estimate.gradient), expected) < 1e-12);
  }
}

TEST_CASE("without a usable sample nothing is used; a failed anchor is not kept, an older one is") {
  const auto task = metalqr::systems::modified_boeing<Fixed>();
  const zo::ExactCost<Fixed> oracle(task);
  const Gain unstable = Fixed::zero_gain(2, 4);
  const Options options{.inner_length = 3};
  State state;
  const auto estimate = [&](const Gain& K, std::uint64_t n) {
    const Index before = state.calls;
    const Estimate result = zo::estimate_variance_reduced<Fixed>(oracle, K, options, state, key(n));
    CHECK(state.calls == before + result.calls);
    return result;
  };
  const auto is_nothing = [](const Estimate& result) {
    return result.used == 0 && result.dropped > 0 && result.calls > 0 &&
           Fixed::max_abs(result.gradient) == 0 && std::isnan(result.standard_error);
  };
  CHECK(is_nothing(estimate(unstable, 0)));
  CHECK(state.steps == 0);
  CHECK(estimate(published_gain(), 1).used == 8);
  CHECK(is_nothing(estimate(unstable, 2)));
  CHECK(same_bits(state.anchor, published_gain()));
  CHECK(state.steps == 2);
  CHECK(estimate(gain_at(0.01), 3).used == 1);
  CHECK(state.steps == 3);
  // Due, and refused: the next call tries again.
  CHECK(is_nothing(estimate(unstable, 4)));
  CHECK(same_bits(state.anchor, published_gain()));
  CHECK(estimate(gain_at(0.01), 5).used == 8);
  CHECK(same_bits(state.anchor, gain_at(0.01)));
  CHECK(state.steps == 1);
}

TEST_CASE("continuing from a copy of the state, or from its fields, gives the same bits") {
  const RandomBoeing boeing;
  const Options options{.anchor = {.samples = 64, .radius = 1e-3},
                        .inner = {.directions = Directions::sphere, .samples = 4, .radius = 1e-3},
                        .inner_length = 4};
  const auto run = [&](Gain K, State& state, std::uint64_t first, std::uint64_t last) {
    for (std::uint64_t n = first; n < last; ++n) {
      const Estimate v = zo::estimate_variance_reduced<Fixed>(boeing.oracle, K, options, state, key(n));
      K = K - 1e-6 * v.gradient;
    }
    return K;
  };
  State whole;
  const Gain end = run(published_gain(), whole, 0, 23);
  for (const std::uint64_t pause : {1U, 4U, 6U, 11U}) {
    State before;
    const Gain middle = run(published_gain(), before, 0, pause);
    State copy = before;
    State rebuilt;
    rebuilt.anchor = before.anchor;
    rebuilt.at_anchor.gradient = before.at_anchor.gradient;
    rebuilt.at_anchor.standard_error = before.at_anchor.standard_error;
    rebuilt.steps = before.steps;
    rebuilt.calls = before.calls;
    run(gain_at(0.01), before, 100, 110);  // leaves the copy alone
    CHECK(same_bits(run(middle, copy, pause, 23), end));
    CHECK(same_bits(run(middle, rebuilt, pause, 23), end));
    CHECK(copy.calls == whole.calls);
    CHECK(rebuilt.calls == whole.calls);
    CHECK(copy.steps == whole.steps);
  }
}

// Each run stops at 10 000 calls. Both have 32 samples where they estimate anew, and the same step. In 200
// other runs of each kind the worst of one was better than the best of the other.
TEST_CASE("at equal calls and steps, descent ends closer to the optimum than with anchors' samples alone") {
  const auto task = metalqr::systems::modified_boeing<Fixed>();
  const zo::RandomStartCost<Fixed> oracle(task, metalqr::GaussianState<Fixed>(task.Sigma0()));
  const Gain start = metalqr::systems::modified_boeing_async_gain<Fixed>();
  const double best = cost(task, metalqr::solve_dare(task).gain);
  const zo::EstimatorOptions large{.samples = 32, .radius = 1e-3, .check_direction = false};
  const auto gap = [&](Index inner_length, std::uint64_t seed) {
    const Options options{
        .anchor = large,
        .inner = {.directions = Directions::sphere, .samples = 1, .radius = 1e-3, .check_direction = false},
        .inner_length = inner_length,
        .max_distance = 0.005};
    State state;
    Gain K = start;
    for (std::uint64_t n = 0;; ++n) {
      const Estimate v =
          zo::estimate_variance_reduced<Fixed>(oracle, K, options, state, {.seed = seed, .iteration = n});
      if (state.calls > 10'000) return cost(task, K) - best;
      K = K - 8e-5 * v.gradient;
    }
  };
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    const double plain = gap(1, seed);
    const double reduced = gap(10, seed);
    CAPTURE(seed, plain, reduced);
    CHECK(plain > 0);
    CHECK(reduced < 0.5 * plain);
  }
}

TEST_CASE("bad options are refused by name before a call is spent") {
  std::atomic<Index> calls{0};
  const zo::Counted one([](const Gain&) { return 1.0; }, calls);
  const auto refusal = [&](const Options& options) {
    State state;
    const std::string message = test::message_of<InvalidOption>(
        [&] { zo::estimate_variance_reduced<Fixed>(one, published_gain(), options, state, key(0)); });
    CHECK(state.steps == 0);
    CHECK(calls == 0);
    return message;
  };
  CHECK(refusal({.anchor = {.samples = -1}}) ==
        "anchor.samples: expected at least 1, or 0 for n_u n_x, got -1");
  CHECK(refusal({.anchor = {.samples = 9}}) ==
        "anchor.samples: expected a multiple of n_u n_x = 8 for orthonormal directions, got 9");
  CHECK(refusal({.anchor = {.radius = 0}}) == "anchor.radius: expected a positive number, got 0");
  CHECK(refusal({.inner = {.samples = 9}}) ==
        "inner.samples: expected a multiple of n_u n_x = 8 for orthonormal directions, got 9");
  CHECK(refusal({.inner = {.radius = not_a_number}}).rfind("inner.radius: expected a positive number", 0) ==
        0);
  CHECK(refusal({.inner = {.radius = 1e-18}}).rfind("inner.radius: expected at least 8 epsilon max|K|", 0) ==
        0);
  CHECK(refusal({.inner = {.points = Points::one, .directions = Directions::coordinate}})
            .rfind("inner.directions: expected a law that is symmetric about zero", 0) == 0);
  CHECK(refusal({.inner_length = 0}) == "inner_length: expected at least 1, got 0");
  CHECK(refusal({.max_distance = -1}) ==
        "max_distance: expected a positive number, or 0 for no limit, got -1");
  CHECK(refusal({.max_distance = infinity}).rfind("max_distance: ", 0) == 0);
  CHECK(refusal({.max_distance = not_a_number}).rfind("max_distance: ", 0) == 0);
  CHECK_NOTHROW(zo::validate(Options{}));
}

TEST_CASE("bad gains and states are refused by name before a call is spent") {
  std::atomic<Index> calls{0};
  const auto task = metalqr::systems::modified_boeing<Backend>();
  const zo::Counted oracle(zo::ExactCost<Backend>(task), calls);
  const Backend::Gain K = metalqr::systems::modified_boeing_initial_gain<Backend>();
  const Backend::Gain moved = K + 0.01 * K;
  using AnyState = zo::VarianceReductionState<Backend>;
  AnyState good;
  zo::estimate_variance_reduced<Backend>(oracle, K, {}, good, key(0));
  calls = 0;
  const auto estimate = [&](const Backend::Gain& at, AnyState state, const Options& options = {}) {
    zo::estimate_variance_reduced<Backend>(oracle, at, options, state, key(1));
  };
  const auto mismatch = [&](const Backend::Gain& at, const AnyState& state) {
    return test::message_of<metalqr::DimensionMismatch>([&] { estimate(at, state); });
  };
  const auto not_finite = [&](const Backend::Gain& at, const AnyState& state) {
    return test::message_of<metalqr::NotFinite>([&] { estimate(at, state); });
  };
  CHECK(mismatch(Backend::zero_gain(3, 4), {}) == "K: expected shape 2x4, got 3x4");
  Backend::Gain bad = K;
  bad(1, 2) = not_a_number;
  CHECK(not_finite(bad, good) == "K: expected finite entries, got nan at (1, 2)");
  AnyState state = good;
  state.anchor = Backend::zero_gain(2, 3);
  CHECK(mismatch(moved, state) == "state.anchor: expected shape 2x4, got 2x3");
  state.anchor = bad;
  CHECK(not_finite(moved, state) == "state.anchor: expected finite entries, got nan at (1, 2)");
  state = good;
  state.at_anchor.gradient = Backend::zero_gain(0, 0);
  CHECK(mismatch(moved, state) == "state.at_anchor.gradient: expected shape 2x4, got 0x0");
  state.at_anchor.gradient = bad;
  CHECK(not_finite(moved, state).rfind("state.at_anchor.gradient: ", 0) == 0);
  state = good;
  state.steps = -1;
  CHECK(test::message_of<InvalidOption>([&] { estimate(moved, state); }) ==
        "state.steps: expected a number >= 0, got -1");
  state = good;
  state.calls = -1;
  CHECK(test::message_of<InvalidOption>([&] { estimate(moved, state); }) ==
        "state.calls: expected a number >= 0, got -1");
  // Too far from zero for the radius, although K is not.
  state = good;
  state.anchor = 1e13 * K;
  CHECK(test::message_of<InvalidOption>([&] {
          estimate(moved, state);
        }).rfind("inner.radius: expected at least 8 epsilon max|K|", 0) == 0);
  CHECK(calls == 0);
  // A state without an anchor may hold anything there.
  state.anchor = Backend::Gain();
  state.steps = 0;
  CHECK_NOTHROW(estimate(moved, state));
}
