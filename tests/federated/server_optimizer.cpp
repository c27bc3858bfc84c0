#include <metalqr/federated/server_optimizer.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <vector>

#include "support.hpp"

namespace {

namespace fed = metalqr::federated;
using metalqr::DimensionMismatch;
using metalqr::InvalidOption;
using metalqr::NotFinite;
using test::Backend;
using test::Dense;
using test::Index;
using Fixed = metalqr::EigenBackend<double, 4, 2>;
using Gain = Backend::Gain;
using State = fed::OptimizerState<Backend>;

const double infinity = std::numeric_limits<double>::infinity();
const double not_a_number = std::numeric_limits<double>::quiet_NaN();

/// Follows each direction at once.
struct Own {
  template <class AnyBackend>
  typename AnyBackend::Gain operator()(fed::OptimizerState<AnyBackend>& state,
                                       const std::type_identity_t<typename AnyBackend::Gain>& direction,
                                       double /*step*/) const {
    state.first = direction;
    return direction;
  }
};

static_assert(fed::ServerOptimizer<fed::PlainStep, Backend>);
static_assert(fed::ServerOptimizer<fed::Momentum, Fixed>);
static_assert(fed::ServerOptimizer<fed::Adam, Backend>);
static_assert(fed::ServerOptimizer<Own, Backend>);
static_assert(!fed::ServerOptimizer<int, Backend>);

Gain row(const std::vector<double>& entries) {
  Gain X = Backend::zero_gain(1, static_cast<Index>(entries.size()));
  for (std::size_t j = 0; j < entries.size(); ++j) X(0, static_cast<Index>(j)) = entries[j];
  return X;
}

/// The changes for directions taken one after the other.
template <class AnyBackend = Backend, class Optimizer>
std::vector<Dense> changes(const Optimizer& optimizer, const std::vector<Dense>& directions, double step) {
  fed::OptimizerState<AnyBackend> state;
  std::vector<Dense> result;
  for (const Dense& direction : directions) {
    result.push_back(test::dense<AnyBackend>(
        fed::advance<AnyBackend>(optimizer, state, test::gain<AnyBackend>(direction), step)));
  }
  return result;
}

std::vector<Dense> random_directions(int count, std::uint64_t seed) {
  metalqr::Stream stream = test::stream(seed);
  std::vector<Dense> directions;
  for (int t = 0; t < count; ++t) directions.push_back(test::rounded(test::random_matrix(2, 4, stream)));
  return directions;
}

void check_equal(const std::vector<Dense>& got, const std::vector<Dense>& want, double tolerance) {
  REQUIRE(got.size() == want.size());
  for (std::size_t t = 0; t < got.size(); ++t) CHECK(test::relative_error(got[t], want[t]) < tolerance);
}

}  // namespace

TEST_CASE("a plain step is the step size times the direction") {
  State state;
  CHECK(fed::advance<Backend>(fed::PlainStep{}, state, row({1, -2}), 0.5) == row({0.5, -1}));
  CHECK(fed::advance<Backend>(fed::PlainStep{}, state, row({3, 4}), 0.25) == row({0.75, 1}));
  CHECK(state.steps == 2);
  CHECK(state.first == row({0, 0}));
  CHECK(state.second == row({0, 0}));
}

TEST_CASE("three steps of momentum as on paper") {
  // M = (2, 4), then (1, 2) + (1, -2), then (1, 0) + (-3, 8).
  State state;
  const fed::Momentum half{.decay = 0.5};
  CHECK(fed::advance<Backend>(half, state, row({2, 4}), 0.25) == row({0.5, 1}));
  CHECK(fed::advance<Backend>(half, state, row({1, -2}), 0.25) == row({0.5, 0}));
  CHECK(fed::advance<Backend>(half, state, row({-3, 8}), 2) == row({-4, 16}));
  CHECK(state.steps == 3);
  CHECK(state.first == row({-2, 8}));
  CHECK(state.second == row({0, 0}));
}

