#include <metalqr/systems/gauss_newton.hpp>

#include <cmath>
#include <limits>

#include "support.hpp"

using metalqr::Status;
using test::Backend;

namespace systems = metalqr::systems;

namespace {

/// Rosenbrock's function of a 1x2 gain, infinite beyond x = 3; its Gauss-Newton matrix is J'J of the
/// residuals 10 (y - x^2) and 1 - x.
struct Rosenbrock {
  double value(const Backend::Gain& K) const {
    const double x = K(0, 0);
    const double y = K(0, 1);
    if (x > 3) return std::numeric_limits<double>::infinity();
    return 100 * (y - x * x) * (y - x * x) + (1 - x) * (1 - x);
  }
  systems::detail::SecondOrderModel<Backend> model(const Backend::Gain& K) const {
    const double x = K(0, 0);
    const double y = K(0, 1);
    return {test::gain({{-400 * x * (y - x * x) - 2 * (1 - x), 200 * (y - x * x)}}), 1,
            test::gain({{1200 * x * x - 400 * y + 2, -400 * x}, {-400 * x, 200}}),
            test::gain({{800 * x * x + 2, -400 * x}, {-400 * x, 200}})};
  }
};

/// A linear function: there is no minimum and no curvature.
struct Linear {
  double value(const Backend::Gain& K) const { return K(0, 0) > -1 ? 2 + K(0, 0) : 1.0; }
  systems::detail::SecondOrderModel<Backend> model(const Backend::Gain& /*K*/) const {
    return {test::gain({{1}}), 1, Backend::zero_matrix(1, 1), Backend::zero_matrix(1, 1)};
  }
};

}  // namespace

TEST_CASE("the minimiser follows a curved valley to its end") {
  for (const auto& start : {test::gain({{-1.2, 1}}), test::gain({{2.9, -5}}), test::gain({{0, 0}})}) {
    const auto found = systems::detail::minimise<Backend>(Rosenbrock{}, start, {});
    CHECK(found.status == Status::converged);
    CHECK(found.iterations < 50);
    CHECK(test::relative_error(found.gain(0, 0), 1) < 1e-10);
    CHECK(test::relative_error(found.gain(0, 1), 1) < 1e-10);
  }
}

TEST_CASE("the cap on iterations is kept, and the value has not risen") {
  const auto start = test::gain({{-1.2, 1}});
  double last = Rosenbrock{}.value(start);
  for (int cap = 0; cap < 4; ++cap) {
    const auto found = systems::detail::minimise<Backend>(Rosenbrock{}, start, {.iterations = cap});
    CHECK(found.status == Status::iteration_limit);
    CHECK(found.iterations == cap);
    CHECK((cap == 0 ? found.value == last : found.value < last));
    last = found.value;
  }
}

TEST_CASE("where no step lowers the value the search ends as stalled") {
  const auto found = systems::detail::minimise<Backend>(Linear{}, test::gain({{0}}), {});
  CHECK(found.status == Status::stalled);
}

TEST_CASE("the options of the search are checked") {
  CHECK_THROWS_AS(validate(systems::MinimiserOptions{.iterations = -1}), metalqr::InvalidOption);
  CHECK_THROWS_AS(validate(systems::MinimiserOptions{.tolerance = -1e-9}), metalqr::InvalidOption);
  CHECK_THROWS_AS(validate(systems::MinimiserOptions{.tolerance = std::nan("")}), metalqr::InvalidOption);
}
