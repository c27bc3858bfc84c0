/// @file
/// Meta-training of one gain for a fleet that is shared out among processes, which survives being killed:
/// mpirun -np 4 fleet_mpi --tasks 100000 --out DIR --checkpoint DIR/state

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <iostream>
#include <streambuf>
#include <string>
#include <utility>
#include <vector>

#include <metalqr/core/eigen.hpp>
#include <metalqr/core/mpi.hpp>
#include <metalqr/core/team.hpp>
#include <metalqr/io/csv.hpp>
#include <metalqr/io/digest.hpp>
#include <metalqr/io/json.hpp>
#include <metalqr/io/mpi_checkpoint.hpp>
#include <metalqr/meta/mpi.hpp>
#include <metalqr/systems/perturbed_family.hpp>
#include <metalqr/systems/plants.hpp>

#include "program.hpp"

namespace {

namespace io = metalqr::io;
namespace meta = metalqr::meta;
namespace mpi = metalqr::mpi;
namespace systems = metalqr::systems;
using Backend = metalqr::EigenBackend<double, 4, 2>;
using Clock = std::chrono::steady_clock;

struct Settings {
  long tasks = 1000;
  int iterations = 50;
  double level = 0.01;
  double tolerance = 1e-5;
  bool model_free = false;
  int threads = 1;
  std::string checkpoint;
  long every = 0;
};

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

/// A line on stderr now and then, of the rank that speaks.
class ProgressLine {
 public:
  ProgressLine(bool speaks, const Settings& settings) : speaks_(speaks), settings_(settings) {}

  void update(const meta::Record<Backend>& record) {
    if (!speaks_) return;
    if (first_ == 0) first_ = record.iteration;
    const double done = record.iteration - first_ + 1;
    const double seconds = seconds_since(begin_);
    if (record.iteration < settings_.iterations && seconds < next_) return;
    next_ = seconds + 1;
    std::fprintf(stderr, "fleet_mpi: iteration %d of %d, mean cost %.9g, %.3g tasks a second\n",
                 record.iteration, settings_.iterations, static_cast<double>(record.mean_cost),
                 done * static_cast<double>(settings_.tasks) / seconds);
  }

 private:
  bool speaks_;
  const Settings& settings_;
  Clock::time_point begin_ = Clock::now();
  double next_ = 0;
  int first_ = 0;
};

/// What the first rank sent and received.
class Volume {
 public:
  explicit Volume(const mpi::Communicator& ranks) : ranks_(ranks), last_(ranks.traffic()) {}

  /// At the end of an iteration. The first is left out: it looks at the start as well.
  void update() {
    const mpi::Traffic now = ranks_.traffic();
    if (iterations_++ == 0) {
      first_ = now;
    } else {
      last_ = now;
    }
  }
  /// Means of an iteration.
  examples::Json json() const {
    const mpi::Traffic sum = last_.since(first_);
    const auto mean = [this](std::uint64_t all) {
      return iterations_ < 2
                 ? examples::Json(nullptr)
                 : examples::Json(static_cast<double>(all) / static_cast<double>(iterations_ - 1));
    };
    return {{"sent_bytes", mean(sum.sent_bytes)},
            {"received_bytes", mean(sum.received_bytes)},
            {"collective_calls", mean(sum.collectives)}};
  }

