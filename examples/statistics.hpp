#pragma once

/// @file
/// Medians and bands over runs.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

namespace examples {

/// The q-quantile (0 <= q <= 1) of the values, interpolated linearly; infinite values sort last.
inline double quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  const double position = q * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(position);
  const std::size_t above = std::min(below + 1, values.size() - 1);
  const double weight = position - static_cast<double>(below);
  if (weight == 0 || values[below] == values[above]) return values[below];
  return values[below] + weight * (values[above] - values[below]);
}

/// Median and central 80 % of some values.
struct Spread {
  double low;     ///< 10 % quantile
  double median;  ///< 50 %
  double high;    ///< 90 %
};

/// Spread of at least one value; infinite values sort last.
inline Spread spread(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return {quantile(values, 0.1), quantile(values, 0.5), quantile(values, 0.9)};
}

/// Median and central 80 % of runs at each index.
struct Band {
  std::vector<double> low;     ///< 10 % quantile
  std::vector<double> median;  ///< 50 %
  std::vector<double> high;    ///< 90 %
};

/// Band over runs of equal length; a run that ended early keeps its last value.
inline Band band(const std::vector<std::vector<double>>& runs) {
  std::size_t length = 0;
  for (const auto& run : runs) length = std::max(length, run.size());
  Band result;
  for (std::size_t n = 0; n < length; ++n) {
    std::vector<double> values;
    for (const auto& run : runs) values.push_back(run[std::min(n, run.size() - 1)]);
    const Spread at = spread(std::move(values));
    result.low.push_back(at.low);
    result.median.push_back(at.median);
    result.high.push_back(at.high);
  }
  return result;
}

}  // namespace examples
