#include <metalqr/federated/server.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <metalqr/federated/krum.hpp>
#include <metalqr/federated/robust.hpp>

#include "support.hpp"

namespace fed = metalqr::federated;
using metalqr::Index;
using Backend = metalqr::EigenBackend<double, 2, 1>;
using Gain = Backend::Gain;
using Commands = std::vector<fed::Command<Backend>>;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

Gain row(double x, double y) {
  return Gain{{x, y}};
}
bool same(const Gain& x, const Gain& y) {
  return x(0, 0) == y(0, 0) && x(0, 1) == y(0, 1);
}

fed::Report<Backend> report(Index agent, Index version, const Gain& estimate, double cost = 1) {
  return {.agent = agent, .version = version, .estimate = estimate, .cost = cost};
}

/// The commands of a type, in their order.
template <class T>
std::vector<T> all(const Commands& commands) {
  std::vector<T> found;
  for (const auto& command : commands) {
    if (const T* match = std::get_if<T>(&command)) found.push_back(*match);
  }
  return found;
}
using Sends = std::vector<fed::Send<Backend>>;
Sends sends(const Commands& commands) {
  return all<fed::Send<Backend>>(commands);
}
std::vector<fed::Ask<Backend>> asks(const Commands& commands) {
  return all<fed::Ask<Backend>>(commands);
}
std::vector<fed::Commit<Backend>> commits(const Commands& commands) {
  return all<fed::Commit<Backend>>(commands);
}

template <class Server>
void join(Server& server, Index count, double limit = 10) {
  for (Index agent = 0; agent < count; ++agent) {
    const Commands commands = server.on(fed::Joined<Backend>{.agent = agent, .limit = limit});
    REQUIRE(sends(commands).size() == 1);
    CHECK(sends(commands)[0].agent == agent);
  }
}
/// Answers every question in `commands` with a cost, and what follows from the last answer.
template <class Server>
Commands answer_all(Server& server, const Commands& commands, double cost = 1) {
  Commands last;
  for (const auto& question : asks(commands)) {
    last = server.on(
        fed::Verdict<Backend>{.agent = question.agent, .candidate = question.candidate, .cost = cost});
  }
  return last;
}

constexpr fed::ServerOptions unguarded{.step = 0.5, .guard = fed::Guard::none};

}  // namespace

TEST_CASE("an update takes the first reports and gives the new gain to their agents alone") {
  fed::Server<Backend, fed::Buffered> server(row(1, 2), {.count = 2}, unguarded);
  join(server, 3);
  CHECK(server.on(report(2, 0, row(4, 0))).empty());
  const Commands commands = server.on(report(0, 0, row(0, 2)));
  // K - eta/2 (g_0 + g_2).
  REQUIRE(commits(commands).size() == 1);
  CHECK(commits(commands)[0].version == 1);
  CHECK(commits(commands)[0].reports == 2);
  CHECK(same(commits(commands)[0].gain, row(0, 1.5)));
  const Sends sent = sends(commands);
  REQUIRE(sent.size() == 2);
  CHECK(sent[0].agent == 0);
  CHECK(sent[1].agent == 2);
  CHECK((sent[0].version == 1 && same(sent[0].gain, row(0, 1.5))));
  // Agent 1 still works at K_0, so that its report is one version old.
  CHECK(server.on(report(1, 0, row(2, 2))).empty());
  CHECK(commits(server.on(report(0, 1, row(0, 0)))).size() == 1);
  CHECK(same(server.gain(), row(-0.5, 1)));
  CHECK(server.state().statistics.staleness == std::vector<Index>{3, 1});
  CHECK(server.state().agents[0].participations == 2);
}

TEST_CASE("a synchronous server waits for everybody, and no longer for those who leave") {
  fed::Server<Backend, fed::Synchronous> server(row(0, 0), {}, unguarded);
  join(server, 4);
  CHECK(server.on(report(3, 0, row(3, 0))).empty());
  CHECK(server.on(report(1, 0, row(3, 0))).empty());
  CHECK(server.on(report(0, 0, row(3, 6))).empty());
  const Commands commands = server.on(fed::Left{.agent = 2});
  CHECK(sends(commands).size() == 3);
  CHECK(same(server.gain(), row(-1.5, -1)));
}

TEST_CASE("a buffer larger than the fleet is full when all have reported") {
  fed::Server<Backend, fed::Buffered> server(row(0, 0), {.count = 20}, unguarded);
  join(server, 2);
  CHECK(server.on(report(0, 0, row(1, 1))).empty());
  CHECK(commits(server.on(report(1, 0, row(1, 1)))).size() == 1);
}

