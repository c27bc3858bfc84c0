#pragma once

/// @file
/// Cost oracles: what a model-free method may ask of a plant.

#include <atomic>
#include <concepts>
#include <limits>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/check.hpp>
#include <metalqr/core/error.hpp>
#include <metalqr/core/random.hpp>

namespace metalqr::inline METALQR_ABI::zeroth_order {

/// Something that returns the cost of a gain: called as `oracle(K, key)` or `oracle(K)`, K n_u x n_x. The key
/// addresses the randomness of the call (initial state, noise): equal keys must give equal samples, which is
/// what makes random numbers common to the two ends of a probe. A value that is not finite says that K does
/// not stabilise. An oracle with members `nu()` and `nx()` has the shape of gains checked before it is asked;
/// of others, such as lambdas, nothing is known, and they must check it themselves. Calls for different
/// tasks, and for different samples, may come from several threads at once.
template <class T, class Backend>
concept CostOracle = MatrixBackend<Backend> &&(
    requires(const T& oracle, const typename Backend::Gain& K, const StreamKey& key) {
      { oracle(K, key) } -> std::convertible_to<typename Backend::Scalar>;
    } ||
    requires(const T& oracle, const typename Backend::Gain& K) {
      { oracle(K) } -> std::convertible_to<typename Backend::Scalar>;
    });

/// An oracle that evaluates many gains in one call: `oracle.costs(gains, keys)` is a `std::vector` of the
/// values of `oracle(gains[i], keys[i])`, up to rounding. Estimators then ask for all their samples at once.
template <class T, class Backend>
concept BatchOracle = CostOracle<T, Backend> &&
    requires(const T& oracle, std::span<const typename Backend::Gain> gains,
             std::span<const StreamKey> keys) {
  { oracle.costs(gains, keys) } -> std::same_as<std::vector<typename Backend::Scalar>>;
};

namespace detail {

/// Something that says what shape of gains it takes.
template <class T>
concept KnowsShape = requires(const T& plant) {
  { plant.nu() } -> std::same_as<Index>;
  { plant.nx() } -> std::same_as<Index>;
};

/// Throws `DimensionMismatch` unless K suits an oracle or fleet; where that does not say its shape, unless K
/// has at least one row and one column.
template <MatrixBackend Backend, class Plant>
void require_gain(const Plant& plant, const typename Backend::Gain& K, const char* name) {
  if constexpr (KnowsShape<Plant>) {
    metalqr::detail::require_shape<Backend>(K, plant.nu(), plant.nx(), name);
  } else {
    metalqr::detail::require_shape<Backend>(K, Backend::rows(K), Backend::cols(K), name);
  }
}

/// Throws `DimensionMismatch` unless a list has one entry for each gain.
inline void require_as_many(std::size_t count, std::size_t gains, const char* name) {
  if (count == gains) return;
  throw DimensionMismatch(std::string(name) + ": expected one for each of " + std::to_string(gains) +
                          " gains, got " + std::to_string(count));
}

/// The value if it is finite, else +infinity.
template <class Scalar>
Scalar finite_or_infinity(const Scalar& value) {
  constexpr Scalar infinity = std::numeric_limits<Scalar>::infinity();
  return value < infinity && value > -infinity ? value : infinity;
}

}  // namespace detail

/// Calls an oracle; a value that is not finite becomes +infinity.
template <MatrixBackend Backend, CostOracle<Backend> Oracle>
typename Backend::Scalar call(const Oracle& oracle, const typename Backend::Gain& K, const StreamKey& key) {
  using Scalar = typename Backend::Scalar;
  Scalar value{};
  if constexpr (requires { oracle(K, key); }) {
    value = oracle(K, key);
  } else {
    value = oracle(K);
  }
  return detail::finite_or_infinity(value);
}

/// Calls an oracle at gains[i] with keys[i] for each i, at once where it can (`BatchOracle`), else in order;
/// values that are not finite become +infinity.
/// @throws DimensionMismatch if keys or values are not as many as the gains.
template <MatrixBackend Backend, CostOracle<Backend> Oracle>
std::vector<typename Backend::Scalar> call_all(
    const Oracle& oracle, std::type_identity_t<std::span<const typename Backend::Gain>> gains,
    std::span<const StreamKey> keys) {
  using Scalar = typename Backend::Scalar;
  detail::require_as_many(keys.size(), gains.size(), "keys");
  std::vector<Scalar> values;
  if constexpr (BatchOracle<Oracle, Backend>) {
    values = oracle.costs(gains, keys);
    detail::require_as_many(values.size(), gains.size(), "costs");
    for (Scalar& value : values) value = detail::finite_or_infinity(value);
  } else {
    values.reserve(gains.size());
    for (std::size_t i = 0; i < gains.size(); ++i) {
      values.push_back(call<Backend>(oracle, gains[i], keys[i]));
    }
  }
  return values;
}

/// An oracle that counts its calls, from any number of threads.
template <class Oracle>
class Counted {
 public:
  /// @param oracle what is asked.
  /// @param calls is incremented at every call; it must outlive this object.
  Counted(Oracle oracle, std::atomic<Index>& calls) : oracle_(std::move(oracle)), calls_(&calls) {}
  /// Inputs of the plant, if the oracle says.
  Index nu() const requires detail::KnowsShape<Oracle> { return oracle_.nu(); }
  /// States of the plant, if the oracle says.
  Index nx() const requires detail::KnowsShape<Oracle> { return oracle_.nx(); }
  /// Forwards to the oracle.
  template <class Gain>
  requires std::invocable<const Oracle&, const Gain&, const StreamKey&> ||
      std::invocable<const Oracle&, const Gain&>
  auto operator()(const Gain& K, const StreamKey& key) const {
    calls_->fetch_add(1, std::memory_order_relaxed);
    if constexpr (std::invocable<const Oracle&, const Gain&, const StreamKey&>) {
      return oracle_(K, key);
    } else {
      return oracle_(K);
    }
  }
  /// Forwards to an oracle that evaluates many gains in one call; each of them counts.
  template <class Gain>
  auto costs(std::span<const Gain> gains, std::span<const StreamKey> keys) const requires
      requires(const Oracle& oracle) {
    oracle.costs(gains, keys);
  }
  {
    calls_->fetch_add(static_cast<Index>(gains.size()), std::memory_order_relaxed);
    return oracle_.costs(gains, keys);
  }

 private:
  Oracle oracle_;
  std::atomic<Index>* calls_;
};

}  // namespace metalqr::inline METALQR_ABI::zeroth_order
