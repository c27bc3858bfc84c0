#pragma once

/// @file
/// What robust synthesis will achieve on a known plant, before there are data: for planning.

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <optional>
#include <type_traits>
#include <vector>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/check.hpp>
#include <metalqr/equations/spectral.hpp>
#include <metalqr/equations/spectral_norm.hpp>
#include <metalqr/identification/planning_bound.hpp>
#include <metalqr/lqr/evaluation.hpp>
#include <metalqr/lqr/optimal_gain.hpp>
#include <metalqr/synthesis/certificate.hpp>
#include <metalqr/synthesis/decay.hpp>
#include <metalqr/synthesis/problem.hpp>

namespace metalqr::inline METALQR_ABI::synthesis {

/// Which a-priori guarantee is taken; roots of costs are compared.
enum class Guarantee {
  published,  ///< with alpha = 1/2: 5 zeta where zeta <= 1/5; for finite responses 10 zeta where zeta <= 1/10
  sharp,      ///< with alpha = 1/2, what the proof gives: c zeta / (1 - c zeta), c = 1 + sqrt 2
  free_share  ///< with alpha chosen by the synthesis: the same with c = 2
};

/// What `certify_a_priori` is asked.
struct APrioriOptions {
  Guarantee guarantee = Guarantee::sharp;  ///< which guarantee
  /// L, at least 1, of a design with finite responses that may end in a slack V (`FirOptions::slack`);
  /// without it responses are infinite.
  std::optional<Index> length = std::nullopt;
  /// rho*, the rate at which the optimal closed loop is said to decay, between its spectral radius and 1; for
  /// finite responses alone, it needs a length. Without it the best of thirty-one is taken.
  std::optional<double> rate = std::nullopt;
};

/// Checks options, but for the rate, whose range depends on the plant.
/// @throws InvalidOption.
inline void validate(const APrioriOptions& options) {
  if (!options.length) {
    metalqr::detail::require_option(!options.rate, "rate", options.rate.value_or(0), "none without a length");
    return;
  }
  metalqr::detail::require_option(*options.length >= 1, "length", static_cast<double>(*options.length),
                                  "at least 1");
}

/// What robust synthesis from an estimate within radii of the plant achieves on the plant. Costs are those of
/// noise of covariance s I, s the largest eigenvalue of Sigma0.
struct APrioriCertificate {
  double epsilon_A = 0;                                        ///< bound on |Ahat - A|_2
  double epsilon_B = 0;                                        ///< bound on |Bhat - B|_2
  double gain_norm = 0;                                        ///< |K*|_2 of the plant's optimal gain
  double resolvent = std::numeric_limits<double>::infinity();  ///< |(zI - A + BK*)^-1| in H-infinity
  double zeta =
      std::numeric_limits<double>::infinity();  ///< (epsilon_A + epsilon_B |K*|) |(zI - A + BK*)^-1|
  Decay decay;                                  ///< of A - B K*, for finite responses
  double remainder = 0;  ///< bound on |(Ahat - Bhat K*)^L|, where finite responses cut off
  double level = std::numeric_limits<double>::infinity();  ///< gamma at which K* is a solution for the
                                                           ///< estimate; infinity if there is none
  double relative_root = std::numeric_limits<double>::infinity();  ///< bound on sqrt(J / J*) - 1
  double relative_cost = std::numeric_limits<double>::infinity();  ///< bound on J / J* - 1
  double cost_bound = std::numeric_limits<double>::infinity();     ///< bound on J
  std::vector<Assumption> assumptions;                             ///< what this rests on

