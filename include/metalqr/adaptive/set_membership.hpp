#pragma once

/// @file
/// The plants that agree with data whose noise has a bound.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <exception>
#include <limits>
#include <string>
#include <vector>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/error.hpp>
#include <metalqr/core/index.hpp>
#include <metalqr/identification/dataset.hpp>
#include <metalqr/lqr/task.hpp>
#include <metalqr/synthesis/qp.hpp>
#include <metalqr/synthesis/safe_problem.hpp>

namespace metalqr::inline METALQR_ABI::adaptive {

/// What data leave of the plants of a `SafeProblem`.
enum class MembershipStatus {
  solved,        ///< the problem that was found holds every plant that agrees with the data
  inconsistent,  ///< no plant of the problem agrees with the data: a bound or a radius is wrong
  failed         ///< the solver gave no answer, nor a proof of anything
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

/// What is known of one row of [A B], in deviations from the estimate as shares of the radii.
struct RowSet {
  synthesis::QpProblem programme;  ///< each within [-1, 1], every transition explained by noise; no objective
  bool contradiction = false;      ///< whether one transition alone excludes every plant
};

/// A transition is a row of the programme, divided by the sum of its absolute entries, unless every plant
/// explains it. Bounds allow for the rounding of the plant's arithmetic and of this function's.
template <MatrixBackend Backend>
RowSet row_set(const synthesis::SafeProblem<Backend>& problem, const identification::Dataset<Backend>& data,
               Index row) {
  using Limits = std::numeric_limits<double>;
  const Task<Backend>& task = problem.estimate;
  const Index count = task.nx() + task.nu();
  const double rounding = static_cast<double>(2 * count + 16) *
                          std::max(Backend::to_double(Backend::epsilon()), Limits::epsilon());
  RowSet result;
  synthesis::QpProblem& programme = result.programme;
  programme.objective.assign(static_cast<std::size_t>(count), 0.0);
  programme.variables.assign(static_cast<std::size_t>(count), {-1, 1});
  std::vector<double> entries(static_cast<std::size_t>(count));
  for (const identification::Rollout<Backend>& rollout : data.rollouts()) {
    for (Index t = 0; t < Backend::rows(rollout.inputs); ++t) {
      double deviation = Backend::to_double(rollout.states(t + 1, row));
      double size = std::abs(deviation);  // of the terms
      double reach = 0;                   // what the plants differ by
      for (Index j = 0; j < count; ++j) {
        const bool input = j >= task.nx();
        const double value =
            Backend::to_double(input ? rollout.inputs(t, j - task.nx()) : rollout.states(t, j));
        const double entry = Backend::to_double(input ? task.B()(row, j - task.nx()) : task.A()(row, j));
        const double radius = input ? problem.epsilon_B : problem.epsilon_A;
        deviation -= value * entry;
        size += std::abs(value) * (std::abs(entry) + radius);
        entries[static_cast<std::size_t>(j)] = value * radius;
        reach += std::abs(value * radius);
      }
      const double bound = (problem.noise + rounding * size) * (1 + rounding);
      // What overflows says nothing, nor does what every plant explains.
      if (!std::isfinite(size) || std::abs(deviation) + reach <= bound) continue;
      if (std::abs(deviation) - bound > reach * (1 + rounding)) result.contradiction = true;
      if (!(reach > Limits::min() / Limits::epsilon())) continue;
      const auto place = static_cast<Index>(programme.rows.size());
      for (Index j = 0; j < count; ++j) {
        const double entry = entries[static_cast<std::size_t>(j)] / reach;
        if (entry != 0) programme.matrix.push_back({place, j, entry});
      }
      // The variables' ranges imply what lies beyond 1.
      const double low = (deviation - bound) / reach - rounding;
      const double high = (deviation + bound) / reach + rounding;
      programme.rows.push_back({low < -1 ? -Limits::infinity() : low, high > 1 ? Limits::infinity() : high});
    }
  }
  return result;
}

/// Lower bounds of linear programmes, from whatever a solver says.
template <synthesis::QpSolver Solver>
class Prover {
 public:
  explicit Prover(const Solver& solver) : solver_(solver) {}

  /// See `synthesis::lower_bound`. The solver is given ranges that are a little wider, since an interior is
  /// what it works in.
  double least(const synthesis::QpProblem& programme) {
    ++asked_;
    synthesis::QpProblem wider = programme;
    for (synthesis::QpRange& range : wider.rows) range = {range.low - widening, range.high + widening};
    synthesis::QpSolution solution;
    try {
      solution = solver_(wider);
    } catch (const std::exception&) {
      solution = {};
    }
    denied_ = denied_ || solution.status == synthesis::QpStatus::infeasible;
    if (synthesis::has_solution(solution.status) && solution.multipliers.size() == programme.rows.size()) {
      ++answered_;
    }
    return synthesis::lower_bound(programme, solution.multipliers);
  }

