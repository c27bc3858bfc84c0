#include <metalqr/adaptive/advance.hpp>

#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <metalqr/adaptive/optimism.hpp>
#include <metalqr/adaptive/thompson_sampling.hpp>
#include <metalqr/identification/trajectory_bound.hpp>
#include <metalqr/systems/plants.hpp>

#include "support.hpp"

namespace {

namespace adaptive = metalqr::adaptive;
namespace id = metalqr::identification;
using adaptive::Data;
using adaptive::RunStatus;
using metalqr::DimensionMismatch;
using metalqr::InvalidOption;
using metalqr::NotFinite;
using metalqr::Stream;
using metalqr::StreamKey;
using test::Dense;
using test::Index;
using Plant = test::Backend;
using Options = adaptive::Options<Plant>;
using State = adaptive::State<Plant>;
using Info = adaptive::Info<Plant>;
using Controller = adaptive::Controller<Plant>;
using Knowledge = adaptive::Knowledge<Plant>;
using Fir = metalqr::synthesis::FirController<Plant>;

const double infinity = std::numeric_limits<double>::infinity();

metalqr::Task<Plant> laplacian() {
  return metalqr::systems::laplacian_3<Plant>(10);
}

/// The gain that the published experiments begin with.
Plant::Gain first_gain() {
  return metalqr::solve_dare(metalqr::systems::laplacian_3<Plant>()).gain;
}

/// Finite responses that carry a memory of three states: the estimate's optimal gain at first, and none of
/// its closed loop beyond.
std::optional<Controller> cut_responses(const Knowledge& knowledge, Stream&) {
  const Plant::Gain K = metalqr::solve_dare(knowledge.estimate).gain;
  const Plant::StateMatrix F = metalqr::closed_loop(knowledge.estimate, K);
  std::vector<Plant::StateMatrix> states{Plant::identity_like(F)};
  std::vector<Plant::Gain> inputs;
  for (int k = 0; k < 3; ++k) {
    inputs.push_back(-Plant::product(K, states.back()));
    states.push_back(Plant::product(F, states.back()));
  }
  states.pop_back();
  return Fir(states, inputs);
}

/// Checks that two runs are in the same state, bitwise, but for what a dynamic controller remembers.
void check_same(const State& a, const State& b) {
  CHECK(a.key == b.key);
  CHECK(a.step == b.step);
  CHECK(a.epochs == b.epochs);
  CHECK(a.epoch_start == b.epoch_start);
  CHECK(test::dense(a.x).entries == test::dense(b.x).entries);
  CHECK(a.log_determinant == b.log_determinant);
  CHECK(a.regret.value == b.regret.value);
  CHECK(a.kept == b.kept);
  CHECK(a.epsilon_A == b.epsilon_A);
  CHECK(a.epsilon_B == b.epsilon_B);
  CHECK(a.data.transitions() == b.data.transitions());
  CHECK(test::dense(a.data.estimate().factor).entries == test::dense(b.data.estimate().factor).entries);
  CHECK(test::dense(a.data.estimate().B).entries == test::dense(b.data.estimate().B).entries);
  CHECK(adaptive::average_cost(laplacian(), a.controller) ==
        adaptive::average_cost(laplacian(), b.controller));
}

/// Checks that a run in pieces is the run without interruption.
template <class T>
void check_resumption(const T& strategy, const Options& options) {
  const auto plant = laplacian();
  const State start = adaptive::start(plant, first_gain(), options, {.seed = 541});
  State whole = start;
  const auto expected = adaptive::advance(plant, whole, strategy, options, 150).regret;
  // Copies, in pieces of 37 steps that do not end with epochs, the last stopped by its observer.
  std::vector<double> regret;
  State state = start;
  while (state.step < 111) {
    State copy = state;
    const auto piece = adaptive::advance(plant, copy, strategy, options, 37).regret;
    regret.insert(regret.end(), piece.begin(), piece.end());
    state = copy;
  }
  const auto stop = [](const Info& info) { return info.state.step == 130; };
  for (const RunStatus expected_status : {RunStatus::stopped, RunStatus::completed}) {
    const auto piece = adaptive::advance(plant, state, strategy, options, 150 - state.step, stop);
    CHECK(piece.status == expected_status);
    regret.insert(regret.end(), piece.regret.begin(), piece.regret.end());
  }
  CHECK(regret == expected);
  check_same(state, whole);
}

}  // namespace

