#include <metalqr/federated/virtual_time.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <metalqr/lqr/optimal_gain.hpp>
#include <metalqr/systems/masked_family.hpp>
#include <metalqr/systems/plants.hpp>

#include "federated/bowls.hpp"
#include "support.hpp"

namespace fed = metalqr::federated;
using metalqr::Index;
using Backend = metalqr::EigenBackend<double, 4, 2>;
using Gain = Backend::Gain;
using test::Bowls;
using test::bowls;
using test::unreliable;
using Profiles = std::vector<fed::AgentProfile>;

namespace {

template <class Result>
bool same_history(const Result& x, const Result& y) {
  if (!test::same_gains(x, y) || x.time != y.time || x.events != y.events) return false;
  for (std::size_t i = 0; i < x.history.size(); ++i) {
    if (x.history[i].time != y.history[i].time) return false;
  }
  return std::equal(x.arrivals.begin(), x.arrivals.end(), y.arrivals.begin(), y.arrivals.end(),
                    [](const fed::Arrival& a, const fed::Arrival& b) {
                      return a.kind == b.kind && a.agent == b.agent && a.number == b.number &&
                             a.cause == b.cause;
                    });
}

constexpr fed::ServerOptions unguarded{.step = 0.3, .guard = fed::Guard::none};

/// The plant of the experiments, with the mean of the training starts.
metalqr::Task<Backend> training_plant() {
  return metalqr::systems::modified_boeing<Backend>().with_initial_state(
      metalqr::systems::published_initial_second_moment<Backend>());
}

}  // namespace

TEST_CASE("updates come when constant latencies say, at the gains that were sent") {
  // Agent 0 takes 2 ticks, agent 1 takes 3; each report is an update with step 1/2.
  Bowls agents{{Gain::Constant(2), Gain::Constant(4)}};
  fed::Server<Backend, fed::Buffered> server(Gain::Zero(), {.count = 1},
                                             {.step = 0.5, .guard = fed::Guard::none});
  const Profiles profiles{{.work = fed::ConstantLatency{.ticks = 2}},
                          {.work = fed::ConstantLatency{.ticks = 3}}};
  const auto result =
      fed::simulate(server, agents, profiles, {.until = 6, .record = {.timeline = true, .arrivals = true}});
  // t = 2: agent 0, at 0: K = 0 - (0 - 2)/2 = 1; 3: agent 1, at 0: 1 - (0 - 4)/2 = 3; 4: agent 0, at 1: 3.5;
  // 6: agent 0, at 3.5: 2.75, then agent 1, at 3: 3.25.
  const std::vector<double> times{2, 3, 4, 6, 6};
  const std::vector<double> gains{1, 3, 3.5, 2.75, 3.25};
  REQUIRE(result.history.size() == 5);
  for (std::size_t i = 0; i < 5; ++i) {
    CAPTURE(i);
    CHECK(result.history[i].time == times[i]);
    CHECK(result.history[i].commit.gain(1, 2) == gains[i]);
  }
  CHECK(result.updates == 5);
  std::vector<Index> reporters;
  for (const fed::Arrival& arrival : result.arrivals) {
    if (arrival.kind == fed::Arrival::Kind::report) reporters.push_back(arrival.agent);
  }
  CHECK(reporters == std::vector<Index>{0, 1, 0, 0, 1});
  REQUIRE(result.timeline.size() == 7);
  CHECK((result.timeline[1].agent == 1 && result.timeline[1].begin == 0 && result.timeline[1].end == 3));
  CHECK(result.timeline[6].how == fed::WorkSpan::End::open);
}

TEST_CASE("a buffer for the whole fleet is synchronous to the last bit, with no latency and with any") {
  for (const double ticks : {0.0, 1.5}) {
    Bowls agents = bowls(12, 3);
    const Profiles profiles{{.work = fed::ConstantLatency{.ticks = ticks}}};
    fed::Server<Backend, fed::Buffered> buffered(Gain::Zero(), {.count = 12}, unguarded);
    fed::Server<Backend, fed::Synchronous> synchronous(Gain::Zero(), {}, unguarded);
    const auto x =
        fed::simulate(buffered, agents, profiles, {.max_updates = 40, .record = {.arrivals = true}});
    const auto y =
        fed::simulate(synchronous, agents, profiles, {.max_updates = 40, .record = {.arrivals = true}});
    CHECK(x.updates == 40);
    REQUIRE(synchronous.state().agents.size() == 12);
    for (const auto& record : synchronous.state().agents) CHECK(record.participations == 40);
    CHECK(same_history(x, y));
  }
}

