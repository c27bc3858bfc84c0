#pragma once

/// @file
/// Sets that hold the true plant with a stated probability.

#include <cmath>
#include <optional>
#include <type_traits>
#include <vector>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/check.hpp>
#include <metalqr/equations/spectral_norm.hpp>
#include <metalqr/identification/estimate.hpp>

namespace metalqr::inline METALQR_ABI::identification {

/// The plants { (A, B) : D R'R D' <= level I } with D = [A B] - [A_hat B_hat], or the same with the trace of
/// the left side <= level, which is smaller.
template <FactoringBackend Backend>
struct Ellipsoid {
  typename Backend::StateMatrix A;  ///< A_hat, n_x x n_x, centre
  typename Backend::InputMatrix B;  ///< B_hat, n_x x n_u, centre
  typename Backend::Matrix factor;  ///< R, (n_x + n_u)^2, upper triangular
  double level = 0;                 ///< >= 0
  bool trace = false;               ///< whether the trace is bounded instead of the largest eigenvalue

  /// The smallest level at which a plant is in the set: the largest eigenvalue, or the trace, of D R'R D'.
  /// @throws DimensionMismatch, NotFinite.
  double level_of(const std::type_identity_t<typename Backend::StateMatrix>& other_A,
                  const std::type_identity_t<typename Backend::InputMatrix>& other_B) const {
    const Index nx = Backend::rows(A);
    const Index nu = Backend::cols(B);
    metalqr::detail::require_shape<Backend>(other_A, nx, nx, "A");
    metalqr::detail::require_shape<Backend>(other_B, nx, nu, "B");
    metalqr::detail::require_finite<Backend>(other_A, "A");
    metalqr::detail::require_finite<Backend>(other_B, "B");
    typename Backend::Matrix difference = Backend::zero_matrix(nx + nu, nx);
    for (Index i = 0; i < nx; ++i) {
      for (Index j = 0; j < nx; ++j) difference(j, i) = other_A(i, j) - A(i, j);
      for (Index j = 0; j < nu; ++j) difference(nx + j, i) = other_B(i, j) - B(i, j);
    }
    const typename Backend::Matrix weighted = Backend::product(factor, difference);
    const double size =
        Backend::to_double(trace ? Backend::norm(weighted) : spectral_norm<Backend>(weighted));
    return size * size;
  }
  /// Whether a plant is in the set.
  /// @throws DimensionMismatch, NotFinite.
  bool contains(const std::type_identity_t<typename Backend::StateMatrix>& other_A,
                const std::type_identity_t<typename Backend::InputMatrix>& other_B) const {
    return level_of(other_A, other_B) <= level;
  }
};

/// What is known of the error of an estimate: with probability at least 1 - delta, under the assumptions,
/// |A_hat - A|_2 <= epsilon_A and |B_hat - B|_2 <= epsilon_B at once, and (A, B) is in the ellipsoid.
template <FactoringBackend Backend>
struct Confidence {
  double epsilon_A = 0;          ///< bound of |A_hat - A|_2
  double epsilon_B = 0;          ///< bound of |B_hat - B|_2
  double delta = 0;              ///< probability that it fails
  double noise = 0;              ///< sigma_w that was used
  Ellipsoid<Backend> ellipsoid;  ///< the plants that are left
  /// Whether the statement is a theorem for these data: every condition that can be checked holds.
  bool rigorous = false;
  std::vector<const char*> assumptions;  ///< what was taken on trust, one sentence each
};

namespace detail {

/// What every statement about an experiment takes on trust.
inline constexpr const char* linear_plant =
    "The plant is linear and time-invariant, and its whole state is measured without error.";
inline constexpr const char* gaussian_noise =
    "The process noise is Gaussian with covariance sigma_w^2 I, independent from step to step.";
inline constexpr const char* given_noise = "sigma_w is at most the value given.";
inline constexpr const char* refuted_noise =
    "But the residual is larger than that sigma_w makes likely: use a larger one.";
inline constexpr const char* estimated_noise = "sigma_w is the level that the residual shows.";

inline void require_delta(double delta) {
  metalqr::detail::require_option(delta > 0 && delta < 1, "delta", delta, "a number in (0, 1)");
}

inline void require_noise(const std::optional<double>& noise) {
  if (!noise) return;
  metalqr::detail::require_option(*noise >= 0 && std::isfinite(*noise), "noise", *noise,
                                  "a finite number >= 0");
}

/// Whether a residual without a ridge is larger than all but the fraction delta of those that Gaussian noise
/// of a level leaves, whatever the plant: its square is at most |W|_F^2, sigma_w^2 times a chi-squared number
/// of k = n_x m degrees of freedom, and that is above k + 2 sqrt(k t) + 2 t with probability exp(-t) at most
/// (Laurent, Massart, Ann. Statist. 28, 2000, lemma 1).
template <FactoringBackend Backend>
bool refutes_noise(const Estimate<Backend>& estimate, double noise, double delta) {
  const double k = static_cast<double>(estimate.nx()) * static_cast<double>(estimate.transitions);
  const double t = std::log(1 / delta);
  return Backend::to_double(estimate.residual) > noise * std::sqrt(k + 2 * std::sqrt(k * t) + 2 * t);
}

/// The ellipsoid about an estimate with its projections: epsilon_A^2 = level |rows of x of R^-1|_2^2.
template <FactoringBackend Backend>
Confidence<Backend> confidence_about(const Estimate<Backend>& estimate, double level) {
  using Matrix = typename Backend::Matrix;
  const Index nx = estimate.nx();
  const Index nu = estimate.nu();
  const Matrix inverse = Backend::solve(estimate.factor, Backend::identity_like(estimate.factor));
  const auto reach = [&](Index first, Index count) {
    const Matrix rows = block_of<Backend>(inverse, first, 0, count, nx + nu);
    return std::sqrt(level) * Backend::to_double(spectral_norm<Backend>(rows));
  };
  Confidence<Backend> result;
  result.epsilon_A = reach(0, nx);
  result.epsilon_B = reach(nx, nu);
  result.ellipsoid.A = estimate.A;
  result.ellipsoid.B = estimate.B;
  result.ellipsoid.factor = estimate.factor;
  result.ellipsoid.level = level;
  return result;
}

}  // namespace detail
}  // namespace metalqr::inline METALQR_ABI::identification
