#include <metalqr/synthesis/fir_certificate.hpp>

#include <algorithm>
#include <cmath>
#include <complex>
#include <limits>
#include <vector>

#include <metalqr/synthesis/csdp.hpp>
#include <metalqr/synthesis/fir.hpp>

#include "uncertain.hpp"

namespace {

namespace synthesis = metalqr::synthesis;
using synthesis::RobustCertificate;
using test::Backend;
using test::Dense;
using test::DenseTask;
using test::UncertainSystem;
using Controller = synthesis::FirController<Backend>;
using Problem = synthesis::RobustProblem<Backend>;

const double infinity = std::numeric_limits<double>::infinity();

/// u = -K x as a controller with a response of length one.
Controller at_once(const Dense& K) {
  return {{test::state_matrix(test::identity(K.cols))}, {test::gain(-1.0L * K)}};
}

}  // namespace

TEST_CASE("a gain that ends all in one step has the certificate of a static one") {
  const Dense K{{0.4, 0.1}, {-0.2, 0.3}};
  const DenseTask task{K, test::identity(2), test::identity(2), Dense{{2, 0}, {0, 1}}, test::identity(2)};
  const Problem problem{test::make_task(task), 0.1, 0.3};
  const RobustCertificate found = synthesis::certify(problem, at_once(K));
  const RobustCertificate expected = synthesis::certify(problem, test::gain(K));
  CHECK(found.certified());
  CHECK(found.level == Catch::Approx(expected.level).epsilon(1e-8));
  CHECK(found.nominal_cost == Catch::Approx(expected.nominal_cost));
  CHECK(found.cost_bound == Catch::Approx(expected.cost_bound).epsilon(1e-7));
  CHECK(found.spectral_radius < 1e-7);
}

