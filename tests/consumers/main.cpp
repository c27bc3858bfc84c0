#include <cstdio>

#include <metalqr/metalqr.hpp>

using Backend = metalqr::EigenBackend<double, 4, 2>;  // 4 states, 2 inputs; <> for sizes known at run time

int main() {
  const auto nominal = metalqr::systems::modified_boeing<Backend>();
  const auto tasks = metalqr::systems::perturbed_family(nominal, {.count = 10, .level = 0.01}, /*seed*/ 7);
  const Backend::Gain K0 = metalqr::systems::modified_boeing_initial_gain<Backend>();

  const auto learned = metalqr::meta::train(tasks, K0);  // model-free: only costs are asked for
  const metalqr::Evaluation at{nominal, learned.gain};   // P, Sigma, cost, gradient, Hessian, on demand
  std::printf("cost %.4f, least possible %.4f, oracle calls %td\n", at.cost(), metalqr::optimal_cost(nominal),
              learned.calls.total());

  const auto unseen = metalqr::systems::perturbed_family(nominal, {.count = 2, .level = 0.01}, /*seed*/ 8)[1];
  const auto adapted = metalqr::meta::adapt(unseen, learned.gain, {.iterations = 5});
  std::printf("unseen plant: cost %.4f, least possible %.4f\n", metalqr::cost(unseen, adapted.gain),
              metalqr::optimal_cost(unseen));
}
