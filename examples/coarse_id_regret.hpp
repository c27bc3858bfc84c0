#pragma once

/// @file
/// Learning while controlling: the regret of adaptive strategies, and what their controllers cost.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <metalqr/adaptive/advance.hpp>
#include <metalqr/adaptive/optimism.hpp>
#include <metalqr/adaptive/thompson_sampling.hpp>
#include <metalqr/synthesis/common_lyapunov.hpp>
#include <metalqr/synthesis/csdp.hpp>

#include "coarse_id_study.hpp"

namespace examples::coarse_id {

namespace adaptive = metalqr::adaptive;

/// A number for each step of a run.
struct AdaptiveRun {
  std::vector<double> regret;  ///< so far
  std::vector<double> excess;  ///< J/J* - 1 of the controller in the loop; infinite if it is unstable
};

/// A way to learn while controlling, and its runs.
struct Learner {
  std::string name;    ///< in the table
  std::string label;   ///< in words
  std::string colour;  ///< in the picture
  std::function<AdaptiveRun(std::uint64_t trial)> run;
  std::vector<AdaptiveRun> runs{};
};

namespace detail {

/// The plant of the comparison, whose first gain is optimal for another cost.
struct AdaptiveSetting {
  Task plant = metalqr::systems::laplacian_3<Backend>(10);
  Backend::Gain K0 = metalqr::solve_dare(metalqr::systems::laplacian_3<Backend>()).gain;
};

template <class T>
Learner learner(std::string name, std::string label, std::string colour, const T& strategy,
                const adaptive::Schedule& schedule, const Settings& settings) {
  const AdaptiveSetting setting;
  const adaptive::Options<Backend> options{.schedule = schedule};
  const auto run = [setting, options, strategy, steps = settings.steps,
                    seed = settings.seed](std::uint64_t trial) {
    AdaptiveRun result;
    auto state = adaptive::start(setting.plant, setting.K0, options, {.seed = seed, .task = trial});
    double excess = infinity;
    const auto observe = [&](const adaptive::Info<Backend>& info) {
      if (info.new_epoch) {
        excess = adaptive::average_cost(setting.plant, info.state.controller) / state.regret.optimal_cost - 1;
      }
      result.excess.push_back(excess);
    };
    result.regret = adaptive::advance(setting.plant, state, strategy, options, steps, observe).regret;
    result.excess.resize(result.regret.size(), infinity);
    return result;
  };
  return {.name = std::move(name), .label = std::move(label), .colour = std::move(colour), .run = run};
}

inline std::vector<Learner> learners(const Settings& settings) {
  using Gain = std::optional<adaptive::Controller<Backend>>;
  const Backend::Gain optimal = metalqr::solve_dare(AdaptiveSetting().plant).gain;
  const auto known = [optimal](const adaptive::Knowledge<Backend>&, metalqr::Stream&) -> Gain {
    return optimal;
  };
  const auto design = [](const metalqr::synthesis::RobustProblem<Backend>& problem) {
    return metalqr::synthesis::common_lyapunov(problem, metalqr::synthesis::Csdp(), {.gamma = 0.999});
  };
  return {learner("optimal", "optimal gain, known", "c_black", known, {.exploration = 0}, settings),
          learner("nominal", "certainty equivalence", "c_blue", adaptive::CertaintyEquivalence{},
                  adaptive::linear_epochs(), settings),
          learner("robust", "common Lyapunov, level 0.999", "c_red", adaptive::Robust{design},
                  adaptive::linear_epochs(), settings),
          learner("thompson", "Thompson sampling", "c_green", adaptive::ThompsonSampling{},
                  adaptive::determinant_epochs(), settings),
          learner("optimism", "optimism", "c_orange", adaptive::Optimism{}, adaptive::determinant_epochs(),
                  settings)};
}

/// The runs' values after `step` steps.
inline std::vector<double> values_at(const Learner& one, std::vector<double> AdaptiveRun::*member,
                                     std::size_t step) {
  std::vector<double> values;
  for (const AdaptiveRun& run : one.runs) values.push_back((run.*member)[step - 1]);
  return values;
}

inline Picture regret_picture(const std::vector<Learner>& all, Index steps) {
  const auto curves = [&all](const std::string& column, const std::string& style, bool titles) {
    std::string text;
    for (const Learner& one : all) {
      if (column == "_excess" && one.name == "optimal") continue;
      text += ", \\\n     'regret.csv' using 'step':'" + one.name + column + "' with lines " +
              (style.empty() ? (one.name == "nominal" ? "lw 6" : "lw 2.5") : style) + " lc rgb " +
              one.colour + (titles ? " title '" + one.label + "'" : std::string(" notitle"));
    }
    return text.substr(2);
  };
  return {.name = "regret",
          .width = 1400,
          .script = R"(set multiplot layout 1,2 margins 0.06,0.985,0.12,0.91 spacing 0.07,0
set xlabel 'step'
set xrange [0:)" + std::to_string(steps) +
                    R"(]
set key top left samplen 3 opaque
set ylabel 'sum of the costs above J*'
set title 'Regret: medians, and 90 % quantiles (dashed)'
plot )" + curves("_median", "", true) +
                    ", \\\n     " + curves("_high", "lw 1.5 dt 2", false) +
                    R"(
set logscale y
set autoscale yfix
set key top right
set ylabel 'J/J* - 1 (median)' offset 1
set ytics (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
set title 'What the controller in the loop would cost for ever'
plot )" + curves("_excess", "", true) +
                    "\nunset multiplot\n"};
}

}  // namespace detail

