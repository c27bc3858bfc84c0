#include <metalqr/zeroth_order/probe.hpp>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include <metalqr/systems/plants.hpp>
#include <metalqr/zeroth_order/hessian.hpp>
#include <metalqr/zeroth_order/task_oracles.hpp>

#include "support.hpp"

namespace {

namespace zo = metalqr::zeroth_order;
using metalqr::StreamKey;
using test::Backend;
using test::Dense;
using test::Index;
using zo::Directions;
using zo::Points;
using zo::Unstable;
using Fixed = metalqr::EigenBackend<double, 4, 2>;
using Exact = zo::ExactCost<Fixed>;
using Random = zo::RandomStartCost<Fixed>;

/// The same oracle, which answers one gain at a time.
template <class Oracle>
struct OneByOne {
  const Oracle* oracle;
  double operator()(const Fixed::Gain& K, const StreamKey& key) const {
    return zo::call<Fixed>(*oracle, K, key);
  }
};
static_assert(zo::BatchOracle<Exact, Fixed>);
static_assert(zo::BatchOracle<Random, Fixed>);
static_assert(zo::BatchOracle<zo::ExactCost<Backend>, Backend>);
static_assert(zo::BatchOracle<zo::Counted<Exact>, Fixed>);
static_assert(!zo::BatchOracle<zo::RolloutCost<Fixed>, Fixed>);
static_assert(!zo::BatchOracle<zo::Counted<zo::RolloutCost<Fixed>>, Fixed>);
static_assert(!zo::BatchOracle<OneByOne<Exact>, Fixed>);

/// What must be equal, bitwise, however an oracle is asked.
struct Counts {
  Index calls;
  Index used;
  Index dropped;
  Index shrunk;
  bool operator==(const Counts&) const = default;
};
template <class Estimate>
Counts counts(const Estimate& estimate) {
  return {estimate.calls, estimate.used, estimate.dropped, estimate.shrunk};
}

template <class X>
double distance(const X& x, const X& y) {
  return x.norm() > 0 ? (x - y).norm() / x.norm() : y.norm();
}

/// Cases with all samples stable, some dropped or shrunk, and nearly none stable.
const std::vector<double> radii{0.01, 0.5, 2, 60};

std::vector<zo::EstimatorOptions> all_options() {
  std::vector<zo::EstimatorOptions> result;
  for (const double radius : radii) {
    for (const Points points : {Points::one, Points::one_with_baseline, Points::two}) {
      for (const Unstable unstable : {Unstable::drop, Unstable::shrink}) {
        for (const bool common : {true, false}) {
          for (const Directions law : {Directions::sphere, Directions::orthonormal}) {
            for (const Index samples : {Index{8}, Index{24}}) {
              result.push_back({.points = points,
                                .directions = law,
                                .samples = samples,
                                .radius = radius,
                                .unstable = unstable,
                                .common_random_numbers = common});
            }
          }
        }
      }
    }
  }
  return result;
}

/// Estimates at once and one by one: equal counts, and equal numbers but for the rounding of the costs, which
/// is divided by the perturbation: 1e-12 with r = 0.01, whose tenth halving is not met there.
template <class Oracle>
Index compare(const Oracle& oracle, const Fixed::Gain& K) {
  Index shrunk = 0;
  const OneByOne<Oracle> single{&oracle};
  const StreamKey key{.seed = 5, .iteration = 2, .task = 1};
  for (const zo::EstimatorOptions& options : all_options()) {
    std::atomic<Index> calls{0};
    const zo::Counted<Oracle> counted(oracle, calls);
    CAPTURE(options.radius, static_cast<int>(options.points), zo::to_string(options.directions));
    const auto batched = zo::estimate_gradient<Fixed>(counted, K, options, key);
    const auto expected = zo::estimate_gradient<Fixed>(single, K, options, key);
    CHECK(calls == expected.calls);
    CHECK(counts(batched) == counts(expected));
    CHECK(distance(expected.gradient, batched.gradient) < 1e-12);
    shrunk += batched.shrunk;
    for (const bool repeat : {true, false}) {
      calls = 0;
      const auto printed = zo::estimate_as_printed<Fixed>(counted, K, options, key, repeat);
      const auto one = zo::estimate_as_printed<Fixed>(single, K, options, key, repeat);
      CHECK(calls == one.gradient.calls);
      CHECK(counts(printed.gradient) == counts(one.gradient));
      CHECK(distance(one.gradient.gradient, printed.gradient.gradient) < 1e-12);
      CHECK(distance(one.hessian, printed.hessian) < 1e-9);
    }
    calls = 0;
    const auto product = zo::estimate_hessian_product<Fixed>(counted, K, Fixed::Gain(K), options, key, 0.01);
    const auto one = zo::estimate_hessian_product<Fixed>(single, K, Fixed::Gain(K), options, key, 0.01);
    CHECK(calls == one.calls);
    CHECK(product.usable == one.usable);
    if (options.points == Points::two && options.directions == Directions::sphere) {
      calls = 0;
      const auto hessian = zo::estimate_hessian<Fixed>(counted, K, options, key);
      const auto expected_hessian = zo::estimate_hessian<Fixed>(single, K, options, key);
      CHECK(calls == expected_hessian.calls);
      CHECK(counts(hessian) == counts(expected_hessian));
      CHECK(distance(expected_hessian.hessian, hessian.hessian) < 1e-9);
    }
  }
  return shrunk;
}

}  // namespace

