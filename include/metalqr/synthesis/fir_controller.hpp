#pragma once

/// @file
/// Controllers that are given by finite responses from noise to state and input.

#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/check.hpp>
#include <metalqr/core/error.hpp>
#include <metalqr/equations/spectral.hpp>
#include <metalqr/lqr/task.hpp>

namespace metalqr::inline METALQR_ABI::synthesis {

/// xi_{t+1} = A xi_t + B x_t, u_t = C xi_t + D x_t, a controller with r states.
template <MatrixBackend Backend>
struct ControllerStateSpace {
  typename Backend::Matrix A;  ///< r x r
  typename Backend::Matrix B;  ///< r x n_x
  typename Backend::Matrix C;  ///< n_u x r
  typename Backend::Matrix D;  ///< n_u x n_x
};

/// The controller u = Phi_u Phi_x^-1 x of the responses Phi = sum over k = 1 ... L of Phi(k) z^-k from noise
/// to state and to input (Anderson, Doyle, Low and Matni, "System level synthesis", Annu. Rev. Control 47,
/// 2019):
///   d_t = x_t - sum_{k=2}^L Phi_x(k) d_{t-k+1},  u_t = sum_{k=1}^L Phi_u(k) d_{t-k+1}.
/// It gives the input itself, not minus it.
template <MatrixBackend Backend>
class FirController {
 public:
  using StateMatrix = typename Backend::StateMatrix;      ///< n_x x n_x
  using Gain = typename Backend::Gain;                    ///< n_u x n_x
  using StateVector = typename Backend::StateVector;      ///< n_x
  using ControlVector = typename Backend::ControlVector;  ///< n_u
  using Matrix = typename Backend::Matrix;                ///< of any size

  /// No controller.
  FirController() = default;
  /// @param state_response Phi_x(1) = I, ..., Phi_x(L).
  /// @param input_response Phi_u(1), ..., Phi_u(L).
  /// @throws DimensionMismatch, NotFinite; InvalidOption if Phi_x(1) is not I.
  FirController(std::vector<StateMatrix> state_response, std::vector<Gain> input_response)
      : state_response_(std::move(state_response)), input_response_(std::move(input_response)) {
    if (state_response_.empty() || state_response_.size() != input_response_.size()) {
      throw DimensionMismatch(
          "input_response: expected as many coefficients as state_response has, at least one, got " +
          std::to_string(input_response_.size()) + " and " + std::to_string(state_response_.size()));
    }
    const Index n = Backend::rows(state_response_.front());
    const Index p = Backend::rows(input_response_.front());
    for (const StateMatrix& phi : state_response_) {
      metalqr::detail::require_shape<Backend>(phi, n, n, "state_response");
      metalqr::detail::require_finite<Backend>(phi, "state_response");
    }
    for (const Gain& phi : input_response_) {
      metalqr::detail::require_shape<Backend>(phi, p, n, "input_response");
      metalqr::detail::require_finite<Backend>(phi, "input_response");
    }
    const StateMatrix difference = state_response_.front() - Backend::identity_like(state_response_.front());
    if (Backend::max_abs(difference) > typename Backend::Scalar(0)) {
      throw InvalidOption("state_response: expected the identity as its first coefficient");
    }
  }

  /// L.
  Index length() const { return static_cast<Index>(state_response_.size()); }
  /// Phi_x(1), ..., Phi_x(L).
  const std::vector<StateMatrix>& state_response() const { return state_response_; }
  /// Phi_u(1), ..., Phi_u(L).
  const std::vector<Gain>& input_response() const { return input_response_; }

  /// The input u_t for the state x_t, in turn for t = 0, 1, ...
  /// @throws DimensionMismatch; NotFinite, after which x may be given again; InvalidOption if there is no
  /// controller.
  ControlVector operator()(const StateVector& x) {
    require_responses();
    metalqr::detail::require_shape<Backend>(x, Backend::rows(state_response_.front()), 1, "x");
    metalqr::detail::require_finite<Backend>(x, "x");
    StateVector newest = x;
    for (std::size_t k = 1; k < state_response_.size() && k <= past_.size(); ++k) {
      newest -= StateVector(Backend::product(state_response_[k], past_[k - 1]));
    }
    ControlVector u = Backend::product(input_response_.front(), newest);
    for (std::size_t k = 1; k < input_response_.size() && k <= past_.size(); ++k) {
      u += ControlVector(Backend::product(input_response_[k], past_[k - 1]));
    }
    past_.insert(past_.begin(), std::move(newest));
    if (past_.size() >= state_response_.size()) past_.resize(state_response_.size() - 1);
    return u;
  }
  /// Forgets the past: the next state is x_0.
  void reset() { past_.clear(); }
  /// d_{t-1}, d_{t-2}, ..., at most L - 1: all that it remembers.
  const std::vector<StateVector>& past() const { return past_; }
  /// Goes on from such a past.
  /// @throws DimensionMismatch, also for more than L - 1; NotFinite; InvalidOption if there is no controller.
  void resume(std::vector<StateVector> past) {
    require_responses();
    if (past.size() >= state_response_.size()) {
      throw DimensionMismatch("past: expected at most " + std::to_string(length() - 1) + " states, got " +
                              std::to_string(past.size()));
    }
    for (const StateVector& d : past) {
      metalqr::detail::require_shape<Backend>(d, Backend::rows(state_response_.front()), 1, "past");
      metalqr::detail::require_finite<Backend>(d, "past");
    }
    past_ = std::move(past);
  }

