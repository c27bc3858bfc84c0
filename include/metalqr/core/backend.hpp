#pragma once

/// @file
/// What the library asks of a matrix library.

#include <concepts>
#include <cstddef>
#include <limits>
#include <type_traits>

#include <metalqr/core/version.hpp>

namespace metalqr::inline METALQR_ABI {

/// Signed type of sizes and indices.
using Index = std::ptrdiff_t;

/// A class that names the matrix types of a linear system with n_x states and n_u inputs, and carries the
/// operations on them as static functions. Algorithms use these functions, the operators `+ - *` with
/// matrices of one shape and with scalars, and element access `X(i, j)`, and nothing else.
///
/// Types: `Scalar`; `StateMatrix` (n_x x n_x: A, Q, P, Sigma), `InputMatrix` (n_x x n_u: B), `Gain` (n_u x
/// n_x: K), `ControlMatrix` (n_u x n_u: R), `StateVector`, `ControlVector`, and `Matrix` of any size. Every
/// function returns a plain matrix, never an expression that refers to its arguments. `EigenBackend`
/// documents each operation.
template <class T>
concept MatrixBackend = requires(const typename T::StateMatrix& F, const typename T::InputMatrix& B,
                                 const typename T::Gain& K, const typename T::ControlMatrix& R,
                                 const typename T::StateVector& x, typename T::StateMatrix& out,
                                 const typename T::Matrix& X, const typename T::Scalar& s, Index n) {
  typename T::Scalar;
  typename T::ControlVector;
  { T::name() } -> std::convertible_to<const char*>;
  { T::epsilon() } -> std::same_as<typename T::Scalar>;
  { T::to_double(s) } -> std::same_as<double>;
  { T::rows(K) } -> std::same_as<Index>;
  { T::cols(K) } -> std::same_as<Index>;
  { T::zero_like(K) } -> std::same_as<typename T::Gain>;
  { T::identity_like(F) } -> std::same_as<typename T::StateMatrix>;
  { T::zero_gain(n, n) } -> std::same_as<typename T::Gain>;
  { T::zero_matrix(n, n) } -> std::same_as<typename T::Matrix>;
  { T::product(B, K) } -> std::same_as<typename T::StateMatrix>;
  { T::product(K, x) } -> std::same_as<typename T::ControlVector>;
  { T::transpose(K) } -> std::same_as<typename T::InputMatrix>;
  { T::transpose_product(K, K) } -> std::same_as<typename T::StateMatrix>;
  { T::product_transpose(K, K) } -> std::same_as<typename T::ControlMatrix>;
  { T::congruence(K, R) } -> std::same_as<typename T::StateMatrix>;
  { T::symmetrised(F) } -> std::same_as<typename T::StateMatrix>;
  { T::trace(F) } -> std::same_as<typename T::Scalar>;
  { T::inner(K, K) } -> std::same_as<typename T::Scalar>;
  { T::norm(K) } -> std::same_as<typename T::Scalar>;
  { T::max_abs(K) } -> std::same_as<typename T::Scalar>;
  { T::is_finite(K) } -> std::convertible_to<bool>;
  { T::is_positive_definite(R) } -> std::convertible_to<bool>;
  { T::solve(F, B) } -> std::same_as<typename T::InputMatrix>;
  { T::solve_spd(R, K) } -> std::same_as<typename T::Gain>;
  { F(n, n) } -> std::convertible_to<typename T::Scalar>;
  out(n, n) = s;
  out = F + F;
  out = F - F;
  out = s * F;
  out += F;
};

}  // namespace metalqr::inline METALQR_ABI
