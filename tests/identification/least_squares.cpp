#include <metalqr/identification/least_squares.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <metalqr/identification/experiment.hpp>
#include <metalqr/systems/plants.hpp>

#include "support.hpp"

using metalqr::InvalidOption;
using metalqr::RankDeficient;
using metalqr::StreamKey;
using metalqr::identification::collect;
using metalqr::identification::Dataset;
using metalqr::identification::Estimate;
using metalqr::identification::least_squares;
using metalqr::identification::LeastSquaresOptions;
using metalqr::identification::Rollout;
using metalqr::identification::Samples;
using test::Backend;
using test::dense;
using test::Dense;
using test::Index;
using test::relative_error;

namespace {

const StreamKey key{.seed = 21};

metalqr::Task<Backend> plant() {
  return metalqr::systems::laplacian_3<Backend>();
}

/// Regressors and targets, row by row, from the definition.
struct Rows {
  Dense Z, Y;

  explicit Rows(const Dataset<Backend>& data, Samples samples = Samples::all) {
    const Index nx = data.nx();
    const Index nu = data.nu();
    std::vector<std::pair<Index, Index>> used;
    for (Index i = 0; i < data.size(); ++i) {
      for (Index t = samples == Samples::last ? data.steps(i) - 1 : 0; t < data.steps(i); ++t) {
        used.emplace_back(i, t);
      }
    }
    Z = Dense(static_cast<Index>(used.size()), nx + nu);
    Y = Dense(static_cast<Index>(used.size()), nx);
    Index row = 0;
    for (const auto& [i, t] : used) {
      for (Index j = 0; j < nx; ++j) Z(row, j) = data[i].states(t, j);
      for (Index j = 0; j < nu; ++j) Z(row, nx + j) = data[i].inputs(t, j);
      for (Index j = 0; j < nx; ++j) Y(row, j) = data[i].states(t + 1, j);
      ++row;
    }
  }
  Dense information(double ridge) const { return transpose(Z) * Z + ridge * test::identity(Z.cols); }
  /// [A B]' by the normal equations in long double.
  Dense theta(double ridge) const { return test::solve(information(ridge), transpose(Z) * Y); }
};

Dense theta(const Estimate<Backend>& estimate) {
  Dense result(estimate.nx() + estimate.nu(), estimate.nx());
  for (Index i = 0; i < estimate.nx(); ++i) {
    for (Index j = 0; j < estimate.nx(); ++j) result(j, i) = estimate.A(i, j);
    for (Index j = 0; j < estimate.nu(); ++j) result(estimate.nx() + j, i) = estimate.B(i, j);
  }
  return result;
}

}  // namespace

TEST_CASE(
    "without noise the plant is recovered exactly, from all samples, the last ones, or one trajectory") {
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    metalqr::Stream stream = test::stream(31, seed);
    const auto problem = test::random_problem(4, 2, 0.95, stream);
    const auto task = test::make_task(problem.task);
    const auto run = [&](Index rollouts, Index horizon) {
      return collect(task, test::gain(problem.K), Backend::zero_state(4),
                     {.rollouts = rollouts, .horizon = horizon, .noise = 0}, {.seed = seed});
    };
    const auto many = run(20, 6);
    const auto one = run(1, 40);
    for (const auto& estimate :
         {least_squares(many), least_squares(many, {.samples = Samples::last}), least_squares(one)}) {
      CHECK(relative_error(dense(estimate.A), dense(task.A())) < 1e-11);
      CHECK(relative_error(dense(estimate.B), dense(task.B())) < 1e-11);
      CHECK(estimate.residual < 1e-11);
    }
  }
}

TEST_CASE("estimates, factors and residuals are those of the normal equations in long double") {
  for (const Samples samples : {Samples::all, Samples::last}) {
    for (const double ridge : {0.0, 1e-5, 3.0}) {
      metalqr::Stream stream = test::stream(32);
      const auto task = test::make_task(test::random_problem(3, 2, 0.9, stream).task);
      const auto data = collect(task, {.rollouts = 30, .horizon = 7}, key);
      const Estimate<Backend> estimate = least_squares(data, {.samples = samples, .ridge = ridge});
      const Rows rows(data, samples);
      CHECK(relative_error(theta(estimate), rows.theta(ridge)) < 1e-13);
      const Dense R = dense(estimate.factor);
      CHECK(relative_error(transpose(R) * R, rows.information(ridge)) < 1e-13);
      CHECK(relative_error(estimate.residual, norm(rows.Y - rows.Z * rows.theta(ridge))) < 1e-12);
      CHECK(estimate.transitions == rows.Z.rows);
      CHECK(estimate.ridge == ridge);
      CHECK(estimate.independent == (samples == Samples::last));
    }
  }
}

TEST_CASE("rollouts of one step are independent rows, and rollouts may differ in length") {
  // From x0 = 0, where the states are no regressors: only a ridge makes the estimate exist.
  CHECK(least_squares(collect(plant(), {.rollouts = 20, .horizon = 1}, key), {.ridge = 1}).independent);
  std::vector<Rollout<Backend>> rollouts;
  for (Index i = 0; i < 12; ++i) {
    const auto one =
        collect(plant(), {.rollouts = 1, .horizon = i + 1}, {.seed = static_cast<std::uint64_t>(i)});
    rollouts.push_back(one[0]);
  }
  const Dataset<Backend> data(rollouts);
  CHECK(relative_error(theta(least_squares(data)), Rows(data).theta(0)) < 1e-13);
}

