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
#include <metalqr/core/pack_product.hpp>
#include <metalqr/core/pack_solve.hpp>

static_assert(EIGEN_VERSION_AT_LEAST(3, 4, 0), "metalqr needs Eigen 3.4 or newer");

#ifdef METALQR_LANES
/// A pack is a number to Eigen.
template <class T, class Instructions>
struct Eigen::NumTraits<xsimd::batch<T, Instructions>>
    : Eigen::GenericNumTraits<xsimd::batch<T, Instructions>> {
  using Pack = xsimd::batch<T, Instructions>;
  using Real = Pack;
  using NonInteger = Pack;
  using Nested = Pack;
  using Literal = Pack;
  enum {
    IsComplex = 0,
    IsInteger = 0,
    IsSigned = 1,
    RequireInitialization = 0,
    ReadCost = 1,
    AddCost = 1,
    MulCost = 1
  };
  static Pack epsilon() { return Pack(Eigen::NumTraits<T>::epsilon()); }
  static Pack dummy_precision() { return Pack(Eigen::NumTraits<T>::dummy_precision()); }
};
#endif

namespace metalqr::inline METALQR_ABI {

/// Size that is known at run time only.
inline constexpr int dynamic = Eigen::Dynamic;

namespace detail {

/// A dense matrix; no larger than MaxRows x MaxCols, in storage of its own, where these are given for sizes
/// known at run time.
template <class Scalar, int Rows, int Cols, int MaxRows = Rows, int MaxCols = Cols>
using EigenMatrix =
    Eigen::Matrix<Scalar, Rows, Cols, Rows == 1 && Cols != 1 ? Eigen::RowMajor : Eigen::ColMajor, MaxRows,
                  MaxCols>;

constexpr int bounded(int size) {
  return size == dynamic ? static_cast<int>(most_lane_states) : size;
}

}  // namespace detail

/// `MatrixBackend` on Eigen: sizes known at run time by default, fixed when `Nx` and `Nu` are given (faster
/// for small systems, but compiled once for each pair of sizes).
/// @tparam Scalar_ a real number type that Eigen knows (`Eigen::NumTraits`), or a pack of lanes.
/// @tparam Nx number of states, or `dynamic`.
/// @tparam Nu number of inputs, or `dynamic`.
/// @tparam MaxNx, MaxNu bounds on sizes that are known at run time: matrices are then held in place, without
/// allocations.
template <class Scalar_ = double, int Nx = dynamic, int Nu = dynamic, int MaxNx = Nx, int MaxNu = Nu>
struct EigenBackend {
  /// Number type.
  using Scalar = Scalar_;
  /// n_x x n_x.
  using StateMatrix = detail::EigenMatrix<Scalar, Nx, Nx, MaxNx, MaxNx>;
  /// n_x x n_u.
  using InputMatrix = detail::EigenMatrix<Scalar, Nx, Nu, MaxNx, MaxNu>;
  /// n_u x n_x.
  using Gain = detail::EigenMatrix<Scalar, Nu, Nx, MaxNu, MaxNx>;
  /// n_u x n_u.
  using ControlMatrix = detail::EigenMatrix<Scalar, Nu, Nu, MaxNu, MaxNu>;
  /// n_x x 1.
  using StateVector = detail::EigenMatrix<Scalar, Nx, 1, MaxNx, 1>;
  /// n_u x 1.
  using ControlVector = detail::EigenMatrix<Scalar, Nu, 1, MaxNu, 1>;
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
  using Rebind = EigenBackend<Other, Nx, Nu, MaxNx, MaxNu>;
  /// What works on several small systems at a time: the same backend over packs, without allocations.
  using Lanes = EigenBackend<PackOf<Scalar>, Nx, Nu, detail::bounded(MaxNx), detail::bounded(MaxNu)>;

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
  static detail::EigenMatrix<Scalar, X::ColsAtCompileTime, X::RowsAtCompileTime, X::MaxColsAtCompileTime,
                             X::MaxRowsAtCompileTime>
  transpose(const X& x) {
    return x.transpose();
  }
  /// X Y.
  template <class X, class Y>
  static detail::EigenMatrix<Scalar, X::RowsAtCompileTime, Y::ColsAtCompileTime, X::MaxRowsAtCompileTime,
                             Y::MaxColsAtCompileTime>
  product(const X& x, const Y& y) {
    if constexpr (is_pack<Scalar>) {
      detail::EigenMatrix<Scalar, X::RowsAtCompileTime, Y::ColsAtCompileTime, X::MaxRowsAtCompileTime,
                          Y::MaxColsAtCompileTime>
          result;
      multiply(x, y, result);
      return result;
    } else {
      return x * y;
    }
  }
  /// X' Y.
  template <class X, class Y>
  static detail::EigenMatrix<Scalar, X::ColsAtCompileTime, Y::ColsAtCompileTime, X::MaxColsAtCompileTime,
                             Y::MaxColsAtCompileTime>
  transpose_product(const X& x, const Y& y) {
    if constexpr (is_pack<Scalar>) {
      detail::EigenMatrix<Scalar, X::ColsAtCompileTime, Y::ColsAtCompileTime, X::MaxColsAtCompileTime,
                          Y::MaxColsAtCompileTime>
          result(x.cols(), y.cols());
      pack_product<false, false, X::RowsAtCompileTime>(column_major(x).transpose(), column_major(y), x.rows(),
                                                       result);
      return result;
    } else {
      return x.transpose() * y;
    }
  }
  /// X Y'.
  template <class X, class Y>
  static detail::EigenMatrix<Scalar, X::RowsAtCompileTime, Y::RowsAtCompileTime, X::MaxRowsAtCompileTime,
                             Y::MaxRowsAtCompileTime>
  product_transpose(const X& x, const Y& y) {
    if constexpr (is_pack<Scalar>) {
      detail::EigenMatrix<Scalar, X::RowsAtCompileTime, Y::RowsAtCompileTime, X::MaxRowsAtCompileTime,
                          Y::MaxRowsAtCompileTime>
          result(x.rows(), y.rows());
      pack_product<false, false, X::ColsAtCompileTime>(column_major(x), column_major(y).transpose(), x.cols(),
                                                       result);
      return result;
    } else {
      return x * y.transpose();
    }
  }
  /// X' S X for symmetric S; symmetric up to rounding.
  template <class X, class S>
  static detail::EigenMatrix<Scalar, X::ColsAtCompileTime, X::ColsAtCompileTime, X::MaxColsAtCompileTime,
                             X::MaxColsAtCompileTime>
  congruence(const X& x, const S& s) {
    if constexpr (is_pack<Scalar>) {
      const auto sx = product(s, x);
      detail::EigenMatrix<Scalar, X::ColsAtCompileTime, X::ColsAtCompileTime, X::MaxColsAtCompileTime,
                          X::MaxColsAtCompileTime>
          result(x.cols(), x.cols());
      pack_product<false, true, X::RowsAtCompileTime>(column_major(x).transpose(), column_major(sx), x.rows(),
                                                      result);
      return result;
    } else {
      return transpose_product(x, product(s, x));
    }
  }
  /// X S X' for symmetric S; symmetric up to rounding.
  template <class X, class S>
  static detail::EigenMatrix<Scalar, X::RowsAtCompileTime, X::RowsAtCompileTime, X::MaxRowsAtCompileTime,
                             X::MaxRowsAtCompileTime>
  outer_congruence(const X& x, const S& s) {
    if constexpr (is_pack<Scalar>) {
      const auto xs = product(x, s);
      detail::EigenMatrix<Scalar, X::RowsAtCompileTime, X::RowsAtCompileTime, X::MaxRowsAtCompileTime,
                          X::MaxRowsAtCompileTime>
          result(x.rows(), x.rows());
      pack_product<false, true, X::ColsAtCompileTime>(column_major(xs), column_major(x).transpose(), x.cols(),
                                                      result);
      return result;
    } else {
      return product_transpose(product(x, s), x);
    }
  }

