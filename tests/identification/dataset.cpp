#include <metalqr/identification/dataset.hpp>

#include <limits>
#include <string>
#include <vector>

#include "support.hpp"

using metalqr::DimensionMismatch;
using metalqr::NotFinite;
using metalqr::identification::Dataset;
using metalqr::identification::Rollout;
using metalqr::identification::split_rollouts;
using test::Backend;
using test::Dense;
using test::Index;
using Matrix = Backend::Matrix;

namespace {

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

Matrix matrix(const Dense& values) {
  return test::filled(Backend::zero_matrix(values.rows, values.cols), values);
}

Rollout<Backend> ones(Index steps, Index nx = 2, Index nu = 1) {
  return {Matrix::Ones(steps + 1, nx), Matrix::Ones(steps, nu)};
}

}  // namespace

TEST_CASE("a dataset holds rollouts of different lengths") {
  const Dataset<Backend> data({ones(3), ones(1), ones(5)});
  CHECK(data.nx() == 2);
  CHECK(data.nu() == 1);
  CHECK(data.size() == 3);
  CHECK(data.steps(0) == 3);
  CHECK(data.steps(2) == 5);
  CHECK(data.transitions() == 9);
  CHECK(data.rollouts().size() == 3);
}

TEST_CASE("a dataset refuses missing, misshapen and NaN data by rollout and row") {
  const auto refusal = [](std::vector<Rollout<Backend>> rollouts) {
    return test::message_of<DimensionMismatch>([&] { Dataset<Backend> data(std::move(rollouts)); });
  };
  CHECK(refusal({}) == "rollouts: expected at least one, got none");
  CHECK(refusal({ones(2), ones(0)}) == "rollouts[1].states: expected at least two rows (one step), got 1");
  CHECK(refusal({ones(2), ones(3, 3)}) == "rollouts[1].states: expected shape 4x2, got 4x3");
  CHECK(refusal({ones(2), ones(3, 2, 2)}) == "rollouts[1].inputs: expected shape 3x1, got 3x2");
  CHECK(refusal({{Matrix::Ones(3, 2), Matrix::Ones(3, 1)}}) ==
        "rollouts[0].inputs: expected shape 2x1, got 3x1");
  CHECK(refusal({ones(2, 0)}).find("rollouts[0].states") == 0);
  CHECK(refusal({ones(2, 2, 0)}).find("rollouts[0].inputs") == 0);
  std::vector<Rollout<Backend>> rollouts{ones(2), ones(4)};
  rollouts[1].states(3, 1) = not_a_number;
  CHECK(test::message_of<NotFinite>([&] { Dataset<Backend> data(rollouts); }) ==
        "rollouts[1].states: expected finite entries, got nan at (3, 1)");
  rollouts = {ones(2), ones(4)};
  rollouts[0].inputs(1, 0) = -std::numeric_limits<double>::infinity();
  CHECK(test::message_of<NotFinite>([&] { Dataset<Backend> data(rollouts); }) ==
        "rollouts[0].inputs: expected finite entries, got -inf at (1, 0)");
}

TEST_CASE("a table is cut where the number of the rollout changes") {
  const Matrix states = matrix({{1, 10}, {2, 20}, {3, 30}, {4, 40}, {5, 50}});
  const Matrix inputs = matrix({{0.1}, {0.2}, {not_a_number}, {0.4}, {not_a_number}});
  const std::vector<Index> rollouts{7, 7, 7, 3, 3};
  const auto data = split_rollouts<Backend>(states, inputs, rollouts);
  REQUIRE(data.size() == 2);
  CHECK(data[0].states == states.topRows(3));
  CHECK(data[0].inputs == inputs.topRows(2));
  CHECK(data[1].states == states.bottomRows(2));
  CHECK(data[1].inputs(0, 0) == 0.4);
  const auto whole = split_rollouts<Backend>(states, Matrix::Ones(5, 2));
  CHECK(whole.size() == 1);
  CHECK(whole.transitions() == 4);
}

TEST_CASE("a bad table is refused by the row") {
  Matrix states = Matrix::Ones(4, 2);
  Matrix inputs = Matrix::Ones(4, 1);
  const std::vector<Index> rollouts{0, 0, 1, 1};
  const auto split = [&](const std::vector<Index>& numbers) {
    split_rollouts<Backend>(states, inputs, numbers);
  };
  CHECK(test::message_of<DimensionMismatch>([&] {
          split({0, 0, 1});
        }) == "rollout_of_row: expected one number for each of 4 rows, got 3");
  CHECK(test::message_of<DimensionMismatch>([&] {
          split({0, 0, 0, 1});
        }) == "rollout_of_row: expected at least two rows for each rollout, got only row 3 for rollout 1");
  inputs(2, 0) = not_a_number;
  CHECK_THAT(test::message_of<NotFinite>([&] { split(rollouts); }),
             Catch::Matchers::ContainsSubstring("inputs, row 2"));
  inputs(2, 0) = 1;
  states(1, 1) = not_a_number;
  CHECK(test::message_of<NotFinite>([&] { split(rollouts); }) ==
        "states: expected finite entries, got nan at (1, 1)");
  states(1, 1) = 1;
  inputs = Matrix::Ones(3, 1);
  CHECK(test::message_of<DimensionMismatch>([&] { split(rollouts); }) ==
        "inputs: expected shape 4x1, got 3x1");
  states = Matrix::Ones(0, 2);
  CHECK(test::message_of<DimensionMismatch>([&] { split(rollouts); }).find("states: ") == 0);
}
