#pragma once

/// @file
/// What the library asks of a matrix library.

#include <complex>
#include <concepts>
#include <vector>

#include <metalqr/core/index.hpp>
#include <metalqr/core/lanes.hpp>

namespace metalqr::inline METALQR_ABI {

namespace detail {

/// What every matrix and vector type X of the backend T offers.
template <class T, class X>
concept BackendMatrix = std::semiregular<X> &&
    requires(const X& x, X& out, const typename T::Scalar& s, Index n) {
  { x(n, n) } -> std::convertible_to<typename T::Scalar>;
  out(n, n) = s;
  out = x + x;
  out = x - x;
  out = s * x;
  out = x * s;
  out = x / s;
  out += x;
  out -= x;
  { T::rows(x) } -> std::same_as<Index>;
  { T::cols(x) } -> std::same_as<Index>;
  { T::zero_like(x) } -> std::same_as<X>;
  { T::inner(x, x) } -> std::same_as<typename T::Scalar>;
  { T::norm(x) } -> std::same_as<typename T::Scalar>;
  { T::max_abs(x) } -> std::same_as<typename T::Scalar>;
  { T::is_finite(x) } -> std::convertible_to<MaskOf<typename T::Scalar>>;
};

/// What a square matrix type X offers besides.
template <class T, class X>
concept BackendSquareMatrix = BackendMatrix<T, X> && requires(const X& x, X& out) {
  { T::identity_like(x) } -> std::same_as<X>;
  { T::transpose(x) } -> std::same_as<X>;
  { T::product(x, x) } -> std::same_as<X>;
  { T::transpose_product(x, x) } -> std::same_as<X>;
  { T::product_transpose(x, x) } -> std::same_as<X>;
  T::multiply(x, x, out);
  T::add_symmetric_product(out, x, x);
  T::add_symmetric_outer_product(out, x, x);
  T::add_congruence(out, x, out);
  T::add_outer_congruence(out, x, out);
  { T::congruence(x, x) } -> std::same_as<X>;
  { T::outer_congruence(x, x) } -> std::same_as<X>;
  { T::symmetrised(x) } -> std::same_as<X>;
  { T::trace(x) } -> std::same_as<typename T::Scalar>;
  { T::is_positive_definite(x) } -> std::convertible_to<MaskOf<typename T::Scalar>>;
  { T::solve(x, x) } -> std::same_as<X>;
  { T::solve_spd(x, x) } -> std::same_as<X>;
  T::solve_both(out, out, out);
};

}  // namespace detail

/// A class that names the matrix types of a linear system with n_x states and n_u inputs, and carries the
/// operations on them as static functions. Algorithms use these functions, the operators `+ -` with matrices
/// of one shape and `* /` with scalars, and element access `X(i, j)`, and nothing else. `EigenBackend`
/// documents each operation.
///
/// Types: `Scalar`; `StateMatrix` (n_x x n_x: A, Q, P, Sigma), `InputMatrix` (n_x x n_u: B), `Gain` (n_u x
/// n_x: K), `ControlMatrix` (n_u x n_u: R), `StateVector`, `ControlVector`, and `Matrix` of any size; some or
/// all may be one type. A sum by `add_symmetric_product` of a symmetric matrix is symmetric to the last bit.
/// Every function returns a plain matrix, never an expression that refers to its arguments. `states` and
/// `inputs` are the sizes if fixed, else negative.
template <class T>
concept MatrixBackend = detail::BackendSquareMatrix<T, typename T::StateMatrix> &&
    detail::BackendSquareMatrix<T, typename T::ControlMatrix> &&
    detail::BackendSquareMatrix<T, typename T::Matrix> && detail::BackendMatrix<T, typename T::InputMatrix> &&
    detail::BackendMatrix<T, typename T::Gain> && detail::BackendMatrix<T, typename T::StateVector> &&
    detail::BackendMatrix<T, typename T::ControlVector> &&
    requires(const typename T::StateMatrix& F, const typename T::InputMatrix& B, const typename T::Gain& K,
             const typename T::ControlMatrix& R, const typename T::StateVector& x,
             const typename T::ControlVector& u, const typename T::Scalar& s, Index n) {
  { T::name() } -> std::convertible_to<const char*>;
  { T::epsilon() } -> std::same_as<typename T::Scalar>;
  requires is_pack<typename T::Scalar> || requires {
    { T::to_double(s) } -> std::same_as<double>;
  };
  { T::states } -> std::convertible_to<Index>;
  { T::inputs } -> std::convertible_to<Index>;
  { T::zero_state_matrix(n) } -> std::same_as<typename T::StateMatrix>;
  { T::zero_input_matrix(n, n) } -> std::same_as<typename T::InputMatrix>;
  { T::zero_gain(n, n) } -> std::same_as<typename T::Gain>;
  { T::zero_control_matrix(n) } -> std::same_as<typename T::ControlMatrix>;
  { T::zero_state(n) } -> std::same_as<typename T::StateVector>;
  { T::zero_matrix(n, n) } -> std::same_as<typename T::Matrix>;
  { T::transpose(K) } -> std::same_as<typename T::InputMatrix>;
  { T::transpose(B) } -> std::same_as<typename T::Gain>;
  { T::product(F, B) } -> std::same_as<typename T::InputMatrix>;
  { T::product(B, K) } -> std::same_as<typename T::StateMatrix>;
  { T::product(B, R) } -> std::same_as<typename T::InputMatrix>;
  { T::product(K, F) } -> std::same_as<typename T::Gain>;
  { T::product(K, B) } -> std::same_as<typename T::ControlMatrix>;
  { T::product(R, K) } -> std::same_as<typename T::Gain>;
  { T::product(F, x) } -> std::same_as<typename T::StateVector>;
  { T::product(B, u) } -> std::same_as<typename T::StateVector>;
  { T::product(K, x) } -> std::same_as<typename T::ControlVector>;
  { T::product(R, u) } -> std::same_as<typename T::ControlVector>;
  { T::transpose_product(B, F) } -> std::same_as<typename T::Gain>;
  { T::transpose_product(B, B) } -> std::same_as<typename T::ControlMatrix>;
  { T::transpose_product(K, K) } -> std::same_as<typename T::StateMatrix>;
  { T::product_transpose(K, K) } -> std::same_as<typename T::ControlMatrix>;
  { T::product_transpose(B, B) } -> std::same_as<typename T::StateMatrix>;
  { T::product_transpose(x, x) } -> std::same_as<typename T::StateMatrix>;
  { T::congruence(K, R) } -> std::same_as<typename T::StateMatrix>;
  { T::congruence(B, F) } -> std::same_as<typename T::ControlMatrix>;
  { T::solve(F, B) } -> std::same_as<typename T::InputMatrix>;
  { T::solve_spd(R, K) } -> std::same_as<typename T::Gain>;
};

/// A `MatrixBackend` that also has the decompositions which a few headers need (those that say so; costly to
/// compile).
template <class T>
concept DecomposingBackend = MatrixBackend<T> &&
    requires(const typename T::StateMatrix& F, const typename T::Matrix& X) {
  { T::eigenvalues(X) } -> std::same_as<std::vector<std::complex<typename T::Scalar>>>;
  { T::symmetric_eigenvalues(X) } -> std::same_as<std::vector<typename T::Scalar>>;
  { T::real_schur(F).U } -> std::convertible_to<typename T::StateMatrix>;
  { T::real_schur(F).T } -> std::convertible_to<typename T::StateMatrix>;
};

/// A `MatrixBackend` that also has the factorisations of least squares.
template <class T>
concept FactoringBackend =
    MatrixBackend<T> && !is_pack<typename T::Scalar> && requires(const typename T::Matrix& X) {
  { T::triangular_factor(X) } -> std::same_as<typename T::Matrix>;
  { T::singular_values(X) } -> std::same_as<std::vector<typename T::Scalar>>;
  { T::cholesky_factor(X) } -> std::same_as<typename T::Matrix>;
};

}  // namespace metalqr::inline METALQR_ABI
