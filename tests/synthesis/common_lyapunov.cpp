#include <metalqr/synthesis/common_lyapunov.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include <metalqr/synthesis/certificate.hpp>
#include <metalqr/synthesis/csdp.hpp>

#include "uncertain.hpp"

namespace {

namespace synthesis = metalqr::synthesis;
using metalqr::InvalidOption;
using synthesis::Csdp;
using synthesis::optimised;
using synthesis::RobustOptions;
using synthesis::SynthesisStatus;
using test::Backend;
using test::Dense;
using test::DenseTask;
using test::Index;
using test::ReferenceDesign;
using test::ReferenceDesigns;
using test::UncertainSystem;
using Fixed = metalqr::EigenBackend<double, 3, 3>;
using Problem = synthesis::RobustProblem<Backend>;
using Result = synthesis::RobustGain<Backend>;

const double infinity = std::numeric_limits<double>::infinity();
const double not_a_number = std::numeric_limits<double>::quiet_NaN();

std::optional<double> alpha_of(const ReferenceDesigns& designs) {
  return designs.alpha > 0 ? std::optional<double>(designs.alpha) : optimised;
}

Problem problem_of(const ReferenceDesigns& designs) {
  return test::robust_problem(designs.system, designs.epsilon_A, designs.epsilon_B);
}

Problem scalar(double a, double b, double epsilon_A, double epsilon_B) {
  return {test::make_task(DenseTask{Dense{{a}}, Dense{{b}}, Dense{{1}}, Dense{{1}}, Dense{{1}}}), epsilon_A,
          epsilon_B};
}

double largest_difference(const Dense& x, const Dense& y) {
  const Dense difference = x - y;
  long double largest = 0;
  for (const long double entry : difference.entries) largest = std::max(largest, std::abs(entry));
  return static_cast<double>(largest);
}

}  // namespace

// The tolerances are those of the reference file.
TEST_CASE("the reference designs at fixed levels") {
  for (const ReferenceDesigns& designs : test::coarse_id_reference().common_lyapunov) {
    const Problem problem = problem_of(designs);
    for (const ReferenceDesign& expected : designs.fixed) {
      INFO(designs.name() << ", gamma " << expected.gamma);
      const Result found =
          synthesis::common_lyapunov(problem, Csdp(), {.gamma = expected.gamma, .alpha = alpha_of(designs)});
      REQUIRE(found.status == SynthesisStatus::solved);
      CHECK(found.gamma_min == Catch::Approx(designs.gamma_min).epsilon(1e-5));
      CHECK(found.h2_squared == Catch::Approx(expected.h2_squared).epsilon(1e-6));
      CHECK(found.cost_bound == Catch::Approx(expected.cost_bound).epsilon(1e-6));
      CHECK(largest_difference(test::dense(found.gain), expected.K) < 1e-4);
      CHECK(found.nominal_cost == Catch::Approx(expected.nominal_cost).epsilon(1e-4));
      if (designs.alpha > 0) CHECK(found.alpha == designs.alpha);
      CHECK(found.gamma == expected.gamma);
      CHECK(found.achieved_hinf <= found.gamma * (1 + 1e-6));
      CHECK(found.achieved_hinf == Catch::Approx(expected.achieved_hinf).epsilon(1e-3));
      CHECK(found.nominal_cost <= found.h2_squared * (1 + 1e-6));
      CHECK(found.certified_cost <= found.cost_bound * (1 + 1e-5));
      CHECK(found.spectral_radius < 1);
      CHECK(found.solves == 2);
    }
  }
}

TEST_CASE("the reference designs at their best levels") {
  for (const ReferenceDesigns& designs : test::coarse_id_reference().common_lyapunov) {
    INFO(designs.name());
    const Result found = synthesis::common_lyapunov(problem_of(designs), Csdp(),
                                                    {.gamma = optimised, .alpha = alpha_of(designs)});
    REQUIRE(found.status == SynthesisStatus::solved);
    CHECK(found.cost_bound == Catch::Approx(designs.best.cost_bound).epsilon(1e-6));
    CHECK(std::abs(found.gamma - designs.best.gamma) < 2e-3);
    CHECK(largest_difference(test::dense(found.gain), designs.best.K) < 1e-3);
    CHECK(found.solves <= 40);
  }
}

