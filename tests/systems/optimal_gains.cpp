#include <metalqr/systems/optimal_gains.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

#include <metalqr/systems/families.hpp>
#include <metalqr/systems/plants.hpp>
#include <metalqr/systems/random_task.hpp>

#include "support.hpp"

using metalqr::EigenBackend;
using metalqr::Status;
using test::Backend;
using test::dense;
using test::Dense;
using test::message_of;
using Task = metalqr::Task<Backend>;

namespace systems = metalqr::systems;

namespace {

const double published_step = 0.8e-5;

template <class AnyBackend>
metalqr::Task<AnyBackend> boeing(bool code_initial_states) {
  const auto plant = systems::modified_boeing<AnyBackend>();
  return code_initial_states
             ? plant.with_initial_state(systems::published_initial_second_moment<AnyBackend>())
             : plant;
}

template <class Fleet>
long double dense_average(const Fleet& fleet, const Dense& K) {
  long double sum = 0;
  for (const auto& task : fleet) sum += dense(task).cost(K);
  return sum / static_cast<long double>(fleet.size());
}

template <class Fleet>
long double dense_maml(const Fleet& fleet, double eta_l, const Dense& K) {
  long double sum = 0;
  for (const auto& member : fleet) {
    const test::DenseTask task = dense(member);
    sum += task.cost(K - eta_l * task.gradient(K));
  }
  return sum / static_cast<long double>(fleet.size());
}

/// Frobenius norm of the gradient of `value`, by central differences.
template <class Value>
long double slope(const Value& value, const Dense& K, long double h) {
  Dense gradient(K.rows, K.cols);
  for (metalqr::Index i = 0; i < K.rows; ++i) {
    for (metalqr::Index j = 0; j < K.cols; ++j) {
      Dense above = K;
      Dense below = K;
      above(i, j) += h;
      below(i, j) -= h;
      gradient(i, j) = (value(above) - value(below)) / (2 * h);
    }
  }
  return test::norm(gradient);
}

/// Excess over the least cost of the published plant from the published state.
double gap(const Backend::Gain& K) {
  const Task task =
      systems::modified_boeing<Backend>().with_initial_state(systems::published_gap_second_moment<Backend>());
  return cost(task, K) - optimal_cost(task);
}

}  // namespace

TEMPLATE_TEST_CASE("at the average optimum the summed costs are stationary and least", "",
                   (EigenBackend<double>), (EigenBackend<double, 4, 2>)) {
  for (const bool code : {false, true}) {
    const auto fleet = systems::perturbed_family(boeing<TestType>(code), {.count = 5}, 7);
    const auto optimum = systems::average_optimal_gain(fleet);
    CHECK(optimum.status == Status::converged);
    const Dense K = dense<TestType>(optimum.gain);
    const auto average = [&](const Dense& gain) { return dense_average(fleet, gain); };
    CHECK(test::relative_error(optimum.cost, average(K)) < 1e-11);
    long double scale = 0;
    for (const auto& task : fleet) scale += dense(task).gradient_scale(K) / 5;
    CHECK(optimum.gradient_norm <= 1e-10 * static_cast<double>(scale));
    CHECK(slope(average, K, 1e-6L) < 1e-9L * scale);
    metalqr::Stream stream = test::stream(3);
    for (int sample = 0; sample < 20; ++sample) {
      CHECK(average(K + 1e-3L * test::random_matrix(2, 4, stream)) > average(K));
    }
  }
}

TEST_CASE("the average optimum does not depend on the start, nor on the order of the tasks") {
  for (const bool code : {false, true}) {
    auto fleet = systems::perturbed_family(boeing<Backend>(code), {}, 7);
    const Dense K = dense(systems::average_optimal_gain(fleet).gain);
    const auto from_K0 =
        systems::average_optimal_gain(fleet, systems::modified_boeing_initial_gain<Backend>());
    CHECK(from_K0.status == Status::converged);
    CHECK(test::relative_error(dense(from_K0.gain), K) < 1e-7);
    std::reverse(fleet.tasks.begin(), fleet.tasks.end());
    CHECK(test::relative_error(dense(systems::average_optimal_gain(fleet).gain), K) < 1e-7);
  }
}

