// Of adaptive/set_membership.hpp; named after the tests that need a solver of quadratic programmes.
#include <metalqr/adaptive/set_membership.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <vector>

#include <metalqr/synthesis/ipopt.hpp>

#include "support.hpp"

namespace {

namespace adaptive = metalqr::adaptive;
namespace synthesis = metalqr::synthesis;
using adaptive::MembershipStatus;
using metalqr::DimensionMismatch;
using synthesis::IpoptSolver;
using synthesis::QpProblem;
using synthesis::QpSolution;
using synthesis::QpStatus;
using test::Backend;
using test::Dense;
using test::DenseTask;
using test::Index;
using Problem = synthesis::SafeProblem<Backend>;
using Rollout = metalqr::identification::Rollout<Backend>;
using Data = metalqr::identification::Dataset<Backend>;

/// x+ = a x + b u + w in any of the library's number types.
template <class Any = Backend>
synthesis::SafeProblem<Any> scalar(double a, double b, double epsilon_A, double epsilon_B, double noise) {
  const DenseTask task{Dense{{a}}, Dense{{b}}, Dense{{1}}, Dense{{1}}, Dense{{1}}};
  synthesis::SafeProblem<Any> problem{.estimate = test::make_task<Any>(task)};
  problem.epsilon_A = epsilon_A;
  problem.epsilon_B = epsilon_B;
  problem.noise = noise;
  return problem;
}

/// What the plant with a and b does under inputs up to `size`, and noise at either bound.
template <class Any = Backend>
metalqr::identification::Dataset<Any> simulate(double a, double b, double noise, double x0, double size,
                                               int steps, std::uint64_t seed) {
  using Scalar = typename Any::Scalar;
  metalqr::Stream stream = test::stream(seed);
  metalqr::identification::Rollout<Any> rollout{Any::zero_matrix(steps + 1, 1), Any::zero_matrix(steps, 1)};
  rollout.states(0, 0) = static_cast<Scalar>(x0);
  for (Index t = 0; t < steps; ++t) {
    rollout.inputs(t, 0) = static_cast<Scalar>(stream.uniform(-size, size));
    rollout.states(t + 1, 0) = static_cast<Scalar>(a) * rollout.states(t, 0) +
                               static_cast<Scalar>(b) * rollout.inputs(t, 0) +
                               static_cast<Scalar>(noise * stream.rademacher());
  }
  return metalqr::identification::Dataset<Any>({rollout});
}

/// Whether the plant is one of the problem's, which takes no rounding of its own.
template <class Any>
bool holds(const synthesis::SafeProblem<Any>& problem, double a, double b) {
  const auto off = [](double x, double y) {
    return std::abs(static_cast<long double>(x) - static_cast<long double>(y));
  };
  return off(Any::to_double(problem.estimate.A()(0, 0)), a) <= problem.epsilon_A &&
         off(Any::to_double(problem.estimate.B()(0, 0)), b) <= problem.epsilon_B;
}

Rollout transition(double x, double u, double next) {
  return {test::filled(Backend::zero_matrix(2, 1), Dense{{x}, {next}}),
          test::filled(Backend::zero_matrix(1, 1), Dense{{u}})};
}

}  // namespace

TEST_CASE("the set of plants holds the true one whatever the solver's tolerance") {
  for (std::uint64_t seed = 561; seed < 564; ++seed) {
    metalqr::Stream stream = test::stream(seed);
    const double a = stream.uniform(0.3, 0.7);
    const double b = stream.uniform(0.8, 1.2);
    const Problem problem = scalar(0.5, 1, 0.2, 0.2, 0.1);
    const Data data = simulate(a, b, 0.1, 0, 1, 200, seed + 100);
    const auto exact = adaptive::consistent_plants(problem, data, IpoptSolver());
    REQUIRE(exact.status == MembershipStatus::solved);
    CHECK(holds(exact.problem, a, b));
    for (const double tolerance : {1e-1, 1e-2, 1e-4}) {
      const auto found = adaptive::consistent_plants(problem, data, IpoptSolver({.tolerance = tolerance}));
      CHECK(holds(found.problem, a, b));
      CHECK(found.problem.epsilon_A >= exact.problem.epsilon_A * (1 - 1e-6));
      if (tolerance < 1e-3) CHECK(found.problem.epsilon_A < exact.problem.epsilon_A + 0.2 * 1e-2);
    }
  }
}

