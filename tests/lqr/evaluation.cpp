#include <metalqr/lqr/evaluation.hpp>

#include <cmath>
#include <vector>

#include "problems.hpp"
#include "support.hpp"

namespace {

using metalqr::EigenBackend;
using test::Backend;
using test::dense;
using test::Dense;
using test::DenseTask;
using test::Index;
using test::published_start;
using test::random_problems;
using test::ReferenceCase;
using test::relative_error;
using Evaluation = metalqr::Evaluation<Backend>;
using Task = metalqr::Task<Backend>;

/// Derivative of `function` of a real number at zero, with an error of order step^4.
template <class Function>
Dense derivative(const Function& function, long double step) {
  return (1 / (12 * step)) *
         (8 * (function(step) - function(-step)) - (function(2 * step) - function(-2 * step)));
}

Dense as_dense(long double value) {
  Dense x(1, 1);
  x(0, 0) = value;
  return x;
}

}  // namespace

TEST_CASE("the reference covers twelve cases") {
  CHECK(test::reference_cases().size() == 12);
}

TEST_CASE("the cost is that of a linear solve with the Kronecker product") {
  for (const auto& [task, K] : random_problems(60, 0.99, 1)) {
    const Task from = test::make_task<Backend>(task);
    const Evaluation at(from, test::gain(K));
    CHECK(relative_error(dense(at.P()), task.P(K)) < 1e-11);
    CHECK(relative_error(dense(at.Sigma()), task.Sigma(K)) < 1e-11);
    CHECK(relative_error(at.cost(), task.cost(K)) < 1e-11);
    CHECK(relative_error(dense(at.E()), task.E(K), norm(task.R * K)) < 1e-10);
  }
}

TEST_CASE("the gradient is the derivative of the cost, by finite differences") {
  for (const auto& [task, K] : random_problems(36, 0.95, 2)) {
    Dense slope(K.rows, K.cols);
    for (Index i = 0; i < K.rows; ++i) {
      for (Index j = 0; j < K.cols; ++j) {
        const auto shifted = [&, &task = task, &K = K](long double t) {
          Dense there = K;
          there(i, j) += t;
          return as_dense(task.cost(there));
        };
        slope(i, j) = derivative(shifted, 1e-5L)(0, 0);
      }
    }
    const Task from = test::make_task<Backend>(task);
    const Evaluation at(from, test::gain(K));
    CHECK(relative_error(dense(at.gradient()), slope) < 1e-9);
  }
}

TEST_CASE("the Hessian is the derivative of the gradient, by finite differences") {
  metalqr::Stream stream = test::stream(30);
  for (const auto& [task, K] : random_problems(36, 0.95, 3)) {
    const Dense X = test::random_matrix(K.rows, K.cols, stream);
    const auto shifted = [&, &task = task, &K = K](long double t) { return task.gradient(K + t * X); };
    const Task from = test::make_task<Backend>(task);
    const Evaluation at(from, test::gain(K));
    CHECK(relative_error(dense(at.hessian(test::gain(X))), derivative(shifted, 1e-5L)) < 1e-9);
  }
}

TEST_CASE("the Hessian is self-adjoint") {
  metalqr::Stream stream = test::stream(40);
  for (const auto& [task, K] : random_problems(60, 0.95, 4)) {
    const Task from = test::make_task<Backend>(task);
    const Evaluation at(from, test::gain(K));
    const Dense X = test::random_matrix(K.rows, K.cols, stream);
    const Dense Y = test::random_matrix(K.rows, K.cols, stream);
    const Dense HX = dense(at.hessian(test::gain(X)));
    const Dense HY = dense(at.hessian(test::gain(Y)));
    const long double difference = inner(HX, Y) - inner(X, HY);
    CHECK(std::abs(difference) <= 1e-12L * (norm(HX) * norm(Y) + norm(X) * norm(HY)));
    CHECK(relative_error(at.hessian_form(test::gain(X)), inner(HX, X), norm(HX) * norm(X)) < 1e-14);
  }
}

TEST_CASE("the Hessian matrix is the operator on stacked columns") {
  metalqr::Stream stream = test::stream(50);
  for (const auto& [task, K] : random_problems(18, 0.95, 5)) {
    const Task from = test::make_task<Backend>(task);
    const Evaluation at(from, test::gain(K));
    const Dense H = dense(at.hessian_matrix());
    const Dense X = test::random_matrix(K.rows, K.cols, stream);
    Dense stacked(K.rows * K.cols, 1);
    for (Index j = 0; j < K.cols; ++j) {
      for (Index i = 0; i < K.rows; ++i) stacked(i + K.rows * j, 0) = X(i, j);
    }
    const Dense HX = dense(at.hessian(test::gain(X)));
    Dense expected(K.rows * K.cols, 1);
    for (Index j = 0; j < K.cols; ++j) {
      for (Index i = 0; i < K.rows; ++i) expected(i + K.rows * j, 0) = HX(i, j);
    }
    CHECK(relative_error(H * stacked, expected, norm(H) * norm(X)) < 1e-12);
    CHECK(relative_error(H, transpose(H)) == 0);
  }
}

