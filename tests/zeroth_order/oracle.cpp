#include <metalqr/zeroth_order/oracle.hpp>

#include <atomic>
#include <cmath>
#include <limits>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <metalqr/systems/perturbed_family.hpp>
#include <metalqr/systems/plants.hpp>
#include <metalqr/zeroth_order/hessian.hpp>
#include <metalqr/zeroth_order/task_oracles.hpp>

#include "support.hpp"

namespace {

namespace zo = metalqr::zeroth_order;
using metalqr::DimensionMismatch;
using metalqr::InvalidOption;
using metalqr::StreamKey;
using test::Backend;
using test::Dense;
using test::Index;
using Fixed = metalqr::EigenBackend<double, 4, 2>;

const double infinity = std::numeric_limits<double>::infinity();
const double not_a_number = std::numeric_limits<double>::quiet_NaN();

template <class Tasks>
concept GivesCosts = requires(Tasks&& tasks) {
  zo::exact_costs(std::forward<Tasks>(tasks));
};
static_assert(GivesCosts<std::vector<metalqr::Task<Backend>>&>);
static_assert(GivesCosts<const metalqr::systems::Family<Backend>&>);
static_assert(GivesCosts<std::span<const metalqr::Task<Backend>>>);
static_assert(!GivesCosts<std::vector<metalqr::Task<Backend>>>);
static_assert(!GivesCosts<metalqr::systems::Family<Backend>>);

/// A random plant with a random start, and everything about it in long double.
struct Problem {
  test::RandomProblem random;
  metalqr::Task<Backend> task;
  Backend::Gain K;
  Dense mean;
  Dense covariance;
  metalqr::GaussianState<Backend> start;
};

Problem problem(std::uint64_t seed, double rho = 0.8) {
  metalqr::Stream stream = test::stream(seed);
  test::RandomProblem random = test::random_problem(3, 2, rho, stream);
  const Dense mean = test::rounded(test::random_matrix(3, 1, stream));
  const Dense covariance = test::rounded(test::random_definite(3, stream));
  return {random,
          test::make_task<Backend>(random.task),
          test::gain(random.K),
          mean,
          covariance,
          {test::state_vector(mean), test::state_matrix(covariance)}};
}

/// Mean and standard error of `value` at `count` keys.
struct Average {
  double mean = 0;
  double error = 0;
  double variance = 0;
  double error_of_variance = 0;
};
template <class Value>
Average average(int count, const Value& value) {
  std::vector<double> values;
  for (int i = 0; i < count; ++i)
    values.push_back(value(StreamKey{.seed = 17, .iteration = static_cast<std::uint64_t>(i)}));
  Average result;
  const double n = count;
  for (const double v : values) result.mean += v / n;
  double fourth = 0;
  for (const double v : values) {
    const double square = (v - result.mean) * (v - result.mean);
    result.variance += square / (n - 1);
    fourth += square * square / n;
  }
  result.error = std::sqrt(result.variance / n);
  result.error_of_variance = std::sqrt((fourth - result.variance * result.variance) / n);
  return result;
}

}  // namespace

TEST_CASE("the exact oracle returns tr(P Sigma0)") {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const Problem p = problem(seed);
    const zo::ExactCost<Backend> oracle(p.task);
    CHECK(test::relative_error(oracle(p.K), p.random.task.cost(p.random.K)) < 1e-12);
  }
}

TEST_CASE("oracles say +infinity at a gain that does not stabilise") {
  const Problem p = problem(1, 1.05);
  CHECK(zo::ExactCost<Backend>(p.task)(p.K) == infinity);
  CHECK(zo::RandomStartCost<Backend>(p.task, p.start)(p.K, {}) == infinity);
  const Problem fast = problem(2, 3);
  CHECK(zo::RolloutCost<Backend>(fast.task, fast.start, {.horizon = 50})(fast.K, {}) == infinity);
  CHECK(zo::RolloutCost<Backend>(fast.task, fast.start, {.horizon = 100000})(fast.K, {}) == infinity);
}

TEST_CASE("a call turns NaN and both infinities into +infinity and keeps everything else") {
  const Backend::Gain K = Backend::zero_gain(1, 2);
  const auto returning = [](double value) { return [value](const Backend::Gain&) { return value; }; };
  CHECK(zo::call<Backend>(returning(not_a_number), K, {}) == infinity);
  CHECK(zo::call<Backend>(returning(infinity), K, {}) == infinity);
  CHECK(zo::call<Backend>(returning(-infinity), K, {}) == infinity);
  CHECK(zo::call<Backend>(returning(-3.5), K, {}) == -3.5);
  CHECK(zo::call<Backend>(returning(1e300), K, {}) == 1e300);
}

