#include <metalqr/federated/replay.hpp>

#include <vector>

#include "federated/bowls.hpp"
#include "support.hpp"

namespace fed = metalqr::federated;
using metalqr::Index;
using test::Bowls;
using Backend = Bowls::Backend;
using Gain = Backend::Gain;
using Profiles = std::vector<fed::AgentProfile>;

namespace {

template <class Rule>
void check_replay(const Rule& rule, fed::Guard guard, std::uint64_t seed) {
  Bowls agents = test::bowls(9, seed);
  for (Gain& centre : agents.centres) centre *= 10 / centre.norm();
  const Profiles profiles = test::unreliable(9, seed);
  const auto server = [&] {
    return fed::Server<Backend, Rule>(Gain::Zero(), rule, {.step = 2, .guard = guard, .retry_after = 8});
  };
  auto original = server();
  const auto run =
      fed::simulate(original, agents, profiles, {.until = 300, .seed = seed, .record = {.arrivals = true}});
  REQUIRE(run.updates > 10);
  const fed::Replay replay = fed::replay_of(run.arrivals, agents.size(), profiles, seed);
  auto again = server();
  const auto repeated = fed::simulate(again, agents, replay.profiles, replay.options);
  CHECK(test::same_gains(run, repeated));
  CHECK(again.state().statistics.staleness == original.state().statistics.staleness);
  CHECK(again.state().statistics.retries == original.state().statistics.retries);
  CHECK(again.state().statistics.rollbacks == original.state().statistics.rollbacks);
  // The first half of a record is the first part of the run.
  auto arrivals = run.arrivals;
  const auto half = static_cast<std::ptrdiff_t>(arrivals.size() / 2);
  const fed::Replay part =
      fed::replay_of({arrivals.begin(), arrivals.begin() + half}, agents.size(), profiles, seed);
  auto shorter = server();
  const auto partial = fed::simulate(shorter, agents, part.profiles, part.options);
  REQUIRE(partial.history.size() < run.history.size());
  CHECK((partial.gain.array() == run.history[partial.history.size() - 1].commit.gain.array()).all());
}

}  // namespace

TEST_CASE("a run that is replayed from its record commits the same gains, whatever went wrong in it") {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    CAPTURE(seed);
    check_replay(fed::Buffered{.count = 3}, fed::Guard::ask, seed);
    check_replay(fed::bounded(fed::Buffered{.count = 2}, 2), fed::Guard::rollback, seed);
    check_replay(fed::TimeWindow{.ticks = 3}, fed::Guard::ask, seed);
    check_replay(fed::Rennala{.count = 3}, fed::Guard::none, seed);
  }
}

TEST_CASE("a record that no run leaves is refused") {
  const Profiles profiles(1);
  using Kind = fed::Arrival::Kind;
  const auto replay = [&](const fed::Arrival& arrival) {
    return fed::replay_of(std::vector<fed::Arrival>{{.kind = Kind::joined}, arrival}, 2, profiles, 1);
  };
  CHECK(replay({.kind = Kind::report, .agent = 0, .number = 0, .cause = 1}).profiles.size() == 2);
  CHECK_THROWS_AS(replay({.kind = Kind::report, .agent = 2}), metalqr::InvalidOption);
  CHECK_THROWS_AS(replay({.kind = Kind::report, .agent = -1}), metalqr::InvalidOption);
  CHECK_THROWS_AS(replay({.kind = Kind::timer, .agent = -1}), metalqr::InvalidOption);
  CHECK_THROWS_AS(replay({.kind = Kind::verdict, .number = -1}), metalqr::InvalidOption);
  CHECK_THROWS_AS(replay({.kind = Kind::verdict, .number = 1'000'000}), metalqr::InvalidOption);
  CHECK_THROWS_AS(replay({.kind = Kind::left, .cause = 2}), metalqr::InvalidOption);
  CHECK_THROWS_AS(replay({.kind = Kind::left, .cause = -1}), metalqr::InvalidOption);
  CHECK_THROWS_AS(fed::replay_of({}, 2, Profiles(3), 1), metalqr::InvalidOption);
}
