#include <metalqr/io/meta_checkpoint.hpp>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <ctime>
#include <filesystem>
#include <functional>
#include <limits>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "folder.hpp"
#include "meta/setting.hpp"
#include "support.hpp"

namespace {

namespace io = metalqr::io;
namespace meta = metalqr::meta;
using metalqr::InvalidOption;
using metalqr::ParseError;
using Backend = metalqr::EigenBackend<>;
using Info = meta::Info<Backend>;
using Run = io::CheckpointedRun<meta::Result<Backend>>;
using Tasks = std::vector<metalqr::Task<Backend>>;
using Watch = std::function<bool(const Info&)>;

constexpr double infinity = std::numeric_limits<double>::infinity();

const Tasks& tasks() {
  static const Tasks fleet = test::fleet<Backend>(test::Start::code, 21, 3);
  return fleet;
}
/// Of an ordinary run, which learns curvature and estimates what it descends along.
meta::Options ordinary(int iterations = 12) {
  meta::Options options;
  options.iterations = iterations;
  options.tolerance = 0;
  options.seed = 5;
  options.threads = 1;
  return options;
}
io::CheckpointOptions at(const std::string& path, metalqr::Index every = 2) {
  return {.path = path, .every = every, .seconds = infinity};
}
Run train(
    const meta::Options& options, const io::CheckpointOptions& checkpoints,
    const Watch& watch = [](const Info&) { return false; }, const Tasks& fleet = tasks()) {
  return io::train_or_resume(fleet, test::first_gain<Backend>(), options, checkpoints, watch);
}
meta::Result<Backend> uninterrupted(const meta::Options& options) {
  const test::Folder folder;
  return train(options, {.path = folder.file("none"), .seconds = infinity, .at_end = false}).result;
}
void check_same(const meta::Result<Backend>& x, const meta::Result<Backend>& y) {
  CHECK(io::digest<Backend>(x.gain) == io::digest<Backend>(y.gain));
  CHECK(x.status == y.status);
  CHECK(x.iterations == y.iterations);
  CHECK(x.calls.probes == y.calls.probes);
  CHECK(x.calls.base == y.calls.base);
  CHECK(x.calls.assessments == y.calls.assessments);
  CHECK(x.calls.curvature == y.calls.curvature);
  CHECK(x.guard_refusals == y.guard_refusals);
  CHECK(x.reduced_inner_steps == y.reduced_inner_steps);
  CHECK(x.unstable_probes == y.unstable_probes);
}
Watch stops_after(int iteration) {
  return [iteration](const Info& info) { return info.record.iteration == iteration; };
}
Watch fails_after(int iteration) {
  return [iteration](const Info& info) -> bool {
    if (info.record.iteration == iteration) throw std::runtime_error("power failure");
    return false;
  };
}

/// Runs that are killed at times up to what a run takes that begins anew: each goes on from what the last has
/// left.
void check_survives(int kills, const meta::Options& options) {
  using Clock = std::chrono::steady_clock;
  const test::Folder folder;
  const std::string path = folder.file("run");
  const auto begin = Clock::now();
  const auto whole = train(options, at(folder.file("whole"), 1)).result;
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  metalqr::Stream stream = test::stream(17);
  int killed = 0;
  int damaged = 0;
  int resumed = 0;
  while (killed < kills) {
    const ::pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      try {
        train(options, at(path, 1));
      } catch (...) {
        ::_exit(1);
      }
      ::_exit(0);
    }
    const double wait = stream.uniform(0, seconds);
    const ::timespec moment{
        .tv_sec = static_cast<std::time_t>(wait),
        .tv_nsec = static_cast<long>((wait - static_cast<double>(static_cast<long>(wait))) * 1e9)};
    ::nanosleep(&moment, nullptr);
    ::kill(child, SIGKILL);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    for (const std::string& file : {path, path + ".previous"}) {
      try {
        if (std::filesystem::exists(file)) io::read_checkpoint(file);
      } catch (const ParseError&) {
        ++damaged;
      }
    }
    if (WIFSIGNALED(status)) {
      ++killed;
    } else {
      // It was faster: the next begins anew.
      REQUIRE(status == 0);
      CHECK(folder.read("run") == folder.read("whole"));
      std::filesystem::remove(path);
      std::filesystem::remove(path + ".previous");
    }
    resumed += std::filesystem::exists(path) ? 1 : 0;
  }
  check_same(train(options, at(path, 1)).result, whole);
  CHECK(folder.read("run") == folder.read("whole"));
  CHECK(damaged == 0);
  CHECK(resumed > 0);
  CHECK(folder.count() == 4);
}

}  // namespace

