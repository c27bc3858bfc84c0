#include <metalqr/synthesis/safe_certificate.hpp>

#include <cmath>
#include <limits>
#include <vector>

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
using test::Dense;
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

TEST_CASE("what cannot be computed is not certified") {
  // x+ = u, whose responses end in zero. a'Phi overflows; without noise, infinity times zero.
  const test::DenseTask task{Dense{{0}}, Dense{{1}}, Dense{{1}}, Dense{{1}}, Dense{{1}}};
  Problem problem{.estimate = test::make_task(task)};
  problem.state_limits = {{{1e300}, 1}, {{1}, 1}};
  const auto scalars = [](double first, double second) {
    return std::vector<Backend::StateMatrix>{test::state_matrix(Dense{{first}}),
                                             test::state_matrix(Dense{{second}})};
  };
  const auto overflow = synthesis::certify_safety(problem, Controller(scalars(1, 1e10), scalars(1e10, 0)));
  CHECK(overflow.level == 0);
  CHECK(overflow.state_margins.at(0) == -infinity);
  CHECK(overflow.state_margins.at(1) == 1);
  CHECK_FALSE(overflow.safe());
  problem = safe_integrator(0, 0, 1, 1);
  // A response that is NaN for the weights' signs: infinity minus infinity.
  const double nan = synthesis::detail::worst_value(
      problem,
      std::vector<Backend::StateMatrix>{test::state_matrix(Dense{{1e10, 0}, {-1e10, 0}}),
                                        test::state_matrix(test::identity(2))},
      {1e300, 1e300}, 1);
  CHECK(nan == infinity);
  // The residual of the dynamics: infinity minus infinity in the middle of finite rows.
  const double huge = 1e308;
  CHECK(synthesis::detail::infinity_norm<Backend>(
            Backend::StateMatrix(test::state_matrix(Dense{{0, 0}, {0, huge * 10 - huge * 10}}))) == infinity);
  const std::vector<Backend::StateMatrix> wild{test::state_matrix(test::identity(2)),
                                               test::state_matrix(Dense{{huge, 0}, {huge, 0}})};
  const std::vector<Backend::Gain> none(2, Backend::zero_gain(1, 2));
  CHECK_FALSE(synthesis::certify_safety(problem, Controller(wild, none)).level < 1);
}
