#pragma once

/// @file
/// Diagonal scaling of a Riccati equation by powers of two, so that a problem in badly chosen units is solved
/// as accurately as in good ones.

#include <algorithm>
#include <cmath>
#include <vector>

#include <metalqr/core/backend.hpp>

namespace metalqr::inline METALQR_ABI::detail {

/// Multiplies the entry (i, j) by rows_i cols_j; exact if these are powers of two and nothing underflows.
template <class X, class Scalar>
void scale_entries(X& x, const std::vector<Scalar>& rows, const std::vector<Scalar>& cols) {
  for (Index i = 0; i < static_cast<Index>(rows.size()); ++i) {
    for (Index j = 0; j < static_cast<Index>(cols.size()); ++j) {
      x(i, j) = x(i, j) * rows[static_cast<std::size_t>(i)] * cols[static_cast<std::size_t>(j)];
    }
  }
}

/// The magnitudes of the blocks of the symplectic pencil [A -G; Q A'].
struct PencilMagnitudes {
  std::size_t n = 0;
  std::vector<double> a, g, q;

  double& at(std::vector<double>& block, std::size_t i, std::size_t j) const { return block[i * n + j]; }

  double total() const {
    double sum = 0;
    for (std::size_t k = 0; k < a.size(); ++k) sum += 2 * a[k] + g[k] + q[k];
    return sum;
  }

  /// Applies x_i = t x'_i to all blocks.
  void scale(std::size_t i, double t) {
    for (std::size_t j = 0; j < n; ++j) {
      at(a, i, j) /= t, at(a, j, i) *= t;
      at(g, i, j) /= t, at(g, j, i) /= t;
      at(q, i, j) *= t, at(q, j, i) *= t;
    }
  }
};

/// Powers of two d for the change of state x = D x' that lowers the sum of the magnitudes of D^-1 A D
/// (counted twice), D^-1 G D^-1 and D Q D, by cyclic minimisation over one d_i at a time (Osborne, "On
/// pre-conditioning of matrices", J. ACM 7, 1960, with the structure kept). The scale of the cost is part of
/// it: D = s I multiplies Q by s^2 and divides G by s^2. All ones unless the sum falls below half.
template <MatrixBackend Backend>
std::vector<typename Backend::Scalar> balancing_scales(const typename Backend::StateMatrix& A,
                                                       const typename Backend::StateMatrix& G,
                                                       const typename Backend::StateMatrix& Q) {
  using Scalar = typename Backend::Scalar;
  const auto n = static_cast<std::size_t>(Backend::rows(A));
  PencilMagnitudes pencil{.n = n, .a = {}, .g = {}, .q = {}};
  double a_max = 0;
  double g_max = 0;
  double q_max = 0;
  for (std::size_t k = 0; k < n * n; ++k) {
    const auto i = static_cast<Index>(k / n);
    const auto j = static_cast<Index>(k % n);
    pencil.a.push_back(std::abs(Backend::to_double(A(i, j))));
    pencil.g.push_back(std::abs(Backend::to_double(G(i, j))));
    pencil.q.push_back(std::abs(Backend::to_double(Q(i, j))));
    a_max = std::max(a_max, pencil.a.back());
    g_max = std::max(g_max, pencil.g.back());
    q_max = std::max(q_max, pencil.q.back());
  }
  std::vector<Scalar> ones(n, Scalar(1));
  const double before = pencil.total();
  // What need not be lowered further, because no scaling of the states changes it; keeps a scale from running
  // away where a block is zero.
  double floor = 0;
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j <= i; ++j) {
      floor = std::max(floor, std::sqrt(pencil.at(pencil.a, i, j)) * std::sqrt(pencil.at(pencil.a, j, i)));
      floor = std::max(floor, std::sqrt(pencil.at(pencil.g, i, j)) * std::sqrt(pencil.at(pencil.q, i, j)));
    }
  }
  if (!(floor > 0)) floor = a_max > 0 ? a_max : std::sqrt(g_max) * std::sqrt(q_max);
  if (!std::isfinite(before) || !(floor > 0)) return ones;

  constexpr int sweeps = 50;
  const int max_exponent = Backend::to_double(Backend::epsilon()) > 1e-10 ? 50 : 400;
  std::vector<int> exponents(n, 0);
  bool changed = true;
  for (int sweep = 0; changed && sweep < sweeps; ++sweep) {
    changed = false;
    for (std::size_t i = 0; i < n; ++i) {
      double growing = 0;
      double shrinking = 0;
      for (std::size_t j = 0; j < n; ++j) {
        if (j == i) continue;
        growing += 2 * (pencil.at(pencil.a, j, i) + pencil.at(pencil.q, i, j));
        shrinking += 2 * (pencil.at(pencil.a, i, j) + pencil.at(pencil.g, i, j));
      }
      const double q = pencil.at(pencil.q, i, i);
      const double g = pencil.at(pencil.g, i, i);
      const auto sum = [&](double t) {
        return floor + growing * t + shrinking / t + q * t * t + g / (t * t);
      };
      // The sum is convex in log t, so a walk downhill by factors of two finds the best power of two.
      double t = 1;
      int exponent = exponents[i];
      for (const double factor : {2.0, 0.5}) {
        const int step = factor > 1 ? 1 : -1;
        while (std::abs(exponent + step) <= max_exponent && sum(t * factor) < 0.95 * sum(t)) {
          t *= factor;
          exponent += step;
        }
      }
      if (exponent == exponents[i]) continue;
      pencil.scale(i, t);
      exponents[i] = exponent;
      changed = true;
    }
  }
  if (!(pencil.total() < 0.5 * before)) return ones;
  std::vector<Scalar> scales;
  scales.reserve(n);
  for (const int exponent : exponents) scales.push_back(Scalar(std::ldexp(1.0, exponent)));
  return scales;
}

/// Powers of two d for which D P D has diagonal entries between 1/2 and 2; 1 where P_ii is not positive.
/// Among diagonal scalings this is nearly the best for the condition of P (van der Sluis, Numer. Math. 14,
/// 1969), and hence for the norm of a closed loop F with F'PF <= P.
template <MatrixBackend Backend>
std::vector<typename Backend::Scalar> unit_diagonal_scales(const typename Backend::StateMatrix& P) {
  using Scalar = typename Backend::Scalar;
  std::vector<Scalar> scales;
  for (Index i = 0; i < Backend::rows(P); ++i) {
    const double entry = Backend::to_double(P(i, i));
    const bool usable = std::isfinite(entry) && entry > 0;
    const int exponent = usable ? static_cast<int>(std::lround(-0.5 * std::log2(entry))) : 0;
    scales.push_back(Scalar(std::ldexp(1.0, exponent)));
  }
  return scales;
}

/// One over each.
template <class Scalar>
std::vector<Scalar> inverses(const std::vector<Scalar>& scales) {
  std::vector<Scalar> result;
  result.reserve(scales.size());
  for (const Scalar& scale : scales) result.push_back(Scalar(1) / scale);
  return result;
}

}  // namespace metalqr::inline METALQR_ABI::detail
