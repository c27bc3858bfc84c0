#include <metalqr/meta/train.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "runs.hpp"

namespace {

namespace meta = metalqr::meta;
namespace zo = metalqr::zeroth_order;
using meta::Options;
using meta::Order;
using metalqr::NotStabilizing;
using metalqr::Status;
using metalqr::StreamKey;
using test::Boeing;
using test::BoeingTasks;
using test::Index;
using test::Start;
using Gain = Boeing::Gain;
using test::Info;

const double infinity = std::numeric_limits<double>::infinity();
const double not_a_number = std::numeric_limits<double>::quiet_NaN();

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t n = values.size();
  return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/// The published curve: medians over seeds of the gap at some iterations, in the code's setting.
void check_published_curve(std::uint64_t seeds) {
  std::vector<double> first, third, at_50, at_200;
  for (std::uint64_t seed = 0; seed < seeds; ++seed) {
    Options options = meta::published();
    options.seed = seed;
    const auto result = test::train(test::fleet(Start::code, 100 + seed), test::first_gain(), options);
    CHECK(result.iterations == 200);
    CHECK(result.history.size() == 200);
    CHECK(result.calls.total() == 240000);
    const auto gap_at = [&](std::size_t n) { return test::gap(result.history[n - 1].gain); };
    first.push_back(gap_at(1));
    third.push_back(gap_at(3));
    at_50.push_back(gap_at(50));
    at_200.push_back(gap_at(200));
  }
  CAPTURE(median(first), median(third), median(at_50), median(at_200));
  CHECK(test::gap(test::first_gain()) == Catch::Approx(19.83).epsilon(1e-3));
  CHECK(median(first) < 19.83);
  CHECK(median(third) < median(first));
  CHECK(median(at_50) > 0.9);
  CHECK(median(at_50) < 1.2);
  CHECK(median(at_200) > 0.20);
  CHECK(median(at_200) < 0.26);
}

/// Guarded runs of the published setting: how many end above 0.5.
int check_guarded_runs(Start start, std::uint64_t seeds) {
  int above = 0;
  for (std::uint64_t seed = 0; seed < seeds; ++seed) {
    const BoeingTasks tasks = test::fleet(start, 1000 + seed);
    std::vector<double> start_costs;
    for (const auto& task : tasks) start_costs.push_back(cost(task, test::first_gain()));
    bool kept = true;
    Options options = meta::published_guarded();
    options.seed = seed;
    const auto result = test::train(tasks, test::first_gain(), options, [&](const Info& info) {
      kept = kept && test::all_stable(tasks, info.K);
      for (std::size_t i = 0; i < tasks.size(); ++i) kept = kept && cost(tasks[i], info.K) <= start_costs[i];
    });
    INFO("seed " << seed);
    CHECK(kept);
    CHECK(test::gap(result.gain) < 1);
    above += test::gap(result.gain) > 0.5 ? 1 : 0;
  }
  return above;
}

/// Oracle calls until the gap is reached; infinity if it never is.
double calls_to(const meta::Result<Boeing>& result, double gap) {
  for (const auto& record : result.history) {
    if (test::gap(record.gain) <= gap) return static_cast<double>(record.calls.total());
  }
  return infinity;
}

struct Budget {
  Order order;
  double to_published;  // gap 0.228
  double to_hundredth;  // gap 0.01
};

void check_budgets(std::uint64_t seeds) {
  for (const Budget& budget : {Budget{Order::average, 2400, 10000}, Budget{Order::first, 3500, 16000},
                               Budget{Order::reptile, 3500, 16000}}) {
    for (const Start start : test::both_starts) {
      double published = 0;
      double hundredth = 0;
      for (std::uint64_t seed = 0; seed < seeds; ++seed) {
        Options options;
        options.order = budget.order;
        options.seed = seed;
        const auto result = test::train(test::fleet(start, 2000 + seed), test::first_gain(), options);
        published = std::max(published, calls_to(result, 0.228));
        hundredth = std::max(hundredth, calls_to(result, 0.01));
      }
      CAPTURE(to_string(budget.order), published, hundredth);
      CHECK(published <= budget.to_published);
      CHECK(hundredth <= budget.to_hundredth);
    }
  }
}

/// A user's own simulator: a noisy rollout by hand, whose randomness is that of its key.
using Simulator = std::function<double(const Gain&, const StreamKey&)>;

std::vector<Simulator> simulators(const BoeingTasks& tasks) {
  std::vector<Simulator> result;
  for (const auto& task : tasks) {
    result.push_back([&task](const Gain& K, const StreamKey& key) {
      metalqr::Stream stream(key.with_purpose(metalqr::Purpose::user));
      Boeing::StateVector x = Boeing::zero_state(4);
      for (Index i = 0; i < 4; ++i) x(i, 0) = 0.5 * stream.normal();
      double sum = 0;
      for (int t = 0; t < 100; ++t) {
        const Boeing::ControlVector u = Boeing::product(K, x) * -1.0;
        sum +=
            Boeing::inner(x, Boeing::product(task.Q(), x)) + Boeing::inner(u, Boeing::product(task.R(), u));
        x = Boeing::product(task.A(), x) + Boeing::product(task.B(), u);
        for (Index i = 0; i < 4; ++i) x(i, 0) += 0.01 * stream.normal();
      }
      return sum;
    });
  }
  return result;
}

}  // namespace

