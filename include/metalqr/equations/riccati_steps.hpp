#pragma once

/// @file
/// The two iterations behind `solve_dare`: structured doubling and Newton-Kleinman steps.

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/status.hpp>
#include <metalqr/equations/balance.hpp>
#include <metalqr/equations/residual.hpp>
#include <metalqr/equations/spectral.hpp>

namespace metalqr::inline METALQR_ABI::detail {

/// x_{t+1} = A x + B u with stage cost x'Qx + 2 x'Nu + u'Ru.
template <MatrixBackend Backend>
struct RiccatiProblem {
  typename Backend::StateMatrix A;
  typename Backend::InputMatrix B;
  typename Backend::StateMatrix Q;
  typename Backend::ControlMatrix R;
  typename Backend::InputMatrix N;

  /// Changes the state to x' with x = D x', so that P becomes D P D and K becomes K D.
  void scale(const std::vector<typename Backend::Scalar>& d) {
    const std::vector<typename Backend::Scalar> inverse = inverses(d);
    const std::vector<typename Backend::Scalar> ones(static_cast<std::size_t>(Backend::cols(B)),
                                                     typename Backend::Scalar(1));
    scale_entries(A, inverse, d);
    scale_entries(B, inverse, ones);
    scale_entries(Q, d, d);
    scale_entries(N, d, ones);
  }

  /// The minimiser of x'Qx + 2 x'Nu + u'Ru + (Ax + Bu)'P(Ax + Bu) is u = -K x.
  typename Backend::Gain gain(const typename Backend::StateMatrix& P) const {
    const typename Backend::InputMatrix PB = Backend::product(P, B);
    const typename Backend::ControlMatrix curvature = R + Backend::transpose_product(B, PB);
    const typename Backend::Gain linear = Backend::transpose_product(PB, A) + Backend::transpose(N);
    return Backend::solve_spd(Backend::symmetrised(curvature), linear);
  }

  /// A - BK.
  typename Backend::StateMatrix closed_loop(const typename Backend::Gain& K) const {
    return A - Backend::product(B, K);
  }

  /// Q + K'RK - NK - K'N'.
  typename Backend::StateMatrix stage_cost(const typename Backend::Gain& K) const {
    const typename Backend::StateMatrix cross = Backend::product(N, K);
    return Q + Backend::congruence(K, R) - (cross + Backend::transpose(cross));
  }

  bool has_cross() const { return Backend::max_abs(N) > typename Backend::Scalar(0); }

  /// The problem in v = u + R^-1 N'x, which has no cross term (completion of squares).
  RiccatiProblem without_cross() const {
    RiccatiProblem result = *this;
    if (!has_cross()) return result;
    const typename Backend::Gain shift = Backend::solve_spd(R, Backend::transpose(N));
    result.A = A - Backend::product(B, shift);
    result.Q = Q - Backend::product(N, shift);
    result.Q = Backend::symmetrised(result.Q);
    result.N = Backend::zero_like(N);
    return result;
  }

  /// G = B R^-1 B'.
  typename Backend::StateMatrix control_weight() const {
    return Backend::symmetrised(Backend::product(B, Backend::solve_spd(R, Backend::transpose(B))));
  }

  /// Replaces R by the diagonal for which every column of B counts the same.
  void use_unit_input_weights() {
    using Scalar = typename Backend::Scalar;
    R = Backend::zero_like(R);
    for (Index j = 0; j < Backend::cols(B); ++j) {
      Scalar size(0);
      for (Index i = 0; i < Backend::rows(B); ++i) size += B(i, j) * B(i, j);
      R(j, j) = size > Scalar(0) ? size : Scalar(1);
    }
  }

