#include <metalqr/equations/quasi_triangular.hpp>

#include <cmath>
#include <complex>
#include <vector>

#include "support.hpp"

namespace {

using metalqr::detail::diagonal_blocks;
using metalqr::detail::quasi_triangular_radius;
using metalqr::detail::reversed_columns;
using metalqr::detail::reversed_transpose;
using metalqr::detail::SmallSystem;
using metalqr::detail::solve_quasi_triangular;
using test::Backend;
using test::Index;
using Matrix = Backend::StateMatrix;

// Random quasi upper triangular matrix with blocks of the given sizes.
Matrix quasi_triangular(const std::vector<Index>& sizes, std::uint64_t seed) {
  Index n = 0;
  for (const Index size : sizes) n += size;
  metalqr::Stream stream({.seed = seed});
  Matrix T = Matrix::Zero(n, n);
  metalqr::fill_normal<Backend>(T, stream);
  Index begin = 0;
  for (const Index size : sizes) {
    for (Index j = begin; j < begin + size; ++j) {
      for (Index i = begin + size; i < n; ++i) T(i, j) = 0;
    }
    begin += size;
  }
  return T;
}

}  // namespace

TEST_CASE("diagonal blocks are read off the subdiagonal") {
  const auto blocks = diagonal_blocks<Backend>(quasi_triangular({1, 2, 2, 1}, 1));
  REQUIRE(blocks.size() == 4);
  const std::vector<std::pair<Index, Index>> expected{{0, 1}, {1, 2}, {3, 2}, {5, 1}};
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(blocks[i].begin == expected[i].first);
    CHECK(blocks[i].size == expected[i].second);
  }
}

TEST_CASE("small systems are solved whatever the order of their pivots") {
  SmallSystem<double> system;
  system.n = 3;
  // 2 y = 4, 1e-20 x + y + z = 1, 3 x = 9.
  system.rows[0] = {0, 2, 0, 4};
  system.rows[1] = {1e-20, 1, 1, 1};
  system.rows[2] = {3, 0, 0, 9};
  CHECK(system.solve() > 0.1);
  CHECK(system.unknowns[0] == Approx(3));
  CHECK(system.unknowns[1] == Approx(2));
  CHECK(system.unknowns[2] == Approx(-1));
  SmallSystem<double> singular;
  singular.n = 2;
  singular.rows[0] = {1, 2, 3};
  singular.rows[1] = {2, 4, 5};
  CHECK(singular.solve() == 0);
}

TEST_CASE("substitution solves Y = C + T'YT: its residual is at rounding level") {
  std::uint64_t seed = 10;
  for (const auto& sizes : std::vector<std::vector<Index>>{
           {1}, {2}, {1, 1}, {1, 2}, {2, 1}, {2, 2}, {1, 2, 1, 2, 2}, {2, 2, 2, 1, 1, 1}}) {
    const Matrix T = 0.5 * quasi_triangular(sizes, ++seed);
    metalqr::Stream stream({.seed = ++seed});
    Matrix C = Matrix::Zero(T.rows(), T.rows());
    metalqr::fill_normal<Backend>(C, stream);
    const auto result = solve_quasi_triangular<Backend>(T, C);
    const Matrix& Y = result.value;
    const Matrix moved = T.transpose() * Y * T;
    const Matrix residual = C + moved - Y;
    CHECK(residual.norm() <= 1e-13 * (C.norm() + moved.norm() + Y.norm()) / std::min(1.0, result.pivot));
  }
}

TEST_CASE("eigenvalues whose product is one show as a pivot of zero") {
  Matrix T = Matrix::Zero(2, 2);
  T << 2, 1, 0, 0.5;
  CHECK(solve_quasi_triangular<Backend>(T, Matrix(Matrix::Identity(2, 2))).pivot == 0);
}

TEST_CASE("reversal turns the adjoint equation into the equation itself") {
  const Matrix T = 0.4 * quasi_triangular({2, 1, 2}, 40);
  const Matrix reversed = reversed_transpose<Backend>(T);
  const Index n = T.rows();
  Matrix J = Matrix::Zero(n, n);
  for (Index i = 0; i < n; ++i) J(i, n - 1 - i) = 1;
  CHECK((reversed - J * T.transpose() * J).norm() == 0);
  CHECK((reversed_columns<Backend>(T) - T * J).norm() == 0);
  CHECK(diagonal_blocks<Backend>(reversed).size() == 3);
}

TEST_CASE("the radius of a quasi triangular matrix is that of its diagonal blocks") {
  Matrix T = Matrix::Zero(3, 3);
  T << 0.3, 5, 7, 0, 0.6, -0.8, 0, 0.8, 0.6;  // a rotation: modulus 1
  CHECK(quasi_triangular_radius<Backend>(T) == Approx(1).epsilon(1e-15));
  T << 0.3, 5, 7, 0, 1, 2, 0, 2, 1;  // real eigenvalues 3 and -1
  CHECK(quasi_triangular_radius<Backend>(T) == Approx(3).epsilon(1e-15));
  T << -4, 5, 7, 0, 1, 2, 0, 2, 1;
  CHECK(quasi_triangular_radius<Backend>(T) == Approx(4).epsilon(1e-15));
}
