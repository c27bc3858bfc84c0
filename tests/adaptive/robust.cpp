// Robust designs in the loop, with a solver of semidefinite programmes.

#include <metalqr/adaptive/strategy.hpp>

#include <cmath>
#include <variant>

#include <metalqr/synthesis/common_lyapunov.hpp>
#include <metalqr/synthesis/csdp.hpp>
#include <metalqr/synthesis/fir.hpp>

#include "statistics.hpp"

namespace {

namespace adaptive = metalqr::adaptive;
namespace synthesis = metalqr::synthesis;
using test::check_median;
using test::Comparison;
using test::Comparisons;
using test::Index;
using Problem = synthesis::RobustProblem<Comparison>;

/// The designs of the published comparison.
const adaptive::Robust common_lyapunov{
    [](const Problem& problem) { return synthesis::common_lyapunov(problem, synthesis::Csdp()); }};
const adaptive::Robust fir{[](const Problem& problem) {
  return synthesis::fir(problem, synthesis::Csdp(), {.length = 12, .gamma = 0.98, .alpha = 0.5});
}};

/// Against 100 trials of an independent implementation, which had the true errors as well.
void check_comparison(Index trials, std::uint64_t seed) {
  const Comparisons robust = test::compare(common_lyapunov, {}, trials, seed);
  check_median(robust.at_100, 28, 100, "common Lyapunov, 100 steps");
  check_median(robust.at_200, 47, 100, "common Lyapunov, 200 steps");
  check_median(robust.at_500, 105, 100, "common Lyapunov, 500 steps");
  check_median(robust.first, 0.023, 100, "common Lyapunov, first controller");
  check_median(robust.last, 0.0045, 100, "common Lyapunov, last controller");
  CHECK(robust.epochs == 10 * trials);
  CHECK(robust.kept <= robust.epochs / 50);
  // What is designed for the true errors stabilises the plant.
  for (const double excess : robust.last) CHECK(std::isfinite(excess));
}

}  // namespace

TEST_CASE("robust adaptive control performs as in the published comparison") {
  check_comparison(15, 581);
}

TEST_CASE("robust adaptive control performs as in the published comparison, with many trials", "[long]") {
  check_comparison(300, 582);
}

TEST_CASE("finite responses in the loop stabilise the plant") {
  const auto plant = metalqr::systems::laplacian_3<Comparison>(10);
  const auto K0 = metalqr::solve_dare(metalqr::systems::laplacian_3<Comparison>()).gain;
  auto state = adaptive::start(plant, K0, {}, {.seed = 583});
  Index dynamic = 0;
  const auto observe = [&](const auto& info) {
    if (info.new_epoch && info.state.controller.index() == 1) ++dynamic;
  };
  const auto result = adaptive::advance(plant, state, fir, {}, 31, observe);
  CHECK(result.status == adaptive::RunStatus::completed);
  CHECK(state.epochs == 3);
  CHECK(dynamic == 3);
  CHECK(state.kept == 0);
  const double cost = adaptive::average_cost(plant, state.controller);
  CHECK(cost < 1.2 * state.regret.optimal_cost);
  CHECK(cost >= state.regret.optimal_cost * (1 - 1e-9));
}

TEST_CASE("finite responses in the loop perform as the common Lyapunov design", "[long]") {
  const Comparisons robust = test::compare(fir, {}, 20, 582);
  const Comparisons other = test::compare(common_lyapunov, {}, 20, 582);
  CHECK(robust.kept <= robust.epochs / 20);
  for (const double excess : robust.last) CHECK(std::isfinite(excess));
  check_median(robust.last, test::median(other.last), 20, "last controllers");
}

TEST_CASE("an infeasible design leaves the controller as it is") {
  const auto plant = metalqr::systems::laplacian_3<Comparison>(10);
  const auto K0 = metalqr::solve_dare(metalqr::systems::laplacian_3<Comparison>()).gain;
  // Radii so large that no gain is robust.
  const adaptive::Options<Comparison> options{
      .bound = [](const metalqr::identification::Estimate<Comparison>&) {
        metalqr::identification::Confidence<Comparison> result;
        result.epsilon_A = result.epsilon_B = 10;
        return result;
      }};
  auto state = adaptive::start(plant, K0, options, {.seed = 584});
  adaptive::advance(plant, state, common_lyapunov, options, 31);
  CHECK(state.epochs == 3);
  CHECK(state.kept == 3);
  CHECK(Comparison::max_abs(Comparison::Gain(std::get<0>(state.controller) - K0)) == 0);
}