TEST_CASE("a run is a function of its seeds, whatever the number of threads") {
  const auto tasks = metalqr::systems::masked_family(training_plant(), {.count = 12}, /*seed*/ 3).tasks;
  const Gain K0 = metalqr::systems::modified_boeing_async_gain<Backend>();
  const auto oracles = metalqr::zeroth_order::exact_costs(tasks);
  const auto run = [&](int threads, std::uint64_t seed) {
    fed::OracleAgents<Backend, metalqr::zeroth_order::ExactCost<Backend>> agents(
        oracles, K0,
        {.estimator = {
             .directions = metalqr::zeroth_order::Directions::sphere, .samples = 4, .radius = 1e-3}});
    fed::Server<Backend, fed::Buffered> server(K0, {.count = 4}, {.step = 1e-5, .retry_after = 10});
    return fed::simulate(server, agents, unreliable(12, 5),
                         {.until = 400, .seed = seed, .threads = threads, .record = {.arrivals = true}});
  };
  const auto one = run(1, 1);
  CHECK(one.updates > 20);
  CHECK(same_history(one, run(1, 1)));
  CHECK(same_history(one, run(8, 1)));
  CHECK_FALSE(same_history(one, run(1, 2)));
}

TEST_CASE(
    "a guarded run never commits a gain that somebody there does not accept, and never stops for ever") {
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    CAPTURE(seed);
    Bowls agents = bowls(9, seed);
    for (Gain& centre : agents.centres) centre *= 10 / centre.norm();
    // The step is far too long for the limits of all, so that candidates are refused again and again.
    fed::Server<Backend, fed::Buffered> server(Gain::Zero(), {.count = 3}, {.step = 40, .retry_after = 8});
    const auto result = fed::simulate(server, agents, unreliable(9, seed),
                                      {.until = 400, .seed = seed, .record = {.timeline = true}});
    CHECK(result.updates > 10);
    CHECK(result.history.back().time > 300);
    for (const auto& record : result.history) {
      for (const Index agent : record.present) {
        if (record.commit.reports > 0)
          CHECK(agents.cost(agent, 0, record.commit.gain) <= agents.limit(agent));
      }
    }
    CHECK(server.state().statistics.halvings > 0);
  }
}

TEST_CASE("stragglers hold up a synchronous server, not an asynchronous one") {
  const Gain K0 = metalqr::systems::modified_boeing_async_gain<Backend>();
  const auto tasks = metalqr::systems::masked_family(metalqr::systems::modified_boeing<Backend>(),
                                                     {.count = 50, .must_be_stabilised_by = K0}, /*seed*/ 3)
                         .tasks;
  Backend::StateVector x0;
  x0 << 0.25, 0.55, 0.35, 0.45;
  const auto nominal = metalqr::systems::modified_boeing<Backend>().with_initial_state(x0 * x0.transpose());
  const double least = metalqr::cost(nominal, metalqr::solve_dare(nominal).gain);
  fed::ModelAgents<Backend> agents(tasks, K0);
  for (const Index stragglers : {1, 10}) {
    CAPTURE(stragglers);
    Profiles profiles(50);
    for (Index i = 0; i < stragglers; ++i) {
      profiles[static_cast<std::size_t>(5 * i + 1)].work = fed::ConstantLatency{.ticks = 20};
    }
    const auto run = [&](auto& server) {
      return fed::simulate(server, agents, profiles, {.max_updates = 4000},
                           [&](const fed::RunInfo<Backend>& info) {
                             return metalqr::cost(nominal, info.commit.gain) - least <= 0.3;
                           });
    };
    const fed::ServerOptions options{.step = 0.2e-5, .guard = fed::Guard::none};
    fed::Server<Backend, fed::Buffered> asynchronous(K0, {.count = 20}, options);
    fed::Server<Backend, fed::Synchronous> synchronous(K0, {}, options);
    const auto fast = run(asynchronous);
    const auto slow = run(synchronous);
    CHECK(fast.stopped);
    CHECK(slow.stopped);
    CHECK(slow.time >= 20 * fast.time);
    CHECK(std::abs(static_cast<double>(fast.updates - slow.updates)) <=
          0.1 * static_cast<double>(slow.updates));
  }
}

TEST_CASE("a server goes on in another run, and after it was read from a copy of its state") {
  const auto check = [](const auto& rule, fed::Guard guard, double loss) {
    CAPTURE(static_cast<int>(guard), loss);
    Bowls agents = bowls(5, 2);
    const Profiles profiles{{.work = fed::ExponentialLatency{.mean = 2}, .loss = loss}};
    const fed::ServerOptions options{.step = 0.2, .guard = guard, .retry_after = loss > 0 ? 5.0 : 0.0};
    auto server = fed::make_server<Backend>(Gain::Zero(), rule, options);
    CHECK(fed::simulate(server, agents, profiles, {.until = 50, .seed = 1}).updates > 3);
    auto copy = decltype(server)(server.state(), rule, options);
    const auto second = fed::simulate(server, agents, profiles, {.until = 100, .seed = 2});
    CHECK(second.updates > 4);
    CHECK(test::same_gains(second, fed::simulate(copy, agents, profiles, {.until = 100, .seed = 2})));
  };
  for (const fed::Guard guard : {fed::Guard::none, fed::Guard::ask, fed::Guard::rollback}) {
    for (const double loss : {0.0, 0.1}) {
      check(fed::Buffered{.count = 2}, guard, loss);
      check(fed::Synchronous{}, guard, loss);
      check(fed::bounded(fed::Buffered{.count = 2}, 2), guard, loss);
      check(fed::TimeWindow{.ticks = 3}, guard, loss);
    }
  }
}

