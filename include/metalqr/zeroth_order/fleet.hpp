#pragma once

/// @file
/// Fleets: lists of costs that can be evaluated and differentiated, exactly or from oracle calls.

#include <concepts>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include <metalqr/lqr/batch.hpp>
#include <metalqr/lqr/task_list.hpp>
#include <metalqr/zeroth_order/hessian.hpp>
#include <metalqr/zeroth_order/task_oracles.hpp>

namespace metalqr::inline METALQR_ABI::zeroth_order {

/// Oracle calls by what they were for. Every call counts.
struct OracleCalls {
  Index probes = 0;       ///< perturbed gains of gradient estimates
  Index base = 0;         ///< unperturbed gains: J(K) of estimates and of inner steps
  Index assessments = 0;  ///< line search and stability guard
  Index curvature = 0;    ///< Hessian-vector products
  /// All of them.
  Index total() const noexcept { return probes + base + assessments + curvature; }
};

/// A list of M costs J_i with first and second derivatives, exact or estimated. Calls for different i may
/// come from several threads at once. A fleet may also have, and is then asked for, `costs(K, threads)`, the
/// costs of all i at once where they do not depend on the key, and `gradients(K, first, count, threads)`, the
/// gradients of i = first ... first + count - 1.
template <class T>
concept Fleet = requires(const T& fleet, std::size_t i, const typename T::Backend::Gain& K,
                         const StreamKey& key) {
  requires MatrixBackend<typename T::Backend>;
  { fleet.size() } -> std::same_as<std::size_t>;
  { fleet.cost(i, K, key) } -> std::same_as<typename T::Backend::Scalar>;
  { fleet.gradient(i, K, key) } -> std::same_as<GradientEstimate<typename T::Backend>>;
  { fleet.hessian_product(i, K, K, key) } -> std::same_as<HessianProductEstimate<typename T::Backend>>;
};

/// Tasks with known models: exact derivatives, no oracle calls.
template <MatrixBackend Backend_>
class ModelFleet {
 public:
  using Backend = Backend_;                 ///< matrix library
  using Gain = typename Backend::Gain;      ///< n_u x n_x
  using Scalar = typename Backend::Scalar;  ///< number type

  /// The tasks must outlive the fleet.
  /// @throws InvalidOption (empty list), DimensionMismatch (different sizes).
  template <TaskList Tasks>
  explicit ModelFleet(const Tasks& tasks) : tasks_(checked_fleet(tasks)) {}

  /// Number of tasks.
  std::size_t size() const noexcept { return tasks_.size(); }
  /// Inputs of every plant.
  Index nu() const { return tasks_[0].nu(); }
  /// States of every plant.
  Index nx() const { return tasks_[0].nx(); }
  /// J_i(K); +infinity if K does not stabilise task i.
  Scalar cost(std::size_t i, const Gain& K, const StreamKey& /*key*/) const {
    return metalqr::cost(tasks_[i], K);
  }
  /// grad J_i(K); no sample is used if K does not stabilise task i.
  /// @throws NotFinite if it overflows where the cost does not.
  GradientEstimate<Backend> gradient(std::size_t i, const Gain& K, const StreamKey& /*key*/) const {
    return as_estimate(cost_and_gradient(tasks_[i], K));
  }
  /// J_i(K) of all tasks, in lanes where they are small.
  std::vector<Scalar> costs(const Gain& K, int threads) const { return metalqr::costs(tasks_, K, threads); }
  /// grad J_i(K) of the tasks i = first ... first + count - 1, in lanes where they are small.
  std::vector<GradientEstimate<Backend>> gradients(const Gain& K, std::size_t first, std::size_t count,
                                                   int threads) const {
    std::vector<GradientEstimate<Backend>> result;
    result.reserve(count);
    for (const auto& exact : metalqr::gradients(tasks_.subspan(first, count), K, threads)) {
      result.push_back(as_estimate(exact));
    }
    return result;
  }
  /// H_i(K)[X]; not usable if K does not stabilise task i.
  HessianProductEstimate<Backend> hessian_product(std::size_t i, const Gain& K, const Gain& X,
                                                  const StreamKey& /*key*/) const {
    HessianProductEstimate<Backend> result{
        .product = Backend::zero_like(K), .standard_error = 0, .usable = false};
    try {
      result.product = Evaluation<Backend>(tasks_[i], K).hessian(X);
      result.usable = true;
    } catch (const NotStabilizing&) {  // the caller reads it off `usable`
    }
    return result;
  }

