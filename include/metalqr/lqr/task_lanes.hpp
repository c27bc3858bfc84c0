#pragma once

/// @file
/// Tasks and gains in lanes, and the loop over packs of them.

#include <span>
#include <type_traits>

#include <metalqr/core/lane_matrix.hpp>
#include <metalqr/core/parallel.hpp>
#include <metalqr/lqr/task.hpp>

namespace metalqr::inline METALQR_ABI::detail {

/// Whether systems of this size are worked on in lanes.
constexpr bool fits_lanes(Index nx, Index nu) {
  return nx <= most_lane_states && nu <= most_lane_states;
}

/// Whether some system of this backend may be.
template <MatrixBackend Backend>
inline constexpr bool may_fit_lanes = fits_lanes(Backend::states, Backend::inputs);

/// The task that holds `task(l)` in lane l.
template <MatrixBackend Lanes, class TaskAt>
Task<Lanes> pack_tasks(Index nx, Index nu, const TaskAt& task) {
  typename Lanes::StateMatrix A = Lanes::zero_state_matrix(nx);
  typename Lanes::InputMatrix B = Lanes::zero_input_matrix(nx, nu);
  typename Lanes::StateMatrix Q = A;
  typename Lanes::ControlMatrix R = Lanes::zero_control_matrix(nu);
  typename Lanes::StateMatrix Sigma0 = A;
  pack_lanes(
      A, nx, nx, [&](Index lane) -> const auto& { return task(lane).A(); });
  pack_lanes(
      B, nx, nu, [&](Index lane) -> const auto& { return task(lane).B(); });
  pack_lanes(
      Q, nx, nx, [&](Index lane) -> const auto& { return task(lane).Q(); });
  pack_lanes(
      R, nu, nu, [&](Index lane) -> const auto& { return task(lane).R(); });
  pack_lanes(
      Sigma0, nx, nx, [&](Index lane) -> const auto& { return task(lane).Sigma0(); });
  return Task<Lanes>::from_checked(A, B, Q, R, Sigma0);
}

/// Calls body(first, size) for the packs first ... first + size - 1 of 0 ... count - 1, on several threads
/// where there is work enough for them. Where a pack begins does not depend on the number of threads.
template <class Body>
void for_each_pack(Index count, Index width, Index nx, int threads, const Body& body) {
  const Index packs = (count + width - 1) / width;
  // About 25 n^3 operations a system; a thread is worth waking for some ten microseconds of work.
  const double work = 25.0 * static_cast<double>(nx * nx * nx) * static_cast<double>(count);
  const auto run = [&](Index pack) {
    const Index first = pack * width;
    body(first, first + width <= count ? width : count - first);
  };
  if (threads == 1 || work < 1e6) {
    // Even a team of one thread takes a microsecond to set up.
    for (Index pack = 0; pack < packs; ++pack) run(pack);
  } else {
    parallel_for(packs, run, threads);
  }
}

/// Calls packed(tasks, first, size) for packs of small tasks, the lanes beyond the last task repeating the
/// first of the pack, or one(i) for each task where they are not worked on in lanes.
template <MatrixBackend Backend, class Packed, class One>
void for_each_task_pack(std::span<const Task<Backend>> tasks, const Packed& packed, const One& one,
                        int threads) {
  using Lanes = LanesOf<Backend>;
  const auto count = static_cast<Index>(tasks.size());
  const Index nx = tasks[0].nx();
  if constexpr (may_fit_lanes<Backend> && !std::is_same_v<Lanes, Backend>) {
    if (fits_lanes(nx, tasks[0].nu())) {
      for_each_pack(count, lane_count<Backend>, nx, threads, [&](Index first, Index size) {
        const auto task = [&](Index lane) -> const Task<Backend>& {
          return tasks[static_cast<std::size_t>(first + (lane < size ? lane : 0))];
        };
        packed(pack_tasks<Lanes>(nx, tasks[0].nu(), task), first, size);
      });
      return;
    }
  }
  for_each_pack(count, 1, nx, threads, [&](Index i, Index) { one(i); });
}

}  // namespace metalqr::inline METALQR_ABI::detail
