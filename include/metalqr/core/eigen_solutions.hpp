#pragma once

/// @file
/// Linear equations and decompositions of Eigen's matrices.

#include <complex>
#include <vector>

// Before Eigen, because it decides how Eigen is compiled.
#include <metalqr/core/eigen_matrix.hpp>

#include <Eigen/Cholesky>
#include <Eigen/Eigenvalues>
#include <Eigen/LU>

#include <metalqr/core/pack_solve.hpp>

namespace metalqr::inline METALQR_ABI::detail {

/// The part of `EigenBackend` that solves and decomposes.
template <class Scalar>
struct EigenSolutions {
  /// U T U' = X with U orthogonal and T quasi upper triangular.
  template <class X>
  struct Schur {
    X U;  ///< orthogonal
    X T;  ///< upper triangular with 2x2 blocks for complex pairs
  };

  /// X^-1 Y by LU factorisation with partial pivoting; entries are not finite where X is singular.
  template <class X, class Y>
  static RowsByCols<X, Y> solve(const X& x, const Y& y) {
    if constexpr (is_pack<Scalar>) {
      X factors = x;
      Y solution = y;
      eliminate(factors, solution);
      return solution;
    } else {
      return x.partialPivLu().solve(y);
    }
  }
  /// Overwrites the square Y and Z with X^-1 Y and X^-1 Z; one factorisation serves both. X is overwritten.
  /// Somewhat less accurate than `solve` for large X.
  template <class X>
  static void solve_both(X& x, X& y, X& z) {
    constexpr Index small = 8;
    if constexpr (is_pack<Scalar> || (X::RowsAtCompileTime > 0 && X::RowsAtCompileTime <= small)) {
      eliminate(x, y, z);
    } else {
      // Two products cost less than the triangular solves of another right-hand side.
      x = x.partialPivLu().inverse();
      X product = x * y;
      y.swap(product);
      product.noalias() = x * z;
      z.swap(product);
    }
  }
  /// X^-1 Y for symmetric positive definite X, by Cholesky factorisation.
  template <class X, class Y>
  static RowsByCols<X, Y> solve_spd(const X& x, const Y& y) {
    if constexpr (is_pack<Scalar>) {
      X factor = x;
      Y solution = y;
      cholesky(factor);
      solve_cholesky(factor, solution);
      return solution;
    } else {
      return x.llt().solve(y);
    }
  }
  /// Whether the Cholesky factorisation of the symmetric matrix X exists; false if X holds a NaN.
  template <class X>
  static MaskOf<Scalar> is_positive_definite(const X& x) {
    if constexpr (is_pack<Scalar>) {
      X factor = x;
      return cholesky(factor);
    } else {
      const auto factorisation = x.llt();
      // Eigen calls a factorisation with NaN pivots a success.
      return factorisation.info() == Eigen::Success &&
             (factorisation.matrixLLT().diagonal().array() > Scalar(0)).all();
    }
  }

  /// Eigenvalues of a square matrix, in no order. Costly to compile.
  template <class X>
  static std::vector<std::complex<Scalar>> eigenvalues(const X& x) {
    const Eigen::EigenSolver<X> solver(x, false);
    const auto& values = solver.eigenvalues();
    return {values.data(), values.data() + values.size()};
  }
  /// Eigenvalues of a symmetric matrix, ascending. Costly to compile.
  template <class X>
  static std::vector<Scalar> symmetric_eigenvalues(const X& x) {
    const Eigen::SelfAdjointEigenSolver<X> solver(x, Eigen::EigenvaluesOnly);
    const auto& values = solver.eigenvalues();
    return {values.data(), values.data() + values.size()};
  }
  /// Real Schur form. Costly to compile.
  template <class X>
  static Schur<X> real_schur(const X& x) {
    const Eigen::RealSchur<X> schur(x);
    return {schur.matrixU(), schur.matrixT()};
  }
};

}  // namespace metalqr::inline METALQR_ABI::detail
