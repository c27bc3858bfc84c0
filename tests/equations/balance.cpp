#include <metalqr/equations/balance.hpp>

#include <cmath>
#include <limits>
#include <vector>

#include "lane_support.hpp"
#include "support.hpp"

namespace {

using metalqr::detail::balancing_scales;
using metalqr::detail::inverses;
using metalqr::detail::scale_entries;
using metalqr::detail::unit_diagonal_scales;
using test::Backend;
using test::Index;
using Matrix = Backend::StateMatrix;
using Vector = Backend::StateVector;

Matrix random_matrix(Index n, std::uint64_t seed) {
  metalqr::Stream stream({.seed = seed});
  Matrix x = Backend::zero_state_matrix(n);
  metalqr::fill_normal<Backend>(x, stream);
  return x;
}

double magnitude(const Matrix& A, const Matrix& G, const Matrix& Q) {
  return 2 * A.cwiseAbs().sum() + G.cwiseAbs().sum() + Q.cwiseAbs().sum();
}

bool is_power_of_two(double value) {
  int exponent = 0;
  return std::frexp(value, &exponent) == 0.5;
}

/// The matrix of a pack's lane in every lane.
std::vector<test::Dense> everywhere(const std::vector<test::Dense>& lanes, Index lane) {
  return std::vector<test::Dense>(lanes.size(), lanes[static_cast<std::size_t>(lane)]);
}

/// A matrix for each lane in units of its own; the first lanes hold zeros, an infinity, a NaN.
template <class Scalar>
std::vector<test::Dense> in_odd_units(Index n, Index odd, metalqr::Stream& stream) {
  auto lanes = test::for_lanes<Scalar>([&] {
    test::Dense x = test::random_semidefinite(n, 1 + n / 2, stream);
    for (Index i = 0; i < n; ++i) {
      const long double unit = std::pow(10.0L, stream.uniform(-8, 8));
      for (Index j = 0; j < n; ++j) x(i, j) *= unit, x(j, i) *= unit;
    }
    return x;
  });
  test::Dense& unusual = lanes[static_cast<std::size_t>(odd) % lanes.size()];
  if (odd % 4 == 0) unusual = test::Dense(n, n);
  if (odd % 4 == 1) unusual(0, n - 1) = std::numeric_limits<double>::infinity();
  if (odd % 4 == 2) unusual(n - 1, 0) = std::numeric_limits<double>::quiet_NaN();
  return lanes;
}

}  // namespace

TEST_CASE("scaling an entry multiplies it by the factors of its row and column") {
  Matrix x = random_matrix(3, 1);
  const Matrix before = x;
  const Vector rows{{1, 2, 0.25}};
  const Vector cols{{4, 1, 0.5}};
  scale_entries<Backend>(x, rows, cols);
  for (Index i = 0; i < 3; ++i) {
    for (Index j = 0; j < 3; ++j) {
      CHECK(x(i, j) == before(i, j) * rows(i) * cols(j));
    }
  }
  scale_entries<Backend>(x, inverses<Backend>(rows), inverses<Backend>(cols));
  CHECK((x - before).norm() == 0);
}

TEST_CASE("balancing undoes a bad choice of units and leaves a good one alone") {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    const Index n = 1 + static_cast<Index>(seed % 6);
    Matrix A = random_matrix(n, 3 * seed);
    const Matrix root_g = random_matrix(n, 3 * seed + 1);
    const Matrix root_q = random_matrix(n, 3 * seed + 2);
    const Matrix G = root_g * root_g.transpose();
    const Matrix Q = root_q * root_q.transpose();
    metalqr::Stream stream({.seed = seed, .sample = 1});
    Vector units(n);
    for (Index i = 0; i < n; ++i) units(i) = std::ldexp(1.0, static_cast<int>(stream.uniform(-20, 20)));
    Matrix bad_A = A;
    Matrix bad_G = G;
    Matrix bad_Q = Q;
    scale_entries<Backend>(bad_A, inverses<Backend>(units), units);
    scale_entries<Backend>(bad_G, inverses<Backend>(units), inverses<Backend>(units));
    scale_entries<Backend>(bad_Q, units, units);
    const Vector scales = balancing_scales<Backend>(bad_A, bad_G, bad_Q);
    for (const double scale : scales) CHECK(is_power_of_two(scale));
    scale_entries<Backend>(bad_A, inverses<Backend>(scales), scales);
    scale_entries<Backend>(bad_G, inverses<Backend>(scales), inverses<Backend>(scales));
    scale_entries<Backend>(bad_Q, scales, scales);
    // As good as the units that the problem was made in, up to the power of two.
    CHECK(magnitude(bad_A, bad_G, bad_Q) <= 2 * magnitude(A, G, Q));
    const Vector again = balancing_scales<Backend>(bad_A, bad_G, bad_Q);
    for (const double scale : again) CHECK(scale == 1);
  }
}