TEST_CASE("three steps of Adam as on paper") {
  // decay 1/2, second decay 3/4, floor 1/2, step 2, directions 2, -1, 4:
  // M = 1, 0, 2; over 1 - decay^t = 1/2, 3/4, 7/8: 2, 0, 16/7.
  // V = 1, 3/4 + 1/4 = 1, 3/4 + 4 = 19/4; over 1 - second_decay^t = 1/4, 7/16, 37/64: 4, 16/7, 304/37.
  // Changes: 2 * 2/(2 + 1/2), 0, 2 * (16/7)/(sqrt(304/37) + 1/2).
  State state;
  const fed::Adam adam{.decay = 0.5, .second_decay = 0.75, .floor = 0.5};
  CHECK(fed::advance<Backend>(adam, state, row({2, 0}), 2)(0, 0) == Approx(1.6).epsilon(1e-14));
  CHECK(state.first == row({1, 0}));
  CHECK(state.second(0, 0) == Approx(1).epsilon(1e-15));
  CHECK(fed::advance<Backend>(adam, state, row({-1, 0}), 2) == row({0, 0}));
  const Gain third = fed::advance<Backend>(adam, state, row({4, 0}), 2);
  CHECK(third(0, 0) == Approx(32.0 / 7 / (std::sqrt(304.0 / 37) + 0.5)).epsilon(1e-14));
  CHECK(third(0, 1) == 0);
  CHECK(state.first == row({2, 0}));
  CHECK(state.second(0, 0) == Approx(std::sqrt(4.75)).epsilon(1e-14));
  CHECK(state.second(0, 1) == 0);
  CHECK(state.steps == 3);
}

TEMPLATE_TEST_CASE("Adam equals its algorithm in long double", "", Backend, Fixed) {
  const auto directions = random_directions(300, 1);
  const fed::Adam adam;
  Dense M(2, 4);
  Dense V(2, 4);
  std::vector<Dense> expected;
  for (std::size_t t = 0; t < directions.size(); ++t) {
    Dense change(2, 4);
    const auto time = static_cast<long double>(t + 1);
    for (std::size_t i = 0; i < 8; ++i) {
      const long double g = directions[t].entries[i];
      M.entries[i] = adam.decay * M.entries[i] + (1.0L - adam.decay) * g;
      V.entries[i] = adam.second_decay * V.entries[i] + (1.0L - adam.second_decay) * g * g;
      const long double mean = M.entries[i] / (1 - std::pow(static_cast<long double>(adam.decay), time));
      const long double square =
          V.entries[i] / (1 - std::pow(static_cast<long double>(adam.second_decay), time));
      change.entries[i] = 0.01L * mean / (std::sqrt(square) + adam.floor);
    }
    expected.push_back(change);
  }
  check_equal(changes<TestType>(adam, directions, 0.01), expected, 1e-12);
}

TEST_CASE(
    "momentum with a constant direction tends to step/(1 - decay) times it, and without decay is plain") {
  const std::vector<Dense> constant(400, Dense{{3, -1}});
  const auto steps = changes(fed::Momentum{}, constant, 0.01);
  CHECK(test::relative_error(steps.front(), Dense{{0.03, -0.01}}) < 1e-14);
  CHECK(test::relative_error(steps[1], 1.9L * steps[0]) < 1e-14);
  CHECK(test::relative_error(steps.back(), Dense{{0.3, -0.1}}) < 1e-14);
  const auto directions = random_directions(5, 2);
  const auto plain = changes(fed::PlainStep{}, directions, 0.3);
  const auto without = changes(fed::Momentum{.decay = 0}, directions, 0.3);
  for (std::size_t t = 0; t < 5; ++t) CHECK(without[t].entries == plain[t].entries);
}

