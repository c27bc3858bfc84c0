#include <metalqr/federated/mpi.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <metalqr/federated/compressed_agents.hpp>
#include <metalqr/federated/mpi_rounds.hpp>
#include <metalqr/federated/replay.hpp>
#include <metalqr/federated/virtual_time.hpp>

#include "federated/bowls.hpp"
#include "support.hpp"

namespace fed = metalqr::federated;
namespace mpi = metalqr::mpi;
using metalqr::Bytes;
using metalqr::ByteWriter;
using metalqr::Index;
using metalqr::StreamKey;
using test::Bowls;
using Backend = Bowls::Backend;
using Gain = Backend::Gain;
using Profiles = std::vector<fed::AgentProfile>;

namespace {

constexpr int tag = 20'240;
const Profiles at_once{
    {.work = fed::ConstantLatency{.ticks = 0}, .answer = fed::ConstantLatency{.ticks = 0}}};

fed::AgentRange own_shard(const mpi::Communicator& ranks, Index agents) {
  return fed::agents_of(agents, ranks.size(), ranks.rank());
}

/// The bowls of a rank.
Bowls part(const Bowls& all, const fed::AgentRange& shard) {
  const auto first = all.centres.begin() + shard.first;
  return {.centres = {first, first + shard.count}, .ceiling = all.ceiling};
}

/// Mean cost of a fleet of bowls, less its minimum, which is at the mean of the centres.
double excess(const Bowls& all, const Gain& K) {
  Gain mean = Gain::Zero();
  for (const Gain& centre : all.centres) mean += centre / static_cast<double>(all.size());
  return (K - mean).squaredNorm() / 2;
}

/// Bowls that do something else each time they work.
template <class Before>
struct Eventful : Bowls {
  Before before;

  Eventful(Bowls bowls, Before what) : Bowls(std::move(bowls)), before(std::move(what)) {}
  fed::Report<Backend> work(Index agent, Index round, Index version, const Gain& K) {
    before(agent, round);
    return Bowls::work(agent, round, version, K);
  }
};

/// A quarter of a squared distance, and some noise that belongs to the key.
struct NoisyDistance {
  Gain centre;

  double operator()(const Gain& K, const StreamKey& key) const {
    return 1 + (K - centre).squaredNorm() / 4 + 1e-3 * metalqr::Stream(key).normal();
  }
};

using Synchronous = fed::Server<Backend, fed::Synchronous>;
using Buffered = fed::Server<Backend, fed::Buffered>;

}  // namespace

TEST_CASE("agents are shared out evenly, none of them twice") {
  for (const int ranks : {2, 3, 5, 9}) {
    Index next = 0;
    CHECK(fed::agents_of(7, ranks, 0).count == 0);
    for (int rank = 1; rank < ranks; ++rank) {
      const fed::AgentRange shard = fed::agents_of(7, ranks, rank);
      CHECK(shard.first == next);
      CHECK(shard.count >= 7 / (ranks - 1));
      CHECK(shard.count <= 7 / (ranks - 1) + 1);
      next += shard.count;
    }
    CHECK(next == 7);
  }
  CHECK_THROWS_AS(fed::agents_of(7, 1, 0), metalqr::InvalidOption);
  CHECK_THROWS_AS(fed::agents_of(7, 3, 3), metalqr::InvalidOption);
}

TEST_CASE("a run between processes needs others, and rank 0 to serve") {
  mpi::Communicator ranks;
  Synchronous server(Gain::Zero(), {});
  Bowls agents = test::bowls(2, 1);
  if (ranks.rank() == 0)
    CHECK_THROWS_AS(fed::work_for(ranks, agents, 0, Gain::Zero()), metalqr::InvalidOption);
  if (ranks.rank() != 0 || ranks.size() == 1) {
    CHECK_THROWS_AS(fed::serve(ranks, server, 2, at_once), metalqr::InvalidOption);
    CHECK_THROWS_AS(fed::serve_rounds(ranks, server, 2, at_once), metalqr::InvalidOption);
  }
}

