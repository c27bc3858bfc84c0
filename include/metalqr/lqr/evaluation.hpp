#pragma once

/// @file
/// The cost of a gain and its derivatives.

#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/check.hpp>
#include <metalqr/core/error.hpp>
#include <metalqr/equations/lyapunov.hpp>
#include <metalqr/equations/spectral.hpp>
#include <metalqr/lqr/task.hpp>

namespace metalqr::inline METALQR_ABI {

/// F = A - B K, the closed loop of u = -K x; K is n_u x n_x.
/// @throws DimensionMismatch.
template <MatrixBackend Backend>
typename Backend::StateMatrix closed_loop(const Task<Backend>& task,
                                          const std::type_identity_t<typename Backend::Gain>& K) {
  detail::require_shape<Backend>(K, task.nu(), task.nx(), "K");
  return task.A() - Backend::product(task.B(), K);
}

/// Q + K'RK: x'(Q + K'RK)x is the cost of one step from x; K is n_u x n_x.
/// @throws DimensionMismatch.
template <MatrixBackend Backend>
typename Backend::StateMatrix stage_cost(const Task<Backend>& task,
                                         const std::type_identity_t<typename Backend::Gain>& K) {
  detail::require_shape<Backend>(K, task.nu(), task.nx(), "K");
  return task.Q() + Backend::congruence(K, task.R());
}

namespace detail {

/// E = R K - B'PF, zero exactly at the optimal gain; grad J = 2 E Sigma.
template <MatrixBackend Backend>
typename Backend::Gain policy_error(const Task<Backend>& task, const typename Backend::Gain& K,
                                    const typename Backend::StateMatrix& F,
                                    const typename Backend::Gain& BP) {
  return Backend::product(task.R(), K) - Backend::product(BP, F);
}

}  // namespace detail

/// tr(P S) for a second moment S (n_x x n_x) of the initial state, or +infinity where rho(A - BK) < 1 is not
/// proved, also for a K with NaN or infinite entries; never NaN. One solution of the Lyapunov equation by
/// doubling. K is n_u x n_x.
/// @throws DimensionMismatch.
template <MatrixBackend Backend>
typename Backend::Scalar cost(const Task<Backend>& task,
                              const std::type_identity_t<typename Backend::Gain>& K,
                              const std::type_identity_t<typename Backend::StateMatrix>& S) {
  using StateMatrix = typename Backend::StateMatrix;
  using Scalar = typename Backend::Scalar;
  detail::require_shape<Backend>(S, task.nx(), task.nx(), "S");
  using Lane = LaneTraits<Scalar>;
  const StateMatrix F = closed_loop(task, K);
  StateMatrix P = stage_cost(task, K);
  StateMatrix work;
  const auto add = [&](const StateMatrix& power) { Backend::add_congruence(P, power, work); };
  const auto report = detail::settled<Backend>(visit_powers<Backend>(F, add), F, P);
  const Scalar value = Backend::inner(P, S);
  // The comparison is false for a NaN as well.
  return Lane::select(report.converged() && value < Lane::infinity(), value, Lane::infinity());
}

/// J(K) = tr(P Sigma0), or +infinity where rho(A - BK) < 1 is not proved; see above.
/// @throws DimensionMismatch.
template <MatrixBackend Backend>
typename Backend::Scalar cost(const Task<Backend>& task,
                              const std::type_identity_t<typename Backend::Gain>& K) {
  return cost(task, K, task.Sigma0());
}

/// rho(A - BK); K is n_u x n_x.
/// @throws DimensionMismatch; NotFinite if A - BK has a NaN or infinite entry.
template <MatrixBackend Backend>
typename Backend::Scalar spectral_radius(const Task<Backend>& task,
                                         const std::type_identity_t<typename Backend::Gain>& K) {
  return spectral_radius<Backend>(closed_loop(task, K));
}

/// Whether rho(A - BK) < 1, proved; see `is_stable`. K is n_u x n_x.
/// @throws DimensionMismatch.
template <MatrixBackend Backend>
bool is_stabilizing(const Task<Backend>& task, const std::type_identity_t<typename Backend::Gain>& K) {
  return is_stable<Backend>(closed_loop(task, K));
}

/// Everything about one gain on one task: value matrix, state correlation, cost, gradient, Hessian. Each
/// factor is computed once, when first asked for (so one object must not be shared between threads while it
/// is being used). With u = -K x, F = A - B K (Fazel, Ge, Kakade, Mesbahi, ICML 2018; Bu, Mesbahi, Fazel,
/// Mesbahi 2019):
///   P = Q + K'RK + F'PF,  Sigma = Sigma0 + F Sigma F',  E = R K - B'PF,  J = tr(P Sigma0),  grad J = 2 E
///   Sigma.
/// Every number that it gives is finite: a function that computes one which overflows throws `NotFinite`
/// naming it (the free function `cost` gives +infinity instead).
template <MatrixBackend Backend>
class Evaluation {
 public:
  using Scalar = typename Backend::Scalar;                ///< number type
  using StateMatrix = typename Backend::StateMatrix;      ///< n_x x n_x
  using Gain = typename Backend::Gain;                    ///< n_u x n_x
  using ControlMatrix = typename Backend::ControlMatrix;  ///< n_u x n_u
  using Matrix = typename Backend::Matrix;                ///< of any size

