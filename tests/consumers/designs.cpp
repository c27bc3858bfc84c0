#include <cstdio>

#include <metalqr/metalqr.hpp>
#include <metalqr/synthesis/csdp.hpp>

using namespace metalqr;
using Backend = EigenBackend<double, 3, 3>;

int main() {
  const auto plant = systems::laplacian_3<Backend>();  // stands for a real one, of which there are only data
  const auto data = identification::collect(plant, {.rollouts = 100, .horizon = 6}, {.seed = 1});

  const auto estimate = identification::least_squares(data);
  const auto known = identification::data_bound(estimate, {.delta = 0.05, .rigorous = false});
  const auto problem = synthesis::learned_problem(known, plant.Q(), plant.R());
  const auto design = synthesis::ellipsoid(problem, synthesis::Csdp());

  std::printf("errors: A at most %.3f, B at most %.3f\n", known.epsilon_A, known.epsilon_B);
  if (design.status != synthesis::SynthesisStatus::solved) return 1;  // too few data
  std::printf("cost at most %.3f on every plant that the data leave, %.3f on this one, least possible %.3f\n",
              design.cost_bound, cost(plant, design.gain), optimal_cost(plant));
}
