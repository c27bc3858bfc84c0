// Agents with memories in runs that are resumed.

#include <algorithm>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <utility>
#include <vector>

#include <metalqr/federated/compressed_agents.hpp>
#include <metalqr/federated/compression.hpp>
#include <metalqr/federated/resumed_simulation.hpp>
#include <metalqr/federated/variance_reduced_agents.hpp>
#include <metalqr/systems/plants.hpp>

#include "federated/bowls.hpp"
#include "federated/resumable.hpp"
#include "support.hpp"

namespace fed = metalqr::federated;
namespace zo = metalqr::zeroth_order;
using metalqr::Index;
using test::bowls;
using test::unreliable;

namespace {

const auto as_it_is = [](const auto& state) { return state; };

/// Agents of which each has a cost with noise, so that their estimates have errors.
class Noisy {
 public:
  using Small = metalqr::EigenBackend<double, 2, 1>;
  using Oracle = zo::RandomStartCost<Small>;
  using Agents = fed::VarianceReducedAgents<Small, Oracle>;

  Noisy()
      : task_(metalqr::systems::double_integrator<Small>()),
        oracles_(5, Oracle(task_, {Small::StateVector::Zero(), Small::StateMatrix::Identity()})) {
    K0_ << 0.4, 1.1;
  }
  Agents agents() const {
    return {oracles_,
            K0_,
            {.estimator = {.anchor = {.directions = zo::Directions::sphere, .samples = 6},
                           .inner_length = 4,
                           .max_distance = 0.2},
             .seed = 3}};
  }
  const Small::Gain& K0() const { return K0_; }

  Noisy(const Noisy&) = delete;
  Noisy& operator=(const Noisy&) = delete;

 private:
  metalqr::Task<Small> task_;
  std::vector<Oracle> oracles_;
  Small::Gain K0_;
};

}  // namespace

TEST_CASE("agents take their memories back: what was not sent, and anchors") {
  const Noisy noisy;
  const auto server = [&] {
    return fed::make_server<Noisy::Small>(noisy.K0(), fed::bounded(fed::Buffered{.count = 2}, 1),
                                          {.step = 0.02, .guard = fed::Guard::none, .retry_after = 4});
  };
  const fed::VirtualTimeOptions options{.max_events = 200, .seed = 7};
  const auto check = [&](const auto& agents) {
    const test::Resumable run{agents, server, unreliable(5, 7), options};
    CHECK(test::interrupt(run, as_it_is).different == 0);
    CHECK(test::interrupt(run, as_it_is, 11, 2).different == 0);
    // Agents that forget end elsewhere.
    const auto forgetful = [&](auto state) {
      for (auto& memory : state.memories) memory = agents().memory(0);
      return state;
    };
    CHECK(test::interrupt(run, forgetful, 50).different > 0);
  };
  check([&] { return fed::CompressedAgents(noisy.agents(), fed::TopK{.count = 1}); });
  check([] { return fed::CompressedAgents(test::bowls<Noisy::Small>(5, 3), fed::Quantizer{.bits = 3}, 9); });
}

TEST_CASE("agents that were resumed have counted as many calls and bits") {
  const Noisy noisy;
  const auto run = [&](auto& agents, auto& server, std::uint64_t stop_after) {
    fed::SimulationState<Noisy::Small, fed::MemoryOf<std::remove_reference_t<decltype(agents)>>> state;
    const auto keep = [&](const auto& moment) {
      if (moment.events() < stop_after) return false;
      state = moment.state();
      return true;
    };
    const auto result = fed::simulate(server, agents, unreliable(5, 7), {.max_events = 150, .seed = 7},
                                      metalqr::NoObserver{}, keep);
    CHECK(result.stopped == (stop_after <= 150));
    CHECK(result.events == std::min<std::uint64_t>(stop_after, 150));
    return state;
  };
  const auto make = [&] { return fed::CompressedAgents(noisy.agents(), fed::TopK{.count = 1}); };
  const auto make_server = [&] {
    return fed::make_server<Noisy::Small>(noisy.K0(), fed::Buffered{.count = 2},
                                          {.step = 0.02, .guard = fed::Guard::none, .retry_after = 4});
  };
  auto whole = make();
  auto whole_server = make_server();
  run(whole, whole_server, 1000);
  auto agents = make();
  auto server = make_server();
  auto state = run(agents, server, 60);
  // The same agents, which have prepared more than they reported, go on.
  const auto end = fed::resume_simulation(std::move(state), server, agents, unreliable(5, 7),
                                          {.max_events = 150, .seed = 7, .threads = 2});
  CHECK_FALSE(end.stopped);
  for (Index agent = 0; agent < 5; ++agent) {
    CHECK(agents.sent_bits(agent) == whole.sent_bits(agent));
    CHECK(agents.agents().state(agent).calls == whole.agents().state(agent).calls);
    CHECK(test::same_entries(agents.feedback(agent).residual, whole.feedback(agent).residual));
  }
}

TEST_CASE("a memory that no agent can have is refused") {
  const Noisy noisy;
  auto reduced = noisy.agents();
  auto memory = reduced.memory(0);
  memory.calls = -1;
  CHECK_THROWS_AS(reduced.remember(0, memory), metalqr::InvalidOption);
  fed::CompressedAgents compressed(bowls(2, 1), fed::TopK{});
  auto kept = compressed.memory(1);
  kept.compression.bits = -1;
  CHECK_THROWS_AS(compressed.remember(1, kept), metalqr::InvalidOption);
  kept = compressed.memory(1);
  kept.compression.feedback.residual(0, 0) = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_AS(compressed.remember(1, kept), metalqr::NotFinite);
}
