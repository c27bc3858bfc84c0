#pragma once

/// @file
/// What a server makes of combined directions: plain steps, momentum, Adam.

#include <algorithm>
#include <cmath>
#include <concepts>
#include <limits>
#include <type_traits>
#include <utility>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/check.hpp>
#include <metalqr/core/error.hpp>

namespace metalqr::inline METALQR_ABI::federated {

/// Everything that a server optimiser carries from one step to the next, plain data: continuing from a copy
/// gives the same bits. Before the first step the matrices are zeros, without entries where sizes are
/// dynamic.
template <class Backend>
struct OptimizerState {
  /// n_u x n_x, the running sum or mean of directions; zeros for `PlainStep`.
  typename Backend::Gain first =
      Backend::zero_gain(std::max<Index>(Backend::inputs, 0), std::max<Index>(Backend::states, 0));
  /// n_u x n_x, the root of the running mean of squares (the squares themselves would overflow at half the
  /// exponent); zeros but for `Adam`.
  typename Backend::Gain second = first;
  int steps = 0;  ///< directions taken
};

/// Something that makes steps of directions, called as `optimizer(state, direction, step)` by `advance`,
/// which has checked the arguments and given the state its shape: returns what is to be subtracted from the
/// gain and renews `state.first` and `state.second`. `state.steps` counts this direction already.
template <class T, class Backend>
concept ServerOptimizer = MatrixBackend<Backend> && std::copy_constructible<T> &&
    requires(const T& optimizer, OptimizerState<Backend>& state, const typename Backend::Gain& direction,
             double step) {
  { optimizer(state, direction, step) } -> std::convertible_to<typename Backend::Gain>;
};

/// step G: plain gradient descent.
struct PlainStep {
  /// The step along `direction`.
  template <MatrixBackend Backend>
  typename Backend::Gain operator()(OptimizerState<Backend>& /*state*/,
                                    const std::type_identity_t<typename Backend::Gain>& direction,
                                    double step) const {
    return static_cast<typename Backend::Scalar>(step) * direction;
  }
};

/// step M with M <- decay M + G (Polyak, USSR Comput. Math. Math. Phys. 4, 1964; at a server Reddi et al.,
/// ICLR 2021): tends to step/(1 - decay) G for a constant direction G.
struct Momentum {
  double decay = 0.9;  ///< in [0, 1); 0 is `PlainStep`

  /// The step along `direction`.
  template <MatrixBackend Backend>
  typename Backend::Gain operator()(OptimizerState<Backend>& state,
                                    const std::type_identity_t<typename Backend::Gain>& direction,
                                    double step) const {
    using Scalar = typename Backend::Scalar;
    state.first = static_cast<Scalar>(decay) * state.first + direction;
    return static_cast<Scalar>(step) * state.first;
  }
};

/// step M/(1 - decay^t) / (sqrt(V/(1 - second_decay^t)) + floor) entry by entry at step t = 1, 2, ..., with
/// M <- decay M + (1 - decay) G and V <- second_decay V + (1 - second_decay) G^2 (Kingma, Ba, ICLR 2015,
/// algorithm 1; at a server Reddi et al., ICLR 2021). A first step moves each entry by about `step`, whatever
/// the size of G: steps have the units of the gain.
struct Adam {
  double decay = 0.9;           ///< of the mean, in [0, 1)
  double second_decay = 0.999;  ///< of the squares, in [0, 1)
  /// Added to the root, in units of the direction, finite and >= 0. With 0 the step does not depend on the
  /// scale of the directions, and entries that were always zero stay.
  double floor = 1e-8;

