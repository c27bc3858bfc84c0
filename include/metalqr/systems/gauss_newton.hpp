#pragma once

/// @file
/// Minimisation of a smooth function of a gain by Newton and Gauss-Newton steps.

#include <limits>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/error.hpp>
#include <metalqr/core/status.hpp>

namespace metalqr::inline METALQR_ABI::systems {

/// When the search for a minimiser ends.
struct MinimiserOptions {
  int iterations = 500;  ///< cap on the steps
  /// Ends when the gradient norm is this small, relative to the terms that cancel in the gradient. What the
  /// precision does not reach ends as stalled.
  double tolerance = 1e-10;
};

/// Throws `InvalidOption` naming the first field that is out of its range.
inline void validate(const MinimiserOptions& options) {
  metalqr::detail::require_option(options.iterations >= 0, "iterations", options.iterations, "a number >= 0");
  metalqr::detail::require_option(options.tolerance >= 0, "tolerance", options.tolerance, "a number >= 0");
}

namespace detail {

/// A function of a gain up to second order; matrices act on vec(X), the columns of X stacked, d = n_u n_x.
template <MatrixBackend Backend>
struct SecondOrderModel {
  typename Backend::Gain gradient;        ///< n_u x n_x
  typename Backend::Scalar scale{};       ///< size of the terms that cancel in the gradient
  typename Backend::Matrix hessian;       ///< d x d, symmetric, maybe indefinite
  typename Backend::Matrix gauss_newton;  ///< d x d, its positive semidefinite part
};

/// How a minimisation ended.
template <MatrixBackend Backend>
struct Minimum {
  typename Backend::Gain gain;              ///< last iterate
  typename Backend::Scalar value{};         ///< there
  SecondOrderModel<Backend> model;          ///< there
  int iterations = 0;                       ///< steps taken
  Status status = Status::iteration_limit;  ///< converged, stalled or iteration_limit
};

template <MatrixBackend Backend>
typename Backend::Matrix stacked(const typename Backend::Gain& X) {
  typename Backend::Matrix column = Backend::zero_matrix(Backend::rows(X) * Backend::cols(X), 1);
  for (Index j = 0, next = 0; j < Backend::cols(X); ++j) {
    for (Index i = 0; i < Backend::rows(X); ++i) column(next++, 0) = X(i, j);
  }
  return column;
}

template <MatrixBackend Backend>
typename Backend::Gain unstacked(const typename Backend::Matrix& column, Index nu, Index nx) {
  typename Backend::Gain X = Backend::zero_gain(nu, nx);
  for (Index j = 0, next = 0; j < nx; ++j) {
    for (Index i = 0; i < nu; ++i) X(i, j) = column(next++, 0);
  }
  return X;
}

/// H^-1 G; a semidefinite H is made definite first.
template <MatrixBackend Backend>
typename Backend::Gain step_of(typename Backend::Matrix H, const typename Backend::Gain& G) {
  using Scalar = typename Backend::Scalar;
  Scalar ridge = Backend::epsilon() * Backend::norm(H);
  while (!Backend::is_positive_definite(H)) {
    if (!(ridge > Scalar(0)) || !Backend::is_finite(H)) return G;
    H += ridge * Backend::identity_like(H);
    ridge = Scalar(8) * ridge;
  }
  const typename Backend::Matrix step = Backend::solve_spd(H, stacked<Backend>(G));
  return unstacked<Backend>(step, Backend::rows(G), Backend::cols(G));
}

/// Moves `at` to the first of K - p, K - p/2, K - p/4, ... at which `problem.value` falls by Armijo's
/// condition; leaves it where it is if there is none among 60. The model is left behind.
template <MatrixBackend Backend, class Problem>
Minimum<Backend> along(const Problem& problem, const Minimum<Backend>& at, const typename Backend::Gain& p) {
  using Scalar = typename Backend::Scalar;
  const Scalar slope = Backend::inner(at.model.gradient, p);
  Scalar t(1);
  for (int trial = 0; trial < 60; ++trial) {
    const typename Backend::Gain candidate = at.gain - t * p;
    const Scalar value = problem.value(candidate);
    if (value < at.value && value <= at.value - static_cast<Scalar>(1e-4) * t * slope) {
      return {.gain = candidate, .value = value, .model = {}, .iterations = at.iterations + 1};
    }
    t = t / Scalar(2);
  }
  return at;
}

/// Lowers `problem.value(K)` (+infinity where it does not exist) from a K where it is finite. Each step is
/// the better of a Newton step (where the Hessian is positive definite) and a Gauss-Newton step, both with
/// backtracking, from `problem.model(K)`. Near the end, where rounding hides the decrease, full Newton steps
/// have to lower the gradient norm instead.
template <MatrixBackend Backend, class Problem>
Minimum<Backend> minimise(const Problem& problem, const typename Backend::Gain& start,
                          const MinimiserOptions& options) {
  using Scalar = typename Backend::Scalar;
  using Gain = typename Backend::Gain;
  Minimum<Backend> at{.gain = start, .value = problem.value(start), .model = problem.model(start)};
  for (;;) {
    const Gain& G = at.model.gradient;
    const Scalar norm = Backend::norm(G);
    if (norm <= static_cast<Scalar>(options.tolerance) * at.model.scale) {
      at.status = Status::converged;
      return at;
    }
    if (at.iterations == options.iterations) return at;
    at.status = Status::stalled;
    Minimum<Backend> next = at;
    if (Backend::is_positive_definite(at.model.hessian)) {
      const Gain newton = step_of<Backend>(at.model.hessian, G);
      if (Backend::inner(G, newton) <= Scalar(4096) * Backend::epsilon() * at.value) {
        const Gain candidate = at.gain - newton;
        const Scalar value = problem.value(candidate);
        if (!(value < std::numeric_limits<Scalar>::infinity())) return at;
        const SecondOrderModel<Backend> model = problem.model(candidate);
        if (!(Backend::norm(model.gradient) < norm)) return at;
        at = {.gain = candidate, .value = value, .model = model, .iterations = at.iterations + 1};
        continue;
      }
      next = along(problem, at, newton);
    }
    const Minimum<Backend> other = along(problem, at, step_of<Backend>(at.model.gauss_newton, G));
    if (other.value < next.value) next = other;
    if (next.iterations == at.iterations) return at;
    next.model = problem.model(next.gain);
    next.status = Status::iteration_limit;
    at = next;
  }
}

}  // namespace detail
}  // namespace metalqr::inline METALQR_ABI::systems
