#include <metalqr/lqr/large_plant.hpp>

#include <cmath>
#include <limits>
#include <vector>

#include <Eigen/SparseCore>

#include <metalqr/lqr/evaluation.hpp>

#include "support.hpp"

namespace {

using metalqr::DenseOperator;
using metalqr::evaluate;
using metalqr::large_plant;
using metalqr::linear_operator;
using metalqr::Status;
using test::Backend;
using test::dense;
using test::Dense;
using test::Index;
using test::relative_error;
using Matrix = Backend::Matrix;

Matrix matrix(const Dense& values) {
  return test::filled(Backend::zero_matrix(values.rows, values.cols), values);
}

/// A rod of n points, 0.1 of whose heat leaves in each step; heated at a third and at two thirds of it.
struct Rod {
  Eigen::SparseMatrix<double> A;
  Matrix B, C, S;

  explicit Rod(int n) : A(n, n), B(Matrix::Zero(n, 2)), C(Matrix::Zero(3, n)), S(Matrix::Zero(n, 2)) {
    std::vector<Eigen::Triplet<double>> entries;
    for (int i = 0; i < n; ++i) {
      entries.emplace_back(i, i, 0.5);
      if (i > 0) entries.emplace_back(i, i - 1, 0.2);
      if (i > 0) entries.emplace_back(i - 1, i, 0.2);
    }
    A.setFromTriplets(entries.begin(), entries.end());
    for (int i = 0; i < n; ++i) {
      const double x = static_cast<double>(i) / n;
      B(i, 0) = std::exp(-100 * (x - 0.33) * (x - 0.33));
      B(i, 1) = std::exp(-100 * (x - 0.66) * (x - 0.66));
      S(i, 0) = std::sin(3 * x);
      S(i, 1) = x < 0.4 ? 1 : 0;
      C(0, i) = 1.0 / n;
      C(1, i) = i == n / 3 ? 1 : 0;
      C(2, i) = i == n / 2 ? 1 : 0;
    }
  }
  auto plant() const {
    const auto heat = linear_operator<Backend>(
        A.rows(), [this](const Matrix& V) -> Matrix { return A * V; },
        [this](const Matrix& V) -> Matrix { return A.transpose() * V; });
    return large_plant<Backend>(heat, B, C, matrix({{2, 0.5}, {0.5, 1}}), S);
  }
};

}  // namespace

TEST_CASE("cost, gradient and both factors are those of the evaluation with full matrices") {
  for (const double rho : {0.5, 0.9, 0.97}) {
    CAPTURE(rho);
    auto stream = test::stream(501);
    const Index n = 60;
    const Dense F = 0.999L * test::random_with_radius(n, rho, stream);
    const Matrix B = matrix(test::random_matrix(n, 2, stream));
    const Matrix K = matrix(0.1L * test::random_matrix(2, n, stream));
    const Matrix C = matrix(test::random_matrix(3, n, stream));
    const Matrix R = matrix(test::random_definite(2, stream));
    const Matrix S = matrix(test::random_matrix(n, 2, stream));
    const Matrix A = matrix(F) + B * K;
    const metalqr::Task<Backend> task(A, B, C.transpose() * C, R, S * S.transpose());
    const metalqr::Evaluation<Backend> full(task, K);
    const auto thin = evaluate(large_plant<Backend>(DenseOperator<Backend>(A), B, C, R, S), K);
    REQUIRE(thin.status == Status::converged);
    CHECK(std::abs(thin.cost - full.cost()) <= thin.cost_error + 1e-12 * full.cost());
    CHECK(thin.cost == Catch::Approx(full.cost()).epsilon(1e-11));
    CHECK(relative_error(dense(thin.gradient), dense(full.gradient()),
                         static_cast<long double>(full.gradient_scale())) < 1e-11);
    CHECK(relative_error(dense(Matrix(thin.P.factor * thin.P.factor.transpose())), dense(full.P())) < 1e-10);
    CHECK(relative_error(dense(Matrix(thin.Sigma.factor * thin.Sigma.factor.transpose())),
                         dense(full.Sigma())) < 1e-10);
  }
}

