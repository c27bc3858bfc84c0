// P = Q + F'PF for n states, sizes known at run time only, and for 4 and 8 states known to the compiler.

#include "lyapunov.hpp"

#include <metalqr/equations/lyapunov.hpp>

namespace benchmarks {

namespace {

template <class Backend>
void run_metalqr(benchmark::State& state, const std::string& solver, Index n, double rho) {
  using StateMatrix = typename Backend::StateMatrix;
  metalqr::LyapunovSolution<Backend> last;
  // Where the sizes are fixed, the copy into a fixed matrix is a part of the time.
  const auto solve = [&last](const Dynamic::StateMatrix& F, const Dynamic::StateMatrix& Q) {
    if constexpr (Backend::states < 0) {
      last = metalqr::solve_lyapunov<Backend>(F, Q);
    } else {
      last = metalqr::solve_lyapunov<Backend>(StateMatrix(F), StateMatrix(Q));
    }
    return last.status == metalqr::Status::converged;
  };
  run_lyapunov(state, solver, n, rho, solve, [&last] { return Dynamic::StateMatrix(last.value); });
}

template <class Backend>
void add_rows(const std::string& solver, Index n) {
  for (const double rho : spectral_radii) {
    add("lyapunov/" + solver + "/" + lyapunov_suffix(n, rho), run_metalqr<Backend>, solver, n, rho);
  }
}

[[maybe_unused]] const bool registered = [] {
  for (const Index n : lyapunov_sizes) add_rows<Dynamic>("metalqr", n);
  add_rows<metalqr::EigenBackend<double, 4, 1>>("fixed", 4);
  add_rows<metalqr::EigenBackend<double, 8, 1>>("fixed", 8);
  return true;
}();

}  // namespace

}  // namespace benchmarks
