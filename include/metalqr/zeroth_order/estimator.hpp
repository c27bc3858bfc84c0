#pragma once

/// @file
/// What the estimators of derivatives from cost values have in common: options, checks, perturbations.

#include <array>
#include <string>
#include <vector>

#include <metalqr/core/check.hpp>
#include <metalqr/core/random.hpp>
#include <metalqr/zeroth_order/directions.hpp>
#include <metalqr/zeroth_order/oracle.hpp>

namespace metalqr::inline METALQR_ABI::zeroth_order {

/// Which cost values a sample uses.
enum class Points {
  one,                ///< J(K + U)
  one_with_baseline,  ///< J(K + U) - J(K)
  two                 ///< J(K + U) - J(K - U)
};

/// What happens to a sample whose perturbed gain has no finite cost.
enum class Unstable {
  drop,   ///< the sample is left out
  shrink  ///< its perturbation is halved until the cost is finite, at most ten times; then it is left out
};

/// Options of an estimator.
struct EstimatorOptions {
  Points points = Points::two;                      ///< cost values a sample uses
  Directions directions = Directions::orthonormal;  ///< law of the perturbations
  Index samples = 0;  ///< number m of perturbations, at most `max_samples`; 0: d = n_u n_x
  /// r, in units of the gain: between 1e-150 and 1e150, and at least 8 epsilon max|K|, below which a
  /// perturbation is lost in the rounding of K.
  double radius = 1e-4;
  Unstable unstable = Unstable::shrink;  ///< what a destabilising perturbation does
  bool common_random_numbers = true;     ///< the costs of one sample share their randomness
  /// Directions do not depend on the key's task: all tasks of an iteration are probed along the same ones.
  bool shared_directions = false;
  /// Spend two more calls on an error bar where the samples allow none (a single block of directions, or a
  /// single sample).
  bool check_direction = true;
};

/// Throws `InvalidOption` naming the first field out of range; d = n_u n_x.
inline void validate(const EstimatorOptions& options) {
  detail::require_samples(options.samples, 0, "at least 1, or 0 for n_u n_x");
  detail::require_radius(options.radius);
  // Without a baseline the cost itself would appear in every entry of the gradient.
  if (options.points == Points::one && options.directions == Directions::coordinate) {
    throw InvalidOption(
        "directions: expected a law that is symmetric about zero for Points::one, got coordinate");
  }
}

namespace detail {

/// Whether a perturbation of norm `radius` survives the rounding of K.
template <MatrixBackend Backend>
bool is_resolved(double radius, const typename Backend::Gain& K) {
  using Scalar = typename Backend::Scalar;
  return static_cast<Scalar>(radius) >= Scalar(8) * Backend::epsilon() * Backend::max_abs(K);
}

/// Throws `InvalidOption` unless that is so, and the scalar holds r^`power` and its inverse.
template <MatrixBackend Backend>
void require_resolved(double radius, const typename Backend::Gain& K, const char* name = "radius",
                      int power = 2) {
  using Scalar = typename Backend::Scalar;
  constexpr Scalar infinity = std::numeric_limits<Scalar>::infinity();
  Scalar product(1);
  for (int i = 0; i < power; ++i) product = product * static_cast<Scalar>(radius);
  const bool holds = product > Scalar(0) && product < infinity && Scalar(1) / product < infinity;
  metalqr::detail::require_option(
      holds, name, radius,
      power == 2 ? "a number with a finite inverse square" : "a number with a finite inverse fourth power");
  if (is_resolved<Backend>(radius, K)) return;
  const double least = 8 * Backend::to_double(Backend::epsilon() * Backend::max_abs(K));
  throw InvalidOption(std::string(name) +
                      ": expected at least 8 epsilon max|K| = " + metalqr::detail::text(least) +
                      ", below which K does not change, got " + metalqr::detail::text(radius));
}

/// The checks that every estimate at K begins with; `power`: see `require_resolved`.
template <MatrixBackend Backend, class Oracle>
void require_estimable(const Oracle& oracle, const typename Backend::Gain& K, const EstimatorOptions& options,
                       int power = 2) {
  validate(options);
  require_gain<Backend>(oracle, K, "K");
  metalqr::detail::require_finite<Backend>(K, "K");
  require_resolved<Backend>(options.radius, K, "radius", power);
}

/// The perturbations that several estimates in a row share, drawn once and kept by each thread for the next
/// ones: a copy costs nothing beside the drawing.
template <MatrixBackend Backend>
std::vector<typename Backend::Gain> shared_perturbations(Directions law, Index samples, Index nu, Index nx,
                                                         double radius, const StreamKey& key) {
  struct Drawn {
    Directions law{};
    double radius = 0;  // none drawn yet
    StreamKey key{};
    Index nu = 0;
    Index nx = 0;
    std::vector<typename Backend::Gain> directions{};
  };
  // As many sets as the estimates of a task in one iteration of meta-training use, and no large ones.
  constexpr std::size_t most_sets = 8;
  constexpr Index most_entries = 10'000;
  const auto draw = [&] { return draw_directions<Backend>(law, samples, nu, nx, radius, key); };
  if (samples * nu * nx > most_entries) return draw();
  thread_local std::array<Drawn, most_sets> sets;
  thread_local std::size_t oldest = 0;
  for (const Drawn& set : sets) {
    if (set.law == law && set.radius == radius && set.nu == nu && set.nx == nx &&
        static_cast<Index>(set.directions.size()) == samples && set.key == key) {
      return set.directions;
    }
  }
  std::vector<typename Backend::Gain> directions = draw();
  sets[oldest] = {law, radius, key, nu, nx, directions};
  oldest = (oldest + 1) % most_sets;
  return directions;
}

/// The perturbations of an estimate at K.
template <MatrixBackend Backend>
std::vector<typename Backend::Gain> perturbations(Directions law, Index samples,
                                                  const typename Backend::Gain& K,
                                                  const EstimatorOptions& options, const StreamKey& key) {
  const Index nu = Backend::rows(K);
  const Index nx = Backend::cols(K);
  if (!options.shared_directions) return draw_directions<Backend>(law, samples, nu, nx, options.radius, key);
  const StreamKey shared = key.with_purpose(Purpose::directions).with_task(0);
  return shared_perturbations<Backend>(law, samples, nu, nx, options.radius, shared);
}

}  // namespace detail
}  // namespace metalqr::inline METALQR_ABI::zeroth_order
