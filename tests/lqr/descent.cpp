#include <metalqr/lqr/descent.hpp>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include "support.hpp"

namespace {

using metalqr::Assessment;
using metalqr::Status;
using metalqr::StepSize;
using test::Backend;
using test::dense;
using test::Dense;
using test::Index;
using test::relative_error;
using Gain = Backend::Gain;
using Info = metalqr::DescentInfo<Backend>;
using Result = metalqr::DescentResult<Backend>;
using State = metalqr::DescentState<Backend>;

const double infinity = std::numeric_limits<double>::infinity();

/// Entries of a gain, stacked.
Dense stacked(const Gain& K) {
  Dense x(Backend::rows(K) * Backend::cols(K), 1);
  for (Index i = 0; i < x.rows; ++i) x(i, 0) = K(i / Backend::cols(K), i % Backend::cols(K));
  return x;
}

Gain unstacked(const Dense& x, Index rows, Index cols) {
  Gain K = Backend::zero_gain(rows, cols);
  for (Index i = 0; i < x.rows; ++i) K(i / cols, i % cols) = static_cast<double>(x(i, 0));
  return K;
}

/// 1 + <K - target, M (K - target)>/2 on 2 x 3 gains, of a given condition.
struct Quadratic {
  Dense M;
  Dense target;
  double tolerance = 1e-9;
  bool assessing = true;
  bool lost = false;
  std::function<bool(const Gain&)> allowed = [](const Gain&) { return true; };
  std::function<Gain(const Gain&)> scale = [](const Gain& G) { return G; };
  mutable int assessments = 0;
  int directions = 0;

  explicit Quadratic(double condition = 100) : M(6, 6), target(test::Dense{{1}, {2}, {-1}, {0}, {3}, {1}}) {
    metalqr::Stream stream = test::stream(77);
    const Dense v = test::random_matrix(6, 1, stream);
    const Dense U = test::identity(6) - (2 / inner(v, v)) * (v * transpose(v));
    Dense D(6, 6);
    for (Index i = 0; i < 6; ++i) D(i, i) = std::pow(condition, static_cast<double>(i) / 5);
    M = U * D * transpose(U);
  }

  double value(const Gain& K) const {
    const Dense x = stacked(K) - target;
    return 1 + 0.5 * static_cast<double>(inner(x, M * x));
  }

  // What a descent asks.
  bool needs_assessment() const { return assessing; }
  Assessment<double> assess(const Gain& K) const {
    ++assessments;
    return {value(K), allowed(K)};
  }
  Gain direction(const Gain& K, int /*iteration*/) {
    ++directions;
    return unstacked(M * (stacked(K) - target), 2, 3);
  }
  Gain scaled(const Gain& G) const { return scale(G); }
  bool is_lost() const { return lost; }
  bool is_small(const Gain& G, const Gain& /*K*/) const { return Backend::norm(G) <= tolerance; }
};

State start_state() {
  return {.K = Backend::zero_gain(2, 3)};
}

template <class Problem>
Result run(Problem& problem, const StepSize& step, int iterations, State& state) {
  metalqr::NoObserver observer;
  return metalqr::descend(state, problem, step, iterations, observer);
}
template <class Problem>
Result run(Problem& problem, const StepSize& step, int iterations) {
  State state = start_state();
  return run(problem, step, iterations, state);
}

bool same(const Gain& x, const Gain& y) {
  return relative_error(dense(x), dense(y)) == 0;
}

const std::vector<StepSize>& rules() {
  static const std::vector<StepSize> all{metalqr::constant_step(0.015), metalqr::backtracking(),
                                         metalqr::quasi_newton()};
  return all;
}

}  // namespace

TEST_CASE("every rule finds the minimum of a quadratic") {
  for (const StepSize& step : rules()) {
    Quadratic problem;
    State state = start_state();
    const Result result = run(problem, step, 5000, state);
    CHECK(result.status == Status::converged);
    // |K - target| <= |G| / smallest eigenvalue, which is 1; a converged fall is lost in rounding of the
    // value.
    CHECK(norm(stacked(result.gain) - problem.target) < 1e-6);
    CHECK(result.iterations == state.iteration);
    CHECK(result.refused == state.refused);
    CHECK(result.value == problem.value(result.gain));
    CHECK(same(result.gain, state.K));
  }
}

