#pragma once

/// @file
/// Cost oracles of tasks: exact, from random starts, and simulated.

#include <limits>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include <metalqr/lqr/batch.hpp>
#include <metalqr/lqr/evaluation.hpp>
#include <metalqr/lqr/rollout.hpp>
#include <metalqr/lqr/task_list.hpp>
#include <metalqr/zeroth_order/oracle.hpp>

namespace metalqr::inline METALQR_ABI::zeroth_order {

/// J(K) = tr(P Sigma0) of a task, over an infinite horizon and in expectation over the initial state.
template <MatrixBackend Backend>
class ExactCost {
 public:
  /// The task must outlive the oracle.
  explicit ExactCost(const Task<Backend>& task) : task_(&task) {}
  explicit ExactCost(const Task<Backend>&& task) = delete;
  /// Inputs of the plant.
  Index nu() const { return task_->nu(); }
  /// States of the plant.
  Index nx() const { return task_->nx(); }
  /// The cost of K (n_u x n_x); +infinity if K does not stabilise.
  /// @throws DimensionMismatch for a K of another shape.
  typename Backend::Scalar operator()(const typename Backend::Gain& K) const {
    detail::require_gain<Backend>(*this, K, "K");
    return cost(*task_, K);
  }
  /// The costs of many gains (n_u x n_x), in lanes where they are small; see `metalqr::costs`.
  /// @throws DimensionMismatch for a gain of another shape.
  std::vector<typename Backend::Scalar> costs(std::span<const typename Backend::Gain> gains,
                                              std::span<const StreamKey> /*keys*/) const {
    return metalqr::costs(*task_, gains, 1);
  }
  /// The task, which is the oracle's whole knowledge.
  const Task<Backend>& task() const noexcept { return *task_; }

 private:
  const Task<Backend>* task_;
};

/// x0'P x0 over an infinite horizon, for a random initial state x0: what the notebooks of Toso et al. (L4DC
/// 2024) approximate with 500 steps.
template <MatrixBackend Backend>
class RandomStartCost {
 public:
  /// The task must outlive the oracle; its Sigma0 is not used.
  RandomStartCost(const Task<Backend>& task, GaussianState<Backend> start)
      : task_(&task), start_(std::move(start)) {
    metalqr::detail::require_shape<Backend>(start_.mean(), task.nx(), 1, "start");
  }
  RandomStartCost(const Task<Backend>&& task, GaussianState<Backend> start) = delete;
  /// Inputs of the plant.
  Index nu() const { return task_->nu(); }
  /// States of the plant.
  Index nx() const { return task_->nx(); }
  /// The cost of K (n_u x n_x) from the initial state at `key`; +infinity if K does not stabilise.
  /// @throws DimensionMismatch for a K of another shape.
  typename Backend::Scalar operator()(const typename Backend::Gain& K, const StreamKey& key) const {
    detail::require_gain<Backend>(*this, K, "K");
    const StateVector x0 = start_at(key);
    return cost(*task_, K, Backend::product_transpose(x0, x0));
  }
  /// The costs of many gains (n_u x n_x), each from the initial state at its own key, in lanes where they are
  /// small.
  /// @throws DimensionMismatch for a gain of another shape, or if keys are not as many as the gains.
  std::vector<typename Backend::Scalar> costs(std::span<const typename Backend::Gain> gains,
                                              std::span<const StreamKey> keys) const {
    detail::require_as_many(keys.size(), gains.size(), "keys");
    metalqr::detail::require_gains(*task_, gains);
    std::vector<StateVector> starts;
    starts.reserve(keys.size());
    for (const StreamKey& key : keys) starts.push_back(start_at(key));
    std::vector<typename Backend::Scalar> values(gains.size());
    const auto evaluate = [&](const auto& tasks, const auto& K, Index first, Index size) {
      using Lanes = typename std::remove_cvref_t<decltype(tasks)>::Backend;
      typename Lanes::StateVector x0 = Lanes::zero_state(nx());
      metalqr::detail::pack_lanes(x0, nx(), 1, [&](Index lane) -> const StateVector& {
        return starts[static_cast<std::size_t>(first + (lane < size ? lane : 0))];
      });
      return cost(tasks, K, Lanes::product_transpose(x0, x0));
    };
    metalqr::detail::evaluate_batch<Backend>(
        static_cast<Index>(gains.size()), true, metalqr::detail::always(*task_),
        metalqr::detail::element_of(gains), evaluate, metalqr::detail::store_costs(values), 1);
    return values;
  }

