#pragma once

/// @file
/// The discrete algebraic Riccati equation.

#include <cmath>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/check.hpp>
#include <metalqr/core/error.hpp>
#include <metalqr/core/status.hpp>
#include <metalqr/equations/balance.hpp>
#include <metalqr/equations/riccati_steps.hpp>
#include <metalqr/equations/spectral.hpp>

namespace metalqr::inline METALQR_ABI {

/// How `solve_dare` works.
struct RiccatiOptions {
  int max_doublings = 64;      ///< cap on the structured doubling steps
  int max_newton_steps = 100;  ///< cap on the Newton-Kleinman steps
  /// Largest normalised residual (see `riccati_residual`) of an answer; 0: the square root of epsilon. What
  /// is usually reached is a few epsilon.
  double tolerance = 0;
  bool balance = true;  ///< scale the states by powers of two where that lowers the norm of the pencil
};

/// The stabilising solution of a Riccati equation.
template <MatrixBackend Backend>
struct RiccatiSolution {
  typename Backend::StateMatrix value;      ///< P, n_x x n_x: x'Px is the least cost from x
  typename Backend::Gain gain;              ///< K, n_u x n_x, u = -K x; A - BK is proved stable
  typename Backend::Scalar residual{};      ///< see `riccati_residual`
  int iterations = 0;                       ///< doublings
  int newton_steps = 0;                     ///< Newton-Kleinman steps after them
  Status status = Status::iteration_limit;  ///< converged
};

/// Normalised residual of P in P = Q + A'PA - (A'PB + N) K, K = (R + B'PB)^-1 (B'PA + N'), evaluated as
/// |Q + K'RK - NK - K'N' + F'PF - P|_F / (|Q|_F + |K'RK|_F + 2 |NK|_F + |F'PF|_F + |P|_F), F = A - BK, which
/// is the same defect with terms that do not cancel.
template <MatrixBackend Backend>
typename Backend::Scalar riccati_residual(const std::type_identity_t<typename Backend::StateMatrix>& A,
                                          const std::type_identity_t<typename Backend::InputMatrix>& B,
                                          const std::type_identity_t<typename Backend::StateMatrix>& Q,
                                          const std::type_identity_t<typename Backend::ControlMatrix>& R,
                                          const std::type_identity_t<typename Backend::InputMatrix>& N,
                                          const std::type_identity_t<typename Backend::StateMatrix>& P) {
  const detail::RiccatiProblem<Backend> problem{A, B, Q, R, N};
  return problem.residual(P, problem.gain(P));
}

namespace detail {

template <MatrixBackend Backend>
void require_riccati(const RiccatiProblem<Backend>& problem) {
  const Index nx = Backend::rows(problem.A);
  const Index nu = Backend::cols(problem.B);
  require_shape<Backend>(problem.A, nx, nx, "A");
  require_shape<Backend>(problem.B, nx, nu, "B");
  require_shape<Backend>(problem.Q, nx, nx, "Q");
  require_shape<Backend>(problem.R, nu, nu, "R");
  require_shape<Backend>(problem.N, nx, nu, "N");
  require_finite<Backend>(problem.A, "A");
  require_finite<Backend>(problem.B, "B");
  require_finite<Backend>(problem.Q, "Q");
  require_finite<Backend>(problem.R, "R");
  require_finite<Backend>(problem.N, "N");
  require_positive_semidefinite<Backend>(problem.Q, "Q");
  require_positive_definite<Backend>(problem.R, "R");
}

/// Throws `NotPositiveDefinite` unless [Q N; N' R] is positive semidefinite. The two blocks may be in
/// different units, so each is measured by its own largest entry.
template <MatrixBackend Backend>
void require_joint_cost(const RiccatiProblem<Backend>& problem) {
  using std::sqrt;
  using Scalar = typename Backend::Scalar;
  const Index nx = Backend::rows(problem.A);
  const Index nu = Backend::cols(problem.B);
  const Scalar state_size = sqrt(Backend::max_abs(problem.Q));
  const Scalar state_unit = state_size > Scalar(0) ? Scalar(1) / state_size : Scalar(1);
  const Scalar input_unit = Scalar(1) / sqrt(Backend::max_abs(problem.R));
  typename Backend::Matrix joint = Backend::zero_matrix(nx + nu, nx + nu);
  for (Index i = 0; i < nx; ++i) {
    for (Index j = 0; j < nx; ++j) joint(i, j) = problem.Q(i, j) * state_unit * state_unit;
    for (Index j = 0; j < nu; ++j) {
      joint(i, nx + j) = problem.N(i, j) * state_unit * input_unit;
      joint(nx + j, i) = joint(i, nx + j);
    }
  }
  for (Index i = 0; i < nu; ++i) {
    for (Index j = 0; j < nu; ++j) joint(nx + i, nx + j) = problem.R(i, j) * input_unit * input_unit;
  }
  require_positive_semidefinite<Backend>(joint, "[Q N; N' R]");
}

/// A solution in scaled states.
template <MatrixBackend Backend>
struct RiccatiAttempt {
  RiccatiNewton<Backend> newton;                   ///< unstable: no stabilising start
  std::vector<typename Backend::Scalar> scales{};  ///< D of x = D x'
  int doublings = 0;
};

/// Solves `start` (which has no cross term) by doubling and, from its solution, `problem` by Newton's method:
/// as it is if both problems are the same up to completion of squares, else from the gain alone.
template <MatrixBackend Backend>
RiccatiAttempt<Backend> attempt_riccati(RiccatiProblem<Backend> problem, RiccatiProblem<Backend> start,
                                        bool same, const RiccatiOptions& options) {
  using StateMatrix = typename Backend::StateMatrix;
  const StateMatrix G = start.control_weight();
  auto doubled = riccati_doubling<Backend>(start.A, G, start.Q, options.max_doublings);
  RiccatiAttempt<Backend> attempt{.newton = {.P = start.Q, .K = Backend::transpose(start.B)}};
  attempt.newton.status = Status::unstable;
  attempt.doublings = doubled.iterations;
  const bool usable = same || doubled.status == Status::converged;
  if (!usable || !Backend::is_finite(doubled.H)) return attempt;
  // Newton's method works in states in which the solution has a unit diagonal.
  attempt.scales = unit_diagonal_scales<Backend>(doubled.H);
  scale_entries(doubled.H, attempt.scales, attempt.scales);
  problem.scale(attempt.scales);
  if (same) {
    attempt.newton =
        riccati_newton<Backend>(problem, doubled.H, problem.gain(doubled.H), options.max_newton_steps);
  } else {
    start.scale(attempt.scales);
    attempt.newton = riccati_newton<Backend>(problem, Backend::zero_like(doubled.H), start.gain(doubled.H),
                                             options.max_newton_steps);
  }
  return attempt;
}

/// Solves a checked problem with symmetric Q and R.
template <MatrixBackend Backend>
RiccatiSolution<Backend> solve_checked_dare(const RiccatiProblem<Backend>& original,
                                            const RiccatiOptions& options) {
  using std::sqrt;
  using Scalar = typename Backend::Scalar;
  RiccatiProblem<Backend> problem = original;
  RiccatiProblem<Backend> start = problem.without_cross();
  std::vector<Scalar> scales(static_cast<std::size_t>(Backend::rows(problem.A)), Scalar(1));
  if (options.balance) {
    scales = balancing_scales<Backend>(start.A, start.control_weight(), start.Q);
    problem.scale(scales);
    start.scale(scales);
  }
  auto attempt = attempt_riccati<Backend>(problem, start, true, options);
  int doublings = attempt.doublings;
  if (attempt.newton.status == Status::unstable) {
    // Q does not see every unstable mode, so that doubling found the smallest solution and not the
    // stabilising one, or the weights are too far apart for it. Another cost gives a stabilising gain, if
    // there is one.
    start.A = problem.A;
    start.use_unit_input_weights();
    for (const double weight : {1.0, 1e6, 1e-6}) {
      start.Q = Scalar(weight) * Backend::identity_like(start.Q);
      attempt = attempt_riccati<Backend>(problem, start, false, options);
      doublings += attempt.doublings;
      if (attempt.newton.status != Status::unstable) break;
    }
  }
  if (attempt.newton.status == Status::unstable) {
    // A plant that is stable by itself needs no gain to start from.
    attempt.scales.assign(scales.size(), Scalar(1));
    attempt.newton = riccati_newton<Backend>(
        problem, Backend::zero_like(problem.Q),
        Backend::zero_gain(Backend::cols(problem.B), Backend::rows(problem.A)), options.max_newton_steps);
  }
  if (attempt.newton.status == Status::unstable) {
    throw NotStabilizable(
        "A, B: expected a stabilisable pair, found no gain with spectral radius of A - BK provably below 1 "
        "(the spectral radius of A is " +
        text(Backend::to_double(spectral_radius<Backend>(problem.A))) + ")");
  }

  const RiccatiNewton<Backend>& newton = attempt.newton;
  problem.scale(attempt.scales);
  for (std::size_t i = 0; i < scales.size(); ++i) scales[i] = Scalar(1) / (scales[i] * attempt.scales[i]);
  RiccatiSolution<Backend> solution{.value = newton.P, .gain = newton.K};
  scale_entries(solution.value, scales, scales);
  scale_entries(solution.gain,
                std::vector<Scalar>(static_cast<std::size_t>(Backend::cols(problem.B)), Scalar(1)), scales);
  solution.iterations = doublings;
  solution.newton_steps = newton.steps;
  solution.status = newton.status;
  solution.residual = original.residual(solution.value, solution.gain);
  const Scalar tolerance = options.tolerance > 0 ? Scalar(options.tolerance) : sqrt(Backend::epsilon());
  if (newton.status != Status::converged || !(newton.residual <= tolerance) ||
      !(solution.residual <= tolerance)) {
    const typename Backend::StateMatrix F = problem.closed_loop(newton.K);
    const double radius = Backend::is_finite(F) ? Backend::to_double(spectral_radius<Backend>(F))
                                                : std::numeric_limits<double>::infinity();
    throw NoConvergence(
        "A, B, Q, R: expected a stabilising solution of the Riccati equation, got residual " +
        text(Backend::to_double(newton.residual)) + " and spectral radius of A - BK " + text(radius) +
        " after " + std::to_string(newton.steps) +
        " Newton steps (a mode on the unit circle that the cost does not see has no stabilising solution)");
  }
  return solution;
}

}  // namespace detail

/// Solves the discrete algebraic Riccati equation P = Q + A'PA - (A'PB + N)(R + B'PB)^-1(B'PA + N') of the
/// system x_{t+1} = A x_t + B u_t with stage cost x'Qx + 2 x'Nu + u'Ru for the P whose gain
/// K = (R + B'PB)^-1(B'PA + N') stabilises: rho(A - BK) < 1 is proved. (A, Q) need not be detectable.
///
/// A is n_x x n_x, B and N are n_x x n_u; R must be positive definite and [Q N; N' R] positive semidefinite.
/// Structured doubling, then Newton-Kleinman steps until the residual stalls, in states scaled by powers of
/// two. O(n_x^3) for each of about log2(36 / (1 - rho)) doublings.
/// @throws DimensionMismatch, NotFinite, NotPositiveDefinite on bad arguments; NotStabilizable if no gain
/// stabilises, or none was found; NoConvergence if the pencil has an eigenvalue on (or too near) the unit
/// circle, so that no stabilising solution exists.
template <MatrixBackend Backend>
RiccatiSolution<Backend> solve_dare(const std::type_identity_t<typename Backend::StateMatrix>& A,
                                    const std::type_identity_t<typename Backend::InputMatrix>& B,
                                    const std::type_identity_t<typename Backend::StateMatrix>& Q,
                                    const std::type_identity_t<typename Backend::ControlMatrix>& R,
                                    const std::type_identity_t<typename Backend::InputMatrix>& N,
                                    const RiccatiOptions& options = {}) {
  detail::RiccatiProblem<Backend> problem{A, B, Q, R, N};
  detail::require_riccati<Backend>(problem);
  detail::require_option(options.max_doublings >= 1, "max_doublings", options.max_doublings, "at least 1");
  detail::require_option(options.max_newton_steps >= 1, "max_newton_steps", options.max_newton_steps,
                         "at least 1");
  detail::require_option(std::isfinite(options.tolerance) && options.tolerance >= 0, "tolerance",
                         options.tolerance, "a number not below 0");
  problem.Q = Backend::symmetrised(Q);
  problem.R = Backend::symmetrised(R);
  if (problem.has_cross()) detail::require_joint_cost<Backend>(problem);
  return detail::solve_checked_dare<Backend>(problem, options);
}

/// The same without cross term: N = 0.
template <MatrixBackend Backend>
RiccatiSolution<Backend> solve_dare(const std::type_identity_t<typename Backend::StateMatrix>& A,
                                    const std::type_identity_t<typename Backend::InputMatrix>& B,
                                    const std::type_identity_t<typename Backend::StateMatrix>& Q,
                                    const std::type_identity_t<typename Backend::ControlMatrix>& R,
                                    const RiccatiOptions& options = {}) {
  return solve_dare<Backend>(A, B, Q, R, Backend::zero_like(B), options);
}

}  // namespace metalqr::inline METALQR_ABI