TEST_CASE("a run with checkpoints is the run without, and tells of them") {
  const test::Folder folder;
  const std::string path = folder.file("run");
  const auto plain = meta::train(tasks(), test::first_gain<Backend>(), ordinary(), Watch(stops_after(0)));
  const Run run = train(ordinary(), at(path, 5));
  check_same(run.result, plain);
  CHECK(run.result.history.size() == 12);
  CHECK(run.checkpoints.resumed_from.empty());
  CHECK(run.checkpoints.written == 3);
  // It is at its end, and goes on if it may.
  const Run again = train(ordinary(), at(path, 5));
  check_same(again.result, plain);
  CHECK(again.checkpoints.resumed_from == path);
  CHECK(again.checkpoints.written == 0);
  const Run longer = train(ordinary(15), at(path, 5));
  CHECK(longer.result.history.size() == 3);
  check_same(longer.result, uninterrupted(ordinary(15)));
}

TEST_CASE("a run that fails anywhere goes on bitwise as if it had not, its observer seeing every iteration") {
  const auto whole = uninterrupted(ordinary());
  for (const int last : {1, 4, 7, 12}) {
    CAPTURE(last);
    const test::Folder folder;
    const std::string path = folder.file("run");
    CHECK_THROWS_AS(train(ordinary(), at(path, 3), fails_after(last)), std::runtime_error);
    int first = 0;
    const Run rest = train(ordinary(), at(path, 3), [&](const Info& info) {
      if (first == 0) first = info.record.iteration;
      return false;
    });
    check_same(rest.result, whole);
    CHECK(first == (last - 1) / 3 * 3 + 1);
    // An observer that stops the run is written at once.
    CHECK(train(ordinary(20), at(path, 100), stops_after(14)).checkpoints.written == 1);
    CHECK(io::read_checkpoint(path).document.root()["state"]["descent"]["iteration"] == 14);
  }
}

TEST_CASE("a run that ends early ends there again") {
  meta::Options early = ordinary(200);
  early.tolerance = 1e-2;
  meta::Options stuck = ordinary(200);
  stuck.outer.initial = 1e3;
  stuck.outer.max_trials = 1;
  for (const auto& [options, status] :
       {std::pair(early, metalqr::Status::converged), std::pair(stuck, metalqr::Status::stalled)}) {
    const auto whole = uninterrupted(options);
    CHECK(whole.status == status);
    const test::Folder folder;
    CHECK_THROWS(train(options, at(folder.file("run"), 1), fails_after(whole.iterations)));
    for (int round = 0; round < 3; ++round)
      check_same(train(options, at(folder.file("run"), 1)).result, whole);
  }
}

TEST_CASE("a checkpoint of another run is refused by what differs, also where it is the older one") {
  const test::Folder folder;
  const std::string path = folder.file("run");
  train(ordinary(3), at(path, 1));
  const auto why = [&](const meta::Options& options, const Tasks& fleet = tasks(),
                       const std::string& label = "") {
    io::CheckpointOptions checkpoints = at(path);
    checkpoints.label = label;
    return test::message_of<InvalidOption>([&] {
      train(
          options, checkpoints, [](const Info&) { return false; }, fleet);
    });
  };
  const std::string begin = ": the checkpoint is of another run: ";
  meta::Options other = ordinary(3);
  other.seed = 6;
  CHECK(why(other) == path + begin + "options.seed: expected 6, got 5");
  other = ordinary(3);
  other.estimator.radius = 2e-4;
  CHECK(why(other) == path + begin + "options.estimator.radius: expected 0.0002, got 0.0001");
  Tasks fewer = tasks();
  fewer.pop_back();
  CHECK(why(ordinary(3), fewer) == path + begin + "fleet.exact_costs.tasks: expected 2, got 3");
  Tasks swapped = tasks();
  std::swap(swapped[0], swapped[1]);
  CHECK(why(ordinary(3), swapped).find(path + begin + "fleet.exact_costs.digest: expected") == 0);
  CHECK(why(ordinary(3), tasks(), "x") == path + begin + "label: expected \"x\", got \"\"");
  folder.write("run", "");
  CHECK(why(other = ordinary(3), fewer).find(path + ".previous" + begin) == 0);
  CHECK(train(ordinary(3), at(path)).checkpoints.damage.find(path + ": expected") == 0);
  folder.write("run", "");
  folder.write("run.previous", "x");
  CHECK_THROWS_AS(train(ordinary(3), at(path)), ParseError);
  // Threads and iterations are no part of it.
  std::filesystem::remove(path);
  std::filesystem::remove(path + ".previous");
  train(ordinary(3), at(path, 1));
  meta::Options same = ordinary(4);
  same.threads = 2;
  CHECK(train(same, at(path)).checkpoints.resumed_from == path);
}

