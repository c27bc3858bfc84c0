// The three panels of Figure 1 of Toso et al., L4DC 2024, over several seeds: convergence of the published
// algorithm, the effect of heterogeneity, and adaptation to unseen plants.

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
using metalqr::Task;
namespace io = metalqr::io;
namespace meta = metalqr::meta;
namespace systems = metalqr::systems;

constexpr double infinity = std::numeric_limits<double>::infinity();

struct Settings {
  int seeds = 20;
  int tasks = 10;
  int iterations = 200;
  int long_iterations = 500;
  int adaptation_iterations = 300;
  int unseen = 3;
  bool guard = false;
};

// Gaps of one run at iterations 0, 1, ...; infinite from the iteration on that lost the nominal task.
struct Run {
  std::vector<double> gaps;
  Gain gain;
  bool lost = false;
};

using Runs = std::vector<Run>;

Task<Backend> nominal_task() {
  return systems::modified_boeing<Backend>().with_initial_state(
      systems::published_initial_second_moment<Backend>());
}

bool stabilises_all(const std::vector<Task<Backend>>& tasks, const Gain& K) {
  return std::all_of(tasks.begin(), tasks.end(), [&K](const auto& task) { return is_stabilizing(task, K); });
}

std::vector<Task<Backend>> family(int count, double level, std::uint64_t seed) {
  return systems::perturbed_family(nominal_task(), {.count = count, .level = level}, seed).tasks;
}

Run meta_train(const std::vector<Task<Backend>>& tasks, const meta::Options& options) {
  const examples::Gap<Backend> gap(tasks.front());
  const Gain K0 = systems::modified_boeing_initial_gain<Backend>();
  Run run{.gaps = {gap(K0)}, .gain = K0};
  const auto observe = [&](const meta::Info<Backend>& info) {
    run.lost = run.lost || !stabilises_all(tasks, info.K);
    run.gaps.push_back(gap(info.K));
  };
  run.gain = meta::train(tasks, K0, options, observe).gain;
  run.gaps.resize(static_cast<std::size_t>(options.iterations) + 1, infinity);
  return run;
}

Run adapt(const Task<Backend>& task, const Gain& start, const meta::AdaptOptions& options) {
  const examples::Gap<Backend> gap(task);
  Run run{.gaps = {gap(start)}, .gain = start};
  if (!is_stabilizing(task, start)) {
    run.lost = true;
  } else {
    const auto observe = [&](const meta::Info<Backend>& info) {
      run.lost = run.lost || !is_stabilizing(task, info.K);
      run.gaps.push_back(gap(info.K));
    };
    run.gain = meta::adapt(task, start, options, observe).gain;
  }
  run.gaps.resize(static_cast<std::size_t>(options.iterations) + 1, infinity);
  return run;
}

examples::Band band_of(const Runs& runs) {
  std::vector<std::vector<double>> gaps;
  gaps.reserve(runs.size());
  for (const Run& run : runs) gaps.push_back(run.gaps);
  return examples::band(gaps);
}

int lost(const Runs& runs) {
  return static_cast<int>(std::count_if(runs.begin(), runs.end(), [](const Run& run) { return run.lost; }));
}

// Bands side by side, one row an iteration.
io::Table table_of(const std::vector<examples::Band>& bands, const std::vector<std::string>& names,
                   const std::string& comment) {
  io::Table table{.comments = {comment,
                               "median, 10 % and 90 % quantile over the runs; gap J(K) - J* from x0 = (0.25, "
                               "0.55, 0.35, 0.45); inf: the gain is not stabilising"},
                  .columns = {"iteration"}};
  for (const std::string& name : names) {
    for (const char* part : {"low", "median", "high"}) table.columns.push_back(name + "_" + part);
  }
  for (std::size_t n = 0; n < bands.front().median.size(); ++n) {
    std::vector<double> row{static_cast<double>(n)};
    for (const examples::Band& band : bands)
      row.insert(row.end(), {band.low[n], band.median[n], band.high[n]});
    table.rows.push_back(std::move(row));
  }
  return table;
}

