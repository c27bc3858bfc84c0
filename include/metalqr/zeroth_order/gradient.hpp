#pragma once

/// @file
/// Gradient estimates from cost values.

#include <cmath>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include <metalqr/core/check.hpp>
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

/// An estimate of a gradient.
template <class Backend>
struct GradientEstimate {
  typename Backend::Gain gradient;  ///< n_u x n_x
  /// Standard error of the gradient in the Frobenius norm (root of the covariance's trace), from the spread
  /// of independent samples or blocks, or from a check direction; NaN where there is neither. It does not
  /// contain the smoothing bias, which is O(r^2) for two points, nor the rounding of the costs, which is
  /// about sqrt(d) epsilon |J|/r.
  double standard_error = std::numeric_limits<double>::quiet_NaN();
  Index calls = 0;    ///< oracle calls
  Index used = 0;     ///< samples in the estimate
  Index dropped = 0;  ///< samples left out because no finite cost was found
  Index shrunk = 0;   ///< samples with a smaller radius
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

/// The perturbations of an estimate at K.
template <MatrixBackend Backend>
std::vector<typename Backend::Gain> perturbations(Directions law, Index samples,
                                                  const typename Backend::Gain& K,
                                                  const EstimatorOptions& options, const StreamKey& key) {
  return draw_directions<Backend>(law, samples, Backend::rows(K), Backend::cols(K), options.radius,
                                  options.shared_directions ? key.with_task(0) : key);
}

/// The costs of one sample.
template <class Scalar>
struct Probe {
  Scalar ahead{};   ///< J(K + scale U)
  Scalar behind{};  ///< J(K - scale U), or J(K), or 0
  Scalar scale{1};  ///< 1, or less if the perturbation was shrunk
  Index calls = 0;
  bool usable = false;  ///< whether both costs are finite
};

/// Calls the oracle at the perturbed gains of one sample. `baseline` is J(K) for `Points::one_with_baseline`.
template <MatrixBackend Backend, class Oracle>
Probe<typename Backend::Scalar> probe(const Oracle& oracle, const typename Backend::Gain& K,
                                      const typename Backend::Gain& U, const EstimatorOptions& options,
                                      const StreamKey& key, const typename Backend::Scalar& baseline) {
  using Gain = typename Backend::Gain;
  using Scalar = typename Backend::Scalar;
  constexpr int max_halvings = 10;
  constexpr Scalar infinity = std::numeric_limits<Scalar>::infinity();
  const StreamKey other = options.common_random_numbers ? key : key.child(1);
  Probe<Scalar> result;
  for (int halving = 0;; ++halving) {
    const Gain forward = K + result.scale * U;
    result.ahead = call<Backend>(oracle, forward, key);
    ++result.calls;
    if (options.points == Points::two) {
      const Gain backward = K - result.scale * U;
      result.behind = call<Backend>(oracle, backward, other);
      ++result.calls;
    } else if (options.points == Points::one_with_baseline) {
      result.behind = baseline;
    }
    result.usable = result.ahead < infinity && result.behind < infinity;
    if (result.usable || options.unstable == Unstable::drop || halving == max_halvings) return result;
    result.scale = result.scale / Scalar(2);
  }
}

/// The slope of the cost along U, <grad J, U> up to the estimator's error.
template <class Scalar>
Scalar slope(const Probe<Scalar>& probe, Points points) {
  const Scalar width = points == Points::two ? Scalar(2) * probe.scale : probe.scale;
  return (probe.ahead - probe.behind) / width;
}

}  // namespace detail

