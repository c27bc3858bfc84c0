#include <metalqr/identification/experiment.hpp>

#include <cmath>
#include <limits>

#include <metalqr/systems/plants.hpp>

#include "support.hpp"

using metalqr::InvalidOption;
using metalqr::StreamKey;
using metalqr::identification::collect;
using metalqr::identification::Dataset;
using metalqr::identification::ExperimentOptions;
using test::Backend;
using test::Dense;
using test::Index;
using Matrix = Backend::Matrix;

namespace {

const StreamKey key{.seed = 11};

metalqr::Task<Backend> plant() {
  return metalqr::systems::laplacian_3<Backend>();
}

bool same(const Dataset<Backend>& a, const Dataset<Backend>& b) {
  for (Index i = 0; i < a.size(); ++i) {
    if (a[i].states != b[i].states || a[i].inputs != b[i].inputs) return false;
  }
  return a.size() == b.size();
}

}  // namespace

TEST_CASE("without noise the states follow A, B, K and the recorded inputs") {
  metalqr::Stream stream = test::stream(1);
  const auto task = test::make_task(test::random_problem(3, 2, 0.9, stream).task);
  const Backend::Gain K = test::gain(test::random_matrix(2, 3, stream));
  const Backend::StateVector x0 = test::state_vector(test::random_matrix(3, 1, stream));
  const auto data = collect(task, K, x0, {.rollouts = 4, .horizon = 5, .excitation = 0.5, .noise = 0}, key);
  REQUIRE(data.size() == 4);
  for (Index i = 0; i < 4; ++i) {
    const Dense X = test::dense(data[i].states);
    const Dense U = test::dense(data[i].inputs);
    REQUIRE(X.rows == 6);
    REQUIRE(U.rows == 5);
    for (Index j = 0; j < 3; ++j) CHECK(X(0, j) == x0(j, 0));
    for (Index t = 0; t < 5; ++t) {
      const auto row = [](const Dense& Y, Index r) {
        Dense column(Y.cols, 1);
        for (Index j = 0; j < Y.cols; ++j) column(j, 0) = Y(r, j);
        return column;
      };
      const Dense expected = test::dense(task.A()) * row(X, t) + test::dense(task.B()) * row(U, t);
      CHECK(test::relative_error(row(X, t + 1), expected) < 1e-14);
    }
  }
}

TEST_CASE("without excitation the inputs are the feedback's") {
  metalqr::Stream stream = test::stream(2);
  const auto task = test::make_task(test::random_problem(3, 2, 0.9, stream).task);
  const Backend::Gain K = test::gain(test::random_matrix(2, 3, stream));
  const auto data =
      collect(task, K, Backend::zero_state(3), {.rollouts = 2, .horizon = 4, .excitation = 0}, key);
  const Dense X = test::dense(data[1].states);
  const Dense U = test::dense(data[1].inputs);
  Dense before(4, 3);
  for (Index t = 0; t < 4; ++t) {
    for (Index j = 0; j < 3; ++j) before(t, j) = X(t, j);
  }
  CHECK(test::relative_error(U, -1.0L * (before * test::transpose(test::dense(K)))) < 1e-14);
}

// Each of the six sums of squares over 20000 rollouts is within 5 standard deviations with probability 1 -
// 6e-7 (fourth moments of a normal); the mixed one likewise.
TEST_CASE("inputs and noise have the stated standard deviations and are independent; false alarm 5e-6") {
  const Index count = 20000;
  const auto data = collect(plant(), {.rollouts = count, .horizon = 1, .excitation = 2, .noise = 0.5}, key);
  double inputs = 0;
  double noise = 0;
  double mixed = 0;
  for (Index i = 0; i < count; ++i) {
    for (Index j = 0; j < 3; ++j) {
      const double u = data[i].inputs(0, j);
      const double w = data[i].states(1, j) - u;  // x0 = 0, B = I
      inputs += u * u / 4;
      noise += w * w / 0.25;
      mixed += u * w;
    }
  }
  const double n = 3 * static_cast<double>(count);
  CHECK(std::abs(inputs / n - 1) < 5 * std::sqrt(2 / n));
  CHECK(std::abs(noise / n - 1) < 5 * std::sqrt(2 / n));
  CHECK(std::abs(mixed / n) < 5 * std::sqrt(1 / n));
}

TEST_CASE("data depend on the key alone, and a rollout not on how many there are") {
  const ExperimentOptions options{.rollouts = 20};
  const auto data = collect(plant(), options, key, 1);
  CHECK(same(data, collect(plant(), options, key, 2)));
  CHECK(same(data, collect(plant(), options, key, 7)));
  CHECK_FALSE(same(data, collect(plant(), options, {.seed = 12}, 1)));
  const auto more = collect(plant(), {.rollouts = 30}, key);
  CHECK(more[19].states == data[19].states);
  CHECK(data[0].inputs != data[1].inputs);
}

TEST_CASE("bad experiments are refused by name") {
  const auto refusal = [](const ExperimentOptions& options) {
    return test::message_of<InvalidOption>([&] { collect(plant(), options); });
  };
  CHECK(refusal({.rollouts = 0}) == "rollouts: expected at least 1, got 0");
  CHECK(refusal({.horizon = 0}) == "horizon: expected at least 1, got 0");
  CHECK(refusal({.excitation = -1}) == "excitation: expected a finite number >= 0, got -1");
  CHECK(refusal({.noise = -0.5}) == "noise: expected a finite number >= 0, got -0.5");
  CHECK(refusal({.noise = std::numeric_limits<double>::quiet_NaN()}).find("noise: ") == 0);
  CHECK(refusal({.excitation = std::numeric_limits<double>::infinity()}).find("excitation: ") == 0);
  CHECK(test::message_of<metalqr::DimensionMismatch>([] {
          collect(plant(), Backend::zero_gain(2, 3), Backend::zero_state(3));
        }) == "K: expected shape 3x3, got 2x3");
  CHECK(test::message_of<metalqr::DimensionMismatch>([] {
          collect(plant(), Backend::zero_gain(3, 3), Backend::zero_state(2));
        }) == "x0: expected shape 3x1, got 2x1");
  Backend::StateVector x0 = Backend::zero_state(3);
  x0(2) = std::numeric_limits<double>::quiet_NaN();
  CHECK(test::message_of<metalqr::NotFinite>([&] {
          collect(plant(), Backend::zero_gain(3, 3), x0);
        }).find("x0: ") == 0);
}

TEST_CASE("a rollout that overflows is named") {
  Backend::Gain K = Backend::zero_gain(3, 3);
  K(0, 0) = 1e3;
  CHECK(test::message_of<metalqr::NotFinite>([&] {
          collect(plant(), K, Backend::zero_state(3), {.rollouts = 1, .horizon = 200}, key);
        }).find("rollouts[0].states: ") == 0);
}
