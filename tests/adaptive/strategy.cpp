#include <metalqr/adaptive/strategy.hpp>

#include <cmath>
#include <limits>
#include <optional>
#include <type_traits>
#include <variant>

#include <metalqr/systems/plants.hpp>

#include "support.hpp"

namespace {

namespace adaptive = metalqr::adaptive;
namespace synthesis = metalqr::synthesis;
using metalqr::Stream;
using synthesis::SynthesisStatus;
using test::Backend;
using Controller = adaptive::Controller<Backend>;
using Knowledge = adaptive::Knowledge<Backend>;
using Problem = synthesis::RobustProblem<Backend>;
using Fir = synthesis::FirController<Backend>;

/// Knowledge of the Laplacian plant with radii 0.1 and 0.2.
struct Setting {
  Controller current = Backend::zero_gain(3, 3);
  Knowledge knowledge{metalqr::systems::laplacian_3<Backend>(10), {}, 3, 60, current};
  Stream stream = test::stream(561);

  Setting() {
    knowledge.confidence.epsilon_A = 0.1;
    knowledge.confidence.epsilon_B = 0.2;
  }
};

/// As `fir` answers.
struct DynamicDesign {
  SynthesisStatus status = SynthesisStatus::failed;
  Fir controller;
};

// What counts as a strategy.
struct TakesNoStream {
  std::optional<Controller> operator()(const Knowledge&) const { return std::nullopt; }
};
struct GivesANumber {
  double operator()(const Knowledge&, Stream&) const { return 0; }
};
struct GivesAGain {
  Backend::Gain operator()(const Knowledge&, Stream&) const { return Backend::zero_gain(3, 3); }
};
static_assert(adaptive::Strategy<adaptive::CertaintyEquivalence, Backend>);
static_assert(adaptive::Strategy<GivesAGain, Backend>);
static_assert(!adaptive::Strategy<TakesNoStream, Backend>);
static_assert(!adaptive::Strategy<GivesANumber, Backend>);

}  // namespace

TEST_CASE("certainty equivalence gives the optimal gain of the estimate") {
  Setting setting;
  const auto controller = adaptive::CertaintyEquivalence{}(setting.knowledge, setting.stream);
  REQUIRE(controller);
  CHECK(test::dense(std::get<0>(*controller)).entries ==
        test::dense(metalqr::solve_dare(setting.knowledge.estimate).gain).entries);
}

TEST_CASE("a robust design is given the estimate and the radii") {
  Setting setting;
  const auto expected = test::gain(test::Dense{{1, 2, 3}, {4, 5, 6}, {7, 8, 9}});
  const adaptive::Robust strategy{[&](const Problem& problem) {
    CHECK(problem.epsilon_A == 0.1);
    CHECK(problem.epsilon_B == 0.2);
    CHECK(test::dense(problem.estimate.A()).entries == test::dense(setting.knowledge.estimate.A()).entries);
    CHECK(test::dense(problem.estimate.Q()).entries == test::dense(setting.knowledge.estimate.Q()).entries);
    synthesis::RobustGain<Backend> design;
    design.status = SynthesisStatus::solved;
    design.gain = expected;
    return design;
  }};
  const auto controller = strategy(setting.knowledge, setting.stream);
  REQUIRE(controller);
  CHECK(test::dense(std::get<0>(*controller)).entries == test::dense(expected).entries);
}

TEST_CASE("a robust design may be of a dynamic controller, or any controller") {
  Setting setting;
  const Fir fir({Backend::identity_like(setting.knowledge.estimate.A())}, {2 * Backend::zero_gain(3, 3)});
  const adaptive::Robust dynamic{[&](const Problem&) { return DynamicDesign{SynthesisStatus::solved, fir}; }};
  const auto controller = dynamic(setting.knowledge, setting.stream);
  REQUIRE(controller);
  CHECK(std::get<1>(*controller).length() == 1);
  const adaptive::Robust own{[&](const Problem&) { return std::optional<Controller>(fir); }};
  CHECK(own(setting.knowledge, setting.stream)->index() == 1);
}

TEST_CASE("an infeasible or failed design gives no controller, nor do radii without bound") {
  Setting setting;
  for (const SynthesisStatus status : {SynthesisStatus::infeasible, SynthesisStatus::failed}) {
    const adaptive::Robust gain{[&](const Problem&) {
      synthesis::RobustGain<Backend> design;
      design.status = status;
      design.gain = Backend::zero_gain(3, 3);
      return design;
    }};
    CHECK_FALSE(gain(setting.knowledge, setting.stream));
    const adaptive::Robust dynamic{[&](const Problem&) { return DynamicDesign{status, {}}; }};
    CHECK_FALSE(dynamic(setting.knowledge, setting.stream));
  }
  const adaptive::Robust none{[](const Problem&) { return std::optional<Controller>(); }};
  CHECK_FALSE(none(setting.knowledge, setting.stream));
  int calls = 0;
  const adaptive::Robust counting{[&](const Problem&) {
    ++calls;
    return std::optional<Controller>(Backend::zero_gain(3, 3));
  }};
  CHECK(counting(setting.knowledge, setting.stream));
  setting.knowledge.confidence.epsilon_B = std::numeric_limits<double>::infinity();
  CHECK_FALSE(counting(setting.knowledge, setting.stream));
  CHECK(calls == 1);
}