 private:
  static GradientEstimate<Backend> as_estimate(const CostAndGradient<Backend>& exact) {
    const bool exists = exact.cost < std::numeric_limits<Scalar>::infinity();
    if (exists) metalqr::detail::require_finite<Backend>(exact.gradient, "gradient");
    return {.gradient = exists ? exact.gradient : Backend::zero_like(exact.gradient),
            .standard_error = 0,
            .used = exists ? 1 : 0,
            .dropped = exists ? 0 : 1};
  }

  std::span<const Task<Backend>> tasks_;
};

/// Plants known by their cost oracles alone: derivatives are estimated.
template <MatrixBackend Backend_, CostOracle<Backend_> Oracle>
class OracleFleet {
 public:
  using Backend = Backend_;                 ///< matrix library
  using Gain = typename Backend::Gain;      ///< n_u x n_x
  using Scalar = typename Backend::Scalar;  ///< number type

  /// The oracles must outlive the fleet.
  /// @throws InvalidOption (empty list, estimator options); DimensionMismatch if oracles that say their shape
  /// differ in it.
  OracleFleet(std::span<const Oracle> oracles, const EstimatorOptions& options)
      : oracles_(oracles), options_(options) {
    if (oracles.empty()) throw InvalidOption("oracles: expected at least one, got an empty list");
    validate(options);
    if constexpr (detail::KnowsShape<Oracle>) {
      for (std::size_t i = 1; i < oracles.size(); ++i) {
        if (oracles[i].nu() == nu() && oracles[i].nx() == nx()) continue;
        throw DimensionMismatch("oracles: expected gains of shape " + metalqr::detail::shape(nu(), nx()) +
                                " for every plant, got " +
                                metalqr::detail::shape(oracles[i].nu(), oracles[i].nx()) + " for plant " +
                                std::to_string(i));
      }
    }
  }

  /// Number of plants.
  std::size_t size() const noexcept { return oracles_.size(); }
  /// Inputs of every plant, if the oracles say.
  Index nu() const requires detail::KnowsShape<Oracle> { return oracles_[0].nu(); }
  /// States of every plant, if the oracles say.
  Index nx() const requires detail::KnowsShape<Oracle> { return oracles_[0].nx(); }
  /// Options of the estimators.
  const EstimatorOptions& options() const noexcept { return options_; }
  /// Oracle of plant i.
  const Oracle& oracle(std::size_t i) const { return oracles_[i]; }
  /// J_i(K), one call.
  Scalar cost(std::size_t i, const Gain& K, const StreamKey& key) const {
    return call<Backend>(oracles_[i], K, key);
  }
  /// J_i(K) of all plants, one call each; in lanes where they are small.
  std::vector<Scalar> costs(const Gain& K,
                            int threads) const requires std::same_as<Oracle, ExactCost<Backend>> {
    detail::require_gain<Backend>(*this, K, "K");
    const auto task = [this](Index i) -> const Task<Backend>& {
      return oracles_[static_cast<std::size_t>(i)].task();
    };
    return metalqr::detail::batch_costs<Backend>(static_cast<Index>(size()), false, task,
                                                 metalqr::detail::always(K), threads);
  }
  /// Estimate of grad J_i(K).
  GradientEstimate<Backend> gradient(std::size_t i, const Gain& K, const StreamKey& key) const {
    return estimate_gradient<Backend>(oracles_[i], K, options_, key);
  }
  /// Estimate of H_i(K)[X].
  HessianProductEstimate<Backend> hessian_product(std::size_t i, const Gain& K, const Gain& X,
                                                  const StreamKey& key) const {
    return estimate_hessian_product<Backend>(oracles_[i], K, X, options_, key);
  }

 private:
  std::span<const Oracle> oracles_;
  EstimatorOptions options_;
};

}  // namespace metalqr::inline METALQR_ABI::zeroth_order
