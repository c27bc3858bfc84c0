#pragma once

/// @file
/// Discrete Lyapunov equations of large order with a right-hand side of low rank.

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/check.hpp>
#include <metalqr/core/error.hpp>
#include <metalqr/core/status.hpp>
#include <metalqr/equations/linear_operator.hpp>
#include <metalqr/equations/low_rank.hpp>
#include <metalqr/equations/low_rank_residual.hpp>

namespace metalqr::inline METALQR_ABI {

/// When the low-rank Smith iteration ends.
struct LowRankOptions {
  /// What the bound of the normalised residual must not exceed for `Status::converged`.
  double tolerance = 1e-10;
  /// Size relative to the solution at which terms and directions are left out (at least a few epsilon).
  double truncation = 1e-15;
  /// Cap on the number of terms, that is of products of F with a block.
  int max_terms = 20000;
  /// Cap on the number of columns of the factor.
  Index max_rank = 1000;
};

/// A low-rank solution Z Z' of a Lyapunov equation, with the facts about how it was found.
template <MatrixBackend Backend>
struct LowRankSolution {
  typename Backend::Matrix factor;  ///< Z (n x rank); meaningless if `status` is unstable
  Index rank = 0;                   ///< number of columns of Z
  /// normalised residual and its proved bound; +infinity if unstable
  LowRankResidual<typename Backend::Scalar> residual{};
  int terms = 0;      ///< products of F with a block that the sum took
  Index columns = 0;  ///< columns that F was applied to in all, those of the residual included
  /// converged (the bound meets the tolerance), unstable (the terms overflow), iteration_limit (`max_terms`),
  /// or stalled (`max_rank`, or a tolerance that rounding or truncation do not allow)
  Status status = Status::iteration_limit;
};

namespace detail {

inline void check_low_rank_options(const LowRankOptions& options) {
  require_option(options.tolerance > 0 && options.tolerance < 1, "tolerance", options.tolerance,
                 "a number between 0 and 1");
  require_option(options.truncation > 0 && options.truncation < 1, "truncation", options.truncation,
                 "a number between 0 and 1");
  require_option(options.max_terms >= 0, "max_terms", options.max_terms, "a number that is not negative");
  require_option(options.max_rank >= 1, "max_rank", static_cast<double>(options.max_rank),
                 "a positive number");
}

/// V -> F V; of one type for all operators, so that the sum is compiled once.
template <MatrixBackend Backend>
using Products = std::function<typename Backend::Matrix(const typename Backend::Matrix&)>;

/// The sum of F^t C C'F'^t for t = 0, 1, ... as Z Z', with `apply(V)` = F V.
template <MatrixBackend Backend>
class LowRankSum {
 public:
  using Scalar = typename Backend::Scalar;
  using Matrix = typename Backend::Matrix;

  LowRankSum(const Products<Backend>& apply, const Matrix& C, const LowRankOptions& options)
      : apply_(&apply),
        level_(std::max(static_cast<Scalar>(options.truncation), Backend::epsilon())),
        factor_(Backend::zero_matrix(Backend::rows(C), 0)),
        norm_(norm_of_square<Backend>(C)) {
    Matrix V = compressed<Backend>(C, Scalar(0));
    status_ = Status::converged;
    for (;;) {
      V = collected(std::move(V));
      // The terms that follow are those of the residual V V'.
      const Scalar size = Backend::norm(V);
      if (!(size * size > share(1) * norm_)) break;
      if (terms_ >= options.max_terms) status_ = Status::iteration_limit;
      if (Backend::cols(factor_) > options.max_rank) status_ = Status::stalled;
      if (status_ != Status::converged) break;
      V = moved(V, size);
      if (status_ == Status::unstable) return;
    }
    if (!blocks_.empty()) absorb();
  }

  /// Z.
  const Matrix& factor() const { return factor_; }
  /// Products of F with a block.
  int terms() const { return terms_; }
  /// Columns of those blocks in all.
  Index columns() const { return columns_; }
  /// How the sum ended.
  Status status() const { return status_; }

 private:
  // What may be left out relative to the solution at the `part`-th of many places: half the level or so in
  // all.
  Scalar share(int part) const { return level_ / (Scalar(16) * static_cast<Scalar>(part)); }

  Matrix moved(const Matrix& V, const Scalar& size) {
    ++terms_;
    columns_ += Backend::cols(V);
    Matrix next = (*apply_)(V);
    require_shape<Backend>(next, Backend::rows(V), Backend::cols(V), "F V");
    // Squares and their sums must not overflow either.
    const Scalar largest = std::numeric_limits<Scalar>::max() * Backend::epsilon();
    const Scalar next_size = Backend::norm(next);
    if (next_size * next_size < largest) return next;
    if (size * Backend::epsilon() < Scalar(1)) require_finite<Backend>(next, "F V");
    status_ = Status::unstable;
    return next;
  }

  // Adds the term V; gives what of V has still to be moved.
  Matrix collected(Matrix V) {
    blocks_.push_back(V);
    pending_ += Backend::cols(V);
    // With about twice as many new columns as old the cost of each new one is least.
    if (pending_ < std::max({2 * Backend::cols(factor_), 4 * Backend::cols(V), Index(16)})) return V;
    absorb();
    return compressed<Backend>(V, share(compressions_ + 1) * norm_);
  }
  void absorb() {
    ++compressions_;
    blocks_.push_back(std::move(factor_));
    const Matrix all = side_by_side<Backend>(blocks_);
    blocks_.clear();
    pending_ = 0;
    factor_ = compressed<Backend>(all, share(compressions_ + 1) * norm_);
    norm_ = norm_of_square<Backend>(factor_);
  }

