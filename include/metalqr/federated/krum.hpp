#pragma once

/// @file
/// The combiner that keeps the estimates which have the closest neighbours.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include <metalqr/federated/geometric_median.hpp>

namespace metalqr::inline METALQR_ABI::federated {

/// Krum (Blanchard, El Mhamdi, Guerraoui, Stainer, NeurIPS 2017): each of n estimates is scored by the sum of
/// its squared Frobenius distances to its n - corrupted - 2 nearest others; the lowest score wins. With
/// selected > 1 (multi-Krum) the weighted mean of the lowest ones. Weights play no part in the choice, except
/// that estimates of weight zero are left out and not counted. Equal scores are ordered by the entries, row
/// by row, so that the order of the list does not matter. O(n^2 (d + log n)) for d entries.
struct Krum {
  int corrupted = 0;  ///< most estimates that may be corrupted, >= 0
  int selected = 1;   ///< how many are averaged, >= 1

  /// Fewest estimates of positive weight it takes: 2 corrupted + 3, which the theory asks for, and corrupted
  /// + selected, so that the selected can all be honest.
  Index fewest() const {
    return std::max<Index>(2 * Index{corrupted} + 3, Index{corrupted} + Index{selected});
  }
  /// Combines; throws as `combine`, and `InvalidOption` for a bad option, or fewer estimates than `fewest()`
  /// (a weaker rule in their place would be a protection that is none).
  template <MatrixBackend Backend>
  typename Backend::Gain operator()(std::span<const WeightedEstimate<Backend>> estimates) const;
};

/// Throws `InvalidOption` unless corrupted >= 0 and selected >= 1.
inline void validate(const Krum& combiner) {
  using metalqr::detail::require_option;
  require_option(combiner.corrupted >= 0, "corrupted", combiner.corrupted, "a number >= 0");
  require_option(combiner.selected >= 1, "selected", combiner.selected, "at least 1");
}

namespace detail {

/// Root of the sum of squares of the first `count` numbers in ascending order, without overflow on the way.
template <class Scalar>
Scalar norm_of_smallest(std::vector<Scalar>& numbers, std::size_t count) {
  using std::sqrt;
  std::sort(numbers.begin(), numbers.end());
  const Scalar largest = numbers[count - 1];
  if (!(largest > Scalar(0)) || !(largest / largest == Scalar(1))) return largest;
  Scalar sum(0);
  for (std::size_t k = 0; k < count; ++k) sum += (numbers[k] / largest) * (numbers[k] / largest);
  return largest * sqrt(sum);
}

/// Negative, zero or positive as X comes before Y, is equal, or comes after it, by entries row by row.
template <MatrixBackend Backend>
int compare_entries(const typename Backend::Gain& X, const typename Backend::Gain& Y) {
  for (Index i = 0; i < Backend::rows(X); ++i) {
    for (Index j = 0; j < Backend::cols(X); ++j) {
      if (X(i, j) < Y(i, j)) return -1;
      if (Y(i, j) < X(i, j)) return 1;
    }
  }
  return 0;
}

}  // namespace detail

template <MatrixBackend Backend>
typename Backend::Gain Krum::operator()(std::span<const WeightedEstimate<Backend>> estimates) const {
  using Scalar = typename Backend::Scalar;
  validate(*this);
  const detail::Votes<Backend> votes(estimates);
  const std::size_t count = votes.count();
  if (count < static_cast<std::size_t>(fewest())) {
    throw InvalidOption("estimates: expected at least " + std::to_string(fewest()) +
                        " of positive weight for corrupted = " + std::to_string(corrupted) +
                        " and selected = " + std::to_string(selected) + ", got " + std::to_string(count));
  }
  std::vector<Scalar> distances(count * count, Scalar(0));
  for (std::size_t i = 0; i < count; ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      distances[i * count + j] = distances[j * count + i] =
          detail::offset<Backend>(*votes.estimates[i], *votes.estimates[j]).length;
    }
  }
  // The estimate itself comes first, at distance zero.
  const std::size_t neighbours = count - static_cast<std::size_t>(corrupted) - 1;
  std::vector<Scalar> scores(count);
  for (std::size_t i = 0; i < count; ++i) {
    const auto row = distances.begin() + static_cast<std::ptrdiff_t>(i * count);
    std::vector<Scalar> own(row, row + static_cast<std::ptrdiff_t>(count));
    scores[i] = detail::norm_of_smallest(own, neighbours);
  }
  std::vector<std::size_t> order(count);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    if (scores[a] < scores[b]) return true;
    if (scores[b] < scores[a]) return false;
    const int entries = detail::compare_entries<Backend>(*votes.estimates[a], *votes.estimates[b]);
    return entries != 0 ? entries < 0 : votes.weights[a] > votes.weights[b];
  });
  if (selected == 1) return *votes.estimates[order.front()];
  detail::Votes<Backend> chosen;
  for (std::size_t k = 0; k < static_cast<std::size_t>(selected); ++k) {
    chosen.add(*votes.estimates[order[k]], votes.weights[order[k]]);
  }
  return detail::mean(chosen);
}

}  // namespace metalqr::inline METALQR_ABI::federated