TEST_CASE("the average optimum of one task, or of copies of it, is its Riccati solution") {
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    const Task task = systems::random_task<Backend>({.states = 4, .inputs = 2, .spectral_radius = 0.9}, seed);
    const Dense K = dense(metalqr::solve_dare(task).gain);
    const Backend::Gain zero = Backend::zero_gain(2, 4);
    CHECK(test::relative_error(dense(systems::average_optimal_gain(std::vector{task}).gain), K) < 1e-10);
    CHECK(test::relative_error(dense(systems::average_optimal_gain(std::vector{task}, zero).gain), K) < 1e-8);
    CHECK(test::relative_error(dense(systems::average_optimal_gain(std::vector{task, task, task}, zero).gain),
                               K) < 1e-8);
  }
}

TEST_CASE("the average optimum is found where the first task's optimum loses another") {
  // Only tasks further down have an optimum that stabilises all: a = 0.1 needs little control, a = 1.5 much.
  const auto plant = [](double a) { return test::make_task({{{a}}, {{1}}, {{1}}, {{100}}, {{1}}}); };
  const std::vector<Task> fleet{plant(0.1), plant(1.5)};
  REQUIRE(!is_stabilizing(fleet[1], metalqr::solve_dare(fleet[0]).gain));
  const auto optimum = systems::average_optimal_gain(fleet);
  CHECK(optimum.status == Status::converged);
  const auto average = [&](const Dense& gain) { return dense_average(fleet, gain); };
  CHECK(slope(average, dense(optimum.gain), 1e-7L) < 1e-7L);

  const std::vector<Task> opposed{plant(-1.5), plant(1.5)};
  CHECK_THAT(message_of<metalqr::NotStabilizable>([&] { systems::average_optimal_gain(opposed); }),
             Catch::Matchers::ContainsSubstring("K_start"));
}

TEST_CASE("the MAML optimum is stationary, from the optimal and from the published gain") {
  for (const bool code : {false, true}) {
    const Task nominal = boeing<Backend>(code);
    const auto fleet = systems::perturbed_family(nominal, {.count = 4}, 7);
    for (const auto& start :
         {metalqr::solve_dare(nominal).gain, systems::modified_boeing_initial_gain<Backend>()}) {
      // The largest steps at which plain descent on the MAML objective converges from the published gain.
      const double eta_l = code ? 1e-6 : 1e-7;
      const auto optimum = systems::maml_optimal_gain(fleet, eta_l, start);
      CHECK(optimum.status == Status::converged);
      CHECK(optimum.is_minimiser);
      CHECK(optimum.inner_spectral_radius < 1);
      CHECK(test::norm(dense(optimum.start) - dense(start)) == 0);
      CHECK(gap(optimum.gain) < 1e-2);
      const Dense K = dense(optimum.gain);
      const auto objective = [&](const Dense& gain) { return dense_maml(fleet, eta_l, gain); };
      CHECK(test::relative_error(optimum.value, objective(K)) < 1e-10);
      CHECK(slope(objective, K, 1e-6L) < 1e-6L);
    }
  }
}

TEST_CASE("at the published step the MAML objective has minimisers near the optimal gain and far from it") {
  const Task nominal = boeing<Backend>(false);
  const auto fleet = systems::perturbed_family(nominal, {}, 7);
  const auto near = systems::maml_optimal_gain(fleet, published_step, metalqr::solve_dare(nominal).gain);
  const auto far =
      systems::maml_optimal_gain(fleet, published_step, systems::modified_boeing_initial_gain<Backend>());
  for (const auto& optimum : {near, far}) {
    CHECK(optimum.status == Status::converged);
    CHECK(optimum.is_minimiser);
    CHECK(optimum.inner_spectral_radius < 1);
    const auto objective = [&](const Dense& gain) { return dense_maml(fleet, published_step, gain); };
    CHECK(slope(objective, dense(optimum.gain), 1e-7L) < 1e-4L);
  }
  CHECK(gap(near.gain) < 1e-3);
  CHECK(gap(far.gain) > 10);
  CHECK(far.value > near.value);
}

