#include <metalqr/synthesis/input_units.hpp>

#include <cmath>
#include <optional>

#include <metalqr/synthesis/certainty_equivalence.hpp>
#include <metalqr/synthesis/common_lyapunov.hpp>
#include <metalqr/synthesis/csdp.hpp>
#include <metalqr/synthesis/ellipsoid.hpp>
#include <metalqr/synthesis/fir.hpp>

#include "uncertain.hpp"

namespace {

namespace synthesis = metalqr::synthesis;
using synthesis::Csdp;
using synthesis::SynthesisStatus;
using test::Backend;
using test::Dense;
using test::DenseTask;
using Problem = synthesis::RobustProblem<Backend>;

/// The input in units of 1 / c.
Problem in_units(const Problem& problem, double c) {
  const auto& task = problem.estimate;
  return {metalqr::Task<Backend>(task.A(), c * task.B(), task.Q(), (c * c) * task.R(), task.Sigma0()),
          problem.epsilon_A, c * problem.epsilon_B};
}

Problem scalar(double a, double b, double r, double epsilon_A, double epsilon_B) {
  return {test::make_task(DenseTask{Dense{{a}}, Dense{{b}}, Dense{{1}}, Dense{{r}}, Dense{{1}}}), epsilon_A,
          epsilon_B};
}

/// What must not depend on units, with the first gain or input response times c.
struct Outcome {
  SynthesisStatus status;
  double gamma_min, cost_bound, h2_squared, achieved_hinf;
  Dense gain;
};

Outcome common_lyapunov(const Problem& problem, double c, std::optional<double> gamma) {
  const auto found = synthesis::common_lyapunov(problem, Csdp(), {.gamma = gamma});
  return {found.status,     found.gamma_min,     found.cost_bound,
          found.h2_squared, found.achieved_hinf, c * test::dense(found.gain)};
}

Outcome ellipsoid(const Problem& problem, double c, std::optional<double>) {
  const auto found = synthesis::ellipsoid(problem, Csdp(), 0.5);
  return {found.status,     found.gamma_min,     found.cost_bound,
          found.h2_squared, found.achieved_hinf, c * test::dense(found.gain)};
}

template <bool slack>
Outcome fir(const Problem& problem, double c, std::optional<double> gamma) {
  const auto found = synthesis::fir(problem, Csdp(), {.length = 8, .gamma = gamma, .slack = slack});
  const Dense gain = found.controller.length() > 0
                         ? c * test::dense(found.controller.input_response().front())
                         : Dense(1, 1);
  return {found.status, found.gamma_min, found.cost_bound, found.h2_squared, found.achieved_hinf, gain};
}

template <class Synthesis>
void check_units(const Problem& problem, double gamma, const Synthesis& synthesis) {
  const Outcome one = synthesis(problem, 1, gamma);
  REQUIRE(one.status == SynthesisStatus::solved);
  for (const double c : {1e-6, 1e-4, 1e-2, 1e2, 1e4, 1e6}) {
    INFO(c);
    const Outcome found = synthesis(in_units(problem, c), c, gamma);
    REQUIRE(found.status == SynthesisStatus::solved);
    CHECK(found.gamma_min == Catch::Approx(one.gamma_min).epsilon(1e-5));
    CHECK(found.cost_bound == Catch::Approx(one.cost_bound).epsilon(1e-6));
    CHECK(static_cast<double>(test::norm(found.gain - one.gain)) <
          1e-4 * static_cast<double>(test::norm(one.gain)));
  }
  // Powers of two do not even round.
  for (const int power : {-21, 17}) {
    const double c = std::ldexp(1.0, power);
    const Outcome found = synthesis(in_units(problem, c), c, gamma);
    CHECK(found.gamma_min == one.gamma_min);
    CHECK(found.h2_squared == one.h2_squared);
    CHECK(test::norm(found.gain - one.gain) == 0);
  }
}

}  // namespace

TEST_CASE("no design depends on the units of the input") {
  const Problem problem = scalar(0.5, 1, 1, 0.1, 0.01);
  // Deadbeat control, K = 0.5, has the least level 0.1 + 0.01 * 0.5.
  CHECK(common_lyapunov(problem, 1, 0.14).gamma_min == Catch::Approx(0.105).epsilon(1e-5));
  CHECK(fir<false>(problem, 1, 0.14).gamma_min == Catch::Approx(0.105).epsilon(1e-5));
  check_units(problem, 0.14, common_lyapunov);
  check_units(problem, 0.14, fir<false>);
  check_units(problem, 0.14, ellipsoid);
  check_units(problem, 0.9, fir<true>);
}

TEST_CASE("nor do the designs of a plant with several states") {
  const Problem problem = test::robust_problem(test::uncertain_system("dint2"), 0.01, 0.005);
  check_units(problem, 0.6, common_lyapunov);
  check_units(problem, 0.6, ellipsoid);
  check_units(problem, 0.6, fir<false>);
}

TEST_CASE("a known input in small units leaves deadbeat control the least level") {
  const Problem problem = scalar(1.2, 1e-4, 1e-8, 0.01, 0);
  const Outcome gain = common_lyapunov(problem, 1, 0.999);
  REQUIRE(gain.status == SynthesisStatus::solved);
  CHECK(gain.gamma_min == Catch::Approx(0.01).epsilon(1e-5));
  CHECK(fir<false>(problem, 1, 0.999).status == SynthesisStatus::solved);
  // Nothing uncertain at all: the optimum.
  const Problem known = scalar(0.9, 1e-4, 1e-8, 0, 0);
  const double cost = metalqr::cost(known.estimate, metalqr::solve_dare(known.estimate).gain);
  const Outcome responses = fir<false>(known, 1, 0.999);
  REQUIRE(responses.status == SynthesisStatus::solved);
  CHECK(responses.h2_squared == Catch::Approx(cost).epsilon(1e-4));
  CHECK(responses.gamma_min == 0);
}

