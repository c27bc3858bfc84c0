#pragma once

/// @file
/// The discrete Lyapunov equation P = Q + F'PF and its adjoint, by doubling.

#include <limits>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/check.hpp>
#include <metalqr/core/error.hpp>
#include <metalqr/equations/residual.hpp>
#include <metalqr/equations/spectral.hpp>

namespace metalqr::inline METALQR_ABI {

/// Normalised residual |Q + F'PF - P|_F / (|Q|_F + |F'PF|_F + |P|_F): a few epsilon for a backward stable
/// answer; zero if all terms are zero, +infinity if one of them holds a NaN or infinity. All are n x n.
/// @throws DimensionMismatch.
template <MatrixBackend Backend>
typename Backend::Scalar lyapunov_residual(const std::type_identity_t<typename Backend::StateMatrix>& F,
                                           const std::type_identity_t<typename Backend::StateMatrix>& Q,
                                           const std::type_identity_t<typename Backend::StateMatrix>& P) {
  const Index n = Backend::rows(F);
  detail::require_shape<Backend>(F, n, n, "F");
  detail::require_shape<Backend>(Q, n, n, "Q");
  detail::require_shape<Backend>(P, n, n, "P");
  const typename Backend::StateMatrix moved = Backend::congruence(F, P);
  const typename Backend::StateMatrix defect = Q + moved - P;
  return detail::normalised_residual<Backend>(defect, Q, moved, P);
}

namespace detail {

template <MatrixBackend Backend>
bool is_symmetric(const typename Backend::StateMatrix& X) {
  for (Index j = 0; j < Backend::cols(X); ++j) {
    for (Index i = 0; i < j; ++i) {
      if (X(i, j) != X(j, i)) return false;
    }
  }
  return true;
}

/// P = Q + F'QF + (F^2)'Q F^2 + ..., or with `adjoint` Q + F Q F' + ..., from the powers of F that `visit`
/// passes to a function; Q is n x n.
template <MatrixBackend Backend, bool adjoint = false, class VisitPowers>
typename Backend::StateMatrix doubling_sum(const typename Backend::StateMatrix& Q, const VisitPowers& visit) {
  using StateMatrix = typename Backend::StateMatrix;
  StateMatrix P = Q;
  StateMatrix work;
  const bool symmetric = is_symmetric<Backend>(Q);
  visit([&](const StateMatrix& power) {
    if constexpr (adjoint) {
      if (symmetric) return Backend::add_outer_congruence(P, power, work);
      Backend::multiply(power, P, work);
      P += Backend::product_transpose(work, power);
    } else {
      if (symmetric) return Backend::add_congruence(P, power, work);
      Backend::multiply(P, power, work);
      P += Backend::transpose_product(power, work);
    }
  });
  return P;
}

}  // namespace detail

/// Solver of P = Q + F'PF and of Sigma = W + F Sigma F' for one stable F (n x n) and many right-hand sides.
/// Doubling (R. A. Smith, "Matrix equation XA + BX = C", SIAM J. Appl. Math. 16, 1968): with P_0 = Q,
/// P_{k+1} = P_k + (F^(2^k))' P_k F^(2^k); the powers of F are computed once and kept.
/// Cost: k products for the powers, 2 k for each right-hand side, k about log2(36 / (1 - rho)) in double.
template <MatrixBackend Backend>
class DiscreteLyapunov {
 public:
  using Scalar = typename Backend::Scalar;            ///< number type
  using StateMatrix = typename Backend::StateMatrix;  ///< n x n

  /// Computes the powers of F; see `status()` for whether the equations can be solved.
  /// @throws DimensionMismatch unless F is square.
  explicit DiscreteLyapunov(StateMatrix F) : F_(std::move(F)) {
    detail::require_shape<Backend>(F_, Backend::rows(F_), Backend::rows(F_), "F");
    report_ = detail::settled<Backend>(
        visit_powers<Backend>(F_, [this](const StateMatrix& power) { powers_.push_back(power); }), F_);
  }

  /// The matrix that the equations belong to.
  const StateMatrix& F() const noexcept { return F_; }
  /// `converged` if rho(F) < 1 was proved; `unstable`, or `inconclusive` right at the limit, otherwise.
  Status status() const noexcept { return report_.status(); }
  /// Whether rho(F) < 1 was proved, so that `solve` works.
  bool is_stable() const noexcept { return report_.converged(); }
  /// Number of powers of F that a solution needs.
  int doublings() const noexcept { return report_.doublings; }

