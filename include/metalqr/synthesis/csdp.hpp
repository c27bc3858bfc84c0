#pragma once

/// @file
/// The semidefinite solver CSDP as an `SdpSolver`. Needs its library (CMake component `sdp`; Debian:
/// libsdp-dev); no other header of the library includes this one.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <mutex>
#include <vector>

#include <csdp/declarations.h>

#include <metalqr/core/error.hpp>
#include <metalqr/synthesis/csdp_data.hpp>
#include <metalqr/synthesis/sdp.hpp>

namespace metalqr::inline METALQR_ABI::synthesis {

/// How `Csdp` works.
struct CsdpOptions {
  double tolerance = 1e-9;   ///< of the relative infeasibilities and of the relative gap, in (0, 1)
  int max_iterations = 100;  ///< cap on its iterations
};

/// Checks options.
/// @throws InvalidOption.
inline void validate(const CsdpOptions& options) {
  metalqr::detail::require_option(options.tolerance > 0 && options.tolerance < 1, "tolerance",
                                  options.tolerance, "a number in (0, 1)");
  metalqr::detail::require_option(options.max_iterations >= 1, "max_iterations", options.max_iterations,
                                  "at least 1");
}

namespace detail {

/// CSDP keeps working memory in a static variable.
inline std::mutex& csdp_mutex() {
  static std::mutex mutex;
  return mutex;
}

inline SdpStatus csdp_status(int code) {
  constexpr SdpStatus meanings[] = {SdpStatus::solved, SdpStatus::primal_infeasible,
                                    SdpStatus::dual_infeasible, SdpStatus::reduced_accuracy};
  return code >= 0 && code <= 3 ? meanings[code] : SdpStatus::failed;
}

}  // namespace detail

/// CSDP 6.2 (Borchers, "CSDP, a C library for semidefinite programming", Optim. Methods Softw. 11, 1999): a
/// primal-dual predictor-corrector method for small and middling programmes. One solution takes some fifteen
/// to twenty iterations of O(m^3 + m^2 n^2 + m n^3) at most, with m constraints and blocks of order n. It
/// prints nothing and reads no file. It may be called from several threads, which take turns.
class Csdp {
 public:
  /// Most constraints and the largest block that its integers can count.
  static constexpr Index max_size = 46339;

  /// @throws InvalidOption.
  explicit Csdp(const CsdpOptions& options = {}) : options_(options) { validate(options); }

  /// Solves a programme.
  /// @throws what `validate(problem)` throws; InvalidOption for a matrix whose entries cancel, or a programme
  /// above `max_size`.
  SdpSolution operator()(const SdpProblem& problem) const;

 private:
  CsdpOptions options_;
};

inline SdpSolution Csdp::operator()(const SdpProblem& problem) const {
  validate(problem);
  Index total = 0;
  for (const Index order : problem.blocks) {
    total += order;
    metalqr::detail::require_option(order <= max_size && total <= 1'000'000, "blocks",
                                    static_cast<double>(order), "orders of at most 46339, 1e6 in all");
  }
  const auto m = static_cast<Index>(problem.constraints.size());
  metalqr::detail::require_option(m <= max_size, "constraints", static_cast<double>(m), "at most 46339");

  using detail::CsdpMatrix;
  detail::CsdpConstraints constraints(problem);
  CsdpMatrix C(problem.blocks, MATRIX);
  std::vector<SdpEntry> merged;
  detail::CsdpConstraints::merge(problem.objective, merged);
  for (const SdpEntry& entry : merged) {
    double* block = C.block(static_cast<std::size_t>(entry.block));
    const Index order = problem.blocks[static_cast<std::size_t>(entry.block)];
    block[entry.row * order + entry.column] = block[entry.column * order + entry.row] = entry.value;
  }
  detail::CsdpFill fill(problem, constraints, C);

  // The starting point is a multiple of the identity, scaled as CSDP's driver does (section 3 of its guide).
  const auto n = static_cast<double>(total);
  double right_scale = 0;
  double size = 0;
  std::vector<double> a(1, 0.0);
  for (std::size_t i = 0; i < problem.constraints.size(); ++i) {
    const double norm = constraints.norms()[i];
    a.push_back(problem.constraints[i].right);
    right_scale = std::max(right_scale, (1 + std::abs(a.back())) / (1 + norm));
    size = std::max(size, norm);
  }
  double objective_squares = 0;
  for (const double value : C.numbers()) objective_squares += value * value;
  CsdpMatrix X(problem.blocks, MATRIX);
  CsdpMatrix Z(problem.blocks, MATRIX);
  X.add_to_diagonal(10 * n * right_scale);
  Z.add_to_diagonal(10 * (1 + std::max(size, std::sqrt(objective_squares))) / std::sqrt(n));

  CsdpMatrix full[] = {{problem.blocks, MATRIX}, {problem.blocks, MATRIX}, {problem.blocks, MATRIX},
                       {problem.blocks, MATRIX}, {problem.blocks, MATRIX}, {problem.blocks, MATRIX}};
  CsdpMatrix packed[] = {{problem.blocks, PACKEDMATRIX},
                         {problem.blocks, PACKEDMATRIX},
                         {problem.blocks, PACKEDMATRIX},
                         {problem.blocks, PACKEDMATRIX}};
  const auto length = static_cast<std::size_t>(std::max(total, m)) + 1;
  std::vector<double> work(15 * length, 0.0);
  const auto vector = [&](std::size_t i) { return work.data() + i * length; };
  const auto stride = static_cast<std::size_t>(m % 2 == 0 ? m + 1 : m);
  std::vector<double> schur(stride * stride);

  const paramstruc parameters{.axtol = options_.tolerance,
                              .atytol = options_.tolerance,
                              .objtol = options_.tolerance,
                              .pinftol = 1e8,
                              .dinftol = 1e8,
                              .maxiter = options_.max_iterations,
                              .minstepfrac = 0.9,
                              .maxstepfrac = 0.97,
                              .minstepp = 1e-8,
                              .minstepd = 1e-8,
                              .usexzgap = 1,
                              .tweakgap = 0,
                              .affine = 0,
                              .perturbobj = 0,  // perturbing costs digits of the objective and wins nothing
                              .fastmode = 0};
  SdpSolution solution;
  int code = 0;
  {
    const std::scoped_lock lock(detail::csdp_mutex());
    code = sdp(static_cast<int>(total), static_cast<int>(m), C.view(), a.data(), 0.0, constraints.heads(),
               constraints.by_block(), fill.view(), X.view(), vector(0), Z.view(), packed[0].view(),
               packed[1].view(), &solution.primal_objective, &solution.dual_objective, full[0].view(),
               full[1].view(), full[2].view(), vector(1), vector(2), vector(3), vector(4), vector(5),
               vector(6), vector(7), vector(8), vector(9), packed[2].view(), vector(10), packed[3].view(),
               full[3].view(), schur.data(), vector(11), full[4].view(), full[5].view(), vector(12),
               vector(13), vector(14), 0, parameters);
  }
  solution.status = detail::csdp_status(code);
  solution.X = X.copy();
  solution.Z = Z.copy();
  solution.y.assign(vector(0) + 1, vector(0) + 1 + m);
  return solution;
}

}  // namespace metalqr::inline METALQR_ABI::synthesis
