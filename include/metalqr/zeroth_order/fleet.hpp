#pragma once

/// @file
/// Fleets: lists of costs that can be evaluated and differentiated, exactly or from oracle calls.

#include <limits>
#include <span>
#include <string>
#include <utility>

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
/// come from several threads at once.
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
  GradientEstimate<Backend> gradient(std::size_t i, const Gain& K, const StreamKey& /*key*/) const {
    GradientEstimate<Backend> result{.gradient = Backend::zero_like(K), .standard_error = 0, .dropped = 1};
    try {
      result.gradient = Evaluation<Backend>(tasks_[i], K).gradient();
      result.used = 1;
      result.dropped = 0;
    } catch (const NotStabilizing&) {  // the caller reads it off `used`
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
