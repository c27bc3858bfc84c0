#pragma once

/// @file
/// One linear-quadratic regulator problem.

#include <cmath>
#include <type_traits>
#include <utility>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/check.hpp>
#include <metalqr/core/error.hpp>

namespace metalqr::inline METALQR_ABI {

template <MatrixBackend Backend>
class Task;

namespace detail {
template <MatrixBackend Lanes, class TaskAt>
Task<Lanes> pack_tasks(Index nx, Index nu, const TaskAt& task);
}  // namespace detail

/// One plant with its cost: x_{t+1} = A x_t + B u_t, cost sum over t >= 0 of x'Qx + u'Ru, E[x_0 x_0'] =
/// Sigma0. Its matrices are checked once, when it is made; they cannot be changed afterwards.
template <MatrixBackend Backend_>
class Task {
 public:
  using Backend = Backend_;                               ///< matrix library
  using Scalar = typename Backend::Scalar;                ///< number type
  using StateMatrix = typename Backend::StateMatrix;      ///< n_x x n_x
  using InputMatrix = typename Backend::InputMatrix;      ///< n_x x n_u
  using ControlMatrix = typename Backend::ControlMatrix;  ///< n_u x n_u

  /// @param A n_x x n_x, dynamics.
  /// @param B n_x x n_u, input.
  /// @param Q n_x x n_x, state cost, symmetric positive semidefinite.
  /// @param R n_u x n_u, input cost, symmetric positive definite.
  /// @param Sigma0 n_x x n_x, second moment of the initial state, symmetric positive semidefinite.
  /// @throws DimensionMismatch, NotFinite, NotPositiveDefinite, each naming the matrix.
  Task(const StateMatrix& A, const InputMatrix& B, const StateMatrix& Q, const ControlMatrix& R,
       const StateMatrix& Sigma0)
      : A_(A), B_(B), Q_(Q), R_(R), Sigma0_(Sigma0) {
    const Index nx = Backend::rows(A);
    const Index nu = Backend::cols(B);
    if (nx < 1)
      throw DimensionMismatch("A: expected at least one state, got " + detail::shape(nx, Backend::cols(A)));
    if (nu < 1)
      throw DimensionMismatch("B: expected at least one input, got " + detail::shape(Backend::rows(B), nu));
    detail::require_shape<Backend>(A, nx, nx, "A");
    detail::require_shape<Backend>(B, nx, nu, "B");
    detail::require_shape<Backend>(Q, nx, nx, "Q");
    detail::require_shape<Backend>(R, nu, nu, "R");
    detail::require_shape<Backend>(Sigma0, nx, nx, "Sigma0");
    detail::require_finite<Backend>(A, "A");
    detail::require_finite<Backend>(B, "B");
    detail::require_finite<Backend>(Q, "Q");
    detail::require_finite<Backend>(R, "R");
    detail::require_finite<Backend>(Sigma0, "Sigma0");
    Q_ = detail::semidefinite_part<Backend>(Q, "Q");
    R_ = detail::definite_part<Backend>(R, "R");
    Sigma0_ = detail::semidefinite_part<Backend>(Sigma0, "Sigma0");
  }
  /// With Sigma0 the identity.
  Task(const StateMatrix& A, const InputMatrix& B, const StateMatrix& Q, const ControlMatrix& R)
      : Task(A, B, Q, R, Backend::identity_like(A)) {}

  /// Dynamics, n_x x n_x.
  const StateMatrix& A() const noexcept { return A_; }
  /// Input matrix, n_x x n_u.
  const InputMatrix& B() const noexcept { return B_; }
  /// State cost, n_x x n_x.
  const StateMatrix& Q() const noexcept { return Q_; }
  /// Input cost, n_u x n_u.
  const ControlMatrix& R() const noexcept { return R_; }
  /// Second moment of the initial state, n_x x n_x.
  const StateMatrix& Sigma0() const noexcept { return Sigma0_; }
  /// Number of states.
  Index nx() const { return Backend::rows(A_); }
  /// Number of inputs.
  Index nu() const { return Backend::cols(B_); }

  /// The same plant and cost with another second moment of the initial state.
  Task with_initial_state(const std::type_identity_t<StateMatrix>& Sigma0) const {
    return {A_, B_, Q_, R_, Sigma0};
  }
  /// The task whose cost is the long-run average cost E[x'Qx + u'Ru] of x+ = A x + B u + w with noise
  /// covariance W (n_x x n_x): in stationarity E[xx'] solves the Lyapunov equation of Sigma with W in the
  /// place of Sigma0, so that cost, gradient and Hessian of the average-cost objective are those of this
  /// task.
  Task with_process_noise(const std::type_identity_t<StateMatrix>& W) const {
    detail::require_shape<Backend>(W, nx(), nx(), "W");
    detail::require_finite<Backend>(W, "W");
    return {A_, B_, Q_, R_, detail::semidefinite_part<Backend>(W, "W")};
  }
  /// The discounted task, with A and B scaled by sqrt(discount): its cost is sum over t of discount^t (x'Qx +
  /// u'Ru).
  /// @throws InvalidOption unless 0 < discount <= 1.
  Task with_discount(double discount) const {
    using std::sqrt;
    detail::require_option(discount > 0 && discount <= 1, "discount", discount, "a number in (0, 1]");
    const Scalar root = sqrt(static_cast<Scalar>(discount));
    return {root * A_, root * B_, Q_, R_, Sigma0_};
  }

 private:
  template <MatrixBackend Lanes, class TaskAt>
  friend Task<Lanes> detail::pack_tasks(Index nx, Index nu, const TaskAt& task);
  Task() = default;

  StateMatrix A_;
  InputMatrix B_;
  StateMatrix Q_;
  ControlMatrix R_;
  StateMatrix Sigma0_;
};

}  // namespace metalqr::inline METALQR_ABI