  /// The P with P = Q + F'PF; Q may be any n x n matrix.
  /// @throws DimensionMismatch; NotFinite if F or Q has a NaN or infinite entry, or P overflows;
  /// NotStabilizing if F is not stable.
  StateMatrix solve(const std::type_identity_t<StateMatrix>& Q) const {
    require_solvable(Q, "Q");
    const StateMatrix P = sum(Q);
    require_solution(P, Q, "P", "Q");
    return P;
  }

  /// The Sigma with Sigma = W + F Sigma F'; W may be any n x n matrix.
  /// @throws DimensionMismatch; NotFinite if F or W has a NaN or infinite entry, or Sigma overflows;
  /// NotStabilizing if F is not stable.
  StateMatrix solve_adjoint(const std::type_identity_t<StateMatrix>& W) const {
    require_solvable(W, "W");
    const StateMatrix Sigma = adjoint_sum(W);
    require_solution(Sigma, W, "Sigma", "W");
    return Sigma;
  }

  /// What `solve` gives, without its checks, for inner loops: F must be stable and Q n x n. Not finite where
  /// Q is not, or where the sum overflows.
  StateMatrix sum(const std::type_identity_t<StateMatrix>& Q) const {
    return detail::doubling_sum<Backend>(Q, kept_powers());
  }
  /// What `solve_adjoint` gives, without its checks; see `sum`.
  StateMatrix adjoint_sum(const std::type_identity_t<StateMatrix>& W) const {
    return detail::doubling_sum<Backend, true>(W, kept_powers());
  }

 private:
  auto kept_powers() const {
    return [this](const auto& add) {
      for (const StateMatrix& power : powers_) add(power);
    };
  }
  void require_solvable(const StateMatrix& right, const char* name) const {
    detail::require_finite<Backend>(F_, "F");
    require_stable();
    detail::require_shape<Backend>(right, Backend::rows(F_), Backend::rows(F_), name);
  }
  // A NaN or infinity of the right-hand side stays in the sum, so that the solution tells of both.
  static void require_solution(const StateMatrix& solution, const StateMatrix& right, const char* name,
                               const char* right_name) {
    if (Backend::is_finite(solution)) return;
    detail::require_finite<Backend>(right, right_name);
    detail::require_finite<Backend>(solution, name);
  }
  void require_stable() const {
    if (is_stable()) return;
    const double radius = Backend::to_double(spectral_radius<Backend>(F_));
    throw NotStabilizing(
        "F: expected spectral radius below 1, got " + detail::text(radius) +
            (report_.status() == Status::inconclusive ? " (too close to 1 to be decided)" : ""),
        radius);
  }

  StateMatrix F_;
  std::vector<StateMatrix> powers_;
  PowerReport<Scalar> report_;
};

/// A solution of a matrix equation with the facts about how it was found.
template <MatrixBackend Backend>
struct LyapunovSolution {
  typename Backend::StateMatrix value;  ///< P, symmetric up to rounding if Q is; meaningless unless converged
  typename Backend::Scalar residual{};  ///< see `lyapunov_residual`; +infinity unless converged
  int iterations = 0;                   ///< doublings
  /// converged, unstable, or inconclusive (rho(F) < 1 is not decided, or P overflows)
  Status status = Status::iteration_limit;
};

/// Solves P = Q + F'PF for one right-hand side, by doubling, without keeping the powers of F; both are n x n.
/// Does not throw where there is no solution: see `status`.
/// @throws DimensionMismatch, NotFinite for a bad F or Q.
template <MatrixBackend Backend>
LyapunovSolution<Backend> solve_lyapunov(const std::type_identity_t<typename Backend::StateMatrix>& F,
                                         const std::type_identity_t<typename Backend::StateMatrix>& Q) {
  const Index n = Backend::rows(F);
  detail::require_shape<Backend>(F, n, n, "F");
  detail::require_shape<Backend>(Q, n, n, "Q");
  detail::require_finite<Backend>(F, "F");
  detail::require_finite<Backend>(Q, "Q");
  PowerReport<typename Backend::Scalar> report;
  LyapunovSolution<Backend> solution{.value = detail::doubling_sum<Backend>(Q, [&](const auto& add) {
                                       report = visit_powers<Backend>(F, add);
                                     })};
  report = detail::settled<Backend>(report, F, solution.value);
  solution.iterations = report.doublings;
  solution.status = report.status();
  if (solution.status == Status::converged && !Backend::is_finite(solution.value)) {
    solution.status = Status::inconclusive;
  }
  solution.residual = solution.status == Status::converged
                          ? lyapunov_residual<Backend>(F, Q, solution.value)
                          : std::numeric_limits<typename Backend::Scalar>::infinity();
  return solution;
}

}  // namespace metalqr::inline METALQR_ABI
