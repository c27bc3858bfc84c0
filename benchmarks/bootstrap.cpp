// The parametric bootstrap of a plant with three states and three inputs from 100 rollouts of six steps.

#include <cmath>
#include <string>

#include <metalqr/core/eigen.hpp>
#include <metalqr/identification/bootstrap.hpp>
#include <metalqr/identification/experiment.hpp>
#include <metalqr/identification/least_squares.hpp>
#include <metalqr/systems/plants.hpp>

#include "rows.hpp"

namespace benchmarks {

namespace {

namespace identification = metalqr::identification;
using Plant = metalqr::EigenBackend<double, 3, 3>;

/// The 95 % percentiles of 400 000 trials of peers/bootstrap_numpy.py, which 2000 trials give within 1 % or
/// so.
constexpr double expected_A = 0.06796;
constexpr double expected_B = 0.14903;

/// One pass is a whole bootstrap, and an evaluation a trial.
void run_bootstrap(benchmark::State& state, Index trials) {
  const auto plant = metalqr::systems::laplacian_3<Plant>();
  const auto data = identification::collect(plant, {.rollouts = 100, .horizon = 6}, {.seed = 1});
  auto estimate = identification::least_squares(data);
  // The peer's estimate as well, so that both have the same percentiles.
  estimate.A = plant.A();
  estimate.B = plant.B();
  const identification::BootstrapOptions options{
      .trials = trials, .excitation = 1, .noise = 1, .percentiles = identification::Percentiles::separate};
  identification::Bootstrap<double> found;
  for (auto _ : state) found = identification::bootstrap(estimate, data, options, {.seed = 2}, 1);
  if (!(std::abs(found.epsilon_A / expected_A - 1) < 0.05 &&
        std::abs(found.epsilon_B / expected_B - 1) < 0.05)) {
    state.SkipWithError("the percentiles are wrong");
  }
  set_rates(state, static_cast<std::size_t>(trials));
  state.counters["epsilon_A"] = found.epsilon_A;
  state.counters["epsilon_B"] = found.epsilon_B;
}

[[maybe_unused]] const bool registered = [] {
  for (const Index trials : {2000}) {
    add("bootstrap/" + std::to_string(trials), run_bootstrap, trials)->Unit(benchmark::kMillisecond);
  }
  return true;
}();

}  // namespace

}  // namespace benchmarks
