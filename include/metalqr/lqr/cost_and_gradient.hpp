#pragma once

/// @file
/// Cost and gradient of a gain in one pass, for plain numbers and for packs.

#include <type_traits>

#include <metalqr/lqr/evaluation.hpp>

namespace metalqr::inline METALQR_ABI {

/// J(K) and its gradient.
template <MatrixBackend Backend>
struct CostAndGradient {
  typename Backend::Scalar cost{};  ///< +infinity where rho(A - BK) < 1 is not proved
  typename Backend::Gain gradient;  ///< n_u x n_x; all NaN where it or the cost is not finite
};

/// J(K) = tr(P Sigma0) and grad J(K) = 2 E Sigma from both Lyapunov equations, which share the powers of A -
/// BK. Never throws for a K of the right shape (n_u x n_x), unlike `Evaluation`; see `CostAndGradient`.
/// @throws DimensionMismatch.
template <MatrixBackend Backend>
CostAndGradient<Backend> cost_and_gradient(const Task<Backend>& task,
                                           const std::type_identity_t<typename Backend::Gain>& K) {
  using StateMatrix = typename Backend::StateMatrix;
  using Gain = typename Backend::Gain;
  using Scalar = typename Backend::Scalar;
  using Lane = LaneTraits<Scalar>;
  const StateMatrix F = closed_loop(task, K);
  StateMatrix P = stage_cost(task, K);
  StateMatrix Sigma = task.Sigma0();
  StateMatrix work;
  const auto add = [&](const StateMatrix& power) {
    Backend::add_congruence(P, power, work);
    Backend::add_outer_congruence(Sigma, power, work);
  };
  const auto report = detail::settled<Backend>(visit_powers<Backend>(F, add), F, P);
  const Scalar value = Backend::inner(P, task.Sigma0());
  const Gain BP = Backend::transpose_product(task.B(), P);
  const Gain gradient = Scalar(2) * Backend::product(detail::policy_error(task, K, F, BP), Sigma);
  const MaskOf<Scalar> exists = report.converged() && value < Lane::infinity();
  const MaskOf<Scalar> differentiable = exists && Backend::is_finite(gradient);
  const Scalar nan = Lane::infinity() - Lane::infinity();
  CostAndGradient<Backend> result{Lane::select(exists, value, Lane::infinity()), gradient};
  for (Index j = 0; j < Backend::cols(gradient); ++j) {
    for (Index i = 0; i < Backend::rows(gradient); ++i) {
      result.gradient(i, j) = Lane::select(differentiable, gradient(i, j), nan);
    }
  }
  return result;
}

}  // namespace metalqr::inline METALQR_ABI