TEST_CASE("the least level of a scalar plant by hand") {
  // Of the gains K, epsilon_A / (1 - |f|) and epsilon_B |K| / (1 - |f|), f = a - b K, add up; deadbeat, K = a
  // / b, is best where epsilon_A >= epsilon_B (1 - |a|) / |b|, else K = 0 for a stable plant.
  const auto least = [](double a, double b, double x, double y) {
    return synthesis::least_common_lyapunov_level(scalar(a, b, x, y), Csdp());
  };
  CHECK(least(0.9, 2, 0.1, 0.1) == Catch::Approx(0.1 + 0.1 * 0.45).epsilon(1e-5));
  CHECK(least(1.5, 1, 0.2, 0.1) == Catch::Approx(0.2 + 0.1 * 1.5).epsilon(1e-5));
  CHECK(least(0.9, 1, 0.01, 0.5) == Catch::Approx(0.1).epsilon(1e-5));
  CHECK(least(1.5, 1, 0.2, 0) == Catch::Approx(0.2).epsilon(1e-5));
  CHECK(least(1.5, 1, 0, 0.1) == Catch::Approx(0.15).epsilon(1e-5));
  CHECK(least(1.5, 1, 0, 0) == 0);
}

TEST_CASE("the least level of a plant with an input that does nothing") {
  const DenseTask task{Dense{{1.5}}, Dense{{0, 1}}, Dense{{1}}, test::identity(2), Dense{{1}}};
  const Problem problem{test::make_task(task), 0.2, 0};
  CHECK(synthesis::least_common_lyapunov_level(problem, Csdp()) == Catch::Approx(0.2).epsilon(1e-5));
  const Result found = synthesis::common_lyapunov(problem, Csdp());
  REQUIRE(found.status == SynthesisStatus::solved);
  CHECK(std::abs(found.gain(0, 0)) < 1e-6);
}

TEST_CASE("the least level is that of deadbeat control where every state has its input") {
  const UncertainSystem& system = test::uncertain_system("laplacian3");
  const auto size = static_cast<double>(test::spectral_norm(system.task.A));
  for (const auto& [x, y] : {std::pair{0.05, 0.05}, {0.01, 0.2}, {1.0, 1.0}, {1e-4, 1e-4}}) {
    CHECK(synthesis::least_common_lyapunov_level(test::robust_problem(system, x, y), Csdp()) ==
          Catch::Approx(x + y * size).epsilon(1e-5));
  }
}

TEST_CASE("too much uncertainty is an answer, with the least level") {
  const UncertainSystem& system = test::uncertain_system("laplacian3");
  for (const std::optional<double>& gamma : {std::optional<double>(0.999), std::optional<double>()}) {
    const Result found =
        synthesis::common_lyapunov(test::robust_problem(system, 0.6, 0.6), Csdp(), {.gamma = gamma});
    CHECK(found.status == SynthesisStatus::infeasible);
    CHECK(found.gamma_min == Catch::Approx(0.6 + 0.6 * 1.0241421356).epsilon(1e-5));
    CHECK(found.cost_bound == infinity);
    CHECK(test::norm(test::dense(found.gain)) == 0);
    CHECK(found.solves == 1);
  }
  // Just above and just below the least level.
  const Problem problem = test::robust_problem(system, 0.05, 0.05);
  const double least = 0.05 + 0.05 * static_cast<double>(test::spectral_norm(system.task.A));
  CHECK(synthesis::common_lyapunov(problem, Csdp(), {.gamma = least * (1 - 1e-4)}).status ==
        SynthesisStatus::infeasible);
  const Result above = synthesis::common_lyapunov(problem, Csdp(), {.gamma = least * (1 + 1e-3)});
  REQUIRE(above.status == SynthesisStatus::solved);
  CHECK(above.achieved_hinf <= above.gamma * (1 + 1e-6));
}

