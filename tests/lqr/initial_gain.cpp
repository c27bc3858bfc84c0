#include <metalqr/lqr/initial_gain.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "support.hpp"

namespace {

using metalqr::AnnealingOptions;
using metalqr::InitialGain;
using metalqr::InvalidOption;
using metalqr::NotStabilizable;
using test::Backend;
using test::dense;
using test::Dense;
using test::DenseTask;
using test::Index;
using test::message_of;
using Task = metalqr::Task<Backend>;

const double infinity = std::numeric_limits<double>::infinity();

/// |F^4096|_F < 1 by plain squaring in long double: proves that the gain stabilises.
bool powers_vanish(const DenseTask& task, const Dense& K) {
  Dense power = task.closed_loop(K);
  for (int i = 0; i < 12; ++i) power = power * power;
  return norm(power) < 1;
}

DenseTask modified_boeing() {
  return {{{1.22, 0.03, -0.02, -0.32}, {0.01, 4.7, 0, 0}, {0.02, -0.06, 0.4, 0}, {0.01, -0.04, 0.72, 1.55}},
          {{0.01, 0.99}, {-3.44, 1.66}, {-0.83, 0.44}, {-0.47, 0.25}},
          test::identity(4),
          test::identity(2),
          0.25L * test::identity(4)};
}

/// The model-free loop on a scalar plant x+ = a x + u with Q = R = Sigma0 = 1, with costs and the discounted
/// optimal gain in closed form.
struct ScalarPlant {
  double a;

  double cost(double k, double discount) const {
    const double f = a - k;
    return discount * f * f < 1 ? (1 + k * k) / (1 - discount * f * f) : infinity;
  }
  double optimal(double discount) const {
    double p = 1;
    for (int i = 0; i < 10000; ++i) p = 1 + discount * a * a * p / (1 + discount * p);
    return discount * a * p / (1 + discount * p);
  }
};

}  // namespace

TEST_CASE("annealing stabilises two hundred random unstable plants") {
  metalqr::Stream stream = test::stream(1);
  int most_rounds = 0;
  for (int sample = 0; sample < 200; ++sample) {
    const Index nx = 1 + sample % 6;
    const DenseTask task{test::rounded(test::random_with_radius(nx, stream.uniform(1, 3), stream)),
                         test::rounded(test::random_matrix(nx, 1 + sample % 2, stream)), test::identity(nx),
                         test::identity(1 + sample % 2), test::identity(nx)};
    const InitialGain<Backend> found = metalqr::initial_gain(test::make_task<Backend>(task));
    CHECK(powers_vanish(task, dense(found.gain)));
    CHECK(found.first_discount > 0);
    CHECK(found.first_discount < 1);
    CHECK(found.rounds >= 1);
    most_rounds = std::max(most_rounds, found.rounds);
  }
  CHECK(most_rounds < 100);
}

TEST_CASE("annealing stabilises the modified Boeing") {
  const DenseTask task = modified_boeing();
  CHECK(powers_vanish(task, dense(metalqr::initial_gain(test::make_task<Backend>(task)).gain)));
}

TEST_CASE("a singular state cost does not keep annealing from a stabilising gain") {
  DenseTask task = modified_boeing();
  task.Q = Dense(4, 4);
  task.Q(0, 0) = 1;
  CHECK(powers_vanish(task, dense(metalqr::initial_gain(test::make_task<Backend>(task)).gain)));
}

TEST_CASE("a stable plant keeps the zero gain") {
  metalqr::Stream stream = test::stream(2);
  DenseTask task = test::random_problem(4, 2, 0.9, stream).task;
  task.A = test::random_with_radius(4, 0.9, stream);
  const InitialGain<Backend> found = metalqr::initial_gain(test::make_task<Backend>(task));
  CHECK(norm(dense(found.gain)) == 0);
  CHECK(found.rounds == 0);
  CHECK(found.first_discount == 1);
}

TEST_CASE("a plant that cannot be stabilised is refused with a sentence") {
  // An eigenvalue that the input does not reach: outside the circle, and on it.
  for (const double unreachable : {2.0, 1.1, -1.5, 1.0}) {
    const DenseTask task{
        {{unreachable, 0}, {1, 0.5}}, {{0}, {1}}, test::identity(2), test::identity(1), test::identity(2)};
    const std::string message =
        message_of<NotStabilizable>([&] { metalqr::initial_gain(test::make_task<Backend>(task)); });
    CHECK(message.find("expected the discount to reach 1") != std::string::npos);
    CHECK(message.find("is (A, B) stabilizable?") != std::string::npos);
  }
  // A complex pair.
  const DenseTask pair{{{1, 1, 0}, {-1, 1, 0}, {1, 1, 1}},
                       {{0}, {0}, {1}},
                       test::identity(3),
                       test::identity(1),
                       test::identity(3)};
  CHECK_THROWS_AS(metalqr::initial_gain(test::make_task<Backend>(pair)), NotStabilizable);
}

