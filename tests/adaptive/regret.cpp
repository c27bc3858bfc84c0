#include <metalqr/adaptive/regret.hpp>

#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include <metalqr/adaptive/advance.hpp>
#include <metalqr/core/parallel.hpp>
#include <metalqr/systems/plants.hpp>

#include "support.hpp"

namespace {

namespace adaptive = metalqr::adaptive;
using metalqr::Purpose;
using test::Backend;
using test::Dense;
using test::Index;

/// A strategy that always gives the same gain.
auto always(const Backend::Gain& K) {
  return [K](const adaptive::Knowledge<Backend>&, metalqr::Stream&) { return K; };
}

/// The numbers that step t adds to the input and the state.
double number(metalqr::StreamKey key, Index t, Purpose purpose) {
  key.iteration = static_cast<std::uint64_t>(t);
  return metalqr::Stream(key.with_purpose(purpose)).normal();
}

}  // namespace

TEST_CASE("the regret of a scalar plant is that of its recursion by hand") {
  const double a = 0.8;
  const double b = 0.5;
  const double q = 2;
  const double r = 0.3;
  const double variance = 0.49;
  const double K = 0.4;
  // b^2 P^2 + (r - q b^2 - a^2 r) P - q r = 0.
  const double half = (r - q * b * b - a * a * r) / 2;
  const double P = (-half + std::sqrt(half * half + b * b * q * r)) / (b * b);
  const auto plant = test::make_task({{{a}}, {{b}}, {{q}}, {{r}}, {{variance}}});
  const metalqr::StreamKey key{.seed = 531, .task = 4, .sample = 2};
  const adaptive::Options<Backend> options{.schedule = {.first = 2, .exploration = 0.5, .decay = 1}};
  auto state = adaptive::start(plant, test::gain(Dense{{0.1}}), options, key);
  CHECK(state.regret.optimal_cost == Catch::Approx(P * variance).epsilon(1e-14));
  CHECK(state.regret.value == 0);
  const auto result = adaptive::advance(plant, state, always(test::gain(Dense{{K}})), options, 13);
  CHECK(result.status == adaptive::RunStatus::completed);
  REQUIRE(result.regret.size() == 13);
  // Epochs of 2, 4, 6, ... steps.
  const std::vector<double> exploration{0.5,     0.5,     0.25,    0.25,    0.25,    0.25, 0.5 / 3,
                                        0.5 / 3, 0.5 / 3, 0.5 / 3, 0.5 / 3, 0.5 / 3, 0.125};
  double x = 0;
  double regret = 0;
  for (Index t = 0; t < 13; ++t) {
    const double u = -K * x + exploration[static_cast<std::size_t>(t)] * number(key, t, Purpose::excitation);
    regret += q * x * x + r * u * u - P * variance;
    CHECK(result.regret[static_cast<std::size_t>(t)] == Catch::Approx(regret).epsilon(1e-12).margin(1e-12));
    x = a * x + b * u + std::sqrt(variance) * number(key, t, Purpose::process_noise);
  }
  CHECK(state.x(0, 0) == Catch::Approx(x).epsilon(1e-12));
  CHECK(state.epochs == 4);
}

TEST_CASE("priming draws numbers of its own") {
  const auto plant = test::make_task({{{0.8}}, {{0.5}}, {{2}}, {{0.3}}, {{0.49}}});
  const metalqr::StreamKey key{.seed = 533};
  const adaptive::Options<Backend> options{
      .schedule = {.exploration = 1}, .ridge = 1e-12, .priming_steps = 1};
  auto state = adaptive::start(plant, test::gain(Dense{{0.4}}), options, key);
  // One step from zero: the estimate of B is x_1 / u_0.
  const double primed = state.data.estimate().B(0, 0);
  adaptive::advance(plant, state, always(test::gain(Dense{{0.4}})), options, 1);
  const double played = state.x(0, 0) / number(key, 0, Purpose::excitation);
  CHECK(std::abs(played - primed) > 1e-6);
}

// E[regret] of the optimal gain from x_0 = 0 is -tr(P Sigma_T) exactly: five standard errors of the mean, a
// false alarm in one of a million.
TEST_CASE("the regret of the optimal gain has the mean that theory gives") {
  const auto plant = metalqr::systems::laplacian_3<Backend>(10);
  const auto optimal = metalqr::solve_dare(plant);
  const Dense F = test::dense(plant.A()) - test::dense(plant.B()) * test::dense<Backend>(optimal.gain);
  const adaptive::Options<Backend> options{.schedule = {.exploration = 0}, .priming_steps = 20};
  constexpr Index trials = 2000;
  constexpr Index steps = 60;
  std::vector<double> regrets(trials);
  metalqr::parallel_for(trials, [&](Index i) {
    auto state =
        adaptive::start(plant, optimal.gain, options, {.seed = 532, .task = static_cast<std::uint64_t>(i)});
    regrets[static_cast<std::size_t>(i)] =
        adaptive::advance(plant, state, always(optimal.gain), options, steps).regret.back();
  });
  Dense Sigma(3, 3);
  for (Index t = 0; t < steps; ++t) Sigma = test::identity(3) + F * Sigma * test::transpose(F);
  const auto expected = -static_cast<double>(test::inner(test::dense<Backend>(optimal.value), Sigma));
  double mean = 0;
  for (const double regret : regrets) mean += regret / trials;
  double square = 0;
  for (const double regret : regrets) square += (regret - mean) * (regret - mean) / (trials - 1);
  const double error = std::sqrt(square / trials);
  CHECK(std::abs(mean - expected) < 5 * error);
  // So sharp that a J* which is wrong by 2 % fails.
  CHECK(5 * error < 0.02 * steps * metalqr::optimal_cost(plant));
}

TEST_CASE("an overflow makes the regret infinite") {
  adaptive::Regret regret{.optimal_cost = 2};
  CHECK(regret.add(5) == 3);
  CHECK(regret.add(1) == 2);
  regret.overflow();
  CHECK(std::isinf(regret.value));
}
