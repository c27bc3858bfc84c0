#pragma once

/// @file
/// The discrete Lyapunov equation P = Q + F'PF and its adjoint, by doubling.

#include <limits>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/error.hpp>
#include <metalqr/equations/spectral.hpp>

namespace metalqr::inline METALQR_ABI {

/// Normalised residual |Q + F'PF - P|_F / (|Q|_F + |F'PF|_F + |P|_F): a few epsilon for a backward stable
/// answer; zero if all terms are zero.
template <MatrixBackend Backend>
typename Backend::Scalar lyapunov_residual(const std::type_identity_t<typename Backend::StateMatrix>& F,
                                           const std::type_identity_t<typename Backend::StateMatrix>& Q,
                                           const std::type_identity_t<typename Backend::StateMatrix>& P) {
  using Scalar = typename Backend::Scalar;
  const typename Backend::StateMatrix moved = Backend::congruence(F, P);
  const typename Backend::StateMatrix defect = Q + moved - P;
  const Scalar scale = Backend::norm(Q) + Backend::norm(moved) + Backend::norm(P);
  return scale > Scalar(0) ? Backend::norm(defect) / scale : Scalar(0);
}

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
  explicit DiscreteLyapunov(StateMatrix F) : F_(std::move(F)) {
    report_ = visit_powers<Backend>(F_, [this](const StateMatrix& power) { powers_.push_back(power); });
    report_.status = detail::decided<Backend>(report_, F_);
  }

  /// The matrix that the equations belong to.
  const StateMatrix& F() const noexcept { return F_; }
  /// `converged` if rho(F) < 1 was proved; `unstable`, or `inconclusive` right at the limit, otherwise.
  Status status() const noexcept { return report_.status; }
  /// Whether rho(F) < 1 was proved, so that `solve` works.
  bool is_stable() const noexcept { return report_.status == Status::converged; }
  /// Number of powers of F that a solution needs.
  int doublings() const noexcept { return report_.doublings; }

  /// The P with P = Q + F'PF; Q may be any n x n matrix.
  /// @throws NotStabilizing if F is not stable.
  StateMatrix solve(const std::type_identity_t<StateMatrix>& Q) const {
    require_stable();
    StateMatrix P = Q;
    for (const StateMatrix& power : powers_) P += Backend::congruence(power, P);
    return P;
  }

  /// The Sigma with Sigma = W + F Sigma F'; W may be any n x n matrix.
  /// @throws NotStabilizing if F is not stable.
  StateMatrix solve_adjoint(const std::type_identity_t<StateMatrix>& W) const {
    require_stable();
    StateMatrix Sigma = W;
    for (const StateMatrix& power : powers_) Sigma += Backend::outer_congruence(power, Sigma);
    return Sigma;
  }

 private:
  void require_stable() const {
    if (is_stable()) return;
    const double radius = Backend::is_finite(F_) ? Backend::to_double(spectral_radius<Backend>(F_))
                                                 : std::numeric_limits<double>::infinity();
    throw NotStabilizing(
        "F: expected spectral radius below 1, got " + detail::text(radius) +
            (report_.status == Status::inconclusive ? " (too close to 1 to be decided)" : ""),
        radius);
  }

  StateMatrix F_;
  std::vector<StateMatrix> powers_;
  PowerReport<Scalar> report_;
};

/// A solution of a matrix equation with the facts about how it was found.
template <MatrixBackend Backend>
struct LyapunovSolution {
  typename Backend::StateMatrix value;  ///< P, symmetric if Q is; meaningless unless `status` is converged
  typename Backend::Scalar residual{};  ///< see `lyapunov_residual`; +infinity unless converged
  int iterations = 0;                   ///< doublings
  Status status = Status::iteration_limit;  ///< converged, unstable or inconclusive
};

/// Solves P = Q + F'PF for one right-hand side, by doubling, without keeping the powers of F. Does not throw:
/// see `status`.
template <MatrixBackend Backend>
LyapunovSolution<Backend> solve_lyapunov(const std::type_identity_t<typename Backend::StateMatrix>& F,
                                         const std::type_identity_t<typename Backend::StateMatrix>& Q) {
  using StateMatrix = typename Backend::StateMatrix;
  LyapunovSolution<Backend> solution{.value = Q};
  const auto report = visit_powers<Backend>(
      F, [&](const StateMatrix& power) { solution.value += Backend::congruence(power, solution.value); });
  solution.iterations = report.doublings;
  solution.status = detail::decided<Backend>(report, F);
  solution.residual = solution.status == Status::converged
                          ? lyapunov_residual<Backend>(F, Q, solution.value)
                          : std::numeric_limits<typename Backend::Scalar>::infinity();
  return solution;
}

}  // namespace metalqr::inline METALQR_ABI
