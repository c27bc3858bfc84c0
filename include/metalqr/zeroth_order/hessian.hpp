#pragma once

/// @file
/// Hessian estimates from cost values.

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include <metalqr/zeroth_order/gradient.hpp>

namespace metalqr::inline METALQR_ABI::zeroth_order {

/// What algorithm 2 of Toso et al. (L4DC 2024) returns.
template <class Backend>
struct PrintedEstimate {
  GradientEstimate<Backend> gradient;  ///< the two-point gradient; its calls count those of both estimates
  typename Backend::ControlMatrix hessian;  ///< n_u x n_u; not a Hessian, see `estimate_as_printed`
  /// Standard error of `hessian` in the Frobenius norm, from the spread of the samples; NaN for one.
  double hessian_standard_error = std::numeric_limits<double>::quiet_NaN();
};

/// Algorithm 2 (ZO2P) of Toso et al. (L4DC 2024) to the letter: from m samples on the sphere of radius r,
/// gradient d/(2 r^2 m) sum (J(K+U) - J(K-U)) U and 'Hessian' n_u^2/(r^2 m) sum (J(K+U) - J(K)) (UU' - I).
/// **The second is no Hessian**: for small r it tends to -(n_u^2/(2d)) tr(H) I, a negative multiple of the
/// identity. It exists to reproduce the paper's figures. `options.samples` (0: d) and `options.radius` are
/// used, directions are always on the sphere; a sample without finite costs is dropped or shrunk as
/// `options.unstable` says.
/// @param repeat_base_cost call J(K) anew for each sample, as printed; false: once.
template <MatrixBackend Backend, CostOracle<Backend> Oracle>
PrintedEstimate<Backend> estimate_as_printed(const Oracle& oracle,
                                             const std::type_identity_t<typename Backend::Gain>& K,
                                             const EstimatorOptions& options, const StreamKey& key,
                                             bool repeat_base_cost = true) {
  using Gain = typename Backend::Gain;
  using ControlMatrix = typename Backend::ControlMatrix;
  using Scalar = typename Backend::Scalar;
  detail::require_estimable<Backend>(oracle, K, options);
  const Index nu = Backend::rows(K);
  const Index nx = Backend::cols(K);
  const Index d = nu * nx;
  const Index samples = options.samples > 0 ? options.samples : d;
  const double squared = options.radius * options.radius;
  EstimatorOptions pairs = options;
  pairs.points = Points::two;
  const std::vector<Gain> directions =
      detail::perturbations<Backend>(Directions::sphere, samples, K, options, key);
  PrintedEstimate<Backend> estimate{.gradient = {.gradient = Backend::zero_gain(nu, nx)},
                                    .hessian = Backend::zero_control_matrix(nu)};
  GradientEstimate<Backend>& first = estimate.gradient;
  const ControlMatrix identity = Backend::identity_like(estimate.hessian);
  constexpr Scalar infinity = std::numeric_limits<Scalar>::infinity();
  double squares = 0;
  double hessian_squares = 0;
  const auto add = [&](Index l, const detail::Probe<Scalar>& probe) {
    first.calls += probe.calls;
    if (!probe.usable || !(probe.base < infinity)) {
      ++first.dropped;
      return;
    }
    ++first.used;
    first.shrunk += probe.scale < Scalar(1) ? 1 : 0;
    const Gain& U = directions[static_cast<std::size_t>(l)];
    const Gain sample = detail::slope(probe, Points::two) * U;
    const Scalar norm = Backend::norm(sample);
    squares += Backend::to_double(norm * norm);
    first.gradient += sample;
    // The printed sample at radius scale * r.
    const Scalar shrinkage = probe.scale * probe.scale;
    const ControlMatrix outer =
        ((probe.ahead - probe.base) / shrinkage) * (shrinkage * Backend::product_transpose(U, U) - identity);
    const Scalar outer_norm = Backend::norm(outer);
    hessian_squares += Backend::to_double(outer_norm * outer_norm);
    estimate.hessian += outer;
  };
  using Base = detail::BaseCost<Scalar>;
  const Base base{.asked = repeat_base_cost ? Base::Asked::always : Base::Asked::once};
  const auto key_of = [&key](Index l) { return key.with_sample(static_cast<std::uint64_t>(l)); };
  detail::Prober<Backend, Oracle>(oracle, K, pairs, base).run(directions, key_of, add);
  if (first.used == 0) return estimate;
  const double count = static_cast<double>(first.used);
  const double weight = static_cast<double>(d) / squared;
  const double mean = Backend::to_double(Backend::norm(first.gradient)) / count;
  const double hessian_weight = static_cast<double>(nu * nu) / squared;
  const double hessian_mean = Backend::to_double(Backend::norm(estimate.hessian)) / count;
  if (first.used > 1) {
    estimate.hessian_standard_error =
        hessian_weight *
        std::sqrt(std::max(hessian_squares / count - hessian_mean * hessian_mean, 0.0) / (count - 1));
    first.standard_error = weight * std::sqrt(std::max(squares / count - mean * mean, 0.0) / (count - 1));
  }
  first.gradient = first.gradient * static_cast<Scalar>(weight / count);
  estimate.hessian = estimate.hessian * static_cast<Scalar>(hessian_weight / count);
  return estimate;
}

/// A consistent estimate of the Hessian.
template <class Backend>
struct HessianEstimate {
  typename Backend::Matrix
      hessian;  ///< symmetric d x d, d = n_u n_x, on vec(X) with the columns of X stacked
  /// Standard error in the Frobenius norm, from the spread of the samples (NaN for one).
  double standard_error = std::numeric_limits<double>::quiet_NaN();
  Index calls = 0;    ///< oracle calls
  Index used = 0;     ///< samples in the estimate
  Index dropped = 0;  ///< samples left out because a cost was not finite
  Index shrunk = 0;   ///< samples with a smaller radius
};

/// Estimates the Hessian of J at K as a d x d matrix from m antithetic samples (Stein's identity of second
/// order): with c = (J(K+U) + J(K-U) - 2 J(K))/2, M2 = mean(c vec(U) vec(U)'), t = (2d/r^2) mean(c), which
/// estimates tr H: H = d(d+2)/r^4 M2 - (t/2) I on the sphere, H = d^2/r^4 M2 - (t/2) I for Gaussian
/// directions. 2 m + 1 calls (3 m if each sample has its own randomness), and two for each halving of a
/// perturbation; a sample shrunk by s counts with c/s^2. The relative error falls as d/sqrt(m);
/// `options.samples` 0 stands for 16 d^2.
/// @throws InvalidOption if the directions are neither `sphere` nor `gaussian`, the points not two, or r^4
/// underflows; as `estimate_gradient`.
template <MatrixBackend Backend, CostOracle<Backend> Oracle>
HessianEstimate<Backend> estimate_hessian(
    const Oracle& oracle, const std::type_identity_t<typename Backend::Gain>& K,
    const EstimatorOptions& options = {.directions = Directions::sphere}, const StreamKey& key = {}) {
  using Gain = typename Backend::Gain;
  using Matrix = typename Backend::Matrix;
  using Scalar = typename Backend::Scalar;
  detail::require_estimable<Backend>(oracle, K, options, 4);
  if (options.points != Points::two) {
    throw InvalidOption(std::string("points: expected two for a Hessian, got ") +
                        (options.points == Points::one ? "one" : "one_with_baseline"));
  }
  if (options.directions != Directions::sphere && options.directions != Directions::gaussian) {
    throw InvalidOption(std::string("directions: expected sphere or gaussian for a Hessian, got ") +
                        to_string(options.directions));
  }
  const Index nu = Backend::rows(K);
  const Index nx = Backend::cols(K);
  const Index d = nu * nx;
  const Index samples = options.samples > 0 ? options.samples : 16 * d * d;
  const double squared = options.radius * options.radius;
  const auto dimension = static_cast<double>(d);
  const double moment =
      options.directions == Directions::sphere ? dimension * (dimension + 2) : dimension * dimension;
  const std::vector<Gain> directions =
      detail::perturbations<Backend>(options.directions, samples, K, options, key);
  constexpr Scalar infinity = std::numeric_limits<Scalar>::infinity();
  constexpr bool random_calls = requires {
    oracle(K, key);
  };
  HessianEstimate<Backend> estimate{.hessian = Backend::zero_matrix(d, d)};
  double squares = 0;
  Matrix sample = Backend::zero_matrix(d, d);
  const auto add = [&](Index l, const detail::Probe<Scalar>& probe) {
    estimate.calls += probe.calls;
    if (!probe.usable || !(probe.base < infinity)) {
      ++estimate.dropped;
      return;
    }
    ++estimate.used;
    estimate.shrunk += probe.scale < Scalar(1) ? 1 : 0;
    // A second difference over the length of a shrunk perturbation, in units of the whole one.
    const Scalar c =
        (probe.ahead + probe.behind - Scalar(2) * probe.base) / (Scalar(2) * probe.scale * probe.scale);
    const Scalar outer = c * static_cast<Scalar>(moment / (squared * squared));
    const Scalar diagonal = c * static_cast<Scalar>(dimension / squared);
    const Gain& U = directions[static_cast<std::size_t>(l)];
    for (Index i = 0; i < d; ++i) {
      for (Index j = 0; j < d; ++j) {
        sample(i, j) = outer * U(i % nu, i / nu) * U(j % nu, j / nu) - (i == j ? diagonal : Scalar(0));
      }
    }
    const Scalar norm = Backend::norm(sample);
    squares += Backend::to_double(norm * norm);
    estimate.hessian += sample;
  };
  using Base = detail::BaseCost<Scalar>;
  const Base base{.asked = random_calls ? Base::Asked::always : Base::Asked::once, .label = 2};
  const auto key_of = [&key](Index l) { return key.with_sample(static_cast<std::uint64_t>(l)); };
  detail::Prober<Backend, Oracle>(oracle, K, options, base).run(directions, key_of, add);
  if (estimate.used == 0) return estimate;
  const double count = static_cast<double>(estimate.used);
  estimate.hessian = estimate.hessian / static_cast<Scalar>(count);
  if (estimate.used > 1) {
    const double mean = Backend::to_double(Backend::norm(estimate.hessian));
    estimate.standard_error = std::sqrt(std::max(squares / count - mean * mean, 0.0) / (count - 1));
  }
  return estimate;
}

/// An estimate of H[X].
template <class Backend>
struct HessianProductEstimate {
  typename Backend::Gain product;  ///< n_u x n_x
  /// Standard error in the Frobenius norm if the two gradients had independent errors: with common directions
  /// and random numbers it is an upper bound in practice. NaN if the gradients have none.
  double standard_error = std::numeric_limits<double>::quiet_NaN();
  Index calls = 0;     ///< oracle calls
  bool usable = true;  ///< false if a gradient had no finite sample; `product` is then zero
};

/// Estimates H[X] as (g(K + hX) - g(K - hX))/(2h) with h = step/|X|_F and the same directions and random
/// numbers in both gradients. Twice the calls of `estimate_gradient`. `step` 0 stands for the estimator's
/// radius.
/// @throws InvalidOption, DimensionMismatch, NotFinite as `estimate_gradient`.
template <MatrixBackend Backend, CostOracle<Backend> Oracle>
HessianProductEstimate<Backend> estimate_hessian_product(
    const Oracle& oracle, const std::type_identity_t<typename Backend::Gain>& K,
    const std::type_identity_t<typename Backend::Gain>& X, const EstimatorOptions& options = {},
    const StreamKey& key = {}, double step = 0) {
  using Gain = typename Backend::Gain;
  using Scalar = typename Backend::Scalar;
  validate(options);
  detail::require_gain<Backend>(oracle, K, "K");
  metalqr::detail::require_finite<Backend>(K, "K");
  metalqr::detail::require_shape<Backend>(X, Backend::rows(K), Backend::cols(K), "X");
  metalqr::detail::require_finite<Backend>(X, "X");
  metalqr::detail::require_option(step >= 0 && std::isfinite(step), "step", step,
                                  "a positive number, or 0 for the radius");
  if (step > 0) detail::require_resolved<Backend>(step, K, "step");
  const Scalar size = Backend::norm(X);
  HessianProductEstimate<Backend> estimate{.product = Backend::zero_like(K)};
  if (!(size > Scalar(0))) {
    estimate.standard_error = 0;
    return estimate;
  }
  const Scalar h = static_cast<Scalar>(step > 0 ? step : options.radius) / size;
  const Gain ahead = K + h * X;
  const Gain behind = K - h * X;
  detail::require_estimable<Backend>(oracle, ahead, options);
  detail::require_estimable<Backend>(oracle, behind, options);
  const Index samples = options.samples > 0 ? options.samples : Backend::rows(K) * Backend::cols(K);
  const std::vector<Gain> directions =
      detail::perturbations<Backend>(options.directions, samples, K, options, key);
  const GradientEstimate<Backend> forward =
      detail::gradient_along<Backend>(oracle, ahead, directions, options, key);
  const GradientEstimate<Backend> backward =
      detail::gradient_along<Backend>(oracle, behind, directions, options, key);
  estimate.calls = forward.calls + backward.calls;
  estimate.usable = forward.used > 0 && backward.used > 0;
  if (!estimate.usable) return estimate;
  estimate.product = (forward.gradient - backward.gradient) / (Scalar(2) * h);
  estimate.standard_error =
      std::hypot(forward.standard_error, backward.standard_error) / (2 * Backend::to_double(h));
  return estimate;
}

}  // namespace metalqr::inline METALQR_ABI::zeroth_order
