#pragma once

/// @file
/// Problems for robust designs, plants near an estimate, and frequency responses by their definition.

#include <algorithm>
#include <cmath>
#include <complex>
#include <vector>

#include <metalqr/synthesis/problem.hpp>

#include "coarse_id.hpp"
#include "support.hpp"

namespace test {

template <class AnyBackend = Backend>
metalqr::synthesis::RobustProblem<AnyBackend> robust_problem(const UncertainSystem& system, double epsilon_A,
                                                             double epsilon_B) {
  return {make_task<AnyBackend>(system.task), epsilon_A, epsilon_B};
}

inline const UncertainSystem& uncertain_system(const std::string& name) {
  for (const UncertainSystem& system : coarse_id_reference().systems) {
    if (system.name == name) return system;
  }
  throw std::logic_error("no such system");
}

/// X times its spectral norm brought to `size`; the direction is of rank one every other time, which makes
/// the worst ones.
inline Dense with_norm(Index rows, Index cols, double size, bool rank_one, metalqr::Stream& stream) {
  const Dense x = rank_one ? random_matrix(rows, 1, stream) * random_matrix(1, cols, stream)
                           : random_matrix(rows, cols, stream);
  return (size / spectral_norm(x)) * x;
}

/// A plant on the boundary of both balls, or the one with errors along the eigenvector of the slowest mode.
inline DenseTask perturbed(const DenseTask& task, double epsilon_A, double epsilon_B, bool rank_one,
                           metalqr::Stream& stream) {
  DenseTask plant = task;
  plant.A = plant.A + with_norm(task.A.rows, task.A.cols, epsilon_A, rank_one, stream);
  plant.B = plant.B + with_norm(task.B.rows, task.B.cols, epsilon_B, rank_one, stream);
  return plant;
}

/// Whether rho(F) < 1, by 40 squarings.
inline bool vanishes(Dense F) {
  for (int k = 0; k < 40; ++k) {
    F = F * F;
    const long double size = norm(F);
    if (!(size < 1e100L)) return false;
    if (size < 1e-100L) return true;
  }
  return false;
}

/// Largest singular value of [x I; y K] (e^{iw} I - F)^-1 over a grid of frequencies: a lower bound on the
/// H-infinity level.
inline double level_on_grid(const Dense& F, const Dense& K, double x, double y, int points = 400) {
  const Index n = F.rows;
  double largest = 0;
  for (int k = 0; k <= points; ++k) {
    const long double angle = 3.141592653589793238L * k / points;
    // Real form of the complex matrices.
    Dense system(2 * n, 2 * n);
    Dense right(2 * n, 2 * n);
    Dense output(2 * (n + K.rows), 2 * n);
    for (Index i = 0; i < n; ++i) {
      right(i, i) = right(n + i, n + i) = 1;
      for (Index j = 0; j < n; ++j) {
        system(i, j) = system(n + i, n + j) = (i == j ? std::cos(angle) : 0) - F(i, j);
      }
      system(i, n + i) = -std::sin(angle);
      system(n + i, i) = std::sin(angle);
      output(i, i) = output(n + K.rows + i, n + i) = x;
    }
    for (Index i = 0; i < K.rows; ++i) {
      for (Index j = 0; j < n; ++j) output(n + i, j) = output(2 * n + K.rows + i, n + j) = y * K(i, j);
    }
    // A few hundred steps of power iteration come from below.
    const Dense G = output * solve(system, right);
    const Dense squared = transpose(G) * G;
    Dense v(2 * n, 1);
    for (Index i = 0; i < 2 * n; ++i) v(i, 0) = 1 + 0.1L * static_cast<long double>(i);
    long double value = 0;
    for (int step = 0; step < 100; ++step) {
      v = squared * v;
      value = norm(v);
      if (!(value > 0)) break;
      v = (1 / value) * v;
    }
    largest = std::max(largest, static_cast<double>(std::sqrt(value)));
  }
  return largest;
}

}  // namespace test