TEST_CASE("the order of the rollouts does not matter") {
  const auto data = collect(plant(), {.rollouts = 25}, key);
  std::vector<Rollout<Backend>> reversed(data.rollouts().begin(), data.rollouts().end());
  std::reverse(reversed.begin(), reversed.end());
  CHECK(relative_error(theta(least_squares(Dataset<Backend>(reversed))), theta(least_squares(data))) < 1e-13);
}

TEST_CASE("a change of units changes the estimate accordingly and does not make it deficient") {
  const auto data = collect(plant(), {.rollouts = 25}, key);
  for (const double unit : {1e12, 1e-18}) {
    std::vector<Rollout<Backend>> scaled(data.rollouts().begin(), data.rollouts().end());
    for (auto& rollout : scaled) rollout.inputs *= unit;
    const auto estimate = least_squares(Dataset<Backend>(scaled));
    CHECK(relative_error(unit * dense(estimate.B), dense(least_squares(data).B)) < 1e-12);
    CHECK(relative_error(dense(estimate.A), dense(least_squares(data).A)) < 1e-12);
  }
}

TEST_CASE("data that do not determine the plant are refused with the smallest singular value") {
  const auto refused = [](const Dataset<Backend>& data, const LeastSquaresOptions& options = {}) {
    try {
      least_squares(data, options);
    } catch (const RankDeficient& error) {
      CHECK_THAT(error.what(),
                 Catch::Matchers::StartsWith("data: expected regressors (x, u) of full rank 6"));
      return error.smallest_singular_value();
    }
    FAIL("no exception");
    return 1.0;
  };
  // Too few transitions, no excitation, states that never leave zero, inputs that are a function of the
  // state.
  CHECK(refused(collect(plant(), {.rollouts = 5}, key), {.samples = Samples::last}) < 1e-15);
  CHECK(refused(collect(plant(), {.rollouts = 1, .horizon = 5}, key)) < 1e-15);
  CHECK(refused(collect(plant(), {.excitation = 0}, key)) == 0);
  CHECK(refused(collect(plant(), {.horizon = 1}, key)) == 0);
  Backend::Gain K = Backend::zero_gain(3, 3);
  K(0, 0) = K(1, 2) = K(2, 1) = 0.7;
  const auto feedback = collect(plant(), K, Backend::zero_state(3), {.excitation = 0}, key);
  CHECK(refused(feedback) < 1e-13);
  CHECK_NOTHROW(least_squares(feedback, {.ridge = 1e-3}));
  CHECK_NOTHROW(least_squares(collect(plant(), {.rollouts = 6}, key), {.samples = Samples::last}));
}

TEST_CASE("data whose squares overflow are refused as such") {
  const auto data = collect(plant(), {.rollouts = 25}, key);
  std::vector<Rollout<Backend>> huge(data.rollouts().begin(), data.rollouts().end());
  for (auto& rollout : huge) {
    rollout.states *= 1e200;
    rollout.inputs *= 1e200;
  }
  CHECK_THAT(test::message_of<metalqr::NotFinite>([&] { least_squares(Dataset<Backend>(huge)); }),
             Catch::Matchers::StartsWith("factor of the data's sums of squares: expected finite entries"));
}

TEST_CASE("bad ridges are refused by name") {
  const auto data = collect(plant(), {.rollouts = 6}, key);
  const auto refusal = [&](double ridge) {
    return test::message_of<InvalidOption>([&] { least_squares(data, {.ridge = ridge}); });
  };
  CHECK(refusal(-1) == "ridge: expected a finite number >= 0, got -1");
  CHECK(refusal(std::numeric_limits<double>::infinity()).find("ridge: ") == 0);
  CHECK(refusal(std::numeric_limits<double>::quiet_NaN()).find("ridge: ") == 0);
}

TEST_CASE("estimates in single and extended precision and with fixed sizes agree") {
  using Fixed = metalqr::EigenBackend<double, 3, 3>;
  using Long = metalqr::EigenBackend<long double>;
  const auto data = collect(plant(), {}, key);
  const auto reference = Rows(data).theta(0);
  const auto converted = [&]<class Other>(Other) {
    std::vector<Rollout<Other>> rollouts;
    for (Index i = 0; i < data.size(); ++i) {
      rollouts.push_back({test::filled(Other::zero_matrix(7, 3), dense(data[i].states)),
                          test::filled(Other::zero_matrix(6, 3), dense(data[i].inputs))});
    }
    const auto estimate = least_squares(Dataset<Other>(rollouts));
    Dense A(3, 3);
    for (Index i = 0; i < 3; ++i) {
      for (Index j = 0; j < 3; ++j) A(i, j) = reference(j, i);
    }
    return relative_error(dense<Other>(estimate.A), A);
  };
  CHECK(converted(Fixed{}) < 1e-14);
  CHECK(converted(Long{}) < 1e-16);
  CHECK(converted(metalqr::EigenBackend<float>{}) < 1e-5);
}
