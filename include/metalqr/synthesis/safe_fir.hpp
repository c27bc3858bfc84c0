#pragma once

/// @file
/// Synthesis of dynamic controllers with finite responses that keep limits on states and inputs.

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/check.hpp>
#include <metalqr/core/error.hpp>
#include <metalqr/core/index.hpp>
#include <metalqr/lqr/optimal_gain.hpp>
#include <metalqr/synthesis/fir_controller.hpp>
#include <metalqr/synthesis/golden_section.hpp>
#include <metalqr/synthesis/input_units.hpp>
#include <metalqr/synthesis/qp.hpp>
#include <metalqr/synthesis/robust_gain.hpp>
#include <metalqr/synthesis/robust_options.hpp>
#include <metalqr/synthesis/safe_certificate.hpp>
#include <metalqr/synthesis/safe_problem.hpp>
#include <metalqr/synthesis/safe_programme.hpp>

namespace metalqr::inline METALQR_ABI::synthesis {

/// How `safe_fir` works.
struct SafeOptions {
  /// L, coefficients of the responses, at least 1; `safe_fir` refuses more than a million entries of its
  /// programmes, and n_x L > 4000.
  Index length = 12;
  /// The level that the design must stay below, in [0, 1), or `optimised`: that of the least cost. A higher
  /// one leaves more freedom, but takes more of the limits.
  std::optional<double> tau = optimised;
};

/// Checks options.
/// @throws InvalidOption.
inline void validate(const SafeOptions& options) {
  metalqr::detail::require_option(options.length >= 1, "length", static_cast<double>(options.length),
                                  "at least 1");
  metalqr::detail::require_option(!options.tau || (*options.tau >= 0 && *options.tau < 1), "tau",
                                  options.tau.value_or(0), "a number in [0, 1), or optimised");
}

/// A dynamic controller that keeps the limits on every plant of a `SafeProblem`.
template <MatrixBackend Backend>
struct SafeDesign {
  SynthesisStatus status = SynthesisStatus::failed;  ///< the rest but `tau_min` has a meaning if `solved`
  FirController<Backend> controller;                 ///< v = controller(x); empty unless `solved`
  /// Least level of a design of this length, within 1e-6 relative. If there is none, a lower bound on what it
  /// would have to be, or infinity where the estimate alone cannot keep the limits.
  double tau_min = std::numeric_limits<double>::infinity();
  double tau = 0;                 ///< the level that was asked for or found
  SafetyCertificate certificate;  ///< what the controller is proved to do, from its responses alone
  double nominal_cost = std::numeric_limits<double>::infinity();  ///< on the estimate, without exploration
  int solves = 0;                                                 ///< programmes solved
};

namespace detail {

/// A problem in the units in which its programmes are written: with d the state's unit and c the input's, a
/// power of two each (see `input_unit`), x / d and c u / d are about as large as what drives the loop, and
/// limits are divided by the sizes of their weights. Phi_x is the same, Phi_u that of the programme over c.
template <MatrixBackend Backend>
struct SafeUnits {
  double input = 1;              ///< c
  SafeProblem<Backend> problem;  ///< in these units

  explicit SafeUnits(const SafeProblem<Backend>& given)
      : input(input_unit(given.estimate, given.epsilon_B)), problem(given) {
    const SafeNoise noise(given);
    const double amplitude = std::max(noise.total, noise.start);
    const double d = amplitude > 0 ? power_near(amplitude, 60) : 1;
    problem.estimate = in_input_unit(given.estimate, input);
    problem.epsilon_B = given.epsilon_B / input;
    problem.noise = given.noise / d;
    problem.exploration = given.exploration * input / d;
    if (given.x0) {
      problem.x0 = typename Backend::StateVector(*given.x0 / static_cast<typename Backend::Scalar>(d));
    }
    for (SafetyLimit& one : problem.state_limits) rescale(one, 1, d);
    for (SafetyLimit& one : problem.input_limits) rescale(one, input, d);
  }

