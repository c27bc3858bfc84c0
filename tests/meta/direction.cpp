#include <metalqr/meta/train.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <set>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

#include <metalqr/meta/direction.hpp>

#include "runs.hpp"

namespace {

namespace meta = metalqr::meta;
namespace zo = metalqr::zeroth_order;
using meta::Options;
using meta::Order;
using metalqr::Evaluation;
using test::Boeing;
using test::BoeingTasks;
using test::Dense;
using test::Index;
using test::Start;
using Gain = Boeing::Gain;

/// The direction of the first iteration, from a constant outer step.
Dense first_direction(const BoeingTasks& tasks, const Options& options, const Gain& K0, bool models = true) {
  Options one = options;
  one.iterations = 1;
  one.guard = false;
  one.outer = metalqr::constant_step(1e-9);
  const Gain K = models ? test::train_with_models(tasks, K0, one).gain : test::train(tasks, K0, one).gain;
  return 1e9L * (test::dense<Boeing>(K0) - test::dense<Boeing>(K));
}

/// J_ML with `steps` inner steps, in long double by definition.
long double composed_cost(const std::vector<test::DenseTask>& tasks, long double eta, int steps,
                          const Dense& K) {
  long double sum = 0;
  for (const test::DenseTask& task : tasks) {
    Dense inner = K;
    for (int s = 0; s < steps; ++s) inner = inner - eta * task.gradient(inner);
    sum += task.cost(inner) / static_cast<long double>(tasks.size());
  }
  return sum;
}

Dense differences_of_composed_cost(const BoeingTasks& tasks, long double eta, int steps, const Dense& K) {
  std::vector<test::DenseTask> dense;
  for (const auto& task : tasks) dense.push_back(test::dense(task));
  Dense gradient = K;
  const long double h = 1e-6L;
  for (std::size_t i = 0; i < K.entries.size(); ++i) {
    Dense ahead = K;
    Dense behind = K;
    ahead.entries[i] += h;
    behind.entries[i] -= h;
    gradient.entries[i] =
        (composed_cost(dense, eta, steps, ahead) - composed_cost(dense, eta, steps, behind)) / (2 * h);
  }
  return gradient;
}

/// One exact step of algorithm 1, written by hand.
Gain algorithm_1(const BoeingTasks& tasks, const Gain& K, double eta, double eta_l) {
  Gain sum = Boeing::zero_gain(2, 4);
  for (const auto& task : tasks) {
    const Evaluation<Boeing> at(task, K);
    const Evaluation<Boeing> inner(task, Gain(K - eta_l * at.gradient()));
    sum += inner.gradient() - eta_l * at.hessian(inner.gradient());
  }
  return K - (eta / static_cast<double>(tasks.size())) * sum;
}

double largest_curvature(const metalqr::Task<Boeing>& task, const Gain& K) {
  return static_cast<double>(
      test::spectral_norm(test::dense<Boeing>(Evaluation<Boeing>(task, K).hessian_matrix())));
}

}  // namespace

