#pragma once

/// @file
/// How a controller is chosen from what is known of a plant: the concept, and the strategies that need no
/// more than a synthesis.

#include <cmath>
#include <concepts>
#include <optional>

#include <metalqr/adaptive/controller.hpp>
#include <metalqr/core/random.hpp>
#include <metalqr/identification/confidence.hpp>
#include <metalqr/lqr/optimal_gain.hpp>
#include <metalqr/synthesis/problem.hpp>
#include <metalqr/synthesis/robust_gain.hpp>

namespace metalqr::inline METALQR_ABI::adaptive {

/// What is known of the plant when an epoch begins.
template <FactoringBackend Backend>
struct Knowledge {
  Task<Backend> estimate;  ///< estimated A, B with the cost Q, R and the noise covariance Sigma0
  identification::Confidence<Backend> confidence;  ///< how far the plant may be from it
  Index epoch;                                     ///< 0, 1, ...
  Index step;                                      ///< steps done
  const Controller<Backend>& current;              ///< which remains if there is no new one
};

/// Gives the controller of the next epoch, from what is known and a stream of random numbers of its own; or
/// none. It may throw `NotStabilizable`, `NotStabilizing`, `NoConvergence` or `NotFinite` instead: then, too,
/// the controller remains as it is.
template <class T, class Backend>
concept Strategy = FactoringBackend<Backend> &&
    requires(const T& strategy, const Knowledge<Backend>& knowledge, Stream& stream) {
  { strategy(knowledge, stream) } -> std::convertible_to<std::optional<Controller<Backend>>>;
};

/// The optimal gain of the estimate, as if it were the plant. With exploration that decays as t^(-1/4) in
/// standard deviation its regret grows as sqrt(T) (Mania, Tu, Recht, NeurIPS 2019).
struct CertaintyEquivalence {
  /// The gain.
  /// @throws NotStabilizable, NoConvergence.
  template <FactoringBackend Backend>
  std::optional<Controller<Backend>> operator()(const Knowledge<Backend>& knowledge, Stream&) const {
    return solve_dare(knowledge.estimate).gain;
  }
};

namespace detail {

/// A design's controller, if it has one.
template <FactoringBackend Backend, class Design>
std::optional<Controller<Backend>> controller_of(const Design& design) {
  if constexpr (std::convertible_to<const Design&, std::optional<Controller<Backend>>>) {
    return design;
  } else {
    if (design.status != synthesis::SynthesisStatus::solved) return std::nullopt;
    if constexpr (requires { design.controller; }) {
      return Controller<Backend>(design.controller);
    } else {
      return Controller<Backend>(design.gain);
    }
  }
}

}  // namespace detail

/// A robust synthesis for all plants within the radii (Dean, Mania, Matni, Recht, Tu, NeurIPS 2018,
/// algorithm 1). `Design` maps a `synthesis::RobustProblem` to the answer of `synthesis::common_lyapunov`,
/// `ellipsoid` or `fir`, or to a controller or nothing. Where the synthesis is infeasible, or a radius is not
/// finite, there is no new controller.
template <class Design>
struct Robust {
  Design design;  ///< the synthesis

  /// The controller, if there is one.
  /// @throws what the synthesis throws.
  template <FactoringBackend Backend>
  std::optional<Controller<Backend>> operator()(const Knowledge<Backend>& knowledge, Stream&) const {
    const synthesis::RobustProblem<Backend> problem{knowledge.estimate, knowledge.confidence.epsilon_A,
                                                    knowledge.confidence.epsilon_B};
    if (!std::isfinite(problem.epsilon_A) || !std::isfinite(problem.epsilon_B)) return std::nullopt;
    return detail::controller_of<Backend>(design(problem));
  }
};
template <class Design>
Robust(Design) -> Robust<Design>;

}  // namespace metalqr::inline METALQR_ABI::adaptive
