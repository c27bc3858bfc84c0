#include <cstdio>
#include <vector>

#include <metalqr/metalqr.hpp>

namespace federated = metalqr::federated;
using Backend = metalqr::EigenBackend<double, 4, 2>;

int main() {
  const auto nominal = metalqr::systems::modified_boeing<Backend>();
  const Backend::Gain K0 = metalqr::systems::modified_boeing_async_gain<Backend>();
  const auto fleet =
      metalqr::systems::masked_family(nominal, {.count = 50, .must_be_stabilised_by = K0}, /*seed*/ 7);
  const federated::ModelAgents<Backend> agents(fleet.tasks, K0);  // OracleAgents: costs alone

  std::vector<federated::AgentProfile> profiles(fleet.tasks.size(),
                                                {.work = federated::ParetoLatency{}, .loss = 0.01});
  profiles[3].work = federated::ConstantLatency{.ticks = 20};        // a straggler
  profiles[7].presence = federated::ExponentialLatency{.mean = 30};  // comes and goes

  federated::Server<Backend, federated::Buffered> server(K0, {.count = 20}, {.step = 2e-6, .retry_after = 3});
  const auto run = federated::simulate(server, agents, profiles, {.max_updates = 300, .seed = 1});
  std::printf("%td updates in %.0f ticks, cost %.4f, at first %.4f, least possible %.4f\n", run.updates,
              run.time, metalqr::cost(nominal, run.gain), metalqr::cost(nominal, K0),
              metalqr::optimal_cost(nominal));
}