TEST_CASE("a run that is to end before its checkpoint is refused") {
  const test::Folder folder;
  const std::string path = folder.file("run");
  const Run first = train(ordinary(7), at(path));
  const std::string before = folder.read("run");
  const std::string begin = path + ": the checkpoint is beyond the end of this run: iterations: expected ";
  for (const int iterations : {0, 3, 6}) {
    CHECK(test::message_of<InvalidOption>([&] { train(ordinary(iterations), at(path)); }) ==
          begin + "a number >= 7, got " + std::to_string(iterations));
  }
  CHECK(folder.read("run") == before);
  check_same(train(ordinary(7), at(path)).result, first.result);
}

TEST_CASE("fleets of every kind resume, each from its own checkpoints alone") {
  namespace zo = metalqr::zeroth_order;
  using Oracle = zo::ExactCost<Backend>;
  const Watch none = [](const Info&) { return false; };
  const Backend::Gain K0 = test::first_gain<Backend>();
  const std::vector<Oracle> oracles(tasks().begin(), tasks().end());
  zo::EstimatorOptions estimator = ordinary().estimator;
  const auto on_tasks = [&](const std::string& path, int iterations) {
    return train(ordinary(iterations), at(path));
  };
  const auto on_oracles = [&](const std::string& path, int iterations) {
    return io::train_or_resume<Backend>(oracles, K0, ordinary(iterations), at(path), none);
  };
  const auto on_fleet = [&](const std::string& path, int iterations) {
    const zo::OracleFleet<Backend, Oracle> fleet(std::span<const Oracle>(oracles), estimator);
    return io::train_or_resume(fleet, K0, ordinary(iterations), at(path), none);
  };
  const auto on_models = [&](const std::string& path, int iterations) {
    return io::train_or_resume_with_models(tasks(), K0, ordinary(iterations), at(path), none);
  };
  const std::vector<std::function<Run(const std::string&, int)>> kinds{on_tasks, on_oracles, on_fleet,
                                                                       on_models};
  const test::Folder folder;
  const auto whole = uninterrupted(ordinary());
  for (std::size_t i = 0; i < kinds.size(); ++i) {
    const std::string path = folder.file(std::to_string(i));
    kinds[i](path, 5);
    const Run rest = kinds[i](path, 12);
    CHECK(rest.checkpoints.resumed_from == path);
    CHECK(rest.result.history.size() == 7);
    check_same(rest.result, i < 3 ? whole : kinds[i](folder.file("models"), 12).result);
    for (std::size_t j = 0; j < kinds.size(); ++j) {
      if (j == i) continue;
      CHECK(test::message_of<InvalidOption>([&] {
              kinds[j](path, 12);
            }).find(path + ": the checkpoint is of another run: fleet.") == 0);
    }
  }
  estimator.radius = 2e-4;
  CHECK(test::message_of<InvalidOption>([&] {
          on_fleet(folder.file("2"), 12);
        }).find("fleet.estimator.radius: expected 0.0002, got 0.0001") != std::string::npos);
}

TEST_CASE("a run that is killed at random moments ends as if it had not been") {
  check_survives(5, ordinary(25));
}

TEST_CASE("a run that is killed fifty times at random moments ends as if it had not been", "[long]") {
  check_survives(50, ordinary(60));
}
