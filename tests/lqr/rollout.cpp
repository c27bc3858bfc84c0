#include <metalqr/lqr/rollout.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "support.hpp"

namespace {

using test::Backend;
using test::dense;
using test::Dense;
using test::DenseTask;
using test::Index;
using test::message_of;
using test::relative_error;
using GaussianState = metalqr::GaussianState<Backend>;
using Task = metalqr::Task<Backend>;

const double infinity = std::numeric_limits<double>::infinity();

/// A double integrator with small integers, so that two steps can be done by hand.
DenseTask by_hand() {
  return {{{1, 1}, {0, 1}}, {{0}, {1}}, {{1, 0}, {0, 2}}, {{3}}, {{1, 0}, {0, 1}}};
}

/// Sum over t < horizon of tr((Q + K'RK) X_t) with X_0 = Sigma0, X_{t+1} = F X_t F'.
long double truncated_cost(const DenseTask& task, const Dense& K, Index horizon) {
  const Dense F = task.closed_loop(K);
  const Dense stage = task.Q + transpose(K) * task.R * K;
  Dense X = task.Sigma0;
  long double sum = 0;
  for (Index t = 0; t < horizon; ++t) {
    sum += inner(stage, X);
    X = F * X * transpose(F);
  }
  return sum;
}

}  // namespace

TEST_CASE("a rollout of a small example is the one by hand") {
  const Task task = test::make_task<Backend>(by_hand());
  // u = -(x1 + 2 x2): x0 = (1, 2), u0 = -5; x1 = (3, -3), u1 = 3; x2 = (0, 0).
  const auto run = metalqr::rollout(task, test::gain({{1, 2}}), test::state_vector({{1}, {2}}), 2);
  REQUIRE(run.states.size() == 3);
  REQUIRE(run.inputs.size() == 2);
  CHECK(relative_error(dense(run.states[0]), {{1}, {2}}) == 0);
  CHECK(relative_error(dense(run.states[1]), {{3}, {-3}}) == 0);
  CHECK(relative_error(dense(run.states[2]), {{0}, {0}}) == 0);
  CHECK(run.inputs[0](0, 0) == -5);
  CHECK(run.inputs[1](0, 0) == 3);
  // 1 + 2 4 + 3 25 and 9 + 2 9 + 3 9.
  CHECK(run.cost == 84 + 54);
}

TEST_CASE("the noise of a rollout enters after the step with its index") {
  const Task task = test::make_task<Backend>(by_hand());
  std::vector<Index> asked;
  const auto noise = [&](Index t) {
    asked.push_back(t);
    return test::state_vector({{static_cast<double>(t + 1)}, {0.5}});
  };
  const auto run = metalqr::rollout(task, test::gain({{1, 2}}), test::state_vector({{1}, {2}}), 3, noise);
  CHECK(asked == std::vector<Index>{0, 1, 2});
  // x1 = (3, -3) + (1, 0.5), u1 = 1; x2 = (1.5, -1.5) + (2, 0.5), u2 = -1.5; x3 = (2.5, -2.5) + (3, 0.5).
  CHECK(relative_error(dense(run.states[1]), {{4}, {-2.5}}) == 0);
  CHECK(relative_error(dense(run.states[2]), {{3.5}, {-1}}) == 0);
  CHECK(relative_error(dense(run.states[3]), {{5.5}, {-2}}) == 0);
  CHECK(run.cost == 84 + (16 + 12.5 + 3) + (12.25 + 2 + 6.75));
  CHECK(metalqr::rollout_cost(task, test::gain({{1, 2}}), test::state_vector({{1}, {2}}), 3, noise) ==
        run.cost);
}

