#pragma once

/// @file
/// Factorisations without a branch on data, for matrices whose entries are packs.

#include <cmath>

#include <metalqr/core/lanes.hpp>

namespace metalqr::inline METALQR_ABI::detail {

/// Overwrites each Y with X^-1 Y by Gaussian elimination with partial pivoting, for packs in each lane by
/// itself; X is overwritten. Entries are not finite where X is singular. Works down columns, which are
/// contiguous.
template <class X, class... Y>
void eliminate(X& x, Y&... y) {
  using std::abs;
  using Scalar = typename X::Scalar;
  using Lane = LaneTraits<Scalar>;
  const Index n = x.rows();
  for (Index k = 0; k < n; ++k) {
    for (Index i = k + 1; i < n; ++i) {
      const auto larger = abs(x(i, k)) > abs(x(k, k));
      if (!Lane::any(larger)) continue;
      const auto exchange = [&larger, k, i](auto& matrix, Index first) {
        for (Index j = first; j < matrix.cols(); ++j) {
          const Scalar upper = matrix(k, j);
          const Scalar lower = matrix(i, j);
          matrix(k, j) = Lane::select(larger, lower, upper);
          matrix(i, j) = Lane::select(larger, upper, lower);
        }
      };
      exchange(x, k);
      (exchange(y, 0), ...);
    }
    const Scalar inverse = Scalar(1) / x(k, k);
    x(k, k) = inverse;
    for (Index i = k + 1; i < n; ++i) x(i, k) = x(i, k) * inverse;
    const auto subtract = [&x, k, n](auto& matrix, Index first) {
      for (Index j = first; j < matrix.cols(); ++j) {
        const Scalar pivot = matrix(k, j);
        for (Index i = k + 1; i < n; ++i) matrix(i, j) = matrix(i, j) - x(i, k) * pivot;
      }
    };
    subtract(x, k + 1);
    (subtract(y, 0), ...);
  }
  const auto back_substitute = [&x, n](auto& matrix) {
    for (Index j = 0; j < matrix.cols(); ++j) {
      for (Index k = n; k-- > 0;) {
        const Scalar value = matrix(k, j) * x(k, k);
        matrix(k, j) = value;
        for (Index i = 0; i < k; ++i) matrix(i, j) = matrix(i, j) - x(i, k) * value;
      }
    }
  };
  (back_substitute(y), ...);
}

/// Overwrites the lower triangle of the symmetric matrix X with the Cholesky factor L of X = L L', its
/// diagonal inverted; the mask says in which lanes the factor exists.
template <class X>
auto cholesky(X& x) {
  using std::sqrt;
  using Pack = typename X::Scalar;
  using Lane = LaneTraits<Pack>;
  const Index n = x.rows();
  typename Lane::Mask positive = Pack(1) > Pack(0);
  for (Index j = 0; j < n; ++j) {
    Pack pivot = x(j, j);
    for (Index k = 0; k < j; ++k) pivot = pivot - x(j, k) * x(j, k);
    positive = positive && pivot > Pack(0) && pivot < Lane::infinity();
    const Pack inverse = Pack(1) / sqrt(pivot);
    x(j, j) = inverse;
    for (Index i = j + 1; i < n; ++i) {
      Pack entry = x(i, j);
      for (Index k = 0; k < j; ++k) entry = entry - x(i, k) * x(j, k);
      x(i, j) = entry * inverse;
    }
  }
  return positive;
}

/// Overwrites Y with X^-1 Y, given what `cholesky` made of X.
template <class X, class Y>
void solve_cholesky(const X& x, Y& y) {
  using Pack = typename X::Scalar;
  const Index n = x.rows();
  for (Index j = 0; j < y.cols(); ++j) {
    for (Index i = 0; i < n; ++i) {
      Pack sum = y(i, j);
      for (Index k = 0; k < i; ++k) sum = sum - x(i, k) * y(k, j);
      y(i, j) = sum * x(i, i);
    }
    for (Index i = n; i-- > 0;) {
      Pack sum = y(i, j);
      for (Index k = i + 1; k < n; ++k) sum = sum - x(k, i) * y(k, j);
      y(i, j) = sum * x(i, i);
    }
  }
}

}  // namespace metalqr::inline METALQR_ABI::detail
