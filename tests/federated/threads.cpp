#include <metalqr/federated/threads.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <iterator>
#include <stdexcept>
#include <thread>
#include <vector>

#include <metalqr/federated/compressed_agents.hpp>
#include <metalqr/federated/replay.hpp>
#include <metalqr/federated/virtual_time.hpp>
#include <metalqr/systems/masked_family.hpp>
#include <metalqr/systems/plants.hpp>

#include "federated/bowls.hpp"
#include "support.hpp"

namespace fed = metalqr::federated;
using metalqr::Index;
using test::Bowls;
using Backend = Bowls::Backend;
using Gain = Backend::Gain;
using Profiles = std::vector<fed::AgentProfile>;

namespace {

const Profiles at_once{
    {.work = fed::ConstantLatency{.ticks = 0}, .answer = fed::ConstantLatency{.ticks = 0}}};

/// Threads of this process.
std::ptrdiff_t running_threads() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/task"),
                       std::filesystem::directory_iterator());
}

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// Bowls whose agents fail when they have worked so often together.
struct Failing : Bowls {
  mutable std::atomic<int> left;

  Failing(Bowls bowls, int count) : Bowls(std::move(bowls)), left(count) {}
  fed::Report<Backend> work(Index agent, Index round, Index version, const Gain& K) const {
    if (left-- <= 0) throw std::runtime_error("the plant is on fire");
    return Bowls::work(agent, round, version, K);
  }
};

}  // namespace

TEST_CASE("a synchronous run with threads is the one in virtual time, bitwise") {
  Bowls agents = test::bowls(8, 1);
  const fed::ServerOptions options{.step = 0.3, .guard = fed::Guard::none};
  fed::Server<Backend, fed::Synchronous> real(Gain::Zero(), {}, options);
  fed::Server<Backend, fed::Synchronous> simulated(Gain::Zero(), {}, options);
  const auto run = fed::run_threads(real, agents, at_once, {.max_updates = 60});
  CHECK(run.updates == 60);
  CHECK(test::same_gains(run, fed::simulate(simulated, agents, at_once, {.max_updates = 60})));
}

TEST_CASE("the arrivals of a run with threads, replayed in virtual time, give the same gains, bitwise") {
  const std::ptrdiff_t threads = running_threads();
  for (const fed::Guard guard : {fed::Guard::none, fed::Guard::ask, fed::Guard::rollback}) {
    for (const bool reliable : {true, false}) {
      CAPTURE(static_cast<int>(guard), reliable);
      Bowls agents = test::bowls(9, 2);
      for (Gain& centre : agents.centres) centre *= 10 / centre.norm();
      const Profiles profiles = reliable ? Profiles(at_once) : test::unreliable(9, 2);
      const auto server = [&] {
        return fed::Server<Backend, fed::Buffered>(
            Gain::Zero(), {.count = 3},
            {.step = guard == fed::Guard::none ? 0.3 : 3, .guard = guard, .retry_after = 8});
      };
      auto original = server();
      const auto run = fed::run_threads(
          original, agents, profiles,
          {.until = 400, .max_updates = 200, .tick = 5e-4, .seed = 4, .record = {.arrivals = true}});
      CHECK(run.updates > 10);
      const fed::Replay replay = fed::replay_of(run.arrivals, agents.size(), profiles, 4);
      auto again = server();
      const auto repeated = fed::simulate(again, agents, replay.profiles, replay.options);
      CHECK(test::same_gains(run, repeated));
      CHECK(again.state().statistics.staleness == original.state().statistics.staleness);
      CHECK(again.state().statistics.questions == original.state().statistics.questions);
      CHECK(again.state().statistics.rollbacks == original.state().statistics.rollbacks);
    }
  }
  CHECK(running_threads() == threads);
}

TEST_CASE("agents that remember what compression left out replay bitwise as well") {
  Bowls bowls = test::bowls(6, 8);
  const Profiles profiles = test::unreliable(6, 8);
  const auto server = [] {
    return fed::Server<Backend, fed::Buffered>(Gain::Zero(), {.count = 3}, {.step = 0.05, .retry_after = 8});
  };
  auto original = server();
  fed::CompressedAgents agents(bowls, fed::TopK{.count = 2});
  const auto run = fed::run_threads(
      original, agents, profiles,
      {.until = 400, .max_updates = 150, .tick = 5e-4, .seed = 4, .record = {.arrivals = true}});
  CHECK(run.updates > 10);
  const fed::Replay replay = fed::replay_of(run.arrivals, agents.size(), profiles, 4);
  for (const int threads : {1, 4}) {
    CAPTURE(threads);
    fed::VirtualTimeOptions options = replay.options;
    options.threads = threads;
    auto again = server();
    fed::CompressedAgents fresh(bowls, fed::TopK{.count = 2});
    CHECK(test::same_gains(run, fed::simulate(again, fresh, replay.profiles, options)));
  }
}

TEST_CASE("real stragglers do not hold up an asynchronous server") {
  const Gain K0 = metalqr::systems::modified_boeing_async_gain<Backend>();
  const auto tasks = metalqr::systems::masked_family(metalqr::systems::modified_boeing<Backend>(),
                                                     {.count = 10, .must_be_stabilised_by = K0}, /*seed*/ 3)
                         .tasks;
  const auto oracles = metalqr::zeroth_order::exact_costs(tasks);
  fed::OracleAgents<Backend, metalqr::zeroth_order::ExactCost<Backend>> agents(
      oracles, K0, {.estimator = {.samples = 8, .radius = 1e-3}});
  Profiles profiles(10, at_once.front());
  for (fed::AgentProfile& profile : profiles) profile.work = fed::ConstantLatency{.ticks = 1};
  profiles[4].work = fed::ConstantLatency{.ticks = 250};
  fed::Server<Backend, fed::Buffered> server(K0, {.count = 5}, {.step = 1e-6});
  const auto run = fed::run_threads(server, agents, profiles, {.until = 1000, .record = {.timeline = true}});
  // The straggler alone would allow four updates.
  CHECK(run.updates > 8);
  CHECK(server.state().agents[4].reports <= 4);
  for (const fed::WorkSpan& span : run.timeline) {
    const bool ended = span.how == fed::WorkSpan::End::reported;
    if (ended) CHECK(span.end - span.begin >= (span.agent == 4 ? 250 : 1));
  }
}

