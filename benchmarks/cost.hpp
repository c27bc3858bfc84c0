#pragma once

/// @file
/// The row of costs, one gain at a time.

#include <metalqr/lqr/evaluation.hpp>

#include "rows.hpp"

namespace benchmarks {

/// J(K) of each gain by `metalqr::cost`.
template <class Backend>
void run_costs(benchmark::State& state, Size size) {
  const GainProblem& problem = gain_problem(size);
  const auto task = converted<Backend>(problem.task);
  const auto gains = converted<Backend>(problem.gains);
  std::vector<double> costs(gains.size());
  for (auto _ : state) {
    for (std::size_t i = 0; i < gains.size(); ++i) costs[i] = metalqr::cost(task, gains[i]);
    benchmark::DoNotOptimize(costs.data());
    benchmark::ClobberMemory();
  }
  require_costs(state, costs, problem);
  set_rates(state, gains.size(), cost_operations(size, problem.doublings));
}

}  // namespace benchmarks