TEST_CASE("the published run takes 240000 calls and lies on the published curve: median of 5 seeds") {
  check_published_curve(5);
}
TEST_CASE("the published run lies on the published curve: median of 20 seeds", "[.long]") {
  check_published_curve(20);
}

TEST_CASE("the published run without repeating J(K) takes 81 calls a task and iteration") {
  Options options = meta::published();
  options.repeat_base_cost = false;
  const auto result = test::train(test::fleet(Start::code, 100), test::first_gain(), options);
  CHECK(result.calls.total() == 162000);
  CHECK(result.history.size() == 200);
}

// 0 to 1 of 1000 runs end above 0.5 in either setting, by the test below. At that share three in 20 happen in
// 1e-6 of the cases, and in 1e-4 at 0.5 %, the share's upper limit at 95 % confidence.
TEST_CASE("the guard keeps every task stable at every iterate of the published setting: 20 seeds") {
#ifdef __SANITIZE_ADDRESS__
  const std::uint64_t seeds = 3;  // a run takes seconds there
#else
  const std::uint64_t seeds = 20;
#endif
  for (const Start start : test::both_starts) CHECK(check_guarded_runs(start, seeds) <= 2);
}
TEST_CASE("the guard keeps every task stable at every iterate of the published setting: 1000 seeds",
          "[.long]") {
  for (const Start start : test::both_starts) CHECK(check_guarded_runs(start, 1000) <= 10);
}

TEST_CASE("plain, first order and Reptile reach gaps 0.228 and 0.01 within their calls: 10 seeds") {
  check_budgets(10);
}
TEST_CASE("plain, first order and Reptile reach gaps 0.228 and 0.01 within their calls: 100 seeds",
          "[.long]") {
  check_budgets(100);
}

TEST_CASE("the default run never raises a task's cost above its start") {
  for (const Start start : test::both_starts) {
    for (const Order order : {Order::average, Order::first, Order::second, Order::reptile}) {
      const BoeingTasks tasks = test::fleet(start, 31);
      Options options;
      options.order = order;
      options.iterations = 30;
      test::train(tasks, test::first_gain(), options, [&](const Info& info) {
        const std::vector<double>& costs = info.state.costs;
        REQUIRE(costs.size() == tasks.size());
        double sum = 0;
        double worst = 0;
        for (std::size_t i = 0; i < tasks.size(); ++i) {
          CHECK(costs[i] <= cost(tasks[i], test::first_gain()));
          CHECK(test::relative_error(costs[i], cost(tasks[i], info.K)) < 1e-13);
          sum += costs[i];
          worst = std::max(worst, costs[i]);
        }
        CHECK(info.record.mean_cost == Approx(sum / static_cast<double>(tasks.size())).epsilon(1e-14));
        CHECK(info.record.worst_cost == worst);
      });
    }
  }
}

TEST_CASE("training is the same with dynamic sizes to rounding") {
  using Dynamic = test::Backend;
  const auto fixed = test::train(test::fleet(Start::code, 32, 4), test::first_gain(), {.iterations = 8});
  const auto dynamic =
      meta::train(test::fleet<Dynamic>(Start::code, 32, 4), test::first_gain<Dynamic>(), {.iterations = 8});
  CHECK(test::relative_error(test::dense<Dynamic>(dynamic.gain), test::dense<Boeing>(fixed.gain)) < 1e-6);
  CHECK(dynamic.calls.total() == fixed.calls.total());
}

