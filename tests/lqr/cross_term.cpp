#include <metalqr/lqr/cross_term.hpp>

#include <cmath>
#include <cstdint>
#include <utility>

#include <metalqr/lqr/evaluation.hpp>
#include <metalqr/lqr/optimal_gain.hpp>

#include "support.hpp"

namespace {

using test::Backend;
using test::Dense;

/// A task with a cross term and a gain, made so that [Q N; N' R] is positive definite.
struct CrossProblem {
  test::DenseTask task;
  Dense N;
  Dense K;

  Dense P(const Dense& gain) const {
    const Dense NK = N * gain;
    return test::lyapunov(task.closed_loop(gain),
                          task.Q + test::transpose(gain) * task.R * gain - NK - test::transpose(NK));
  }
  long double cost(const Dense& gain) const { return test::inner(P(gain), task.Sigma0); }
};

CrossProblem random_cross_problem(metalqr::Index nx, metalqr::Index nu, std::uint64_t seed) {
  auto stream = test::stream(51, seed);
  auto [task, K] = test::random_problem(nx, nu, 0.9, stream);
  const Dense N = test::rounded(test::random_matrix(nx, nu, stream));
  // The Schur complement Q - N R^-1 N' is what Q was before.
  task.Q = test::rounded(task.Q + N * test::solve(task.R, test::transpose(N)));
  task.Q = 0.5L * (task.Q + test::transpose(task.Q));
  return {task, N, K};
}

/// P = Q - NK - K'N' + K'RK + F'PF with K = (R + B'PB)^-1(B'PA + N'), iterated to its fixed point.
std::pair<Dense, Dense> value_iteration(const CrossProblem& problem) {
  const auto& [A, B, Q, R, Sigma0] = problem.task;
  Dense P = Q;
  Dense K = problem.K;
  for (int step = 0; step < 20000; ++step) {
    K = test::solve(R + test::transpose(B) * P * B, test::transpose(B) * P * A + test::transpose(problem.N));
    const Dense F = A - B * K;
    const Dense NK = problem.N * K;
    const Dense next = Q - NK - test::transpose(NK) + test::transpose(K) * R * K + test::transpose(F) * P * F;
    const bool done = test::norm(next - P) <= 1e-18L * test::norm(P);
    P = 0.5L * (next + test::transpose(next));
    if (done) break;
  }
  return {P, K};
}

metalqr::CrossTermTask<Backend> made(const CrossProblem& problem) {
  return metalqr::with_cross_term(test::make_task(problem.task), test::input_matrix(problem.N));
}

}  // namespace

TEST_CASE("cost, P, Sigma and gradient at K are those of the equivalent task at the equivalent gain") {
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    const auto nx = static_cast<metalqr::Index>(1 + seed % 4);
    const auto nu = static_cast<metalqr::Index>(1 + seed % 3);
    const CrossProblem problem = random_cross_problem(nx, nu, seed);
    const auto equivalent = made(problem);
    const metalqr::Evaluation<Backend> at(equivalent.task, equivalent.equivalent_gain(test::gain(problem.K)));
    CHECK(test::relative_error(test::dense(at.F()), problem.task.closed_loop(problem.K)) < 1e-12);
    CHECK(test::relative_error(test::dense(at.P()), problem.P(problem.K)) < 1e-10);
    CHECK(test::relative_error(test::dense(at.Sigma()), problem.task.Sigma(problem.K)) < 1e-10);
    CHECK(test::relative_error(at.cost(), problem.cost(problem.K)) < 1e-10);
    // Central differences in long double: an error of about h^2 + epsilon/h.
    const long double h = 1e-6L;
    Dense gradient(nu, nx);
    for (metalqr::Index i = 0; i < nu; ++i) {
      for (metalqr::Index j = 0; j < nx; ++j) {
        Dense above = problem.K;
        Dense below = problem.K;
        above(i, j) += h;
        below(i, j) -= h;
        gradient(i, j) = (problem.cost(above) - problem.cost(below)) / (2 * h);
      }
    }
    CHECK(test::relative_error(test::dense(at.gradient()), gradient) < 1e-7);
  }
}

TEST_CASE("the Hessian's form at K is the second difference of the cost with cross term") {
  const CrossProblem problem = random_cross_problem(3, 2, 99);
  const auto equivalent = made(problem);
  const metalqr::Evaluation<Backend> at(equivalent.task, equivalent.equivalent_gain(test::gain(problem.K)));
  auto stream = test::stream(52);
  for (int trial = 0; trial < 5; ++trial) {
    const Dense X = test::random_matrix(2, 3, stream);
    const long double h = 1e-4L / test::norm(X);
    const long double second =
        (problem.cost(problem.K + h * X) - 2 * problem.cost(problem.K) + problem.cost(problem.K - h * X)) /
        (h * h);
    CHECK(test::relative_error(at.hessian_form(test::gain(X)), second) < 1e-5);
  }
}