TEST_CASE("the cost of a rollout is the sum over its states and inputs") {
  metalqr::Stream stream = test::stream(1);
  for (int sample = 0; sample < 30; ++sample) {
    const auto [task, K] =
        test::random_problem(1 + sample % 6, 1 + sample % 3, stream.uniform(0.3, 1.1), stream);
    const Dense x0 = test::random_matrix(K.cols, 1, stream);
    const std::vector<Dense> noises(40, test::random_matrix(K.cols, 1, stream));
    const auto noise = [&](Index t) { return test::state_vector(noises[static_cast<std::size_t>(t)]); };
    const Task from = test::make_task<Backend>(task);
    const auto run = metalqr::rollout(from, test::gain(K), test::state_vector(x0), 40, noise);
    Dense x = x0;
    long double sum = 0;
    for (std::size_t t = 0; t < 40; ++t) {
      const Dense u = -1.0L * (K * x);
      sum += inner(x, task.Q * x) + inner(u, task.R * u);
      CHECK(relative_error(dense(run.inputs[t]), u, norm(K) * norm(x)) < 1e-12);
      x = task.A * x + task.B * u + noises[t];
    }
    CHECK(relative_error(dense(run.states.back()), x) < 1e-11);
    CHECK(relative_error(run.cost, sum) < 1e-11);
    CHECK(relative_error(metalqr::rollout_cost(from, test::gain(K), test::state_vector(x0), 40, noise), sum) <
          1e-11);
  }
}

TEST_CASE("the finite-horizon cost is the sum of the first steps, from one on") {
  metalqr::Stream stream = test::stream(2);
  for (int sample = 0; sample < 30; ++sample) {
    const auto [task, K] =
        test::random_problem(1 + sample % 6, 1 + sample % 3, stream.uniform(0.3, 1.2), stream);
    const Task from = test::make_task<Backend>(task);
    for (const Index horizon : {1, 2, 3, 10, 50}) {
      CHECK(relative_error(metalqr::finite_horizon_cost(from, test::gain(K), horizon),
                           truncated_cost(task, K, horizon)) < 1e-11);
    }
  }
}

TEST_CASE("the finite-horizon cost is the mean of rollouts over a basis of initial states") {
  // Sigma0 = L L': the sum of the costs from the columns of L.
  metalqr::Stream stream = test::stream(3);
  auto [task, K] = test::random_problem(4, 2, 0.9, stream);
  const Dense L = test::random_matrix(4, 4, stream);
  task.Sigma0 = L * transpose(L);
  const Task from = test::make_task<Backend>(task);
  double sum = 0;
  for (Index j = 0; j < 4; ++j) {
    Dense column(4, 1);
    for (Index i = 0; i < 4; ++i) column(i, 0) = L(i, j);
    sum += metalqr::rollout(from, test::gain(K), test::state_vector(column), 25).cost;
  }
  CHECK(relative_error(metalqr::finite_horizon_cost(from, test::gain(K), 25), sum) < 1e-12);
}

TEST_CASE("the finite-horizon cost rises to the cost at the rate rho^2") {
  metalqr::Stream stream = test::stream(4);
  for (const double rho : {0.5, 0.9, 0.97}) {
    // One real eigenvalue dominates: the tail falls by rho^2 a step.
    const Dense v = test::random_matrix(3, 1, stream);
    const Dense U = test::identity(3) - (2 / inner(v, v)) * (v * transpose(v));
    const DenseTask task{U * Dense{{rho, 0.5, 0}, {0, 0.1, 0.2}, {0, 0, -0.05}} * transpose(U),
                         {{1}, {0}, {1}},
                         test::random_definite(3, stream),
                         {{1}},
                         test::random_definite(3, stream)};
    const Task from = test::make_task<Backend>(task);
    const Backend::Gain zero = Backend::zero_gain(1, 3);
    const double full = metalqr::cost(from, zero);
    double last = 0;
    for (Index horizon = 1; horizon < 40; ++horizon) {
      const double now = metalqr::finite_horizon_cost(from, zero, horizon);
      CHECK(now >= last);
      CHECK(now <= full * (1 + 1e-14));
      last = now;
    }
    // Over four steps from where the other eigenvalues are gone.
    const double early = full - metalqr::finite_horizon_cost(from, zero, 12);
    const double late = full - metalqr::finite_horizon_cost(from, zero, 16);
    CHECK(std::abs(late / early / std::pow(rho, 8) - 1) < 1e-4);
  }
}