TEST_CASE("why rank 0 does not begin a run, the others hear who wait for it") {
  mpi::Communicator ranks;
  if (ranks.size() == 1) return;
  const Index all = 2 * (ranks.size() - 1);
  if (ranks.rank() != 0) {
    Bowls own = test::bowls(2, 1);
    const Index first = 2 * (ranks.rank() - 1);
    for (const char* what : {"agents: ", "profiles: ", "timeout: ", "farewell: "}) {
      CHECK_THROWS_WITH(fed::work_for(ranks, own, first, Gain::Zero()),
                        Catch::StartsWith("rank 0: ") && Catch::Contains(what));
    }
    for (const char* what : {"agents: ", "agents: ", "profiles: ", "until: "}) {
      CHECK_THROWS_WITH(fed::work_in_rounds(ranks, own, first, Gain::Zero()),
                        Catch::StartsWith("rank 0: ") && Catch::Contains(what));
    }
    CHECK(fed::work_for(ranks, own, first, Gain::Zero()).traffic.refused == 0);
    fed::work_in_rounds(ranks, own, first, Gain::Zero());
    return;
  }
  Synchronous server(Gain::Zero(), {}, {.step = 0.2, .guard = fed::Guard::none});
  const Profiles odd(static_cast<std::size_t>(all) + 1);
  CHECK_THROWS_AS(fed::serve(ranks, server, 0, at_once), metalqr::InvalidOption);
  CHECK_THROWS_AS(fed::serve(ranks, server, all, odd), metalqr::InvalidOption);
  CHECK_THROWS_AS(fed::serve(ranks, server, all, at_once, {.timeout = 0}), metalqr::InvalidOption);
  CHECK_THROWS_AS(fed::serve(ranks, server, all, at_once, {.farewell = -1}), metalqr::InvalidOption);
  CHECK_THROWS_AS(fed::serve_rounds(ranks, server, 0, at_once), metalqr::InvalidOption);
  CHECK_THROWS_AS(fed::serve_rounds(ranks, server, -1, at_once), metalqr::InvalidOption);
  CHECK_THROWS_AS(fed::serve_rounds(ranks, server, all, odd), metalqr::InvalidOption);
  CHECK_THROWS_AS(fed::serve_rounds(ranks, server, all, at_once, {.until = -1}), metalqr::InvalidOption);
  CHECK(fed::serve(ranks, server, all, at_once, {.max_updates = 5}).updates == 5);
  CHECK(fed::serve_rounds(ranks, server, all, at_once, {.max_updates = 5}).updates == 5);
}

TEST_CASE("a rank that cannot take part, or not any more, ends the run instead of being waited for") {
  mpi::Communicator ranks;
  if (ranks.size() == 1) return;
  struct Torn : Bowls {
    Index good_limits = 0;
    double limit(Index agent) const {
      if (agent >= good_limits) throw std::runtime_error("nobody knows");
      return Bowls::limit(agent);
    }
    void reported(Index /*agent*/, Index round) const {
      if (round >= 3) throw std::runtime_error("the disk is full");
    }
  };
  using Tied = test::BowlsOf<test::Backend>;
  const Index all = 2 * (ranks.size() - 1);
  const int bad = ranks.size() - 1;
  const Index first = 2 * (ranks.rank() - 1);
  const auto serve = [&](const fed::MpiOptions& options) {
    Synchronous server(Gain::Zero(), {}, {.step = 0.2, .guard = fed::Guard::none});
    return fed::serve(ranks, server, all, at_once, options);
  };
  const auto ends = [&](const char* why, const auto& take_part) {
    CAPTURE(why);
    if (ranks.rank() == 0) {
      CHECK_THROWS_WITH(serve({}), Catch::StartsWith("rank " + std::to_string(bad)) && Catch::Contains(why));
    } else if (ranks.rank() == bad) {
      CHECK_THROWS_WITH(take_part(), Catch::Contains(why));
    } else {
      Bowls own = test::bowls(2, 1);
      CHECK(fed::work_for(ranks, own, first, Gain::Zero()).traffic.refused == 0);
    }
  };
  Torn own{test::bowls(2, 1)};
  ends("expected the server's 2x4, got 3x4", [&] {
    Tied tied;
    return fed::work_for(ranks, tied, first, test::Backend::Gain::Zero(3, 4));
  });
  ends("nobody knows", [&] { return fed::work_for(ranks, own, first, Gain::Zero()); });
  own.good_limits = 2;
  ends("agents: ", [&] { return fed::work_for(ranks, own, first + 1, Gain::Zero()); });
  ends("the disk is full", [&] { return fed::work_for(ranks, own, first, Gain::Zero()); });
  // What is known of it is left out on demand.
  if (ranks.rank() == bad) {
    CHECK_THROWS_WITH(fed::work_for(ranks, own, first, Gain::Zero()), "the disk is full");
  } else if (ranks.rank() != 0) {
    Bowls good = test::bowls(2, 1);
    fed::work_for(ranks, good, first, Gain::Zero());
  } else {
    const auto run = serve({.max_updates = 40, .on_failure = fed::OnFailure::leave});
    CHECK(run.failures.size() == 2);
    CHECK(run.updates == (ranks.size() > 2 ? 40 : run.updates));
    CHECK(run.updates >= 3);
  }
}