 private:
  using StateVector = typename Backend::StateVector;

  StateVector start_at(const StreamKey& key) const {
    Stream stream(key.with_purpose(Purpose::initial_state));
    return start_.sample(stream);
  }

  const Task<Backend>* task_;
  GaussianState<Backend> start_;
};

/// Settings of `RolloutCost`.
struct RolloutOptions {
  Index horizon = 100;         ///< steps of a rollout
  Index rollouts = 1;          ///< rollouts averaged in a call
  double noise_deviation = 0;  ///< standard deviation of each entry of the process noise w
  double limit = 1e12;         ///< a cost above this counts as +infinity: a simulation that ran away
};

/// The average cost of simulated rollouts over a finite horizon, with random initial states and process
/// noise: what a real plant would give. It is finite at gains that destabilise slowly, and over a few steps
/// at gains that destabilise fast: a guard that relies on it is as good as its horizon is long (over 3 steps
/// all of 20 gains trained on the modified Boeing plant were unstable, over 10 steps none).
template <MatrixBackend Backend>
class RolloutCost {
 public:
  /// The task must outlive the oracle; its Sigma0 is not used.
  /// @throws InvalidOption for settings out of range; DimensionMismatch for a start of another size.
  RolloutCost(const Task<Backend>& task, GaussianState<Backend> start, const RolloutOptions& options = {})
      : task_(&task), start_(std::move(start)), options_(options) {
    using metalqr::detail::require_option;
    metalqr::detail::require_shape<Backend>(start_.mean(), task.nx(), 1, "start");
    require_option(options.horizon >= 1, "horizon", static_cast<double>(options.horizon), "at least 1");
    require_option(options.rollouts >= 1, "rollouts", static_cast<double>(options.rollouts), "at least 1");
    require_option(options.noise_deviation >= 0, "noise_deviation", options.noise_deviation, "a number >= 0");
    require_option(options.limit > 0, "limit", options.limit, "a positive number");
  }
  RolloutCost(const Task<Backend>&& task, GaussianState<Backend> start,
              const RolloutOptions& options = {}) = delete;
  /// Inputs of the plant.
  Index nu() const { return task_->nu(); }
  /// States of the plant.
  Index nx() const { return task_->nx(); }
  /// The average cost of K (n_u x n_x) over the rollouts at `key`; +infinity above the limit.
  /// @throws DimensionMismatch for a K of another shape.
  typename Backend::Scalar operator()(const typename Backend::Gain& K, const StreamKey& key) const {
    using Scalar = typename Backend::Scalar;
    using StateVector = typename Backend::StateVector;
    detail::require_gain<Backend>(*this, K, "K");
    Scalar sum(0);
    for (Index i = 0; i < options_.rollouts; ++i) {
      const StreamKey own = options_.rollouts == 1 ? key : key.child(static_cast<std::uint64_t>(i));
      Stream starts(own.with_purpose(Purpose::initial_state));
      Stream noises(own.with_purpose(Purpose::process_noise));
      StateVector w = Backend::zero_state(task_->nx());
      const Scalar deviation = static_cast<Scalar>(options_.noise_deviation);
      const auto noise = [&](Index /*t*/) -> const StateVector& {
        if (options_.noise_deviation > 0) {
          fill_normal<Backend>(w, noises);
          w = deviation * w;
        }
        return w;
      };
      sum += rollout_cost(*task_, K, start_.sample(starts), options_.horizon, noise);
    }
    const Scalar mean = sum / static_cast<Scalar>(static_cast<double>(options_.rollouts));
    return mean <= static_cast<Scalar>(options_.limit) ? mean : std::numeric_limits<Scalar>::infinity();
  }

 private:
  const Task<Backend>* task_;
  GaussianState<Backend> start_;
  RolloutOptions options_;
};

/// One `ExactCost` for each task of a list, which must outlive them.
template <TaskList Tasks>
std::vector<ExactCost<BackendOf<Tasks>>> exact_costs(const Tasks& tasks) {
  const std::span<const Task<BackendOf<Tasks>>> list(tasks);
  return {list.begin(), list.end()};
}
template <TaskList Tasks>
requires(!std::ranges::enable_borrowed_range<Tasks>) void exact_costs(const Tasks&& tasks) = delete;

}  // namespace metalqr::inline METALQR_ABI::zeroth_order
