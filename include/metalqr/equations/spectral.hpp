#pragma once

/// @file
/// Spectral radius and stability of a square matrix, from matrix products alone.

#include <cmath>
#include <type_traits>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/check.hpp>
#include <metalqr/core/error.hpp>
#include <metalqr/core/lane_matrix.hpp>
#include <metalqr/core/status.hpp>
#include <metalqr/equations/balance.hpp>

namespace metalqr::inline METALQR_ABI {

/// What repeated squaring of F found; for packs, in each lane.
template <class Scalar>
struct PowerReport {
  MaskOf<Scalar> proved{};    ///< rho(F) < 1 is proved
  MaskOf<Scalar> refuted{};   ///< rho(F) > 1 is proved, or a power overflowed
  MaskOf<Scalar> vanished{};  ///< the squared norm, or a bound on the next power's, fell below the tolerance
  int doublings = 0;          ///< number k of powers F^(2^0) ... F^(2^(k-1)) that were visited

  /// Where a doubling sum over the powers is the solution.
  MaskOf<Scalar> converged() const { return proved && vanished; }
  /// Where the powers have vanished but nothing is proved: their growth outran the bound on the rounding
  /// errors, and another proof may decide.
  MaskOf<Scalar> open() const { return vanished && !proved && !refuted; }
  /// `converged` (rho(F) < 1 is proved), `unstable`, `inconclusive` or `iteration_limit`.
  Status status() const requires(!is_pack<Scalar>) {
    if (refuted) return Status::unstable;
    if (!proved) return Status::inconclusive;
    return vanished ? Status::converged : Status::iteration_limit;
  }
};

/// Calls `visit(F^(2^k))` for k = 0, 1, ... until the square of the power's Frobenius norm is below
/// `tolerance` (default: epsilon), so that what a doubling sum leaves out is below `tolerance` times the sum.
/// In a pack, a lane that has ended is given zeros until all have.
///
/// Convergence is judged on the norm of the power itself and carries a running bound of its rounding error
/// (|fl(XY) - XY|_F <= n u / (1 - n u) |X|_F |Y|_F with u = eps / 2, Higham, Accuracy and Stability of
/// Numerical Algorithms, 2nd ed., eq. 3.13), so that `converged` proves rho(F) < 1 for the matrix that was
/// given. A test on the increments of the sum would 'converge' by overflow where rho(F) > 1; that is proved
/// by |tr F^(2^k)| > n. At most `cap` squarings; a power that the norm of its root shows to be negligible is
/// not computed. A NaN is `refuted`.
template <MatrixBackend Backend, class X, class Visit>
PowerReport<typename Backend::Scalar> visit_powers(const X& F, const Visit& visit,
                                                   typename Backend::Scalar tolerance = Backend::epsilon(),
                                                   int cap = 64) {
  using std::abs;
  using Scalar = typename Backend::Scalar;
  using Lane = LaneTraits<Scalar>;
  const Scalar n = Lane::number(static_cast<double>(Backend::rows(F)));
  const Scalar roundings = n * Backend::epsilon() / Scalar(2);
  const Scalar unit = roundings / (Scalar(1) - roundings);
  const Scalar product_error = unit * unit;
  const Scalar inflation = Scalar(1) + (n * n + Scalar(16)) * Backend::epsilon();
  X powers[2];
  powers[0] = F;
  PowerReport<Scalar> report;
  MaskOf<Scalar> ended = Scalar(1) < Scalar(0);
  report.proved = report.refuted = report.vanished = ended;
  Scalar error(0);
  // Squares of the norms, and of the error below, spare a chain of square roots: (x + y)^2 is at most
  // 64/63 x^2 + 64 y^2, and (x + y + z)^2 at most 32/31 x^2 + 64 (y^2 + z^2).
  for (;;) {
    X& power = powers[report.doublings % 2];
    const Scalar squared = Backend::inner(power, power) * inflation;
    const Scalar excess = abs(Backend::trace(power)) - n * inflation;
    const Scalar uncertain = n * n * (Scalar(8) * error + Scalar(32) * product_error * squared);
    const MaskOf<Scalar> proves = Scalar(64) / Scalar(63) * squared + Scalar(64) * error < Scalar(1);
    const MaskOf<Scalar> refutes =
        !(squared < Lane::infinity()) || (excess > Scalar(0) && excess * excess > uncertain);
    report.proved = report.proved || (!ended && proves);
    report.refuted = report.refuted || refutes;
    error =
        Scalar(64) * ((Scalar(2) / Scalar(31) * squared + error) * error + product_error * squared * squared);
    report.vanished = report.vanished || squared <= tolerance;
    ended = report.vanished || report.refuted;
    if (Lane::all(ended) || report.doublings == cap) return report;
    if (Lane::any(ended)) detail::clear_lanes<Backend>(ended, power);
    visit(static_cast<const X&>(power));
    ++report.doublings;
    // |X^2|_F <= |X|_F^2.
    report.vanished = report.vanished || squared * squared <= tolerance;
    ended = report.vanished || report.refuted;
    if (Lane::all(ended)) return report;
    Backend::multiply(power, power, powers[report.doublings % 2]);
  }
}

namespace detail {

/// Whether X is proved positive definite and X - F'XF too, so that rho(F) < 1 (Lyapunov's theorem): both have
/// a Cholesky factorisation after their diagonals are lowered by a bound on the rounding errors of computing
/// and factorising them (Rump, "Verification of positive definiteness", BIT 46, 2006).
template <MatrixBackend Backend>
MaskOf<typename Backend::Scalar> is_lyapunov_certificate(const typename Backend::StateMatrix& F,
                                                         const typename Backend::StateMatrix& X) {
  using std::abs;
  using Scalar = typename Backend::Scalar;
  using StateMatrix = typename Backend::StateMatrix;
  const StateMatrix S =
      Backend::symmetrised(X);  // what is factorised is a triangle, what is multiplied is all
  const StateMatrix decrease = S - Backend::congruence(F, S);
  const Scalar n = LaneTraits<Scalar>::number(static_cast<double>(Backend::rows(F)));
  const Scalar unit = Scalar(2) * (n + Scalar(4)) * Backend::epsilon();
  const Scalar size = Backend::norm(F);
  // |S|_F is at most the trace of S, which neither overflows nor underflows, if X is positive definite.
  const Scalar own_error = unit * abs(Backend::trace(S));
  const Scalar product_error = (size * size + Scalar(1)) * own_error;
  const Scalar decrease_error = product_error + unit * abs(Backend::trace(decrease));
  const MaskOf<Scalar> exceeds_underflow = own_error * Backend::epsilon() * Backend::epsilon() > Scalar(0);
  StateMatrix lowered_decrease = Backend::symmetrised(decrease);
  StateMatrix lowered = S;
  for (Index i = 0; i < Backend::rows(F); ++i) {
    lowered_decrease(i, i) = lowered_decrease(i, i) - decrease_error;
    lowered(i, i) = lowered(i, i) - own_error;
  }
  return exceeds_underflow && Backend::is_finite(lowered) && Backend::is_finite(lowered_decrease) &&
         Backend::is_positive_definite(lowered_decrease) && Backend::is_positive_definite(lowered);
}

}  // namespace detail

/// Whether rho(F) < 1, proved in floating-point arithmetic with its rounding errors bounded: `true` is a
/// proof; `false` means unstable, or too close to the limit to tell. First by the powers of F (at most 64
/// products; see `visit_powers`). Where their growth leaves that open, by a Lyapunov function X = I + F'XF,
/// and once more in states scaled by powers of two so that X has a unit diagonal.
/// @throws DimensionMismatch unless F is square.
template <MatrixBackend Backend>
bool is_stable(const std::type_identity_t<typename Backend::StateMatrix>& F) {
  using StateMatrix = typename Backend::StateMatrix;
  detail::require_shape<Backend>(F, Backend::rows(F), Backend::rows(F), "F");
  const auto quick = visit_powers<Backend>(F, [](const StateMatrix&) {});
  if (quick.status() != Status::inconclusive) return quick.status() == Status::converged;
  StateMatrix scaled = F;
  StateMatrix work = F;
  for (int attempt = 0; attempt < 2; ++attempt) {
    StateMatrix X = Backend::identity_like(F);
    const auto report = visit_powers<Backend>(
        scaled, [&](const StateMatrix& power) { Backend::add_congruence(X, power, work); });
    if (report.status() == Status::converged) return true;
    X = Backend::symmetrised(X);
    if (detail::is_lyapunov_certificate<Backend>(scaled, X)) return true;
    if (!Backend::is_finite(X)) return false;
    const auto scales = detail::unit_diagonal_scales<Backend>(X);
    detail::scale_entries<Backend>(scaled, detail::inverses<Backend>(scales), scales);
  }
  return false;
}

namespace detail {

/// `report`, with `proved` set where another proof decided what it left open.
template <MatrixBackend Backend>
PowerReport<typename Backend::Scalar> settled(PowerReport<typename Backend::Scalar> report,
                                              const typename Backend::StateMatrix& F) {
  using Scalar = typename Backend::Scalar;
  using Lane = LaneTraits<Scalar>;
  if (!Lane::any(report.open())) return report;
  if constexpr (is_pack<Scalar>) {
    using Plain = typename Backend::template Rebind<typename Lane::Value>;
    typename Plain::StateMatrix plain = Plain::zero_state_matrix(Backend::rows(F));
    report.proved = Lane::make_mask([&](Index lane) {
      if (!Lane::test(report.open(), lane)) return Lane::test(report.proved, lane);
      unpack_lane(F, lane, Backend::rows(F), Backend::rows(F), plain);
      return is_stable<Plain>(plain);
    });
  } else {
    report.proved = is_stable<Backend>(F);
  }
  return report;
}

/// The same, after trying whether X, which is symmetric up to rounding, is a Lyapunov function of F.
template <MatrixBackend Backend>
PowerReport<typename Backend::Scalar> settled(PowerReport<typename Backend::Scalar> report,
                                              const typename Backend::StateMatrix& F,
                                              const typename Backend::StateMatrix& X) {
  if (!LaneTraits<typename Backend::Scalar>::any(report.open())) return report;
  const auto certified = is_lyapunov_certificate<Backend>(F, X);
  report.proved = report.proved || (report.open() && certified);
  return settled<Backend>(report, F);
}

/// Whether rho(F) < 1 is proved, for packs in each lane: by the symmetric X if it is a Lyapunov function of
/// F, else as in `is_stable`.
template <MatrixBackend Backend>
MaskOf<typename Backend::Scalar> is_stable_by(const typename Backend::StateMatrix& X,
                                              const typename Backend::StateMatrix& F) {
  using Lane = LaneTraits<typename Backend::Scalar>;
  const auto certified = is_lyapunov_certificate<Backend>(F, X);
  if (Lane::all(certified)) return certified;
  const auto nothing = [](const typename Backend::StateMatrix&) {};
  return certified || settled<Backend>(visit_powers<Backend>(F, nothing), F).converged();
}

}  // namespace detail

/// Largest absolute value of the eigenvalues of the square matrix F, by repeated squaring with scaling
/// (Gelfand's formula |F^(2^k)|^(2^-k)): the error is a small multiple of epsilon times the condition of the
/// eigenvalue, as with an eigenvalue solver. About 55 products in double.
/// @throws DimensionMismatch unless F is square; NotFinite if F has a NaN or infinite entry.
template <MatrixBackend Backend>
typename Backend::Scalar spectral_radius(const std::type_identity_t<typename Backend::StateMatrix>& F) {
  using std::abs;
  using std::exp;
  using std::log;
  using Scalar = typename Backend::Scalar;
  detail::require_shape<Backend>(F, Backend::rows(F), Backend::rows(F), "F");
  detail::require_finite<Backend>(F, "F");
  typename Backend::StateMatrix power = F;
  Scalar log_radius(0);
  Scalar weight(1);
  const Scalar negligible = Backend::epsilon() / Scalar(8);
  while (weight > negligible / Scalar(1024)) {
    // Scaled by the largest entry first, so that the norm neither overflows nor underflows.
    const Scalar largest = Backend::max_abs(power);
    if (!(largest > Scalar(0))) return Scalar(0);
    power = power / largest;
    const Scalar norm = Backend::norm(power);
    power = power / norm;
    log_radius += weight * (log(largest) + log(norm));
    power = Backend::product(power, power);
    weight = weight / Scalar(2);
    if (weight < negligible && abs(log(norm)) * weight < negligible) break;
  }
  return exp(log_radius);
}

}  // namespace metalqr::inline METALQR_ABI
