#pragma once

/// @file
/// What safe syntheses are given: an uncertain plant, and limits on its states and inputs.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/check.hpp>
#include <metalqr/core/error.hpp>
#include <metalqr/core/index.hpp>
#include <metalqr/lqr/task.hpp>
#include <metalqr/synthesis/problem.hpp>

namespace metalqr::inline METALQR_ABI::synthesis {

/// The inequality a_1 v_1 + a_2 v_2 + ... <= limit on a state or an input v.
struct SafetyLimit {
  std::vector<double> weights;  ///< a, one finite number an entry of v, not all zero
  double limit = 0;             ///< finite
};

/// The limits -limit <= v_i <= limit on every entry of a state or an input with `size` entries.
inline std::vector<SafetyLimit> box_limits(Index size, double limit) {
  std::vector<SafetyLimit> limits;
  for (Index i = 0; i < size; ++i) {
    for (const double sign : {1.0, -1.0}) {
      SafetyLimit& one = limits.emplace_back(SafetyLimit{{}, limit});
      one.weights.assign(static_cast<std::size_t>(size), 0.0);
      one.weights[static_cast<std::size_t>(i)] = sign;
    }
  }
  return limits;
}

/// A plant x+ = A x + B u + w that is known up to two balls, whose states and inputs must never leave a
/// polytope, while u = v + eta adds an exploration eta, of any kind, to a controller's v (Dean, Tu, Matni and
/// Recht, "Safely learning to control the constrained linear quadratic regulator", ACC 2019). Norms are those
/// that the largest entry of a vector induces, the largest absolute sum of a row: |.|_inf.
template <MatrixBackend Backend>
struct SafeProblem {
  Task<Backend> estimate;  ///< Ahat, Bhat; the cost is the average of x'Qx + v'Rv on it, if w were white
                           ///< of covariance Sigma0, without exploration
  double epsilon_A = 0;    ///< bound on |A - Ahat|_inf, not negative
  double epsilon_B = 0;    ///< bound on |B - Bhat|_inf, not negative
  double noise = 0;        ///< sigma_w, bound on |w_t|_inf, not negative
  double exploration = 0;  ///< sigma_eta, bound on |eta_t|_inf, not negative
  std::vector<SafetyLimit> state_limits{};            ///< on x_t, t = 0, 1, ...
  std::vector<SafetyLimit> input_limits{};            ///< on u_t = v_t + eta_t, t = 0, 1, ...
  std::optional<typename Backend::StateVector> x0{};  ///< the first state; without one, the origin
};

/// The radius in |.|_inf of a ball in |.|_2 of matrices with `columns` columns: sqrt(columns) times it.
inline double infinity_radius(double radius, Index columns) {
  return radius * std::sqrt(static_cast<double>(columns));
}

namespace detail {

inline void require_limits(const std::vector<SafetyLimit>& limits, Index size, const std::string& name) {
  for (std::size_t k = 0; k < limits.size(); ++k) {
    const SafetyLimit& one = limits[k];
    const std::string where = name + "[" + std::to_string(k) + "]";
    if (static_cast<Index>(one.weights.size()) != size) {
      throw DimensionMismatch(where + ".weights: expected " + std::to_string(size) + " numbers, got " +
                              std::to_string(one.weights.size()));
    }
    bool zero = true;
    for (const double weight : one.weights) {
      if (!std::isfinite(weight)) {
        throw NotFinite(where + ".weights: expected finite numbers, got " + metalqr::detail::text(weight));
      }
      zero = zero && weight == 0;
    }
    if (zero) throw InvalidOption(where + ".weights: expected a number that is not zero");
    if (!std::isfinite(one.limit)) {
      throw NotFinite(where + ".limit: expected a finite number, got " + metalqr::detail::text(one.limit));
    }
  }
}

/// The larger of two numbers; infinity if either is NaN, which `std::max` may pass over.
inline double larger(double x, double y) {
  return std::isnan(x) || std::isnan(y) ? std::numeric_limits<double>::infinity() : std::max(x, y);
}

/// |X|_inf; infinity if an entry is NaN.
template <MatrixBackend Backend, class X>
double infinity_norm(const X& x) {
  double largest = 0;
  for (Index i = 0; i < Backend::rows(x); ++i) {
    double sum = 0;
    for (Index j = 0; j < Backend::cols(x); ++j) sum += std::abs(Backend::to_double(x(i, j)));
    largest = larger(largest, sum);
  }
  return largest;
}

}  // namespace detail

/// Checks a problem; the estimate's matrices are checked when the task is made.
/// @throws InvalidOption for a negative or infinite radius or bound, weights that are all zero;
/// DimensionMismatch, NotFinite for a limit or the first state. Each names the place.
template <MatrixBackend Backend>
void validate(const SafeProblem<Backend>& problem) {
  const auto check = [](double value, const char* name) {
    metalqr::detail::require_option(std::isfinite(value) && value >= 0, name, value,
                                    "a number that is not negative");
  };
  check(problem.epsilon_A, "epsilon_A");
  check(problem.epsilon_B, "epsilon_B");
  check(problem.noise, "noise");
  check(problem.exploration, "exploration");
  detail::require_limits(problem.state_limits, problem.estimate.nx(), "state_limits");
  detail::require_limits(problem.input_limits, problem.estimate.nu(), "input_limits");
  if (problem.x0) {
    metalqr::detail::require_shape<Backend>(*problem.x0, problem.estimate.nx(), 1, "x0");
    metalqr::detail::require_finite<Backend>(*problem.x0, "x0");
  }
}

/// The same plant as a `RobustProblem`, its balls converted from the spectral norm.
/// @throws InvalidOption for bad radii.
template <MatrixBackend Backend>
SafeProblem<Backend> safe_problem(const RobustProblem<Backend>& problem) {
  validate(problem);
  return {.estimate = problem.estimate,
          .epsilon_A = infinity_radius(problem.epsilon_A, problem.estimate.nx()),
          .epsilon_B = infinity_radius(problem.epsilon_B, problem.estimate.nu())};
}

}  // namespace metalqr::inline METALQR_ABI::synthesis
