#pragma once

/// @file
/// Controllers from data by the optimal gain of the estimate and by robust designs: how often they stabilise
/// the true plant, what they cost there, and what is promised of them.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <metalqr/synthesis/certificate.hpp>
#include <metalqr/synthesis/common_lyapunov.hpp>
#include <metalqr/synthesis/csdp.hpp>
#include <metalqr/synthesis/ellipsoid.hpp>
#include <metalqr/synthesis/fir.hpp>

#include "coarse_id_identification.hpp"
#include "coarse_id_study.hpp"

namespace examples::coarse_id {

namespace synthesis = metalqr::synthesis;

/// A controller on one data set.
struct Outcome {
  bool found = false;               ///< whether there is one
  double suboptimality = infinity;  ///< J/J* - 1 on the true plant; infinite where it does not stabilise that
  double promise = infinity;        ///< the same of the bound that is certified
};

/// A way to a controller.
struct Contender {
  std::string name;                                  ///< in files
  std::string label;                                 ///< for people
  Index trials = 0;                                  ///< data sets for each N
  std::function<Outcome(const Sample&)> controller;  ///< on one of them
  std::vector<std::vector<Outcome>> outcomes{};      ///< by N, by data set

  /// A number of each outcome.
  std::vector<double> values(std::size_t at, double Outcome::*member) const {
    std::vector<double> result;
    for (const Outcome& outcome : outcomes[at]) result.push_back(outcome.*member);
    return result;
  }
  double found(std::size_t at) const {
    const auto count = std::count_if(outcomes[at].begin(), outcomes[at].end(), std::mem_fn(&Outcome::found));
    return static_cast<double>(count) / static_cast<double>(outcomes[at].size());
  }
};

namespace detail {

/// Whose errors a robust design is told.
enum class Errors { truth, bootstrap };

inline synthesis::RobustProblem<Backend> problem_of(const Plant& plant, const Sample& sample, Errors errors) {
  const Pair& radii = errors == Errors::truth ? sample.error : sample.bootstrap;
  return {{sample.estimate.A, sample.estimate.B, plant.task.Q(), plant.task.R()}, radii.A, radii.B};
}

/// Of a static gain, as `common_lyapunov` and `ellipsoid` give it.
inline Outcome outcome_of(const Plant& plant, const synthesis::RobustGain<Backend>& design) {
  if (design.status != synthesis::SynthesisStatus::solved) return {};
  return {true, plant.suboptimality(design.gain),
          std::min(design.cost_bound, design.certified_cost) / plant.optimal_cost - 1};
}

inline Outcome outcome_of(const Plant& plant, const synthesis::FirDesign<Backend>& design) {
  if (design.status != synthesis::SynthesisStatus::solved) return {};
  return {true, synthesis::cost(plant.task, design.controller.state_space()) / plant.optimal_cost - 1,
          std::min(design.cost_bound, design.certified_cost) / plant.optimal_cost - 1};
}

/// The ellipsoid that the regressors draw, just large enough for the true plant, or by the data-dependent
/// bound.
inline Outcome ellipsoid_outcome(const Plant& plant, const Settings& settings, const Sample& sample,
                                 Errors errors) {
  const auto set =
      identification::data_bound(sample.estimate, {.delta = settings.delta, .noise = 1, .rigorous = false})
          .ellipsoid;
  const double level =
      errors == Errors::truth ? set.level_of(plant.task.A(), plant.task.B()) * (1 + 1e-9) : set.level;
  const Backend::Matrix squares = Backend::transpose_product(set.factor, set.factor);
  const synthesis::EllipsoidProblem<Backend> problem{
      {sample.estimate.A, sample.estimate.B, plant.task.Q(), plant.task.R()},
      Backend::Matrix(squares / level)};
  return outcome_of(plant, synthesis::ellipsoid(problem, synthesis::Csdp()));
}

}  // namespace detail

/// All ways, each twice but the first: with the true errors, which nobody knows, and with those that the data
/// suggest.
inline std::vector<Contender> contenders(const Plant& plant, const Settings& settings) {
  using detail::Errors;
  std::vector<Contender> all;
  all.push_back({"nominal", "optimal gain of the estimate", settings.trials, [&plant](const Sample& sample) {
                   const double value = certainty_equivalent(plant, sample.estimate);
                   const auto bound = [&] {
                     try {
                       const auto problem = detail::problem_of(plant, sample, Errors::bootstrap);
                       const auto gain = metalqr::solve_dare(problem.estimate).gain;
                       return synthesis::certify(problem, gain).cost_bound / plant.optimal_cost - 1;
                     } catch (const metalqr::Error&) {
                       return infinity;
                     }
                   };
                   return Outcome{true, value, bound()};
                 }});
  // A share of an estimate that no gain stabilises is no design, as one that is too uncertain.
  const auto guarded = [](const auto& design) {
    return [design](const Sample& sample) {
      try {
        return design(sample);
      } catch (const metalqr::NotStabilizable&) {
        return Outcome{};
      }
    };
  };
  for (const Errors errors : {Errors::truth, Errors::bootstrap}) {
    const std::string suffix = errors == Errors::truth ? "_true" : "_data";
    const std::string whose = errors == Errors::truth ? ", true errors" : ", bootstrap";
    const auto lyapunov = [&plant, errors](const std::optional<double>& gamma) {
      return [&plant, errors, gamma](const Sample& sample) {
        return detail::outcome_of(plant, synthesis::common_lyapunov(detail::problem_of(plant, sample, errors),
                                                                    synthesis::Csdp(), {.gamma = gamma}));
      };
    };
    all.push_back(
        {"lyapunov" + suffix, "common Lyapunov" + whose, settings.trials, guarded(lyapunov(0.999))});
    all.push_back({"lyapunov_best" + suffix, "common Lyapunov, least bound" + whose, settings.trials,
                   guarded(lyapunov(synthesis::optimised))});
    all.push_back({"fir" + suffix, "finite response" + whose, std::min(settings.fir_trials, settings.trials),
                   guarded([&plant, &settings, errors](const Sample& sample) {
                     return detail::outcome_of(
                         plant, synthesis::fir(detail::problem_of(plant, sample, errors), synthesis::Csdp(),
                                               {.length = settings.length, .gamma = 0.999, .alpha = 0.5}));
                   })});
    all.push_back({"ellipsoid" + suffix,
                   errors == Errors::truth ? "ellipsoid, true size" : "ellipsoid, data-dependent bound",
                   settings.trials, guarded([&plant, &settings, errors](const Sample& sample) {
                     return detail::ellipsoid_outcome(plant, settings, sample, errors);
                   })});
  }
  return all;
}

namespace detail {

inline std::string colour_of(const std::string& name) {
  if (name.starts_with("nominal")) return "c_black";
  if (name.starts_with("lyapunov_best")) return "c_orange";
  if (name.starts_with("lyapunov")) return "c_blue";
  if (name.starts_with("fir")) return "c_red";
  return "c_green";
}

/// A line for each contender whose name is in `names`; without `titles` none in the key.
inline std::string design_curves(const std::vector<Contender>& all, const std::vector<std::string>& names,
                                 const std::string& column, bool titles) {
  std::string text;
  for (const Contender& one : all) {
    if (std::find(names.begin(), names.end(), one.name) == names.end()) continue;
    const bool data = one.name.ends_with("_data");
    text += (text.empty() ? "plot " : ", \\\n     ") + std::string("'designs.csv' using 'N':'") + one.name +
            column + "' with linespoints lw 2 ps 0.8 lc rgb " + colour_of(one.name) +
            (data ? " dt 2 pt 6" : " pt 7") +
            (titles ? " title '" + one.label + "'" : std::string(" notitle"));
  }
  return text;
}

inline Picture designs_picture(const std::vector<Contender>& all) {
  const std::vector<std::string> main{"nominal",  "lyapunov_true",  "lyapunov_data", "fir_true",
                                      "fir_data", "ellipsoid_true", "ellipsoid_data"};
  const std::vector<std::string> data{"nominal", "lyapunov_data", "lyapunov_best_data", "fir_data",
                                      "ellipsoid_data"};
  return {
      .name = "designs",
      .width = 1400,
      .height = 960,
      .script =
          R"(set multiplot layout 2,2 margins 0.06,0.985,0.065,0.955 spacing 0.06,0.115
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
set ylabel 'J/J* - 1 on the true plant (median)' offset 1
set yrange [0.1:30]
unset key
set title 'Its cost above the optimum, where it stabilises (level 0.999)'
)" + design_curves(all, main, "_cost", false) +
          R"(
set key top right
set title 'The level: 0.999 costs less on the true plant than the one of the least bound'
)" +
          design_curves(
              all, {"nominal", "lyapunov_true", "lyapunov_data", "lyapunov_best_true", "lyapunov_best_data"},
              "_cost", true) +
          R"(
set yrange [0.5:300]
set ylabel 'J/J* - 1 (median)' offset 1
set title 'What is promised of every plant that the data leave (certified bound)'
)" + design_curves(all, data, "_promise", true) +
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
                   "cost: median of J/J* - 1 there; promise: median of the certified bound of that"},
      .columns = {"N"}};
  for (const Contender& one : all) {
    for (const char* part : {"_found", "_stable", "_cost", "_cost_low", "_cost_high", "_promise"})
      table.columns.push_back(one.name + part);
  }
  study.report =
      "\nControllers: found and stable: shares of the data sets; J/J* - 1 on the true plant where it is "
      "stable, "
      "medians\n(10 % - 90 %); promise: median of the certified bound of that\n";
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
      const std::vector<double> row{one.found(n), stable, cost.median, cost.low, cost.high, promise};
      table.rows.back().insert(table.rows.back().end(), row.begin(), row.end());
      summary[one.name] = {{"trials", one.trials},
                           {"found", row[0]},
                           {"stable", row[1]},
                           {"cost", number(row[2])},
                           {"promise", number(row[5])}};
      study.report += print("    %-42s found %5.3f, stable %5.3f, cost %7.3f (%.3f - %.3f), promise %.3g\n",
                            one.label.c_str(), row[0], row[1], row[2], row[3], row[4], row[5]);
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