  /// Evaluates `task`, which must outlive this object, at the gain K (n_u x n_x).
  /// @throws DimensionMismatch, NotFinite for a bad K; NotStabilizing (with rho) if rho(A - BK) < 1 is not
  /// proved.
  Evaluation(const Task<Backend>& task, const std::type_identity_t<Gain>& K)
      : task_(&task), K_(checked(task, K)), lyapunov_(closed_loop(task, K)) {
    if (!lyapunov_.is_stable()) {
      // A finite gain may overflow in B K.
      const double radius = Backend::is_finite(F())
                                ? Backend::to_double(metalqr::spectral_radius<Backend>(F()))
                                : std::numeric_limits<double>::infinity();
      throw NotStabilizing(
          "K: expected a stabilizing gain, spectral radius of A - BK below 1, got " + detail::text(radius) +
              (lyapunov_.status() == Status::inconclusive ? " (too close to 1 to be decided)" : ""),
          radius);
    }
  }
  /// The task must outlive the evaluation.
  Evaluation(const Task<Backend>&& task, const std::type_identity_t<Gain>& K) = delete;

  /// The gain.
  const Gain& K() const noexcept { return K_; }
  /// F = A - B K.
  const StateMatrix& F() const noexcept { return lyapunov_.F(); }
  /// rho(F).
  Scalar spectral_radius() const { return metalqr::spectral_radius<Backend>(F()); }
  /// P, the value matrix: x'Px is the cost from x.
  const StateMatrix& P() const {
    return once(P_,
                [this] { return finite(Backend::symmetrised(lyapunov_.sum(stage_cost(*task_, K_))), "P"); });
  }
  /// Sigma = sum over t of E[x_t x_t'].
  const StateMatrix& Sigma() const {
    return once(Sigma_, [this] {
      return finite(Backend::symmetrised(lyapunov_.adjoint_sum(task_->Sigma0())), "Sigma");
    });
  }
  /// J = tr(P Sigma0).
  Scalar cost() const { return finite_number(Backend::inner(P(), task_->Sigma0()), "J"); }
  /// Long-run average cost tr(P W) of x+ = A x + B u + w with noise covariance W (n_x x n_x).
  /// @throws DimensionMismatch, NotFinite for a bad W.
  Scalar average_cost(const std::type_identity_t<StateMatrix>& W) const {
    detail::require_shape<Backend>(W, task_->nx(), task_->nx(), "W");
    detail::require_finite<Backend>(W, "W");
    return finite_number(Backend::inner(P(), W), "tr(P W)");
  }
  /// E = R K - B'PF; zero exactly at the optimal gain.
  const Gain& E() const {
    return once(E_, [this] { return finite(detail::policy_error(*task_, K_, F(), BP()), "E"); });
  }
  /// grad J = 2 E Sigma (n_u x n_x).
  const Gain& gradient() const {
    return once(gradient_,
                [this] { return finite(Gain(Scalar(2) * Backend::product(E(), Sigma())), "gradient"); });
  }
  /// (|RK|_F + |B'PF|_F) |Sigma|_F: the size of the terms whose difference the gradient is, so that rounding
  /// leaves about epsilon times this of a gradient that vanishes.
  Scalar gradient_scale() const {
    const Gain RK = Backend::product(task_->R(), K_);
    const Gain BPF = RK - E();
    return finite_number((Backend::norm(RK) + Backend::norm(BPF)) * Backend::norm(Sigma()),
                         "scale of the gradient");
  }
  /// 2 E = (grad J) Sigma^-1: the natural gradient (Kakade 2001; Fazel et al. 2018, section 3).
  Gain natural_gradient() const { return Scalar(2) * E(); }
  /// 2 (R + B'PB)^-1 E: the Gauss-Newton direction; a step of 1/2 is policy iteration (Fazel et al. 2018,
  /// section 3).
  Gain gauss_newton_direction() const { return Scalar(2) * Backend::solve_spd(curvature(), E()); }
  /// R + B'PB (n_u x n_u).
  const ControlMatrix& curvature() const {
    return once(curvature_, [this] {
      return finite(Backend::symmetrised(ControlMatrix(task_->R() + Backend::product(BP(), task_->B()))),
                    "R + B'PB");
    });
  }

