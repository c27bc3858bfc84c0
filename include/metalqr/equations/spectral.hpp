#pragma once

/// @file
/// Spectral radius and stability of a square matrix, from matrix products alone.

#include <algorithm>
#include <cmath>
#include <type_traits>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/error.hpp>
#include <metalqr/core/status.hpp>

namespace metalqr::inline METALQR_ABI {

/// What repeated squaring of F found.
template <class Scalar>
struct PowerReport {
  Status status = Status::iteration_limit;  ///< converged: rho(F) < 1 is proved
  int doublings = 0;                        ///< number k of powers F^(2^0) ... F^(2^(k-1)) that were visited
  Scalar norm{};                            ///< Frobenius norm of F^(2^k)
  Scalar error{};                           ///< bound on the Frobenius norm of its rounding error
};

/// Calls `visit(F^(2^k))` for k = 0, 1, ... until the square of the power's Frobenius norm is below
/// `tolerance` (default: epsilon), so that what a doubling sum leaves out is below `tolerance` times the sum.
///
/// Convergence is judged on the norm of the power itself and carries a running bound of its rounding error
/// (|fl(XY) - XY|_F <= n eps |X|_F |Y|_F, Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed.,
/// eq. 3.13), so that `converged` proves rho(F) < 1 for the matrix that was given. A test on the increments
/// of the sum would 'converge' by overflow where rho(F) > 1. At most 64 squarings; a NaN ends as `unstable`.
template <MatrixBackend Backend, class X, class Visit>
PowerReport<typename Backend::Scalar> visit_powers(const X& F, const Visit& visit,
                                                   typename Backend::Scalar tolerance = Backend::epsilon()) {
  using std::isfinite;
  using Scalar = typename Backend::Scalar;
  constexpr int cap = 64;
  const Scalar n = static_cast<Scalar>(static_cast<double>(Backend::rows(F)));
  const Scalar product_error = n * Backend::epsilon();
  const Scalar norm_inflation = Scalar(1) + (n * n + Scalar(4)) * Backend::epsilon();
  X power = F;
  PowerReport<Scalar> report;
  bool proved = false;
  for (;;) {
    report.norm = Backend::norm(power) * norm_inflation;
    if (!isfinite(report.norm)) {
      report.status = Status::unstable;
      return report;
    }
    if (report.norm + report.error < Scalar(1)) proved = true;
    if (report.norm * report.norm <= tolerance) {
      report.status = proved ? Status::converged : Status::inconclusive;
      return report;
    }
    if (report.doublings == cap) {
      report.status = proved ? Status::iteration_limit : Status::inconclusive;
      return report;
    }
    visit(power);
    ++report.doublings;
    report.error = Scalar(2) * report.norm * report.error + report.error * report.error +
                   product_error * report.norm * report.norm;
    power = Backend::product(power, power);
  }
}

/// Whether rho(F) < 1, proved in floating-point arithmetic with its rounding errors bounded: `true` is a
/// proof; `false` means unstable, or too close to the limit to tell (1 - rho below about n eps times the
/// growth of the powers). At most 64 products.
template <MatrixBackend Backend>
bool is_stable(const std::type_identity_t<typename Backend::StateMatrix>& F) {
  const auto report = visit_powers<Backend>(F, [](const typename Backend::StateMatrix&) {});
  return report.status == Status::converged;
}

/// Largest absolute value of the eigenvalues of the square matrix F, by repeated squaring with scaling
/// (Gelfand's formula |F^(2^k)|^(2^-k)): the error is a small multiple of epsilon times the condition of the
/// eigenvalue, as with an eigenvalue solver. About 55 products in double.
/// @throws NotFinite if F has a NaN or infinite entry.
template <MatrixBackend Backend>
typename Backend::Scalar spectral_radius(const std::type_identity_t<typename Backend::StateMatrix>& F) {
  using std::abs;
  using std::exp;
  using std::log;
  using Scalar = typename Backend::Scalar;
  if (!Backend::is_finite(F)) throw NotFinite("F: expected finite entries, got a NaN or infinity");
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
