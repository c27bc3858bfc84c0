#include <metalqr/adaptive/safe_exploration.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <utility>
#include <vector>

#include <metalqr/synthesis/ipopt.hpp>

#include "support.hpp"

namespace {

namespace adaptive = metalqr::adaptive;
namespace synthesis = metalqr::synthesis;
using adaptive::MembershipStatus;
using adaptive::SafeExplorationStatus;
using metalqr::DimensionMismatch;
using metalqr::InvalidOption;
using metalqr::NotFinite;
using synthesis::IpoptSolver;
using test::Backend;
using test::Dense;
using test::DenseTask;
using test::Index;
using Problem = synthesis::SafeProblem<Backend>;
using Rollout = metalqr::identification::Rollout<Backend>;
using Data = metalqr::identification::Dataset<Backend>;

const double not_a_number = std::numeric_limits<double>::quiet_NaN();

/// An integrator of positions and velocities, known up to radii.
Problem problem_of(double epsilon, double noise, double exploration) {
  const DenseTask task{Dense{{1, 0.5}, {0, 1}}, Dense{{0.125}, {0.5}}, test::identity(2), Dense{{0.5}},
                       test::identity(2)};
  return {.estimate = test::make_task(task),
          .epsilon_A = epsilon,
          .epsilon_B = epsilon,
          .noise = noise,
          .exploration = exploration,
          .state_limits = synthesis::box_limits(2, 1),
          .input_limits = synthesis::box_limits(1, 1)};
}

/// A plant near the estimate with noise that is uniform, or at its bounds.
struct Plant {
  Backend::StateMatrix A;
  Backend::InputMatrix B;
  double noise;
  bool extreme;
  metalqr::Stream stream;
  Backend::StateVector x = Backend::zero_state(2);

  Plant(const Problem& problem, bool extreme_, std::uint64_t seed)
      : A(problem.estimate.A()),
        B(problem.estimate.B()),
        noise(problem.noise),
        extreme(extreme_),
        stream(test::stream(seed)) {
    for (Index i = 0; i < 2; ++i) {
      A(i, i) += problem.epsilon_A * stream.rademacher();
      B(i, 0) += problem.epsilon_B * stream.rademacher();
    }
  }
  Backend::StateVector operator()(const Backend::ControlVector& u) {
    Backend::StateVector next = A * x + B * u;
    for (Index i = 0; i < 2; ++i) {
      next(i, 0) += noise * (extreme ? stream.rademacher() : stream.uniform(-1, 1));
    }
    x = next;
    return x;
  }
};

double distance(const Backend::StateMatrix& x, const Backend::StateMatrix& y) {
  return synthesis::detail::infinity_norm<Backend>(Backend::StateMatrix(x - y));
}

}  // namespace

TEST_CASE("exploration keeps every limit while the set of plants shrinks around the true one") {
  for (const bool extreme : {false, true}) {
    for (std::uint64_t seed = 541; seed < 542; ++seed) {
      const Problem problem = problem_of(0.03, 0.02, 0.15);
      Plant plant(problem, extreme, seed);
      const auto found = adaptive::explore_safely(
          problem, plant, IpoptSolver(), {.epochs = 2, .steps = 200, .design = {.length = 8, .tau = 0.4}},
          {.seed = seed});
      REQUIRE(found.status == SafeExplorationStatus::finished);
      REQUIRE(found.epochs.size() == 2);
      double last = problem.epsilon_A;
      for (const auto& epoch : found.epochs) {
        CHECK(epoch.membership == MembershipStatus::solved);
        CHECK(epoch.least_margin >= 0);
        CHECK(epoch.epsilon_A <= last);
        CHECK(epoch.redesigned);
        last = epoch.epsilon_A;
      }
      CHECK(last < 0.8 * problem.epsilon_A);
      CHECK(found.problem.epsilon_B < 0.8 * problem.epsilon_B);
      CHECK(distance(plant.A, found.problem.estimate.A()) <= found.problem.epsilon_A);
      CHECK(synthesis::detail::infinity_norm<Backend>(
                Backend::InputMatrix(plant.B - found.problem.estimate.B())) <= found.problem.epsilon_B);
    }
  }
}

