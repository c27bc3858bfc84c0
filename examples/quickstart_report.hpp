#pragma once

/// @file
/// What the quickstart records, and how it shows it: tables for people, CSV, a picture, JSON.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <metalqr/io/csv.hpp>

#include "picture.hpp"
#include "program.hpp"
#include "published.hpp"
#include "statistics.hpp"

namespace examples {

/// One gain on the way of a run.
struct Point {
  int iteration;
  double calls;  ///< oracle calls so far, of all tasks together
  double gap;    ///< optimality gap; infinite if the gain does not stabilise
};

/// A run as a list of gains.
struct Curve {
  std::string name;
  std::vector<Point> points;

  /// Gap after an iteration; that of the last one where the run ended before, NaN where it was not to go on.
  double gap_at(int iteration, int planned) const {
    if (iteration > planned || points.empty()) return std::numeric_limits<double>::quiet_NaN();
    return points[std::min(static_cast<std::size_t>(iteration), points.size() - 1)].gap;
  }
  /// Oracle calls until the gap was below `level` for the first time; NaN if it never was.
  double calls_to(double level) const {
    for (const Point& point : points) {
      if (point.gap <= level) return point.calls;
    }
    return std::numeric_limits<double>::quiet_NaN();
  }
  metalqr::io::Table table() const {
    metalqr::io::Table result{.comments = {name}, .columns = {"iteration", "calls", "gap"}};
    for (const Point& point : points)
      result.rows.push_back({static_cast<double>(point.iteration), point.calls, point.gap});
    return result;
  }
};

/// Four significant digits; "-" for a number that does not exist, "unstable" for infinity.
inline std::string short_text(double value) {
  if (std::isnan(value)) return "-";
  if (std::isinf(value)) return "unstable";
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.4g", value);
  return buffer;
}

/// A number of calls; "-" for one that does not exist.
inline std::string count_text(double value) {
  return std::isnan(value) ? "-" : std::to_string(static_cast<long>(value));
}

/// A line of a table: a label and right-aligned cells.
inline void print_row(const std::string& label, const std::vector<std::string>& cells) {
  std::printf("  %-38s", label.c_str());
  for (const std::string& cell : cells) std::printf(" %9s", cell.c_str());
  std::printf("\n");
}

/// The label and a gap for each iteration.
inline void print_gaps(const Curve& curve, const std::vector<int>& iterations, int planned) {
  std::vector<std::string> cells;
  for (const int iteration : iterations) cells.push_back(short_text(curve.gap_at(iteration, planned)));
  print_row(curve.name, cells);
}

/// Numbers of iterations as the head of a table.
inline void print_iterations(const std::string& label, const std::vector<int>& iterations) {
  std::vector<std::string> cells;
  for (const int iteration : iterations) cells.push_back(std::to_string(iteration));
  print_row(label, cells);
}

/// A number of calls for JSON; null where it does not exist.
inline Json count(double value) {
  return std::isfinite(value) ? Json(static_cast<long>(value)) : Json(nullptr);
}

/// Several curves over the same iterations as one table; the last gap stands on where a curve ended before.
inline metalqr::io::Table side_by_side(const std::vector<Curve>& curves, const std::string& comment) {
  metalqr::io::Table table{.comments = {comment}, .columns = {"iteration"}};
  std::size_t length = 0;
  for (const Curve& curve : curves) {
    std::string column = curve.name;
    std::replace(column.begin(), column.end(), ',', ';');
    table.columns.push_back(column);
    length = std::max(length, curve.points.size());
  }
  for (std::size_t i = 0; i < length; ++i) {
    const int iteration = static_cast<int>(i);
    table.rows.push_back({static_cast<double>(iteration)});
    for (const Curve& curve : curves) table.rows.back().push_back(curve.gap_at(iteration, iteration));
  }
  return table;
}

/// For each iteration the median gap of several curves.
inline Curve median(const std::string& name, const std::vector<Curve>& curves, int planned) {
  Curve result{name, {}};
  for (int iteration = 0; iteration <= planned; ++iteration) {
    std::vector<double> gaps;
    for (const Curve& curve : curves) gaps.push_back(curve.gap_at(iteration, planned));
    result.points.push_back({iteration, 0, quantile(std::move(gaps), 0.5)});
  }
  return result;
}

/// The script of the picture: training by iteration, training by oracle calls, adaptation. It reads
/// published.csv, literal.csv, first_order.csv, average.csv, published_adaptation.csv, adaptation.csv.
inline std::string quickstart_script(int unseen) {
  const auto adaptation = [unseen](int first, const std::string& style, const std::string& title) {
    const std::string from = std::to_string(first);
    const std::string to = std::to_string(first + unseen - 1);
    return "for [i=" + from + ":" + to + "] 'adaptation.csv' using 1:i with lines " + style +
           " title i==" + from + " ? '" + title + "' : ''";
  };
  return R"(set multiplot layout 1,3 margins 0.057,0.985,0.145,0.90 spacing 0.067,0
set ylabel 'gap J(K) - J*' offset 0.7
set logscale y

set nonlinear x via sqrt(x) inverse x*x
set title 'Meta-training as published'
set xlabel 'iteration (square-root scale)'
set xtics (0, 1, 5, 10, 20, 50, 100, 150, 200, 300, 400, 500, 700, 1000, 2000, 5000, 10000)
set yrange [0.1:30]
set ytics (0.1, 0.2, 0.5, 1, 2, 5, 10, 20)
plot 'literal.csv' using 'iteration':'gap' with lines lw 2 lc rgb c_blue title 'this run', \
     'published.csv' using 'iteration':'gap' with points pt 6 ps 1.2 lw 2 lc rgb c_red title 'L4DC 2024, Figure 1'

unset nonlinear x
set logscale x
set title 'Meta-training by cost evaluations'
set xlabel 'oracle calls, all plants together'
set format xy '10^{%T}'
set xrange [100:3e5]
set xtics autofreq
set yrange [1e-4:50]
set ytics autofreq
set key at graph 0.98,0.50
plot 'literal.csv' using 'calls':'gap' with lines lw 2 lc rgb c_blue title 'as published', \
     'first_order.csv' using 'calls':'gap' with lines lw 2 lc rgb c_orange title 'first order', \
     'average.csv' using 'calls':'gap' with lines lw 2 dt 2 lc rgb c_green title 'average cost'

unset logscale x
set nonlinear x via sqrt(x) inverse x*x
set title 'Adaptation to unseen plants'
set xlabel 'iteration (square-root scale)'
set format x '%g'
set xrange [0:300]
set xtics (0, 1, 5, 10, 20, 50, 100, 150, 200, 300)
set yrange [1e-4:20]
set key at graph 0.98,0.97
plot )" + adaptation(2 + unseen, "lw 1.5 dt 2 lc rgb c_red", "from a random gain") +
         ", \\\n     " + adaptation(2, "lw 1.5 lc rgb c_blue", "from the meta-trained gain") +
         ", \\\n     'published_adaptation.csv' using 'iteration':'gap' with points pt 6 ps 1.2 lw 2 lc rgb "
         "c_red "
         "title 'published, random gain'\nunset multiplot\n";
}

}  // namespace examples