TEST_CASE("the truncation bound holds on random tasks and horizons") {
  metalqr::Stream stream = test::stream(5);
  int violated = 0;
  for (int sample = 0; sample < 300; ++sample) {
    const auto [task, K] =
        test::random_problem(1 + sample % 6, 1 + sample % 3, stream.uniform(0.1, 0.98), stream);
    const Task from = test::make_task<Backend>(task);
    const long double full = task.cost(K);
    for (const Index horizon : {0, 1, 2, 5, 20, 100}) {
      const long double tail = full - truncated_cost(task, K, horizon);
      const double bound = metalqr::truncation_bound(from, test::gain(K), horizon);
      if (!(tail <= bound * (1 + 1e-12L) + 1e-15L * full)) ++violated;
    }
  }
  CHECK(violated == 0);
}

TEST_CASE("the truncation bound is attained by scalar plants") {
  metalqr::Stream stream = test::stream(6);
  for (int sample = 0; sample < 50; ++sample) {
    const double f = stream.uniform(-0.98, 0.98);
    const double k = stream.normal();
    const DenseTask task{
        {{f + 2 * k}}, {{2}}, {{stream.uniform(0.1, 3)}}, {{0.5}}, {{stream.uniform(0.1, 3)}}};
    const Task from = test::make_task<Backend>(task);
    for (const Index horizon : {0, 1, 3, 10}) {
      const double tail =
          metalqr::cost(from, test::gain({{k}})) * std::pow(f * f, static_cast<double>(horizon));
      CHECK(relative_error(metalqr::truncation_bound(from, test::gain({{k}}), horizon), tail) < 1e-9);
    }
  }
}

TEST_CASE("the truncation bound loses no more than the norms' factors on a normal plant") {
  // F = f I, stage cost I, n states: 1/|I|_F and |P|_F each lose sqrt(n), the decay becomes 1 - (1 - f^2)/n.
  const DenseTask task{0.9L * test::identity(3), Dense(3, 1), test::identity(3), {{1}}, test::identity(3)};
  const Task from = test::make_task<Backend>(task);
  for (const Index horizon : {1, 10, 50}) {
    const double expected = 3 / (1 - 0.81) * std::pow(1 - (1 - 0.81) / 3, static_cast<double>(horizon));
    CHECK(relative_error(metalqr::truncation_bound(from, Backend::zero_gain(1, 3), horizon), expected) <
          1e-12);
  }
}

TEST_CASE("the truncation bound is the cost where the stage cost is singular") {
  const DenseTask task{0.5L * test::identity(2), {{0}, {1}}, {{1, 0}, {0, 0}}, {{1}}, test::identity(2)};
  const Task from = test::make_task<Backend>(task);
  CHECK(metalqr::truncation_bound(from, Backend::zero_gain(1, 2), 100) ==
        metalqr::cost(from, Backend::zero_gain(1, 2)));
}

TEST_CASE(
    "a destabilising gain has finite costs over short horizons and an infinite one on overflow, not NaN") {
  metalqr::Stream stream = test::stream(7);
  const auto [task, K] = test::random_problem(4, 2, 3, stream);
  const Task from = test::make_task<Backend>(task);
  const Backend::StateVector x0 = test::state_vector(test::random_matrix(4, 1, stream));
  const Backend::StateVector still = Backend::zero_state(4);
  const auto no_noise = [&](Index) -> const Backend::StateVector& { return still; };
  CHECK(relative_error(metalqr::finite_horizon_cost(from, test::gain(K), 60), truncated_cost(task, K, 60)) <
        1e-11);
  CHECK(std::isfinite(metalqr::rollout(from, test::gain(K), x0, 60).cost));
  // Around the horizons at which the numbers overflow (3^(2t) = 1.8e308 at t = 323).
  for (Index horizon = 300; horizon < 700; ++horizon) {
    CHECK(metalqr::finite_horizon_cost(from, test::gain(K), horizon) > 1e100);
    CHECK(metalqr::rollout_cost(from, test::gain(K), x0, horizon, no_noise) > 1e100);
  }
  CHECK(metalqr::finite_horizon_cost(from, test::gain(K), 5000) == infinity);
  CHECK(metalqr::rollout_cost(from, test::gain(K), x0, 5000, no_noise) == infinity);
  CHECK_THROWS_AS(metalqr::truncation_bound(from, test::gain(K), 10), metalqr::NotStabilizing);
}

