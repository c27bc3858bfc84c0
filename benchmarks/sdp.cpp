// Robust designs for a plant with three states and three inputs, and how much of their time is not the
// solver's own.

#include <chrono>
#include <cmath>
#include <string>
#include <utility>

#include <csdp/declarations.h>

#include <metalqr/core/eigen.hpp>
#include <metalqr/synthesis/common_lyapunov.hpp>
#include <metalqr/synthesis/fir.hpp>
#include <metalqr/systems/plants.hpp>

#include "rows.hpp"

namespace benchmarks {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double seconds_in_solver = 0;

/// The solver's own call, with a stopwatch.
template <class... Arguments>
int timed_sdp(Arguments... arguments) {
  const Clock::time_point start = Clock::now();
  const int code = ::sdp(arguments...);
  seconds_in_solver += seconds_since(start);
  return code;
}

}  // namespace

}  // namespace benchmarks

// The adapter calls it in the place of `sdp`, on the same data.
#define sdp ::benchmarks::timed_sdp
#include <metalqr/synthesis/csdp.hpp>
#undef sdp

namespace benchmarks {

namespace {

namespace synthesis = metalqr::synthesis;
using Plant = metalqr::EigenBackend<double, 3, 3>;

/// One pass is a whole design: the least level, the design, its checks. It must have this squared H2 norm.
template <class Design>
void run_design(benchmark::State& state, const Design& design, double expected) {
  const synthesis::RobustProblem<Plant> problem{metalqr::systems::laplacian_3<Plant>(), 0.05, 0.05};
  const synthesis::Csdp solver;
  double found = 0;
  int solves = 0;
  seconds_in_solver = 0;
  const Clock::time_point start = Clock::now();
  for (auto _ : state) {
    const auto result = design(problem, solver);
    found = result.status == synthesis::SynthesisStatus::solved ? result.h2_squared : 0;
    solves = result.solves;
  }
  const double seconds = seconds_since(start);
  if (!(std::abs(found / expected - 1) < 1e-5)) state.SkipWithError("the design is wrong");
  set_rates(state, 1);
  state.counters["to_solver"] = seconds / seconds_in_solver;
  state.counters["solves"] = solves;
}

// The norms are those of another solver and another formulation, as in the tests.
[[maybe_unused]] const bool registered = [] {
  const auto gain = [](const auto& problem, const auto& solver) {
    return synthesis::common_lyapunov(problem, solver, {.gamma = 0.9});
  };
  add("sdp/common_lyapunov", [=](benchmark::State& state) {
    run_design(state, gain, 0.213697541209);
  })->Unit(benchmark::kMillisecond);
  for (const auto& [length, expected] :
       {std::pair<Index, double>{8, 0.420491924779}, {16, 0.256358792947}, {32, 0.246946822501}}) {
    const auto responses = [length = length](const auto& problem, const auto& solver) {
      return synthesis::fir(problem, solver, {.length = length, .gamma = 0.5, .alpha = 0.5});
    };
    add("sdp/fir/" + std::to_string(length), [responses, expected = expected](benchmark::State& state) {
      run_design(state, responses, expected);
    })->Unit(benchmark::kMillisecond);
  }
  return true;
}();

}  // namespace

}  // namespace benchmarks
