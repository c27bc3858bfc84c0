#pragma once

/// @file
/// Runs over seeds as curves: their medians and bands as CSV, as a table for people, as JSON.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <metalqr/core/parallel.hpp>
#include <metalqr/io/csv.hpp>

#include "async_fleet.hpp"
#include "program.hpp"
#include "progress.hpp"
#include "statistics.hpp"

namespace examples::async {

/// The gap that counts as reached.
inline constexpr double reached_gap = 0.3;

/// One setting over several seeds.
struct Curve {
  std::string name;                               ///< in files
  std::string label;                              ///< for people
  std::function<Track(std::uint64_t seed)> make;  ///< a run
  std::vector<Track> tracks{};                    ///< one for each seed

  /// Median, low and high over the seeds of a figure of a run.
  template <class Figure>
  Spread spread(const Figure& figure) const {
    std::vector<double> values;
    values.reserve(tracks.size());
    for (const Track& track : tracks) values.push_back(figure(track));
    return examples::spread(std::move(values));
  }
  Spread clock_to(double level) const {
    return spread([level](const Track& track) { return track.time_to(level); });
  }
  Spread updates_to(double level) const {
    return spread([level](const Track& track) { return track.updates_to(level); });
  }
  /// Runs that lost an agent.
  Index lost() const {
    return std::count_if(tracks.begin(), tracks.end(), [](const Track& track) { return track.lost; });
  }
};

using Curves = std::vector<Curve>;

/// How many runs, and from which seed on.
struct Sampling {
  Index seeds = 20;
  std::uint64_t first = 0;
  int threads = 0;
};

/// Makes the runs of some curves; the result does not depend on the number of threads.
inline void sample(const std::vector<Curve*>& curves, const Sampling& sampling, Progress& progress) {
  for (Curve* curve : curves) curve->tracks.resize(static_cast<std::size_t>(sampling.seeds));
  const Index runs = static_cast<Index>(curves.size()) * sampling.seeds;
  // Blocks of runs, so that the progress bar is drawn from this thread.
  constexpr Index block = 8;
  for (Index first = 0; first < runs; first += block) {
    const Index size = std::min(block, runs - first);
    metalqr::parallel_for(
        size,
        [&](Index offset) {
          Curve& curve = *curves[static_cast<std::size_t>((first + offset) / sampling.seeds)];
          const Index s = (first + offset) % sampling.seeds;
          curve.tracks[static_cast<std::size_t>(s)] =
              curve.make(sampling.first + static_cast<std::uint64_t>(s));
        },
        sampling.threads);
    for (Index i = 0; i < size; ++i) progress.advance();
  }
}

/// Points at equal ratios.
inline std::vector<double> log_spaced(double from, double to, int count) {
  std::vector<double> points;
  for (int i = 0; i < count; ++i) points.push_back(from * std::pow(to / from, i / (count - 1.0)));
  return points;
}

namespace detail {

inline metalqr::io::Table band_table(const Curves& curves, const std::string& comment,
                                     const std::string& axis) {
  metalqr::io::Table table{
      .comments = {comment,
                   "median, 10 % and 90 % quantile over " + std::to_string(curves.front().tracks.size()) +
                       " seeds; gap J(K) - J* of the nominal plant from x0 = (0.25, 0.55, 0.35, 0.45); inf: "
                       "lost a plant"},
      .columns = {axis}};
  for (const Curve& curve : curves) {
    for (const char* part : {"low", "median", "high"}) table.columns.push_back(curve.name + "_" + part);
  }
  return table;
}

}  // namespace detail

/// The gaps over the clock, in ticks.
inline metalqr::io::Table clock_table(const Curves& curves, const std::vector<double>& ticks,
                                      const std::string& comment) {
  metalqr::io::Table table = detail::band_table(curves, comment, "ticks");
  for (const double time : ticks) {
    table.rows.push_back({time});
    for (const Curve& curve : curves) {
      const Spread at = curve.spread([time](const Track& track) { return track.at(time); });
      table.rows.back().insert(table.rows.back().end(), {at.low, at.median, at.high});
    }
  }
  return table;
}

/// The gaps over the updates; a run that ended before keeps its last gap.
inline metalqr::io::Table update_table(const Curves& curves, Index updates, const std::string& comment) {
  metalqr::io::Table table = detail::band_table(curves, comment, "updates");
  for (Index n = 0; n <= updates; ++n) {
    table.rows.push_back({static_cast<double>(n)});
    for (const Curve& curve : curves) {
      const Spread at = curve.spread([n](const Track& track) {
        return track.gaps[std::min(static_cast<std::size_t>(n), track.gaps.size() - 1)];
      });
      table.rows.back().insert(table.rows.back().end(), {at.low, at.median, at.high});
    }
  }
  return table;
}

/// Clock and updates to each gap of a list.
inline metalqr::io::Table tolerance_table(const Curves& curves, const std::vector<double>& levels,
                                          const std::string& comment) {
  metalqr::io::Table table{
      .comments = {comment, "clock (ticks) and updates to reach a gap: median, 10 % and 90 % quantile"},
      .columns = {"gap"}};
  for (const Curve& curve : curves) {
    for (const char* part : {"low", "median", "high", "updates"})
      table.columns.push_back(curve.name + "_" + part);
  }
  for (const double level : levels) {
    table.rows.push_back({level});
    for (const Curve& curve : curves) {
      const Spread ticks = curve.clock_to(level);
      const double updates = curve.updates_to(level).median;
      table.rows.back().insert(table.rows.back().end(), {ticks.low, ticks.median, ticks.high, updates});
    }
  }
  return table;
}

/// What the last line says of a curve.
inline Json summary(const Curve& curve) {
  const double gap = curve.spread([](const Track& track) { return track.gaps.back(); }).median;
  return {{"clock", number_or_null(curve.clock_to(reached_gap).median)},
          {"updates", number_or_null(curve.updates_to(reached_gap).median)},
          {"last_gap", number_or_null(gap)},
          {"staleness", curve.spread([](const Track& track) { return track.staleness; }).median},
          {"reports", curve.spread([](const Track& track) { return track.reports; }).median},
          {"lost", curve.lost()}};
}

/// "median (low - high)", or "never".
inline std::string range_text(const Spread& spread) {
  char text[64];
  if (!std::isfinite(spread.median)) {
    if (!std::isfinite(spread.low)) return "never";
    std::snprintf(text, sizeof text, "never (%.5g at best)", spread.low);
  } else if (std::isfinite(spread.high)) {
    std::snprintf(text, sizeof text, "%.5g (%.5g - %.5g)", spread.median, spread.low, spread.high);
  } else {
    std::snprintf(text, sizeof text, "%.5g (%.5g - never)", spread.median, spread.low);
  }
  return text;
}

/// A line for each curve under a head; staleness of the reports used, and their number an update.
inline void print(const std::string& title, const Curves& curves) {
  std::printf("\n%s\n  %-44s %-25s %-21s %9s %9s %7s %s\n", title.c_str(), "", "ticks to gap 0.3",
              "updates to gap 0.3", "last gap", "staleness", "reports", "lost");
  for (const Curve& curve : curves) {
    const Spread gap = curve.spread([](const Track& track) { return track.gaps.back(); });
    const double tau = curve.spread([](const Track& track) { return track.staleness; }).median;
    const double reports = curve.spread([](const Track& track) { return track.reports; }).median;
    std::printf("  %-44s %-25s %-21s %9.3g %9.2f %7.1f %4td\n", curve.label.c_str(),
                range_text(curve.clock_to(reached_gap)).c_str(),
                range_text(curve.updates_to(reached_gap)).c_str(), gap.median, tau, reports, curve.lost());
  }
}

}  // namespace examples::async
