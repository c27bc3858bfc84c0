#include <metalqr/meta/state.hpp>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <span>
#include <string>
#include <vector>

#include <metalqr/meta/train.hpp>

#include "runs.hpp"

namespace {

namespace meta = metalqr::meta;
namespace zo = metalqr::zeroth_order;
using meta::Options;
using meta::Order;
using test::Boeing;
using test::BoeingTasks;
using test::Start;
using Gain = Boeing::Gain;
using Oracle = zo::ExactCost<Boeing>;
using OracleFleet = zo::OracleFleet<Boeing, Oracle>;

const std::vector<Order> orders{Order::average, Order::first, Order::second, Order::printed, Order::reptile};

/// Short runs of every order with every outer rule.
std::vector<Options> all_kinds(int iterations) {
  std::vector<Options> result;
  for (const Order order : orders) {
    for (const metalqr::StepSize& outer :
         {metalqr::constant_step(0.4e-5), metalqr::backtracking(), metalqr::quasi_newton()}) {
      for (const bool guard : {true, false}) {
        Options options;
        options.order = order;
        options.iterations = iterations;
        options.outer = outer;
        options.guard = guard;
        options.seed = 11;
        if (order == Order::printed) {
          options.inner_step = 0.4e-5;
          options.check_inner_step = false;
          options.estimator = meta::published().estimator;
        }
        result.push_back(options);
      }
    }
  }
  return result;
}

std::string label(const Options& o) {
  return std::string(to_string(o.order)) + ", rule " + std::to_string(static_cast<int>(o.outer.rule)) +
         (o.guard ? ", guarded" : "");
}

void check_same(const meta::Result<Boeing>& x, const meta::Result<Boeing>& y) {
  CHECK(test::same(x.gain, y.gain));
  CHECK(x.status == y.status);
  CHECK(x.iterations == y.iterations);
  CHECK(x.calls.probes == y.calls.probes);
  CHECK(x.calls.base == y.calls.base);
  CHECK(x.calls.assessments == y.calls.assessments);
  CHECK(x.calls.curvature == y.calls.curvature);
  CHECK(x.guard_refusals == y.guard_refusals);
  CHECK(x.skipped_inner_points == y.skipped_inner_points);
  CHECK(x.reduced_inner_steps == y.reduced_inner_steps);
  CHECK(x.unstable_probes == y.unstable_probes);
}

}  // namespace

TEST_CASE("a run continued from a copy of its state is bitwise the run that was not interrupted") {
  const BoeingTasks tasks = test::fleet(Start::code, 21, 4);
  const auto oracles = zo::exact_costs(tasks);
  for (const Options& options : all_kinds(12)) {
    INFO(label(options));
    const OracleFleet fleet(std::span<const Oracle>(oracles), options.estimator);
    const auto whole = test::train(tasks, test::first_gain(), options);
    for (const int n : {1, 5}) {
      meta::State<Boeing> state;
      state.descent.K = test::first_gain();
      Options part = options;
      part.iterations = n;
      meta::resume(fleet, state, part);
      meta::State<Boeing> copy = state;
      check_same(meta::resume(fleet, copy, options), whole);
    }
    // The same from a state that an observer kept, also where the observer stops the run.
    meta::State<Boeing> kept;
    meta::train(fleet, test::first_gain(), options, [&kept](const meta::Info<Boeing>& info) {
      kept = info.state;
      return info.record.iteration == 3;
    });
    check_same(meta::resume(fleet, kept, options), whole);
  }
}

TEST_CASE("a run that ends by its tolerance ends at the same iteration when it was interrupted") {
  const BoeingTasks tasks = test::fleet(Start::code, 22, 4);
  const auto oracles = zo::exact_costs(tasks);
  const Options options{.tolerance = 1e-4};
  const OracleFleet fleet(std::span<const Oracle>(oracles), options.estimator);
  const auto whole = test::train(tasks, test::first_gain(), options);
  REQUIRE(whole.status == metalqr::Status::converged);
  REQUIRE(whole.iterations > 4);
  REQUIRE(whole.iterations < 100);
  for (const int n : {1, 3}) {
    meta::State<Boeing> state;
    state.descent.K = test::first_gain();
    Options part = options;
    part.iterations = n;
    meta::resume(fleet, state, part);
    check_same(meta::resume(fleet, state, options), whole);
  }
}

TEST_CASE("a run depends on its seed, not on the number of threads") {
  const BoeingTasks tasks = test::fleet(Start::report, 23, 3);
  for (const Options& options : all_kinds(3)) {
    INFO(label(options));
    const auto with = [&](int threads, std::uint64_t seed) {
      Options own = options;
      own.threads = threads;
      own.seed = seed;
      return test::train(tasks, test::first_gain(), own);
    };
    const auto one = with(1, 11);
    check_same(with(2, 11), one);
    check_same(with(8, 11), one);
    CHECK_FALSE(test::same(with(1, 12).gain, one.gain));
  }
}

// Rounding is amplified by the steps: 1e-12 relative after a published-setting run is the house's measure.
TEST_CASE("the order of the tasks changes a run by rounding only when directions are shared") {
  BoeingTasks tasks = test::fleet(Start::code, 24, 6);
  Options options = meta::published();
  const auto forward = test::train(tasks, test::first_gain(), options);
  std::reverse(tasks.begin(), tasks.end());
  std::swap(tasks[0], tasks[3]);
  const auto permuted = test::train(tasks, test::first_gain(), options);
  CHECK(test::relative_error(test::dense<Boeing>(permuted.gain), test::dense<Boeing>(forward.gain)) < 1e-11);
  CHECK(permuted.calls.total() == forward.calls.total());
  options.estimator.shared_directions = false;
  const auto own = test::train(tasks, test::first_gain(), options);
  CHECK(test::relative_error(test::dense<Boeing>(own.gain), test::dense<Boeing>(forward.gain)) > 1e-6);
}