TEST_CASE("a scalar plant has a second MAML minimiser whose inner step ends at the optimal gain") {
  // J = (1 + k^2) / (1 - (0.9 - k)^2); the inner step maps a gain near the stability limit 1.9 onto the
  // optimal one.
  const Task task = test::make_task({{{0.9}}, {{1}}, {{1}}, {{1}}, {{1}}});
  const double best = metalqr::solve_dare(task).gain(0, 0);
  const double eta_l = 0.05;
  const auto inner = [&](double k) {
    const metalqr::Evaluation<Backend> at(task, test::gain({{k}}));
    return k - eta_l * at.gradient()(0, 0);
  };
  double low = 1.2;
  double high = 1.85;
  REQUIRE((inner(low) > best && inner(high) < best));
  for (int bisection = 0; bisection < 60; ++bisection)
    (inner((low + high) / 2) > best ? low : high) = (low + high) / 2;
  const auto near = systems::maml_optimal_gain(std::vector{task}, eta_l, test::gain({{best + 0.1}}));
  const auto far = systems::maml_optimal_gain(std::vector{task}, eta_l, test::gain({{low + 0.01}}));
  CHECK(test::relative_error(near.gain(0, 0), best) < 1e-8);
  CHECK(test::relative_error(far.gain(0, 0), low) < 1e-8);
  CHECK(test::relative_error(near.value, far.value) < 1e-12);
}

TEST_CASE("bad arguments of the optimal gains are refused by their names") {
  using Catch::Matchers::ContainsSubstring;
  const Task nominal = boeing<Backend>(false);
  const std::vector<Task> fleet{nominal, nominal};
  const std::vector<Task> none;
  const Backend::Gain K = systems::modified_boeing_initial_gain<Backend>();
  CHECK_THROWS_AS(systems::average_optimal_gain(none), metalqr::InvalidOption);
  CHECK_THROWS_AS(systems::average_optimal_gain(none, K), metalqr::InvalidOption);
  CHECK_THROWS_AS(systems::maml_optimal_gain(none, 1e-6, K), metalqr::InvalidOption);
  CHECK_THROWS_AS(systems::average_optimal_gain(fleet, {.iterations = -1}), metalqr::InvalidOption);
  CHECK_THROWS_AS(systems::average_optimal_gain(fleet, K, {.tolerance = -1}), metalqr::InvalidOption);
  CHECK_THROWS_AS(systems::maml_optimal_gain(fleet, 1e-6, K, {.iterations = -1}), metalqr::InvalidOption);
  for (const double bad : {0.0, -1e-5, std::nan(""), HUGE_VAL}) {
    CHECK_THAT(message_of<metalqr::InvalidOption>([&] { systems::maml_optimal_gain(fleet, bad, K); }),
               ContainsSubstring("eta_l"));
  }
  const auto both = [&](const auto& check, const Backend::Gain& start) {
    check([&] { systems::average_optimal_gain(fleet, start); });
    check([&] { systems::maml_optimal_gain(fleet, 1e-6, start); });
  };
  both(
      [](const auto& call) {
        CHECK_THAT(message_of<metalqr::DimensionMismatch>(call),
                   ContainsSubstring("K_start: expected shape 2x4, got 4x2"));
      },
      Backend::zero_gain(4, 2));
  Backend::Gain spoilt = K;
  spoilt(0, 0) = std::nan("");
  both(
      [](const auto& call) {
        CHECK_THAT(message_of<metalqr::NotFinite>(call), ContainsSubstring("K_start"));
      },
      spoilt);
  both(
      [](const auto& call) {
        CHECK_THAT(message_of<metalqr::NotStabilizing>(call),
                   ContainsSubstring(
                       "K_start: expected a gain that stabilises every task, got spectral radius 4.7"));
      },
      Backend::zero_gain(2, 4));
  CHECK_THAT(message_of<metalqr::NotStabilizing>([&] { systems::maml_optimal_gain(fleet, 1, K); }),
             ContainsSubstring("K_start: expected an inner point"));
}
