#pragma once

/// @file
/// The interior-point solver Ipopt as a `QpSolver`. Needs its library (CMake component `qp`; Debian:
/// coinor-libipopt-dev); no other header of the library includes this one.

#include <cmath>
#include <cstddef>
#include <limits>
#include <mutex>
#include <string>
#include <vector>

// Ipopt 3.11's headers ask for what its own build defines.
#ifndef HAVE_CSTDDEF
#define HAVE_CSTDDEF
#endif
#include <IpIpoptApplication.hpp>
#include <IpTNLP.hpp>

#include <metalqr/core/error.hpp>
#include <metalqr/synthesis/qp.hpp>

namespace metalqr::inline METALQR_ABI::synthesis {

/// How `Ipopt` works.
struct IpoptOptions {
  double tolerance = 1e-9;   ///< of the scaled optimality conditions, in (0, 1)
  int max_iterations = 300;  ///< cap on its iterations
};

/// Checks options.
/// @throws InvalidOption.
inline void validate(const IpoptOptions& options) {
  metalqr::detail::require_option(options.tolerance > 0 && options.tolerance < 1, "tolerance",
                                  options.tolerance, "a number in (0, 1)");
  metalqr::detail::require_option(options.max_iterations >= 1, "max_iterations", options.max_iterations,
                                  "at least 1");
}

namespace detail {

/// Its linear solver keeps state in static variables.
inline std::mutex& ipopt_mutex() {
  static std::mutex mutex;
  return mutex;
}

/// Throws unless Ipopt, whose numbers of variables, rows and entries are of this type, can count that many.
inline void require_countable(std::size_t size, const char* name) {
  constexpr ::Ipopt::Index most = std::numeric_limits<::Ipopt::Index>::max();
  if (size <= static_cast<std::size_t>(most)) return;
  throw InvalidOption(std::string(name) + ": expected at most " + std::to_string(most) + " for Ipopt, got " +
                      std::to_string(size));
}

/// A programme as Ipopt asks for it, and where its solution ends up.
class IpoptProgramme : public ::Ipopt::TNLP {
 public:
  using Int = ::Ipopt::Index;
  using Number = ::Ipopt::Number;

  IpoptProgramme(const QpProblem& problem, QpSolution& solution) : problem_(problem), solution_(solution) {}

  bool get_nlp_info(Int& n, Int& m, Int& jacobian, Int& hessian, IndexStyleEnum& style) override {
    n = static_cast<Int>(problem_.variables.size());
    m = static_cast<Int>(problem_.rows.size());
    jacobian = static_cast<Int>(problem_.matrix.size());
    hessian = static_cast<Int>(problem_.curvature.size());
    style = C_STYLE;
    return true;
  }
  bool get_bounds_info(Int, Number* low, Number* high, Int, Number* row_low, Number* row_high) override {
    copy(problem_.variables, low, high);
    copy(problem_.rows, row_low, row_high);
    return true;
  }
  bool get_starting_point(Int n, bool, Number* x, bool, Number*, Number*, Int, bool, Number*) override {
    for (Int i = 0; i < n; ++i) x[i] = 0;
    return true;
  }
  bool eval_f(Int n, const Number* x, bool, Number& value) override {
    value = 0;
    for (Int i = 0; i < n; ++i) value += problem_.objective[static_cast<std::size_t>(i)] * x[i];
    for (const QpEntry& entry : problem_.curvature) {
      value += (entry.row == entry.column ? 0.5 : 1) * entry.value * x[entry.row] * x[entry.column];
    }
    return true;
  }
  bool eval_grad_f(Int n, const Number* x, bool, Number* gradient) override {
    for (Int i = 0; i < n; ++i) gradient[i] = problem_.objective[static_cast<std::size_t>(i)];
    for (const QpEntry& entry : problem_.curvature) {
      gradient[entry.row] += entry.value * x[entry.column];
      if (entry.row != entry.column) gradient[entry.column] += entry.value * x[entry.row];
    }
    return true;
  }
  bool eval_g(Int, const Number* x, bool, Int m, Number* g) override {
    for (Int i = 0; i < m; ++i) g[i] = 0;
    for (const QpEntry& entry : problem_.matrix) g[entry.row] += entry.value * x[entry.column];
    return true;
  }
  bool eval_jac_g(Int, const Number*, bool, Int, Int, Int* row, Int* column, Number* values) override {
    copy(problem_.matrix, 1, row, column, values);
    return true;
  }
  bool eval_h(Int, const Number*, bool, Number factor, Int, const Number*, bool, Int, Int* row, Int* column,
              Number* values) override {
    copy(problem_.curvature, factor, row, column, values);
    return true;
  }
  void finalize_solution(::Ipopt::SolverReturn, Int n, const Number* x, const Number*, const Number*, Int m,
                         const Number*, const Number* lambda, Number value, const ::Ipopt::IpoptData*,
                         ::Ipopt::IpoptCalculatedQuantities*) override {
    solution_.x.assign(x, x + n);
    // Its Lagrangian adds lambda'(A x).
    solution_.multipliers.clear();
    for (Int i = 0; i < m; ++i) solution_.multipliers.push_back(-lambda[i]);
    solution_.objective = value;
  }