TEST_CASE("the order in which the reports of an update arrive does not change a bit of it") {
  const std::vector<Gain> estimates{row(0.1, 1e10), row(0.2, -1e10), row(0.3, 1e-7), row(1e17, 3),
                                    row(-1e17, 7)};
  std::vector<std::size_t> order{0, 1, 2, 3, 4};
  std::vector<Gain> results;
  do {
    fed::Server<Backend, fed::Buffered> server(row(0, 0), {.count = 5}, unguarded);
    join(server, 5);
    for (const std::size_t i : order) server.on(report(static_cast<Index>(i), 0, estimates[i]));
    results.push_back(server.gain());
  } while (std::next_permutation(order.begin(), order.end()));
  REQUIRE(results.size() == 120);
  for (const Gain& K : results) CHECK(same(K, results[0]));
}

TEST_CASE("reports that cannot be used are counted, never averaged in, and their agents wait like others") {
  fed::Server<Backend, fed::Buffered> server(row(0, 0), {.count = 2}, unguarded);
  join(server, 4);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK(server.on(report(0, 0, row(nan, 0))).empty());
  CHECK(server.on(report(1, 0, row(0, -infinity))).empty());
  CHECK(server.on(report(2, 0, row(1, 1), infinity)).empty());
  fed::Report<Backend> weightless = report(3, 0, row(1, 1));
  weightless.weight = 0;
  // Now nobody has anything: all try again.
  CHECK(sends(server.on(weightless)).size() == 4);
  CHECK(server.on(report(0, 1, row(1, 1))).empty());  // no such version yet
  CHECK(server.on(report(7, 0, row(1, 1))).empty());  // no such agent
  CHECK(server.state().statistics.refused == 6);
  CHECK(server.state().reports.empty());
  CHECK(server.state().version == 0);
}

TEST_CASE("an agent of which no report can be used holds nobody up") {
  const auto check = [](auto server) {
    join(server, 3);
    Index version = 0;
    for (int round = 0; round < 5; ++round) {
      server.on(report(0, version, row(infinity, 0)));
      server.on(report(1, version, row(1, 0)));
      CHECK(commits(server.on(report(2, version, row(1, 0)))).size() == 1);
      ++version;
    }
    CHECK(server.state().statistics.refused == 5);
    CHECK(same(server.gain(), row(-2.5, 0)));
  };
  check(fed::make_server<Backend>(row(0, 0), fed::Synchronous{}, unguarded));
  check(fed::make_server<Backend>(row(0, 0), fed::Buffered{.count = 3}, unguarded));
}

TEST_CASE("a rule that keeps everybody at work does not end with the last report that cannot be used") {
  fed::Server<Backend, fed::Rennala> server(row(0, 0), {.count = 3}, unguarded);
  join(server, 2);
  const Gain bad = row(std::nan(""), 0);
  CHECK(sends(server.on(report(0, 0, row(2, 0)))).size() == 1);
  CHECK(sends(server.on(report(1, 0, bad))).empty());
  // Nobody is at work now, and a report is kept that does not suffice: both try again.
  const Sends again = sends(server.on(report(0, 0, bad)));
  REQUIRE(again.size() == 2);
  CHECK(again[0].agent == 0);
  CHECK(again[1].agent == 1);
  server.on(report(0, 0, row(4, 0)));
  const Commands last = server.on(report(1, 0, row(6, 0)));
  REQUIRE(commits(last).size() == 1);
  CHECK(commits(last)[0].reports == 3);
  CHECK(same(commits(last)[0].gain, row(-2, 0)));
}

TEST_CASE("a second report of the same work is not counted twice") {
  fed::Server<Backend, fed::Buffered> server(row(0, 0), {.count = 2}, unguarded);
  join(server, 2);
  server.on(report(0, 0, row(1, 1)));
  CHECK(server.on(report(0, 0, row(1, 1))).empty());
  CHECK(server.state().statistics.repeated == 1);
  CHECK(server.state().reports.size() == 1);
}

