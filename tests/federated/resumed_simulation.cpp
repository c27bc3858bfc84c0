#include <metalqr/federated/resumed_simulation.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "federated/bowls.hpp"
#include "federated/resumable.hpp"
#include "support.hpp"

namespace fed = metalqr::federated;
using metalqr::Index;
using Backend = test::Bowls::Backend;
using Gain = Backend::Gain;
using test::Bowls;
using test::bowls;
using test::unreliable;
using Profiles = std::vector<fed::AgentProfile>;
using State = fed::SimulationState<Backend>;

namespace {

const auto as_it_is = [](const auto& state) { return state; };

template <class Rule>
auto bowl_run(const Rule& rule, const fed::ServerOptions& options, Profiles profiles, std::uint64_t seed) {
  return test::Resumable{[=] { return bowls(7, seed); },
                         [=] { return fed::make_server<Backend>(Gain::Constant(2), rule, options); },
                         std::move(profiles), fed::VirtualTimeOptions{.max_events = 220, .seed = seed}};
}

/// Resumed after each event in one thread and after every 11th in two.
template <class Run>
test::UnderWay interrupted(const Run& run) {
  const test::UnderWay seen = test::interrupt(run, as_it_is);
  CHECK(seen.states > 150);
  CHECK(seen.different == 0);
  CHECK(test::interrupt(run, as_it_is, 11, 2).different == 0);
  return seen;
}

}  // namespace

TEST_CASE("a run that was resumed after any event is the run that was not interrupted, bitwise") {
  SECTION("buffered, where nothing goes wrong") {
    interrupted(bowl_run(fed::Buffered{.count = 3}, {.step = 0.2, .guard = fed::Guard::none},
                         {{.work = fed::ExponentialLatency{.mean = 2}}}, 1));
  }
  SECTION("synchronous, with a guard that asks, losses, absences and timers") {
    const auto seen =
        interrupted(bowl_run(fed::Synchronous{}, {.step = 0.4, .retry_after = 6}, unreliable(7, 2), 2));
    CHECK(seen.asked > 10);
    CHECK(seen.timers > 100);
    CHECK(seen.absent > 10);
    CHECK(seen.idle > 10);
    CHECK(seen.reports > 10);
  }
  SECTION("buffered, with candidates that are refused") {
    const auto run = bowl_run(fed::Buffered{.count = 2}, {.step = 40, .retry_after = 8}, unreliable(7, 3), 3);
    CHECK(interrupted(run).asked > 10);
    auto server = run.make_server();
    auto agents = run.make_agents();
    fed::simulate(server, agents, run.profiles, run.options);
    CHECK(server.state().statistics.halvings > 0);
  }
  SECTION("buffered, with returns to earlier gains") {
    const auto run =
        bowl_run(fed::Buffered{.count = 2}, {.step = 8, .guard = fed::Guard::rollback, .retry_after = 8},
                 unreliable(7, 4), 4);
    CHECK(interrupted(run).asked > 10);
    auto server = run.make_server();
    auto agents = run.make_agents();
    fed::simulate(server, agents, run.profiles, run.options);
    CHECK(server.state().statistics.rollbacks > 0);
  }
  SECTION("restarts of who is behind, and an optimiser with a memory") {
    const auto rule = fed::bounded(fed::Buffered{.count = 2}, 1);
    // What slow agents are restarted from stays in the queue, until that is too long.
    Profiles profiles = unreliable(7, 5);
    for (std::size_t i = 3; i < 7; ++i) profiles[i].work = fed::ConstantLatency{.ticks = 1e9};
    const auto run = test::Resumable{[] { return bowls(7, 5); },
                                     [=] {
                                       return fed::make_server<Backend>(
                                           Gain::Constant(2), rule,
                                           {.step = 0.2, .guard = fed::Guard::none, .retry_after = 4},
                                           fed::Mean{}, fed::Adam{});
                                     },
                                     profiles, fed::VirtualTimeOptions{.max_events = 400, .seed = 5}};
    interrupted(run);
    auto server = run.make_server();
    auto agents = run.make_agents();
    fed::simulate(server, agents, run.profiles, run.options);
    CHECK(server.state().statistics.refreshes > 110);
  }
  SECTION("an update whenever time says") {
    const auto seen = interrupted(bowl_run(fed::TimeWindow{.ticks = 3}, {.step = 0.3}, unreliable(7, 6), 6));
    CHECK(seen.timers > 100);
  }
}

