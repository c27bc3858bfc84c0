#include <metalqr/lqr/batch.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "lqr/batch.hpp"

namespace {

using metalqr::cost;
using metalqr::CostAndGradient;
using metalqr::costs;
using metalqr::gradients;
using test::all_nan;
using test::Backend;
using test::dense;
using test::Dense;
using test::DenseTask;
using test::Index;
using test::message_of;
using test::near_first_gain;
using test::relative_error;
using test::same;
using test::same_bits;
using Task = metalqr::Task<Backend>;

const double infinity = std::numeric_limits<double>::infinity();
const double not_a_number = std::numeric_limits<double>::quiet_NaN();
constexpr Index lanes = metalqr::lane_count<Backend>;

/// A task on which the gain -F has the closed loop F, exactly.
template <class AnyBackend = Backend>
metalqr::Task<AnyBackend> any_closed_loop(Index n) {
  return test::make_task<AnyBackend>(
      {Dense(n, n), test::identity(n), test::identity(n), test::identity(n), test::identity(n)});
}

/// Closed loops that are no problem, and those that are, each with whether the cost is finite.
struct ClosedLoop {
  Dense F;
  bool stable;
};
std::vector<ClosedLoop> mixed_closed_loops(metalqr::Stream& stream) {
  std::vector<ClosedLoop> result;
  for (const double rho : {0.3, 0.9, 0.95, 0.99, 0.5}) {
    result.push_back({test::random_with_radius(3, rho, stream), true});
  }
  for (const double rho : {1 + 1e-3, 1.05, 1.5, 3.0, 1e100, 1e200}) {
    result.push_back({test::random_with_radius(3, rho, stream), false});
  }
  const auto diagonal = [](double value) { return Dense{{value, 0, 0}, {0, 0.5, 0}, {0, 0, -0.25}}; };
  result.push_back({diagonal(1 - 1e-12), true});
  result.push_back({diagonal(1 + 1e-12), false});
  result.push_back({diagonal(1), false});
  result.push_back({diagonal(not_a_number), false});
  result.push_back({diagonal(infinity), false});
  result.push_back({diagonal(-infinity), false});
  result.push_back({diagonal(1e308), false});
  result.push_back({Dense(3, 3), true});
  result.push_back({{{0, 1e9, 0}, {0, 0, 1e9}, {0, 0, 0}}, true});
  // The powers grow so that a Lyapunov function has to prove stability.
  result.push_back({{{0.5, 1e9, 0}, {0, 0.4, 1e9}, {1e-20, 0, 0.3}}, true});
  return result;
}

}  // namespace

TEST_CASE("batches agree with the reference values") {
  test::check_reference_cases<Backend>();
}

TEST_CASE("tasks that differ in every matrix have their own costs and gradients, in sizes of every kind") {
  metalqr::Stream stream = test::stream(1);
  // n_u above n_x, single states and inputs, and the largest sizes for lanes and the next.
  for (const auto& [nx, nu] :
       std::vector<std::pair<Index, Index>>{{1, 1}, {1, 3}, {3, 1}, {2, 5}, {4, 2}, {5, 5}, {7, 2}, {8, 3}}) {
    const Dense K = test::rounded(0.5L * test::random_matrix(nu, nx, stream));
    std::vector<DenseTask> dense_tasks;
    std::vector<Task> tasks;
    for (Index i = 0; i < lanes + 2; ++i) {
      DenseTask task = test::random_problem(nx, nu, stream.uniform(0.2, 0.9), stream).task;
      const Dense F = test::random_with_radius(nx, stream.uniform(0.2, 0.9), stream);
      task.A = test::rounded(F + task.B * K);
      dense_tasks.push_back(task);
      tasks.push_back(test::make_task<Backend>(task));
    }
    const auto values = costs(tasks, test::gain(K));
    const auto both = gradients(tasks, test::gain(K));
    REQUIRE(values.size() == tasks.size());
    REQUIRE(both.size() == tasks.size());
    for (std::size_t i = 0; i < tasks.size(); ++i) {
      CAPTURE(nx, nu, i);
      const DenseTask& task = dense_tasks[i];
      CHECK(relative_error(values[i], task.cost(K)) < 1e-12);
      CHECK(relative_error(both[i].cost, task.cost(K)) < 1e-12);
      CHECK(relative_error(dense(both[i].gradient), task.gradient(K), task.gradient_scale(K)) < 1e-12);
    }
  }
}