  /// Z = X Y, where Z is neither X nor Y; its storage is used if the shape fits.
  template <class X, class Y, class Z>
  static void multiply(const X& x, const Y& y, Z& z) {
    if constexpr (is_pack<Scalar>) {
      z.resize(x.rows(), y.cols());
      pack_product<false, false, X::ColsAtCompileTime>(column_major(x), column_major(y), x.cols(), z);
    } else {
      z.noalias() = x * y;
    }
  }
  /// S += X' Y for square matrices of which S and X' Y are symmetric; half of the product is saved where that
  /// pays.
  template <class X>
  static void add_symmetric_product(X& s, const X& x, const X& y) {
    if constexpr (is_pack<Scalar>) {
      pack_product<true, true, X::RowsAtCompileTime>(column_major(x).transpose(), column_major(y), x.rows(),
                                                     s);
    } else if (has_cheap_halves(s)) {
      s.template triangularView<Eigen::Lower>() += x.transpose() * y;
      s.template triangularView<Eigen::StrictlyUpper>() = s.transpose();
    } else {
      s.noalias() += x.transpose() * y;
    }
  }
  /// S += X Y'; see above.
  template <class X>
  static void add_symmetric_outer_product(X& s, const X& x, const X& y) {
    if constexpr (is_pack<Scalar>) {
      pack_product<true, true, X::ColsAtCompileTime>(column_major(x), column_major(y).transpose(), x.cols(),
                                                     s);
    } else if (has_cheap_halves(s)) {
      s.template triangularView<Eigen::Lower>() += x * y.transpose();
      s.template triangularView<Eigen::StrictlyUpper>() = s.transpose();
    } else {
      s.noalias() += x * y.transpose();
    }
  }
  /// S += X' S X for symmetric S and square X, symmetric up to rounding; half of the second product is saved
  /// where that pays. `work` is overwritten.
  template <class X>
  static void add_congruence(X& s, const X& x, X& work) {
    if constexpr (is_small_pack<X>) {
      detail::add_small_congruence<X::RowsAtCompileTime>(column_major(x), mutable_column_major(s));
    } else {
      multiply(s, x, work);
      add_symmetric_product(s, x, work);
    }
  }
  /// S += X S X'; see `add_congruence`.
  template <class X>
  static void add_outer_congruence(X& s, const X& x, X& work) {
    if constexpr (is_small_pack<X>) {
      detail::add_small_congruence<X::RowsAtCompileTime>(column_major(x).transpose(),
                                                         mutable_column_major(s));
    } else {
      multiply(x, s, work);
      add_symmetric_outer_product(s, work, x);
    }
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
    if constexpr (is_pack<Scalar> && X::IsRowMajor == Y::IsRowMajor) {
      return detail::inner_product(x.data(), y.data(), x.size());
    } else {
      return x.cwiseProduct(y).sum();
    }
  }
  /// Frobenius norm.
  template <class X>
  static Scalar norm(const X& x) {
    if constexpr (is_pack<Scalar>) {
      return sqrt(inner(x, x));
    } else {
      return x.norm();
    }
  }
  /// Largest absolute entry.
  template <class X>
  static Scalar max_abs(const X& x) {
    if constexpr (is_pack<Scalar>) {
      Scalar largest(0);
      for (Index j = 0; j < x.cols(); ++j) {
        for (Index i = 0; i < x.rows(); ++i) largest = max(largest, abs(x(i, j)));
      }
      return largest;
    } else {
      return x.cwiseAbs().maxCoeff();
    }
  }
  /// Whether no entry is a NaN or an infinity.
  template <class X>
  static MaskOf<Scalar> is_finite(const X& x) {
    if constexpr (is_pack<Scalar>) {
      Scalar sum(0);
      for (Index j = 0; j < x.cols(); ++j) {
        for (Index i = 0; i < x.rows(); ++i) sum += x(i, j) - x(i, j);
      }
      return sum == Scalar(0);
    } else {
      return x.allFinite();
    }
  }

