#pragma once

/// @file
/// Checks of matrix arguments that every part of the library shares: each names the argument, its value and
/// what was expected.

#include <cmath>
#include <limits>
#include <string>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/error.hpp>

namespace metalqr::inline METALQR_ABI::detail {

/// Throws `DimensionMismatch` unless X is `rows` x `cols` with at least one of each:
/// "B: expected shape 4x2, got 3x2".
template <MatrixBackend Backend, class X>
void require_shape(const X& x, Index rows, Index cols, const char* name) {
  if (rows < 1 || cols < 1) {
    throw DimensionMismatch(std::string(name) + ": expected at least one row and one column, got shape " +
                            shape(Backend::rows(x), Backend::cols(x)));
  }
  if (Backend::rows(x) != rows || Backend::cols(x) != cols) {
    throw DimensionMismatch(std::string(name) + ": expected shape " + shape(rows, cols) + ", got " +
                            shape(Backend::rows(x), Backend::cols(x)));
  }
}

/// Throws `NotFinite` if X has a NaN or infinite entry: "A: expected finite entries, got nan at (0, 1)".
template <MatrixBackend Backend, class X>
void require_finite(const X& x, const char* name) {
  if (Backend::is_finite(x)) return;
  for (Index i = 0; i < Backend::rows(x); ++i) {
    for (Index j = 0; j < Backend::cols(x); ++j) {
      const double value = Backend::to_double(x(i, j));
      if (std::isfinite(value)) continue;
      throw NotFinite(std::string(name) + ": expected finite entries, got " + text(value) + " at (" +
                      std::to_string(i) + ", " + std::to_string(j) + ")");
    }
  }
  throw NotFinite(std::string(name) + ": expected finite entries, got a NaN or infinity");
}

/// Throws `NotPositiveDefinite` unless the finite square matrix X is symmetric up to rounding: no entry of
/// X - X' above sqrt(epsilon) times the largest entry of X.
template <MatrixBackend Backend, class X>
void require_symmetric(const X& x, const char* name) {
  using std::abs;
  using std::sqrt;
  using Scalar = typename Backend::Scalar;
  const Scalar allowed = sqrt(Backend::epsilon()) * Backend::max_abs(x);
  for (Index i = 0; i < Backend::rows(x); ++i) {
    for (Index j = 0; j < i; ++j) {
      const Scalar upper = x(j, i);
      const Scalar lower = x(i, j);
      if (abs(upper - lower) <= allowed) continue;
      throw NotPositiveDefinite(std::string(name) + ": expected a symmetric matrix, got " +
                                text(Backend::to_double(lower)) + " at (" + std::to_string(i) + ", " +
                                std::to_string(j) + ") and " + text(Backend::to_double(upper)) +
                                " at its mirror");
    }
  }
}

/// A pivot of a factorisation.
struct Pivot {
  Index index;   ///< its row; the number of rows if there is none
  double value;  ///< in units of the matrix's largest entry
};

/// The first pivot of the LDL' factorisation (without exchanges) of X / max|X| + shift I that is not
/// positive; index = rows if all are positive. Reads the lower triangle. n^3/3 operations.
template <MatrixBackend Backend, class X>
Pivot first_nonpositive_pivot(const X& x, const typename Backend::Scalar& shift) {
  using Scalar = typename Backend::Scalar;
  const Index n = Backend::rows(x);
  const Scalar largest = Backend::max_abs(x);
  X L = x;
  if (largest > Scalar(0)) L = L / largest;
  for (Index j = 0; j < n; ++j) {
    Scalar pivot = L(j, j) + shift;
    for (Index k = 0; k < j; ++k) pivot -= L(j, k) * L(j, k) * L(k, k);
    if (!(pivot > Scalar(0))) return {j, Backend::to_double(pivot)};
    L(j, j) = pivot;
    for (Index i = j + 1; i < n; ++i) {
      Scalar entry = L(i, j);
      for (Index k = 0; k < j; ++k) entry -= L(i, k) * L(j, k) * L(k, k);
      L(i, j) = entry / pivot;
    }
  }
  return {n, 0.0};
}

template <MatrixBackend Backend, class X>
void require_pivots(const X& x, const typename Backend::Scalar& shift, const char* name,
                    const char* expected) {
  const Pivot pivot = first_nonpositive_pivot<Backend>(x, shift);
  if (pivot.index == Backend::rows(x)) return;
  const double value = pivot.value * Backend::to_double(Backend::max_abs(x));
  throw NotPositiveDefinite(std::string(name) + ": expected a " + expected + " matrix, got pivot " +
                            text(value) + " in row " + std::to_string(pivot.index) +
                            " of its LDL' factorisation");
}

/// Throws `NotPositiveDefinite` unless the finite square matrix X is symmetric and has a Cholesky
/// factorisation.
template <MatrixBackend Backend, class X>
void require_positive_definite(const X& x, const char* name) {
  require_symmetric<Backend>(x, name);
  require_pivots<Backend>(x, typename Backend::Scalar(0), name, "positive definite");
}

/// Throws `NotPositiveDefinite` unless the finite square matrix X is symmetric and positive semidefinite up
/// to rounding: X + 8 n epsilon |X|_F I has a Cholesky factorisation (a matrix of deficient rank passes).
/// Epsilon is at least that of double, since wider numbers are often read from doubles.
template <MatrixBackend Backend, class X>
void require_positive_semidefinite(const X& x, const char* name) {
  using Scalar = typename Backend::Scalar;
  require_symmetric<Backend>(x, name);
  const Scalar largest = Backend::max_abs(x);
  if (!(largest > Scalar(0))) return;
  const X scaled = x / largest;
  const Scalar of_double(std::numeric_limits<double>::epsilon());
  const Scalar epsilon = Backend::epsilon() > of_double ? Backend::epsilon() : of_double;
  const Scalar n = static_cast<Scalar>(static_cast<double>(Backend::rows(x)));
  require_pivots<Backend>(x, Scalar(8) * n * epsilon * Backend::norm(scaled), name, "positive semidefinite");
}

/// (X + X')/2 of the finite square matrix X, also where the sum overflows.
template <MatrixBackend Backend, class X>
X symmetric_part(const X& x) {
  using Scalar = typename Backend::Scalar;
  X result = Backend::symmetrised(x);
  if (Backend::is_finite(result)) return result;
  for (Index i = 0; i < Backend::rows(x); ++i) {
    for (Index j = 0; j < Backend::cols(x); ++j) {
      result(i, j) = x(i, j) / Scalar(2) + x(j, i) / Scalar(2);
    }
  }
  return result;
}

/// (X + X')/2, which it checks rather than X: X may differ from it by rounding.
/// @throws as `require_positive_definite`.
template <MatrixBackend Backend, class X>
X definite_part(const X& x, const char* name) {
  require_symmetric<Backend>(x, name);
  X result = symmetric_part<Backend>(x);
  require_positive_definite<Backend>(result, name);
  return result;
}

/// The same for semidefinite matrices.
/// @throws as `require_positive_semidefinite`.
template <MatrixBackend Backend, class X>
X semidefinite_part(const X& x, const char* name) {
  require_symmetric<Backend>(x, name);
  X result = symmetric_part<Backend>(x);
  require_positive_semidefinite<Backend>(result, name);
  return result;
}

}  // namespace metalqr::inline METALQR_ABI::detail
