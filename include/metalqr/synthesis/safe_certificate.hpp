#pragma once

/// @file
/// Whether a controller with finite responses keeps the limits of every plant near an estimate.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/check.hpp>
#include <metalqr/synthesis/fir_controller.hpp>
#include <metalqr/synthesis/safe_problem.hpp>

namespace metalqr::inline METALQR_ABI::synthesis {

namespace detail {

/// Bounds on what drives the loop. With the responses Phi of the estimate, x = Phi_x d and v = Phi_u d, where
///   d_{-1} = x_0,  d_t = w_t + B eta_t + (A - Ahat) x_t + (B - Bhat) v_t,
/// and B = Bhat + (B - Bhat). Let |[A - Ahat, B - Bhat] Phi| <= tau < 1. Then the part e_t of d_t that is due
/// to the last two terms stays below `excess` = tau max(|x_0|, s / (1 - tau)) for all t, by induction over t:
/// |d| <= max(|x_0|, s + excess) up to t - 1 gives |e_t| <= tau times that, which is `excess` in either case.
struct SafeNoise {
  double direct = 0;       ///< bound on |w_t + (B - Bhat) eta_t|_inf
  double exploration = 0;  ///< bound on |eta_t|_inf, which enters as Bhat eta_t
  double total = 0;        ///< s, bound on |w_t + B eta_t|_inf
  double start = 0;        ///< |x_0|_inf

  template <MatrixBackend Backend>
  explicit SafeNoise(const SafeProblem<Backend>& problem)
      : direct(problem.noise + problem.epsilon_B * problem.exploration),
        exploration(problem.exploration),
        total(direct + infinity_norm<Backend>(problem.estimate.B()) * exploration),
        start(problem.x0 ? Backend::to_double(Backend::max_abs(*problem.x0)) : 0) {}

  /// Infinite unless tau < 1.
  double excess(double tau) const {
    if (!(tau < 1)) return std::numeric_limits<double>::infinity();
    return tau * std::max(start, total / (1 - tau));
  }
};

}  // namespace detail

/// What is known of a controller on every plant of a `SafeProblem`.
struct SafetyCertificate {
  double level =
      std::numeric_limits<double>::infinity();  ///< tau: epsilon_A |Phi_x| + epsilon_B |Phi_u| + |V|, in the
                                                ///< norms of peaks; below 1, every plant is stabilised
  std::vector<double> state_margins;  ///< of each limit, what is left of it at the worst time; minus infinity
                                      ///< unless level < 1
  std::vector<double> input_margins;  ///< the same

