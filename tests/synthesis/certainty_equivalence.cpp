#include <metalqr/synthesis/certainty_equivalence.hpp>

#include <limits>

#include "uncertain.hpp"

namespace {

namespace synthesis = metalqr::synthesis;
using metalqr::InvalidOption;
using test::Dense;
using test::DenseTask;
using test::UncertainSystem;

}  // namespace

TEST_CASE("certainty equivalence is the optimal gain with its certificate") {
  for (const UncertainSystem& system : test::coarse_id_reference().systems) {
    INFO(system.name);
    // Where epsilon |resolvent| (1 + |K|) is clearly below 1, and where epsilon |resolvent| is above.
    const double small = 0.1 / system.resolvent;
    const auto found = synthesis::certainty_equivalence(test::robust_problem(system, small, small));
    CHECK(test::relative_error(test::dense(found.gain), system.K) < 1e-9);
    CHECK(found.certificate.nominal_cost == Catch::Approx(system.cost));
    CHECK(found.certificate.spectral_radius == Catch::Approx(system.radius));
    CHECK(found.certificate.certified());
    CHECK(found.certificate.level >= 0.1);
    const auto only_A = synthesis::certainty_equivalence(test::robust_problem(system, small, 0));
    CHECK(only_A.certificate.level == Catch::Approx(0.1).epsilon(1e-8));
    const double large = 1.01 / system.resolvent;
    CHECK_FALSE(
        synthesis::certainty_equivalence(test::robust_problem(system, large, 0)).certificate.certified());
  }
}

TEST_CASE("certainty equivalence refuses bad radii and pairs that no gain stabilises") {
  using Catch::Matchers::ContainsSubstring;
  const auto scalar = [](double a, double b, double epsilon_A, double epsilon_B) {
    const DenseTask task{Dense{{a}}, Dense{{b}}, Dense{{1}}, Dense{{1}}, Dense{{1}}};
    synthesis::certainty_equivalence(
        synthesis::RobustProblem<test::Backend>{test::make_task(task), epsilon_A, epsilon_B});
  };
  for (const double bad : {-0.1, std::numeric_limits<double>::quiet_NaN()}) {
    CHECK_THAT(test::message_of<InvalidOption>([&] { scalar(0.9, 1, bad, 0); }),
               ContainsSubstring("epsilon_A"));
    CHECK_THAT(test::message_of<InvalidOption>([&] { scalar(0.9, 1, 0, bad); }),
               ContainsSubstring("epsilon_B"));
  }
  CHECK_THROWS_AS(scalar(1.1, 0, 0, 0), metalqr::NotStabilizable);
}