TEST_CASE("the optimum of the equivalent task is that of value iteration with the cross term") {
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    const CrossProblem problem = random_cross_problem(3, 2, 200 + seed);
    const auto equivalent = made(problem);
    const auto optimal = metalqr::solve_dare(equivalent.task);
    const auto [P, K] = value_iteration(problem);
    CHECK(test::relative_error(test::dense(optimal.value), P) < 1e-10);
    CHECK(test::relative_error(test::dense(equivalent.original_gain(optimal.gain)), K) < 1e-10);
  }
}

TEST_CASE("gains go to the equivalent task and back, and a scalar plant has the offset N/R") {
  const auto task = test::make_task({{{0.5}}, {{1}}, {{1}}, {{2}}, {{1}}});
  const auto equivalent = metalqr::with_cross_term(task, test::input_matrix({{0.5}}));
  const Backend::Gain K = test::gain({{0.375}});
  // Dividing by R takes its square root.
  CHECK(test::relative_error(equivalent.offset(0, 0), 0.25) < 1e-15);
  CHECK(test::relative_error(equivalent.task.A()(0, 0), 0.25) < 1e-15);
  CHECK(test::relative_error(equivalent.task.Q()(0, 0), 0.875) < 1e-15);
  CHECK(test::relative_error(equivalent.equivalent_gain(K)(0, 0), 0.125) < 1e-15);
  CHECK(test::relative_error(equivalent.original_gain(equivalent.equivalent_gain(K))(0, 0), 0.375) < 1e-15);
  CHECK_THROWS_AS(equivalent.equivalent_gain(test::gain({{1, 2}})), metalqr::DimensionMismatch);
  CHECK_THROWS_AS(equivalent.original_gain(test::gain({{1}, {2}})), metalqr::DimensionMismatch);
}

TEST_CASE("without cross term the task stays as it is, to the bit") {
  auto stream = test::stream(53);
  const auto task = test::make_task(test::random_problem(4, 2, 0.9, stream).task);
  const auto equivalent = metalqr::with_cross_term(task, Backend::zero_input_matrix(4, 2));
  CHECK((equivalent.task.A() - task.A()).norm() == 0);
  CHECK((equivalent.task.Q() - task.Q()).norm() == 0);
  CHECK(equivalent.offset.norm() == 0);
}

TEST_CASE("a joint cost of deficient rank is fine: what rounding takes away is given back") {
  // Stage cost |C x + D u|^2 with as many outputs as inputs: Q - N R^-1 N' = 0 up to rounding.
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    auto stream = test::stream(54, seed);
    const auto nx = static_cast<metalqr::Index>(1 + seed % 5);
    const auto nu = static_cast<metalqr::Index>(1 + seed % 3);
    const Dense C = test::random_matrix(nu, nx, stream);
    const Dense D = test::random_matrix(nu, nu, stream) + 2 * test::identity(nu);
    const Dense A = test::random_with_radius(nx, 0.5, stream);
    const auto task = test::make_task({A, test::random_matrix(nx, nu, stream), test::transpose(C) * C,
                                       test::transpose(D) * D, test::identity(nx)});
    CHECK_NOTHROW(metalqr::with_cross_term(task, test::input_matrix(test::transpose(C) * D)));
  }
}

TEST_CASE("a cross term is refused by shape, by NaN and if the joint cost is indefinite") {
  const auto task = test::make_task({{{0.5}}, {{1}}, {{1}}, {{1}}, {{1}}});
  const auto with = [&](const Dense& N) {
    return [&task, N] { metalqr::with_cross_term(task, test::input_matrix(N)); };
  };
  CHECK(test::message_of<metalqr::DimensionMismatch>(with({{1, 2}})) == "N: expected shape 1x1, got 1x2");
  CHECK(test::message_of<metalqr::NotFinite>(with({{std::nan("")}})) ==
        "N: expected finite entries, got nan at (0, 0)");
  CHECK_THAT(test::message_of<metalqr::NotPositiveDefinite>(with({{1.5}})),
             Catch::Matchers::StartsWith("[Q N; N' R]: "));
  CHECK_NOTHROW(metalqr::with_cross_term(task, test::input_matrix({{1}})));
}
