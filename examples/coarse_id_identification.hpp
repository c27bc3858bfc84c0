#pragma once

/// @file
/// How far estimates are from the plant, what bootstrap and bounds say of that, and how often the optimal
/// gain of the estimate stabilises the plant.

#include <cmath>
#include <cstddef>
#include <iterator>
#include <string>
#include <vector>

#include <metalqr/core/error.hpp>
#include <metalqr/equations/spectral_norm.hpp>
#include <metalqr/identification/bootstrap.hpp>
#include <metalqr/identification/data_bound.hpp>
#include <metalqr/identification/least_squares.hpp>
#include <metalqr/identification/planning_bound.hpp>

#include "coarse_id_study.hpp"

namespace examples::coarse_id {

/// Two numbers for A and for B.
struct Pair {
  double A = infinity;
  double B = infinity;

  /// Whether both bound the errors `other`.
  bool covers(const Pair& other) const { return other.A <= A && other.B <= B; }
};

/// One data set and what bootstrap says of its estimate.
struct Sample {
  identification::Estimate<Backend> estimate;
  Pair error;
  Pair bootstrap;
};

inline Pair error_of(const Plant& plant, const identification::Estimate<Backend>& estimate) {
  const Backend::StateMatrix A = estimate.A - plant.task.A();
  const Backend::InputMatrix B = estimate.B - plant.task.B();
  return {metalqr::spectral_norm<Backend>(A), metalqr::spectral_norm<Backend>(B)};
}

/// The data set `index` with N rollouts, all samples, and its bootstrap as published: separate percentiles,
/// known levels of noise and excitation.
inline Sample sample(const Plant& plant, const Settings& settings, Index rollouts, Index index) {
  const auto data = draw(plant, settings, rollouts, index);
  const auto estimate = identification::least_squares(data);
  const auto found = identification::bootstrap(estimate, data,
                                               {.trials = settings.bootstrap,
                                                .delta = settings.delta,
                                                .excitation = 1,
                                                .noise = 1,
                                                .percentiles = identification::Percentiles::separate},
                                               {.seed = settings.seed,
                                                .iteration = static_cast<std::uint64_t>(rollouts),
                                                .task = static_cast<std::uint64_t>(index)},
                                               1);
  return {estimate, error_of(plant, estimate), {found.epsilon_A, found.epsilon_B}};
}

/// J/J* - 1 of the optimal gain of an estimate; infinite where it does not stabilise the plant or there is
/// none.
inline double certainty_equivalent(const Plant& plant, const identification::Estimate<Backend>& estimate) {
  try {
    const Task task(estimate.A, estimate.B, plant.task.Q(), plant.task.R());
    return plant.suboptimality(metalqr::solve_dare(task).gain);
  } catch (const metalqr::Error&) {
    return infinity;
  }
}

/// What is known of one number of rollouts.
struct Identified {
  std::vector<Pair> all{};         ///< errors, all samples
  std::vector<Pair> last{};        ///< errors, last samples
  std::vector<Pair> all_bound{};   ///< data-dependent bound, all samples
  std::vector<Pair> last_bound{};  ///< the same, last samples, for which it is a theorem
  std::vector<Pair> bootstrap{};   ///< of the first data sets
  std::vector<double> nominal{};   ///< J/J* - 1 of the optimal gain of the estimate
};

inline Identified identify(const Plant& plant, const Settings& settings, Index rollouts, Progress& progress) {
  const auto count = static_cast<std::size_t>(settings.plain_trials);
  Identified result{.all = std::vector<Pair>(count),
                    .last = std::vector<Pair>(count),
                    .all_bound = std::vector<Pair>(count),
                    .last_bound = std::vector<Pair>(count),
                    .bootstrap = std::vector<Pair>(static_cast<std::size_t>(settings.trials)),
                    .nominal = std::vector<double>(count, infinity)};
  for_each_dataset(settings.plain_trials, settings, progress, [&](Index index) {
    const auto i = static_cast<std::size_t>(index);
    const auto data = draw(plant, settings, rollouts, index);
    const auto estimate = identification::least_squares(data);
    result.all[i] = error_of(plant, estimate);
    result.nominal[i] = certainty_equivalent(plant, estimate);
    const identification::DataBoundOptions options{.delta = settings.delta, .noise = 1, .rigorous = false};
    const auto bound = identification::data_bound(estimate, options);
    result.all_bound[i] = {bound.epsilon_A, bound.epsilon_B};
    // As many last samples as unknowns in a row, at least.
    if (rollouts <= 6) return;
    const auto last = identification::least_squares(data, {.samples = identification::Samples::last});
    result.last[i] = error_of(plant, last);
    const auto rigorous = identification::data_bound(last, options);
    result.last_bound[i] = {rigorous.epsilon_A, rigorous.epsilon_B};
  });
  for_each_dataset(settings.trials, settings, progress, [&](Index index) {
    result.bootstrap[static_cast<std::size_t>(index)] = sample(plant, settings, rollouts, index).bootstrap;
  });
  return result;
}

namespace detail {

inline std::vector<double> of(const std::vector<Pair>& pairs, double Pair::*member) {
  std::vector<double> values;
  for (const Pair& pair : pairs) values.push_back(pair.*member);
  return values;
}

inline double coverage(const std::vector<Pair>& bounds, const std::vector<Pair>& errors) {
  double covered = 0;
  for (std::size_t i = 0; i < bounds.size(); ++i) covered += bounds[i].covers(errors[i]) ? 1 : 0;
  return covered / static_cast<double>(bounds.size());
}

/// The curves of the panel of A or of B.
inline std::string error_curves(const std::string& member, bool planned) {
  const std::string x = "'identification.csv' using 'N':";
  const auto line = [&](const std::string& name, const std::string& style, const std::string& title) {
    return ", \\\n     " + x + "'" + name + "_" + member + "' with linespoints " + style + " title '" +
           title + "'";
  };
  return "plot " + x + "'error_" + member + "_low':'error_" + member +
         "_high' with filledcurves lc rgb c_blue fs transparent solid 0.22 noborder notitle" +
         line("error", "lw 2 pt 7 ps 0.7 lc rgb c_blue", "true error, all samples (10 - 90 %)") +
         line("bootstrap", "lw 2 dt 2 pt 5 ps 0.7 lc rgb c_red", "bootstrap") +
         line("bound", "lw 2 dt 4 pt 9 ps 0.8 lc rgb c_green", "data-dependent bound, all samples") +
         line("error_last", "lw 2 pt 6 ps 0.7 lc rgb c_sky", "true error, last samples") +
         line("bound_last", "lw 2 dt 4 pt 8 ps 0.8 lc rgb c_orange", "data-dependent bound, last samples") +
         (planned ? ", \\\n     'planning.csv' using 'N':'bound_" + member +
                        "' with lines lw 2 dt 3 lc rgb c_black title 'a-priori bound, last samples'"
                  : "") +
         "\n";
}

inline Picture identification_picture(const Settings& settings, bool planned) {
  return {.name = "identification",
          .width = 1300,
          .height = 560,
          .script =
              R"(set multiplot layout 1,2 margins 0.06,0.985,0.12,0.91 spacing 0.05,0
set logscale xy
set xlabel 'number of rollouts N, of )" +
              std::to_string(settings.horizon) + R"( steps each'
set xrange [4.5:)" +
              std::to_string(2 * settings.rollouts.back()) +
              R"(]
set xtics (5, 10, 20, 40, 60, 100, 200, 400, 1000)
set yrange [0.02:100]
set key top right samplen 4
set ylabel 'error or bound in spectral norm (medians)'
set title 'Error of the estimated A, and what can be said of it'
)" + error_curves("A", planned) +
              "unset ylabel\nunset key\nset title 'Error of the estimated B, and what can be said of it'\n" +
              error_curves("B", planned) + "unset multiplot\n"};
}

}  // namespace detail

