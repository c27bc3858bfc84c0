#pragma once

/// @file
/// Least squares on data that come in bit by bit.

#include <algorithm>
#include <cmath>
#include <string>
#include <type_traits>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/check.hpp>
#include <metalqr/identification/dataset.hpp>
#include <metalqr/identification/estimate.hpp>

namespace metalqr::inline METALQR_ABI::identification {

/// Least squares in square-root form: holds the triangular factor of all rows (x, u, x+) seen so far, never
/// their products, so that nothing is lost to squaring and nothing drifts however long it runs.
template <FactoringBackend Backend>
class RecursiveLeastSquares {
 public:
  using Scalar = typename Backend::Scalar;                ///< number type
  using StateVector = typename Backend::StateVector;      ///< n_x
  using ControlVector = typename Backend::ControlVector;  ///< n_u

  /// @param nx number of states.
  /// @param nu number of inputs.
  /// @param ridge weight of |[A B]|_F^2, >= 0; a positive one makes the estimate exist from the start.
  /// @throws InvalidOption.
  RecursiveLeastSquares(Index nx, Index nu, double ridge = 0) : nx_(nx), nu_(nu), ridge_(ridge) {
    using metalqr::detail::require_option;
    using std::sqrt;
    require_option(nx >= 1, "nx", static_cast<double>(nx), "at least 1");
    require_option(nu >= 1, "nu", static_cast<double>(nu), "at least 1");
    require_option(ridge >= 0 && std::isfinite(ridge), "ridge", ridge, "a finite number >= 0");
    factor_ = Backend::zero_matrix(width(), width());
    for (Index i = 0; i < nx + nu; ++i) factor_(i, i) = sqrt(static_cast<Scalar>(ridge));
  }

  /// Goes on from where another one was, of which these are the parts.
  /// @param factor upper triangular, (2 n_x + n_u)^2; see `factor()`.
  /// @throws InvalidOption; DimensionMismatch, NotFinite for a bad factor.
  RecursiveLeastSquares(Index nx, Index nu, double ridge, typename Backend::Matrix factor, Index transitions)
      : RecursiveLeastSquares(nx, nu, ridge) {
    using metalqr::detail::require_option;
    metalqr::detail::require_shape<Backend>(factor, width(), width(), "factor");
    metalqr::detail::require_finite<Backend>(factor, "factor");
    require_option(transitions >= 0, "transitions", static_cast<double>(transitions), "a number >= 0");
    for (Index j = 0; j < width(); ++j) {
      require_option(factor(j, j) >= Scalar(0), "factor", Backend::to_double(factor(j, j)),
                     "numbers >= 0 on its diagonal");
      for (Index i = j + 1; i < width(); ++i) {
        require_option(factor(i, j) == Scalar(0), "factor", Backend::to_double(factor(i, j)),
                       "zeros below its diagonal");
      }
    }
    factor_ = std::move(factor);
    transitions_ = transitions;
  }

  /// Adds the transition from x under u to `next` (n_x) by Givens rotations: 3 (2 n_x + n_u)^2 operations.
  /// @throws DimensionMismatch, NotFinite.
  void add(const StateVector& x, const ControlVector& u, const StateVector& next) {
    metalqr::detail::require_shape<Backend>(x, nx_, 1, "x");
    metalqr::detail::require_shape<Backend>(u, nu_, 1, "u");
    metalqr::detail::require_shape<Backend>(next, nx_, 1, "next");
    metalqr::detail::require_finite<Backend>(x, "x");
    metalqr::detail::require_finite<Backend>(u, "u");
    metalqr::detail::require_finite<Backend>(next, "next");
    typename Backend::Matrix row = Backend::zero_matrix(1, width());
    for (Index j = 0; j < nx_; ++j) row(0, j) = x(j, 0);
    for (Index j = 0; j < nu_; ++j) row(0, nx_ + j) = u(j, 0);
    for (Index j = 0; j < nx_; ++j) row(0, nx_ + nu_ + j) = next(j, 0);
    rotate_in(row);
    ++transitions_;
  }

