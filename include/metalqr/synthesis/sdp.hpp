#pragma once

/// @file
/// Semidefinite programmes in block standard form, and what the library asks of a solver for them.

#include <cmath>
#include <concepts>
#include <cstddef>
#include <string>
#include <vector>

#include <metalqr/core/error.hpp>
#include <metalqr/core/index.hpp>

namespace metalqr::inline METALQR_ABI::synthesis {

/// One entry of a symmetric block matrix: `value` stands at (row, column) and at (column, row) of the block.
/// A term c X_ij of a linear function, i != j, is therefore the value c / 2. Entries of one place add up.
struct SdpEntry {
  Index block = 0;   ///< from 0
  Index row = 0;     ///< from 0, within the block
  Index column = 0;  ///< from 0, within the block
  double value = 0;  ///< finite
};

/// The equation tr(A_i X) = a_i.
struct SdpConstraint {
  std::vector<SdpEntry> entries;  ///< A_i, not all zero
  double right = 0;               ///< a_i
};

/// The pair of semidefinite programmes
///   (P) max tr(C X)  s.t. tr(A_i X) = a_i for all i, X = blkdiag(X_1, X_2, ...) >= 0,
///   (D) min a'y      s.t. Z = sum_i y_i A_i - C >= 0.
struct SdpProblem {
  std::vector<Index> blocks;               ///< orders of the blocks, at least one block, each at least 1
  std::vector<SdpEntry> objective;         ///< C
  std::vector<SdpConstraint> constraints;  ///< A_i and a_i, at least one
};

/// How a solver ended.
enum class SdpStatus {
  solved,             ///< to the solver's tolerance
  reduced_accuracy,   ///< nearly to its tolerance: to be checked
  primal_infeasible,  ///< (P) has no solution, as a certificate shows; (D) is unbounded or infeasible
  dual_infeasible,    ///< (D) has no solution, as a certificate shows; (P) is unbounded or infeasible
  failed              ///< none of these: no progress, or the cap on iterations
};

/// The enumerator's name.
constexpr const char* to_string(SdpStatus status) {
  switch (status) {
    case SdpStatus::solved:
      return "solved";
    case SdpStatus::reduced_accuracy:
      return "reduced_accuracy";
    case SdpStatus::primal_infeasible:
      return "primal_infeasible";
    case SdpStatus::dual_infeasible:
      return "dual_infeasible";
    case SdpStatus::failed:
      return "failed";
  }
  return "unknown";
}

/// A block of X or Z.
struct SdpBlock {
  Index order = 0;              ///< number of rows
  std::vector<double> entries;  ///< order x order, symmetric

  /// Entry (i, j), from 0.
  double operator()(Index i, Index j) const { return entries[static_cast<std::size_t>(i * order + j)]; }
};

/// A solution of both programmes, or where the solver ended.
struct SdpSolution {
  SdpStatus status = SdpStatus::failed;  ///< how it ended
  double primal_objective = 0;           ///< tr(C X)
  double dual_objective = 0;             ///< a'y
  std::vector<SdpBlock> X;               ///< of (P)
  std::vector<double> y;                 ///< of (D), one number a constraint
  std::vector<SdpBlock> Z;               ///< of (D)
};

/// Whether y and the objectives may be used: `solved`, or `reduced_accuracy`, whose results need a check.
constexpr bool has_solution(SdpStatus status) {
  return status == SdpStatus::solved || status == SdpStatus::reduced_accuracy;
}

/// A solver of semidefinite programmes: a callable that gives a solution of both programmes, checks what it
/// is given as `validate` does, and may be called from several threads. `Csdp` is one.
template <class T>
concept SdpSolver = requires(const T& solver, const SdpProblem& problem) {
  { solver(problem) } -> std::same_as<SdpSolution>;
};

namespace detail {

using metalqr::detail::text;

/// Throws unless the entries belong to the blocks, are finite and, where `needed`, are not all zero.
inline void require_entries(const std::vector<SdpEntry>& entries, const std::vector<Index>& blocks,
                            bool needed, const std::string& name) {
  bool zero = true;
  for (std::size_t k = 0; k < entries.size(); ++k) {
    const SdpEntry& entry = entries[k];
    const auto where = [&] { return name + "[" + std::to_string(k) + "]"; };
    const auto place = [&] {
      return std::string("(") + std::to_string(entry.row) + ", " + std::to_string(entry.column) +
             ") of block " + std::to_string(entry.block);
    };
    if (entry.block < 0 || entry.block >= static_cast<Index>(blocks.size())) {
      throw DimensionMismatch(where() + ": expected one of " + std::to_string(blocks.size()) +
                              " blocks, got " + place());
    }
    const Index order = blocks[static_cast<std::size_t>(entry.block)];
    if (entry.row < 0 || entry.row >= order || entry.column < 0 || entry.column >= order) {
      throw DimensionMismatch(where() + ": expected a place in a block of order " + std::to_string(order) +
                              ", got " + place());
    }
    if (!std::isfinite(entry.value)) {
      throw NotFinite(where() + ": expected a finite value, got " + text(entry.value) + " at " + place());
    }
    zero = zero && entry.value == 0;
  }
  if (needed && zero) throw InvalidOption(name + ": expected an entry that is not zero");
}

}  // namespace detail

/// Checks a programme.
/// @throws InvalidOption if there is no block, no constraint, or a constraint without entries;
/// DimensionMismatch for a block of order 0 or an entry outside of the blocks; NotFinite for a value that is
/// NaN or infinite. Each names the place.
inline void validate(const SdpProblem& problem) {
  if (problem.blocks.empty()) throw InvalidOption("blocks: expected at least one");
  for (std::size_t b = 0; b < problem.blocks.size(); ++b) {
    if (problem.blocks[b] >= 1) continue;
    throw DimensionMismatch("blocks[" + std::to_string(b) + "]: expected a positive order, got " +
                            std::to_string(problem.blocks[b]));
  }
  if (problem.constraints.empty()) throw InvalidOption("constraints: expected at least one");
  detail::require_entries(problem.objective, problem.blocks, false, "objective");
  for (std::size_t i = 0; i < problem.constraints.size(); ++i) {
    const SdpConstraint& constraint = problem.constraints[i];
    const std::string name = "constraints[" + std::to_string(i) + "]";
    if (!std::isfinite(constraint.right)) {
      throw NotFinite(name + ".right: expected a finite number, got " + detail::text(constraint.right));
    }
    detail::require_entries(constraint.entries, problem.blocks, true, name + ".entries");
  }
}

}  // namespace metalqr::inline METALQR_ABI::synthesis
