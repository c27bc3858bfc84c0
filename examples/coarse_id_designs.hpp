#pragma once

/// @file
/// Controllers from data by the optimal gain of the estimate and by robust designs: how often they stabilise
/// the true plant, what they cost there, and what is promised of them.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "coarse_id_contenders.hpp"
#include "coarse_id_identification.hpp"
#include "coarse_id_study.hpp"

namespace examples::coarse_id {

namespace detail {

inline std::string colour_of(const std::string& name) {
  if (name.starts_with("nominal")) return "c_black";
  if (name.starts_with("lyapunov_best")) return "c_orange";
  if (name.starts_with("lyapunov")) return "c_blue";
  if (name.starts_with("fir")) return "c_red";
  if (name.starts_with("ellipsoid_radii")) return "c_sky";
  return "c_green";
}

/// Width and dashes; lines that lie on each other are of different widths.
inline std::string stroke_of(const std::string& name) {
  const double width = name.starts_with("lyapunov_best") || name.starts_with("nominal") ? 2
                       : name.starts_with("lyapunov")                                   ? 4.5
                       : name.starts_with("fir")                                        ? 3
                                                                                        : 1.5;
  const std::string stroke = print(" lw %g", width);
  return name.ends_with("_data") ? stroke + print(" dt (%g, %g) pt 6", 20 / width, 10 / width)
                                 : stroke + " pt 7";
}

/// A line for each contender whose name is in `names`; without `titles` none in the key.
inline std::string design_curves(const std::vector<Contender>& all, const std::vector<std::string>& names,
                                 const std::string& column, bool titles) {
  std::string text;
  for (const Contender& one : all) {
    if (std::find(names.begin(), names.end(), one.name) == names.end()) continue;
    text += (text.empty() ? "plot " : ", \\\n     ") + std::string("'designs.csv' using 'N':'") + one.name +
            column + "' with linespoints ps 0.8" + stroke_of(one.name) + " lc rgb " + colour_of(one.name) +
            (titles ? " title '" + one.label + "'" : std::string(" notitle"));
  }
  return text;
}

/// Promise and cost of the designs of the least bound.
inline std::string promise_curves() {
  const auto pair = [](const std::string& name, const std::string& colour, const std::string& label) {
    const std::string x = "'designs.csv' using 'N':'" + name;
    return x + "_promise' with linespoints lw 2 dt 4 pt 9 ps 0.9 lc rgb " + colour + " title '" + label +
           ": at most', \\\n     " + x + "_cost' with linespoints lw 2 dt 2 pt 6 ps 0.8 lc rgb " + colour +
           " title '" + label + ": true plant'";
  };
  return "plot " + pair("lyapunov_best_data", "c_orange", "common Lyapunov, least bound, bootstrap") +
         ", \\\n     " + pair("ellipsoid_data", "c_green", "ellipsoid, data-dependent bound");
}

inline Picture designs_picture(const std::vector<Contender>& all) {
  const std::vector<std::string> main{"nominal",  "lyapunov_true",  "lyapunov_data",  "fir_true",
                                      "fir_data", "ellipsoid_true", "ellipsoid_data", "ellipsoid_radii_data"};
  const std::vector<std::string> levels{"nominal", "lyapunov_true", "lyapunov_data", "lyapunov_best_true",
                                        "lyapunov_best_data"};
  return {.name = "designs",
          .width = 1400,
          .height = 960,
          .script =
              R"(set multiplot layout 2,2 margins 0.06,0.985,0.065,0.955 spacing 0.075,0.115
set key samplen 4
set logscale x
set xlabel 'number of rollouts N'
set xrange [9:112]
set xtics (10, 20, 40, 60, 100)
set ylabel 'share of the data sets'
set yrange [0:1.05]
set key bottom right
set title 'How often there is a controller that stabilises the true plant'
)" + design_curves(all, main, "_stable", true) +
              R"(, \
     'designs_published.csv' using 'N':'nominal_stable' with points pt 4 ps 1.6 lw 2 lc rgb c_black title 'optimal gain of the estimate, published'
set logscale y
set ylabel 'J/J* - 1 (median)' offset 1
set yrange [0.1:100]
unset key
set title 'Its cost on the true plant, where it stabilises (level 0.999)'
)" + design_curves(all, main, "_cost", false) +
              R"(
set yrange [0.05:50]
set key bottom left Left reverse
set title 'The level 0.999 costs less on the true plant than that of the least bound'
)" + design_curves(all, levels, "_cost", true) +
              R"(
set yrange [1:30000]
set key top right noreverse Right
set title 'What the least bounds promise, and what the true plant costs'
)" + promise_curves() +
              "\nunset multiplot\n"};
}

}  // namespace detail