TEST_CASE("a candidate is committed when all have accepted it, its step halved while one does not") {
  fed::Server<Backend, fed::Buffered> server(row(0, 0), {.count = 2}, {.step = 1});
  join(server, 3);
  server.on(report(0, 0, row(8, 0)));
  Commands commands = server.on(report(1, 0, row(8, 0)));
  CHECK(commits(commands).empty());
  REQUIRE(asks(commands).size() == 3);
  CHECK(same(asks(commands)[2].gain, row(-8, 0)));
  const Index first = asks(commands)[0].candidate;
  // A report that comes meanwhile waits.
  CHECK(server.on(report(2, 0, row(1, 1))).empty());
  CHECK(server.on(fed::Verdict<Backend>{.agent = 0, .candidate = first, .cost = 9}).empty());
  commands = server.on(fed::Verdict<Backend>{.agent = 2, .candidate = first, .cost = 10.5});
  REQUIRE(asks(commands).size() == 3);
  CHECK(same(asks(commands)[0].gain, row(-4, 0)));
  // A late answer to the first question says nothing about the second.
  CHECK(server.on(fed::Verdict<Backend>{.agent = 1, .candidate = first, .cost = 1}).empty());
  commands = answer_all(server, commands, 10);
  REQUIRE(commits(commands).size() == 1);
  CHECK(same(server.gain(), row(-4, 0)));
  CHECK(commits(commands)[0].step == 0.5);
  // All three waited: two for this update, one whose report is in the next.
  CHECK(sends(commands).size() == 3);
  CHECK(server.state().reports.size() == 1);
  CHECK(server.state().statistics.halvings == 1);
}

TEST_CASE("a candidate that stays bad is given up after the last halving") {
  fed::Server<Backend, fed::Buffered> server(row(0, 0), {.count = 1}, {.step = 1, .max_halvings = 2});
  join(server, 1);
  Commands commands = server.on(report(0, 0, row(8, 0)));
  for (int i = 0; i < 2; ++i) commands = answer_all(server, commands, infinity);
  REQUIRE(asks(commands).size() == 1);
  CHECK(same(asks(commands)[0].gain, row(-2, 0)));
  commands = answer_all(server, commands, infinity);
  CHECK(all<fed::Reject>(commands).size() == 1);
  REQUIRE(sends(commands).size() == 1);
  CHECK(sends(commands)[0].version == 0);
  CHECK(same(server.gain(), row(0, 0)));
  CHECK(server.state().statistics.rejections == 1);
}

TEST_CASE("an update that overflows is given up, and its agents go on") {
  fed::Server<Backend, fed::Buffered> server(row(0, 0), {.count = 1}, {.step = 4});
  join(server, 1);
  const Commands commands = server.on(report(0, 0, row(1e308, 0)));
  CHECK(asks(commands).empty());
  CHECK(all<fed::Reject>(commands).size() == 1);
  CHECK(sends(commands).size() == 1);
  CHECK(server.state().version == 0);
}

TEST_CASE("those who join are asked about the open candidate, those who leave are not waited for") {
  fed::Server<Backend, fed::Buffered> server(row(0, 0), {.count = 2}, {.step = 1});
  join(server, 2);
  server.on(report(0, 0, row(1, 0)));
  const Commands question = server.on(report(1, 0, row(1, 0)));
  REQUIRE(asks(question).size() == 2);
  const Commands joined = server.on(fed::Joined<Backend>{.agent = 5, .limit = 3});
  REQUIRE(asks(joined).size() == 1);
  answer_all(server, joined);
  CHECK(server.on(fed::Verdict<Backend>{.agent = 0, .candidate = asks(question)[0].candidate, .cost = 1})
            .empty());
  const Commands commands = server.on(fed::Left{.agent = 1});
  CHECK(commits(commands).size() == 1);
  // Agent 1, who is away, gets nothing.
  REQUIRE(sends(commands).size() == 1);
  CHECK(sends(commands)[0].agent == 0);
}

TEST_CASE("after a bad verdict a server that commits at once returns to what all accepted") {
  fed::Server<Backend, fed::Buffered> server(row(0, 0), {.count = 2},
                                             {.step = 1, .guard = fed::Guard::rollback});
  join(server, 2);
  server.on(report(0, 0, row(1, 0)));
  Commands commands = server.on(report(1, 0, row(1, 0)));
  CHECK(commits(commands).size() == 1);
  REQUIRE(asks(commands).size() == 2);
  answer_all(server, commands);
  CHECK(server.state().confirmed.version == 1);
  server.on(report(0, 1, row(2, 0)));
  commands = server.on(report(1, 1, row(2, 0)));
  CHECK(same(server.gain(), row(-3, 0)));
  const fed::Ask<Backend> question = asks(commands)[0];
  commands = server.on(fed::Verdict<Backend>{.agent = 0, .candidate = question.candidate, .cost = infinity});
  CHECK(same(server.gain(), row(-1, 0)));
  CHECK(server.state().version == 3);
  REQUIRE(sends(commands).size() == 2);
  CHECK((sends(commands)[1].restart && sends(commands)[1].version == 3));
  // What was found at the gain that is given up is void.
  CHECK(server.on(report(1, 2, row(9, 9))).empty());
  CHECK(server.state().reports.empty());
  CHECK(server.state().statistics.abandoned == 1);
  CHECK(server.state().statistics.rollbacks == 1);
}