TEST_CASE("a run continued from a copy is bitwise the run that was not interrupted") {
  SECTION("certainty equivalence") {
    check_resumption(adaptive::CertaintyEquivalence{}, {});
  }
  SECTION("data of the epoch") {
    check_resumption(adaptive::CertaintyEquivalence{},
                     {.schedule = adaptive::exponential_epochs(), .data = Data::epoch});
  }
  SECTION("Thompson sampling") {
    check_resumption(adaptive::ThompsonSampling{}, {.schedule = adaptive::determinant_epochs()});
  }
  SECTION("optimism") {
    check_resumption(adaptive::Optimism{}, {.schedule = adaptive::determinant_epochs()});
  }
  SECTION("a controller with a memory") {
    check_resumption(cut_responses, {});
  }
  SECTION("radii from the data") {
    check_resumption(adaptive::ThompsonSampling{}, {.bound = [](const id::Estimate<Plant>& estimate) {
                       return id::trajectory_bound(estimate, {.form = id::BoundForm::trace});
                     }});
  }
}

TEST_CASE("a run depends on its key, in each field") {
  const auto plant = laplacian();
  const auto last = [&](const StreamKey& key) {
    State state = adaptive::start(plant, first_gain(), {}, key);
    return adaptive::advance(plant, state, adaptive::CertaintyEquivalence{}, {}, 5).regret.back();
  };
  const double original = last({.seed = 542});
  CHECK(last({.seed = 542}) == original);
  for (const StreamKey& other :
       {StreamKey{.seed = 543}, StreamKey{.seed = 542, .task = 1}, StreamKey{.seed = 542, .sample = 1}}) {
    CHECK(last(other) != original);
  }
}

TEST_CASE("priming gives data, costs nothing and leaves the state at zero") {
  const auto noiseless = laplacian().with_process_noise(Plant::zero_state_matrix(3));
  const State state = adaptive::start(noiseless, first_gain(), {}, {.seed = 544});
  CHECK(state.data.transitions() == 100);
  CHECK(state.step == 0);
  CHECK(state.epochs == 0);
  CHECK(state.regret.value == 0);
  CHECK(Plant::max_abs(state.x) == 0);
  // Without noise the data determine the plant, up to the ridge of 1e-5 in a hundred squares of size one.
  const auto estimate = state.data.estimate();
  CHECK(test::relative_error(test::dense(estimate.A), test::dense(noiseless.A())) < 1e-5);
  CHECK(test::relative_error(test::dense(estimate.B), test::dense(noiseless.B())) < 1e-5);
  CHECK(adaptive::start(noiseless, first_gain(), {.priming_steps = 0}).data.transitions() == 0);
}

TEST_CASE("data are those of the epoch or all, and epochs begin when they should") {
  const auto plant = laplacian();
  const auto begins = [&](const Options& options, Index steps) {
    State state = adaptive::start(plant, first_gain(), options, {.seed = 545});
    std::vector<Index> result;
    const auto observe = [&](const Info& info) {
      const Index since = info.state.step - info.state.epoch_start;
      CHECK(info.state.data.transitions() == (options.data == Data::all ? 100 + info.state.step : since));
      CHECK(info.new_epoch == (since == 1));
      CHECK(info.cost > 0);
      if (info.new_epoch) result.push_back(info.state.epoch_start);
    };
    adaptive::advance(plant, state, adaptive::CertaintyEquivalence{}, options, steps, observe);
    CHECK(state.epochs == static_cast<Index>(result.size()));
    return result;
  };
  CHECK(begins({}, 101) == std::vector<Index>{0, 10, 30, 60, 100});
  CHECK(begins({.schedule = adaptive::exponential_epochs(), .data = Data::epoch}, 71) ==
        std::vector<Index>{0, 10, 30, 70});
}

