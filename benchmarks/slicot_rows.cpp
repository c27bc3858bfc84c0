// The peers in Fortran: SB03MD for Lyapunov and SB02OD for Riccati equations.

#include "dare.hpp"
#include "lyapunov.hpp"
#include "slicot.hpp"

namespace benchmarks {

namespace {

/// The routine destroys its arguments: copying them is a part of the time.
void run_sb03md(benchmark::State& state, Index n, double rho) {
  slicot::Lyapunov solver(n);
  const auto solve = [&solver](const Dynamic::StateMatrix& F, const Dynamic::StateMatrix& Q) {
    return solver.solve(F, Q);
  };
  run_lyapunov(state, "slicot", n, rho, solve, [&solver] { return solver.P(); });
}

/// P alone: the routine does not compute the gain.
void run_sb02od(benchmark::State& state, Size size) {
  const auto& tasks = riccati_tasks(size);
  slicot::Riccati solver(size);
  bool solved = true;
  std::size_t next = 0;
  for (auto _ : state) {
    solved = solver.solve(tasks[next]) && solved;
    benchmark::ClobberMemory();
    if (++next == tasks.size()) next = 0;
  }
  set_rates(state, 1);
  state.counters["residual"] = median_residual(tasks, [&](std::size_t i) {
    solved = solver.solve(tasks[i]) && solved;
    return solver.P();
  });
  if (!solved) state.SkipWithError("an equation was not solved");
}

[[maybe_unused]] const bool registered = [] {
  for (const double rho : spectral_radii) {
    for (const Index n : lyapunov_sizes)
      add("lyapunov/slicot/" + lyapunov_suffix(n, rho), run_sb03md, n, rho);
  }
  for (const Size size : {Size{4, 2}, Size{8, 3}, Size{20, 5}, Size{50, 10}, Size{100, 20}}) {
    add("dare/slicot/" + text(size), run_sb02od, size);
  }
  return true;
}();

}  // namespace

}  // namespace benchmarks
