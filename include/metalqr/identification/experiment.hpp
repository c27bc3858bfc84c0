#pragma once

/// @file
/// Experiments on a known plant: data as they would be recorded.

#include <cmath>
#include <cstdint>
#include <type_traits>
#include <utility>
#include <vector>

#include <metalqr/core/parallel.hpp>
#include <metalqr/core/random.hpp>
#include <metalqr/identification/dataset.hpp>
#include <metalqr/lqr/task.hpp>

namespace metalqr::inline METALQR_ABI::identification {

/// How data are collected. The defaults are the experiment of Dean, Mania, Matni, Recht, Tu, "On the sample
/// complexity of the linear quadratic regulator", arXiv 1710.01688, section 6, with N = 100.
struct ExperimentOptions {
  Index rollouts = 100;   ///< N; 1 for a single trajectory
  Index horizon = 6;      ///< T, steps of each rollout
  double excitation = 1;  ///< sigma_u, standard deviation of each random input, >= 0
  double noise = 1;       ///< sigma_w, standard deviation of each entry of the process noise, >= 0
};

/// @throws InvalidOption, which names the field.
inline void validate(const ExperimentOptions& options) {
  using metalqr::detail::require_option;
  require_option(options.rollouts >= 1, "rollouts", static_cast<double>(options.rollouts), "at least 1");
  require_option(options.horizon >= 1, "horizon", static_cast<double>(options.horizon), "at least 1");
  require_option(options.excitation >= 0 && std::isfinite(options.excitation), "excitation",
                 options.excitation, "a finite number >= 0");
  require_option(options.noise >= 0 && std::isfinite(options.noise), "noise", options.noise,
                 "a finite number >= 0");
}

/// Rollouts of x+ = A x + B u + w, u = -K x + e from x0, with e ~ N(0, sigma_u^2 I), w ~ N(0, sigma_w^2 I).
/// Rollout i draws e and w from the streams of `key` with sample i and the purposes `excitation` and
/// `process_noise`: the data depend on the key alone. Q, R and Sigma0 of the task play no role.
/// @param K n_u x n_x, feedback during the experiment.
/// @param x0 n_x, from which every rollout starts.
/// @param threads at most so many; 0 leaves it to OpenMP.
/// @throws DimensionMismatch, NotFinite for a bad K or x0, or where a rollout overflows; InvalidOption.
template <MatrixBackend Backend>
Dataset<Backend> collect(const Task<Backend>& plant, const std::type_identity_t<typename Backend::Gain>& K,
                         const std::type_identity_t<typename Backend::StateVector>& x0,
                         const ExperimentOptions& options = {}, const StreamKey& key = {}, int threads = 0) {
  using StateVector = typename Backend::StateVector;
  using ControlVector = typename Backend::ControlVector;
  using Scalar = typename Backend::Scalar;
  const Index nx = plant.nx();
  const Index nu = plant.nu();
  validate(options);
  metalqr::detail::require_shape<Backend>(K, nu, nx, "K");
  metalqr::detail::require_finite<Backend>(K, "K");
  metalqr::detail::require_shape<Backend>(x0, nx, 1, "x0");
  metalqr::detail::require_finite<Backend>(x0, "x0");
  const Scalar excitation = static_cast<Scalar>(options.excitation);
  const Scalar noise = static_cast<Scalar>(options.noise);
  std::vector<Rollout<Backend>> rollouts(static_cast<std::size_t>(options.rollouts));
  const auto run = [&](Index i) {
    const StreamKey own = key.with_sample(static_cast<std::uint64_t>(i));
    Stream inputs(own.with_purpose(Purpose::excitation));
    Stream disturbances(own.with_purpose(Purpose::process_noise));
    Rollout<Backend> rollout{.states = Backend::zero_matrix(options.horizon + 1, nx),
                             .inputs = Backend::zero_matrix(options.horizon, nu)};
    StateVector x = x0;
    ControlVector e = Backend::product(K, x);
    StateVector w = x0;
    for (Index j = 0; j < nx; ++j) rollout.states(0, j) = x(j, 0);
    for (Index t = 0; t < options.horizon; ++t) {
      fill_normal<Backend>(e, inputs);
      fill_normal<Backend>(w, disturbances);
      const ControlVector feedback = Backend::product(K, x);
      const ControlVector u = excitation * e - feedback;
      const StateVector drift = Backend::product(plant.A(), x);
      const StateVector push = Backend::product(plant.B(), u);
      x = drift + push + noise * w;
      for (Index j = 0; j < nu; ++j) rollout.inputs(t, j) = u(j, 0);
      for (Index j = 0; j < nx; ++j) rollout.states(t + 1, j) = x(j, 0);
    }
    rollouts[static_cast<std::size_t>(i)] = std::move(rollout);
  };
  parallel_for(options.rollouts, run, threads);
  return Dataset<Backend>(std::move(rollouts));
}

/// The same without feedback, from the origin.
template <MatrixBackend Backend>
Dataset<Backend> collect(const Task<Backend>& plant, const ExperimentOptions& options = {},
                         const StreamKey& key = {}, int threads = 0) {
  return collect(plant, Backend::zero_gain(plant.nu(), plant.nx()), Backend::zero_state(plant.nx()), options,
                 key, threads);
}

}  // namespace metalqr::inline METALQR_ABI::identification
