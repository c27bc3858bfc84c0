// Meta-training in the published setting: how long, and how time and memory grow with the number of tasks.

#include <chrono>
#include <map>
#include <span>

#include <metalqr/meta/train.hpp>
#include <metalqr/systems/perturbed_family.hpp>
#include <metalqr/systems/plants.hpp>

#include "../tests/meta/memory.hpp"
#include "rows.hpp"

namespace benchmarks {

namespace {

using Backend = metalqr::EigenBackend<double, 4, 2>;
using Tasks = std::span<const metalqr::Task<Backend>>;

/// The initial states of the published code.
metalqr::Task<Backend> nominal() {
  return metalqr::systems::modified_boeing<Backend>().with_initial_state(
      metalqr::systems::published_initial_second_moment<Backend>());
}

/// So many tasks close to the nominal one; a larger family begins with the smaller ones.
Tasks many_tasks(std::size_t count) {
  static metalqr::systems::Family<Backend> family;
  if (family.tasks.size() < count) {
    const auto size = static_cast<Index>(count);
    family = metalqr::systems::perturbed_family(
        nominal(),
        {.count = size,
         .level = 0.001,
         .relative_size = 0.45,
         .must_be_stabilised_by = metalqr::systems::modified_boeing_initial_gain<Backend>()},
        7);
  }
  return Tasks(family.tasks).first(count);
}

/// Trains in the timed loop. The rate of one thread is per second of the processor, as in the other rows;
/// that of several is per second of the clock, which is what they save.
void run(benchmark::State& state, Tasks tasks, const metalqr::meta::Options& options) {
  const Backend::Gain K0 = metalqr::systems::modified_boeing_initial_gain<Backend>();
  double calls = 0;
  bool complete = true;
  const auto begin = std::chrono::steady_clock::now();
  for (auto _ : state) {
    const auto result = metalqr::meta::train(tasks, K0, options);
    calls += static_cast<double>(result.calls.total());
    complete = complete && result.iterations == options.iterations;
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  if (!complete) state.SkipWithError("a run was not completed");
  state.counters["evals_per_s"] = options.threads == 1
                                      ? benchmark::Counter(calls, benchmark::Counter::kIsRate)
                                      : benchmark::Counter(calls / seconds.count());
}

void run_figure(benchmark::State& state) {
  const auto family = metalqr::systems::perturbed_family(nominal(), {.count = 10, .level = 0.01}, 7);
  metalqr::meta::Options options = metalqr::meta::published();
  options.threads = 1;
  run(state, Tasks(family.tasks), options);
}

/// Memory that training takes beyond the tasks themselves; found once.
double bytes_per_task(Tasks tasks, const metalqr::meta::Options& options) {
  static std::map<std::size_t, double> found;
  const auto [bytes, is_new] = found.try_emplace(tasks.size(), 0);
  if (is_new) {
    const Backend::Gain K0 = metalqr::systems::modified_boeing_initial_gain<Backend>();
    const test::MemoryCount memory;
    const auto result = metalqr::meta::train(tasks, K0, options);
    benchmark::DoNotOptimize(&result);
    bytes->second = static_cast<double>(memory.peak()) / static_cast<double>(tasks.size());
  }
  return bytes->second;
}

/// One iteration on so many tasks with so many samples for each estimate.
void run_many(benchmark::State& state, std::size_t count, Index samples, int threads) {
  const Tasks tasks = many_tasks(count);
  metalqr::meta::Options options = metalqr::meta::published();
  options.iterations = 1;
  options.estimator.samples = samples;
  options.threads = threads;
  run(state, tasks, options);
  if (threads == 1) state.counters["bytes_per_task"] = bytes_per_task(tasks, options);
}

[[maybe_unused]] const bool registered = [] {
  add("maml/fig1", run_figure)->Unit(benchmark::kMillisecond);
  const auto add_many = [](const std::string& name, std::size_t count, Index samples, int threads) {
    add(name, run_many, count, samples, threads)->Unit(benchmark::kMillisecond);
  };
  for (const std::size_t count : {10U, 100U, 1000U, 10000U, 100000U}) {
    const std::string name = "maml/tasks/" + std::to_string(count);
    add_many(name, count, 20, 1);
    add_many(name + "/threads:2", count, 20, 2);
  }
  for (const Index samples : {10, 20, 40, 80, 160}) {
    add_many("maml/samples/" + std::to_string(samples), 100, samples, 1);
  }
  return true;
}();

}  // namespace

}  // namespace benchmarks
