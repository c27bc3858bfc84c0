#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <string>

#include <metalqr/io/checkpoint.hpp>
#include <metalqr/io/csv.hpp>
#include <metalqr/io/digest.hpp>

#include "catch.hpp"
#include "job.hpp"

namespace {

using Catch::Matchers::ContainsSubstring;

/// Whether there is a launcher; says so if not, by which ctest knows that the test was skipped.
bool has_mpirun() {
  if (std::system("command -v mpirun >/dev/null 2>&1") == 0) return true;
  std::puts("skipped: there is no mpirun");
  return false;
}

/// The command for so many ranks; 0: without mpirun.
std::string command(int ranks, const std::string& arguments) {
  const std::string program = "'" + std::string(METALQR_EXAMPLES) + "/fleet_mpi' " + arguments;
  if (ranks == 0) return program;
  return "env OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMP_NUM_THREADS=1 mpirun "
         "--oversubscribe "
         "--bind-to none --mca btl self,vader --mca btl_vader_single_copy_mechanism none -np " +
         std::to_string(ranks) + " " + program;
}

test::Outcome run(const test::Folder& folder, int ranks, const std::string& arguments) {
  test::Job job(folder, command(ranks, arguments));
  if (!job.ends_within(600000)) throw std::runtime_error("it does not end");
  return job.outcome();
}

/// Kills a run `kills` times at random moments, from the first to just before its end; once the whole job at
/// once, as a power failure would, and once one of its ranks. Each time there must be a good checkpoint or
/// none yet; whenever it goes on, it may be on another number of ranks. The digest at the end is that of a
/// run that was not killed. The counts of kills and of bad checkpoints.
struct Kills {
  int done = 0;
  int bad_checkpoints = 0;
  int with_checkpoint = 0;
  int other_digests = 0;
};

Kills kill_at_random(int kills, const std::vector<int>& ranks, unsigned seed, const std::string& arguments) {
  const test::Folder folder;
  Kills result;
  const auto begin = std::chrono::steady_clock::now();
  const auto whole =
      run(folder, ranks.front(), arguments + " --out whole --checkpoint whole/state --every 1");
  INFO(whole.err);
  REQUIRE(whole.status == 0);
  const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - begin;
  const auto digest = whole.last_line().at("digest");
  std::mt19937 random(seed);
  std::uniform_real_distribution<double> share(0, 1);
  int runs = 0;
  while (result.done < kills) {
    const std::string name = "run" + std::to_string(++runs);
    const std::string state = folder.file(name + "/state");
    for (bool ended = false; !ended;) {
      const int count = ranks[random() % ranks.size()];
      test::Job job(folder, command(count, arguments + " --out " + name + " --checkpoint " + name +
                                               "/state --every 1"));
      const bool may_kill = result.done < kills;
      if (job.ends_within(may_kill ? static_cast<long>(share(random) * time.count()) : 600000)) {
        const auto outcome = job.outcome();
        INFO(outcome.err);
        REQUIRE(outcome.status == 0);
        if (outcome.last_line().at("digest") != digest) ++result.other_digests;
        ended = true;
      } else {
        if (count > 0 && random() % 2 == 0) {
          job.kill_one("fleet_mpi", random());
        } else {
          job.kill();
        }
        ++result.done;
        try {
          if (metalqr::io::read_last_good(state)) ++result.with_checkpoint;
          if (std::filesystem::exists(state)) static_cast<void>(metalqr::io::read_checkpoint(state));
        } catch (const metalqr::ParseError& error) {
          UNSCOPED_INFO(error.what());
          ++result.bad_checkpoints;
        }
      }
    }
  }
  return result;
}

void check_kills(int kills, const std::vector<int>& ranks, unsigned seed, const std::string& arguments) {
  const Kills result = kill_at_random(kills, ranks, seed, arguments);
  CHECK(result.with_checkpoint > 0);
  CHECK(result.bad_checkpoints == 0);
  CHECK(result.other_digests == 0);
}

const std::string killed_run = "--tasks 4000 --iterations 60 --tolerance 0";

}  // namespace

