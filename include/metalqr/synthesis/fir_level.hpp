#pragma once

/// @file
/// The H-infinity level of finite responses.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>
#include <vector>

#include <metalqr/core/backend.hpp>
#include <metalqr/equations/spectral_norm.hpp>

namespace metalqr::inline METALQR_ABI::synthesis::detail {

/// A bound on the second derivative in w of |sum over k of G_k e^(-ikw) v|^2 with |v| = 1, where the columns
/// of G_k = [x Phi_x(k); y Phi_u(k)] are given: 2 sum over s of s^2 |sum over k of G_(k+s)' G_k|_F.
template <MatrixBackend Backend>
double curvature_bound(const std::vector<typename Backend::StateMatrix>& state_response,
                       const std::vector<typename Backend::Gain>& input_response, double x, double y) {
  using StateMatrix = typename Backend::StateMatrix;
  using Scalar = typename Backend::Scalar;
  double bound = 0;
  for (std::size_t shift = 1; shift < state_response.size(); ++shift) {
    StateMatrix states = Backend::zero_like(state_response.front());
    StateMatrix inputs = Backend::zero_like(state_response.front());
    for (std::size_t k = 0; k + shift < state_response.size(); ++k) {
      states += StateMatrix(Backend::transpose_product(state_response[k + shift], state_response[k]));
      inputs += StateMatrix(Backend::transpose_product(input_response[k + shift], input_response[k]));
    }
    const StateMatrix sum = static_cast<Scalar>(x * x) * states + static_cast<Scalar>(y * y) * inputs;
    const auto s = static_cast<double>(shift);
    bound += 2 * s * s * Backend::to_double(Backend::norm(sum));
  }
  return bound;
}

/// |sum over k of [x Phi_x(k); y Phi_u(k)] z^-k| in H-infinity, from above within 1e-7 relative. A square of
/// a gain is at least a trigonometric polynomial q of degree d = L - 1 that it equals at the frequency w of
/// its maximum m, and there q(v) >= m cos(d (v - w)) (M. Riesz) and q(v) >= m - c (v - w)^2 / 2 with the
/// bound c on its second derivative. So if w lies in an interval of width h, m is at most the square at its
/// higher end over cos(d h / 2), or plus c h^2 / 8. Intervals start with d h below pi / 8 and are halved
/// until none is left that could hold more. Infinity where squares overflow.
template <MatrixBackend Backend>
double fir_level(const std::vector<typename Backend::StateMatrix>& state_response,
                 const std::vector<typename Backend::Gain>& input_response, double x, double y) {
  using Scalar = typename Backend::Scalar;
  using Matrix = typename Backend::Matrix;
  const Index n = Backend::cols(input_response.front());
  const Index p = Backend::rows(input_response.front());
  Matrix G = Backend::zero_matrix(2 * (n + p), 2 * n);
  const auto gain = [&](double angle) {
    G = Backend::zero_like(G);
    for (std::size_t k = 0; k < state_response.size(); ++k) {
      // z^-1 alone has modulus one: the sum may start at z^0.
      const auto re = static_cast<Scalar>(std::cos(angle * static_cast<double>(k)));
      const auto im = static_cast<Scalar>(-std::sin(angle * static_cast<double>(k)));
      for (Index j = 0; j < n; ++j) {
        for (Index i = 0; i < n + p; ++i) {
          const Scalar value = i < n ? static_cast<Scalar>(x) * state_response[k](i, j)
                                     : static_cast<Scalar>(y) * input_response[k](i - n, j);
          G(i, j) += re * value;
          G(n + p + i, j) += im * value;
        }
      }
    }
    for (Index j = 0; j < n; ++j) {
      for (Index i = 0; i < n + p; ++i) {
        G(n + p + i, n + j) = G(i, j);
        G(i, n + j) = -G(n + p + i, j);
      }
    }
    return Backend::to_double(metalqr::spectral_norm<Backend>(G));
  };
  double largest = gain(0);
  // Gains that do not depend on the frequency.
  if (state_response.size() == 1) return largest;

  struct Interval {
    std::size_t place;   // in widths
    double left, right;  // gains at its ends
  };
  constexpr double margin = 1 + 1e-7;
  const double curvature = curvature_bound<Backend>(state_response, input_response, x, y);
  const auto degree = static_cast<double>(state_response.size() - 1);
  const std::size_t count = 8 * state_response.size();
  double width = std::acos(-1.0) / static_cast<double>(count);
  std::vector<Interval> open;
  for (std::size_t i = 0; i < count; ++i) {
    const double left = i > 0 ? open.back().right : largest;
    open.push_back({i, left, gain(width * static_cast<double>(i + 1))});
  }
  for (const Interval& interval : open) largest = std::max(largest, interval.right);
  if (!std::isfinite(largest * largest)) return std::numeric_limits<double>::infinity();
  while (!open.empty()) {
    const double factor = 1 / std::cos(degree * width / 2);
    const double addend = curvature * width * width / 8;
    std::vector<Interval> halves;
    width /= 2;
    for (const Interval& interval : open) {
      const double higher = std::max(interval.left, interval.right);
      const double most = std::sqrt(std::min(higher * higher * factor, higher * higher + addend));
      if (most <= largest * margin) continue;
      const double middle = gain(width * static_cast<double>(2 * interval.place + 1));
      if (!std::isfinite(middle * middle)) return std::numeric_limits<double>::infinity();
      largest = std::max(largest, middle);
      halves.push_back({2 * interval.place, interval.left, middle});
      halves.push_back({2 * interval.place + 1, middle, interval.right});
    }
    open = std::move(halves);
  }
  return largest * margin;
}

}  // namespace metalqr::inline METALQR_ABI::synthesis::detail
