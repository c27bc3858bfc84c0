#pragma once

/// @file
/// Cost and gradient of a gain on a plant of thousands of states.

#include <limits>
#include <type_traits>
#include <utility>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/check.hpp>
#include <metalqr/core/error.hpp>
#include <metalqr/core/status.hpp>
#include <metalqr/equations/linear_operator.hpp>
#include <metalqr/equations/low_rank.hpp>
#include <metalqr/equations/low_rank_lyapunov.hpp>

namespace metalqr::inline METALQR_ABI {

/// A linear-quadratic regulator problem with many states, few inputs, few outputs in its cost and few
/// directions of its initial state: x_{t+1} = A x_t + B u_t, cost sum over t >= 0 of |C x|^2 + u'Ru,
/// E[x_0 x_0'] = S S'. A is a `LinearOperator`. It is the `Task` with Q = C'C and Sigma0 = S S'.
template <MatrixBackend Backend, LinearOperator<Backend> Plant>
class LargePlant {
 public:
  using Matrix = typename Backend::Matrix;  ///< of any size

  /// @param A n x n, dynamics.
  /// @param B n x n_u, input.
  /// @param C q x n, outputs in the cost.
  /// @param R n_u x n_u, input cost, symmetric positive definite.
  /// @param S n x s, factor of the second moment of the initial state.
  /// @throws DimensionMismatch, NotFinite, NotPositiveDefinite, each naming the matrix.
  LargePlant(Plant A, Matrix B, Matrix C, Matrix R, Matrix S)
      : A_(std::move(A)), B_(std::move(B)), C_(std::move(C)), R_(std::move(R)), S_(std::move(S)) {
    detail::require_shape<Backend>(B_, nx(), nu(), "B");
    detail::require_shape<Backend>(C_, Backend::rows(C_), nx(), "C");
    detail::require_shape<Backend>(R_, nu(), nu(), "R");
    detail::require_shape<Backend>(S_, nx(), Backend::cols(S_), "S");
    detail::require_finite<Backend>(B_, "B");
    detail::require_finite<Backend>(C_, "C");
    detail::require_finite<Backend>(R_, "R");
    detail::require_finite<Backend>(S_, "S");
    R_ = detail::definite_part<Backend>(R_, "R");
  }

  /// Dynamics.
  const Plant& A() const noexcept { return A_; }
  /// Input matrix, n x n_u.
  const Matrix& B() const noexcept { return B_; }
  /// Outputs in the cost, q x n.
  const Matrix& C() const noexcept { return C_; }
  /// Input cost, n_u x n_u.
  const Matrix& R() const noexcept { return R_; }
  /// Factor of the second moment of the initial state, n x s.
  const Matrix& S() const noexcept { return S_; }
  /// Number of states.
  Index nx() const { return A_.size(); }
  /// Number of inputs.
  Index nu() const { return Backend::cols(B_); }

 private:
  Plant A_;
  Matrix B_;
  Matrix C_;
  Matrix R_;
  Matrix S_;
};

/// The `LargePlant` of these matrices, see there.
/// @throws DimensionMismatch, NotFinite, NotPositiveDefinite, each naming the matrix.
template <MatrixBackend Backend, LinearOperator<Backend> Plant>
LargePlant<Backend, Plant> large_plant(Plant A, const std::type_identity_t<typename Backend::Matrix>& B,
                                       const std::type_identity_t<typename Backend::Matrix>& C,
                                       const std::type_identity_t<typename Backend::Matrix>& R,
                                       const std::type_identity_t<typename Backend::Matrix>& S) {
  return {std::move(A), B, C, R, S};
}

/// Cost and gradient of one gain on a `LargePlant`.
template <MatrixBackend Backend>
struct LargeEvaluation {
  using Scalar = typename Backend::Scalar;  ///< number type