TEST_CASE("a lambda is an oracle with and without a key, and gets the gain and the key it is called with") {
  const Backend::Gain K = test::gain(Dense{{1, 2}, {3, 4}});
  const auto without = [](const Backend::Gain& gain) { return gain(1, 0); };
  const auto with = [](const Backend::Gain& gain, const StreamKey& key) {
    return gain(0, 1) + static_cast<double>(key.sample);
  };
  const auto integer = [](const Backend::Gain&) { return 7; };
  static_assert(zo::CostOracle<decltype(without), Backend>);
  static_assert(zo::CostOracle<decltype(with), Backend>);
  static_assert(zo::CostOracle<decltype(integer), Backend>);
  static_assert(!zo::CostOracle<int, Backend>);
  CHECK(zo::call<Backend>(without, K, {}) == 3);
  CHECK(zo::call<Backend>(with, K, StreamKey{.sample = 5}) == 7);
  CHECK(zo::call<Backend>(integer, K, {}) == 7);
}

// The variance of x'Px for a Gaussian x with mean m and covariance S is 2 tr(PSPS) + 4 m'PSPm; beyond 5
// standard errors with probability 6e-7, five times.
TEST_CASE("the mean cost from random starts is tr(P E[x0 x0']); false alarm 3e-6") {
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    const Problem p = problem(seed);
    const Dense P = p.random.task.P(p.random.K);
    const Dense PS = P * p.covariance;
    const long double expected = test::inner(P, p.covariance + p.mean * test::transpose(p.mean));
    const long double variance =
        2 * test::inner(test::transpose(PS), PS) + 4 * test::inner(p.mean, PS * (P * p.mean));
    const zo::RandomStartCost<Backend> oracle(p.task, p.start);
    const int count = 20000;
    const Average got = average(count, [&](const StreamKey& key) { return oracle(p.K, key); });
    CHECK(std::abs(got.mean - static_cast<double>(expected)) <
          5 * std::sqrt(static_cast<double>(variance) / count));
    CHECK(std::abs(got.variance - static_cast<double>(variance)) < 5 * got.error_of_variance);
  }
}

TEST_CASE("equal keys give equal costs, other keys others") {
  const Problem p = problem(3);
  const zo::RandomStartCost<Backend> start(p.task, p.start);
  const zo::RolloutCost<Backend> rollout(p.task, p.start, {.noise_deviation = 0.1});
  const StreamKey key{.seed = 5, .iteration = 1, .task = 2, .sample = 3};
  CHECK(start(p.K, key) == start(p.K, key));
  CHECK(rollout(p.K, key) == rollout(p.K, key));
  CHECK(start(p.K, key) == start(p.K, key.with_purpose(metalqr::Purpose::directions)));
  for (const StreamKey& other : {key.child(0), key.with_task(0), key.with_sample(0)}) {
    CHECK(start(p.K, key) != start(p.K, other));
    CHECK(rollout(p.K, key) != rollout(p.K, other));
  }
}

TEST_CASE("a rollout leaves out exactly x_T'Px_T of the infinite horizon's cost") {
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    const Problem p = problem(seed, 0.9);
    const Dense P = p.random.task.P(p.random.K);
    const Dense F = p.random.task.closed_loop(p.random.K);
    const StreamKey key{.seed = seed};
    metalqr::Stream stream(key.with_purpose(metalqr::Purpose::initial_state));
    Dense x = test::dense(p.start.sample(stream));
    const long double whole = test::inner(x, P * x);
    CHECK(test::relative_error(zo::RandomStartCost<Backend>(p.task, p.start)(p.K, key), whole) < 1e-12);
    Index t = 0;
    for (const Index horizon : {1, 2, 10, 100, 1000}) {
      for (; t < horizon; ++t) x = F * x;
      const zo::RolloutCost<Backend> oracle(p.task, p.start, {.horizon = horizon});
      CHECK(test::relative_error(oracle(p.K, key), whole - test::inner(x, P * x), whole) < 1e-12);
    }
  }
}

TEST_CASE("without spread in the initial state a long rollout costs what the exact oracle says") {
  const Problem p = problem(4);
  const metalqr::GaussianState<Backend> start(test::state_vector(p.mean), Backend::zero_state_matrix(3));
  const metalqr::Task<Backend> task = p.task.with_initial_state(start.second_moment());
  const double exact = zo::ExactCost<Backend>(task)(p.K);
  const zo::RolloutCost<Backend> oracle(task, start, {.horizon = 500, .rollouts = 3});
  CHECK(test::relative_error(oracle(p.K, {}), exact) < 1e-12);
}