TEST_CASE("determinant epochs end as soon as the determinant has doubled") {
  const auto plant = laplacian();
  for (const Index longest : {500, 14}) {
    // With little data at first, so that the shortest epochs occur.
    const Options options{.schedule = {.epochs = adaptive::Epochs::determinant,
                                       .longest = longest,
                                       .exploration = 0,
                                       .decay = 0},
                          .priming_steps = 8};
    State state = adaptive::start(plant, first_gain(), options, {.seed = 546});
    std::vector<double> logarithms{state.data.log_determinant()};
    std::vector<Index> begins;
    const auto observe = [&](const Info& info) {
      logarithms.push_back(info.state.data.estimate().log_determinant());
      if (info.new_epoch) begins.push_back(info.state.epoch_start);
    };
    adaptive::advance(plant, state, adaptive::ThompsonSampling{}, options, 400, observe);
    REQUIRE(begins.size() > 5);
    const auto growth = [&](Index from, Index to) {
      return logarithms[static_cast<std::size_t>(to)] - logarithms[static_cast<std::size_t>(from)];
    };
    bool some_by_length = false;
    bool some_shortest = false;
    for (std::size_t i = 0; i + 1 < begins.size(); ++i) {
      const Index from = begins[i];
      const Index to = begins[i + 1];
      CHECK(to - from >= 10);
      CHECK(to - from <= longest);
      if (to - from < longest) CHECK(growth(from, to) > std::log(2.0));
      for (Index t = from + 10; t < to; ++t) CHECK(growth(from, t) <= std::log(2.0));
      some_shortest = some_shortest || to - from == 10;
      some_by_length = some_by_length || growth(from, to) <= std::log(2.0);
    }
    CHECK(some_by_length == (longest == 14));
    CHECK(some_shortest);
  }
}

TEST_CASE("a strategy is told what is known") {
  const auto plant = laplacian();
  bool bounded = false;
  Options options;
  std::vector<Index> epochs;
  std::vector<double> numbers;
  const auto ask = [&](const Knowledge& knowledge, Stream& stream) -> std::optional<Controller> {
    epochs.push_back(knowledge.epoch);
    numbers.push_back(stream.normal());
    CHECK(knowledge.step == (knowledge.epoch == 0 ? 0 : 10));
    CHECK(Plant::max_abs(Plant::Gain(std::get<0>(knowledge.current) - first_gain())) == 0);
    const auto& confidence = knowledge.confidence;
    const Dense dA = test::dense(knowledge.estimate.A()) - test::dense(plant.A());
    const Dense dB = test::dense(knowledge.estimate.B()) - test::dense(plant.B());
    CHECK(test::relative_error(test::dense(confidence.ellipsoid.A), test::dense(knowledge.estimate.A())) ==
          0);
    CHECK(confidence.ellipsoid.trace);
    if (!bounded) {
      // The true errors, and the smallest ellipsoid that holds the plant.
      CHECK(confidence.epsilon_A == Catch::Approx(static_cast<double>(test::spectral_norm(dA))));
      CHECK(confidence.epsilon_B == Catch::Approx(static_cast<double>(test::spectral_norm(dB))));
      CHECK(confidence.ellipsoid.level == confidence.ellipsoid.level_of(plant.A(), plant.B()));
      CHECK(confidence.ellipsoid.level > 0);
    } else {
      CHECK(confidence.epsilon_A > test::spectral_norm(dA));
      CHECK(confidence.ellipsoid.contains(plant.A(), plant.B()));
      CHECK(confidence.delta == 0.05);
    }
    return std::nullopt;
  };
  State state = adaptive::start(plant, first_gain(), options, {.seed = 547});
  adaptive::advance(plant, state, ask, options, 11);
  CHECK(epochs == std::vector<Index>{0, 1});
  CHECK(numbers[0] != numbers[1]);
  CHECK(state.kept == 2);
  CHECK(state.epsilon_A > 0);
  CHECK(state.epsilon_A < 1);
  bounded = true;
  options.bound = [](const id::Estimate<Plant>& estimate) {
    return id::trajectory_bound(estimate, {.noise = 1, .form = id::BoundForm::trace});
  };
  const double true_error = state.epsilon_B;
  state = adaptive::start(plant, first_gain(), options, {.seed = 547});
  adaptive::advance(plant, state, ask, options, 11);
  CHECK(state.epsilon_B > true_error);
}