TEST_CASE("sizes up to the limit of lanes and above it agree with the evaluation of each gain") {
  metalqr::Stream stream = test::stream(2);
  for (const auto& [nx, nu] :
       std::vector<std::pair<Index, Index>>{{16, 16}, {16, 3}, {17, 2}, {2, 17}, {24, 17}, {12, 4}}) {
    const auto [dense_task, K] = test::random_problem(nx, nu, 0.9, stream);
    const Task task = test::make_task<Backend>(dense_task);
    std::vector<Backend::Gain> gains;
    for (Index i = 0; i < lanes + 1; ++i) {
      gains.push_back(test::gain(K + 1e-5L * test::random_matrix(nu, nx, stream)));
    }
    const auto values = costs(task, gains);
    const auto both = gradients(task, gains);
    for (std::size_t i = 0; i < gains.size(); ++i) {
      CAPTURE(nx, nu, i);
      const metalqr::Evaluation<Backend> at(task, gains[i]);
      CHECK(relative_error(values[i], at.cost()) < 1e-11);
      CHECK(relative_error(both[i].cost, at.cost()) < 1e-11);
      CHECK(relative_error(dense(both[i].gradient), dense(at.gradient()), at.gradient_scale()) < 1e-11);
    }
  }
}

TEST_CASE("any number of gains is evaluated, each with the bits that it has alone") {
  metalqr::Stream stream = test::stream(4);
  const auto task = test::make_task<Backend>(test::reference_cases()[0].task);
  const auto all = near_first_gain<Backend>(1000, stream);
  std::vector<double> alone;
  std::vector<CostAndGradient<Backend>> alone_with_gradient;
  for (const auto& K : all) {
    alone.push_back(costs(task, std::span(&K, 1))[0]);
    alone_with_gradient.push_back(gradients(task, std::span(&K, 1))[0]);
    CHECK(relative_error(alone.back(), cost(task, K)) < 1e-12);
  }
  for (const Index count : {Index{0}, Index{1}, lanes - 1, lanes, lanes + 1, 2 * lanes + 1, Index{1000}}) {
    CAPTURE(count);
    const auto gains = std::span(all).first(static_cast<std::size_t>(count));
    const auto values = costs(task, gains);
    const auto both = gradients(task, gains);
    REQUIRE(values.size() == gains.size());
    REQUIRE(both.size() == gains.size());
    int different = 0;
    for (std::size_t i = 0; i < gains.size(); ++i) {
      if (!same_bits(values[i], alone[i]) || !same(both[i], alone_with_gradient[i])) ++different;
    }
    CHECK(different == 0);
  }
}

TEST_CASE("the result is bitwise the same for any number of threads") {
  metalqr::Stream stream = test::stream(5);
  const auto task = test::make_task<Backend>(test::reference_cases()[0].task);
  const auto gains = near_first_gain<Backend>(2003, stream);
  std::vector<Task> tasks;
  for (int i = 0; i < 2003; ++i) {
    DenseTask other = test::reference_cases()[0].task;
    other.A = other.A + 1e-4L * test::random_matrix(4, 4, stream);
    tasks.push_back(test::make_task<Backend>(other));
  }
  const auto values = costs(task, gains, 1);
  const auto both = gradients(task, gains, 1);
  const auto of_tasks = costs(tasks, gains[0], 1);
  const auto of_tasks_both = gradients(tasks, gains[0], 1);
  for (const int threads : {0, 2, 3, 8}) {
    CAPTURE(threads);
    CHECK(costs(task, gains, threads) == values);
    CHECK(costs(tasks, gains[0], threads) == of_tasks);
    const auto again = gradients(task, gains, threads);
    const auto of_tasks_again = gradients(tasks, gains[0], threads);
    int different = 0;
    for (std::size_t i = 0; i < again.size(); ++i) {
      if (!same(again[i], both[i]) || !same(of_tasks_again[i], of_tasks_both[i])) ++different;
    }
    CHECK(different == 0);
  }
}

