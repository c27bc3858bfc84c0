#pragma once

/// @file
/// The combiner that minimises the sum of distances.

#include <cmath>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include <metalqr/federated/robust.hpp>

namespace metalqr::inline METALQR_ABI::federated {

/// The geometric median: the matrix Y with the smallest weighted sum of Frobenius distances sum w_i |Y -
/// X_i|. It moves with rotations of the space of gains, and stays bounded as long as corrupted estimates have
/// less than half of the weight (Lopuhaa, Rousseeuw, Ann. Statist. 19, 1991). Newton's steps, by conjugate
/// gradients, from the coordinate median, and where they do not descend those of Weiszfeld, which leave a
/// data point as in Vardi and Zhang (PNAS 97, 2000). The nearest data point is tested, and returned as it is
/// where it is the minimiser. If the estimates lie on a line, where several matrices may be best, the result
/// is the coordinate median. O(d b min(d, b)) an iteration at most, for b estimates of d entries.
struct GeometricMedian {
  int max_iterations = 1000;  ///< cap; the last iterate is returned, which is no error
  /// Ends when the subgradient of sum w_i |Y - X_i| / sum w_i at Y has at most this norm (the sum exceeds its
  /// minimum by at most this times the distance to the minimiser), or Y no longer moves in its last digits.
  double tolerance = 1e-10;

  /// Combines; throws as `combine`, and `InvalidOption` for a bad option.
  template <MatrixBackend Backend>
  typename Backend::Gain operator()(std::span<const WeightedEstimate<Backend>> estimates) const;
};

/// Throws `InvalidOption` unless there is at least one iteration and the tolerance is in [0, 1).
inline void validate(const GeometricMedian& combiner) {
  using metalqr::detail::require_option;
  require_option(combiner.max_iterations >= 1, "max_iterations", combiner.max_iterations, "at least 1");
  require_option(combiner.tolerance >= 0 && combiner.tolerance < 1, "tolerance", combiner.tolerance,
                 "a number in [0, 1)");
}

namespace detail {

/// `length` times `direction`, of norm one; both zero for equal matrices.
template <MatrixBackend Backend>
struct Offset {
  typename Backend::Gain direction;
  typename Backend::Scalar length;
};

/// To - From without overflow on the way; a length beyond the largest number is infinite.
template <MatrixBackend Backend>
Offset<Backend> offset(const typename Backend::Gain& to, const typename Backend::Gain& from) {
  using Scalar = typename Backend::Scalar;
  Offset<Backend> result{.direction = to - from, .length = Scalar(0)};
  Scalar unit(1);
  if (!Backend::is_finite(result.direction)) {
    result.direction = to / Scalar(2) - from / Scalar(2);
    unit = Scalar(2);
  }
  const Scalar largest = Backend::max_abs(result.direction);
  if (!(largest > Scalar(0))) return result;
  result.direction = result.direction / largest;
  const Scalar norm = Backend::norm(result.direction);
  result.direction = result.direction / norm;
  result.length = unit * (largest * norm);
  return result;
}

/// How the estimates away from Y pull at it.
template <MatrixBackend Backend>
struct Pull {
  using Gain = typename Backend::Gain;
  using Scalar = typename Backend::Scalar;

  const Votes<Backend>& votes;
  std::vector<Offset<Backend>> offsets;  // X - Y
  Gain force;                            // sum of w (X - Y)/|X - Y|, against the gradient
  Scalar size{0};                        // its norm
  Scalar rate{0};                        // sum of w/|X - Y|
  Scalar here{0};                        // weight of the estimates at Y itself, which hold it
  std::size_t nearest = 0;

  Pull(const Votes<Backend>& all, const Gain& Y) : votes(all), force(Backend::zero_like(Y)) {
    offsets.reserve(votes.count());
    for (std::size_t i = 0; i < votes.count(); ++i) {
      offsets.push_back(offset<Backend>(*votes.estimates[i], Y));
      const auto& [direction, length] = offsets.back();
      if (length < offsets[nearest].length) nearest = i;
      if (length > Scalar(0)) {
        force += weight(i) * direction;
        rate += weight(i) / length;
      } else {
        here += weight(i);
      }
    }
    size = Backend::norm(force);
  }

  Scalar weight(std::size_t i) const { return static_cast<Scalar>(votes.weights[i]); }

  /// Norm of the smallest subgradient, as a share of the weight.
  Scalar slope() const { return (size - here) / static_cast<Scalar>(votes.total); }

