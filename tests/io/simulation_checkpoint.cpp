#include <metalqr/io/simulation_checkpoint.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include <metalqr/federated/compressed_agents.hpp>

#include "federated/bowls.hpp"
#include "federated/resumable.hpp"
#include "folder.hpp"
#include "support.hpp"

namespace {

namespace fed = metalqr::federated;
namespace io = metalqr::io;
using metalqr::Index;
using metalqr::InvalidOption;
using Small = metalqr::EigenBackend<double, 2, 1>;
using Run = io::CheckpointedRun<fed::RunResult<Small>>;

constexpr double infinity = std::numeric_limits<double>::infinity();

/// Bowls that fail at a piece of work, counted from when they were made.
struct Failing : test::BowlsOf<Small> {
  Index fails_at = -1;
  Index works = 0;

  fed::Report<Small> work(Index agent, Index round, Index version, const Gain& K) {
    if (works++ == fails_at) throw std::runtime_error("power failure");
    return BowlsOf<Small>::work(agent, round, version, K);
  }
};

/// What a run consists of.
struct Setting {
  Index agents = 6;
  double first = 0.1;
  fed::Buffered rule{.count = 2};
  fed::ServerOptions server{.step = 0.3, .retry_after = 5};
  std::vector<fed::AgentProfile> profiles = test::unreliable(6, 4);
  fed::VirtualTimeOptions options{.max_events = 300, .seed = 4};
  std::string label{};
  Index fails_at = -1;
  Index every = 20;
};

template <class Observer = metalqr::NoObserver>
Run run(const Setting& setting, const std::string& path, Observer observer = {}) {
  fed::CompressedAgents agents(Failing{test::bowls<Small>(setting.agents, 4), setting.fails_at},
                               fed::TopK{.count = 1});
  auto server = fed::make_server<Small>(Small::Gain(setting.first, 0.2), setting.rule, setting.server);
  return io::simulate_or_resume(
      server, agents, setting.profiles, setting.options,
      {.path = path, .every = setting.every, .seconds = infinity, .label = setting.label}, observer);
}

}  // namespace

TEST_CASE("a run that is broken off again and again ends as one that is not") {
  const test::Folder folder;
  const Run whole = run({}, folder.file("whole"));
  CHECK(whole.checkpoints.resumed_from.empty());
  CHECK(whole.checkpoints.written == 15);
  CHECK(whole.result.updates > 10);
  const std::string path = folder.file("run");
  int broken = 0;
  for (;;) {
    try {
      // At least 20 events, the next checkpoint, come between two failures.
      const Run last = run({.fails_at = 15 + broken % 7}, path);
      CHECK(last.checkpoints.resumed_from == path);
      CHECK(test::is_end_of(last.result, whole.result));
      break;
    } catch (const std::runtime_error& error) {
      REQUIRE(error.what() == std::string("power failure"));
      REQUIRE(++broken < 100);
    }
  }
  CHECK(broken > 3);
  CHECK(folder.read("run") == folder.read("whole"));
}

TEST_CASE("threads, and when checkpoints are written, are no part of the run") {
  const test::Folder folder;
  const Run whole = run({}, folder.file("whole"));
  Setting other{.every = 7};
  other.options.max_events = 111;
  other.options.threads = 2;
  CHECK(run(other, folder.file("run")).result.events == 111);
  Setting later{};
  later.options.threads = 2;
  const Run rest = run(later, folder.file("run"));
  CHECK(rest.checkpoints.resumed_from == folder.file("run"));
  CHECK(test::is_end_of(rest.result, whole.result));
  CHECK(folder.read("run") == folder.read("whole"));
}

TEST_CASE("the checkpoint before a damaged one is gone on from") {
  const test::Folder folder;
  const Run whole = run({}, folder.file("whole"));
  const std::string path = folder.file("run");
  CHECK_THROWS_AS(run({.fails_at = 60}, path), std::runtime_error);
  folder.write("run", folder.read("run").substr(0, 1000));
  const Run rest = run({}, path);
  CHECK(rest.checkpoints.resumed_from == path + ".previous");
  CHECK_FALSE(rest.checkpoints.damage.empty());
  CHECK(test::is_end_of(rest.result, whole.result));
}

TEST_CASE("a run that has ended is given back at once, and goes on with later limits") {
  const test::Folder folder;
  const std::string path = folder.file("run");
  const Run first = run({}, path);
  const Run again = run({.fails_at = 0}, path);
  CHECK(again.result.history.empty());
  CHECK(test::is_end_of(again.result, first.result));
  CHECK(again.checkpoints.written == 0);
  Setting longer{};
  longer.options.max_events = 400;
  CHECK(test::is_end_of(run(longer, path).result, run(longer, folder.file("whole")).result));
}

