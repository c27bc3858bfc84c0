#include <metalqr/equations/low_rank_residual.hpp>

#include <cmath>
#include <limits>

#include "support.hpp"

namespace {

using metalqr::low_rank_residual;
using test::Backend;
using test::Dense;
using test::Index;
using Matrix = Backend::Matrix;

Matrix matrix(const Dense& values) {
  return test::filled(Backend::zero_matrix(values.rows, values.cols), values);
}

/// By its definition, in long double.
long double exact(const Dense& C, const Dense& FZ, const Dense& Z) {
  const auto square = [](const Dense& X) { return X * test::transpose(X); };
  return test::norm(square(C) + square(FZ) - square(Z)) /
         (test::norm(square(C)) + test::norm(square(FZ)) + test::norm(square(Z)));
}

}  // namespace

TEST_CASE("the residual of a thin factor is that of the n x n matrices, and its bound is one") {
  auto stream = test::stream(421);
  for (const Index n : {1, 12, 50}) {
    for (const double distance : {1.0, 1e-3, 1e-7, 1e-11, 1e-15, 0.0}) {
      CAPTURE(n, distance);
      // Z = [C, F Z] U (I + distance X) for a rotation U of the columns has a residual of that order.
      const Dense C = test::rounded(test::random_matrix(n, 2, stream));
      const Dense FZ = test::rounded(0.5L * test::random_matrix(n, 3, stream));
      Dense both(n, 5);
      for (Index i = 0; i < n; ++i) {
        for (Index j = 0; j < 2; ++j) both(i, j) = C(i, j);
        for (Index j = 0; j < 3; ++j) both(i, j + 2) = FZ(i, j);
      }
      const Dense v = test::random_matrix(5, 1, stream);
      const Dense U = test::identity(5) - (2 / test::inner(v, v)) * (v * test::transpose(v));
      const Dense Z =
          test::rounded(both * U * (test::identity(5) + distance * test::random_matrix(5, 5, stream)));
      const auto got = low_rank_residual<Backend>(matrix(C), matrix(FZ), matrix(Z), 0.0);
      const long double want = exact(C, FZ, Z);
      CHECK(got.bound >= want);
      CHECK(got.bound >= got.value);
      CHECK(got.bound <= 1.001L * want + 1e-13L);
      CHECK(std::abs(got.value - want) <= 1e-12L * want + 1e-15L);
      // What is claimed of the operator is added.
      const auto rough = low_rank_residual<Backend>(matrix(C), matrix(FZ), matrix(Z), 1e-6);
      CHECK(rough.value == got.value);
      CHECK(rough.bound > got.bound + 1e-8);
      CHECK(rough.bound < got.bound + 1e-4);
    }
  }
}

TEST_CASE("a residual that is told a wrong F Z by at most what is claimed stays below its bound") {
  auto stream = test::stream(422);
  const Dense C = test::rounded(test::random_matrix(20, 1, stream));
  const Dense Z = test::rounded(test::random_matrix(20, 4, stream));
  const Dense FZ = test::rounded(0.8L * test::random_matrix(20, 4, stream));
  for (const double rounding : {1e-10, 1e-3, 0.3}) {
    Dense wrong = test::random_matrix(20, 4, stream);
    wrong = FZ + (0.999L * rounding * test::norm(Z) / test::norm(wrong)) * wrong;
    const auto got = low_rank_residual<Backend>(matrix(C), matrix(wrong), matrix(Z), rounding);
    // The scale is that of the F Z that was given.
    const auto square = [](const Dense& X) { return X * test::transpose(X); };
    const long double scale = test::norm(square(C)) + test::norm(square(wrong)) + test::norm(square(Z));
    CHECK(got.bound * scale >= test::norm(square(C) + square(FZ) - square(Z)));
  }
}

TEST_CASE("a residual does not depend on the scale, is zero for zero data and infinite for NaN") {
  auto stream = test::stream(423);
  const Matrix C = matrix(test::random_matrix(10, 1, stream));
  const Matrix FZ = matrix(test::random_matrix(10, 2, stream));
  const Matrix Z = matrix(test::random_matrix(10, 3, stream));
  const auto one = low_rank_residual<Backend>(C, FZ, Z, 0.0);
  for (const double scale : {0x1p-1000, 0x1p-500, 0x1p500, 0x1p1000}) {
    CAPTURE(scale);
    const auto scaled = low_rank_residual<Backend>(scale * C, scale * FZ, scale * Z, 0.0);
    CHECK(scaled.value == one.value);
    CHECK(scaled.bound == one.bound);
  }
  const Matrix zero = Backend::zero_matrix(10, 2);
  const auto none = low_rank_residual<Backend>(zero, zero, zero, 0.0);
  CHECK(none.value == 0);
  CHECK(none.bound == 0);
  const auto empty =
      low_rank_residual<Backend>(C, Backend::zero_matrix(10, 0), Backend::zero_matrix(10, 0), 0);
  CHECK(empty.value == Catch::Approx(1));
  CHECK(empty.bound >= 1);
  for (const double bad :
       {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    Matrix broken = FZ;
    broken(3, 1) = bad;
    CHECK(std::isinf(low_rank_residual<Backend>(C, broken, Z, 0.0).value));
    CHECK(std::isinf(low_rank_residual<Backend>(C, broken, Z, 0.0).bound));
  }
}
