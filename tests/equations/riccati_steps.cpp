#include <metalqr/equations/riccati_steps.hpp>

#include <cmath>
#include <limits>

#include "support.hpp"

namespace {

using metalqr::Status;
using metalqr::detail::riccati_doubling;
using metalqr::detail::riccati_newton;
using metalqr::detail::RiccatiProblem;
using Backend = metalqr::EigenBackend<double, 1, 1>;
using Number = Backend::StateMatrix;

// The stabilising solution of p = q + a^2 p - a^2 b^2 p^2/(r + b^2 p), by the quadratic formula.
double scalar_solution(double a, double b, double q, double r) {
  const double half = (r - a * a * r - q * b * b) / 2;
  return (-half + std::sqrt(half * half + b * b * q * r)) / (b * b);
}

RiccatiProblem<Backend> scalar_problem(double a, double b, double q, double r) {
  return {Number(a), Number(b), Number(q), Number(r), Number(0.0)};
}

}  // namespace

TEST_CASE("structured doubling reaches the closed form of scalar plants") {
  for (const double a : {0.0, 0.5, -0.99, 1.0, 1.7, -30.0}) {
    for (const double q : {1e-3, 1.0, 50.0}) {
      const auto result = riccati_doubling<Backend>(Number(a), Number(4.0 / 0.5), Number(q), 64);
      CHECK(result.converged);
      CHECK(result.H(0, 0) == Approx(scalar_solution(a, 2, q, 0.5)).epsilon(1e-13));
    }
  }
}

TEST_CASE("structured doubling does not call the smallest solution the stabilising one") {
  // q = 0: H stays 0 although a = 2 is unstable; A_k grows instead of vanishing.
  const auto result = riccati_doubling<Backend>(Number(2.0), Number(1.0), Number(0.0), 64);
  CHECK_FALSE(result.converged);
  const auto cut = riccati_doubling<Backend>(Number(0.9999), Number(0.0), Number(1.0), 3);
  CHECK_FALSE(cut.converged);
  CHECK(cut.iterations == 3);
}

TEST_CASE("Newton-Kleinman steps reach the stabilising solution from any stabilising gain") {
  for (const double a : {0.5, 1.7, -3.0}) {
    for (const double closed_loop : {-0.95, 0.0, 0.6, 0.999}) {
      const auto problem = scalar_problem(a, 2, 1, 0.5);
      const auto result = riccati_newton<Backend>(problem, Number(0.0), Number((a - closed_loop) / 2), 100);
      CHECK(result.status() == Status::converged);
      const double p = scalar_solution(a, 2, 1, 0.5);
      CHECK(result.P(0, 0) == Approx(p).epsilon(1e-13));
      CHECK(result.K(0, 0) == Approx(2 * p * a / (0.5 + 4 * p)).epsilon(1e-13));
      CHECK(result.residual <= 4 * std::numeric_limits<double>::epsilon());
    }
  }
}

TEST_CASE("Newton-Kleinman steps report a start that does not stabilise, and a cap that came first") {
  const auto problem = scalar_problem(1.7, 2, 1, 0.5);
  CHECK(riccati_newton<Backend>(problem, Number(0.0), Number(0.0), 100).status() == Status::unstable);
  const auto cut = riccati_newton<Backend>(problem, Number(0.0), Number((1.7 - 0.999) / 2), 1);
  CHECK(cut.status() == Status::iteration_limit);
  CHECK(cut.steps == 1);
}

TEST_CASE("the residual of a Riccati solution is zero there and of the defect's size elsewhere") {
  const auto problem = scalar_problem(1.2, 1, 1, 1);
  const double p = scalar_solution(1.2, 1, 1, 1);
  const Number P(p);
  CHECK(problem.residual(P, problem.gain(P)) <= 1e-15);
  const Number wrong(1.01 * p);
  const double defect = problem.residual(wrong, problem.gain(wrong));
  CHECK((defect > 1e-4 && defect < 1e-2));
}

TEST_CASE("completing the square takes the cross term out of the problem") {
  auto problem = scalar_problem(1.2, 0.7, 2, 0.5);
  problem.N(0, 0) = 0.3;
  const auto squared = problem.without_cross();
  CHECK_FALSE(squared.has_cross);
  CHECK(squared.N(0, 0) == 0);
  CHECK(squared.A(0, 0) == Approx(1.2 - 0.7 * 0.3 / 0.5));
  CHECK(squared.Q(0, 0) == Approx(2 - 0.3 * 0.3 / 0.5));
  // The value of both problems is the same.
  const Number P(1.3);
  const Number K = problem.gain(P);
  const Number shifted = squared.gain(P);
  CHECK(K(0, 0) == Approx(shifted(0, 0) + 0.3 / 0.5));
  CHECK(problem.closed_loop(K)(0, 0) == Approx(squared.closed_loop(shifted)(0, 0)));
  CHECK(problem.stage_cost(K)(0, 0) == Approx(squared.stage_cost(shifted)(0, 0)));
}

TEST_CASE("Newton-Kleinman steps towards a mode on the unit circle that the cost does not see end as open") {
  // a = 1, q = 0: the gains halve towards 0, which does not stabilise.
  const auto result = riccati_newton<Backend>(scalar_problem(1, 1, 0, 1), Number(0.0), Number(0.5), 200);
  CHECK(result.status() != Status::converged);
}
