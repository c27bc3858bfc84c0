#pragma once

/// @file
/// The row of Riccati equations, one plant at a time.

#include <metalqr/equations/riccati.hpp>

#include "rows.hpp"

namespace benchmarks {

/// The median of the residuals of `solution(i)`.
template <class Solution>
double median_residual(const std::vector<metalqr::Task<Dynamic>>& tasks, const Solution& solution) {
  std::vector<double> residuals;
  for (std::size_t i = 0; i < tasks.size(); ++i) residuals.push_back(riccati_residual(tasks[i], solution(i)));
  return median(residuals);
}

/// P and K of each plant in turn by `metalqr::solve_dare`.
template <class Backend>
void run_dare(benchmark::State& state, Size size) {
  const auto& plain = riccati_tasks(size);
  const auto tasks = converted<Backend>(plain);
  const auto solve = [&tasks](std::size_t i) {
    return metalqr::solve_dare<Backend>(tasks[i].A(), tasks[i].B(), tasks[i].Q(), tasks[i].R());
  };
  std::size_t next = 0;
  for (auto _ : state) {
    const auto solution = solve(next);
    benchmark::DoNotOptimize(&solution);
    if (++next == tasks.size()) next = 0;
  }
  set_rates(state, 1);
  state.counters["residual"] =
      median_residual(plain, [&solve](std::size_t i) { return Dynamic::StateMatrix(solve(i).value); });
}

}  // namespace benchmarks
