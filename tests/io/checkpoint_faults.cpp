#include <metalqr/io/checkpoint.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <string>

#include "catch.hpp"
#include "folder.hpp"
#include "support.hpp"

// The calls by which files are changed, of this whole program. They do what they always do, unless this
// process is to be killed before the one of that number, or after half of what it writes, or they are to
// fail.
namespace faults {

int kill_before = -1;   // counts down; below 0: never
int folder_error = 0;   // of flushing a folder
bool no_links = false;  // as on file systems without
int copies = 0;         // links refused

bool is_time() {
  return kill_before >= 0 && kill_before-- == 0;
}
[[noreturn]] void die() {
  ::kill(::getpid(), SIGKILL);
  for (;;) ::pause();
}
void step() {
  if (is_time()) die();
}

}  // namespace faults

extern "C" {

ssize_t write(int file, const void* data, std::size_t size) {
  if (faults::is_time()) {
    static_cast<void>(::syscall(SYS_write, file, data, size / 2));
    faults::die();
  }
  return ::syscall(SYS_write, file, data, size);
}

int fsync(int file) {
  faults::step();
  struct ::stat status {};
  if (faults::folder_error != 0 && ::fstat(file, &status) == 0 && S_ISDIR(status.st_mode)) {
    errno = faults::folder_error;
    return -1;
  }
  return static_cast<int>(::syscall(SYS_fsync, file));
}

int rename(const char* from, const char* to) noexcept {
  faults::step();
  return static_cast<int>(::syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0));
}

int link(const char* from, const char* to) noexcept {
  faults::step();
  if (faults::no_links) {
    ++faults::copies;
    errno = EPERM;
    return -1;
  }
  return static_cast<int>(::syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0));
}

int unlink(const char* path) noexcept {
  faults::step();
  return static_cast<int>(::syscall(SYS_unlinkat, AT_FDCWD, path, 0));
}

}  // extern "C"

namespace {

namespace io = metalqr::io;

void write_number(const std::string& path, int n) {
  io::write_checkpoint(path, "test", {{"whose", "mine"}}, {{"n", n}, {"much", std::string(3000, 'x')}});
}
int number_in(const io::Checkpoint& checkpoint) {
  return checkpoint.document.root().at("state").at("n").get<int>();
}
/// Of the last good checkpoint; 0 if there is none.
int last(const std::string& path) {
  const auto found = io::read_last_good(path);
  return found ? number_in(*found) : 0;
}

/// How a process ended that does this.
template <class Act>
int ended(const Act& act) {
  const ::pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    try {
      act();
    } catch (...) {
      ::_exit(2);
    }
    ::_exit(0);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return status;
}
bool was_killed(int status) {
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

}  // namespace

TEST_CASE("a writer that is killed at any of its steps leaves a good checkpoint, and nothing that stays") {
  int kills = 0;
  for (const bool linked : {true, false}) {
    for (const int before : {0, 1, 2}) {  // checkpoints that there are already
      for (int at = 0;; ++at) {
        CAPTURE(linked, before, at);
        const test::Folder folder;
        const std::string path = folder.file("run");
        for (int n = 1; n <= before; ++n) write_number(path, n);
        const int status = ended([&] {
          faults::no_links = !linked;
          faults::kill_before = at;
          write_number(path, 3);
        });
        const int found = last(path);
        CHECK((found == before || found == 3));
        for (const char* name : {"run", "run.previous"}) {
          if (std::filesystem::exists(folder.path() / name))
            CHECK(number_in(io::read_checkpoint(folder.file(name))) > 0);
        }
        if (before > 0) CHECK(std::filesystem::exists(path));
        // The next run cleans up and goes on.
        io::remove_abandoned(path);
        io::remove_abandoned(io::previous_checkpoint(path));
        CHECK(folder.count() <= 2);
        write_number(path, 4);
        CHECK(folder.count() == (found == 0 ? 1 : 2));
        CHECK(last(path) == 4);
        folder.write("run", "");
        if (found > 0) CHECK(last(path) == found);
        if (!was_killed(status)) {
          REQUIRE(status == 0);
          REQUIRE(found == 3);
          break;
        }
        ++kills;
      }
    }
  }
  // The write, two flushes and the renaming; with an older checkpoint also what keeps it.
  CHECK(kills >= 2 * 4 + 4 * 7);
}

TEST_CASE("a writer that is killed at random times has lost at most what it was writing") {
  struct Counts {
    std::atomic<int> begun{0};
    std::atomic<int> done{0};
  };
  void* const memory =
      ::mmap(nullptr, sizeof(Counts), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  REQUIRE(memory != MAP_FAILED);
  Counts* const counts = new (memory) Counts;
  const test::Folder folder;
  const std::string path = folder.file("run");
  metalqr::Stream stream = test::stream(5);
  int damaged = 0;
  for (int round = 0; round < 20; ++round) {
    const ::pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      for (;;) {
        const int n = ++counts->begun;
        write_number(path, n);
        counts->done = n;
      }
    }
    const auto nanoseconds = static_cast<long>(stream.uniform(0, 4e7));
    const ::timespec moment{.tv_sec = 0, .tv_nsec = nanoseconds};
    ::nanosleep(&moment, nullptr);
    ::kill(child, SIGKILL);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(was_killed(status));
    for (const char* name : {"run", "run.previous"}) {
      try {
        if (std::filesystem::exists(folder.path() / name)) io::read_checkpoint(folder.file(name));
      } catch (const metalqr::ParseError&) {
        ++damaged;
      }
    }
    const int found = last(path);
    CHECK((found == counts->done || found == counts->begun));
    counts->done = counts->begun = found;
    io::remove_abandoned(path);
    io::remove_abandoned(io::previous_checkpoint(path));
    CHECK(folder.count() <= 2);
  }
  CHECK(damaged == 0);
  CHECK(counts->done > 3);
  ::munmap(memory, sizeof(Counts));
}

TEST_CASE("where there are no links, the checkpoint before the newest is a copy") {
  const test::Folder folder;
  const std::string path = folder.file("run");
  faults::no_links = true;
  faults::copies = 0;
  for (int n = 1; n <= 3; ++n) write_number(path, n);
  faults::no_links = false;
  CHECK(faults::copies == 2);
  CHECK(folder.count() == 2);
  CHECK(last(path) == 3);
  CHECK(number_in(io::read_checkpoint(path + ".previous")) == 2);
}

TEST_CASE("that a device cannot flush a folder is an error, that a file system has no such thing is none") {
  const test::Folder folder;
  const std::string path = folder.file("a");
  for (const int harmless : {EINVAL, ENOTSUP, ENOSYS}) {
    faults::folder_error = harmless;
    metalqr::io::write_atomically(path, "old");
  }
  faults::folder_error = EIO;
  const std::string message =
      test::message_of<metalqr::FileError>([&] { metalqr::io::write_atomically(path, "new"); });
  faults::folder_error = 0;
  CHECK(message ==
        path + ": expected a writable file, got 'Input/output error' (flushing its folder to the disk)");
  CHECK(folder.read("a") == "new");
  CHECK(folder.count() == 1);
}
