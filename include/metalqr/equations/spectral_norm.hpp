#pragma once

/// @file
/// Spectral norm of a matrix, from matrix products alone.

#include <cmath>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/error.hpp>

namespace metalqr::inline METALQR_ABI {

namespace detail {

/// Largest eigenvalue of the symmetric positive semidefinite S, by repeated squaring: with p = 2^k,
/// lambda <= tr(S^p)^(1/p) <= n^(1/p) lambda.
template <MatrixBackend Backend, class X>
typename Backend::Scalar largest_eigenvalue_of_square(X S) {
  using std::exp;
  using std::log;
  using Scalar = typename Backend::Scalar;
  const Scalar n = static_cast<Scalar>(static_cast<double>(Backend::rows(S)));
  const Scalar negligible = Backend::epsilon() / (Scalar(8) * (Scalar(1) + log(n)));
  Scalar log_value(0);
  Scalar weight(1);
  for (;;) {
    const Scalar trace = Backend::trace(S);
    S = S / trace;
    log_value += weight * log(trace);
    // What further squarings can add is between -weight log(n) and 0.
    if (weight < negligible) return exp(log_value);
    // S is symmetric; its transpose takes away what is not, which would double with each squaring.
    const X square = Backend::transpose_product(S, S);
    S = square;
    weight = weight / Scalar(2);
  }
}

}  // namespace detail

/// |X|_2, the largest singular value of a matrix of any shape, to a few epsilon relative; zero if X is empty.
/// About 58 products of size min(rows, columns) in double.
/// @throws NotFinite if X has a NaN or infinite entry.
template <MatrixBackend Backend, class X>
typename Backend::Scalar spectral_norm(const X& x) {
  using std::sqrt;
  using Scalar = typename Backend::Scalar;
  if (Backend::rows(x) == 0 || Backend::cols(x) == 0) return Scalar(0);
  if (!Backend::is_finite(x)) throw NotFinite("X: expected finite entries, got a NaN or infinity");
  // Scaled, so that the squares neither overflow nor underflow.
  const Scalar largest = Backend::max_abs(x);
  if (!(largest > Scalar(0))) return Scalar(0);
  const X scaled = x / largest;
  const Scalar square =
      Backend::cols(x) <= Backend::rows(x)
          ? detail::largest_eigenvalue_of_square<Backend>(Backend::transpose_product(scaled, scaled))
          : detail::largest_eigenvalue_of_square<Backend>(Backend::product_transpose(scaled, scaled));
  return largest * sqrt(square);
}

}  // namespace metalqr::inline METALQR_ABI
