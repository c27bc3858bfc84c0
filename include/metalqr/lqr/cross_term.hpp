#pragma once

/// @file
/// Tasks whose cost has a cross term between state and input.

#include <type_traits>

#include <metalqr/equations/riccati.hpp>
#include <metalqr/lqr/task.hpp>

namespace metalqr::inline METALQR_ABI {

/// A task with stage cost x'Qx + 2 x'Nu + u'Ru as the equivalent one without cross term in the input
/// v = u + R^-1 N'x (completion of squares): A - B R^-1 N', B, Q - N R^-1 N', R, Sigma0. The gain K of
/// u = -K x becomes K - R^-1 N' of v, with the same closed loop; hence cost, P, Sigma, gradient and Hessian
/// of the cost with cross term at K are those of `task` at `equivalent_gain(K)`.
template <MatrixBackend Backend>
struct CrossTermTask {
  Task<Backend> task;             ///< the equivalent task
  typename Backend::Gain offset;  ///< R^-1 N' (n_u x n_x)

  /// K - R^-1 N': the gain of the equivalent task that is u = -K x; both n_u x n_x.
  /// @throws DimensionMismatch.
  typename Backend::Gain equivalent_gain(const std::type_identity_t<typename Backend::Gain>& K) const {
    detail::require_shape<Backend>(K, task.nu(), task.nx(), "K");
    return K - offset;
  }
  /// K' + R^-1 N': the gain of u = -K x that is K' in the equivalent task; both n_u x n_x.
  /// @throws DimensionMismatch.
  typename Backend::Gain original_gain(const std::type_identity_t<typename Backend::Gain>& K) const {
    detail::require_shape<Backend>(K, task.nu(), task.nx(), "K");
    return K + offset;
  }
};

/// The plant and cost of `task` with the cross term 2 x'Nu added to its stage cost; N is n_x x n_u.
/// @throws DimensionMismatch, NotFinite; NotPositiveDefinite unless [Q N; N' R] is positive semidefinite.
template <MatrixBackend Backend>
CrossTermTask<Backend> with_cross_term(const Task<Backend>& task,
                                       const std::type_identity_t<typename Backend::InputMatrix>& N) {
  using Scalar = typename Backend::Scalar;
  const detail::RiccatiProblem<Backend> problem{task.A(), task.B(), task.Q(), task.R(), N};
  detail::require_riccati<Backend>(problem);
  CrossTermTask<Backend> result{.task = task, .offset = Backend::zero_gain(task.nu(), task.nx())};
  if (!(Backend::max_abs(N) > Scalar(0))) return result;
  detail::require_joint_cost<Backend>(problem);
  const detail::RiccatiProblem<Backend> squared = problem.without_cross();
  result.offset = Backend::solve_spd(task.R(), Backend::transpose(N));
  try {
    result.task = {squared.A, squared.B, squared.Q, squared.R, task.Sigma0()};
  } catch (const NotPositiveDefinite&) {
    // Where Q and N R^-1 N' nearly cancel, what is left may be indefinite by the rounding errors of Q and of
    // the division by R.
    const Scalar size =
        Backend::norm(task.Q()) + Backend::norm(task.R()) * Backend::inner(result.offset, result.offset);
    const Scalar terms = static_cast<Scalar>(static_cast<double>(task.nx() + task.nu()));
    const typename Backend::StateMatrix lifted =
        squared.Q + (Scalar(16) * terms * Backend::epsilon() * size) * Backend::identity_like(squared.Q);
    result.task = {squared.A, squared.B, lifted, squared.R, task.Sigma0()};
  }
  return result;
}

}  // namespace metalqr::inline METALQR_ABI