TEST_CASE("answers by collective calls that are none end the run at all ranks") {
  mpi::Communicator ranks;
  if (ranks.size() == 1) return;
  const Index all = 2 * (ranks.size() - 1);
  const Index first = 2 * (ranks.rank() - 1);
  for (const Index named : {Index{-1}, all, Index{1} << 60, all - 1}) {
    CAPTURE(named);
    if (ranks.rank() == 0) {
      Synchronous server(Gain::Zero(), {});
      CHECK_THROWS_AS(fed::serve_rounds(ranks, server, all, at_once), metalqr::ParseError);
      continue;
    }
    Bowls own = test::bowls(2, 1);
    if (ranks.rank() != ranks.size() - 1) {
      fed::work_in_rounds(ranks, own, first, Gain::Zero());
      continue;
    }
    const auto hear = [&] { return ranks.broadcast_of([] { return Bytes{}; }); };
    ByteWriter hello;
    hello.put(std::uint8_t{0});
    for (const Index number : {Index{2}, Index{4}, first}) hello.put(number);
    for (int agent = 0; agent < 2; ++agent) hello.put(99.0);
    ranks.gather(hello.bytes());
    hear();
    hear();
    ByteWriter answer;  // as long as a report, of another agent than the first that was asked
    answer.put(std::uint8_t{0});
    answer.put(named);
    for (int number = 0; number < 11; ++number) answer.put(1.0);
    ranks.gather(answer.bytes());
    CHECK(fed::detail::is_stop(hear()));
  }
}

TEST_CASE("the arrivals of a run between processes, replayed in virtual time, give the same gains, bitwise") {
  mpi::Communicator ranks;
  if (ranks.size() == 1) return;
  for (const fed::Guard guard : {fed::Guard::none, fed::Guard::ask, fed::Guard::rollback}) {
    for (const bool reliable : {true, false}) {
      CAPTURE(static_cast<int>(guard), reliable);
      Bowls bowls = test::bowls(9, 2);
      for (Gain& centre : bowls.centres) centre *= 10 / centre.norm();
      const fed::AgentRange shard = own_shard(ranks, bowls.size());
      if (ranks.rank() != 0) {
        fed::CompressedAgents agents(part(bowls, shard), fed::TopK{.count = 3}, 0, shard.first);
        const fed::MpiWork work = fed::work_for(ranks, agents, shard.first, Gain::Zero());
        CHECK(work.reports > 0);
        CHECK(work.traffic.refused == 0);
        continue;
      }
      const Profiles profiles = reliable ? Profiles(at_once) : test::unreliable(9, 2);
      const auto server = [&] {
        return Buffered(Gain::Zero(), {.count = 3},
                        {.step = guard == fed::Guard::none ? 0.05 : 0.5, .guard = guard, .retry_after = 8});
      };
      auto original = server();
      const auto run = fed::serve(
          ranks, original, 9, profiles,
          {.until = 2000, .max_updates = 100, .tick = 5e-4, .seed = 4, .record = {.arrivals = true}});
      CHECK(run.updates > 10);
      CHECK(run.traffic.refused == 0);
      const fed::Replay replay = fed::replay_of(run.arrivals, 9, profiles, 4);
      auto again = server();
      fed::CompressedAgents all(bowls, fed::TopK{.count = 3});
      const auto repeated = fed::simulate(again, all, replay.profiles, replay.options);
      const fed::RunResult<Backend>& recorded = run;
      CHECK(test::same_gains(recorded, repeated));
      CHECK(again.state().statistics.staleness == original.state().statistics.staleness);
      CHECK(again.state().statistics.questions == original.state().statistics.questions);
    }
  }
}