TEST_CASE("a small radius of the input in small units is not taken for more than it is") {
  const Problem problem = scalar(1.2, 1e-3, 1e-6, 0.05, 1e-6);
  const Outcome found = fir<false>(problem, 1, 0.1);
  REQUIRE(found.status == SynthesisStatus::solved);
  CHECK(found.gamma_min == Catch::Approx(0.05 + 1e-3 * 1.2).epsilon(1e-5));
  CHECK(found.gamma_min == Catch::Approx(common_lyapunov(problem, 1, 0.1).gamma_min).epsilon(1e-5));
}

TEST_CASE("what only the replacement of a small radius rules out is not called infeasible") {
  // Deadbeat control has level 0.05; the programme, which takes epsilon_B for 5e-5, finds 0.05006.
  const Problem problem = scalar(1.2, 1, 1, 0.05, 0);
  const auto status = [&](double gamma) {
    return synthesis::fir(problem, Csdp(), {.length = 4, .gamma = gamma}).status;
  };
  CHECK(status(0.0502) == SynthesisStatus::solved);
  CHECK(status(0.05003) == SynthesisStatus::failed);
  CHECK(status(0.0499) == SynthesisStatus::infeasible);
  // Without any feedback to speak of, the level is epsilon_A / 0.1, known although epsilon_B is not taken as
  // it is.
  const DenseTask weak{Dense{{0.9, 0}, {0, 0.5}}, Dense{{0}, {1}}, test::identity(2), Dense{{1}},
                       test::identity(2)};
  const Problem slow{test::make_task(weak), 0.15, 0};
  CHECK(synthesis::common_lyapunov(slow, Csdp()).status == SynthesisStatus::infeasible);
  const auto slack = synthesis::fir(slow, Csdp(), {.length = 6, .slack = true});
  CHECK(slack.status == SynthesisStatus::infeasible);
  // A small radius of the state.
  const Problem input = scalar(0.5, 1, 1, 1e-9, 1.5);
  CHECK(synthesis::fir(input, Csdp(), {.length = 1}).status == SynthesisStatus::solved);
  CHECK(synthesis::fir(input, Csdp(), {.length = 1, .gamma = 0.5}).status == SynthesisStatus::infeasible);
}

TEST_CASE("a level that the optimal gain is proved to have is not called infeasible") {
  const Problem problem = scalar(0.5, 1, 1, 0.1, 0.01);
  const auto certain = synthesis::certainty_equivalence(problem);
  REQUIRE(certain.certificate.level < 0.14);
  // Least levels that are too high, or denied.
  const auto boast = [](double factor, synthesis::SdpStatus status) {
    return [factor, status](const synthesis::SdpProblem& programme) {
      synthesis::SdpSolution solution = Csdp()(programme);
      if (programme.blocks.size() == 1) {
        solution.primal_objective *= factor;
        solution.dual_objective *= factor;
        solution.status = status;
      }
      return solution;
    };
  };
  for (const auto status : {synthesis::SdpStatus::solved, synthesis::SdpStatus::primal_infeasible,
                            synthesis::SdpStatus::dual_infeasible}) {
    const auto solver = boast(1e4, status);
    for (const double gamma : {0.14, 0.999}) {
      const auto gain = synthesis::common_lyapunov(problem, solver, {.gamma = gamma});
      CHECK(gain.status == SynthesisStatus::solved);
      CHECK(gain.gamma_min == Catch::Approx(certain.certificate.level).epsilon(1e-6));
    }
    CHECK(synthesis::common_lyapunov(problem, solver, {.gamma = 0.12}).status != SynthesisStatus::solved);
    CHECK(synthesis::fir(problem, solver, {.length = 8}).status == SynthesisStatus::solved);
    const auto ellipsoid = synthesis::ellipsoid(problem, solver, 0.5);
    CHECK(ellipsoid.status == SynthesisStatus::solved);
    CHECK(ellipsoid.gamma_min < 1);
  }
}

TEST_CASE("the unit of the input is a power of two near the size of the input matrix") {
  const auto unit = [](double b, double r, double radius) {
    return synthesis::detail::input_unit<Backend>(scalar(0.5, b, r, 0, 0).estimate, radius);
  };
  CHECK(unit(1, 1, 0) == 1);
  CHECK(unit(5e-7, 1, 5e-7) == std::ldexp(1.0, -20));
  CHECK(unit(0, 1, 8) == 8);
  CHECK(unit(0, 16, 0) == 4);
  CHECK(unit(1e300, 1, 0) == std::ldexp(1.0, 60));
}

// The optimal gain hardly acts, and costs next to nothing; responses that end in five steps must act.
TEST_CASE("finite responses do not depend on the unit of the cost, however much the end of them costs") {
  for (const double r : {1.0, 1e4, 1e8, 1e12, 1e17}) {
    const Problem problem{test::make_task({Dense{{0.9992}}, Dense{{1}}, Dense{{1}}, Dense{{r}}, Dense{{1}}}),
                          0.0385, 0.41};
    const auto design = synthesis::fir(problem, Csdp(), {.length = 5, .gamma = 0.5});
    INFO(r);
    CHECK(design.status == SynthesisStatus::solved);
    CHECK(design.gamma_min == Catch::Approx(0.448172).epsilon(1e-5));
    CHECK(design.cost_bound <= 1e4 * r);
  }
}
