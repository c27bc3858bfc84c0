#pragma once

/// @file
/// Square matrices known by their products with thin blocks of columns: sparse, structured, closed loops.

#include <type_traits>
#include <utility>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/check.hpp>

namespace metalqr::inline METALQR_ABI {

/// A square matrix F that is known by its products: `size()` rows, `apply(V)` = F V and `apply_transposed(V)`
/// = F'V for a block V of columns.
///
/// It may also have `rounding()`, a number w with |fl(F V) - F V|_F <= w |V|_F + epsilon |fl(F V)|_F for both
/// products; without it, bounds that are made from its products take them as exact.
template <class T, class Backend>
concept LinearOperator = MatrixBackend<Backend> && requires(const T& F, const typename Backend::Matrix& V) {
  { F.size() } -> std::convertible_to<Index>;
  { F.apply(V) } -> std::convertible_to<typename Backend::Matrix>;
  { F.apply_transposed(V) } -> std::convertible_to<typename Backend::Matrix>;
};

namespace detail {

template <class T>
concept WithRounding = requires(const T& F) {
  F.rounding();
};

/// What F says of its own rounding; zero if it says nothing.
template <MatrixBackend Backend, class T>
typename Backend::Scalar rounding_of(const T& F) {
  if constexpr (WithRounding<T>) {
    return static_cast<typename Backend::Scalar>(F.rounding());
  } else {
    return typename Backend::Scalar(0);
  }
}

}  // namespace detail

/// A full matrix as a `LinearOperator`.
template <MatrixBackend Backend>
class DenseOperator {
 public:
  using Matrix = typename Backend::Matrix;  ///< of any size

  /// @throws DimensionMismatch unless F is square; NotFinite.
  explicit DenseOperator(Matrix F) : F_(std::move(F)) {
    detail::require_shape<Backend>(F_, Backend::rows(F_), Backend::rows(F_), "F");
    detail::require_finite<Backend>(F_, "F");
  }

  /// Number of rows.
  Index size() const { return Backend::rows(F_); }
  /// F V.
  Matrix apply(const Matrix& V) const { return Backend::product(F_, V); }
  /// F'V.
  Matrix apply_transposed(const Matrix& V) const { return Backend::transpose_product(F_, V); }
  /// n epsilon |F|_F (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., eq. 3.13).
  typename Backend::Scalar rounding() const {
    const auto n = static_cast<typename Backend::Scalar>(static_cast<double>(size()));
    return n * Backend::epsilon() * Backend::norm(F_);
  }

 private:
  Matrix F_;
};

/// A pair of callables as a `LinearOperator`; see `linear_operator`.
template <MatrixBackend Backend, class Apply, class ApplyTransposed>
class CallableOperator {
 public:
  using Matrix = typename Backend::Matrix;  ///< of any size

  /// See `linear_operator`.
  CallableOperator(Index size, Apply apply, ApplyTransposed apply_transposed, double rounding)
      : size_(size),
        apply_(std::move(apply)),
        apply_transposed_(std::move(apply_transposed)),
        rounding_(rounding) {
    detail::require_option(size >= 1, "size", static_cast<double>(size), "at least one row");
    detail::require_option(rounding >= 0, "rounding", rounding, "a number that is not negative");
  }

  /// Number of rows.
  Index size() const { return size_; }
  /// F V.
  Matrix apply(const Matrix& V) const { return apply_(V); }
  /// F'V.
  Matrix apply_transposed(const Matrix& V) const { return apply_transposed_(V); }
  /// What the caller said of the products' rounding.
  double rounding() const { return rounding_; }

 private:
  Index size_;
  Apply apply_;
  ApplyTransposed apply_transposed_;
  double rounding_;
};

/// The `LinearOperator` with `size` rows whose products with an n x c matrix V are apply(V) = F V and
/// apply_transposed(V) = F'V, for a sparse matrix of any library:
///
///     auto F = linear_operator<Backend>(n, [&](const Matrix& V) -> Matrix { return A * V; },
///                                       [&](const Matrix& V) -> Matrix { return A.transpose() * V; });
///
/// @param rounding see `LinearOperator`; for products with a matrix of at most s entries a row and a column,
/// s epsilon sqrt(|F|_1 |F|_inf). With zero the products are taken as exact.
/// @throws InvalidOption unless size >= 1 and rounding >= 0.
template <MatrixBackend Backend, class Apply, class ApplyTransposed>
CallableOperator<Backend, Apply, ApplyTransposed> linear_operator(Index size, Apply apply,
                                                                  ApplyTransposed apply_transposed,
                                                                  double rounding = 0) {
  return {size, std::move(apply), std::move(apply_transposed), rounding};
}

/// F = A - B K with the plant A as a `LinearOperator`: a product with a column costs one with A and 4 n n_u
/// operations.
template <MatrixBackend Backend, LinearOperator<Backend> Plant>
class ClosedLoopOperator {
 public:
  using Matrix = typename Backend::Matrix;  ///< of any size

  /// A is n x n, B is n x n_u, K is n_u x n.
  /// @throws DimensionMismatch, NotFinite for a bad B or K.
  ClosedLoopOperator(Plant A, Matrix B, Matrix K) : A_(std::move(A)), B_(std::move(B)), K_(std::move(K)) {
    const Index nu = Backend::cols(B_);
    detail::require_shape<Backend>(B_, A_.size(), nu, "B");
    detail::require_shape<Backend>(K_, nu, A_.size(), "K");
    detail::require_finite<Backend>(B_, "B");
    detail::require_finite<Backend>(K_, "K");
  }

  /// Number of rows.
  Index size() const { return A_.size(); }
  /// (A - B K) V.
  Matrix apply(const Matrix& V) const {
    Matrix moved = A_.apply(V);
    moved -= Backend::product(B_, Matrix(Backend::product(K_, V)));
    return moved;
  }
  /// (A - B K)'V.
  Matrix apply_transposed(const Matrix& V) const {
    Matrix moved = A_.apply_transposed(V);
    moved -= Backend::transpose_product(K_, Matrix(Backend::transpose_product(B_, V)));
    return moved;
  }
  /// The bound from that of A and those of the two thin products; as `LinearOperator` has it.
  typename Backend::Scalar rounding() const requires detail::WithRounding<Plant> {
    using Scalar = typename Backend::Scalar;
    const auto terms = static_cast<Scalar>(static_cast<double>(size() + Backend::cols(B_) + 2));
    return detail::rounding_of<Backend>(A_) +
           terms * Backend::epsilon() * Backend::norm(B_) * Backend::norm(K_);
  }

 private:
  Plant A_;
  Matrix B_;
  Matrix K_;
};

/// F = A - B K for the plant A as a `LinearOperator`, B (n x n_u) and K (n_u x n); see `ClosedLoopOperator`.
/// @throws DimensionMismatch, NotFinite.
template <MatrixBackend Backend, LinearOperator<Backend> Plant>
ClosedLoopOperator<Backend, Plant> closed_loop_operator(
    Plant A, const std::type_identity_t<typename Backend::Matrix>& B,
    const std::type_identity_t<typename Backend::Matrix>& K) {
  return {std::move(A), B, K};
}

}  // namespace metalqr::inline METALQR_ABI
