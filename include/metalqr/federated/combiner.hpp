#pragma once

/// @file
/// How a server makes one estimate of many: the list, what a combiner is, and the weighted mean.

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/check.hpp>
#include <metalqr/core/error.hpp>

namespace metalqr::inline METALQR_ABI::federated {

/// An estimate that an agent sent, and how much it counts.
template <class Backend>
struct WeightedEstimate {
  typename Backend::Gain estimate;  ///< n_u x n_x
  double weight = 1;                ///< finite and >= 0; only ratios count, and 0 leaves the estimate out
};

/// Something that makes one estimate of a list, called as `combiner(estimates)` with a
/// `std::span<const WeightedEstimate<Backend>>` that `combine` has checked; a copyable policy.
template <class T, class Backend>
concept Combiner = MatrixBackend<Backend> && std::copy_constructible<T> &&
    requires(const T& combiner, std::span<const WeightedEstimate<Backend>> estimates) {
  { combiner(estimates) } -> std::convertible_to<typename Backend::Gain>;
};

namespace detail {

/// Throws what `combine` promises for a bad list.
template <MatrixBackend Backend>
void require_estimates(std::span<const WeightedEstimate<Backend>> estimates) {
  if (estimates.empty()) throw InvalidOption("estimates: expected at least one, got none");
  const Index nu = Backend::rows(estimates.front().estimate);
  const Index nx = Backend::cols(estimates.front().estimate);
  bool counts = false;
  for (std::size_t i = 0; i < estimates.size(); ++i) {
    const auto& [estimate, weight] = estimates[i];
    const bool fits = nu > 0 && nx > 0 && Backend::rows(estimate) == nu && Backend::cols(estimate) == nx;
    const bool has_weight = weight >= 0 && std::isfinite(weight);
    counts = counts || weight > 0;
    if (fits && has_weight && Backend::is_finite(estimate)) continue;
    const std::string name = "estimates[" + std::to_string(i) + "]";
    metalqr::detail::require_shape<Backend>(estimate, nu, nx, name.c_str());
    metalqr::detail::require_option(has_weight, (name + ".weight").c_str(), weight, "a finite number >= 0");
    metalqr::detail::require_finite<Backend>(estimate, name.c_str());
  }
  if (!counts) throw InvalidOption("estimates: expected a positive weight, got only weights of zero");
}

/// The estimates of positive weight, with weights relative to the largest.
template <MatrixBackend Backend>
struct Votes {
  std::vector<const typename Backend::Gain*> estimates;
  std::vector<double> weights;
  double total = 0;

  Votes() = default;
  explicit Votes(std::span<const WeightedEstimate<Backend>> list) {
    require_estimates<Backend>(list);
    double largest = 0;
    for (const auto& [estimate, weight] : list) largest = std::max(largest, weight);
    for (const auto& [estimate, weight] : list) add(estimate, weight / largest);
  }
  void add(const typename Backend::Gain& estimate, double weight) {
    if (!(weight > 0)) return;
    estimates.push_back(&estimate);
    weights.push_back(weight);
    total += weight;
  }
  std::size_t count() const { return estimates.size(); }
};

/// The weighted mean, of numbers up to the largest that the scalar holds.
template <MatrixBackend Backend>
typename Backend::Gain mean(const Votes<Backend>& votes) {
  using Gain = typename Backend::Gain;
  using Scalar = typename Backend::Scalar;
  const auto sum_over = [&votes](double divisor) {
    Gain sum = Backend::zero_like(*votes.estimates.front());
    for (std::size_t i = 0; i < votes.count(); ++i) {
      sum += static_cast<Scalar>(votes.weights[i] / divisor) * *votes.estimates[i];
    }
    return sum;
  };
  // One division at the end rounds least, but the sum may overflow where the mean does not.
  const Gain sum = sum_over(1);
  return Backend::is_finite(sum) ? Gain(sum / static_cast<Scalar>(votes.total)) : sum_over(votes.total);
}

}  // namespace detail

/// Combines estimates by a combiner of the library or of your own.
/// Another order of the list gives the same result up to rounding for all combiners of the library.
/// @throws InvalidOption for an empty list, a weight that is negative or not finite, or if none is positive;
/// DimensionMismatch if an estimate has not the shape of the first, or that has no entries; NotFinite for a
/// NaN or infinity in an estimate, or in what the combiner makes of them; what the combiner throws.
template <MatrixBackend Backend, Combiner<Backend> Policy>
typename Backend::Gain combine(const Policy& combiner,
                               std::type_identity_t<std::span<const WeightedEstimate<Backend>>> estimates) {
  detail::require_estimates<Backend>(estimates);
  typename Backend::Gain combined = combiner(estimates);
  const typename Backend::Gain& first = estimates.front().estimate;
  metalqr::detail::require_shape<Backend>(combined, Backend::rows(first), Backend::cols(first),
                                          "combined estimate");
  metalqr::detail::require_finite<Backend>(combined, "combined estimate");
  return combined;
}

/// Fewest estimates of positive weight that a combiner takes: its member `fewest()`, else one. A server that
/// knows it waits for them.
template <class Policy>
Index fewest_estimates(const Policy& combiner) {
  if constexpr (requires { combiner.fewest(); }) {
    return combiner.fewest();
  } else {
    return 1;
  }
}

/// The mean weighted by w_i / sum w; a single corrupted estimate moves it anywhere.
struct Mean {
  /// Combines; throws as `combine`.
  template <MatrixBackend Backend>
  typename Backend::Gain operator()(std::span<const WeightedEstimate<Backend>> estimates) const {
    return detail::mean(detail::Votes<Backend>(estimates));
  }
};

}  // namespace metalqr::inline METALQR_ABI::federated
