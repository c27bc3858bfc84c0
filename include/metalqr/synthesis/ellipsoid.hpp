#pragma once

/// @file
/// Robust synthesis of a static gain for an ellipsoid of plants: the least bound on the worst cost.

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/check.hpp>
#include <metalqr/equations/h_infinity.hpp>
#include <metalqr/equations/spectral.hpp>
#include <metalqr/equations/spectral_norm.hpp>
#include <metalqr/lqr/evaluation.hpp>
#include <metalqr/lqr/optimal_gain.hpp>
#include <metalqr/synthesis/ellipsoid_programme.hpp>
#include <metalqr/synthesis/golden_section.hpp>
#include <metalqr/synthesis/input_units.hpp>
#include <metalqr/synthesis/problem.hpp>
#include <metalqr/synthesis/robust_gain.hpp>
#include <metalqr/synthesis/robust_options.hpp>
#include <metalqr/synthesis/sdp.hpp>

namespace metalqr::inline METALQR_ABI::synthesis {

/// The plants [A B] = [Ahat Bhat] + D with D S D' <= I. The units of the input are of no account, as long as
/// all inputs share one.
template <MatrixBackend Backend>
struct EllipsoidProblem {
  Task<Backend> estimate;              ///< Ahat, Bhat with the cost Q, R and the noise covariance Sigma0
  typename Backend::Matrix precision;  ///< S, (n_x + n_u) x (n_x + n_u), symmetric positive definite
};

/// Checks the ellipsoid; the estimate's matrices are checked when the task is made.
/// @throws DimensionMismatch, NotFinite, NotPositiveDefinite.
template <MatrixBackend Backend>
void validate(const EllipsoidProblem<Backend>& problem) {
  const Index size = problem.estimate.nx() + problem.estimate.nu();
  metalqr::detail::require_shape<Backend>(problem.precision, size, size, "precision");
  metalqr::detail::require_finite<Backend>(problem.precision, "precision");
  metalqr::detail::require_positive_definite<Backend>(problem.precision, "precision");
}

/// An ellipsoid that contains every plant of a problem with radii: S = blkdiag(alpha / epsilon_A^2 I,
/// (1 - alpha) / epsilon_B^2 I), for any alpha in (0, 1).
/// @throws InvalidOption unless both radii are positive (an ellipsoid has an interior) and 0 < alpha < 1.
template <MatrixBackend Backend>
EllipsoidProblem<Backend> ellipsoid_around(const RobustProblem<Backend>& problem, double alpha = 0.5) {
  using Scalar = typename Backend::Scalar;
  validate(problem);
  const char* interior =
      "a positive number, for an ellipsoid with an interior (common_lyapunov and fir take zero)";
  metalqr::detail::require_option(problem.epsilon_A > 0, "epsilon_A", problem.epsilon_A, interior);
  metalqr::detail::require_option(problem.epsilon_B > 0, "epsilon_B", problem.epsilon_B, interior);
  metalqr::detail::require_option(alpha > 0 && alpha < 1, "alpha", alpha, "a number in (0, 1)");
  const Index n = problem.estimate.nx();
  const Index size = n + problem.estimate.nu();
  typename Backend::Matrix S = Backend::zero_matrix(size, size);
  for (Index i = 0; i < size; ++i) {
    S(i, i) = static_cast<Scalar>(i < n ? alpha / (problem.epsilon_A * problem.epsilon_A)
                                        : (1 - alpha) / (problem.epsilon_B * problem.epsilon_B));
  }
  return {problem.estimate, S};
}

namespace detail {

/// The radius of the matrices B in the ellipsoid that is the image of a ball by E.
template <MatrixBackend Backend>
double input_radius(const Task<Backend>& task, const typename Backend::Matrix& E) {
  typename Backend::Matrix rows = Backend::zero_matrix(task.nu(), Backend::cols(E));
  for (Index i = 0; i < task.nu(); ++i) {
    for (Index j = 0; j < Backend::cols(E); ++j) rows(i, j) = E(task.nx() + i, j);
  }
  return Backend::to_double(metalqr::spectral_norm<Backend>(rows));
}

/// |L^-1 [I; -K] (zI - F)^-1| in H-infinity with S = L L': below 1, K stabilises every plant of the
/// ellipsoid. Infinity where it cannot be computed.
template <DecomposingBackend Backend>
double ellipsoid_level(const typename Backend::Matrix& L, const typename Backend::StateMatrix& F,
                       const typename Backend::Gain& K) {
  try {
    return response_level<Backend>(F, Backend::solve(L, stacked<Backend>(K, 1, -1)));
  } catch (const NoConvergence&) {
    return std::numeric_limits<double>::infinity();
  }
}

}  // namespace detail

/// A static gain that stabilises every plant of an ellipsoid, with the least bound on the worst cost that one
/// quadratic Lyapunov function gives: the matrix S-lemma, exact for the function that is found (Umenberger,
/// Ferizbegovic, Schon and Hjalmarsson, NeurIPS 2019). It needs no level or share to be chosen, and bounds
/// the cost more tightly than `common_lyapunov`.
///
/// Of the result, `cost_bound` = `h2_squared` is above the cost on every plant, under noise of covariance
/// Sigma0, up to the residual of the inequalities, of which the check allows 1e-7 of their entries.
/// `gamma_min` is the factor by which the ellipsoid can grow, inverted: below 1 there is a design, else
/// `infeasible`. `gamma` is 1, `alpha` has no meaning, and `achieved_hinf` is the exact H-infinity level of
/// the closed loop's response to errors in the ellipsoid, below 1; `certified_cost` follows from it alone.
/// Without noise all costs are zero, and the design is that for noise of covariance I.
/// Two semidefinite programmes with n(n+1)/2 + n p + p(p+1)/2 + 1 unknowns. A design that is returned as
/// `solved` was verified without the solver: stability, level, the matrix inequalities, nominal cost.
/// @throws DimensionMismatch, NotFinite, NotPositiveDefinite for a bad ellipsoid; NotStabilizable,
/// NoConvergence for the estimate; what the solver throws.
template <DecomposingBackend Backend, SdpSolver Solver>
RobustGain<Backend> ellipsoid(const EllipsoidProblem<Backend>& problem, const Solver& solver) {
  using Matrix = typename Backend::Matrix;
  using Scalar = typename Backend::Scalar;
  validate(problem);
  // S = L L' and its inverse is E E'; both of the input c u.
  Matrix L = detail::cholesky_factor<Backend>(problem.precision);
  Matrix E = Backend::solve(Backend::transpose(L), Matrix(Backend::identity_like(L)));
  const double c = detail::input_unit(problem.estimate, detail::input_radius(problem.estimate, E));
  const Task<Backend> task = detail::in_input_unit(problem.estimate, c);
  for (Index i = task.nx(); i < Backend::rows(L); ++i) {
    for (Index j = 0; j < Backend::rows(L); ++j) {
      L(i, j) *= static_cast<Scalar>(c);
      E(i, j) /= static_cast<Scalar>(c);
    }
  }
  const RiccatiSolution<Backend> optimal = solve_dare(task);
  const double noise = detail::noise_scale(task);

  RobustGain<Backend> result;
  result.gain = Backend::zero_gain(task.nu(), task.nx());
  result.gamma = 1;
  // Levels are found relative to the ellipsoid's largest half axis, and costs to the optimal one.
  const double unit = Backend::to_double(metalqr::spectral_norm<Backend>(E));
  const SdpSolution least =
      solver(detail::EllipsoidProgramme<Backend>(task, Matrix(E / static_cast<Scalar>(unit))).least_level());
  result.solves = 1;
  const auto is_above = [](double level) { return 1 <= level * (1 + 1e-6); };
  const bool found = has_solution(least.status);
  if (found) result.gamma_min = unit * std::sqrt(std::max(least.dual_objective, 0.0));
  if (!found || is_above(result.gamma_min)) {
    const double certain = detail::ellipsoid_level<Backend>(L, closed_loop(task, optimal.gain), optimal.gain);
    if (!is_above(certain)) {
      result.gamma_min = certain;
    } else {
      if (found) result.status = SynthesisStatus::infeasible;
      return result;
    }
  }

  const double value = Backend::to_double(Backend::trace(optimal.value));
  const double cost_scale = value > 0 ? value : Backend::to_double(Backend::max_abs(task.R()));
  const detail::EllipsoidProgramme<Backend> programme(task, E);
  const SdpProblem least_cost = programme.least_cost(cost_scale, noise);
  const SdpSolution solution = solver(least_cost);
  result.solves = 2;
  if (!has_solution(solution.status)) return result;
  const typename Backend::Gain K = programme.gain(solution.y);
  if (!Backend::is_finite(K)) return result;

  constexpr double slack = 1 + 1e-6;
  const typename Backend::StateMatrix F = closed_loop(task, K);
  const double unit_cost = detail::unit_cost<Backend>(task, K);
  result.spectral_radius = Backend::to_double(metalqr::spectral_radius<Backend>(F));
  if (!std::isfinite(unit_cost) || !(result.spectral_radius < 1)) return result;
  result.h2_squared = result.cost_bound = noise * cost_scale * solution.dual_objective;
  result.nominal_cost = Backend::to_double(metalqr::cost(task, K));
  result.achieved_hinf = detail::ellipsoid_level<Backend>(L, F, K);
  const double margin = 1 - result.achieved_hinf;
  if (margin > 0) result.certified_cost = noise * unit_cost / (margin * margin);
  if (margin > 0 && result.nominal_cost <= result.cost_bound * slack &&
      detail::is_dual_feasible(least_cost, solution.y, 1e-7)) {
    result.status = SynthesisStatus::solved;
    result.gain = K / static_cast<Scalar>(c);
  }
  return result;
}

namespace detail {

/// Whether x is the better design, or the one that is closer to being one.
template <class Design>
bool is_better(const Design& x, const Design& y) {
  if (x.status != y.status) return x.status < y.status;
  return x.status == SynthesisStatus::solved ? x.cost_bound < y.cost_bound : x.gamma_min < y.gamma_min;
}

}  // namespace detail

/// A static gain for every plant of a problem with radii, by an ellipsoid that contains them all
/// (`ellipsoid_around`).
/// @param alpha the share of epsilon_A in it, in (0, 1), or `optimised`: that of the least bound, by golden
/// section with about thirty programmes, within 1 % of alpha and of 1 - alpha. The bound has one valley,
/// since the inequalities are affine in the multipliers of both parts together.
/// @throws InvalidOption unless both radii are positive and 0 < alpha < 1; see the form for an ellipsoid.
template <DecomposingBackend Backend, SdpSolver Solver>
RobustGain<Backend> ellipsoid(const RobustProblem<Backend>& problem, const Solver& solver,
                              const std::optional<double>& alpha = optimised) {
  const auto design = [&](double share) {
    RobustGain<Backend> result = ellipsoid(ellipsoid_around(problem, share), solver);
    result.alpha = share;
    return result;
  };
  if (alpha) return design(*alpha);
  int solves = 0;
  RobustGain<Backend> best = detail::golden_section(
                                 1e-3, 1 - 1e-3, 1e-2,
                                 [&](double share) {
                                   RobustGain<Backend> result = design(share);
                                   solves += result.solves;
                                   return result;
                                 },
                                 detail::is_better<RobustGain<Backend>>)
                                 .value;
  best.solves = solves;
  return best;
}

}  // namespace metalqr::inline METALQR_ABI::synthesis