TEST_CASE("plain steps and momentum scale with the directions, Adam without floor does not") {
  const auto directions = random_directions(50, 3);
  const auto scaled_by = [&](long double factor) {
    std::vector<Dense> result;
    for (const Dense& direction : directions) result.push_back(factor * direction);
    return result;
  };
  const auto times = [](long double factor, std::vector<Dense> list) {
    for (Dense& x : list) x = factor * x;
    return list;
  };
  const fed::Adam adam{.floor = 0};
  const auto expected = changes(adam, directions, 0.1);
  // Squares of these would over- and underflow.
  for (const long double factor : {1e-300L, 1e-3L, 1e6L, 1e300L}) {
    check_equal(changes(adam, scaled_by(factor), 0.1), expected, 1e-12);
  }
  check_equal(changes(adam, scaled_by(-1), 0.1), times(-1, expected), 1e-14);
  for (const long double factor : {1e-300L, 1e6L}) {
    check_equal(changes(fed::Momentum{}, scaled_by(factor), 0.1),
                times(factor, changes(fed::Momentum{}, directions, 0.1)), 1e-12);
    check_equal(changes(fed::PlainStep{}, scaled_by(factor), 0.1),
                times(factor, changes(fed::PlainStep{}, directions, 0.1)), 1e-12);
  }
  // All are proportional to the step size.
  check_equal(changes(fed::Adam{}, directions, 0.3), times(3, changes(fed::Adam{}, directions, 0.1)), 1e-14);
}

TEST_CASE("Adam's first step has the size of the step in every entry, and zeros stay") {
  const auto first = changes(fed::Adam{.floor = 0}, {Dense{{1e-9, -5, 3e7, 0}}}, 0.01).front();
  CHECK(test::relative_error(first, Dense{{0.01, -0.01, 0.01, 0}}) < 1e-14);
  // A floor of the direction's own size halves it.
  CHECK(test::relative_error(changes(fed::Adam{.floor = 5}, {Dense{{5}}}, 0.01).front(), Dense{{0.005}}) <
        1e-14);
}

TEST_CASE("continuing from a copy of the state gives the same bits") {
  const auto check = [](const auto& optimizer) {
    const auto directions = random_directions(20, 4);
    State state;
    State copy;
    for (std::size_t t = 0; t < 20; ++t) {
      // As from a file: the members alone.
      if (t == 7) copy = State{.first = state.first, .second = state.second, .steps = state.steps};
      const Gain direction = test::gain(directions[t]);
      const Gain change = fed::advance<Backend>(optimizer, state, direction, 0.1);
      if (t >= 7) CHECK(fed::advance<Backend>(optimizer, copy, direction, 0.1) == change);
    }
    CHECK(copy.first == state.first);
    CHECK(copy.second == state.second);
    CHECK(copy.steps == 20);
  };
  check(fed::PlainStep{});
  check(fed::Momentum{});
  check(fed::Adam{});
}

TEST_CASE("a fresh state holds nothing that was not written") {
  const fed::OptimizerState<Fixed> fixed;
  CHECK(fixed.first == Fixed::Gain::Zero());
  CHECK(fixed.second == Fixed::Gain::Zero());
  CHECK(fixed.steps == 0);
  const State dynamic;
  CHECK(dynamic.first.size() == 0);
  CHECK(dynamic.second.size() == 0);
}

TEST_CASE("the number of steps ends at the largest of its type") {
  State state{.first = row({1}), .second = row({1}), .steps = std::numeric_limits<int>::max()};
  // The bias is gone by then: (0.9 + 0.1)/1.
  CHECK(fed::advance<Backend>(fed::Adam{}, state, row({1}), 0.5)(0, 0) == Approx(0.5).epsilon(1e-7));
  CHECK(state.steps == std::numeric_limits<int>::max());
}

