#pragma once

/// @file
/// What the studies of learning one plant from data share: the plant, settings, and what a study gives.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <metalqr/core/eigen.hpp>
#include <metalqr/core/parallel.hpp>
#include <metalqr/identification/experiment.hpp>
#include <metalqr/io/csv.hpp>
#include <metalqr/lqr/optimal_gain.hpp>
#include <metalqr/systems/plants.hpp>

#include "picture.hpp"
#include "program.hpp"
#include "progress.hpp"
#include "statistics.hpp"

namespace examples::coarse_id {

namespace identification = metalqr::identification;
namespace io = metalqr::io;
using metalqr::Index;
using Backend = metalqr::EigenBackend<double, 3, 3>;
using Task = metalqr::Task<Backend>;

inline constexpr double infinity = std::numeric_limits<double>::infinity();

/// Sizes of the studies; the experiment is that of Dean, Mania, Matni, Recht, Tu, "On the sample complexity
/// of the linear quadratic regulator", arXiv 1710.01688, section 6.
struct Settings {
  std::vector<Index> rollouts{5, 10, 20, 40, 60, 100, 200};  ///< N of the identification
  std::vector<Index> design_rollouts{10, 20, 40, 60, 100};   ///< N of the robust designs
  Index horizon = 6;                                         ///< T
  Index trials = 60;            ///< data sets for each N, for the bootstrap and the robust designs
  Index plain_trials = 2000;    ///< data sets for each N, for what needs neither
  Index fir_trials = 6;         ///< data sets for each N, for the finite responses
  Index length = 32;            ///< L, coefficients of the finite responses
  Index bootstrap = 2000;       ///< M
  Index adaptive_trials = 100;  ///< runs of each adaptive strategy
  Index steps = 500;            ///< of each of these runs
  double delta = 0.05;          ///< probability that a bound fails
  std::uint64_t seed = 0;
  int threads = 0;
};

/// What a study found.
struct Study {
  std::string name;                                         ///< of its part of the last line
  std::vector<std::pair<std::string, io::Table>> tables{};  ///< by file name
  std::vector<Picture> pictures{};                          ///< of those files
  Json summary = Json::array();                             ///< for the last line, an object for each N
  std::string report{};                                     ///< for people
};

/// The plant of the paper, with the cost of its optimal gain.
struct Plant {
  Task task = metalqr::systems::laplacian_3<Backend>();
  double optimal_cost = metalqr::optimal_cost(task);

  /// J/J* - 1; infinite where the gain does not stabilise the plant.
  double suboptimality(const Backend::Gain& K) const { return metalqr::cost(task, K) / optimal_cost - 1; }
};

/// The data set `index` with N rollouts; equal for all studies.
inline identification::Dataset<Backend> draw(const Plant& plant, const Settings& settings, Index rollouts,
                                             Index index) {
  const metalqr::StreamKey key{.seed = settings.seed,
                               .iteration = static_cast<std::uint64_t>(rollouts),
                               .task = static_cast<std::uint64_t>(index)};
  return identification::collect(plant.task, {.rollouts = rollouts, .horizon = settings.horizon}, key, 1);
}

/// Calls `body(i)` for i = 0 ... count - 1 in parallel, by blocks, so that the bar is drawn from this thread.
template <class Body>
void for_each_dataset(Index count, const Settings& settings, Progress& progress, const Body& body) {
  constexpr Index block = 8;
  for (Index first = 0; first < count; first += block) {
    const Index size = std::min(block, count - first);
    metalqr::parallel_for(
        size, [&](Index i) { body(first + i); }, settings.threads);
    for (Index i = 0; i < size; ++i) progress.advance();
  }
}

/// Median of the finite values; NaN if there is none.
inline double median_of_finite(const std::vector<double>& values) {
  std::vector<double> finite;
  for (const double value : values) {
    if (std::isfinite(value)) finite.push_back(value);
  }
  return finite.empty() ? std::nan("") : quantile(std::move(finite), 0.5);
}

/// The share of the values that are finite.
inline double finite_share(const std::vector<double>& values) {
  const auto count = std::count_if(values.begin(), values.end(), [](double x) { return std::isfinite(x); });
  return static_cast<double>(count) / static_cast<double>(values.size());
}

/// printf into a text.
template <class... Arguments>
std::string print(const char* format, Arguments... arguments) {
  char text[400];
  std::snprintf(text, sizeof text, format, arguments...);
  return text;
}

}  // namespace examples::coarse_id
