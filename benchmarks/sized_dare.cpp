// Riccati equations where the compiler knows the sizes: one plant at a time, and one in each lane.

#include "dare.hpp"
#include "sized.hpp"

#if __has_include(<metalqr/lqr/batch.hpp>)
#include <metalqr/lqr/batch.hpp>
#endif

namespace benchmarks {

namespace {

#if __has_include(<metalqr/lqr/batch.hpp>)
void run_dare_in_lanes(benchmark::State& state) {
  const auto& plain = riccati_tasks(size);
  const auto tasks = converted<Sized>(plain);
  auto solutions = metalqr::solve_dare(tasks);
  for (auto _ : state) {
    solutions = metalqr::solve_dare(tasks);
    benchmark::DoNotOptimize(solutions.data());
    benchmark::ClobberMemory();
  }
  set_rates(state, tasks.size());
  state.counters["residual"] = riccati_residual(
      plain, [&solutions](std::size_t i) { return Dynamic::StateMatrix(solutions[i].value); });
}
#endif

[[maybe_unused]] const bool registered = [] {
  add("dare/metalqr/" + text(size), run_dare<Sized>, size);
#if __has_include(<metalqr/lqr/batch.hpp>)
  add("dare/lanes/" + text(size), run_dare_in_lanes);
#endif
  return true;
}();

}  // namespace

}  // namespace benchmarks
