#include <metalqr/synthesis/certificate.hpp>

#include <cmath>
#include <limits>
#include <string>

#include "uncertain.hpp"

namespace {

namespace synthesis = metalqr::synthesis;
using metalqr::DimensionMismatch;
using metalqr::InvalidOption;
using metalqr::NotFinite;
using synthesis::RobustCertificate;
using test::Backend;
using test::Dense;
using test::DenseTask;
using test::Index;
using test::UncertainSystem;
using Fixed = metalqr::EigenBackend<double, 3, 3>;
using Problem = synthesis::RobustProblem<Backend>;

const double infinity = std::numeric_limits<double>::infinity();
const double not_a_number = std::numeric_limits<double>::quiet_NaN();

Problem scalar(double a, double b, double epsilon_A, double epsilon_B, double noise = 1) {
  return {test::make_task(DenseTask{Dense{{a}}, Dense{{b}}, Dense{{1}}, Dense{{1}}, Dense{{noise}}}),
          epsilon_A, epsilon_B};
}

}  // namespace

TEST_CASE("a scalar plant by hand") {
  // |(z - f)^-1| = 1 / (1 - f); min over alpha of x^2 / alpha + y^2 / (1 - alpha) = (x + y)^2 at x / (x + y).
  const double a = 0.9;
  const double b = 2;
  const double K = 0.2;
  const double f = a - b * K;
  const auto gain = test::gain(Dense{{K}});
  const double x = 0.1 / (1 - f);
  const double y = 0.5 * K / (1 - f);
  const RobustCertificate found = synthesis::certify(scalar(a, b, 0.1, 0.5), gain);
  CHECK(found.level == Catch::Approx(x + y).epsilon(1e-9));
  CHECK(found.alpha == Catch::Approx(x / (x + y)).epsilon(1e-3));
  CHECK(found.spectral_radius == Catch::Approx(f));
  const double cost = (1 + K * K) / (1 - f * f);
  CHECK(found.nominal_cost == Catch::Approx(cost));
  CHECK(found.cost_bound == Catch::Approx(cost / ((1 - x - y) * (1 - x - y))).epsilon(1e-8));
  CHECK(found.certified());
  CHECK(synthesis::certify(scalar(a, b, 0.1, 0.5, 4), gain).cost_bound ==
        Catch::Approx(4 * found.cost_bound));
  for (const double alpha : {0.1, 0.5, 0.8}) {
    CHECK(synthesis::robustness_level(scalar(a, b, 0.1, 0.5), gain, alpha) ==
          Catch::Approx(std::sqrt(x * x / alpha + y * y / (1 - alpha))).epsilon(1e-9));
  }
}

TEST_CASE("a radius of zero needs no share") {
  const auto gain = test::gain(Dense{{0.2}});
  const double f = 0.9 - 2 * 0.2;
  CHECK(synthesis::certify(scalar(0.9, 2, 0.1, 0), gain).level == Catch::Approx(0.1 / (1 - f)));
  CHECK(synthesis::certify(scalar(0.9, 2, 0, 0.1), gain).level == Catch::Approx(0.1 * 0.2 / (1 - f)));
  const RobustCertificate exact = synthesis::certify(scalar(0.9, 2, 0, 0), gain);
  CHECK(exact.level == 0);
  CHECK(exact.certified());
  CHECK(exact.cost_bound == Catch::Approx(exact.nominal_cost));
  CHECK(synthesis::robustness_level(scalar(0.9, 2, 0.1, 0), gain, 1) == Catch::Approx(0.1 / (1 - f)));
  CHECK(synthesis::robustness_level(scalar(0.9, 2, 0.1, 0.1), gain, 1) == infinity);
  CHECK(synthesis::robustness_level(scalar(0.9, 2, 0.1, 0.1), gain, 0) == infinity);
}

TEST_CASE("the share at which the level is attained has that level, of a gain of zero too") {
  for (const double K : {0.0, 1e-9, 0.2}) {
    const Problem problem = scalar(0.9, 2, 0.05, 0.1);
    const auto gain = test::gain(Dense{{K}});
    const RobustCertificate found = synthesis::certify(problem, gain);
    CHECK(synthesis::robustness_level(problem, gain, found.alpha) ==
          Catch::Approx(found.level).epsilon(1e-9));
    if (K == 0) CHECK(found.level == Catch::Approx(0.05 / 0.1).epsilon(1e-9));
  }
}