TEST_CASE("observers see each iteration and may stop the run") {
  const BoeingTasks tasks = test::fleet(Start::code, 33, 3);
  std::vector<int> seen;
  const auto full = test::train(tasks, test::first_gain(), {.iterations = 7},
                                [&seen](const Info& info) { seen.push_back(info.record.iteration); });
  CHECK(seen == std::vector<int>{1, 2, 3, 4, 5, 6, 7});
  CHECK(full.status == Status::iteration_limit);
  CHECK(full.iterations == 7);
  CHECK(full.history.size() == 7);
  Gain at = test::first_gain();
  const auto stopped = meta::train(tasks, test::first_gain(), {.iterations = 7}, [&at](const Info& info) {
    at = info.K;
    return info.record.iteration == 4;
  });
  CHECK(stopped.status == Status::stopped);
  CHECK(stopped.iterations == 4);
  CHECK(stopped.history.size() == 4);
  CHECK(test::same(stopped.gain, at));
  CHECK(test::same(stopped.gain, full.history[3].gain));
  for (const auto& record : full.history) {
    CHECK(record.step > 0);
    CHECK(record.trials >= 1);
    CHECK(record.inner_step > 0);
    CHECK(record.direction_norm > 0);
    CHECK(record.mean_cost > 0);
    CHECK(record.worst_cost >= record.mean_cost);
  }
  CHECK(full.calls.total() == full.history.back().calls.total());
}

TEST_CASE("no iterations leave the start as it is") {
  const auto result = test::train(test::fleet(Start::code, 34, 2), test::first_gain(), {.iterations = 0});
  CHECK(test::same(result.gain, test::first_gain()));
  CHECK(result.status == Status::iteration_limit);
  CHECK(result.history.empty());
}

TEST_CASE("a tolerance ends the run as converged when the direction has become that small") {
  const BoeingTasks tasks = test::fleet(Start::code, 35, 4);
  for (const double tolerance : {1e-1, 1e-3}) {
    const Options options{.iterations = 200, .tolerance = tolerance};
    const auto free = test::train(tasks, test::first_gain(), {.iterations = 200});
    const auto result = test::train(tasks, test::first_gain(), options);
    CHECK(result.status == Status::converged);
    REQUIRE(free.history.size() > result.history.size());
    // The direction of the next iteration is the first one below the tolerance.
    const double border = tolerance * free.history.front().direction_norm;
    for (std::size_t n = 0; n < result.history.size(); ++n) CHECK(free.history[n].direction_norm > border);
    CHECK(free.history[result.history.size()].direction_norm <= border);
  }
}

TEST_CASE("a gain that does not stabilise every task is refused as K0, with and without guard") {
  const BoeingTasks good = test::fleet(Start::code, 36, 4);
  // One task of four, the third, is lost.
  BoeingTasks mixed = good;
  mixed[2] = {good[2].A() * 1.2, good[2].B(), good[2].Q(), good[2].R(), good[2].Sigma0()};
  REQUIRE_FALSE(is_stabilizing(mixed[2], test::first_gain()));
  for (const Order order : {Order::average, Order::first, Order::second, Order::reptile, Order::printed}) {
    for (const bool guard : {true, false}) {
      for (const metalqr::StepSize& outer : {metalqr::constant_step(1e-6), metalqr::quasi_newton()}) {
        Options options = order == Order::printed ? meta::published() : Options{};
        options.order = order;
        options.guard = guard;
        options.outer = outer;
        options.iterations = 3;
        INFO(to_string(order) << ", guard " << guard);
        const auto refusal = [&](const BoeingTasks& tasks, const Gain& K0) {
          return test::message_of<NotStabilizing>([&] { test::train(tasks, K0, options); });
        };
        CHECK(refusal(good, Boeing::zero_gain(2, 4)).rfind("K0: expected a gain that stabilizes", 0) == 0);
        CHECK(refusal(mixed, test::first_gain()).rfind("K0: expected a gain that stabilizes", 0) == 0);
        CHECK_THAT(refusal(mixed, test::first_gain()), Catch::Matchers::ContainsSubstring("task 2"));
        if (order == Order::printed) continue;
        CHECK(test::message_of<NotStabilizing>([&] {
                test::train_with_models(mixed, test::first_gain(), options);
              }).rfind("K0: expected a gain that stabilizes", 0) == 0);
      }
    }
  }
}

TEST_CASE("a run without guard ends as unstable when it loses a task") {
  // Thirty times the published step loses a task at once.
  Options options = meta::published();
  options.outer = metalqr::constant_step(30 * 0.8e-5);
  for (const Start start : test::both_starts) {
    const BoeingTasks tasks = test::fleet(start, 37);
    const auto lost = test::train(tasks, test::first_gain(), options);
    CHECK(lost.status == Status::unstable);
    CHECK(lost.iterations < 200);
    CHECK_FALSE(test::all_stable(tasks, lost.gain));
    options.guard = true;
    const auto kept = test::train(tasks, test::first_gain(), options);
    CHECK(kept.guard_refusals > 0);
    CHECK(test::all_stable(tasks, kept.gain));
    options.guard = false;
  }
}