TEST_CASE("constant steps are K - t G, bit by bit, and are not assessed unless the problem asks") {
  Quadratic problem;
  problem.assessing = false;
  const Result result = run(problem, metalqr::constant_step(0.01), 25);
  Quadratic same_problem;
  Gain K = Backend::zero_gain(2, 3);
  for (int i = 0; i < 25; ++i) {
    const Gain G = same_problem.direction(K, i);
    K = K - 0.01 * G;
  }
  CHECK(same(result.gain, K));
  CHECK(problem.assessments == 0);
  CHECK(problem.directions == 25);
  CHECK(result.iterations == 25);
  CHECK(result.status == Status::iteration_limit);
}

TEST_CASE("constant steps need not lower the value, but must be acceptable") {
  // 3 / largest eigenvalue: overshoots, the value rises.
  Quadratic free_problem;
  const Result risen = run(free_problem, metalqr::constant_step(0.03), 3);
  CHECK(risen.value > free_problem.value(Backend::zero_gain(2, 3)));
  CHECK(risen.refused == 0);
  // The same with a wall: halved until inside.
  Quadratic walled;
  walled.allowed = [](const Gain& K) { return Backend::norm(K) < 3; };
  State state = start_state();
  std::vector<double> steps;
  auto observer = [&](const Info& info) {
    CHECK(Backend::norm(info.state.K) < 3);
    CHECK(info.trials == 1 + static_cast<int>(std::lround(std::log2(0.03 / info.step))));
    steps.push_back(info.step);
  };
  const Result result = metalqr::descend(state, walled, metalqr::constant_step(0.03), 10, observer);
  CHECK(result.refused > 0);
  CHECK(*std::min_element(steps.begin(), steps.end()) < 0.03);
}

TEST_CASE("the value falls by Armijo's condition in each iteration of the other rules") {
  for (const StepSize& step : {metalqr::backtracking(), metalqr::backtracking(10), metalqr::quasi_newton()}) {
    Quadratic problem(1e3);
    State state = start_state();
    Gain last = state.K;
    auto observer = [&](const Info& info) {
      const Gain moved = last - info.state.K;
      const double fall = problem.value(last) - info.state.at.value;
      CHECK(info.step > 0);
      CHECK(info.state.at.value == problem.value(info.state.K));
      CHECK(fall >= step.sufficient_decrease * Backend::inner(moved, info.direction) * (1 - 1e-9));
      CHECK(fall > 0);
      last = info.state.K;
    };
    metalqr::descend(state, problem, step, 60, observer);
    CHECK(state.iteration >= 5);
  }
}

TEST_CASE("every assessment is counted among the trials, but that of the start") {
  for (const StepSize& step : rules()) {
    Quadratic problem(1e3);
    problem.allowed = [](const Gain& K) { return Backend::norm(K) < 3.5; };
    State state = start_state();
    int trials = 0;
    auto observer = [&](const Info& info) { trials += info.trials; };
    metalqr::descend(state, problem, step, 30, observer);
    CHECK(problem.assessments == trials + 1);
  }
}

TEST_CASE("the first trial without a given step is value / slope, later ones start from the last") {
  for (const StepSize& step : {metalqr::backtracking(), metalqr::quasi_newton()}) {
    Quadratic problem;
    State state = start_state();
    const Gain G = problem.direction(state.K, 0);
    const double first = problem.value(state.K) / Backend::inner(G, G);
    double taken = 0;
    auto observer = [&](const Info& info) {
      taken = info.step;
      CHECK(same(info.direction, G));
      return true;
    };
    metalqr::descend(state, problem, step, 5, observer);
    CHECK(same(state.K, Gain(Backend::zero_gain(2, 3) - taken * G)));
    // Where one trial did, the step is the first or longer; otherwise the first halved.
    CHECK(taken > 0);
    if (state.refused > 0) {
      const double halvings = std::log2(first / taken);
      CHECK(std::abs(halvings - state.refused) < 1.01);
    }
    CHECK(state.last_step == taken);
  }
  Quadratic problem;
  State state = start_state();
  double taken = 0;
  auto observer = [&](const Info& info) { taken = info.step; };
  metalqr::descend(state, problem, metalqr::backtracking(0.012), 1, observer);
  CHECK(state.refused == 0);
  CHECK(taken >= 0.012);
}

TEST_CASE("the quasi-Newton rule needs far fewer iterations than the gradient on a quadratic") {
  Quadratic slow(1e4);
  const Result gradient = run(slow, metalqr::backtracking(), 5000);
  Quadratic fast(1e4);
  const Result newton = run(fast, metalqr::quasi_newton(), 5000);
  CHECK(newton.status == Status::converged);
  CHECK(newton.iterations <= 60);
  CHECK(newton.iterations * 5 < gradient.iterations);
  CHECK(norm(stacked(newton.gain) - fast.target) < 1e-6);
}