TEST_CASE("the levels of the reference designs") {
  for (const test::ReferenceDesigns& designs : test::coarse_id_reference().common_lyapunov) {
    const Problem problem = test::robust_problem(designs.system, designs.epsilon_A, designs.epsilon_B);
    for (const test::ReferenceDesign& design : designs.fixed) {
      INFO(designs.name() << ", gamma " << design.gamma);
      const auto K = test::gain(design.K);
      CHECK(synthesis::robustness_level(problem, K, design.alpha) ==
            Catch::Approx(design.achieved_hinf).epsilon(1e-7));
      const RobustCertificate found = synthesis::certify(problem, K);
      CHECK(found.level <= design.achieved_hinf * (1 + 1e-8));
      CHECK(found.nominal_cost == Catch::Approx(design.nominal_cost).epsilon(1e-8));
      CHECK(found.certified());
      // The exact level promises no more than the programme.
      CHECK(found.cost_bound <= design.cost_bound * (1 + 1e-6));
    }
  }
}

TEST_CASE("the level is the largest gain over frequencies and the least over alpha") {
  metalqr::Stream stream = test::stream(502);
  for (int round = 0; round < 6; ++round) {
    const Index nx = 2 + round % 3;
    const Index nu = 1 + round % 2;
    const auto random = test::random_problem(nx, nu, 0.7, stream);
    const Problem problem{test::make_task(random.task), 0.02, 0.05};
    const auto K = test::gain(random.K);
    const Dense F = random.task.closed_loop(random.K);
    const RobustCertificate found = synthesis::certify(problem, K);
    REQUIRE(found.level < infinity);
    for (const double alpha : {0.05, 0.2, 0.4, 0.6, 0.8, 0.95, found.alpha}) {
      const double level = synthesis::robustness_level(problem, K, alpha);
      const double below =
          test::level_on_grid(F, random.K, 0.02 / std::sqrt(alpha), 0.05 / std::sqrt(1 - alpha), 100);
      CHECK(below <= level * (1 + 1e-9));
      CHECK(below >= level * 0.97);
      CHECK(found.level <= level * (1 + 1e-9));
    }
  }
}

TEST_CASE("certified gains stabilise every sampled plant within the cost bound") {
  metalqr::Stream stream = test::stream(503);
  double tightest = 0;
  for (const test::ReferenceDesigns& designs : test::coarse_id_reference().common_lyapunov) {
    const Problem problem = test::robust_problem(designs.system, designs.epsilon_A, designs.epsilon_B);
    const test::ReferenceDesign& design = designs.fixed.at(2);
    const RobustCertificate found = synthesis::certify(problem, test::gain(design.K));
    REQUIRE(found.certified());
    for (int sample = 0; sample < 60; ++sample) {
      const DenseTask plant =
          test::perturbed(designs.system.task, designs.epsilon_A, designs.epsilon_B, sample % 2 == 0, stream);
      REQUIRE(test::vanishes(plant.closed_loop(design.K)));
      const auto ratio = static_cast<double>(plant.cost(design.K)) / found.cost_bound;
      CHECK(ratio <= 1);
      tightest = std::max(tightest, ratio);
    }
  }
  CHECK(tightest > 0.2);
}

TEST_CASE("the worst plant of a normal closed loop reaches the level") {
  // For u = -K x with A and K multiples of I, the errors a = epsilon_A, b = -epsilon_B add up along one
  // direction: at level 1 the closed loop is on the unit circle.
  const Index n = 3;
  const double f = 0.5;
  const Dense K = 0.4L * test::identity(n);
  const DenseTask task{(f + 0.4L) * test::identity(n), test::identity(n), test::identity(n),
                       test::identity(n), test::identity(n)};
  const double epsilon_B = 0.3;
  const double epsilon_A = (1 - f) - epsilon_B * 0.4;
  const auto at = [&](double factor) {
    return synthesis::certify(Problem{test::make_task(task), factor * epsilon_A, factor * epsilon_B},
                              test::gain(K));
  };
  CHECK(at(1).level == Catch::Approx(1).epsilon(1e-9));
  CHECK(at(0.999).certified());
  CHECK_FALSE(at(1.001).certified());
  CHECK(at(1.001).cost_bound == infinity);
  DenseTask worst = task;
  worst.A = worst.A + epsilon_A * test::identity(n);
  worst.B = worst.B - epsilon_B * test::identity(n);
  CHECK_FALSE(test::vanishes(worst.closed_loop(K)));
}

