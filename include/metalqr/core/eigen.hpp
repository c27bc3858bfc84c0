#pragma once

/// @file
/// The Eigen backend: the only place that calls Eigen.

#include <complex>
#include <type_traits>
#include <utility>
#include <vector>

#include <Eigen/Cholesky>
#include <Eigen/Core>
#include <Eigen/Eigenvalues>
#include <Eigen/LU>

#include <metalqr/core/backend.hpp>

static_assert(EIGEN_VERSION_AT_LEAST(3, 4, 0), "metalqr needs Eigen 3.4 or newer");

namespace metalqr::inline METALQR_ABI {

/// Size that is known at run time only.
inline constexpr int dynamic = Eigen::Dynamic;

/// `MatrixBackend` on Eigen: sizes known at run time by default, fixed when `Nx` and `Nu` are given (faster
/// for small systems, but compiled once for each pair of sizes).
/// @tparam Scalar_ a real number type that Eigen knows (`Eigen::NumTraits`).
/// @tparam Nx number of states, or `dynamic`.
/// @tparam Nu number of inputs, or `dynamic`.
template <class Scalar_ = double, int Nx = dynamic, int Nu = dynamic>
struct EigenBackend {
  /// Number type.
  using Scalar = Scalar_;
  /// n_x x n_x.
  using StateMatrix = Eigen::Matrix<Scalar, Nx, Nx>;
  /// n_x x n_u.
  using InputMatrix = Eigen::Matrix<Scalar, Nx, Nu>;
  /// n_u x n_x.
  using Gain = Eigen::Matrix<Scalar, Nu, Nx>;
  /// n_u x n_u.
  using ControlMatrix = Eigen::Matrix<Scalar, Nu, Nu>;
  /// n_x x 1.
  using StateVector = Eigen::Matrix<Scalar, Nx, 1>;
  /// n_u x 1.
  using ControlVector = Eigen::Matrix<Scalar, Nu, 1>;
  /// Of any size.
  using Matrix = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic>;
  /// U T U' = X with U orthogonal and T quasi upper triangular.
  template <class X>
  struct Schur {
    X U;  ///< orthogonal
    X T;  ///< upper triangular with 2x2 blocks for complex pairs
  };

  /// Number of states if fixed, else `dynamic`.
  static constexpr int states = Nx;
  /// Number of inputs if fixed, else `dynamic`.
  static constexpr int inputs = Nu;

  /// The same backend over another number type.
  template <class Other>
  using Rebind = EigenBackend<Other, Nx, Nu>;

  /// For messages and tables.
  static const char* name() { return "Eigen"; }
  /// Distance from one to the next number.
  static Scalar epsilon() { return Eigen::NumTraits<Scalar>::epsilon(); }

  /// The value of a number in double precision, for messages and reports (of a dual number: without
  /// derivatives).
  static double to_double(const Scalar& s) {
    if constexpr (std::is_constructible_v<double, Scalar>) {
      return static_cast<double>(s);
    } else {
      return static_cast<double>(s.value());
    }
  }

  /// Number of rows.
  template <class X>
  static Index rows(const X& x) {
    return x.rows();
  }
  /// Number of columns.
  template <class X>
  static Index cols(const X& x) {
    return x.cols();
  }

  /// Matrix of zeros of the type and shape of `x`.
  template <class X>
  static X zero_like(const X& x) {
    return X::Zero(x.rows(), x.cols());
  }
  /// Identity of the type and shape of `x`.
  template <class X>
  static X identity_like(const X& x) {
    return X::Identity(x.rows(), x.cols());
  }
  /// n_x x n_x zeros.
  static StateMatrix zero_state_matrix(Index nx) { return StateMatrix::Zero(nx, nx); }
  /// n_x x n_u zeros.
  static InputMatrix zero_input_matrix(Index nx, Index nu) { return InputMatrix::Zero(nx, nu); }
  /// n_u x n_x zeros.
  static Gain zero_gain(Index nu, Index nx) { return Gain::Zero(nu, nx); }
  /// n_u x n_u zeros.
  static ControlMatrix zero_control_matrix(Index nu) { return ControlMatrix::Zero(nu, nu); }
  /// n_x zeros.
  static StateVector zero_state(Index nx) { return StateVector::Zero(nx); }
  /// Zeros of any shape.
  static Matrix zero_matrix(Index rows, Index cols) { return Matrix::Zero(rows, cols); }

