#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <metalqr/synthesis/ipopt.hpp>
#include <metalqr/synthesis/safe_fir.hpp>

#include "safe.hpp"

namespace {

namespace synthesis = metalqr::synthesis;
using synthesis::IpoptSolver;
using synthesis::SafetyLimit;
using synthesis::SynthesisStatus;
using test::Backend;
using test::Dense;
using Problem = synthesis::SafeProblem<Backend>;
using Design = synthesis::SafeDesign<Backend>;

/// The same problem for c u and s x.
Problem in_units(const Problem& problem, double c, double s) {
  const auto& task = problem.estimate;
  Problem result = problem;
  result.estimate = metalqr::Task<Backend>(task.A(), (s / c) * task.B(), task.Q() / (s * s),
                                           task.R() / (c * c), (s * s) * task.Sigma0());
  result.epsilon_B = problem.epsilon_B * s / c;
  result.noise = problem.noise * s;
  result.exploration = problem.exploration * c;
  for (SafetyLimit& one : result.state_limits) one.limit *= s;
  for (SafetyLimit& one : result.input_limits) one.limit *= c;
  if (problem.x0) result.x0 = s * *problem.x0;
  return result;
}

Problem started() {
  Problem problem = test::safe_integrator(0.002, 0.02, 1.1, 0.6);
  problem.x0 = test::state_vector(Dense{{-1}, {0.1}});
  return problem;
}

void check_units(const Problem& problem, const synthesis::SafeOptions& options) {
  const Design one = synthesis::safe_fir(problem, IpoptSolver(), options);
  REQUIRE(one.status == SynthesisStatus::solved);
  const auto least = [](const std::vector<double>& margins) {
    return *std::min_element(margins.begin(), margins.end());
  };
  const auto gain = [](const Design& found) { return test::dense(found.controller.input_response()[0]); };
  struct Units {
    double c, s;
  };
  for (const Units units : {Units{1e6, 1}, {1e-6, 1}, {1, 1e3}, {1e-4, 1e-5}}) {
    INFO(units.c << ' ' << units.s);
    const Design found = synthesis::safe_fir(in_units(problem, units.c, units.s), IpoptSolver(), options);
    REQUIRE(found.status == SynthesisStatus::solved);
    CHECK(found.tau_min == Catch::Approx(one.tau_min).epsilon(1e-5));
    CHECK(found.nominal_cost == Catch::Approx(one.nominal_cost).epsilon(1e-6));
    CHECK(found.certificate.level == Catch::Approx(one.certificate.level).epsilon(1e-5));
    CHECK(least(found.certificate.state_margins) / units.s ==
          Catch::Approx(least(one.certificate.state_margins)).margin(1e-5));
    CHECK(least(found.certificate.input_margins) / units.c ==
          Catch::Approx(least(one.certificate.input_margins)).margin(1e-5));
    const long double factor = units.s / units.c;
    CHECK(static_cast<double>(test::norm(factor * gain(found) - gain(one))) <
          1e-4 * static_cast<double>(test::norm(gain(one))));
  }
  // Powers of two do not even round.
  for (const Units units : {Units{0x1p20, 1}, {0x1p-9, 0x1p12}}) {
    const Design found = synthesis::safe_fir(in_units(problem, units.c, units.s), IpoptSolver(), options);
    CHECK(found.tau_min == one.tau_min);
    CHECK(found.certificate.level == one.certificate.level);
    CHECK(test::norm(static_cast<long double>(units.s / units.c) * gain(found) - gain(one)) == 0);
  }
}

}  // namespace

TEST_CASE("no safe design depends on the units of the input or the state") {
  check_units(test::safe_integrator(0.01, 0.02, 0.6, 0.8), {.length = 8, .tau = 0.2});
  check_units(started(), {.length = 12, .tau = 0.02});
}

TEST_CASE("nor on how a limit is written") {
  const Problem problem = test::safe_integrator(0.01, 0.02, 0.6, 0.8);
  const synthesis::SafeOptions options{.length = 8, .tau = 0.2};
  const Design one = synthesis::safe_fir(problem, IpoptSolver(), options);
  REQUIRE(one.status == SynthesisStatus::solved);
  for (const double factor : {1e-9, 1e9}) {
    Problem other = problem;
    for (auto* limits : {&other.state_limits, &other.input_limits}) {
      for (SafetyLimit& limit : *limits) {
        limit.limit *= factor;
        for (double& weight : limit.weights) weight *= factor;
      }
    }
    const Design found = synthesis::safe_fir(other, IpoptSolver(), options);
    REQUIRE(found.status == SynthesisStatus::solved);
    CHECK(found.nominal_cost == Catch::Approx(one.nominal_cost).epsilon(1e-6));
    CHECK(found.tau_min == Catch::Approx(one.tau_min).epsilon(1e-5));
  }
}

TEST_CASE("lengths that no memory holds are refused by name") {
  using Catch::Matchers::ContainsSubstring;
  const auto refuse = [](const Problem& problem, test::Index length, const char* expected) {
    CHECK_THAT(test::message_of<metalqr::InvalidOption>(
                   [&] { synthesis::safe_fir(problem, IpoptSolver(), {.length = length}); }),
               ContainsSubstring(expected));
  };
  const Problem problem = test::safe_integrator(0.01, 0.02, 0.6, 0.8);
  refuse(problem, 100'000'000, "length: expected at most 2000 for 2 states");
  refuse(problem, 2001, "got 2001");
  refuse(problem, std::numeric_limits<test::Index>::max(), "length: expected at most 2000");
  // With a first state the rows of a limit are as many as the coefficients, each longer than the last.
  refuse(started(), 2000, "length: expected at most");
}

TEST_CASE("the number of entries of a programme is foretold") {
  using Programme = synthesis::detail::SafeProgramme<Backend>;
  for (const Problem& problem : {test::safe_integrator(0.01, 0.02, 0.6, 0.8), started()}) {
    const Programme programme(problem, 20);
    const auto entries = static_cast<double>(programme.least_level(0.1).matrix.size());
    CHECK(entries <= programme.entries(20));
    CHECK(entries >= 0.7 * programme.entries(20));
  }
}
