#pragma once

/// @file
/// The row of Lyapunov equations, for every solver.

#include <cmath>
#include <map>
#include <string>
#include <utility>

#include "rows.hpp"

namespace benchmarks {

/// The states and spectral radii of the rows.
inline constexpr Index lyapunov_sizes[] = {4, 8, 16, 32, 64, 128, 256, 512};
inline constexpr double spectral_radii[] = {0.9, 0.999};

/// The end of a row's name.
inline std::string lyapunov_suffix(Index n, double rho) {
  return std::to_string(n) + (rho == spectral_radii[0] ? "" : "/rho:0.999");
}

/// Times `solve(F, Q)`, which says whether it solved the equation, on the matrices in turn; `solution()` is
/// what the last call found. The residual is the median over all matrices, found once.
template <class Solve, class Solution>
void run_lyapunov(benchmark::State& state, const std::string& solver, Index n, double rho, const Solve& solve,
                  const Solution& solution) {
  static std::map<std::string, double> residuals;
  const auto problems = lyapunov_problems(n, rho);
  const auto [residual, is_new] = residuals.try_emplace(solver + "/" + lyapunov_suffix(n, rho), 0);
  bool solved = true;
  if (is_new) {
    std::vector<double> all;
    for (const LyapunovProblem& problem : problems) {
      solved = solve(problem.F, problem.Q) && solved;
      all.push_back(lyapunov_residual(problem, solution()));
    }
    residual->second = median(all);
  }
  std::size_t next = 0;
  for (auto _ : state) {
    solved = solve(problems[next].F, problems[next].Q) && solved;
    benchmark::ClobberMemory();
    if (++next == problems.size()) next = 0;
  }
  if (!solved) state.SkipWithError("an equation was not solved");
  set_rates(state, 1);
  state.counters["residual"] = residual->second;
}

}  // namespace benchmarks
