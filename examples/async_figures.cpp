// Figures 2 and 3 of Toso, Wang, Anderson, "Asynchronous heterogeneous linear quadratic regulator design",
// arXiv 2404.09061, by a faithful simulation over several seeds; beside them what the paper does not show:
// all rules of aggregation under heavy-tailed latencies, with honest agents and with a fifth of them
// corrupted, robust combiners, and who worked when.

#include <cmath>
#include <cstddef>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include <metalqr/io/csv.hpp>

#include "async_pictures.hpp"
#include "async_report.hpp"
#include "async_rules.hpp"
#include "async_timeline.hpp"
#include "picture.hpp"
#include "program.hpp"
#include "progress.hpp"
#include "published.hpp"

namespace {

namespace io = metalqr::io;
using namespace examples::async;

struct Settings {
  Index seeds = 20;
  int threads = 0;
  Index updates = 400;
  bool quick = false;
  bool half_normal = false;
};

examples::Json job(examples::Program& program, const Settings& settings) {
  const auto distribution =
      settings.half_normal ? systems::ScalarDistribution::half_normal : systems::ScalarDistribution::uniform;
  const std::vector<double> factors =
      settings.quick ? std::vector<double>{1, 8} : std::vector<double>{1, 2, 4, 8, 16, 32, 64};
  Curves stragglers = straggler_curves(distribution);
  Curves latency = staleness_curves(distribution, settings.updates);
  Curves batch_published = batch_curves(distribution, settings.updates, true);
  Curves batch_same = batch_curves(distribution, settings.updates, false);
  Curves heterogeneity = heterogeneity_curves(distribution, settings.updates);
  const std::vector<Contender> rules = contenders(distribution);
  Curves combiners = combiner_curves(distribution, federated::Guard::none);
  Curves combiners_guarded = combiner_curves(distribution, federated::Guard::ask);
  Curves corrupted = corrupted_rule_curves(distribution, federated::Guard::none);
  Curves corrupted_guarded = corrupted_rule_curves(distribution, federated::Guard::ask);
  Curves by_step;  // rule by rule, factor by factor
  for (const Contender& rule : rules) {
    for (const double factor : factors) by_step.push_back({rule.name, rule.label, rule.at(factor)});
  }
  std::vector<Curve*> all;
  for (Curves* curves : {&stragglers, &latency, &batch_published, &batch_same, &heterogeneity, &combiners,
                         &combiners_guarded, &corrupted, &corrupted_guarded, &by_step}) {
    for (Curve& curve : *curves) all.push_back(&curve);
  }
  {
    examples::Progress progress("async_figures", static_cast<long>(all.size()) * settings.seeds);
    sample(all, {.seeds = settings.seeds, .first = program.seed(), .threads = settings.threads}, progress);
  }
  Curves same_step;
  io::Table step_table{
      .comments = {"median ticks to gap 0.15 by the factor of the step; nan: not reached, or "
                   "some run lost a plant"},
      .columns = {"factor"}};
  for (const double factor : factors) step_table.rows.push_back({factor});
  for (std::size_t r = 0; r < rules.size(); ++r) {
    same_step.push_back(by_step[r * factors.size()]);
    step_table.columns.push_back(rules[r].name);
    for (std::size_t f = 0; f < factors.size(); ++f) {
      const Curve& curve = by_step[r * factors.size() + f];
      const double clock = curve.clock_to(hard_gap).median;
      step_table.rows[f].push_back(curve.lost() > 0 || !std::isfinite(clock) ? std::nan("") : clock);
    }
  }

  const Timeline gantt = timeline(program.seed());
  const std::vector<double> ticks = log_spaced(0.5, 30000, 400);
  std::vector<std::string> files;
  const auto write = [&](const std::string& name, const io::Table& table) {
    io::write_csv(program.path(name), table);
    files.push_back(name);
  };
  write("stragglers.csv",
        clock_table(stragglers, ticks, "Figure 2 of arXiv 2404.09061: stragglers of latency 20"));
  std::vector<double> tolerances = log_spaced(1.35, 0.3, 10);
  tolerances.push_back(0.2);
  write("tolerances.csv", tolerance_table(stragglers, tolerances, "Figure 2 of arXiv 2404.09061"));
  write("stragglers_published.csv",
        {.comments = {"arXiv 2404.09061, the authors' notebook: asynchronous, synchronous"},
         .columns = {"ticks", "gap"},
         .rows = {{examples::published_asynchronous_clock, reached_gap},
                  {examples::published_synchronous_clock, reached_gap}}});
  write("latency.csv",
        update_table(latency, settings.updates, "Figure 3a: latency of 20 stragglers among 50"));
  write("batch_published.csv",
        update_table(batch_published, settings.updates, "Figure 3b: reports an update"));
  write("batch_same_step.csv",
        update_table(batch_same, settings.updates, "Figure 3b at the same step for all"));
  write("heterogeneity.csv", update_table(heterogeneity, settings.updates, "Figure 3c: heterogeneity"));
  write("rules.csv",
        clock_table(same_step, ticks, "rules under Pareto latencies, the same step for each report"));
  write("rules_by_step.csv", step_table);
  write("combiners.csv", clock_table(combiners, ticks, "a fifth of the agents corrupted, no guard"));
  write("combiners_guarded.csv",
        clock_table(combiners_guarded, ticks, "a fifth of the agents corrupted, guard"));
  write("corrupted_rules.csv",
        clock_table(corrupted, ticks, "all rules, a fifth of the agents corrupted, no guard"));
  write("corrupted_rules_guarded.csv",
        clock_table(corrupted_guarded, ticks, "all rules, a fifth of the agents corrupted, guard"));
  write("timeline.csv", gantt.spans);
  write("commits.csv", gantt.commits);
  for (const examples::Picture& picture :
       {straggler_picture(stragglers),
        panels_picture(latency, batch_published, batch_same, heterogeneity, settings.updates),
        rules_picture(same_step), combiners_picture(combiners, combiners_guarded),
        corrupted_rules_picture(corrupted, corrupted_guarded), timeline_picture(gantt)}) {
    const auto drawn = examples::draw(program.out(), picture);
    files.insert(files.end(), drawn.begin(), drawn.end());
  }

  std::printf("Asynchronous learning, medians (10 %% - 90 %%) over %td seeds; lost: runs that lost a plant\n",
              settings.seeds);
  examples::Json curves = examples::Json::object();
  for (const auto& [title, group] : std::vector<std::pair<std::string, const Curves*>>{
           {"Figure 2: stragglers of latency 20 among 50 agents", &stragglers},
           {"Figure 3a: latency of 20 stragglers among 50 agents", &latency},
           {"Figure 3b: reports an update, steps as published (they shrink by 1.01 an update)",
            &batch_published},
           {"Figure 3b: reports an update, the same step for all", &batch_same},
           {"Figure 3c: heterogeneity", &heterogeneity},
           {"Rules under Pareto latencies, the same step for each report", &same_step},
           {"A fifth of the agents corrupted, no guard", &combiners},
           {"A fifth of the agents corrupted, every gain approved by all", &combiners_guarded},
           {"All rules with the median, a fifth corrupted, no guard", &corrupted},
           {"All rules with the median, a fifth corrupted, every gain approved by all",
            &corrupted_guarded}}) {
    print(title, *group);
    for (const Curve& curve : *group) curves[curve.name] = summary(curve);
  }
  std::printf("\nFiles in %s\n", program.out().string().c_str());
  return {{"seeds", settings.seeds},
          {"quick", settings.quick},
          {"half_normal", settings.half_normal},
          {"gap", reached_gap},
          {"curves", curves},
          {"timeline", {{"asynchronous", gantt.updates[0]}, {"synchronous", gantt.updates[1]}}},
          {"files", files}};
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  examples::Program program(
      "async_figures",
      "Draws Figures 2 and 3 of arXiv 2404.09061 (asynchronous LQR) by a faithful simulation, all rules of\n"
      "aggregation under heavy-tailed latencies, with honest agents and with a fifth of them corrupted, "
      "robust\n"
      "combiners, and a timeline.");
  auto& options = program.options();
  auto* seeds = options.add_option("--seeds", settings.seeds, "Number of runs of each setting")
                    ->capture_default_str()
                    ->check(CLI::Range(1, 100000));
  options.add_option("--updates", settings.updates, "Updates of the panels of Figure 3")
      ->capture_default_str()
      ->check(CLI::Range(1, 100000));
  options.add_option("--threads", settings.threads, "Threads, 0: all; the result does not depend on it")
      ->capture_default_str()
      ->check(CLI::Range(0, 256));
  options.add_flag("--quick", settings.quick, "3 seeds unless --seeds is given, and rules at two steps only");
  options.add_flag("--half-normal", settings.half_normal,
                   "Draw the plants as the paper says, half-normal, not uniform as its code does");
  return program.run(argc, argv, [&] {
    if (settings.quick && seeds->count() == 0) settings.seeds = 3;
    return job(program, settings);
  });
}