TEST_CASE(
    "an agent that comes back and cannot live with the gain makes the server return, at last to the first "
    "gain") {
  fed::Server<Backend, fed::Buffered> server(row(0, 0), {.count = 1}, {.step = 1});
  join(server, 2);
  server.on(fed::Left{.agent = 1});
  answer_all(server, server.on(report(0, 0, row(1, 0))));
  answer_all(server, server.on(report(0, 1, row(1, 0))));
  CHECK(same(server.gain(), row(-2, 0)));
  CHECK(server.state().safe.version == 0);
  server.on(fed::Joined<Backend>{.agent = 1, .limit = 10});
  const Commands commands = server.on(report(1, 2, row(0, 0), infinity));
  CHECK(commits(commands).size() == 1);
  CHECK(same(server.gain(), row(0, 0)));
  CHECK(sends(commands).size() == 2);
  // Who does not accept even the first gain has to go.
  CHECK(commits(server.on(report(1, 3, row(0, 0), 11))).empty());
  CHECK(server.state().statistics.expelled == 1);
  CHECK(server.state().present == 1);
  CHECK(asks(server.on(report(0, 3, row(1, 0)))).size() == 1);
}

TEST_CASE("agents that fall behind a bound on staleness are restarted, and what they send late is dropped") {
  fed::Server<Backend, fed::StalenessBounded<fed::Buffered>> server(
      row(0, 0), fed::bounded(fed::Buffered{.count = 1}, 1), unguarded);
  join(server, 2);
  CHECK(sends(server.on(report(0, 0, row(1, 0)))).size() == 1);
  const Commands commands = server.on(report(0, 1, row(1, 0)));
  REQUIRE(sends(commands).size() == 2);
  CHECK((sends(commands)[1].agent == 1 && sends(commands)[1].restart && sends(commands)[1].version == 2));
  CHECK(server.on(report(1, 0, row(5, 5))).empty());
  CHECK(server.state().statistics.too_old == 1);
  CHECK(server.state().statistics.refreshes == 1);
  CHECK(commits(server.on(report(1, 2, row(1, 0)))).size() == 1);
}

TEST_CASE("rules that keep everybody at work drop what is too old for them") {
  fed::Server<Backend, fed::Ringmaster> ringmaster(row(0, 0), {.limit = 2}, unguarded);
  join(ringmaster, 2);
  for (Index version = 0; version < 2; ++version) {
    CHECK(commits(ringmaster.on(report(0, version, row(1, 0)))).size() == 1);
  }
  const Commands commands = ringmaster.on(report(1, 0, row(1, 0)));
  CHECK(commits(commands).empty());
  CHECK(sends(commands).size() == 1);
  CHECK(ringmaster.state().statistics.too_old == 1);

  fed::Server<Backend, fed::Rennala> rennala(row(0, 0), {.count = 2}, unguarded);
  join(rennala, 2);
  // One agent may give both.
  CHECK(sends(rennala.on(report(0, 0, row(1, 0)))).size() == 1);
  CHECK(commits(rennala.on(report(0, 0, row(3, 0)))).size() == 1);
  CHECK(same(rennala.gain(), row(-1, 0)));
  CHECK(commits(rennala.on(report(1, 0, row(1, 0)))).empty());
  CHECK(rennala.state().statistics.too_old == 1);
}

TEST_CASE("a time window aggregates at its timer what has come") {
  fed::Server<Backend, fed::TimeWindow> server(row(0, 0), {.ticks = 5}, unguarded);
  const std::vector<fed::Wake> wakes =
      all<fed::Wake>(server.on(fed::Joined<Backend>{.agent = 0, .limit = 10}));
  REQUIRE(wakes.size() == 1);
  CHECK(wakes[0].delay == 5);
  CHECK(commits(server.on(fed::Timer{.id = wakes[0].id})).empty());
  CHECK(server.on(report(0, 0, row(2, 4))).empty());
  const Commands commands = server.on(fed::Timer{.id = wakes[0].id});
  CHECK(commits(commands).size() == 1);
  CHECK(all<fed::Wake>(commands).size() == 1);
  CHECK(same(server.gain(), row(-1, -2)));
}

