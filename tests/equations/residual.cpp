#include <metalqr/equations/residual.hpp>

#include <cmath>
#include <limits>

#include "support.hpp"

namespace {

using metalqr::detail::normalised_residual;
using test::Backend;
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
