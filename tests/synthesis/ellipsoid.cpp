#include <metalqr/synthesis/ellipsoid.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

#include <metalqr/synthesis/certificate.hpp>
#include <metalqr/synthesis/common_lyapunov.hpp>
#include <metalqr/synthesis/csdp.hpp>

#include "uncertain.hpp"

namespace {

namespace synthesis = metalqr::synthesis;
using synthesis::Csdp;
using synthesis::SynthesisStatus;
using test::Backend;
using test::Dense;
using test::DenseTask;
using test::Index;
using test::UncertainSystem;
using Problem = synthesis::EllipsoidProblem<Backend>;
using Result = synthesis::RobustGain<Backend>;

const double infinity = std::numeric_limits<double>::infinity();
const double not_a_number = std::numeric_limits<double>::quiet_NaN();

Backend::Matrix matrix(const Dense& values) {
  return test::filled(Backend::zero_matrix(values.rows, values.cols), values);
}

Problem ball(const DenseTask& task, double epsilon) {
  const Index size = task.A.rows + task.B.cols;
  return {test::make_task(task), matrix(1.0L / (epsilon * epsilon) * test::identity(size))};
}

}  // namespace

TEST_CASE("the reference designs for a ball of plants") {
  for (const test::ReferenceEllipsoid& expected : test::coarse_id_reference().ellipsoid) {
    INFO(expected.epsilon);
    const Result found = synthesis::ellipsoid(ball(expected.system.task, expected.epsilon), Csdp());
    REQUIRE(found.status == SynthesisStatus::solved);
    CHECK(found.cost_bound == Catch::Approx(expected.worst_case_cost).epsilon(1e-6));
    CHECK(test::relative_error(test::dense(found.gain), expected.K) < 1e-3);
    CHECK(found.nominal_cost == Catch::Approx(expected.nominal_cost).epsilon(1e-3));
    CHECK(found.cost_bound > expected.sampled_worst);
    CHECK(found.achieved_hinf < 1);
    CHECK(found.solves == 2);
  }
}

TEST_CASE("the gain that a ball of plants allows in a scalar plant, by hand") {
  // |E'[1; K]| / (1 - |f|) with f = a - b K: for a = b = 1 and K = 1 it is epsilon sqrt(2).
  const DenseTask task{Dense{{1}}, Dense{{1}}, Dense{{1}}, Dense{{1}}, Dense{{1}}};
  const auto least = [&](double epsilon) {
    return synthesis::ellipsoid(ball(task, epsilon), Csdp()).gamma_min;
  };
  double expected = infinity;
  for (int k = 1; k < 20'000; ++k) {
    const double K = k * 1e-4;
    expected = std::min(expected, std::sqrt(1 + K * K) / (1 - std::abs(1 - K)));
  }
  CHECK(least(0.1) == Catch::Approx(0.1 * expected).epsilon(1e-5));
  CHECK(least(0.5) == Catch::Approx(0.5 * expected).epsilon(1e-5));
  CHECK(synthesis::ellipsoid(ball(task, 0.99 / expected), Csdp()).status == SynthesisStatus::solved);
  const Result none = synthesis::ellipsoid(ball(task, 1.01 / expected), Csdp());
  CHECK(none.status == SynthesisStatus::infeasible);
  CHECK(none.gamma_min == Catch::Approx(1.01).epsilon(1e-5));
  CHECK(none.cost_bound == infinity);
  CHECK(test::norm(test::dense(none.gain)) == 0);
}

TEST_CASE("the bound is below that of common Lyapunov synthesis on the balls that it contains") {
  for (const test::ReferenceDesigns& designs : test::coarse_id_reference().common_lyapunov) {
    INFO(designs.name());
    const auto radii = test::robust_problem(designs.system, designs.epsilon_A, designs.epsilon_B);
    const Result best = synthesis::common_lyapunov(radii, Csdp(), {.gamma = synthesis::optimised});
    const Result found = synthesis::ellipsoid(synthesis::ellipsoid_around(radii, best.alpha), Csdp());
    REQUIRE(found.status == SynthesisStatus::solved);
    CHECK(found.cost_bound < best.cost_bound);
    CHECK(found.nominal_cost <= found.cost_bound);
    CHECK(found.gamma_min ==
          Catch::Approx(synthesis::least_common_lyapunov_level(radii, Csdp(), {.alpha = best.alpha}))
              .epsilon(1e-5));
  }
}

