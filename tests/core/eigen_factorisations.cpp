#include <metalqr/core/eigen_factorisations.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include <metalqr/core/eigen.hpp>

#include "support.hpp"

using metalqr::EigenBackend;
using test::dense;
using test::Dense;
using test::identity;
using test::Index;
using test::relative_error;
using B = EigenBackend<double>;

namespace {

B::Matrix matrix(const Dense& values) {
  return test::filled(B::zero_matrix(values.rows, values.cols), values);
}

/// I - 2vv'/v'v for a random v.
Dense reflection(Index n, metalqr::Stream& stream) {
  const Dense v = test::random_matrix(n, 1, stream);
  return identity(n) - (2 / inner(v, v)) * (v * transpose(v));
}

bool is_upper_triangular(const Dense& R) {
  for (Index i = 0; i < R.rows; ++i) {
    if (!(R(i, i) >= 0)) return false;
    for (Index j = 0; j < i; ++j) {
      if (R(i, j) != 0) return false;
    }
  }
  return true;
}

}  // namespace

TEST_CASE("a triangular factor is triangular, has a diagonal >= 0, and R'R = X'X, for any shape") {
  for (const Index rows : {1, 2, 3, 4, 7, 40}) {
    for (const Index cols : {1, 3, 4, 6}) {
      metalqr::Stream stream = test::stream(1, static_cast<std::uint64_t>(100 * rows + cols));
      const Dense X = test::rounded(test::random_matrix(rows, cols, stream));
      const Dense R = dense(B::triangular_factor(matrix(X)));
      REQUIRE(R.rows == cols);
      REQUIRE(R.cols == cols);
      CHECK(is_upper_triangular(R));
      CHECK(relative_error(transpose(R) * R, transpose(X) * X) < 1e-14);
    }
  }
}

TEST_CASE("the triangular factor of a known factorisation is found") {
  metalqr::Stream stream = test::stream(2);
  const Dense R{{2, -1, 3}, {0, 0.5, 4}, {0, 0, 1}};
  Dense tall(5, 3);
  for (Index i = 0; i < 3; ++i) {
    for (Index j = 0; j < 3; ++j) tall(i, j) = R(i, j);
  }
  const Dense X = reflection(5, stream) * (reflection(5, stream) * tall);
  CHECK(relative_error(dense(B::triangular_factor(matrix(X))), R) < 1e-14);
}

TEST_CASE("rows folded in by blocks give the factor of all rows") {
  metalqr::Stream stream = test::stream(3);
  const Dense X = test::rounded(test::random_matrix(23, 4, stream));
  B::Matrix R = B::zero_matrix(4, 4);
  for (Index first = 0; first < X.rows;) {
    const Index size = std::min<Index>(first % 5 + 1, X.rows - first);
    B::Matrix stacked = B::zero_matrix(4 + size, 4);
    for (Index j = 0; j < 4; ++j) {
      for (Index i = 0; i < 4; ++i) stacked(i, j) = R(i, j);
      for (Index i = 0; i < size; ++i) stacked(4 + i, j) = static_cast<double>(X(first + i, j));
    }
    R = B::triangular_factor(stacked);
    first += size;
  }
  CHECK(relative_error(dense(R), dense(B::triangular_factor(matrix(X)))) < 1e-14);
}

TEST_CASE("a factor keeps what the squared matrix would lose") {
  // Columns that differ by 1e-10: X'X is singular in double precision.
  const Dense X{{1, 1}, {1e-10, 0}, {0, 1e-10}};
  const std::vector<double> values = B::singular_values(matrix(X));
  REQUIRE(values.size() == 2);
  CHECK(std::abs(values[0] - std::sqrt(2.0)) < 1e-15);
  CHECK(std::abs(values[1] / 1e-10 - 1) < 1e-6);
  CHECK(std::abs(B::triangular_factor(matrix(X))(1, 1) / (std::sqrt(2.0) * 1e-10) - 1) < 1e-6);
}

TEST_CASE("singular values of matrices made from known ones are found, descending, for any shape") {
  const std::vector<double> known{7, 2.5, 1e-3};
  for (const Index rows : {3, 4, 9}) {
    for (const Index cols : {3, 5, 9}) {
      metalqr::Stream stream = test::stream(4, static_cast<std::uint64_t>(100 * rows + cols));
      Dense D(rows, cols);
      for (Index i = 0; i < 3; ++i) D(i, i) = known[static_cast<std::size_t>((i + 1) % 3)];
      const Dense X = reflection(rows, stream) * D * reflection(cols, stream);
      const std::vector<double> values = B::singular_values(matrix(X));
      REQUIRE(values.size() == static_cast<std::size_t>(std::min(rows, cols)));
      CHECK(std::is_sorted(values.rbegin(), values.rend()));
      for (std::size_t i = 0; i < 3; ++i) CHECK(std::abs(values[i] - known[i]) < 1e-14);
      for (std::size_t i = 3; i < values.size(); ++i) CHECK(std::abs(values[i]) < 1e-14);
    }
  }
}

TEST_CASE("singular values of other scalars and of nothing") {
  using Long = EigenBackend<long double>;
  const Long::Matrix X = test::filled(Long::zero_matrix(2, 2), Dense{{3, 0}, {4, 5}});
  const std::vector<long double> values = Long::singular_values(X);
  CHECK(std::abs(values[0] - std::sqrt(45.0L)) < 1e-18L);
  CHECK(std::abs(values[1] - std::sqrt(5.0L)) < 1e-18L);
  CHECK(B::singular_values(B::zero_matrix(0, 3)).empty());
  CHECK(B::singular_values(B::zero_matrix(2, 3)) == std::vector<double>{0, 0});
  B::Matrix bad = B::zero_matrix(3, 2);
  bad(1, 1) = std::numeric_limits<double>::quiet_NaN();
  for (const double value : B::singular_values(bad)) CHECK(std::isnan(value));
  CHECK(B::singular_values(bad).size() == 2);
}

TEST_CASE("a Cholesky factor is found where it exists, and is NaN elsewhere") {
  const Dense L{{2, 0, 0}, {-1, 0.5, 0}, {3, 4, 1}};
  CHECK(relative_error(dense(B::cholesky_factor(matrix(L * transpose(L)))), L) < 1e-14);
  for (const Dense& none : {Dense{{1, 2}, {2, 1}}, Dense{{0, 0}, {0, 1}}, Dense{{1, 1}, {1, 1}},
                            Dense{{std::numeric_limits<double>::quiet_NaN(), 0}, {0, 1}}}) {
    CHECK_FALSE(B::is_finite(B::cholesky_factor(matrix(none))));
  }
}
