#pragma once

/// @file
/// Trajectories, costs over a finite horizon, and what the horizon cuts off.

#include <cmath>
#include <limits>
#include <type_traits>
#include <utility>
#include <vector>

#include <metalqr/core/check.hpp>
#include <metalqr/core/random.hpp>
#include <metalqr/lqr/evaluation.hpp>

namespace metalqr::inline METALQR_ABI {

namespace detail {

/// Lower triangular L with LL' = X for a symmetric positive semidefinite X; a pivot lost in the rounding of
/// its diagonal entry counts as zero, whatever the units of the other rows.
template <MatrixBackend Backend, class X>
X semidefinite_factor(const X& x) {
  using std::sqrt;
  using Scalar = typename Backend::Scalar;
  const Index n = Backend::rows(x);
  const Scalar rounding = static_cast<Scalar>(8.0 * static_cast<double>(n)) * Backend::epsilon();
  X L = Backend::zero_like(x);
  for (Index j = 0; j < n; ++j) {
    Scalar pivot = x(j, j);
    for (Index k = 0; k < j; ++k) pivot -= L(j, k) * L(j, k);
    if (!(pivot > rounding * x(j, j))) continue;
    L(j, j) = sqrt(pivot);
    for (Index i = j + 1; i < n; ++i) {
      Scalar entry = x(i, j);
      for (Index k = 0; k < j; ++k) entry -= L(i, k) * L(j, k);
      L(i, j) = entry / L(j, j);
    }
  }
  return L;
}

}  // namespace detail

/// A Gaussian vector with n_x entries: an initial state, or process noise.
template <MatrixBackend Backend>
class GaussianState {
 public:
  using StateMatrix = typename Backend::StateMatrix;  ///< n_x x n_x
  using StateVector = typename Backend::StateVector;  ///< n_x

  /// @param mean n_x.
  /// @param covariance n_x x n_x, symmetric positive semidefinite.
  /// @throws DimensionMismatch, NotFinite, NotPositiveDefinite.
  GaussianState(const StateVector& mean, const StateMatrix& covariance)
      : mean_(mean), covariance_(covariance) {
    const Index nx = Backend::rows(mean);
    detail::require_shape<Backend>(covariance, nx, nx, "covariance");
    detail::require_finite<Backend>(mean, "mean");
    detail::require_finite<Backend>(covariance, "covariance");
    detail::require_positive_semidefinite<Backend>(covariance, "covariance");
    factor_ = detail::semidefinite_factor<Backend>(covariance);
  }
  /// With mean zero.
  explicit GaussianState(const StateMatrix& covariance)
      : GaussianState(Backend::zero_state(Backend::rows(covariance)), covariance) {}

  /// Mean, n_x.
  const StateVector& mean() const noexcept { return mean_; }
  /// Covariance, n_x x n_x.
  const StateMatrix& covariance() const noexcept { return covariance_; }
  /// E[x x'], n_x x n_x: covariance plus mean mean'.
  StateMatrix second_moment() const { return covariance_ + Backend::product_transpose(mean_, mean_); }
  /// The next sample of `stream`.
  StateVector sample(Stream& stream) const {
    StateVector z = Backend::zero_like(mean_);
    fill_normal<Backend>(z, stream);
    return mean_ + Backend::product(factor_, z);
  }

