#pragma once

/// @file
/// Quasi-Newton directions from the memory of a descent.

#include <cstddef>
#include <vector>

#include <metalqr/core/backend.hpp>

namespace metalqr::inline METALQR_ABI {

/// Difference of two iterates and of their gradients, which quasi-Newton steps learn from.
template <MatrixBackend Backend>
struct CurvaturePair {
  typename Backend::Gain step;    ///< K' - K
  typename Backend::Gain change;  ///< G(K') - G(K)
};

namespace detail {

/// H G with H the BFGS approximation of the inverse Hessian (Nocedal and Wright, Numerical Optimization, 2nd
/// ed., algorithm 7.4).
template <MatrixBackend Backend>
typename Backend::Gain quasi_newton_direction(const std::vector<CurvaturePair<Backend>>& pairs,
                                              const typename Backend::Gain& G) {
  using Scalar = typename Backend::Scalar;
  typename Backend::Gain q = G;
  std::vector<Scalar> alpha(pairs.size());
  for (std::size_t i = pairs.size(); i-- > 0;) {
    const auto& [s, y] = pairs[i];
    alpha[i] = Backend::inner(s, q) / Backend::inner(s, y);
    q -= alpha[i] * y;
  }
  const auto& newest = pairs.back();
  q = (Backend::inner(newest.step, newest.change) / Backend::inner(newest.change, newest.change)) * q;
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    const auto& [s, y] = pairs[i];
    q += (alpha[i] - Backend::inner(y, q) / Backend::inner(s, y)) * s;
  }
  return q;
}

/// Stores the pair as the newest of at most `memory` if it has positive curvature, clearly above rounding;
/// returns whether it did.
template <MatrixBackend Backend>
bool store_pair(std::vector<CurvaturePair<Backend>>& pairs, const CurvaturePair<Backend>& pair, int memory) {
  using Scalar = typename Backend::Scalar;
  const Scalar threshold = static_cast<Scalar>(1e-6) * Backend::norm(pair.step) * Backend::norm(pair.change);
  if (!(Backend::inner(pair.step, pair.change) > threshold)) return false;
  if (pairs.size() == static_cast<std::size_t>(memory)) pairs.erase(pairs.begin());
  pairs.push_back(pair);
  return true;
}

}  // namespace detail
}  // namespace metalqr::inline METALQR_ABI
