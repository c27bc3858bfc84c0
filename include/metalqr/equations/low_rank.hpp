#pragma once

/// @file
/// Tall thin matrices by products alone: orthonormal bases, and factors Z of Z Z' with fewer columns.

#include <cmath>
#include <cstddef>
#include <vector>

#include <metalqr/core/backend.hpp>

namespace metalqr::inline METALQR_ABI::detail {

/// The blocks side by side: at least one, all with the same number of rows.
template <MatrixBackend Backend>
typename Backend::Matrix side_by_side(const std::vector<typename Backend::Matrix>& blocks) {
  const Index rows = Backend::rows(blocks.front());
  Index cols = 0;
  for (const auto& block : blocks) cols += Backend::cols(block);
  typename Backend::Matrix all = Backend::zero_matrix(rows, cols);
  Index first = 0;
  for (const auto& block : blocks) {
    for (Index j = 0; j < Backend::cols(block); ++j) {
      for (Index i = 0; i < rows; ++i) all(i, first + j) = block(i, j);
    }
    first += Backend::cols(block);
  }
  return all;
}

/// The columns of X with these indices.
template <MatrixBackend Backend>
typename Backend::Matrix columns_of(const typename Backend::Matrix& X, const std::vector<Index>& indices) {
  typename Backend::Matrix some = Backend::zero_matrix(Backend::rows(X), static_cast<Index>(indices.size()));
  for (std::size_t j = 0; j < indices.size(); ++j) {
    for (Index i = 0; i < Backend::rows(X); ++i) some(i, static_cast<Index>(j)) = X(i, indices[j]);
  }
  return some;
}

/// |x|_2 of each column.
template <MatrixBackend Backend>
std::vector<typename Backend::Scalar> column_norms(const typename Backend::Matrix& X) {
  using std::sqrt;
  std::vector<typename Backend::Scalar> norms;
  for (Index j = 0; j < Backend::cols(X); ++j) {
    typename Backend::Scalar sum(0);
    for (Index i = 0; i < Backend::rows(X); ++i) sum += X(i, j) * X(i, j);
    norms.push_back(sqrt(sum));
  }
  return norms;
}

/// |X X'|_F = |X'X|_F; its squares do not overflow where those of X do not.
template <MatrixBackend Backend>
typename Backend::Scalar norm_of_square(const typename Backend::Matrix& X) {
  using Scalar = typename Backend::Scalar;
  using Matrix = typename Backend::Matrix;
  if (Backend::cols(X) == 0) return Scalar(0);
  const Matrix gram = Backend::transpose_product(X, X);
  const Scalar largest = Backend::max_abs(gram);
  return largest > Scalar(0) ? largest * Backend::norm(Matrix(gram / largest)) : largest;
}

/// A trapezoidal factor with G = L L' up to what was left out.
template <MatrixBackend Backend>
struct PivotedCholesky {
  typename Backend::Matrix L;  ///< L(pivots[k], l) = 0 for l > k
  std::vector<Index> pivots;   ///< the row of the pivot of each column
};

/// Cholesky factorisation of the symmetric positive semidefinite G (up to rounding) with the largest pivot
/// first, until the trace of what is left is at most `allowed` or each entry of its diagonal at most
/// `relative` times that of G. c k^2 operations for k of c columns.
template <MatrixBackend Backend>
PivotedCholesky<Backend> pivoted_cholesky(const typename Backend::Matrix& G,
                                          const typename Backend::Scalar& allowed,
                                          const typename Backend::Scalar& relative) {
  using std::sqrt;
  using Scalar = typename Backend::Scalar;
  const Index c = Backend::rows(G);
  std::vector<Scalar> left;
  for (Index i = 0; i < c; ++i) left.push_back(G(i, i));
  PivotedCholesky<Backend> result;
  std::vector<std::vector<Scalar>> columns;
  for (;;) {
    Scalar trace(0);
    Index pivot = -1;
    for (Index i = 0; i < c; ++i) {
      const Scalar& own = left[static_cast<std::size_t>(i)];
      if (own > Scalar(0)) trace += own;
      const bool larger = pivot < 0 || own > left[static_cast<std::size_t>(pivot)];
      if (own > relative * G(i, i) && larger) pivot = i;
    }
    if (pivot < 0 || !(trace > allowed)) break;
    const auto at_pivot = static_cast<std::size_t>(pivot);
    std::vector<Scalar> column;
    for (Index i = 0; i < c; ++i) column.push_back(G(i, pivot));
    for (const std::vector<Scalar>& earlier : columns) {
      const Scalar factor = earlier[at_pivot];
      for (std::size_t i = 0; i < column.size(); ++i) column[i] -= factor * earlier[i];
    }
    const Scalar root = sqrt(left[at_pivot]);
    for (Scalar& entry : column) entry = entry / root;
    for (const Index done : result.pivots) column[static_cast<std::size_t>(done)] = Scalar(0);
    column[at_pivot] = root;
    for (std::size_t i = 0; i < column.size(); ++i) left[i] -= column[i] * column[i];
    left[at_pivot] = Scalar(0);
    columns.push_back(std::move(column));
    result.pivots.push_back(pivot);
  }
  result.L = Backend::zero_matrix(c, static_cast<Index>(columns.size()));
  for (std::size_t k = 0; k < columns.size(); ++k) {
    for (Index i = 0; i < c; ++i)
      result.L(i, static_cast<Index>(k)) = columns[k][static_cast<std::size_t>(i)];
  }
  return result;
}

/// The T (c x k) for which Y T has orthonormal columns in exact arithmetic, if L is from Y'Y: the inverse of
/// the triangle in the rows of the pivots, zero elsewhere.
template <MatrixBackend Backend>
typename Backend::Matrix orthonormalising(const PivotedCholesky<Backend>& factors) {
  using Scalar = typename Backend::Scalar;
  const auto& [L, pivots] = factors;
  const Index k = Backend::cols(L);
  typename Backend::Matrix T = Backend::zero_matrix(Backend::rows(L), k);
  const auto row = [&pivots = pivots](Index i) { return pivots[static_cast<std::size_t>(i)]; };
  // Column j of the inverse of the upper triangle L(pivots, :)', from its diagonal upwards.
  for (Index j = 0; j < k; ++j) {
    T(row(j), j) = Scalar(1) / L(row(j), j);
    for (Index i = j; i-- > 0;) {
      Scalar sum(0);
      for (Index l = i + 1; l <= j; ++l) sum += L(row(l), i) * T(row(l), j);
      T(row(i), j) = -sum / L(row(i), i);
    }
  }
  return T;
}

/// The matrix with orthonormal columns next to W, whose columns are nearly orthonormal: W (I + D)^(-1/2) with
/// D = W'W - I by its series, again if the first terms do not do.
template <MatrixBackend Backend>
typename Backend::Matrix polished(typename Backend::Matrix W) {
  using Scalar = typename Backend::Scalar;
  using Matrix = typename Backend::Matrix;
  for (int step = 0; step < 3; ++step) {
    const Matrix gram = Backend::transpose_product(W, W);
    const Matrix identity = Backend::identity_like(gram);
    const Matrix D = gram - identity;
    const Matrix square = Backend::product(D, D);
    const Matrix cube = Backend::product(square, D);
    const Matrix series = identity - Scalar(0.5) * D + Scalar(0.375) * square - Scalar(0.3125) * cube;
    W = Backend::product(W, series);
    const Scalar size = Backend::norm(square);
    if (!(size * size > Backend::epsilon())) break;
  }
  return W;
}

/// The columns of `left` that are not negligible next to those of Y, of which they are what is left by
/// operations of inner dimension up to the number of columns.
template <MatrixBackend Backend>
std::vector<Index> outstanding(const typename Backend::Matrix& left, const typename Backend::Matrix& Y) {
  using std::sqrt;
  using Scalar = typename Backend::Scalar;
  const auto sizes = column_norms<Backend>(left);
  const auto whole = column_norms<Backend>(Y);
  const Scalar negligible =
      (Scalar(4) + sqrt(static_cast<Scalar>(static_cast<double>(sizes.size())))) * Backend::epsilon();
  std::vector<Index> result;
  for (std::size_t j = 0; j < sizes.size(); ++j) {
    if (sizes[j] > negligible * whole[j]) result.push_back(static_cast<Index>(j));
  }
  return result;
}

/// A Q with orthonormal columns (to rounding) and |Y - Q Q'Y|_F of a few epsilon |Y|_F, for finite Y of
/// moderate size: Cholesky QR with pivoting (Yamamoto et al., ETNA 44, 2015), again on what the columns found
/// so far leave of Y, since one factorisation of a Gram matrix sees half of the digits. Y = 0 gives no
/// columns. About 12 n c^2 operations, in products.
template <MatrixBackend Backend>
typename Backend::Matrix orthonormal_basis(const typename Backend::Matrix& Y) {
  using std::sqrt;
  using Scalar = typename Backend::Scalar;
  using Matrix = typename Backend::Matrix;
  const Index n = Backend::rows(Y);
  // Such pivots leave columns that are well enough conditioned to polish.
  const Scalar relative = sqrt(Backend::epsilon()) * sqrt(sqrt(Backend::epsilon()));
  Matrix Q = Backend::zero_matrix(n, 0);
  const auto without = [&Q](const Matrix& X) -> Matrix {
    return X - Backend::product(Q, Matrix(Backend::transpose_product(Q, X)));
  };
  Matrix of = Y;
  Matrix left = Y;
  for (int round = 0; round < 5 && Backend::cols(Q) < n; ++round) {
    const std::vector<Index> open = outstanding<Backend>(left, of);
    if (open.empty()) break;
    of = columns_of<Backend>(of, open);
    left = columns_of<Backend>(left, open);
    left = left / Backend::max_abs(left);
    const auto factors =
        pivoted_cholesky<Backend>(Backend::transpose_product(left, left), Scalar(0), relative);
    Matrix W = polished<Backend>(Backend::product(left, orthonormalising<Backend>(factors)));
    if (round > 0) {
      // Columns of which little is left were rounding errors in the span of Q.
      W = without(W);
      const auto sizes = column_norms<Backend>(W);
      std::vector<Index> kept;
      for (std::size_t j = 0; j < sizes.size(); ++j) {
        if (sizes[j] > Scalar(0.25)) kept.push_back(static_cast<Index>(j));
      }
      W = columns_of<Backend>(W, kept);
      const auto again =
          pivoted_cholesky<Backend>(Backend::transpose_product(W, W), Scalar(0), Scalar(0.0625));
      W = polished<Backend>(Backend::product(W, orthonormalising<Backend>(again)));
      W = polished<Backend>(without(W));
    }
    Q = side_by_side<Backend>({Q, W});
    left = without(of);
    if (round > 0) left = without(left);
  }
  return Q;
}

/// A Z with no more columns than W and W W' - Z Z' positive semidefinite with a trace of at most `allowed`,
/// both up to c epsilon |W|_F^2 for c columns.
///
/// Z = W U for U with orthonormal columns that span those of the pivoted Cholesky factor of W'W. What is left
/// out is W V with V orthogonal to U, and only its square counts: the half of the digits that the Gram matrix
/// does not see is the half that Z Z' does not have. 2 n c^2 + 2 n c k operations, in products.
template <MatrixBackend Backend>
typename Backend::Matrix compressed(const typename Backend::Matrix& W,
                                    const typename Backend::Scalar& allowed) {
  using Scalar = typename Backend::Scalar;
  if (Backend::cols(W) == 0) return W;
  const auto factors =
      pivoted_cholesky<Backend>(Backend::transpose_product(W, W), allowed, Scalar(8) * Backend::epsilon());
  if (Backend::cols(factors.L) == Backend::cols(W)) return W;
  if (Backend::cols(factors.L) == 0) return Backend::zero_matrix(Backend::rows(W), 0);
  return Backend::product(W, orthonormal_basis<Backend>(factors.L));
}

}  // namespace metalqr::inline METALQR_ABI::detail