TEST_CASE("pairs without positive curvature are not learned but counted") {
  State state = start_state();
  const Gain s = test::gain({{1, 0, 0}, {0, 0, 0}});
  Gain G = test::gain({{1, 1, 0}, {0, 0, 1}});
  metalqr::detail::learn_curvature(state, G, 30);
  CHECK(state.pairs.empty());
  CHECK(state.skipped_pairs == 0);
  // y = -s, y orthogonal to s, y = 0.
  for (const Gain& y : {Gain(-1.0 * s), test::gain({{0, 1, 0}, {0, 0, 0}}), Backend::zero_gain(2, 3)}) {
    state.K += s;
    G += y;
    metalqr::detail::learn_curvature(state, G, 30);
  }
  CHECK(state.pairs.empty());
  CHECK(state.skipped_pairs == 3);
  // No move, no pair, nothing to count.
  metalqr::detail::learn_curvature(state, G, 30);
  CHECK(state.skipped_pairs == 3);
  // y = 2 s.
  state.K += s;
  G += 2 * s;
  metalqr::detail::learn_curvature(state, G, 30);
  REQUIRE(state.pairs.size() == 1);
  CHECK(same(state.pairs[0].step, s));
  CHECK(same(state.pairs[0].change, Gain(2 * s)));
}

TEST_CASE("the memory keeps the newest pairs") {
  Quadratic problem(1e4);
  StepSize step = metalqr::quasi_newton();
  step.memory = 3;
  State state = start_state();
  std::vector<Gain> iterates{state.K};
  auto observer = [&](const Info& info) {
    CHECK(info.state.pairs.size() <= 3);
    iterates.push_back(info.state.K);
  };
  metalqr::descend(state, problem, step, 8, observer);
  REQUIRE(state.pairs.size() == 3);
  REQUIRE(iterates.size() == 9);
  // The last iterate's own pair is learned at the next iteration.
  CHECK(same(state.pairs[2].step, Gain(iterates[7] - iterates[6])));
  CHECK(same(state.pairs[0].step, Gain(iterates[5] - iterates[4])));
}

TEST_CASE("ten and ten more iterations from a copied state are twenty, bit by bit") {
  for (const StepSize& step : rules()) {
    Quadratic problem(1e4);
    problem.allowed = [](const Gain& K) { return Backend::norm(K) < 3.5; };
    State whole = start_state();
    const Result at_once = run(problem, step, 20, whole);
    State first = start_state();
    run(problem, step, 10, first);
    const State copy = first;
    run(problem, step, 5, first);
    State second = copy;
    const Result resumed = run(problem, step, 10, second);
    CHECK(same(resumed.gain, at_once.gain));
    CHECK(resumed.value == at_once.value);
    CHECK(resumed.iterations == 20);
    CHECK(resumed.refused == at_once.refused);
    CHECK(second.last_step == whole.last_step);
    CHECK(second.pairs.size() == whole.pairs.size());
  }
}

TEST_CASE("zero iterations leave the start, assessed") {
  for (const StepSize& step : rules()) {
    Quadratic problem;
    const Result result = run(problem, step, 0);
    CHECK(same(result.gain, Backend::zero_gain(2, 3)));
    CHECK(result.iterations == 0);
    CHECK(result.value == problem.value(result.gain));
    CHECK(result.status == Status::iteration_limit);
    CHECK(problem.directions == 0);
  }
}

TEST_CASE("an observer may return nothing, or true to stop, and sees every iteration once") {
  Quadratic problem;
  State state = start_state();
  int calls = 0;
  auto counting = [&](const Info& info) {
    ++calls;
    CHECK(info.state.iteration == calls);
  };
  metalqr::descend(state, problem, metalqr::backtracking(), 7, counting);
  CHECK(calls == 7);
  auto stopping = [&](const Info& info) { return info.state.iteration == 9; };
  const Result result = metalqr::descend(state, problem, metalqr::backtracking(), 7, stopping);
  CHECK(result.status == Status::stopped);
  CHECK(result.iterations == 9);
}

