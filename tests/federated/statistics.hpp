#pragma once

/// @file
/// Statistics for the tests of random runs: exact tests of paired differences and of trends, a median, and a
/// slope.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <numeric>
#include <stdexcept>
#include <utility>
#include <vector>

namespace test {

/// The middle of the values, or of the two in the middle.
inline double median(std::vector<double> values) {
  if (values.empty()) throw std::logic_error("median of nothing");
  const std::size_t half = values.size() / 2;
  std::sort(values.begin(), values.end());
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

inline double average(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

/// sqrt(sum (x - mean)^2 / (n - 1) / n).
inline double standard_error(const std::vector<double>& values) {
  const double mean = average(values);
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  const double n = static_cast<double>(values.size());
  return std::sqrt(squares / (n - 1) / n);
}

/// x_i - y_i.
inline std::vector<double> differences(const std::vector<double>& x, const std::vector<double>& y) {
  if (x.size() != y.size()) throw std::logic_error("pairs expected");
  std::vector<double> result;
  for (std::size_t i = 0; i < x.size(); ++i) result.push_back(x[i] - y[i]);
  return result;
}

/// Fisher's randomisation test of paired differences, two-sided and exact: the fraction of the 2^n choices of
/// signs for which |sum| is at least the one observed. If swapping the two of a pair changes nothing in
/// distribution, it is at most p with probability at most p, whatever the distribution.
inline double sign_flip_p_value(const std::vector<double>& differences) {
  if (differences.empty() || differences.size() > 24) throw std::logic_error("1 to 24 pairs expected");
  // The sums over all signs of either half; every sum of all is one of the first plus one of the second.
  std::vector<double> sums[2] = {{0.0}, {0.0}};
  double size = 0;
  for (std::size_t i = 0; i < differences.size(); ++i) {
    std::vector<double>& half = sums[i % 2];
    const std::size_t count = half.size();
    for (std::size_t k = 0; k < count; ++k) {
      half.push_back(half[k] - differences[i]);
      half[k] += differences[i];
    }
    size += std::abs(differences[i]);
  }
  // Equal sums may differ by their rounding, which must not make the observed one look rarer than it is.
  const double observed = std::abs(sums[0].front() + sums[1].front()) - 1e-12 * size;
  std::size_t as_large = 0;
  for (const double first : sums[0]) {
    for (const double second : sums[1]) as_large += std::abs(first + second) >= observed ? 1U : 0U;
  }
  return static_cast<double>(as_large) / static_cast<double>(sums[0].size() * sums[1].size());
}

/// Page's L of blocks with one value for each level: the sum over blocks of sum_j j rank_j (E. B. Page,
/// "Ordered hypotheses for multiple treatments", JASA 1963). Ties are not expected.
inline int page_statistic(const std::vector<std::vector<double>>& blocks) {
  int total = 0;
  for (const std::vector<double>& block : blocks) {
    for (std::size_t j = 0; j < block.size(); ++j) {
      int rank = 1;
      for (const double other : block) rank += other < block[j] ? 1 : 0;
      total += static_cast<int>(j + 1) * rank;
    }
  }
  return total;
}

/// Page's test for an increase with the level, one-sided and exact: P(L >= the one observed) where every
/// order within a block is equally likely, as it is if the level does not matter.
inline double page_p_value(const std::vector<std::vector<double>>& blocks) {
  std::vector<int> ranks(blocks.front().size());
  std::iota(ranks.begin(), ranks.end(), 1);
  std::map<int, double> one;
  double orders = 0;
  do {
    int sum = 0;
    for (std::size_t j = 0; j < ranks.size(); ++j) sum += static_cast<int>(j + 1) * ranks[j];
    one[sum] += 1;
    orders += 1;
  } while (std::next_permutation(ranks.begin(), ranks.end()));
  std::map<int, double> all{{0, 1.0}};
  for (std::size_t block = 0; block < blocks.size(); ++block) {
    std::map<int, double> next;
    for (const auto& [sum, probability] : all) {
      for (const auto& [more, count] : one) next[sum + more] += probability * count / orders;
    }
    all = std::move(next);
  }
  const int observed = page_statistic(blocks);
  double p = 0;
  for (const auto& [sum, probability] : all) p += sum >= observed ? probability : 0;
  return p;
}

/// Of the least-squares line through the points (x_i, y_i).
inline double slope(const std::vector<double>& x, const std::vector<double>& y) {
  const double x_mean = average(x);
  const double y_mean = average(y);
  double above = 0;
  double below = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    above += (x[i] - x_mean) * (y[i] - y_mean);
    below += (x[i] - x_mean) * (x[i] - x_mean);
  }
  return above / below;
}

}  // namespace test