TEST_CASE("every oracle call is reported, whatever it was for") {
  const BoeingTasks tasks = test::fleet(Start::code, 25, 3);
  std::vector<Options> kinds = all_kinds(6);
  // So wide that probes become unstable; two inner steps; one-sided probes.
  for (const Order order : orders) {
    Options options;
    options.order = order;
    options.iterations = 4;
    options.estimator.radius = 0.1;
    if (order == Order::printed) {
      options.inner_step = 1e-6;
      options.check_inner_step = false;
      options.repeat_base_cost = true;
    } else {
      options.inner_steps = 2;
    }
    kinds.push_back(options);
    if (order == Order::printed) continue;
    options.estimator = {.points = zo::Points::one_with_baseline, .radius = 1e-5};
    kinds.push_back(options);
  }
  for (const Options& options : kinds) {
    INFO(label(options));
    std::atomic<metalqr::Index> calls{0};
    std::vector<zo::Counted<Oracle>> oracles;
    for (const auto& task : tasks) oracles.emplace_back(Oracle(task), calls);
    metalqr::Index last = 0;
    const auto result =
        meta::train<Boeing>(oracles, test::first_gain(), options, [&](const meta::Info<Boeing>& info) {
          CHECK(info.record.calls.total() == calls);
          CHECK(info.state.calls.total() == calls);
          last = info.record.calls.total();
        });
    CHECK(result.calls.total() == calls);
    CHECK(result.calls.total() >= last);
    CHECK(last > 0);
  }
}

TEST_CASE("a state that does not fit the fleet is refused by name") {
  using Dynamic = test::Backend;
  const auto tasks = test::fleet<Dynamic>(Start::code, 26, 3);
  const zo::ModelFleet<Dynamic> fleet(tasks);
  const std::vector<metalqr::Task<Dynamic>> more = test::fleet<Dynamic>(Start::code, 26, 5);
  const std::vector<metalqr::Task<Dynamic>> fewer(tasks.begin(), tasks.begin() + 2);
  const Options options{.order = Order::second, .iterations = 8};
  using State = meta::State<Dynamic>;
  State good;
  good.descent.K = test::first_gain<Dynamic>();
  Options part = options;
  part.iterations = 4;
  meta::resume(fleet, good, part);
  REQUIRE(good.start_costs.size() == 3);
  REQUIRE(good.curvature_directions.size() == 3);
  REQUIRE_FALSE(good.descent.pairs.empty());
  for (const auto& others : {more, fewer}) {
    State state = good;
    const zo::ModelFleet<Dynamic> other(others);
    CHECK(test::message_of<metalqr::InvalidOption>([&] { meta::resume(other, state, options); }) ==
          "state.start_costs: expected one entry for each of the fleet's " + std::to_string(others.size()) +
              " tasks, got 3");
  }
  const auto refusal = [&](const auto& spoil, auto exception) {
    State state = good;
    spoil(state);
    return test::message_of<decltype(exception)>([&] { meta::resume(fleet, state, options); });
  };
  const metalqr::DimensionMismatch shape("");
  const metalqr::InvalidOption option("");
  const Dynamic::Gain wrong = Dynamic::zero_gain(3, 4);
  const std::string got = ": expected shape 2x4, got 3x4";
  CHECK(refusal([&](State& s) { s.descent.K = wrong; }, shape) == "state.descent.K" + got);
  CHECK(refusal([&](State& s) { s.descent.previous_K = wrong; }, shape) == "state.descent.previous_K" + got);
  CHECK(refusal([&](State& s) { s.descent.previous_direction = wrong; }, shape) ==
        "state.descent.previous_direction" + got);
  CHECK(refusal([&](State& s) { s.descent.pairs.back().step = wrong; }, shape) ==
        "state.descent.pairs" + got);
  CHECK(refusal([&](State& s) { s.descent.pairs.front().change = wrong; }, shape) ==
        "state.descent.pairs" + got);
  CHECK(refusal([&](State& s) { s.curvature_directions[1] = wrong; }, shape) ==
        "state.curvature_directions" + got);
  CHECK(refusal([](State& s) { s.costs.pop_back(); }, option).rfind("state.costs: expected one entry", 0) ==
        0);
  CHECK(refusal([](State& s) { s.curvature_directions.pop_back(); }, option)
            .rfind("state.curvature_directions: expected one entry", 0) == 0);
  CHECK(refusal([](State& s) { s.start_costs.clear(); }, option).rfind("state.start_costs: expected", 0) ==
        0);
  CHECK(refusal([](State& s) { s.descent.iteration = -1; }, option) ==
        "state.descent.iteration: expected a number >= 0, got -1");
  CHECK(refusal([](State& s) { s.descent.K(0, 0) = std::nan(""); }, metalqr::NotFinite(""))
            .rfind("state.descent.K: expected finite entries", 0) == 0);
  State empty;
  CHECK(test::message_of<metalqr::DimensionMismatch>([&] { meta::resume(fleet, empty, options); }) ==
        "state.descent.K: expected shape 2x4, got 0x0");
  State state = good;
  CHECK(meta::resume(fleet, state, options).iterations == 8);
}