TEST_CASE("what is not answered is sent again at the second retry timer, questions at the first") {
  fed::Server<Backend, fed::Buffered> server(row(0, 0), {.count = 1}, {.step = 1, .retry_after = 3});
  const std::vector<fed::Wake> wakes =
      all<fed::Wake>(server.on(fed::Joined<Backend>{.agent = 0, .limit = 10}));
  server.on(fed::Joined<Backend>{.agent = 1, .limit = 10});
  REQUIRE(wakes.size() == 1);
  const fed::Timer timer{.id = wakes[0].id};
  CHECK(sends(server.on(timer)).empty());
  const Commands again = server.on(timer);
  REQUIRE(sends(again).size() == 2);
  CHECK_FALSE(sends(again)[0].restart);
  const Commands question = server.on(report(0, 0, row(1, 0)));
  REQUIRE(asks(question).size() == 2);
  CHECK(asks(server.on(timer)).size() == 2);
  answer_all(server, question);
  CHECK(server.state().version == 1);
}

TEST_CASE("a server waits until its combiner has enough estimates") {
  fed::Server<Backend, fed::TimeWindow, fed::Krum> server(row(0, 0), {.ticks = 1}, unguarded,
                                                          {.corrupted = 1});
  join(server, 5);
  for (Index agent = 0; agent < 4; ++agent) server.on(report(agent, 0, row(2, 0)));
  CHECK(commits(server.on(fed::Timer{.id = 0})).empty());
  server.on(report(4, 0, row(1e6, 0)));
  CHECK(commits(server.on(fed::Timer{.id = 0})).size() == 1);
  CHECK(same(server.gain(), row(-1, 0)));
}

TEST_CASE("weights and damping by staleness enter an update as written") {
  using Weighted = fed::StalenessWeighted<fed::Buffered, fed::PolynomialWeight>;
  fed::Server<Backend, Weighted> weighted(
      row(0, 0), fed::weighted(fed::Buffered{.count = 2}, fed::PolynomialWeight{.exponent = 1}), unguarded);
  join(weighted, 3);
  weighted.on(report(0, 0, row(0, 0)));
  weighted.on(report(1, 0, row(0, 0)));
  fed::Report<Backend> heavy = report(0, 1, row(6, 0));
  heavy.weight = 2;
  weighted.on(heavy);
  weighted.on(report(2, 0, row(0, 9)));
  // Weights 2 and 1/2: K - 0.5 (2 (6, 0) + 0.5 (0, 9)) / 2.5.
  CHECK(weighted.gain()(0, 0) == Catch::Approx(-2.4).epsilon(1e-15));
  CHECK(weighted.gain()(0, 1) == Catch::Approx(-0.9).epsilon(1e-15));

  using Damped = fed::StalenessDamped<fed::Buffered, fed::PolynomialWeight>;
  fed::Server<Backend, Damped> damped(
      row(0, 0), fed::damped(fed::Buffered{.count = 1}, fed::PolynomialWeight{.exponent = 1}), unguarded);
  join(damped, 2);
  damped.on(report(0, 0, row(1, 0)));
  const Commands commands = damped.on(report(1, 0, row(1, 0)));
  REQUIRE(commits(commands).size() == 1);
  CHECK(commits(commands)[0].step == 0.25);
  CHECK(same(damped.gain(), row(-0.75, 0)));
}

TEST_CASE("a server continued from a copy of its state says the same") {
  using Server = fed::Server<Backend, fed::Buffered, fed::CoordinateMedian, fed::Momentum>;
  Server server(row(0, 0), {.count = 3}, {.step = 0.1});
  join(server, 4);
  metalqr::Stream stream({.seed = 5});
  for (int i = 0; i < 200; ++i) {
    Server copy(server.state(), {.count = 3}, {.step = 0.1});
    const auto agent = static_cast<Index>(4 * stream.uniform());
    const Index version = server.state().agents[static_cast<std::size_t>(agent)].version;
    const auto message = report(agent, version, row(stream.normal(), stream.normal()));
    Commands commands = server.on(message);
    const Commands other = copy.on(message);
    REQUIRE(commands.size() == other.size());
    while (!asks(commands).empty()) {
      const double cost = stream.uniform() < 0.05 ? 11 : 1;
      const Commands next = answer_all(server, commands, cost);
      answer_all(copy, commands, cost);
      commands = next;
    }
    CHECK(same(server.gain(), copy.gain()));
    CHECK(server.state().version == copy.state().version);
    CHECK(server.state().statistics.used == copy.state().statistics.used);
  }
  CHECK(server.state().statistics.updates > 20);
}