TEST_CASE("designs stabilise every sampled plant of the ellipsoid within the bound") {
  metalqr::Stream stream = test::stream(505);
  double tightest = 0;
  for (int round = 0; round < 6; ++round) {
    const Index nx = 2 + round % 3;
    const Index nu = 1 + round % 2;
    auto random = test::random_problem(nx, nu, 0.6, stream);
    if (round % 2 == 0) random.task.Sigma0 = test::random_semidefinite(nx, 1, stream);
    // A long ellipsoid, half the largest that has a solution.
    Dense S = test::random_definite(nx + nu, stream);
    Problem problem{test::make_task(random.task), matrix(S)};
    const double least = synthesis::ellipsoid(problem, Csdp()).gamma_min;
    S = (4 * least * least) * S;
    problem.precision = matrix(S);
    const Result found = synthesis::ellipsoid(problem, Csdp());
    REQUIRE(found.status == SynthesisStatus::solved);
    CHECK(found.gamma_min == Catch::Approx(0.5).epsilon(1e-4));
    CHECK(found.achieved_hinf < 1);
    const Dense K = test::dense(found.gain);
    // D = N L^-1 with |N| = 1, S = L L'.
    Dense L(S.rows, S.rows);
    for (Index j = 0; j < S.rows; ++j) {
      for (Index i = j; i < S.rows; ++i) {
        L(i, j) = S(i, j);
        for (Index k = 0; k < j; ++k) L(i, j) -= L(i, k) * L(j, k);
        L(i, j) = i == j ? std::sqrt(L(j, j)) : L(i, j) / L(j, j);
      }
    }
    for (int sample = 0; sample < 60; ++sample) {
      const Dense N = test::with_norm(nx, nx + nu, 1, sample % 2 == 0, stream);
      const Dense D = test::transpose(test::solve(test::transpose(L), test::transpose(N)));
      DenseTask plant = random.task;
      for (Index i = 0; i < nx; ++i) {
        for (Index j = 0; j < nx; ++j) plant.A(i, j) += D(i, j);
        for (Index j = 0; j < nu; ++j) plant.B(i, j) += D(i, nx + j);
      }
      REQUIRE(static_cast<double>(test::spectral_norm(D * L)) == Catch::Approx(1));
      REQUIRE(test::vanishes(plant.closed_loop(K)));
      const auto cost = static_cast<double>(plant.cost(K));
      CHECK(cost <= found.cost_bound);
      CHECK(cost <= found.certified_cost);
      tightest = std::max(tightest, cost / found.cost_bound);
    }
  }
  CHECK(tightest > 0.5);
}

TEST_CASE("a shrinking ellipsoid leads to the optimal gain and cost") {
  const UncertainSystem& system = test::uncertain_system("dint2");
  double last = infinity;
  for (const double epsilon : {1e-2, 1e-3, 1e-4, 1e-5}) {
    const Result found = synthesis::ellipsoid(ball(system.task, epsilon), Csdp());
    REQUIRE(found.status == SynthesisStatus::solved);
    CHECK(found.cost_bound < last);
    CHECK(found.cost_bound > system.cost * (1 - 1e-7));
    last = found.cost_bound;
  }
  CHECK(last == Catch::Approx(system.cost).epsilon(1e-3));
}

TEST_CASE("the design scales with the units of cost and noise") {
  const UncertainSystem& system = test::uncertain_system("laplacian3");
  const Result original = synthesis::ellipsoid(ball(system.task, 0.05), Csdp());
  for (const double unit : {1e-6, 1e6}) {
    DenseTask task = system.task;
    task.Q = unit * task.Q;
    task.R = unit * task.R;
    CHECK(synthesis::ellipsoid(ball(task, 0.05), Csdp()).cost_bound ==
          Catch::Approx(unit * original.cost_bound).epsilon(1e-6));
    task = system.task;
    task.Sigma0 = unit * task.Sigma0;
    CHECK(synthesis::ellipsoid(ball(task, 0.05), Csdp()).cost_bound ==
          Catch::Approx(unit * original.cost_bound).epsilon(1e-6));
  }
}

TEST_CASE("a plant without noise has the design of one with noise of covariance one, at no cost") {
  DenseTask task = test::uncertain_system("dint2").task;
  task.Sigma0 = test::identity(2);
  const Result noisy = synthesis::ellipsoid(ball(task, 0.01), Csdp());
  task.Sigma0 = Dense(2, 2);
  const Result found = synthesis::ellipsoid(ball(task, 0.01), Csdp());
  REQUIRE(found.status == SynthesisStatus::solved);
  CHECK(test::norm(test::dense(found.gain) - test::dense(noisy.gain)) == 0);
  CHECK(found.gamma_min == noisy.gamma_min);
  CHECK(found.cost_bound == 0);
  CHECK(found.certified_cost == 0);
  CHECK(found.nominal_cost == 0);
}