  /// |Q + K'RK - NK - K'N' + F'PF - P|_F over the sum of the norms of its terms, F = A - BK; +infinity if
  /// one of them is not finite.
  typename Backend::Scalar residual(const typename Backend::StateMatrix& P,
                                    const typename Backend::Gain& K) const {
    const typename Backend::StateMatrix cross = Backend::product(N, K);
    const typename Backend::StateMatrix effort = Backend::congruence(K, R);
    const typename Backend::StateMatrix moved = Backend::congruence(closed_loop(K), P);
    const typename Backend::StateMatrix defect = Q + effort - (cross + Backend::transpose(cross)) + moved - P;
    return normalised_residual<Backend>(defect, Q, effort, cross, cross, moved, P);
  }
};

/// What structured doubling found.
template <MatrixBackend Backend>
struct RiccatiDoubling {
  typename Backend::StateMatrix H;          ///< the solution, if `status` is converged
  int iterations = 0;                       ///< doublings
  Status status = Status::iteration_limit;  ///< converged: |A_k| fell to rounding level
};

/// Structure-preserving doubling for X = Q + A'X(I + GX)^-1 A (Chu, Fan, Lin, Wang, "Structure-preserving
/// algorithms for periodic discrete-time algebraic Riccati equations", Int. J. Control 77, 2004): A_k tends
/// to zero as the 2^k-th power of the closed loop exactly when X is the stabilising solution, which is what
/// convergence is judged on. About 8 products and two solves a step.
template <MatrixBackend Backend>
RiccatiDoubling<Backend> riccati_doubling(typename Backend::StateMatrix A, typename Backend::StateMatrix G,
                                          typename Backend::StateMatrix Q, int max_doublings) {
  using std::isfinite;
  using Scalar = typename Backend::Scalar;
  using StateMatrix = typename Backend::StateMatrix;
  RiccatiDoubling<Backend> result{.H = std::move(Q)};
  StateMatrix& H = result.H;
  const StateMatrix identity = Backend::identity_like(A);
  for (;;) {
    const Scalar size = Backend::norm(A);
    if (!isfinite(size) || !Backend::is_finite(H)) {
      result.status = Status::unstable;
      return result;
    }
    if (size * size <= Backend::epsilon()) {
      result.status = Status::converged;
      return result;
    }
    if (result.iterations == max_doublings) return result;
    const StateMatrix W = identity + Backend::product(G, H);
    const StateMatrix WA = Backend::solve(W, A);
    const StateMatrix WG = Backend::solve(W, G);
    H += Backend::symmetrised(Backend::transpose_product(A, Backend::product(H, WA)));
    G += Backend::symmetrised(Backend::outer_congruence(A, WG));
    A = Backend::product(A, WA);
    ++result.iterations;
  }
}

/// What Newton-Kleinman steps found.
template <MatrixBackend Backend>
struct RiccatiNewton {
  typename Backend::StateMatrix P;      ///< solution
  typename Backend::Gain K;             ///< its gain
  typename Backend::Scalar residual{};  ///< of P, see `RiccatiProblem::residual`
  int steps = 0;                        ///< Lyapunov equations solved
  /// converged: the residual stalled at rounding level and A - BK is proved stable; unstable: the first gain
  /// is not (provably) stabilising; inconclusive: the iterates approach the stability limit.
  Status status = Status::iteration_limit;
};

/// Newton's method from a stabilising gain K and any symmetric P, best the one of which K is the gain (Hewer,
/// "An iterative technique for the computation of the steady state gains for the discrete optimal regulator",
/// IEEE TAC 16, 1971), until the residual stalls. Each step solves a Lyapunov equation for the correction of
/// P, with the defect as right-hand side, so that its own errors are corrected by the next. The iterates
/// decrease to the stabilising solution; where there is none, because the pencil has eigenvalues on the unit
/// circle, the distance of the closed loop to the limit halves each step: near the limit an answer is
/// accepted only if that distance has settled.
template <MatrixBackend Backend>
RiccatiNewton<Backend> riccati_newton(const RiccatiProblem<Backend>& problem, typename Backend::StateMatrix P,
                                      typename Backend::Gain K, int max_steps) {
  using std::isfinite;
  using std::sqrt;
  using Scalar = typename Backend::Scalar;
  using StateMatrix = typename Backend::StateMatrix;
  const Scalar small = sqrt(Backend::epsilon());
  const double n = static_cast<double>(Backend::rows(problem.A));
  const double epsilon = Backend::to_double(Backend::epsilon());
  // Doublings at which 1 - rho may be below 64 sqrt(epsilon).
  const int marginal = static_cast<int>(std::log2(-std::log(epsilon) / (64 * std::sqrt(epsilon))));

  RiccatiNewton<Backend> best{.P = P, .K = K};
  best.residual = std::numeric_limits<Scalar>::infinity();
  best.status = Status::unstable;
  double radius = -1;
  int settled = 0;
  while (best.steps < max_steps) {
    const StateMatrix F = problem.closed_loop(K);
    StateMatrix correction = problem.stage_cost(K) + Backend::congruence(F, P) - P;
    const auto report = visit_powers<Backend>(
        F, [&correction](const StateMatrix& power) { correction += Backend::congruence(power, correction); });
    if (!report.converged() && !is_stable<Backend>(F)) {
      if (best.steps > 0) best.status = Status::inconclusive;
      return best;
    }
    correction = Backend::symmetrised(correction);
    P += correction;
    K = problem.gain(P);
    const Scalar residual = problem.residual(P, K);
    ++best.steps;
    best.status = Status::iteration_limit;
    if (!isfinite(residual)) return best;
    const bool stalled = best.residual < small && residual > best.residual / Scalar(2);
    if (residual < best.residual) {
      best.P = P;
      best.K = K;
      best.residual = residual;
    }
    if (report.doublings < marginal) {
      settled = 2;
      radius = -1;
    } else {
      const double last = radius;
      radius = Backend::to_double(spectral_radius<Backend>(problem.closed_loop(K)));
      const double change = Backend::to_double(Backend::norm(correction));
      const bool same = last >= 0 && 1 - radius > 64 * n * epsilon &&
                        std::abs(radius - last) <= 0.02 * (1 - radius) + 8 * n * epsilon &&
                        change <= 0.1 * Backend::to_double(Backend::norm(P));
      settled = same ? settled + 1 : 0;
    }
    if (settled >= 2 && (stalled || residual <= Scalar(2) * Backend::epsilon())) {
      best.status =
          is_stable<Backend>(problem.closed_loop(best.K)) ? Status::converged : Status::inconclusive;
      return best;
    }
  }
  return best;
}

}  // namespace metalqr::inline METALQR_ABI::detail