TEST_CASE("a gain that does not stabilise the estimate has no certificate") {
  const RobustCertificate found = synthesis::certify(scalar(1.5, 1, 0.01, 0.01), test::gain(Dense{{0.1}}));
  CHECK_FALSE(found.certified());
  CHECK(found.level == infinity);
  CHECK(found.cost_bound == infinity);
  CHECK(found.nominal_cost == infinity);
  CHECK(found.spectral_radius == Catch::Approx(1.4));
  CHECK(found.assumptions[0].checked);
  CHECK_FALSE(found.assumptions[0].holds);
}

TEST_CASE("a certificate says what it checked and what it takes on trust") {
  const RobustCertificate found = synthesis::certify(scalar(0.9, 1, 5, 5), test::gain(Dense{{0.2}}));
  CHECK(found.assumptions[0].holds);
  CHECK(found.assumptions[1].checked);
  CHECK_FALSE(found.assumptions[1].holds);
  CHECK_FALSE(found.assumptions[2].checked);
  CHECK_FALSE(found.assumptions[3].checked);
  for (const auto& assumption : found.assumptions) CHECK(std::string(assumption.statement).size() > 10);
}

TEST_CASE("an uneven covariance of the noise enters by its largest eigenvalue") {
  const UncertainSystem& system = test::uncertain_system("dint2");
  const Problem problem = test::robust_problem(system, 0.01, 0.005);
  const auto K = test::gain(system.K);
  const RobustCertificate unit = synthesis::certify(problem, K);
  const Problem uneven{problem.estimate.with_process_noise(test::state_matrix(Dense{{3, 0}, {0, 0.5}})), 0.01,
                       0.005};
  const RobustCertificate found = synthesis::certify(uneven, K);
  CHECK(found.level == unit.level);
  CHECK(found.cost_bound == Catch::Approx(3 * unit.cost_bound));
  CHECK(found.nominal_cost < 3 * unit.nominal_cost);
}

TEST_CASE("fixed and dynamic sizes agree") {
  const UncertainSystem& system = test::uncertain_system("laplacian3");
  const auto dynamic = synthesis::certify(test::robust_problem(system, 0.005, 0.005), test::gain(system.K));
  const auto fixed =
      synthesis::certify(test::robust_problem<Fixed>(system, 0.005, 0.005), test::gain<Fixed>(system.K));
  CHECK(fixed.level == Catch::Approx(dynamic.level).epsilon(1e-9));
  CHECK(fixed.cost_bound == Catch::Approx(dynamic.cost_bound).epsilon(1e-9));
}

TEST_CASE("bad input is refused by name") {
  using Catch::Matchers::ContainsSubstring;
  const auto K = test::gain(Dense{{0.2}});
  for (const double bad : {-0.1, not_a_number, infinity}) {
    CHECK_THAT(test::message_of<InvalidOption>([&] { synthesis::certify(scalar(0.9, 1, bad, 0), K); }),
               ContainsSubstring("epsilon_A"));
    CHECK_THAT(test::message_of<InvalidOption>([&] { synthesis::certify(scalar(0.9, 1, 0, bad), K); }),
               ContainsSubstring("epsilon_B"));
    CHECK_THAT(test::message_of<InvalidOption>(
                   [&] { synthesis::robustness_level(scalar(0.9, 1, 0.1, 0.1), K, bad); }),
               ContainsSubstring("alpha"));
  }
  CHECK_THROWS_AS(synthesis::certify(scalar(0.9, 1, 0, 0), test::gain(Dense{{0.2, 1}})), DimensionMismatch);
  CHECK_THROWS_AS(synthesis::certify(scalar(0.9, 1, 0, 0), test::gain(Dense{{not_a_number}})), NotFinite);
}