  /// J = tr(P Sigma0); +infinity unless `status` is converged
  Scalar cost = std::numeric_limits<Scalar>::infinity();
  /// proved bound of |tr(P Sigma0) - J| up to rounding in the last sum and to products of two residuals;
  /// +infinity unless converged
  Scalar cost_error = std::numeric_limits<Scalar>::infinity();
  /// 2 (R K - B'PF) Sigma (n_u x n); zero unless converged
  typename Backend::Matrix gradient;
  /// P = Z Z' with P = C'C + K'RK + F'PF
  LowRankSolution<Backend> P;
  /// Sigma = Z Z' with Sigma = S S' + F Sigma F'
  LowRankSolution<Backend> Sigma;
  /// converged if both solutions are, else how the first of them that is not has ended
  Status status = Status::iteration_limit;
};

/// Cost and gradient of u = -K x on `plant` for a gain K (n_u x n): with P = Z Z' and Sigma = Y Y' of low
/// rank,
///   J = |Z'S|_F^2,  grad J = 2 (R K Y - B'Z (F'Z)'Y) Y'   (Fazel, Ge, Kakade, Mesbahi, ICML 2018),
/// at the price of two low-rank Lyapunov solutions and O(n n_u rank) operations; nothing of size n x n is
/// formed. Does not throw where the closed loop F = A - BK is unstable: see `status`. As
/// `solve_low_rank_lyapunov` says, it sees the modes alone that the cost observes and the initial state
/// excites.
///
/// J - tr(Z Z'S S') = tr(E Sigma) for the residual E of Z Z', hence the bound |E|_F |Sigma|_F of its error.
/// @throws DimensionMismatch, NotFinite for a bad K; InvalidOption.
template <MatrixBackend Backend, LinearOperator<Backend> Plant>
LargeEvaluation<Backend> evaluate(const LargePlant<Backend, Plant>& plant,
                                  const std::type_identity_t<typename Backend::Matrix>& K,
                                  const LowRankOptions& options = {}) {
  using Scalar = typename Backend::Scalar;
  using Matrix = typename Backend::Matrix;
  const auto F = closed_loop_operator<Backend>(plant.A(), plant.B(), K);
  // C'C + K'RK = (the columns of C' and K'L)(...)' with R = L L'.
  const Matrix L = detail::pivoted_cholesky<Backend>(plant.R(), Scalar(0), Scalar(0)).L;
  const Matrix outputs = detail::side_by_side<Backend>(
      {Matrix(Backend::transpose(plant.C())), Matrix(Backend::transpose_product(K, L))});
  LargeEvaluation<Backend> result{
      .gradient = Backend::zero_matrix(plant.nu(), plant.nx()),
      .P = solve_low_rank_lyapunov<Backend>(F, Backend::transpose(outputs), options),
      .Sigma = solve_low_rank_lyapunov_adjoint<Backend>(F, plant.S(), options)};
  result.status = result.P.status != Status::converged ? result.P.status : result.Sigma.status;
  if (result.status != Status::converged || result.P.rank == 0 || result.Sigma.rank == 0) {
    if (result.status == Status::converged) result.cost = result.cost_error = Scalar(0);
    return result;
  }

  const Matrix& Z = result.P.factor;
  const Matrix& Y = result.Sigma.factor;
  const Matrix seen = Backend::transpose_product(Z, plant.S());
  result.cost = Backend::inner(seen, seen);
  // The three terms of the equation of P are positive semidefinite and at most P.
  result.cost_error = Scalar(3) * result.P.residual.bound * detail::norm_of_square<Backend>(Z) *
                      detail::norm_of_square<Backend>(Y);
  const Matrix moved = F.apply_transposed(Z);
  const Matrix inputs = Backend::product(plant.R(), Matrix(Backend::product(K, Y)));
  const Matrix future = Backend::product(Matrix(Backend::transpose_product(plant.B(), Z)),
                                         Matrix(Backend::transpose_product(moved, Y)));
  const Matrix half = inputs - future;
  result.gradient = Scalar(2) * Backend::product_transpose(half, Y);
  return result;
}

}  // namespace metalqr::inline METALQR_ABI