TEST_CASE("balancing gives up on infinities and zeros with scales of one") {
  const Matrix zero = 0 * random_matrix(2, 1);
  Matrix infinite = random_matrix(2, 1);
  infinite(0, 1) = std::numeric_limits<double>::infinity();
  CHECK(balancing_scales<Backend>(zero, zero, zero) == Vector::Ones(2));
  CHECK(balancing_scales<Backend>(infinite, zero, zero) == Vector::Ones(2));
}

TEST_CASE("unit diagonal scales bring each diagonal entry between one half and two") {
  Matrix P = Matrix::Zero(4, 4);
  P(0, 0) = 1e-12;
  P(1, 1) = 3e8;
  P(3, 3) = -1;
  const Vector scales = unit_diagonal_scales<Backend>(P);
  scale_entries<Backend>(P, scales, scales);
  CHECK((P(0, 0) >= 0.5 && P(0, 0) <= 2));
  CHECK((P(1, 1) >= 0.5 && P(1, 1) <= 2));
  CHECK(scales(2) == 1);
  CHECK(scales(3) == 1);
}

TEMPLATE_LIST_TEST_CASE("the scales of a lane are those that it has alone", "", test::LaneScalars) {
  using Lanes = metalqr::EigenBackend<TestType, metalqr::dynamic, metalqr::dynamic, 16, 16>;
  using StateMatrix = typename Lanes::StateMatrix;
  metalqr::Stream stream = test::stream(71);
  for (int sample = 0; sample < 60; ++sample) {
    const Index n = 1 + sample % 9;
    const auto A = in_odd_units<TestType>(n, sample, stream);
    const auto G = in_odd_units<TestType>(n, sample / 2, stream);
    const auto Q = in_odd_units<TestType>(n, sample / 3, stream);
    const StateMatrix zero = Lanes::zero_state_matrix(n);
    const auto scales = balancing_scales<Lanes>(test::filled_lanes(zero, A), test::filled_lanes(zero, G),
                                                test::filled_lanes(zero, Q));
    const auto unit_diagonal = unit_diagonal_scales<Lanes>(test::filled_lanes(zero, Q));
    for (Index lane = 0; lane < test::width<TestType>; ++lane) {
      CAPTURE(sample, lane);
      const auto packed = [&](const std::vector<test::Dense>& lanes) {
        return test::filled_lanes(zero, everywhere(lanes, lane));
      };
      const auto alone = balancing_scales<Lanes>(packed(A), packed(G), packed(Q));
      const test::Dense own = test::lane_of(scales, lane);
      CHECK(own.entries == test::lane_of(alone, lane).entries);
      for (const long double scale : own.entries) CHECK(is_power_of_two(static_cast<double>(scale)));
      CHECK(test::lane_of(unit_diagonal, lane).entries ==
            test::lane_of(unit_diagonal_scales<Lanes>(packed(Q)), lane).entries);
      // Nothing is rounded here, so that packs and plain numbers agree.
      using Plain = metalqr::EigenBackend<test::ValueOf<TestType>>;
      const auto plain =
          unit_diagonal_scales<Plain>(test::state_matrix<Plain>(Q[static_cast<std::size_t>(lane)]));
      CHECK(test::lane_of(unit_diagonal, lane).entries == test::dense<Plain>(plain).entries);
    }
  }
}
