#pragma once

/// @file
/// What meta-training can be told, and its presets.

#include <cmath>
#include <cstdint>

#include <metalqr/lqr/step_size.hpp>
#include <metalqr/zeroth_order/gradient.hpp>

namespace metalqr::inline METALQR_ABI::meta {

/// The direction that meta-training descends along; K_i stands for the inner point K - eta_l g_i(K) of task
/// i.
enum class Order {
  average,  ///< mean of g_i(K): plain policy gradient on the average cost, no inner step
  first,    ///< mean of g_i(K_i): first-order MAML
  second,   ///< mean of (I - eta_l H_i(K)) [g_i(K_i)]: the gradient of the MAML objective
  printed,  ///< mean of (I - eta_l Hhat_i) g_i(K_i) with the n_u x n_u matrix of algorithm 2 as printed
  reptile   ///< mean of (K - K_i)/(eta_l * inner_steps): Reptile (Nichol, Achiam, Schulman 2018)
};

/// The enumerator's name.
constexpr const char* to_string(Order order) {
  switch (order) {
    case Order::average:
      return "average";
    case Order::first:
      return "first";
    case Order::second:
      return "second";
    case Order::printed:
      return "printed";
    case Order::reptile:
      return "reptile";
  }
  return "unknown";
}

/// Options of meta-training. The defaults are the recommended preset: first-order MAML on orthonormal blocks
/// with a checked inner step, quasi-Newton outer steps and the stability guard.
struct Options {
  Order order = Order::first;  ///< direction
  int iterations = 100;        ///< cap on outer iterations
  int inner_steps = 1;         ///< inner steps before the outer gradient
  /// eta_l; 0: found by backtracking, and kept from one iteration to the next.
  double inner_step = 0;
  /// Check each inner step with a cost call: it is halved, and counted, until the cost falls by eta_l
  /// |g_i|^2/2.
  bool check_inner_step = true;
  StepSize outer = quasi_newton();  ///< outer step rule, judged on the mean cost of the tasks
  /// How derivatives are estimated; not used with models. Training needs no error bars.
  zeroth_order::EstimatorOptions estimator{.check_direction = false};
  bool repeat_base_cost = false;  ///< `printed` only: call J(K) anew for each sample, as published
  /// Accept a gain only if J_i(K) <= J_i(K0) for every task, and halve the step otherwise. It is as good as
  /// the oracles: rollouts over a few steps have a finite cost at unstable gains too (see `RolloutCost`).
  bool guard = true;
  double tolerance = 1e-5;  ///< ends when the direction's norm is below this times the first one's; 0: never
  std::uint64_t seed = 0;   ///< of every random stream
  int threads = 0;          ///< at most so many; 0 leaves it to OpenMP
};

/// The published setting (Toso et al., L4DC 2024, and the authors' notebooks): algorithm 3 with the
/// estimators of algorithm 2, eta = eta_l = 0.8e-5, r = 0.01, m = 20, 200 iterations, no guard. Over
/// 1000 seeds an iterate lost a task in 5 % of the runs with the initial states of the code and in 50 % with
/// N(0, I/4), and some probe was unstable in 28 % and 68 %. It takes 240 000 oracle calls for ten tasks.
inline Options published() {
  return {.order = Order::printed,
          .iterations = 200,
          .inner_step = 0.8e-5,
          .check_inner_step = false,
          .outer = constant_step(0.8e-5),
          .estimator = {.directions = zeroth_order::Directions::sphere,
                        .samples = 20,
                        .radius = 0.01,
                        .unstable = zeroth_order::Unstable::drop,
                        .shared_directions = true},
          .repeat_base_cost = true,
          .guard = false,
          .tolerance = 0};
}

/// The published setting made safe: with the stability guard, and with perturbations that are shrunk where
/// they destabilise.
inline Options published_guarded() {
  Options options = published();
  options.guard = true;
  options.estimator.unstable = zeroth_order::Unstable::shrink;
  return options;
}

/// The recommended setting, which is the default.
inline Options recommended() {
  return {};
}

/// Throws `InvalidOption` naming the first field out of its range.
inline void validate(const Options& options) {
  using metalqr::detail::require_option;
  require_option(options.iterations >= 0, "iterations", options.iterations, "a number >= 0");
  require_option(options.inner_steps >= 1, "inner_steps", options.inner_steps, "at least 1");
  require_option(options.inner_step >= 0 && std::isfinite(options.inner_step), "inner_step",
                 options.inner_step, "a positive step size, or 0 for automatic");
  if (options.order != Order::average) {
    require_option(options.inner_step > 0 || options.check_inner_step, "inner_step", options.inner_step,
                   "a positive step size where check_inner_step is off");
  }
  if (options.order == Order::printed) {
    require_option(options.inner_step > 0, "inner_step", options.inner_step,
                   "a positive step size for Order::printed");
    require_option(options.inner_steps == 1, "inner_steps", options.inner_steps, "1 for Order::printed");
    require_option(!options.check_inner_step, "check_inner_step", 1, "false for Order::printed");
  }
  require_option(options.tolerance >= 0 && std::isfinite(options.tolerance), "tolerance", options.tolerance,
                 "a finite number >= 0");
  require_option(options.threads >= 0, "threads", options.threads, "a number >= 0");
  validate(options.outer);
  zeroth_order::validate(options.estimator);
}

}  // namespace metalqr::inline METALQR_ABI::meta
