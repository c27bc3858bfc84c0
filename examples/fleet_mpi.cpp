/// @file
/// Meta-training of one gain for a fleet that is shared out among processes, which survives being killed:
/// mpirun -np 4 fleet_mpi --tasks 100000 --out DIR --checkpoint DIR/state

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>

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
  long every = 1;
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

/// What each iteration moved, as read at its end.
class Volume {
 public:
  explicit Volume(const mpi::Communicator& ranks) : ranks_(ranks), last_(ranks.traffic()) {}

  /// Of the middle of a run: its first iteration assesses the start as well, and its last may try longer.
  void update() {
    const mpi::Traffic now = ranks_.traffic();
    const mpi::Traffic step = now.since(last_);
    if (iterations_++ > 0) {
      sum_.sent_bytes += step.sent_bytes;
      sum_.received_bytes += step.received_bytes;
      sum_.collectives += step.collectives;
    }
    last_ = now;
  }
  examples::Json json() const {
    const auto each = [this](std::uint64_t sum) -> examples::Json {
      if (iterations_ < 2) return nullptr;
      return static_cast<double>(sum) / static_cast<double>(iterations_ - 1);
    };
    return {{"sent_bytes", each(sum_.sent_bytes)},
            {"received_bytes", each(sum_.received_bytes)},
            {"collectives", each(sum_.collectives)}};
  }

 private:
  const mpi::Communicator& ranks_;
  mpi::Traffic last_;
  mpi::Traffic sum_{};
  long iterations_ = 0;
};

examples::Json fleet_mpi(examples::Program& program, mpi::Communicator& ranks, const Settings& settings) {
  const bool speaks = ranks.rank() == 0;
  ranks.together([&] {
    if (speaks) program.out();  // fails now rather than in the end
  });
  const auto begin = Clock::now();
  const auto nominal = systems::modified_boeing<Backend>();
  const Backend::Gain K0 = systems::modified_boeing_initial_gain<Backend>();
  const metalqr::Shard shard = metalqr::shard_of(static_cast<std::size_t>(settings.tasks),
                                                 static_cast<std::size_t>(ranks.size()),
                                                 static_cast<std::size_t>(ranks.rank()));
  systems::Family<Backend> own;
  ranks.together([&] {
    if (shard.count == 0) return;
    own = systems::perturbed_family(nominal,
                                    {.first = static_cast<metalqr::Index>(shard.first),
                                     .count = static_cast<metalqr::Index>(shard.count),
                                     .level = settings.level,
                                     .relative_size = 0.4,
                                     .must_be_stabilised_by = K0},
                                    program.seed());
  });
  const double drawing = seconds_since(begin);

  meta::Options options;
  options.iterations = settings.iterations;
  options.tolerance = settings.tolerance;
  options.seed = program.seed();
  options.threads = settings.threads;
  const io::CheckpointOptions checkpoints{.path = settings.checkpoint, .every = settings.every};
  return {};
}

}  // namespace
