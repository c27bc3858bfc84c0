#pragma once

/// @file
/// The discrete algebraic Riccati equation.

#include <cmath>
#include <limits>
#include <string>
#include <type_traits>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/check.hpp>
#include <metalqr/core/error.hpp>
#include <metalqr/core/status.hpp>
#include <metalqr/equations/balance.hpp>
#include <metalqr/equations/riccati_attempt.hpp>
#include <metalqr/equations/riccati_steps.hpp>
#include <metalqr/equations/spectral.hpp>

namespace metalqr::inline METALQR_ABI {

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

/// Solves a checked problem with symmetric Q and R.
template <MatrixBackend Backend>
RiccatiSolution<Backend> solve_checked_dare(const RiccatiProblem<Backend>& original,
                                            const RiccatiOptions& options) {
  using Scalar = typename Backend::Scalar;
  FirstAttempt<Backend> first(original, options);
  RiccatiProblem<Backend>& problem = first.problem;
  RiccatiAttempt<Backend>& attempt = first.attempt;
  Scalar doublings = attempt.doublings;
  if (!attempt.found) {
    // Q does not see every unstable mode, so that doubling found the smallest solution and not the
    // stabilising one, or the weights are too far apart for it. Another cost gives a stabilising gain, if
    // there is one.
    RiccatiProblem<Backend> start = problem;
    start.N = Backend::zero_like(problem.N);
    start.has_cross = false;
    start.use_unit_input_weights();
    for (const double weight : {1.0, 1e6, 1e-6}) {
      start.Q = Scalar(weight) * Backend::identity_like(start.Q);
      attempt = attempt_riccati<Backend>(problem, start, false, options);
      doublings += attempt.doublings;
      if (attempt.found) break;
    }
  }
  if (!attempt.found) {
    // A plant that is stable by itself needs no gain to start from.
    attempt.scales = unit_scales<Backend>(Backend::rows(problem.A));
    attempt.newton = riccati_newton<Backend>(
        problem, Backend::zero_like(problem.Q),
        Backend::zero_gain(Backend::cols(problem.B), Backend::rows(problem.A)), options.max_newton_steps);
    attempt.found = attempt.newton.steps > Scalar(0);
  }
  if (!attempt.found) {
    throw NotStabilizable(
        "A, B: expected a stabilisable pair, found no gain with spectral radius of A - BK provably below 1 "
        "(the spectral radius of A is " +
        text(Backend::to_double(spectral_radius<Backend>(problem.A))) + ")");
  }

  const RiccatiNewton<Backend>& newton = attempt.newton;
  const RiccatiAnswer<Backend> answer = riccati_answer<Backend>(original, first.scales, attempt, options);
  if (!answer.accurate) {
    problem.scale(attempt.scales);
    const typename Backend::StateMatrix F = problem.closed_loop(newton.K);
    const double radius = Backend::is_finite(F) ? Backend::to_double(spectral_radius<Backend>(F))
                                                : std::numeric_limits<double>::infinity();
    throw NoConvergence(
        "A, B, Q, R: expected a stabilising solution of the Riccati equation, got residual " +
        text(Backend::to_double(newton.residual)) + " and spectral radius of A - BK " + text(radius) +
        " after " + std::to_string(static_cast<int>(Backend::to_double(newton.steps))) +
        " Newton steps (a mode on the unit circle that the cost does not see has no stabilising solution)");
  }
  return {.value = answer.value,
          .gain = answer.gain,
          .residual = answer.residual,
          .iterations = static_cast<int>(Backend::to_double(doublings)),
          .newton_steps = static_cast<int>(Backend::to_double(newton.steps)),
          .status = newton.status()};
}

}  // namespace detail

/// Solves the discrete algebraic Riccati equation P = Q + A'PA - (A'PB + N)(R + B'PB)^-1(B'PA + N') of the
/// system x_{t+1} = A x_t + B u_t with stage cost x'Qx + 2 x'Nu + u'Ru for the P whose gain
/// K = (R + B'PB)^-1(B'PA + N') stabilises: rho(A - BK) < 1 is proved. (A, Q) need not be detectable.
///
/// A is n_x x n_x, B and N are n_x x n_u; R must be positive definite and [Q N; N' R] positive semidefinite.
/// Structured doubling, in states scaled by powers of two, then Newton-Kleinman steps until the residual
/// stalls, but none for up to 8 states where it is 4 epsilon at most. O(n_x^3) for each of about log2(36 / (1
/// - rho)) doublings.
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
  detail::validate(options);
  problem.Q = Backend::symmetrised(Q);
  problem.R = Backend::symmetrised(R);
  problem.has_cross = Backend::max_abs(N) > typename Backend::Scalar(0);
  if (problem.has_cross) detail::require_joint_cost<Backend>(problem);
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
