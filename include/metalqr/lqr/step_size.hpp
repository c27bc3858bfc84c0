#pragma once

/// @file
/// Step rules of descent methods on a gain.

#include <cmath>

#include <metalqr/core/error.hpp>

namespace metalqr::inline METALQR_ABI {

/// How far to go along a descent direction.
enum class StepRule {
  constant,      ///< a fixed multiple of the direction, as in the papers
  backtracking,  ///< Armijo: halved until the objective falls enough
  quasi_newton   ///< direction by limited-memory BFGS, then backtracking from step one
};

/// Settings of a step rule; make one with `constant_step`, `backtracking` or `quasi_newton`, or by hand.
struct StepSize {
  StepRule rule = StepRule::backtracking;  ///< kind
  /// First step: the step itself for `constant`; for the others the first trial of the run, where 0 stands
  /// for J/|G|_F^2, which needs no knowledge of the problem's scale (|K|_F/|G|_F where J is not positive).
  double initial = 0;
  double shrink = 0.5;                ///< factor after a refused trial, in (0, 1)
  double grow = 2;                    ///< factor on the last accepted step before the next first trial, >= 1
  double sufficient_decrease = 1e-4;  ///< Armijo's constant, in [0, 1)
  int max_trials = 30;                ///< trials a step before the run ends as stalled
  int memory = 30;                    ///< pairs that the quasi-Newton rule keeps
};

/// The papers' rule: K - step * direction.
inline StepSize constant_step(double step) {
  return {.rule = StepRule::constant, .initial = step};
}
/// Armijo backtracking; `initial` as in `StepSize`.
inline StepSize backtracking(double initial = 0) {
  return {.rule = StepRule::backtracking, .initial = initial};
}
/// Limited-memory BFGS with backtracking; `initial` as in `StepSize`.
inline StepSize quasi_newton(double initial = 0) {
  return {.rule = StepRule::quasi_newton, .initial = initial};
}

/// Throws `InvalidOption` naming the first field that is out of its range.
inline void validate(const StepSize& step) {
  const bool constant = step.rule == StepRule::constant;
  detail::require_option(std::isfinite(step.initial) && (constant ? step.initial > 0 : step.initial >= 0),
                         "step.initial", step.initial,
                         constant ? "a positive step size" : "a positive step size, or 0 for automatic");
  detail::require_option(step.shrink > 0 && step.shrink < 1, "step.shrink", step.shrink,
                         "a number in (0, 1)");
  detail::require_option(std::isfinite(step.grow) && step.grow >= 1, "step.grow", step.grow, "a number >= 1");
  detail::require_option(step.sufficient_decrease >= 0 && step.sufficient_decrease < 1,
                         "step.sufficient_decrease", step.sufficient_decrease, "a number in [0, 1)");
  detail::require_option(step.max_trials >= 1, "step.max_trials", step.max_trials, "at least 1");
  detail::require_option(step.memory >= 1, "step.memory", step.memory, "at least 1");
}

}  // namespace metalqr::inline METALQR_ABI
