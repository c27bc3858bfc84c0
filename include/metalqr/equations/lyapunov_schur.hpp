#pragma once

/// @file
/// The discrete Lyapunov equation by a Schur form (Bartels-Stewart), and doubling with it as the fallback.
/// Costly to compile.

#include <limits>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/check.hpp>
#include <metalqr/core/error.hpp>
#include <metalqr/equations/lyapunov.hpp>
#include <metalqr/equations/quasi_triangular.hpp>

namespace metalqr::inline METALQR_ABI {

/// Solver of P = Q + F'PF and of Sigma = W + F Sigma F' for one F (n x n) and many right-hand sides, through
/// the real Schur form of F. Works whenever no two eigenvalues of F have product 1, so also for an unstable
/// F: then P is the algebraic solution of the equation and not a sum over time (a cost). About 25 n^3
/// operations for F, 6 n^3 for each right-hand side.
template <DecomposingBackend Backend>
class SchurLyapunov {
 public:
  using Scalar = typename Backend::Scalar;            ///< number type
  using StateMatrix = typename Backend::StateMatrix;  ///< n x n

  /// Computes the Schur form of F.
  /// @throws DimensionMismatch unless F is square; NotFinite if F has a NaN or infinite entry.
  explicit SchurLyapunov(StateMatrix F) : F_(std::move(F)) {
    detail::require_shape<Backend>(F_, Backend::rows(F_), Backend::rows(F_), "F");
    detail::require_finite<Backend>(F_, "F");
    auto schur = Backend::real_schur(F_);
    U_ = std::move(schur.U);
    T_ = std::move(schur.T);
    radius_ = detail::quasi_triangular_radius<Backend>(T_);
  }

  /// The matrix that the equations belong to.
  const StateMatrix& F() const noexcept { return F_; }
  /// rho(F), from the eigenvalues (with their rounding errors).
  Scalar spectral_radius() const noexcept { return radius_; }
  /// Whether rho(F) < 1 by the computed eigenvalues; not a proof.
  bool is_stable() const noexcept { return radius_ < Scalar(1); }
  /// `converged` if F is stable by its eigenvalues, else `unstable`; `solve` works in both cases.
  Status status() const noexcept { return is_stable() ? Status::converged : Status::unstable; }

  /// The P with P = Q + F'PF; Q may be any n x n matrix.
  /// @throws DimensionMismatch; NotFinite if Q has a NaN or infinite entry, or P overflows; NoConvergence if
  /// two eigenvalues of F have product 1 to working precision.
  StateMatrix solve(const std::type_identity_t<StateMatrix>& Q) const {
    require_right(Q, "Q");
    return solve_with(U_, T_, Q, "P");
  }

  /// The Sigma with Sigma = W + F Sigma F'; W may be any n x n matrix.
  /// @throws DimensionMismatch; NotFinite if W has a NaN or infinite entry, or Sigma overflows;
  /// NoConvergence if two eigenvalues of F have product 1 to working precision.
  StateMatrix solve_adjoint(const std::type_identity_t<StateMatrix>& W) const {
    require_right(W, "W");
    // F' = (U J)(J T' J)(U J)' is a Schur form too.
    return solve_with(detail::reversed_columns<Backend>(U_), detail::reversed_transpose<Backend>(T_), W,
                      "Sigma");
  }

 private:
  void require_right(const StateMatrix& right, const char* name) const {
    detail::require_shape<Backend>(right, Backend::rows(F_), Backend::rows(F_), name);
    detail::require_finite<Backend>(right, name);
  }
  static StateMatrix solve_with(const StateMatrix& U, const StateMatrix& T, const StateMatrix& Q,
                                const char* name) {
    using std::abs;
    const StateMatrix C = Backend::transpose_product(U, Backend::product(Q, U));
    const auto substituted = detail::solve_quasi_triangular<Backend>(T, C);
    const Scalar n = static_cast<Scalar>(static_cast<double>(Backend::rows(T)));
    if (!(substituted.pivot > Scalar(2) * n * Backend::epsilon())) {
      throw NoConvergence(
          "F: expected no two eigenvalues with product 1, got a pair with |1 - product| about " +
          detail::text(Backend::to_double(substituted.pivot)));
    }
    const StateMatrix solution = Backend::product_transpose(Backend::product(U, substituted.value), U);
    detail::require_finite<Backend>(solution, name);
    return solution;
  }