TEST_CASE("where there is no design the controller remains, and that is counted") {
  const auto plant = laplacian();
  Options options;
  const auto run = [&](const auto& strategy) {
    State state = adaptive::start(plant, first_gain(), options, {.seed = 548});
    const auto result = adaptive::advance(plant, state, strategy, options, 40);
    CHECK(result.status == RunStatus::completed);
    CHECK(state.epochs == 3);
    return state;
  };
  const auto check_all_kept = [](const State& state) {
    CHECK(state.kept == 3);
    CHECK(Plant::max_abs(Plant::Gain(std::get<0>(state.controller) - first_gain())) == 0);
  };
  const auto throwing = [](const auto& error) {
    return [error](const Knowledge&, Stream&) -> std::optional<Controller> { throw error; };
  };
  check_all_kept(run([](const Knowledge&, Stream&) -> std::optional<Controller> { return std::nullopt; }));
  check_all_kept(run(throwing(metalqr::NotStabilizable("estimate"))));
  check_all_kept(run(throwing(metalqr::NotStabilizing("K", 2))));
  check_all_kept(run(throwing(metalqr::NoConvergence("estimate"))));
  check_all_kept(run(throwing(NotFinite("estimate"))));
  // What is wrong with the call is not hidden.
  CHECK_THROWS_AS(run(throwing(InvalidOption("gamma"))), InvalidOption);
  // A plant that cannot be stabilised, drawn or searched from.
  options.bound = [](const id::Estimate<Plant>& estimate) {
    id::Confidence<Plant> result;
    result.ellipsoid = {2 * Plant::identity_like(estimate.A), Plant::zero_like(estimate.B), estimate.factor,
                        0, true};
    return result;
  };
  check_all_kept(run(adaptive::ThompsonSampling{}));
  check_all_kept(run(adaptive::Optimism{}));
  // The last one that there was.
  const auto once = [](const Knowledge& knowledge, Stream&) -> std::optional<Controller> {
    if (knowledge.epoch > 0) return std::nullopt;
    return Controller(Plant::Gain(2 * first_gain()));
  };
  const State state = run(once);
  CHECK(state.kept == 2);
  CHECK(Plant::max_abs(Plant::Gain(std::get<0>(state.controller) - 2 * first_gain())) == 0);
}

TEST_CASE("data that do not determine the plant leave the controller as it is") {
  const auto plant = laplacian();
  const Options options{.schedule = {.first = 4}, .ridge = 0, .priming_steps = 0};
  State state = adaptive::start(plant, first_gain(), options, {.seed = 549});
  adaptive::advance(plant, state, adaptive::CertaintyEquivalence{}, options, 4);
  CHECK(state.kept == 1);
  CHECK(std::isinf(state.epsilon_A));
  adaptive::advance(plant, state, adaptive::CertaintyEquivalence{}, options, 9);
  // Four transitions are not enough for six columns, twelve are.
  CHECK(state.epochs == 3);
  CHECK(state.kept == 2);
  CHECK(std::isfinite(state.epsilon_A));
}

TEST_CASE("a state that overflows ends the run, not the program") {
  const auto plant = metalqr::Task<Plant>(Plant::StateMatrix(3 * Plant::identity_like(laplacian().A())),
                                          laplacian().B(), laplacian().Q(), laplacian().R());
  const Plant::Gain nothing = Plant::zero_gain(3, 3);
  const auto idle = [&](const Knowledge&, Stream&) { return nothing; };
  const Options options{.priming_steps = 20};
  State state = adaptive::start(plant, nothing, options, {.seed = 550});
  const auto result = adaptive::advance(plant, state, idle, options, 1000);
  CHECK(result.status == RunStatus::overflowed);
  CHECK(state.overflowed);
  // 3^t = 1e154 at t = 323, of which the square overflows.
  CHECK(state.step > 315);
  CHECK(state.step < 330);
  REQUIRE(result.regret.size() == 1000);
  CHECK(std::isfinite(result.regret[static_cast<std::size_t>(state.step - 1)]));
  CHECK(std::isinf(result.regret[static_cast<std::size_t>(state.step)]));
  CHECK(std::isinf(result.regret.back()));
  CHECK(std::isinf(state.regret.value));
  // And there it ends.
  const Index step = state.step;
  const auto further = adaptive::advance(plant, state, idle, options, 10);
  CHECK(further.status == RunStatus::overflowed);
  CHECK(further.regret == std::vector<double>(10, infinity));
  CHECK(state.step == step);
  // Under every strategy, whatever the last estimates and radii are.
  const auto check_survives = [&](const auto& strategy, const Options& own) {
    State primed = adaptive::start(plant, nothing, own, {.seed = 551});
    CHECK_FALSE(primed.overflowed);
    const auto stubborn = [&](const Knowledge& knowledge, Stream& stream) {
      strategy(knowledge, stream);
      return nothing;
    };
    CHECK(adaptive::advance(plant, primed, stubborn, own, 1000).status == RunStatus::overflowed);
  };
  Options own = options;
  check_survives(adaptive::CertaintyEquivalence{}, own);
  check_survives(adaptive::ThompsonSampling{}, own);
  check_survives(adaptive::Optimism{}, own);
  own.bound = [](const id::Estimate<Plant>& estimate) { return id::trajectory_bound(estimate); };
  check_survives(adaptive::ThompsonSampling{}, own);
  check_survives(adaptive::Optimism{}, own);
  // Before the run begins.
  State early = adaptive::start(plant, nothing, {.priming_steps = 1000}, {.seed = 552});
  CHECK(early.overflowed);
  CHECK(std::isinf(early.regret.value));
  CHECK(adaptive::advance(plant, early, idle, {}, 3).status == RunStatus::overflowed);
}

