#pragma once

/// @file
/// Robust synthesis of a static gain by one Lyapunov function for performance and robustness.

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/error.hpp>
#include <metalqr/lqr/optimal_gain.hpp>
#include <metalqr/synthesis/certificate.hpp>
#include <metalqr/synthesis/common_lyapunov_programme.hpp>
#include <metalqr/synthesis/input_units.hpp>
#include <metalqr/synthesis/problem.hpp>
#include <metalqr/synthesis/robust_gain.hpp>
#include <metalqr/synthesis/robust_options.hpp>
#include <metalqr/synthesis/sdp.hpp>

namespace metalqr::inline METALQR_ABI::synthesis {

namespace detail {

/// Common Lyapunov synthesis for one problem, at any level.
template <DecomposingBackend Backend, SdpSolver Solver>
class CommonLyapunov {
 public:
  CommonLyapunov(const RobustProblem<Backend>& problem, const Solver& solver, const RobustOptions& options)
      : CommonLyapunov(validated(problem, options), solver, options,
                       input_unit(problem.estimate, problem.epsilon_B)) {}

  /// The least level; infinity if the solver does not find it.
  double least_level() {
    const double unit = largest_radius();
    if (!(unit > 0)) return 0;
    const CommonLyapunovProgramme<Backend> programme(problem_.estimate, problem_.epsilon_A / unit,
                                                     problem_.epsilon_B / unit);
    ++solves_;
    const SdpSolution solution = solver_(programme.least_level(shares_));
    if (!has_solution(solution.status)) return std::numeric_limits<double>::infinity();
    return unit * std::sqrt(std::max(solution.dual_objective, 0.0));
  }

  /// The level that the optimal gain of the estimate has, not below the least one: infinity if it is not
  /// found.
  double certain_level() const {
    try {
      return alpha_ ? robustness_level<Backend>(problem_, optimal_, *alpha_)
                    : certify<Backend>(problem_, optimal_).level;
    } catch (const NoConvergence&) {
      return std::numeric_limits<double>::infinity();
    }
  }

  /// The design at a level, not checked yet; its bounds are infinite if there is none.
  RobustGain<Backend> design(double gamma) {
    const auto radius = [gamma](double epsilon) { return epsilon > 0 ? epsilon / gamma : 0; };
    const CommonLyapunovProgramme<Backend> programme(problem_.estimate, radius(problem_.epsilon_A),
                                                     radius(problem_.epsilon_B));
    ++solves_;
    const SdpSolution solution = solver_(programme.least_cost(shares_, cost_scale_));
    RobustGain<Backend> result = empty(SynthesisStatus::failed);
    result.gamma = gamma;
    if (!has_solution(solution.status)) return result;
    result.alpha = shares_.free ? solution.y.back() : shares_.alpha;
    result.gain = programme.gain(solution.y) / static_cast<typename Backend::Scalar>(unit_);
    result.h2_squared = noise_scale_ * cost_scale_ * solution.dual_objective;
    result.cost_bound = result.h2_squared / ((1 - gamma) * (1 - gamma));
    return result;
  }

  /// No design.
  RobustGain<Backend> empty(SynthesisStatus status) const {
    RobustGain<Backend> result;
    result.status = status;
    result.gain = Backend::zero_gain(problem_.estimate.nu(), problem_.estimate.nx());
    return result;
  }

  /// The design with the least bound among levels above `least`.
  RobustGain<Backend> best_design(double least) {
    if (!(largest_radius() > 0)) return design(0);
    return least_bound(least, [this](double gamma) { return design(gamma); });
  }

  int solves() const { return solves_; }

