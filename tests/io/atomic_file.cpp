#include <metalqr/io/atomic_file.hpp>

#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <string>
#include <thread>
#include <vector>

#include "catch.hpp"
#include "folder.hpp"
#include "support.hpp"

namespace {

std::string reason(const std::string& path, const std::string& text = "new") {
  return test::message_of<metalqr::FileError>([&] { metalqr::io::write_atomically(path, text); });
}

/// While it lives, no file of this process grows beyond `bytes`: as on a full disk.
class FullDisk {
 public:
  explicit FullDisk(rlim_t bytes) : signal_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &old_);
    const rlimit limit{bytes, old_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  FullDisk(const FullDisk&) = delete;
  FullDisk& operator=(const FullDisk&) = delete;
  ~FullDisk() {
    ::setrlimit(RLIMIT_FSIZE, &old_);
    std::signal(SIGXFSZ, signal_);
  }

 private:
  rlimit old_{};
  void (*signal_)(int);
};

}  // namespace

TEST_CASE("a file is made or replaced, and nothing else is left behind") {
  const test::Folder folder;
  metalqr::io::write_atomically(folder.file("a"), "one");
  CHECK(folder.read("a") == "one");
  metalqr::io::write_atomically(folder.file("a"), "");
  CHECK(folder.read("a").empty());
  const std::string large(300000, 'x');
  metalqr::io::write_atomically(folder.file("a"), large);
  CHECK(folder.read("a") == large);
  CHECK(folder.count() == 1);
}

TEST_CASE("a file in the current folder needs no path") {
  const test::Folder folder;
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(folder.path());
  metalqr::io::write_atomically("here", "text");
  std::filesystem::current_path(before);
  CHECK(folder.read("here") == "text");
}

