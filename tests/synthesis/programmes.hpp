#pragma once

/// @file
/// Small semidefinite programmes with known answers, and the residuals of a solution by its definition.

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include <metalqr/synthesis/sdp.hpp>

#include "support.hpp"

namespace test {

using metalqr::synthesis::SdpBlock;
using metalqr::synthesis::SdpConstraint;
using metalqr::synthesis::SdpEntry;
using metalqr::synthesis::SdpProblem;
using metalqr::synthesis::SdpSolution;

inline std::vector<SdpEntry> identity_entries(Index n, Index block = 0) {
  std::vector<SdpEntry> entries;
  for (Index i = 0; i < n; ++i) entries.push_back({block, i, i, 1});
  return entries;
}

/// max tr(S X) with tr X = 1: the largest eigenvalue of S.
inline SdpProblem largest_eigenvalue(const Dense& S) {
  SdpProblem problem{.blocks = {S.rows}, .objective = {}, .constraints = {{identity_entries(S.rows), 1}}};
  for (Index i = 0; i < S.rows; ++i) {
    for (Index j = i; j < S.rows; ++j) {
      problem.objective.push_back({0, i, j, static_cast<double>(S(i, j))});
    }
  }
  return problem;
}

/// Lovasz's theta of a graph: max tr(J X) with tr X = 1 and X_ij = 0 for every edge, J of ones.
inline SdpProblem lovasz_theta(Index n, const std::vector<std::pair<Index, Index>>& edges) {
  SdpProblem problem{.blocks = {n}, .objective = {}, .constraints = {{identity_entries(n), 1}}};
  for (Index i = 0; i < n; ++i) {
    for (Index j = i; j < n; ++j) problem.objective.push_back({0, i, j, 1});
  }
  for (const auto& [i, j] : edges) problem.constraints.push_back({{{0, i, j, 1}}, 0});
  return problem;
}

/// The edges of the cycle of n vertices.
inline std::vector<std::pair<Index, Index>> cycle(Index n) {
  std::vector<std::pair<Index, Index>> edges;
  for (Index i = 0; i < n; ++i) edges.emplace_back(i, (i + 1) % n);
  return edges;
}

inline double inner(const std::vector<SdpEntry>& entries, const std::vector<SdpBlock>& X) {
  double sum = 0;
  for (const SdpEntry& entry : entries) {
    sum += (entry.row == entry.column ? 1 : 2) * entry.value *
           X.at(static_cast<std::size_t>(entry.block))(entry.row, entry.column);
  }
  return sum;
}

/// Largest |tr(A_i X) - a_i|.
inline double primal_residual(const SdpProblem& problem, const SdpSolution& solution) {
  double largest = 0;
  for (const SdpConstraint& constraint : problem.constraints) {
    largest = std::max(largest, std::abs(inner(constraint.entries, solution.X) - constraint.right));
  }
  return largest;
}

/// Largest entry of |sum y_i A_i - C - Z|.
inline double dual_residual(const SdpProblem& problem, const SdpSolution& solution) {
  std::vector<Dense> sum;
  for (const SdpBlock& block : solution.Z) {
    Dense& x = sum.emplace_back(block.order, block.order);
    for (Index i = 0; i < block.order; ++i) {
      for (Index j = 0; j < block.order; ++j) x(i, j) = -block(i, j);
    }
  }
  const auto add = [&sum](const std::vector<SdpEntry>& entries, long double factor) {
    for (const SdpEntry& entry : entries) {
      Dense& x = sum.at(static_cast<std::size_t>(entry.block));
      x(entry.row, entry.column) += factor * entry.value;
      if (entry.row != entry.column) x(entry.column, entry.row) += factor * entry.value;
    }
  };
  add(problem.objective, -1);
  for (std::size_t i = 0; i < problem.constraints.size(); ++i) {
    add(problem.constraints[i].entries, solution.y.at(i));
  }
  double largest = 0;
  for (const Dense& x : sum) {
    for (const long double entry : x.entries) {
      largest = std::max(largest, static_cast<double>(std::abs(entry)));
    }
  }
  return largest;
}

/// The smallest number x for which block + x I has a Cholesky factorisation, to 1e-12: minus the least
/// eigenvalue.
inline double least_shift(const SdpBlock& block) {
  const auto is_definite = [&block](long double shift) {
    Dense L(block.order, block.order);
    for (Index j = 0; j < block.order; ++j) {
      for (Index i = j; i < block.order; ++i) {
        L(i, j) = block(i, j) + (i == j ? shift : 0);
        for (Index k = 0; k < j; ++k) L(i, j) -= L(i, k) * L(j, k);
        if (i == j && !(L(j, j) > 0)) return false;
        L(i, j) = i == j ? std::sqrt(L(j, j)) : L(i, j) / L(j, j);
      }
    }
    return true;
  };
  long double low = -1e3L;
  long double high = 1e3L;
  while (high - low > 1e-12L) {
    const long double middle = (low + high) / 2;
    (is_definite(middle) ? high : low) = middle;
  }
  return static_cast<double>(high);
}

}  // namespace test
