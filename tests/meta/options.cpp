#include <metalqr/meta/options.hpp>

#include <functional>
#include <limits>
#include <string>

#include "support.hpp"

namespace {

namespace meta = metalqr::meta;
namespace zo = metalqr::zeroth_order;
using meta::Options;
using meta::Order;
using metalqr::StepRule;

const double infinity = std::numeric_limits<double>::infinity();
const double not_a_number = std::numeric_limits<double>::quiet_NaN();

/// What validation says after `spoil` has changed `good`.
std::string refusal(const std::function<void(Options&)>& spoil, Options good = {}) {
  spoil(good);
  return test::message_of<metalqr::InvalidOption>([&] { validate(good); });
}

}  // namespace

TEST_CASE("the defaults are the recommended preset: first order, checked, quasi-Newton, guarded") {
  for (const Options& o : {Options{}, meta::recommended()}) {
    CHECK_NOTHROW(validate(o));
    CHECK(o.order == Order::first);
    CHECK(o.inner_steps == 1);
    CHECK(o.inner_step == 0);
    CHECK(o.check_inner_step);
    CHECK(o.outer.rule == StepRule::quasi_newton);
    CHECK(o.estimator.directions == zo::Directions::orthonormal);
    CHECK(o.estimator.points == zo::Points::two);
    CHECK(o.estimator.samples == 0);
    CHECK_FALSE(o.estimator.check_direction);
    CHECK(o.guard);
    CHECK(o.seed == 0);
  }
}

TEST_CASE("the published preset has the published numbers, with and without guard") {
  for (const bool guarded : {false, true}) {
    const Options o = guarded ? meta::published_guarded() : meta::published();
    CHECK_NOTHROW(validate(o));
    CHECK(o.order == Order::printed);
    CHECK(o.iterations == 200);
    CHECK(o.inner_steps == 1);
    CHECK(o.inner_step == 0.8e-5);
    CHECK_FALSE(o.check_inner_step);
    CHECK(o.outer.rule == StepRule::constant);
    CHECK(o.outer.initial == 0.8e-5);
    CHECK(o.estimator.points == zo::Points::two);
    CHECK(o.estimator.directions == zo::Directions::sphere);
    CHECK(o.estimator.samples == 20);
    CHECK(o.estimator.radius == 0.01);
    CHECK(o.estimator.shared_directions);
    CHECK(o.repeat_base_cost);
    CHECK(o.guard == guarded);
  }
}

TEST_CASE("orders have names") {
  CHECK(std::string(to_string(Order::average)) == "average");
  CHECK(std::string(to_string(Order::first)) == "first");
  CHECK(std::string(to_string(Order::second)) == "second");
  CHECK(std::string(to_string(Order::printed)) == "printed");
  CHECK(std::string(to_string(Order::reptile)) == "reptile");
}

TEST_CASE("validation names each bad field") {
  CHECK(refusal([](Options& o) { o.iterations = -1; }) == "iterations: expected a number >= 0, got -1");
  CHECK(refusal([](Options& o) { o.inner_steps = 0; }) == "inner_steps: expected at least 1, got 0");
  for (const double bad : {-1.0, not_a_number, infinity})
    CHECK(refusal([bad](Options& o) { o.inner_step = bad; }).rfind("inner_step: expected a positive", 0) ==
          0);
  for (const double bad : {-1e-9, not_a_number, infinity})
    CHECK(refusal([bad](Options& o) { o.tolerance = bad; }).rfind("tolerance: expected a", 0) == 0);
  CHECK(refusal([](Options& o) { o.threads = -2; }) == "threads: expected a number >= 0, got -2");
  CHECK(refusal([](Options& o) { o.outer = metalqr::constant_step(0); }) ==
        "step.initial: expected a positive step size, got 0");
  CHECK(refusal([](Options& o) { o.outer.shrink = 1; }) == "step.shrink: expected a number in (0, 1), got 1");
  CHECK(refusal([](Options& o) { o.estimator.samples = -1; }) ==
        "samples: expected at least 1, or 0 for n_u n_x, got -1");
  CHECK(refusal([](Options& o) { o.estimator.radius = 0; }) == "radius: expected a positive number, got 0");
}

TEST_CASE("an automatic inner step needs the check that finds it, unless there is no inner step") {
  for (const Order order : {Order::first, Order::second, Order::reptile}) {
    CHECK(refusal([order](Options& o) {
            o.order = order;
            o.check_inner_step = false;
          }) == "inner_step: expected a positive step size where check_inner_step is off, got 0");
  }
  CHECK_NOTHROW(validate(Options{.order = Order::average, .check_inner_step = false}));
}

TEST_CASE("the printed algorithm takes one unchecked inner step of given size") {
  const Options good = meta::published();
  CHECK(refusal([](Options& o) { o.inner_step = 0; }, good).rfind("inner_step: expected a positive", 0) == 0);
  CHECK(refusal([](Options& o) { o.inner_steps = 2; }, good) ==
        "inner_steps: expected 1 for Order::printed, got 2");
  CHECK(refusal([](Options& o) { o.check_inner_step = true; }, good) ==
        "check_inner_step: expected false for Order::printed, got 1");
}