TEST_CASE("an iteration of the published setting is algorithm 3, transcribed from the calls it makes") {
  const BoeingTasks tasks = test::fleet(Start::code, 1);
  const Gain K0 = test::first_gain();
  struct Call {
    Gain K;
    double value;
  };
  std::vector<std::vector<Call>> calls(tasks.size());
  const auto spy = [&](std::size_t i) {
    return [&tasks, &calls, i](const Gain& K) {
      calls[i].push_back({K, cost(tasks[i], K)});
      return calls[i].back().value;
    };
  };
  std::vector<decltype(spy(0))> oracles;
  for (std::size_t i = 0; i < tasks.size(); ++i) oracles.push_back(spy(i));
  Options options = meta::published();
  options.iterations = 1;
  const auto result = meta::train<Boeing>(oracles, K0, options);

  const double r = 0.01;
  const Index m = 20;
  const double eta = 0.8e-5;
  Dense sum(2, 4);
  std::vector<Dense> shared;
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    REQUIRE(calls[i].size() == 120);
    Gain K = K0;
    Dense g(2, 4);
    Dense H(2, 2);
    Dense gradients[2] = {g, g};
    Dense hessians[2] = {H, H};
    for (std::size_t stage = 0; stage < 2; ++stage) {
      for (std::size_t l = 0; l < 20; ++l) {
        // Of three calls one is at K, the other two at K + U and K - U.
        std::vector<Call> three(calls[i].begin() + static_cast<test::Index>(60 * stage + 3 * l),
                                calls[i].begin() + static_cast<test::Index>(60 * stage + 3 * l + 3));
        std::stable_partition(three.begin(), three.end(),
                              [&K](const Call& call) { return (call.K - K).norm() < 1e-12; });
        const Call& base = three[0];
        const Call& ahead = three[1];
        const Call& behind = three[2];
        const Dense U = test::dense<Boeing>(ahead.K) - test::dense<Boeing>(K);
        REQUIRE(test::relative_error(test::dense<Boeing>(behind.K), test::dense<Boeing>(K) - U) < 1e-15);
        REQUIRE(test::relative_error(test::dense<Boeing>(base.K), test::dense<Boeing>(K)) < 1e-15);
        REQUIRE(std::abs(static_cast<double>(test::norm(U)) / r - 1) < 1e-12);
        // The same perturbations serve all tasks.
        if (stage == 0 && i == 0) shared.push_back(U);
        if (stage == 0) REQUIRE(test::relative_error(U, shared[l]) == 0);
        gradients[stage] = gradients[stage] + static_cast<long double>(ahead.value - behind.value) * U;
        hessians[stage] = hessians[stage] + static_cast<long double>(ahead.value - base.value) *
                                                (U * test::transpose(U) - test::identity(2));
      }
      gradients[stage] = static_cast<long double>(8 / (2 * r * r * m)) * gradients[stage];
      hessians[stage] = static_cast<long double>(4 / (r * r * m)) * hessians[stage];
      if (stage == 0) K = test::gain<Boeing>(test::dense<Boeing>(K0) - eta * gradients[0]);
    }
    sum = sum + (test::identity(2) - eta * hessians[0]) * gradients[1];
  }
  const Dense expected = test::dense<Boeing>(K0) - (eta / 10) * sum;
  CHECK(test::relative_error(test::dense<Boeing>(result.gain), expected) < 1e-12);
  CHECK(result.calls.total() == 1200);
}

TEST_CASE(
    "without repeating J(K) an iteration of the printed order takes 81 calls a task and the same step") {
  const BoeingTasks tasks = test::fleet(Start::code, 1);
  Options options = meta::published();
  options.iterations = 1;
  const auto literal = test::train(tasks, test::first_gain(), options);
  options.repeat_base_cost = false;
  const auto thrifty = test::train(tasks, test::first_gain(), options);
  CHECK(thrifty.calls.total() == 810);
  CHECK(thrifty.calls.base == 10);
  CHECK(thrifty.calls.probes == 800);
  CHECK(literal.calls.base == 400);
  CHECK(literal.calls.probes == 800);
  CHECK(test::relative_error(test::dense<Boeing>(thrifty.gain), test::dense<Boeing>(literal.gain)) < 1e-13);
}

TEST_CASE("second order with models is the gradient of the MAML objective") {
  for (const Start start : test::both_starts) {
    const BoeingTasks tasks = test::fleet(start, 2, 4);
    for (const double eta_l : {2e-8, 5e-8}) {
      const Dense got =
          first_direction(tasks, {.order = Order::second, .inner_step = eta_l, .check_inner_step = false},
                          test::first_gain());
      const Dense expected =
          differences_of_composed_cost(tasks, eta_l, 1, test::dense<Boeing>(test::first_gain()));
      CHECK(test::relative_error(got, expected) < 1e-7);
    }
  }
}

TEST_CASE("second order with several inner steps is the gradient of the composed objective") {
  const BoeingTasks tasks = test::fleet(Start::code, 3, 2);
  for (const int steps : {2, 3, 5}) {
    const Dense got = first_direction(
        tasks, {.order = Order::second, .inner_steps = steps, .inner_step = 2e-7, .check_inner_step = false},
        test::first_gain());
    const Dense expected =
        differences_of_composed_cost(tasks, 2e-7L, steps, test::dense<Boeing>(test::first_gain()));
    CHECK(test::relative_error(got, expected) < 1e-7);
  }
}

