// Gradients, one gain at a time and one in each lane, and Hessians, where the compiler knows the sizes.

#include <metalqr/lqr/batch.hpp>
#include <metalqr/lqr/evaluation.hpp>

#include "rows.hpp"
#include "sized.hpp"

namespace benchmarks {

namespace {

using Gain = Sized::Gain;

/// Spoils the row unless all costs are right and all gradients those of an `Evaluation`.
void require_all(benchmark::State& state, const metalqr::Task<Sized>& task, const std::vector<Gain>& gains,
                 const std::vector<metalqr::CostAndGradient<Sized>>& found) {
  std::vector<double> costs;
  for (const auto& each : found) costs.push_back(each.cost);
  require_costs(state, costs, gain_problem(size));
  double worst = 0;
  for (std::size_t i = 0; i < gains.size(); ++i) {
    const metalqr::Evaluation at{task, gains[i]};
    const Gain error = found[i].gradient - at.gradient();
    const double relative = Sized::norm(error) / at.gradient_scale();
    if (!(relative <= worst)) worst = relative;
  }
  if (!(worst < 1e-9)) state.SkipWithError("the gradients are wrong");
}

/// Times `evaluate(at)` on an `Evaluation` at each gain.
template <class Evaluate>
void run_evaluations(benchmark::State& state, double operations, const Evaluate& evaluate) {
  const GainProblem& problem = gain_problem(size);
  const auto task = converted<Sized>(problem.task);
  const auto gains = converted<Sized>(problem.gains);
  std::vector<double> costs(gains.size());
  std::vector<Gain> found(gains.size());
  for (auto _ : state) {
    for (std::size_t i = 0; i < gains.size(); ++i) {
      const metalqr::Evaluation at{task, gains[i]};
      costs[i] = at.cost();
      found[i] = evaluate(at);
    }
    benchmark::DoNotOptimize(found.data());
    benchmark::ClobberMemory();
  }
  require_costs(state, costs, problem);
  set_rates(state, gains.size(), operations);
}

void run_gradients(benchmark::State& state) {
  const GainProblem& problem = gain_problem(size);
  const auto task = converted<Sized>(problem.task);
  const auto gains = converted<Sized>(problem.gains);
  std::vector<metalqr::CostAndGradient<Sized>> found(gains.size());
  for (auto _ : state) {
    for (std::size_t i = 0; i < gains.size(); ++i) found[i] = metalqr::cost_and_gradient(task, gains[i]);
    benchmark::DoNotOptimize(found.data());
    benchmark::ClobberMemory();
  }
  require_all(state, task, gains, found);
  set_rates(state, gains.size(), gradient_operations(size, problem.doublings));
}

/// H[X] along one X.
void run_hessians(benchmark::State& state) {
  const Gain X(gain_problem(size).gains.front());
  run_evaluations(state, hessian_operations(size, gain_problem(size).doublings),
                  [&X](const metalqr::Evaluation<Sized>& at) { return at.hessian(X); });
}

void run_gradients_in_lanes(benchmark::State& state) {
  const GainProblem& problem = gain_problem(size);
  const auto task = converted<Sized>(problem.task);
  const auto gains = converted<Sized>(problem.gains);
  auto found = metalqr::gradients(task, gains, 1);
  for (auto _ : state) {
    found = metalqr::gradients(task, gains, 1);
    benchmark::DoNotOptimize(found.data());
    benchmark::ClobberMemory();
  }
  require_all(state, task, gains, found);
  set_rates(state, gains.size(), gradient_operations(size, problem.doublings));
}

[[maybe_unused]] const bool registered = [] {
  add("gradient/lanes/" + text(size), run_gradients_in_lanes);
  add("gradient/scalar/" + text(size), run_gradients);
  add("hessian/" + text(size), run_hessians);
  return true;
}();

}  // namespace

}  // namespace benchmarks
