#include <metalqr/meta/initial_gain.hpp>

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include <metalqr/systems/plants.hpp>
#include <metalqr/systems/random_task.hpp>

#include "support.hpp"

namespace {

namespace meta = metalqr::meta;
using test::Backend;
using test::Index;
using Gain = Backend::Gain;
using Task = metalqr::Task<Backend>;
using Plant = std::function<double(const Gain&, double)>;

/// The discounted cost by its own arithmetic: sqrt(discount) scales A and B. Counts its calls.
Plant plant(const Task& task, Index& calls) {
  return [&task, &calls](const Gain& K, double discount) {
    ++calls;
    const double root = std::sqrt(discount);
    return cost(Task(task.A() * root, task.B() * root, task.Q(), task.R(), task.Sigma0()), K);
  };
}

metalqr::InitialGain<Backend> find(const Plant& oracle, const Gain& start,
                                   const metalqr::AnnealingOptions& annealing = {},
                                   const meta::AdaptOptions& options = {.iterations = 5,
                                                                        .step = metalqr::quasi_newton()}) {
  return meta::find_initial_gain<Backend>(oracle, start, annealing, options);
}

}  // namespace

TEST_CASE("a gain that stabilises the modified Boeing plant is found from zero within 1000 cost calls") {
  const Task task = metalqr::systems::modified_boeing<Backend>();
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    Index calls = 0;
    const auto found = find(plant(task, calls), Backend::zero_gain(2, 4), {},
                            {.iterations = 5, .step = metalqr::quasi_newton(), .seed = seed});
    CHECK(is_stabilizing(task, found.gain));
    CHECK(found.rounds > 0);
    // sqrt(first discount) times rho(A) = 4.70 is below one.
    CHECK(std::sqrt(found.first_discount) * 4.71 < 1);
    CAPTURE(calls, found.rounds);
    CHECK(calls < 1000);
  }
}

TEST_CASE("a stabilising gain is found for 20 random unstable plants within 1000 cost calls each") {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const double rho = 1.05 + 0.1 * static_cast<double>(seed);
    const Task task = metalqr::systems::random_task<Backend>(
        {.states = 2 + static_cast<Index>(seed % 3), .inputs = 2, .spectral_radius = rho}, seed);
    const Gain zero = Backend::zero_gain(2, task.nx());
    REQUIRE_FALSE(is_stabilizing(task, zero));
    Index calls = 0;
    const auto found = find(plant(task, calls), zero);
    INFO("seed " << seed << ", rho " << rho << ", " << calls << " calls, " << found.rounds << " rounds");
    CHECK(is_stabilizing(task, found.gain));
    CHECK(calls < 1000);
  }
}

TEST_CASE("a start that stabilises already is kept or improved in one round") {
  const Task task = metalqr::systems::modified_boeing<Backend>();
  const Gain K0 = metalqr::systems::modified_boeing_initial_gain<Backend>();
  Index calls = 0;
  const auto found = find(plant(task, calls), K0);
  CHECK(found.first_discount == 1);
  CHECK(cost(task, found.gain) <= cost(task, K0));
}

TEST_CASE("a plant without input has no stabilising gain") {
  const Task boeing = metalqr::systems::modified_boeing<Backend>();
  const Task task(boeing.A(), Backend::zero_input_matrix(4, 2), boeing.Q(), boeing.R(), boeing.Sigma0());
  Index calls = 0;
  CHECK_THROWS_AS(find(plant(task, calls), Backend::zero_gain(2, 4)), metalqr::NotStabilizable);
  CHECK(calls < 200000);
}

TEST_CASE("oracles with a key work too, and may be random: rollouts from 20 random starts a call") {
  const Task task = metalqr::systems::modified_boeing<Backend>();
  const auto oracle = [&task](const Gain& K, double discount, const metalqr::StreamKey& key) {
    metalqr::Stream stream(key.with_purpose(metalqr::Purpose::initial_state));
    Backend::StateMatrix moment = Backend::zero_state_matrix(4);
    for (int start = 0; start < 20; ++start) {
      Backend::StateVector x = Backend::zero_state(4);
      for (Index i = 0; i < 4; ++i) x(i, 0) = stream.normal();
      moment += Backend::product_transpose(x, x);
    }
    return cost(task.with_discount(discount), K, moment / 20.0);
  };
  for (std::uint64_t seed = 0; seed < 3; ++seed) {
    const auto found =
        meta::find_initial_gain<Backend>(oracle, Backend::zero_gain(2, 4), {},
                                         {.iterations = 5, .step = metalqr::quasi_newton(), .seed = seed});
    CHECK(is_stabilizing(task, found.gain));
  }
}

TEST_CASE("NaN from the user's simulator counts as an infinite cost") {
  const Task task = metalqr::systems::modified_boeing<Backend>();
  Index calls = 0;
  const Plant clean = plant(task, calls);
  const auto found = find(
      [&clean](const Gain& K, double discount) {
        const double value = clean(K, discount);
        return value < std::numeric_limits<double>::infinity() ? value : std::nan("");
      },
      Backend::zero_gain(2, 4));
  CHECK(is_stabilizing(task, found.gain));
}

TEST_CASE("bad starts and options of the search are refused by name") {
  const Task task = metalqr::systems::modified_boeing<Backend>();
  Index calls = 0;
  const Plant oracle = plant(task, calls);
  const Gain zero = Backend::zero_gain(2, 4);
  Gain bad = zero;
  bad(1, 1) = std::nan("");
  CHECK_THAT(test::message_of<metalqr::NotFinite>([&] { find(oracle, bad); }),
             Catch::Matchers::ContainsSubstring("start"));
  const auto refusal = [&](const metalqr::AnnealingOptions& annealing) {
    return test::message_of<metalqr::InvalidOption>([&] { find(oracle, zero, annealing); });
  };
  CHECK(refusal({.first_discount = 2}).rfind("first_discount: ", 0) == 0);
  CHECK(refusal({.cost_growth = 1}).rfind("cost_growth: ", 0) == 0);
  CHECK(refusal({.bisections = 0}).rfind("bisections: ", 0) == 0);
  CHECK(refusal({.max_rounds = 0}).rfind("max_rounds: ", 0) == 0);
  CHECK_THROWS_AS(find(oracle, zero, {.first_discount = 0.9}), metalqr::NotStabilizable);
  CHECK_THROWS_AS(find(oracle, zero, {.max_rounds = 1}), metalqr::NotStabilizable);
}

TEST_CASE(
    "a random oracle that contradicts itself about stability, and a start without entries, are errors") {
  const Task task = metalqr::systems::modified_boeing<Backend>();
  const metalqr::StreamKey asked_first = metalqr::StreamKey{}.child(0);
  const auto fickle = [&](const Gain& K, double discount, const metalqr::StreamKey& key) {
    return key.seed == asked_first.seed ? cost(task.with_discount(discount), K)
                                        : std::numeric_limits<double>::infinity();
  };
  CHECK_THROWS_AS(meta::find_initial_gain<Backend>(fickle, Backend::zero_gain(2, 4)),
                  metalqr::NotStabilizing);
  CHECK_THAT(test::message_of<metalqr::DimensionMismatch>(
                 [&] { meta::find_initial_gain<Backend>(fickle, Backend::zero_gain(0, 0)); }),
             Catch::Matchers::ContainsSubstring("start: expected at least one row"));
}
