#pragma once

/// @file
/// Factorisations without a branch on data, for matrices whose entries are packs.

#include <cmath>

#include <metalqr/core/lanes.hpp>

namespace metalqr::inline METALQR_ABI::detail {

/// Overwrites Y with X^-1 Y by Gaussian elimination with partial pivoting in each lane by itself; X is
/// overwritten. Entries are not finite where X is singular.
template <class X, class Y>
void eliminate(X& x, Y& y) {
  using std::abs;
  using Pack = typename X::Scalar;
  using Lane = LaneTraits<Pack>;
  const Index n = x.rows();
  const Index cols = y.cols();
  for (Index k = 0; k < n; ++k) {
    for (Index i = k + 1; i < n; ++i) {
      const auto larger = abs(x(i, k)) > abs(x(k, k));
      if (!Lane::any(larger)) continue;
      const auto exchange = [&larger](Pack& upper, Pack& lower) {
        const Pack old = upper;
        upper = Lane::select(larger, lower, old);
        lower = Lane::select(larger, old, lower);
      };
      for (Index j = k; j < n; ++j) exchange(x(k, j), x(i, j));
      for (Index j = 0; j < cols; ++j) exchange(y(k, j), y(i, j));
    }
    const Pack inverse = Pack(1) / x(k, k);
    for (Index i = k + 1; i < n; ++i) {
      const Pack factor = x(i, k) * inverse;
      for (Index j = k + 1; j < n; ++j) x(i, j) = x(i, j) - factor * x(k, j);
      for (Index j = 0; j < cols; ++j) y(i, j) = y(i, j) - factor * y(k, j);
    }
    x(k, k) = inverse;
  }
  for (Index k = n; k-- > 0;) {
    for (Index j = 0; j < cols; ++j) {
      Pack sum = y(k, j);
      for (Index i = k + 1; i < n; ++i) sum = sum - x(k, i) * y(i, j);
      y(k, j) = sum * x(k, k);
    }
  }
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
