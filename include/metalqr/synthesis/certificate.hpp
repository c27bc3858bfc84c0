#pragma once

/// @file
/// What a given gain is proved to do on every plant near an estimate.

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <type_traits>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/check.hpp>
#include <metalqr/equations/spectral.hpp>
#include <metalqr/lqr/evaluation.hpp>
#include <metalqr/synthesis/golden_section.hpp>
#include <metalqr/synthesis/problem.hpp>

namespace metalqr::inline METALQR_ABI::synthesis {

/// A condition of a certificate.
struct Assumption {
  const char* statement = "";  ///< what must hold
  bool checked = false;        ///< whether it was checked; else it is taken on trust
  bool holds = false;          ///< what the check found; true where it is taken on trust
};

/// What is known of a gain K on every plant of a `RobustProblem`.
struct RobustCertificate {
  double level = std::numeric_limits<double>::infinity();  ///< H*(K), the least H_alpha(K) over alpha
  double alpha = 0.5;  ///< where it is attained, within 1e-6 relative of alpha and of 1 - alpha
  double spectral_radius = std::numeric_limits<double>::infinity();  ///< rho(Ahat - Bhat K)
  double nominal_cost = std::numeric_limits<double>::infinity();     ///< tr(P Sigma0) on the estimate
  double cost_bound =
      std::numeric_limits<double>::infinity();  ///< above the cost on every plant; infinity unless certified
  std::array<Assumption, 4> assumptions{};      ///< what this rests on

  /// Whether all that was checked holds: K stabilises every plant of the problem, at a cost below
  /// `cost_bound`.
  bool certified() const {
    return std::all_of(assumptions.begin(), assumptions.end(), std::mem_fn(&Assumption::holds));
  }
};

namespace detail {

/// H* and where it is attained, from weighted(x, y) = |[x Phi_x; y Phi_u]| in H-infinity.
template <class Weighted>
LeastPoint<double> least_level(double epsilon_A, double epsilon_B, const Weighted& weighted) {
  // With x and y the levels of either part, H_alpha^2 is at least x^2 / alpha and y^2 / (1 - alpha), and at
  // alpha = x / (x + y) at most (x + y)^2: outside of the interval below it is above that.
  const double x = epsilon_A > 0 ? weighted(epsilon_A, 0.0) : 0;
  const double y = epsilon_B > 0 ? weighted(0.0, epsilon_B) : 0;
  if (!std::isfinite(x) || !std::isfinite(y)) return {0.5, std::numeric_limits<double>::infinity()};
  // Of inputs that are zero the error has no weight, but it needs a share.
  if (y == 0)
    return epsilon_B > 0 ? LeastPoint<double>{1 - 1e-12, x / std::sqrt(1 - 1e-12)} : LeastPoint<double>{1, x};
  if (x == 0) return {0, y};
  const double share = x / (x + y);
  const double low = std::max(share * share, 1e-12);
  const double high = std::min(1 - (1 - share) * (1 - share), 1 - 1e-12);
  const auto level = [&](double alpha) { return split_level(epsilon_A, epsilon_B, alpha, weighted); };
  if (!(low < high)) return {share, level(share)};
  // H_alpha^2 is convex in alpha, as the largest of functions v^2 / alpha + w^2 / (1 - alpha).
  return golden_section(low, high, 1e-6, level, std::less<>());
}

}  // namespace detail

/// The certificate of any gain, whatever it was made by (Dean, Mania, Matni, Recht and Tu, "On the sample
/// complexity of the linear quadratic regulator", Found. Comput. Math. 20, 2020, sections 3.2 and 3.3,
/// applied to a gain that is given): where H* = min over alpha of H_alpha(K) is below 1, K stabilises every
/// plant of the problem, at a cost of at most s tr(P) / (1 - H*)^2 with P the value matrix of K on the
/// estimate and s the largest eigenvalue of Sigma0. K is n_u x n_x, u = -K x; about forty H-infinity norms.
/// @throws DimensionMismatch, NotFinite for a bad K; InvalidOption for bad radii; NoConvergence.
template <DecomposingBackend Backend>
RobustCertificate certify(const RobustProblem<Backend>& problem,
                          const std::type_identity_t<typename Backend::Gain>& K) {
  validate(problem);
  const typename Backend::StateMatrix F = closed_loop(problem.estimate, K);
  metalqr::detail::require_finite<Backend>(K, "K");
  RobustCertificate result;
  result.spectral_radius = Backend::to_double(metalqr::spectral_radius<Backend>(F));
  const double unit_cost = detail::unit_cost<Backend>(problem.estimate, K);
  const bool stable = std::isfinite(unit_cost);
  if (stable) {
    const detail::LeastPoint<double> least =
        detail::least_level(problem.epsilon_A, problem.epsilon_B,
                            [&](double x, double y) { return detail::weighted_level<Backend>(F, K, x, y); });
    result.level = least.value;
    result.alpha = least.argument;
    result.nominal_cost = Backend::to_double(metalqr::cost(problem.estimate, K));
  }
  result.assumptions = {
      Assumption{"the estimate's closed loop is stable", true, stable},
      Assumption{"the H-infinity level H* of its response to the plant's errors is below 1", true,
                 result.level < 1},
      Assumption{"the plant is within epsilon_A and epsilon_B of the estimate in spectral norm", false, true},
      Assumption{"the plant is linear and the noise white, its covariance Sigma0 at most", false, true}};
  if (result.certified()) {
    const double margin = 1 - result.level;
    result.cost_bound = detail::noise_scale(problem.estimate) * unit_cost / (margin * margin);
  }
  return result;
}

}  // namespace metalqr::inline METALQR_ABI::synthesis