std::string panel_script(int iterations, int long_iterations, int adaptation_iterations) {
  const auto text = [](int value) { return std::to_string(value); };
  return R"(set multiplot layout 1,3 margins 0.06,0.985,0.13,0.9 spacing 0.055,0.05
set logscale y
set format y '10^{%L}'
set style fill transparent solid 0.22 noborder
set xlabel 'iteration'
set title 'Meta-training, level 0.01'
set ylabel 'optimality gap J(K) - J*' offset 1
set xrange [0:)" +
         text(iterations) + R"(]
set yrange [0.1:40]
plot 'convergence.csv' skip 3 using 1:2:4 with filledcurves lc rgb c_blue notitle, \
     '' skip 3 using 1:3 with lines lw 2 lc rgb c_blue title 'median, 10-90 % band', \
     'published.csv' skip 3 using 1:2 with points pt 6 ps 1.3 lw 2 lc rgb c_black title 'published'
set title 'Heterogeneity'
unset ylabel
set xrange [0:)" +
         text(long_iterations) + R"(]
set yrange [0.05:40]
plot 'heterogeneity.csv' skip 3 using 1:2:4 with filledcurves lc rgb c_green notitle, \
     '' skip 3 using 1:5:7 with filledcurves lc rgb c_blue notitle, \
     '' skip 3 using 1:8:10 with filledcurves lc rgb c_red notitle, \
     '' skip 3 using 1:3 with lines lw 2 lc rgb c_green title 'level 0.001', \
     '' skip 3 using 1:6 with lines lw 2 dt 2 lc rgb c_blue title 'level 0.01', \
     '' skip 3 using 1:9 with lines lw 2 dt 4 lc rgb c_red title 'level 0.015', \
     'heterogeneity_published.csv' skip 3 using 3:4 with points pt 6 ps 1.3 lw 2 lc rgb c_black title 'published'
set title 'Adaptation to unseen plants'
set xrange [0:)" +
         text(adaptation_iterations) + R"(]
set yrange [3e-4:20]
plot 'adaptation.csv' skip 3 using 1:5:7 with filledcurves lc rgb c_orange notitle, \
     '' skip 3 using 1:2:4 with filledcurves lc rgb c_blue notitle, \
     '' skip 3 using 1:6 with lines lw 2 dt 2 lc rgb c_orange title 'from the random gain', \
     '' skip 3 using 1:3 with lines lw 2 lc rgb c_blue title 'from the meta-trained gain'
unset multiplot
)";
}