  /// Adds transitions first ... first + count - 1 of a rollout whose shapes and entries have been checked (as
  /// in a `Dataset`), by blocks.
  /// @throws DimensionMismatch for a rollout of another plant or transitions that it does not have.
  void add(const Rollout<Backend>& rollout, Index first, Index count) {
    constexpr Index block = 128;
    const Index steps = Backend::rows(rollout.inputs);
    metalqr::detail::require_shape<Backend>(rollout.inputs, steps, nu_, "rollout.inputs");
    metalqr::detail::require_shape<Backend>(rollout.states, steps + 1, nx_, "rollout.states");
    if (first < 0 || count < 0 || first + count > steps) {
      throw DimensionMismatch("first, count: expected transitions among " + std::to_string(steps) + ", got " +
                              std::to_string(count) + " from " + std::to_string(first) + " on");
    }
    for (Index done = 0; done < count;) {
      const Index size = std::min(block, count - done);
      typename Backend::Matrix stacked = Backend::zero_matrix(width() + size, width());
      for (Index j = 0; j < width(); ++j) {
        for (Index i = 0; i <= j; ++i) stacked(i, j) = factor_(i, j);
      }
      for (Index i = 0; i < size; ++i) {
        const Index t = first + done + i;
        for (Index j = 0; j < nx_; ++j) stacked(width() + i, j) = rollout.states(t, j);
        for (Index j = 0; j < nu_; ++j) stacked(width() + i, nx_ + j) = rollout.inputs(t, j);
        for (Index j = 0; j < nx_; ++j) stacked(width() + i, nx_ + nu_ + j) = rollout.states(t + 1, j);
      }
      factor_ = Backend::triangular_factor(stacked);
      done += size;
    }
    transitions_ += count;
  }

  /// Number of states.
  Index nx() const noexcept { return nx_; }
  /// Number of inputs.
  Index nu() const noexcept { return nu_; }
  /// Weight of |[A B]|_F^2.
  double ridge() const noexcept { return ridge_; }
  /// R, (2 n_x + n_u)^2, upper triangular: R'R = [Z Y]'[Z Y] + blkdiag(ridge I, 0) with the regressors (x, u)
  /// in the rows of Z and the next states in those of Y. With `ridge()` and `transitions()` it is all that is
  /// known of the data.
  const typename Backend::Matrix& factor() const noexcept { return factor_; }
  /// Transitions added so far.
  Index transitions() const noexcept { return transitions_; }
  /// log det(Z'Z + ridge I) of the regressors (x, u) so far; -infinity if it is singular.
  double log_determinant() const { return detail::log_determinant<Backend>(factor_, nx_ + nu_); }

  /// The estimate from all transitions so far. O((n_x + n_u)^3).
  /// @throws RankDeficient; NotFinite where sums of squares overflow.
  Estimate<Backend> estimate() const {
    using std::max;
    using std::sqrt;
    const Index count = nx_ + nu_;
    Estimate<Backend> result;
    result.A = Backend::zero_state_matrix(nx_);
    result.B = Backend::zero_input_matrix(nx_, nu_);
    result.factor = detail::block_of<Backend>(factor_, 0, 0, count, count);
    result.transitions = transitions_;
    result.ridge = ridge_;
    detail::require_full_rank<Backend>(result.factor, transitions_);
    typename Backend::Matrix theta = detail::block_of<Backend>(factor_, 0, count, count, nx_);
    for (Index j = 0; j < nx_; ++j) {
      for (Index i = count; i-- > 0;) {
        for (Index k = i + 1; k < count; ++k) theta(i, j) -= factor_(i, k) * theta(k, j);
        theta(i, j) = theta(i, j) / factor_(i, i);
      }
    }
    for (Index i = 0; i < nx_; ++i) {
      for (Index j = 0; j < nx_; ++j) result.A(i, j) = theta(j, i);
      for (Index j = 0; j < nu_; ++j) result.B(i, j) = theta(nx_ + j, i);
    }
    // What is left below R holds |Y - Z Theta|^2 + ridge |Theta|^2.
    const Scalar left = Backend::norm(detail::block_of<Backend>(factor_, count, count, nx_, nx_));
    const Scalar penalty = sqrt(static_cast<Scalar>(ridge_)) * Backend::norm(theta);
    result.residual = sqrt(max(Scalar(0), (left - penalty) * (left + penalty)));
    return result;
  }

 private:
  Index width() const { return 2 * nx_ + nu_; }

  /// The factor of itself with one more row, which is consumed.
  void rotate_in(typename Backend::Matrix& row) {
    using std::sqrt;
    for (Index i = 0; i < width(); ++i) {
      const Scalar entry = row(0, i);
      if (entry == Scalar(0)) continue;
      const Scalar pivot = factor_(i, i);
      // Scaled, so that the squares neither overflow nor underflow.
      const Scalar size = entry < Scalar(0) ? std::max(pivot, Scalar(-entry)) : std::max(pivot, entry);
      const Scalar radius = size * sqrt((pivot / size) * (pivot / size) + (entry / size) * (entry / size));
      const Scalar cosine = pivot / radius;
      const Scalar sine = entry / radius;
      factor_(i, i) = radius;
      for (Index j = i + 1; j < width(); ++j) {
        const Scalar upper = factor_(i, j);
        const Scalar lower = row(0, j);
        factor_(i, j) = cosine * upper + sine * lower;
        row(0, j) = cosine * lower - sine * upper;
      }
    }
  }

  Index nx_;
  Index nu_;
  double ridge_;
  typename Backend::Matrix factor_;
  Index transitions_ = 0;
};

}  // namespace metalqr::inline METALQR_ABI::identification
