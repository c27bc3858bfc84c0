#pragma once

/// @file
/// The gnuplot scripts of the asynchronous figures.

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <string>
#include <vector>

#include "async_rules.hpp"
#include "async_timeline.hpp"
#include "picture.hpp"

namespace examples::async {

/// How the i-th line of a panel looks.
inline std::string colour(std::size_t i) {
  static const std::vector<std::string> colours{"c_blue", "c_red",    "c_green",
                                                "c_pink", "c_orange", "c_black"};
  return colours[i % colours.size()];
}
inline std::string line_style(std::size_t i) {
  static const std::vector<std::string> dashes{"1", "2", "4", "3", "5", "1"};
  return (i % dashes.size() == 3 ? "lw 3 dt " : "lw 2 dt ") + dashes[i % dashes.size()] + " lc rgb " +
         colour(i);
}

/// The commands that draw bands and medians of curves from a file.
inline std::string band_lines(const std::string& file, const std::string& axis, const Curves& curves) {
  std::string bands;
  std::string lines;
  for (std::size_t i = 0; i < curves.size(); ++i) {
    const std::string& name = curves[i].name;
    const std::string x = "'" + file + "' using '" + axis + "':";
    bands += x + "(cap('" + name + "_low')):(cap('" + name + "_high')) with filledcurves lc rgb " +
             colour(i) + " notitle, \\\n     ";
    lines += (i > 0 ? ", \\\n     " : "") + x + "(cap('" + name + "_median')) with lines " + line_style(i) +
             " title '" + curves[i].label + "'";
  }
  return bands + lines;
}

/// What panels with gaps share; a gap that is infinite is drawn far above them.
inline std::string gap_axes(const std::string& layout) {
  return "set multiplot layout " + layout + R"(
cap(name) = column(name) < 100 ? column(name) : 100
set logscale y
set style fill transparent solid 0.22 noborder
set ylabel 'optimality gap J(K) - J*' offset 0.5
set key samplen 3
)";
}