  const Products<Backend>* apply_;
  Scalar level_;
  Matrix factor_;
  Scalar norm_;  // of Z Z'
  std::vector<Matrix> blocks_;
  Index pending_ = 0;
  int compressions_ = 0;
  int terms_ = 0;
  Index columns_ = 0;
  Status status_ = Status::iteration_limit;
};

/// X = C C' + F X F' for `apply(V)` = F V and a finite C (n x r).
template <MatrixBackend Backend>
LowRankSolution<Backend> sum_low_rank(const Products<Backend>& apply, const typename Backend::Matrix& C,
                                      const typename Backend::Scalar& rounding,
                                      const LowRankOptions& options) {
  using Scalar = typename Backend::Scalar;
  using Matrix = typename Backend::Matrix;
  check_low_rank_options(options);
  const Scalar largest = Backend::max_abs(C);
  if (!(largest > Scalar(0))) {
    return {.factor = Backend::zero_matrix(Backend::rows(C), 0), .status = Status::converged};
  }
  const Matrix scaled = C / largest;
  const LowRankSum<Backend> sum(apply, scaled, options);
  const Matrix& Z = sum.factor();
  LowRankSolution<Backend> solution{.factor = largest * Z,
                                    .rank = Backend::cols(Z),
                                    .terms = sum.terms(),
                                    .columns = sum.columns(),
                                    .status = sum.status()};
  if (sum.status() == Status::unstable || !Backend::is_finite(solution.factor)) {
    solution.status = Status::unstable;
    solution.residual.value = solution.residual.bound = std::numeric_limits<Scalar>::infinity();
    return solution;
  }
  const Matrix FZ = apply(Z);
  solution.columns += Backend::cols(Z);
  solution.residual = low_rank_residual<Backend>(scaled, FZ, Z, rounding);
  const bool met = solution.residual.bound <= static_cast<Scalar>(options.tolerance);
  if (met) solution.status = Status::converged;
  if (!met && solution.status == Status::converged) solution.status = Status::stalled;
  return solution;
}

}  // namespace detail

/// Solves P = C'C + F'PF for C (r x n) with few rows and F of any large order as P = Z Z'. See
/// `solve_low_rank_lyapunov_adjoint`, of which it is the transposed form.
/// @throws DimensionMismatch, NotFinite for a bad C or a bad product F'V; InvalidOption.
template <MatrixBackend Backend, LinearOperator<Backend> Operator>
LowRankSolution<Backend> solve_low_rank_lyapunov(const Operator& F,
                                                 const std::type_identity_t<typename Backend::Matrix>& C,
                                                 const LowRankOptions& options = {}) {
  using Matrix = typename Backend::Matrix;
  detail::require_shape<Backend>(C, Backend::rows(C), F.size(), "C");
  detail::require_finite<Backend>(C, "C");
  return detail::sum_low_rank<Backend>([&F](const Matrix& V) -> Matrix { return F.apply_transposed(V); },
                                       Backend::transpose(C), detail::rounding_of<Backend>(F), options);
}

/// Solves X = C C' + F X F' for C (n x r) with few columns and F of any large order as X = Z Z', where Z has
/// as many columns as X has eigenvalues above the truncation level.
///
/// Smith's sum (SIAM J. Appl. Math. 16, 1968) in low-rank form (Penzl, SIAM J. Sci. Comput. 21, 2000), with
/// the columns F^t C compressed whenever they are twice as many as those of Z. Each term is one product of F
/// with at most r columns. Doubling, Z <- [Z, F^(2^k) Z], which is best for a matrix that can be squared,
/// would apply an operator 2^k times to all the columns of Z and so never needs fewer products.
/// Terms: about 18 / |log rho(F)| at the default truncation, that is 170 at a spectral radius of 0.9 and
/// 18000 at 0.999, beyond which other methods are better; plus one product with Z for the residual.
/// Other operations: about 8 n k for each of the columns F^t C, 20 n (r + 2k)^2 for the residual; memory for
/// about n (6 k + 2 r) numbers.
///
/// `Status::converged` says that the residual is proved to be small; see `low_rank_residual`. It proves
/// neither that rho(F) < 1, since modes which C does not excite leave no trace, nor an error: that is
/// |X - Z Z'|_F <= |residual|_F (sum over t of |F^t|_2^2), in which the sum is the caller's to know
/// (1 / (1 - q^2) if |F|_2 <= q < 1). Where rho(F) >= 1 is excited the sum ends as `unstable` by overflow or
/// at `max_terms`.
/// @throws DimensionMismatch, NotFinite for a bad C or a bad product F V; InvalidOption.
template <MatrixBackend Backend, LinearOperator<Backend> Operator>
LowRankSolution<Backend> solve_low_rank_lyapunov_adjoint(
    const Operator& F, const std::type_identity_t<typename Backend::Matrix>& C,
    const LowRankOptions& options = {}) {
  using Matrix = typename Backend::Matrix;
  detail::require_shape<Backend>(C, F.size(), Backend::cols(C), "C");
  detail::require_finite<Backend>(C, "C");
  return detail::sum_low_rank<Backend>([&F](const Matrix& V) -> Matrix { return F.apply(V); }, C,
                                       detail::rounding_of<Backend>(F), options);
}

}  // namespace metalqr::inline METALQR_ABI
