#include <metalqr/federated/threads.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <thread>
#include <vector>

#include <metalqr/federated/replay.hpp>
#include <metalqr/federated/robust.hpp>
#include <metalqr/federated/virtual_time.hpp>
#include <metalqr/io/server_state.hpp>

#include "federated/bowls.hpp"
#include "support.hpp"

namespace fed = metalqr::federated;
using metalqr::Index;
using test::Backend;
using Gain = Backend::Gain;
using Profiles = std::vector<fed::AgentProfile>;
using Bowls = test::BowlsOf<Backend>;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

/// Bowls with their centres about one, so that any few of them are enough to find it.
Bowls close_bowls(Index count, const Gain& centre, std::uint64_t seed) {
  metalqr::Stream stream = test::stream(seed);
  Bowls bowls;
  for (Index i = 0; i < count; ++i) {
    Gain offset = Gain::Zero(2, 4);
    metalqr::fill_normal<Backend>(offset, stream);
    bowls.centres.push_back(centre + 1e-3 * offset);
  }
  return bowls;
}

void sleep(int milliseconds) {
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
}

/// Agents of which each of the first ten does another thing wrong.
struct Faulty : Bowls {
  static constexpr int hang = 250;  // milliseconds
  mutable std::atomic<Index> garbage{0};

  explicit Faulty(Bowls bowls) : Bowls(std::move(bowls)) {}
  double cost(Index agent, Index question, const Gain& K) const {
    if (agent == 8 && question == 12) sleep(hang);
    return Bowls::cost(agent, question, K);
  }
  fed::Report<Backend> work(Index agent, Index round, Index version, const Gain& K) const {
    if (agent == 0 && round >= 5) throw std::runtime_error("the plant is on fire");
    if (agent == 1 && round == 3) sleep(hang);
    fed::Report<Backend> report = Bowls::work(agent, round, version, K);
    if (agent < 2 || agent > 7 || round % 2 == 0) return report;
    ++garbage;
    switch (agent) {
      case 2:
        report.estimate(1, 2) = not_a_number;
        break;
      case 3:
        report.estimate = Gain::Zero(3, 1);
        break;
      case 4:
        report.version = version + 7;
        break;
      case 5:
        report.agent = 9;  // as if that one had reported again
        break;
      case 6:
        report.weight = -1;
        break;
      default:
        report.version = -1;
    }
    return report;
  }
};

/// Uses no report that is more than one version old, and lets those be late who are.
struct Fresh : fed::RuleOn<fed::Buffered> {
  static bool admits(Index staleness) { return staleness <= 1; }
};

using Kind = fed::AgentFailure::Kind;

}  // namespace