TEST_CASE("a wrong answer of the solver is not passed on by the ellipsoid synthesis") {
  const Problem problem = ball(test::uncertain_system("laplacian3").task, 0.05);
  // A multiplier that breaks the inequality while gain and cost look right.
  const auto slip = [](const synthesis::SdpProblem& programme) {
    synthesis::SdpSolution solution = Csdp()(programme);
    if (programme.blocks.size() == 2) solution.y.back() *= 1.5;
    return solution;
  };
  CHECK(synthesis::ellipsoid(problem, slip).status == SynthesisStatus::failed);
  const auto fail = [](const synthesis::SdpProblem& programme) {
    return Csdp({.max_iterations = 1})(programme);
  };
  CHECK(synthesis::ellipsoid(problem, fail).status == SynthesisStatus::failed);
}

TEST_CASE("bad ellipsoids are refused by name") {
  using Catch::Matchers::ContainsSubstring;
  const UncertainSystem& system = test::uncertain_system("dint2");
  const auto with = [&](const Dense& S) {
    synthesis::ellipsoid(Problem{test::make_task(system.task), matrix(S)}, Csdp());
  };
  CHECK_THAT(test::message_of<metalqr::DimensionMismatch>([&] { with(test::identity(2)); }),
             ContainsSubstring("precision"));
  Dense S = test::identity(3);
  S(2, 2) = 0;
  CHECK_THAT(test::message_of<metalqr::NotPositiveDefinite>([&] { with(S); }),
             ContainsSubstring("precision"));
  S(2, 2) = 1;
  S(0, 1) = 0.5;
  CHECK_THAT(test::message_of<metalqr::NotPositiveDefinite>([&] { with(S); }),
             ContainsSubstring("precision"));
  S(0, 1) = not_a_number;
  CHECK_THAT(test::message_of<metalqr::NotFinite>([&] { with(S); }), ContainsSubstring("precision"));
  const auto around = [&](double x, double y, double alpha) {
    return test::message_of<metalqr::InvalidOption>(
        [&] { synthesis::ellipsoid_around(test::robust_problem(system, x, y), alpha); });
  };
  CHECK_THAT(around(0, 0.1, 0.5), ContainsSubstring("epsilon_A"));
  CHECK_THAT(around(0.1, not_a_number, 0.5), ContainsSubstring("epsilon_B"));
  CHECK_THAT(around(0.1, 0.1, 1), ContainsSubstring("alpha"));
  DenseTask lost = system.task;
  lost.A(0, 0) = 1.5;
  lost.B = 0.0L * lost.B;
  CHECK_THROWS_AS(synthesis::ellipsoid(ball(lost, 0.1), Csdp()), metalqr::NotStabilizable);
}

TEST_CASE("for radii the share of the ellipsoid is that of the least bound") {
  const UncertainSystem& system = test::uncertain_system("dint2");
  const auto radii = test::robust_problem(system, 0.02, 0.005);
  const Result best = synthesis::ellipsoid(radii, Csdp());
  REQUIRE(best.status == SynthesisStatus::solved);
  CHECK(best.solves > 10);
  double least = infinity;
  for (int k = 1; k < 40; ++k) {
    const Result found = synthesis::ellipsoid(radii, Csdp(), k / 40.0);
    CHECK(found.alpha == k / 40.0);
    if (found.status == SynthesisStatus::solved) least = std::min(least, found.cost_bound);
  }
  CHECK(best.cost_bound <= least * (1 + 1e-6));
  CHECK(best.cost_bound > least * 0.99);
  const Result half = synthesis::ellipsoid(radii, Csdp(), 0.5);
  CHECK(half.cost_bound ==
        Catch::Approx(synthesis::ellipsoid(synthesis::ellipsoid_around(radii, 0.5), Csdp()).cost_bound));

  // Where no share has a design, the least level is the least of all shares.
  const auto large = test::robust_problem(system, 0.5, 0.2);
  const Result none = synthesis::ellipsoid(large, Csdp());
  CHECK(none.status == SynthesisStatus::infeasible);
  double level = infinity;
  for (int k = 1; k < 40; ++k)
    level = std::min(level, synthesis::ellipsoid(large, Csdp(), k / 40.0).gamma_min);
  CHECK(none.gamma_min <= level * (1 + 1e-5));
  CHECK(none.gamma_min > level * 0.99);
  CHECK_THROWS_AS(synthesis::ellipsoid(test::robust_problem(system, 0, 0.2), Csdp()), metalqr::InvalidOption);
  CHECK_THROWS_AS(synthesis::ellipsoid(radii, Csdp(), 1.0), metalqr::InvalidOption);
}