TEST_CASE("estimates from costs at once and one by one agree, call for call") {
  const auto task = metalqr::systems::modified_boeing<Fixed>();
  const Fixed::Gain K = metalqr::systems::modified_boeing_initial_gain<Fixed>();
  CHECK(compare(Exact(task), K) > 100);
  const metalqr::GaussianState<Fixed> start(Fixed::StateVector::Constant(0.5), task.Sigma0());
  CHECK(compare(Random(task, start), K) > 100);
}

TEST_CASE("an exact oracle is asked for J(K) once by a Hessian estimate, in a batch as well") {
  const auto task = metalqr::systems::modified_boeing<Fixed>();
  const Fixed::Gain K = metalqr::systems::modified_boeing_initial_gain<Fixed>();
  // More samples than are asked for at a time.
  const zo::EstimatorOptions options{.directions = Directions::sphere, .samples = 600, .radius = 1};
  const auto batched = zo::estimate_hessian<Fixed>(Exact(task), K, options);
  const auto single = [&task](const Fixed::Gain& gain) { return cost(task, gain); };
  const auto expected = zo::estimate_hessian<Fixed>(single, K, options);
  CHECK(batched.calls % 2 == 1);
  CHECK(batched.calls >= 1201);
  CHECK(counts(batched) == counts(expected));
  CHECK(distance(expected.hessian, batched.hessian) < 1e-12);
}

TEST_CASE("random starts in a batch are those at the keys") {
  const auto task = metalqr::systems::modified_boeing<Fixed>();
  const Random oracle(task, metalqr::GaussianState<Fixed>(task.Sigma0()));
  metalqr::Stream stream = test::stream(3);
  std::vector<Fixed::Gain> gains;
  std::vector<StreamKey> keys;
  for (std::uint64_t i = 0; i < 21; ++i) {
    Fixed::Gain noise = Fixed::zero_gain(2, 4);
    metalqr::fill_normal<Fixed>(noise, stream);
    const double size = i % 5 == 0 ? 100 : 1e-3;
    gains.push_back(metalqr::systems::modified_boeing_initial_gain<Fixed>() + size * noise);
    keys.push_back({.seed = 8, .task = i % 4, .sample = i / 3});
  }
  const std::vector<double> values = zo::call_all<Fixed>(oracle, gains, keys);
  for (std::size_t i = 0; i < gains.size(); ++i) {
    CHECK((i % 5 == 0) == (values[i] == std::numeric_limits<double>::infinity()));
    if (i % 5 != 0) CHECK(test::relative_error(values[i], oracle(gains[i], keys[i])) < 1e-13);
  }
}