TEST_CASE("fleet_mpi ends with a digest of its gain, and goes on from its checkpoint") {
  const test::Folder folder;
  const std::string fleet = "--tasks 70 --seed 5 --out o --checkpoint o/state --every 3 ";
  const auto part = run(folder, 0, fleet + "--iterations 4");
  INFO(part.err);
  REQUIRE(part.status == 0);
  const auto first = part.last_line();
  CHECK(first.at("program") == "fleet_mpi");
  CHECK(first.at("iterations") == 4);
  CHECK(first.at("checkpoints") == 2);
  std::uint64_t digest = metalqr::io::fnv1a("");
  for (const auto& row : first.at("gain")) {
    for (const double number : row) {
      const auto* bytes = reinterpret_cast<const char*>(&number);
      digest = metalqr::io::fnv1a(std::string_view(bytes, sizeof number), digest);
    }
  }
  CHECK(first.at("digest") == metalqr::io::hex(digest));
  CHECK_THAT(part.err, ContainsSubstring("iteration 4 of 4"));

  const auto rest = run(folder, 0, fleet + "--iterations 9");
  REQUIRE(rest.status == 0);
  CHECK(rest.last_line().at("resumed_from") == "o/state");
  CHECK(metalqr::io::read_csv(folder.file("o/history.csv")).rows.size() == 5);
  const auto whole = run(folder, 0, "--tasks 70 --seed 5 --out w --iterations 9");
  CHECK(rest.last_line().at("digest") == whole.last_line().at("digest"));
  CHECK(first.at("digest") != whole.last_line().at("digest"));

  const auto foreign = run(folder, 0, "--tasks 71 --seed 5 --out o --checkpoint o/state --iterations 9");
  CHECK(foreign.status == 1);
  CHECK_THAT(foreign.err, ContainsSubstring("fleet_mpi: InvalidOption: o/state: "));
  CHECK(run(folder, 0, "--tasks 0").status == 2);
}

TEST_CASE("fleet_mpi finds the same gain on any number of ranks, with models and without") {
  if (!has_mpirun()) return;
  const test::Folder folder;
  for (const std::string kind : {"--tasks 333 --iterations 12", "--tasks 40 --iterations 5 --model-free"}) {
    const auto alone = run(folder, 0, kind + " --out o");
    REQUIRE(alone.status == 0);
    for (const int ranks : {1, 2, 4}) {
      INFO(kind << " on " << ranks);
      const auto outcome = run(folder, ranks, kind + " --out o");
      INFO(outcome.err);
      REQUIRE(outcome.status == 0);
      CHECK(outcome.last_line().at("ranks") == ranks);
      CHECK(outcome.last_line().at("digest") == alone.last_line().at("digest"));
      CHECK(outcome.last_line().at("gain") == alone.last_line().at("gain"));
    }
  }
  const auto bad = run(folder, 2, "--tasks 333 --out o --checkpoint missing/state");
  CHECK(bad.status != 0);
  CHECK_THAT(bad.err, ContainsSubstring("fleet_mpi: FileError: missing/state"));
}

TEST_CASE("a killed fleet_mpi goes on to the same gain") {
  check_kills(3, {0}, 1, killed_run);
}

TEST_CASE("a killed fleet_mpi goes on to the same gain on several ranks") {
  if (has_mpirun()) check_kills(2, {2}, 2, killed_run);
}

TEST_CASE("a fleet_mpi that is killed fifty times goes on to the same gain", "[long]") {
  check_kills(50, {0}, 3, killed_run);
}

TEST_CASE("a fleet_mpi that is killed fifty times on one to four ranks goes on to the same gain", "[long]") {
  if (has_mpirun()) check_kills(50, {1, 2, 4}, 4, killed_run);
}
