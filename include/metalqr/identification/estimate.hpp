#pragma once

/// @file
/// An estimate of a plant, with what its data say about its error.

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/check.hpp>
#include <metalqr/core/error.hpp>

namespace metalqr::inline METALQR_ABI::identification {

namespace detail {

/// log det(R'R) of the leading `count` rows and columns of an upper triangular R.
template <MatrixBackend Backend>
double log_determinant(const typename Backend::Matrix& R, Index count) {
  using std::log;
  typename Backend::Scalar sum(0);
  for (Index i = 0; i < count; ++i) sum += log(R(i, i));
  return 2 * Backend::to_double(sum);
}

}  // namespace detail

/// A least-squares estimate of x+ = A x + B u + w. With the regressors z = (x, u) in the rows of Z and the
/// x+ in those of Y, it minimises |Y - Z [A B]'|_F^2 + ridge |[A B]|_F^2.
template <FactoringBackend Backend>
struct Estimate {
  typename Backend::StateMatrix A;  ///< n_x x n_x
  typename Backend::InputMatrix B;  ///< n_x x n_u
  /// R, (n_x + n_u)^2, upper triangular with R'R = Z'Z + ridge I.
  typename Backend::Matrix factor;
  typename Backend::Scalar residual{};  ///< |Y - Z [A B]'|_F
  Index transitions = 0;                ///< rows of Z
  double ridge = 0;                     ///< weight of the penalty
  /// Whether the rows of Z are independent of each other and of all noise: one transition from each rollout.
  bool independent = false;

  /// Number of states.
  Index nx() const { return Backend::rows(A); }
  /// Number of inputs.
  Index nu() const { return Backend::cols(B); }
  /// Largest over smallest singular value of R; its square is the condition of Z'Z + ridge I.
  double condition() const {
    const auto values = Backend::singular_values(factor);
    return Backend::to_double(values.front() / values.back());
  }
  /// log det(Z'Z + ridge I).
  double log_determinant() const { return detail::log_determinant<Backend>(factor, Backend::rows(factor)); }
};

namespace detail {

inline void require_residual(double residual) {
  metalqr::detail::require_option(residual >= 0 && std::isfinite(residual), "estimate.residual", residual,
                                  "a finite number >= 0");
}

}  // namespace detail

/// Checks an estimate that may come from elsewhere.
/// @throws DimensionMismatch, NotFinite, InvalidOption, each naming the member.
template <FactoringBackend Backend>
void validate(const Estimate<Backend>& estimate) {
  using metalqr::detail::require_finite;
  using metalqr::detail::require_shape;
  const Index nx = estimate.nx();
  const Index nu = estimate.nu();
  require_shape<Backend>(estimate.A, nx, nx, "estimate.A");
  require_shape<Backend>(estimate.B, nx, nu, "estimate.B");
  require_shape<Backend>(estimate.factor, nx + nu, nx + nu, "estimate.factor");
  require_finite<Backend>(estimate.A, "estimate.A");
  require_finite<Backend>(estimate.B, "estimate.B");
  require_finite<Backend>(estimate.factor, "estimate.factor");
  detail::require_residual(Backend::to_double(estimate.residual));
}

/// The standard deviation of the process noise that the residual shows: the root of |Y - Z [A B]'|_F^2 / (n_x
/// (m - n_x - n_u)) for m transitions, the square of which is unbiased for independent rows and no ridge.
/// @throws DimensionMismatch unless m > n_x + n_u; InvalidOption for a residual that is not a number >= 0, or
/// is rounding, which says nothing of the noise.
template <FactoringBackend Backend>
double noise_level(const Estimate<Backend>& estimate) {
  detail::require_residual(Backend::to_double(estimate.residual));
  const Index freedom = estimate.transitions - estimate.nx() - estimate.nu();
  if (freedom < 1) {
    throw DimensionMismatch("estimate: expected more than " + std::to_string(estimate.nx() + estimate.nu()) +
                            " transitions for a noise level, got " + std::to_string(estimate.transitions));
  }
  // |[A B]|_F |R|_F is at least the size of the numbers whose difference the residual is.
  const double size = std::hypot(Backend::to_double(Backend::norm(estimate.A)),
                                 Backend::to_double(Backend::norm(estimate.B))) *
                      Backend::to_double(Backend::norm(estimate.factor));
  const double residual = Backend::to_double(estimate.residual);
  if (residual <= 16 * Backend::to_double(Backend::epsilon()) * size) {
    throw InvalidOption("noise: expected its level where the data show none, got a residual of " +
                        metalqr::detail::text(residual) + ", which is rounding");
  }
  return residual / std::sqrt(static_cast<double>(estimate.nx()) * static_cast<double>(freedom));
}

namespace detail {

/// The block of X with so many rows and columns from (i, j) on.
template <MatrixBackend Backend>
typename Backend::Matrix block_of(const typename Backend::Matrix& x, Index i, Index j, Index rows,
                                  Index cols) {
  typename Backend::Matrix result = Backend::zero_matrix(rows, cols);
  for (Index l = 0; l < cols; ++l) {
    for (Index k = 0; k < rows; ++k) result(k, l) = x(i + k, j + l);
  }
  return result;
}

/// Throws `RankDeficient` unless the regressors with the triangular factor R, their columns scaled to norm
/// one, have a smallest singular value above the rounding of R; the units of states and inputs do not
/// matter. Throws `NotFinite` where the data are too large for their squares.
template <FactoringBackend Backend>
void require_full_rank(const typename Backend::Matrix& R, Index transitions) {
  using std::sqrt;
  using Scalar = typename Backend::Scalar;
  const Index count = Backend::rows(R);
  metalqr::detail::require_finite<Backend>(R, "factor of the data's sums of squares");
  typename Backend::Matrix scaled = R;
  for (Index j = 0; j < count; ++j) {
    Scalar largest(0);
    for (Index i = 0; i <= j; ++i)
      largest = std::max(largest, Scalar(R(i, j) < Scalar(0) ? -R(i, j) : R(i, j)));
    if (!(largest > Scalar(0))) continue;
    Scalar square(0);
    for (Index i = 0; i <= j; ++i) square += (R(i, j) / largest) * (R(i, j) / largest);
    const Scalar norm = largest * sqrt(square);
    for (Index i = 0; i <= j; ++i) scaled(i, j) = R(i, j) / norm;
  }
  const double smallest = Backend::to_double(Backend::singular_values(scaled).back());
  const double rounding =
      static_cast<double>(std::max(count, transitions)) * Backend::to_double(Backend::epsilon());
  if (smallest > rounding) return;
  throw RankDeficient("data: expected regressors (x, u) of full rank " + std::to_string(count) + ", got " +
                          std::to_string(transitions) + " with the smallest singular value " +
                          metalqr::detail::text(smallest) + ", columns scaled to norm one",
                      smallest);
}

}  // namespace detail
}  // namespace metalqr::inline METALQR_ABI::identification
