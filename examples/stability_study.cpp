// How often the published setting loses a plant, with and without the stability guard, in both initial states
// of the paper.

#include <algorithm>
#include <cstdio>
#include <limits>
#include <string>
#include <vector>

#include <metalqr/core/eigen.hpp>
#include <metalqr/core/parallel.hpp>
#include <metalqr/meta/train.hpp>
#include <metalqr/systems/perturbed_family.hpp>
#include <metalqr/systems/plants.hpp>

#include "program.hpp"
#include "progress.hpp"
#include "published.hpp"
#include "statistics.hpp"

namespace {

using Backend = metalqr::EigenBackend<double, 4, 2>;
using metalqr::Index;
using metalqr::Task;
namespace io = metalqr::io;
namespace meta = metalqr::meta;
namespace systems = metalqr::systems;

struct Outcome {
  bool probe = false;    // some probe or inner point was unstable
  bool iterate = false;  // some iterate lost a task
  double gap = std::numeric_limits<double>::infinity();
};

Outcome run(bool code_start, bool guard, int iterations, std::uint64_t seed) {
  const Task<Backend> boeing = systems::modified_boeing<Backend>();
  const Task<Backend> nominal =
      code_start ? boeing.with_initial_state(systems::published_initial_second_moment<Backend>()) : boeing;
  const auto tasks = systems::perturbed_family(nominal, {.count = 10, .level = 0.01}, seed);
  meta::Options options = guard ? meta::published_guarded() : meta::published();
  options.seed = seed;
  options.threads = 1;
  options.iterations = iterations;
  Outcome outcome;
  const auto observe = [&](const meta::Info<Backend>& info) {
    for (const Task<Backend>& task : tasks) {
      outcome.iterate = outcome.iterate || !is_stabilizing(task, info.K);
    }
  };
  const auto result = meta::train(tasks, systems::modified_boeing_initial_gain<Backend>(), options, observe);
  outcome.probe = result.unstable_probes > 0 || result.skipped_inner_points > 0;
  if (!outcome.iterate) outcome.gap = examples::Gap<Backend>(nominal)(result.gain);
  return outcome;
}

examples::Json job(examples::Program& program, int seeds, int iterations) {
  io::Table table{.comments = {"shares of " + std::to_string(seeds) + " seeds"},
                  .columns = {"code_start", "guard", "unstable_probe", "unstable_iterate", "gap_above_0.5",
                              "median_gap", "worst_gap"}};
  std::printf("Published setting, %d iterations, %d fleets of 10 plants: shares of the seeds\n", iterations,
              seeds);
  std::printf("%-16s %-8s %15s %17s %10s %11s %10s\n", "x0", "guard", "unstable probe", "unstable iterate",
              "gap > 0.5", "median gap", "worst gap");
  auto rows = examples::Json::array();
  for (const bool code_start : {true, false}) {
    for (const bool guard : {false, true}) {
      std::vector<Outcome> outcomes(static_cast<std::size_t>(seeds));
      {
        examples::Progress progress("stability_study", seeds);
        constexpr Index block = 16;
        for (Index first = 0; first < seeds; first += block) {
          const Index size = std::min<Index>(block, seeds - first);
          metalqr::parallel_for(size, [&](Index i) {
            outcomes[static_cast<std::size_t>(first + i)] =
                run(code_start, guard, iterations, program.seed() + static_cast<std::uint64_t>(first + i));
          });
          progress.update(static_cast<long>(first + size));
        }
      }
      const auto share = [&](const auto& holds) {
        return static_cast<double>(std::count_if(outcomes.begin(), outcomes.end(), holds)) / seeds;
      };
      std::vector<double> gaps;
      for (const Outcome& outcome : outcomes) gaps.push_back(outcome.gap);
      const double probe = share([](const Outcome& outcome) { return outcome.probe; });
      const double iterate = share([](const Outcome& outcome) { return outcome.iterate; });
      const double above = share([](const Outcome& outcome) { return !(outcome.gap <= 0.5); });
      const double middle = examples::quantile(gaps, 0.5);
      const double worst = examples::quantile(gaps, 1);
      std::printf("%-16s %-8s %13.1f %% %15.1f %% %8.1f %% %11.4f %10.4f\n",
                  code_start ? "N(0.5, 1e-3)" : "N(0, I/4)", guard ? "on" : "off", 100 * probe, 100 * iterate,
                  100 * above, middle, worst);
      table.rows.push_back({code_start ? 1.0 : 0.0, guard ? 1.0 : 0.0, probe, iterate, above, middle, worst});
      rows.push_back({{"code_start", code_start},
                      {"guard", guard},
                      {"unstable_probe", probe},
                      {"unstable_iterate", iterate},
                      {"gap_above_0.5", above}});
    }
  }
  io::write_csv(program.path("stability.csv"), table);
  std::printf("Files in %s\n", program.out().string().c_str());
  return {{"seeds", seeds}, {"iterations", iterations}, {"settings", rows}};
}

}  // namespace

int main(int argc, char** argv) {
  int seeds = 100;
  int iterations = 200;
  examples::Program program(
      "stability_study",
      "Counts how often the published setting meets an unstable gain, with and without guard.");
  auto& options = program.options();
  options.add_option("--seeds", seeds, "Number of fleets")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000000));
  options.add_option("--iterations", iterations, "Iterations of a run")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000000));
  return program.run(argc, argv, [&] { return job(program, seeds, iterations); });
}