 private:
  const mpi::Communicator& ranks_;
  mpi::Traffic first_{};
  mpi::Traffic last_;
  long iterations_ = 0;
};

/// Swallows what other ranks than the first would print too.
class Silence : public std::streambuf {
 protected:
  int overflow(int c) override { return traits_type::not_eof(c); }
};

/// What a person reads, and the table behind it.
void report(examples::Program& program, const Settings& settings, int ranks,
            const meta::Result<Backend>& result, const std::vector<meta::Record<Backend>>& history,
            const io::CheckpointReport& checkpoints, double drawing, double seconds) {
  std::printf("Meta-training on %ld plants around the modified Boeing, level %g, seed %llu, %d rank%s\n",
              settings.tasks, settings.level, static_cast<unsigned long long>(program.seed()), ranks,
              ranks == 1 ? "" : "s");
  if (!checkpoints.damage.empty()) std::printf("Not the newest checkpoint: %s\n", checkpoints.damage.c_str());
  if (!checkpoints.resumed_from.empty()) {
    std::printf("Went on from %s after iteration %d\n", checkpoints.resumed_from.c_str(),
                result.iterations - static_cast<int>(history.size()));
  }
  io::Table table{.comments = {"the iterations of this process, costs over " +
                               std::to_string(settings.tasks) + " plants"},
                  .columns = {"iteration", "mean_cost", "worst_cost", "step", "direction_norm"}};
  for (const auto& record : history) {
    table.rows.push_back({static_cast<double>(record.iteration), record.mean_cost, record.worst_cost,
                          record.step, record.direction_norm});
  }
  if (!history.empty()) {
    std::printf("Iteration %d (%s): mean cost %.9g, worst %.9g\n", result.iterations,
                to_string(result.status), history.back().mean_cost, history.back().worst_cost);
    std::printf("%.2f s for %zu iterations, %.3g tasks a second; %.2f s to draw the plants\n", seconds,
                history.size(),
                static_cast<double>(history.size()) * static_cast<double>(settings.tasks) / seconds, drawing);
  } else {
    std::printf("It had ended after iteration %d (%s)\n", result.iterations, to_string(result.status));
  }
  io::write_csv(program.path("history.csv"), table);
  std::printf("Files in %s: history.csv\n", program.out().c_str());
  std::fflush(stdout);
}

examples::Json fleet_mpi(examples::Program& program, mpi::Communicator& ranks, const Settings& settings) {
  const bool speaks = ranks.rank() == 0;
  ranks.together([&] {
    if (speaks) program.out();  // fails now rather than in the end
  });
  const auto begin = Clock::now();
  const auto nominal = systems::modified_boeing<Backend>();
  const Backend::Gain K0 = systems::modified_boeing_initial_gain<Backend>();
  const metalqr::Shard shard =
      metalqr::shard_of(static_cast<std::size_t>(settings.tasks), ranks.size(), ranks.rank());
  systems::Family<Backend> own;
  ranks.together([&] {
    own = systems::perturbed_family(nominal,
                                    {.count = static_cast<metalqr::Index>(shard.count),
                                     .level = settings.level,
                                     .relative_size = 0.4,
                                     .must_be_stabilised_by = K0,
                                     .first = static_cast<metalqr::Index>(shard.first)},
                                    program.seed());
  });
  const double drawing = seconds_since(begin);

  meta::Options options;
  options.iterations = settings.iterations;
  options.tolerance = settings.tolerance;
  options.seed = program.seed();
  options.threads = settings.threads;
  ProgressLine progress(speaks, settings);
  Volume volume(ranks);
  std::vector<meta::Record<Backend>> history;
  const auto observe = [&](const meta::Info<Backend>& info) {
    history.push_back(info.record);
    progress.update(info.record);
    volume.update();
  };
  const auto start = Clock::now();
  meta::Result<Backend> result;
  io::CheckpointReport checkpoints;
  if (settings.checkpoint.empty()) {
    result = settings.model_free ? meta::train(ranks, own.tasks, K0, options, observe)
                                 : meta::train_with_models(ranks, own.tasks, K0, options, observe);
  } else {
    const io::CheckpointOptions where{.path = settings.checkpoint, .every = settings.every};
    auto run = settings.model_free
                   ? io::train_or_resume(ranks, own.tasks, K0, options, where, observe)
                   : io::train_or_resume_with_models(ranks, own.tasks, K0, options, where, observe);
    result = std::move(run.result);
    checkpoints = run.checkpoints;
  }
  const double seconds = seconds_since(start);

  const examples::Json moved = volume.json();
  ranks.together([&] {
    if (speaks) report(program, settings, ranks.size(), result, history, checkpoints, drawing, seconds);
  });
  if (!speaks) return examples::Json::object();
  const auto done = static_cast<double>(history.size());
  return {{"tasks", settings.tasks},
          {"ranks", ranks.size()},
          {"iterations", result.iterations},
          {"status", to_string(result.status)},
          {"gain", io::to_json<Backend>(result.gain, "gain")},
          {"digest", io::hex(io::digest<Backend>(result.gain))},
          {"resumed_from", checkpoints.resumed_from},
          {"checkpoints", checkpoints.written},
          {"seconds", seconds},
          {"tasks_per_second", seconds > 0 ? done * static_cast<double>(settings.tasks) / seconds : 0},
          {"iteration_of_first_rank", moved},
          {"out", program.out().string()},
          {"files", {"history.csv"}}};
}

}  // namespace

int main(int argc, char** argv) {
  const mpi::Session session;
  mpi::Communicator ranks;
  Silence silence;
  std::streambuf* const out = std::cout.rdbuf();
  std::streambuf* const err = std::cerr.rdbuf();
  if (ranks.rank() != 0) {
    std::cout.rdbuf(&silence);
    std::cerr.rdbuf(&silence);  // the first rank says what another one's error was
  }
  examples::Program program(
      "fleet_mpi",
      "Meta-trains one gain for a fleet of plants around the modified Boeing that is shared out among the\n"
      "processes which mpirun starts; the gain is bitwise the same for any number of them. With "
      "--checkpoint,\n"
      "a run that was killed goes on where it was when it is started again.",
      7);
  Settings settings;
  CLI::App& options = program.options();
  options.add_option("--tasks", settings.tasks, "Plants in the fleet")
      ->check(CLI::Range(1L, 1000000000L))
      ->capture_default_str();
  options.add_option("--iterations", settings.iterations, "Iterations of meta-training, at most")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  options
      .add_option("--level", settings.level,
                  "Largest distance of two plants, in the spectral norm of A, B, Q, R")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  options
      .add_option("--tolerance", settings.tolerance,
                  "Ends when the direction is this much shorter than the first; 0: never")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  options.add_flag("--model-free", settings.model_free, "Learn from cost values alone");
  options.add_option("--threads", settings.threads, "Threads of a process, 0: one a core")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  options.add_option("--checkpoint", settings.checkpoint, "File to write checkpoints to, and to go on from")
      ->type_name("FILE");
  options
      .add_option("--every", settings.every, "Iterations from one checkpoint to the next; 0: one a minute")
      ->check(CLI::Range(0L, 1000000L))
      ->capture_default_str();
  const int status = program.run(argc, argv, [&] { return fleet_mpi(program, ranks, settings); });
  std::cout.rdbuf(out);
  std::cerr.rdbuf(err);
  return status;
}
