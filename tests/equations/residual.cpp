#include <metalqr/equations/residual.hpp>

#include <cmath>
#include <limits>
#include <vector>

#include <metalqr/core/lane_matrix.hpp>

#include "support.hpp"

namespace {

using metalqr::detail::normalised_residual;
using test::Backend;
using test::Index;
using test::state_matrix;

}  // namespace

TEST_CASE("the residual is relative to the terms at every scale of the numbers") {
  // |defect| = 5, |term| = 13, |other| = 1.
  for (const double scale : {1.0, 1e-310, 1e-200, 1e200, 1e307}) {
    CAPTURE(scale);
    const auto defect = state_matrix({{3 * scale, 0}, {0, -4 * scale}});
    const auto term = state_matrix({{5 * scale, -12 * scale}, {0, 0}});
    const auto other = state_matrix({{0, 0}, {scale, 0}});
    CHECK(normalised_residual<Backend>(defect, term, other) == Catch::Approx(5.0 / 14));
    CHECK(normalised_residual<Backend>(defect, defect) == Catch::Approx(1));
  }
}

TEST_CASE("zeros leave no residual, and what is not finite an infinite one") {
  const auto zero = state_matrix(test::Dense(2, 2));
  const auto one = state_matrix(test::identity(2));
  CHECK(normalised_residual<Backend>(zero, zero, zero) == 0);
  CHECK(normalised_residual<Backend>(zero, one) == 0);
  for (const double bad :
       {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    auto broken = one;
    broken(1, 0) = bad;
    CHECK(std::isinf(normalised_residual<Backend>(broken, one)));
    CHECK(std::isinf(normalised_residual<Backend>(zero, one, broken)));
  }
}

namespace {

/// A defect of 0.6 epsilon times the terms in each of its 16 x 16 entries: 0.6 * 16 epsilon / 2 of the sum.
template <class Scalar>
double small_residual(double scale) {
  using Own = metalqr::EigenBackend<Scalar>;
  const auto epsilon = Own::epsilon();
  typename Own::StateMatrix term = Own::zero_state_matrix(16);
  typename Own::StateMatrix defect = term;
  term(3, 4) = static_cast<Scalar>(scale);
  for (Index i = 0; i < 16; ++i) {
    for (Index j = 0; j < 16; ++j) defect(i, j) = Scalar(0.6) * epsilon * term(3, 4);
  }
  return static_cast<double>(normalised_residual<Own>(defect, term, term) / (Scalar(4.8) * epsilon));
}

}  // namespace

TEST_CASE("a residual of a few roundings is not lost where its squares are next to underflow") {
  for (int exponent = -290; exponent <= -100; ++exponent) {
    CAPTURE(exponent);
    CHECK(small_residual<double>(std::pow(10.0, exponent)) == Catch::Approx(1).epsilon(1e-10));
  }
  for (int exponent = -28; exponent <= 10; ++exponent) {
    CAPTURE(exponent);
    CHECK(small_residual<float>(std::pow(10.0, exponent)) == Catch::Approx(1).epsilon(1e-4));
  }
}

TEST_CASE("each lane has the residual that it has alone, whatever the scale of its neighbours") {
  using Lanes = metalqr::LanesOf<metalqr::EigenBackend<double, 3, 1>>;
  using Lane = metalqr::LaneTraits<Lanes::Scalar>;
  const std::vector<double> scales{1, 1e-146, 0, 1e-310, 1e200, 1e-150, std::nan(""), 3};
  auto stream = test::stream(4);
  const auto matrix = [](const std::vector<double>& entries, double scale) {
    Lanes::StateMatrix result;
    for (Index i = 0; i < 9; ++i) {
      result(i / 3, i % 3) = Lane::number(entries[static_cast<std::size_t>(i)] * scale);
    }
    return result;
  };
  std::vector<double> x(9);
  std::vector<double> y(9);
  for (double& entry : x) entry = stream.normal();
  for (double& entry : y) entry = stream.normal();
  for (std::size_t first = 0; first < scales.size(); ++first) {
    Lanes::StateMatrix defect = matrix(x, 1);
    Lanes::StateMatrix term = matrix(y, 1);
    const auto scale = [&](Index lane) {
      return scales[(first + static_cast<std::size_t>(lane)) % scales.size()];
    };
    const Lanes::Scalar factor = Lane::make(scale);
    for (Index i = 0; i < 3; ++i) {
      for (Index j = 0; j < 3; ++j) {
        defect(i, j) = defect(i, j) * factor;
        term(i, j) = term(i, j) * factor;
      }
    }
    const Lanes::Scalar together = normalised_residual<Lanes>(defect, term);
    for (Index lane = 0; lane < Lane::count; ++lane) {
      CAPTURE(first, lane, scale(lane));
      const Lanes::Scalar alone = normalised_residual<Lanes>(matrix(x, scale(lane)), matrix(y, scale(lane)));
      CHECK(Lane::get(together, lane) == Lane::get(alone, 0));
    }
  }
}
