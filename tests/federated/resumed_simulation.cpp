#include <metalqr/federated/resumed_simulation.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <metalqr/federated/compressed_agents.hpp>
#include <metalqr/federated/compression.hpp>
#include <metalqr/federated/variance_reduced_agents.hpp>
#include <metalqr/systems/plants.hpp>

#include "federated/bowls.hpp"
#include "federated/resumable.hpp"
#include "support.hpp"

namespace fed = metalqr::federated;
namespace zo = metalqr::zeroth_order;
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

/// A state in the middle of a run in which everything is under way.
State middle() {
  auto agents = bowls(7, 2);
  auto server =
      fed::make_server<Backend>(Gain::Constant(2), fed::Buffered{.count = 3}, {.step = 2, .retry_after = 5});
  State found;
  fed::simulate(server, agents, unreliable(7, 2), {.seed = 2}, metalqr::NoObserver{},
                [&](const auto& moment) {
                  found = moment.state();
                  bool all[4] = {};
                  for (const fed::Seat& seat : found.seats) {
                    all[0] = all[0] || seat.working;
                    all[1] = all[1] || seat.question > 0;
                    all[2] = all[2] || !seat.present;
                    all[3] = all[3] || (seat.present && !seat.working && seat.question == 0);
                  }
                  return moment.events() > 50 && all[0] && all[1] && all[2] && all[3];
                });
  return found;
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
    Profiles profiles = unreliable(7, 5);
    const auto run = test::Resumable{[] { return bowls(7, 5); },
                                     [=] {
                                       return fed::make_server<Backend>(
                                           Gain::Constant(2), rule,
                                           {.step = 0.2, .guard = fed::Guard::none, .retry_after = 4},
                                           fed::Mean{}, fed::Adam{});
                                     },
                                     profiles, fed::VirtualTimeOptions{.max_events = 220, .seed = 5}};
    interrupted(run);
    auto server = run.make_server();
    auto agents = run.make_agents();
    fed::simulate(server, agents, run.profiles, run.options);
    CHECK(server.state().statistics.refreshes > 10);
  }
  SECTION("an update whenever time says") {
    const auto seen = interrupted(bowl_run(fed::TimeWindow{.ticks = 3}, {.step = 0.3}, unreliable(7, 6), 6));
    CHECK(seen.timers > 100);
  }
}

