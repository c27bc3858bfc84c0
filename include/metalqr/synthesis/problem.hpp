#pragma once

/// @file
/// What robust syntheses and certificates are given: an estimate, and how far the plant may be from it.

#include <cmath>
#include <cstddef>
#include <limits>
#include <type_traits>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/check.hpp>
#include <metalqr/core/error.hpp>
#include <metalqr/equations/h_infinity.hpp>
#include <metalqr/equations/spectral_norm.hpp>
#include <metalqr/lqr/evaluation.hpp>
#include <metalqr/lqr/task.hpp>

namespace metalqr::inline METALQR_ABI::synthesis {

/// A plant that is known up to two balls: any (A, B) with |A - Ahat|_2 <= epsilon_A and
/// |B - Bhat|_2 <= epsilon_B. Its cost is the long-run average of x'Qx + u'Ru under white noise of covariance
/// Sigma0 (see `Task::with_process_noise`). Bounds that hold on both balls use Sigma0 by its largest
/// eigenvalue s, as if it were s I; they are the published ones where Sigma0 is a multiple of I.
///
/// The units of the input are of no account, nor are those of the state, as long as all inputs share one and
/// all states another. But balls are no longer balls where one state is counted in other units than the next:
/// states that differ by orders of magnitude should be scaled before the plant is estimated.
template <MatrixBackend Backend>
struct RobustProblem {
  Task<Backend> estimate;  ///< Ahat, Bhat with the cost Q, R and the noise covariance Sigma0
  double epsilon_A = 0;    ///< bound on |A - Ahat|_2, not negative
  double epsilon_B = 0;    ///< bound on |B - Bhat|_2, not negative
};

/// Checks the radii; the estimate's matrices are checked when the task is made.
/// @throws InvalidOption.
template <MatrixBackend Backend>
void validate(const RobustProblem<Backend>& problem) {
  const auto check = [](double value, const char* name) {
    metalqr::detail::require_option(std::isfinite(value) && value >= 0, name, value,
                                    "a number that is not negative");
  };
  check(problem.epsilon_A, "epsilon_A");
  check(problem.epsilon_B, "epsilon_B");
}

namespace detail {

/// |X|_2 of the noise covariance.
template <MatrixBackend Backend>
double noise_scale(const Task<Backend>& task) {
  return Backend::to_double(metalqr::spectral_norm<Backend>(task.Sigma0()));
}

/// tr P of a gain, its cost where the noise covariance is I; infinity where rho(A - BK) < 1 is not proved.
template <MatrixBackend Backend>
double unit_cost(const Task<Backend>& task, const typename Backend::Gain& K) {
  return Backend::to_double(metalqr::cost(task, K, Backend::identity_like(task.A())));
}

/// |C (zI - F)^-1| in H-infinity, from above within 1e-10 relative, for a stable F; infinity if the
/// eigenvalues of F say that it is not.
template <DecomposingBackend Backend>
double response_level(const typename Backend::StateMatrix& F, const typename Backend::Matrix& C) {
  using Matrix = typename Backend::Matrix;
  const Index n = Backend::rows(F);
  Matrix A = Backend::zero_matrix(n, n);
  for (Index j = 0; j < n; ++j) {
    for (Index i = 0; i < n; ++i) A(i, j) = F(i, j);
  }
  constexpr double tolerance = 1e-10;
  try {
    const auto result =
        h_infinity_norm<Backend>(A, Backend::identity_like(A), C, Backend::zero_matrix(Backend::rows(C), n),
                                 {.tolerance = tolerance, .max_iterations = 50});
    if (result.status != Status::converged) {
      throw NoConvergence("A - BK: expected its H-infinity level to converge, got no more than " +
                          metalqr::detail::text(Backend::to_double(result.norm)));
    }
    return Backend::to_double(result.norm) * (1 + tolerance);
  } catch (const NotStabilizing&) {
    return std::numeric_limits<double>::infinity();
  }
}

/// [x I; y K].
template <MatrixBackend Backend>
typename Backend::Matrix stacked(const typename Backend::Gain& K, double x, double y) {
  using Scalar = typename Backend::Scalar;
  const Index n = Backend::cols(K);
  const Index p = Backend::rows(K);
  typename Backend::Matrix result = Backend::zero_matrix(n + p, n);
  for (Index j = 0; j < n; ++j) {
    result(j, j) = static_cast<Scalar>(x);
    for (Index i = 0; i < p; ++i) result(n + i, j) = static_cast<Scalar>(y) * K(i, j);
  }
  return result;
}

/// |[x I; y K] (zI - F)^-1| in H-infinity, see `response_level`.
template <DecomposingBackend Backend>
double weighted_level(const typename Backend::StateMatrix& F, const typename Backend::Gain& K, double x,
                      double y) {
  return response_level<Backend>(F, stacked<Backend>(K, x, y));
}

/// H_alpha from weighted(x, y) = |[x Phi_x; y Phi_u]| in H-infinity.
template <class Weighted>
double split_level(double epsilon_A, double epsilon_B, double alpha, const Weighted& weighted) {
  // A radius of zero needs no share.
  const auto weight = [](double epsilon, double share) {
    return epsilon > 0 ? epsilon / std::sqrt(share) : 0;
  };
  const double x = weight(epsilon_A, alpha);
  const double y = weight(epsilon_B, 1 - alpha);
  if (!std::isfinite(x) || !std::isfinite(y)) return std::numeric_limits<double>::infinity();
  return weighted(x, y);
}

/// H_alpha of a gain whose closed loop F is stable.
template <DecomposingBackend Backend>
double split_level(const RobustProblem<Backend>& problem, const typename Backend::StateMatrix& F,
                   const typename Backend::Gain& K, double alpha) {
  return split_level(problem.epsilon_A, problem.epsilon_B, alpha,
                     [&](double x, double y) { return weighted_level<Backend>(F, K, x, y); });
}

}  // namespace detail

/// H_alpha(K) = |[epsilon_A / sqrt(alpha) I; epsilon_B / sqrt(1 - alpha) K] (zI - Ahat + Bhat K)^-1| in
/// H-infinity, from above within 1e-10 relative (Dean, Mania, Matni, Recht and Tu, "On the sample complexity
/// of the linear quadratic regulator", Found. Comput. Math. 20, 2020, proposition 3.5): below 1, the gain
/// stabilises every plant of the problem. Infinity where the estimate's closed loop is not proved stable, or
/// where a radius that is not zero has no share. K is n_u x n_x, u = -K x.
/// @throws DimensionMismatch, NotFinite for a bad K; InvalidOption unless 0 <= alpha <= 1; NoConvergence.
template <DecomposingBackend Backend>
double robustness_level(const RobustProblem<Backend>& problem,
                        const std::type_identity_t<typename Backend::Gain>& K, double alpha) {
  validate(problem);
  metalqr::detail::require_option(alpha >= 0 && alpha <= 1, "alpha", alpha, "a number in [0, 1]");
  const typename Backend::StateMatrix F = closed_loop(problem.estimate, K);
  metalqr::detail::require_finite<Backend>(K, "K");
  if (!is_stable<Backend>(F)) return std::numeric_limits<double>::infinity();
  return detail::split_level(problem, F, K, alpha);
}

}  // namespace metalqr::inline METALQR_ABI::synthesis