 private:
  StateVector mean_;
  StateMatrix covariance_;
  StateMatrix factor_;
};

/// States and inputs of one rollout.
template <MatrixBackend Backend>
struct Trajectory {
  std::vector<typename Backend::StateVector> states;    ///< x_0 ... x_T, each n_x
  std::vector<typename Backend::ControlVector> inputs;  ///< u_0 ... u_{T-1}, each n_u
  typename Backend::Scalar cost{};                      ///< sum over t < T of x'Qx + u'Ru
};

/// Runs x+ = A x + B u + w, u = -K x for `horizon` steps from x0. `noise` is called with the step's index and
/// returns w (n_x); omit it for none. Finite also at a destabilising gain, as long as the numbers do not
/// overflow.
/// @throws DimensionMismatch, NotFinite for bad K or x0; InvalidOption if horizon < 1.
template <MatrixBackend Backend, class Noise>
Trajectory<Backend> rollout(const Task<Backend>& task, const std::type_identity_t<typename Backend::Gain>& K,
                            const std::type_identity_t<typename Backend::StateVector>& x0, Index horizon,
                            const Noise& noise) {
  using StateVector = typename Backend::StateVector;
  using ControlVector = typename Backend::ControlVector;
  detail::require_shape<Backend>(K, task.nu(), task.nx(), "K");
  detail::require_finite<Backend>(K, "K");
  detail::require_shape<Backend>(x0, task.nx(), 1, "x0");
  detail::require_finite<Backend>(x0, "x0");
  detail::require_option(horizon >= 1, "horizon", static_cast<double>(horizon), "at least 1");
  Trajectory<Backend> trajectory;
  trajectory.states.push_back(x0);
  for (Index t = 0; t < horizon; ++t) {
    const StateVector x = trajectory.states.back();
    const ControlVector u = Backend::product(K, x) * static_cast<typename Backend::Scalar>(-1);
    trajectory.cost +=
        Backend::inner(x, Backend::product(task.Q(), x)) + Backend::inner(u, Backend::product(task.R(), u));
    const StateVector drift = Backend::product(task.A(), x);
    const StateVector push = Backend::product(task.B(), u);
    trajectory.inputs.push_back(u);
    trajectory.states.push_back(drift + push + noise(t));
  }
  return trajectory;
}

/// The noise-free rollout.
template <MatrixBackend Backend>
Trajectory<Backend> rollout(const Task<Backend>& task, const std::type_identity_t<typename Backend::Gain>& K,
                            const std::type_identity_t<typename Backend::StateVector>& x0, Index horizon) {
  const typename Backend::StateVector zero = Backend::zero_like(x0);
  return rollout(task, K, x0, horizon,
                 [&zero](Index /*t*/) -> const typename Backend::StateVector& { return zero; });
}

/// Cost of one rollout as in `rollout`, without keeping the trajectory; +infinity if it overflows, never NaN.
/// Checks nothing but that and the shape of K: for the inner loop of an oracle.
/// @throws DimensionMismatch for a bad K.
template <MatrixBackend Backend, class Noise>
typename Backend::Scalar rollout_cost(const Task<Backend>& task,
                                      const std::type_identity_t<typename Backend::Gain>& K,
                                      const std::type_identity_t<typename Backend::StateVector>& x0,
                                      Index horizon, const Noise& noise) {
  using Scalar = typename Backend::Scalar;
  using StateMatrix = typename Backend::StateMatrix;
  const StateMatrix F = closed_loop(task, K);
  const StateMatrix step_cost = stage_cost(task, K);
  typename Backend::StateVector x = x0;
  Scalar sum(0);
  for (Index t = 0; t < horizon; ++t) {
    sum += Backend::inner(x, Backend::product(step_cost, x));
    x = Backend::product(F, x) + noise(t);
  }
  return sum < std::numeric_limits<Scalar>::infinity() ? sum : std::numeric_limits<Scalar>::infinity();
}

/// E[sum over t < horizon of x'Qx + u'Ru] without noise: tr(P_T Sigma0), P_0 = 0, P_{t+1} = Q + K'RK +
/// F'P_tF. Finite also at a destabilising gain; +infinity on overflow. `horizon` times two products.
/// @throws DimensionMismatch, NotFinite for a bad K; InvalidOption if horizon < 1.
template <MatrixBackend Backend>
typename Backend::Scalar finite_horizon_cost(const Task<Backend>& task,
                                             const std::type_identity_t<typename Backend::Gain>& K,
                                             Index horizon) {
  using Scalar = typename Backend::Scalar;
  using StateMatrix = typename Backend::StateMatrix;
  detail::require_shape<Backend>(K, task.nu(), task.nx(), "K");
  detail::require_finite<Backend>(K, "K");
  detail::require_option(horizon >= 1, "horizon", static_cast<double>(horizon), "at least 1");
  const StateMatrix F = closed_loop(task, K);
  const StateMatrix step_cost = stage_cost(task, K);
  StateMatrix P = step_cost;
  for (Index t = 1; t < horizon; ++t) P = step_cost + Backend::congruence(F, P);
  const Scalar value = Backend::inner(P, task.Sigma0());
  return value < std::numeric_limits<Scalar>::infinity() ? value : std::numeric_limits<Scalar>::infinity();
}

/// Upper bound of J(K) - J_T(K), the cost beyond `horizon` T, for a stabilising K: J (1 - s/|P|_F)^T with s a
/// lower bound of lambda_min(Q + K'RK). x'Px falls by x'(Q + K'RK)x >= (s/|P|) x'Px a step, hence the factor
/// (the argument of Gravell, Mohajerin Esfahani, Summers, IEEE TAC 66(11), 2021, appendix B). s = 1/|(Q +
/// K'RK)^-1|_F; a singular Q + K'RK gives the bound J.
/// @throws NotStabilizing and what `Evaluation` throws; InvalidOption if horizon < 0.
template <MatrixBackend Backend>
typename Backend::Scalar truncation_bound(const Task<Backend>& task,
                                          const std::type_identity_t<typename Backend::Gain>& K,
                                          Index horizon) {
  using std::pow;
  using Scalar = typename Backend::Scalar;
  using StateMatrix = typename Backend::StateMatrix;
  detail::require_option(horizon >= 0, "horizon", static_cast<double>(horizon), "a number >= 0");
  const Evaluation<Backend> at(task, K);
  const StateMatrix step_cost = stage_cost(task, K);
  if (!Backend::is_positive_definite(step_cost)) return at.cost();
  const StateMatrix inverse = Backend::solve_spd(step_cost, Backend::identity_like(step_cost));
  const Scalar smallest = Scalar(1) / Backend::norm(inverse);
  const Scalar decay = Scalar(1) - smallest / Backend::norm(at.P());
  return at.cost() * pow(decay, static_cast<Scalar>(static_cast<double>(horizon)));
}

}  // namespace metalqr::inline METALQR_ABI
