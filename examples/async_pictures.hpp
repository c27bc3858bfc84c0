#pragma once

/// @file
/// The gnuplot scripts of the asynchronous figures.

#include <string>
#include <vector>

#include "async_rules.hpp"
#include "async_timeline.hpp"
#include "picture.hpp"

namespace examples::async {

/// How lines look, in the order of use.
inline std::string line_style(std::size_t i) {
  static const std::vector<std::string> styles{"lw 2 lc rgb c_blue",        "lw 2 dt 2 lc rgb c_red",
                                               "lw 2 dt 4 lc rgb c_green",  "lw 2 dt 3 lc rgb c_pink",
                                               "lw 2 dt 5 lc rgb c_orange", "lw 2 lc rgb c_black"};
  return styles[i % styles.size()];
}
inline std::string colour(std::size_t i) {
  static const std::vector<std::string> colours{"c_blue", "c_red",    "c_green",
                                                "c_pink", "c_orange", "c_black"};
  return colours[i % colours.size()];
}

/// The commands that draw the bands and medians of curves from a file; style `first` for the first curve.
inline std::string band_lines(const std::string& file, const std::string& axis, const Curves& curves,
                              const std::vector<std::string>& titles, std::size_t first = 0) {
  std::string bands;
  std::string lines;
  for (std::size_t i = 0; i < curves.size(); ++i) {
    const std::string& name = curves[i].name;
    bands += "'" + file + "' using '" + axis + "':'" + name + "_low':'" + name +
             "_high' with filledcurves lc rgb " + colour(first + i) + " notitle, \\\n     ";
    lines += std::string(i > 0 ? ", \\\n     " : "") + "'" + file + "' using '" + axis + "':'" + name +
             "_median' with lines " + line_style(first + i) + " title '" + titles[i] + "'";
  }
  return bands + lines;
}
/// The same with the curves' labels as titles.
inline std::string band_lines(const std::string& file, const std::string& axis, const Curves& curves,
                              std::size_t first = 0) {
  std::vector<std::string> titles;
  for (const Curve& curve : curves) titles.push_back(curve.label);
  return band_lines(file, axis, curves, titles, first);
}

/// What panels with gaps share.
inline std::string gap_axes(int rows, int columns) {
  return "set multiplot layout " + std::to_string(rows) + "," + std::to_string(columns) +
         R"( margins 0.055,0.985,0.13,0.9 spacing 0.05,0.16
set logscale y
set style fill transparent solid 0.22 noborder
set ylabel 'optimality gap J(K) - J*' offset 1
)";
}

/// Figure 2: gap over clock with one straggler and with ten, two curves each.
inline Picture straggler_picture(const Curves& curves) {
  std::string script = gap_axes(1, 2) + R"(set logscale x
set xlabel 'clock (ticks)'
set xrange [1:4000]
set yrange [0.19:1.5]
set ytics (0.2, 0.3, 0.4, 0.5, 0.7, 1, 1.35)
set key bottom left
set arrow from 1,0.3 to 4000,0.3 nohead dt 3 lc rgb c_black
)";
  const std::vector<std::string> titles{"asynchronous, buffer of 20", "synchronous"};
  for (std::size_t panel = 0; panel < 2; ++panel) {
    const Curves pair(curves.begin() + static_cast<std::ptrdiff_t>(2 * panel),
                      curves.begin() + static_cast<std::ptrdiff_t>(2 * panel + 2));
    script += panel == 0 ? "set title 'One of 50 agents takes 20 ticks, the others 1'\n"
                         : "unset ylabel\nset title 'Ten of 50 agents take 20 ticks, the others 1'\n";
    script += "plot " + band_lines("stragglers.csv", "ticks", pair, titles);
    for (std::size_t i = 0; i < 2; ++i) {
      script += ", \\\n     'tolerances.csv' using '" + pair[i].name + "_median':'gap' with points pt " +
                (i == 0 ? "7" : "5") + " ps 0.9 lc rgb " + colour(i) + (i == 0 ? " notitle" : " notitle");
    }
    if (panel == 1) {
      script +=
          ", \\\n     'stragglers_published.csv' using 'ticks':'gap' with points pt 6 ps 1.6 lw 2 lc rgb "
          "c_black title 'published'";
    }
    script += "\n";
  }
  return {.name = "stragglers", .width = 1200, .height = 480, .script = script + "unset multiplot\n"};
}

/// Figure 3: latency, batch size (twice) and heterogeneity, gap over updates.
inline Picture panels_picture(const Curves& staleness, const Curves& published, const Curves& same,
                              const Curves& heterogeneity, Index updates) {
  std::string script = "set multiplot layout 2,2 margins 0.06,0.985,0.075,0.95 spacing 0.055,0.13\n" +
                       std::string(R"(set logscale y
set style fill transparent solid 0.22 noborder
set ylabel 'optimality gap J(K) - J*' offset 1
set xlabel 'updates'
set yrange [0.08:2.5]
set ytics (0.1, 0.2, 0.3, 0.5, 1, 2)
)") +
                       "set xrange [0:" + std::to_string(updates) + "]\nset arrow from 0,0.3 to " +
                       std::to_string(updates) + ",0.3 nohead dt 3 lc rgb c_black\n";
  script += "set title '(a) latency of 20 stragglers among 50 agents'\nplot " +
            band_lines("latency.csv", "updates", staleness) + "\nset title '(c) heterogeneity'\nplot " +
            band_lines("heterogeneity.csv", "updates", heterogeneity) +
            "\nset title '(b) reports an update, steps as published'\nplot " +
            band_lines("batch_published.csv", "updates", published) +
            "\nset title '(b) reports an update, the same step for all'\nplot " +
            band_lines("batch_same_step.csv", "updates", same) + "\nunset multiplot\n";
  return {.name = "panels", .width = 1200, .height = 900, .script = script};
}