TEST_CASE("without uncertainty the design is the optimal gain") {
  for (const UncertainSystem& system : test::coarse_id_reference().systems) {
    for (const std::optional<double>& gamma : {std::optional<double>(0.999), std::optional<double>()}) {
      const Result found =
          synthesis::common_lyapunov(test::robust_problem(system, 0, 0), Csdp(), {.gamma = gamma});
      REQUIRE(found.status == SynthesisStatus::solved);
      CHECK(found.gamma_min == 0);
      CHECK(found.h2_squared == Catch::Approx(system.cost).epsilon(1e-6));
      CHECK(largest_difference(test::dense(found.gain), system.K) <
            1e-4 * static_cast<double>(test::norm(system.K)));
      CHECK(found.achieved_hinf == 0);
      if (!gamma) CHECK(found.cost_bound == Catch::Approx(system.cost).epsilon(1e-6));
    }
  }
}

TEST_CASE("the design at a fixed level is the limit of those with a vanishing radius") {
  const UncertainSystem& system = test::uncertain_system("dint2");
  const auto bound = [&](double x, double y) {
    return synthesis::common_lyapunov(test::robust_problem(system, x, y), Csdp(), {.gamma = 0.9}).h2_squared;
  };
  CHECK(bound(0.01, 1e-9) == Catch::Approx(bound(0.01, 0)).epsilon(1e-5));
  CHECK(bound(1e-9, 0.01) == Catch::Approx(bound(0, 0.01)).epsilon(1e-5));
}

TEST_CASE("designs stabilise every sampled plant within their bounds") {
  metalqr::Stream stream = test::stream(504);
  double tightest = 0;
  const auto check = [&](const DenseTask& task, double x, double y, const RobustOptions& options) {
    const Result found = synthesis::common_lyapunov(Problem{test::make_task(task), x, y}, Csdp(), options);
    REQUIRE(found.status == SynthesisStatus::solved);
    const Dense K = test::dense(found.gain);
    for (int sample = 0; sample < 40; ++sample) {
      const DenseTask plant = test::perturbed(task, x, y, sample % 2 == 0, stream);
      REQUIRE(test::vanishes(plant.closed_loop(K)));
      const auto cost = static_cast<double>(plant.cost(K));
      CHECK(cost <= found.certified_cost);
      CHECK(cost <= found.cost_bound);
      tightest = std::max(tightest, cost / found.certified_cost);
    }
  };
  for (const ReferenceDesigns& designs : test::coarse_id_reference().common_lyapunov) {
    for (const std::optional<double>& gamma : {std::optional<double>(0.999), std::optional<double>()}) {
      check(designs.system.task, designs.epsilon_A, designs.epsilon_B,
            {.gamma = gamma, .alpha = alpha_of(designs)});
    }
  }
  for (int round = 0; round < 4; ++round) {
    // Unstable plants, not normal.
    auto random = test::random_problem(2 + round % 2, 2, 0.6, stream);
    random.task.Sigma0 = test::identity(random.task.A.rows);
    const double least =
        synthesis::least_common_lyapunov_level(Problem{test::make_task(random.task), 0.01, 0.01}, Csdp());
    REQUIRE(least < 1);
    // Half of what is possible.
    check(random.task, 0.005 / least, 0.005 / least, {});
  }
  CHECK(tightest > 0.3);
}

TEST_CASE("more uncertainty, a fixed share or a smaller level never lower the bounds") {
  const UncertainSystem& system = test::uncertain_system("dint2");
  double last_least = 0;
  double last_h2 = 0;
  double last_bound = 0;
  for (const double factor : {0.25, 0.5, 1.0, 1.5, 2.0}) {
    const Problem problem = test::robust_problem(system, 0.01 * factor, 0.005 * factor);
    const Result fixed = synthesis::common_lyapunov(problem, Csdp(), {.gamma = 0.9});
    const Result best = synthesis::common_lyapunov(problem, Csdp(), {.gamma = optimised});
    const Result half = synthesis::common_lyapunov(problem, Csdp(), {.gamma = 0.9, .alpha = 0.5});
    REQUIRE(fixed.status == SynthesisStatus::solved);
    REQUIRE(best.status == SynthesisStatus::solved);
    REQUIRE(half.status == SynthesisStatus::solved);
    CHECK(fixed.gamma_min > last_least);
    CHECK(fixed.h2_squared > last_h2);
    CHECK(best.cost_bound > last_bound);
    CHECK(best.cost_bound <= fixed.cost_bound * (1 + 1e-6));
    CHECK(half.h2_squared >= fixed.h2_squared * (1 - 1e-7));
    CHECK(half.gamma_min >= fixed.gamma_min * (1 - 1e-6));
    last_least = fixed.gamma_min;
    last_h2 = fixed.h2_squared;
    last_bound = best.cost_bound;
  }
  last_h2 = infinity;
  for (const double gamma : {0.2, 0.4, 0.6, 0.8, 0.99}) {
    const Result found =
        synthesis::common_lyapunov(test::robust_problem(system, 0.01, 0.005), Csdp(), {.gamma = gamma});
    CHECK(found.h2_squared < last_h2);
    last_h2 = found.h2_squared;
  }
}