  /// H[X], the exact Hessian as a self-adjoint operator on n_u x n_x matrices:
  /// H[X] = 2 (R + B'PB) X Sigma - 2 B'P'F Sigma + 2 E Sigma' with P' = F'P'F + X'E + E'X the derivative of P
  /// along X, and Sigma' = F Sigma' F' - B X Sigma F' - F Sigma X'B' that of Sigma. Two Lyapunov solutions on
  /// kept powers.
  /// @throws DimensionMismatch, NotFinite for a bad X.
  Gain hessian(const std::type_identity_t<Gain>& X) const {
    require_direction(X);
    const StateMatrix BX = Backend::product(task_->B(), X);
    const StateMatrix half = Backend::product_transpose(Backend::product(BX, Sigma()), F());
    const StateMatrix right = Scalar(-1) * (half + Backend::transpose(half));
    const StateMatrix dSigma = lyapunov_.adjoint_sum(right);
    const Gain first = Backend::product(Backend::product(curvature(), X), Sigma());
    const Gain second = Backend::product(value_derivative_term(X), Sigma());
    const Gain third = Backend::product(E(), dSigma);
    return finite(Gain(Scalar(2) * (first - second + third)), "H[X]");
  }
  /// <H[X], X> = tr(H[X]'X), the second derivative of J along X.
  /// @throws DimensionMismatch, NotFinite for a bad X.
  Scalar hessian_form(const std::type_identity_t<Gain>& X) const {
    return finite_number(Backend::inner(hessian(X), X), "<H[X], X>");
  }
  /// 2 (R + B'PB) X Sigma - 4 B'P'F Sigma, the Hessian as printed in Toso et al., L4DC 2024, section 2.1. It
  /// gives the right quadratic form <H[X], X> but is not the second derivative as an operator, except at the
  /// optimum; use `hessian` unless the print is to be reproduced.
  /// @throws DimensionMismatch, NotFinite for a bad X.
  Gain paper_hessian(const std::type_identity_t<Gain>& X) const {
    require_direction(X);
    const Gain first = Backend::product(Backend::product(curvature(), X), Sigma());
    const Gain second = Backend::product(value_derivative_term(X), Sigma());
    return finite(Gain(Scalar(2) * first - Scalar(4) * second), "H[X]");
  }
  /// The exact Hessian as a symmetric d x d matrix, d = n_u n_x, on vec(X) with the columns of X stacked:
  /// row i + n_u j belongs to X(i, j). d applications of `hessian`.
  Matrix hessian_matrix() const {
    const Index nu = task_->nu();
    const Index nx = task_->nx();
    Matrix H = Backend::zero_matrix(nu * nx, nu * nx);
    Gain X = Backend::zero_gain(nu, nx);
    for (Index column = 0; column < nu * nx; ++column) {
      X(column % nu, column / nu) = Scalar(1);
      const Gain HX = hessian(X);
      X(column % nu, column / nu) = Scalar(0);
      for (Index row = 0; row < nu * nx; ++row) H(row, column) = HX(row % nu, row / nu);
    }
    return Backend::symmetrised(H);
  }

 private:
  static const Gain& checked(const Task<Backend>& task, const Gain& K) {
    detail::require_shape<Backend>(K, task.nu(), task.nx(), "K");
    detail::require_finite<Backend>(K, "K");
    return K;
  }
  void require_direction(const Gain& X) const {
    detail::require_shape<Backend>(X, task_->nu(), task_->nx(), "X");
    detail::require_finite<Backend>(X, "X");
  }
  template <class X>
  static X finite(X x, const char* name) {
    detail::require_finite<Backend>(x, name);
    return x;
  }
  static Scalar finite_number(const Scalar& value, const char* name) {
    using std::isfinite;
    if (isfinite(value)) return value;
    throw NotFinite(std::string(name) + ": expected a finite number, got " +
                    detail::text(Backend::to_double(value)));
  }
  template <class X, class Compute>
  static const X& once(std::optional<X>& slot, const Compute& compute) {
    if (!slot) slot.emplace(compute());
    return *slot;
  }
  const Gain& BP() const {
    return once(BP_, [this] { return Backend::transpose_product(task_->B(), P()); });
  }
  // B'P'F with P' the derivative of P along X.
  Gain value_derivative_term(const Gain& X) const {
    const StateMatrix half = Backend::transpose_product(X, E());
    const StateMatrix right = half + Backend::transpose(half);
    const StateMatrix dP = lyapunov_.sum(right);
    return Backend::product(Backend::transpose_product(task_->B(), dP), F());
  }

  const Task<Backend>* task_;
  Gain K_;
  DiscreteLyapunov<Backend> lyapunov_;
  mutable std::optional<StateMatrix> P_;
  mutable std::optional<StateMatrix> Sigma_;
  mutable std::optional<Gain> BP_;
  mutable std::optional<Gain> E_;
  mutable std::optional<Gain> gradient_;
  mutable std::optional<ControlMatrix> curvature_;
};

}  // namespace metalqr::inline METALQR_ABI
