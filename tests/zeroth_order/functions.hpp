#pragma once

/// @file
/// Functions of a gain whose derivatives are known, and statistics of estimates.

#include <cmath>
#include <cstdint>
#include <vector>

#include <metalqr/core/random.hpp>

#include "support.hpp"

namespace test {

/// f(K) = c + <G, K> + vec(K)'H vec(K)/2 with the rows of K in a row.
struct Quadratic {
  long double c = 0;
  Dense G;
  Dense H;

  long double value(const Dense& K) const {
    Dense v(K.rows * K.cols, 1);
    v.entries = K.entries;
    return c + inner(G, K) + inner(v, H * v) / 2;
  }
  Dense gradient(const Dense& K) const {
    Dense v(K.rows * K.cols, 1);
    v.entries = K.entries;
    Dense result = G;
    const Dense Hv = H * v;
    for (std::size_t i = 0; i < result.entries.size(); ++i) result.entries[i] += Hv.entries[i];
    return result;
  }
  /// As an oracle in double.
  template <class AnyBackend>
  auto oracle() const {
    return [this](const typename AnyBackend::Gain& K) {
      double sum = static_cast<double>(c);
      const Index nx = AnyBackend::cols(K);
      const Index d = H.rows;
      for (Index i = 0; i < d; ++i) {
        double row = 0;
        for (Index j = 0; j < d; ++j) row += static_cast<double>(H(i, j)) * K(j / nx, j % nx);
        sum += (static_cast<double>(G.entries[static_cast<std::size_t>(i)]) + row / 2) * K(i / nx, i % nx);
      }
      return sum;
    };
  }
};

inline Quadratic random_quadratic(Index nu, Index nx, std::uint64_t seed) {
  metalqr::Stream stream = test::stream(seed);
  Quadratic f;
  f.c = 0.5;
  f.G = rounded(random_matrix(nu, nx, stream));
  const Dense X = random_matrix(nu * nx, nu * nx, stream);
  f.H = rounded(0.5L * (X + transpose(X)));
  return f;
}

/// Mean of numbers and its standard error.
struct Mean {
  double value = 0;
  double error = 0;

  explicit Mean(const std::vector<double>& numbers) {
    const double n = static_cast<double>(numbers.size());
    for (const double x : numbers) value += x / n;
    for (const double x : numbers) error += (x - value) * (x - value);
    error = std::sqrt(error / (n * (n - 1)));
  }
};

/// Largest |mean - expected| over the entries of matrices, in standard errors of that mean; an entry that
/// does not scatter must agree to 1e-9.
inline double largest_z_score(const std::vector<Dense>& sample, const Dense& expected) {
  double largest = 0;
  for (std::size_t i = 0; i < expected.entries.size(); ++i) {
    std::vector<double> entries;
    for (const Dense& x : sample) entries.push_back(static_cast<double>(x.entries[i] - expected.entries[i]));
    const Mean mean(entries);
    if (mean.error > 1e-9) {
      largest = std::max(largest, std::abs(mean.value) / mean.error);
    } else {
      CHECK(std::abs(mean.value) < 1e-9);
    }
  }
  return largest;
}

}  // namespace test
