#pragma once

/// @file
/// What the rows have in common: names, checks and counters.

#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "problems.hpp"

namespace benchmarks {

/// Registers `run(state, arguments...)` under a name.
template <class Run, class... Arguments>
benchmark::internal::Benchmark* add(const std::string& name, const Run& run, Arguments... arguments) {
  return benchmark::RegisterBenchmark(name.c_str(),
                                      [=](benchmark::State& state) { run(state, arguments...); });
}

/// Counters of `evaluations` in one pass of the loop that take so many multiply-add pairs each (0: not
/// counted).
inline void set_rates(benchmark::State& state, std::size_t evaluations, double operations = 0) {
  const double total = static_cast<double>(state.iterations()) * static_cast<double>(evaluations);
  state.counters["evals_per_s"] = benchmark::Counter(total, benchmark::Counter::kIsRate);
  if (operations > 0) {
    state.counters["gflops"] = benchmark::Counter(total * 2 * operations * 1e-9, benchmark::Counter::kIsRate);
  }
}

/// Spoils the row unless all costs are those of the plain algorithm.
template <class Costs>
void require_costs(benchmark::State& state, const Costs& costs, const GainProblem& problem) {
  double worst = 0;
  for (std::size_t i = 0; i < problem.costs.size(); ++i) {
    const double error = std::abs(costs[i] - problem.costs[i]) / problem.costs[i];
    if (!(error <= worst)) worst = error;
  }
  if (!(worst < 1e-9)) state.SkipWithError("the costs are wrong");
}

}  // namespace benchmarks
