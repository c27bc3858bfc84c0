#pragma once

/// @file
/// How robust syntheses choose the level that a design must stay below.

#include <algorithm>
#include <cmath>
#include <optional>

#include <metalqr/core/error.hpp>
#include <metalqr/synthesis/golden_section.hpp>

namespace metalqr::inline METALQR_ABI::synthesis {

/// For an option that the synthesis is to choose itself.
inline constexpr std::nullopt_t optimised = std::nullopt;

/// How the robust syntheses work.
struct RobustOptions {
  /// The level that the design must stay below, in (0, 1), or `optimised`: that of the least cost bound. A
  /// level near 1 performs better on plants that are not the worst ones, though its own bound is poor (Dean
  /// et al., 2020, figure 4); `certified_cost` is a bound without that fault.
  std::optional<double> gamma = 0.999;
  /// The share of epsilon_A in the level, in (0, 1), or `optimised`; the theory of the paper takes 1/2.
  std::optional<double> alpha = optimised;
};

/// Checks options.
/// @throws InvalidOption.
inline void validate(const RobustOptions& options) {
  const auto check = [](const std::optional<double>& value, const char* name) {
    if (!value) return;
    metalqr::detail::require_option(*value > 0 && *value < 1, name, *value,
                                    "a number in (0, 1), or optimised");
  };
  check(options.gamma, "gamma");
  check(options.alpha, "alpha");
}

namespace detail {

/// The design with the least `cost_bound` among those of levels between `least` and 1, by golden section: the
/// least h2_squared is convex in gamma^2, since the inequalities are affine in that and the unknowns
/// together, so that h2_squared / (1 - gamma)^2 has one valley. Designs that fail have an infinite bound;
/// they occur near `least`.
template <class Design>
auto least_bound(double least, const Design& design) -> decltype(design(least)) {
  const double high = 1 - 1e-4;
  const double low = std::max(least * (1 + 1e-3), 1e-6);
  if (!(low < high)) return design((1 + least) / 2);
  const auto less = [](const auto& x, const auto& y) {
    return !std::isfinite(y.cost_bound) || x.cost_bound < y.cost_bound;
  };
  return golden_section(low, high, 5e-4, design, less).value;
}

}  // namespace detail
}  // namespace metalqr::inline METALQR_ABI::synthesis
