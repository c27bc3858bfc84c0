#pragma once

/// @file
/// Convex quadratic programmes, and what the library asks of a solver for them.

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <limits>
#include <string>
#include <vector>

#include <metalqr/core/error.hpp>
#include <metalqr/core/index.hpp>

namespace metalqr::inline METALQR_ABI::synthesis {

/// One entry of a sparse matrix. Entries of one place add up.
struct QpEntry {
  Index row = 0;     ///< from 0
  Index column = 0;  ///< from 0
  double value = 0;  ///< finite
};

/// A number between two bounds, of which either may be infinite.
struct QpRange {
  double low = -std::numeric_limits<double>::infinity();  ///< not above `high`, below infinity
  double high = std::numeric_limits<double>::infinity();  ///< above minus infinity
};

/// The programme min x'Hx / 2 + c'x s.t. x within `variables`, A x within `rows`. A linear programme is one
/// without entries of H.
struct QpProblem {
  std::vector<double> objective;   ///< c, one number a variable, finite
  std::vector<QpEntry> curvature;  ///< H, its lower triangle: row >= column; positive semidefinite
  std::vector<QpRange> variables;  ///< bounds of x, at least one
  std::vector<QpEntry> matrix;     ///< A
  std::vector<QpRange> rows;       ///< bounds of A x; may be empty
};

/// How a solver ended.
enum class QpStatus {
  solved,            ///< to the solver's tolerance
  reduced_accuracy,  ///< nearly to its tolerance: to be checked
  infeasible,        ///< the solver found no x within the bounds, and concluded that there is none
  unbounded,         ///< the objective has no least value
  failed             ///< none of these: no progress, or the cap on iterations
};

/// The enumerator's name.
constexpr const char* to_string(QpStatus status) {
  switch (status) {
    case QpStatus::solved:
      return "solved";
    case QpStatus::reduced_accuracy:
      return "reduced_accuracy";
    case QpStatus::infeasible:
      return "infeasible";
    case QpStatus::unbounded:
      return "unbounded";
    case QpStatus::failed:
      return "failed";
  }
  return "unknown";
}

/// A solution, or where the solver ended.
struct QpSolution {
  QpStatus status = QpStatus::failed;  ///< how it ended
  double objective = 0;                ///< x'Hx / 2 + c'x
  std::vector<double> x;               ///< one number a variable
  /// y, one number a row: H x + c - A'y is zero in the variables between their bounds, y_i positive only
  /// where row i is at its lower bound, negative only at its upper one. Empty if the solver has none.
  std::vector<double> multipliers;
};

/// Whether x may be used: `solved`, or `reduced_accuracy`, whose results need a check.
constexpr bool has_solution(QpStatus status) {
  return status == QpStatus::solved || status == QpStatus::reduced_accuracy;
}

/// A solver of convex quadratic programmes: a callable that checks what it is given as `validate` does (that
/// H is positive semidefinite is taken on trust), and may be called from several threads. `IpoptSolver` is
/// one.
template <class T>
concept QpSolver = requires(const T& solver, const QpProblem& problem) {
  { solver(problem) } -> std::same_as<QpSolution>;
};

namespace detail {

/// "rows[3]: expected a finite value, got nan at (0, 2)".
inline std::string about_qp_entry(const std::string& name, std::size_t place, const QpEntry& entry,
                                  const std::string& expected, const std::string& got) {
  return name + "[" + std::to_string(place) + "]: expected " + expected + ", got " + got + "(" +
         std::to_string(entry.row) + ", " + std::to_string(entry.column) + ")";
}

inline void require_qp_entries(const std::vector<QpEntry>& entries, std::size_t rows, std::size_t columns,
                               const std::string& name) {
  for (std::size_t k = 0; k < entries.size(); ++k) {
    const QpEntry& entry = entries[k];
    if (entry.row < 0 || entry.row >= static_cast<Index>(rows) || entry.column < 0 ||
        entry.column >= static_cast<Index>(columns)) {
      throw DimensionMismatch(about_qp_entry(
          name, k, entry, "a place in a matrix of shape " + metalqr::detail::shape(rows, columns), ""));
    }
    if (!std::isfinite(entry.value)) {
      throw NotFinite(
          about_qp_entry(name, k, entry, "a finite value", metalqr::detail::text(entry.value) + " at "));
    }
  }
}

inline void require_ranges(const std::vector<QpRange>& ranges, const std::string& name) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  for (std::size_t k = 0; k < ranges.size(); ++k) {
    const QpRange& range = ranges[k];
    if (range.low <= range.high && range.low < infinity && range.high > -infinity) continue;
    throw InvalidOption(name + "[" + std::to_string(k) + "]: expected a number between its bounds, got [" +
                        metalqr::detail::text(range.low) + ", " + metalqr::detail::text(range.high) + "]");
  }
}

}  // namespace detail

