#pragma once

/// @file
/// What the synthesis of finite responses is told, and what it gives.

#include <limits>
#include <optional>
#include <string>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/check.hpp>
#include <metalqr/core/error.hpp>
#include <metalqr/core/index.hpp>
#include <metalqr/synthesis/fir_controller.hpp>
#include <metalqr/synthesis/robust_gain.hpp>
#include <metalqr/synthesis/robust_options.hpp>

namespace metalqr::inline METALQR_ABI::synthesis {

/// How `fir` works.
struct FirOptions {
  /// L, coefficients of the responses, at least 1. A short response costs, whatever is uncertain, since the
  /// state must be zero after L steps: on the slow plant of the paper's experiments (closed loop of spectral
  /// radius 0.97) no response of length 16 costs less than 1.752 times the optimum.
  Index length = 16;
  /// See `RobustOptions`. With `slack`, choose `optimised` unless the bound does not matter.
  std::optional<double> gamma = 0.999;
  std::optional<double> alpha = optimised;  ///< see `RobustOptions`
  /// Whether the responses may end in V that is not zero, at the price of |V| in the level: for plants that
  /// are slow to settle. At a fixed gamma V uses up whatever the level leaves, so that the achieved level is
  /// gamma and `certified_cost` is no better than `cost_bound`: on the paper's plant, radii of 0.05 and gamma
  /// 0.999, it is 42425 at L = 3 and 87092 at L = 8, against 1.48 at L = 3 without slack.
  bool slack = false;
};

/// Checks options.
/// @throws InvalidOption.
inline void validate(const FirOptions& options) {
  metalqr::detail::require_option(options.length >= 1, "length", static_cast<double>(options.length),
                                  "at least 1");
  validate(RobustOptions{.gamma = options.gamma, .alpha = options.alpha});
}

/// A dynamic controller for every plant of a `RobustProblem`; see `RobustGain` for the numbers, whose meaning
/// is the same.
template <MatrixBackend Backend>
struct FirDesign {
  SynthesisStatus status = SynthesisStatus::failed;  ///< the rest but `gamma_min` has a meaning if `solved`
  FirController<Backend> controller;                 ///< u = controller(x); empty unless `solved`
  double gamma_min = 0;  ///< least level at this length; infinity if no response is so short, or if the
                         ///< solver failed
  double gamma = 0;      ///< the level that was asked for or found
  double alpha = 0;      ///< the share of epsilon_A in it
  double h2_squared = std::numeric_limits<double>::infinity();    ///< of the responses, if the noise were s I
  double cost_bound = std::numeric_limits<double>::infinity();    ///< h2_squared / (1 - gamma)^2
  double nominal_cost = std::numeric_limits<double>::infinity();  ///< on the estimate, from the state space
  double achieved_hinf = std::numeric_limits<double>::infinity();   ///< exact level, from above within 1e-7
                                                                    ///< relative, and |V| where Phi ends in V
  double certified_cost = std::numeric_limits<double>::infinity();  ///< h2_squared / (1 - achieved_hinf)^2
  int solves = 0;                                                   ///< semidefinite programmes solved
};

namespace detail {

/// Throws for a length whose programme, with n states and p inputs, has more than 10 000 constraints: its
/// solver's matrices would take gigabytes, and hours.
inline void require_practical(const FirOptions& options, Index n, Index p) {
  constexpr Index most = 10'000;
  // Without what does not grow with L; see `FirProgramme`.
  const Index each = 2 * n * n + (options.slack ? n + p : p) * n + 1;
  if (options.length <= most / each) return;
  throw InvalidOption("length: expected at most " + std::to_string(most / each) + " for " +
                      std::to_string(n) + " states and " + std::to_string(p) + " inputs, got " +
                      std::to_string(options.length));
}

}  // namespace detail
}  // namespace metalqr::inline METALQR_ABI::synthesis
