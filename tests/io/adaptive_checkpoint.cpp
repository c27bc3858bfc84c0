#include <metalqr/io/adaptive_checkpoint.hpp>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <ctime>
#include <filesystem>
#include <functional>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <metalqr/systems/plants.hpp>

#include "folder.hpp"
#include "support.hpp"

namespace {

namespace adaptive = metalqr::adaptive;
namespace io = metalqr::io;
using metalqr::Index;
using metalqr::InvalidOption;
using Backend = metalqr::EigenBackend<>;
using Info = adaptive::Info<Backend>;
using Watch = std::function<bool(const Info&)>;
using Options = adaptive::Options<Backend>;

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr Index all = 60;

const metalqr::Task<Backend>& plant() {
  static const auto task = metalqr::systems::laplacian_3<Backend>(10);
  return task;
}
/// A gain near the estimate's best, now and then nothing, or a controller with a past.
std::optional<adaptive::Controller<Backend>> strategy(const adaptive::Knowledge<Backend>& knowledge,
                                                      metalqr::Stream& stream) {
  const auto I = Backend::identity_like(knowledge.estimate.A());
  if (knowledge.epoch % 3 == 1)
    return metalqr::synthesis::FirController<Backend>({I, 0.3 * I, 0.1 * I}, {-1.0 * I, -0.2 * I, 0.05 * I});
  if (knowledge.epoch % 3 == 2) return std::nullopt;
  Backend::Gain K = metalqr::solve_dare(knowledge.estimate).gain;
  K(0, 0) += 0.01 * stream.normal();
  return K;
}
io::CheckpointOptions at(const std::string& path, Index every = 7) {
  return {.path = path, .every = every, .seconds = infinity};
}
auto run(
    const io::CheckpointOptions& checkpoints, Index steps = all, const Options& options = {},
    const Watch& watch = [](const Info&) { return false; }, std::uint64_t seed = 3) {
  const Backend::Gain K0 = Backend::identity_like(plant().A());
  return io::advance_or_resume(plant(), K0, strategy, options, steps, checkpoints, {.seed = seed}, watch);
}
Watch fails_after(Index step) {
  return [step](const Info& info) -> bool {
    if (info.state.step == step) throw std::runtime_error("power failure");
    return false;
  };
}

}  // namespace

TEST_CASE("an adaptive run that fails anywhere goes on bitwise as if it had not") {
  const test::Folder folder;
  auto state = adaptive::start(plant(), Backend::identity_like(plant().A()), {}, {.seed = 3});
  const auto expected = adaptive::advance(plant(), state, strategy, {}, all, Watch(fails_after(0))).regret;
  REQUIRE(state.epochs == 3);
  REQUIRE(expected.back() < infinity);
  const auto whole = run(at(folder.file("whole")));
  CHECK(io::to_json(whole.result.state) == io::to_json(state));
  CHECK(whole.result.result.regret == expected);
  CHECK(whole.checkpoints.written == 9);
  for (const Index last : {1, 10, 14, 31, 60}) {
    CAPTURE(last);
    const std::string path = folder.file("run" + std::to_string(last));
    CHECK_THROWS_AS(run(at(path), all, {}, fails_after(last)), std::runtime_error);
    const auto rest = run(at(path));
    const Index from = (last - 1) / 7 * 7;
    CHECK(rest.checkpoints.resumed_from == (from == 0 ? "" : path));
    CHECK(rest.result.result.regret == std::vector<double>(expected.begin() + from, expected.end()));
    CHECK(io::to_json(rest.result.state) == io::to_json(state));
    // It has ended, and goes on if it may.
    CHECK(run(at(path)).result.result.regret.empty());
    CHECK(run(at(path), all + 2).result.state.step == all + 2);
  }
}

TEST_CASE("an adaptive run that overflows ends so again") {
  const test::Folder folder;
  const Backend::Gain unstable = -1e60 * Backend::identity_like(plant().A());
  const auto never = [](const adaptive::Knowledge<Backend>&,
                        metalqr::Stream&) -> std::optional<adaptive::Controller<Backend>> {
    return std::nullopt;
  };
  const Options options{.priming_steps = 0};
  for (int round = 0; round < 2; ++round) {
    const auto lost = io::advance_or_resume(plant(), unstable, never, options, 40, at(folder.file("run"), 1));
    CHECK(lost.result.result.status == adaptive::RunStatus::overflowed);
    CHECK(lost.result.state.overflowed);
    CHECK(lost.result.result.regret.back() == infinity);
    CHECK(static_cast<Index>(lost.result.result.regret.size()) ==
          (round == 0 ? 40 : 40 - lost.result.state.step));
  }
}

TEST_CASE("a checkpoint of another adaptive run is refused by what differs") {
  const test::Folder folder;
  const std::string path = folder.file("run");
  run(at(path), 5);
  const std::string begin = path + ": the checkpoint is of another run: ";
  const Watch none = [](const Info&) { return false; };
  CHECK(test::message_of<InvalidOption>([&] { run(at(path), 5, {}, none, 4); }) ==
        begin + "key.seed: expected 4, got 3");
  CHECK(test::message_of<InvalidOption>([&] { run(at(path), 5, {.schedule = {.first = 20}}); }) ==
        begin + "options.schedule.first: expected 20, got 10");
  CHECK(test::message_of<InvalidOption>([&] { run(at(path), 4); }) ==
        path + ": the checkpoint is beyond the end of this run: steps: expected a number >= 5, got 4");
  folder.write("run", "junk");
  CHECK_THROWS_AS(run(at(path), 5), metalqr::ParseError);
}

TEST_CASE("an adaptive run that is killed at random moments ends as if it had not been") {
  const test::Folder folder;
  const std::string path = folder.file("run");
  const auto whole = run(at(folder.file("whole"), 1));
  metalqr::Stream stream = test::stream(4);
  for (int kills = 0; kills < 4;) {
    const ::pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      run(at(path, 1), 1000000);
      ::_exit(0);
    }
    const ::timespec moment{.tv_sec = 0, .tv_nsec = static_cast<long>(stream.uniform(0, 1e8))};
    ::nanosleep(&moment, nullptr);
    ::kill(child, SIGKILL);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WIFSIGNALED(status));
    ++kills;
    if (std::filesystem::exists(path)) CHECK_NOTHROW(io::read_checkpoint(path));
  }
  const auto found = io::read_last_good(path);
  REQUIRE(found);
  const Index step = found->document.root()["state"]["step"].get<Index>();
  const auto rest = run(at(path, 1000), step + all);
  CHECK(rest.checkpoints.resumed_from == path);
  CHECK(io::to_json(rest.result.state) ==
        io::to_json(run(at(folder.file("long"), 1000), step + all).result.state));
}