TEST_CASE("the gradient of a rod of 1000 points is the slope of its cost, and steps against it lower it") {
  const Rod rod(1000);
  const auto plant = rod.plant();
  Matrix K = Matrix::Zero(2, 1000);
  auto at = evaluate(plant, K);
  REQUIRE(at.status == Status::converged);
  CHECK(at.cost_error < 1e-8 * at.cost);
  CHECK(at.P.rank < 150);

  auto stream = test::stream(502);
  const Matrix direction = matrix((1 / 50.0L) * test::random_matrix(2, 1000, stream));
  const double h = 1e-5;
  const double ahead = evaluate(plant, Matrix(K + h * direction)).cost;
  const double behind = evaluate(plant, Matrix(K - h * direction)).cost;
  // What the two costs have of rounding is divided by h.
  CHECK((ahead - behind) / (2 * h) ==
        Catch::Approx(at.gradient.cwiseProduct(direction).sum()).epsilon(1e-7).margin(1e-13 * at.cost / h));

  double step = 1e-6;
  const double first = at.cost;
  for (int iteration = 0; iteration < 2; ++iteration) {
    const Matrix next = K - step * at.gradient;
    const auto there = evaluate(plant, next);
    if (there.cost < at.cost) {
      K = next;
      at = there;
      step *= 2;
    } else {
      step /= 4;
    }
  }
  CHECK(at.cost < first);
}

TEST_CASE("a gain that destabilises has infinite cost, a plant without cost has none") {
  const Rod rod(40);
  const auto plant = rod.plant();
  const auto bad = evaluate(plant, Matrix(-100 * rod.B.transpose()));
  CHECK(bad.status == Status::unstable);
  CHECK(std::isinf(bad.cost));
  CHECK(std::isinf(bad.cost_error));
  CHECK(bad.gradient == Matrix::Zero(2, 40));
  const auto cut = evaluate(plant, Matrix::Zero(2, 40), {.max_terms = 3});
  CHECK(cut.status == Status::iteration_limit);
  CHECK(std::isinf(cut.cost));
  const auto free = large_plant<Backend>(plant.A(), rod.B, Matrix::Zero(1, 40), plant.R(), rod.S);
  const auto none = evaluate(free, Matrix::Zero(2, 40));
  CHECK(none.status == Status::converged);
  CHECK(none.cost == 0);
  CHECK(none.cost_error == 0);
  CHECK(none.gradient == Matrix::Zero(2, 40));
}

TEST_CASE("the matrices of a large plant are checked by name") {
  const auto shape = [](const auto& call) { return test::message_of<metalqr::DimensionMismatch>(call); };
  const auto finite = [](const auto& call) { return test::message_of<metalqr::NotFinite>(call); };
  const DenseOperator<Backend> A(matrix(0.5L * test::identity(3)));
  const Matrix B = Matrix::Ones(3, 2);
  const Matrix C = Matrix::Ones(1, 3);
  const Matrix R = Matrix::Identity(2, 2);
  const Matrix S = Matrix::Ones(3, 1);
  const auto make = [&A](const Matrix& b, const Matrix& c, const Matrix& r, const Matrix& s) {
    return large_plant<Backend>(A, b, c, r, s);
  };
  CHECK(shape([&] { make(C, C, R, S); }) == "B: expected shape 3x3, got 1x3");
  CHECK(shape([&] { make(B, S, R, S); }) == "C: expected shape 3x3, got 3x1");
  CHECK(shape([&] { make(B, C, C, S); }) == "R: expected shape 2x2, got 1x3");
  CHECK(shape([&] { make(B, C, R, C); }) == "S: expected shape 3x3, got 1x3");
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK(finite([&] { make(nan * B, C, R, S); }) == "B: expected finite entries, got nan at (0, 0)");
  CHECK(finite([&] { make(B, nan * C, R, S); }) == "C: expected finite entries, got nan at (0, 0)");
  CHECK(finite([&] { make(B, C, nan * R, S); }) == "R: expected finite entries, got nan at (0, 0)");
  CHECK(finite([&] { make(B, C, R, nan * S); }) == "S: expected finite entries, got nan at (0, 0)");
  CHECK(test::message_of<metalqr::NotPositiveDefinite>([&] { make(B, C, -R, S); }).rfind("R: ", 0) == 0);
  const auto plant = make(B, C, R, S);
  CHECK(shape([&] { evaluate(plant, B); }) == "K: expected shape 2x3, got 3x2");
  CHECK(finite([&] { evaluate(plant, Matrix(nan * B.transpose())); }) ==
        "K: expected finite entries, got nan at (0, 0)");
}
