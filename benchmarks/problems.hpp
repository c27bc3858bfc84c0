#pragma once

/// @file
/// The problems that the benchmarks solve, the same in every run.

#include <cstddef>
#include <string>
#include <vector>

#include <metalqr/core/eigen.hpp>
#include <metalqr/lqr/task.hpp>

namespace benchmarks {

/// The backend in which problems are made; rows of fixed sizes convert them.
using Dynamic = metalqr::EigenBackend<double>;
using metalqr::Index;

/// Number of states and inputs.
struct Size {
  Index nx;
  Index nu;
};

/// "NxM", as in the names of the rows.
std::string text(Size size);

/// One plant and many gains near one that leaves it at rho(F) = 0.95.
struct GainProblem {
  metalqr::Task<Dynamic> task;
  std::vector<Dynamic::Gain> gains;  ///< K0 + 1e-3 N(0, 1), all distinct and stabilising
  std::vector<double> costs;         ///< of the gains, by the plain algorithm
  double doublings = 0;              ///< that a solution of the Lyapunov equation takes, mean over the gains
};

/// For 4x2 the modified Boeing plant with its published gain, for other sizes a random plant. Made once.
const GainProblem& gain_problem(Size size);

/// For 4x2 a family around the modified Boeing plant, for other sizes random plants with rho(A) = 1.1.
/// Made once.
const std::vector<metalqr::Task<Dynamic>>& riccati_tasks(Size size);

/// Right-hand sides and matrices of Lyapunov equations.
struct LyapunovProblem {
  Dynamic::StateMatrix F;  ///< Gaussian, scaled to the spectral radius asked for
  Dynamic::StateMatrix Q;  ///< symmetric positive definite
};

/// Twenty of them with n states, at spectral radius `rho`.
std::vector<LyapunovProblem> lyapunov_problems(Index n, double rho);

/// The residuals of P, by the same functions for every solver.
double lyapunov_residual(const LyapunovProblem& problem, const Dynamic::StateMatrix& P);
double riccati_residual(const metalqr::Task<Dynamic>& task, const Dynamic::StateMatrix& P);

/// The middle one of the values, or the mean of the two in the middle; NaN if there are none.
double median(std::vector<double> values);

/// A task in another backend.
template <class Backend>
metalqr::Task<Backend> converted(const metalqr::Task<Dynamic>& task) {
  return {typename Backend::StateMatrix(task.A()), typename Backend::InputMatrix(task.B()),
          typename Backend::StateMatrix(task.Q()), typename Backend::ControlMatrix(task.R()),
          typename Backend::StateMatrix(task.Sigma0())};
}

/// Tasks in another backend.
template <class Backend>
std::vector<metalqr::Task<Backend>> converted(const std::vector<metalqr::Task<Dynamic>>& tasks) {
  std::vector<metalqr::Task<Backend>> result;
  result.reserve(tasks.size());
  for (const auto& task : tasks) result.push_back(converted<Backend>(task));
  return result;
}

/// Gains in another backend.
template <class Backend>
std::vector<typename Backend::Gain> converted(const std::vector<Dynamic::Gain>& gains) {
  return {gains.begin(), gains.end()};
}

/// Multiply-add pairs of one cost, counting what the algorithm needs and no more: for each of k doublings two
/// products and the lower half of a symmetric one, then F = A - BK and Q + K'RK.
inline double cost_operations(Size size, double k) {
  const auto n = static_cast<double>(size.nx);
  const auto m = static_cast<double>(size.nu);
  return k * (2 * n * n * n + n * n * (n + 1) / 2) + 1.5 * n * n * m + m * m * n;
}

/// Of cost and gradient: each doubling serves the adjoint equation as well (one more product and a half),
/// then E = RK - B'PF (RK is there already) and E Sigma.
inline double gradient_operations(Size size, double k) {
  const auto n = static_cast<double>(size.nx);
  const auto m = static_cast<double>(size.nu);
  return cost_operations(size, k) + k * (n * n * n + n * n * (n + 1) / 2) + 3 * n * n * m;
}

/// Of an evaluation at a new gain with one H[X]: two more right-hand sides and the products around them.
inline double hessian_operations(Size size, double k) {
  const auto n = static_cast<double>(size.nx);
  const auto m = static_cast<double>(size.nu);
  return gradient_operations(size, k) + 2 * k * (n * n * n + n * n * (n + 1) / 2) + 2 * n * n * n +
         7 * n * n * m + 2 * m * m * n;
}

}  // namespace benchmarks