/// Figure 2: gap over clock with one straggler and with ten, two curves each.
inline Picture straggler_picture(const Curves& curves) {
  std::string script = gap_axes("1,2 margins 0.07,0.98,0.13,0.9 spacing 0.055,0") + R"(set logscale x
set xlabel 'clock (ticks)'
set xrange [1:9000]
set yrange [0.19:1.6]
set ytics (0.2, 0.3, 0.4, 0.5, 0.7, 1, 1.35)
set key top right
set arrow from 1,0.3 to 9000,0.3 nohead dt 3 lc rgb c_black
text(x) = sprintf('%.4g ticks', x)
)";
  for (std::size_t panel = 0; panel < 2; ++panel) {
    Curves pair(curves.begin() + static_cast<std::ptrdiff_t>(2 * panel),
                curves.begin() + static_cast<std::ptrdiff_t>(2 * panel + 2));
    pair[0].label = "asynchronous";
    pair[1].label = "synchronous";
    script += panel == 0 ? "set title 'One of 50 agents takes 20 ticks, the others 1'\n"
                         : "unset ylabel\nset title 'Ten of 50 agents take 20 ticks, the others 1'\n";
    script += "plot " + band_lines("stragglers.csv", "ticks", pair);
    for (std::size_t i = 0; i < 2; ++i) {
      const std::string clock = "'" + pair[i].name + "_median'";
      script += ", \\\n     'tolerances.csv' using " + clock + ":'gap' with points ps 0.9 lc rgb " +
                colour(i) + (i == 0 ? " pt 7" : " pt 5") +
                " notitle, \\\n     '' using (abs(column('gap')-0.3)<1e-6 ? column(" + clock +
                ") : 1/0):'gap':(text(column(" + clock + "))) with labels right offset -0.8,-0.7 tc rgb " +
                colour(i) + " notitle";
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
inline Picture panels_picture(Curves latency, const Curves& published, Curves same,
                              const Curves& heterogeneity, Index updates) {
  for (Curves* curves : {&latency, &same}) {
    for (Curve& curve : *curves) {
      const double oldest =
          curve.spread([](const Track& track) { return static_cast<double>(track.oldest); }).median;
      char text[64];
      std::snprintf(text, sizeof text, ", staleness up to %.0f", oldest);
      curve.label = curve.label.substr(0, curve.label.find(',')) + text;
    }
  }
  // Without guard the highest level is lost at once, which the table says.
  Curves levels = heterogeneity;
  std::erase_if(levels, [](const Curve& curve) {
    return curve.lost() == static_cast<Index>(curve.tracks.size()) && curve.name == "high";
  });
  const std::string last = std::to_string(updates);
  std::string script =
      gap_axes("2,2 margins 0.07,0.98,0.075,0.955 spacing 0.055,0.13") +
      "set xlabel 'updates'\nset yrange [0.08:4.5]\nset ytics (0.1, 0.2, 0.3, 0.5, 1, 2, 4)\n"
      "set xrange [0:" +
      last + "]\nset arrow from 0,0.3 to " + last + ",0.3 nohead dt 3 lc rgb c_black\n";
  const std::string left = "\nset ylabel 'optimality gap J(K) - J*' offset 0.5\n";
  script += "set title '(a) Latency of 20 stragglers among 50 agents'\nplot " +
            band_lines("latency.csv", "updates", latency) +
            "\nunset ylabel\nset title '(b) Reports an update, steps as published'\nplot " +
            band_lines("batch_published.csv", "updates", published) + left +
            "set title '(b) again, step 1e-05 for all'\nplot " +
            band_lines("batch_same_step.csv", "updates", same) +
            "\nunset ylabel\nset title '(c) Heterogeneity: levels of A, B, Q, R'\nplot " +
            band_lines("heterogeneity.csv", "updates", levels) + "\nunset multiplot\n";
  return {.name = "panels", .width = 1200, .height = 900, .script = script};
}

/// The buffer and its variants, of curves of all rules.
inline Curves buffers_of(const Curves& all) {
  return {all.begin(), all.begin() + static_cast<std::ptrdiff_t>(buffered_rules)};
}
/// The buffer and the rules that are no variants of it.
inline Curves others_of(const Curves& all) {
  Curves others(all.begin() + static_cast<std::ptrdiff_t>(buffered_rules), all.end());
  others.insert(others.begin(), all.front());
  return others;
}

/// Rules under heavy-tailed latencies: the variants of the buffer, the others, and clock over step.
inline Picture rules_picture(const Curves& same) {
  const Curves others = others_of(same);
  std::string script =
      gap_axes(
          "1,3 title 'Each piece of work takes X ticks, P(X > x) = x^{-1.2}; 50 agents' margins "
          "0.05,0.985,0.12,0.85 spacing 0.058,0") +
      R"(set logscale x
set xlabel 'clock (ticks)'
set xrange [1:20000]
set yrange [0.15:1.6]
set ytics (0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1, 1.35)
set key bottom left Left reverse
set title 'A buffer of 20 and its variants; the same step for each report'
plot )" +
      band_lines("rules.csv", "ticks", buffers_of(same)) +
      "\nset title 'The buffer and other rules; the same step for each report'\nunset ylabel\nplot " +
      band_lines("rules.csv", "ticks", others) +
      R"(
set title 'Longer steps, until some run loses a plant'
set xlabel 'step, relative to the other panels'
set ylabel 'ticks to gap 0.15' offset 1.5
set xrange [0.85:75]
set xtics (1, 2, 4, 8, 16, 32, 64)
set yrange [1:40000]
set ytics autofreq
set key top right noreverse Right
plot )";
  const std::vector<std::string> marks{"pt 7", "pt 5", "pt 9", "pt 13", "pt 11", "pt 4"};
  for (std::size_t i = 0; i < others.size(); ++i) {
    script += (i > 0 ? ", \\\n     " : "") + std::string("'rules_by_step.csv' using 'factor':'") +
              others[i].name + "' with linespoints ps 0.9 " + marks[i] + " " + line_style(i) + " title '" +
              others[i].label + "'";
  }
  return {.name = "rules", .width = 1700, .height = 560, .script = script + "\nunset multiplot\n"};
}

/// Combiners with a fifth of the agents corrupted, without guard and with it.
inline Picture combiners_picture(const Curves& unguarded, const Curves& guarded) {
  return {.name = "combiners",
          .width = 1200,
          .height = 480,
          .script = gap_axes("1,2 margins 0.07,0.98,0.13,0.9 spacing 0.055,0") + R"(set logscale x
set xlabel 'clock (ticks)'
set xrange [1:900]
set yrange [0.19:3]
set ytics (0.2, 0.3, 0.5, 0.7, 1, 1.35, 2, 3)
set key bottom left Left reverse
set title 'Every fifth agent sends -10 times its estimate; no guard'
plot )" + band_lines("combiners.csv", "ticks", unguarded) +
                    "\nunset ylabel\nset title 'The same, where all agents must approve a gain'\nplot " +
                    band_lines("combiners_guarded.csv", "ticks", guarded) + "\nunset multiplot\n"};
}