/// Rules under heavy-tailed latencies: the variants of the buffer, the others, and clock over step.
inline Picture rules_picture(const Curves& same, const std::vector<Contender>& rules) {
  const auto split = same.begin() + static_cast<std::ptrdiff_t>(buffered_rules);
  Curves others(split, same.end());
  others.insert(others.begin(), same.front());
  std::string script = gap_axes(1, 3) + R"(set logscale x
set xlabel 'clock (ticks)'
set xrange [3:30000]
set yrange [0.1:1.5]
set ytics (0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1)
set key bottom left
set title 'Buffer of 20 and its variants, same step a report'
plot )" + band_lines("rules.csv", "ticks", Curves(same.begin(), split)) +
                       "\nset title 'Other rules, same step a report'\nunset ylabel\nplot " +
                       band_lines("rules.csv", "ticks", others) +
                       R"(
set title 'How long a step each rule bears'
set xlabel 'step a report, relative to the other panels'
set ylabel 'ticks to gap 0.15' offset 1
set xrange [0.9:70]
set xtics (1, 2, 4, 8, 16, 32, 64)
set yrange [1:40000]
set ytics autofreq
set format y '10^{%L}'
plot )";
  static const std::vector<std::string> marks{"pt 7", "pt 5", "pt 9", "pt 13", "pt 11", "pt 4"};
  for (std::size_t i = 0; i < others.size(); ++i) {
    script += "'rules_by_step.csv' using 'factor':'" + others[i].name + "' with linespoints " + marks[i] +
              " ps 0.8 " + line_style(i) + " notitle" + (i + 1 < others.size() ? ", \\\n     " : "\n");
  }
  static_cast<void>(rules);
  return {.name = "rules", .width = 1650, .height = 500, .script = script + "unset multiplot\n"};
}

/// Combiners with a fifth of the agents corrupted, without guard and with it.
inline Picture combiners_picture(const Curves& unguarded, const Curves& guarded) {
  std::string script = gap_axes(1, 2) + R"(set logscale x
set xlabel 'clock (ticks)'
set xrange [3:1000]
set yrange [0.19:3]
set ytics (0.2, 0.3, 0.5, 0.7, 1, 1.35, 2)
set key bottom left
set title 'Every fifth agent sends -10 times its estimate; no guard'
plot )" + band_lines("combiners.csv", "ticks", unguarded) +
                       "\nunset ylabel\nset title 'The same, every gain approved by all agents'\nplot " +
                       band_lines("combiners_guarded.csv", "ticks", guarded) + "\nunset multiplot\n";
  return {.name = "combiners", .width = 1200, .height = 480, .script = script};
}

/// The Gantt charts.
inline Picture timeline_picture() {
  return {.name = "timeline",
          .width = 1400,
          .height = 820,
          .script = R"(set multiplot layout 2,1 margins 0.12,0.92,0.075,0.95 spacing 0,0.11
set xrange [0:30]
set yrange [9.6:0.4]
set ytics ('agent 1' 1, 'agent 2' 2, 'agent 3' 3, 'agent 4' 4, 'agent 5' 5, 'agent 6' 6, \
  '7, straggler' 7, '8, loses messages' 8, '9, comes and goes' 9)
unset grid
set palette defined (0 '#ffffd9', 1 '#c7e9b4', 2 '#7fcdbb', 3 '#41b6c4', 4 '#5aa2d6', 5 '#8f9fd8')
set cbrange [0:*]
set cblabel 'version of the gain'
set xlabel 'clock (ticks)'
set style fill solid border lc rgb c_black
set key off
server = 0
is(s, how) = s == server && how
do for [server=0:1] {
  set title server == 0 ? 'Asynchronous: an update with every 4 reports (vertical lines)' : 'Synchronous: an update when all present have reported'
  plot 'commits.csv' using (column('server') == server ? column('ticks') : 1/0):(0.4):(0):(9.2) with vectors nohead lw 1 lc rgb c_grey, \
    'timeline.csv' using (is(column('server'), column('how') == 0) ? column('begin') : 1/0):'agent':'begin':'end':(column('agent')-0.36):(column('agent')+0.36):'version' with boxxyerror fs solid border lc palette, \
    '' using (is(column('server'), column('how') > 0) ? column('begin') : 1/0):'agent':'begin':'end':(column('agent')-0.36):(column('agent')+0.36) with boxxyerror fs empty border lc rgb c_grey, \
    '' using (column('server') == server ? (column('begin')+column('end'))/2 : 1/0):'agent':(sprintf('%d', column('version'))) with labels font ',10'
}
unset multiplot
)"};
}

}  // namespace examples::async
