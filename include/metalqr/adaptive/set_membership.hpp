#pragma once

/// @file
/// The plants that agree with data whose noise has a bound.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/check.hpp>
#include <metalqr/identification/dataset.hpp>
#include <metalqr/lqr/task.hpp>
#include <metalqr/synthesis/qp.hpp>
#include <metalqr/synthesis/safe_problem.hpp>

namespace metalqr::inline METALQR_ABI::adaptive {

/// What data leave of the plants of a `SafeProblem`.
enum class MembershipStatus {
  solved,        ///< the problem that was found holds every plant that agrees with the data
  inconsistent,  ///< no plant of the problem agrees with the data: a bound or a radius is wrong
  failed         ///< the solver gave no answer
};

/// The enumerator's name.
constexpr const char* to_string(MembershipStatus status) {
  switch (status) {
    case MembershipStatus::solved:
      return "solved";
    case MembershipStatus::inconsistent:
      return "inconsistent";
    case MembershipStatus::failed:
      return "failed";
  }
  return "unknown";
}

/// A smaller problem, and how it was found.
template <MatrixBackend Backend>
struct Membership {
  MembershipStatus status = MembershipStatus::failed;
  synthesis::SafeProblem<Backend> problem;  ///< the given one unless `solved`
};

namespace detail {

/// What ranges are widened by, relative to noise and radii, so that rounding excludes no plant.
inline constexpr double set_rounding = 1e-6;

/// The programme of one row of [A B], in deviations from the estimate as shares of the radii: each within
/// [-1, 1], and every transition explained by noise within its bound, widened by `set_rounding`.
template <MatrixBackend Backend>
synthesis::QpProblem row_programme(const synthesis::SafeProblem<Backend>& problem,
                                   const identification::Dataset<Backend>& data, Index row) {
  const Task<Backend>& task = problem.estimate;
  const Index count = task.nx() + task.nu();
  synthesis::QpProblem programme;
  programme.objective.assign(static_cast<std::size_t>(count), 0.0);
  programme.variables.assign(static_cast<std::size_t>(count), {-1, 1});
  const double unit = problem.noise > 0 ? problem.noise : 1;
  const double bound = problem.noise / unit + set_rounding;
  for (const identification::Rollout<Backend>& rollout : data.rollouts()) {
    for (Index t = 0; t < Backend::rows(rollout.inputs); ++t) {
      const auto place = static_cast<Index>(programme.rows.size());
      double deviation = Backend::to_double(rollout.states(t + 1, row));
      for (Index j = 0; j < count; ++j) {
        const bool input = j >= task.nx();
        const double value =
            Backend::to_double(input ? rollout.inputs(t, j - task.nx()) : rollout.states(t, j));
        deviation -= value * Backend::to_double(input ? task.B()(row, j - task.nx()) : task.A()(row, j));
        const double radius = input ? problem.epsilon_B : problem.epsilon_A;
        programme.matrix.push_back({place, j, value * radius / unit});
      }
      programme.rows.push_back({deviation / unit - bound, deviation / unit + bound});
    }
  }
  return programme;
}

}  // namespace detail

/// The least box around the plants of the problem that explain the data by noise within its bound, as a
/// problem with smaller radii around the box's centre: no probability is involved (set membership; Fogel and
/// Huang, "On the value of information in system identification - bounded noise case", Automatica 18, 1982).
/// A matrix whose radius would grow keeps its ball. 2 n (n + p) linear programmes of n + p variables and a
/// row for each transition; the noise bound and the ranges are widened by 1e-6 of them and of the radii.
/// @throws InvalidOption for a bad problem; DimensionMismatch for data of another size; what the solver
/// throws.
template <MatrixBackend Backend, synthesis::QpSolver Solver>
Membership<Backend> consistent_plants(const synthesis::SafeProblem<Backend>& problem,
                                      const identification::Dataset<Backend>& data, const Solver& solver) {
  using Scalar = typename Backend::Scalar;
  synthesis::validate(problem);
  const Task<Backend>& task = problem.estimate;
  const Index n = task.nx();
  const Index p = task.nu();
  if (data.nx() != n || data.nu() != p) {
    throw DimensionMismatch("data: expected " + std::to_string(n) + " states and " + std::to_string(p) +
                            " inputs, got " + std::to_string(data.nx()) + " and " +
                            std::to_string(data.nu()));
  }
  Membership<Backend> result{MembershipStatus::failed, problem};
  typename Backend::StateMatrix A = task.A();
  typename Backend::InputMatrix B = task.B();
  double epsilon_A = 0;
  double epsilon_B = 0;
  for (Index i = 0; i < n; ++i) {
    synthesis::QpProblem programme = detail::row_programme(problem, data, i);
    double sum_A = 0;
    double sum_B = 0;
    for (Index j = 0; j < n + p; ++j) {
      const auto place = static_cast<std::size_t>(j);
      const double radius = j < n ? problem.epsilon_A : problem.epsilon_B;
      double ends[2] = {-1, 1};
      for (int side = 0; side < 2 && radius > 0; ++side) {
        programme.objective[place] = side == 0 ? 1 : -1;
        const synthesis::QpSolution solution = solver(programme);
        if (solution.status == synthesis::QpStatus::infeasible) {
          result.status = MembershipStatus::inconsistent;
          return result;
        }
        if (!synthesis::has_solution(solution.status)) return result;
        const double widening = side == 0 ? -detail::set_rounding : detail::set_rounding;
        ends[side] = std::clamp(solution.x[place] + widening, -1.0, 1.0);
      }
      programme.objective[place] = 0;
      const auto shift = static_cast<Scalar>(radius * (ends[0] + ends[1]) / 2);
      (j < n ? sum_A : sum_B) += radius * ((ends[1] - ends[0]) / 2 + 1e-12);
      if (j < n) A(i, j) += shift;
      if (j >= n) B(i, j - n) += shift;
    }
    epsilon_A = std::max(epsilon_A, sum_A);
    epsilon_B = std::max(epsilon_B, sum_B);
  }
  const bool better_A = epsilon_A < problem.epsilon_A;
  const bool better_B = epsilon_B < problem.epsilon_B;
  if (better_A) result.problem.epsilon_A = epsilon_A;
  if (better_B) result.problem.epsilon_B = epsilon_B;
  result.problem.estimate =
      Task<Backend>(better_A ? A : task.A(), better_B ? B : task.B(), task.Q(), task.R(), task.Sigma0());
  result.status = MembershipStatus::solved;
  return result;
}

}  // namespace metalqr::inline METALQR_ABI::adaptive