  /// X^-1 Y by LU factorisation with partial pivoting; entries are not finite where X is singular.
  template <class X, class Y>
  static detail::EigenMatrix<Scalar, X::RowsAtCompileTime, Y::ColsAtCompileTime, X::MaxRowsAtCompileTime,
                             Y::MaxColsAtCompileTime>
  solve(const X& x, const Y& y) {
    if constexpr (is_pack<Scalar>) {
      X factors = x;
      Y solution = y;
      detail::eliminate(factors, solution);
      return solution;
    } else {
      return x.partialPivLu().solve(y);
    }
  }
  /// Overwrites the square Y and Z with X^-1 Y and X^-1 Z; one factorisation serves both. Somewhat less
  /// accurate than `solve` for large X.
  template <class X>
  static void solve_both(const X& x, X& y, X& z) {
    constexpr Index small = 8;
    if constexpr (is_pack<Scalar> || (X::RowsAtCompileTime > 0 && X::RowsAtCompileTime <= small)) {
      X factors = x;
      detail::eliminate(factors, y, z);
    } else {
      // Two products cost less than the triangular solves of another right-hand side.
      const X inverse = x.partialPivLu().inverse();
      const X first = inverse * y;
      const X second = inverse * z;
      y = first;
      z = second;
    }
  }
  /// X^-1 Y for symmetric positive definite X, by Cholesky factorisation.
  template <class X, class Y>
  static detail::EigenMatrix<Scalar, X::RowsAtCompileTime, Y::ColsAtCompileTime, X::MaxRowsAtCompileTime,
                             Y::MaxColsAtCompileTime>
  solve_spd(const X& x, const Y& y) {
    if constexpr (is_pack<Scalar>) {
      X factor = x;
      Y solution = y;
      detail::cholesky(factor);
      detail::solve_cholesky(factor, solution);
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
      return detail::cholesky(factor);
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

 private:
  // Below this, Eigen's whole product is faster than its half.
  template <class X>
  static bool has_cheap_halves(const X& x) {
    constexpr Index threshold = 24;
    constexpr bool never = X::RowsAtCompileTime != Eigen::Dynamic && X::RowsAtCompileTime < threshold;
    return !never && x.rows() >= threshold;
  }

  // Rows vectors have a stride of one, as if they were stored by columns.
  template <class X>
  static constexpr Index stride_of = X::IsRowMajor ? 1 : X::RowsAtCompileTime;
  template <class X>
  static detail::ColumnMajor<const Scalar, stride_of<X>> column_major(const X& x) {
    return {x.data(), X::IsRowMajor ? 1 : x.outerStride()};
  }
  template <class X>
  static detail::ColumnMajor<Scalar, stride_of<X>> mutable_column_major(X& x) {
    return {x.data(), column_major(x).stride};
  }
  template <class X>
  static constexpr bool is_small_pack =
      is_pack<Scalar>&& X::RowsAtCompileTime > 0 && X::RowsAtCompileTime <= 4;
  // result = x y or result += x y, by tiles.
  template <bool add, bool symmetric, int depth_, class X, class Y, class Result>
  static void pack_product(const X& x, const Y& y, Index depth, Result& result) {
    detail::tiled_product<add, symmetric>(result.rows(), result.cols(), detail::Size<depth_>(depth), x, y,
                                          mutable_column_major(result));
  }
};

}  // namespace metalqr::inline METALQR_ABI