TEST_CASE("moments come after each event, and limits count from the beginning") {
  Bowls agents = bowls(4, 1);
  auto server = fed::make_server<Backend>(Gain::Zero(), fed::Buffered{.count = 2},
                                          {.step = 0.2, .guard = fed::Guard::none});
  std::uint64_t moments = 0;
  double last = 0;
  State state;
  const Profiles profiles{{.work = fed::ExponentialLatency{.mean = 2}}};
  const auto whole = fed::simulate(server, agents, profiles, {.max_updates = 30}, metalqr::NoObserver{},
                                   [&](const fed::Moment<Backend>& moment) {
                                     CHECK(moment.events() == ++moments);
                                     CHECK(moment.time() >= last);
                                     CHECK(moment.updates() == moment.server().statistics.updates);
                                     last = moment.time();
                                     if (moment.events() == 20) state = moment.state();
                                   });
  CHECK(moments == whole.events);
  CHECK(last == whole.time);
  CHECK(state.events == 20);
  const Index before = state.updates;
  const auto end = fed::resume_simulation(state, server, agents, profiles, {.max_updates = 30});
  CHECK(end.updates == 30);
  CHECK(static_cast<Index>(end.history.size()) == 30 - before);
  CHECK(test::is_end_of(end, whole));
  // What is already reached ends it at once.
  const auto none = fed::resume_simulation(state, server, agents, profiles, {.max_updates = before});
  CHECK(none.events == 20);
  CHECK(none.time == state.time);
  CHECK(test::same_entries(none.gain, state.server.gain));
}

TEST_CASE("records of a run that was resumed begin there") {
  Bowls agents = bowls(7, 4);
  const auto make = [] {
    return fed::make_server<Backend>(Gain::Constant(2), fed::Buffered{.count = 2},
                                     {.step = 8, .guard = fed::Guard::rollback, .retry_after = 8});
  };
  const fed::VirtualTimeOptions options{.max_events = 400, .seed = 4, .record = {.timeline = true}};
  auto server = make();
  std::vector<State> states;
  const auto whole = fed::simulate(server, agents, unreliable(7, 4), options, metalqr::NoObserver{},
                                   [&](const auto& moment) {
                                     if (moment.events() % 40 == 0) states.push_back(moment.state());
                                   });
  REQUIRE(whole.refused.size() > 3);
  for (const State& state : states) {
    auto other = make();
    const auto end = fed::resume_simulation(state, other, agents, unreliable(7, 4), options);
    REQUIRE(end.timeline.size() <= whole.timeline.size());
    for (std::size_t i = 0; i < end.timeline.size(); ++i) {
      const fed::WorkSpan& x = end.timeline[i];
      const fed::WorkSpan& y = whole.timeline[whole.timeline.size() - end.timeline.size() + i];
      CHECK((x.agent == y.agent && x.version == y.version && x.end == y.end && x.how == y.how));
      CHECK(x.begin == std::max(y.begin, state.time));
    }
    REQUIRE(end.refused.size() <= whole.refused.size());
    for (std::size_t i = 0; i < end.refused.size(); ++i) {
      const fed::RefusedGain& x = end.refused[i];
      const fed::RefusedGain& y = whole.refused[whole.refused.size() - end.refused.size() + i];
      CHECK((x.version == y.version && x.agent == y.agent && x.end == y.end));
      CHECK((x.begin == std::max(y.begin, state.time) && x.since == std::max(y.since, state.time)));
    }
  }
}

TEST_CASE("who comes back is asked again and takes the time of another answer") {
  Bowls agents = bowls(2, 1);
  // Both report at 1 and are asked. Agent 1 would answer at 11, but is away from 5 to 6, and answers at 26.
  const Profiles profiles{{.answer = fed::ConstantLatency{.ticks = 8}},
                          {.answer = fed::TraceLatency{.ticks = {10, 20}},
                           .presence = fed::TraceLatency{.ticks = {5, 1000}, .repeats = false}}};
  fed::Server<Backend, fed::Synchronous> server(Gain::Zero(), {}, {.step = 0.1});
  const auto run = fed::simulate(server, agents, profiles, {.max_updates = 1});
  REQUIRE(run.history.size() == 1);
  CHECK(run.history[0].time == 26);
}
