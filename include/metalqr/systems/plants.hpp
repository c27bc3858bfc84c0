#pragma once

/// @file
/// The plants, costs and gains of the papers, and random plants.

#include <cstddef>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/error.hpp>
#include <metalqr/lqr/task.hpp>

namespace metalqr::inline METALQR_ABI::systems {

namespace detail {

/// Whether the backend's sizes are known at run time only, or are Nx states and Nu inputs.
template <class Backend, int Nx, int Nu>
constexpr bool has_room_for() {
  if constexpr (requires {
                  Backend::states;
                  Backend::inputs;
                }) {
    return (Backend::states < 0 || Backend::states == Nx) && (Backend::inputs < 0 || Backend::inputs == Nu);
  } else {
    return true;
  }
}

/// X with the entries `values`, row by row.
template <MatrixBackend Backend, class X, std::size_t Count>
X filled(X x, const double (&values)[Count]) {
  std::size_t next = 0;
  for (Index i = 0; i < Backend::rows(x); ++i) {
    for (Index j = 0; j < Backend::cols(x); ++j) {
      x(i, j) = static_cast<typename Backend::Scalar>(values[next++]);
    }
  }
  return x;
}

/// factor times the n_x x n_x identity.
template <MatrixBackend Backend>
typename Backend::StateMatrix scaled_identity(Index nx, double factor) {
  typename Backend::StateMatrix X = Backend::zero_state_matrix(nx);
  for (Index i = 0; i < nx; ++i) X(i, i) = static_cast<typename Backend::Scalar>(factor);
  return X;
}

/// factor times the n_u x n_u identity.
template <MatrixBackend Backend>
typename Backend::ControlMatrix scaled_control_identity(Index nu, double factor) {
  typename Backend::ControlMatrix X = Backend::zero_control_matrix(nu);
  for (Index i = 0; i < nu; ++i) X(i, i) = static_cast<typename Backend::Scalar>(factor);
  return X;
}

template <MatrixBackend Backend>
void require_boeing_size() {
  static_assert(has_room_for<Backend, 4, 2>(),
                "the modified Boeing plant has 4 states and 2 inputs: use EigenBackend<Scalar, 4, 2> or "
                "dynamic sizes");
}

template <MatrixBackend Backend>
Task<Backend> boeing_task(const double (&A)[16]) {
  require_boeing_size<Backend>();
  return {
      filled<Backend>(Backend::zero_state_matrix(4), A),
      filled<Backend>(Backend::zero_input_matrix(4, 2), {0.01, 0.99, -3.44, 1.66, -0.83, 0.44, -0.47, 0.25}),
      scaled_identity<Backend>(4, 1), scaled_control_identity<Backend>(2, 1),
      scaled_identity<Backend>(4, 0.25)};
}

template <MatrixBackend Backend>
typename Backend::Gain boeing_gain(const double (&K)[8]) {
  require_boeing_size<Backend>();
  return filled<Backend>(Backend::zero_gain(2, 4), K);
}

}  // namespace detail

/// The "modified Boeing" plant (4 states, 2 inputs; rho(A) = 4.70) with Q, R = I and Sigma0 = I/4: the
/// nominal task of Toso, Zhan, Anderson, Wang, "Meta-learning linear quadratic regulators: a policy gradient
/// MAML approach for model-free LQR", L4DC 2024, and of "Asynchronous heterogeneous linear quadratic
/// regulator design", arXiv 2404.09061. A is that of the authors' code, with which every published number is
/// consistent.
template <MatrixBackend Backend>
Task<Backend> modified_boeing() {
  return detail::boeing_task<Backend>(
      {1.22, 0.03, -0.02, -0.32, 0.01, 4.70, 0, 0, 0.02, -0.06, 0.40, 0, 0.01, -0.04, 0.72, 1.55});
}

/// The modified Boeing plant with A as the papers print it, whose second row (0.01 0.47 4.70 0.00) is a
/// misprint: the published initial gain leaves it unstable, rho(A - B K0) = 3.07. Not for use:
/// `modified_boeing` is the plant that the published results belong to.
template <MatrixBackend Backend>
Task<Backend> modified_boeing_as_printed() {
  return detail::boeing_task<Backend>(
      {1.22, 0.03, -0.02, -0.32, 0.01, 0.47, 4.70, 0, 0.02, -0.06, 0.40, 0, 0.01, -0.04, 0.72, 1.55});
}

/// K0 (2 x 4) from which meta-training starts in Toso et al., L4DC 2024; rho(A - B K0) = 0.95019 on
/// `modified_boeing`.
template <MatrixBackend Backend>
typename Backend::Gain modified_boeing_initial_gain() {
  return detail::boeing_gain<Backend>({0.61343269, -1.53543838, 0.30279836, 0.39631415,  //
                                       0.88802018, 0.60382034, -0.14729954, -0.58220629});
}

/// The "random" gain (2 x 4) from which adaptation without meta-training starts in Toso et al., L4DC 2024;
/// rho(A - B K) = 0.87933 on `modified_boeing`.
template <MatrixBackend Backend>
typename Backend::Gain modified_boeing_random_gain() {
  return detail::boeing_gain<Backend>({0.44341518, -1.58018724, 0.39255762, 0.3951213,  //
                                       0.91843109, 0.5854466, -0.09645058, -0.55326515});
}

/// K0 (2 x 4) of the asynchronous experiments, arXiv 2404.09061; rho(A - B K0) = 0.88861 on
/// `modified_boeing`.
template <MatrixBackend Backend>
typename Backend::Gain modified_boeing_async_gain() {
  return detail::boeing_gain<Backend>({0.33683197, -1.7417071, 0.15033713, 0.28966262,  //
                                       0.68460759, 0.42031008, -0.28415275, -0.6531542});
}

/// Second moment (4 x 4) of the initial states on which the authors' code trains: each component is drawn
/// from N(0.5, 1e-3^2), so that Sigma0 = 11'/4 + 1e-6 I, nearly of rank one. The report says N(0, I/4)
/// instead, which is the Sigma0 of `modified_boeing`. Use:
/// `modified_boeing<Backend>().with_initial_state(...)`.
template <MatrixBackend Backend>
typename Backend::StateMatrix published_initial_second_moment() {
  detail::require_boeing_size<Backend>();
  using Scalar = typename Backend::Scalar;
  typename Backend::StateMatrix Sigma0 = detail::scaled_identity<Backend>(4, 1e-6);
  for (Index i = 0; i < 4; ++i) {
    for (Index j = 0; j < 4; ++j) Sigma0(i, j) = Sigma0(i, j) + static_cast<Scalar>(0.25);
  }
  return Sigma0;
}

/// x0 = (0.25, 0.55, 0.35, 0.45), the state from which both papers measure the optimality gap J(K) - J*.
template <MatrixBackend Backend>
typename Backend::StateVector published_gap_state() {
  detail::require_boeing_size<Backend>();
  return detail::filled<Backend>(Backend::zero_state(4), {0.25, 0.55, 0.35, 0.45});
}

/// x0 x0' (4 x 4) of `published_gap_state`: with it as Sigma0, `modified_boeing` has J* = 2.7147945922 and
/// J = 22.546370377 at `modified_boeing_initial_gain`.
template <MatrixBackend Backend>
typename Backend::StateMatrix published_gap_second_moment() {
  const typename Backend::StateVector x0 = published_gap_state<Backend>();
  return Backend::product_transpose(x0, x0);
}

/// Three nodes on a line, slightly unstable: A = [1.01 .01 0; .01 1.01 .01; 0 .01 1.01], B = I, Q =
/// state_cost * I, R = I, Sigma0 = I. With the default Q the example of Dean, Mania, Matni, Recht, Tu, "On
/// the sample complexity of the linear quadratic regulator", arXiv 1710.01688, section 6; with state_cost =
/// 10 that of their "Regret bounds for robust adaptive control of the linear quadratic regulator", arXiv
/// 1805.09388.
/// @throws InvalidOption unless state_cost >= 0.
template <MatrixBackend Backend>
Task<Backend> laplacian_3(double state_cost = 1e-3) {
  static_assert(
      detail::has_room_for<Backend, 3, 3>(),
      "the Laplacian plant has 3 states and 3 inputs: use EigenBackend<Scalar, 3, 3> or dynamic sizes");
  metalqr::detail::require_option(state_cost >= 0, "state_cost", state_cost, "a number >= 0");
  return {detail::filled<Backend>(Backend::zero_state_matrix(3),
                                  {1.01, 0.01, 0, 0.01, 1.01, 0.01, 0, 0.01, 1.01}),
          detail::filled<Backend>(Backend::zero_input_matrix(3, 3), {1, 0, 0, 0, 1, 0, 0, 0, 1}),
          detail::scaled_identity<Backend>(3, state_cost), detail::scaled_control_identity<Backend>(3, 1)};
}

/// Position and velocity under a force that is held for `step` seconds: A = [1 step; 0 1], B = [step^2/2;
/// step], the exact sampling of p'' = u; Q = I, R = 1, Sigma0 = I.
/// @throws InvalidOption unless step > 0.
template <MatrixBackend Backend>
Task<Backend> double_integrator(double step = 1) {
  static_assert(
      detail::has_room_for<Backend, 2, 1>(),
      "the double integrator has 2 states and 1 input: use EigenBackend<Scalar, 2, 1> or dynamic sizes");
  metalqr::detail::require_option(step > 0, "step", step, "a positive number of seconds");
  return {detail::filled<Backend>(Backend::zero_state_matrix(2), {1, step, 0, 1}),
          detail::filled<Backend>(Backend::zero_input_matrix(2, 1), {0.5 * step * step, step}),
          detail::scaled_identity<Backend>(2, 1), detail::scaled_control_identity<Backend>(1, 1)};
}

}  // namespace metalqr::inline METALQR_ABI::systems
