#pragma once

/// @file
/// What finite responses can do, without a semidefinite programme.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>
#include <vector>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/index.hpp>
#include <metalqr/equations/spectral_norm.hpp>
#include <metalqr/lqr/evaluation.hpp>
#include <metalqr/lqr/task.hpp>
#include <metalqr/synthesis/fir_controller.hpp>
#include <metalqr/synthesis/problem.hpp>

namespace metalqr::inline METALQR_ABI::synthesis::detail {

/// Takes the components along orthonormal vectors out of v; what is left of its norm.
inline double take_out(const std::vector<std::vector<double>>& basis, std::vector<double>& v) {
  double squares = 0;
  // Once more for what rounding left.
  for (int pass = 0; pass < 2; ++pass) {
    for (const std::vector<double>& direction : basis) {
      double along = 0;
      for (std::size_t i = 0; i < v.size(); ++i) along += direction[i] * v[i];
      for (std::size_t i = 0; i < v.size(); ++i) v[i] -= along * direction[i];
    }
  }
  for (const double entry : v) squares += entry * entry;
  return std::sqrt(squares);
}

/// Whether responses of length L can end in zero: whether F^L is in the range of [B, F B, ..., F^(L-1) B], up
/// to rounding, for A or any closed loop F; one that is stable has powers that do not grow.
template <MatrixBackend Backend>
bool can_end(const typename Backend::StateMatrix& F, const typename Backend::InputMatrix& B, Index length) {
  using StateMatrix = typename Backend::StateMatrix;
  using Vector = std::vector<double>;
  const Index n = Backend::rows(F);
  const auto column = [n](const auto& x, Index j) {
    Vector v;
    for (Index i = 0; i < n; ++i) v.push_back(Backend::to_double(x(i, j)));
    return v;
  };
  const auto norm = [](const Vector& v) {
    double squares = 0;
    for (const double entry : v) squares += entry * entry;
    return std::sqrt(squares);
  };
  std::vector<Vector> basis;
  std::vector<Vector> next;
  for (Index j = 0; j < Backend::cols(B); ++j) next.push_back(column(B, j));
  for (Index k = 0; k < length && !next.empty(); ++k) {
    const std::size_t old = basis.size();
    for (Vector& v : next) {
      const double before = norm(v);
      const double after = take_out(basis, v);
      if (!(after > 1e-10 * before) || !(after > 1e-14)) continue;
      for (double& entry : v) entry /= after;
      basis.push_back(std::move(v));
    }
    next.clear();
    for (std::size_t b = old; b < basis.size(); ++b) {
      Vector& v = next.emplace_back(static_cast<std::size_t>(n), 0.0);
      for (Index i = 0; i < n; ++i) {
        for (Index j = 0; j < n; ++j) {
          v[static_cast<std::size_t>(i)] +=
              Backend::to_double(F(i, j)) * basis[b][static_cast<std::size_t>(j)];
        }
      }
    }
  }
  StateMatrix power = Backend::identity_like(F);
  for (Index k = 0; k < length; ++k) power = Backend::product(F, power);
  const double tolerance = std::max(1e-9 * Backend::to_double(Backend::norm(power)), 1e-12);
  for (Index j = 0; j < n; ++j) {
    Vector v = column(power, j);
    if (!(take_out(basis, v) <= tolerance)) return false;
  }
  return true;
}

/// The responses of the closed loop with a gain K, stable and not yet zero after L steps; to `end`, further
/// inputs v of least sum |S v|^2 bring them there. With the optimal K and S'S = R + B'PB these are the
/// responses of least cost that end. Nothing if numbers overflow.
template <MatrixBackend Backend>
FirController<Backend> horizon_response(const Task<Backend>& task, const typename Backend::Gain& K,
                                        const typename Backend::ControlMatrix& S, Index length, bool end) {
  using StateMatrix = typename Backend::StateMatrix;
  using Gain = typename Backend::Gain;
  const StateMatrix F = closed_loop(task, K);
  std::vector<Gain> reach;  // S'^-1 B' (F')^i
  StateMatrix power = Backend::identity_like(F);
  StateMatrix gramian = Backend::zero_like(F);
  for (Index i = 0; i < length; ++i) {
    const typename Backend::InputMatrix product = Backend::product(power, task.B());
    reach.push_back(Backend::solve(Backend::transpose(S), Gain(Backend::transpose(product))));
    gramian += StateMatrix(Backend::transpose_product(reach.back(), reach.back()));
    power = Backend::product(F, power);
  }
  const StateMatrix multiplier =
      end ? StateMatrix(Backend::solve(gramian, power)) : StateMatrix(Backend::zero_like(F));
  std::vector<StateMatrix> states;
  std::vector<Gain> inputs;
  StateMatrix state = Backend::identity_like(F);
  for (Index k = 0; k < length; ++k) {
    const Gain& back = reach[static_cast<std::size_t>(length - 1 - k)];
    const Gain further = Backend::solve(S, Gain(Backend::product(back, multiplier)));
    const Gain input = -Gain(Backend::product(K, state)) - further;
    if (!Backend::is_finite(state) || !Backend::is_finite(input)) return {};
    states.push_back(state);
    inputs.push_back(input);
    state = StateMatrix(Backend::product(task.A(), state)) + StateMatrix(Backend::product(task.B(), input));
  }
  return {std::move(states), std::move(inputs)};
}

/// What a programme with floors below its radii, of input errors and of state errors, can add to the level
/// of responses whose true level is `gamma`; infinity where nothing is proved. On the unit circle
///   Phi_u = B^+ (z Phi_x - A Phi_x - I - z^-L V) but for what B does not see, and
///   Phi_x(k) = A^(k-1) + sum over j < k of A^(k-1-j) B Phi_u(j),
/// where one of |Phi_x|, |Phi_u| is at most gamma over its radius.
/// @param input_floor, state_floor over the root of their share where that is fixed; zero where there is
/// none.
template <DecomposingBackend Backend>
double added_by_floors(const RobustProblem<Backend>& problem, Index length, double gamma, double input_floor,
                       double state_floor) {
  using Matrix = typename Backend::Matrix;
  using StateMatrix = typename Backend::StateMatrix;
  const Task<Backend>& task = problem.estimate;
  double added = 0;
  if (input_floor > 0) {
    const Index p = task.nu();
    const auto squares = Backend::transpose_product(task.B(), task.B());
    Matrix square = Backend::zero_matrix(p, p);
    for (Index i = 0; i < p; ++i) {
      for (Index j = 0; j < p; ++j) square(i, j) = squares(i, j);
    }
    double least = std::numeric_limits<double>::infinity();
    double largest = 0;
    for (const auto& value : Backend::symmetric_eigenvalues(square)) {
      least = std::min(least, Backend::to_double(value));
      largest = std::max(largest, Backend::to_double(value));
    }
    // Of a matrix that is nearly of lower rank the eigenvalues do not tell the rank.
    if (!(least > 1e-12 * largest)) return std::numeric_limits<double>::infinity();
    const double size = Backend::to_double(metalqr::spectral_norm<Backend>(task.A()));
    const double state = gamma / problem.epsilon_A;
    added += input_floor * ((1 + size) * state + 1 + gamma) / std::sqrt(least);
  }
  if (state_floor > 0) {
    double powers = 0;
    StateMatrix power = Backend::identity_like(task.A());
    for (Index k = 0; k < length && std::isfinite(powers); ++k) {
      powers += Backend::to_double(metalqr::spectral_norm<Backend>(power));
      power = Backend::product(task.A(), power);
      if (!Backend::is_finite(power)) return std::numeric_limits<double>::infinity();
    }
    const double size = Backend::to_double(metalqr::spectral_norm<Backend>(task.B()));
    added += state_floor * powers * (1 + static_cast<double>(length) * size * gamma / problem.epsilon_B);
  }
  return added;
}

}  // namespace metalqr::inline METALQR_ABI::synthesis::detail
