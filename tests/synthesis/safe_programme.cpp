#include <metalqr/synthesis/safe_programme.hpp>

#include <cmath>
#include <cstddef>
#include <vector>

#include <metalqr/synthesis/ipopt.hpp>
#include <metalqr/synthesis/safe_fir.hpp>

#include "safe.hpp"

namespace {

namespace synthesis = metalqr::synthesis;
using synthesis::IpoptSolver;
using synthesis::SynthesisStatus;
using test::Backend;
using test::Dense;
using test::Index;
using test::integrator;
using test::safe_integrator;
using Problem = synthesis::SafeProblem<Backend>;
using Programme = synthesis::detail::SafeProgramme<Backend>;
using Fixed = metalqr::EigenBackend<double, 2, 1>;

std::size_t unknowns(const Problem& problem, Index length) {
  return Programme(problem, length).least_level(0.1).variables.size();
}

}  // namespace

TEST_CASE("limits of opposite sign and unit vectors share their unknowns") {
  // 18 coefficients, two norms, bounds of three rows: six entries each, and three more with exploration.
  Problem problem = safe_integrator(0.1, 0, 1, 1);
  CHECK(unknowns(problem, 3) == 38);
  problem.state_limits.clear();
  CHECK(unknowns(problem, 3) == 38);
  problem.state_limits = synthesis::box_limits(2, 1);
  problem.exploration = 0.1;
  CHECK(unknowns(problem, 3) == 47);
  problem.state_limits.push_back({{1, 1}, 1});
  CHECK(unknowns(problem, 3) == 56);
}

// The integrator comes to rest in two steps by u = -K x with K = [4, 3]: Phi_u = (-K, -K F), F = A - B K, of
// which F^2 = 0.
TEST_CASE("the programme accepts deadbeat responses with their cost, and nothing else of that length") {
  Problem problem = safe_integrator(0.01, 0.1, 1, 9);
  const Programme programme(problem, 2);
  const Dense K{{4, 3}};
  const Dense F = integrator().A - integrator().B * K;
  REQUIRE(test::norm(F * F) < 1e-15);
  const synthesis::QpSolution found = IpoptSolver()(programme.least_cost(0.5, 1));
  REQUIRE(found.status == synthesis::QpStatus::solved);
  const auto at = [&](Index place) { return found.x[static_cast<std::size_t>(place)]; };
  const Dense KF = K * F;
  for (Index j = 0; j < 2; ++j) {
    for (Index i = 0; i < 2; ++i) {
      CHECK(at(programme.state(0, i, j)) == Catch::Approx(i == j ? 1 : 0).margin(1e-7));
      CHECK(at(programme.state(1, i, j)) == Catch::Approx(static_cast<double>(F(i, j))).margin(1e-7));
    }
    CHECK(at(programme.input(0, 0, j)) == Catch::Approx(-static_cast<double>(K(0, j))).margin(1e-7));
    CHECK(at(programme.input(1, 0, j)) == Catch::Approx(-static_cast<double>(KF(0, j))).margin(1e-7));
  }
  const long double cost = 2 + test::inner(F, F) + 0.5L * (test::inner(K, K) + test::inner(KF, KF));
  CHECK(found.objective == Catch::Approx(static_cast<double>(cost)).epsilon(1e-7));
  // Its level is 0.01 (|Phi_x| + |Phi_u|), the largest absolute row sums.
  long double row = 0;
  long double input = 0;
  for (Index j = 0; j < 2; ++j) {
    row += std::abs(F(1, j)) + (j == 1 ? 1 : 0);
    input += std::abs(K(0, j)) + std::abs(KF(0, j));
  }
  const synthesis::QpSolution least = IpoptSolver()(programme.least_level(0));
  REQUIRE(least.status == synthesis::QpStatus::solved);
  CHECK(least.objective == Catch::Approx(static_cast<double>(0.01L * (row + input))).epsilon(1e-6));
}

TEST_CASE("the design with fixed sizes has the cost that the programme with any sizes has") {
  const Problem problem = safe_integrator(0.01, 0.02, 0.5, 0.8);
  const synthesis::SafeProblem<Fixed> fixed{.estimate = test::make_task<Fixed>(integrator()),
                                            .epsilon_A = 0.01,
                                            .epsilon_B = 0.01,
                                            .noise = 0.1,
                                            .exploration = 0.02,
                                            .state_limits = problem.state_limits,
                                            .input_limits = problem.input_limits,
                                            .x0 = {}};
  const auto found = synthesis::safe_fir(fixed, IpoptSolver(), {.length = 8, .tau = 0.2});
  REQUIRE(found.status == SynthesisStatus::solved);
  CHECK(found.nominal_cost ==
        Catch::Approx(IpoptSolver()(Programme(problem, 8).least_cost(0.2, 1)).objective).epsilon(1e-6));
}
