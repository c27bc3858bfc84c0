// The optimal gains of many tasks at once.

#include "lqr/optimal_gains.hpp"

#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace {

using metalqr::NoConvergence;
using metalqr::NotStabilizable;
using metalqr::RiccatiSolution;
using metalqr::solve_dare;
using test::Backend;
using test::dense;
using test::Dense;
using test::DenseTask;
using test::identity;
using test::Index;
using test::message_of;
using test::relative_error;
using Task = metalqr::Task<Backend>;

constexpr Index lanes = metalqr::lane_count<Backend>;

Dense diagonal(std::vector<double> entries) {
  Dense x(static_cast<Index>(entries.size()), static_cast<Index>(entries.size()));
  for (Index i = 0; i < x.rows; ++i) x(i, i) = entries[static_cast<std::size_t>(i)];
  return x;
}

/// Three states, one input, unit weights.
DenseTask plain_task(Dense A) {
  return {std::move(A), {{0}, {0.5}, {1}}, identity(3), {{1}}, identity(3)};
}

/// Tasks of three states and one input that need different amounts of work, or another kind.
std::vector<Task> odd_tasks(metalqr::Stream& stream) {
  std::vector<DenseTask> result;
  for (const double rho : {0.2, 0.5, 0.9, 0.95}) {
    result.push_back(test::random_problem(3, 1, rho, stream).task);
  }
  // A state that no input moves, near the limit: left to plain numbers.
  for (const double margin : {1e-2, 1e-5, 1e-8, 1e-11}) {
    result.push_back(plain_task(diagonal({1 - margin, 0.5, 1.5})));
  }
  // Unstable, and free of cost.
  result.push_back(plain_task({{2, 1, 0}, {0, 1.5, 1}, {0, 0, 0.5}}));
  result.back().Q = Dense(3, 3);
  result.push_back(plain_task({{0.5, 1, 0}, {0, 0.25, 1}, {0, 0, 0.75}}));
  result.back().Q = Dense(3, 3);
  // In odd units.
  for (const long double unit : {1e8L, 1e-8L}) {
    DenseTask task = test::random_problem(3, 1, 0.9, stream).task;
    for (Index i = 0; i < 3; ++i) {
      task.A(0, i) *= unit, task.A(i, 0) /= unit;
      task.Q(0, i) /= unit, task.Q(i, 0) /= unit;
    }
    task.B(0, 0) *= unit;
    result.push_back(task);
    task = test::random_problem(3, 1, 0.9, stream).task;
    task.Q = unit * task.Q;
    task.R = unit * unit * task.R;
    result.push_back(task);
  }
  // Solved before the first step, where I + GP rounds to a singular matrix.
  result.push_back(plain_task(Dense(3, 3)));
  result.back().B = Dense{{1}, {1}, {1}};
  result.back().R = {{0x1p-60}};
  // No input at all, and one that costs nearly nothing.
  result.push_back(plain_task(diagonal({0.9, 0.5, -0.99})));
  result.back().B = Dense(3, 1);
  result.push_back(plain_task({{1, 1, 0}, {0, 1, 1}, {0, 0, 1}}));
  result.back().R = {{1e-12}};
  std::vector<Task> tasks;
  for (const DenseTask& task : result) tasks.push_back(test::make_task<Backend>(task));
  return tasks;
}

Task not_stabilisable() {
  DenseTask task = plain_task(diagonal({2, 0.5, 0.5}));
  return test::make_task<Backend>(task);
}

/// The cost does not see a mode on the unit circle.
Task without_stabilising_solution() {
  DenseTask task = plain_task({{1, 1, 0}, {0, 0.5, 1}, {0, 0, 0.5}});
  task.Q = Dense(3, 3);
  return test::make_task<Backend>(task);
}

}  // namespace

TEST_CASE("the optimal gains of many tasks are those of each, in sizes of every kind") {
  metalqr::Stream stream = test::stream(91);
  for (const auto& [nx, nu] : std::vector<std::pair<Index, Index>>{
           {1, 1}, {2, 1}, {4, 1}, {4, 2}, {3, 4}, {8, 3}, {9, 2}, {16, 2}, {17, 2}, {3, 17}}) {
    test::check_one_by_one<Backend>(nx, nu, stream);
  }
}

TEST_CASE("the optimal gains of the reference cases, in every lane") {
  test::check_reference_gains<Backend>(1e-10);
}