TEST_CASE("designs do not depend on the units of cost, state and input") {
  const UncertainSystem& system = test::uncertain_system("dint2");
  const Result original = synthesis::common_lyapunov(test::robust_problem(system, 0.01, 0.005), Csdp());
  for (const double unit : {1e-6, 1e6}) {
    UncertainSystem scaled = system;
    scaled.task.Q = unit * system.task.Q;
    scaled.task.R = unit * system.task.R;
    const Result found = synthesis::common_lyapunov(test::robust_problem(scaled, 0.01, 0.005), Csdp());
    REQUIRE(found.status == SynthesisStatus::solved);
    CHECK(found.h2_squared == Catch::Approx(unit * original.h2_squared).epsilon(1e-7));
    CHECK(largest_difference(test::dense(found.gain), test::dense(original.gain)) < 1e-5);
    // The noise only scales costs.
    UncertainSystem loud = system;
    loud.task.Sigma0 = unit * system.task.Sigma0;
    const Result noisy = synthesis::common_lyapunov(test::robust_problem(loud, 0.01, 0.005), Csdp());
    CHECK(noisy.h2_squared == Catch::Approx(unit * original.h2_squared).epsilon(1e-9));
    CHECK(noisy.nominal_cost == Catch::Approx(unit * original.nominal_cost).epsilon(1e-6));
  }
  // Inputs in other units: B and R change, epsilon_B with them.
  UncertainSystem units = system;
  units.task.B = 10 * system.task.B;
  units.task.R = 100 * system.task.R;
  const Result found = synthesis::common_lyapunov(test::robust_problem(units, 0.01, 0.05), Csdp());
  CHECK(found.h2_squared == Catch::Approx(original.h2_squared).epsilon(1e-6));
  CHECK(largest_difference(10 * test::dense(found.gain), test::dense(original.gain)) < 1e-4);
}

TEST_CASE("the exact level of a design is no worse than a certificate of its own alpha") {
  const UncertainSystem& system = test::uncertain_system("laplacian3");
  const Problem problem = test::robust_problem(system, 0.05, 0.05);
  const Result found = synthesis::common_lyapunov(problem, Csdp());
  const synthesis::RobustCertificate certificate = synthesis::certify(problem, found.gain);
  CHECK(certificate.level <= found.achieved_hinf * (1 + 1e-9));
  CHECK(certificate.cost_bound <= found.certified_cost * (1 + 1e-9));
  CHECK(certificate.certified());
  // The bound at the requested level is useless here; the exact one is not.
  CHECK(found.cost_bound > 1e4 * certificate.cost_bound);
}

TEST_CASE("fixed sizes give the same design") {
  const UncertainSystem& system = test::uncertain_system("laplacian3");
  const Result dynamic = synthesis::common_lyapunov(test::robust_problem(system, 0.05, 0.05), Csdp());
  const auto fixed = synthesis::common_lyapunov(test::robust_problem<Fixed>(system, 0.05, 0.05), Csdp());
  CHECK(fixed.h2_squared == Catch::Approx(dynamic.h2_squared).epsilon(1e-9));
  CHECK(largest_difference(test::dense<Fixed>(fixed.gain), test::dense(dynamic.gain)) < 1e-9);
}

