#pragma once

/// @file
/// Costs and gradients of many gains, or on many tasks, at once: small systems are worked on in lanes.

#include <algorithm>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include <metalqr/lqr/cost_and_gradient.hpp>
#include <metalqr/lqr/task_lanes.hpp>
#include <metalqr/lqr/task_list.hpp>

namespace metalqr::inline METALQR_ABI {

namespace detail {

/// Calls store(first, size, evaluate(tasks, gains, first, size)) for the packs first ... first + size - 1 of
/// all `count`: for small systems with task and gain in each lane, for others with a single one.
template <MatrixBackend Backend, class TaskAt, class GainAt, class Evaluate, class Store>
void evaluate_batch(Index count, bool one_task, const TaskAt& task, const GainAt& gain,
                    const Evaluate& evaluate, const Store& store, int threads) {
  const auto packed = [&]<class Lanes>(const Task<Lanes>& tasks, Index first, Index size) {
    typename Lanes::Gain K = Lanes::zero_gain(tasks.nu(), tasks.nx());
    pack_lanes(K, tasks.nu(), tasks.nx(), [&](Index lane) -> const typename Backend::Gain& {
      return gain(first + (lane < size ? lane : 0));
    });
    store(first, size, evaluate(tasks, K, first, size));
  };
  const auto one = [&](Index i) { store(i, Index{1}, evaluate(task(i), gain(i), i, Index{1})); };
  for_each_task_pack<Backend>(count, one_task, task, packed, one, threads);
}

/// What writes packs of costs to `result`, for `evaluate_batch`.
template <class Scalar>
auto store_costs(std::vector<Scalar>& result) {
  return [&result](Index first, Index size, const auto& values) {
    const auto lanes = LaneTraits<std::remove_cvref_t<decltype(values)>>::lanes(values);
    std::copy_n(lanes.begin(), size, result.begin() + first);
  };
}

template <MatrixBackend Backend, class TaskAt, class GainAt>
std::vector<typename Backend::Scalar> batch_costs(Index count, bool one_task, const TaskAt& task,
                                                  const GainAt& gain, int threads) {
  std::vector<typename Backend::Scalar> result(static_cast<std::size_t>(count));
  const auto evaluate = [](const auto& tasks, const auto& gains, Index, Index) { return cost(tasks, gains); };
  evaluate_batch<Backend>(count, one_task, task, gain, evaluate, store_costs(result), threads);
  return result;
}

template <MatrixBackend Backend, class TaskAt, class GainAt>
std::vector<CostAndGradient<Backend>> batch_gradients(Index count, bool one_task, const TaskAt& task,
                                                      const GainAt& gain, int threads) {
  std::vector<CostAndGradient<Backend>> result(static_cast<std::size_t>(count));
  const auto evaluate = [](const auto& tasks, const auto& gains, Index, Index) {
    return cost_and_gradient(tasks, gains);
  };
  const auto store = [&](Index first, Index size, const auto& values) {
    const Index nu = task(first).nu();
    const Index nx = task(first).nx();
    for (Index lane = 0; lane < size; ++lane) {
      CostAndGradient<Backend>& own = result[static_cast<std::size_t>(first + lane)];
      own.cost = LaneTraits<std::remove_cvref_t<decltype(values.cost)>>::get(values.cost, lane);
      own.gradient = Backend::zero_gain(nu, nx);
      unpack_lane(values.gradient, lane, nu, nx, own.gradient);
    }
  };
  evaluate_batch<Backend>(count, one_task, task, gain, evaluate, store, threads);
  return result;
}

template <class List>
auto element_of(const List& list) {
  return [&list](Index i) -> const auto& {
    return list[static_cast<std::size_t>(i)];
  };
}

template <class Element>
auto always(const Element& element) {
  return [&element](Index) -> const Element& { return element; };
}

template <MatrixBackend Backend>
void require_gains(const Task<Backend>& task, std::span<const typename Backend::Gain> gains) {
  for (std::size_t i = 0; i < gains.size(); ++i) {
    if (Backend::rows(gains[i]) == task.nu() && Backend::cols(gains[i]) == task.nx()) continue;
    require_shape<Backend>(gains[i], task.nu(), task.nx(), ("gains[" + std::to_string(i) + "]").c_str());
  }
}

}  // namespace detail

/// J(K) of each gain (n_u x n_x) on a task, what `cost(task, K)` gives; +infinity where rho(A - BK) < 1 is
/// not proved, which neither slows nor changes the others. Systems of up to 16 states and 16 inputs are
/// worked on in lanes, with `metalqr::lanes` 2 to 8 in an instruction (twice as many in float), without
/// allocations in the loop.
/// @param threads at most so many; 0 leaves it to OpenMP. The result is bitwise the same for any number.
/// @throws DimensionMismatch for a gain of another shape.
template <MatrixBackend Backend>
std::vector<typename Backend::Scalar> costs(
    const Task<Backend>& task, std::type_identity_t<std::span<const typename Backend::Gain>> gains,
    int threads = 0) {
  detail::require_gains(task, gains);
  return detail::batch_costs<Backend>(static_cast<Index>(gains.size()), true, detail::always(task),
                                      detail::element_of(gains), threads);
}

/// J_i(K) of one gain (n_u x n_x) on each task; see above.
/// @throws InvalidOption for an empty list; DimensionMismatch if tasks or gain differ in shape.
template <TaskList Tasks>
std::vector<ScalarOf<Tasks>> costs(const Tasks& tasks, const std::type_identity_t<GainOf<Tasks>>& gain,
                                   int threads = 0) {
  using Backend = BackendOf<Tasks>;
  const std::span<const Task<Backend>> fleet = checked_fleet(tasks);
  detail::require_shape<Backend>(gain, fleet[0].nu(), fleet[0].nx(), "gain");
  return detail::batch_costs<Backend>(static_cast<Index>(fleet.size()), false, detail::element_of(fleet),
                                      detail::always(gain), threads);
}

/// J(K) and grad J(K) of each gain (n_u x n_x) on a task; see `costs` and `CostAndGradient`.
/// @throws DimensionMismatch for a gain of another shape.
template <MatrixBackend Backend>
std::vector<CostAndGradient<Backend>> gradients(
    const Task<Backend>& task, std::type_identity_t<std::span<const typename Backend::Gain>> gains,
    int threads = 0) {
  detail::require_gains(task, gains);
  return detail::batch_gradients<Backend>(static_cast<Index>(gains.size()), true, detail::always(task),
                                          detail::element_of(gains), threads);
}

/// J_i(K) and grad J_i(K) of one gain (n_u x n_x) on each task; see `costs` and `CostAndGradient`.
/// @throws InvalidOption for an empty list; DimensionMismatch if tasks or gain differ in shape.
template <TaskList Tasks>
std::vector<CostAndGradient<BackendOf<Tasks>>> gradients(const Tasks& tasks,
                                                         const std::type_identity_t<GainOf<Tasks>>& gain,
                                                         int threads = 0) {
  using Backend = BackendOf<Tasks>;
  const std::span<const Task<Backend>> fleet = checked_fleet(tasks);
  detail::require_shape<Backend>(gain, fleet[0].nu(), fleet[0].nx(), "gain");
  return detail::batch_gradients<Backend>(static_cast<Index>(fleet.size()), false, detail::element_of(fleet),
                                          detail::always(gain), threads);
}

}  // namespace metalqr::inline METALQR_ABI
