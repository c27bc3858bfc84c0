/// @file
/// The main job: meta-train one gain for a fleet of similar plants without knowing their models, and adapt it
/// to plants that were not in the fleet.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include <metalqr/core/eigen.hpp>
#include <metalqr/io/json.hpp>
#include <metalqr/meta/adapt.hpp>
#include <metalqr/meta/train.hpp>
#include <metalqr/systems/perturbed_family.hpp>
#include <metalqr/systems/plants.hpp>

#include "progress.hpp"
#include "quickstart_report.hpp"

namespace {

namespace meta = metalqr::meta;
namespace systems = metalqr::systems;
using Backend = metalqr::EigenBackend<double, 4, 2>;
using Gain = Backend::Gain;
using Task = metalqr::Task<Backend>;
using examples::Curve;
using examples::Gap;
using examples::Json;
using examples::short_text;

/// A meta-training run.
struct Training {
  Curve curve;
  meta::Result<Backend> result;
  int lost_at = -1;    ///< first iteration with a gain that does not stabilise every task; -1: none
  bool lost = false;   ///< whether that is so at the end
  double seconds = 0;  ///< of wall-clock time

  Json json() const {
    return {{"final_gap", examples::number_or_null(curve.points.back().gap)},
            {"iterations", result.iterations},
            {"status", to_string(result.status)},
            {"gain", metalqr::io::to_json<Backend>(result.gain, "gain")},
            {"oracle_calls", result.calls.total()},
            {"calls_to_1", examples::count(curve.calls_to(1))},
            {"calls_to_0.228", examples::count(curve.calls_to(0.228))},
            {"calls_to_0.01", examples::count(curve.calls_to(0.01))},
            {"unstable_probes", result.unstable_probes},
            {"skipped_inner_points", result.skipped_inner_points},
            {"guard_refusals", result.guard_refusals}};
  }
};

Training train(const std::string& name, const std::vector<Task>& tasks, const Gap<Backend>& gap,
               const meta::Options& options) {
  const Gain K0 = systems::modified_boeing_initial_gain<Backend>();
  Training run;
  run.curve = {name, {{0, 0, gap(K0)}}};
  const auto begin = std::chrono::steady_clock::now();
  examples::Progress progress(name, options.iterations);
  run.result = meta::train(tasks, K0, options, [&](const meta::Info<Backend>& info) {
    const int iteration = info.record.iteration;
    run.curve.points.push_back({iteration, static_cast<double>(info.record.calls.total()), gap(info.K)});
    run.lost = false;
    for (const Task& task : tasks) run.lost = run.lost || !metalqr::is_stabilizing(task, info.K);
    if (run.lost && run.lost_at < 0) run.lost_at = iteration;
    progress.update(iteration);
  });
  run.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return run;
}

/// Adapts to one unseen plant; the gap is that plant's own.
Curve adapt(const std::string& name, const Task& task, const Gain& start, const meta::AdaptOptions& options) {
  const Gap<Backend> gap(task);
  Curve curve{name, {{0, 0, gap(start)}}};
  if (!metalqr::is_stabilizing(task, start)) return curve;
  meta::adapt(task, start, options, [&](const meta::Info<Backend>& info) {
    curve.points.push_back(
        {info.record.iteration, static_cast<double>(info.record.calls.total()), gap(info.K)});
  });
  return curve;
}

void print_training(const Training& run, const std::vector<int>& iterations, int planned) {
  examples::print_gaps(run.curve, iterations, planned);
  if (run.lost_at >= 0) {
    std::printf("  A gain that loses a task appeared at iteration %d%s\n", run.lost_at,
                run.lost ? ", and the last one does too." : ".");
  }
  if (run.result.unstable_probes > 0) {
    std::printf(
        "  Unstable gains met by probes: %lld; by inner points, so that their task was skipped: %d.\n",
        static_cast<long long>(run.result.unstable_probes), run.result.skipped_inner_points);
  }
}

void print_calls(const Training& run) {
  std::vector<std::string> cells;
  for (const double level : {1.0, 0.228, 0.01})
    cells.push_back(examples::count_text(run.curve.calls_to(level)));
  examples::print_row(run.curve.name, cells);
}

struct Settings {
  int tasks = 10;
  int iterations = 200;
  double level = 0.01;
  bool guard = false;
};

constexpr int unseen_count = 3;
constexpr int adaptation_iterations = 300;

Json quickstart(examples::Program& program, const Settings& settings) {
  program.out();  // fails now rather than in the end
  // A fleet around the nominal plant; the last tasks are held out.
  const Task nominal = systems::modified_boeing<Backend>().with_initial_state(
      systems::published_initial_second_moment<Backend>());
  const Gain K0 = systems::modified_boeing_initial_gain<Backend>();
  const auto family = systems::perturbed_family(
      nominal, {.count = settings.tasks + unseen_count, .level = settings.level, .must_be_stabilised_by = K0},
      program.seed());
  const std::vector<Task> tasks(family.begin(), family.begin() + settings.tasks);
  const std::vector<Task> unseen(family.begin() + settings.tasks, family.end());
  const Gap<Backend> gap(nominal);

  // Meta-train from cost values alone: as published, with the library's default, and without an inner step.
  meta::Options published = settings.guard ? meta::published_guarded() : meta::published();
  meta::Options recommended;
  published.iterations = settings.iterations;
  recommended.iterations = std::min(settings.iterations, recommended.iterations);
  for (meta::Options* options : {&published, &recommended}) {
    options->seed = program.seed();
    options->threads = 1;  // an iteration is too short for more
  }
  meta::Options averaged = recommended;
  averaged.order = meta::Order::average;

  Training literal = train("published setting, this run", tasks, gap, published);
  const Training first_order = train("first-order MAML (default)", tasks, gap, recommended);
  const Training average = train("average cost, no inner step", tasks, gap, averaged);

  std::printf("Meta-training on %d plants around the modified Boeing, level %g, seed %llu\n", settings.tasks,
              settings.level, static_cast<unsigned long long>(program.seed()));
  std::printf("Gap: J(K) - J* of the nominal plant from x0 = (.25 .55 .35 .45), J* = %.6f\n\n", gap.least());
  std::vector<int> shown{0, 1, 50, 100, 200};
  if (std::find(shown.begin(), shown.end(), settings.iterations) == shown.end()) {
    shown.push_back(settings.iterations);
    std::sort(shown.begin(), shown.end());
  }
  examples::print_iterations("gap after iteration", shown);
  std::vector<std::string> cells;
  for (const int iteration : shown) {
    cells.emplace_back("-");
    for (const examples::PublishedPoint& point : examples::published_convergence())
      if (point.iteration == iteration) cells.back() = short_text(point.gap);
  }
  examples::print_row("published (L4DC 2024, Figure 1)", cells);
  print_training(literal, shown, settings.iterations);
  const Json lost_at = literal.lost_at < 0 ? Json(nullptr) : Json(literal.lost_at);
  if (literal.lost) {
    published.guard = true;
    literal = train("the same with the guard", tasks, gap, published);
    print_training(literal, shown, settings.iterations);
  }

  std::printf("\n");
  examples::print_row("oracle calls until the gap is below", {"1", "0.228", "0.01"});
  print_calls(literal);
  print_calls(first_order);
  print_calls(average);
  std::printf("  The %d iterations of the published setting took %td calls and %.2f s.\n",
              literal.result.iterations, literal.result.calls.total(), literal.seconds);

  // Adapt to the unseen plants, with the published step sizes and the guard.
  const auto adaptation = [&](meta::AdaptOptions options) {
    options.guard = true;
    options.seed = program.seed();
    return options;
  };
  std::vector<Curve> from_meta;
  std::vector<Curve> from_random;
  for (int i = 0; i < unseen_count; ++i) {
    const Task& task = unseen[static_cast<std::size_t>(i)];
    const std::string plant = "plant " + std::to_string(settings.tasks + i + 1);
    from_meta.push_back(adapt(plant + " from the meta-trained gain", task, literal.result.gain,
                              adaptation(meta::published_adaptation())));
    from_random.push_back(adapt(plant + " from a random gain", task,
                                systems::modified_boeing_random_gain<Backend>(),
                                adaptation(meta::published_adaptation_from_random_gain())));
  }
  std::printf("\nAdaptation to %d unseen plants, published steps and the guard: their own gap\n",
              unseen_count);
  const std::vector<int> steps{0, 1, 5, 20, adaptation_iterations};
  examples::print_iterations("gap after iteration", steps);
  for (const auto* curves : {&from_meta, &from_random}) {
    for (const Curve& curve : *curves) examples::print_gaps(curve, steps, adaptation_iterations);
  }

  // And with the library's default: quasi-Newton steps on orthonormal blocks.
  meta::AdaptOptions recommended_adaptation;
  recommended_adaptation.seed = program.seed();
  const int few = recommended_adaptation.iterations;
  std::vector<Curve> quick_from_meta;
  std::vector<Curve> quick_from_random;
  for (const Task& task : unseen) {
    quick_from_meta.push_back(adapt("", task, first_order.result.gain, recommended_adaptation));
    quick_from_random.push_back(
        adapt("", task, systems::modified_boeing_random_gain<Backend>(), recommended_adaptation));
  }
  std::printf("  Default steps, median of the plants; %.0f calls for %d iterations (published: %.0f):\n",
              quick_from_meta[0].points.back().calls, few,
              from_meta[0].points[std::min<std::size_t>(20, from_meta[0].points.size() - 1)].calls);
  examples::print_gaps(examples::median("from the default's gain", quick_from_meta, few), steps, few);
  examples::print_gaps(examples::median("from a random gain", quick_from_random, few), steps, few);

  // Files: tables, and a picture drawn from them.
  metalqr::io::write_csv(program.path("published.csv"), examples::published_convergence_table());
  metalqr::io::write_csv(program.path("published_adaptation.csv"), examples::published_adaptation_table());
  metalqr::io::write_csv(program.path("literal.csv"), literal.curve.table());
  metalqr::io::write_csv(program.path("first_order.csv"), first_order.curve.table());
  metalqr::io::write_csv(program.path("average.csv"), average.curve.table());
  std::vector<Curve> adapted = from_meta;
  adapted.insert(adapted.end(), from_random.begin(), from_random.end());
  metalqr::io::write_csv(program.path("adaptation.csv"),
                         examples::side_by_side(adapted, "gap of unseen plants during adaptation"));
  std::vector<std::string> files{"published.csv", "published_adaptation.csv",
                                 "literal.csv",   "first_order.csv",
                                 "average.csv",   "adaptation.csv"};
  const auto drawn = examples::draw(program.out(), {.name = "quickstart",
                                                    .width = 1500,
                                                    .height = 460,
                                                    .script = examples::quickstart_script(unseen_count)});
  files.insert(files.end(), drawn.begin(), drawn.end());
  std::printf("\nFiles in %s:", program.out().c_str());
  for (const std::string& file : files) std::printf(" %s", file.c_str());
  std::printf("\n");
  std::fflush(stdout);

  Json ends = Json::array();
  for (std::size_t i = 0; i < adapted.size(); ++i) {
    Json gaps = Json::object();
    for (const int step : steps)
      gaps[std::to_string(step)] = examples::number_or_null(adapted[i].gap_at(step, adaptation_iterations));
    ends.push_back({{"name", adapted[i].name}, {"gap", gaps}});
  }
  Json gaps = Json::object();
  for (const int iteration : shown) {
    if (iteration <= settings.iterations)
      gaps[std::to_string(iteration)] =
          examples::number_or_null(literal.curve.gap_at(iteration, settings.iterations));
  }
  return {{"tasks", settings.tasks},
          {"iterations", settings.iterations},
          {"level", settings.level},
          {"guard", published.guard},
          {"optimal_cost", gap.least()},
          {"gap", gaps},
          {"first_lost_iteration", lost_at},
          {"published", literal.json()},
          {"first_order", first_order.json()},
          {"average", average.json()},
          {"adaptation", ends},
          {"out", program.out().string()},
          {"files", files}};
}

}  // namespace

int main(int argc, char** argv) {
  examples::Program program(
      "quickstart",
      "Meta-trains one gain for a fleet of plants around the modified Boeing, from cost values alone, and\n"
      "adapts it to three plants that were not in the fleet. Prints tables; writes CSV and a picture.",
      7);
  Settings settings;
  program.options()
      .add_option("--tasks", settings.tasks, "Plants in the fleet")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  program.options()
      .add_option("--iterations", settings.iterations, "Iterations of meta-training")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  program.options()
      .add_option("--level", settings.level,
                  "Largest distance of two plants, in the spectral norm of A, B, Q, R")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  program.options().add_flag("--guard", settings.guard,
                             "Train in the published setting with the stability guard, which it lacks");
  return program.run(argc, argv, [&] { return quickstart(program, settings); });
}