/// Errors, bootstrap and bounds against the number of rollouts.
inline Study identification_study(const Plant& plant, const Settings& settings) {
  Study study{.name = "identification"};
  study.report =
      "\nIdentification: medians; 'both': data sets whose two bounds both hold (%); nominal: the optimal "
      "gain of "
      "the\nestimate: how often it stabilises the plant, and the median of J/J* - 1 where it does\n"
      "     N  error A / B      last A / B      bootstrap A / B  both  bound A / B     both  last A / B      "
      "both "
      " nominal\n";
  io::Table table{
      .comments = {"Errors of least squares and their bounds; " + std::to_string(settings.plain_trials) +
                   " data sets for each N, " + std::to_string(settings.trials) +
                   " for the bootstrap; medians, 10 % and 90 % quantiles; both_...: share of the data "
                   "sets whose bounds of A and B both hold"},
      .columns = {"N"}};
  const char* const names[] = {
      "error_A",      "error_B",         "error_A_low",    "error_A_high",         "error_B_low",
      "error_B_high", "error_last_A",    "error_last_B",   "bootstrap_A",          "bootstrap_B",
      "bound_A",      "bound_B",         "bound_last_A",   "bound_last_B",         "both_bootstrap",
      "both_bound",   "both_bound_last", "nominal_stable", "nominal_suboptimality"};
  table.columns.insert(table.columns.end(), std::begin(names), std::end(names));
  Progress progress("identification",
                    static_cast<long>(settings.rollouts.size()) * (settings.plain_trials + settings.trials));
  for (const Index rollouts : settings.rollouts) {
    const Identified found = identify(plant, settings, rollouts, progress);
    using detail::of;
    const Spread A = spread(of(found.all, &Pair::A));
    const Spread B = spread(of(found.all, &Pair::B));
    const bool has_last = rollouts > 6;
    const auto median = [](const std::vector<Pair>& pairs, double Pair::*member) {
      return median_of_finite(of(pairs, member));
    };
    const double nan = std::nan("");
    const std::vector<double> row{A.median,
                                  B.median,
                                  A.low,
                                  A.high,
                                  B.low,
                                  B.high,
                                  median(found.last, &Pair::A),
                                  median(found.last, &Pair::B),
                                  median(found.bootstrap, &Pair::A),
                                  median(found.bootstrap, &Pair::B),
                                  median(found.all_bound, &Pair::A),
                                  median(found.all_bound, &Pair::B),
                                  median(found.last_bound, &Pair::A),
                                  median(found.last_bound, &Pair::B),
                                  detail::coverage(found.bootstrap, found.all),
                                  detail::coverage(found.all_bound, found.all),
                                  has_last ? detail::coverage(found.last_bound, found.last) : nan,
                                  finite_share(found.nominal),
                                  median_of_finite(found.nominal)};
    Json summary = {{"N", rollouts}};
    for (std::size_t i = 0; i < row.size(); ++i) summary[names[i]] = number_or_null(row[i]);
    study.summary.push_back(summary);
    study.report += print(
        "  %4td  %-6.4f / %-6.4f  %-6.4f / %-6.4f %-6.4f / %-6.4f  %4.0f  %-6.4f / %-6.4f %4.0f ", rollouts,
        row[0], row[1], row[6], row[7], row[8], row[9], 100 * row[14], row[10], row[11], 100 * row[15]);
    study.report +=
        print(" %-6.4f / %-6.4f %4.0f  %.3f, %.3f\n", row[12], row[13], 100 * row[16], row[17], row[18]);
    table.rows.push_back({static_cast<double>(rollouts)});
    table.rows.back().insert(table.rows.back().end(), row.begin(), row.end());
  }
  io::Table planning{.comments = {"arXiv 1710.01688, proposition 1.1, from the true plant"},
                     .columns = {"N", "bound_A", "bound_B"}};
  const auto bound_for = [&](Index rollouts) {
    return identification::planning_bound(plant.task, {.rollouts = rollouts, .horizon = settings.horizon},
                                          {.delta = settings.delta});
  };
  const auto least = static_cast<Index>(std::ceil(bound_for(1).least_rollouts));
  for (Index rollouts = least; rollouts <= 2 * settings.rollouts.back(); rollouts += 3) {
    const auto bound = bound_for(rollouts);
    planning.rows.push_back({static_cast<double>(rollouts), bound.epsilon_A, bound.epsilon_B});
  }
  study.tables = {{"identification.csv", table}, {"planning.csv", planning}};
  study.pictures = {detail::identification_picture(settings, !planning.rows.empty())};
  return study;
}

}  // namespace examples::coarse_id