  /// With the states xi_t = (d_{t-1}, ..., d_{t-L+1}); r = n_x (L - 1).
  /// @throws InvalidOption if there is no controller.
  ControllerStateSpace<Backend> state_space() const {
    require_responses();
    const Index n = Backend::rows(state_response_.front());
    const Index p = Backend::rows(input_response_.front());
    const Index r = n * (length() - 1);
    ControllerStateSpace<Backend> result{Backend::zero_matrix(r, r), Backend::zero_matrix(r, n),
                                         Backend::zero_matrix(p, r), Backend::zero_matrix(p, n)};
    for (Index j = 0; j < n; ++j) {
      if (r > 0) result.B(j, j) = typename Backend::Scalar(1);
      for (Index i = 0; i < p; ++i) result.D(i, j) = input_response_.front()(i, j);
    }
    for (Index k = 1; k < length(); ++k) {
      const StateMatrix& phi = state_response_[static_cast<std::size_t>(k)];
      const Gain direct = Backend::product(input_response_.front(), phi);
      for (Index j = 0; j < n; ++j) {
        const Index column = n * (k - 1) + j;
        for (Index i = 0; i < n; ++i) result.A(i, column) = -phi(i, j);
        for (Index i = 0; i < p; ++i) {
          result.C(i, column) = input_response_[static_cast<std::size_t>(k)](i, j) - direct(i, j);
        }
        if (k + 1 < length()) result.A(n * k + j, column) = typename Backend::Scalar(1);
      }
    }
    return result;
  }

 private:
  void require_responses() const {
    if (state_response_.empty()) {
      throw InvalidOption("controller: expected responses, got none, as of a design that failed");
    }
  }

  std::vector<StateMatrix> state_response_;
  std::vector<Gain> input_response_;
  std::vector<StateVector> past_;  // d_{t-1}, d_{t-2}, ...
};

/// The matrix of plant and controller together, on (x, xi): [A + B D_K, B C_K; B_K, A_K].
/// @throws DimensionMismatch, NotFinite for a bad controller.
template <MatrixBackend Backend>
typename Backend::Matrix closed_loop(const Task<Backend>& task,
                                     const ControllerStateSpace<Backend>& controller) {
  const Index n = task.nx();
  const Index p = task.nu();
  const Index r = Backend::rows(controller.A);
  metalqr::detail::require_shape<Backend>(controller.D, p, n, "controller.D");
  metalqr::detail::require_finite<Backend>(controller.D, "controller.D");
  if (r > 0) {
    metalqr::detail::require_shape<Backend>(controller.A, r, r, "controller.A");
    metalqr::detail::require_shape<Backend>(controller.B, r, n, "controller.B");
    metalqr::detail::require_shape<Backend>(controller.C, p, r, "controller.C");
    metalqr::detail::require_finite<Backend>(controller.A, "controller.A");
    metalqr::detail::require_finite<Backend>(controller.B, "controller.B");
    metalqr::detail::require_finite<Backend>(controller.C, "controller.C");
  }
  typename Backend::Matrix F = Backend::zero_matrix(n + r, n + r);
  for (Index i = 0; i < n; ++i) {
    for (Index j = 0; j < n + r; ++j) {
      typename Backend::Scalar entry = j < n ? task.A()(i, j) : typename Backend::Scalar(0);
      for (Index k = 0; k < p; ++k) {
        entry += task.B()(i, k) * (j < n ? controller.D(k, j) : controller.C(k, j - n));
      }
      F(i, j) = entry;
    }
  }
  for (Index i = 0; i < r; ++i) {
    for (Index j = 0; j < n + r; ++j) F(n + i, j) = j < n ? controller.B(i, j) : controller.A(i, j - n);
  }
  return F;
}

/// The long-run average cost of a controller on a plant whose noise has the covariance Sigma0, or infinity
/// where stability of the closed loop is not proved. O(((n_x + r))^3 log) by doubling.
/// @throws DimensionMismatch, NotFinite for a bad controller.
template <MatrixBackend Backend>
double cost(const Task<Backend>& task, const ControllerStateSpace<Backend>& controller) {
  using Matrix = typename Backend::Matrix;
  using Scalar = typename Backend::Scalar;
  const Index n = task.nx();
  const Index p = task.nu();
  const Matrix F = closed_loop(task, controller);
  const Index size = Backend::rows(F);
  Matrix U = Backend::zero_matrix(p, size);
  Matrix R = Backend::zero_matrix(p, p);
  for (Index i = 0; i < p; ++i) {
    for (Index j = 0; j < size; ++j) U(i, j) = j < n ? controller.D(i, j) : controller.C(i, j - n);
    for (Index j = 0; j < p; ++j) R(i, j) = task.R()(i, j);
  }
  Matrix P = Backend::congruence(U, R);
  for (Index i = 0; i < n; ++i) {
    for (Index j = 0; j < n; ++j) P(i, j) += task.Q()(i, j);
  }
  Matrix work;
  const auto add = [&](const Matrix& power) { Backend::add_congruence(P, power, work); };
  const auto report = visit_powers<Backend>(F, add);
  Scalar value(0);
  for (Index i = 0; i < n; ++i) {
    for (Index j = 0; j < n; ++j) value += P(i, j) * task.Sigma0()(i, j);
  }
  const double result = Backend::to_double(value);
  return report.converged() && std::isfinite(result) ? result : std::numeric_limits<double>::infinity();
}

}  // namespace metalqr::inline METALQR_ABI::synthesis