  /// Whether all that was checked holds; without it the bounds are infinite.
  bool certified() const {
    return std::all_of(assumptions.begin(), assumptions.end(), std::mem_fn(&Assumption::holds));
  }
};

namespace detail {

template <class T>
concept PlanningBackend = DecomposingBackend<T> && FactoringBackend<T>;

/// Root of 1 / alpha where alpha splits the level.
inline double share_factor(Guarantee guarantee) {
  return guarantee == Guarantee::free_share ? 1 : std::sqrt(2.0);
}

/// With K* as a solution for the estimate, at a level g = f zeta (1 + v) / (1 - zeta) + v, and a nominal cost
/// of at most J* / (1 - zeta)^2, the least bound is at most J* / ((1 - zeta)(1 - g))^2.
inline double relative_root(double zeta, double level) {
  const double margin = (1 - zeta) * (1 - level);
  return zeta < 1 && level < 1 ? 1 / margin - 1 : std::numeric_limits<double>::infinity();
}

inline double optimal_level(double zeta, double factor, double remainder) {
  return zeta < 1 ? factor * zeta * (1 + remainder) / (1 - zeta) + remainder
                  : std::numeric_limits<double>::infinity();
}

/// L from which on a cut is said to be harmless.
inline double sufficient_length(const Decay& decay, double zeta) {
  return 4 * std::log(decay.constant / zeta) / (1 - decay.rate);
}

/// The pairs (C*, rho*) of F to choose from; none where its powers decay too slowly to look for them.
template <MatrixBackend Backend>
std::vector<Decay> decays(const typename Backend::StateMatrix& F, const std::optional<double>& rate) {
  if (rate) return {synthesis::decay<Backend>(F, *rate)};
  const double radius = Backend::to_double(metalqr::spectral_radius<Backend>(F));
  std::vector<Decay> result;
  for (int k = 31; k > 0; --k) {
    const auto found = find_decay<Backend>(F, radius + (1 - radius) * k / 32, 2000);
    if (!found) break;
    result.push_back(*found);
  }
  return result;
}

template <MatrixBackend Backend>
void bound_remainder(const typename Backend::StateMatrix& F, double distance, const APrioriOptions& options,
                     APrioriCertificate& result) {
  const auto remainder = [&](const Decay& pair) { return pair.of_neighbours(distance, *options.length); };
  double least_length = std::numeric_limits<double>::infinity();
  result.remainder = std::numeric_limits<double>::infinity();
  for (const Decay& pair : decays<Backend>(F, options.rate)) {
    const double length = sufficient_length(pair, result.zeta);
    const bool shorter = length < least_length;
    const bool smaller = remainder(pair) < result.remainder;
    if (options.guarantee == Guarantee::published ? shorter : smaller) result.decay = pair;
    least_length = std::min(least_length, length);
    result.remainder = std::min(result.remainder, remainder(pair));
  }
}

/// Radii may be infinite here: nothing is known.
template <DecomposingBackend Backend>
APrioriCertificate certify_a_priori(const Task<Backend>& plant, double epsilon_A, double epsilon_B,
                                    const APrioriOptions& options) {
  validate(options);
  APrioriCertificate result;
  result.epsilon_A = epsilon_A;
  result.epsilon_B = epsilon_B;
  const typename Backend::Gain K = solve_dare(plant).gain;
  const typename Backend::StateMatrix F = closed_loop(plant, K);
  const double unit_cost = detail::unit_cost<Backend>(plant, K);
  const bool stable = std::isfinite(unit_cost);
  if (stable) result.resolvent = weighted_level<Backend>(F, K, 1, 0);
  result.gain_norm = Backend::to_double(metalqr::spectral_norm<Backend>(K));
  const double distance = epsilon_A + (result.gain_norm == 0 ? 0 : epsilon_B * result.gain_norm);
  if (stable) result.zeta = distance == 0 ? 0 : distance * result.resolvent;
  const bool finite = options.length.has_value();
  if (finite && stable) bound_remainder<Backend>(F, distance, options, result);
  result.level = optimal_level(result.zeta, share_factor(options.guarantee), result.remainder);
  const double derived = detail::relative_root(result.zeta, result.level);

  result.assumptions = {{"the optimal gain stabilises the plant", true, stable}};
  const auto check = [&](const char* statement, bool holds) {
    result.assumptions.push_back({statement, true, holds});
  };
  double bound = derived;
  if (options.guarantee != Guarantee::published) {
    check("the plant's optimal gain solves the estimate's programme at a level below 1", result.level < 1);
  } else if (!finite) {
    bound = 5 * result.zeta;
    check("zeta is at most 1/5", result.zeta <= 0.2);
  } else {
    bound = 10 * result.zeta;
    check("zeta is at most 1/10", result.zeta <= 0.1);
    check("the length is at least 4 log(C* / zeta) / (1 - rho*)",
          result.decay.rate > 0 &&
              static_cast<double>(*options.length) >= sufficient_length(result.decay, result.zeta));
    check("what the proof gives at this length, with the bound on the remainder, is no more",
          derived <= bound);
  }
  const auto trust = [&](const char* statement) { result.assumptions.push_back({statement, false, true}); };
  trust("the plant that was given is the true one, linear, with white noise of a covariance at most Sigma0");
  trust(options.guarantee == Guarantee::free_share
            ? "the design has the least bound over all levels gamma and shares alpha"
            : "the design has the least bound over all levels gamma, with alpha = 1/2");
  trust(finite ? "the design is over all responses of this length that may end in a slack"
               : "the design is over all controllers, not only static gains or finite responses");
  if (result.certified()) {
    result.relative_root = bound;
    result.relative_cost = bound * (2 + bound);
    result.cost_bound = noise_scale(plant) * unit_cost * (1 + bound) * (1 + bound);
  }
  return result;
}

}  // namespace detail

/// The a-priori guarantee of robust synthesis, from the plant and the errors of an estimate of it that is not
/// there yet (Dean, Mania, Matni, Recht and Tu, "On the sample complexity of the linear quadratic regulator",
/// Found. Comput. Math. 20, 2020, theorem 4.1 and, for finite responses, 5.1). With zeta = (epsilon_A +
/// epsilon_B |K*|) |(zI - A + BK*)^-1|, the optimal gain of the plant solves the estimate's programme at the
/// level g = f zeta / (1 - zeta), f = sqrt 2 for alpha = 1/2 and 1 for the best alpha, at a nominal cost of
/// at most J* / (1 - zeta)^2; the design, whose bound is the least, costs at most J* / (1 - (1 + f) zeta)^2
/// on the plant. For responses of length L, cut at v = |(Ahat - Bhat K*)^L|, the level is f zeta (1 + v) / (1
/// - zeta) + v, and v is bounded through the decay of the powers of A - B K*.
///
/// The published constants for finite responses, 10 zeta from a length of 4 log(C* / zeta) / (1 - rho*) on,
/// are used only where this confirms them. Guarantees are far from what designs achieve: they are for
/// planning, and `certify` is for designs. One Riccati equation, one H-infinity norm, and for finite
/// responses the norms of powers (see `decay`).
/// @param plant with the cost and the noise covariance Sigma0.
/// @param epsilon_A, epsilon_B not negative.
/// @throws InvalidOption for bad radii or options; NotStabilizable, NoConvergence.
template <DecomposingBackend Backend>
APrioriCertificate certify_a_priori(const Task<Backend>& plant, double epsilon_A, double epsilon_B,
                                    const APrioriOptions& options = {}) {
  validate(RobustProblem<Backend>{plant, epsilon_A, epsilon_B});
  APrioriCertificate result = detail::certify_a_priori(plant, epsilon_A, epsilon_B, options);
  result.assumptions.push_back(
      {"the estimate is within epsilon_A and epsilon_B of the plant in spectral norm", false, true});
  return result;
}

/// The same from an experiment that is yet to be done, end to end: its errors are bounded by
/// `identification::planning_bound`, and hold with the probability 1 - delta that is stated there.
/// @throws what that throws, besides.
template <detail::PlanningBackend Backend>
APrioriCertificate certify_a_priori(const Task<Backend>& plant,
                                    const identification::ExperimentOptions& experiment,
                                    const identification::PlanningOptions& planning = {},
                                    const APrioriOptions& options = {}) {
  const identification::PlanningBound bound = identification::planning_bound(plant, experiment, planning);
  APrioriCertificate result = detail::certify_a_priori(plant, bound.epsilon_A, bound.epsilon_B, options);
  result.assumptions.push_back({"there are enough rollouts for a bound on the errors", true,
                                static_cast<double>(experiment.rollouts) >= bound.least_rollouts});
  result.assumptions.push_back(
      {"the errors keep to it: with probability 1 - delta, for Gaussian noise and least squares on the last "
       "samples of rollouts from the origin",
       false, true});
  return result;
}

/// The zeta up to which a guarantee for infinite responses promises sqrt(J / J*) - 1 <= relative_root: its
/// inverse.
/// @throws InvalidOption unless relative_root is positive.
inline double zeta_for(double relative_root, Guarantee guarantee = Guarantee::sharp) {
  metalqr::detail::require_option(relative_root > 0, "relative_root", relative_root, "a positive number");
  if (guarantee == Guarantee::published) return std::min(relative_root, 1.0) / 5;
  const double rest = std::isfinite(relative_root) ? relative_root / (1 + relative_root) : 1;
  return rest / (1 + detail::share_factor(guarantee));
}

/// The least number of rollouts for which zeta is at most a target, 1/5 or what `zeta_for` gives, by the
/// a-priori bound on the errors; `experiment.rollouts` plays no role. Not a whole number of any type: it can
/// be beyond all of them.
/// @throws InvalidOption unless zeta is positive and finite; what `identification::planning_bound` and
/// `certify_a_priori` throw.
template <detail::PlanningBackend Backend>
double rollouts_for_zeta(const Task<Backend>& plant, double zeta = 0.2,
                         identification::ExperimentOptions experiment = {},
                         const identification::PlanningOptions& planning = {}) {
  metalqr::detail::require_option(zeta > 0 && std::isfinite(zeta), "zeta", zeta, "a positive number");
  // Where the bound holds, both errors fall as the root of the number, and so does zeta.
  experiment.rollouts = Index{1} << 40;
  const APrioriCertificate many = certify_a_priori(plant, experiment, planning);
  if (!std::isfinite(many.zeta)) return many.zeta;
  if (!(many.zeta > 0)) return identification::rollouts_for(plant, 1, 1, experiment, planning);
  const double factor = zeta / many.zeta;
  return identification::rollouts_for(plant, factor * many.epsilon_A, factor * many.epsilon_B, experiment,
                                      planning);
}

}  // namespace metalqr::inline METALQR_ABI::synthesis