/// Checks a programme, but not that H is positive semidefinite.
/// @throws InvalidOption if there is no variable, or nothing lies between two bounds; DimensionMismatch for
/// an objective of another length, an entry outside of its matrix or above the diagonal of H; NotFinite for a
/// value that is NaN or infinite. Each names the place.
inline void validate(const QpProblem& problem) {
  const std::size_t n = problem.variables.size();
  if (n == 0) throw InvalidOption("variables: expected at least one");
  if (problem.objective.size() != n) {
    throw DimensionMismatch("objective: expected one number for each of " + std::to_string(n) +
                            " variables, got " + std::to_string(problem.objective.size()));
  }
  for (std::size_t k = 0; k < n; ++k) {
    if (std::isfinite(problem.objective[k])) continue;
    throw NotFinite("objective[" + std::to_string(k) + "]: expected a finite number, got " +
                    metalqr::detail::text(problem.objective[k]));
  }
  detail::require_ranges(problem.variables, "variables");
  detail::require_ranges(problem.rows, "rows");
  detail::require_qp_entries(problem.curvature, n, n, "curvature");
  for (std::size_t k = 0; k < problem.curvature.size(); ++k) {
    if (problem.curvature[k].column <= problem.curvature[k].row) continue;
    throw DimensionMismatch("curvature[" + std::to_string(k) + "]: expected a place in the lower triangle");
  }
  detail::require_qp_entries(problem.matrix, problem.rows.size(), n, "matrix");
}

namespace detail {

/// The least r x with r within `error` of `factor` and x within the range.
inline double least_product(double factor, double error, const QpRange& range) {
  double least = std::numeric_limits<double>::infinity();
  for (const double r : {factor - error, factor + error}) {
    for (const double x : {range.low, range.high}) least = std::min(least, r == 0 ? 0 : r * x);
  }
  return least;
}

}  // namespace detail

/// A number that the objective is not below within the bounds, by weak duality,
///   c'x = y'(A x) + (c - A'y)'x,
/// each term at its least (the curvature only adds): true for any y, good or bad, rounding included; the
/// optimum itself, but for rounding, for the multipliers of a linear programme's solution. A y_i that is not
/// finite or whose row has no bound on that side counts as zero, and so do all where their number is wrong.
/// Minus infinity where nothing is proved. Linear in the number of entries.
/// @param problem as `validate` wants it.
/// @param multipliers y, as in `QpSolution`.
inline double lower_bound(const QpProblem& problem, const std::vector<double>& multipliers) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  const std::size_t n = problem.variables.size();
  std::vector<double> y(problem.rows.size(), 0.0);
  double bound = 0;
  double size = 0;  // of the terms, whose rounding is a share of it
  for (std::size_t i = 0; i < y.size() && multipliers.size() == y.size(); ++i) {
    const double end = multipliers[i] > 0 ? problem.rows[i].low : problem.rows[i].high;
    if (!std::isfinite(multipliers[i]) || !std::isfinite(end)) continue;
    y[i] = multipliers[i];
    bound += y[i] * end;
    size += std::abs(y[i] * end);
  }
  std::vector<double> factors = problem.objective;
  std::vector<double> sizes(n);
  for (std::size_t j = 0; j < n; ++j) sizes[j] = std::abs(factors[j]);
  for (const QpEntry& entry : problem.matrix) {
    const double term = entry.value * y[static_cast<std::size_t>(entry.row)];
    factors[static_cast<std::size_t>(entry.column)] -= term;
    sizes[static_cast<std::size_t>(entry.column)] += std::abs(term);
  }
  const double rounding =
      2 * static_cast<double>(n + y.size() + problem.matrix.size()) * std::numeric_limits<double>::epsilon();
  for (std::size_t j = 0; j < n; ++j) {
    const double term = detail::least_product(factors[j], rounding * sizes[j], problem.variables[j]);
    bound += term;
    size += std::abs(term);
  }
  bound -= rounding * size;
  return std::isfinite(bound) ? bound : -infinity;
}

}  // namespace metalqr::inline METALQR_ABI::synthesis
