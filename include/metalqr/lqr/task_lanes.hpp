#pragma once

/// @file
/// Tasks and gains in lanes, and the loop over packs of them.

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

/// The task that holds `task(l)` in lane l, without the checks that these have passed.
template <MatrixBackend Lanes, class TaskAt>
Task<Lanes> pack_tasks(Index nx, Index nu, const TaskAt& task) {
  Task<Lanes> packed;
  packed.A_ = packed.Q_ = packed.Sigma0_ = Lanes::zero_state_matrix(nx);
  packed.B_ = Lanes::zero_input_matrix(nx, nu);
  packed.R_ = Lanes::zero_control_matrix(nu);
  pack_lanes(
      packed.A_, nx, nx, [&](Index lane) -> const auto& { return task(lane).A(); });
  pack_lanes(
      packed.B_, nx, nu, [&](Index lane) -> const auto& { return task(lane).B(); });
  pack_lanes(
      packed.Q_, nx, nx, [&](Index lane) -> const auto& { return task(lane).Q(); });
  pack_lanes(
      packed.R_, nu, nu, [&](Index lane) -> const auto& { return task(lane).R(); });
  pack_lanes(
      packed.Sigma0_, nx, nx, [&](Index lane) -> const auto& { return task(lane).Sigma0(); });
  return packed;
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
  parallel_for(packs, run, work < 1e6 ? 1 : threads);
}

/// Works through the tasks task(0) ... task(count - 1), which have one size: packed(tasks, first, size) for
/// packs of small ones, the lanes beyond the last task repeating the first of the pack, or one(i) where they
/// are not worked on in lanes. `shared` says that all are the same task, which is then packed once.
template <MatrixBackend Backend, class TaskAt, class Packed, class One>
void for_each_task_pack(Index count, bool shared, const TaskAt& task, const Packed& packed, const One& one,
                        int threads) {
  if (count == 0) return;
  using Lanes = LanesOf<Backend>;
  const Index nx = task(0).nx();
  const Index nu = task(0).nu();
  if constexpr (may_fit_lanes<Backend> && !std::is_same_v<Lanes, Backend>) {
    if (fits_lanes(nx, nu)) {
      const auto tasks = [&](Index first, Index size) {
        return pack_tasks<Lanes>(nx, nu, [&](Index lane) -> const Task<Backend>& {
          return task(first + (lane < size ? lane : 0));
        });
      };
      if (shared) {
        const Task<Lanes> same = tasks(0, 1);
        for_each_pack(count, lane_count<Backend>, nx, threads,
                      [&](Index first, Index size) { packed(same, first, size); });
      } else {
        for_each_pack(count, lane_count<Backend>, nx, threads,
                      [&](Index first, Index size) { packed(tasks(first, size), first, size); });
      }
      return;
    }
  }
  for_each_pack(count, 1, nx, threads, [&](Index i, Index /*size*/) { one(i); });
}

}  // namespace metalqr::inline METALQR_ABI::detail