TEST_CASE("a run goes on to the optimum though agents die, hang, come back and send garbage") {
  const Gain centre = Gain::Constant(2, 4, 0.5);
  const Faulty agents(close_bowls(16, centre, 3));
  Profiles profiles(16,
                    {.work = fed::ConstantLatency{.ticks = 1}, .answer = fed::ConstantLatency{.ticks = 0}});
  profiles[10].work = fed::ConstantLatency{.ticks = 60};  // always too old
  const auto server = [&] {
    return fed::make_server<Backend>(Gain::Zero(2, 4), Fresh{{.base = {.count = 4}}}, {.step = 0.1},
                                     fed::CoordinateMedian{});
  };
  auto original = server();
  Index back = 0;
  const auto run = fed::run_threads(
      original, agents, profiles,
      {.until = 60'000, .record = {.arrivals = true}, .timeout = 120, .on_failure = fed::OnFailure::leave},
      [&](const auto& info) {
        back = std::min(info.state.agents[1].reports, info.state.agents[8].reports);
        return info.state.version > 150 && back > 15 && info.state.statistics.too_old > 0;
      });
  CHECK(run.stopped);
  CHECK(back > 15);
  CHECK((run.gain - centre).norm() < 0.01);

  const auto failed = [&](Index agent, Kind kind) {
    return std::count_if(run.failures.begin(), run.failures.end(), [&](const fed::AgentFailure& failure) {
      return failure.agent == agent && failure.kind == kind;
    });
  };
  CHECK(failed(0, Kind::threw) == 1);
  CHECK(failed(1, Kind::late) >= 1);
  CHECK(failed(8, Kind::late) >= 1);
  CHECK(std::count_if(run.failures.begin(), run.failures.end(), [](const fed::AgentFailure& failure) {
          return failure.kind == Kind::threw && failure.message != "the plant is on fire";
        }) == 0);
  CHECK_FALSE(original.state().agents[0].present);
  CHECK(original.state().agents[0].reports == 5);

  // All of the garbage, but what had not arrived at the end, or came too late to be looked at.
  const fed::ServerStatistics& statistics = original.state().statistics;
  CHECK(statistics.refused <= agents.garbage);
  CHECK(statistics.refused >= agents.garbage - 6 - static_cast<Index>(run.failures.size()));
  CHECK(statistics.refused > 20);
  CHECK(statistics.repeated == 0);
  CHECK(statistics.reports >= statistics.used + statistics.refused + statistics.too_old);

  // The deadlines are in the record as departures and arrivals.
  const fed::Replay replay = fed::replay_of(run.arrivals, 16, profiles, 0);
  auto again = server();
  CHECK(test::same_gains(run, fed::simulate(again, agents, replay.profiles, replay.options)));
}

TEST_CASE("huge estimates do not get past the guard, and a few do not move a median") {
  struct Huge : Bowls {
    fed::Report<Backend> work(Index agent, Index round, Index version, const Gain& K) const {
      fed::Report<Backend> report = Bowls::work(agent, round, version, K);
      if (agent == 0) report.estimate = Gain::Constant(2, 4, round % 2 == 0 ? 1e300 : 1e20);
      return report;
    }
  };
  const Gain centre = Gain::Constant(2, 4, 0.5);
  const Huge agents{close_bowls(6, centre, 4)};
  const Profiles profiles{{.work = fed::ConstantLatency{.ticks = 1}}};
  auto mean = fed::make_server<Backend>(Gain::Zero(2, 4), fed::Synchronous{}, {.step = 0.3});
  const auto held = fed::run_threads(mean, agents, profiles, {.until = 200, .tick = 5e-4});
  CHECK(mean.state().statistics.rejections > 0);
  for (const auto& record : held.history) CHECK((record.commit.gain - centre).norm() < 15);
  auto median =
      fed::make_server<Backend>(Gain::Zero(2, 4), fed::Synchronous{}, {.step = 0.3}, fed::CoordinateMedian{});
  CHECK((fed::run_threads(median, agents, profiles, {.max_updates = 60}).gain - centre).norm() < 0.01);
}

TEST_CASE("those who were left out are waited for once more, even if it is all, and no longer") {
  struct Sleepy : Bowls {
    int milliseconds = 0;
    fed::Report<Backend> work(Index agent, Index round, Index version, const Gain& K) const {
      if (round == 2) sleep(milliseconds);
      return Bowls::work(agent, round, version, K);
    }
  };
  const Gain centre = Gain::Constant(2, 4, 0.5);
  auto server = fed::make_server<Backend>(Gain::Zero(2, 4), fed::Synchronous{},
                                          {.step = 0.3, .guard = fed::Guard::none});
  const Profiles profiles{{.work = fed::ConstantLatency{.ticks = 0}}};
  const Index updates = 30;
  SECTION("they come back") {
    const Sleepy agents{close_bowls(3, centre, 4), 300};
    const auto run = fed::run_threads(server, agents, profiles, {.max_updates = updates, .timeout = 200});
    CHECK(run.updates == updates);
    CHECK(run.failures.size() >= 3);
  }
  SECTION("they do not") {
    const Sleepy agents{close_bowls(3, centre, 4), 1000};
    const auto run = fed::run_threads(server, agents, profiles, {.max_updates = updates, .timeout = 200});
    CHECK(run.updates == 2);
    CHECK(run.time < 700);
  }
}

TEST_CASE("a run ends when all of its agents have died") {
  struct Dying : Bowls {
    fed::Report<Backend> work(Index agent, Index round, Index version, const Gain& K) const {
      if (round == 4) throw 4;
      return Bowls::work(agent, round, version, K);
    }
  };
  const Dying agents{close_bowls(3, Gain::Constant(2, 4, 0.5), 4)};
  auto server = fed::make_server<Backend>(Gain::Zero(2, 4), fed::Synchronous{},
                                          {.step = 0.3, .guard = fed::Guard::none});
  Profiles profiles(3, {.work = fed::ConstantLatency{.ticks = 0}});
  for (fed::AgentProfile& profile : profiles) profile.presence = fed::ConstantLatency{.ticks = 1e6};
  const auto run =
      fed::run_threads(server, agents, profiles, {.timeout = 1e4, .on_failure = fed::OnFailure::leave});
  CHECK(run.updates == 4);
  CHECK(run.failures.size() == 3);
  for (const fed::AgentFailure& failure : run.failures) CHECK_FALSE(failure.message.empty());
  CHECK(server.state().present == 0);
  CHECK_THROWS_AS(fed::run_threads(server, agents, profiles, {.timeout = 0}), metalqr::InvalidOption);
  CHECK_THROWS_AS(fed::run_threads(server, agents, profiles, {.timeout = not_a_number}),
                  metalqr::InvalidOption);
}

namespace {

/// A server in the midst of its work: of six agents some are at work, some wait, one has left, and but for
/// `Guard::none` a question is open that some have answered.
auto busy_server(fed::Guard guard) {
  auto server = fed::make_server<Backend>(Gain::Zero(2, 4), fed::Buffered{.count = 3},
                                          {.step = 0.1, .guard = guard, .max_agents = 100});
  const Gain estimate = Gain::Constant(2, 4, 0.1);
  for (Index agent = 0; agent < 6; ++agent) server.on(fed::Joined<Backend>{.agent = agent, .limit = 10});
  const auto answer = [&](Index agents) {
    for (Index agent = 0; agent < agents; ++agent) {
      server.on(fed::Verdict<Backend>{.agent = agent, .candidate = server.state().question.id, .cost = 1});
    }
  };
  const auto report = [&](std::initializer_list<Index> agents) {
    for (const Index agent : agents) {
      const Index version = server.state().agents[static_cast<std::size_t>(agent)].version;
      server.on(fed::Report<Backend>{.agent = agent, .version = version, .estimate = estimate, .cost = 1});
    }
  };
  report({0, 1, 2, 3});
  answer(6);
  report({0, 1, 2});
  answer(6);
  report({4, 5, 1});
  answer(2);
  report({0});
  server.on(fed::Left{.agent = 5});
  return server;
}

/// A message that is refused, and what it counts as.
struct Malformed {
  fed::Event<Backend> event;
  Index fed::ServerStatistics::*counter = nullptr;  // none: it throws
};

class Generator {
 public:
  Generator(const fed::ServerState<Backend>& state, std::uint64_t seed)
      : state_(state), stream_(test::stream(seed)) {}

  Malformed next() {
    using Statistics = fed::ServerStatistics;
    const Index anybody = among(state_.agents.size());
    switch (below(9)) {
      case 0:
        return {report(nobody(), below(3)), &Statistics::refused};
      case 1:
        return {report(anybody, nonsense({-1, state_.version + 1, state_.version + 1000})),
                &Statistics::refused};
      case 2: {  // of somebody who is not at work
        const Index agent = one_who([](const Record& record) { return !record.working; });
        return {report(agent, at(agent).version + below(state_.version - at(agent).version + 1)),
                &Statistics::repeated};
      }
      case 3: {  // of a version that it has reported, or before
        const Index agent = one_who([](const Record& record) { return record.reported >= 0; });
        if (at(agent).working && at(agent).reported == at(agent).version) return next();
        return {report(agent, below(at(agent).reported + 1)), &Statistics::repeated};
      }
      case 4:
        return {verdict(nobody(), state_.question.id), &Statistics::unawaited};
      case 5:
        return {verdict(anybody, nonsense({-1, state_.question.id + 1, state_.question.id - 1})),
                &Statistics::unawaited};
      case 6: {  // of somebody who has answered, or is not there
        const Index agent = one_who([&](const Record& record) {
          return record.asked != state_.question.id || !state_.question.open;
        });
        return {verdict(agent, state_.question.id), &Statistics::unawaited};
      }
      case 7:
        if (below(2) == 0) return {fed::Timer{.id = nonsense({0, 1, 2, -1})}, &Statistics::unawaited};
        return {fed::Left{.agent = below(2) == 0 ? nobody() : 5}, &Statistics::unawaited};
      default:
        if (below(2) == 0) return {fed::Joined<Backend>{.agent = anybody, .limit = not_a_number}};
        return {fed::Joined<Backend>{.agent = nonsense({-1, 100, 101}), .limit = 1}};
    }
  }

 private:
  using Record = fed::AgentRecord<Backend>;

  Index below(Index bound) { return static_cast<Index>(stream_.bits() % static_cast<std::uint64_t>(bound)); }
  Index among(std::size_t count) { return below(static_cast<Index>(count)); }
  const Record& at(Index agent) const { return state_.agents[static_cast<std::size_t>(agent)]; }
  template <class Holds>
  Index one_who(const Holds& holds) {
    for (;;) {
      const Index agent = among(state_.agents.size());
      if (holds(at(agent))) return agent;
    }
  }
  /// One of these, or of the ends of the range of numbers.
  Index nonsense(std::vector<Index> numbers) {
    numbers.push_back(std::numeric_limits<Index>::max());
    numbers.push_back(std::numeric_limits<Index>::min());
    return numbers[static_cast<std::size_t>(among(numbers.size()))];
  }
  Index nobody() { return nonsense({-1, 6, 7, 99, 100, Index{1} << 40}); }
  double number() {
    constexpr std::array<double, 8> numbers{not_a_number, infinity, -infinity, 1e308, -1e308, 0, 1, -1};
    return numbers[static_cast<std::size_t>(among(numbers.size()))];
  }
  fed::Report<Backend> report(Index agent, Index version) {
    const bool fits = below(2) == 0;
    return {.agent = agent,
            .version = version,
            .estimate = Gain::Constant(fits ? 2 : below(5), fits ? 4 : below(5), number()),
            .cost = number(),
            .weight = number()};
  }
  fed::Verdict<Backend> verdict(Index agent, Index candidate) {
    return {.agent = agent, .candidate = candidate, .cost = number()};
  }

  const fed::ServerState<Backend>& state_;
  metalqr::Stream stream_;
};

metalqr::io::Json without_statistics(const fed::ServerState<Backend>& state) {
  metalqr::io::Json json = metalqr::io::to_json<Backend>(state);
  json.erase("statistics");
  return json;
}

}  // namespace

TEST_CASE("a hundred thousand malformed messages are refused and counted, and leave the state as it was") {
  for (const fed::Guard guard : {fed::Guard::none, fed::Guard::ask, fed::Guard::rollback}) {
    CAPTURE(static_cast<int>(guard));
    auto server = busy_server(guard);
    REQUIRE(server.state().version >= 2);
    REQUIRE(server.state().question.open == (guard != fed::Guard::none));
    REQUIRE(server.state().working > 0);
    REQUIRE(server.state().present == 5);
    const metalqr::io::Json before = without_statistics(server.state());
    fed::ServerStatistics expected = server.state().statistics;
    Generator generator(server.state(), 17);
    Index thrown = 0;
    for (int i = 0; i < 40'000; ++i) {
      const Malformed message = generator.next();
      if (message.counter == nullptr) {
        ++thrown;
        CHECK_THROWS_AS(server.on(message.event), metalqr::InvalidOption);
        continue;
      }
      ++(expected.*message.counter);
      if (std::holds_alternative<fed::Report<Backend>>(message.event)) ++expected.reports;
      const auto commands = server.on(message.event);
      if (!commands.empty()) FAIL("message " << i << " has an effect");
      if (i % 1000 == 0) REQUIRE(without_statistics(server.state()) == before);
    }
    CHECK(thrown > 1000);
    CHECK(without_statistics(server.state()) == before);
    const fed::ServerStatistics& statistics = server.state().statistics;
    CHECK(statistics.reports == expected.reports);
    CHECK(statistics.refused == expected.refused);
    CHECK(statistics.repeated == expected.repeated);
    CHECK(statistics.unawaited == expected.unawaited);
    auto counters = server.state();
    counters.statistics = expected;
    CHECK(metalqr::io::to_json<Backend>(counters) == metalqr::io::to_json<Backend>(server.state()));
  }
}
