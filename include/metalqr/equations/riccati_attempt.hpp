#pragma once

/// @file
/// One attempt at a Riccati equation, in plain numbers or in lanes: what `solve_dare` begins with.

#include <cmath>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/error.hpp>
#include <metalqr/equations/balance.hpp>
#include <metalqr/equations/riccati_steps.hpp>

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

namespace detail {

/// Throws `InvalidOption` naming the first field out of its range.
inline void validate(const RiccatiOptions& options) {
  require_option(options.max_doublings >= 1, "max_doublings", options.max_doublings, "at least 1");
  require_option(options.max_newton_steps >= 1, "max_newton_steps", options.max_newton_steps, "at least 1");
  require_option(std::isfinite(options.tolerance) && options.tolerance >= 0, "tolerance", options.tolerance,
                 "a number not below 0");
}

/// A solution in scaled states; for packs, in each lane.
template <MatrixBackend Backend>
struct RiccatiAttempt {
  RiccatiNewton<Backend> newton;
  typename Backend::StateVector scales;      ///< D of x = D x'
  typename Backend::Scalar doublings{};      ///< number of them
  MaskOf<typename Backend::Scalar> found{};  ///< whether there was a stabilising start
};

/// Nothing found yet.
template <MatrixBackend Backend>
RiccatiNewton<Backend> no_riccati(const RiccatiProblem<Backend>& problem) {
  using Scalar = typename Backend::Scalar;
  RiccatiNewton<Backend> none{.P = problem.Q, .K = Backend::transpose(problem.B)};
  none.residual = LaneTraits<Scalar>::infinity();
  none.converged = none.inconclusive = Scalar(1) < Scalar(0);
  return none;
}

/// Solves `start` (which has no cross term) by doubling and, from its solution, `unscaled` by Newton's
/// method: as it is if both problems are the same up to completion of squares, else from the gain alone.
template <MatrixBackend Backend>
RiccatiAttempt<Backend> attempt_riccati(const RiccatiProblem<Backend>& unscaled,
                                        const RiccatiProblem<Backend>& start, bool same,
                                        const RiccatiOptions& options) {
  using std::sqrt;
  using Scalar = typename Backend::Scalar;
  using Lane = LaneTraits<Scalar>;
  // Beyond a few states rounding leaves the last digits to Newton's method, which squares the error.
  const bool needs_newton = !same || Backend::rows(start.A) > 8;
  const Scalar tolerance = needs_newton ? Scalar(sqrt(Backend::epsilon())) : Backend::epsilon();
  auto doubled =
      riccati_doubling<Backend>(start.A, start.control_weight(), start.Q, options.max_doublings, tolerance);
  RiccatiAttempt<Backend> attempt{.newton = no_riccati<Backend>(start),
                                  .scales = unit_scales<Backend>(Backend::rows(start.A)),
                                  .doublings = doubled.iterations};
  attempt.found = Backend::is_finite(doubled.H);
  if (!same) attempt.found = attempt.found && doubled.converged;
  if (!Lane::any(attempt.found)) return attempt;
  // The rest is done in states in which the solution has a unit diagonal.
  attempt.scales = unit_diagonal_scales<Backend>(doubled.H);
  scale_entries<Backend>(doubled.H, attempt.scales, attempt.scales);
  RiccatiProblem<Backend> problem = unscaled;
  problem.scale(attempt.scales);
  if (!needs_newton) {
    const MaskOf<Scalar> candidates =
        doubled.converged && attempt.found &&
        doubled.iterations < Lane::number(SettledRadius<Backend>::marginal_doublings());
    attempt.newton = accepted_riccati<Backend>(problem, doubled.H, candidates);
  }
  const MaskOf<Scalar> left = attempt.found && !attempt.newton.converged;
  if (Lane::any(left)) {
    typename Backend::Gain K;
    if (same) {
      K = needs_newton ? problem.gain(doubled.H) : attempt.newton.K;
    } else {
      RiccatiProblem<Backend> scaled_start = start;
      scaled_start.scale(attempt.scales);
      K = scaled_start.gain(doubled.H);
      doubled.H = Backend::zero_like(doubled.H);
    }
    const RiccatiNewton<Backend> newton =
        riccati_newton<Backend>(problem, doubled.H, K, options.max_newton_steps);
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

/// The first attempt at a problem, in balanced states.
template <MatrixBackend Backend>
struct FirstAttempt {
  RiccatiProblem<Backend> problem;       ///< in the scaled states
  typename Backend::StateVector scales;  ///< D of x = D x'
  RiccatiAttempt<Backend> attempt;

  FirstAttempt(const RiccatiProblem<Backend>& original, const RiccatiOptions& options)
      : problem(original), scales(unit_scales<Backend>(Backend::rows(original.A))) {
    if (!original.has_cross) {
      balance(problem, options);
      attempt = attempt_riccati<Backend>(problem, problem, true, options);
    } else {
      RiccatiProblem<Backend> start = original.without_cross();
      balance(start, options);
      problem.scale(scales);
      attempt = attempt_riccati<Backend>(problem, start, true, options);
    }
  }

 private:
  void balance(RiccatiProblem<Backend>& start, const RiccatiOptions& options) {
    if (!options.balance) return;
    scales = balancing_scales<Backend>(start.A, start.control_weight(), start.Q);
    start.scale(scales);
  }
};

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

}  // namespace detail
}  // namespace metalqr::inline METALQR_ABI
