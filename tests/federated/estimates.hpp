#pragma once

/// @file
/// Lists of estimates for the tests of combiners.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <metalqr/federated/combiner.hpp>

#include "support.hpp"

namespace test {

using Fixed = metalqr::EigenBackend<double, 4, 2>;

template <class AnyBackend = Backend>
using Estimates = std::vector<metalqr::federated::WeightedEstimate<AnyBackend>>;

/// 1 x n estimates, each a row of `rows`, with their weights (ones if there are none).
inline Estimates<> estimates_of(const std::vector<std::vector<double>>& rows,
                                const std::vector<double>& weights = {}) {
  Estimates<> list;
  for (std::size_t k = 0; k < rows.size(); ++k) {
    Backend::Gain X = Backend::zero_gain(1, static_cast<Index>(rows[k].size()));
    for (std::size_t j = 0; j < rows[k].size(); ++j) X(0, static_cast<Index>(j)) = rows[k][j];
    list.push_back({.estimate = X, .weight = weights.empty() ? 1 : weights[k]});
  }
  return list;
}

/// `count` normal 2 x 4 estimates about a common centre; weights uniform on (0.5, 2), or ones.
template <class AnyBackend = Backend>
Estimates<AnyBackend> random_estimates(std::size_t count, metalqr::Stream& stream, bool weighted) {
  Estimates<AnyBackend> list;
  const Dense centre = random_matrix(2, 4, stream);
  for (std::size_t k = 0; k < count; ++k) {
    const double weight = weighted ? stream.uniform(0.5, 2) : 1;
    list.push_back({.estimate = gain<AnyBackend>(centre + random_matrix(2, 4, stream)), .weight = weight});
  }
  return list;
}

/// The list in another order.
template <class AnyBackend>
Estimates<AnyBackend> shuffled(Estimates<AnyBackend> list, metalqr::Stream& stream) {
  for (std::size_t k = list.size(); k > 1; --k) {
    std::swap(list[k - 1], list[static_cast<std::size_t>(stream.bits() % k)]);
  }
  return list;
}

/// Each estimate as often as its weight says, which is a whole number, with weight one.
template <class AnyBackend>
Estimates<AnyBackend> repeated(const Estimates<AnyBackend>& list) {
  Estimates<AnyBackend> result;
  for (const auto& vote : list) {
    for (int k = 0; k < static_cast<int>(vote.weight); ++k) result.push_back({.estimate = vote.estimate});
  }
  return result;
}

/// The combined estimate in long double.
template <class AnyBackend = Backend, class Policy>
Dense combined(const Policy& combiner, const Estimates<AnyBackend>& list) {
  return dense<AnyBackend>(metalqr::federated::combine<AnyBackend>(combiner, list));
}

/// Whether each entry of X lies between the smallest and the largest one of the first `honest` estimates.
inline bool is_between(const Dense& X, const Estimates<>& list, std::size_t honest) {
  for (Index i = 0; i < X.rows; ++i) {
    for (Index j = 0; j < X.cols; ++j) {
      long double low = list[0].estimate(i, j);
      long double high = low;
      for (std::size_t k = 0; k < honest; ++k) {
        low = std::min<long double>(low, list[k].estimate(i, j));
        high = std::max<long double>(high, list[k].estimate(i, j));
      }
      // A mean of equal numbers may be off by its rounding.
      const long double slack = 1e-14L * (high - low);
      if (!(X(i, j) >= low - slack && X(i, j) <= high + slack)) return false;
    }
  }
  return true;
}

/// The list with its last `corrupted` estimates replaced by far ones, of very different sizes.
inline Estimates<> corrupted_list(std::size_t count, std::size_t corrupted, metalqr::Stream& stream,
                                  bool same_side) {
  Estimates<> list = test::random_estimates(count, stream, false);
  for (std::size_t k = count - corrupted; k < count; ++k) {
    const double size = std::pow(10.0, stream.uniform(0, 300));
    for (Index i = 0; i < 2; ++i) {
      for (Index j = 0; j < 4; ++j) {
        list[k].estimate(i, j) = same_side ? 1e300 : size * stream.rademacher();
      }
    }
  }
  return list;
}

/// What must hold for every combiner: the scale of the weights, the order of the list, and estimates of
/// weight zero do not matter; a common shift shifts the result, a common factor multiplies it.
template <class AnyBackend, class Policy>
void check_invariances(const Policy& combiner, bool weighted, std::uint64_t seed, double tolerance) {
  for (std::uint64_t trial = 0; trial < 20; ++trial) {
    metalqr::Stream stream = test::stream(seed, trial);
    const Estimates<AnyBackend> list = random_estimates<AnyBackend>(5 + trial, stream, weighted);
    const Dense expected = combined<AnyBackend>(combiner, list);
    const Dense shift = random_matrix(2, 4, stream);
    Estimates<AnyBackend> heavier = list;
    Estimates<AnyBackend> shifted = list;
    Estimates<AnyBackend> scaled = list;
    for (std::size_t k = 0; k < list.size(); ++k) {
      heavier[k].weight = list[k].weight * 3e200;
      shifted[k].estimate += gain<AnyBackend>(shift);
      scaled[k].estimate = -7.0 * list[k].estimate;
    }
    Estimates<AnyBackend> longer = list;
    const Dense far = 1e300L * random_matrix(2, 4, stream);
    longer.insert(longer.begin() + 1, {.estimate = gain<AnyBackend>(far), .weight = 0});
    CHECK(relative_error(combined<AnyBackend>(combiner, heavier), expected) < tolerance);
    CHECK(relative_error(combined<AnyBackend>(combiner, shuffled<AnyBackend>(list, stream)), expected) <
          tolerance);
    CHECK(relative_error(combined<AnyBackend>(combiner, longer), expected) < tolerance);
    CHECK(relative_error(combined<AnyBackend>(combiner, shifted), expected + shift) < tolerance);
    CHECK(relative_error(combined<AnyBackend>(combiner, scaled), -7.0L * expected) < tolerance);
  }
}

}  // namespace test
