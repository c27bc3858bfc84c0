// Uses the optional component mpi: one task list shared out among the ranks that it is started with.
#include <cstdio>
#include <metalqr/core/eigen.hpp>
#include <metalqr/meta/mpi.hpp>
#include <metalqr/systems/perturbed_family.hpp>
#include <metalqr/systems/plants.hpp>

int main() {
  using Backend = metalqr::EigenBackend<double, 4, 2>;
  const metalqr::mpi::Session mpi;
  metalqr::mpi::Communicator ranks;
  const metalqr::Shard own = metalqr::shard_of(40, ranks.size(), ranks.rank());
  std::vector<metalqr::Task<Backend>> tasks;
  if (own.count > 0) {
    tasks = metalqr::systems::perturbed_family(metalqr::systems::modified_boeing<Backend>(),
                                               {.count = static_cast<metalqr::Index>(own.count),
                                                .relative_size = 0.4,
                                                .first = static_cast<metalqr::Index>(own.first)},
                                               7)
                .tasks;
  }
  const auto K0 = metalqr::systems::modified_boeing_initial_gain<Backend>();
  const auto result = metalqr::meta::train_with_models(ranks, tasks, K0, {.iterations = 3});
  if (ranks.rank() == 0) {
    std::printf("%d ranks: mean cost %.17g\n", ranks.size(), result.history.back().mean_cost);
  }
  return result.history.back().mean_cost < result.history.front().mean_cost ? 0 : 1;
}