  /// X'.
  template <class X>
  static Eigen::Matrix<Scalar, X::ColsAtCompileTime, X::RowsAtCompileTime> transpose(const X& x) {
    return x.transpose();
  }
  /// X Y.
  template <class X, class Y>
  static Eigen::Matrix<Scalar, X::RowsAtCompileTime, Y::ColsAtCompileTime> product(const X& x, const Y& y) {
    return x * y;
  }
  /// X' Y.
  template <class X, class Y>
  static Eigen::Matrix<Scalar, X::ColsAtCompileTime, Y::ColsAtCompileTime> transpose_product(const X& x,
                                                                                             const Y& y) {
    return x.transpose() * y;
  }
  /// X Y'.
  template <class X, class Y>
  static Eigen::Matrix<Scalar, X::RowsAtCompileTime, Y::RowsAtCompileTime> product_transpose(const X& x,
                                                                                             const Y& y) {
    return x * y.transpose();
  }
  /// X' S X for symmetric S.
  template <class X, class S>
  static Eigen::Matrix<Scalar, X::ColsAtCompileTime, X::ColsAtCompileTime> congruence(const X& x,
                                                                                      const S& s) {
    return transpose_product(x, product(s, x));
  }
  /// X S X' for symmetric S.
  template <class X, class S>
  static Eigen::Matrix<Scalar, X::RowsAtCompileTime, X::RowsAtCompileTime> outer_congruence(const X& x,
                                                                                            const S& s) {
    return product_transpose(product(x, s), x);
  }
  /// (X + X')/2.
  template <class X>
  static X symmetrised(const X& x) {
    return Scalar(0.5) * (x + x.transpose());
  }

  /// Sum of the diagonal.
  template <class X>
  static Scalar trace(const X& x) {
    return x.trace();
  }
  /// tr(X' Y).
  template <class X, class Y>
  static Scalar inner(const X& x, const Y& y) {
    return x.cwiseProduct(y).sum();
  }
  /// Frobenius norm.
  template <class X>
  static Scalar norm(const X& x) {
    return x.norm();
  }
  /// Largest absolute entry.
  template <class X>
  static Scalar max_abs(const X& x) {
    return x.cwiseAbs().maxCoeff();
  }
  /// Whether no entry is a NaN or an infinity.
  template <class X>
  static bool is_finite(const X& x) {
    return x.allFinite();
  }

  /// X^-1 Y by LU factorisation with partial pivoting; entries are not finite where X is singular.
  template <class X, class Y>
  static Eigen::Matrix<Scalar, X::RowsAtCompileTime, Y::ColsAtCompileTime> solve(const X& x, const Y& y) {
    return x.partialPivLu().solve(y);
  }
  /// X^-1 Y for symmetric positive definite X, by Cholesky factorisation.
  template <class X, class Y>
  static Eigen::Matrix<Scalar, X::RowsAtCompileTime, Y::ColsAtCompileTime> solve_spd(const X& x, const Y& y) {
    return x.llt().solve(y);
  }
  /// Whether the Cholesky factorisation of the symmetric matrix X exists; false if X holds a NaN.
  template <class X>
  static bool is_positive_definite(const X& x) {
    const auto factorisation = x.llt();
    // Eigen calls a factorisation with NaN pivots a success.
    return factorisation.info() == Eigen::Success &&
           (factorisation.matrixLLT().diagonal().array() > Scalar(0)).all();
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

static_assert(DecomposingBackend<EigenBackend<double>>);

}  // namespace metalqr::inline METALQR_ABI
