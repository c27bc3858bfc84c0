#pragma once

/// @file
/// Gradient estimates from cost values.

#include <cmath>
#include <limits>
#include <type_traits>
#include <vector>

#include <metalqr/zeroth_order/probe.hpp>

namespace metalqr::inline METALQR_ABI::zeroth_order {

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

namespace detail {

/// `estimate_gradient` along given perturbations.
template <MatrixBackend Backend, class Oracle>
GradientEstimate<Backend> gradient_along(const Oracle& oracle, const typename Backend::Gain& K,
                                         const std::vector<typename Backend::Gain>& directions,
                                         const EstimatorOptions& options, const StreamKey& key) {
  using Gain = typename Backend::Gain;
  using Scalar = typename Backend::Scalar;
  using Base = BaseCost<Scalar>;
  const Index nu = Backend::rows(K);
  const Index nx = Backend::cols(K);
  const Index d = nu * nx;
  GradientEstimate<Backend> estimate{.gradient = Backend::zero_gain(nu, nx)};
  // Independent replicates of the estimate: samples, or whole blocks.
  const Index block = comes_in_blocks(options.directions) ? d : 1;
  const Scalar weight = static_cast<Scalar>(static_cast<double>(d) / (options.radius * options.radius));
  std::vector<Gain> replicates;
  replicates.reserve(directions.size() / static_cast<std::size_t>(block));
  Gain sum = Backend::zero_gain(nu, nx);
  Index used_in_block = 0;
  Base base{.label = 1};
  if (options.points == Points::one_with_baseline) base.asked = Base::Asked::always;
  const auto add = [&](Index l, const Probe<Scalar>& sample) {
    estimate.calls += sample.calls;
    base.value = sample.base;
    if (sample.usable) {
      sum += (weight * slope(sample, options.points)) * directions[static_cast<std::size_t>(l)];
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
  };
  const auto key_of = [&key](Index l) { return key.with_sample(static_cast<std::uint64_t>(l)); };
  Prober<Backend, Oracle>(oracle, K, options, base).run(directions, key_of, add);
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
    const std::vector<Gain> v = draw_directions<Backend>(Directions::sphere, 1, nu, nx, options.radius, own);
    const auto compare = [&](Index /*l*/, const Probe<Scalar>& check) {
      estimate.calls += check.calls;
      if (!check.usable) return;
      const double defect =
          Backend::to_double(slope(check, options.points) - Backend::inner(estimate.gradient, v.front()));
      estimate.standard_error = std::abs(defect) * std::sqrt(static_cast<double>(d)) / options.radius;
    };
    base.asked = Base::Asked::never;
    Prober<Backend, Oracle>(oracle, K, options, base)
        .run(
            v, [&own](Index) { return own; }, compare);
  }
  return estimate;
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
  detail::require_estimable<Backend>(oracle, K, options);
  const Index d = Backend::rows(K) * Backend::cols(K);
  const Index samples = options.samples > 0 ? options.samples : d;
  return detail::gradient_along<Backend>(
      oracle, K, detail::perturbations<Backend>(options.directions, samples, K, options, key), options, key);
}

}  // namespace metalqr::inline METALQR_ABI::zeroth_order
