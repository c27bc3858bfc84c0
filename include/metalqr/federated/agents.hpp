#pragma once

/// @file
/// Agents of a federated run: what they compute at a gain that the server sends.

#include <cmath>
#include <concepts>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <metalqr/core/check.hpp>
#include <metalqr/core/error.hpp>
#include <metalqr/core/random.hpp>
#include <metalqr/federated/message.hpp>
#include <metalqr/lqr/cost_and_gradient.hpp>
#include <metalqr/lqr/task_list.hpp>
#include <metalqr/zeroth_order/gradient.hpp>
#include <metalqr/zeroth_order/task_oracles.hpp>

namespace metalqr::inline METALQR_ABI::federated {

/// All agents of a run. Calls for different agents may come from several threads at once.
/// `work(agent, round, version, K)`: the report of an agent that works at K for the round-th time (counted
/// from 0); `cost(agent, question, K)`: its cost at K, which it finds for the question of that number;
/// `limit(agent)`: the largest cost that it accepts.
template <class T>
concept Agents = requires(T& agents, const typename T::Backend::Gain& K, Index i) {
  requires MatrixBackend<typename T::Backend>;
  { agents.size() } -> std::same_as<Index>;
  { agents.work(i, i, i, K) } -> std::same_as<Report<typename T::Backend>>;
  { agents.cost(i, i, K) } -> std::same_as<typename T::Backend::Scalar>;
  { agents.limit(i) } -> std::same_as<typename T::Backend::Scalar>;
};

/// How agents work.
struct AgentOptions {
  zeroth_order::EstimatorOptions estimator{};  ///< of the gradient
  int local_steps = 1;      ///< steps of policy gradient before an agent reports; 1: it reports its gradient
  double local_step = 0;    ///< their size, eta_l; not used for one
  bool report_cost = true;  ///< J_i at the gain that was sent costs a call more, and guards need it
  std::uint64_t seed = 0;   ///< of all their random numbers
};

/// Throws `InvalidOption` naming the first field out of its range.
inline void validate(const AgentOptions& options) {
  using metalqr::detail::require_option;
  zeroth_order::validate(options.estimator);
  require_option(options.local_steps >= 1, "local_steps", options.local_steps, "at least 1");
  if (options.local_steps > 1) {
    require_option(std::isfinite(options.local_step) && options.local_step > 0, "local_step",
                   options.local_step, "a positive number for several local steps");
  }
}

namespace detail {

/// The report of an agent that descends from K: K minus where it ends, over the local step size, which for
/// one step is the gradient. `gradient(K, l)` is the estimate of the l-th step; it may throw
/// `NotStabilizing`, or hold a NaN.
template <MatrixBackend Backend, class Gradient>
typename Backend::Gain local_progress(const typename Backend::Gain& K, const AgentOptions& options,
                                      const Gradient& gradient) {
  typename Backend::Gain progress = gradient(K, 0);
  const auto step = static_cast<typename Backend::Scalar>(options.local_step);
  for (int l = 1; l < options.local_steps; ++l) {
    const typename Backend::Gain here = K - step * progress;
    progress += gradient(here, l);
  }
  return progress;
}

}  // namespace detail

/// Agents that know only a cost oracle each: two-point or other estimates, after `local_steps` > 1 as in
/// FedLQR with local updates. Sample l of step s of round k of agent i is drawn at the key (seed, iteration
/// k, task i).
template <MatrixBackend Backend_, zeroth_order::CostOracle<Backend_> Oracle>
class OracleAgents {
 public:
  using Backend = Backend_;                 ///< matrix library
  using Gain = typename Backend::Gain;      ///< n_u x n_x
  using Scalar = typename Backend::Scalar;  ///< number type

  /// The oracles must outlive the agents.
  /// @param K0 the gain whose cost is the limit of each agent.
  /// @throws InvalidOption for an empty list, options out of range, or an agent of which the cost at K0 is
  /// not finite.
  OracleAgents(std::span<const Oracle> oracles, const Gain& K0, const AgentOptions& options = {})
      : oracles_(oracles), options_(options) {
    if (oracles.empty()) throw InvalidOption("oracles: expected at least one, got an empty list");
    validate(options);
    limits_.reserve(oracles.size());
    for (std::size_t i = 0; i < oracles.size(); ++i) {
      limits_.push_back(zeroth_order::call<Backend>(oracles[i], K0, assessment_key(static_cast<Index>(i))));
      if (limits_.back() < std::numeric_limits<Scalar>::infinity()) continue;
      throw InvalidOption("K0: expected a gain that stabilises every agent, got an infinite cost of agent " +
                          std::to_string(i));
    }
  }