TEST_CASE("a Gaussian state has its mean, covariance and second moment") {
  const Dense mean{{1}, {-2}, {0.5}};
  const Dense covariance{{2, 0.5, 0}, {0.5, 1, 0.3}, {0, 0.3, 0.5}};
  const GaussianState x(test::state_vector(mean), test::state_matrix(covariance));
  CHECK(relative_error(dense(x.mean()), mean) == 0);
  CHECK(relative_error(dense(x.covariance()), covariance) == 0);
  CHECK(relative_error(dense(x.second_moment()), covariance + mean * transpose(mean)) < 1e-15);
  const GaussianState centred(test::state_matrix(covariance));
  CHECK(relative_error(dense(centred.mean()), Dense(3, 1)) == 0);
}

TEST_CASE("samples of a Gaussian state have its mean and covariance") {
  // Nine statistics of 50000 samples, each beyond five standard deviations with probability 6e-7. Of a
  // product of centred normals the variance is c_ii c_jj + c_ij^2.
  const Dense mean{{1}, {-2}, {0.5}};
  const Dense covariance{{2, 0.5, -0.3}, {0.5, 1, 0.3}, {-0.3, 0.3, 0.5}};
  const GaussianState x(test::state_vector(mean), test::state_matrix(covariance));
  metalqr::Stream stream = test::stream(8);
  const int count = 50000;
  Dense sum(3, 1);
  Dense products(3, 3);
  for (int i = 0; i < count; ++i) {
    const Dense centred = dense(x.sample(stream)) - mean;
    sum = sum + centred;
    products = products + centred * transpose(centred);
  }
  const long double root = std::sqrt(static_cast<long double>(count));
  for (Index i = 0; i < 3; ++i) {
    CHECK(std::abs(sum(i, 0) / root) < 5 * std::sqrt(covariance(i, i)));
    for (Index j = 0; j <= i; ++j) {
      const long double deviation = (products(i, j) - count * covariance(i, j)) / root;
      CHECK(std::abs(deviation) <
            5 * std::sqrt(covariance(i, i) * covariance(j, j) + covariance(i, j) * covariance(i, j)));
    }
  }
}

TEST_CASE("samples depend on the stream alone") {
  const GaussianState x(test::state_matrix({{2, 0.5}, {0.5, 1}}));
  metalqr::Stream first = test::stream(9, 3);
  metalqr::Stream second = test::stream(9, 3);
  CHECK(relative_error(dense(x.sample(first)), dense(x.sample(second))) == 0);
  CHECK(relative_error(dense(x.sample(first)), dense(x.sample(second))) == 0);
}

TEST_CASE("a singular covariance gives samples in its range, a zero covariance the mean") {
  metalqr::Stream stream = test::stream(10);
  // Range spanned by (1, 2, 3) and (0, 1, -1): orthogonal to (5, -1, -1).
  const Dense L{{1, 0}, {2, 1}, {3, -1}};
  const GaussianState flat(test::state_matrix(L * transpose(L)));
  bool moved = false;
  for (int i = 0; i < 100; ++i) {
    const Dense x = dense(flat.sample(stream));
    // A lost pivot leaves the square root of rounding.
    CHECK(std::abs(5 * x(0, 0) - x(1, 0) - x(2, 0)) <= 1e-6L * norm(x));
    moved = moved || norm(x) > 0.1;
  }
  CHECK(moved);
  const Dense mean{{1}, {2}};
  const GaussianState fixed(test::state_vector(mean), Backend::zero_state_matrix(2));
  CHECK(relative_error(dense(fixed.sample(stream)), mean) == 0);
  // The published initial state: all components nearly equal.
  const GaussianState published(test::state_matrix({{1e-6, 0}, {0, 0}}));
  const Dense x = dense(published.sample(stream));
  CHECK(x(1, 0) == 0);
  CHECK(x(0, 0) != 0);
}

TEST_CASE("small variances beside large ones are kept") {
  // Standard deviations 1e6, 1 and 1e-6: the states of a plant in unlike units.
  metalqr::Stream stream = test::stream(11);
  const GaussianState x(test::state_matrix({{1e12, 0, 0}, {0, 1, 0}, {0, 0, 1e-12}}));
  long double small = 0;
  const int count = 2000;
  for (int i = 0; i < count; ++i) {
    const Dense sample = dense(x.sample(stream));
    small += sample(2, 0) * sample(2, 0) * 1e12L / count;
  }
  // The variance of a squared normal is 2: beyond five standard deviations with probability 6e-7.
  CHECK(std::abs(small - 1) < 5 * std::sqrt(2.0L / count));
}

