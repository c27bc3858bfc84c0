#pragma once

/// @file
/// What a given controller with finite responses is proved to do on every plant near an estimate.

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstddef>

#include <metalqr/core/backend.hpp>
#include <metalqr/equations/spectral_norm.hpp>
#include <metalqr/synthesis/certificate.hpp>
#include <metalqr/synthesis/fir_controller.hpp>
#include <metalqr/synthesis/fir_level.hpp>
#include <metalqr/synthesis/problem.hpp>

namespace metalqr::inline METALQR_ABI::synthesis {

/// The certificate of any controller with finite responses, whatever it was made by and for (Dean, Mania,
/// Matni, Recht and Tu, "On the sample complexity of the linear quadratic regulator", Found. Comput. Math.
/// 20, 2020, sections 3.2 and 5.1). Its responses need not be those of the estimate: what is left over, D(k)
/// = Phi_x(k + 1) - Ahat Phi_x(k) - Bhat Phi_u(k), counts as a perturbation of at most d = sum of |D(k)|_2.
/// Where H* = min over alpha of H_alpha(Phi) + d is below 1, the controller stabilises every plant of the
/// problem, at a cost of at most s |Phi|^2 / (1 - H*)^2 with |Phi|^2 = sum of tr(Phi_x'Q Phi_x + Phi_u'R
/// Phi_u) and s the largest eigenvalue of Sigma0. The level is from
/// above within 1e-7 relative; about forty of them, O(L^2 n (n + p)) each.
/// @throws InvalidOption for bad radii or no controller; DimensionMismatch.
template <DecomposingBackend Backend>
RobustCertificate certify(const RobustProblem<Backend>& problem, const FirController<Backend>& controller) {
  using StateMatrix = typename Backend::StateMatrix;
  using Gain = typename Backend::Gain;
  validate(problem);
  const Task<Backend>& task = problem.estimate;
  const ControllerStateSpace<Backend> realised = controller.state_space();
  RobustCertificate result;
  const typename Backend::Matrix F = closed_loop(task, realised);
  result.spectral_radius = 0;
  for (const auto& value : Backend::eigenvalues(F)) {
    result.spectral_radius = std::max(result.spectral_radius, Backend::to_double(std::abs(value)));
  }
  result.nominal_cost = cost(task, realised);
  const auto& x = controller.state_response();
  const auto& u = controller.input_response();
  double squared = 0;
  double rest = 0;
  for (std::size_t k = 0; k < x.size(); ++k) {
    squared += Backend::to_double(Backend::inner(x[k], StateMatrix(Backend::product(task.Q(), x[k]))) +
                                  Backend::inner(u[k], Gain(Backend::product(task.R(), u[k]))));
    StateMatrix left =
        StateMatrix(Backend::product(task.A(), x[k])) + StateMatrix(Backend::product(task.B(), u[k]));
    if (k + 1 < x.size()) left -= x[k + 1];
    rest += Backend::to_double(metalqr::spectral_norm<Backend>(left));
  }
  const detail::LeastPoint<double> least = detail::least_level(
      problem.epsilon_A, problem.epsilon_B,
      [&](double weight_x, double weight_u) { return detail::fir_level<Backend>(x, u, weight_x, weight_u); });
  result.alpha = least.argument;
  result.level = least.value + rest;
  result.assumptions = {
      Assumption{"the estimate's closed loop is stable", true, std::isfinite(result.nominal_cost)},
      Assumption{"the H-infinity level H* of its response to the plant's errors is below 1", true,
                 result.level < 1},
      Assumption{"the plant is within epsilon_A and epsilon_B of the estimate in spectral norm", false, true},
      Assumption{"the plant is linear and the noise white, its covariance Sigma0 at most", false, true}};
  if (result.certified()) {
    const double margin = 1 - result.level;
    result.cost_bound = detail::noise_scale(task) * squared / (margin * margin);
  }
  return result;
}

}  // namespace metalqr::inline METALQR_ABI::synthesis