 private:
  static double power_near(double size, int most) {
    return std::ldexp(1.0, std::clamp(std::ilogb(size), -most, most));
  }
  static void rescale(SafetyLimit& limit, double c, double d) {
    double size = 0;
    for (const double weight : limit.weights) size = std::max(size, std::abs(weight));
    const double unit = power_near(size, 1000);
    for (double& weight : limit.weights) weight = weight / unit;
    // Of a'x and of (a / c)'(c u), the latter times c.
    limit.limit = limit.limit / unit / d * c;
  }
};

/// Throws for a length whose programmes have more than a million entries, or whose controller has more than
/// 4000 states: they would take hours and gigabytes.
template <MatrixBackend Backend>
void require_practical(const SafeProblem<Backend>& problem, Index length) {
  const SafeProgramme<Backend> programme(problem, 1);
  const Index n = problem.estimate.nx();
  const auto practical = [&](Index L) { return L <= 4000 / n && programme.entries(L) <= 1e6; };
  if (practical(length)) return;
  Index longest = 0;
  for (Index step = 2048; step > 0; step /= 2) longest += practical(longest + step) ? step : 0;
  throw InvalidOption("length: expected at most " + std::to_string(longest) + " for " + std::to_string(n) +
                      " states and " + std::to_string(problem.estimate.nu()) +
                      " inputs with these limits, got " + std::to_string(length));
}

/// Safe synthesis for one problem, at any level.
template <DecomposingBackend Backend, QpSolver Solver>
class SafeSynthesis {
 public:
  using StateMatrix = typename Backend::StateMatrix;
  using Gain = typename Backend::Gain;
  using Scalar = typename Backend::Scalar;

  SafeSynthesis(const SafeSynthesis&) = delete;
  SafeSynthesis(const SafeProblem<Backend>& problem, const Solver& solver, Index length)
      : problem_(problem),
        units_(problem),
        solver_(solver),
        length_(length),
        programme_(units_.problem, length) {
    const Task<Backend>& task = units_.problem.estimate;
    const RiccatiSolution<Backend> optimal = solve_dare(task);
    K_ = optimal.gain;
    const double cost = Backend::to_double(Backend::inner(optimal.value, task.Sigma0()));
    scale_ = cost > 0 ? cost : 1;
  }

  /// What the search for the least level ended with.
  struct LeastLevel {
    double level = std::numeric_limits<double>::infinity();
    bool feasible = false;
    bool failed = false;
  };

  /// The least level. With T(tau) the least level of responses that keep the limits where the perturbation is
  /// as large as at tau, tau is feasible if and only if T(tau) <= tau. T does not decrease: T(tau) of an
  /// infeasible tau lies below every feasible level above tau, and T(tau) of a feasible one is feasible.
  LeastLevel least_level() {
    double lower = 0;
    double upper = std::numeric_limits<double>::infinity();  // feasible
    double ceiling = 1;                                      // nothing from here on is feasible
    double below = -1;                                       // the highest level tried of those below T
    double next = 0;
    for (int step = 0; step < 60; ++step) {
      const LeastLevel found = required_level(next);
      if (found.failed) return found;
      const double value = found.level;
      double guess = lower;
      if (!std::isfinite(value)) {
        ceiling = next;
        if (next <= below || next <= lower) return {next > 0 ? lower : value, false, false};
      } else if (value <= next * (1 + 0.5 * tolerance) + 1e-9) {
        upper = std::min(upper, std::max(value, next * (1 - 0.5 * tolerance)));
        guess = (lower + upper) / 2;
      } else {
        // Where T is convex the secant stays below the least level; elsewhere it may not.
        const double slope = below >= 0 ? (value - lower) / (next - below) : 1;
        if (slope < 1) guess = next + (value - next) / (1 - slope);
        if (slope >= 1) guess = value;
        below = next;
        lower = value;
        guess = std::clamp(guess, lower, std::max(lower, (lower + std::min(upper, ceiling)) / 2));
      }
      if (upper <= lower * (1 + tolerance) + 1e-9) return {std::max(lower, upper), true, false};
      if (lower >= ceiling) return {lower, false, false};
      next = guess;
    }
    return {lower, std::isfinite(upper), !std::isfinite(upper)};
  }

