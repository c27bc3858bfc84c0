#pragma once

/// @file
/// The two iterations behind `solve_dare`: structured doubling and Newton-Kleinman steps.

#include <cmath>
#include <utility>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/lane_matrix.hpp>
#include <metalqr/core/status.hpp>
#include <metalqr/equations/riccati_problem.hpp>
#include <metalqr/equations/spectral.hpp>

namespace metalqr::inline METALQR_ABI::detail {

/// What structured doubling found; for packs, in each lane.
template <MatrixBackend Backend>
struct RiccatiDoubling {
  typename Backend::StateMatrix H;               ///< the solution, where it converged
  typename Backend::Scalar iterations{};         ///< number of doublings
  MaskOf<typename Backend::Scalar> converged{};  ///< |A_k| fell to rounding level
};

/// Structure-preserving doubling for X = Q + A'X(I + GX)^-1 A (Chu, Fan, Lin, Wang, "Structure-preserving
/// algorithms for periodic discrete-time algebraic Riccati equations", Int. J. Control 77, 2004): A_k tends
/// to zero as the 2^k-th power of the closed loop exactly when X is the stabilising solution, which is what
/// convergence is judged on: |A_k|_F^2 <= `tolerance`, which is the relative error that is left. About 7
/// products and two solves a step. A lane that has ended goes on with A = 0, which changes nothing, and with
/// G = 0, since I + GH might be singular to rounding.
template <MatrixBackend Backend>
RiccatiDoubling<Backend> riccati_doubling(typename Backend::StateMatrix A, typename Backend::StateMatrix G,
                                          typename Backend::StateMatrix Q, int max_doublings,
                                          typename Backend::Scalar tolerance = Backend::epsilon()) {
  using Scalar = typename Backend::Scalar;
  using Lane = LaneTraits<Scalar>;
  using StateMatrix = typename Backend::StateMatrix;
  RiccatiDoubling<Backend> result{.H = std::move(Q)};
  StateMatrix& H = result.H;
  StateMatrix W = A;
  StateMatrix WA = A;
  StateMatrix WG = G;
  StateMatrix powers[2] = {std::move(A), W};
  MaskOf<Scalar> ended = Scalar(1) < Scalar(0);
  result.converged = ended;
  for (int doublings = 0;; ++doublings) {
    StateMatrix& power = powers[doublings % 2];
    const Scalar squared = Backend::inner(power, power);
    const MaskOf<Scalar> finite = squared < Lane::infinity() && Backend::is_finite(H);
    result.converged = result.converged || (!ended && finite && squared <= tolerance);
    ended = ended || !finite || result.converged;
    if (Lane::all(ended) || doublings == max_doublings) return result;
    if (Lane::any(ended)) {
      clear_lanes<Backend>(ended, power);
      clear_lanes<Backend>(ended, G);
    }
    result.iterations = Lane::select(ended, result.iterations, result.iterations + Scalar(1));
    Backend::multiply(G, H, W);
    for (Index i = 0; i < Backend::rows(W); ++i) W(i, i) = W(i, i) + Scalar(1);
    WA = power;
    WG = G;
    Backend::solve_both(W, WA, WG);
    Backend::multiply(H, WA, W);
    Backend::add_symmetric_product(H, power, W);
    Backend::multiply(power, WG, W);
    Backend::add_symmetric_outer_product(G, W, power);
    Backend::multiply(power, WA, powers[(doublings + 1) % 2]);
  }
}

/// What Newton-Kleinman steps found; for packs, in each lane.
template <MatrixBackend Backend>
struct RiccatiNewton {
  using Scalar = typename Backend::Scalar;

  typename Backend::StateMatrix P;  ///< solution
  typename Backend::Gain K;         ///< its gain
  Scalar residual{};                ///< of P, see `RiccatiProblem::residual`
  Scalar steps{};                   ///< number of Lyapunov equations solved
  MaskOf<Scalar> converged{};       ///< the residual stalled at rounding level and A - BK is proved stable
  /// The iterates approach the stability limit (for packs: are so close that plain numbers have to decide).
  MaskOf<Scalar> inconclusive{};

  /// converged, inconclusive, `unstable` if the first gain is not (provably) stabilising, or
  /// `iteration_limit`.
  Status status() const requires(!is_pack<Scalar>) {
    if (converged) return Status::converged;
    if (inconclusive) return Status::inconclusive;
    return steps > Scalar(0) ? Status::iteration_limit : Status::unstable;
  }
};

/// Whether the distance of a closed loop F from the stability limit has settled: see `riccati_newton`.
template <MatrixBackend Backend>
class SettledRadius {
 public:
  using StateMatrix = typename Backend::StateMatrix;

  explicit SettledRadius(Index n) : n_(static_cast<double>(n)) {}

  /// Doublings at which 1 - rho may be below 64 sqrt(epsilon).
  static int marginal_doublings() {
    const double epsilon = lane_to_double<Backend>(Backend::epsilon());
    return static_cast<int>(std::log2(-std::log(epsilon) / (64 * std::sqrt(epsilon))));
  }