// 3 z-scores beyond 5 with probability 6e-7 each.
TEST_CASE("process noise adds sigma^2 tr(P) a step in the long run; false alarm 2e-6") {
  const Problem p = problem(6, 0.7);
  const long double deviation = 0.5;
  const Dense P = p.random.task.P(p.random.K);
  const Dense F = p.random.task.closed_loop(p.random.K);
  const Dense step_cost = p.random.task.Q + test::transpose(p.random.K) * p.random.task.R * p.random.K;
  Dense moment = p.covariance + p.mean * test::transpose(p.mean);
  long double expected = 0;
  std::vector<long double> at;
  for (Index t = 0; t < 400; ++t) {
    if (t == 1 || t == 40 || t == 200) at.push_back(expected);
    expected += test::inner(step_cost, moment);
    moment = F * moment * test::transpose(F) + deviation * deviation * test::identity(3);
  }
  // The closed form that the recursion settles to.
  CHECK(test::relative_error((expected - at[2]) / 200,
                             deviation * deviation * test::inner(P, test::identity(3))) < 1e-12);
  std::size_t i = 0;
  for (const Index horizon : {1, 40, 200}) {
    const zo::RolloutCost<Backend> oracle(
        p.task, p.start, {.horizon = horizon, .noise_deviation = static_cast<double>(deviation)});
    const Average got = average(3000, [&](const StreamKey& key) { return oracle(p.K, key); });
    CHECK(std::abs(got.mean - static_cast<double>(at[i++])) < 5 * got.error);
  }
}

// The variances differ from their expected ratio by 5 standard errors with probability 6e-7.
TEST_CASE("averaging four rollouts in a call divides the variance by four; false alarm 2e-6") {
  const Problem p = problem(7);
  const auto spread = [&](Index rollouts) {
    const zo::RolloutCost<Backend> oracle(p.task, p.start,
                                          {.horizon = 30, .rollouts = rollouts, .noise_deviation = 0.2});
    return average(3000, [&](const StreamKey& key) { return oracle(p.K, key); });
  };
  const Average one = spread(1);
  const Average four = spread(4);
  CHECK(std::abs(one.variance - 4 * four.variance) <
        5 * std::hypot(one.error_of_variance, 4 * four.error_of_variance));
  CHECK(std::abs(one.mean - four.mean) < 5 * std::hypot(one.error, four.error));
}

TEST_CASE("a rollout that costs more than the limit counts as +infinity") {
  const Problem p = problem(8);
  const double value = zo::RolloutCost<Backend>(p.task, p.start)(p.K, {});
  CHECK(zo::RolloutCost<Backend>(p.task, p.start, {.limit = value})(p.K, {}) == value);
  CHECK(zo::RolloutCost<Backend>(p.task, p.start, {.limit = 0.999 * value})(p.K, {}) == infinity);
}

TEST_CASE("a counted oracle counts what the estimates report") {
  const auto task = metalqr::systems::modified_boeing<Fixed>();
  const auto K = metalqr::systems::modified_boeing_initial_gain<Fixed>();
  std::atomic<Index> calls{0};
  const zo::Counted counted(zo::ExactCost<Fixed>(task), calls);
  Index reported = 0;
  for (const zo::Points points : {zo::Points::one, zo::Points::one_with_baseline, zo::Points::two}) {
    for (const zo::Unstable unstable : {zo::Unstable::drop, zo::Unstable::shrink}) {
      // So wide that some probes are unstable.
      reported +=
          zo::estimate_gradient<Fixed>(
              counted, K, {.points = points, .radius = 0.5, .unstable = unstable, .check_direction = true})
              .calls;
      CHECK(calls == reported);
    }
  }
  reported += zo::estimate_as_printed<Fixed>(counted, K, {.samples = 20, .radius = 0.01}, {}).gradient.calls;
  CHECK(calls == reported);
  reported +=
      zo::estimate_hessian<Fixed>(counted, K, {.directions = zo::Directions::sphere, .samples = 30}).calls;
  CHECK(calls == reported);
  reported += zo::estimate_hessian_product<Fixed>(counted, K, K).calls;
  CHECK(calls == reported);
}

