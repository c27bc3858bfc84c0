#pragma once

/// @file
/// The H-infinity level of finite responses.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include <metalqr/core/backend.hpp>
#include <metalqr/equations/spectral_norm.hpp>

namespace metalqr::inline METALQR_ABI::synthesis::detail {

/// |sum over k of [x Phi_x(k); y Phi_u(k)] z^-k| in H-infinity: the largest gain over 8 L + 1 frequencies
/// and, around those whose neighbours are not above them, by golden section. A square of a gain is at most a
/// trigonometric polynomial of degree L - 1, whose maximum is no more than 1 / cos(pi / 16) times that on the
/// grid.
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
  const double pi = std::acos(-1.0);
  const std::size_t intervals = 8 * state_response.size();
  const double step = pi / static_cast<double>(intervals);
  std::vector<double> gains;
  for (std::size_t i = 0; i <= intervals; ++i) gains.push_back(gain(step * static_cast<double>(i)));
  double largest = *std::max_element(gains.begin(), gains.end());
  const double worth = largest * std::cos(pi / 16);
  const double ratio = (std::sqrt(5.0) - 1) / 2;
  for (std::size_t i = 0; i <= intervals; ++i) {
    const bool valley = (i > 0 && gains[i - 1] > gains[i]) || (i < intervals && gains[i + 1] > gains[i]);
    if (valley || gains[i] < worth) continue;
    double a = step * (static_cast<double>(i) - 1);
    double b = step * (static_cast<double>(i) + 1);
    double left = b - ratio * (b - a);
    double right = a + ratio * (b - a);
    double at_left = gain(left);
    double at_right = gain(right);
    while (b - a > 1e-5 * step) {
      if (at_right > at_left) {
        a = left;
        left = right;
        at_left = at_right;
        right = a + ratio * (b - a);
        at_right = gain(right);
      } else {
        b = right;
        right = left;
        at_right = at_left;
        left = b - ratio * (b - a);
        at_left = gain(left);
      }
    }
    largest = std::max({largest, at_left, at_right});
  }
  return largest;
}

}  // namespace metalqr::inline METALQR_ABI::synthesis::detail