TEST_CASE("whatever stands beside a gain, its cost and gradient keep their bits") {
  metalqr::Stream stream = test::stream(6);
  const std::vector<ClosedLoop> loops = mixed_closed_loops(stream);
  const Task task = any_closed_loop(3);
  std::vector<Backend::Gain> gains;
  for (const ClosedLoop& loop : loops) gains.push_back(test::gain(-1 * loop.F));
  std::vector<CostAndGradient<Backend>> alone;
  for (const auto& K : gains) alone.push_back(gradients(task, std::span(&K, 1))[0]);
  for (int shuffle = 0; shuffle < 200; ++shuffle) {
    std::vector<std::size_t> order;
    for (std::size_t i = 0; i < gains.size(); ++i) order.push_back(i);
    for (std::size_t i = order.size() - 1; i > 0; --i) {
      std::swap(order[i], order[static_cast<std::size_t>(stream.uniform(0, static_cast<double>(i + 1)))]);
    }
    std::vector<Backend::Gain> shuffled;
    for (const std::size_t i : order) shuffled.push_back(gains[i]);
    const auto both = gradients(task, shuffled);
    const auto values = costs(task, shuffled);
    for (std::size_t i = 0; i < order.size(); ++i) {
      if (!same(both[i], alone[order[i]]) || !same_bits(values[i], alone[order[i]].cost)) {
        CAPTURE(shuffle, i, order[i], values[i], alone[order[i]].cost);
        FAIL_CHECK("different bits");
      }
    }
  }
}

TEST_CASE("costs are infinite, and gradients NaN, exactly where the cost of the gain alone is infinite") {
  metalqr::Stream stream = test::stream(7);
  const Task task = any_closed_loop(3);
  const std::vector<ClosedLoop> loops = mixed_closed_loops(stream);
  std::vector<Backend::Gain> gains;
  for (const ClosedLoop& loop : loops) gains.push_back(test::gain(-1 * loop.F));
  const auto values = costs(task, gains);
  const auto both = gradients(task, gains);
  for (std::size_t i = 0; i < gains.size(); ++i) {
    CAPTURE(i);
    const double expected = cost(task, gains[i]);
    CHECK((expected < infinity) == loops[i].stable);
    CHECK(both[i].cost == values[i]);
    if (loops[i].stable) {
      CHECK(relative_error(values[i], expected) < 1e-12);
      for (const long double entry : dense(both[i].gradient).entries) CHECK(std::isfinite(entry));
    } else {
      CHECK(values[i] == infinity);
      CHECK(all_nan(dense(both[i].gradient)));
    }
  }
}

TEST_CASE("gains and tasks of the wrong shape are refused by name") {
  const auto task = test::make_task<Backend>(test::reference_cases()[0].task);
  const std::vector<Backend::Gain> gains{Backend::zero_gain(2, 4), Backend::zero_gain(2, 4),
                                         Backend::zero_gain(4, 2)};
  CHECK(message_of<metalqr::DimensionMismatch>([&] { costs(task, gains); }) ==
        "gains[2]: expected shape 2x4, got 4x2");
  CHECK(message_of<metalqr::DimensionMismatch>([&] { gradients(task, gains); }) ==
        "gains[2]: expected shape 2x4, got 4x2");
  const std::vector<Task> none;
  CHECK(message_of<metalqr::InvalidOption>([&] { costs(none, gains[0]); }) ==
        "tasks: expected at least one task, got an empty list");
  CHECK(message_of<metalqr::InvalidOption>([&] { gradients(none, gains[0]); }) ==
        "tasks: expected at least one task, got an empty list");
  const std::vector<Task> pair{task, task};
  CHECK(message_of<metalqr::DimensionMismatch>([&] { costs(pair, gains[2]); }) ==
        "gain: expected shape 2x4, got 4x2");
  CHECK(message_of<metalqr::DimensionMismatch>([&] { gradients(pair, gains[2]); }) ==
        "gain: expected shape 2x4, got 4x2");
  const std::vector<Task> mixed{task, any_closed_loop(3)};
  CHECK(message_of<metalqr::DimensionMismatch>([&] { costs(mixed, gains[0]); }) ==
        "tasks: expected B of shape 4x2 in every task, got 3x3 in task 1");
}