TEST_CASE("many samples are asked for in batches of bounded size") {
  struct Sizes {
    std::size_t* largest;
    double operator()(const Fixed::Gain& K) const { return K.squaredNorm(); }
    std::vector<double> costs(std::span<const Fixed::Gain> gains, std::span<const StreamKey> keys) const {
      *largest = std::max(*largest, gains.size());
      CHECK(gains.size() == keys.size());
      std::vector<double> values;
      for (const Fixed::Gain& K : gains) values.push_back((*this)(K));
      return values;
    }
  };
  std::size_t largest = 0;
  const Fixed::Gain K = metalqr::systems::modified_boeing_initial_gain<Fixed>();
  const zo::EstimatorOptions options{.directions = Directions::coordinate, .samples = 4000, .radius = 0.1};
  const auto estimate = zo::estimate_gradient<Fixed>(Sizes{&largest}, K, options);
  CHECK(estimate.calls == 8000);
  CHECK(largest >= 256);
  CHECK(largest <= 1024);
  CHECK(distance(Fixed::Gain(2 * K), estimate.gradient) < 1e-12);
}

TEST_CASE("values that are not finite become +infinity in a batch, and a wrong number of them is refused") {
  struct Broken {
    std::vector<double> values;
    double operator()(const Fixed::Gain&) const { return 0; }
    std::vector<double> costs(std::span<const Fixed::Gain>, std::span<const StreamKey>) const {
      return values;
    }
  };
  const double infinity = std::numeric_limits<double>::infinity();
  const std::vector<Fixed::Gain> gains(3, Fixed::zero_gain(2, 4));
  const std::vector<StreamKey> keys(3);
  CHECK(zo::call_all<Fixed>(Broken{{std::numeric_limits<double>::quiet_NaN(), -infinity, -2}}, gains, keys) ==
        std::vector<double>{infinity, infinity, -2});
  CHECK(test::message_of<metalqr::DimensionMismatch>([&] {
          zo::call_all<Fixed>(Broken{{1, 2}}, gains, keys);
        }) == "costs: expected one for each of 3 gains, got 2");
  CHECK(test::message_of<metalqr::DimensionMismatch>([&] {
          zo::call_all<Fixed>(Broken{{1, 2, 3}}, gains, std::span<const StreamKey>(keys).first(1));
        }) == "keys: expected one for each of 3 gains, got 1");
}

TEST_CASE("tasks that share directions draw the same ones in any order, and others once more") {
  const auto task = metalqr::systems::modified_boeing<Fixed>();
  const Exact oracle(task);
  const Fixed::Gain K = metalqr::systems::modified_boeing_initial_gain<Fixed>();
  // Twenty sets in turn are more than a thread keeps.
  for (int round = 0; round < 3; ++round) {
    for (std::uint64_t i = 0; i < 20; ++i) {
      zo::EstimatorOptions options{.directions = Directions::sphere, .samples = 5, .radius = 0.01};
      const StreamKey first{.seed = 1, .iteration = i};
      const auto expected = zo::estimate_gradient<Fixed>(oracle, K, options, first);
      options.shared_directions = true;
      for (std::uint64_t other = 0; other < 3; ++other) {
        const auto shared = zo::estimate_gradient<Fixed>(oracle, K, options, first.with_task(other));
        CHECK(distance(expected.gradient, shared.gradient) == 0);
      }
      options.radius = 0.02;
      const auto wider = zo::estimate_gradient<Fixed>(oracle, K, options, first);
      CHECK(distance(expected.gradient, wider.gradient) > 0);
    }
  }
}