  /// The step to the weighted mean with weights w/|X - Y|, shorter from a data point.
  Gain weiszfeld_step() const { return ((size - here) / size / rate) * force; }

  /// The Hessian, sum of w/|X - Y| (I - projection on X - Y), times V.
  Gain curvature_along(const Gain& V) const {
    Gain result = rate * V;
    for (std::size_t i = 0; i < offsets.size(); ++i) {
      const auto& [direction, length] = offsets[i];
      if (length > Scalar(0)) result -= (weight(i) / length * Backend::inner(direction, V)) * direction;
    }
    return result;
  }

  /// Conjugate gradients for the Hessian's solution with the force; it points downhill.
  Gain newton_step() const {
    using std::sqrt;
    Gain step = Backend::zero_like(force);
    Gain residual = force;
    Gain search = force;
    Scalar square = size * size;
    const Index entries = Backend::rows(force) * Backend::cols(force);
    const Index most =
        2 + (entries < static_cast<Index>(offsets.size()) ? entries : static_cast<Index>(offsets.size()));
    for (Index k = 0; k < most; ++k) {
      const Gain image = curvature_along(search);
      const Scalar curvature = Backend::inner(search, image);
      if (!(curvature > Scalar(8) * Backend::epsilon() * rate * Backend::inner(search, search))) break;
      step += (square / curvature) * search;
      residual -= (square / curvature) * image;
      const Scalar next = Backend::inner(residual, residual);
      if (sqrt(next) <= static_cast<Scalar>(1e-3) * size) break;
      search = residual + (next / square) * search;
      square = next;
    }
    return step;
  }

  /// How much the sum of distances changes from Y to Y + step: a sum of differences, since the far estimates
  /// would swamp a difference of sums.
  Scalar change(const Gain& Y, const Gain& step) const {
    const Gain next = Y + step;
    const Scalar square = Backend::inner(step, step);
    Scalar sum(0);
    for (std::size_t i = 0; i < offsets.size(); ++i) {
      const auto& [direction, length] = offsets[i];
      const Scalar there = offset<Backend>(*votes.estimates[i], next).length;
      const Scalar along = Backend::inner(direction, step);
      if (length > Scalar(0)) {
        sum += weight(i) * ((square / length - Scalar(2) * along) / (Scalar(1) + there / length));
      } else {
        sum += weight(i) * there;
      }
    }
    return sum;
  }
};

/// The next iterate's distance from Y: Newton's step, halved while it does not descend, else Weiszfeld's.
template <MatrixBackend Backend>
typename Backend::Gain descent_step(const Pull<Backend>& at, const typename Backend::Gain& Y) {
  using Scalar = typename Backend::Scalar;
  if (at.here > Scalar(0)) return at.weiszfeld_step();
  typename Backend::Gain step = at.newton_step();
  constexpr int max_halvings = 5;
  for (int halving = 0; halving <= max_halvings; ++halving) {
    const Scalar expected = Backend::inner(at.force, step);
    if (expected > Scalar(0) && at.change(Y, step) <= static_cast<Scalar>(-0.1) * expected) return step;
    step = step / Scalar(2);
  }
  return at.weiszfeld_step();
}

}  // namespace detail

template <MatrixBackend Backend>
typename Backend::Gain GeometricMedian::operator()(
    std::span<const WeightedEstimate<Backend>> estimates) const {
  using Gain = typename Backend::Gain;
  using Scalar = typename Backend::Scalar;
  validate(*this);
  const detail::Votes<Backend> votes(estimates);
  const Scalar flat = static_cast<Scalar>(tolerance);
  Gain Y = CoordinateMedian{}(estimates);
  std::size_t tested = votes.count();
  for (int iteration = 0; iteration < max_iterations; ++iteration) {
    const detail::Pull<Backend> at(votes, Y);
    if (at.slope() <= flat) break;
    if (at.nearest != tested) {
      tested = at.nearest;
      const Gain& X = *votes.estimates[tested];
      if (detail::Pull<Backend>(votes, X).slope() <= flat) return X;
    }
    const Gain step = detail::descent_step(at, Y);
    const Gain next = Y + step;
    if (!Backend::is_finite(next)) break;
    Y = next;
    if (Backend::max_abs(step) <= Backend::epsilon() * Backend::max_abs(Y)) break;
  }
  return Y;
}

}  // namespace metalqr::inline METALQR_ABI::federated
