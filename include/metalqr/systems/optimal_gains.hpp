#pragma once

/// @file
/// The gains that learning on a fleet aims at: the minimiser of the average cost, and a minimiser of the MAML
/// objective.

#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <string>
#include <type_traits>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/check.hpp>
#include <metalqr/core/error.hpp>
#include <metalqr/core/status.hpp>
#include <metalqr/lqr/evaluation.hpp>
#include <metalqr/lqr/optimal_gain.hpp>
#include <metalqr/lqr/task_list.hpp>
#include <metalqr/systems/gauss_newton.hpp>
#include <metalqr/systems/maml_objective.hpp>

namespace metalqr::inline METALQR_ABI::systems {

/// The minimiser of the average cost of a fleet.
template <MatrixBackend Backend>
struct AverageOptimum {
  typename Backend::Gain gain;               ///< n_u x n_x; stabilises every task
  typename Backend::Scalar cost{};           ///< (1/M) sum_i J_i
  typename Backend::Scalar gradient_norm{};  ///< Frobenius norm of (1/M) sum_i grad J_i
  int iterations = 0;                        ///< steps taken
  Status status =
      Status::iteration_limit;  ///< converged, stalled (at the precision's limit) or iteration_limit
};

/// A stationary point of the MAML objective of a fleet.
template <MatrixBackend Backend>
struct MamlOptimum {
  typename Backend::Gain gain;               ///< n_u x n_x; stabilises every task
  typename Backend::Gain start;              ///< the gain that the search started from
  typename Backend::Scalar value{};          ///< `maml_cost` there
  typename Backend::Scalar gradient_norm{};  ///< Frobenius norm of `maml_gradient` there
  typename Backend::Scalar
      inner_spectral_radius{};              ///< largest rho(A_i - B_i K_i) over the inner points K_i; below 1
  bool is_minimiser = false;                ///< whether the Hessian is positive definite there
  int iterations = 0;                       ///< steps taken
  Status status = Status::iteration_limit;  ///< converged, stalled or iteration_limit
};

namespace detail {

/// The Gauss-Newton part of the Hessian, X -> 2 (R + B'PB) X Sigma, as a d x d matrix.
template <MatrixBackend Backend>
typename Backend::Matrix gauss_newton_matrix(const Evaluation<Backend>& at) {
  using Scalar = typename Backend::Scalar;
  const typename Backend::ControlMatrix& C = at.curvature();
  const typename Backend::StateMatrix& Sigma = at.Sigma();
  const Index nu = Backend::rows(C);
  const Index d = nu * Backend::rows(Sigma);
  typename Backend::Matrix H = Backend::zero_matrix(d, d);
  for (Index i = 0; i < d; ++i) {
    for (Index j = 0; j < d; ++j) H(i, j) = Scalar(2) * C(i % nu, j % nu) * Sigma(i / nu, j / nu);
  }
  return H;
}

template <MatrixBackend Backend>
SecondOrderModel<Backend> zero_model(const Task<Backend>& task) {
  const Index d = task.nu() * task.nx();
  return {Backend::zero_gain(task.nu(), task.nx()), typename Backend::Scalar(0), Backend::zero_matrix(d, d),
          Backend::zero_matrix(d, d)};
}

/// (1/M) sum_i J_i.
template <MatrixBackend Backend>
class AverageProblem {
 public:
  using Scalar = typename Backend::Scalar;
  using Gain = typename Backend::Gain;

  explicit AverageProblem(std::span<const Task<Backend>> fleet)
      : fleet_(fleet), weight_(Scalar(1) / static_cast<Scalar>(static_cast<double>(fleet.size()))) {}

  Scalar value(const Gain& K) const {
    Scalar sum(0);
    for (const auto& task : fleet_) sum += cost(task, K);
    return sum * weight_;
  }
  SecondOrderModel<Backend> model(const Gain& K) const {
    SecondOrderModel<Backend> model = zero_model(fleet_[0]);
    for (const auto& task : fleet_) {
      const Evaluation<Backend> at(task, K);
      model.gradient += weight_ * at.gradient();
      model.scale += weight_ * at.gradient_scale();
      model.hessian += weight_ * at.hessian_matrix();
      model.gauss_newton += weight_ * gauss_newton_matrix(at);
    }
    return model;
  }