TEST_CASE("a server refuses settings that make no sense, and names them") {
  using Server = fed::Server<Backend, fed::Buffered>;
  CHECK_THROWS_AS(Server(row(0, 0), {.count = 0}), metalqr::InvalidOption);
  CHECK_THROWS_AS(Server(row(0, 0), {}, {.step = 0}), metalqr::InvalidOption);
  CHECK_THROWS_AS(Server(row(0, 0), {}, {.max_halvings = -1}), metalqr::InvalidOption);
  CHECK_THROWS_AS(Server(row(0, 0), {}, {.retry_after = -1}), metalqr::InvalidOption);
  CHECK_THROWS_AS(Server(row(infinity, 0), {}), metalqr::NotFinite);
  using Robust = fed::Server<Backend, fed::Buffered, fed::Krum, fed::Momentum>;
  CHECK_THROWS_AS(Robust(row(0, 0), {}, {}, {.corrupted = -1}), metalqr::InvalidOption);
  CHECK_THROWS_AS(Robust(row(0, 0), {}, {}, {}, {.decay = 1}), metalqr::InvalidOption);
  Server server(row(0, 0), {});
  CHECK_THROWS_AS(server.on(fed::Joined<Backend>{.agent = -1}), metalqr::InvalidOption);
}

TEST_CASE("a large update of gains with an alignment of their own is what a small one is") {
  using Wide = metalqr::EigenBackend<double, 4, 2>;
  constexpr Index agents = 2001;
  fed::Server<Wide, fed::Synchronous> server(Wide::Gain::Zero(), {}, unguarded);
  for (Index agent = 0; agent < agents; ++agent) server.on(fed::Joined<Wide>{.agent = agent});
  for (Index agent = agents; agent-- > 0;) {
    server.on(
        fed::Report<Wide>{.agent = agent, .estimate = Wide::Gain::Constant(static_cast<double>(agent))});
  }
  CHECK(server.state().version == 1);
  CHECK(server.gain()(1, 3) == -0.5 * 1000);
}

TEST_CASE("a state is not continued with a rule that restarts agents at another age") {
  using Rule = fed::StalenessBounded<fed::Buffered>;
  const Rule rule = fed::bounded(fed::Buffered{.count = 1}, 2);
  fed::Server<Backend, Rule> server(row(0, 0), rule, unguarded);
  join(server, 3);
  server.on(report(0, 0, row(1, 1)));
  const auto state = server.state();
  CHECK(fed::Server<Backend, Rule>(state, rule, unguarded).state().version == 1);
  CHECK_THROWS_AS((fed::Server<Backend, Rule>(state, fed::bounded(fed::Buffered{.count = 1}, 3), unguarded)),
                  metalqr::InvalidOption);
  CHECK_THROWS_AS((fed::Server<Backend, fed::Buffered>(state, {.count = 1}, unguarded)),
                  metalqr::InvalidOption);
}

TEST_CASE("an agent is counted once for each gain that it was sent, however often it reports") {
  fed::Server<Backend, fed::StalenessBounded<fed::Buffered>, fed::CoordinateMedian> server(
      row(0, 0), fed::bounded(fed::Buffered{.count = 1}, 0), unguarded);
  join(server, 2);
  server.on(report(1, 0, row(0, 0)));
  // Agent 0 was restarted at version 1, and sends what it found at version 0 again and again.
  for (int i = 0; i < 5; ++i) CHECK(server.on(report(0, 0, row(1e6, 0))).empty());
  CHECK(server.state().statistics.too_old == 1);
  CHECK(server.state().statistics.repeated == 4);
  CHECK(same(server.gain(), row(0, 0)));
}

TEST_CASE("an agent that comes while there is a gain other than the first is asked about it") {
  for (const fed::Guard guard : {fed::Guard::ask, fed::Guard::rollback}) {
    CAPTURE(static_cast<int>(guard));
    fed::Server<Backend, fed::Buffered> server(row(0, 0), {.count = 1}, {.step = 1, .guard = guard});
    join(server, 1);
    answer_all(server, server.on(report(0, 0, row(1, 0), std::numeric_limits<double>::quiet_NaN())));
    CHECK(same(server.gain(), row(-1, 0)));
    Commands commands = server.on(fed::Joined<Backend>{.agent = 1, .limit = 10});
    REQUIRE(asks(commands).size() == 1);
    CHECK((asks(commands)[0].agent == 1 && same(asks(commands)[0].gain, row(-1, 0))));
    commands = answer_all(server, commands, infinity);
    CHECK(same(server.gain(), row(0, 0)));
    CHECK(commits(commands)[0].refused == 1);
    CHECK(commits(commands)[0].refused_by == 1);
  }
}

