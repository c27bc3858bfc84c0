#pragma once

/// @file
/// The cost of finite responses as a sum of squares.

#include <cmath>
#include <cstddef>
#include <vector>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/index.hpp>
#include <metalqr/lqr/optimal_gain.hpp>
#include <metalqr/lqr/task.hpp>
#include <metalqr/synthesis/ellipsoid_programme.hpp>

namespace metalqr::inline METALQR_ABI::synthesis::detail {

/// The cost as a constant and sum |T_u Phi_u(k) + T_x Phi_x(k)|_F^2 times a scale. Where responses end in
/// zero, completing squares with the optimal K and S'S = R + B'PB leaves T_u = S, T_x = S K, and tr P
/// besides; else T_u = [0; S], T_x = [Q^1/2; 0] with S'S = R.
template <MatrixBackend Backend>
struct FirCost {
  typename Backend::Gain K;           ///< the optimal gain
  typename Backend::ControlMatrix S;  ///< n_u x n_u
  typename Backend::Matrix U;         ///< T_u, q x n_u
  typename Backend::Matrix T;         ///< T_x, q x n_x
  double scale = 1;                   ///< by which costs are divided

  /// @param slack whether responses may end in something else than zero.
  /// @throws NotStabilizable, NoConvergence.
  FirCost(const Task<Backend>& task, bool slack) : FirCost(task, slack, solve_dare(task)) {}

  /// Divides costs by another scale, a positive number.
  void rescale(double other) {
    const auto root = static_cast<typename Backend::Scalar>(std::sqrt(scale / other));
    S = root * S;
    U = root * U;
    T = root * T;
    scale = other;
  }

 private:
  using Matrix = typename Backend::Matrix;
  using Scalar = typename Backend::Scalar;

  FirCost(const Task<Backend>& task, bool slack, const RiccatiSolution<Backend>& optimal) : K(optimal.gain) {
    using ControlMatrix = typename Backend::ControlMatrix;
    const double cost = Backend::to_double(Backend::trace(optimal.value));
    scale = cost > 0 ? cost : Backend::to_double(Backend::max_abs(task.R()));
    const Index n = task.nx();
    const Index p = task.nu();
    const ControlMatrix curvature = task.R() + ControlMatrix(Backend::congruence(task.B(), optimal.value));
    const Matrix input = slack ? root(task.R()) : root(curvature);
    S = Backend::zero_control_matrix(p);
    for (Index i = 0; i < p; ++i) {
      for (Index j = 0; j < p; ++j) S(i, j) = input(i, j);
    }
    const Index above = slack ? n : 0;
    U = Backend::zero_matrix(above + p, p);
    T = Backend::zero_matrix(above + p, n);
    for (Index i = 0; i < p; ++i) {
      for (Index j = 0; j < p; ++j) U(above + i, j) = input(i, j);
    }
    if (slack) {
      const Matrix state = root(task.Q());
      for (Index i = 0; i < n; ++i) {
        for (Index j = 0; j < n; ++j) T(i, j) = state(i, j);
      }
    } else {
      const typename Backend::Gain SK = Backend::product(S, K);
      for (Index i = 0; i < p; ++i) {
        for (Index j = 0; j < n; ++j) T(i, j) = SK(i, j);
      }
    }
  }
  // The upper triangular root of X over the scale.
  template <class X>
  Matrix root(const X& x) const {
    const Index size = Backend::rows(x);
    Matrix scaled = Backend::zero_matrix(size, size);
    for (Index i = 0; i < size; ++i) {
      for (Index j = 0; j < size; ++j) scaled(i, j) = x(i, j) / static_cast<Scalar>(scale);
    }
    return Matrix(Backend::transpose(cholesky_factor<Backend>(scaled)));
  }
};

/// sum over k of |Q^1/2 Phi_x(k)|_F^2 + |R^1/2 Phi_u(k)|_F^2.
template <MatrixBackend Backend>
typename Backend::Scalar response_cost(const Task<Backend>& task,
                                       const std::vector<typename Backend::StateMatrix>& states,
                                       const std::vector<typename Backend::Gain>& inputs) {
  typename Backend::Scalar cost(0);
  for (std::size_t k = 0; k < states.size(); ++k) {
    cost += Backend::inner(states[k], typename Backend::StateMatrix(Backend::product(task.Q(), states[k]))) +
            Backend::inner(inputs[k], typename Backend::Gain(Backend::product(task.R(), inputs[k])));
  }
  return cost;
}

}  // namespace metalqr::inline METALQR_ABI::synthesis::detail