TEST_CASE("agents take their memories back: what was not sent, and anchors") {
  const Noisy noisy;
  const auto server = [&] {
    return fed::make_server<Noisy::Small>(noisy.K0(), fed::bounded(fed::Buffered{.count = 2}, 1),
                                          {.step = 0.02, .guard = fed::Guard::none, .retry_after = 4});
  };
  const fed::VirtualTimeOptions options{.max_events = 200, .seed = 7};
  const auto check = [&](const auto& agents) {
    const test::Resumable run{agents, server, unreliable(5, 7), options};
    interrupted(run);
    // Agents that forget end elsewhere.
    const auto forgetful = [&](auto state) {
      for (auto& memory : state.memories) memory = agents().memory(0);
      return state;
    };
    CHECK(test::interrupt(run, forgetful, 50).different > 0);
  };
  check([&] { return noisy.agents(); });
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

TEST_CASE("a state that contradicts itself is refused, and its field named") {
  const State good = middle();
  const auto refusal = [&](const auto& damage) -> std::string {
    State state = good;
    damage(state);
    try {
      fed::validate(state, 7);
    } catch (const metalqr::Error& error) {
      return error.what();
    }
    return "none";
  };
  REQUIRE(refusal([](State&) {}) == "none");
  const auto refused = [&](const char* field, const auto& damage) {
    CAPTURE(field);
    const std::string message = refusal(damage);
    CAPTURE(message);
    CHECK(message.starts_with(std::string(field) + ":"));
  };
  const auto find = [&](const auto& holds) {
    for (std::size_t i = 0; i < good.seats.size(); ++i) {
      if (holds(good.seats[i])) return i;
    }
    return good.seats.size();
  };
  const std::size_t worker = find([](const fed::Seat& seat) { return seat.working; });
  const std::size_t asked = find([](const fed::Seat& seat) { return seat.question > 0; });
  const std::size_t away = find([](const fed::Seat& seat) { return !seat.present; });
  const auto field = [](const char* list, std::size_t i, const char* name) {
    return std::string(list) + "[" + std::to_string(i) + "]" + name;
  };
  constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();
  refused("time", [](State& s) { s.time = not_a_number; });
  refused("time", [](State& s) { s.time = -1; });
  refused("updates", [](State& s) { s.updates = -1; });
  refused("timers", [](State& s) { s.timers = -1; });
  refused("seats", [](State& s) { s.seats.pop_back(); });
  refused("orders", [](State& s) { s.orders.emplace_back(); });
  refused("candidates", [](State& s) { s.candidates.pop_back(); });
  refused("candidates", [](State& s) { s.candidates.clear(); });
  refused("memories", [](State& s) { s.memories.emplace_back(); });
  refused(field("seats", worker, ".works").c_str(), [=](State& s) { s.seats[worker].works = -1; });
  refused(field("seats", worker, ".works").c_str(), [=](State& s) { s.seats[worker].works = 0; });
  refused(field("seats", worker, ".present").c_str(), [=](State& s) { s.seats[worker].present = false; });
  refused(field("seats", worker, ".messages").c_str(), [=](State& s) { s.seats[worker].messages = -1; });
  refused(field("seats", worker, ".absences").c_str(), [=](State& s) { s.seats[worker].absences = -1; });
  refused(field("seats", worker, ".first_round").c_str(),
          [=](State& s) { s.seats[worker].first_round = -1; });
  refused(field("seats", away, ".working").c_str(), [=](State& s) { s.seats[away].working = true; });
  refused(field("seats", away, ".question").c_str(), [=](State& s) { s.seats[away].question = 1; });
  refused(field("seats", asked, ".question").c_str(), [=](State& s) { s.seats[asked].question = 1'000'000; });
  refused(field("seats", asked, ".answers").c_str(), [=](State& s) { s.seats[asked].answers = 0; });
  refused(field("orders", worker, ".version").c_str(), [=](State& s) { s.orders[worker].version = -1; });
  refused(field("orders", worker, ".version").c_str(),
          [=](State& s) { s.orders[worker].version = s.server.version + 1; });
  refused(field("orders", worker, ".gain").c_str(),
          [=](State& s) { s.orders[worker].gain(1, 2) = not_a_number; });
  refused(field("candidates", asked, "").c_str(),
          [=](State& s) { s.candidates[asked](0, 0) = not_a_number; });
  refused("waiting", [](State& s) { s.waiting.clear(); });
  refused("waiting", [=](State& s) { s.seats[asked].question = 0; });
  refused("waiting", [=](State& s) { s.seats[worker].working = false; });
  refused("waiting[0].time", [](State& s) { s.waiting[0].time = not_a_number; });
  refused("waiting[0].time", [](State& s) { s.waiting[0].time = s.time - 1; });
  refused("waiting[1].time", [](State& s) { std::swap(s.waiting[0], s.waiting.back()); });
  refused("waiting[0].agent", [](State& s) { s.waiting[0].agent = -1; });
  refused("waiting[0].agent", [](State& s) {
    s.waiting[0] = {.time = s.time, .agent = 7, .what = {.kind = fed::Happening::Kind::report}};
  });
  refused("server.agents[7].present", [](State& s) {
    s.server.agents.resize(8);
    s.server.agents[7].present = true;
  });
  for (std::size_t i = 0; i < good.waiting.size(); ++i) {
    refused(field("waiting", i, ".number").c_str(), [=](State& s) { s.waiting[i].what.number += 1000; });
  }
  refused(field("waiting", good.waiting.size(), ".number").c_str(), [&](State& s) {
    auto second = s.waiting.back();
    second.what = {.kind = fed::Happening::Kind::timer, .number = -1};
    s.waiting.push_back(second);
  });
  refused("waiting", [=](State& s) {
    s.waiting.push_back({.time = s.waiting.back().time,
                         .agent = static_cast<Index>(worker),
                         .what = {.kind = fed::Happening::Kind::leaves}});
  });
  refused(field("waiting", good.waiting.size(), ".agent").c_str(), [=](State& s) {
    s.waiting.push_back({.time = s.waiting.back().time,
                         .agent = static_cast<Index>(worker),
                         .what = {.kind = fed::Happening::Kind::joins}});
  });
}

TEST_CASE("what cannot be resumed is refused, and nothing has changed") {
  const State good = middle();
  Bowls agents = bowls(7, 2);
  const auto server = [](const Gain& K0) {
    return fed::make_server<Backend>(K0, fed::Buffered{.count = 3}, {.step = 2, .retry_after = 5});
  };
  auto own = server(Gain::Constant(2));
  CHECK_THROWS_AS(fed::resume_simulation(good, own, agents, unreliable(7, 2), {.record = {.arrivals = true}}),
                  metalqr::InvalidOption);
  CHECK_THROWS_AS(fed::resume_simulation(good, own, agents, unreliable(6, 2)), metalqr::InvalidOption);
  Bowls fewer = bowls(6, 2);
  CHECK_THROWS_AS(fed::resume_simulation(good, own, fewer, Profiles(1)), metalqr::InvalidOption);
  State broken = good;
  broken.server.gain(0, 0) = std::numeric_limits<double>::infinity();
  CHECK_THROWS_AS(fed::resume_simulation(broken, own, agents, Profiles(1)), metalqr::NotFinite);
  CHECK(own.state().version == 0);
  CHECK(own.state().agents.empty());
  // A server that restarts agents keeps lists that this one has not.
  auto other = fed::make_server<Backend>(Gain::Zero(), fed::bounded(fed::Buffered{.count = 3}, 2));
  CHECK_THROWS_AS(fed::resume_simulation(good, other, agents, Profiles(1)), metalqr::InvalidOption);
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