/// Estimates grad J(K) from m perturbations U_l as d/(r^2 m) sum_l s_l U_l, where the slope s_l is J(K + U),
/// or J(K + U) - J(K), or (J(K + U) - J(K - U))/2 (Toso et al., L4DC 2024, algorithm 2). With two points and
/// whole orthonormal blocks the error is O(r^2) with no sampling error; independent directions leave a
/// relative error of about sqrt(d/m). Sample l draws its randomness at `key` with sample l.
/// @throws DimensionMismatch, NotFinite for a bad K; InvalidOption. An unstable K is no error: samples are
/// dropped and counted.
template <MatrixBackend Backend, CostOracle<Backend> Oracle>
GradientEstimate<Backend> estimate_gradient(const Oracle& oracle,
                                            const std::type_identity_t<typename Backend::Gain>& K,
                                            const EstimatorOptions& options = {}, const StreamKey& key = {}) {
  using Gain = typename Backend::Gain;
  using Scalar = typename Backend::Scalar;
  detail::require_estimable<Backend>(oracle, K, options);
  const Index nu = Backend::rows(K);
  const Index nx = Backend::cols(K);
  const Index d = nu * nx;
  const Index samples = options.samples > 0 ? options.samples : d;
  const std::vector<Gain> directions =
      detail::perturbations<Backend>(options.directions, samples, K, options, key);
  GradientEstimate<Backend> estimate{.gradient = Backend::zero_gain(nu, nx)};
  Scalar baseline(0);
  // Independent replicates of the estimate: samples, or whole blocks.
  const Index block = comes_in_blocks(options.directions) ? d : 1;
  const Scalar weight = static_cast<Scalar>(static_cast<double>(d) / (options.radius * options.radius));
  std::vector<Gain> replicates;
  Gain sum = Backend::zero_gain(nu, nx);
  Index used_in_block = 0;
  for (Index l = 0; l < samples; ++l) {
    const Gain& U = directions[static_cast<std::size_t>(l)];
    const StreamKey own = key.with_sample(static_cast<std::uint64_t>(l));
    if (options.points == Points::one_with_baseline) {
      baseline = call<Backend>(oracle, K, options.common_random_numbers ? own : own.child(1));
      ++estimate.calls;
    }
    const detail::Probe<Scalar> sample = detail::probe<Backend>(oracle, K, U, options, own, baseline);
    estimate.calls += sample.calls;
    if (sample.usable) {
      sum += (weight * detail::slope(sample, options.points)) * U;
      ++estimate.used;
      ++used_in_block;
      estimate.shrunk += sample.scale < Scalar(1) ? 1 : 0;
    } else {
      ++estimate.dropped;
    }
    if ((l + 1) % block == 0) {
      // A direction missing from a block contributes nothing; a missing independent sample is no replicate.
      if (used_in_block > 0) replicates.push_back(sum / static_cast<Scalar>(static_cast<double>(block)));
      sum = Backend::zero_gain(nu, nx);
      used_in_block = 0;
    }
  }
  if (replicates.empty()) return estimate;
  const double count = static_cast<double>(replicates.size());
  for (const Gain& replicate : replicates) estimate.gradient += replicate;
  estimate.gradient = estimate.gradient / static_cast<Scalar>(count);
  if (replicates.size() > 1) {
    double spread = 0;
    for (const Gain& replicate : replicates) {
      const double deviation = Backend::to_double(Backend::norm(Gain(replicate - estimate.gradient)));
      spread += deviation * deviation;
    }
    estimate.standard_error = std::sqrt(spread / (count * (count - 1)));
  } else if (options.check_direction) {
    // E <e, v>^2 = |e|^2 r^2/d for v uniform on the sphere and any error e of the estimate.
    const StreamKey own = key.child(2);
    const Gain v = draw_directions<Backend>(Directions::sphere, 1, nu, nx, options.radius, own).front();
    const detail::Probe<Scalar> check = detail::probe<Backend>(oracle, K, v, options, own, baseline);
    estimate.calls += check.calls;
    if (check.usable) {
      const double defect =
          Backend::to_double(detail::slope(check, options.points) - Backend::inner(estimate.gradient, v));
      estimate.standard_error = std::abs(defect) * std::sqrt(static_cast<double>(d)) / options.radius;
    }
  }
  return estimate;
}

}  // namespace metalqr::inline METALQR_ABI::zeroth_order
