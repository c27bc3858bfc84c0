#include <metalqr/lqr/step_size.hpp>

#include <functional>
#include <limits>
#include <string>

#include "catch.hpp"

namespace {

using metalqr::StepRule;
using metalqr::StepSize;

/// What `validate` says of a good rule after `spoil` has changed it.
std::string refusal(StepSize step, const std::function<void(StepSize&)>& spoil) {
  CHECK_NOTHROW(metalqr::validate(step));
  spoil(step);
  try {
    metalqr::validate(step);
  } catch (const metalqr::InvalidOption& error) {
    return error.what();
  }
  return "accepted";
}

}  // namespace

TEST_CASE("the makers of step rules give the rule of their name with good defaults") {
  CHECK(metalqr::constant_step(0.25).rule == StepRule::constant);
  CHECK(metalqr::constant_step(0.25).initial == 0.25);
  CHECK(metalqr::backtracking().rule == StepRule::backtracking);
  CHECK(metalqr::backtracking().initial == 0);
  CHECK(metalqr::backtracking(2).initial == 2);
  CHECK(metalqr::quasi_newton().rule == StepRule::quasi_newton);
  CHECK(metalqr::quasi_newton(3).initial == 3);
  CHECK(StepSize{}.rule == StepRule::backtracking);
  for (const StepSize& step :
       {StepSize{}, metalqr::constant_step(1), metalqr::backtracking(), metalqr::quasi_newton()}) {
    CHECK_NOTHROW(metalqr::validate(step));
  }
}

TEST_CASE("each field of a step rule outside its range is refused by name") {
  const StepSize good = metalqr::backtracking();
  const double not_a_number = std::numeric_limits<double>::quiet_NaN();
  CHECK(refusal(metalqr::constant_step(1), [](StepSize& s) { s.initial = 0; }) ==
        "step.initial: expected a positive step size, got 0");
  CHECK(refusal(metalqr::constant_step(1), [](StepSize& s) { s.initial = -1; }) ==
        "step.initial: expected a positive step size, got -1");
  CHECK(refusal(good, [](StepSize& s) { s.initial = -1; }) ==
        "step.initial: expected a positive step size, or 0 for automatic, got -1");
  CHECK(refusal(good, [&](StepSize& s) { s.initial = not_a_number; }).rfind("step.initial: expected ", 0) ==
        0);
  for (const double bad : {0.0, 1.0, -0.5, 2.0, not_a_number}) {
    CHECK(refusal(good, [&](StepSize& s) {
            s.shrink = bad;
          }).rfind("step.shrink: expected a number in (0, 1), got ", 0) == 0);
  }
  for (const double bad : {0.99, 0.0, -1.0, not_a_number}) {
    CHECK(refusal(good, [&](StepSize& s) {
            s.grow = bad;
          }).rfind("step.grow: expected a number >= 1, got ", 0) == 0);
  }
  for (const double bad : {-0.1, 1.0, not_a_number}) {
    CHECK(refusal(good, [&](StepSize& s) {
            s.sufficient_decrease = bad;
          }).rfind("step.sufficient_decrease: expected a number in [0, 1), got ", 0) == 0);
  }
  for (const int bad : {0, -1}) {
    CHECK(refusal(good, [&](StepSize& s) {
            s.max_trials = bad;
          }).rfind("step.max_trials: expected at least 1, got ", 0) == 0);
    CHECK(refusal(good, [&](StepSize& s) {
            s.memory = bad;
          }).rfind("step.memory: expected at least 1, got ", 0) == 0);
  }
}

TEST_CASE("an infinite step size is refused") {
  const double infinity = std::numeric_limits<double>::infinity();
  for (const StepSize& good : {metalqr::constant_step(1), metalqr::backtracking(), metalqr::quasi_newton()}) {
    CHECK(refusal(good, [&](StepSize& s) { s.initial = infinity; }).rfind("step.initial: expected ", 0) == 0);
    CHECK(refusal(good, [&](StepSize& s) { s.grow = infinity; }).rfind("step.grow: expected ", 0) == 0);
  }
}
