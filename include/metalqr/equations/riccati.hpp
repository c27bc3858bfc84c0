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

inline void validate(const RiccatiOptions& options) {
  require_option(options.max_doublings >= 1, "max_doublings", options.max_doublings, "at least 1");
  require_option(options.max_newton_steps >= 1, "max_newton_steps", options.max_newton_steps, "at least 1");
  require_option(std::isfinite(options.tolerance) && options.tolerance >= 0, "tolerance", options.tolerance,
                 "a number not below 0");
}

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

/// A solution in scaled states; for packs, in each lane.
template <MatrixBackend Backend>
struct RiccatiAttempt {
  RiccatiNewton<Backend> newton;
  typename Backend::StateVector scales;      ///< D of x = D x'
  typename Backend::Scalar doublings{};      ///< number of them
  MaskOf<typename Backend::Scalar> found{};  ///< whether there was a stabilising start
};

template <MatrixBackend Backend>
RiccatiNewton<Backend> no_riccati(const RiccatiProblem<Backend>& problem) {
  using Scalar = typename Backend::Scalar;
  RiccatiNewton<Backend> none{.P = problem.Q, .K = Backend::transpose(problem.B)};
  none.residual = LaneTraits<Scalar>::infinity();
  none.converged = none.inconclusive = Scalar(1) < Scalar(0);
  return none;
}

/// Solves `start` (which has no cross term) by doubling and, from its solution, `problem` by Newton's method:
/// as it is if both problems are the same up to completion of squares, else from the gain alone.
template <MatrixBackend Backend>
RiccatiAttempt<Backend> attempt_riccati(RiccatiProblem<Backend> problem, RiccatiProblem<Backend> start,
                                        bool same, const RiccatiOptions& options) {
  using std::sqrt;
  using Scalar = typename Backend::Scalar;
  using Lane = LaneTraits<Scalar>;
  const typename Backend::StateMatrix G = start.control_weight();
  // Beyond a few states rounding leaves the last digits to Newton's method, which squares the error.
  const bool needs_newton = !same || Backend::rows(start.A) > 8;
  const Scalar tolerance = needs_newton ? Scalar(sqrt(Backend::epsilon())) : Backend::epsilon();
  auto doubled = riccati_doubling<Backend>(start.A, G, start.Q, options.max_doublings, tolerance);
  RiccatiAttempt<Backend> attempt{.newton = no_riccati<Backend>(start),
                                  .scales = unit_scales<Backend>(Backend::rows(start.A)),
                                  .doublings = doubled.iterations};
  attempt.found = Backend::is_finite(doubled.H);
  if (!same) attempt.found = attempt.found && doubled.converged;
  if (!Lane::any(attempt.found)) return attempt;
  // The rest is done in states in which the solution has a unit diagonal.
  attempt.scales = unit_diagonal_scales<Backend>(doubled.H);
  scale_entries<Backend>(doubled.H, attempt.scales, attempt.scales);
  problem.scale(attempt.scales);
  if (!needs_newton) {
    const MaskOf<Scalar> candidates =
        doubled.converged && attempt.found &&
        doubled.iterations < Lane::number(SettledRadius<Backend>::marginal_doublings());
    attempt.newton = accepted_riccati<Backend>(problem, doubled.H, candidates);
  }
  const MaskOf<Scalar> left = attempt.found && !attempt.newton.converged;
  if (Lane::any(left)) {
    if (!same) start.scale(attempt.scales);
    const typename Backend::StateMatrix P = same ? doubled.H : Backend::zero_like(doubled.H);
    const typename Backend::Gain K = same ? problem.gain(P) : start.gain(doubled.H);
    const RiccatiNewton<Backend> newton = riccati_newton<Backend>(problem, P, K, options.max_newton_steps);
    copy_lanes<Backend>(left, newton.P, attempt.newton.P);
    copy_lanes<Backend>(left, newton.K, attempt.newton.K);
    attempt.newton.residual = Lane::select(left, newton.residual, attempt.newton.residual);
    attempt.newton.steps = Lane::select(left, newton.steps, attempt.newton.steps);
    attempt.newton.converged = attempt.newton.converged || (left && newton.converged);
    attempt.newton.inconclusive = attempt.newton.inconclusive || (left && newton.inconclusive);
  }
  attempt.found = attempt.found && (attempt.newton.converged || attempt.newton.steps > Scalar(0));
  return attempt;
}

/// What `problem`, the original in states scaled by `scales`, was solved to, in the original states.
template <MatrixBackend Backend>
struct RiccatiAnswer {
  typename Backend::StateMatrix value;
  typename Backend::Gain gain;
  typename Backend::Scalar residual{};
  MaskOf<typename Backend::Scalar> accurate{};  ///< whether Newton's method converged to a small residual
};

template <MatrixBackend Backend>
RiccatiAnswer<Backend> riccati_answer(const RiccatiProblem<Backend>& original,
                                      const typename Backend::StateVector& scales,
                                      const RiccatiAttempt<Backend>& attempt, const RiccatiOptions& options) {
  using std::sqrt;
  using Scalar = typename Backend::Scalar;
  const Index n = Backend::rows(original.A);
  RiccatiAnswer<Backend> answer{
      .value = attempt.newton.P, .gain = attempt.newton.K, .residual = attempt.newton.residual};
  typename Backend::StateVector back = scales;
  bool scaled = false;
  for (Index i = 0; i < n; ++i) {
    back(i, 0) = Scalar(1) / (scales(i, 0) * attempt.scales(i, 0));
    scaled = scaled || LaneTraits<Scalar>::any(back(i, 0) != Scalar(1));
  }
  if (scaled) {
    scale_entries<Backend>(answer.value, back, back);
    scale_cols(answer.gain, back, Backend::rows(answer.gain), n);
    answer.residual = original.residual(answer.value, answer.gain);
  }
  const Scalar tolerance = options.tolerance > 0 ? LaneTraits<Scalar>::number(options.tolerance)
                                                 : Scalar(sqrt(Backend::epsilon()));
  answer.accurate = attempt.found && attempt.newton.converged && attempt.newton.residual <= tolerance &&
                    answer.residual <= tolerance;
  return answer;
}

/// Solves a checked problem with symmetric Q and R.
template <MatrixBackend Backend>
RiccatiSolution<Backend> solve_checked_dare(const RiccatiProblem<Backend>& original,
                                            const RiccatiOptions& options) {
  using Scalar = typename Backend::Scalar;
  RiccatiProblem<Backend> problem = original;
  RiccatiProblem<Backend> start = problem.without_cross();
  typename Backend::StateVector scales = unit_scales<Backend>(Backend::rows(problem.A));
  if (options.balance) {
    scales = balancing_scales<Backend>(start.A, start.control_weight(), start.Q);
    problem.scale(scales);
    start.scale(scales);
  }
  auto attempt = attempt_riccati<Backend>(problem, start, true, options);
  Scalar doublings = attempt.doublings;
  if (!attempt.found) {
    // Q does not see every unstable mode, so that doubling found the smallest solution and not the
    // stabilising one, or the weights are too far apart for it. Another cost gives a stabilising gain, if
    // there is one.
    start.A = problem.A;
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
  const RiccatiAnswer<Backend> answer = riccati_answer<Backend>(original, scales, attempt, options);
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
