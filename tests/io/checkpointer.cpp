#include <metalqr/io/checkpointer.hpp>

#include <chrono>
#include <cmath>
#include <filesystem>
#include <limits>
#include <string>

#include "catch.hpp"
#include "folder.hpp"
#include "support.hpp"

namespace {

namespace io = metalqr::io;
using metalqr::Index;
using metalqr::InvalidOption;

constexpr double infinity = std::numeric_limits<double>::infinity();

auto numbered(int n) {
  return [n]() -> io::Json { return {{"n", n}}; };
}
int newest(const std::string& path) {
  return io::read_checkpoint(path).document.root().at("state").at("n").get<int>();
}

}  // namespace

TEST_CASE("checkpoints are written every so many iterations, and at the end") {
  const test::Folder folder;
  const std::string path = folder.file("run");
  io::Checkpointer checkpoints({.path = path, .every = 3, .seconds = infinity}, "test", {{"a", 1}});
  CHECK(!checkpoints.last());
  for (int i = 1; i <= 8; ++i) {
    CHECK(checkpoints.iteration(numbered(i)) == (i % 3 == 0));
    if (i >= 3) CHECK(newest(path) == i / 3 * 3);
  }
  CHECK(!checkpoints.is_written());
  CHECK(checkpoints.end(numbered(8)));
  CHECK(newest(path) == 8);
  CHECK(checkpoints.is_written());
  CHECK(!checkpoints.end(numbered(9)));
  CHECK(checkpoints.report().written == 3);
  CHECK(checkpoints.report().resumed_from.empty());
}

TEST_CASE("checkpoints are written when the time is over, however many iterations that takes") {
  const test::Folder folder;
  io::Checkpointer always({.path = folder.file("a"), .seconds = 0}, "test", io::Json::object());
  for (int i = 0; i < 5; ++i) CHECK(always.iteration(numbered(i)));
  io::Checkpointer seldom({.path = folder.file("b"), .seconds = 0.05}, "test", io::Json::object());
  const auto begin = std::chrono::steady_clock::now();
  Index iterations = 0;
  while (seldom.report().written < 2) {
    ++iterations;
    static_cast<void>(seldom.iteration(numbered(0)));
  }
  CHECK(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() >= 0.1);
  CHECK(iterations > 2);
  io::Checkpointer never({.path = folder.file("c"), .seconds = infinity, .at_end = false}, "test",
                         io::Json::object());
  for (int i = 0; i < 100; ++i) CHECK(!never.iteration(numbered(i)));
  CHECK(!never.end(numbered(100)));
  CHECK(folder.count() == 4);
}

TEST_CASE("a run finds its own last checkpoint, and refuses another's") {
  const test::Folder folder;
  const std::string path = folder.file("run");
  const auto with = [&](const std::string& label, const io::Json& fingerprint) {
    return io::Checkpointer({.path = path, .every = 1, .label = label}, "test", fingerprint);
  };
  with("l", {{"a", 1}}).end(numbered(1));
  io::Checkpointer same = with("l", {{"a", 1}});
  CHECK(same.last()->document.root().at("state").at("n") == 1);
  CHECK(same.report().resumed_from == path);
  CHECK(same.report().damage.empty());
  same.iteration(numbered(2));
  folder.write("run", "");
  CHECK(same.last()->document.root().at("state").at("n") == 1);
  CHECK(same.report().resumed_from == path + ".previous");
  CHECK(same.report().damage ==
        path + ": expected a checkpoint, which begins with 'metalqr checkpoint ', got an empty file");
  CHECK(test::message_of<InvalidOption>([&] {
          with("m", {{"a", 1}}).last();
        }) == path + ".previous: the checkpoint is of another run: label: expected \"m\", got \"l\"");
  CHECK(test::message_of<InvalidOption>([&] {
          with("l", {{"a", 2}}).last();
        }) == path + ".previous: the checkpoint is of another run: a: expected 2, got 1");
}

TEST_CASE("a state that is not finite is passed over, other errors are not") {
  const test::Folder folder;
  const std::string path = folder.file("run");
  io::Checkpointer checkpoints({.path = path, .every = 1}, "test", io::Json::object());
  checkpoints.iteration(numbered(1));
  const auto lost = []() -> io::Json { throw metalqr::NotFinite("K"); };
  CHECK(!checkpoints.iteration(lost));
  CHECK(!checkpoints.end(lost));
  CHECK(newest(path) == 1);
  CHECK_THROWS_AS(checkpoints.iteration([]() -> io::Json { throw InvalidOption("x"); }), InvalidOption);
}

TEST_CASE("that there will be no checkpoints is found before the first is due") {
  const test::Folder folder;
  const auto why = [](const std::string& path) {
    return test::message_of<metalqr::FileError>(
        [&] { const io::Checkpointer never({.path = path}, "test", io::Json::object()); });
  };
  CHECK(why(folder.file("none/run")) ==
        folder.file("none/run") +
            ": expected a writable file, got 'No such file or directory' (creating a "
            "temporary file beside it)");
  CHECK(why("/proc/run").starts_with("/proc/run: expected a writable file"));
  std::filesystem::create_directory(folder.path() / "folder");
  CHECK(why(folder.file("folder")) ==
        folder.file("folder") + ": expected a regular file or none, got a directory");
  CHECK(folder.count() == 1);
  // A file that is there stays as it is.
  folder.write("run", "x");
  const io::Checkpointer checkpoints({.path = folder.file("run")}, "test", io::Json::object());
  CHECK(folder.read("run") == "x");
  CHECK(folder.count() == 2);
}

TEST_CASE("what killed writers left behind is removed at the start") {
  const test::Folder folder;
  folder.write("run.tmp-1-1", "x");
  folder.write("run.previous.tmp-1-1", "x");
  const io::Checkpointer checkpoints({.path = folder.file("run")}, "test", io::Json::object());
  CHECK(folder.count() == 0);
}

TEST_CASE("bad options are refused by name") {
  const auto why = [](const io::CheckpointOptions& options) {
    return test::message_of<InvalidOption>([&] { io::validate(options); });
  };
  CHECK(why({}) == "path: expected the name of a file, got an empty text");
  CHECK(why({.path = "x", .every = -1}) == "every: expected a number >= 0, got -1");
  CHECK(why({.path = "x", .seconds = -1}) == "seconds: expected a number of seconds >= 0, got -1");
  CHECK(why({.path = "x", .seconds = std::nan("")}).starts_with("seconds: expected"));
}
