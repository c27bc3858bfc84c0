// What a consumer's first program may look like.
#include <cmath>
#include <cstdio>
#include <metalqr/core/eigen.hpp>
#include <metalqr/equations/lyapunov.hpp>
#include <metalqr/metalqr.hpp>

int main() {
  using Backend = metalqr::EigenBackend<double, 1, 1>;
  const metalqr::DiscreteLyapunov<Backend> equation(Backend::StateMatrix(0.5));
  const double P = equation.solve(Backend::StateMatrix(1.0))(0, 0);
  std::printf("metalqr %d.%d.%d: P = 1 + P / 4 has the solution %g\n", metalqr::version.major_number,
              metalqr::version.minor_number, metalqr::version.patch_number, P);
  return std::abs(P - 4.0 / 3.0) < 1e-14 ? 0 : 1;
}
