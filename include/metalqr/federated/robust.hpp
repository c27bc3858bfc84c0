#pragma once

/// @file
/// Combiners that a minority of corrupted estimates cannot move far, and that work entry by entry.

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

#include <metalqr/federated/combiner.hpp>

namespace metalqr::inline METALQR_ABI::federated {

namespace detail {

/// Sums of weights that differ by less than this share of the total count as equal: else rounding would
/// decide ties.
inline constexpr double weight_rounding = 1e-12;

template <class Scalar>
struct WeightedEntry {
  Scalar value;
  double weight;
};

/// The matrix with `reduce(entries)` at each place, where the entries of the estimates there ascend.
template <MatrixBackend Backend, class Reduce>
typename Backend::Gain entry_by_entry(const Votes<Backend>& votes, const Reduce& reduce) {
  using Entry = WeightedEntry<typename Backend::Scalar>;
  typename Backend::Gain result = Backend::zero_like(*votes.estimates.front());
  std::vector<Entry> entries(votes.count());
  for (Index i = 0; i < Backend::rows(result); ++i) {
    for (Index j = 0; j < Backend::cols(result); ++j) {
      for (std::size_t k = 0; k < entries.size(); ++k) {
        entries[k] = {(*votes.estimates[k])(i, j), votes.weights[k]};
      }
      std::sort(entries.begin(), entries.end(),
                [](const Entry& a, const Entry& b) { return a.value < b.value; });
      result(i, j) = reduce(entries);
    }
  }
  return result;
}

/// Weighted median of ascending entries.
template <class Scalar>
Scalar median(const std::vector<WeightedEntry<Scalar>>& entries, double total) {
  const double half = total / 2;
  const double slack = weight_rounding * total;
  double below = 0;
  for (std::size_t k = 0; k + 1 < entries.size(); ++k) {
    below += entries[k].weight;
    if (below < half - slack) continue;
    if (below > half + slack || entries[k].value == entries[k + 1].value) return entries[k].value;
    return entries[k].value / Scalar(2) + entries[k + 1].value / Scalar(2);
  }
  return entries.back().value;
}

/// Mean of ascending entries without the weight `cut` at each end; their median if nothing is left.
template <class Scalar>
Scalar trimmed_mean(const std::vector<WeightedEntry<Scalar>>& entries, double total, double cut) {
  const double slack = weight_rounding * total;
  std::vector<double> kept(entries.size());
  double sum = 0;
  double below = 0;
  for (std::size_t k = 0; k < entries.size(); ++k) {
    const double weight = entries[k].weight;
    const double above = below + weight;
    kept[k] =
        below >= cut && above <= total - cut ? weight : std::min(above, total - cut) - std::max(below, cut);
    if (kept[k] < weight && kept[k] <= slack) kept[k] = 0;
    sum += kept[k];
    below = above;
  }
  if (!(sum > 0)) return median(entries, total);
  Scalar mean(0);
  for (std::size_t k = 0; k < entries.size(); ++k) {
    if (kept[k] > 0) mean += static_cast<Scalar>(kept[k] / sum) * entries[k].value;
  }
  return mean;
}

}  // namespace detail

/// The weighted median of each entry: the number with at most half of the weight on either side. Where that
/// leaves an interval (half of the weight up to its lower end, half from its upper end on, up to 1e-12 of the
/// whole), its middle. As long as corrupted estimates have less than half of the weight - floor((b - 1)/2) of
/// b equal ones - each entry stays between the smallest and the largest of the honest ones (Yin, Chen,
/// Ramchandran, Bartlett, ICML 2018). O(d b log b) for d entries.
struct CoordinateMedian {
  /// Combines; throws as `combine`.
  template <MatrixBackend Backend>
  typename Backend::Gain operator()(std::span<const WeightedEstimate<Backend>> estimates) const {
    using Scalar = typename Backend::Scalar;
    const detail::Votes<Backend> votes(estimates);
    return detail::entry_by_entry(votes, [&votes](const std::vector<detail::WeightedEntry<Scalar>>& entries) {
      return detail::median(entries, votes.total);
    });
  }
};

/// The weighted mean of each entry without its extremes: the share `fraction` of the whole weight is cut off
/// from the smallest numbers, and as much from the largest. Who is cut in part counts with the rest of his
/// weight (less than 1e-12 of the whole is no rest), so that of b equal weights floor(fraction b) go entirely
/// at each end. As long as corrupted estimates have at most that share, each entry stays between the smallest
/// and the largest of the honest ones (Yin, Chen, Ramchandran, Bartlett, ICML 2018). Near one half it is the
/// median. O(d b log b) for d entries.
struct TrimmedMean {
  double fraction = 0.1;  ///< in [0, 1/2)

  /// Combines; throws as `combine`, and `InvalidOption` for a bad fraction.
  template <MatrixBackend Backend>
  typename Backend::Gain operator()(std::span<const WeightedEstimate<Backend>> estimates) const;
};

/// Throws `InvalidOption` unless the fraction is in [0, 1/2).
inline void validate(const TrimmedMean& combiner) {
  metalqr::detail::require_option(combiner.fraction >= 0 && combiner.fraction < 0.5, "fraction",
                                  combiner.fraction, "a number in [0, 0.5)");
}

template <MatrixBackend Backend>
typename Backend::Gain TrimmedMean::operator()(std::span<const WeightedEstimate<Backend>> estimates) const {
  using Scalar = typename Backend::Scalar;
  validate(*this);
  const detail::Votes<Backend> votes(estimates);
  const double cut = fraction * votes.total;
  return detail::entry_by_entry(votes,
                                [&votes, cut](const std::vector<detail::WeightedEntry<Scalar>>& entries) {
                                  return detail::trimmed_mean(entries, votes.total, cut);
                                });
}

}  // namespace metalqr::inline METALQR_ABI::federated
