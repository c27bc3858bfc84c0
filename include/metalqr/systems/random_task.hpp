#pragma once

/// @file
/// Random plants with a given spectral radius.

#include <cmath>
#include <cstdint>
#include <numbers>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/error.hpp>
#include <metalqr/core/random.hpp>
#include <metalqr/lqr/task.hpp>

namespace metalqr::inline METALQR_ABI::systems {

/// What `random_task` draws.
struct RandomTask {
  Index states = 4;              ///< n_x; must agree with a backend of fixed sizes
  Index inputs = 2;              ///< n_u
  double spectral_radius = 0.9;  ///< rho(A), >= 0
};

namespace detail {

/// X <- U X U' with U the product of n reflections along random directions: a random orthogonal matrix.
template <MatrixBackend Backend>
typename Backend::StateMatrix randomly_rotated(typename Backend::StateMatrix X, Stream& stream) {
  using Scalar = typename Backend::Scalar;
  const Index n = Backend::rows(X);
  for (Index k = 0; k < n; ++k) {
    typename Backend::StateVector v = Backend::zero_state(n);
    fill_normal<Backend>(v, stream);
    const Scalar scale = Scalar(2) / Backend::inner(v, v);
    const typename Backend::StateMatrix vv = Backend::product_transpose(v, v);
    const typename Backend::StateMatrix reflection = Backend::identity_like(X) - scale * vv;
    X = Backend::outer_congruence(reflection, X);
  }
  return X;
}

/// I + G G' / n, with a Gaussian G.
template <MatrixBackend Backend, class X>
X random_definite(X G, Stream& stream) {
  using Scalar = typename Backend::Scalar;
  fill_normal<Backend>(G, stream);
  const Scalar n = static_cast<Scalar>(static_cast<double>(Backend::rows(G)));
  const X square = Backend::product_transpose(G, G);
  return Backend::identity_like(G) + square / n;
}

}  // namespace detail

/// A random task: A = U T U' with U orthogonal and T in real Schur form, dense and not normal. For n_x >= 2
/// the largest eigenvalues are a complex pair of modulus `spectral_radius`; every further pair has a modulus
/// uniform between 0.3 and 1 times that and a random angle. B is Gaussian, Q and R are I + G G'/n with a
/// Gaussian G, Sigma0 = I. Equal arguments give equal tasks; n_x^4 operations.
/// @throws InvalidOption, DimensionMismatch (sizes other than the backend's fixed ones).
template <MatrixBackend Backend>
Task<Backend> random_task(const RandomTask& options, std::uint64_t seed) {
  using Scalar = typename Backend::Scalar;
  namespace common = metalqr::detail;
  const Index nx = options.states;
  const Index nu = options.inputs;
  common::require_option(nx >= 1, "states", static_cast<double>(nx), "at least 1");
  common::require_option(nu >= 1, "inputs", static_cast<double>(nu), "at least 1");
  common::require_option(options.spectral_radius >= 0 && std::isfinite(options.spectral_radius),
                         "spectral_radius", options.spectral_radius, "a finite number >= 0");
  if constexpr (requires {
                  Backend::states;
                  Backend::inputs;
                }) {
    if ((Backend::states >= 0 && Backend::states != nx) || (Backend::inputs >= 0 && Backend::inputs != nu)) {
      throw DimensionMismatch("states, inputs: expected the backend's fixed sizes " +
                              common::shape(Backend::states, Backend::inputs) + ", got " +
                              common::shape(nx, nu));
    }
  }
  const StreamKey key{.seed = seed, .purpose = Purpose::tasks};
  Stream spectrum(key.with_sample(0));
  typename Backend::StateMatrix T = Backend::zero_state_matrix(nx);
  const double spread = options.spectral_radius / std::sqrt(static_cast<double>(nx));
  for (Index i = 0; i < nx; ++i) {
    for (Index j = i + 1; j < nx; ++j) T(i, j) = static_cast<Scalar>(spread * spectrum.normal());
  }
  for (Index i = 0; i < nx; i += 2) {
    const double modulus = options.spectral_radius * (i == 0 ? 1.0 : spectrum.uniform(0.3, 1));
    // Away from the real axis, so that the pair is well conditioned.
    const double angle = spectrum.uniform(0.1, 0.9) * std::numbers::pi;
    if (i + 1 == nx) {
      T(i, i) = static_cast<Scalar>(angle < std::numbers::pi / 2 ? modulus : -modulus);
      continue;
    }
    T(i, i) = static_cast<Scalar>(modulus * std::cos(angle));
    T(i + 1, i + 1) = T(i, i);
    T(i, i + 1) = static_cast<Scalar>(modulus * std::sin(angle));
    T(i + 1, i) = -T(i, i + 1);
  }
  Stream rotation(key.with_sample(1));
  Stream input(key.with_sample(2));
  Stream cost(key.with_sample(3));
  typename Backend::InputMatrix B = Backend::zero_input_matrix(nx, nu);
  fill_normal<Backend>(B, input);
  const typename Backend::StateMatrix Q =
      detail::random_definite<Backend>(Backend::zero_state_matrix(nx), cost);
  const typename Backend::ControlMatrix R =
      detail::random_definite<Backend>(Backend::zero_control_matrix(nu), cost);
  return {detail::randomly_rotated<Backend>(T, rotation), B, Q, R};
}

}  // namespace metalqr::inline METALQR_ABI::systems