TEST_CASE("agents do not draw the same random numbers again in another run of their server") {
  struct Listener : Bowls {
    std::vector<Index> rounds{};
    fed::Report<Backend> work(Index agent, Index round, Index version, const Gain& K) {
      rounds.push_back(round);
      return Bowls::work(agent, round, version, K);
    }
  };
  Listener agents{bowls(1, 2)};
  fed::Server<Backend, fed::Buffered> server(Gain::Zero(), {.count = 1}, unguarded);
  for (int run = 0; run < 3; ++run) fed::simulate(server, agents, Profiles(1), {.max_updates = 4});
  std::vector<Index> sorted = agents.rounds;
  std::sort(sorted.begin(), sorted.end());
  CHECK(std::adjacent_find(sorted.begin(), sorted.end()) == sorted.end());
  CHECK(sorted.size() == 12);
}

TEST_CASE("a question takes its time: a candidate is committed when the last answer is there") {
  Bowls agents = bowls(2, 1);
  const Profiles profiles{
      {.work = fed::ConstantLatency{.ticks = 2}, .answer = fed::ConstantLatency{.ticks = 0.5}},
      {.work = fed::ConstantLatency{.ticks = 3}, .answer = fed::ConstantLatency{.ticks = 0.75}}};
  fed::Server<Backend, fed::Synchronous> server(Gain::Zero(), {}, {.step = 0.1});
  const auto run = fed::simulate(server, agents, profiles, {.max_updates = 3});
  REQUIRE(run.history.size() == 3);
  // Reports after 3 ticks, then the slower answer; everything begins again.
  CHECK(run.history[0].time == 3.75);
  CHECK(run.history[1].time == 7.5);
  CHECK(run.history[2].time == 11.25);
}

TEST_CASE("an agent that accepts no gain at all has to leave, and a run without agents ends") {
  struct Picky : Bowls {
    double limit(Index agent) const { return agent == 0 ? 0.5 : Bowls::limit(agent); }
  };
  Picky agents{bowls(3, 1)};
  for (const Index count : {1, 3}) {
    Picky fleet{agents};
    fleet.centres.resize(static_cast<std::size_t>(count));
    fed::Server<Backend, fed::Buffered> server(Gain::Zero(), {.count = 1}, {.step = 0.1, .retry_after = 5});
    const auto run = fed::simulate(server, fleet, Profiles(1),
                                   {.until = 1e6, .max_updates = 20, .record = {.timeline = true}});
    CHECK(server.state().statistics.expelled == 1);
    CHECK(run.updates == (count == 1 ? 0 : 20));
    CHECK(run.time < 1000);
    for (const auto& record : run.history) {
      if (record.time > 10) CHECK(record.present == std::vector<Index>{1, 2});
    }
  }
}

TEST_CASE("agents that are restarted again and again leave nothing behind in the queue") {
  Bowls agents = bowls(20, 1);
  Profiles profiles(20);
  for (std::size_t i = 10; i < 20; ++i) profiles[i].work = fed::ConstantLatency{.ticks = 1e9};
  fed::Server<Backend, fed::StalenessBounded<fed::Buffered>> server(
      Gain::Zero(), fed::bounded(fed::Buffered{.count = 10}, 1), {.step = 0.1, .guard = fed::Guard::none});
  // 10 000 times 10 restarts; the reports that nobody waits for any more are no events.
  const auto run = fed::simulate(server, agents, profiles, {.max_updates = 10'000});
  CHECK(server.state().statistics.refreshes > 40'000);
  CHECK(run.events == 20 + 10 * 10'000);
}

TEST_CASE("profiles and options out of range are refused by name") {
  Bowls agents = bowls(3, 1);
  fed::Server<Backend, fed::Synchronous> server(Gain::Zero(), {}, unguarded);
  const auto run = [&](const Profiles& profiles, const fed::VirtualTimeOptions& options = {.until = 1}) {
    return fed::simulate(server, agents, profiles, options);
  };
  CHECK_THROWS_AS(run(Profiles(2)), metalqr::InvalidOption);
  CHECK_THROWS_AS(run({{.work = fed::ConstantLatency{.ticks = -1}}}), metalqr::InvalidOption);
  CHECK_THROWS_AS(run({{.answer = fed::ConstantLatency{.ticks = -1}}}), metalqr::InvalidOption);
  CHECK_THROWS_AS(run({{.loss = 1}}), metalqr::InvalidOption);
  CHECK_THROWS_AS(run({{.joins = -1}}), metalqr::InvalidOption);
  CHECK_THROWS_AS(run({{.presence = fed::ExponentialLatency{.mean = -1}}}), metalqr::InvalidOption);
  CHECK_THROWS_AS(run({{.absence = fed::ExponentialLatency{.mean = -1}}}), metalqr::InvalidOption);
  CHECK_THROWS_AS(run(Profiles(1), {.until = -1}), metalqr::InvalidOption);
  CHECK_THROWS_AS(run(Profiles(1), {.max_updates = -1}), metalqr::InvalidOption);
  CHECK_THROWS_AS(run(Profiles(1), {.threads = -1}), metalqr::InvalidOption);
}
