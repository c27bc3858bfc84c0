#pragma once

/// @file
/// The published comparison of adaptive controllers, and statistics of its trials.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include <metalqr/adaptive/advance.hpp>
#include <metalqr/core/parallel.hpp>
#include <metalqr/systems/plants.hpp>

#include "support.hpp"

namespace test {

using Comparison = metalqr::EigenBackend<double, 3, 3>;

/// The value below which the fraction `level` of the values lies.
inline double quantile(std::vector<double> values, double level) {
  std::sort(values.begin(), values.end());
  const double rank = level * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(rank);
  const std::size_t above = std::min(below + 1, values.size() - 1);
  const double share = rank - static_cast<double>(below);
  return (1 - share) * values[below] + share * values[above];
}

inline double median(const std::vector<double>& values) {
  return quantile(values, 0.5);
}

/// A list for each trial of a strategy in the comparison of Dean, Mania, Matni, Recht, Tu, NeurIPS 2018:
/// regret after 100, 200 and 500 steps, J/J* - 1 after 1 and 500.
struct Comparisons {
  std::vector<double> at_100, at_200, at_500, first, last;
  Index kept = 0;    ///< epochs without a new controller
  Index epochs = 0;  ///< all
};

template <class T>
Comparisons compare(const T& strategy, const metalqr::adaptive::Options<Comparison>& options, Index trials,
                    std::uint64_t seed) {
  const auto plant = metalqr::systems::laplacian_3<Comparison>(10);
  const auto K0 = metalqr::solve_dare(metalqr::systems::laplacian_3<Comparison>()).gain;
  const auto size = static_cast<std::size_t>(trials);
  Comparisons result;
  for (auto* list : {&result.at_100, &result.at_200, &result.at_500, &result.first, &result.last}) {
    list->resize(size);
  }
  std::vector<Index> kept(size);
  std::vector<Index> epochs(size);
  metalqr::parallel_for(trials, [&](Index trial) {
    const auto i = static_cast<std::size_t>(trial);
    auto state = metalqr::adaptive::start(plant, K0, options,
                                          {.seed = seed, .task = static_cast<std::uint64_t>(trial)});
    const auto excess = [&] {
      return metalqr::adaptive::average_cost(plant, state.controller) / state.regret.optimal_cost - 1;
    };
    std::vector<double> regret = metalqr::adaptive::advance(plant, state, strategy, options, 1).regret;
    result.first[i] = excess();
    regret = metalqr::adaptive::advance(plant, state, strategy, options, 499).regret;
    result.last[i] = excess();
    result.at_100[i] = regret[98];
    result.at_200[i] = regret[198];
    result.at_500[i] = regret[498];
    kept[i] = state.kept;
    epochs[i] = state.epochs;
  });
  for (std::size_t i = 0; i < size; ++i) {
    result.kept += kept[i];
    result.epochs += epochs[i];
  }
  return result;
}

/// Checks the median of the values against one of `reference_trials` other trials of the same distribution.
/// For nearly normal numbers a median of n has the standard error 1.2533 sigma / sqrt(n); sigma is read as
/// half the distance of the quantiles at 16 and 84 %. Four of the difference: a false alarm in 6e-5.
inline void check_median(const std::vector<double>& values, double reference, double reference_trials,
                         const std::string& name) {
  const double spread = (quantile(values, 0.84) - quantile(values, 0.16)) / 2;
  const auto trials = static_cast<double>(values.size());
  const double error = 1.2533 * spread * std::sqrt(1 / trials + 1 / reference_trials);
  INFO(name << ": median " << median(values) << ", reference " << reference << ", standard error of their "
            << "difference " << error);
  CHECK(std::abs(median(values) - reference) < 4 * error);
}

}  // namespace test
