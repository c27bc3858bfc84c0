#pragma once

/// @file
/// From what data say of a plant to what robust syntheses are given.

#include <limits>
#include <type_traits>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/check.hpp>
#include <metalqr/identification/confidence.hpp>
#include <metalqr/identification/estimate.hpp>
#include <metalqr/lqr/task.hpp>
#include <metalqr/synthesis/ellipsoid.hpp>
#include <metalqr/synthesis/problem.hpp>

namespace metalqr::inline METALQR_ABI::synthesis {

/// An estimated plant as a task: its cost is the long-run average of x'Qx + u'Ru under process noise of
/// covariance noise^2 I.
/// @param A, B n_x x n_x, n_x x n_u.
/// @param Q, R n_x x n_x, n_u x n_u.
/// @param noise sigma_w, >= 0.
/// @throws InvalidOption for a bad noise level, and what `Task` throws.
template <MatrixBackend Backend>
Task<Backend> learned_task(const std::type_identity_t<typename Backend::StateMatrix>& A,
                           const std::type_identity_t<typename Backend::InputMatrix>& B,
                           const std::type_identity_t<typename Backend::StateMatrix>& Q,
                           const std::type_identity_t<typename Backend::ControlMatrix>& R, double noise) {
  using Scalar = typename Backend::Scalar;
  metalqr::detail::require_option(noise >= 0 && noise < std::numeric_limits<double>::infinity(), "noise",
                                  noise, "a finite number >= 0");
  const Task<Backend> task(A, B, Q, R);
  return task.with_process_noise(static_cast<Scalar>(noise * noise) * Backend::identity_like(task.A()));
}

/// The estimate with two radii: every plant in the two balls.
/// @param bounds with `epsilon_A`, `epsilon_B` and `noise`: an `identification::Confidence` or `Bootstrap`.
/// @param Q, R weights of the cost, n_x x n_x and n_u x n_u.
/// @throws what `learned_task` throws; InvalidOption for radii that are negative or not finite.
template <FactoringBackend Backend, class Bounds>
RobustProblem<Backend> learned_problem(const identification::Estimate<Backend>& estimate,
                                       const Bounds& bounds,
                                       const std::type_identity_t<typename Backend::StateMatrix>& Q,
                                       const std::type_identity_t<typename Backend::ControlMatrix>& R) {
  const RobustProblem<Backend> problem{learned_task<Backend>(estimate.A, estimate.B, Q, R, bounds.noise),
                                       bounds.epsilon_A, bounds.epsilon_B};
  validate(problem);
  return problem;
}

/// The ellipsoid of plants that data leave, tighter than two balls.
/// @param Q, R weights of the cost, n_x x n_x and n_u x n_u.
/// @throws what `learned_task` throws; InvalidOption unless the ellipsoid has an interior.
template <FactoringBackend Backend>
EllipsoidProblem<Backend> learned_problem(const identification::Confidence<Backend>& known,
                                          const std::type_identity_t<typename Backend::StateMatrix>& Q,
                                          const std::type_identity_t<typename Backend::ControlMatrix>& R) {
  using Scalar = typename Backend::Scalar;
  const identification::Ellipsoid<Backend>& set = known.ellipsoid;
  metalqr::detail::require_option(set.level > 0 && set.level < std::numeric_limits<double>::infinity(),
                                  "ellipsoid.level", set.level, "a finite number > 0");
  const typename Backend::Matrix squares = Backend::transpose_product(set.factor, set.factor);
  const EllipsoidProblem<Backend> problem{learned_task<Backend>(set.A, set.B, Q, R, known.noise),
                                          squares / static_cast<Scalar>(set.level)};
  validate(problem);
  return problem;
}

}  // namespace metalqr::inline METALQR_ABI::synthesis
