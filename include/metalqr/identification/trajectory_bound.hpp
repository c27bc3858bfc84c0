#pragma once

/// @file
/// An error bound for data whose rows depend on each other: a single trajectory, under any feedback.

#include <algorithm>
#include <cmath>
#include <optional>

#include <metalqr/core/check.hpp>
#include <metalqr/equations/spectral_norm.hpp>
#include <metalqr/identification/confidence.hpp>

namespace metalqr::inline METALQR_ABI::identification {

/// Which norm `trajectory_bound` bounds.
enum class BoundForm {
  covering,  ///< the largest eigenvalue, through a net of 5^n_x directions
  trace      ///< the trace, by a union over the states
};

/// How `trajectory_bound` works.
struct TrajectoryBoundOptions {
  double delta = 0.05;  ///< probability that the bound fails, in (0, 1)
  std::optional<double> noise =
      std::nullopt;  ///< sigma_w, >= 0; without it the level that the residual shows
  /// S with |[A B]|_2 <= S (covering) or |[A B]|_F <= S (trace), >= 0: the penalty pulls the estimate towards
  /// zero by up to this. Counts little with a small ridge.
  double plant_norm = 10;
  BoundForm form = BoundForm::covering;  ///< which norm
};

/// @throws InvalidOption, which names the field.
inline void validate(const TrajectoryBoundOptions& options) {
  detail::require_delta(options.delta);
  detail::require_noise(options.noise);
  metalqr::detail::require_option(options.plant_norm >= 0 && std::isfinite(options.plant_norm), "plant_norm",
                                  options.plant_norm, "a finite number >= 0");
}

/// The self-normalised bound: for a ridge estimate with V = Z'Z + ridge I = R'R from any data in which inputs
/// depend on the past only, with probability at least 1 - delta
/// |R [A_hat - A, B_hat - B]'| <= sigma_w sqrt(8 log(5^n_x sqrt(det V / det ridge I) / delta)) + sqrt(ridge)
/// S in the spectral norm (covering), or with sqrt(2 n_x log(n_x sqrt(...) / delta)) in the Frobenius norm
/// (trace). Abbasi-Yadkori, Pal, Szepesvari, "Improved algorithms for linear stochastic bandits", NIPS 2011,
/// theorem 1, over the directions of the states; Abbasi-Yadkori, Szepesvari, COLT 2011.
/// @throws InvalidOption for bad options or an estimate without a ridge; DimensionMismatch if there are too
/// few transitions to show a noise level that is not given; what `validate(estimate)` throws.
template <FactoringBackend Backend>
Confidence<Backend> trajectory_bound(const Estimate<Backend>& estimate,
                                     const TrajectoryBoundOptions& options = {}) {
  validate(options);
  validate(estimate);
  metalqr::detail::require_option(estimate.ridge > 0 && std::isfinite(estimate.ridge), "estimate.ridge",
                                  estimate.ridge, "a positive number");
  const double n = static_cast<double>(estimate.nx());
  const double count = static_cast<double>(estimate.nx() + estimate.nu());
  const double growth = 0.5 * (estimate.log_determinant() - count * std::log(estimate.ridge));
  const double noise = options.noise ? *options.noise : noise_level(estimate);
  const bool trace = options.form == BoundForm::trace;
  const double deviation = trace ? std::sqrt(2 * n * (std::log(n / options.delta) + growth))
                                 : std::sqrt(8 * (n * std::log(5.0) - std::log(options.delta) + growth));
  const double radius = noise * deviation + std::sqrt(estimate.ridge) * options.plant_norm;
  Confidence<Backend> result = detail::confidence_about(estimate, radius * radius);
  result.delta = options.delta;
  result.noise = noise;
  result.ellipsoid.trace = trace;
  // What the data can speak against: the plant that they show is within reach of plant_norm, and the noise
  // that they show, at most |W|_F^2 + ridge |[A B]|_F^2, has a mean n_x m sigma_w^2 that it exceeds 1 / delta
  // times with probability delta at most.
  const auto norm_of = [&](const auto& x) {
    return Backend::to_double(trace ? Backend::norm(x) : spectral_norm<Backend>(x));
  };
  const typename Backend::Matrix inverse =
      Backend::solve(estimate.factor, Backend::identity_like(estimate.factor));
  const double reach = options.plant_norm + radius * Backend::to_double(spectral_norm<Backend>(inverse));
  const double norm_A = norm_of(estimate.A);
  const double norm_B = norm_of(estimate.B);
  const bool small_norm = (trace ? std::hypot(norm_A, norm_B) : std::max(norm_A, norm_B)) > reach;
  const double moved = (trace ? 1 : n) * estimate.ridge * options.plant_norm * options.plant_norm;
  const double rows = static_cast<double>(estimate.transitions);
  const double residual = Backend::to_double(estimate.residual);
  const bool small_noise =
      options.noise && residual * residual > n * rows * noise * noise / options.delta + moved;
  result.rigorous = options.noise.has_value() && !small_norm && !small_noise;
  result.assumptions = {detail::linear_plant,
                        "The process noise is sub-Gaussian with parameter sigma_w in every direction, given "
                        "the past.",
                        "Inputs depend on the past only.",
                        options.noise ? detail::given_noise : detail::estimated_noise,
                        "The norm of [A B] is at most plant_norm."};
  if (small_noise) result.assumptions.push_back(detail::refuted_noise);
  if (small_norm) {
    result.assumptions.push_back(
        "But the estimate is larger than that norm and this bound allow: use a larger one.");
  }
  return result;
}

}  // namespace metalqr::inline METALQR_ABI::identification