TEST_CASE("the set of plants after data, by hand") {
  // x+ = a x + b u + w with |w| <= 0.1: from (1, 0) to 0.6, a is in [0.5, 0.7]; from (0, 2) to 1, b is in
  // [0.45, 0.55].
  const DenseTask task{Dense{{0.5}}, Dense{{0.4}}, Dense{{1}}, Dense{{1}}, Dense{{1}}};
  Problem problem{.estimate = test::make_task(task), .epsilon_A = 0.3, .epsilon_B = 0.3, .noise = 0.1};
  const auto rollout = [](double x, double u, double next) {
    return Rollout{test::filled(Backend::zero_matrix(2, 1), Dense{{x}, {next}}),
                   test::filled(Backend::zero_matrix(1, 1), Dense{{u}})};
  };
  const auto found =
      adaptive::consistent_plants(problem, Data({rollout(1, 0, 0.6), rollout(0, 2, 1)}), IpoptSolver());
  REQUIRE(found.status == MembershipStatus::solved);
  CHECK(found.problem.estimate.A()(0, 0) == Catch::Approx(0.6).margin(1e-5));
  CHECK(found.problem.estimate.B()(0, 0) == Catch::Approx(0.5).margin(1e-5));
  CHECK(found.problem.epsilon_A == Catch::Approx(0.1).margin(1e-5));
  CHECK(found.problem.epsilon_B == Catch::Approx(0.05).margin(1e-5));
  CHECK(found.problem.epsilon_A >= 0.1 - 1e-9);
  // No plant within the radii explains a jump to 5.
  CHECK(adaptive::consistent_plants(problem, Data({rollout(1, 0, 5)}), IpoptSolver()).status ==
        MembershipStatus::inconsistent);
  // Data that say nothing leave the set as it is.
  const auto same = adaptive::consistent_plants(problem, Data({rollout(0.01, 0.01, 0)}), IpoptSolver());
  REQUIRE(same.status == MembershipStatus::solved);
  CHECK(same.problem.epsilon_A == Catch::Approx(0.3).epsilon(1e-5));
  const auto none = [](const synthesis::QpProblem&) { return synthesis::QpSolution{}; };
  CHECK(adaptive::consistent_plants(problem, Data({rollout(1, 0, 0.6)}), none).status ==
        MembershipStatus::failed);
  CHECK_THROWS_AS(
      adaptive::consistent_plants(problem_of(0.1, 0, 0), Data({rollout(1, 0, 0.6)}), IpoptSolver()),
      DimensionMismatch);
}

TEST_CASE("an exploration that goes on is bitwise the one that did not stop") {
  const Problem problem = problem_of(0.03, 0.02, 0.15);
  const auto options = [](Index epochs) {
    return adaptive::SafeExplorationOptions{
        .epochs = epochs, .steps = 60, .design = {.length = 6, .tau = 0.4}};
  };
  const metalqr::StreamKey key{.seed = 5};
  Plant at_once(problem, true, 543);
  Plant in_parts = at_once;
  const auto whole = adaptive::explore_safely(problem, at_once, IpoptSolver(), options(3), key);
  auto first = adaptive::explore_safely(problem, in_parts, IpoptSolver(), options(1), key);
  REQUIRE(first.status == SafeExplorationStatus::finished);
  REQUIRE(first.epochs.size() == 1);
  const auto old = first.epochs;
  // Records may be dropped.
  first.epochs.clear();
  const auto rest = adaptive::explore_safely(first, in_parts, IpoptSolver(), options(2), key);
  REQUIRE(rest.status == SafeExplorationStatus::finished);
  REQUIRE(rest.epochs.size() == 2);
  REQUIRE(whole.epochs.size() == 3);
  CHECK(rest.epochs_run == 3);
  CHECK(whole.epochs_run == 3);
  for (std::size_t e = 0; e < 3; ++e) {
    const auto& one = e == 0 ? old[0] : rest.epochs[e - 1];
    CHECK(one.data.states == whole.epochs[e].data.states);
    CHECK(one.data.inputs == whole.epochs[e].data.inputs);
    CHECK(one.least_margin == whole.epochs[e].least_margin);
    CHECK(one.least_margin >= 0);
    CHECK(one.epsilon_A == whole.epochs[e].epsilon_A);
    CHECK(one.redesigned == whole.epochs[e].redesigned);
  }
  CHECK(rest.problem.estimate.A() == whole.problem.estimate.A());
  CHECK(rest.problem.epsilon_B == whole.problem.epsilon_B);
  CHECK(*rest.problem.x0 == *whole.problem.x0);
  CHECK(rest.controller.input_response() == whole.controller.input_response());
  CHECK(rest.controller.past() == whole.controller.past());
}

TEST_CASE("where no other controller is found the old one goes on, with new exploration") {
  const Problem problem = problem_of(0.03, 0.02, 0.15);
  const adaptive::SafeExplorationOptions options{
      .epochs = 1, .steps = 80, .design = {.length = 6, .tau = 0.4}};
  // As many programmes as the first design solves.
  int left = synthesis::safe_fir(problem, IpoptSolver(), options.design).solves;
  const auto breaks = [&](const synthesis::QpProblem& programme) {
    if (--left < 0) throw std::runtime_error("no licence");
    return IpoptSolver()(programme);
  };
  Plant plant(problem, true, 544);
  auto found = adaptive::explore_safely(problem, plant, breaks, options, {.seed = 6});
  REQUIRE(found.status == SafeExplorationStatus::finished);
  auto controller = found.design.controller;
  found = adaptive::explore_safely(std::move(found), plant, breaks, options, {.seed = 6});
  found = adaptive::explore_safely(std::move(found), plant, breaks, options, {.seed = 6});
  REQUIRE(found.status == SafeExplorationStatus::finished);
  REQUIRE(found.epochs.size() == 3);
  // The excitation is what the first design's controller did not ask for, in one piece.
  std::vector<std::vector<double>> excitation;
  for (const auto& epoch : found.epochs) {
    CHECK(epoch.membership == MembershipStatus::failed);
    CHECK_FALSE(epoch.redesigned);
    CHECK(epoch.least_margin >= 0);
    excitation.emplace_back();
    for (Index t = 0; t < options.steps; ++t) {
      const Backend::StateVector x = epoch.data.states.row(t).transpose();
      excitation.back().push_back(std::round((epoch.data.inputs(t, 0) - controller(x)(0, 0)) / 0.15));
      CHECK(std::abs(excitation.back().back()) == 1);
    }
  }
  CHECK(excitation[0] != excitation[1]);
  CHECK(excitation[1] != excitation[2]);
  CHECK(excitation[0] != excitation[2]);
}