TEST_CASE("an unstable plant is stabilised by what its growth shows") {
  const auto A = test::state_matrix<Plant>(Dense{{1.5, 0.1, 0}, {0, -1.2, 0.1}, {0, 0, 0.5}});
  const metalqr::Task<Plant> plant(A, laplacian().B(), laplacian().Q(), laplacian().R());
  State state = adaptive::start(plant, Plant::zero_gain(3, 3), {.priming_steps = 30}, {.seed = 553});
  const auto result = adaptive::advance(plant, state, adaptive::CertaintyEquivalence{}, {}, 200);
  CHECK(result.status == RunStatus::completed);
  CHECK(adaptive::average_cost(plant, state.controller) < 1.1 * state.regret.optimal_cost);
}

TEST_CASE("bad input of a run is refused by name") {
  using Catch::Matchers::ContainsSubstring;
  const auto plant = laplacian();
  const adaptive::CertaintyEquivalence strategy;
  const auto options_message = [&](const Options& options) {
    State state = adaptive::start(plant, first_gain());
    CHECK_THROWS_AS(adaptive::advance(plant, state, strategy, options, 1), InvalidOption);
    return test::message_of<InvalidOption>([&] { adaptive::start(plant, first_gain(), options); });
  };
  for (const double bad : {-1.0, infinity, std::nan("")}) {
    CHECK_THAT(options_message({.ridge = bad}), ContainsSubstring("ridge"));
    CHECK_THAT(options_message({.priming_excitation = bad}), ContainsSubstring("priming_excitation"));
  }
  CHECK_THAT(options_message({.priming_steps = -1}), ContainsSubstring("priming_steps"));
  CHECK_THAT(options_message({.schedule = {.first = 0}}), ContainsSubstring("first"));
  CHECK_THAT(options_message({.schedule = adaptive::determinant_epochs(), .data = Data::epoch}),
             ContainsSubstring("data"));
  using Any = test::Backend;
  const auto dynamic = metalqr::systems::laplacian_3<Any>();
  CHECK_THAT(test::message_of<DimensionMismatch>([&] { adaptive::start(dynamic, Any::zero_gain(3, 2)); }),
             ContainsSubstring("K0"));
  Plant::Gain bad_gain = first_gain();
  bad_gain(1, 2) = infinity;
  CHECK_THAT(test::message_of<NotFinite>([&] { adaptive::start(plant, bad_gain); }), ContainsSubstring("K0"));

  const auto fresh = adaptive::start(dynamic, Any::zero_gain(3, 3));
  auto state = fresh;
  CHECK_THAT(test::message_of<InvalidOption>([&] { adaptive::advance(dynamic, state, strategy, {}, -1); }),
             ContainsSubstring("steps"));
  state.x = Any::zero_state(2);
  CHECK_THAT(test::message_of<DimensionMismatch>([&] { adaptive::advance(dynamic, state, strategy, {}, 1); }),
             ContainsSubstring("state.x"));
  state = fresh;
  state.x(0, 0) = std::nan("");
  CHECK_THAT(test::message_of<NotFinite>([&] { adaptive::advance(dynamic, state, strategy, {}, 1); }),
             ContainsSubstring("state.x"));
  state = fresh;
  state.controller = metalqr::synthesis::FirController<Any>();
  CHECK_THAT(test::message_of<DimensionMismatch>([&] { adaptive::advance(dynamic, state, strategy, {}, 1); }),
             ContainsSubstring("state.controller"));
  state = fresh;
  state.data = {3, 2};
  CHECK_THAT(test::message_of<DimensionMismatch>([&] { adaptive::advance(dynamic, state, strategy, {}, 1); }),
             ContainsSubstring("state.data"));
  state = fresh;
  const auto misshapen = [](const adaptive::Knowledge<Any>&, Stream&) { return Any::zero_gain(2, 3); };
  CHECK_THAT(
      test::message_of<DimensionMismatch>([&] { adaptive::advance(dynamic, state, misshapen, {}, 1); }),
      ContainsSubstring("strategy"));
}

TEST_CASE("endings have names") {
  CHECK(std::string(to_string(RunStatus::completed)) == "completed");
  CHECK(std::string(to_string(RunStatus::stopped)) == "stopped");
  CHECK(std::string(to_string(RunStatus::overflowed)) == "overflowed");
}