TEST_CASE("second order from cost values comes close to the gradient of the MAML objective") {
  const BoeingTasks tasks = test::fleet(Start::code, 3, 2);
  const Dense got = first_direction(tasks,
                                    {.order = Order::second,
                                     .inner_step = 2e-7,
                                     .check_inner_step = false,
                                     .estimator = {.radius = 2e-5, .check_direction = false}},
                                    test::first_gain(), false);
  const Dense expected =
      differences_of_composed_cost(tasks, 2e-7L, 1, test::dense<Boeing>(test::first_gain()));
  CHECK(test::relative_error(got, expected) < 1e-4);
}

TEST_CASE("average, first order and Reptile are their definitions") {
  const BoeingTasks tasks = test::fleet(Start::report, 4, 3);
  const Dense K0 = test::dense<Boeing>(test::first_gain());
  const long double eta_l = 2e-7L;
  for (const int steps : {1, 3}) {
    Dense average(2, 4);
    Dense first(2, 4);
    Dense reptile(2, 4);
    for (const auto& task : tasks) {
      const test::DenseTask exact = test::dense(task);
      Dense inner = K0;
      for (int s = 0; s < steps; ++s) inner = inner - eta_l * exact.gradient(inner);
      average = average + exact.gradient(K0);
      first = first + exact.gradient(inner);
      reptile = reptile + (1 / (eta_l * steps)) * (K0 - inner);
    }
    const auto got = [&](Order order) {
      return 3 * first_direction(tasks,
                                 {.order = order,
                                  .inner_steps = steps,
                                  .inner_step = static_cast<double>(eta_l),
                                  .check_inner_step = false},
                                 test::first_gain());
    };
    CHECK(test::relative_error(got(Order::average), average) < 1e-8);
    CHECK(test::relative_error(got(Order::first), first) < 1e-8);
    CHECK(test::relative_error(got(Order::reptile), reptile) < 1e-8);
  }
}

TEST_CASE("exact second order at the published steps diverges, which is why it has a curvature rule") {
  for (const Start start : test::both_starts) {
    const BoeingTasks alone{test::nominal(start)};
    const Gain K0 = test::first_gain();
    CHECK(test::gap(K0) == Catch::Approx(19.83).epsilon(1e-3));
    CHECK(0.8e-5 * largest_curvature(alone[0], K0) ==
          Catch::Approx(start == Start::code ? 7.2 : 12.0).epsilon(0.03));
    const Gain after = algorithm_1(alone, K0, 0.8e-5, 0.8e-5);
    CHECK(test::gap(after) == Catch::Approx(start == Start::code ? 8520 : 301).epsilon(0.01));
    const Options options{.order = Order::second,
                          .iterations = 1,
                          .inner_step = 0.8e-5,
                          .check_inner_step = false,
                          .outer = metalqr::constant_step(0.8e-5),
                          .guard = false};
    const auto ruled = test::train_with_models(alone, K0, options);
    CHECK(test::gap(ruled.gain) < 19.83);
    CHECK(ruled.reduced_inner_steps == 1);
  }
}

TEST_CASE("the curvature rule keeps eta_l lambda_max(H_i) at about 1/2 or below, and counts its reductions") {
  for (const bool models : {true, false}) {
    const BoeingTasks tasks = test::fleet(Start::report, 5, 3);
    Gain at = test::first_gain();
    double worst = 0;
    const auto watch = [&](const test::Info& info) {
      double curvature = 0;
      for (const auto& task : tasks) curvature = std::max(curvature, largest_curvature(task, at));
      worst = std::max(worst, info.record.inner_step * curvature);
      at = info.K;
    };
    const Options options{.order = Order::second,
                          .iterations = 15,
                          .inner_step = 0.8e-5,
                          .check_inner_step = false,
                          .outer = metalqr::backtracking(),
                          .estimator = {.radius = 2e-5, .check_direction = false}};
    const auto result = models ? test::train_with_models(tasks, test::first_gain(), options, watch)
                               : test::train(tasks, test::first_gain(), options, watch);
    CAPTURE(models, worst);
    // One power step an iteration finds the largest eigenvalue from below, to a percent or so.
    CHECK(worst < 0.55);
    CHECK(worst > 0.1);
    CHECK(result.reduced_inner_steps > 0);
    CHECK((models || result.calls.curvature > 0));
    CHECK(test::gap(at) < 19.83);
  }
}

