#pragma once

/// @file
/// Exact policy gradient on one task.

#include <type_traits>
#include <utility>

#include <metalqr/lqr/descent.hpp>
#include <metalqr/lqr/evaluation.hpp>

namespace metalqr::inline METALQR_ABI {

/// Direction of exact policy gradient (Fazel et al. 2018, section 3).
enum class Direction {
  gradient,     ///< grad J = 2 E Sigma
  natural,      ///< 2 E
  gauss_newton  ///< 2 (R + B'PB)^-1 E; with the constant step 1/2 this is policy iteration
};

/// Options of `policy_gradient`.
struct PolicyGradientOptions {
  Direction direction = Direction::gradient;  ///< what to descend along
  StepSize step{};                            ///< how far
  int iterations = 1000;                      ///< cap
  double tolerance = 1e-10;  ///< ends when |grad J|_F <= tolerance * `Evaluation::gradient_scale`
};

namespace detail {

template <MatrixBackend Backend>
class ExactDescentProblem {
 public:
  using Gain = typename Backend::Gain;
  using Scalar = typename Backend::Scalar;

  ExactDescentProblem(const Task<Backend>& task, const PolicyGradientOptions& options)
      : task_(task), options_(options) {}

  bool needs_assessment() const { return true; }
  Assessment<Scalar> assess(const Gain& K) const {
    const Scalar value = cost(task_, K);
    return {value, value < std::numeric_limits<Scalar>::infinity()};
  }
  Gain direction(const Gain& K, int /*iteration*/) {
    const Evaluation<Backend> at(task_, K);
    small_ = Backend::norm(at.gradient()) <= static_cast<Scalar>(options_.tolerance) * at.gradient_scale();
    switch (options_.direction) {
      case Direction::natural:
        scaled_ = at.natural_gradient();
        break;
      case Direction::gauss_newton:
        scaled_ = at.gauss_newton_direction();
        break;
      case Direction::gradient:
        scaled_ = at.gradient();
        break;
    }
    return at.gradient();
  }
  const Gain& scaled(const Gain& G) const {
    return options_.step.rule == StepRule::quasi_newton ? G : scaled_;
  }
  bool is_lost() const { return false; }
  bool is_small(const Gain& /*G*/, const Gain& /*K*/) const { return small_; }

 private:
  const Task<Backend>& task_;
  PolicyGradientOptions options_;
  Gain scaled_{};
  bool small_ = false;
};

}  // namespace detail

/// Descends J from the stabilising gain K0 (n_u x n_x) along exact directions. A step that loses stability is
/// refused and shrunk, with every rule. The observer is called with a `DescentInfo` after each iteration and
/// may return true to stop. With the quasi-Newton rule the direction counts only until curvature has been
/// learned.
/// @throws NotStabilizing, DimensionMismatch, NotFinite for a bad K0; InvalidOption.
template <MatrixBackend Backend, class Observer = NoObserver>
DescentResult<Backend> policy_gradient(const Task<Backend>& task,
                                       const std::type_identity_t<typename Backend::Gain>& K0,
                                       const PolicyGradientOptions& options = {}, Observer&& observer = {}) {
  detail::require_option(options.iterations >= 0, "iterations", options.iterations, "a number >= 0");
  detail::require_option(options.tolerance >= 0, "tolerance", options.tolerance, "a number >= 0");
  const Evaluation<Backend> start(task, K0);
  DescentState<Backend> state{.K = start.K()};
  detail::ExactDescentProblem<Backend> problem(task, options);
  return descend(state, problem, options.step, options.iterations, observer);
}

}  // namespace metalqr::inline METALQR_ABI