  StateMatrix F_;
  StateMatrix U_;
  StateMatrix T_;
  Scalar radius_{};
};

/// Solver of P = Q + F'PF and of Sigma = W + F Sigma F' for one stable F: by doubling, and by a Schur form
/// where doubling does not prove stability (1 - rho near rounding level, or strong transient growth) or
/// leaves a residual above 1000 n epsilon.
template <DecomposingBackend Backend>
class RobustLyapunov {
 public:
  using Scalar = typename Backend::Scalar;            ///< number type
  using StateMatrix = typename Backend::StateMatrix;  ///< n x n

  /// Computes the powers of F and, if they do not settle its stability, its Schur form.
  /// @throws DimensionMismatch unless F is square; NotFinite if F has a NaN or infinite entry.
  explicit RobustLyapunov(StateMatrix F) : doubling_(std::move(F)) {
    detail::require_finite<Backend>(doubling_.F(), "F");
    if (!doubling_.is_stable()) schur_.emplace(doubling_.F());
  }

  /// The matrix that the equations belong to.
  const StateMatrix& F() const noexcept { return doubling_.F(); }
  /// Whether rho(F) < 1: proved by doubling, or else by the computed eigenvalues.
  bool is_stable() const noexcept { return !schur_ || schur_->is_stable(); }
  /// `converged` if F is stable, so that `solve` works; else `unstable`.
  Status status() const noexcept { return is_stable() ? Status::converged : Status::unstable; }
  /// Whether the Schur form is used from the start.
  bool uses_schur() const noexcept { return schur_.has_value(); }

  /// The P with P = Q + F'PF; Q may be any n x n matrix.
  /// @throws DimensionMismatch; NotFinite if Q has a NaN or infinite entry, or P overflows; NotStabilizing if
  /// F is not stable; NoConvergence if 1 - rho(F)^2 is at rounding level.
  StateMatrix solve(const std::type_identity_t<StateMatrix>& Q) const {
    require_stable();
    if (schur_) return schur_->solve(Q);
    StateMatrix P = doubling_.solve(Q);
    const Scalar residual = lyapunov_residual<Backend>(F(), Q, P);
    if (residual <= allowed()) return P;
    StateMatrix other = SchurLyapunov<Backend>(F()).solve(Q);
    return lyapunov_residual<Backend>(F(), Q, other) < residual ? other : P;
  }

  /// The Sigma with Sigma = W + F Sigma F'; W may be any n x n matrix.
  /// @throws DimensionMismatch; NotFinite if W has a NaN or infinite entry, or Sigma overflows;
  /// NotStabilizing if F is not stable; NoConvergence if 1 - rho(F)^2 is at rounding level.
  StateMatrix solve_adjoint(const std::type_identity_t<StateMatrix>& W) const {
    require_stable();
    if (schur_) return schur_->solve_adjoint(W);
    StateMatrix Sigma = doubling_.solve_adjoint(W);
    const StateMatrix transposed = Backend::transpose(F());
    const Scalar residual = lyapunov_residual<Backend>(transposed, W, Sigma);
    if (residual <= allowed()) return Sigma;
    StateMatrix other = SchurLyapunov<Backend>(F()).solve_adjoint(W);
    return lyapunov_residual<Backend>(transposed, W, other) < residual ? other : Sigma;
  }

 private:
  Scalar allowed() const {
    const Scalar n = static_cast<Scalar>(static_cast<double>(Backend::rows(F())));
    return Scalar(1000) * n * Backend::epsilon();
  }

  void require_stable() const {
    if (is_stable()) return;
    const double radius = Backend::to_double(schur_->spectral_radius());
    throw NotStabilizing("F: expected spectral radius below 1, got " + detail::text(radius), radius);
  }

  DiscreteLyapunov<Backend> doubling_;
  std::optional<SchurLyapunov<Backend>> schur_;
};

}  // namespace metalqr::inline METALQR_ABI