TEST_CASE(
    "at the optimum the Hessian is 2 Sigma (x) (R + B'PB), positive definite, and the paper's is right") {
  for (const ReferenceCase& c : test::reference_cases()) {
    INFO(c.name);
    const Task task = test::make_task<Backend>(c.task);
    const Evaluation at(task, test::gain(c.K_star));
    const Dense Sigma = c.task.Sigma(c.K_star);
    const Dense curvature = c.task.R + transpose(c.task.B) * c.P_star * c.task.B;
    const Index nu = c.K.rows;
    const Index nx = c.K.cols;
    Dense expected(nu * nx, nu * nx);
    for (Index i = 0; i < nu * nx; ++i) {
      for (Index j = 0; j < nu * nx; ++j) {
        expected(i, j) = 2 * Sigma(i / nu, j / nu) * curvature(i % nu, j % nu);
      }
    }
    CHECK(relative_error(dense(at.hessian_matrix()), expected) < 1e-11);
    CHECK(Backend::is_positive_definite(at.hessian_matrix()));
    CHECK(relative_error(dense(at.gradient()), Dense(nu, nx), c.task.gradient_scale(c.K_star)) < 1e-13);
    CHECK(relative_error(at.cost(), c.cost_star) < 1e-12);
    CHECK(relative_error(dense(at.curvature()), curvature) < 1e-12);
    const test::Backend::Gain X = test::gain(c.X);
    CHECK(relative_error(dense(at.paper_hessian(X)), dense(at.hessian(X))) < 1e-11);
  }
}

TEST_CASE("the printed Hessian has the right quadratic form but is another operator away from the optimum") {
  metalqr::Stream stream = test::stream(60);
  for (const auto& [task, K] : random_problems(30, 0.95, 6)) {
    const Task from = test::make_task<Backend>(task);
    const Evaluation at(from, test::gain(K));
    const Dense X = test::random_matrix(K.rows, K.cols, stream);
    const Dense printed = dense(at.paper_hessian(test::gain(X)));
    CHECK(relative_error(inner(printed, X), at.hessian_form(test::gain(X)), norm(printed) * norm(X)) < 1e-12);
  }
  // At the published start: 3.9 % of the operator in Frobenius norm (2.7 % in spectral norm).
  const ReferenceCase& c = published_start();
  const Task task = test::make_task<Backend>(c.task);
  const Evaluation at(task, test::gain(c.K));
  const Index d = c.K.rows * c.K.cols;
  Dense printed(d, d);
  for (Index column = 0; column < d; ++column) {
    Dense X(c.K.rows, c.K.cols);
    X(column % c.K.rows, column / c.K.rows) = 1;
    const Dense HX = dense(at.paper_hessian(test::gain(X)));
    for (Index row = 0; row < d; ++row) printed(row, column) = HX(row % c.K.rows, row / c.K.rows);
  }
  const Dense exact = dense(at.hessian_matrix());
  const long double difference = norm(printed - exact) / norm(exact);
  CHECK(difference > 0.0385);
  CHECK(difference < 0.0395);
  CHECK(spectral_norm(printed - exact) > 0.02 * spectral_norm(exact));
  CHECK(norm(printed - transpose(printed)) > 0.01 * norm(exact));
  CHECK(norm(exact - transpose(exact)) == 0);
}

