#pragma once

/// @file
/// The plants of a confidence ellipsoid: one drawn at random, and the one nearest to a given plant.

#include <cmath>

#include <metalqr/core/check.hpp>
#include <metalqr/core/random.hpp>
#include <metalqr/identification/confidence.hpp>
#include <metalqr/lqr/task.hpp>

namespace metalqr::inline METALQR_ABI::adaptive {

namespace detail {

/// The bound of tr(D R'R D') on the set; a bound of the largest eigenvalue is one of n_x times it.
template <FactoringBackend Backend>
double trace_level(const identification::Ellipsoid<Backend>& set) {
  return set.trace ? set.level : set.level * static_cast<double>(Backend::rows(set.A));
}

/// @throws DimensionMismatch, NotFinite, InvalidOption.
template <FactoringBackend Backend>
void require_set(const identification::Ellipsoid<Backend>& set, Index nx, Index nu) {
  metalqr::detail::require_shape<Backend>(set.A, nx, nx, "set.A");
  metalqr::detail::require_shape<Backend>(set.B, nx, nu, "set.B");
  metalqr::detail::require_shape<Backend>(set.factor, nx + nu, nx + nu, "set.factor");
  metalqr::detail::require_finite<Backend>(set.A, "set.A");
  metalqr::detail::require_finite<Backend>(set.B, "set.B");
  metalqr::detail::require_finite<Backend>(set.factor, "set.factor");
  metalqr::detail::require_option(set.level >= 0 && std::isfinite(set.level), "set.level", set.level,
                                  "a finite number >= 0");
}

/// The plant at D' ((n_x + n_u) x n_x) from the centre, with the cost of `task`.
template <FactoringBackend Backend>
Task<Backend> plant_at(const Task<Backend>& task, const identification::Ellipsoid<Backend>& set,
                       const typename Backend::Matrix& D) {
  const Index nx = task.nx();
  typename Backend::StateMatrix A = set.A;
  typename Backend::InputMatrix B = set.B;
  for (Index i = 0; i < nx; ++i) {
    for (Index j = 0; j < nx; ++j) A(i, j) += D(j, i);
    for (Index j = 0; j < task.nu(); ++j) B(i, j) += D(nx + j, i);
  }
  return {A, B, task.Q(), task.R(), task.Sigma0()};
}

/// The X with tr(X'R'R X) <= level that is nearest to D in the Frobenius norm: X = (I + lambda R'R)^-1 D. The
/// root lambda >= 0 by Newton's method on 1 / |R X|, which is concave in lambda, so that it approaches the
/// root from below (as in trust regions; More and Sorensen, SIAM J. Sci. Stat. Comput. 4, 1983).
template <FactoringBackend Backend>
typename Backend::Matrix nearest_in_set(const typename Backend::Matrix& R, double level,
                                        const typename Backend::Matrix& D) {
  using Matrix = typename Backend::Matrix;
  using Scalar = typename Backend::Scalar;
  if (!(level > 0)) return Backend::zero_like(D);
  const Scalar radius = static_cast<Scalar>(std::sqrt(level));
  const Matrix S = Backend::transpose_product(R, R);
  const Matrix identity = Backend::identity_like(S);
  Matrix X = D;
  Scalar lambda(0);
  Scalar size = Backend::norm(Backend::product(R, X));
  constexpr int most_steps = 100;
  for (int k = 0; k < most_steps && size > radius * (Scalar(1) + Scalar(4) * Backend::epsilon()); ++k) {
    const Matrix system = identity + lambda * S;
    const Matrix SX = Backend::product(S, X);
    const Scalar slope = Backend::inner(SX, Backend::solve_spd(system, SX));
    lambda += size * size / slope * (size / radius - Scalar(1));
    const Matrix next = identity + lambda * S;
    X = Backend::solve_spd(next, D);
    size = Backend::norm(Backend::product(R, X));
  }
  if (size > radius) X = (radius / size) * X;
  return X;
}

}  // namespace detail

/// A plant drawn uniformly from { (A, B) : tr(D R'R D') <= level }, D = [A B] - [A_hat B_hat]; of a set that
/// bounds the largest eigenvalue, from the one with n_x times the level, which contains it.
/// @param task gives the cost of the plant.
/// @throws DimensionMismatch, NotFinite, InvalidOption for a bad set.
template <FactoringBackend Backend>
Task<Backend> draw_plant(const Task<Backend>& task, const identification::Ellipsoid<Backend>& set,
                         Stream& stream) {
  using Matrix = typename Backend::Matrix;
  const Index nx = task.nx();
  const Index rows = nx + task.nu();
  detail::require_set(set, nx, task.nu());
  Matrix E = Backend::zero_matrix(rows, nx);
  fill_normal<Backend>(E, stream);
  const double share = std::pow(stream.uniform(), 1 / static_cast<double>(rows * nx));
  const double length = std::sqrt(detail::trace_level(set)) * share;
  E = (static_cast<typename Backend::Scalar>(length) / Backend::norm(E)) * E;
  return detail::plant_at(task, set, Backend::solve(set.factor, E));
}

/// The plant of the set of `draw_plant` whose [A B] is nearest to that of `task` in the Frobenius norm, with
/// the cost of `task`.
/// @throws DimensionMismatch, NotFinite, InvalidOption for a bad set.
template <FactoringBackend Backend>
Task<Backend> nearest_plant(const Task<Backend>& task, const identification::Ellipsoid<Backend>& set) {
  const Index nx = task.nx();
  const Index nu = task.nu();
  detail::require_set(set, nx, nu);
  typename Backend::Matrix D = Backend::zero_matrix(nx + nu, nx);
  for (Index i = 0; i < nx; ++i) {
    for (Index j = 0; j < nx; ++j) D(j, i) = task.A()(i, j) - set.A(i, j);
    for (Index j = 0; j < nu; ++j) D(nx + j, i) = task.B()(i, j) - set.B(i, j);
  }
  return detail::plant_at(task, set,
                          detail::nearest_in_set<Backend>(set.factor, detail::trace_level(set), D));
}

}  // namespace metalqr::inline METALQR_ABI::adaptive