TEST_CASE("algorithm 1 converges from the published gain for the inner steps that the curvature allows") {
  for (const Start start : test::both_starts) {
    const BoeingTasks tasks = test::fleet(start, 6);
    const double eta_l = start == Start::code ? 2e-7 : 5e-8;
    const Options options{.order = Order::second,
                          .iterations = 200,
                          .inner_step = eta_l,
                          .check_inner_step = false,
                          .outer = metalqr::constant_step(0.8e-5),
                          .guard = false};
    Gain by_hand = test::first_gain();
    for (int n = 0; n < 3; ++n) by_hand = algorithm_1(tasks, by_hand, 0.8e-5, eta_l);
    const auto watch = [&](const test::Info& info) {
      if (info.record.iteration == 3)
        CHECK(test::relative_error(test::dense<Boeing>(info.K), test::dense<Boeing>(by_hand)) < 1e-10);
    };
    const auto result = test::train_with_models(tasks, test::first_gain(), options, watch);
    CHECK(test::gap(result.gain) < 1);
    CHECK(result.reduced_inner_steps == 0);
    CHECK(result.calls.total() == 0);
  }
}

TEST_CASE("a checked inner step lowers every task's cost by eta_l |g|^2/2, and is halved until it does") {
  for (const Start start : test::both_starts) {
    const BoeingTasks tasks = test::fleet(start, 7, 4);
    for (const double eta_l : {0.0, 0.8e-5, 1.0}) {
      Gain at = test::first_gain();
      int iterations = 0;
      const auto watch = [&](const test::Info& info) {
        const double eta = info.record.inner_step;
        REQUIRE(eta > 0);
        CHECK((eta_l == 0 || eta <= eta_l));
        for (const auto& task : tasks) {
          const Gain g = Evaluation<Boeing>(task, at).gradient();
          const double before = cost(task, at);
          CHECK(cost(task, Gain(at - eta * g)) <=
                (before - 0.5 * eta * Boeing::inner(g, g)) + 1e-12 * before);
        }
        at = info.K;
        ++iterations;
      };
      const auto result =
          test::train_with_models(tasks, test::first_gain(), {.iterations = 10, .inner_step = eta_l}, watch);
      CHECK(iterations > 3);
      CHECK(result.reduced_inner_steps > 0);
    }
  }
}

TEST_CASE("tasks whose inner point is unstable are left out and counted") {
  const BoeingTasks tasks = test::fleet(Start::code, 8, 3);
  const Gain K0 = test::first_gain();
  // The published step times a hundred throws every task out of stability.
  for (const auto& task : tasks)
    REQUIRE(!is_stabilizing(task, Gain(K0 - 0.8e-3 * Evaluation<Boeing>(task, K0).gradient())));
  for (const Order order : {Order::first, Order::printed}) {
    Options options = meta::published_guarded();
    options.order = order;
    options.inner_step = 0.8e-3;
    options.iterations = 4;
    const auto result = test::train(tasks, K0, options);
    CHECK(test::same(result.gain, K0));
    CHECK(result.skipped_inner_points == 12);
    CHECK(result.history.back().step == 0);
  }
}

TEST_CASE("the printed order needs cost values") {
  const BoeingTasks tasks = test::fleet(Start::code, 1, 2);
  CHECK_THAT(test::message_of<metalqr::InvalidOption>(
                 [&] { test::train_with_models(tasks, test::first_gain(), meta::published()); }),
             Catch::Matchers::ContainsSubstring("order"));
}

TEST_CASE("second order looks for a task's curvature anew after an iteration in which it had no probe") {
  const BoeingTasks tasks = test::fleet(Start::code, 9, 2);
  // Task 0 answers no probe of the second iteration.
  const auto failing = [&tasks](std::size_t i) {
    return [&tasks, i](const Gain& K, const metalqr::StreamKey& key) {
      return i == 0 && key.iteration == 1 ? std::numeric_limits<double>::infinity() : cost(tasks[i], K);
    };
  };
  const std::vector<decltype(failing(0))> oracles{failing(0), failing(1)};
  Gain at = test::first_gain();
  const auto result =
      meta::train<Boeing>(oracles, test::first_gain(),
                          {.order = Order::second,
                           .iterations = 5,
                           .inner_step = 0.8e-5,
                           .check_inner_step = false,
                           .outer = metalqr::constant_step(1e-6)},
                          [&](const test::Info& info) {
                            CAPTURE(info.record.iteration);
                            if (info.record.iteration != 2) {
                              for (const auto& task : tasks)
                                CHECK(info.record.inner_step * largest_curvature(task, at) < 0.55);
                            }
                            at = info.K;
                          });
  CHECK(result.iterations == 5);
  CHECK(result.unstable_probes >= 8);
}

