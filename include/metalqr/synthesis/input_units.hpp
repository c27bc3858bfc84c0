#pragma once

/// @file
/// The units of the input in which the semidefinite programmes of robust synthesis are written.

#include <algorithm>
#include <cmath>

#include <metalqr/core/backend.hpp>
#include <metalqr/equations/spectral_norm.hpp>
#include <metalqr/lqr/task.hpp>
#include <metalqr/synthesis/problem.hpp>

namespace metalqr::inline METALQR_ABI::synthesis::detail {

/// The power of two c near `radius` + |B|_2, the size of the largest input matrix near an estimate, or near
/// |R|_2^(1/2) where that is zero. Nothing but rounding tells u from c u with B / c, radius / c and R / c^2,
/// and a power of two does not round; but a solver is only accurate where B and K are of the size of A.
template <MatrixBackend Backend>
double input_unit(const Task<Backend>& task, double radius) {
  double size = Backend::to_double(metalqr::spectral_norm<Backend>(task.B())) + radius;
  if (!(size > 0)) size = std::sqrt(Backend::to_double(metalqr::spectral_norm<Backend>(task.R())));
  if (!std::isfinite(size)) return 1;
  // Within what float can hold of a square.
  return std::ldexp(1.0, std::clamp(std::ilogb(size), -60, 60));
}

/// The task of the input c u.
template <MatrixBackend Backend>
Task<Backend> in_input_unit(const Task<Backend>& task, double c) {
  const auto unit = static_cast<typename Backend::Scalar>(c);
  return {task.A(), typename Backend::InputMatrix(task.B() / unit), task.Q(),
          typename Backend::ControlMatrix(task.R() / (unit * unit)), task.Sigma0()};
}

/// The problem of the input c u.
template <MatrixBackend Backend>
RobustProblem<Backend> in_input_unit(const RobustProblem<Backend>& problem, double c) {
  return {in_input_unit(problem.estimate, c), problem.epsilon_A, problem.epsilon_B / c};
}

}  // namespace metalqr::inline METALQR_ABI::synthesis::detail
