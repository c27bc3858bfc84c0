#pragma once

/// @file
/// The optimal gain and cost of a task, and of many at once.

#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include <metalqr/equations/riccati.hpp>
#include <metalqr/lqr/task.hpp>
#include <metalqr/lqr/task_lanes.hpp>
#include <metalqr/lqr/task_list.hpp>

namespace metalqr::inline METALQR_ABI {

namespace detail {

/// The Riccati equation of a task, whose matrices are checked already.
template <MatrixBackend Backend>
RiccatiProblem<Backend> riccati_problem(const Task<Backend>& task) {
  return {.A = task.A(),
          .B = task.B(),
          .Q = task.Q(),
          .R = task.R(),
          .N = Backend::zero_like(task.B()),
          .has_cross = false};
}

/// What the first attempt of `solve_checked_dare` gives for each lane.
template <MatrixBackend Lanes>
struct LaneRiccati {
  RiccatiAttempt<Lanes> attempt;
  RiccatiAnswer<Lanes> answer;

  LaneRiccati(const Task<Lanes>& tasks, const RiccatiOptions& options) {
    const RiccatiProblem<Lanes> original = riccati_problem(tasks);
    FirstAttempt<Lanes> first(original, options);
    answer = riccati_answer<Lanes>(original, first.scales, first.attempt, options);
    attempt = std::move(first.attempt);
  }

  /// The solution in a lane, if it was found.
  template <MatrixBackend Backend>
  bool get(Index lane, RiccatiSolution<Backend>& solution) const {
    using Scalar = typename Lanes::Scalar;
    using Lane = LaneTraits<Scalar>;
    if (!Lane::test(answer.accurate, lane)) return false;
    const Index nx = Lanes::rows(answer.value);
    const Index nu = Lanes::rows(answer.gain);
    solution.value = Backend::zero_state_matrix(nx);
    solution.gain = Backend::zero_gain(nu, nx);
    unpack_lane(answer.value, lane, nx, nx, solution.value);
    unpack_lane(answer.gain, lane, nu, nx, solution.gain);
    solution.residual = Lane::get(answer.residual, lane);
    solution.iterations = static_cast<int>(lane_to_double<Lanes>(attempt.doublings, lane));
    solution.newton_steps = static_cast<int>(lane_to_double<Lanes>(attempt.newton.steps, lane));
    solution.status = Status::converged;
    return true;
  }
};

}  // namespace detail

/// The optimal gain K* (n_u x n_x) and value matrix P* (n_x x n_x) of a task, from its Riccati equation.
/// @throws NotStabilizable, NoConvergence, InvalidOption; see the overload that takes matrices.
template <MatrixBackend Backend>
RiccatiSolution<Backend> solve_dare(const Task<Backend>& task, const RiccatiOptions& options = {}) {
  detail::validate(options);
  return detail::solve_checked_dare<Backend>(detail::riccati_problem(task), options);
}

/// The optimal gains of many tasks, small systems in lanes; what lanes leave open (see `riccati_newton`) is
/// solved one by one.
/// @param threads at most so many; 0 leaves it to OpenMP. The result is bitwise the same for any number.
/// @throws InvalidOption for an empty list; DimensionMismatch if tasks differ in shape; NotStabilizable or
/// NoConvergence of the first task that has no solution.
template <TaskList Tasks>
std::vector<RiccatiSolution<BackendOf<Tasks>>> solve_dare(const Tasks& tasks,
                                                          const RiccatiOptions& options = {},
                                                          int threads = 0) {
  using Backend = BackendOf<Tasks>;
  const std::span<const Task<Backend>> fleet = checked_fleet(tasks);
  detail::validate(options);
  std::vector<RiccatiSolution<Backend>> solutions(fleet.size());
  const auto task = [&fleet](Index i) -> const Task<Backend>& { return fleet[static_cast<std::size_t>(i)]; };
  const auto solve_one = [&](Index i) {
    solutions[static_cast<std::size_t>(i)] =
        detail::solve_checked_dare<Backend>(detail::riccati_problem(task(i)), options);
  };
  const auto solve_pack = [&]<class Lanes>(const Task<Lanes>& packed, Index first, Index size) {
    const detail::LaneRiccati<Lanes> solved(packed, options);
    for (Index lane = 0; lane < size; ++lane) {
      if (!solved.get(lane, solutions[static_cast<std::size_t>(first + lane)])) solve_one(first + lane);
    }
  };
  detail::for_each_task_pack<Backend>(static_cast<Index>(fleet.size()), false, task, solve_pack, solve_one,
                                      threads);
  return solutions;
}

/// J* = tr(P* Sigma0), the least cost of a task.
/// @throws NotStabilizable, NoConvergence, InvalidOption.
template <MatrixBackend Backend>
typename Backend::Scalar optimal_cost(const Task<Backend>& task, const RiccatiOptions& options = {}) {
  return Backend::inner(solve_dare(task, options).value, task.Sigma0());
}

}  // namespace metalqr::inline METALQR_ABI