TEMPLATE_TEST_CASE("a scalar plant has the closed forms", "", EigenBackend<double>,
                   (EigenBackend<double, 1, 1>)) {
  using Sized = TestType;
  metalqr::Stream stream = test::stream(7);
  for (int sample = 0; sample < 50; ++sample) {
    const double a = stream.uniform(-2, 2);
    const double b = stream.uniform(0.5, 2);
    const double q = stream.uniform(0.1, 2);
    const double r = stream.uniform(0.1, 2);
    const double s = stream.uniform(0.1, 2);
    const double f = stream.uniform(-0.95, 0.95);
    const double k = (a - f) / b;
    const metalqr::Task<Sized> task = test::make_task<Sized>({{{a}}, {{b}}, {{q}}, {{r}}, {{s}}});
    const metalqr::Evaluation<Sized> at(task, test::gain<Sized>({{k}}));
    // J = N/D with N = (q + r k^2) s, D = 1 - f^2, f = a - b k.
    const double N = (q + r * k * k) * s;
    const double dN = 2 * r * k * s;
    const double ddN = 2 * r * s;
    const double D = 1 - f * f;
    const double dD = 2 * b * f;
    const double ddD = -2 * b * b;
    const double slope = (dN * D - N * dD) / (D * D);
    const double bend = (ddN * D - N * ddD) / (D * D) - 2 * dD * slope / D;
    CHECK(relative_error(at.spectral_radius(), std::abs(f)) < 1e-13);
    CHECK(relative_error(at.cost(), N / D) < 1e-12);
    CHECK(relative_error(at.P()(0, 0), N / D / s) < 1e-12);
    CHECK(relative_error(at.Sigma()(0, 0), s / D) < 1e-12);
    CHECK(relative_error(at.gradient()(0, 0), slope, (std::abs(dN) * D + N * std::abs(dD)) / (D * D)) <
          1e-12);
    CHECK(relative_error(at.hessian(test::gain<Sized>({{1}}))(0, 0), bend, N / (D * D)) < 1e-11);
    CHECK(relative_error(at.paper_hessian(test::gain<Sized>({{1}}))(0, 0), bend, N / (D * D)) < 1e-11);
    CHECK(relative_error(metalqr::cost(task, test::gain<Sized>({{k}})), N / D) < 1e-12);
  }
}

TEST_CASE("a change of state x = T z changes the gradient and the Hessian as it must") {
  metalqr::Stream stream = test::stream(80);
  for (const auto& [task, K] : random_problems(30, 0.95, 8)) {
    const Index nx = K.cols;
    const Dense T = test::identity(nx) + 0.2L * test::random_matrix(nx, nx, stream);
    const Dense S = solve(T, test::identity(nx));
    const DenseTask moved{S * task.A * T, S * task.B, transpose(T) * task.Q * T, task.R,
                          S * task.Sigma0 * transpose(S)};
    const Dense X = test::random_matrix(K.rows, K.cols, stream);
    const Task task_x = test::make_task<Backend>(task);
    const Task task_z = test::make_task<Backend>(moved);
    const Evaluation x(task_x, test::gain(K));
    const Evaluation z(task_z, test::gain(K * T));
    CHECK(relative_error(z.cost(), x.cost()) < 1e-10);
    CHECK(relative_error(z.spectral_radius(), x.spectral_radius()) < 1e-10);
    CHECK(relative_error(dense(z.gradient()) * transpose(T), dense(x.gradient()), task.gradient_scale(K)) <
          1e-10);
    CHECK(relative_error(dense(z.hessian(test::gain(X * T))) * transpose(T),
                         dense(x.hessian(test::gain(X)))) < 1e-9);
  }
}

TEST_CASE("scaling the costs or the initial state by a power of two scales everything exactly") {
  for (const auto& [task, K] : random_problems(12, 0.95, 9)) {
    DenseTask costs = task;
    costs.Q = 8 * task.Q;
    costs.R = 8 * task.R;
    DenseTask start = task;
    start.Sigma0 = 8 * task.Sigma0;
    const Task original = test::make_task<Backend>(task);
    const Evaluation at(original, test::gain(K));
    for (const DenseTask& scaled : {costs, start}) {
      const Task other = test::make_task<Backend>(scaled);
      const Evaluation there(other, test::gain(K));
      CHECK(there.cost() == 8 * at.cost());
      CHECK(relative_error(dense(there.gradient()), 8 * dense(at.gradient())) == 0);
      CHECK(relative_error(dense(there.hessian(at.K())), 8 * dense(at.hessian(at.K()))) == 0);
    }
  }
}

TEST_CASE("the scale of the gradient is the size of the terms whose difference it is") {
  for (const auto& [task, K] : random_problems(12, 0.95, 25)) {
    const Task from = test::make_task<Backend>(task);
    const Evaluation at(from, test::gain(K));
    const Dense F = task.closed_loop(K);
    const long double expected =
        (norm(task.R * K) + norm(transpose(task.B) * task.P(K) * F)) * norm(dense(at.Sigma()));
    CHECK(relative_error(at.gradient_scale(), expected) < 1e-11);
    CHECK(Backend::norm(at.gradient()) <= 2 * (1 + 1e-12) * at.gradient_scale());
  }
}