/// Regret against the number of steps, in the comparison of Dean, Mania, Matni, Recht, Tu, "Regret bounds for
/// robust adaptive control of the linear quadratic regulator", NeurIPS 2018: Q = 10 I, after 100 steps under
/// a first gain. As there, the radii that robust designs, sampling and optimism are given are the true
/// errors.
inline Study regret_study(const Plant& /*plant*/, const Settings& settings) {
  Study study{.name = "regret"};
  std::vector<Learner> all = detail::learners(settings);
  const Index trials = settings.adaptive_trials;
  {
    Progress progress("regret", static_cast<long>(trials) * static_cast<long>(all.size()));
    for (Learner& one : all) {
      one.runs.resize(static_cast<std::size_t>(trials));
      for_each_dataset(trials, settings, progress, [&](Index i) {
        one.runs[static_cast<std::size_t>(i)] = one.run(static_cast<std::uint64_t>(i));
      });
    }
  }
  io::Table table{.comments = {"Regret and cost of adaptive controllers over " + std::to_string(trials) +
                               " runs: median and 90 % quantile of the regret, excess: median of J/J* - 1 "
                               "of the controller in the loop"},
                  .columns = {"step"}};
  for (const Learner& one : all) {
    for (const char* part : {"_median", "_high", "_excess"}) table.columns.push_back(one.name + part);
  }
  const auto steps = static_cast<std::size_t>(settings.steps);
  for (std::size_t step = 1; step <= steps; ++step) {
    std::vector<double> row{static_cast<double>(step)};
    for (const Learner& one : all) {
      const std::vector<double> regret = detail::values_at(one, &AdaptiveRun::regret, step);
      row.push_back(quantile(regret, 0.5));
      row.push_back(quantile(regret, 0.9));
      row.push_back(quantile(detail::values_at(one, &AdaptiveRun::excess, step), 0.5));
    }
    table.rows.push_back(std::move(row));
  }
  const std::size_t points[] = {(steps + 4) / 5, (2 * steps + 4) / 5, steps};
  study.report = print(
      "\nRegret of %td runs: medians after %zu, %zu, %zu steps, 90 %% quantile at the end; J/J* - 1 of the "
      "first and the last controller\n",
      trials, points[0], points[1], points[2]);
  for (const Learner& one : all) {
    std::vector<double> medians;
    for (const std::size_t step : points) {
      medians.push_back(quantile(detail::values_at(one, &AdaptiveRun::regret, step), 0.5));
    }
    const double high = quantile(detail::values_at(one, &AdaptiveRun::regret, steps), 0.9);
    const double first = quantile(detail::values_at(one, &AdaptiveRun::excess, 1), 0.5);
    const double last = quantile(detail::values_at(one, &AdaptiveRun::excess, steps), 0.5);
    study.report += print("  %-30s %7.0f %7.0f %7.0f   %7.0f   %.4f %.4f\n", one.label.c_str(), medians[0],
                          medians[1], medians[2], high, first, last);
    Json summary = {{"strategy", one.name}};
    for (std::size_t i = 0; i < medians.size(); ++i) {
      summary["regret"].push_back({{"step", points[i]}, {"median", number_or_null(medians[i])}});
    }
    summary["regret_high"] = number_or_null(high);
    summary["first_excess"] = number_or_null(first);
    summary["last_excess"] = number_or_null(last);
    study.summary.push_back(summary);
  }
  study.tables = {{"regret.csv", table}};
  study.pictures = {detail::regret_picture(all, settings.steps)};
  return study;
}

}  // namespace examples::coarse_id