TEST_CASE("what a solver makes up excludes no plant") {
  const double a = 0.6;
  const double b = 0.85;
  const Problem problem = scalar(0.5, 1, 0.2, 0.2, 0.1);
  const Data data = simulate(a, b, 0.1, 0, 1, 100, 571);
  metalqr::Stream stream = test::stream(572);
  double size = 0;
  const auto garbage = [&](const QpProblem& programme) {
    QpSolution solution{QpStatus::reduced_accuracy, 0, {}, {}};
    solution.x.assign(programme.variables.size(), 0.9);
    for (std::size_t i = 0; i < programme.rows.size(); ++i) {
      solution.multipliers.push_back(size * stream.normal());
    }
    return solution;
  };
  for (const double magnitude : {0.0, 1e-3, 0.1, 1e8, 1e308, std::numeric_limits<double>::quiet_NaN()}) {
    size = magnitude;
    const auto found = adaptive::consistent_plants(problem, data, garbage);
    CHECK(found.status == MembershipStatus::solved);
    CHECK(holds(found.problem, a, b));
    CHECK(found.problem.epsilon_A <= problem.epsilon_A);
    CHECK(found.problem.epsilon_B <= problem.epsilon_B);
  }
  // A contradiction is reported with a proof alone.
  const auto denies = [](const QpProblem&) { return QpSolution{QpStatus::infeasible, 0, {}, {}}; };
  const auto throws = [](const QpProblem&) -> QpSolution { throw std::runtime_error("no licence"); };
  const auto mute = [](const QpProblem& programme) {
    return QpSolution{QpStatus::solved, 0, std::vector<double>(programme.variables.size(), 0.9), {}};
  };
  const auto keeps = [&](const auto& solver) {
    const auto found = adaptive::consistent_plants(problem, data, solver);
    CHECK(found.status == MembershipStatus::failed);
    CHECK(found.problem.epsilon_A == problem.epsilon_A);
    CHECK(found.problem.epsilon_B == problem.epsilon_B);
  };
  keeps(denies);
  keeps(throws);
  keeps(mute);
  // An answer now and then narrows what it is about.
  int calls = 0;
  const auto moody = [&](const QpProblem& programme) -> QpSolution {
    if (++calls % 3 != 0) return IpoptSolver()(programme);
    throw std::runtime_error("busy");
  };
  const auto found = adaptive::consistent_plants(problem, data, moody);
  CHECK(found.status == MembershipStatus::solved);
  CHECK(holds(found.problem, a, b));
  CHECK(found.problem.epsilon_A < 0.9 * problem.epsilon_A);
}

TEST_CASE("contradictions are proved, by one transition or by several") {
  // From 1 to 0.6 a is in [0.5, 0.7], from 1 to 0.9 in [0.8, 1].
  const Problem problem = scalar(0.6, 0.4, 0.4, 0.3, 0.1);
  const Data both({transition(1, 0, 0.6), transition(1, 0, 0.9)});
  CHECK(adaptive::consistent_plants(problem, both, IpoptSolver()).status == MembershipStatus::inconsistent);
  const auto none = [](const QpProblem&) { return QpSolution{}; };
  const Data jump({transition(1, 0, 5)});
  CHECK(adaptive::consistent_plants(problem, jump, none).status == MembershipStatus::inconsistent);
  // Nothing is unknown, and nothing explains it.
  CHECK(
      adaptive::consistent_plants(scalar(0.6, 0.4, 0, 0, 0.1), Data({transition(1, 0, 0.9)}), none).status ==
      MembershipStatus::inconsistent);
  CHECK(
      adaptive::consistent_plants(scalar(0.6, 0.4, 0, 0, 0.1), Data({transition(1, 0, 0.7)}), none).status ==
      MembershipStatus::solved);
}

TEST_CASE("rounding excludes no plant, whatever the noise and the units") {
  for (std::uint64_t seed = 581; seed < 584; ++seed) {
    metalqr::Stream stream = test::stream(seed);
    const double a = 0.5 + 0.2 * stream.uniform(-1, 1);
    const double b = 1 + 0.2 * stream.uniform(-1, 1);
    // Noise below the rounding of the states.
    const auto quiet = adaptive::consistent_plants(scalar(0.5, 1, 0.2, 0.2, 1e-12),
                                                   simulate(a, b, 1e-12, 0, 1000, 60, seed), IpoptSolver());
    CHECK(quiet.status == MembershipStatus::solved);
    CHECK(holds(quiet.problem, a, b));
    CHECK(quiet.problem.epsilon_A < 1e-5);
    CHECK(quiet.problem.epsilon_B < 1e-5);
    for (const double unit : {1e-8, 1.0, 1e10}) {
      INFO(unit);
      const Problem problem = scalar(0.5, unit, 0.2, 0.2 * unit, 0);
      const auto found =
          adaptive::consistent_plants(problem, simulate(a, b * unit, 0, unit, 1, 60, seed), IpoptSolver());
      CHECK(found.status == MembershipStatus::solved);
      CHECK(holds(found.problem, a, b * unit));
      CHECK(found.problem.epsilon_A < 1e-5);
      CHECK(found.problem.epsilon_B < 1e-5 * unit);
      // Once more, on what is left.
      const auto again = adaptive::consistent_plants(
          found.problem, simulate(a, b * unit, 0, unit, 1, 60, seed + 50), IpoptSolver());
      CHECK(again.status == MembershipStatus::solved);
      CHECK(holds(again.problem, a, b * unit));
      CHECK(again.problem.epsilon_A <= found.problem.epsilon_A);
    }
  }
}

TEST_CASE("the set in single precision holds a plant of that precision") {
  using Single = metalqr::EigenBackend<float>;
  for (std::uint64_t seed = 591; seed < 593; ++seed) {
    metalqr::Stream stream = test::stream(seed);
    const double a = static_cast<float>(0.5 + 0.2 * stream.uniform(-1, 1));
    const double b = static_cast<float>(1 + 0.2 * stream.uniform(-1, 1));
    for (const double noise : {0.0, 1e-9, 0.1}) {
      auto problem = scalar<Single>(0.5, 1, 0.2, 0.2, noise);
      for (std::uint64_t epoch = 0; epoch < 3; ++epoch) {
        // Noise at its bound as a float may lie above it by rounding, which is the data's.
        const auto data = simulate<Single>(a, b, noise * (1 - 1e-7), 0, 1, 40, seed + 100 * epoch);
        const auto found = adaptive::consistent_plants(problem, data, IpoptSolver());
        CHECK(found.status == MembershipStatus::solved);
        CHECK(holds(found.problem, a, b));
        problem = found.problem;
      }
      CHECK(problem.epsilon_A < (noise > 1e-3 ? 0.19 : 1e-4));
    }
  }
}
