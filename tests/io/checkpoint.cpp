#include <metalqr/io/checkpoint.hpp>

#include <sys/stat.h>

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

#include "catch.hpp"
#include "folder.hpp"
#include "support.hpp"

namespace {

namespace io = metalqr::io;
using metalqr::FileError;
using metalqr::InvalidOption;
using metalqr::ParseError;

const io::Json whose{{"options", {{"seed", 3}, {"step", 0.1}}}, {"K0", "00ff"}};
io::Json state(int n) {
  return {{"n", n}, {"x", 1.0 / 3}};
}
std::string text(int n) {
  return io::checkpoint_text("test", whose, state(n));
}
void write(const std::string& path, int n) {
  io::write_checkpoint(path, "test", whose, state(n));
}
/// The number in the last good checkpoint, which is whole; -1 if there is none.
int last(const std::string& path) {
  const auto found = io::read_last_good(path);
  if (!found) return -1;
  const io::Json& read = found->document.root().at("state");
  REQUIRE(found->kind() == "test");
  REQUIRE(found->fingerprint() == whose);
  REQUIRE(read == state(read.at("n").get<int>()));
  return read.at("n").get<int>();
}
template <class Error>
std::string reason(const std::string& path) {
  return test::message_of<Error>([&] { io::read_last_good(path); });
}
bool has(const std::string& message, const std::string& part) {
  return message.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("a checkpoint is three lines, the last a checksum of the others") {
  const std::string written = text(7);
  const std::string body =
      "metalqr checkpoint 1\n{\"kind\":\"test\",\"library\":\"" + std::to_string(METALQR_VERSION_MAJOR) +
      "." + std::to_string(METALQR_VERSION_MINOR) + "." + std::to_string(METALQR_VERSION_PATCH) +
      "\",\"fingerprint\":{\"options\":{\"seed\":3,\"step\":0.1},\"K0\":\"00ff\"},"
      "\"state\":{\"n\":7,\"x\":0.3333333333333333}}\n";
  CHECK(written == body + "fnv1a " + io::hex(io::fnv1a(body)) + "\n");
  const io::Checkpoint read = io::parse_checkpoint(written, "c");
  CHECK(read.kind() == "test");
  CHECK(read.fingerprint() == whose);
  CHECK(read.document.root().at("state") == state(7));
  CHECK(read.path == "c");
  CHECK(read.damage.empty());
  CHECK_THROWS_AS(io::checkpoint_text("\xff", whose, state(1)), InvalidOption);
}

TEST_CASE("a checkpoint with any bit flipped, any length cut off or anything added is refused") {
  const std::string good = text(1);
  int refused = 0;
  const auto require_refused = [&](const std::string& bad) {
    try {
      io::parse_checkpoint(bad, "bad");
      FAIL("accepted: " + bad);
    } catch (const ParseError& error) {
      if (std::string_view(error.what()).starts_with("bad: expected ")) ++refused;
    }
  };
  for (std::size_t i = 0; i < good.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string bad = good;
      bad[i] = static_cast<char>(bad[i] ^ (1 << bit));
      require_refused(bad);
    }
    require_refused(good.substr(0, i));
    require_refused(good.substr(0, i) + good.substr(i + 1));
    require_refused(good + good.substr(0, i + 1));
    require_refused(good.substr(0, i) + "0" + good.substr(i));
  }
  CHECK(refused == static_cast<int>(12 * good.size()));
}

TEST_CASE("what is whole but no checkpoint of this version is refused by what it is") {
  const auto why = [](const std::string& body) {
    return test::message_of<ParseError>(
        [&] { io::parse_checkpoint(body + "fnv1a " + io::hex(io::fnv1a(body)) + "\n", "c"); });
  };
  CHECK(why("metalqr checkpoint 2\n{}\n") == "c: expected version 1 of the format, got '2'");
  CHECK(has(why("metalqr checkpoint 01\n{}\n"), "got '01'"));
  CHECK(has(why("metalqr checkpoint 1\n{}\n"), "c: field kind: expected a value"));
  CHECK(has(why("metalqr checkpoint 1\n{\"kind\":\"x\",\"fingerprint\":3,\"state\":{}}\n"),
            "field fingerprint: expected an object"));
  CHECK(has(why("metalqr checkpoint 1\n{\"kind\":\"x\",\"fingerprint\":{}}\n"), "field state: expected"));
  CHECK(has(why("metalqr checkpoint 1\n{\"kind\":\n"), "c: "));
  CHECK(has(why("# x1,x2\n1,2\n"), "expected a checkpoint, which begins with 'metalqr checkpoint '"));
  CHECK(has(test::message_of<ParseError>([] { io::parse_checkpoint("", "c"); }), "got an empty file"));
}

TEST_CASE("the newest checkpoint is read, and the one before it where that is missing or damaged") {
  const test::Folder folder;
  const std::string path = folder.file("run");
  CHECK(last(path) == -1);
  write(path, 1);
  CHECK(folder.count() == 1);
  CHECK(last(path) == 1);
  for (int n = 2; n < 5; ++n) {
    write(path, n);
    CHECK(folder.count() == 2);
    CHECK(last(path) == n);
    CHECK(io::read_checkpoint(path + ".previous").document.root().at("state") == state(n - 1));
  }
  CHECK(io::read_last_good(path)->path == path);
  CHECK(io::read_last_good(path)->damage.empty());
  for (const std::string& bad : {std::string(), folder.read("run").substr(0, 50), std::string("junk")}) {
    folder.write("run", bad);
    CHECK(last(path) == 3);
    CHECK(io::read_last_good(path)->path == path + ".previous");
    CHECK(has(io::read_last_good(path)->damage, path + ": expected"));
    CHECK_THROWS_AS(io::read_checkpoint(path), ParseError);
  }
  std::filesystem::remove(path);
  CHECK(last(path) == 3);
  CHECK(has(io::read_last_good(path)->damage, "there is no such file"));
}

TEST_CASE("a damaged checkpoint never takes the place of the good one before it") {
  const test::Folder folder;
  const std::string path = folder.file("run");
  write(path, 1);
  write(path, 2);
  folder.write("run", folder.read("run").substr(3));
  write(path, 3);
  CHECK(last(path) == 3);
  folder.write("run", "");
  CHECK(last(path) == 1);
}

TEST_CASE("where no file is good, both are named") {
  const test::Folder folder;
  const std::string path = folder.file("run");
  folder.write("run", text(1).substr(0, 80));
  CHECK(has(reason<ParseError>(path), path + ": expected"));
  CHECK(has(reason<ParseError>(path), path + ".previous: no such file"));
  folder.write("run.previous", "x");
  CHECK(has(reason<ParseError>(path), path + ": expected"));
  CHECK(has(reason<ParseError>(path), path + ".previous: expected a checkpoint"));
  std::filesystem::remove(path);
  CHECK(has(reason<ParseError>(path), "there is no such file"));
}

TEST_CASE("what is no regular file is neither read nor written") {
  const test::Folder folder;
  std::filesystem::create_directory(folder.path() / "folder");
  REQUIRE(::mkfifo(folder.file("pipe").c_str(), 0600) == 0);
  std::filesystem::create_symlink("/dev/zero", folder.path() / "zeros");
  std::filesystem::create_symlink("pipe", folder.path() / "link");
  const std::string expected = ": expected a regular file or none, got ";
  for (const auto& [name, kind] : {std::pair("folder", "a directory"), std::pair("pipe", "a pipe"),
                                   std::pair("link", "a pipe"), std::pair("zeros", "a character device")}) {
    const std::string path = folder.file(name);
    CHECK(reason<FileError>(path) == path + expected + kind);
    CHECK(has(test::message_of<FileError>([&] { write(path, 1); }), expected + kind));
  }
  // Nor is the one before, for which the newest does not make up.
  REQUIRE(::mkfifo(folder.file("run.previous").c_str(), 0600) == 0);
  CHECK(reason<FileError>(folder.file("run")) == folder.file("run.previous") + expected + "a pipe");
}

TEST_CASE("a whole file of a later version is not passed over for an older one") {
  const test::Folder folder;
  const std::string path = folder.file("run");
  write(path, 1);
  write(path, 2);
  const std::string later = "metalqr checkpoint 2\n{}\n";
  folder.write("run", later + "fnv1a " + io::hex(io::fnv1a(later)) + "\n");
  CHECK(has(reason<ParseError>(path), "expected version 1 of the format, got '2'"));
  // The same with a wrong checksum is only a damaged one.
  folder.write("run", later + "fnv1a " + io::hex(io::fnv1a("")) + "\n");
  CHECK(last(path) == 1);
}

TEST_CASE("a file that never was a checkpoint is not overwritten") {
  const test::Folder folder;
  const std::string path = folder.write("run", "x,y\n1,2\n");
  CHECK(has(test::message_of<FileError>([&] { write(path, 1); }), path + ": expected a checkpoint"));
  CHECK(folder.read("run") == "x,y\n1,2\n");
  CHECK(folder.count() == 1);
  folder.write("run", text(4).substr(0, 30));
  write(path, 5);
  CHECK(last(path) == 5);
}

TEST_CASE("the checkpoints of a link are those of its target") {
  const test::Folder folder;
  std::filesystem::create_directory(folder.path() / "disk");
  const std::string path = folder.file("run");
  write(folder.file("disk/run"), 1);
  std::filesystem::create_symlink("disk/run", path);
  write(path, 2);
  CHECK(std::filesystem::is_symlink(path));
  CHECK(folder.count() == 2);
  CHECK(last(path) == 2);
  folder.write("disk/run", "");
  CHECK(last(path) == 1);
}

TEST_CASE("the two names of one file, which a kill in between leaves, do no harm") {
  const test::Folder folder;
  const std::string path = folder.file("run");
  write(path, 1);
  std::filesystem::create_hard_link(path, path + ".previous");
  write(path, 2);
  CHECK(folder.count() == 2);
  CHECK(last(path) == 2);
  folder.write("run", "");
  CHECK(last(path) == 1);
}

TEST_CASE("a checkpoint of another run is refused by the field that differs") {
  const io::Checkpoint read = io::parse_checkpoint(text(1), "c");
  io::require_run(read, "test", whose);
  const auto why = [&](const std::string& kind, const io::Json& fingerprint) {
    return test::message_of<InvalidOption>([&] { io::require_run(read, kind, fingerprint); });
  };
  const std::string begin = "c: the checkpoint is of another run: ";
  CHECK(why("other", whose) == begin + "kind: expected \"other\", got \"test\"");
  io::Json other = whose;
  other["options"]["seed"] = 4;
  CHECK(why("test", other) == begin + "options.seed: expected 4, got 3");
  other = whose;
  other["K0"] = {{"x", 1}};
  CHECK(why("test", other) == begin + "K0: expected {\"x\":1}, got \"00ff\"");
  other = whose;
  other.erase("K0");
  CHECK(why("test", other) == begin + "K0: expected none, got \"00ff\"");
  other = whose;
  other["fleet"] = 1;
  CHECK(why("test", other) == begin + "fleet: expected 1, the field is missing");
  other = whose;
  other["options"]["step"] = 0.1 + 0x1p-56;
  CHECK(has(why("test", other), begin + "options.step: expected 0.10000000000000002, got 0.1"));
}