TEST_CASE("a solver's wrong answer is not passed on") {
  const Problem problem = test::robust_problem(test::uncertain_system("laplacian3"), 0.05, 0.05);
  // Claims a bound that is too good.
  const auto boast = [](const synthesis::SdpProblem& programme) {
    synthesis::SdpSolution solution = Csdp()(programme);
    if (programme.blocks.size() == 2) solution.dual_objective /= 2;
    return solution;
  };
  CHECK(synthesis::common_lyapunov(problem, boast).status == SynthesisStatus::failed);
  // Gives a gain that destabilises.
  const auto blunder = [](const synthesis::SdpProblem& programme) {
    synthesis::SdpSolution solution = Csdp()(programme);
    if (programme.blocks.size() == 2) {
      for (std::size_t k = 6; k < 15; ++k) solution.y[k] *= -1;
    }
    return solution;
  };
  const Result found = synthesis::common_lyapunov(problem, blunder);
  CHECK(found.status == SynthesisStatus::failed);
  CHECK(test::norm(test::dense(found.gain)) == 0);
  // Fails.
  const auto fail = [](const synthesis::SdpProblem& programme) {
    return Csdp({.max_iterations = 1})(programme);
  };
  CHECK(synthesis::common_lyapunov(problem, fail).status == SynthesisStatus::failed);
  // Gives nothing at all, at first or in the end.
  const auto nothing = [](const synthesis::SdpProblem&) { return synthesis::SdpSolution(); };
  CHECK(synthesis::common_lyapunov(problem, nothing).status == SynthesisStatus::failed);
  const auto late = [](const synthesis::SdpProblem& programme) {
    return programme.blocks.size() == 2 ? synthesis::SdpSolution() : Csdp()(programme);
  };
  CHECK(synthesis::common_lyapunov(problem, late).status == SynthesisStatus::failed);
  CHECK(synthesis::common_lyapunov(problem, late, {.gamma = optimised}).status == SynthesisStatus::failed);
  // Not even where no gain at all would do.
  CHECK(synthesis::common_lyapunov(scalar(0.5, 1, 0, 0), late).status == SynthesisStatus::failed);
}

TEST_CASE("a solver that fails near the least level does not mislead the search") {
  const ReferenceDesigns& designs = test::coarse_id_reference().common_lyapunov.front();
  int failures = 0;
  const auto shy = [&failures](const synthesis::SdpProblem& programme) {
    synthesis::SdpSolution solution = Csdp()(programme);
    // Costs above twice the optimal one.
    if (programme.blocks.size() == 2 && solution.dual_objective > 2) {
      solution.status = synthesis::SdpStatus::failed;
      ++failures;
    }
    return solution;
  };
  const Result found = synthesis::common_lyapunov(problem_of(designs), shy, {.gamma = optimised});
  REQUIRE(failures > 0);
  REQUIRE(found.status == SynthesisStatus::solved);
  CHECK(found.cost_bound == Catch::Approx(designs.best.cost_bound).epsilon(1e-6));
}

TEST_CASE("bad input of the synthesis is refused by name") {
  using Catch::Matchers::ContainsSubstring;
  for (const double bad : {-0.1, not_a_number, infinity}) {
    CHECK_THAT(
        test::message_of<InvalidOption>([&] { synthesis::common_lyapunov(scalar(0.9, 1, bad, 0), Csdp()); }),
        ContainsSubstring("epsilon_A"));
    CHECK_THAT(
        test::message_of<InvalidOption>([&] { synthesis::common_lyapunov(scalar(0.9, 1, 0, bad), Csdp()); }),
        ContainsSubstring("epsilon_B"));
  }
  for (const double bad : {-0.1, 0.0, 1.0, 2.0, not_a_number}) {
    CHECK_THAT(test::message_of<InvalidOption>(
                   [&] { synthesis::common_lyapunov(scalar(0.9, 1, 0.1, 0.1), Csdp(), {.gamma = bad}); }),
               ContainsSubstring("gamma"));
    CHECK_THAT(test::message_of<InvalidOption>(
                   [&] { synthesis::common_lyapunov(scalar(0.9, 1, 0.1, 0.1), Csdp(), {.alpha = bad}); }),
               ContainsSubstring("alpha"));
  }
  CHECK_THROWS_AS(synthesis::common_lyapunov(scalar(1.1, 0, 0.1, 0.1), Csdp()), metalqr::NotStabilizable);
}
