#pragma once

/// @file
/// The discrete Lyapunov equation with a quasi upper triangular matrix, by substitution.

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>
#include <vector>

#include <metalqr/core/backend.hpp>

namespace metalqr::inline METALQR_ABI::detail {

/// The rows of a diagonal block of a quasi triangular matrix.
struct DiagonalBlock {
  Index begin;
  Index size;  ///< 1 or 2
};

/// The diagonal blocks of a quasi upper triangular matrix, from the top.
template <MatrixBackend Backend, class X>
std::vector<DiagonalBlock> diagonal_blocks(const X& T) {
  using Scalar = typename Backend::Scalar;
  const Index n = Backend::rows(T);
  std::vector<DiagonalBlock> blocks;
  for (Index i = 0; i < n; i += blocks.back().size) {
    const bool pair = i + 1 < n && T(i + 1, i) != Scalar(0);
    blocks.push_back({i, pair ? Index{2} : Index{1}});
  }
  return blocks;
}

/// A linear system of at most four unknowns, solved by elimination with complete pivoting.
template <class Scalar>
struct SmallSystem {
  int n = 0;
  std::array<std::array<Scalar, 5>, 4> rows{};  ///< matrix and, in column n, right-hand side
  std::array<Scalar, 4> unknowns{};

  /// Solves in place; returns the smallest pivot relative to the largest (or to 1 if that is smaller).
  Scalar solve() {
    using std::abs;
    const auto size = static_cast<std::size_t>(n);
    std::array<std::size_t, 4> order{0, 1, 2, 3};
    Scalar smallest(0);
    Scalar largest(1);
    for (std::size_t k = 0; k < size; ++k) {
      std::size_t row = k;
      std::size_t col = k;
      for (std::size_t i = k; i < size; ++i) {
        for (std::size_t j = k; j < size; ++j) {
          if (abs(rows[i][j]) > abs(rows[row][col])) row = i, col = j;
        }
      }
      std::swap(rows[k], rows[row]);
      std::swap(order[k], order[col]);
      for (std::size_t i = 0; i < size; ++i) std::swap(rows[i][k], rows[i][col]);
      const Scalar pivot = abs(rows[k][k]);
      if (pivot > largest) largest = pivot;
      if (k == 0 || !(pivot >= smallest)) smallest = pivot;
      for (std::size_t i = k + 1; i < size; ++i) {
        const Scalar factor = rows[i][k] / rows[k][k];
        for (std::size_t j = k; j <= size; ++j) rows[i][j] -= factor * rows[k][j];
      }
    }
    for (std::size_t k = size; k-- > 0;) {
      Scalar value = rows[k][size];
      for (std::size_t j = k + 1; j < size; ++j) value -= rows[k][j] * unknowns[order[j]];
      unknowns[order[k]] = value / rows[k][k];
    }
    return smallest / largest;
  }
};

/// What substitution found.
template <class X, class Scalar>
struct SubstitutionResult {
  X value;         ///< Y; entries are not finite, or are huge, if `pivot` is zero or tiny
  Scalar pivot{};  ///< smallest pivot of the diagonal systems: near the smallest |1 - l_i l_j|
};

/// Y = C + T'YT for quasi upper triangular T (Kitagawa, "An algorithm for solving the matrix equation
/// X = FXF' + S", Int. J. Control 25, 1977; the discrete form of Bartels and Stewart). 2 n^3 operations.
template <MatrixBackend Backend, class X>
SubstitutionResult<X, typename Backend::Scalar> solve_quasi_triangular(const X& T, const X& C) {
  using Scalar = typename Backend::Scalar;
  const Index n = Backend::rows(T);
  const std::vector<DiagonalBlock> blocks = diagonal_blocks<Backend>(T);
  SubstitutionResult<X, Scalar> result{.value = Backend::zero_like(C)};
  X& Y = result.value;
  bool first = true;
  for (const DiagonalBlock& right : blocks) {
    // Right-hand side of this block of columns: C + T' (sum over the columns that are known of Y_l T_lj).
    std::array<std::vector<Scalar>, 2> known;
    for (Index c = 0; c < right.size; ++c) {
      const Index j = right.begin + c;
      std::vector<Scalar> sum(static_cast<std::size_t>(n), Scalar(0));
      for (Index l = 0; l < right.begin; ++l) {
        const Scalar factor = T(l, j);
        for (Index i = 0; i < n; ++i) sum[static_cast<std::size_t>(i)] += Y(i, l) * factor;
      }
      known[static_cast<std::size_t>(c)] = std::move(sum);
    }
    // Y_k T_jj of the rows k that are known, added to `known` as they become so.
    for (const DiagonalBlock& left : blocks) {
      SmallSystem<Scalar> system;
      system.n = static_cast<int>(left.size * right.size);
      for (Index r = 0; r < left.size; ++r) {
        for (Index c = 0; c < right.size; ++c) {
          const Index i = left.begin + r;
          Scalar rhs = C(i, right.begin + c);
          const Index last = left.begin + left.size;
          for (Index k = 0; k < last; ++k) {
            rhs += T(k, i) * known[static_cast<std::size_t>(c)][static_cast<std::size_t>(k)];
          }
          auto& row = system.rows[static_cast<std::size_t>(r * right.size + c)];
          for (Index p = 0; p < left.size; ++p) {
            for (Index q = 0; q < right.size; ++q) {
              const Scalar one = p == r && q == c ? Scalar(1) : Scalar(0);
              row[static_cast<std::size_t>(p * right.size + q)] =
                  one - T(left.begin + p, i) * T(right.begin + q, right.begin + c);
            }
          }
          row[static_cast<std::size_t>(system.n)] = rhs;
        }
      }
      const Scalar pivot = system.solve();
      if (first || !(pivot >= result.pivot)) result.pivot = pivot;
      first = false;
      for (Index p = 0; p < left.size; ++p) {
        for (Index q = 0; q < right.size; ++q) {
          Y(left.begin + p, right.begin + q) = system.unknowns[static_cast<std::size_t>(p * right.size + q)];
        }
      }
      for (Index p = 0; p < left.size; ++p) {
        for (Index c = 0; c < right.size; ++c) {
          Scalar sum(0);
          for (Index q = 0; q < right.size; ++q) {
            sum += Y(left.begin + p, right.begin + q) * T(right.begin + q, right.begin + c);
          }
          known[static_cast<std::size_t>(c)][static_cast<std::size_t>(left.begin + p)] += sum;
        }
      }
    }
  }
  return result;
}

/// J X' J with J the reversal of the order: quasi upper triangular if X is.
template <MatrixBackend Backend, class X>
X reversed_transpose(const X& x) {
  const Index n = Backend::rows(x);
  X result = Backend::zero_like(x);
  for (Index i = 0; i < n; ++i) {
    for (Index j = 0; j < n; ++j) result(i, j) = x(n - 1 - j, n - 1 - i);
  }
  return result;
}

/// X J: the columns in reversed order.
template <MatrixBackend Backend, class X>
X reversed_columns(const X& x) {
  const Index n = Backend::rows(x);
  X result = Backend::zero_like(x);
  for (Index i = 0; i < n; ++i) {
    for (Index j = 0; j < n; ++j) result(i, j) = x(i, n - 1 - j);
  }
  return result;
}

/// Largest absolute value of the eigenvalues of a quasi triangular matrix.
template <MatrixBackend Backend, class X>
typename Backend::Scalar quasi_triangular_radius(const X& T) {
  using std::abs;
  using std::sqrt;
  using Scalar = typename Backend::Scalar;
  Scalar radius(0);
  for (const DiagonalBlock& block : diagonal_blocks<Backend>(T)) {
    const Index i = block.begin;
    Scalar size = abs(T(i, i));
    if (block.size == 2) {
      const Scalar mean = (T(i, i) + T(i + 1, i + 1)) / Scalar(2);
      const Scalar half = (T(i, i) - T(i + 1, i + 1)) / Scalar(2);
      const Scalar discriminant = half * half + T(i, i + 1) * T(i + 1, i);
      size = discriminant < Scalar(0) ? sqrt(mean * mean - discriminant) : abs(mean) + sqrt(discriminant);
    }
    if (!(size <= radius)) radius = size;
  }
  return radius;
}

}  // namespace metalqr::inline METALQR_ABI::detail