/// All rules with a fifth of the agents corrupted: the variants of the buffer above, the others below;
/// without guard on the left, with it on the right.
inline Picture corrupted_rules_picture(const Curves& unguarded, const Curves& guarded) {
  const auto panel = [](const std::string& file, const Curves& curves) {
    return "plot 'combiners.csv' using 'ticks':(cap('combiner_honest_median')) with lines lw 1.5 lc rgb "
           "c_grey title 'buffer, all honest', \\\n     " +
           band_lines(file, "ticks", curves);
  };
  std::string script =
      gap_axes(
          "2,2 title 'Every fifth agent sends -10 times its estimate; an update takes the coordinate median "
          "of its reports' margins 0.065,0.985,0.07,0.9 spacing 0.055,0.11") +
      "set logscale x\nset xrange [1:" + std::to_string(static_cast<int>(corrupted_end)) + R"(]
set yrange [0.19:3]
set ytics (0.2, 0.3, 0.5, 0.7, 1, 1.35, 2, 3)
set key bottom left Left reverse
set title 'A buffer of 20 and its variants; no guard'
)" + panel("corrupted_rules.csv", buffers_of(unguarded)) +
      "\nunset ylabel\nset title 'The same, where all agents must approve a gain'\n" +
      panel("corrupted_rules_guarded.csv", buffers_of(guarded)) + R"(
set xlabel 'clock (ticks)'
set ylabel 'optimality gap J(K) - J*' offset 0.5
set title 'The buffer and other rules; no guard'
)" + panel("corrupted_rules.csv", others_of(unguarded)) +
      "\nunset ylabel\nset title 'With the guard, while reports wait for the answers'\n" +
      panel("corrupted_rules_guarded.csv", others_of(guarded)) + "\nunset multiplot\n";
  return {.name = "corrupted_rules", .width = 1200, .height = 900, .script = script};
}

/// The Gantt charts.
inline Picture timeline_picture(const Timeline& timeline) {
  const std::string versions = std::to_string(std::max<Index>(timeline.updates[0], timeline.updates[1]));
  return {.name = "timeline", .width = 1400, .height = 820, .script = "set cbrange [0:" + versions + R"(]
set multiplot layout 2,1 margins 0.125,0.885,0.075,0.955 spacing 0,0.085
set xrange [0:30]
set yrange [9.6:0.4]
set ytics scale 0 ('agent 1' 1, 'agent 2' 2, 'agent 3' 3, 'agent 4' 4, 'agent 5' 5, 'agent 6' 6, \
  '7, straggler' 7, '8, loses messages' 8, '9, comes and goes' 9)
set xtics nomirror
unset grid
set palette defined (0 '#ffffcc', 1 '#c7e9b4', 2 '#7fcdbb', 3 '#41b6c4', 4 '#6baed6', 5 '#9ea6dd')
set cblabel 'version of the gain'
set key off
is(how) = column('server') == server && how
from(how) = is(how) ? column('begin') : 1/0
until(how) = is(how) ? column('end') : 1/0
low = -0.36; high = 0.36
do for [server=0:1] {
  set title server == 0 ? 'Asynchronous, an update (line) with every 4 reports; white: no report came of it, cross: it was lost' \
    : 'Synchronous, an update when all that are present have reported'
  set xlabel server == 0 ? '' : 'clock (ticks)'
  plot 'commits.csv' using (is(1) ? column('ticks') : 1/0):(0.4):(0):(9.2) with vectors nohead lw 1.5 lc rgb c_grey, \
    'timeline.csv' using (from(column('how') == 0)):'agent':'begin':'end':(column('agent')+low):(column('agent')+high):'version' with boxxyerror lc palette fs solid border lc rgb c_black, \
    '' using (from(column('how') > 0)):'agent':'begin':'end':(column('agent')+low):(column('agent')+high) with boxxyerror lc rgb '#ffffff' fs solid border lc rgb c_black, \
    '' using (until(column('how') == 1)):'agent' with points pt 2 ps 1.4 lw 3 lc rgb c_red, \
    '' using (is(column('end') - column('begin') > 0.5) ? (column('begin')+column('end'))/2 : 1/0):'agent':(sprintf('%d', column('version'))) with labels
}
unset multiplot
)"};
}

}  // namespace examples::async