TEST_CASE("a run that its observer ended has ended, whatever ends it otherwise") {
  const test::Folder folder;
  const auto third = [](const fed::RunInfo<Small>& info) { return info.commit.version == 3; };
  const Run first = run({}, folder.file("run"), third);
  CHECK(first.result.stopped);
  CHECK(first.result.events < 300);
  const Run again = run({.fails_at = 0}, folder.file("run"), third);
  CHECK(test::is_end_of(again.result, first.result));
  // Where it ends because of the time, the last event is written, and what is void is none.
  Setting timed{};
  timed.options.until = 30;
  const Run early = run(timed, folder.file("timed"));
  CHECK(early.result.events < 300);
  timed.fails_at = 0;
  CHECK(test::is_end_of(run(timed, folder.file("timed")).result, early.result));
}

TEST_CASE("a simulation that is to end before its checkpoint is refused") {
  const test::Folder folder;
  const std::string path = folder.file("run");
  const Run first = run({}, path);
  const auto why = [&](const auto& change) {
    Setting setting{};
    change(setting.options);
    return test::message_of<InvalidOption>([&] { run(setting, path); });
  };
  const std::string begin = path + ": the checkpoint is beyond the end of this run: ";
  CHECK(why([](auto& options) { options.max_events = 299; }) ==
        begin + "max_events: expected a number >= 300, got 299");
  CHECK(why([](auto& options) { options.max_updates = 5; }) ==
        begin + "max_updates: expected a number >= " + std::to_string(first.result.updates) + ", got 5");
  CHECK(why([&](auto& options) { options.until = first.result.time / 2; }).find(begin + "until: ") == 0);
  Setting same{};
  same.options.until = first.result.time;
  same.options.max_updates = first.result.updates;
  CHECK(test::is_end_of(run(same, path).result, first.result));
}

TEST_CASE("a run that ends by its updates is given back, also where the last event made several") {
  const test::Folder folder;
  Setting setting{};
  setting.options.max_updates = 5;
  const std::string path = folder.file("run");
  const Run first = run(setting, path);
  REQUIRE(first.result.updates == 5);
  setting.fails_at = 0;
  CHECK(test::is_end_of(run(setting, path).result, first.result));
  // As if the last event had made the last three.
  const io::Checkpoint checkpoint = io::read_checkpoint(path);
  io::Json state = checkpoint.document.root().at("state");
  CHECK(state.at("updates_before") == 4);
  state["updates_before"] = 2;
  io::write_checkpoint(path, checkpoint.kind(), checkpoint.fingerprint(), state);
  setting.options.max_updates = 3;
  CHECK(test::is_end_of(run(setting, path).result, first.result));
  setting.options.max_updates = 2;
  CHECK_THROWS_AS(run(setting, path), InvalidOption);
}

TEST_CASE("a checkpoint of another run is refused, and what differs is named") {
  const test::Folder folder;
  const std::string path = folder.file("run");
  run({}, path);
  const std::string before = folder.read("run");
  const auto refused = [&](const char* field, const auto& change) {
    Setting setting{};
    change(setting);
    CAPTURE(field);
    try {
      run(setting, path);
      FAIL_CHECK("nothing was refused");
    } catch (const InvalidOption& error) {
      CAPTURE(std::string(error.what()));
      CHECK(std::string(error.what()).find(field) != std::string::npos);
    }
  };
  refused("options.seed", [](Setting& s) { s.options.seed = 5; });
  refused("options.timer_delays",
          [](Setting& s) { s.options.timer_delays = fed::UniformLatency{.low = 1, .high = 2}; });
  refused("server.gain", [](Setting& s) { s.first = 0.2; });
  refused("server.rule", [](Setting& s) { s.rule.count = 3; });
  refused("server.options.step", [](Setting& s) { s.server.step = 0.2; });
  refused("server.options.guard", [](Setting& s) { s.server.guard = fed::Guard::none; });
  refused("server.options.retry_after", [](Setting& s) { s.server.retry_after = 6; });
  refused("agents.count", [](Setting& s) {
    s.agents = 7;
    s.profiles = test::unreliable(7, 4);
  });
  refused("agents.profiles", [](Setting& s) { s.profiles[2].loss = 0.2; });
  refused("agents.profiles", [](Setting& s) { s.profiles[5].work = fed::ParetoLatency{}; });
  refused("agents.profiles", [](Setting& s) { s.profiles[5].answer = fed::TraceLatency{.ticks = {1}}; });
  refused("label", [](Setting& s) { s.label = "other"; });
  refused("record.arrivals", [](Setting& s) { s.options.record.arrivals = true; });
  CHECK(folder.read("run") == before);
  // Before the first event nothing is written.
  Setting nothing{};
  nothing.options.max_events = 0;
  CHECK(run(nothing, folder.file("nothing")).checkpoints.written == 0);
  CHECK_THROWS_AS(run({.every = -1}, folder.file("other")), InvalidOption);
  folder.write("text", "no checkpoint");
  CHECK_THROWS_AS(run({}, folder.file("text")), metalqr::Error);
}
