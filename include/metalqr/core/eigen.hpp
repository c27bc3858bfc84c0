#pragma once

/// @file
/// The Eigen backend: with the headers of its parts the only place that calls Eigen.

#include <type_traits>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/eigen_factorisations.hpp>
#include <metalqr/core/eigen_matrix.hpp>
#include <metalqr/core/eigen_products.hpp>
#include <metalqr/core/eigen_solutions.hpp>

namespace metalqr::inline METALQR_ABI {

/// `MatrixBackend` on Eigen: sizes known at run time by default, fixed when `Nx` and `Nu` are given (faster
/// for small systems, but compiled once for each pair of sizes).
/// @tparam Scalar_ a real number type that Eigen knows (`Eigen::NumTraits`), or a pack of lanes.
/// @tparam Nx number of states, or `dynamic`.
/// @tparam Nu number of inputs, or `dynamic`.
/// @tparam MaxNx, MaxNu bounds on sizes that are known at run time: matrices are then held in place, without
/// allocations.
template <class Scalar_ = double, int Nx = dynamic, int Nu = dynamic, int MaxNx = Nx, int MaxNu = Nu>
struct EigenBackend : detail::EigenProducts<Scalar_>,
                      detail::EigenSolutions<Scalar_>,
                      detail::EigenFactorisations<Scalar_> {
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
};

}  // namespace metalqr::inline METALQR_ABI
