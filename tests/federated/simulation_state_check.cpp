#include <metalqr/federated/simulation_state_check.hpp>

#include <cstddef>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <metalqr/federated/resumed_simulation.hpp>
#include <metalqr/federated/server.hpp>

#include "federated/bowls.hpp"
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
}