TEST_CASE("whatever stands beside a task, its optimal gain keeps its bits") {
  metalqr::Stream stream = test::stream(92);
  const std::vector<Task> tasks = odd_tasks(stream);
  std::vector<RiccatiSolution<Backend>> alone;
  for (const Task& task : tasks) {
    alone.push_back(solve_dare(std::vector<Task>{task})[0]);
    const auto plain = solve_dare(task);
    CAPTURE(alone.size());
    // All of them in units of P's own diagonal, and well conditioned there but for those near the limit.
    for (Index i = 0; i < 3; ++i) {
      CHECK(alone.back().value(i, i) == Approx(plain.value(i, i)).epsilon(1e-9));
    }
    CHECK(alone.back().residual <= 1e-14);
  }
  for (int shuffle = 0; shuffle < 200; ++shuffle) {
    const auto order = test::shuffled(tasks.size(), stream);
    std::vector<Task> permuted;
    for (const std::size_t i : order) permuted.push_back(tasks[i]);
    const auto solutions = solve_dare(permuted);
    for (std::size_t i = 0; i < order.size(); ++i) {
      if (test::same(solutions[i], alone[order[i]])) continue;
      CAPTURE(shuffle, i, order[i]);
      FAIL_CHECK("different bits");
    }
  }
}

TEST_CASE("the optimal gains are bitwise the same for any number of threads") {
  metalqr::Stream stream = test::stream(93);
  // Enough work for several threads.
  auto tasks = test::random_tasks<Backend>(3, 1, 3001, stream);
  const std::vector<Task> odd = odd_tasks(stream);
  for (std::size_t i = 0; i < odd.size(); ++i) tasks[7 * i + 3] = odd[i];
  const auto one = solve_dare(tasks, {}, 1);
  for (const int threads : {0, 2, 3, 8}) {
    CAPTURE(threads);
    CHECK(test::differing(solve_dare(tasks, {}, threads), one) == 0);
  }
}

TEST_CASE("a task without a solution is what the whole call reports, the first of several") {
  metalqr::Stream stream = test::stream(94);
  const std::string first_message = message_of<NotStabilizable>([] { solve_dare(not_stabilisable()); });
  const std::string second_message =
      message_of<NoConvergence>([] { solve_dare(without_stabilising_solution()); });
  for (const std::size_t count : {std::size_t{9}, std::size_t{3001}}) {
    for (const std::size_t at : {std::size_t{0}, std::size_t{1}, count / 2, count - 2}) {
      auto tasks = test::random_tasks<Backend>(3, 1, static_cast<Index>(count), stream);
      tasks[at] = not_stabilisable();
      tasks[count - 1] = without_stabilising_solution();
      for (const int threads : {0, 1, 2, 8}) {
        CAPTURE(count, at, threads);
        CHECK(message_of<NotStabilizable>([&] { solve_dare(tasks, {}, threads); }) == first_message);
      }
      std::swap(tasks[at], tasks[count - 1]);
      for (const int threads : {0, 1, 2, 8}) {
        CHECK(message_of<NoConvergence>([&] { solve_dare(tasks, {}, threads); }) == second_message);
      }
    }
  }
}

TEST_CASE("lists that are no fleet and options out of range are refused by name") {
  const std::vector<Task> none;
  CHECK(message_of<metalqr::InvalidOption>([&] { solve_dare(none); }) ==
        "tasks: expected at least one task, got an empty list");
  const Task task = test::make_task<Backend>(test::reference_cases()[0].task);
  const std::vector<Task> mixed{task, not_stabilisable()};
  CHECK(message_of<metalqr::DimensionMismatch>([&] { solve_dare(mixed); }) ==
        "tasks: expected B of shape 4x2 in every task, got 3x1 in task 1");
  const std::vector<Task> pair{task, task};
  const auto refused = [&](const metalqr::RiccatiOptions& options, const std::string& name) {
    const auto message = message_of<metalqr::InvalidOption>([&] { solve_dare(pair, options); });
    CHECK(message.substr(0, name.size()) == name);
  };
  refused({.max_doublings = 0}, "max_doublings: ");
  refused({.max_newton_steps = 0}, "max_newton_steps: ");
  refused({.tolerance = -1}, "tolerance: ");
  refused({.tolerance = std::numeric_limits<double>::quiet_NaN()}, "tolerance: ");
  refused({.tolerance = std::numeric_limits<double>::infinity()}, "tolerance: ");
}

TEST_CASE("options work on many tasks as they do on one") {
  metalqr::Stream stream = test::stream(95);
  const auto tasks = test::random_tasks<Backend>(4, 2, 3 * lanes + 1, stream);
  // One doubling, with Newton's method to do the rest; and no balancing.
  for (const metalqr::RiccatiOptions& options :
       {metalqr::RiccatiOptions{.max_doublings = 1}, metalqr::RiccatiOptions{.balance = false},
        metalqr::RiccatiOptions{.tolerance = 1e-13}}) {
    const auto solutions = solve_dare(tasks, options);
    for (std::size_t i = 0; i < tasks.size(); ++i) {
      const auto alone = solve_dare(tasks[i], options);
      CHECK(relative_error(dense(solutions[i].gain), dense(alone.gain)) < 1e-12);
      CHECK(solutions[i].residual <= 1e-14);
    }
  }
  CHECK_THROWS_AS(solve_dare(tasks, {.tolerance = 1e-30}), NoConvergence);
  CHECK(relative_error(metalqr::optimal_cost(tasks[0]),
                       test::inner(dense(solve_dare(tasks)[0].value), dense(tasks[0].Sigma0()))) < 1e-12);
}
