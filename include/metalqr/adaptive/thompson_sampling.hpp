#pragma once

/// @file
/// Thompson sampling.

#include <cmath>
#include <optional>

#include <metalqr/adaptive/plant_set.hpp>
#include <metalqr/adaptive/strategy.hpp>
#include <metalqr/lqr/optimal_gain.hpp>

namespace metalqr::inline METALQR_ABI::adaptive {

/// The optimal gain of a plant drawn uniformly from the confidence ellipsoid, as in the comparison of Dean,
/// Mania, Matni, Recht, Tu, NeurIPS 2018 (analysed, with other draws, by Abeille, Lazaric, "Improved regret
/// bounds for Thompson sampling in linear quadratic control problems", ICML 2018). Explores by itself: goes
/// with `determinant_epochs`.
struct ThompsonSampling {
  /// The gain of the plant drawn; nothing if the ellipsoid has no finite level.
  /// @throws NotStabilizable, NoConvergence; DimensionMismatch for a bad ellipsoid.
  template <FactoringBackend Backend>
  std::optional<Controller<Backend>> operator()(const Knowledge<Backend>& knowledge, Stream& stream) const {
    if (!std::isfinite(knowledge.confidence.ellipsoid.level)) return std::nullopt;
    return solve_dare(draw_plant(knowledge.estimate, knowledge.confidence.ellipsoid, stream)).gain;
  }
};

}  // namespace metalqr::inline METALQR_ABI::adaptive
