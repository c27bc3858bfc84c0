#include <metalqr/equations/low_rank.hpp>

#include <cmath>

#include "support.hpp"

namespace {

using metalqr::detail::compressed;
using metalqr::detail::orthonormal_basis;
using test::Backend;
using test::dense;
using test::Dense;
using test::Index;
using Matrix = Backend::Matrix;

Matrix matrix(const Dense& values) {
  return test::filled(Backend::zero_matrix(values.rows, values.cols), values);
}

/// n x c with the singular values 10^(-decades j / (c - 1)), in random bases.
Dense graded(Index n, Index c, double decades, metalqr::Stream& stream) {
  Dense D(n, c);
  for (Index j = 0; j < c; ++j) {
    D(j, j) = std::pow(10.0, -decades * static_cast<double>(j) / static_cast<double>(c - 1));
  }
  const auto reflection = [&stream](Index size) {
    const Dense v = test::random_matrix(size, 1, stream);
    return test::identity(size) - (2 / test::inner(v, v)) * (v * test::transpose(v));
  };
  return test::rounded(reflection(n) * D * reflection(c));
}

}  // namespace

TEST_CASE("a basis is orthonormal and leaves nothing of the columns, whatever their condition") {
  auto stream = test::stream(411);
  for (const double decades : {0.5, 6.0, 12.0, 15.0, 40.0}) {
    for (const Index n : {25, 80}) {
      CAPTURE(decades, n);
      const Dense Y = graded(n, 25, decades, stream);
      const Dense Q = dense(orthonormal_basis<Backend>(matrix(Y)));
      const Dense S = test::transpose(Q) * Y;
      CHECK(test::norm(Y - Q * S) < 1e-14 * static_cast<double>(test::norm(Y)));
      CHECK(test::norm(test::transpose(Q) * Q - test::identity(Q.cols)) < 1e-13);
      if (decades < 13) CHECK(Q.cols == 25);
    }
  }
}

TEST_CASE("a basis of columns whose difference is all rounding has no more columns than they are") {
  // Bumps that overlap: the singular values fall below rounding within the first dozens.
  for (const double sharpness : {1.0, 10.0, 30.0, 100.0}) {
    for (const Index c : {20, 40, 100}) {
      CAPTURE(sharpness, c);
      Matrix Y(600, c);
      for (Index i = 0; i < 600; ++i) {
        for (Index j = 0; j < c; ++j) {
          const double distance =
              static_cast<double>(i) / 600 - static_cast<double>(j) / static_cast<double>(c);
          Y(i, j) = std::exp(-sharpness * distance * distance);
        }
      }
      const Matrix Q = orthonormal_basis<Backend>(Y);
      CHECK(Q.cols() <= c);
      CHECK((Q.transpose() * Q - Matrix::Identity(Q.cols(), Q.cols())).norm() < 1e-13);
      CHECK((Y - Q * (Q.transpose() * Y)).norm() < 1e-14 * Y.norm());
    }
  }
}

TEST_CASE("a basis of dependent, repeated, tiny and zero columns has as many as are independent") {
  auto stream = test::stream(412);
  const Dense G = test::rounded(test::random_matrix(30, 4, stream));
  Dense Y(30, 9);
  for (Index i = 0; i < 30; ++i) {
    for (Index j = 0; j < 4; ++j) Y(i, j) = Y(i, j + 4) = G(i, j);
    Y(i, 6) *= 0x1p-40;
  }
  const Dense Q = dense(orthonormal_basis<Backend>(matrix(Y)));
  CHECK(Q.cols == 4);
  CHECK(test::norm(Y - Q * (test::transpose(Q) * Y)) < 1e-14 * static_cast<double>(test::norm(Y)));
  CHECK(orthonormal_basis<Backend>(Backend::zero_matrix(5, 3)).cols() == 0);
  // More columns than rows.
  const Dense wide = test::rounded(test::random_matrix(4, 9, stream));
  const Dense all = dense(orthonormal_basis<Backend>(matrix(wide)));
  CHECK(all.cols == 4);
  CHECK(test::norm(wide - all * (test::transpose(all) * wide)) < 1e-13);
}

TEST_CASE("compression keeps ZZ' to rounding, with about as many columns as the square needs") {
  auto stream = test::stream(413);
  for (const Index n : {40, 100}) {
    for (const double decades : {2.0, 8.0, 16.0, 30.0}) {
      CAPTURE(n, decades);
      const Index c = 40;
      const Dense W = graded(n, c, decades, stream);
      const Dense full = W * test::transpose(W);
      const Dense Z = dense(compressed<Backend>(matrix(W), 0));
      CHECK(test::relative_error(Z * test::transpose(Z), full) < 1e-14);
      // Singular values below the root of epsilon do not show in the square; the pivots' order is nearly
      // that of the singular values.
      const double visible = 1 + 7.8 / decades * static_cast<double>(c - 1);
      CHECK(static_cast<double>(Z.cols) <= 1.25 * visible);
      CHECK(Z.cols <= c);
    }
  }
}

TEST_CASE("compression leaves out no more than it may, and no direction twice") {
  auto stream = test::stream(414);
  const Dense W = graded(60, 30, 10, stream);
  const Dense full = W * test::transpose(W);
  Index last = 31;
  for (const double allowed : {0.0, 1e-12, 1e-8, 1e-4, 0.5}) {
    CAPTURE(allowed);
    const Dense Z = dense(compressed<Backend>(matrix(W), allowed));
    const Dense lost = full - Z * test::transpose(Z);
    CHECK(test::norm(lost) < allowed + 1e-14);
    long double trace = 0;
    for (Index i = 0; i < 60; ++i) trace += lost(i, i);
    CHECK(trace < allowed + 1e-14);
    CHECK(trace > -1e-14);
    CHECK(Z.cols <= last);
    last = Z.cols;
  }
  CHECK(compressed<Backend>(matrix(W), 10.0).cols() == 0);
  CHECK(compressed<Backend>(Backend::zero_matrix(5, 0), 0).cols() == 0);
  CHECK(compressed<Backend>(Backend::zero_matrix(5, 2), 0).cols() == 0);
}