  /// The step along `direction`.
  template <MatrixBackend Backend>
  typename Backend::Gain operator()(OptimizerState<Backend>& state,
                                    const std::type_identity_t<typename Backend::Gain>& direction,
                                    double step) const {
    using std::abs;
    using std::sqrt;
    using Scalar = typename Backend::Scalar;
    const Scalar beta = static_cast<Scalar>(decay);
    const Scalar root_of_old = static_cast<Scalar>(std::sqrt(second_decay));
    const Scalar root_of_new = static_cast<Scalar>(std::sqrt(1 - second_decay));
    const Scalar mean_factor = static_cast<Scalar>(step / (1 - std::pow(decay, state.steps)));
    const Scalar root_factor = static_cast<Scalar>(1 / std::sqrt(1 - std::pow(second_decay, state.steps)));
    state.first = beta * state.first + static_cast<Scalar>(1 - decay) * direction;
    typename Backend::Gain change = Backend::zero_like(direction);
    for (Index i = 0; i < Backend::rows(direction); ++i) {
      for (Index j = 0; j < Backend::cols(direction); ++j) {
        const Scalar old_part = root_of_old * state.second(i, j);
        const Scalar new_part = root_of_new * abs(Scalar(direction(i, j)));
        const Scalar large = old_part < new_part ? new_part : old_part;
        if (!(large > Scalar(0))) continue;
        const Scalar ratio = (old_part < new_part ? old_part : new_part) / large;
        const Scalar root = large * sqrt(Scalar(1) + ratio * ratio);
        state.second(i, j) = root;
        change(i, j) = mean_factor * (state.first(i, j) / (root_factor * root + static_cast<Scalar>(floor)));
      }
    }
    return change;
  }
};

/// Nothing to check.
inline void validate(const PlainStep& /*optimizer*/) {}

/// Throws `InvalidOption` unless decay is in [0, 1).
inline void validate(const Momentum& optimizer) {
  metalqr::detail::require_option(optimizer.decay >= 0 && optimizer.decay < 1, "decay", optimizer.decay,
                                  "a number in [0, 1)");
}

/// Throws `InvalidOption` naming the first field out of its range.
inline void validate(const Adam& optimizer) {
  using metalqr::detail::require_option;
  require_option(optimizer.decay >= 0 && optimizer.decay < 1, "decay", optimizer.decay, "a number in [0, 1)");
  require_option(optimizer.second_decay >= 0 && optimizer.second_decay < 1, "second_decay",
                 optimizer.second_decay, "a number in [0, 1)");
  require_option(optimizer.floor >= 0 && std::isfinite(optimizer.floor), "floor", optimizer.floor,
                 "a finite number >= 0");
}

/// The change to be subtracted from the gain for the next direction, n_u x n_x; renews the state, which stays
/// as it was if this throws. O(n_u n_x).
/// @param optimizer of the library or your own; its `validate` is called if there is one.
/// @param state of the steps so far; a fresh one to begin with.
/// @param direction estimate of the gradient, finite.
/// @param step step size eta, positive.
/// @throws InvalidOption for a bad option, step or number of steps; DimensionMismatch if the state has
/// another shape than the direction, or that no entries; NotFinite if the direction, the state or the change
/// has a NaN or infinity.
template <MatrixBackend Backend, ServerOptimizer<Backend> Optimizer>
typename Backend::Gain advance(const Optimizer& optimizer, OptimizerState<Backend>& state,
                               const std::type_identity_t<typename Backend::Gain>& direction, double step) {
  using Gain = typename Backend::Gain;
  using metalqr::detail::require_finite;
  using metalqr::detail::require_shape;
  if constexpr (requires { validate(optimizer); }) validate(optimizer);
  metalqr::detail::require_option(step > 0 && std::isfinite(step), "step", step, "a positive number");
  metalqr::detail::require_option(state.steps >= 0, "state.steps", state.steps, "a number >= 0");
  const Index nu = Backend::rows(direction);
  const Index nx = Backend::cols(direction);
  require_shape<Backend>(direction, nu, nx, "direction");
  require_finite<Backend>(direction, "direction");
  OptimizerState<Backend> next = state;
  if (state.steps == 0) {
    next.first = next.second = Backend::zero_like(direction);
  } else {
    require_shape<Backend>(state.first, nu, nx, "state.first");
    require_shape<Backend>(state.second, nu, nx, "state.second");
    require_finite<Backend>(state.first, "state.first");
    require_finite<Backend>(state.second, "state.second");
  }
  if (next.steps < std::numeric_limits<int>::max()) ++next.steps;
  Gain change = optimizer(next, direction, step);
  require_shape<Backend>(change, nu, nx, "change");
  require_finite<Backend>(change, "change");
  require_finite<Backend>(next.first, "state.first");
  require_finite<Backend>(next.second, "state.second");
  state = std::move(next);
  return change;
}

}  // namespace metalqr::inline METALQR_ABI::federated