TEST_CASE("a descent ends as stalled after three iterations without an acceptable trial") {
  for (const StepSize& step : {metalqr::backtracking(), metalqr::quasi_newton()}) {
    Quadratic problem;
    problem.allowed = [](const Gain&) { return false; };
    State state = start_state();
    int failures = 0;
    auto observer = [&](const Info& info) {
      ++failures;
      CHECK(info.step == 0);
      CHECK(info.trials == step.max_trials);
    };
    const Result result = metalqr::descend(state, problem, step, 100, observer);
    CHECK(result.status == Status::stalled);
    CHECK(failures == 3);
    CHECK(result.refused == 3 * step.max_trials);
    CHECK(same(result.gain, Backend::zero_gain(2, 3)));
    // Nor does it go on from the state that it ended in.
    CHECK(metalqr::descend(state, problem, step, 100, observer).status == Status::stalled);
    CHECK(failures == 3);
    CHECK(state.iteration == 3);
  }
}

TEST_CASE("a value that is NaN or infinite is never taken") {
  for (const double bad : {std::numeric_limits<double>::quiet_NaN(), infinity}) {
    for (const StepSize& step : {metalqr::backtracking(), metalqr::quasi_newton()}) {
      struct Broken : Quadratic {
        double bad = 0;
        Assessment<double> assess(const Gain& K) const {
          const Assessment<double> honest = Quadratic::assess(K);
          return Backend::norm(K) > 2 ? Assessment<double>{bad, true} : honest;
        }
      };
      Broken problem;
      problem.bad = bad;
      const Result result = run(problem, step, 50);
      CHECK(std::isfinite(result.value));
      CHECK(Backend::norm(result.gain) <= 2);
      CHECK(result.value <= problem.value(Backend::zero_gain(2, 3)));
    }
  }
}

TEST_CASE("a scaled direction is followed, and the gradient where it leads uphill") {
  Quadratic problem;
  // Newton's direction: one step.
  problem.scale = [&](const Gain& G) { return unstacked(solve(problem.M, stacked(G)), 2, 3); };
  const Result newton = run(problem, metalqr::constant_step(1), 5);
  CHECK(newton.status == Status::converged);
  CHECK(newton.iterations == 1);
  CHECK(norm(stacked(newton.gain) - problem.target) < 1e-12);
  Quadratic uphill;
  uphill.scale = [](const Gain& G) { return Gain(-1.0 * G); };
  const Result result = run(uphill, metalqr::backtracking(), 2000);
  CHECK(result.status == Status::converged);
  CHECK(norm(stacked(result.gain) - uphill.target) < 1e-6);
}

TEST_CASE("an iteration whose direction is lost is skipped, and the run goes on") {
  struct SometimesLost : Quadratic {
    std::vector<int> lost_at;
    Gain direction(const Gain& K, int iteration) {
      lost = std::find(lost_at.begin(), lost_at.end(), iteration) != lost_at.end();
      return lost ? Backend::zero_gain(2, 3) : Quadratic::direction(K, iteration);
    }
  };
  for (const StepSize& step : rules()) {
    SometimesLost problem;
    problem.lost_at = {0, 3, 4, 9};
    State state = start_state();
    Gain last = state.K;
    auto observer = [&](const Info& info) {
      const int iteration = info.state.iteration - 1;
      const bool lost =
          std::find(problem.lost_at.begin(), problem.lost_at.end(), iteration) != problem.lost_at.end();
      CHECK((info.step == 0) == lost);
      CHECK((info.trials == 0) == lost);
      CHECK(same(info.state.K, last) == lost);
      last = info.state.K;
    };
    const Result result = metalqr::descend(state, problem, step, 5000, observer);
    CHECK(result.status == Status::converged);
    CHECK(norm(stacked(result.gain) - problem.target) < 1e-6);
  }
}

TEST_CASE(
    "a run that loses its direction for good ends as stalled, or as unstable where K was not assessed") {
  for (const StepSize& step : {metalqr::backtracking(), metalqr::quasi_newton()}) {
    Quadratic problem;
    problem.lost = true;
    const Result result = run(problem, step, 50);
    CHECK(result.status == Status::stalled);
    CHECK(result.iterations == 3);
    CHECK(same(result.gain, Backend::zero_gain(2, 3)));
  }
  Quadratic unguarded;
  unguarded.assessing = false;
  unguarded.lost = true;
  const Result result = run(unguarded, metalqr::constant_step(0.01), 50);
  CHECK(result.status == Status::unstable);
  CHECK(result.iterations == 0);
  CHECK(same(result.gain, Backend::zero_gain(2, 3)));
}

TEST_CASE("a bad step rule is refused before anything is asked") {
  Quadratic problem;
  CHECK_THROWS_AS(run(problem, metalqr::constant_step(-1), 5), metalqr::InvalidOption);
  CHECK(problem.directions == 0);
  CHECK(problem.assessments == 0);
}
