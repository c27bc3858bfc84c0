#pragma once

/// @file
/// A first stabilising gain from cost oracles alone.

#include <concepts>
#include <limits>
#include <type_traits>

#include <metalqr/lqr/initial_gain.hpp>
#include <metalqr/meta/adapt.hpp>

namespace metalqr::inline METALQR_ABI::meta {

/// A cost oracle with a discount: called as `oracle(K, discount, key)` or `oracle(K, discount)`, it returns
/// sum over t of discount^t (x'Qx + u'Ru), +infinity if that diverges.
template <class T, class Backend>
concept DiscountedOracle = requires(const T& oracle, const typename Backend::Gain& K, double discount) {
  { oracle(K, discount) } -> std::convertible_to<typename Backend::Scalar>;
}
|| requires(const T& oracle, const typename Backend::Gain& K, double discount, const StreamKey& key) {
  { oracle(K, discount, key) } -> std::convertible_to<typename Backend::Scalar>;
};

/// A gain that stabilises the plant behind `oracle`, found model-free by discount annealing (see
/// `anneal_discount`) from the gain `start` (n_u x n_x; zeros are fine). Between two rises of the discount
/// the gain is adapted with `options` (quasi-Newton steps on orthonormal blocks, five of them, by default).
/// @throws NotStabilizable if the discount does not reach 1; NotStabilizing if a random oracle calls a gain
/// unstable that it called stable before; InvalidOption, DimensionMismatch (a start without entries),
/// NotFinite.
template <MatrixBackend Backend, DiscountedOracle<Backend> Oracle>
InitialGain<Backend> find_initial_gain(const Oracle& oracle,
                                       const std::type_identity_t<typename Backend::Gain>& start,
                                       const AnnealingOptions& annealing = {},
                                       const AdaptOptions& options = {.iterations = 5,
                                                                      .step = quasi_newton()}) {
  using Gain = typename Backend::Gain;
  metalqr::detail::require_shape<Backend>(start, Backend::rows(start), Backend::cols(start), "start");
  metalqr::detail::require_finite<Backend>(start, "start");
  const auto at = [&oracle](const Gain& K, double discount, const StreamKey& key) ->
      typename Backend::Scalar {
        if constexpr (requires { oracle(K, discount, key); }) {
          return oracle(K, discount, key);
        } else {
          return oracle(K, discount);
        }
      };
  const StreamKey fixed = StreamKey{.seed = options.seed}.child(0);
  const auto cost = [&](const Gain& K, double discount) {
    const auto discounted = [&](const Gain& gain, const StreamKey& key) { return at(gain, discount, key); };
    return Backend::to_double(zeroth_order::call<Backend>(discounted, K, fixed));
  };
  std::uint64_t round = 0;
  const auto improve = [&](const Gain& K, double discount) {
    const auto discounted = [&](const Gain& gain, const StreamKey& key) { return at(gain, discount, key); };
    AdaptOptions own = options;
    own.seed = StreamKey{.seed = options.seed}.child(++round).seed;
    return adapt<Backend>(discounted, K, own).gain;
  };
  return anneal_discount<Backend>(start, cost, improve, annealing);
}

}  // namespace metalqr::inline METALQR_ABI::meta