  /// Whether the rows contradict each other, if the solver called a programme infeasible: the least number
  /// that their bounds must be widened by is positive.
  bool contradiction(const synthesis::QpProblem& programme) {
    if (!denied_) return false;
    denied_ = false;
    synthesis::QpProblem elastic = programme;
    const auto slack = static_cast<Index>(programme.variables.size());
    elastic.objective.assign(programme.variables.size() + 1, 0.0);
    elastic.objective.back() = 1;
    elastic.variables.push_back({0, 2});
    const auto rows = static_cast<Index>(programme.rows.size());
    for (const synthesis::QpEntry& entry : programme.matrix) {
      elastic.matrix.push_back({entry.row + rows, entry.column, entry.value});
    }
    for (Index k = 0; k < rows; ++k) {
      elastic.matrix.push_back({k, slack, 1});
      elastic.matrix.push_back({k + rows, slack, -1});
      const synthesis::QpRange& range = programme.rows[static_cast<std::size_t>(k)];
      elastic.rows[static_cast<std::size_t>(k)] = {.low = range.low};
      elastic.rows.push_back({.high = range.high});
    }
    return least(elastic) > 0;
  }

  /// Whether the solver was asked, and never answered.
  bool failed() const { return asked_ > 0 && answered_ == 0; }

 private:
  static constexpr double widening = 1e-8;  // of shares of the radii

  const Solver& solver_;
  int asked_ = 0;
  int answered_ = 0;
  bool denied_ = false;
};

/// Moves an estimate to the middle of its range; the radius around that, rounding included.
/// @param low,high ends of the range as shares of the radius around the estimate.
template <MatrixBackend Backend>
double recentre(typename Backend::Scalar& estimate, double radius, double low, double high) {
  const double before = Backend::to_double(estimate);
  estimate += static_cast<typename Backend::Scalar>(radius * (low + high) / 2);
  const double after = Backend::to_double(estimate);
  const double shift = after - before;
  const double rounding =
      8 * std::numeric_limits<double>::epsilon() * (std::abs(before) + std::abs(after) + radius);
  return std::max(std::abs(radius * high - shift), std::abs(shift - radius * low)) + rounding;
}

}  // namespace detail

/// The least box around the plants of the problem that explain the data by noise within its bound, as a
/// problem with smaller radii around the box's centre: no probability is involved (set membership; Fogel and
/// Huang, "On the value of information in system identification - bounded noise case", Automatica 18, 1982).
/// A matrix whose radius would grow keeps its ball. 2 n (n + p) linear programmes of n + p variables and a
/// row for each transition that tells plants apart. The box's ends are proved from the solver's multipliers:
/// they are never beyond the true ones, rounding included, of the plant in the backend's arithmetic too; a
/// solver that is coarse, wrong, without multipliers or throws only leaves the box larger.
/// @throws InvalidOption for a bad problem; DimensionMismatch for data of another size.
template <MatrixBackend Backend, synthesis::QpSolver Solver>
Membership<Backend> consistent_plants(const synthesis::SafeProblem<Backend>& problem,
                                      const identification::Dataset<Backend>& data, const Solver& solver) {
  synthesis::validate(problem);
  const Task<Backend>& task = problem.estimate;
  const Index n = task.nx();
  const Index p = task.nu();
  if (data.nx() != n || data.nu() != p) {
    throw DimensionMismatch("data: expected " + std::to_string(n) + " states and " + std::to_string(p) +
                            " inputs, got " + std::to_string(data.nx()) + " and " +
                            std::to_string(data.nu()));
  }
  Membership<Backend> result{MembershipStatus::inconsistent, problem};
  typename Backend::StateMatrix A = task.A();
  typename Backend::InputMatrix B = task.B();
  double epsilon_A = 0;
  double epsilon_B = 0;
  detail::Prover<Solver> prover(solver);
  for (Index i = 0; i < n; ++i) {
    detail::RowSet set = detail::row_set(problem, data, i);
    if (set.contradiction) return result;
    double sum_A = 0;
    double sum_B = 0;
    for (Index j = 0; j < n + p; ++j) {
      const double radius = j < n ? problem.epsilon_A : problem.epsilon_B;
      double& objective = set.programme.objective[static_cast<std::size_t>(j)];
      double ends[2] = {-1, 1};
      for (int side = 0; side < 2 && radius > 0 && !set.programme.rows.empty(); ++side) {
        const double sign = side == 0 ? 1 : -1;
        objective = sign;
        ends[side] = sign * std::max(prover.least(set.programme), -1.0);
      }
      objective = 0;
      if (ends[0] > ends[1] || prover.contradiction(set.programme)) return result;
      if (j < n) sum_A += detail::recentre<Backend>(A(i, j), radius, ends[0], ends[1]);
      if (j >= n) sum_B += detail::recentre<Backend>(B(i, j - n), radius, ends[0], ends[1]);
    }
    epsilon_A = std::max(epsilon_A, sum_A);
    epsilon_B = std::max(epsilon_B, sum_B);
  }
  result.status = MembershipStatus::failed;
  if (prover.failed()) return result;
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