TEST_CASE("the level of responses is a bound, and close") {
  metalqr::Stream stream = test::stream(541);
  // One state, so that the gain at a frequency is that of two polynomials; some are sharply tuned to one
  // frequency, some flat.
  for (int round = 0; round < 40; ++round) {
    const int length = 2 + 3 * (round % 5);
    const double tone = 3.14159 * stream.uniform();
    std::vector<double> x{1};
    std::vector<double> u;
    for (int k = 0; k < length; ++k) {
      const double size = round % 4 == 0 ? std::cos(tone * k) : round % 4 == 1 ? 1e-6 : std::pow(0.7, k);
      if (k > 0) x.push_back(size * (round % 4 == 3 ? stream.normal() : 1));
      u.push_back(size * (round % 4 == 2 ? stream.normal() : 1));
    }
    std::vector<Backend::StateMatrix> states;
    std::vector<Backend::Gain> inputs;
    for (int k = 0; k < length; ++k) {
      states.push_back(test::state_matrix(Dense{{x[static_cast<std::size_t>(k)]}}));
      inputs.push_back(test::gain(Dense{{u[static_cast<std::size_t>(k)]}}));
    }
    double largest = 0;
    for (int i = 0; i <= 10'000; ++i) {
      std::complex<double> state = 0;
      std::complex<double> input = 0;
      for (int k = 0; k < length; ++k) {
        const auto z = std::polar(1.0, -3.141592653589793 * i / 10'000 * k);
        state += x[static_cast<std::size_t>(k)] * z;
        input += u[static_cast<std::size_t>(k)] * z;
      }
      largest = std::max(largest, std::hypot(0.3 * std::abs(state), 0.7 * std::abs(input)));
    }
    const double level = synthesis::detail::fir_level<Backend>(states, inputs, 0.3, 0.7);
    INFO(round);
    CHECK(level >= largest);
    // The grid itself misses the maximum by (length pi / 20 000)^2 / 2 at most.
    CHECK(level <= largest * (1 + 5e-6));
  }
}

TEST_CASE("responses of another plant by hand") {
  // Phi_x = 1, Phi_u = -K leave f = a - b K over: H* = epsilon_A + epsilon_B K + f, below 1 where the static
  // certificate's (epsilon_A + epsilon_B K) / (1 - f) is.
  const double K = 0.2;
  const double f = 0.9 - 2 * K;
  const auto at = [&](double epsilon_A) {
    return synthesis::certify(
        Problem{test::make_task(DenseTask{Dense{{0.9}}, Dense{{2}}, Dense{{1}}, Dense{{3}}, Dense{{4}}}),
                epsilon_A, 0.5},
        at_once(Dense{{K}}));
  };
  const RobustCertificate found = at(0.1);
  CHECK(found.level == Catch::Approx(0.1 + 0.5 * K + f).epsilon(1e-8));
  CHECK(found.spectral_radius == Catch::Approx(f));
  CHECK(found.nominal_cost == Catch::Approx(4 * (1 + 3 * K * K) / (1 - f * f)));
  const double margin = 1 - found.level;
  CHECK(found.cost_bound == Catch::Approx(4 * (1 + 3 * K * K) / (margin * margin)).epsilon(1e-6));
  CHECK(at(0.399).certified());
  CHECK_FALSE(at(0.401).certified());
  CHECK(at(0.401).cost_bound == infinity);
}

TEST_CASE("designs with finite responses hold what their certificates say") {
  const UncertainSystem& system = test::uncertain_system("laplacian3");
  const Problem problem = test::robust_problem(system, 0.05, 0.05);
  metalqr::Stream stream = test::stream(540);
  for (const bool slack : {false, true}) {
    const auto design =
        synthesis::fir(problem, synthesis::Csdp(), {.length = 8, .gamma = 0.6, .alpha = 0.5, .slack = slack});
    REQUIRE(design.status == synthesis::SynthesisStatus::solved);
    const RobustCertificate found = synthesis::certify(problem, design.controller);
    REQUIRE(found.certified());
    CHECK(found.level <= design.achieved_hinf * (1 + 1e-8));
    CHECK(found.cost_bound <= design.certified_cost * (1 + 1e-8));
    CHECK(found.nominal_cost == Catch::Approx(design.nominal_cost));
    double worst = 0;
    for (int sample = 0; sample < 20; ++sample) {
      const DenseTask plant = test::perturbed(system.task, 0.05, 0.05, sample % 2 == 0, stream);
      worst = std::max(worst, synthesis::cost(test::make_task(plant), design.controller.state_space()));
    }
    CHECK(worst <= found.cost_bound);
    CHECK(worst > 0.1 * found.cost_bound);
    // On another estimate the responses no longer fit, and the level grows by what is left over.
    const DenseTask near = test::perturbed(system.task, 0.01, 0.01, true, stream);
    const RobustCertificate moved =
        synthesis::certify(Problem{test::make_task(near), 0.05, 0.05}, design.controller);
    CHECK(moved.level > found.level);
  }
}

TEST_CASE("responses whose squares overflow have no certificate, at once") {
  const DenseTask task{Dense{{0.5}}, Dense{{1}}, test::identity(1), test::identity(1), test::identity(1)};
  const Problem problem{test::make_task(task), 0.1, 0.1};
  for (const double size : {1e100, 1e156, 1e300}) {
    const Dense unit{{1}};
    const Dense large{{size}};
    const Controller controller({test::state_matrix(unit), test::state_matrix(unit)},
                                {test::gain(large), test::gain(-1.0L * large)});
    const RobustCertificate found = synthesis::certify(problem, controller);
    CHECK_FALSE(found.certified());
    CHECK(found.level > 1e90);
    CHECK(found.cost_bound == infinity);
  }
}

TEST_CASE("a controller that is missing or does not stabilise has no certificate") {
  const Problem problem{
      test::make_task(DenseTask{Dense{{1.5}}, Dense{{1}}, Dense{{1}}, Dense{{1}}, Dense{{1}}}), 0.1, 0.1};
  const RobustCertificate found = synthesis::certify(problem, at_once(Dense{{0.2}}));
  CHECK_FALSE(found.certified());
  CHECK_FALSE(found.assumptions[0].holds);
  CHECK(found.nominal_cost == infinity);
  CHECK(found.cost_bound == infinity);
  CHECK(found.spectral_radius == Catch::Approx(1.3));
  CHECK(test::message_of<metalqr::InvalidOption>([&] {
          synthesis::certify(problem, Controller());
        }).find("controller: ") == 0);
  CHECK_THROWS_AS(synthesis::certify(problem, at_once(Dense{{0.2, 0.1}})), metalqr::DimensionMismatch);
  Problem bad = problem;
  bad.epsilon_B = -1;
  CHECK(test::message_of<metalqr::InvalidOption>([&] {
          synthesis::certify(bad, at_once(Dense{{1}}));
        }).find("epsilon_B: ") == 0);
}