TEST_CASE("a task that merely answers no probe is left out, not lost") {
  const BoeingTasks tasks = test::fleet(Start::code, 41, 3);
  std::vector<Simulator> plants;
  for (std::size_t i = 0; i < 3; ++i) {
    plants.push_back([&tasks, i](const Gain& K, const StreamKey& key) {
      return i == 1 && key.iteration == 2 ? infinity : cost(tasks[i], K);
    });
  }
  Options options = meta::published();
  options.iterations = 6;
  const auto result = meta::train<Boeing>(plants, test::first_gain(), options);
  CHECK(result.status == Status::iteration_limit);
  CHECK(result.iterations == 6);
  CHECK(result.unstable_probes == 20);
  // One call found out that the task was not lost.
  CHECK(result.calls.assessments == 1);
}

TEST_CASE("bad gains, empty lists and bad options are refused by name") {
  const BoeingTasks tasks = test::fleet(Start::code, 38, 2);
  for (const double bad : {not_a_number, infinity}) {
    Gain K0 = test::first_gain();
    K0(1, 2) = bad;
    CHECK_THAT(test::message_of<metalqr::NotFinite>([&] { test::train(tasks, K0, {}); }),
               Catch::Matchers::ContainsSubstring("K0"));
    CHECK_THAT(test::message_of<metalqr::NotFinite>([&] { test::train_with_models(tasks, K0, {}); }),
               Catch::Matchers::ContainsSubstring("K0"));
  }
  using Dynamic = test::Backend;
  const auto dynamic = test::fleet<Dynamic>(Start::code, 38, 2);
  CHECK_THAT(
      test::message_of<metalqr::DimensionMismatch>([&] { meta::train(dynamic, Dynamic::zero_gain(4, 2)); }),
      Catch::Matchers::ContainsSubstring("K0"));
  CHECK_THAT(test::message_of<metalqr::DimensionMismatch>(
                 [&] { meta::train_with_models(dynamic, Dynamic::zero_gain(2, 3)); }),
             Catch::Matchers::ContainsSubstring("K0"));
  CHECK(test::message_of<metalqr::InvalidOption>([&] { test::train({}, test::first_gain(), {}); }) ==
        "tasks: expected at least one task, got an empty list");
  CHECK(test::message_of<metalqr::InvalidOption>([&] {
          test::train_with_models({}, test::first_gain(), {});
        }) == "tasks: expected at least one task, got an empty list");
  CHECK(test::message_of<metalqr::InvalidOption>([&] {
          meta::train<Boeing>(std::vector<Simulator>{}, test::first_gain());
        }) == "oracles: expected at least one, got an empty list");
  CHECK(test::message_of<metalqr::InvalidOption>([&] {
          test::train(tasks, test::first_gain(), {.iterations = -1});
        }) == "iterations: expected a number >= 0, got -1");
  CHECK(test::message_of<metalqr::InvalidOption>([&] {
          test::train(tasks, test::first_gain(), {.estimator = {.samples = 12}});
        }) == "samples: expected a multiple of n_u n_x = 8 for orthonormal directions, got 12");
  CHECK(test::message_of<metalqr::InvalidOption>([&] {
          test::train(tasks, test::first_gain(), {.estimator = {.radius = -1}});
        }) == "radius: expected a positive number, got -1");
}

TEST_CASE("no samples stand for one orthonormal block") {
  const BoeingTasks tasks = test::fleet(Start::code, 39, 2);
  const auto block = test::train(tasks, test::first_gain(),
                                 {.iterations = 4, .estimator = {.samples = 8, .check_direction = false}});
  const auto zero = test::train(tasks, test::first_gain(), {.iterations = 4});
  CHECK(test::same(zero.gain, block.gain));
}

TEST_CASE("a user's own noisy simulators are trained on, with the guard on what they say") {
  const BoeingTasks tasks = test::fleet(Start::report, 40, 5);
  const std::vector<Simulator> plants = simulators(tasks);
  for (const Order order : {Order::average, Order::first}) {
    for (std::uint64_t seed = 0; seed < 3; ++seed) {
      Options options;
      options.order = order;
      options.iterations = 25;
      options.seed = seed;
      std::vector<double> first;
      std::vector<double> last;
      const auto result = meta::train<Boeing>(plants, test::first_gain(), options, [&](const Info& info) {
        if (first.empty()) first = info.state.start_costs;
        last = info.state.costs;
      });
      REQUIRE(last.size() == plants.size());
      for (std::size_t i = 0; i < last.size(); ++i) CHECK(last[i] <= first[i]);
      CHECK(test::all_stable(tasks, result.gain));
      CAPTURE(test::gap(result.gain));
      CHECK(test::gap(result.gain) < 19.83 / 4);
    }
  }
}

