#pragma once

/// @file
/// What the tests of `solve_dare` on lists of tasks share: each file compiles one or two backends.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <vector>

#include <metalqr/lqr/optimal_gain.hpp>

#include "lane_support.hpp"
#include "reference.hpp"
#include "support.hpp"

namespace test {

template <class X>
bool same_entries(const X& x, const X& y) {
  bool equal = x.rows() == y.rows() && x.cols() == y.cols();
  for (Index i = 0; equal && i < x.rows(); ++i) {
    for (Index j = 0; equal && j < x.cols(); ++j) equal = same_bits(x(i, j), y(i, j));
  }
  return equal;
}

/// Whether two solutions have the same bits.
template <class AnyBackend>
bool same(const metalqr::RiccatiSolution<AnyBackend>& x, const metalqr::RiccatiSolution<AnyBackend>& y) {
  return same_bits(x.residual, y.residual) && x.iterations == y.iterations &&
         x.newton_steps == y.newton_steps && x.status == y.status && same_entries(x.value, y.value) &&
         same_entries(x.gain, y.gain);
}

template <class AnyBackend>
int differing(const std::vector<metalqr::RiccatiSolution<AnyBackend>>& x,
              const std::vector<metalqr::RiccatiSolution<AnyBackend>>& y) {
  if (x.size() != y.size()) return -1;
  int count = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (!same(x[i], y[i])) ++count;
  }
  return count;
}

/// Tasks that differ in every matrix.
template <class AnyBackend>
std::vector<metalqr::Task<AnyBackend>> random_tasks(Index nx, Index nu, Index count,
                                                    metalqr::Stream& stream) {
  std::vector<metalqr::Task<AnyBackend>> tasks;
  for (Index i = 0; i < count; ++i) {
    tasks.push_back(make_task<AnyBackend>(random_problem(nx, nu, stream.uniform(0.2, 0.95), stream).task));
  }
  return tasks;
}

/// That the optimal gains of a list are those of its tasks, up to rounding, for a list of each length.
template <class AnyBackend>
void check_one_by_one(Index nx, Index nu, metalqr::Stream& stream) {
  const double epsilon = static_cast<double>(AnyBackend::epsilon());
  const Index lanes = metalqr::lane_count<AnyBackend>;
  const auto tasks = random_tasks<AnyBackend>(nx, nu, 100, stream);
  std::vector<metalqr::RiccatiSolution<AnyBackend>> alone;
  for (const auto& task : tasks) alone.push_back(metalqr::solve_dare(task));
  const auto all = metalqr::solve_dare(tasks);
  for (const Index count : {Index{1}, lanes - 1, lanes, lanes + 1, Index{100}}) {
    if (count == 0) continue;
    CAPTURE(nx, nu, count);
    const auto solutions = metalqr::solve_dare(std::span(tasks).first(static_cast<std::size_t>(count)));
    REQUIRE(solutions.size() == static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < solutions.size(); ++i) {
      CAPTURE(i);
      const auto& solution = solutions[i];
      CHECK(relative_error(dense<AnyBackend>(solution.gain), dense<AnyBackend>(alone[i].gain)) <
            4500 * epsilon);
      CHECK(relative_error(dense<AnyBackend>(solution.value), dense<AnyBackend>(alone[i].value)) <
            4500 * epsilon);
      CHECK(static_cast<double>(solution.residual) <= 45 * epsilon);
      CHECK(solution.status == metalqr::Status::converged);
      CHECK(solution.iterations >= 1);
      CHECK(same(solution, all[i]));
      CHECK(same_entries(solution.value, AnyBackend::transpose(solution.value)));
    }
  }
}

/// Every reference case that fits the backend, in each lane.
template <class AnyBackend>
void check_reference_gains(double tolerance) {
  int compared = 0;
  for (const ReferenceCase& c : reference_cases()) {
    if (!c.fits<AnyBackend>()) continue;
    INFO(c.name);
    const auto count = static_cast<std::size_t>(2 * metalqr::lane_count<AnyBackend> + 1);
    const std::vector<metalqr::Task<AnyBackend>> tasks(count, make_task<AnyBackend>(c.task));
    const auto solutions = metalqr::solve_dare(tasks);
    for (const auto& solution : solutions) {
      CHECK(relative_error(dense<AnyBackend>(solution.gain), c.K_star) < tolerance);
      CHECK(relative_error(dense<AnyBackend>(solution.value), c.P_star) < tolerance);
      CHECK(same(solution, solutions[0]));
    }
    ++compared;
  }
  CHECK(compared >= 3);
}

/// The tasks in a random order.
inline std::vector<std::size_t> shuffled(std::size_t count, metalqr::Stream& stream) {
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < count; ++i) order.push_back(i);
  for (std::size_t i = count - 1; i > 0; --i) {
    std::swap(order[i], order[static_cast<std::size_t>(stream.uniform(0, static_cast<double>(i + 1)))]);
  }
  return order;
}

}  // namespace test