TEST_CASE("the cap on rounds holds and does not refuse a run that just meets it") {
  const Task task = test::make_task<Backend>(modified_boeing());
  const int rounds = metalqr::initial_gain(task).rounds;
  REQUIRE(rounds > 1);
  CHECK(metalqr::initial_gain(task, {.max_rounds = rounds}).rounds == rounds);
  const std::string message =
      message_of<NotStabilizable>([&] { metalqr::initial_gain(task, {.max_rounds = rounds - 1}); });
  CHECK(message.rfind("max_rounds: expected the discount to reach 1 within " + std::to_string(rounds - 1),
                      0) == 0);
}

TEST_CASE("a slower or faster rise of the discount stabilises too") {
  const DenseTask task = modified_boeing();
  const Task from = test::make_task<Backend>(task);
  int last = 0;
  for (const double growth : {100.0, 4.0, 1.5}) {
    const InitialGain<Backend> found = metalqr::initial_gain(from, {.cost_growth = growth});
    CHECK(powers_vanish(task, dense(found.gain)));
    CHECK(found.rounds >= last);
    last = found.rounds;
  }
  const InitialGain<Backend> given = metalqr::initial_gain(from, {.first_discount = 0.01});
  CHECK(given.first_discount == 0.01);
  CHECK(powers_vanish(task, dense(given.gain)));
}

TEST_CASE("annealing without a model needs costs and improvements only") {
  for (const double a : {1.2, 3.0, -10.0, 1000.0}) {
    const ScalarPlant plant{a};
    std::vector<double> discounts;
    const auto cost = [&](const Backend::Gain& K, double discount) { return plant.cost(K(0, 0), discount); };
    const auto improve = [&](const Backend::Gain& K, double discount) {
      // Only ever asked where the cost is finite.
      CHECK(plant.cost(K(0, 0), discount) < infinity);
      discounts.push_back(discount);
      return Backend::Gain(0.5 * K + 0.5 * test::gain({{plant.optimal(discount)}}));
    };
    const auto found = metalqr::anneal_discount<Backend>(test::gain({{0}}), cost, improve);
    CHECK(std::abs(a - found.gain(0, 0)) < 1);
    CHECK(std::is_sorted(discounts.begin(), discounts.end()));
    CHECK(discounts.front() == found.first_discount);
    CHECK(discounts.back() == 1);
  }
}

TEST_CASE("annealing ends with a typed error when the cost is never finite, or is NaN") {
  const auto improve = [](const Backend::Gain& K, double) { return K; };
  for (const double value : {infinity, std::numeric_limits<double>::quiet_NaN()}) {
    const auto cost = [&](const Backend::Gain&, double) { return value; };
    CHECK(message_of<NotStabilizable>([&] {
            metalqr::anneal_discount<Backend>(test::gain({{0}}), cost, improve);
          }).rfind("first_discount: ", 0) == 0);
    CHECK(message_of<NotStabilizable>([&] {
            metalqr::anneal_discount<Backend>(test::gain({{0}}), cost, improve, {.first_discount = 0.5});
          }) == "first_discount: expected a discount at which the start gain has a finite cost, got 0.5");
  }
}

TEST_CASE("an improvement that loses stability is refused, in the last round too") {
  const ScalarPlant plant{2};
  const auto cost = [&](const Backend::Gain& K, double discount) { return plant.cost(K(0, 0), discount); };
  for (const double from : {0.0, 1.0}) {
    const auto spoil = [&](const Backend::Gain&, double discount) {
      return test::gain({{discount < from ? plant.optimal(discount) : -1e6}});
    };
    CHECK(message_of<NotStabilizable>([&] {
            metalqr::anneal_discount<Backend>(test::gain({{0}}), cost, spoil);
          }).rfind("improve: expected a gain of finite cost at discount ", 0) == 0);
  }
}

TEST_CASE("each option of annealing outside its range is refused by name") {
  const Task task = test::make_task<Backend>(modified_boeing());
  const double not_a_number = std::numeric_limits<double>::quiet_NaN();
  const auto refusal = [&](const AnnealingOptions& options) {
    return message_of<InvalidOption>([&] { metalqr::initial_gain(task, options); });
  };
  for (const double bad : {-0.1, 1.5, infinity, not_a_number}) {
    CHECK(refusal({.first_discount = bad}).rfind("first_discount: expected a number in (0, 1], ", 0) == 0);
  }
  for (const double bad : {1.0, 0.0, -4.0, infinity, not_a_number}) {
    CHECK(refusal({.cost_growth = bad}).rfind("cost_growth: expected a finite number > 1, got ", 0) == 0);
  }
  CHECK(refusal({.bisections = 0}) == "bisections: expected at least 1, got 0");
  CHECK(refusal({.max_rounds = 0}) == "max_rounds: expected at least 1, got 0");
}
