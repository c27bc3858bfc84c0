// Costs where the compiler knows the sizes: one gain at a time, and one in each lane of the vector registers.

#include <metalqr/lqr/batch.hpp>

#include "cost.hpp"
#include "sized.hpp"

namespace benchmarks {

namespace {

void run_costs_in_lanes(benchmark::State& state) {
  const GainProblem& problem = gain_problem(size);
  const auto task = converted<Sized>(problem.task);
  const auto gains = converted<Sized>(problem.gains);
  std::vector<double> costs;
  for (auto _ : state) {
    costs = metalqr::costs(task, gains, 1);
    benchmark::DoNotOptimize(costs.data());
    benchmark::ClobberMemory();
  }
  require_costs(state, costs, problem);
  set_rates(state, gains.size(), cost_operations(size, problem.doublings));
}

[[maybe_unused]] const bool registered = [] {
  add("cost/lanes/" + text(size), run_costs_in_lanes);
  add("cost/scalar/" + text(size), run_costs<Sized>, size);
  return true;
}();

}  // namespace

}  // namespace benchmarks