TEST_CASE("a run ends with all its threads, whatever they are doing") {
  const std::ptrdiff_t threads = running_threads();
  Bowls agents = test::bowls(12, 3);
  fed::Server<Backend, fed::Buffered> server(Gain::Zero(), {.count = 2},
                                             {.step = 0.1, .guard = fed::Guard::none});
  SECTION("asleep for weeks") {
    const Profiles profiles{{.work = fed::ConstantLatency{.ticks = 1e9}}};
    const auto begin = std::chrono::steady_clock::now();
    CHECK(fed::run_threads(server, agents, profiles, {.until = 20}).updates == 0);
    CHECK(seconds_since(begin) < 10);
  }
  SECTION("asleep for longer than the clock can tell") {
    const Profiles profiles{{.work = fed::ParetoLatency{.scale = 1e300, .shape = 0.01}}};
    CHECK(fed::run_threads(server, agents, profiles, {.until = 5}).updates == 0);
  }
  SECTION("waiting for the server, which hears one at a time") {
    CHECK(fed::run_threads(server, agents, at_once, {.max_updates = 300, .capacity = 1}).updates == 300);
  }
  SECTION("because the observer says so") {
    Index seen = 0;
    const auto run = fed::run_threads(server, agents, at_once, {}, [&](const auto& info) {
      CHECK(info.time >= 0);
      return ++seen == 7;
    });
    CHECK(run.stopped);
    CHECK(run.history.size() == 7);
  }
  SECTION("because an agent throws") {
    Failing failing(agents, 40);
    CHECK_THROWS_AS(fed::run_threads(server, failing, at_once), std::runtime_error);
  }
  SECTION("because the observer throws") {
    CHECK_THROWS_AS(fed::run_threads(server, agents, at_once, {},
                                     [](const auto& info) {
                                       if (info.commit.version == 5) throw std::runtime_error("seen enough");
                                     }),
                    std::runtime_error);
  }
  SECTION("because everything was lost and nobody asks again") {
    const Profiles profiles{{.work = fed::ConstantLatency{.ticks = 0}, .loss = 0.9}};
    const auto run = fed::run_threads(server, agents, profiles);
    CHECK(run.updates < 100);
  }
  CHECK(running_threads() == threads);
}

TEST_CASE("agents that are late come back, and those that throw do not, while others work") {
  struct Flaky : Bowls {
    fed::Report<Backend> work(Index agent, Index round, Index version, const Gain& K) const {
      if (agent == 0 && round == 2) throw std::runtime_error("the plant is on fire");
      if (agent == 1 && round == 2) std::this_thread::sleep_for(std::chrono::milliseconds(300));
      return Bowls::work(agent, round, version, K);
    }
  };
  Flaky agents{test::bowls(5, 6)};
  fed::Server<Backend, fed::Buffered> server(Gain::Zero(), {.count = 2}, {.step = 0.1});
  const auto run = fed::run_threads(
      server, agents, Profiles{{.work = fed::ConstantLatency{.ticks = 1}}},
      {.until = 30'000, .timeout = 150, .on_failure = fed::OnFailure::leave},
      [](const auto& info) { return info.state.agents[1].reports > 5 && info.state.version > 20; });
  CHECK(run.stopped);
  const auto failed = [&](Index agent, fed::AgentFailure::Kind kind) {
    return std::count_if(run.failures.begin(), run.failures.end(), [&](const fed::AgentFailure& failure) {
      return failure.agent == agent && failure.kind == kind;
    });
  };
  CHECK(failed(0, fed::AgentFailure::Kind::threw) == 1);
  CHECK(failed(1, fed::AgentFailure::Kind::late) >= 1);
  CHECK_FALSE(server.state().agents[0].present);
  CHECK(server.state().agents[1].present);
}

TEST_CASE("timers that are always due do not hold up reports") {
  Bowls agents = test::bowls(4, 3);
  fed::Server<Backend, fed::TimeWindow> server(Gain::Zero(), {.ticks = 1e-7},
                                               {.step = 0.1, .guard = fed::Guard::none});
  CHECK(fed::run_threads(server, agents, at_once, {.until = 1e5, .max_updates = 20}).updates == 20);
}

TEST_CASE("profiles and options of a run with threads out of range are refused by name") {
  Bowls agents = test::bowls(3, 1);
  fed::Server<Backend, fed::Synchronous> server(Gain::Zero(), {});
  const auto run = [&](const Profiles& profiles, const fed::ThreadsOptions& options = {.until = 1}) {
    return fed::run_threads(server, agents, profiles, options);
  };
  CHECK_THROWS_AS(run(Profiles(2)), metalqr::InvalidOption);
  CHECK_THROWS_AS(run({{.loss = 1}}), metalqr::InvalidOption);
  CHECK_THROWS_AS(run(at_once, {.until = -1}), metalqr::InvalidOption);
  CHECK_THROWS_AS(run(at_once, {.max_updates = -1}), metalqr::InvalidOption);
  CHECK_THROWS_AS(run(at_once, {.tick = 0}), metalqr::InvalidOption);
  CHECK_THROWS_AS(run(at_once, {.capacity = 0}), metalqr::InvalidOption);
}
