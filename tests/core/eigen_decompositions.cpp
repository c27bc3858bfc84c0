#include <metalqr/core/eigen.hpp>

#include <algorithm>
#include <cmath>
#include <complex>
#include <utility>
#include <vector>

#include "support.hpp"

using metalqr::EigenBackend;
using test::dense;
using test::Dense;
using test::Index;
using test::relative_error;

TEST_CASE("eigenvalues of a matrix made from known ones are found") {
  using Backend = EigenBackend<double>;
  const Dense S{{2, 1, 0, 3}, {0, 1, 1, -1}, {1, 0, 1, 0}, {0, 2, 0, 1}};
  // Eigenvalues 0.5 +- 0.25i, -2, 7.
  const Dense D{{0.5, 0.25, 0, 0}, {-0.25, 0.5, 0, 0}, {0, 0, -2, 0}, {0, 0, 0, 7}};
  const Dense A = transpose(solve(transpose(S), transpose(S * D)));
  std::vector<std::complex<double>> values = Backend::eigenvalues(test::state_matrix(A));
  std::sort(values.begin(), values.end(), [](const auto& a, const auto& b) {
    return std::pair(a.real(), a.imag()) < std::pair(b.real(), b.imag());
  });
  REQUIRE(values.size() == 4);
  CHECK(std::abs(values[0] - std::complex<double>(-2, 0)) < 1e-12);
  CHECK(std::abs(values[1].real() - 0.5) < 1e-12);
  CHECK(std::abs(std::abs(values[1].imag()) - 0.25) < 1e-12);
  CHECK(std::abs(values[2] - std::conj(values[1])) < 1e-12);
  CHECK(std::abs(values[3] - std::complex<double>(7, 0)) < 1e-12);
}

TEST_CASE("symmetric eigenvalues come in ascending order") {
  using Backend = EigenBackend<double>;
  metalqr::Stream stream = test::stream(5);
  const Dense v = test::random_matrix(4, 1, stream);
  const Dense U = test::identity(4) - (2 / inner(v, v)) * (v * transpose(v));
  const Dense D{{3, 0, 0, 0}, {0, -1, 0, 0}, {0, 0, 0.5, 0}, {0, 0, 0, 10}};
  const std::vector<double> values = Backend::symmetric_eigenvalues(test::state_matrix(U * D * transpose(U)));
  const std::vector<double> expected{-1, 0.5, 3, 10};
  REQUIRE(values.size() == 4);
  for (std::size_t i = 0; i < 4; ++i) CHECK(std::abs(values[i] - expected[i]) < 1e-13);
}

TEST_CASE("a real Schur form is orthogonal, quasi triangular and gives the matrix back") {
  using Backend = EigenBackend<double>;
  metalqr::Stream stream = test::stream(6);
  const Dense A = test::random_with_radius(6, 0.9, stream);
  const auto schur = Backend::real_schur(test::state_matrix(A));
  const Dense U = dense(schur.U);
  const Dense T = dense(schur.T);
  CHECK(relative_error(transpose(U) * U, test::identity(6)) < 1e-14);
  CHECK(relative_error(U * T * transpose(U), A) < 1e-14);
  for (Index i = 2; i < 6; ++i) {
    for (Index j = 0; j + 1 < i; ++j) CHECK(T(i, j) == 0);
    CHECK(T(i, i - 1) * T(i - 1, i - 2) == 0);
  }
}
