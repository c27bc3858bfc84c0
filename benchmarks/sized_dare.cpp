// Riccati equations where the compiler knows the sizes: one plant at a time, and one in each lane.

#include <metalqr/lqr/batch.hpp>
#include <metalqr/lqr/optimal_gain.hpp>

#include "dare.hpp"
#include "sized.hpp"

namespace benchmarks {

namespace {

template <class Tasks>
void run_dare_in_lanes(benchmark::State& state) {
  const auto& plain = riccati_tasks(size);
  const Tasks tasks = converted<Sized>(plain);
  auto solutions = metalqr::solve_dare(tasks);
  for (auto _ : state) {
    solutions = metalqr::solve_dare(tasks);
    benchmark::DoNotOptimize(solutions.data());
    benchmark::ClobberMemory();
  }
  set_rates(state, tasks.size());
  state.counters["residual"] = median_residual(
      plain, [&solutions](std::size_t i) { return Dynamic::StateMatrix(solutions[i].value); });
}

template <class Tasks>
void add_lanes() {
  if constexpr (requires(const Tasks& tasks) { metalqr::solve_dare(tasks).size(); }) {
    add("dare/lanes/" + text(size), run_dare_in_lanes<Tasks>);
  }
}

[[maybe_unused]] const bool registered = [] {
  add("dare/metalqr/" + text(size), run_dare<Sized>, size);
  add_lanes<std::vector<metalqr::Task<Sized>>>();
  return true;
}();

}  // namespace

}  // namespace benchmarks