TEST_CASE("runs by collective calls are those in virtual time, bitwise, wherever the agents live") {
  mpi::Communicator ranks;
  if (ranks.size() == 1) return;
  std::vector<NoisyDistance> oracles;
  for (const Gain& centre : test::bowls(7, 3).centres) oracles.push_back({centre});
  using Agents = fed::OracleAgents<Backend, NoisyDistance>;
  fed::AgentOptions options{.estimator = {.samples = 8, .radius = 0.1}, .slack = 0.5, .seed = 8};
  const fed::AgentRange shard = own_shard(ranks, 7);
  const auto check = [&](const auto& make_server, const Profiles& profiles,
                         const fed::VirtualTimeOptions& time) {
    if (ranks.rank() != 0) {
      options.first = shard.first;
      const std::span<const NoisyDistance> own(oracles.data() + shard.first,
                                               static_cast<std::size_t>(shard.count));
      fed::CompressedAgents agents(Agents(own, Gain::Zero(), options), fed::Quantizer{}, 3, shard.first);
      return fed::work_in_rounds(ranks, agents, shard.first, Gain::Zero());
    }
    auto server = make_server();
    const auto run = fed::serve_rounds(ranks, server, 7, profiles, time);
    auto whole = make_server();
    fed::CompressedAgents agents(Agents(oracles, Gain::Zero(), options), fed::Quantizer{}, 3);
    const auto simulated = fed::simulate(whole, agents, profiles, time);
    CHECK(run.updates > 5);
    CHECK(run.time == simulated.time);
    CHECK(test::same_gains(run, simulated));
  };
  const fed::ServerOptions step{.step = 0.3};
  check([&] { return Synchronous(Gain::Zero(), {}, step); }, Profiles(1), {.max_updates = 12});
  check([&] { return Synchronous(Gain::Zero(), {}, {.step = 0.3, .retry_after = 8}); },
        test::unreliable(7, 5), {.until = 150, .seed = 1});
  check([&] { return Buffered(Gain::Zero(), {.count = 3}, {.step = 0.3, .retry_after = 8}); },
        test::unreliable(7, 5), {.until = 60, .seed = 1});
}

TEST_CASE("a job that was ended goes on from the state that its observer saw") {
  mpi::Communicator ranks;
  if (ranks.size() == 1) return;
  const Bowls bowls = test::bowls(6, 4);
  const fed::AgentRange shard = own_shard(ranks, 6);
  Bowls own = part(bowls, shard);
  const fed::ServerOptions options{.step = 0.3, .guard = fed::Guard::none};
  if (ranks.rank() != 0) {
    for (int run = 0; run < 2; ++run) fed::work_in_rounds(ranks, own, shard.first, Gain::Zero());
    return;
  }
  Synchronous first(Gain::Zero(), {}, options);
  Synchronous::State saved;
  const auto save = [&](const auto& info) {
    if (info.commit.version == 15) saved = info.state;
    return info.commit.version == 20;
  };
  fed::serve_rounds(ranks, first, 6, Profiles(1), {}, save);
  Synchronous second(saved, {}, options);
  const auto rest = fed::serve_rounds(ranks, second, 6, Profiles(1), {.max_updates = 25});
  Synchronous whole(Gain::Zero(), {}, options);
  Bowls all = bowls;
  CHECK(
      (rest.gain.array() == fed::simulate(whole, all, Profiles(1), {.max_updates = 40}).gain.array()).all());
}

TEST_CASE("what ranks own has to fit together") {
  mpi::Communicator ranks;
  if (ranks.size() == 1) return;
  Bowls own = test::bowls(2, 1);
  const auto check = [&](Index agents, Index first) {
    if (ranks.rank() == 0) {
      Synchronous server(Gain::Zero(), {});
      CHECK_THROWS_AS(fed::serve_rounds(ranks, server, agents, at_once), metalqr::InvalidOption);
    } else {
      CHECK_THROWS_AS(fed::work_in_rounds(ranks, own, first, Gain::Zero()), mpi::RemoteError);
    }
  };
  const Index workers = ranks.size() - 1;
  check(2 * workers + 1, 2 * (ranks.rank() - 1));  // one is nobody's
  check(2 * workers - 1, 2 * (ranks.rank() - 1));  // one is too many
  if (workers > 1) check(2 * workers, 0);          // all own the same
}

