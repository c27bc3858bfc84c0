#pragma once

/// @file
/// Cost oracles: what a model-free method may ask of a plant.

#include <atomic>
#include <concepts>
#include <limits>
#include <ranges>
#include <type_traits>
#include <utility>
#include <vector>

#include <metalqr/core/check.hpp>
#include <metalqr/core/random.hpp>
#include <metalqr/lqr/evaluation.hpp>
#include <metalqr/lqr/rollout.hpp>
#include <metalqr/lqr/task_list.hpp>

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
  constexpr Scalar infinity = std::numeric_limits<Scalar>::infinity();
  return value < infinity && value > -infinity ? value : infinity;
}

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
    Stream stream(key.with_purpose(Purpose::initial_state));
    const typename Backend::StateVector x0 = start_.sample(stream);
    return cost(*task_, K, Backend::product_transpose(x0, x0));
  }

 private:
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

 private:
  Oracle oracle_;
  std::atomic<Index>* calls_;
};

/// One `ExactCost` for each task of a list, which must outlive them.
template <TaskList Tasks>
std::vector<ExactCost<BackendOf<Tasks>>> exact_costs(const Tasks& tasks) {
  return {std::ranges::begin(tasks), std::ranges::end(tasks)};
}
template <TaskList Tasks>
requires(!std::ranges::borrowed_range<Tasks>) void exact_costs(const Tasks&& tasks) = delete;

}  // namespace metalqr::inline METALQR_ABI::zeroth_order
