#pragma once

/// @file
/// What the syntheses of static gains give, and its independent checks.

#include <cmath>
#include <limits>

#include <metalqr/core/backend.hpp>
#include <metalqr/equations/spectral.hpp>
#include <metalqr/lqr/evaluation.hpp>
#include <metalqr/synthesis/problem.hpp>

namespace metalqr::inline METALQR_ABI::synthesis {

/// How a synthesis ended.
enum class SynthesisStatus {
  solved,      ///< there is a design, and what is claimed of it passed checks that do not use the solver
  infeasible,  ///< there is none: `gamma_min` is not below the level that was asked for
  failed       ///< the solver gave none that passed the checks
};

/// The enumerator's name.
constexpr const char* to_string(SynthesisStatus status) {
  switch (status) {
    case SynthesisStatus::solved:
      return "solved";
    case SynthesisStatus::infeasible:
      return "infeasible";
    case SynthesisStatus::failed:
      return "failed";
  }
  return "unknown";
}

/// A static gain for every plant of a `RobustProblem`. Costs are those of noise of covariance Sigma0; bounds
/// use s I instead, s its largest eigenvalue.
template <MatrixBackend Backend>
struct RobustGain {
  SynthesisStatus status = SynthesisStatus::failed;  ///< the rest but `gamma_min` has a meaning if `solved`
  typename Backend::Gain gain;                       ///< K, n_u x n_x, u = -K x; zero unless `solved`
  double gamma_min = 0;  ///< least level for which the programme has a solution; above 1: no robust gain.
                         ///< That of the optimal gain where it is lower than what the solver finds
  double gamma = 0;      ///< the level that was asked for or found
  double alpha = 0;      ///< the share of epsilon_A in it, in [0, 1]
  double h2_squared = std::numeric_limits<double>::infinity();  ///< the programme's bound on the nominal cost
  double cost_bound =
      std::numeric_limits<double>::infinity();  ///< h2_squared / (1 - gamma)^2, above the cost on every
                                                ///< plant; infinity unless `solved`
  double nominal_cost = std::numeric_limits<double>::infinity();    ///< tr(P Sigma0) on the estimate, exactly
  double achieved_hinf = std::numeric_limits<double>::infinity();   ///< H_alpha(K), exactly; at most gamma
  double certified_cost = std::numeric_limits<double>::infinity();  ///< s tr(P) / (1 - achieved_hinf)^2:
                                                                    ///< above the cost on every plant, at
                                                                    ///< most cost_bound up to rounding
  double spectral_radius = std::numeric_limits<double>::infinity();  ///< rho(Ahat - Bhat K)
  int solves = 0;                                                    ///< semidefinite programmes solved
};

namespace detail {

/// Fills in what K does on the estimate, and sets `solved` if the closed loop is proved stable, its level is
/// at most gamma and its cost at most h2_squared, up to 1e-6 relative.
template <DecomposingBackend Backend>
void verify(const RobustProblem<Backend>& problem, RobustGain<Backend>& design) {
  constexpr double slack = 1 + 1e-6;
  const double promised = design.cost_bound;
  design.status = SynthesisStatus::failed;
  design.cost_bound = std::numeric_limits<double>::infinity();
  if (!std::isfinite(design.h2_squared) || !Backend::is_finite(design.gain)) return;
  const typename Backend::StateMatrix F = closed_loop(problem.estimate, design.gain);
  design.spectral_radius = Backend::to_double(metalqr::spectral_radius<Backend>(F));
  const double cost = unit_cost<Backend>(problem.estimate, design.gain);
  if (!std::isfinite(cost)) return;
  const double scale = noise_scale(problem.estimate);
  design.nominal_cost = Backend::to_double(metalqr::cost(problem.estimate, design.gain));
  design.achieved_hinf = split_level(problem, F, design.gain, design.alpha);
  const double margin = 1 - design.achieved_hinf;
  if (margin > 0) design.certified_cost = scale * cost / (margin * margin);
  if (design.achieved_hinf <= design.gamma * slack && margin > 0 &&
      scale * cost <= design.h2_squared * slack) {
    design.status = SynthesisStatus::solved;
    // Where the solver's rounding let the level or the cost pass the programme's, the bound follows.
    const bool passed = design.achieved_hinf > design.gamma || scale * cost > design.h2_squared;
    design.h2_squared = std::max(design.h2_squared, scale * cost);
    design.cost_bound = passed ? std::max(promised, design.certified_cost) : promised;
  }
}

}  // namespace detail
}  // namespace metalqr::inline METALQR_ABI::synthesis