  /// Number of agents.
  Index size() const noexcept { return static_cast<Index>(oracles_.size()); }
  /// J_i(K0).
  Scalar limit(Index agent) const { return limits_[static_cast<std::size_t>(agent)]; }
  /// J_i(K); +infinity if K does not stabilise. The same random numbers for every question.
  Scalar cost(Index agent, Index /*question*/, const Gain& K) const {
    return zeroth_order::call<Backend>(oracle(agent), K, assessment_key(agent));
  }
  /// An estimate of the gradient, or of `local_steps` of them. Where no sample has a finite cost it is NaN.
  Report<Backend> work(Index agent, Index round, Index version, const Gain& K) const {
    Report<Backend> report{.agent = agent, .version = version};
    if (options_.report_cost) report.cost = cost(agent, 0, K);
    const StreamKey key{.seed = options_.seed,
                        .purpose = Purpose::directions,
                        .iteration = static_cast<std::uint64_t>(round),
                        .task = static_cast<std::uint64_t>(agent)};
    const auto gradient = [&](const Gain& at, int l) -> Gain {
      const StreamKey own = l == 0 ? key : key.child(static_cast<std::uint64_t>(l));
      const zeroth_order::GradientEstimate<Backend> estimate =
          zeroth_order::estimate_gradient<Backend>(oracle(agent), at, options_.estimator, own);
      if (estimate.used > 0) return estimate.gradient;
      return Gain(std::numeric_limits<Scalar>::quiet_NaN() * estimate.gradient);
    };
    report.estimate = detail::local_progress<Backend>(K, options_, gradient);
    return report;
  }

 private:
  const Oracle& oracle(Index agent) const { return oracles_[static_cast<std::size_t>(agent)]; }
  StreamKey assessment_key(Index agent) const {
    return StreamKey{.seed = options_.seed, .task = static_cast<std::uint64_t>(agent)}.child(1);
  }

  std::span<const Oracle> oracles_;
  AgentOptions options_;
  std::vector<Scalar> limits_;
};

/// Agents with models: exact gradients and costs.
template <MatrixBackend Backend_>
class ModelAgents {
 public:
  using Backend = Backend_;                 ///< matrix library
  using Gain = typename Backend::Gain;      ///< n_u x n_x
  using Scalar = typename Backend::Scalar;  ///< number type

  /// The tasks must outlive the agents.
  /// @param K0 the gain whose cost is the limit of each agent.
  /// @throws InvalidOption for an empty list, options out of range, or a task that K0 does not stabilise;
  /// DimensionMismatch.
  template <TaskList Tasks>
  ModelAgents(const Tasks& tasks, const Gain& K0, const AgentOptions& options = {})
      : tasks_(checked_fleet(tasks)), options_(options), limits_(metalqr::costs(tasks_, K0)) {
    validate(options);
    for (std::size_t i = 0; i < limits_.size(); ++i) {
      if (limits_[i] < std::numeric_limits<Scalar>::infinity()) continue;
      throw InvalidOption("K0: expected a gain that stabilises every task, got an unstable task " +
                          std::to_string(i));
    }
  }

  /// Number of agents.
  Index size() const noexcept { return static_cast<Index>(tasks_.size()); }
  /// J_i(K0).
  Scalar limit(Index agent) const { return limits_[static_cast<std::size_t>(agent)]; }
  /// J_i(K); +infinity if K does not stabilise.
  Scalar cost(Index agent, Index /*question*/, const Gain& K) const {
    return metalqr::cost(tasks_[static_cast<std::size_t>(agent)], K);
  }
  /// The gradient, or the sum of `local_steps` of them; NaN where a gain does not stabilise.
  Report<Backend> work(Index agent, Index /*round*/, Index version, const Gain& K) const {
    const Task<Backend>& task = tasks_[static_cast<std::size_t>(agent)];
    Report<Backend> report{.agent = agent, .version = version};
    const auto gradient = [&](const Gain& at, int l) -> Gain {
      const CostAndGradient<Backend> exact = cost_and_gradient(task, at);
      if (l == 0) report.cost = exact.cost;
      return exact.gradient;
    };
    report.estimate = detail::local_progress<Backend>(K, options_, gradient);
    return report;
  }

 private:
  std::span<const Task<Backend>> tasks_;
  AgentOptions options_;
  std::vector<Scalar> limits_;
};

}  // namespace metalqr::inline METALQR_ABI::federated
