#include <metalqr/equations/linear_operator.hpp>

#include <limits>

#include <Eigen/SparseCore>

#include "support.hpp"

namespace {

using metalqr::closed_loop_operator;
using metalqr::ClosedLoopOperator;
using metalqr::DenseOperator;
using metalqr::linear_operator;
using metalqr::LinearOperator;
using test::Backend;
using test::dense;
using test::Dense;
using test::Index;
using test::relative_error;
using Matrix = Backend::Matrix;

struct OneWay {
  static Index size() { return 1; }
  static Matrix apply(const Matrix& V) { return V; }
};
static_assert(LinearOperator<DenseOperator<Backend>, Backend>);
static_assert(LinearOperator<ClosedLoopOperator<Backend, DenseOperator<Backend>>, Backend>);
static_assert(!LinearOperator<OneWay, Backend>);
static_assert(!LinearOperator<Matrix, Backend>);

Matrix matrix(const Dense& values) {
  return test::filled(Backend::zero_matrix(values.rows, values.cols), values);
}

}  // namespace

TEST_CASE("the products of a closed loop are those of A - BK, for a full A and a sparse one") {
  auto stream = test::stream(401);
  const Index n = 9;
  const Dense A = test::rounded(test::random_matrix(n, n, stream));
  const Dense B = test::rounded(test::random_matrix(n, 2, stream));
  const Dense K = test::rounded(test::random_matrix(2, n, stream));
  const Dense V = test::rounded(test::random_matrix(n, 3, stream));
  const Dense F = A - B * K;
  const auto check = [&](const auto& loop) {
    CHECK(loop.size() == n);
    CHECK(relative_error(dense(loop.apply(matrix(V))), F * V) < 1e-14);
    CHECK(relative_error(dense(loop.apply_transposed(matrix(V))), test::transpose(F) * V) < 1e-14);
  };
  const DenseOperator<Backend> full(matrix(A));
  check(closed_loop_operator<Backend>(full, matrix(B), matrix(K)));
  const Eigen::SparseMatrix<double> sparse = matrix(A).sparseView();
  const auto plant = linear_operator<Backend>(
      n, [&](const Matrix& X) -> Matrix { return sparse * X; },
      [&](const Matrix& X) -> Matrix { return sparse.transpose() * X; });
  check(closed_loop_operator<Backend>(plant, matrix(B), matrix(K)));
}

TEST_CASE("the products keep the rounding that their operators claim") {
  auto stream = test::stream(402);
  for (const Index n : {1, 10, 60}) {
    const Dense A = test::rounded(test::random_matrix(n, n, stream));
    const Dense B = test::rounded(1e3L * test::random_matrix(n, 2, stream));
    const Dense K = test::rounded(1e3L * test::random_matrix(2, n, stream));
    const Dense V = test::rounded(test::random_matrix(n, 4, stream));
    const DenseOperator<Backend> full(matrix(A));
    const auto loop = closed_loop_operator<Backend>(full, matrix(B), matrix(K));
    const auto check = [&](const auto& F, const Dense& exact) {
      const Dense got = dense(F.apply(matrix(V)));
      const Dense transposed = dense(F.apply_transposed(matrix(V)));
      const long double epsilon = Backend::epsilon();
      CHECK(test::norm(got - exact * V) <= F.rounding() * test::norm(V) + epsilon * test::norm(got));
      CHECK(test::norm(transposed - test::transpose(exact) * V) <=
            F.rounding() * test::norm(V) + epsilon * test::norm(transposed));
    };
    check(full, A);
    check(loop, A - B * K);
    CHECK(full.rounding() < 1e-13 * static_cast<double>(n) * full.apply(matrix(test::identity(n))).norm());
  }
}

TEST_CASE("arguments of operators are checked by name") {
  const Matrix square = matrix(test::identity(3));
  const Matrix column = Backend::zero_matrix(3, 1);
  const Matrix row = Backend::zero_matrix(1, 3);
  const auto shape = [](const auto& call) { return test::message_of<metalqr::DimensionMismatch>(call); };
  const auto finite = [](const auto& call) { return test::message_of<metalqr::NotFinite>(call); };
  const auto option = [](const auto& call) { return test::message_of<metalqr::InvalidOption>(call); };
  const DenseOperator<Backend> plant(square);
  CHECK(shape([&] { DenseOperator<Backend>{column}; }) == "F: expected shape 3x3, got 3x1");
  CHECK(shape([&] { closed_loop_operator<Backend>(plant, row, row); }) == "B: expected shape 3x3, got 1x3");
  CHECK(shape([&] { closed_loop_operator<Backend>(plant, column, column); }) ==
        "K: expected shape 1x3, got 3x1");
  Matrix bad = square;
  bad(1, 2) = std::numeric_limits<double>::quiet_NaN();
  CHECK(finite([&] { DenseOperator<Backend>{bad}; }) == "F: expected finite entries, got nan at (1, 2)");
  CHECK(finite([&] { closed_loop_operator<Backend>(plant, bad, square); }) ==
        "B: expected finite entries, got nan at (1, 2)");
  CHECK(finite([&] { closed_loop_operator<Backend>(plant, square, bad); }) ==
        "K: expected finite entries, got nan at (1, 2)");
  const auto same = [](const Matrix& V) -> Matrix { return V; };
  CHECK(option([&] { linear_operator<Backend>(0, same, same); }) == "size: expected at least one row, got 0");
  CHECK(option([&] { linear_operator<Backend>(3, same, same, -1); }) ==
        "rounding: expected a number that is not negative, got -1");
}