 private:
  std::span<const Task<Backend>> fleet_;
  Scalar weight_;
};

/// (1/M) sum_i J_i o T_i with T_i(K) = K - eta_l grad J_i(K).
template <MatrixBackend Backend>
class MamlProblem {
 public:
  using Scalar = typename Backend::Scalar;
  using Gain = typename Backend::Gain;
  using Matrix = typename Backend::Matrix;

  MamlProblem(std::span<const Task<Backend>> fleet, double eta_l)
      : fleet_(fleet),
        eta_l_(eta_l),
        weight_(Scalar(1) / static_cast<Scalar>(static_cast<double>(fleet.size()))) {}

  Scalar value(const Gain& K) const { return maml_cost(fleet_, eta_l_, K); }
  Gain inner(const Evaluation<Backend>& at) const {
    return at.K() - static_cast<Scalar>(eta_l_) * at.gradient();
  }
  SecondOrderModel<Backend> model(const Gain& K) const {
    SecondOrderModel<Backend> model = zero_model(fleet_[0]);
    for (const auto& task : fleet_) {
      const Evaluation<Backend> at(task, K);
      const Evaluation<Backend> at_inner(task, inner(at));
      model.scale += weight_ * at_inner.gradient_scale();
      const Matrix H = at.hessian_matrix();
      const Matrix T = Backend::identity_like(H) - static_cast<Scalar>(eta_l_) * H;
      model.gauss_newton += weight_ * Backend::congruence(T, gauss_newton_matrix(at_inner));
    }
    model.gradient = maml_gradient(fleet_, eta_l_, K);
    model.hessian = hessian(K);
    return model;
  }

 private:
  /// Central differences of the exact gradient, which would need third derivatives of J.
  Matrix hessian(const Gain& K) const {
    using std::cbrt;
    const Index nu = Backend::rows(K);
    const Index d = nu * Backend::cols(K);
    Matrix H = Backend::zero_matrix(d, d);
    for (Index column = 0; column < d; ++column) {
      // Short, because the curvature of J_ML changes within 1e-4 of K at the published eta_l.
      Scalar h = cbrt(Backend::epsilon()) * (Scalar(1) + Backend::max_abs(K)) / Scalar(100);
      Gain above = K;
      Gain below = K;
      for (int halving = 0; halving < 40; ++halving) {
        above(column % nu, column / nu) = K(column % nu, column / nu) + h;
        below(column % nu, column / nu) = K(column % nu, column / nu) - h;
        if (value(above) + value(below) < std::numeric_limits<Scalar>::infinity()) break;
        h = h / Scalar(2);
      }
      const Gain change = maml_gradient(fleet_, eta_l_, above) - maml_gradient(fleet_, eta_l_, below);
      for (Index row = 0; row < d; ++row) H(row, column) = change(row % nu, row / nu) / (Scalar(2) * h);
    }
    return Backend::symmetrised(H);
  }