TEST_CASE("without a safe controller no step is taken") {
  int steps = 0;
  const auto plant = [&](const Backend::ControlVector&) {
    ++steps;
    return Backend::zero_state(2);
  };
  const auto found =
      adaptive::explore_safely(problem_of(0.3, 0.05, 0.1), plant, IpoptSolver(), {.design = {.length = 6}});
  CHECK(found.status == SafeExplorationStatus::no_controller);
  CHECK(found.epochs.empty());
  CHECK(adaptive::explore_safely(found, plant, IpoptSolver(), {.design = {.length = 6}}).status ==
        SafeExplorationStatus::no_controller);
  CHECK(steps == 0);
}

TEST_CASE("a plant outside of the set is noticed, and the controller stays") {
  const Problem problem = problem_of(0.005, 0.02, 0.1);
  Plant plant(problem, false, 551);
  plant.B(1, 0) = 0.7;
  const auto found = adaptive::explore_safely(
      problem, plant, IpoptSolver(), {.epochs = 1, .steps = 60, .design = {.length = 8, .tau = 0.3}});
  REQUIRE(found.status == SafeExplorationStatus::finished);
  CHECK(found.epochs.front().membership == MembershipStatus::inconsistent);
  CHECK_FALSE(found.epochs.front().redesigned);
  CHECK(found.controller.length() == 8);
}

TEST_CASE("bad explorations are refused by name") {
  using Catch::Matchers::ContainsSubstring;
  const Problem problem = problem_of(0.01, 0.05, 0.1);
  const auto run = [&](const auto& plant, const adaptive::SafeExplorationOptions& options) {
    adaptive::explore_safely(problem, plant, IpoptSolver(), options);
  };
  const auto rest = [](const Backend::ControlVector&) { return Backend::zero_state(2); };
  CHECK_THAT(test::message_of<InvalidOption>([&] { run(rest, {.epochs = 0}); }), ContainsSubstring("epochs"));
  CHECK_THAT(test::message_of<InvalidOption>([&] { run(rest, {.steps = 0}); }), ContainsSubstring("steps"));
  CHECK_THAT(test::message_of<InvalidOption>([&] { run(rest, {.steps = 1'000'001}); }),
             ContainsSubstring("steps"));
  CHECK_THAT(test::message_of<InvalidOption>([&] { run(rest, {.design = {.length = 100'000'000}}); }),
             ContainsSubstring("length"));
  CHECK_THAT(test::message_of<InvalidOption>([&] { run(rest, {.design = {.length = 0}}); }),
             ContainsSubstring("length"));
  const adaptive::SafeExplorationOptions quick{.epochs = 1, .steps = 2, .design = {.length = 4, .tau = 0.4}};
  CHECK_THAT(test::message_of<DimensionMismatch>(
                 [&] { run([](const Backend::ControlVector&) { return Backend::zero_state(3); }, quick); }),
             ContainsSubstring("plant"));
  CHECK_THAT(test::message_of<NotFinite>([&] {
               run(
                   [](const Backend::ControlVector&) {
                     return test::state_vector(Dense{{not_a_number}, {0}});
                   },
                   quick);
             }),
             ContainsSubstring("plant"));
  auto stopped = adaptive::explore_safely(problem, rest, IpoptSolver(), quick);
  REQUIRE(stopped.status == SafeExplorationStatus::finished);
  const auto go_on = [&](const auto& exploration, const adaptive::SafeExplorationOptions& options) {
    adaptive::explore_safely(exploration, rest, IpoptSolver(), options);
  };
  CHECK_THAT(test::message_of<InvalidOption>([&] { go_on(stopped, {.epochs = 0}); }),
             ContainsSubstring("epochs"));
  CHECK_THAT(test::message_of<InvalidOption>([&] { go_on(stopped, {.design = {.length = 100'000'000}}); }),
             ContainsSubstring("length"));
  auto bad = stopped;
  bad.epochs_run = -1;
  CHECK_THAT(test::message_of<InvalidOption>([&] { go_on(bad, quick); }), ContainsSubstring("epochs_run"));
  bad = stopped;
  bad.problem.x0.reset();
  CHECK_THAT(test::message_of<InvalidOption>([&] { go_on(bad, quick); }), ContainsSubstring("x0"));
  bad = stopped;
  bad.controller =
      synthesis::FirController<Backend>({test::state_matrix(test::identity(3))}, {Backend::zero_gain(1, 3)});
  CHECK_THAT(test::message_of<DimensionMismatch>([&] { go_on(bad, quick); }),
             ContainsSubstring("controller"));
}