examples::Json job(examples::Program& program, const Settings& settings) {
  const auto seeds = static_cast<metalqr::Index>(settings.seeds);
  const auto count = static_cast<std::size_t>(seeds);
  const auto& levels = examples::published_heterogeneity();
  examples::Progress progress("maml_figures", settings.seeds * (2 + static_cast<long>(levels.size())));

  Runs convergence(count);
  std::vector<Runs> heterogeneity(levels.size(), Runs(count));
  Runs from_meta(count * static_cast<std::size_t>(settings.unseen));
  Runs from_random(from_meta.size());
  // Blocks of seeds, so that the progress bar is drawn from this thread.
  constexpr metalqr::Index block = 4;
  for (metalqr::Index first = 0; first < seeds; first += block) {
    const metalqr::Index size = std::min(block, seeds - first);
    metalqr::parallel_for(size, [&](metalqr::Index offset) {
      const auto s = static_cast<std::size_t>(first + offset);
      const std::uint64_t seed = program.seed() + s;
      meta::Options options = settings.guard ? meta::published_guarded() : meta::published();
      options.seed = seed;
      options.threads = 1;
      options.iterations = settings.iterations;
      auto tasks = family(settings.tasks + settings.unseen, 0.01, seed);
      const std::vector<Task<Backend>> unseen(tasks.begin() + settings.tasks, tasks.end());
      tasks.erase(tasks.begin() + settings.tasks, tasks.end());
      convergence[s] = meta_train(tasks, options);

      auto near = meta::published_adaptation();
      auto far = meta::published_adaptation_from_random_gain();
      for (auto* adaptation : {&near, &far}) {
        adaptation->iterations = settings.adaptation_iterations;
        adaptation->guard = settings.guard;
        adaptation->seed = seed;
      }
      for (std::size_t u = 0; u < unseen.size(); ++u) {
        const std::size_t place = s * unseen.size() + u;
        from_meta[place] = adapt(unseen[u], convergence[s].gain, near);
        from_random[place] = adapt(unseen[u], systems::modified_boeing_random_gain<Backend>(), far);
      }
      options.iterations = settings.long_iterations;
      for (std::size_t l = 0; l < levels.size(); ++l) {
        options.outer = metalqr::constant_step(levels[l].step);
        options.inner_step = levels[l].step;
        heterogeneity[l][s] = meta_train(family(settings.tasks, levels[l].level, seed), options);
      }
    });
    for (metalqr::Index i = 0; i < size * static_cast<metalqr::Index>(2 + levels.size()); ++i)
      progress.advance();
  }

  const examples::Band left = band_of(convergence);
  std::vector<examples::Band> middle;
  for (const Runs& runs : heterogeneity) middle.push_back(band_of(runs));
  const std::vector<examples::Band> right{band_of(from_meta), band_of(from_random)};

  io::Table published_middle{.comments = {examples::published_source(), "gap after 500 iterations by level"},
                             .columns = {"level", "step", "iteration", "gap"}};
  for (const auto& value : levels)
    published_middle.rows.push_back({value.level, value.step, 500, value.final_gap});
  io::write_csv(program.path("convergence.csv"), table_of({left}, {"gap"}, "published setting, level 0.01"));
  io::write_csv(program.path("heterogeneity.csv"),
                table_of(middle, {"level_0.001", "level_0.01", "level_0.015"}, "published setting by level"));
  io::write_csv(program.path("adaptation.csv"),
                table_of(right, {"meta", "random"}, "published adaptation to unseen plants"));
  io::write_csv(program.path("published.csv"), examples::published_convergence_table());
  io::write_csv(program.path("heterogeneity_published.csv"), published_middle);
  const auto files =
      examples::draw(program.out(), {.name = "maml_figures",
                                     .width = 1500,
                                     .height = 460,
                                     .script = panel_script(settings.iterations, settings.long_iterations,
                                                            settings.adaptation_iterations)});

  std::printf("Figure 1 of the MAML-LQR paper over %d seeds, %s; median (10 %% - 90 %%) of the gap\n",
              settings.seeds, settings.guard ? "with the stability guard" : "unguarded as published");
  std::printf(
      "  meta-training, %d iterations       %8.4f (%.4f - %.4f), published 0.228; %d of %d runs lost a "
      "task\n",
      settings.iterations, left.median.back(), left.low.back(), left.high.back(), lost(convergence),
      settings.seeds);
  examples::Json result = {{"seeds", settings.seeds},
                           {"guard", settings.guard},
                           {"convergence", {{"median", left.median.back()}, {"lost", lost(convergence)}}},
                           {"heterogeneity", examples::Json::array()},
                           {"adaptation", examples::Json::object()},
                           {"files", files}};
  for (std::size_t l = 0; l < levels.size(); ++l) {
    std::printf("  level %-5g step %.2g, %d iterations %8.4f (%.4f - %.4f), published %.4f; %d lost a task\n",
                levels[l].level, levels[l].step, settings.long_iterations, middle[l].median.back(),
                middle[l].low.back(), middle[l].high.back(), levels[l].final_gap, lost(heterogeneity[l]));
    result["heterogeneity"].push_back(
        {{"level", levels[l].level}, {"median", middle[l].median.back()}, {"lost", lost(heterogeneity[l])}});
  }
  const auto report = [&](const char* name, const char* label, const examples::Band& band, const Runs& runs) {
    std::printf("  adaptation from %-18s %8.4f -> %.2e (%.1e - %.1e); %d of %zu lost stability\n", label,
                band.median.front(), band.median.back(), band.low.back(), band.high.back(), lost(runs),
                runs.size());
    result["adaptation"][name] = {{"start", band.median.front()},
                                  {"median", band.median.back()},
                                  {"lost", lost(runs)},
                                  {"runs", runs.size()}};
  };
  report("meta", "the meta gain", right[0], from_meta);
  report("random", "the random gain", right[1], from_random);
  std::printf("Files in %s\n", program.out().string().c_str());
  return result;
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  examples::Program program(
      "maml_figures", "Draws the three panels of Figure 1 of Toso et al., L4DC 2024, over several seeds.");
  auto& options = program.options();
  options.add_option("--seeds", settings.seeds, "Number of runs")
      ->capture_default_str()
      ->check(CLI::Range(1, 100000));
  options.add_option("--tasks", settings.tasks, "Tasks of a fleet")
      ->capture_default_str()
      ->check(CLI::Range(1, 10000));
  options.add_option("--unseen", settings.unseen, "Unseen plants a run")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  options.add_option("--iterations", settings.iterations, "Iterations of the left panel")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000000));
  options.add_option("--long-iterations", settings.long_iterations, "Iterations of the middle panel")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000000));
  options
      .add_option("--adaptation-iterations", settings.adaptation_iterations, "Iterations of the right panel")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000000));
  options.add_flag("--guard", settings.guard, "Keep every task stable, unlike the paper");
  return program.run(argc, argv, [&] { return job(program, settings); });
}