  /// Whether the iterate P may be accepted: always if it is not near the limit, else once nothing moved twice
  /// in a row. P differs from the last iterate by `correction`; `closed_loop()` is that of its gain.
  template <class ClosedLoop>
  bool accepts(bool near, const ClosedLoop& closed_loop, const StateMatrix& correction,
               const StateMatrix& P) {
    if (!near) {
      radius_ = -1;
      settled_ = 2;
      return true;
    }
    const double unit = n_ * Backend::to_double(Backend::epsilon());
    const double last = radius_;
    radius_ = Backend::to_double(spectral_radius<Backend>(closed_loop()));
    const double change = Backend::to_double(Backend::norm(correction));
    const bool same = last >= 0 && 1 - radius_ > 64 * unit &&
                      std::abs(radius_ - last) <= 0.02 * (1 - radius_) + 8 * unit &&
                      change <= 0.1 * Backend::to_double(Backend::norm(P));
    settled_ = same ? settled_ + 1 : 0;
    return settled_ >= 2;
  }

 private:
  double n_;
  double radius_ = -1;
  int settled_ = 0;
};

/// P as what Newton's method would end with, in the lanes of `candidates` where its residual is at rounding
/// level already and it proves A - BK stable.
template <MatrixBackend Backend>
RiccatiNewton<Backend> accepted_riccati(const RiccatiProblem<Backend>& problem,
                                        const typename Backend::StateMatrix& P,
                                        const MaskOf<typename Backend::Scalar>& candidates) {
  using Scalar = typename Backend::Scalar;
  RiccatiNewton<Backend> result{.P = P, .K = problem.gain(P)};
  result.inconclusive = Scalar(1) < Scalar(0);
  result.residual = problem.residual(P, result.K);
  result.converged = candidates && result.residual <= Scalar(4) * Backend::epsilon();
  if (LaneTraits<Scalar>::any(result.converged)) {
    const typename Backend::StateMatrix F = problem.closed_loop(result.K);
    result.converged = result.converged && is_lyapunov_certificate<Backend>(F, P);
  }
  return result;
}

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
  using std::sqrt;
  using Scalar = typename Backend::Scalar;
  using Lane = LaneTraits<Scalar>;
  using Mask = MaskOf<Scalar>;
  using StateMatrix = typename Backend::StateMatrix;
  const Scalar small = sqrt(Backend::epsilon());
  const int marginal = SettledRadius<Backend>::marginal_doublings();
  SettledRadius<Backend> distance(Backend::rows(problem.A));

  RiccatiNewton<Backend> best{.P = P, .K = K};
  best.residual = Lane::infinity();
  best.converged = best.inconclusive = Scalar(1) < Scalar(0);
  const Scalar tiny = Scalar(2) * Backend::epsilon();
  StateMatrix work;
  Mask active = Scalar(0) < Scalar(1);
  for (int step = 0; step < max_steps && Lane::any(active); ++step) {
    const StateMatrix F = problem.closed_loop(K);
    StateMatrix correction = problem.stage_cost(K) + Backend::congruence(F, P) - P;
    const auto add = [&](const StateMatrix& power) { Backend::add_congruence(correction, power, work); };
    // Lanes near the limit are left to plain numbers.
    const auto report = settled<Backend>(
        visit_powers<Backend>(F, add, Backend::epsilon(), is_pack<Scalar> ? marginal : 64), F);
    const Mask stable = active && report.converged();
    best.inconclusive = best.inconclusive || (active && !stable && best.steps > Scalar(0));
    if (!Lane::any(stable)) return best;
    correction = Backend::symmetrised(correction);
    P += correction;
    K = problem.gain(P);
    const Scalar residual = problem.residual(P, K);
    best.steps = Lane::select(stable, best.steps + Scalar(1), best.steps);
    const Mask stalled = best.residual < small && residual > best.residual / Scalar(2);
    const Mask better = stable && residual < best.residual;
    best.residual = Lane::select(better, residual, best.residual);
    copy_lanes<Backend>(better, P, best.P);
    copy_lanes<Backend>(better, K, best.K);
    Mask done = stable && residual < Lane::infinity() && (stalled || residual <= tiny);
    if constexpr (!is_pack<Scalar>) {
      const bool near = report.doublings >= marginal;
      done = distance.accepts(
                 near, [&] { return problem.closed_loop(K); }, correction, P) &&
             done;
    }
    if (Lane::any(done)) {
      const StateMatrix last = problem.closed_loop(best.K);
      const Mask proved = is_stable_by<Backend>(best.P, last);
      best.converged = best.converged || (done && proved);
      best.inconclusive = best.inconclusive || (done && !proved);
    }
    active = stable && residual < Lane::infinity() && !done;
  }
  return best;
}

}  // namespace metalqr::inline METALQR_ABI::detail
