#pragma once

/// @file
/// The data of a Riccati equation, and what follows from a gain or a value matrix.

#include <metalqr/core/backend.hpp>
#include <metalqr/equations/balance.hpp>
#include <metalqr/equations/residual.hpp>

namespace metalqr::inline METALQR_ABI::detail {

/// x_{t+1} = A x + B u with stage cost x'Qx + 2 x'Nu + u'Ru.
template <MatrixBackend Backend>
struct RiccatiProblem {
  typename Backend::StateMatrix A;
  typename Backend::InputMatrix B;
  typename Backend::StateMatrix Q;
  typename Backend::ControlMatrix R;
  typename Backend::InputMatrix N;
  bool has_cross = true;  // false: N is zero

  /// Changes the state to x' with x = D x', so that P becomes D P D and K becomes K D.
  void scale(const typename Backend::StateVector& d) {
    const typename Backend::StateVector inverse = inverses<Backend>(d);
    scale_entries<Backend>(A, inverse, d);
    scale_rows(B, inverse, Backend::rows(B), Backend::cols(B));
    scale_entries<Backend>(Q, d, d);
    scale_rows(N, d, Backend::rows(N), Backend::cols(N));
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
    typename Backend::StateMatrix result = Q + Backend::congruence(K, R);
    if (has_cross) {
      const typename Backend::StateMatrix cross = Backend::product(N, K);
      result -= cross + Backend::transpose(cross);
    }
    return result;
  }

  /// The problem in v = u + R^-1 N'x, which has no cross term (completion of squares).
  RiccatiProblem without_cross() const {
    RiccatiProblem result = *this;
    const typename Backend::Gain shift = Backend::solve_spd(R, Backend::transpose(N));
    result.A = A - Backend::product(B, shift);
    result.Q = Q - Backend::product(N, shift);
    result.Q = Backend::symmetrised(result.Q);
    result.N = Backend::zero_like(N);
    result.has_cross = false;
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
    const typename Backend::StateMatrix effort = Backend::congruence(K, R);
    const typename Backend::StateMatrix moved = Backend::congruence(closed_loop(K), P);
    typename Backend::StateMatrix defect = Q + effort + moved - P;
    if (!has_cross) return normalised_residual<Backend>(defect, Q, effort, moved, P);
    const typename Backend::StateMatrix cross = Backend::product(N, K);
    defect -= cross + Backend::transpose(cross);
    return normalised_residual<Backend>(defect, Q, effort, cross, cross, moved, P);
  }
};

}  // namespace metalqr::inline METALQR_ABI::detail