TEST_CASE("bad arguments of a Gaussian state are refused by name") {
  const auto refusal = [](auto kind, const Dense& mean, const Dense& covariance) {
    return message_of<decltype(kind)>(
        [&] { GaussianState(test::state_vector(mean), test::state_matrix(covariance)); });
  };
  const double not_a_number = std::numeric_limits<double>::quiet_NaN();
  CHECK(refusal(metalqr::DimensionMismatch(""), Dense(2, 1), test::identity(3)) ==
        "covariance: expected shape 2x2, got 3x3");
  CHECK(refusal(metalqr::NotFinite(""), {{1}, {infinity}}, test::identity(2)) ==
        "mean: expected finite entries, got inf at (1, 0)");
  CHECK(refusal(metalqr::NotFinite(""), Dense(2, 1), {{not_a_number, 0}, {0, 1}})
            .rfind("covariance: expected finite entries, got ", 0) == 0);
  CHECK(refusal(metalqr::NotFinite(""), Dense(2, 1), {{1, infinity}, {infinity, 1}})
            .rfind("covariance: expected finite entries, got inf", 0) == 0);
  CHECK(refusal(metalqr::NotPositiveDefinite(""), Dense(2, 1), {{1, 2}, {2, 1}})
            .rfind("covariance: expected a positive semidefinite matrix, got pivot ", 0) == 0);
  CHECK(refusal(metalqr::NotPositiveDefinite(""), Dense(2, 1), {{1, 0.5}, {0, 1}})
            .rfind("covariance: expected a symmetric matrix, got ", 0) == 0);
}

TEST_CASE("bad arguments of rollouts are refused by name") {
  const Task task = test::make_task<Backend>(by_hand());
  const Backend::Gain K = test::gain({{1, 2}});
  const Backend::Gain wrong = Backend::zero_gain(2, 1);
  const Backend::Gain bad = test::gain({{1, infinity}});
  const Backend::StateVector x0 = test::state_vector({{1}, {2}});
  CHECK(message_of<metalqr::DimensionMismatch>([&] { metalqr::rollout(task, wrong, x0, 5); }) ==
        "K: expected shape 1x2, got 2x1");
  CHECK(message_of<metalqr::NotFinite>([&] { metalqr::rollout(task, bad, x0, 5); }) ==
        "K: expected finite entries, got inf at (0, 1)");
  CHECK(message_of<metalqr::DimensionMismatch>([&] {
          metalqr::rollout(task, K, test::state_vector(Dense(3, 1)), 5);
        }) == "x0: expected shape 2x1, got 3x1");
  CHECK(message_of<metalqr::NotFinite>([&] {
          metalqr::rollout(task, K, test::state_vector({{1}, {infinity}}), 5);
        }) == "x0: expected finite entries, got inf at (1, 0)");
  for (const Index horizon : {0, -3}) {
    CHECK(message_of<metalqr::InvalidOption>([&] {
            metalqr::rollout(task, K, x0, horizon);
          }).rfind("horizon: expected at least 1, got ", 0) == 0);
    CHECK(message_of<metalqr::InvalidOption>([&] {
            metalqr::finite_horizon_cost(task, K, horizon);
          }).rfind("horizon: expected at least 1, got ", 0) == 0);
  }
  CHECK(message_of<metalqr::InvalidOption>([&] { metalqr::truncation_bound(task, K, -1); }) ==
        "horizon: expected a number >= 0, got -1");
  CHECK(message_of<metalqr::DimensionMismatch>([&] { metalqr::finite_horizon_cost(task, wrong, 5); }) ==
        "K: expected shape 1x2, got 2x1");
  CHECK(message_of<metalqr::NotFinite>([&] { metalqr::finite_horizon_cost(task, bad, 5); }) ==
        "K: expected finite entries, got inf at (0, 1)");
  CHECK(message_of<metalqr::DimensionMismatch>([&] { metalqr::truncation_bound(task, wrong, 5); }) ==
        "K: expected shape 1x2, got 2x1");
}