 private:
  static const RobustProblem<Backend>& validated(const RobustProblem<Backend>& problem,
                                                 const RobustOptions& options) {
    validate(problem);
    validate(options);
    return problem;
  }
  CommonLyapunov(const RobustProblem<Backend>& problem, const Solver& solver, const RobustOptions& options,
                 double unit)
      : unit_(unit), problem_(in_input_unit(problem, unit)), solver_(solver), alpha_(options.alpha) {
    // An error that is known to be zero has no share.
    const bool both = problem_.epsilon_A > 0 && problem_.epsilon_B > 0;
    const double own = problem_.epsilon_A > 0 ? 1 : 0;
    shares_ = {both && !alpha_, alpha_.value_or(own)};
    // Also decides whether there is a gain at all. Tolerances are relative to a cost of one.
    const RiccatiSolution<Backend> optimal = solve_dare(problem_.estimate);
    optimal_ = optimal.gain;
    const double cost = Backend::to_double(Backend::trace(optimal.value));
    cost_scale_ = cost > 0 ? cost : Backend::to_double(Backend::max_abs(problem_.estimate.R()));
    noise_scale_ = noise_scale(problem_.estimate);
  }
  double largest_radius() const { return std::max(problem_.epsilon_A, problem_.epsilon_B); }

  double unit_;
  RobustProblem<Backend> problem_;  // of the input unit_ u
  const Solver& solver_;
  std::optional<double> alpha_;
  Shares shares_;
  typename Backend::Gain optimal_;
  double cost_scale_ = 1;
  double noise_scale_ = 1;
  int solves_ = 0;
};

}  // namespace detail

/// The least level gamma for which common Lyapunov synthesis has a solution, to about 1e-6 of itself (1e-5 of
/// the radii where that is more): one semidefinite programme. Infinity if the solver fails.
/// @throws InvalidOption; NotStabilizable, NoConvergence for the estimate.
template <DecomposingBackend Backend, SdpSolver Solver>
double least_common_lyapunov_level(const RobustProblem<Backend>& problem, const Solver& solver,
                                   const RobustOptions& options = {}) {
  return detail::CommonLyapunov<Backend, Solver>(problem, solver, options).least_level();
}

/// A static gain that stabilises every plant of the problem, with a bound on its cost there: common Lyapunov
/// relaxation of the robust LQR problem (Dean, Mania, Matni, Recht and Tu, "On the sample complexity of the
/// linear quadratic regulator", Found. Comput. Math. 20, 2020, section 5.2). For every plant within the
/// radii, J <= h2_squared / (1 - gamma)^2, with squares, since costs here are squared H2 norms.
///
/// Whether there is a design is decided by the least level, one semidefinite programme, or by the level of
/// the estimate's optimal gain where that is allowed and the programme says otherwise; another is solved for
/// a fixed gamma, and about twenty-five for `optimised`, by golden section, since the bound has one valley.
/// Their m = n(n+1)/2 + n p + p(p+1)/2 + 1 unknowns cost O(m^3 + m^2 (3n+p)^2) an iteration. A design that is
/// returned as `solved` was verified without the solver: stability, H-infinity level, cost.
/// @param solver a solver of semidefinite programmes, such as `Csdp`.
/// @throws InvalidOption for bad radii or options; NotStabilizable, NoConvergence for the estimate; what the
/// solver throws.
template <DecomposingBackend Backend, SdpSolver Solver>
RobustGain<Backend> common_lyapunov(const RobustProblem<Backend>& problem, const Solver& solver,
                                    const RobustOptions& options = {}) {
  detail::CommonLyapunov<Backend, Solver> synthesis(problem, solver, options);
  const double allowed = options.gamma.value_or(1);
  const auto is_above = [allowed](double level) { return allowed <= level * (1 + 1e-6); };
  const double found = synthesis.least_level();
  double least = found;
  if (is_above(found)) {
    const double certain = synthesis.certain_level();
    if (!is_above(certain)) least = certain;
  }
  RobustGain<Backend> result;
  if (!std::isfinite(least)) {
    result = synthesis.empty(SynthesisStatus::failed);
  } else if (is_above(least)) {
    result = synthesis.empty(SynthesisStatus::infeasible);
    result.gamma = allowed;
  } else {
    result = options.gamma ? synthesis.design(*options.gamma) : synthesis.best_design(least);
    detail::verify(problem, result);
    if (result.status != SynthesisStatus::solved) {
      result.gain = Backend::zero_like(result.gain);
    }
  }
  result.gamma_min = least;
  result.solves = synthesis.solves();
  return result;
}

}  // namespace metalqr::inline METALQR_ABI::synthesis