TEST_CASE("where a candidate is given up, all are asked about the gain that there is") {
  fed::Server<Backend, fed::Buffered> server(row(0, 0), {.count = 1}, {.step = 1, .max_halvings = 0});
  join(server, 2);
  answer_all(server, server.on(report(0, 0, row(1, 0))));
  REQUIRE(same(server.gain(), row(-1, 0)));
  const Commands candidate = server.on(report(0, 1, row(1, 0)));
  const Commands commands = server.on(
      fed::Verdict<Backend>{.agent = 1, .candidate = asks(candidate)[0].candidate, .cost = infinity});
  CHECK(all<fed::Reject>(commands)[0].candidate == asks(candidate)[0].candidate);
  REQUIRE(asks(commands).size() == 2);
  CHECK(same(asks(commands)[0].gain, row(-1, 0)));
  CHECK(commits(answer_all(server, commands)).empty());
  CHECK(server.state().statistics.rollbacks == 0);
}

TEST_CASE("a gain that an agent has accepted is not given up for what the agent found before") {
  fed::Server<Backend, fed::Buffered> server(row(0, 0), {.count = 1}, {.step = 1});
  join(server, 2);
  answer_all(server, server.on(report(0, 0, row(1, 0))));
  answer_all(server, server.on(report(0, 1, row(1, 0))));
  CHECK(commits(server.on(report(1, 0, row(0, 0), 11))).empty());
  CHECK(same(server.gain(), row(-2, 0)));
  CHECK(server.state().statistics.rollbacks == 0);
}

TEST_CASE("a candidate that nobody there has accepted is not committed, but waits for somebody") {
  fed::Server<Backend, fed::Buffered> server(row(0, 0), {.count = 1}, {.step = 1000});
  join(server, 1);
  CHECK(asks(server.on(report(0, 0, row(1, 0)))).size() == 1);
  CHECK(server.on(fed::Left{.agent = 0}).empty());
  CHECK(same(server.gain(), row(0, 0)));
  const Commands commands = server.on(fed::Joined<Backend>{.agent = 3, .limit = 10});
  REQUIRE(asks(commands).size() == 1);
  CHECK(commits(answer_all(server, commands)).size() == 1);
}

TEST_CASE("an agent that joins while it is there has lost all it was told") {
  fed::Server<Backend, fed::Buffered> server(row(0, 0), {.count = 1}, {.step = 1});
  join(server, 2);
  const Commands candidate = server.on(report(0, 0, row(1, 0)));
  REQUIRE(asks(candidate).size() == 2);
  server.on(fed::Verdict<Backend>{.agent = 0, .candidate = asks(candidate)[0].candidate, .cost = 1});
  const Commands commands = server.on(fed::Joined<Backend>{.agent = 1, .limit = 10});
  REQUIRE(asks(commands).size() == 1);
  REQUIRE(sends(commands).size() == 1);
  CHECK(sends(commands)[0].restart);
  CHECK(commits(answer_all(server, commands)).size() == 1);
  CHECK(server.state().present == 2);
}

TEST_CASE("what nothing can be made of is given up, and all go on") {
  const auto check = [](auto server) {
    join(server, 2);
    const Commands commands = server.on(report(0, 0, row(1, 0)));
    REQUIRE(all<fed::Reject>(commands).size() == 1);
    CHECK(all<fed::Reject>(commands)[0].candidate == 0);
    CHECK_FALSE(sends(commands).empty());
    CHECK(server.state().statistics.rejections == 1);
    CHECK(server.state().version == 0);
  };
  struct NoWeight {
    static bool is_ready(const fed::Standing& standing) { return standing.reports > 0; }
    static double weight(Index /*staleness*/) { return 0; }
  };
  struct NoStep {
    static bool is_ready(const fed::Standing& standing) { return standing.reports > 0; }
    static double step_factor(Index /*staleness*/) { return 0; }
  };
  check(fed::make_server<Backend>(row(0, 0), NoWeight{}, unguarded));
  check(fed::make_server<Backend>(row(0, 0), NoStep{}, unguarded));
}

TEST_CASE("a candidate that is given up leaves no momentum behind") {
  auto server = fed::make_server<Backend>(row(0, 0), fed::Buffered{.count = 1},
                                          {.step = 1, .max_halvings = 0}, fed::Mean{}, fed::Momentum{});
  join(server, 1);
  const Commands given_up = answer_all(server, server.on(report(0, 0, row(1e6, 0))), infinity);
  CHECK(server.state().statistics.rejections == 1);
  answer_all(server, given_up);  // the question whether the gain that there is can stay
  const Commands commands = server.on(report(0, 0, row(0, 0)));
  REQUIRE(asks(commands).size() == 1);
  CHECK(same(asks(commands)[0].gain, row(0, 0)));
}