TEST_CASE("an agent whose code throws at another rank ends the run, or is left out") {
  mpi::Communicator ranks;
  if (ranks.size() == 1) return;
  const Bowls bowls = test::bowls(8, 5);
  const fed::AgentRange shard = own_shard(ranks, 8);
  for (const fed::OnFailure on_failure : {fed::OnFailure::end, fed::OnFailure::leave}) {
    if (ranks.rank() != 0) {
      Eventful own(part(bowls, shard), [&](Index agent, Index round) {
        if (shard.first + agent == 2 && round >= 3) throw std::runtime_error("the plant is on fire");
      });
      fed::work_for(ranks, own, shard.first, Gain::Zero());
      continue;
    }
    Buffered server(Gain::Zero(), {.count = 4}, {.step = 0.2, .guard = fed::Guard::none});
    const fed::MpiOptions options{.max_updates = 60, .on_failure = on_failure};
    if (on_failure == fed::OnFailure::end) {
      CHECK_THROWS_WITH(fed::serve(ranks, server, 8, at_once, options),
                        Catch::Contains("agent 2: the plant is on fire"));
      continue;
    }
    const auto run = fed::serve(ranks, server, 8, at_once, options);
    CHECK(run.updates == 60);
    REQUIRE(run.failures.size() == 1);
    CHECK(run.failures[0].kind == fed::AgentFailure::Kind::threw);
    CHECK(run.failures[0].agent == 2);
    CHECK(run.failures[0].message == "the plant is on fire");
    CHECK_FALSE(server.state().agents[2].present);
    CHECK(server.state().present == 7);
  }
  // With collective calls it ends the run at all ranks.
  if (ranks.rank() != 0) {
    Eventful own(part(bowls, shard), [&](Index agent, Index round) {
      if (shard.first + agent == 2 && round >= 3) throw std::runtime_error("the plant is on fire");
    });
    if (shard.first <= 2 && 2 < shard.first + shard.count) {
      CHECK_THROWS_AS(fed::work_in_rounds(ranks, own, shard.first, Gain::Zero()), std::runtime_error);
    } else {
      fed::work_in_rounds(ranks, own, shard.first, Gain::Zero());
    }
  } else {
    Synchronous server(Gain::Zero(), {}, {.step = 0.2, .guard = fed::Guard::none});
    CHECK_THROWS_AS(fed::serve_rounds(ranks, server, 8, Profiles(1), {.max_updates = 60}), mpi::RemoteError);
    CHECK(server.state().version == 3);
  }
}

TEST_CASE("a rank that hangs is left out, and comes back when it answers") {
  mpi::Communicator ranks;
  if (ranks.size() == 1) return;
  const Bowls bowls = test::bowls(9, 6);
  const fed::AgentRange shard = own_shard(ranks, 9);
  constexpr int hanging = 1;
  if (ranks.rank() != 0) {
    Eventful own(part(bowls, shard), [&](Index agent, Index round) {
      if (ranks.rank() == hanging && agent == 0 && round == 4) {
        std::this_thread::sleep_for(std::chrono::milliseconds(450));
      }
    });
    fed::work_for(ranks, own, shard.first, Gain::Zero());
    return;
  }
  const fed::AgentRange lost = fed::agents_of(9, ranks.size(), hanging);
  Synchronous server(Gain::Zero(), {}, {.step = 0.05, .guard = fed::Guard::none});
  Index back = 0;  // whether somebody of those came back, and has reported since
  const auto run =
      fed::serve(ranks, server, 9, Profiles{{.work = fed::ConstantLatency{.ticks = 1}}},
                 {.until = 60'000, .record = {.arrivals = true}, .timeout = 300}, [&](const auto& info) {
                   const auto& agents = info.state.agents;
                   back = agents[static_cast<std::size_t>(lost.first)].reports;
                   return back > 12 && info.commit.version > 200;
                 });
  CHECK(run.stopped);
  CHECK(back > 12);
  CHECK_FALSE(run.failures.empty());
  Index left_out = 0;
  for (const fed::AgentFailure& failure : run.failures) {
    CHECK(failure.kind == fed::AgentFailure::Kind::late);
    if (failure.agent == lost.first) ++left_out;
  }
  CHECK(left_out >= 1);
  CHECK(server.state().present == 9);
  CHECK(excess(bowls, run.gain) < 1e-6);
  // Deadlines, too, are replayed as what they led to.
  const fed::Replay replay = fed::replay_of(run.arrivals, 9, Profiles(1), 0);
  Synchronous again(Gain::Zero(), {}, {.step = 0.05, .guard = fed::Guard::none});
  Bowls all = bowls;
  const fed::RunResult<Backend>& recorded = run;
  CHECK(test::same_gains(recorded, fed::simulate(again, all, replay.profiles, replay.options)));
}

