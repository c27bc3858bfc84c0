#pragma once

/// @file
/// Factorisations of Eigen's matrices for least squares.

#include <algorithm>
#include <limits>
#include <vector>

// Before Eigen, because it decides how Eigen is compiled.
#include <metalqr/core/eigen_matrix.hpp>

#include <Eigen/Cholesky>
#include <Eigen/QR>
#include <Eigen/SVD>

namespace metalqr::inline METALQR_ABI::detail {

/// The part of `EigenBackend` that factors.
template <class Scalar>
struct EigenFactorisations {
  /// The upper triangular R, cols x cols, with a diagonal >= 0 of the thin orthogonal factorisation X = Q R:
  /// R'R = X'X without forming X'X. Of an X with fewer rows than columns, the last rows of R are zero. Data
  /// come in by blocks: the factor of R stacked on more rows is that of all rows. 2 rows cols^2 operations.
  template <class X>
  static ColsByCols<X, X> triangular_factor(const X& x) {
    const Index cols = x.cols();
    const Index kept = std::min<Index>(x.rows(), cols);
    ColsByCols<X, X> R = ColsByCols<X, X>::Zero(cols, cols);
    if (kept == 0) return R;
    const Eigen::HouseholderQR<X> factorisation(x);
    R.topRows(kept) =
        factorisation.matrixQR().topRows(kept).template triangularView<Eigen::Upper>().toDenseMatrix();
    for (Index i = 0; i < kept; ++i) {
      if (R(i, i) < Scalar(0)) R.row(i) = -R.row(i);
    }
    return R;
  }

  /// All min(rows, cols) singular values of X, descending; NaN if X holds a NaN or infinity. Costly to
  /// compile.
  template <class X>
  static std::vector<Scalar> singular_values(const X& x) {
    using Dynamic = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic>;
    if (x.size() == 0) return {};
    if (!x.allFinite()) {
      return std::vector<Scalar>(static_cast<std::size_t>(std::min(x.rows(), x.cols())),
                                 std::numeric_limits<Scalar>::quiet_NaN());
    }
    // Of a square matrix, with which a single kind of this template is enough.
    Dynamic square = x;
    if (x.rows() > x.cols()) square = triangular_factor(square);
    if (x.rows() < x.cols()) square = triangular_factor(Dynamic(x.transpose()));
    const Eigen::JacobiSVD<Dynamic, Eigen::NoQRPreconditioner> decomposition(square);
    const auto& values = decomposition.singularValues();
    return {values.data(), values.data() + values.size()};
  }

  /// The lower triangular L with a positive diagonal and L L' = X for symmetric positive definite X, of which
  /// the lower triangle is read; NaN where there is none.
  template <class X>
  static X cholesky_factor(const X& x) {
    const Eigen::LLT<X> factorisation(x);
    const X L = factorisation.matrixL();
    if (factorisation.info() == Eigen::Success && (L.diagonal().array() > Scalar(0)).all()) return L;
    return X::Constant(x.rows(), x.cols(), std::numeric_limits<Scalar>::quiet_NaN());
  }
};

}  // namespace metalqr::inline METALQR_ABI::detail