  std::span<const Task<Backend>> fleet_;
  double eta_l_;
  Scalar weight_;
};

template <MatrixBackend Backend>
AverageOptimum<Backend> average_optimum(std::span<const Task<Backend>> fleet,
                                        const typename Backend::Gain& start,
                                        const MinimiserOptions& options) {
  const auto found = minimise<Backend>(AverageProblem<Backend>(fleet), start, options);
  return {.gain = found.gain,
          .cost = found.value,
          .gradient_norm = Backend::norm(found.model.gradient),
          .iterations = found.iterations,
          .status = found.status};
}

template <MatrixBackend Backend>
void require_stabilises_all(std::span<const Task<Backend>> fleet, const typename Backend::Gain& K) {
  metalqr::detail::require_shape<Backend>(K, fleet[0].nu(), fleet[0].nx(), "K_start");
  metalqr::detail::require_finite<Backend>(K, "K_start");
  for (std::size_t i = 0; i < fleet.size(); ++i) {
    if (is_stabilizing(fleet[i], K)) continue;
    const double radius = Backend::to_double(spectral_radius(fleet[i], K));
    throw NotStabilizing("K_start: expected a gain that stabilises every task, got spectral radius " +
                             metalqr::detail::text(radius) + " in task " + std::to_string(i),
                         radius);
  }
}

}  // namespace detail

/// The minimiser of (1/M) sum_i J_i(K) over the gains that stabilise every task, from `K_start` (n_u x n_x):
/// Newton steps on the exact Hessian where it is positive definite, else Gauss-Newton steps, with
/// backtracking. With d = n_u n_x a step costs M d applications of the Hessian and d^3 operations.
/// @throws NotStabilizing (K_start loses a task), DimensionMismatch, NotFinite, InvalidOption.
template <TaskList Tasks>
AverageOptimum<BackendOf<Tasks>> average_optimal_gain(const Tasks& tasks,
                                                      const std::type_identity_t<GainOf<Tasks>>& K_start,
                                                      const MinimiserOptions& options = {}) {
  const auto fleet = checked_fleet(tasks);
  validate(options);
  detail::require_stabilises_all(fleet, K_start);
  return detail::average_optimum(fleet, K_start, options);
}

/// The same from the optimum of the first task whose optimum stabilises every task.
/// @throws NotStabilizable if there is no such task; InvalidOption, DimensionMismatch; those of `solve_dare`.
template <TaskList Tasks>
AverageOptimum<BackendOf<Tasks>> average_optimal_gain(const Tasks& tasks,
                                                      const MinimiserOptions& options = {}) {
  const auto fleet = checked_fleet(tasks);
  validate(options);
  for (const auto& candidate : fleet) {
    const GainOf<Tasks> K = solve_dare(candidate).gain;
    bool stabilises = true;
    for (const auto& task : fleet) stabilises = stabilises && is_stabilizing(task, K);
    if (stabilises) return detail::average_optimum(fleet, K, options);
  }
  throw NotStabilizable("tasks: expected one whose optimal gain stabilises all, got none among " +
                        std::to_string(fleet.size()) + "; give a K_start that does");
}

/// A stationary point of the MAML objective J_ML(K) = (1/M) sum_i J_i(K - eta_l grad J_i(K)) (Toso et al.,
/// L4DC 2024, eq. 3), from `K_start` (n_u x n_x) by steps that never raise J_ML: Newton steps, and
/// Gauss-Newton steps that linearise the inner step. J_ML has several minimisers: at the published eta_l =
/// 0.8e-5 some lie one inner step away from the optimal gain, with optimality gaps of 5 to 30 of their own,
/// so the answer depends on the start, which the result repeats (and, from a start as far as the published
/// K0, on rounding errors). The Hessian is a difference of exact gradients: with d = n_u n_x a step costs
/// about 8 M d evaluations.
/// @param eta_l inner step size, > 0.
/// @throws NotStabilizing (K_start, or an inner point of it, loses a task), DimensionMismatch, NotFinite,
/// InvalidOption.
template <TaskList Tasks>
MamlOptimum<BackendOf<Tasks>> maml_optimal_gain(const Tasks& tasks, double eta_l,
                                                const std::type_identity_t<GainOf<Tasks>>& K_start,
                                                const MinimiserOptions& options = {}) {
  using Backend = BackendOf<Tasks>;
  const auto fleet = checked_fleet(tasks);
  validate(options);
  metalqr::detail::require_option(eta_l > 0 && std::isfinite(eta_l), "eta_l", eta_l, "a positive step size");
  detail::require_stabilises_all(fleet, K_start);
  const detail::MamlProblem<Backend> problem(fleet, eta_l);
  for (std::size_t i = 0; i < fleet.size(); ++i) {
    const GainOf<Tasks> inner = problem.inner(Evaluation<Backend>(fleet[i], K_start));
    if (is_stabilizing(fleet[i], inner)) continue;
    const double radius = Backend::is_finite(inner) ? Backend::to_double(spectral_radius(fleet[i], inner))
                                                    : std::numeric_limits<double>::infinity();
    throw NotStabilizing(
        "K_start: expected an inner point K - eta_l grad J(K) that stabilises its task, got "
        "spectral radius " +
            metalqr::detail::text(radius) + " in task " + std::to_string(i) + "; lower eta_l",
        radius);
  }
  const auto found = detail::minimise<Backend>(problem, K_start, options);
  MamlOptimum<Backend> optimum{.gain = found.gain,
                               .start = K_start,
                               .value = found.value,
                               .gradient_norm = Backend::norm(found.model.gradient),
                               .is_minimiser = Backend::is_positive_definite(found.model.hessian),
                               .iterations = found.iterations,
                               .status = found.status};
  for (const auto& task : fleet) {
    const auto radius = spectral_radius(task, problem.inner(Evaluation<Backend>(task, found.gain)));
    if (radius > optimum.inner_spectral_radius) optimum.inner_spectral_radius = radius;
  }
  return optimum;
}

}  // namespace metalqr::inline METALQR_ABI::systems