  /// The design at a level; `solved` if its certificate shows that it is safe.
  SafeDesign<Backend> design(double tau) {
    SafeDesign<Backend> result;
    result.tau = tau;
    ++solves_;
    const QpSolution solution = solver_(programme_.least_cost(tau, scale_));
    if (!has_solution(solution.status)) return result;
    const auto at = [&](Index place) {
      return static_cast<Scalar>(solution.x[static_cast<std::size_t>(place)]);
    };
    // Along the dynamics, where the stabilising K keeps the programme's residuals from growing.
    const Task<Backend>& task = units_.problem.estimate;
    std::vector<StateMatrix> states;
    std::vector<Gain> inputs;
    StateMatrix state = Backend::identity_like(task.A());
    for (Index k = 0; k < length_; ++k) {
      StateMatrix deviation = state;
      Gain input = Backend::zero_like(K_);
      for (Index j = 0; j < task.nx(); ++j) {
        for (Index i = 0; i < task.nx(); ++i) deviation(i, j) -= at(programme_.state(k, i, j));
        for (Index a = 0; a < task.nu(); ++a) input(a, j) = at(programme_.input(k, a, j));
      }
      input -= Gain(Backend::product(K_, deviation));
      states.push_back(state);
      inputs.push_back(input);
      state = StateMatrix(Backend::product(task.A(), state)) + StateMatrix(Backend::product(task.B(), input));
    }
    if (!Backend::is_finite(state)) return result;
    for (Gain& input : inputs) {
      input = Gain(input / static_cast<Scalar>(units_.input));
      if (!Backend::is_finite(input)) return result;
    }
    FirController<Backend> controller(std::move(states), std::move(inputs));
    result.certificate = certify_safety(problem_, controller);
    result.nominal_cost = cost(problem_.estimate, controller.state_space());
    if (result.certificate.safe() && result.certificate.level <= tau * (1 + 1e-6) + 1e-7 &&
        std::isfinite(result.nominal_cost)) {
      result.status = SynthesisStatus::solved;
      result.controller = std::move(controller);
    }
    return result;
  }

  int solves() const { return solves_; }

 private:
  static constexpr double tolerance = 1e-6;

  // T(tau).
  LeastLevel required_level(double tau) {
    ++solves_;
    const QpSolution solution = solver_(programme_.least_level(tau));
    if (has_solution(solution.status)) return {std::max(solution.objective, 0.0), true, false};
    return {std::numeric_limits<double>::infinity(), false, solution.status != QpStatus::infeasible};
  }

  const SafeProblem<Backend>& problem_;
  SafeUnits<Backend> units_;
  const Solver& solver_;
  Index length_;
  SafeProgramme<Backend> programme_;
  Gain K_;
  double scale_ = 1;
  int solves_ = 0;
};

}  // namespace detail

/// The controller of least nominal cost, with responses of length L on the estimate, that is proved to keep
/// every limit at all times on every plant of the problem, under every noise and exploration within their
/// bounds (Dean, Tu, Matni and Recht, "Safely learning to control the constrained linear quadratic
/// regulator", ACC 2019; the bound is that of `certify_safety`). For a fixed tau that is one quadratic
/// programme of some 2 (n + p) n L variables; the least tau takes about five linear programmes of that size,
/// `optimised` some twenty quadratic ones more. A design that is returned as `solved` was checked without
/// the solver; limits are kept exactly, by 1e-7 of them.
/// @param solver a solver of quadratic programmes, such as `IpoptSolver`.
/// @throws what `validate` of the problem and of the options throws, InvalidOption also for a length that is
/// not practical; NotStabilizable, NoConvergence for the
/// estimate; what the solver throws.
template <DecomposingBackend Backend, QpSolver Solver>
SafeDesign<Backend> safe_fir(const SafeProblem<Backend>& problem, const Solver& solver,
                             const SafeOptions& options = {}) {
  validate(problem);
  validate(options);
  detail::require_practical(problem, options.length);
  detail::SafeSynthesis<Backend, Solver> synthesis(problem, solver, options.length);
  const auto least = synthesis.least_level();
  SafeDesign<Backend> result;
  if (!least.failed && (!least.feasible || (options.tau && *options.tau < least.level))) {
    result.status = SynthesisStatus::infeasible;
    result.tau = options.tau.value_or(1);
  } else if (!least.failed) {
    const bool certain = !(problem.epsilon_A > 0 || problem.epsilon_B > 0);
    const auto design = [&](double tau) { return synthesis.design(tau); };
    const auto less = [](const auto& x, const auto& y) {
      const auto value = [](const auto& z) {
        return z.status == SynthesisStatus::solved ? z.nominal_cost : std::numeric_limits<double>::infinity();
      };
      return value(x) < value(y);
    };
    const double low = std::max(least.level * (1 + 1e-3), 1e-6);
    if (options.tau || certain || !(low < 1 - 1e-4)) {
      result = design(options.tau ? *options.tau : certain ? 0 : (1 + least.level) / 2);
    } else {
      // A tau that is too high has no design: the search then goes on below.
      result = detail::golden_section(low, 1 - 1e-4, 2e-2, design, less).value;
      if (result.status != SynthesisStatus::solved) result = design(low);
    }
  }
  result.tau_min = least.level;
  result.solves = synthesis.solves();
  return result;
}

}  // namespace metalqr::inline METALQR_ABI::synthesis