TEST_CASE("timers stop when nobody is there, and each begins again once") {
  fed::Server<Backend, fed::TimeWindow> server(row(0, 0), {.ticks = 2},
                                               {.step = 1, .guard = fed::Guard::none, .retry_after = 5});
  CHECK(all<fed::Wake>(server.on(fed::Joined<Backend>{.agent = 0, .limit = 10})).size() == 2);
  server.on(fed::Left{.agent = 0});
  CHECK(server.on(fed::Timer{.id = 0}).empty());
  // The other one is still running when somebody comes.
  const auto wakes = all<fed::Wake>(server.on(fed::Joined<Backend>{.agent = 0, .limit = 10}));
  REQUIRE(wakes.size() == 1);
  CHECK(wakes[0].id == 0);
  CHECK(all<fed::Wake>(server.on(fed::Timer{.id = 1})).size() == 1);
}

TEST_CASE("lists do not grow with what agents repeat") {
  fed::Server<Backend, fed::StalenessBounded<fed::Buffered>> bounded(
      row(0, 0), fed::bounded(fed::Buffered{.count = 1}, 3), unguarded);
  join(bounded, 1);
  for (int i = 0; i < 1000; ++i) bounded.on(report(0, 0, row(infinity, 0)));
  for (const auto& agents : bounded.state().sent) CHECK(agents.size() < 50);
  fed::Server<Backend, fed::Buffered> buffered(row(0, 0), {.count = 5000}, unguarded);
  join(buffered, 2);
  for (int i = 0; i < 1000; ++i) {
    buffered.on(report(0, 0, row(1, 0)));
    buffered.on(fed::Left{.agent = 0});
    buffered.on(fed::Joined<Backend>{.agent = 0, .limit = 10});
  }
  CHECK(buffered.state().idle.size() < 50);
  // While all are asked about a candidate, those who keep working otherwise wait.
  fed::Server<Backend, fed::Ringmaster> ringmaster(row(0, 0), {.limit = 5}, {.step = 1});
  join(ringmaster, 2);
  for (int i = 0; i < 1000; ++i) {
    ringmaster.on(report(0, 0, row(1, 0)));
    ringmaster.on(report(1, 0, row(1, 0)));
  }
  CHECK(ringmaster.state().reports.size() <= 2);
}

TEST_CASE("who joins with a number or a limit out of range changes nothing") {
  fed::Server<Backend, fed::Buffered> server(row(0, 0), {.count = 1}, {.max_agents = 100});
  CHECK_THROWS_AS(server.on(fed::Joined<Backend>{.agent = 100}), metalqr::InvalidOption);
  CHECK_THROWS_AS(server.on(fed::Joined<Backend>{.agent = -1}), metalqr::InvalidOption);
  CHECK_THROWS_AS(
      server.on(fed::Joined<Backend>{.agent = 1, .limit = std::numeric_limits<double>::quiet_NaN()}),
      metalqr::InvalidOption);
  CHECK(server.state().agents.empty());
  CHECK(sends(server.on(fed::Joined<Backend>{.agent = 99, .limit = 1})).size() == 1);
}

TEST_CASE("a candidate does not take the place of the question whether the gain that there is can stay") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  fed::Server<Backend, fed::Buffered> server(row(0, 0), {.count = 1}, {.step = 1});
  join(server, 1);
  answer_all(server, server.on(report(0, 0, row(1, 0))));
  const Commands commands = server.on(fed::Joined<Backend>{.agent = 1, .limit = 10});
  REQUIRE(asks(commands).size() == 1);
  // Reports come before the newcomer's answer, again and again.
  for (int i = 0; i < 3; ++i) CHECK(asks(server.on(report(0, 1, row(1, 0), nan))).empty());
  CHECK(server.state().reports.size() == 1);
  answer_all(server, commands, infinity);
  CHECK(same(server.gain(), row(0, 0)));
}

TEST_CASE("who waited while a newcomer was asked goes on afterwards") {
  fed::Server<Backend, fed::Rennala> server(row(0, 0), {.count = 2}, {.step = 1});
  join(server, 1);
  server.on(report(0, 0, row(1, 0)));
  answer_all(server, server.on(report(0, 0, row(1, 0))));
  REQUIRE(same(server.gain(), row(-1, 0)));
  const Commands question = server.on(fed::Joined<Backend>{.agent = 1, .limit = 10});
  CHECK(sends(server.on(report(0, 1, row(1, 0)))).empty());
  const Commands commands = answer_all(server, question);
  REQUIRE(sends(commands).size() == 1);
  CHECK(sends(commands)[0].agent == 0);
}
