#pragma once

/// @file
/// Robust synthesis of a static gain by one Lyapunov function for performance and robustness.

#include <algorithm>
#include <cmath>
#include <limits>

#include <metalqr/core/backend.hpp>
#include <metalqr/lqr/optimal_gain.hpp>
#include <metalqr/synthesis/common_lyapunov_programme.hpp>
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
      : problem_(problem), solver_(solver) {
    validate(problem);
    validate(options);
    // An error that is known to be zero has no share.
    const bool both = problem.epsilon_A > 0 && problem.epsilon_B > 0;
    const double own = problem.epsilon_A > 0 ? 1 : 0;
    shares_ = {both && !options.alpha, options.alpha.value_or(own)};
    // Also decides whether there is a gain at all. Tolerances are relative to a cost of one.
    const double cost = Backend::to_double(Backend::trace(solve_dare(problem.estimate).value));
    cost_scale_ = cost > 0 ? cost : Backend::to_double(Backend::max_abs(problem.estimate.R()));
    noise_scale_ = noise_scale(problem.estimate);
  }

  /// The least level; infinity if the solver does not find it.
  double least_level() {
    const double unit = std::max(problem_.epsilon_A, problem_.epsilon_B);
    if (!(unit > 0)) return 0;
    const CommonLyapunovProgramme<Backend> programme(problem_.estimate, problem_.epsilon_A / unit,
                                                     problem_.epsilon_B / unit);
    ++solves_;
    const SdpSolution solution = solver_(programme.least_level(shares_));
    if (!has_solution(solution.status)) return std::numeric_limits<double>::infinity();
    return unit * std::sqrt(std::max(solution.dual_objective, 0.0));
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
    result.gain = programme.gain(solution.y);
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
    if (!(std::max(problem_.epsilon_A, problem_.epsilon_B) > 0)) return design(0);
    return least_bound(least, [this](double gamma) { return design(gamma); });
  }

  int solves() const { return solves_; }

 private:
  const RobustProblem<Backend>& problem_;
  const Solver& solver_;
  Shares shares_;
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
/// Whether there is a design is decided by the least level, one semidefinite programme; another is solved for
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
  const double least = synthesis.least_level();
  const double allowed = options.gamma.value_or(1);
  RobustGain<Backend> result;
  if (!std::isfinite(least)) {
    result = synthesis.empty(SynthesisStatus::failed);
  } else if (allowed <= least * (1 + 1e-6)) {
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