TEST_CASE("a new file has the mode that any program would give it, a replaced one keeps its own") {
  const test::Folder folder;
  const mode_t mask = ::umask(0022);
  metalqr::io::write_atomically(folder.file("new"), "x");
  ::umask(mask);
  const std::string old = folder.write("old", "x");
  ::chmod(old.c_str(), 0640);
  metalqr::io::write_atomically(old, "y");
  struct ::stat status {};
  REQUIRE(::stat(folder.file("new").c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0644);
  REQUIRE(::stat(old.c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0640);
  CHECK(folder.read("old") == "y");
}

TEST_CASE("a symbolic link is followed") {
  const test::Folder folder;
  folder.write("target", "old");
  std::filesystem::create_symlink("target", folder.path() / "link");
  metalqr::io::write_atomically(folder.file("link"), "new");
  CHECK(folder.read("target") == "new");
  CHECK(std::filesystem::is_symlink(folder.path() / "link"));
  CHECK(folder.count() == 2);
}

TEST_CASE("a symbolic link into another folder is followed through relative links") {
  const test::Folder folder;
  std::filesystem::create_directory(folder.path() / "sub");
  folder.write("sub/target", "old");
  std::filesystem::create_symlink("target", folder.path() / "sub" / "inner");
  std::filesystem::create_symlink("sub/inner", folder.path() / "link");
  metalqr::io::write_atomically(folder.file("link"), "new");
  CHECK(folder.read("sub/target") == "new");
  CHECK(std::filesystem::is_symlink(folder.path() / "link"));
  CHECK(folder.count() == 2);
}

TEST_CASE("a symbolic link that leads nowhere, or to itself, is replaced") {
  const test::Folder folder;
  std::filesystem::create_symlink("none", folder.path() / "dangling");
  std::filesystem::create_symlink("circle", folder.path() / "circle");
  metalqr::io::write_atomically(folder.file("dangling"), "new");
  CHECK(folder.read("dangling") == "new");
  CHECK(!std::filesystem::is_symlink(folder.path() / "dangling"));
  CHECK_THROWS_AS(metalqr::io::write_atomically(folder.file("circle/a"), "x"), metalqr::FileError);
  metalqr::io::write_atomically(folder.file("circle"), "new");
  CHECK(folder.read("circle") == "new");
  CHECK(folder.count() == 2);
}

TEST_CASE("a disk that fills up leaves the old content and no part of the new") {
  const test::Folder folder;
  const std::string path = folder.write("a", "old");
  {
    const FullDisk disk(1000);
    CHECK(reason(path, std::string(5000, 'x')) ==
          path + ": expected a writable file, got 'File too large' (writing)");
    CHECK_THROWS_AS(metalqr::io::write_atomically(folder.file("b"), std::string(5000, 'x')),
                    metalqr::FileError);
  }
  CHECK(folder.read("a") == "old");
  CHECK(folder.count() == 1);
}

TEST_CASE("a folder that cannot be written to is named with the reason") {
  const test::Folder folder;
  const std::string path = folder.write("a", "old");
  CHECK(reason(folder.file("none/b")) == folder.file("none/b") +
                                             ": expected a writable file, got 'No such file or directory' "
                                             "(creating a temporary file beside it)");
  CHECK_THAT(reason(path + "/b"), Catch::Matchers::ContainsSubstring("Not a directory"));
  CHECK_THROWS_AS(metalqr::io::write_atomically("", "x"), metalqr::FileError);
  CHECK_THROWS_AS(metalqr::io::write_atomically("/proc/none", "x"), metalqr::FileError);
  if (::geteuid() != 0) {
    ::chmod(folder.path().c_str(), 0500);
    CHECK_THAT(reason(path), Catch::Matchers::ContainsSubstring("Permission denied"));
    ::chmod(folder.path().c_str(), 0700);
  }
  CHECK(folder.read("a") == "old");
  CHECK(folder.count() == 1);
}

TEST_CASE("what is not a regular file is not replaced") {
  const test::Folder folder;
  std::filesystem::create_directory(folder.path() / "sub");
  CHECK(reason(folder.file("sub")) == folder.file("sub") + ": expected a regular file or none");
  REQUIRE(::mkfifo(folder.file("pipe").c_str(), 0600) == 0);
  CHECK_THROWS_AS(metalqr::io::write_atomically(folder.file("pipe"), "x"), metalqr::FileError);
  CHECK(std::filesystem::is_fifo(folder.path() / "pipe"));
  CHECK(folder.count() == 2);
}

TEST_CASE("writers at the same time leave the text of one of them, and readers see no mixture") {
  const test::Folder folder;
  const std::string path = folder.write("a", std::string(20000, '0'));
  std::vector<std::thread> writers;
  for (const char letter : {'1', '2', '3'}) {
    writers.emplace_back([&path, letter] {
      for (int i = 0; i < 20; ++i) metalqr::io::write_atomically(path, std::string(20000, letter));
    });
  }
  bool whole = true;
  for (int i = 0; i < 200; ++i) {
    const std::string text = folder.read("a");
    whole = whole && text == std::string(20000, text[0]);
  }
  for (std::thread& writer : writers) writer.join();
  CHECK(whole);
  CHECK(folder.count() == 1);
}

TEST_CASE("what a killed writer left behind is removed, what a writer still works at is not") {
  const test::Folder folder;
  const std::string path = folder.write("a", "old");
  const metalqr::io::detail::TemporaryFile at_work(path);
  folder.write("a.tmp-" + std::to_string(::getpid()) + "-99999", "part");
  folder.write("a.tmp-1-2", "part");
  for (const char* other :
       {"a.tmp-1-", "a.tmp--2", "a.tmp-1-2x", "a.tmp-1", "a.tmp", "b.tmp-1-2", "aa.tmp-1-2"})
    folder.write(other, "another's");
  std::filesystem::create_directory(folder.path() / "a.tmp-3-4");
  std::filesystem::create_symlink("a", folder.path() / "a.tmp-5-6");
  CHECK(folder.count() == 13);
  CHECK(metalqr::io::remove_abandoned(path) == 2);
  CHECK(folder.count() == 11);
  CHECK(metalqr::io::remove_abandoned(path) == 0);
  CHECK(metalqr::io::remove_abandoned(folder.file("none/a")) == 0);
  CHECK(metalqr::io::remove_abandoned("") == 0);
  CHECK(folder.read("a") == "old");
}

TEST_CASE("temporary files of a link's target, and in the current folder, are found too") {
  const test::Folder folder;
  std::filesystem::create_directory(folder.path() / "sub");
  std::filesystem::create_symlink(folder.write("sub/a", "old"), folder.path() / "link");
  folder.write("sub/a.tmp-1-2", "part");
  CHECK(metalqr::io::remove_abandoned(folder.file("link")) == 1);
  folder.write("here.tmp-1-2", "part");
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(folder.path());
  CHECK(metalqr::io::remove_abandoned("here") == 1);
  std::filesystem::current_path(before);
  CHECK(folder.count() == 2);
}

TEST_CASE("nobody's temporary file is removed while writers and a cleaner work at the same time") {
  const test::Folder folder;
  const std::string path = folder.write("a", "0");
  std::atomic<bool> done{false};
  std::thread cleaner([&] {
    while (!done) metalqr::io::remove_abandoned(path);
  });
  std::vector<std::thread> writers;
  std::atomic<int> failures{0};
  for (const char letter : {'1', '2'}) {
    writers.emplace_back([&, letter] {
      for (int i = 0; i < 50; ++i) {
        try {
          metalqr::io::write_atomically(path, std::string(100, letter));
        } catch (const metalqr::FileError&) {
          ++failures;
        }
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  done = true;
  cleaner.join();
  CHECK(failures == 0);
  CHECK(folder.count() == 1);
}