TEST_CASE("the natural gradient is the gradient times Sigma^-1, Gauss-Newton also times (R + B'PB)^-1") {
  for (const auto& [task, K] : random_problems(30, 0.9, 10)) {
    const Task from = test::make_task<Backend>(task);
    const Evaluation at(from, test::gain(K));
    const Dense gradient = task.gradient(K);
    const Dense natural = transpose(solve(task.Sigma(K), transpose(gradient)));
    const Dense curvature = task.R + transpose(task.B) * task.P(K) * task.B;
    CHECK(relative_error(dense(at.natural_gradient()), natural, norm(task.R * K)) < 1e-11);
    CHECK(relative_error(dense(at.curvature()), curvature) < 1e-11);
    CHECK(relative_error(dense(at.gauss_newton_direction()), solve(curvature, natural), norm(K)) < 1e-10);
    // Half a step is policy iteration.
    const Dense improved = solve(curvature, transpose(task.B) * task.P(K) * task.A);
    CHECK(relative_error(K - 0.5L * dense(at.gauss_newton_direction()), improved, norm(K)) < 1e-10);
  }
}

TEST_CASE("what an evaluation gives does not depend on the order of the questions") {
  const ReferenceCase& c = published_start();
  const Task task = test::make_task<Backend>(c.task);
  const Backend::Gain X = test::gain(c.X);
  const Evaluation forward(task, test::gain(c.K));
  const double cost = forward.cost();
  const Dense gradient = dense(forward.gradient());
  const Dense hessian = dense(forward.hessian(X));
  const Evaluation backward(task, test::gain(c.K));
  CHECK(relative_error(dense(backward.hessian(X)), hessian) == 0);
  CHECK(relative_error(dense(backward.gradient()), gradient) == 0);
  CHECK(backward.cost() == cost);
  const Evaluation copy = backward;
  CHECK(copy.cost() == cost);
  CHECK(relative_error(dense(copy.K()), c.K) == 0);
  CHECK(relative_error(dense(copy.F()), c.task.closed_loop(c.K)) < 1e-15);
}

TEST_CASE("the closed loop and the stage cost are A - BK and Q + K'RK") {
  for (const auto& [task, K] : random_problems(12, 0.95, 11)) {
    const Task from = test::make_task<Backend>(task);
    CHECK(relative_error(dense(metalqr::closed_loop(from, test::gain(K))), task.closed_loop(K)) < 1e-13);
    CHECK(relative_error(dense(metalqr::stage_cost(from, test::gain(K))),
                         task.Q + transpose(K) * task.R * K) < 1e-14);
    CHECK(metalqr::is_stabilizing(from, test::gain(K)));
  }
}

TEST_CASE("the average cost is tr(P W), the cost with the noise in the place of Sigma0") {
  metalqr::Stream stream = test::stream(140);
  for (const auto& [task, K] : random_problems(12, 0.95, 14)) {
    const Dense W = test::random_semidefinite(K.cols, 1, stream);
    const Task from = test::make_task<Backend>(task);
    const Evaluation at(from, test::gain(K));
    CHECK(relative_error(at.average_cost(test::state_matrix(W)), inner(task.P(K), W)) < 1e-11);
    const Task noisy = from.with_process_noise(test::state_matrix(W));
    CHECK(relative_error(at.average_cost(test::state_matrix(W)), metalqr::cost(noisy, test::gain(K))) <
          1e-14);
  }
}

TEST_CASE("the average cost is the time average of a long noisy run") {
  // Batch means: 200 batches of 1000 steps, far longer than the memory of the loop (rho = 0.7). The deviation
  // in units of its estimated standard error has Student's distribution with 199 degrees of freedom: beyond
  // 5.5 with probability 1.2e-7.
  metalqr::Stream stream = test::stream(15);
  const auto [task, K] = test::random_problem(3, 2, 0.7, stream);
  const Dense L{{1, 0, 0}, {0.5, 0.3, 0}, {-1, 0.2, 0}};
  const Task from = test::make_task<Backend>(task);
  const Evaluation at(from, test::gain(K));
  const double expected = at.average_cost(test::state_matrix(L * transpose(L)));
  const Dense F = task.closed_loop(K);
  const Dense stage = task.Q + transpose(K) * task.R * K;
  Dense x(3, 1);
  for (int t = 0; t < 200; ++t) x = F * x + L * test::random_matrix(3, 1, stream);
  std::vector<double> means;
  for (int batch = 0; batch < 200; ++batch) {
    long double sum = 0;
    for (int t = 0; t < 1000; ++t) {
      sum += inner(x, stage * x);
      x = F * x + L * test::random_matrix(3, 1, stream);
    }
    means.push_back(static_cast<double>(sum) / 1000);
  }
  double mean = 0;
  for (const double m : means) mean += m / 200;
  double variance = 0;
  for (const double m : means) variance += (m - mean) * (m - mean) / 199;
  CHECK(std::abs(mean - expected) < 5.5 * std::sqrt(variance / 200));
  // The bound is sharp enough to tell: below 5 % of the value.
  CHECK(5.5 * std::sqrt(variance / 200) < 0.05 * expected);
}
