#pragma once

/// @file
/// Golden section search for the least value of a function of a number in (0, 1).

#include <cmath>
#include <utility>

#include <metalqr/core/version.hpp>

namespace metalqr::inline METALQR_ABI::synthesis::detail {

/// What golden section search found.
template <class Value>
struct LeastPoint {
  double argument = 0;
  Value value{};
};

/// The point with the least value of those that golden section search visits between `low` and `high`, 0 <
/// low
/// <= high < 1, of a function with one valley; `less` compares values. It works on log(x / (1 - x)), so that
/// the ends of the unit interval are seen as finely as its middle, until that is known within `tolerance`.
template <class Function, class Less>
auto golden_section(double low, double high, double tolerance, const Function& function, const Less& less)
    -> LeastPoint<decltype(function(low))> {
  const auto inverse = [](double t) { return 1 / (1 + std::exp(-t)); };
  const double ratio = (std::sqrt(5.0) - 1) / 2;
  double a = std::log(low / (1 - low));
  double b = std::log(high / (1 - high));
  const auto evaluate = [&](double t) {
    LeastPoint<decltype(function(low))> point;
    point.argument = inverse(t);
    point.value = function(point.argument);
    return point;
  };
  double left = b - ratio * (b - a);
  double right = a + ratio * (b - a);
  auto at_left = evaluate(left);
  auto at_right = evaluate(right);
  while (b - a > tolerance) {
    if (less(at_right.value, at_left.value)) {
      a = left;
      left = right;
      at_left = std::move(at_right);
      right = a + ratio * (b - a);
      at_right = evaluate(right);
    } else {
      b = right;
      right = left;
      at_right = std::move(at_left);
      left = b - ratio * (b - a);
      at_left = evaluate(left);
    }
  }
  return less(at_right.value, at_left.value) ? at_right : at_left;
}

}  // namespace metalqr::inline METALQR_ABI::synthesis::detail