 private:
  static void copy(const std::vector<QpRange>& ranges, Number* low, Number* high) {
    constexpr double unlimited = 2e19;  // Ipopt's infinity is 1e19
    for (std::size_t i = 0; i < ranges.size(); ++i) {
      low[i] = std::isinf(ranges[i].low) ? -unlimited : ranges[i].low;
      high[i] = std::isinf(ranges[i].high) ? unlimited : ranges[i].high;
    }
  }
  static void copy(const std::vector<QpEntry>& entries, double factor, Int* row, Int* column,
                   Number* values) {
    for (std::size_t k = 0; k < entries.size(); ++k) {
      if (values != nullptr) {
        values[k] = factor * entries[k].value;
      } else {
        row[k] = static_cast<Int>(entries[k].row);
        column[k] = static_cast<Int>(entries[k].column);
      }
    }
  }

  const QpProblem& problem_;
  QpSolution& solution_;
};

inline QpStatus ipopt_status(::Ipopt::ApplicationReturnStatus status) {
  switch (status) {
    case ::Ipopt::Solve_Succeeded:
      return QpStatus::solved;
    case ::Ipopt::Solved_To_Acceptable_Level:
      return QpStatus::reduced_accuracy;
    case ::Ipopt::Infeasible_Problem_Detected:
      return QpStatus::infeasible;
    case ::Ipopt::Diverging_Iterates:
      return QpStatus::unbounded;
    default:
      return QpStatus::failed;
  }
}

}  // namespace detail

/// Ipopt 3 (Waechter and Biegler, "On the implementation of an interior-point filter line-search algorithm
/// for large-scale nonlinear programming", Math. Program. 106, 2006), told that all is linear or quadratic.
/// It prints nothing and reads no file. It may be called from several threads, which take turns. Bounds of
/// 1e19 and more count as infinite. That a programme is infeasible is what its restoration phase concludes
/// from a least violation that is not zero, within its rounding.
class IpoptSolver {
 public:
  /// @throws InvalidOption.
  explicit IpoptSolver(const IpoptOptions& options = {}) : options_(options) { validate(options); }

  /// Solves a programme.
  /// @throws what `validate(problem)` throws; InvalidOption for more than 2^31 - 1 variables, rows or
  /// entries.
  QpSolution operator()(const QpProblem& problem) const {
    validate(problem);
    detail::require_countable(problem.variables.size(), "variables");
    detail::require_countable(problem.rows.size(), "rows");
    detail::require_countable(problem.matrix.size(), "matrix");
    detail::require_countable(problem.curvature.size(), "curvature");
    QpSolution solution;
    const std::scoped_lock lock(detail::ipopt_mutex());
    const ::Ipopt::SmartPtr<::Ipopt::IpoptApplication> application =
        new ::Ipopt::IpoptApplication(false, false);
    const auto set = [&](const char* name, const auto& value) {
      application->Options()->SetStringValue(name, value);
    };
    set("sb", "yes");
    set("hessian_constant", "yes");
    set("jac_c_constant", "yes");
    set("jac_d_constant", "yes");
    set("mu_strategy", "adaptive");
    application->Options()->SetNumericValue("tol", options_.tolerance);
    application->Options()->SetNumericValue("bound_relax_factor", 0);
    application->Options()->SetNumericValue("compl_inf_tol", 10 * options_.tolerance);
    application->Options()->SetIntegerValue("print_level", 0);
    application->Options()->SetIntegerValue("max_iter", options_.max_iterations);
    application->Initialize("");
    solution.status =
        detail::ipopt_status(application->OptimizeTNLP(new detail::IpoptProgramme(problem, solution)));
    return solution;
  }

 private:
  IpoptOptions options_;
};

}  // namespace metalqr::inline METALQR_ABI::synthesis
