// The example of Dean, Mania, Matni, Recht, Tu, "On the sample complexity of the linear quadratic regulator",
// arXiv 1710.01688, section 6: how far the estimate of a slightly unstable plant is off, what bootstrap and
// bounds say of that, and what controllers made of estimate and bounds do on the true plant.

#include <algorithm>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include <metalqr/io/csv.hpp>

#include "coarse_id_designs.hpp"
#include "coarse_id_identification.hpp"
#include "coarse_id_regret.hpp"
#include "coarse_id_study.hpp"
#include "picture.hpp"
#include "program.hpp"

namespace {

using namespace examples::coarse_id;

/// Every study, in the order in which they run: a further one is a function more here.
const std::vector<std::function<Study(const Plant&, const Settings&)>>& studies() {
  static const std::vector<std::function<Study(const Plant&, const Settings&)>> all{
      identification_study, design_study, regret_study};
  return all;
}

examples::Json job(examples::Program& program, const Settings& settings) {
  const Plant plant;
  examples::Json result = {{"trials", settings.trials},
                           {"plain_trials", settings.plain_trials},
                           {"fir_trials", settings.fir_trials},
                           {"length", settings.length},
                           {"adaptive_trials", settings.adaptive_trials},
                           {"steps", settings.steps},
                           {"horizon", settings.horizon},
                           {"optimal_cost", plant.optimal_cost}};
  std::vector<std::string> files;
  std::printf("Learning a plant with 3 states and 3 inputs from rollouts of %td steps; J* = %.6g\n",
              settings.horizon, plant.optimal_cost);
  for (const auto& make : studies()) {
    const Study study = make(plant, settings);
    for (const auto& [name, table] : study.tables) {
      io::write_csv(program.path(name), table);
      files.push_back(name);
    }
    for (const examples::Picture& picture : study.pictures) {
      const auto drawn = examples::draw(program.out(), picture);
      files.insert(files.end(), drawn.begin(), drawn.end());
    }
    std::printf("%s", study.report.c_str());
    std::fflush(stdout);
    result[study.name] = study.summary;
  }
  std::printf("\nFiles in %s\n", program.out().string().c_str());
  result["files"] = files;
  return result;
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  examples::Program program(
      "coarse_id_figures",
      "Draws the numerical example of arXiv 1710.01688 (Coarse-ID control): errors of the estimate of a "
      "plant\n"
      "with their bootstrap and bounds, and stability and cost of the controllers made of them, against the\n"
      "number of rollouts; and the regret of controllers that learn while they control. The published\n"
      "form: --trials 100 --fir-trials 100 --adaptive-trials 500.");
  auto& options = program.options();
  const auto add = [&options](const char* name, Index& value, Index low, const char* text) {
    options.add_option(name, value, text)->capture_default_str()->check(CLI::Range(low, Index{1000000}));
  };
  add("--trials", settings.trials, 1, "Data sets for each N with bootstrap and robust designs");
  add("--plain-trials", settings.plain_trials, 1, "Data sets for each N with neither");
  add("--fir-trials", settings.fir_trials, 1, "Data sets for each N with finite responses, at most --trials");
  add("--length", settings.length, 1, "Coefficients of the finite responses");
  add("--bootstrap", settings.bootstrap, 1, "Trials of each bootstrap");
  add("--adaptive-trials", settings.adaptive_trials, 1, "Runs of each adaptive strategy");
  add("--steps", settings.steps, 1, "Steps of each of these runs");
  add("--horizon", settings.horizon, 2, "Steps of each rollout");
  options
      .add_option("--rollouts", settings.rollouts, "Numbers of rollouts N of the identification, ascending")
      ->capture_default_str()
      ->check(CLI::Range(Index{5}, Index{100000}));
  options.add_option("--design-rollouts", settings.design_rollouts, "Numbers of rollouts N of the designs")
      ->capture_default_str()
      ->check(CLI::Range(Index{5}, Index{100000}));
  options.add_option("--threads", settings.threads, "Threads, 0: all; the result does not depend on it")
      ->capture_default_str()
      ->check(CLI::Range(0, 256));
  return program.run(argc, argv, [&] {
    settings.seed = program.seed();
    settings.plain_trials = std::max(settings.plain_trials, settings.trials);
    return job(program, settings);
  });
}
