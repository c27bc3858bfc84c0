#include <cstdio>

#include <metalqr/io/mpi_checkpoint.hpp>
#include <metalqr/metalqr.hpp>

using namespace metalqr;
using Backend = EigenBackend<double, 4, 2>;

int main() {
  const mpi::Session session;
  mpi::Communicator ranks;
  const Shard own = shard_of(1000, ranks.size(), ranks.rank());  // this process makes its own tasks alone
  const auto tasks = systems::perturbed_family(
      systems::modified_boeing<Backend>(),
      {.count = static_cast<Index>(own.count), .relative_size = 0.4, .first = static_cast<Index>(own.first)},
      /*seed*/ 7);
  const auto K0 = systems::modified_boeing_initial_gain<Backend>();

  const auto run = io::train_or_resume_with_models(ranks, tasks, K0, {}, {.path = "fleet.state"});
  if (ranks.rank() == 0)
    std::printf("%d ranks, %d iterations, gain %s\n", ranks.size(), run.result.iterations,
                io::hex(io::digest<Backend>(run.result.gain)).c_str());
}