TEST_CASE("a counted oracle counts exactly when several threads call it") {
  const auto task = metalqr::systems::modified_boeing<Fixed>();
  const auto K = metalqr::systems::modified_boeing_initial_gain<Fixed>();
  std::atomic<Index> calls{0};
  const zo::Counted counted(zo::ExactCost<Fixed>(task), calls);
  std::atomic<Index> reported{0};
  std::vector<std::thread> threads;
  for (std::uint64_t i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      for (std::uint64_t repeat = 0; repeat < 50; ++repeat)
        reported += zo::estimate_gradient<Fixed>(counted, K, {.check_direction = false},
                                                 StreamKey{.task = i, .sample = repeat})
                        .calls;
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(calls == 4 * 50 * 16);
  CHECK(reported == calls);
}

TEST_CASE("a counted oracle passes gain and key on, to oracles with and without a key") {
  std::atomic<Index> calls{0};
  const zo::Counted with(
      [](const Backend::Gain& K, const StreamKey& key) { return K(0, 0) + static_cast<double>(key.task); },
      calls);
  const zo::Counted without([](const Backend::Gain& K) { return 2 * K(0, 0); }, calls);
  const Backend::Gain K = test::gain(Dense{{3}});
  CHECK(zo::call<Backend>(with, K, StreamKey{.task = 4}) == 7);
  CHECK(zo::call<Backend>(without, K, StreamKey{}) == 6);
  CHECK(calls == 2);
}

TEST_CASE("one exact oracle for each task of a list") {
  const std::vector<metalqr::Task<Backend>> tasks{problem(1).task, problem(2).task};
  const auto oracles = zo::exact_costs(tasks);
  REQUIRE(oracles.size() == 2);
  CHECK(oracles[0](problem(1).K) == zo::ExactCost<Backend>(tasks[0])(problem(1).K));
  CHECK(oracles[1](problem(2).K) == zo::ExactCost<Backend>(tasks[1])(problem(2).K));
}

TEST_CASE("bad settings of rollouts are refused by name") {
  const Problem p = problem(1);
  const auto refusal = [&](const zo::RolloutOptions& options) {
    return test::message_of<InvalidOption>([&] { zo::RolloutCost<Backend>(p.task, p.start, options); });
  };
  CHECK(refusal({.horizon = 0}) == "horizon: expected at least 1, got 0");
  CHECK(refusal({.rollouts = 0}) == "rollouts: expected at least 1, got 0");
  CHECK(refusal({.noise_deviation = -1}) == "noise_deviation: expected a number >= 0, got -1");
  CHECK(refusal({.noise_deviation = not_a_number}).rfind("noise_deviation: expected a number >= 0", 0) == 0);
  CHECK(refusal({.limit = 0}) == "limit: expected a positive number, got 0");
  CHECK(refusal({.limit = not_a_number}).rfind("limit: expected a positive number", 0) == 0);
}

TEST_CASE("a start of another size than the plant is refused by name") {
  const Problem p = problem(1);
  const metalqr::GaussianState<Backend> start(Backend::zero_state(2), Backend::zero_state_matrix(2));
  CHECK_THAT(test::message_of<DimensionMismatch>([&] { zo::RolloutCost<Backend>(p.task, start); }),
             Catch::Matchers::ContainsSubstring("start"));
  CHECK_THAT(test::message_of<DimensionMismatch>([&] { zo::RandomStartCost<Backend>(p.task, start); }),
             Catch::Matchers::ContainsSubstring("start"));
}

TEST_CASE("costs from random starts need a key for each gain") {
  const Problem p = problem(9);
  const zo::RandomStartCost<Backend> oracle(p.task, p.start);
  const std::vector<Backend::Gain> gains(20, p.K);
  const std::vector<StreamKey> keys(19);
  CHECK_THROWS_AS(oracle.costs(gains, keys), DimensionMismatch);
}

TEST_CASE("a family of tasks gives its exact oracles too") {
  const auto family =
      metalqr::systems::perturbed_family(metalqr::systems::modified_boeing<Backend>(), {.count = 3}, 1);
  const auto K = metalqr::systems::modified_boeing_initial_gain<Backend>();
  const auto oracles = zo::exact_costs(family);
  const auto of_span = zo::exact_costs(std::span<const metalqr::Task<Backend>>(family.tasks));
  REQUIRE(oracles.size() == 3);
  REQUIRE(of_span.size() == 3);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(oracles[i](K) == cost(family[i], K));
    CHECK(of_span[i](K) == cost(family[i], K));
  }
}

TEST_CASE("every oracle of the library says its plant's shape and refuses gains of another one as K") {
  const Problem p = problem(1);
  std::atomic<Index> calls{0};
  const zo::ExactCost<Backend> exact(p.task);
  const zo::RandomStartCost<Backend> random(p.task, p.start);
  const zo::RolloutCost<Backend> rollout(p.task, p.start);
  const zo::Counted counted(exact, calls);
  CHECK((exact.nu() == 2 && random.nu() == 2 && rollout.nu() == 2 && counted.nu() == 2));
  CHECK((exact.nx() == 3 && random.nx() == 3 && rollout.nx() == 3 && counted.nx() == 3));
  for (const auto& [nu, nx] : {std::pair<Index, Index>{3, 3}, {2, 2}, {3, 2}, {0, 0}}) {
    const Backend::Gain K = Backend::zero_gain(nu, nx);
    const auto check = [&](const auto& oracle) {
      CHECK_THAT(test::message_of<DimensionMismatch>([&] { zo::call<Backend>(oracle, K, {}); }),
                 Catch::Matchers::ContainsSubstring("K: expected shape 2x3"));
    };
    check(exact);
    check(random);
    check(rollout);
    check(counted);
  }
}
