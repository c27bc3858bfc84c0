#pragma once

/// @file
/// The error bound that independent data give by themselves.

#include <cmath>
#include <optional>
#include <string>

#include <metalqr/core/check.hpp>
#include <metalqr/identification/confidence.hpp>

namespace metalqr::inline METALQR_ABI::identification {

/// How `data_bound` works.
struct DataBoundOptions {
  double delta = 0.05;  ///< probability that the bound fails, in (0, 1)
  std::optional<double> noise =
      std::nullopt;  ///< sigma_w, >= 0; without it the level that the residual shows
  /// Refuse data for which the bound is not proved, whose rows depend on each other. Without it all samples
  /// of the rollouts may be used, as in practice, and the answer says that it is not rigorous.
  bool rigorous = true;
};

/// @throws InvalidOption, which names the field.
inline void validate(const DataBoundOptions& options) {
  detail::require_delta(options.delta);
  detail::require_noise(options.noise);
}

/// sigma_w^2 (sqrt(n_x + n_u) + sqrt(n_x) + sqrt(2 log(1/delta)))^2: with probability at least 1 - delta,
/// |W'Z (Z'Z)^-1/2|_2^2 is below it for W of Gaussian noise independent of Z.
/// @throws InvalidOption.
inline double data_bound_level(Index nx, Index nu, double delta, double noise = 1) {
  metalqr::detail::require_option(nx >= 1, "nx", static_cast<double>(nx), "at least 1");
  metalqr::detail::require_option(nu >= 1, "nu", static_cast<double>(nu), "at least 1");
  detail::require_delta(delta);
  detail::require_noise(noise);
  const double root = std::sqrt(static_cast<double>(nx + nu)) + std::sqrt(static_cast<double>(nx)) +
                      std::sqrt(2 * std::log(1 / delta));
  return noise * noise * root * root;
}

/// The data-dependent bound: [A_hat - A, B_hat - B] R'R [...]' <= `data_bound_level` I with R'R = Z'Z, for an
/// estimate from independent rows (`Samples::last`), and what it says of A and of B (Dean, Mania, Matni,
/// Recht, Tu, arXiv 1710.01688, proposition 2.4; for Gaussian noise it follows from the norm of a Gaussian
/// matrix). About three times the true error.
/// @throws InvalidOption for bad options, a ridge, or dependent rows with `rigorous`; DimensionMismatch if
/// there are too few rows to show a noise level that is not given; what `validate(estimate)` throws.
template <FactoringBackend Backend>
Confidence<Backend> data_bound(const Estimate<Backend>& estimate, const DataBoundOptions& options = {}) {
  validate(options);
  validate(estimate);
  if (options.rigorous && !estimate.independent) {
    throw InvalidOption(
        "rigorous: expected an estimate from one transition of each rollout (Samples::last), or rigorous = "
        "false, got " +
        std::to_string(estimate.transitions) + " dependent transitions");
  }
  metalqr::detail::require_option(estimate.ridge == 0, "estimate.ridge", estimate.ridge,
                                  "0, the bound is that of ordinary least squares");
  const double noise = options.noise ? *options.noise : noise_level(estimate);
  Confidence<Backend> result = detail::confidence_about(
      estimate, data_bound_level(estimate.nx(), estimate.nu(), options.delta, noise));
  result.delta = options.delta;
  result.noise = noise;
  const bool refuted = options.noise && detail::refutes_noise(estimate, noise, options.delta);
  result.rigorous = estimate.independent && options.noise.has_value() && !refuted;
  result.assumptions = {detail::linear_plant, detail::gaussian_noise,
                        options.noise ? detail::given_noise : detail::estimated_noise,
                        estimate.independent
                            ? "The rollouts are independent, and their inputs independent of the noise."
                            : "The regressors may be treated as independent of the noise."};
  if (refuted) result.assumptions.push_back(detail::refuted_noise);
  return result;
}

}  // namespace metalqr::inline METALQR_ABI::identification