// Measured: under 0.5 s on one core; a factor of ten is left for slow or busy machines.
TEST_CASE("200 iterations of the published run take well under 5 s on one core", "[.long]") {
  Options options = meta::published();
  options.threads = 1;
  const BoeingTasks tasks = test::fleet(Start::code, 100);
  const auto start = std::chrono::steady_clock::now();
  const auto result = test::train(tasks, test::first_gain(), options);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  CHECK(result.iterations == 200);
  CAPTURE(seconds.count());
  CHECK(seconds.count() < 5);
}

TEST_CASE("a gain of another shape than the plants is refused as K0 in every kind of training") {
  using Dynamic = test::Backend;
  const auto tasks = test::fleet<Dynamic>(Start::code, 42, 2);
  const auto oracles = zo::exact_costs(tasks);
  using Oracle = zo::ExactCost<Dynamic>;
  const zo::OracleFleet<Dynamic, Oracle> plants(std::span<const Oracle>(oracles), {});
  const zo::ModelFleet<Dynamic> models(tasks);
  for (const auto& [nu, nx] : {std::pair<Index, Index>{3, 4}, {2, 5}, {4, 2}, {0, 0}}) {
    const Dynamic::Gain K0 = Dynamic::zero_gain(nu, nx);
    const std::string expected =
        "K0: expected shape 2x4, got " + std::to_string(nu) + "x" + std::to_string(nx);
    for (const bool guard : {true, false}) {
      const Options options{.outer = metalqr::constant_step(1e-6), .guard = guard};
      const auto refusal = [](const auto& call) {
        return test::message_of<metalqr::DimensionMismatch>(call);
      };
      CHECK(refusal([&] { meta::train<Dynamic>(oracles, K0, options); }) == expected);
      CHECK(refusal([&] { meta::train(plants, K0, options); }) == expected);
      CHECK(refusal([&] { meta::train(models, K0, options); }) == expected);
      CHECK(refusal([&] { meta::train(tasks, K0, options); }) == expected);
      CHECK(refusal([&] { meta::train_with_models(tasks, K0, options); }) == expected);
    }
  }
  const auto lambda = [](const Dynamic::Gain&) { return 1.0; };
  CHECK_THAT(test::message_of<metalqr::DimensionMismatch>([&] {
               meta::train<Dynamic>(std::vector{lambda}, Dynamic::zero_gain(0, 0),
                                    {.estimator = {.samples = 5}});
             }),
             Catch::Matchers::ContainsSubstring("K0: expected at least one row and one column"));
}

TEST_CASE("a radius that would not change the first gain is refused by name") {
  const BoeingTasks tasks = test::fleet(Start::code, 43, 2);
  for (const Options& base : {Options{}, meta::published()}) {
    Options options = base;
    for (const double radius : {1e-18, 1e-170}) {
      options.estimator.radius = radius;
      CHECK_THAT(
          test::message_of<metalqr::InvalidOption>([&] { test::train(tasks, test::first_gain(), options); }),
          Catch::Matchers::ContainsSubstring("radius: expected "));
    }
  }
  Options options;
  options.estimator.samples = zo::max_samples + 4;
  CHECK(test::message_of<metalqr::InvalidOption>([&] { test::train(tasks, test::first_gain(), options); }) ==
        "samples: expected at most 1e8, got 1e+08");
}

TEST_CASE("the guard is as good as the oracle: rollouts of 3 steps lose the plants, of 10 steps keep them") {
  for (const Start start : test::both_starts) {
    for (std::uint64_t seed = 0; seed < 3; ++seed) {
      const BoeingTasks tasks = test::fleet(start, seed);
      for (const Index horizon : {3, 10}) {
        std::vector<zo::RolloutCost<Boeing>> plants;
        for (const auto& task : tasks) {
          plants.emplace_back(task, metalqr::GaussianState<Boeing>(task.Sigma0()),
                              zo::RolloutOptions{.horizon = horizon});
        }
        const auto result = meta::train<Boeing>(plants, test::first_gain(), {.seed = seed});
        CHECK(test::all_stable(tasks, result.gain) == (horizon == 10));
      }
    }
  }
}