/// Stability and cost of the controllers on the true plant against the number of rollouts.
inline Study design_study(const Plant& plant, const Settings& settings) {
  Study study{.name = "designs"};
  std::vector<Contender> all = contenders(plant, settings);
  {
    Progress progress("designs", static_cast<long>(settings.design_rollouts.size()) * 2 * settings.trials);
    for (const Index rollouts : settings.design_rollouts) {
      std::vector<std::optional<Sample>> samples(static_cast<std::size_t>(settings.trials));
      for_each_dataset(settings.trials, settings, progress, [&](Index i) {
        samples[static_cast<std::size_t>(i)] = sample(plant, settings, rollouts, i);
      });
      for (Contender& one : all) one.outcomes.emplace_back(static_cast<std::size_t>(one.trials));
      for_each_dataset(settings.trials, settings, progress, [&](Index index) {
        const auto i = static_cast<std::size_t>(index);
        for (Contender& one : all) {
          if (index < one.trials) one.outcomes.back()[i] = one.controller(*samples[i]);
        }
      });
    }
  }
  io::Table table{
      .comments = {"Controllers from data; " + std::to_string(settings.trials) + " data sets for each N (" +
                       std::to_string(std::min(settings.fir_trials, settings.trials)) +
                       " for finite responses of length " + std::to_string(settings.length) + ")",
                   "found: share of the data sets with a controller; stable: that stabilises the true plant; "
                   "cost: median of J/J* - 1 there; promise: median of the certified bound of that; level: "
                   "median of gamma"},
      .columns = {"N"}};
  for (const Contender& one : all) {
    for (const char* part : {"_found", "_stable", "_cost", "_cost_low", "_cost_high", "_promise", "_level"})
      table.columns.push_back(one.name + part);
  }
  study.report =
      "\nControllers: found and stable: shares of the data sets; J/J* - 1 on the true plant where it is "
      "stable, "
      "medians\n(10 % - 90 %); promise: median of the certified bound of that; level: median of gamma\n";
  for (std::size_t n = 0; n < settings.design_rollouts.size(); ++n) {
    const Index rollouts = settings.design_rollouts[n];
    table.rows.push_back({static_cast<double>(rollouts)});
    Json summary = {{"N", rollouts}};
    study.report += print("  N = %td\n", rollouts);
    for (const Contender& one : all) {
      std::vector<double> costs;
      for (const double value : one.values(n, &Outcome::suboptimality)) {
        if (std::isfinite(value)) costs.push_back(value);
      }
      const double nan = std::nan("");
      const Spread cost = costs.empty() ? Spread{nan, nan, nan} : spread(costs);
      const double stable = finite_share(one.values(n, &Outcome::suboptimality));
      const double promise = median_of_finite(one.values(n, &Outcome::promise));
      const std::vector<double> row{one.found(n),
                                    stable,
                                    cost.median,
                                    cost.low,
                                    cost.high,
                                    promise,
                                    median_of_finite(one.values(n, &Outcome::level))};
      table.rows.back().insert(table.rows.back().end(), row.begin(), row.end());
      summary[one.name] = {{"trials", one.trials},
                           {"found", row[0]},
                           {"stable", row[1]},
                           {"cost", number_or_null(row[2])},
                           {"promise", number_or_null(row[5])},
                           {"level", number_or_null(row[6])}};
      study.report +=
          print("    %-42s found %5.3f, stable %5.3f, cost %7.3f (%.3f - %.3f), promise %.3g, level %.3f\n",
                one.label.c_str(), row[0], row[1], row[2], row[3], row[4], row[5], row[6]);
    }
    study.summary.push_back(summary);
  }
  study.tables = {
      {"designs.csv", table},
      {"designs_published.csv",
       {.comments =
            {"Dean et al., arXiv 1710.01688, section 6: roughly 80 of 100 after N = 60; Matni, Proutiere, "
             "Rantzer, Tu, CDC 2019: unstable in about 10 % at N = 100"},
        .columns = {"N", "nominal_stable"},
        .rows = {{60, 0.8}, {100, 0.9}}}}};
  study.pictures = {detail::designs_picture(all)};
  return study;
}

}  // namespace examples::coarse_id