TEST_CASE("what a rank sends that is no message, or not for it to say, is counted and has no effect") {
  mpi::Communicator ranks;
  if (ranks.size() == 1) return;
  using fed::detail::Mail;
  using fed::detail::to_mail;
  const Bowls bowls = test::bowls(8, 7);
  const fed::AgentRange shard = own_shard(ranks, 8);
  constexpr std::uint64_t count = 2000;
  const int rogue = ranks.size() - 1;
  if (ranks.rank() != 0 && ranks.rank() != rogue) {
    Bowls own = part(bowls, shard);
    fed::work_for(ranks, own, shard.first, Gain::Zero());
    return;
  }
  if (ranks.rank() == rogue) {
    const auto head_of = [](const Bytes& content) {
      metalqr::ByteReader reader(content);
      return fed::detail::read_head(reader);
    };
    const std::uint64_t run = head_of(ranks.receive(0, tag).content).run;
    metalqr::Stream stream = test::stream(9);
    const Index stranger = shard.first == 0 ? 8 : 0;
    const auto mail = [&](std::uint64_t i) -> Bytes {
      fed::detail::ReportMail<Backend> report{.agent = shard.first, .number = 0};
      report.report = {.agent = shard.first, .version = 0, .estimate = Gain::Constant(1e9), .cost = 1};
      switch (i % 8) {
        case 0: {  // noise
          Bytes bytes(static_cast<std::size_t>(stream.bits() % 200));
          for (std::byte& byte : bytes) byte = static_cast<std::byte>(stream.bits());
          return bytes;
        }
        case 1: {  // cut short, or with noise at its end
          Bytes bytes = to_mail<Backend>(run, report);
          bytes.resize(i % 16 == 1 ? static_cast<std::size_t>(stream.bits() % bytes.size())
                                   : bytes.size() + 3);
          return bytes;
        }
        case 2:  // another's report
          report.agent = stranger;
          return to_mail<Backend>(run, report);
        case 3:  // another's verdict
          return to_mail<Backend>(
              run, fed::detail::VerdictMail<Backend>{.agent = stranger, .number = 1, .cost = 1e9});
        case 4:  // nobody's failure
          return to_mail(run, fed::detail::FailureMail{.agent = -1, .message = "gone"});
        case 5:  // a shape of which the size overflows
        {
          ByteWriter writer = fed::detail::begin_mail(run, Mail::report);
          for (int field = 0; field < 5; ++field) writer.put(std::int64_t{0});
          writer.put(std::int64_t{1} << 62);
          writer.put(std::int64_t{4});
          return writer.take();
        }
        case 6:  // a limit that is no number, or more agents than there are
          if (i % 16 == 6) {
            return to_mail<Backend>(run,
                                    fed::detail::HelloMail<Backend>{.first = 0, .limits = {std::nan(""), 1}});
          }
          return to_mail<Backend>(
              run, fed::detail::HelloMail<Backend>{.first = 7, .limits = std::vector<double>(3, 1.0)});
        default:  // what only rank 0 says
          return to_mail(run, fed::detail::StopMail{.first = 0, .reported = {1, 2}});
      }
    };
    for (std::uint64_t i = 0; i < count; ++i) ranks.send(0, tag, mail(i));
    fed::detail::HelloMail<Backend> hello{.first = shard.first, .limits = {}};
    hello.limits.resize(static_cast<std::size_t>(shard.count), 1e6);
    ranks.send(0, tag, to_mail<Backend>(run, hello));
    ranks.send(0, tag, to_mail<Backend>(run, hello));
    // Of its own agents, and well formed, but what nobody waits for.
    using Numbers = std::numeric_limits<Index>;
    for (const Index number : {Index{0}, Index{0}, Index{-1}, Numbers::min(), Numbers::max()}) {
      const fed::detail::VerdictMail<Backend> verdict{.agent = shard.first, .number = number, .cost = -1e9};
      ranks.send(0, tag, to_mail<Backend>(run, verdict));
    }
    for (const Index number : {Index{-1}, Numbers::min(), Numbers::max()}) {
      fed::detail::ReportMail<Backend> report{.agent = shard.first, .number = number};
      report.report = {.agent = shard.first, .version = 0, .estimate = Gain::Constant(1e9), .cost = 1};
      ranks.send(0, tag, to_mail<Backend>(run, report));
    }
    // To the first order of its first agent: of a version that there is not yet, then the same once more.
    bool answered = false;
    for (;;) {
      const Bytes content = ranks.receive(0, tag).content;
      metalqr::ByteReader reader(content);
      const Mail kind = fed::detail::read_head(reader).kind;
      if (kind == Mail::stop) break;
      if (kind != Mail::work || answered) continue;
      const auto order = fed::detail::read_order<Backend>(reader, Gain::Zero());
      fed::detail::ReportMail<Backend> report{.agent = order.agent, .number = order.number};
      report.report = {.agent = order.agent, .version = 1000, .estimate = Gain::Constant(1e9), .cost = 1};
      for (int i = 0; i < 2; ++i) ranks.send(0, tag, to_mail<Backend>(run, report));
      answered = true;
    }
    return;
  }
  Synchronous server(Gain::Zero(), {}, {.step = 0.3, .guard = fed::Guard::none});
  const fed::AgentRange lost = fed::agents_of(8, ranks.size(), rogue);
  // Until the rogue's agents, which greet after all that noise, have come and been left out.
  const auto run =
      fed::serve(ranks, server, 8, at_once,
                 {.until = 20'000, .record = {.history = false, .arrivals = true}, .timeout = 1000},
                 [&](const auto& info) {
                   const auto& agents = info.state.agents;
                   if (agents.size() < 8 || info.state.version < 100) return false;
                   const auto first = agents.begin() + lost.first;
                   return std::all_of(first, first + lost.count,
                                      [](const auto& agent) { return agent.known && !agent.present; });
                 });
  CHECK(run.traffic.refused == count + 1);
  CHECK(run.traffic.unawaited >= 1 + 8);
  CHECK(std::none_of(run.arrivals.begin(), run.arrivals.end(), [](const fed::Arrival& arrival) {
    return arrival.kind == fed::Arrival::Kind::verdict || arrival.number < 0;
  }));
  CHECK(server.state().statistics.refused == 1);
  CHECK(server.state().statistics.reports == server.state().statistics.used + 1);
  // The rogue's agents never do any work: the others go on without them.
  for (Index i = 0; i < lost.count; ++i) {
    CHECK_FALSE(server.state().agents[static_cast<std::size_t>(lost.first + i)].present);
  }
  if (ranks.size() == 2) {
    CHECK(run.updates == 0);
    CHECK(run.gain == Gain::Zero());
    return;
  }
  CHECK(run.updates >= 100);
  Bowls others = bowls;
  others.centres.erase(others.centres.begin() + lost.first, others.centres.begin() + lost.first + lost.count);
  CHECK(excess(others, run.gain) < 1e-12);
}

TEST_CASE("a report takes two messages, of the size of a gain each") {
  mpi::Communicator ranks;
  if (ranks.size() == 1) return;
  const Bowls bowls = test::bowls(6, 8);
  const fed::AgentRange shard = own_shard(ranks, 6);
  if (ranks.rank() != 0) {
    Bowls own = part(bowls, shard);
    fed::work_for(ranks, own, shard.first, Gain::Zero());
    return;
  }
  Synchronous server(Gain::Zero(), {}, {.step = 0.2, .guard = fed::Guard::none});
  const auto run = fed::serve(ranks, server, 6, at_once, {.max_updates = 50});
  const auto workers = static_cast<std::uint64_t>(ranks.size() - 1);
  const mpi::Traffic& traffic = run.traffic.messages;
  const auto reports = static_cast<std::uint64_t>(server.state().statistics.reports);
  std::uint64_t orders = 0;
  for (const auto& agent : server.state().agents) orders += static_cast<std::uint64_t>(agent.sends);
  CHECK(reports >= 50);
  CHECK(orders == reports + 6);  // those of the next round
  // A begin and an end, and a greeting a rank.
  CHECK(traffic.received == reports + workers);
  CHECK(traffic.sent == orders + 2 * workers);
  // Five fields and a shape, 2 x 4 numbers, and 20 bytes at the beginning of each.
  constexpr std::uint64_t letter = 20 + 7 * 8 + 8 * 8;
  CHECK(traffic.received_bytes == reports * letter + workers * (20 + 16) + 6 * 8);
  CHECK(traffic.sent_bytes == orders * letter + workers * (20 + 32) + workers * (20 + 8) + 6 * 8);
  CHECK(run.traffic.refused == 0);
}
