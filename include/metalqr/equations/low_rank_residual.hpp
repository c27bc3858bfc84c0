#pragma once

/// @file
/// The residual of a low-rank solution of the discrete Lyapunov equation, with a proved bound.

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <metalqr/core/backend.hpp>
#include <metalqr/equations/low_rank.hpp>

namespace metalqr::inline METALQR_ABI {

/// The normalised residual |C C' + F Z Z'F' - Z Z'|_F / (|C C'|_F + |F Z Z'F'|_F + |Z Z'|_F) of a factor Z.
template <class Scalar>
struct LowRankResidual {
  Scalar value{};  ///< as computed; +infinity if C, F Z or Z has a NaN or infinite entry
  Scalar bound{};  ///< proved upper bound of the exact one; not below `value`
};

namespace detail {

/// The product X Y of inner dimension m as a sum of products of inner dimension `block_size`: with ceil(m /
/// block_size) of them |fl(XY) - XY| <= `terms` epsilon |X||Y| entry by entry, for terms = block_size plus
/// their number, much less than m.
template <MatrixBackend Backend>
struct BlockedProduct {
  typename Backend::Matrix value;
  Index terms;
};
template <MatrixBackend Backend>
BlockedProduct<Backend> blocked_product(const typename Backend::Matrix& X,
                                        const typename Backend::Matrix& Y) {
  using Matrix = typename Backend::Matrix;
  constexpr Index block_size = 32;
  const Index m = Backend::cols(X);
  BlockedProduct<Backend> sum{Backend::zero_matrix(Backend::rows(X), Backend::cols(Y)), block_size};
  const Matrix transposed = Backend::transpose(Y);
  for (Index first = 0; first < m; first += block_size) {
    std::vector<Index> block;
    for (Index j = first; j < std::min(first + block_size, m); ++j) block.push_back(j);
    sum.value +=
        Backend::product_transpose(columns_of<Backend>(X, block), columns_of<Backend>(transposed, block));
    ++sum.terms;
  }
  return sum;
}

}  // namespace detail

/// The residual of X = C C' + F X F' at X = Z Z', for C (n x r), Z (n x k) and FZ, the product F Z; nothing
/// of size n x n is formed: about 20 n (r + 2k)^2 operations.
///
/// With Y = [C, F Z, Z] and D = diag(I, I, -I) the residual is Y D Y'. Y = Q S + E with nearly orthonormal Q
/// gives |Y D Y'|_F <= |Q|_2^2 |S D S'|_F + 2 |Q|_2 |S|_F |E|_F + |E|_F^2. Nothing is taken for granted of Q
/// and S: |Q|_2^2 <= 1 + |Q'Q - I|_F and E are computed, with the errors of products of inner dimension m,
/// |fl(XY) - XY| <= m epsilon |X||Y| entry by entry (Higham, Accuracy and Stability of Numerical Algorithms,
/// 2nd ed., section 3.5), as far as neither overflow nor underflow occurs. Of the rounding in the product F Z
/// itself the bound covers `rounding` |Z|_F + epsilon |FZ|_F if `rounding` is positive, and nothing if it is
/// zero; see `LinearOperator`.
template <MatrixBackend Backend>
LowRankResidual<typename Backend::Scalar> low_rank_residual(const typename Backend::Matrix& C,
                                                            const typename Backend::Matrix& FZ,
                                                            const typename Backend::Matrix& Z,
                                                            const typename Backend::Scalar& rounding) {
  using std::sqrt;
  using Scalar = typename Backend::Scalar;
  using Matrix = typename Backend::Matrix;
  const Index n = Backend::rows(C);
  const Scalar epsilon = Backend::epsilon();
  const Scalar infinity = std::numeric_limits<Scalar>::infinity();
  // m epsilon, the relative error of a sum of m products.
  const auto unit = [&epsilon](Index m) { return static_cast<Scalar>(static_cast<double>(m)) * epsilon; };
  Matrix Y = detail::side_by_side<Backend>({C, FZ, Z});
  if (!Backend::is_finite(Y)) return {infinity, infinity};
  const Scalar largest = Backend::max_abs(Y);
  if (!(largest > Scalar(0))) return {Scalar(0), Scalar(0)};
  Y = Y / largest;
  const auto part = [&Y](Index first, Index count) {
    std::vector<Index> indices;
    for (Index j = first; j < first + count; ++j) indices.push_back(j);
    return detail::columns_of<Backend>(Y, indices);
  };
  const Matrix moved = part(Backend::cols(C), Backend::cols(FZ));
  const Matrix own = part(Backend::cols(C) + Backend::cols(FZ), Backend::cols(Z));
  const Scalar scale = detail::norm_of_square<Backend>(part(0, Backend::cols(C))) +
                       detail::norm_of_square<Backend>(moved) + detail::norm_of_square<Backend>(own);

  const Matrix Q = detail::orthonormal_basis<Backend>(Y);
  const Matrix S = Backend::transpose_product(Q, Y);
  const Matrix S_transposed = Backend::transpose(S);
  Matrix signed_S = S;
  for (Index j = Backend::cols(C) + Backend::cols(FZ); j < Backend::cols(S); ++j) {
    for (Index i = 0; i < Backend::rows(S); ++i) signed_S(i, j) = -S(i, j);
  }
  const auto core = detail::blocked_product<Backend>(signed_S, S_transposed);
  const auto QS = detail::blocked_product<Backend>(Q, S);
  const Matrix E = Y - QS.value;
  const Matrix gram = Backend::transpose_product(Q, Q);
  const Matrix defect = gram - Backend::identity_like(gram);

  const Scalar size_Q = Backend::norm(Q);
  const Scalar size_S = Backend::norm(S);
  const Scalar bound_core = Backend::norm(core.value) + unit(core.terms) * size_S * size_S;
  const Scalar square_Q = Scalar(1) + Backend::norm(defect) + unit(n + 1) * size_Q * size_Q;
  // ||Q||S||_F is at most the sum of |q_i||s_i| for the columns q_i of Q and the rows s_i of S.
  const auto columns = detail::column_norms<Backend>(Q);
  const auto rows = detail::column_norms<Backend>(S_transposed);
  Scalar product_size(0);
  for (std::size_t i = 0; i < columns.size(); ++i) product_size += columns[i] * rows[i];
  const Scalar bound_E = (Scalar(1) + epsilon) * Backend::norm(E) + unit(QS.terms + 1) * product_size;
  Scalar bound = square_Q * bound_core + Scalar(2) * sqrt(square_Q) * size_S * bound_E + bound_E * bound_E;
  if (rounding > Scalar(0)) {
    const Scalar size = Backend::norm(moved);
    const Scalar error = rounding * Backend::norm(own) + epsilon * size;
    bound += (Scalar(2) * size + error) * error;
  }
  // Norms, scaling and scale are sums of at most n cols(Y) terms each.
  const Scalar inflation = Scalar(1) + unit(8 * (n + 4) * (Backend::cols(Y) + 4));
  const Matrix cross = Backend::product_transpose(E, signed_S);
  const Scalar value = (Backend::norm(core.value) + Scalar(2) * Backend::norm(cross)) / scale;
  return {value, bound * inflation / scale};
}

}  // namespace metalqr::inline METALQR_ABI
