#pragma once

/// @file
/// A first stabilising gain, by annealing a discount.

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <type_traits>

#include <metalqr/lqr/evaluation.hpp>
#include <metalqr/lqr/policy_gradient.hpp>

namespace metalqr::inline METALQR_ABI {

/// Options of discount annealing.
struct AnnealingOptions {
  double first_discount = 0;  ///< in (0, 1]; 0: halved from 1 until the cost at the start gain is finite
  double cost_growth = 4;     ///< the discount rises until the cost has grown by this factor, > 1
  int bisections = 20;        ///< cost calls a rise may take
  int max_rounds = 1000;      ///< cap on rises of the discount
};

/// The result of discount annealing.
template <MatrixBackend Backend>
struct InitialGain {
  typename Backend::Gain gain;  ///< stabilises the undiscounted plant
  int rounds = 0;               ///< rises of the discount
  double first_discount = 0;    ///< where it started
};

/// Anneals a discount from a small value, at which any gain has a finite cost, to 1 (Perdomo, Umenberger,
/// Simchowitz, "Stabilizing dynamical systems via policy gradient methods", NeurIPS 2021, with the next
/// discount found by bisection on the cost). Model-free: it only calls `cost(K, discount)` -> number,
/// +infinity if sum discount^t (x'Qx + u'Ru) diverges, and `improve(K, discount)` -> a gain of lower
/// discounted cost.
/// @throws NotStabilizable if 1 is not reached within `max_rounds`, no discount above 1e-12 has a finite
/// cost, or `improve` returns a gain of infinite cost; InvalidOption.
template <MatrixBackend Backend, class Cost, class Improve>
InitialGain<Backend> anneal_discount(const std::type_identity_t<typename Backend::Gain>& start,
                                     const Cost& cost, const Improve& improve,
                                     const AnnealingOptions& options = {}) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  detail::require_option(options.first_discount >= 0 && options.first_discount <= 1, "first_discount",
                         options.first_discount, "a number in (0, 1], or 0 for automatic");
  detail::require_option(options.cost_growth > 1 && options.cost_growth < infinity, "cost_growth",
                         options.cost_growth, "a finite number > 1");
  detail::require_option(options.bisections >= 1, "bisections", options.bisections, "at least 1");
  detail::require_option(options.max_rounds >= 1, "max_rounds", options.max_rounds, "at least 1");
  typename Backend::Gain K = start;
  double discount = options.first_discount > 0 ? options.first_discount : 1.0;
  while (!(cost(K, discount) < infinity)) {
    if (options.first_discount > 0 || discount < 1e-12) {
      throw NotStabilizable(
          "first_discount: expected a discount at which the start gain has a finite cost, got " +
          detail::text(discount));
    }
    discount = discount / 2;
  }
  const double first = discount;
  const auto require_finite_cost = [&](double at) {
    const double value = static_cast<double>(cost(K, at));
    if (value < infinity) return value;
    throw NotStabilizable("improve: expected a gain of finite cost at discount " + detail::text(at) +
                          ", got cost " + detail::text(value));
  };
  for (int round = 0;; ++round) {
    if (discount == 1) return {K, round, first};
    if (round == options.max_rounds) break;
    K = improve(K, discount);
    const double limit =
        std::min(options.cost_growth * require_finite_cost(discount), std::numeric_limits<double>::max());
    if (static_cast<double>(cost(K, 1.0)) <= limit) {
      discount = 1;
      K = improve(K, discount);
      require_finite_cost(discount);
      continue;
    }
    double low = discount;
    double high = 1;
    for (int i = 0; i < options.bisections; ++i) {
      // By ratios: the first discount of a very unstable plant is tiny.
      const double middle = std::sqrt(low * high);
      (static_cast<double>(cost(K, middle)) <= limit ? low : high) = middle;
    }
    if (low <= discount) break;
    discount = low;
  }
  throw NotStabilizable("max_rounds: expected the discount to reach 1 within " +
                        std::to_string(options.max_rounds) + " rounds, it reached " + detail::text(discount) +
                        "; is (A, B) stabilizable?");
}

/// A gain that stabilises `task`, found from its model: annealing with policy iteration from K = 0.
/// @throws NotStabilizable if there is none.
template <MatrixBackend Backend>
InitialGain<Backend> initial_gain(const Task<Backend>& task, const AnnealingOptions& options = {}) {
  using Gain = typename Backend::Gain;
  const auto discounted_cost = [&task](const Gain& K, double discount) {
    return Backend::to_double(cost(task.with_discount(discount), K));
  };
  const auto improve = [&task](const Gain& K, double discount) {
    const Task<Backend> discounted = task.with_discount(discount);
    return Gain(
        policy_gradient(discounted, K,
                        {.direction = Direction::gauss_newton, .step = constant_step(0.5), .iterations = 5})
            .gain);
  };
  return anneal_discount<Backend>(Backend::zero_gain(task.nu(), task.nx()), discounted_cost, improve,
                                  options);
}

}  // namespace metalqr::inline METALQR_ABI