TEST_CASE("with independent random numbers no two calls of an iteration share a stream") {
  const BoeingTasks tasks = test::fleet(Start::code, 10, 1);
  using Address = std::tuple<std::uint64_t, std::uint64_t, std::uint64_t, std::uint64_t>;
  for (const Order order : {Order::first, Order::second, Order::reptile}) {
    std::vector<Address> calls;
    const auto spy = [&](const Gain& K, const metalqr::StreamKey& key) {
      calls.push_back({key.seed, key.iteration, key.task, key.sample});
      return cost(tasks[0], K);
    };
    const std::vector<std::remove_const_t<decltype(spy)>> oracles{spy};
    Options options{.order = order,
                    .iterations = 1,
                    .inner_steps = 4,
                    .inner_step = 1e-8,
                    .check_inner_step = false,
                    .outer = metalqr::constant_step(1e-9),
                    .estimator = {.common_random_numbers = false, .check_direction = true},
                    .guard = false,
                    .threads = 1};
    meta::train<Boeing>(oracles, test::first_gain(), options);
    INFO(to_string(order));
    // A Hessian-vector product takes both gradients with the same numbers.
    std::size_t repeated = 0;
    std::set<Address> distinct;
    for (const Address& call : calls) repeated += distinct.insert(call).second ? 0 : 1;
    const std::size_t products = order == Order::second ? 4 + 4 : 0;  // inner steps and power iteration
    CHECK(repeated == products * 18);
    CHECK(calls.size() == (order == Order::reptile ? 4U : 5U) * 18 + products * 36);
  }
}

TEST_CASE("an objective that is shifted below zero is descended like the other") {
  const BoeingTasks tasks = test::fleet(Start::code, 11, 3);
  for (const double shift : {1000.0, 1e5}) {
    for (const Order order : {Order::average, Order::first, Order::second, Order::reptile}) {
      for (const metalqr::StepSize& outer : {metalqr::backtracking(), metalqr::quasi_newton()}) {
        std::vector<std::function<double(const Gain&)>> oracles;
        for (const auto& task : tasks)
          oracles.push_back([&task, shift](const Gain& K) { return cost(task, K) - shift; });
        Options options;
        options.order = order;
        options.outer = outer;
        options.iterations = 60;
        const auto plain = test::train(tasks, test::first_gain(), options);
        const auto shifted = meta::train<Boeing>(oracles, test::first_gain(), options);
        CAPTURE(to_string(order), static_cast<int>(outer.rule), shift, test::gap(plain.gain),
                test::gap(shifted.gain), shifted.iterations);
        CHECK(shifted.iterations > 5);
        CHECK(test::gap(shifted.gain) < 1.5 * test::gap(plain.gain) + 0.05);
      }
    }
  }
}

TEST_CASE("a step so long that the radius is lost in the rounding of the gain counts as unstable") {
  const BoeingTasks tasks = test::fleet(Start::code, 12, 2);
  for (const Order order : {Order::first, Order::printed}) {
    Options options = meta::published();
    options.order = order;
    options.inner_step = 1e12;
    options.iterations = 2;
    const auto inner = test::train(tasks, test::first_gain(), options);
    CHECK(inner.skipped_inner_points == 2);
    CHECK(inner.status == metalqr::Status::unstable);
    CHECK(test::same(inner.gain, test::first_gain()));
    options = meta::published();
    options.order = order;
    options.outer = metalqr::constant_step(1e12);
    const auto outer = test::train(tasks, test::first_gain(), options);
    CHECK(outer.status == metalqr::Status::unstable);
    CHECK(outer.iterations == 1);
  }
}
