// Federated runs in virtual time without the agents' own work: events a second, and memory, as the fleet
// grows.

#include <cstddef>
#include <map>
#include <string>
#include <type_traits>
#include <vector>

#include <metalqr/federated/rule.hpp>
#include <metalqr/federated/server.hpp>
#include <metalqr/federated/virtual_time.hpp>

#include "../tests/meta/memory.hpp"
#include "rows.hpp"

namespace benchmarks {

namespace {

namespace federated = metalqr::federated;
using Fleet = metalqr::EigenBackend<double, 4, 2>;

/// Agents that know their answers.
struct Idle {
  using Backend = Fleet;

  Index count = 0;

  Index size() const { return count; }
  double limit(Index /*agent*/) const { return 2; }
  double cost(Index /*agent*/, Index /*question*/, const Fleet::Gain& /*K*/) const { return 1; }
  federated::Report<Fleet> work(Index agent, Index /*round*/, Index version, const Fleet::Gain& K) const {
    return {.agent = agent, .version = version, .estimate = K, .cost = 1};
  }
};

template <class Rule>
federated::RunResult<Fleet> simulated(const Rule& rule, Index agents, std::uint64_t events) {
  const Idle idle{agents};
  const std::vector<federated::AgentProfile> profiles{{.work = federated::ExponentialLatency{}}};
  federated::Server<Fleet, Rule> server(Fleet::Gain::Ones(), rule,
                                        {.step = 1e-9, .guard = federated::Guard::none});
  return federated::simulate(server, idle, profiles, {.max_events = events, .record = {.history = false}});
}

/// Each agent is there for ten events.
template <class Rule>
void run_events(benchmark::State& state, Rule rule, Index agents) {
  const auto events = 10 * static_cast<std::uint64_t>(agents);
  for (auto _ : state) {
    const auto run = simulated(rule, agents, events);
    if (run.events != events || run.updates == 0) state.SkipWithError("the run was not completed");
  }
  set_rates(state, events);
  static std::map<Index, double> found;
  const auto [bytes, is_new] = found.try_emplace(agents, 0);
  if (is_new) {
    const test::MemoryCount memory;
    const auto run = simulated(rule, agents, events);
    benchmark::DoNotOptimize(&run);
    bytes->second = static_cast<double>(memory.peak()) / static_cast<double>(agents);
  }
  state.counters["bytes_per_agent"] = bytes->second;
}

[[maybe_unused]] const bool registered = [] {
  for (const Index agents : {100, 1000, 10000, 100000}) {
    const std::string count = std::to_string(agents);
    add("events/buffered/" + count, run_events<federated::Buffered>, federated::Buffered{}, agents);
    add("events/synchronous/" + count, run_events<federated::Synchronous>, federated::Synchronous{}, agents);
    add("events/every_report/" + count, run_events<federated::Ringmaster>,
        federated::Ringmaster{.limit = 1'000'000'000}, agents);
    // In larger fleets each event makes the server restart many agents, some 40 of 10 000.
    if (agents > 1000) continue;
    const auto bounded = federated::bounded(federated::Buffered{}, 10);
    add("events/restarts/" + count, run_events<std::decay_t<decltype(bounded)>>, bounded, agents);
  }
  return true;
}();

}  // namespace

}  // namespace benchmarks