TEST_CASE("server optimisers work in float") {
  using Single = metalqr::EigenBackend<float>;
  const auto directions = random_directions(20, 5);
  check_equal(changes<Single>(fed::Adam{}, directions, 0.1), changes(fed::Adam{}, directions, 0.1), 1e-4);
  check_equal(changes<Single>(fed::Momentum{}, directions, 0.1), changes(fed::Momentum{}, directions, 0.1),
              1e-5);
}

TEST_CASE("an optimiser of one's own is driven like the library's") {
  State state;
  CHECK(fed::advance<Backend>(Own{}, state, row({1, 2}), 7) == row({1, 2}));
  CHECK(state.first == row({1, 2}));
  CHECK(state.steps == 1);
}

TEST_CASE("bad arguments of an optimiser are refused and leave the state as it was") {
  State state{.first = row({1, 2}), .second = row({3, 4}), .steps = 5};
  const auto advance = [&](const auto& optimizer, const Gain& direction, double step) {
    return [&, direction, step] { fed::advance<Backend>(optimizer, state, direction, step); };
  };
  const fed::PlainStep plain;
  const fed::Momentum momentum;
  const auto option = [&](const auto& optimizer) {
    return test::message_of<InvalidOption>(advance(optimizer, row({1, 1}), 0.1));
  };
  CHECK(option(fed::Momentum{.decay = 1}) == "decay: expected a number in [0, 1), got 1");
  CHECK(option(fed::Momentum{.decay = -0.1}) == "decay: expected a number in [0, 1), got -0.1");
  CHECK(option(fed::Adam{.decay = not_a_number}) == "decay: expected a number in [0, 1), got nan");
  CHECK(option(fed::Adam{.second_decay = 1}) == "second_decay: expected a number in [0, 1), got 1");
  CHECK(option(fed::Adam{.floor = -1}) == "floor: expected a finite number >= 0, got -1");
  CHECK(option(fed::Adam{.floor = infinity}) == "floor: expected a finite number >= 0, got inf");
  for (const double step : {0.0, -1.0, infinity, not_a_number}) {
    CHECK_THROWS_AS(advance(plain, row({1, 1}), step)(), InvalidOption);
  }
  CHECK(test::message_of<DimensionMismatch>(advance(momentum, row({1, 2, 3}), 0.1)) ==
        "state.first: expected shape 1x3, got 1x2");
  CHECK(test::message_of<DimensionMismatch>(advance(momentum, Gain(), 0.1)) ==
        "direction: expected at least one row and one column, got shape 0x0");
  CHECK(test::message_of<NotFinite>(advance(momentum, row({1, infinity}), 0.1)) ==
        "direction: expected finite entries, got inf at (0, 1)");
  // Finite arguments, but a step that is not.
  CHECK(test::message_of<NotFinite>(advance(plain, row({1e300, 0}), 1e300)) ==
        "change: expected finite entries, got inf at (0, 0)");
  CHECK(state.first == row({1, 2}));
  CHECK(state.second == row({3, 4}));
  CHECK(state.steps == 5);
  const auto continued = [&](const State& bad) {
    return [&momentum, bad] {
      State own = bad;
      fed::advance<Backend>(momentum, own, row({1, 2}), 0.1);
    };
  };
  CHECK(test::message_of<InvalidOption>(
            continued({.first = row({1, 2}), .second = row({1, 2}), .steps = -1})) ==
        "state.steps: expected a number >= 0, got -1");
  CHECK(
      test::message_of<DimensionMismatch>(continued({.first = row({1, 2}), .second = Gain(), .steps = 1})) ==
      "state.second: expected shape 1x2, got 0x0");
  CHECK(test::message_of<NotFinite>(
            continued({.first = row({1, not_a_number}), .second = row({1, 2}), .steps = 1})) ==
        "state.first: expected finite entries, got nan at (0, 1)");
  CHECK(test::message_of<NotFinite>(
            continued({.first = row({1, 2}), .second = row({infinity, 2}), .steps = 1})) ==
        "state.second: expected finite entries, got inf at (0, 0)");
}