  /// Whether every plant is stabilised within all limits.
  bool safe() const {
    const auto kept = [](double margin) { return margin >= 0; };
    return level < 1 && std::all_of(state_margins.begin(), state_margins.end(), kept) &&
           std::all_of(input_margins.begin(), input_margins.end(), kept);
  }
};

namespace detail {

/// The norm of the map from peaks to peaks: the largest absolute sum of a row of [Phi(1), ..., Phi(L)].
template <MatrixBackend Backend, class X>
double peak_norm(const std::vector<X>& response) {
  double largest = 0;
  for (Index i = 0; i < Backend::rows(response.front()); ++i) {
    double sum = 0;
    for (const X& phi : response) {
      for (Index j = 0; j < Backend::cols(phi); ++j) sum += std::abs(Backend::to_double(phi(i, j)));
    }
    largest = larger(largest, sum);
  }
  return largest;
}

/// The largest value of a'y_t over all t, y the output of the response, where d_t = Bhat eta_t + (any other
/// vector with entries up to `noise`) for t >= 0, d_{-1} = x_0; infinity if a number on the way is NaN.
template <MatrixBackend Backend, class X>
double worst_value(const SafeProblem<Backend>& problem, const std::vector<X>& response,
                   const std::vector<double>& weights, double noise) {
  const Index n = problem.estimate.nx();
  const auto combine = [&](const auto& x, Index column) {
    double sum = 0;
    for (std::size_t i = 0; i < weights.size(); ++i) {
      sum += weights[i] * Backend::to_double(x(static_cast<Index>(i), column));
    }
    return sum;
  };
  double driven = 0;
  double worst = -std::numeric_limits<double>::infinity();
  for (const X& phi : response) {
    double start = 0;
    for (Index j = 0; problem.x0 && j < n; ++j)
      start += combine(phi, j) * Backend::to_double((*problem.x0)(j, 0));
    worst = larger(worst, driven + start);
    for (Index j = 0; j < n; ++j) driven += noise * std::abs(combine(phi, j));
    for (Index a = 0; a < problem.estimate.nu() && problem.exploration > 0; ++a) {
      double entry = 0;
      for (Index j = 0; j < n; ++j) entry += combine(phi, j) * Backend::to_double(problem.estimate.B()(j, a));
      driven += problem.exploration * std::abs(entry);
    }
  }
  return larger(worst, driven);
}

}  // namespace detail

/// Checks a controller, however it was made, against the limits, without simulation: the state and the input
/// of every plant of the problem, under every noise and exploration within their bounds, in closed form from
/// the responses (Dean, Tu, Matni and Recht, ACC 2019, in a form that needs no weighing of the two radii,
/// counts the exploration in the inputs themselves, and its known direction Bhat). What the responses leave
/// at their end, V = Ahat Phi_x(L) + Bhat Phi_u(L), counts as a perturbation.
/// @throws what `validate(problem)` throws; DimensionMismatch for a controller that is empty or does not fit.
template <MatrixBackend Backend>
SafetyCertificate certify_safety(const SafeProblem<Backend>& problem,
                                 const FirController<Backend>& controller) {
  using StateMatrix = typename Backend::StateMatrix;
  validate(problem);
  const Task<Backend>& task = problem.estimate;
  if (controller.length() < 1) {
    throw DimensionMismatch("controller: expected at least one coefficient, got none");
  }
  metalqr::detail::require_shape<Backend>(controller.input_response().front(), task.nu(), task.nx(),
                                          "controller");
  // Along Phi_x(k+1) = Ahat Phi_x(k) + Bhat Phi_u(k): where the controller's own coefficients differ from
  // that, the difference acts on d as V does.
  double residual = 0;
  for (std::size_t k = 0; k < controller.state_response().size(); ++k) {
    StateMatrix next = StateMatrix(Backend::product(task.A(), controller.state_response()[k])) +
                       StateMatrix(Backend::product(task.B(), controller.input_response()[k]));
    if (k + 1 < controller.state_response().size()) next -= controller.state_response()[k + 1];
    residual += detail::infinity_norm<Backend>(next);
  }
  SafetyCertificate result;
  result.level = problem.epsilon_A * detail::peak_norm<Backend>(controller.state_response()) +
                 problem.epsilon_B * detail::peak_norm<Backend>(controller.input_response()) + residual;
  result.level = detail::larger(result.level, 0);
  const detail::SafeNoise bounds(problem);
  const double noise = bounds.direct + bounds.excess(result.level);
  const auto margin = [&](const SafetyLimit& one, const auto& response, double direct) {
    if (!std::isfinite(noise)) return -std::numeric_limits<double>::infinity();
    double left = one.limit - detail::worst_value(problem, response, one.weights, noise);
    for (const double weight : one.weights) left -= direct * std::abs(weight);
    return std::isnan(left) ? -std::numeric_limits<double>::infinity() : left;
  };
  for (const SafetyLimit& one : problem.state_limits) {
    result.state_margins.push_back(margin(one, controller.state_response(), 0));
  }
  for (const SafetyLimit& one : problem.input_limits) {
    result.input_margins.push_back(margin(one, controller.input_response(), problem.exploration));
  }
  return result;
}

}  // namespace metalqr::inline METALQR_ABI::synthesis
