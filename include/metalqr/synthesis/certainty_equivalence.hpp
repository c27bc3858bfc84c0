#pragma once

/// @file
/// Certainty equivalence: the optimal gain of the estimate, as if it were the plant.

#include <metalqr/core/backend.hpp>
#include <metalqr/lqr/optimal_gain.hpp>
#include <metalqr/synthesis/certificate.hpp>
#include <metalqr/synthesis/problem.hpp>

namespace metalqr::inline METALQR_ABI::synthesis {

/// A certainty-equivalent gain.
template <DecomposingBackend Backend>
struct CertaintyEquivalentGain {
  typename Backend::Gain gain;          ///< K, n_u x n_x, u = -K x
  typename Backend::StateMatrix value;  ///< P, n_x x n_x, of the estimate
  RobustCertificate certificate;        ///< what K is proved to do near the estimate; may prove nothing
};

/// The optimal gain of the estimate. It is best where the radii are small (Mania, Tu and Recht, "Certainty
/// equivalence is efficient for linear quadratic control", NeurIPS 2019) and may destabilise the plant where
/// they are not; the certificate tells which.
/// @throws InvalidOption for bad radii; NotStabilizable, NoConvergence.
template <DecomposingBackend Backend>
CertaintyEquivalentGain<Backend> certainty_equivalence(const RobustProblem<Backend>& problem) {
  validate(problem);
  const RiccatiSolution<Backend> solution = solve_dare(problem.estimate);
  return {solution.gain, solution.value, certify<Backend>(problem, solution.gain)};
}

}  // namespace metalqr::inline METALQR_ABI::synthesis
