#include <metalqr/synthesis/safe_certificate.hpp>

#include <cmath>
#include <limits>

#include <metalqr/synthesis/csdp.hpp>
#include <metalqr/synthesis/fir.hpp>
#include <metalqr/synthesis/ipopt.hpp>
#include <metalqr/synthesis/safe_fir.hpp>

#include "safe.hpp"
#include "uncertain.hpp"

namespace {

namespace synthesis = metalqr::synthesis;
using synthesis::IpoptSolver;
using synthesis::SynthesisStatus;
using test::Backend;
using test::safe_integrator;
using Problem = synthesis::SafeProblem<Backend>;
using Design = synthesis::SafeDesign<Backend>;
using Controller = synthesis::FirController<Backend>;

const double infinity = std::numeric_limits<double>::infinity();

}  // namespace

TEST_CASE("without limits the optimum is that of finite responses") {
  const auto& system = test::uncertain_system("laplacian3");
  Problem problem = synthesis::safe_problem(test::robust_problem(system, 0.02, 0.01));
  CHECK(problem.epsilon_A == Catch::Approx(0.02 * std::sqrt(3.0)));
  CHECK(problem.epsilon_B == Catch::Approx(0.01 * std::sqrt(3.0)));
  problem.noise = 1;
  const auto fir = synthesis::fir(test::robust_problem(system, 0.02, 0.01), synthesis::Csdp(),
                                  {.length = 8, .gamma = 0.99});
  const Design found = synthesis::safe_fir(problem, IpoptSolver(), {.length = 8, .tau = 0.9});
  REQUIRE(found.status == SynthesisStatus::solved);
  CHECK(found.nominal_cost == Catch::Approx(fir.nominal_cost).epsilon(1e-6));
  // From a Riccati recursion backwards.
  CHECK(found.nominal_cost == Catch::Approx(0.4204919248).epsilon(1e-6));
}

TEST_CASE("controllers of any origin are certified or refused") {
  const Problem problem = safe_integrator(0.01, 0.02, 0.5, 0.8);
  const auto robust = synthesis::fir(synthesis::RobustProblem<Backend>{problem.estimate, 0.01, 0.01},
                                     synthesis::Csdp(), {.length = 8});
  REQUIRE(robust.status == SynthesisStatus::solved);
  const auto verdict = synthesis::certify_safety(problem, robust.controller);
  CHECK(verdict.level < 1);
  CHECK_FALSE(verdict.safe());
  CHECK(synthesis::certify_safety(safe_integrator(0.01, 0.02, 1, 2), robust.controller).safe());
  // What breaks the dynamics counts: by 0.05 twice, through A and directly.
  auto states = robust.controller.state_response();
  states[3](0, 0) += 0.05;
  const Controller broken(states, robust.controller.input_response());
  const Problem certain = safe_integrator(0, 0.02, 0.55, 0.8);
  CHECK(synthesis::certify_safety(certain, robust.controller).level < 1e-6);
  CHECK(synthesis::certify_safety(certain, broken).level == Catch::Approx(0.1).epsilon(1e-5));
  CHECK(synthesis::certify_safety(safe_integrator(0.5, 0, 1, 1), robust.controller).state_margins.at(0) ==
        -infinity);
}
