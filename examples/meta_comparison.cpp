// Which meta-training wins at equal oracle calls: none, first or second order inner steps, or the published
// algorithm; with exact costs and with simulated rollouts, in both initial states of the paper.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <string>
#include <vector>

#include <metalqr/core/eigen.hpp>
#include <metalqr/core/parallel.hpp>
#include <metalqr/meta/adapt.hpp>
#include <metalqr/systems/perturbed_family.hpp>
#include <metalqr/systems/plants.hpp>

#include "picture.hpp"
#include "program.hpp"
#include "progress.hpp"
#include "published.hpp"
#include "statistics.hpp"

namespace {

using Backend = metalqr::EigenBackend<double, 4, 2>;
using Gain = Backend::Gain;
using metalqr::Index;
using metalqr::Task;
namespace io = metalqr::io;
namespace meta = metalqr::meta;
namespace systems = metalqr::systems;
namespace zeroth_order = metalqr::zeroth_order;

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr int trained_tasks = 10;
constexpr int unseen_tasks = 3;
constexpr double tie = 1.25;  // medians this close count as equal

struct Method {
  const char* name;
  const char* label;
  meta::Options options;
};

std::vector<Method> methods() {
  std::vector<Method> list{{"average", "no inner step", {.order = meta::Order::average}},
                           {"first", "first order", {.order = meta::Order::first}},
                           {"second", "second order", {.order = meta::Order::second}},
                           {"printed", "as published, guarded", meta::published_guarded()}};
  for (Method& method : list) {
    method.options.tolerance = 0;
    if (method.options.order != meta::Order::printed) method.options.iterations = 100000;
  }
  return list;
}

struct Setting {
  const char* name;
  const char* label;
  bool rollouts;    // simulated costs instead of exact ones
  bool code_start;  // x0 of the authors' code instead of N(0, I/4)
};

constexpr Setting settings_of_study[] = {
    {"exact_code", "exact costs, x0 ~ N(0.5, 1e-3)", false, true},
    {"exact_report", "exact costs, x0 ~ N(0, I/4)", false, false},
    {"rollouts_code", "rollouts of 100 steps, x0 ~ N(0.5, 1e-3)", true, true},
    {"rollouts_report", "rollouts of 100 steps, x0 ~ N(0, I/4)", true, false}};

// What a gain is judged by.
enum Figure : std::size_t { gap, unseen, unseen_1, unseen_5, unseen_20, figures };
constexpr const char* figure_names[] = {"gap", "unseen", "unseen_1", "unseen_5", "unseen_20"};
using Figures = std::vector<double>;

// Mean gap over unseen tasks at K and after 1, 5 and 20 adaptation steps, behind the nominal gap of K.
Figures judge(const Task<Backend>& nominal, const std::vector<Task<Backend>>& unseen_plants, const Gain& K,
              std::uint64_t seed) {
  Figures result(figures, 0.0);
  result[gap] = examples::Gap<Backend>(nominal)(K);
  for (const Task<Backend>& task : unseen_plants) {
    const double share = 1.0 / static_cast<double>(unseen_plants.size());
    const double best = metalqr::optimal_cost(task);
    const double start = metalqr::cost(task, K) - best;
    result[unseen] += share * start;
    if (!(start < infinity)) {
      for (const Figure figure : {unseen_1, unseen_5, unseen_20}) result[figure] = infinity;
      continue;
    }
    std::vector<double> after{start};
    meta::adapt(task, K, {.iterations = 20, .seed = seed}, [&](const meta::Info<Backend>& info) {
      after.push_back(metalqr::cost(task, info.K) - best);
    });
    const auto at = [&after](std::size_t n) { return after[std::min(n, after.size() - 1)]; };
    result[unseen_1] += share * at(1);
    result[unseen_5] += share * at(5);
    result[unseen_20] += share * at(20);
  }
  return result;
}

// Trains with one method and judges the last gain within each budget.
std::vector<Figures> compete(const Setting& setting, meta::Options options, const std::vector<Index>& budgets,
                             std::uint64_t seed) {
  const Task<Backend> boeing = systems::modified_boeing<Backend>();
  const Task<Backend> nominal =
      setting.code_start ? boeing.with_initial_state(systems::published_initial_second_moment<Backend>())
                         : boeing;
  auto tasks =
      systems::perturbed_family(nominal, {.count = trained_tasks + unseen_tasks, .level = 0.01}, seed).tasks;
  const std::vector<Task<Backend>> unseen_plants(tasks.begin() + trained_tasks, tasks.end());
  tasks.erase(tasks.begin() + trained_tasks, tasks.end());

  const Gain K0 = systems::modified_boeing_initial_gain<Backend>();
  std::vector<Gain> within(budgets.size(), K0);
  const auto observe = [&](const meta::Info<Backend>& info) {
    const Index calls = info.record.calls.total();
    for (std::size_t b = 0; b < budgets.size(); ++b) {
      if (calls <= budgets[b]) within[b] = info.K;
    }
    return calls > budgets.back();
  };
  options.seed = seed;
  options.threads = 1;
  if (setting.rollouts) {
    // Noise asks for a larger radius than rounding does.
    options.estimator.radius = 0.01;
    const metalqr::GaussianState<Backend> start =
        setting.code_start
            ? metalqr::GaussianState<Backend>(Backend::StateVector::Constant(0.5),
                                              1e-6 * Backend::StateMatrix::Identity())
            : metalqr::GaussianState<Backend>(Backend::StateMatrix(0.25 * Backend::StateMatrix::Identity()));
    std::vector<zeroth_order::RolloutCost<Backend>> oracles;
    for (const Task<Backend>& task : tasks) oracles.emplace_back(task, start);
    meta::train<Backend>(oracles, K0, options, observe);
  } else {
    meta::train(tasks, K0, options, observe);
  }
  std::vector<Figures> result;
  for (const Gain& K : within) result.push_back(judge(nominal, unseen_plants, K, seed));
  return result;
}

std::string script(std::size_t panels) {
  std::string text = "set multiplot layout 1," + std::to_string(panels) +
                     " margins 0.05,0.99,0.15,0.9 spacing 0.03,0.05\n"
                     "set logscale xy\nset format y '10^{%L}'\nset format x '10^{%L}'\n"
                     "set xlabel 'oracle calls'\nset ylabel 'gap of K on the nominal plant' offset 1\n"
                     "set yrange [3e-7:40]\nset xrange [400:2.5e5]\nset key bottom left\n";
  const char* style[] = {"lc rgb c_blue pt 7", "lc rgb c_green pt 5 dt 2", "lc rgb c_orange pt 9 dt 4",
                         "lc rgb c_red pt 13 dt 3"};
  for (std::size_t s = 0; s < panels; ++s) {
    text += std::string("set title '") + settings_of_study[s].label + "' noenhanced\nplot ";
    const auto list = methods();
    for (std::size_t m = 0; m < list.size(); ++m) {
      text += "'comparison.csv' skip 3 using ($1==" + std::to_string(s) + "&&$2==" + std::to_string(m) +
              "?$3:1/0):4 with linespoints lw 2 ps 0.8 " + style[m] + " title '" + list[m].label + "'" +
              (m + 1 < list.size() ? ", \\\n     " : "\n");
    }
    text += "unset ylabel\n";
  }
  return text + "unset multiplot\n";
}

examples::Json job(examples::Program& program, int seeds, const std::vector<Index>& budgets,
                   std::size_t panels) {
  const std::vector<Method> list = methods();
  io::Table table{
      .comments = {"medians over " + std::to_string(seeds) +
                       " fleets of 10 tasks; unseen: mean gap of 3 unseen plants at K and after adaptation",
                   "method: 0 average, 1 first order, 2 second order, 3 as published and guarded"},
      .columns = {"setting", "method", "calls"}};
  table.columns.insert(table.columns.end(), std::begin(figure_names), std::end(figure_names));
  examples::Json winners = examples::Json::array();
  {
    examples::Progress progress("meta_comparison", static_cast<long>(panels * list.size()));
    for (std::size_t s = 0; s < panels; ++s) {
      for (std::size_t m = 0; m < list.size(); ++m) {
        std::vector<std::vector<Figures>> runs(static_cast<std::size_t>(seeds));
        metalqr::parallel_for(seeds, [&](Index i) {
          runs[static_cast<std::size_t>(i)] = compete(settings_of_study[s], list[m].options, budgets,
                                                      program.seed() + static_cast<std::uint64_t>(i));
        });
        for (std::size_t b = 0; b < budgets.size(); ++b) {
          std::vector<double> row{static_cast<double>(s), static_cast<double>(m),
                                  static_cast<double>(budgets[b])};
          for (std::size_t f = 0; f < figures; ++f) {
            std::vector<double> values;
            for (const auto& run : runs) values.push_back(run[b][f]);
            row.push_back(examples::quantile(values, 0.5));
          }
          table.rows.push_back(std::move(row));
        }
        progress.advance();
      }
    }
  }
  io::write_csv(program.path("comparison.csv"), table);

  std::printf(
      "Meta-training at equal oracle calls: medians over %d fleets of %d tasks, modified Boeing, level "
      "0.01\n",
      seeds, trained_tasks);
  std::printf(
      "gap: of K on the nominal plant; unseen +n: mean gap of %d unseen plants after n adaptation steps\n",
      unseen_tasks);
  const auto row_of = [&](std::size_t s, std::size_t m, std::size_t b) -> const std::vector<double>& {
    return table.rows[(s * list.size() + m) * budgets.size() + b];
  };
  for (std::size_t s = 0; s < panels; ++s) {
    std::printf("\n%s\n%8s  %-22s %9s %9s %9s %9s %9s\n", settings_of_study[s].label, "calls", "method",
                "gap", "unseen", "unseen+1", "unseen+5", "unseen+20");
    for (std::size_t b = 0; b < budgets.size(); ++b) {
      for (std::size_t m = 0; m < list.size(); ++m) {
        std::printf("%8td  %-22s", budgets[b], list[m].label);
        for (std::size_t f = 0; f < figures; ++f) std::printf(" %9.2g", row_of(s, m, b)[3 + f]);
        std::printf("\n");
      }
      examples::Json winner = {{"setting", settings_of_study[s].name}, {"calls", budgets[b]}};
      for (const Figure figure : {gap, unseen_5}) {
        double best = infinity;
        for (std::size_t m = 0; m < list.size(); ++m) best = std::min(best, row_of(s, m, b)[3 + figure]);
        auto names = examples::Json::array();
        for (std::size_t m = 0; m < list.size(); ++m) {
          if (row_of(s, m, b)[3 + figure] <= tie * best) names.push_back(list[m].name);
        }
        winner[figure_names[figure]] = names;
      }
      winners.push_back(winner);
    }
  }
  std::printf(
      "\nWho wins (within %g %% of the lowest median), by the gap of K and by unseen plants after 5 steps:\n",
      100 * (tie - 1));
  const auto joined = [](const examples::Json& names) {
    std::string text;
    for (const auto& name : names) text += (text.empty() ? "" : ", ") + name.get<std::string>();
    return text;
  };
  for (const auto& winner : winners) {
    std::printf("  %-16s %7td calls  %-24s | %s\n", winner["setting"].get<std::string>().c_str(),
                winner["calls"].get<Index>(), joined(winner["gap"]).c_str(),
                joined(winner["unseen_5"]).c_str());
  }
  const auto files = examples::draw(program.out(), {.name = "comparison",
                                                    .width = static_cast<int>(420 * panels + 60),
                                                    .height = 440,
                                                    .script = script(panels)});
  std::printf("Files in %s\n", program.out().string().c_str());
  return {{"seeds", seeds}, {"winners", winners}, {"files", files}};
}

}  // namespace

int main(int argc, char** argv) {
  int seeds = 10;
  bool exact_only = false;
  std::vector<Index> budgets{1000, 2400, 5000, 10000, 20000, 50000, 240000};
  examples::Program program(
      "meta_comparison",
      "Compares kinds of meta-training at equal oracle calls, by the gap of the gain and by the "
      "gap on unseen plants after 1, 5 and 20 adaptation steps.");
  auto& options = program.options();
  options.add_option("--seeds", seeds, "Number of fleets")
      ->capture_default_str()
      ->check(CLI::Range(1, 100000));
  options.add_option("--budgets", budgets, "Oracle calls at which to compare, ascending")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  options.add_flag("--exact-only", exact_only, "Leave out the simulated rollouts");
  return program.run(argc, argv, [&] {
    if (!std::is_sorted(budgets.begin(), budgets.end()))
      throw metalqr::InvalidOption("budgets: expected ascending numbers of calls");
    return job(program, seeds, budgets, exact_only ? 2 : std::size(settings_of_study));
  });
}
