#include <metalqr/io/server_checkpoint.hpp>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <ctime>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include <metalqr/federated/threads.hpp>

#include "federated/bowls.hpp"
#include "folder.hpp"
#include "support.hpp"

namespace {

namespace fed = metalqr::federated;
namespace io = metalqr::io;
using metalqr::Index;
using metalqr::InvalidOption;
using test::Bowls;
using Backend = Bowls::Backend;
using Gain = Backend::Gain;
using Checkpoints = io::ServerCheckpoints<Backend>;

constexpr double infinity = std::numeric_limits<double>::infinity();
const std::vector<fed::AgentProfile> quick{
    {.work = fed::UniformLatency{.low = 0, .high = 1}, .answer = fed::ConstantLatency{.ticks = 0}}};
const fed::ServerOptions options{.step = 0.3, .guard = fed::Guard::ask, .retry_after = 5};
const fed::Buffered rule{.count = 3};

Checkpoints at(const std::string& path, Index every = 1, const std::string& label = "") {
  return {{.path = path, .every = every, .seconds = infinity, .label = label}, Gain::Zero(), options};
}
/// Where the mean of the costs is least.
Gain best(const Bowls& agents) {
  Gain sum = Gain::Zero();
  for (const Gain& centre : agents.centres) sum += centre;
  return sum / static_cast<double>(agents.centres.size());
}
/// Runs on for so many updates, as a program would that is started again.
template <class Rule = fed::Buffered>
fed::RunResult<Backend> run(Bowls& agents, const std::string& path, Index updates,
                            io::CheckpointReport* report = nullptr, const Rule& own = rule) {
  Checkpoints checkpoints = at(path);
  auto server = checkpoints.server(own);
  auto result = fed::run_threads(server, agents, quick, {.max_updates = updates, .tick = 1e-4, .seed = 2},
                                 checkpoints.observer());
  checkpoints.end(server);
  if (report != nullptr) *report = checkpoints.report();
  return result;
}

}  // namespace

TEST_CASE("a server in real time goes on from its last checkpoint") {
  const test::Folder folder;
  const std::string path = folder.file("run");
  Bowls agents = test::bowls(6, 3);
  io::CheckpointReport report;
  run(agents, path, 20, &report);
  CHECK(report.resumed_from.empty());
  CHECK(report.written >= 20);
  const io::Json kept = io::read_checkpoint(path).document.root()["state"];
  CHECK(kept["statistics"]["updates"] == 20);
  // What is read is what was written.
  Checkpoints again = at(path);
  CHECK(io::to_json(again.server(rule).state()) == kept);
  CHECK(again.report().resumed_from == path);
  const auto rest = run(agents, path, 60, &report);
  CHECK(report.resumed_from == path);
  CHECK(rest.history.front().commit.version > kept["version"].get<Index>());
  CHECK(io::read_checkpoint(path).document.root()["state"]["statistics"]["updates"] == 80);
}

TEST_CASE("a server that is killed at random moments and its agents converge all the same") {
  const test::Folder folder;
  const std::string path = folder.file("run");
  Bowls agents = test::bowls(6, 3);
  metalqr::Stream stream = test::stream(8);
  Index version = 0;
  for (int kills = 0; kills < 5; ++kills) {
    const ::pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      run(agents, path, 1000000, nullptr, fed::Synchronous{});
      ::_exit(0);
    }
    const ::timespec moment{.tv_sec = 0, .tv_nsec = static_cast<long>(stream.uniform(2e7, 2e8))};
    ::nanosleep(&moment, nullptr);
    ::kill(child, SIGKILL);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WIFSIGNALED(status));
    if (!std::filesystem::exists(path)) continue;
    const Index now = io::read_checkpoint(path).document.root()["state"]["version"].get<Index>();
    CHECK(now >= version);
    version = now;
  }
  CHECK(version > 0);
  // All agents in every update: it ends where the mean of their costs is least.
  Checkpoints checkpoints = at(path);
  auto server = checkpoints.server(fed::Synchronous{});
  CHECK(server.state().version == version);
  const auto rest = fed::run_threads(server, agents, quick, {.max_updates = 100, .tick = 1e-4, .seed = 2},
                                     checkpoints.observer());
  CHECK(rest.updates == 100);
  CHECK((rest.gain - best(agents)).norm() < 1e-9);
}

TEST_CASE("the observer of checkpoints calls another one, which may stop the run") {
  const test::Folder folder;
  Bowls agents = test::bowls(4, 5);
  Checkpoints checkpoints = at(folder.file("run"), 100);
  auto server = checkpoints.server(rule);
  Index seen = 0;
  const auto result = fed::run_threads(server, agents, quick, {.tick = 1e-4},
                                       checkpoints.observer([&seen](const fed::RunInfo<Backend>& info) {
                                         return (seen = info.commit.version) == 3;
                                       }));
  CHECK(result.stopped);
  CHECK(seen == 3);
  CHECK(checkpoints.report().written == 0);
  checkpoints.end(server);
  CHECK(checkpoints.report().written == 1);
  CHECK(io::read_checkpoint(folder.file("run")).document.root()["state"]["version"] == 3);
}

TEST_CASE("a checkpoint of another server is refused by what differs") {
  const test::Folder folder;
  const std::string path = folder.file("run");
  Checkpoints first = at(path);
  first.end(first.server(rule));
  const std::string begin = path + ": the checkpoint is of another run: ";
  const auto why = [](Checkpoints checkpoints) {
    return test::message_of<InvalidOption>([&] { checkpoints.server(rule); });
  };
  CHECK(why(at(path, 1, "x")) == begin + "label: expected \"x\", got \"\"");
  CHECK(why({{.path = path}, Gain::Zero(), {.step = 0.2}}) == begin + "options.step: expected 0.2, got 0.3");
  CHECK(why({{.path = path}, Gain::Ones(), options}).find(begin + "K0.digest: expected") == 0);
  const auto of_rule = [&](const auto& other) {
    Checkpoints checkpoints = at(path);
    return test::message_of<InvalidOption>([&] { checkpoints.server(other); });
  };
  CHECK(of_rule(fed::Buffered{.count = 4}).find(begin + "rule.is_ready: expected") == 0);
  CHECK(of_rule(fed::Ringmaster{.limit = 3}).find(begin + "rule.") == 0);
  CHECK(of_rule(fed::TimeWindow{.ticks = 2}).find(begin + "rule.") == 0);
  CHECK_NOTHROW(at(path).server(fed::Buffered{.count = 3}));
  folder.write("run", folder.read("run").substr(1));
  Checkpoints damaged = at(path);
  CHECK_THROWS_AS(damaged.server(rule), metalqr::ParseError);
}
