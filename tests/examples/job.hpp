#pragma once

/// @file
/// A program that runs beside the test and can be killed with all that it started.

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "run_program.hpp"

namespace test {

/// The processes whose environment holds `mark`, other than this one.
inline std::vector<pid_t> marked_processes(const std::string& mark) {
  std::vector<pid_t> found;
  DIR* const folder = ::opendir("/proc");
  if (folder == nullptr) throw std::runtime_error("no /proc");
  while (const dirent* entry = ::readdir(folder)) {
    const long pid = std::strtol(entry->d_name, nullptr, 10);
    if (pid <= 0 || pid == ::getpid()) continue;
    std::ifstream stream("/proc/" + std::to_string(pid) + "/environ", std::ios::binary);
    const std::string environment{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
    if (environment.find(mark) != std::string::npos) found.push_back(static_cast<pid_t>(pid));
  }
  ::closedir(folder);
  return found;
}

/// A command of the shell, run in the folder; its processes are known by a variable of their environment.
class Job {
 public:
  Job(const Folder& folder, const std::string& command)
      : folder_(folder), mark_("METALQR_TEST_JOB=" + folder.path().string()) {
    const std::string line = "cd '" + folder.path().string() + "' && exec " + command + " </dev/null >'" +
                             folder.file("job.out") + "' 2>'" + folder.file("job.err") + "'";
    pid_ = ::fork();
    if (pid_ < 0) throw std::runtime_error("fork");
    if (pid_ == 0) {
      ::putenv(mark_.data());
      ::execl("/bin/sh", "sh", "-c", line.c_str(), static_cast<char*>(nullptr));
      ::_exit(127);
    }
  }
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;
  Job(Job&&) = delete;
  Job& operator=(Job&&) = delete;
  ~Job() {
    try {
      kill();
    } catch (const std::exception&) {  // they go on without being waited for
    }
  }

  /// Whether it ended by itself within so many milliseconds.
  bool ends_within(long milliseconds) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(milliseconds);
    while (pid_ > 0) {
      if (::waitpid(pid_, &status_, WNOHANG) == pid_) pid_ = 0;
      if (pid_ == 0 || std::chrono::steady_clock::now() >= end) break;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return pid_ == 0;
  }
  /// SIGKILL to everything that it started.
  void kill() {
    if (pid_ > 0) static_cast<void>(::kill(pid_, SIGKILL));
    wait(true);
  }
  /// SIGKILL to one of the processes with this name, counted around; the launcher ends the others. To all if
  /// there is none yet.
  void kill_one(const std::string& name, std::size_t number) {
    std::vector<pid_t> named;
    for (const pid_t pid : marked_processes(mark_)) {
      std::ifstream stream("/proc/" + std::to_string(pid) + "/comm");
      std::string comm;
      std::getline(stream, comm);
      if (comm == name) named.push_back(pid);
    }
    if (named.empty()) return kill();
    static_cast<void>(::kill(named[number % named.size()], SIGKILL));
    wait(false);
  }
  /// What it left behind, once it has ended.
  Outcome outcome() const {
    return {WIFEXITED(status_) ? WEXITSTATUS(status_) : -1, folder_.read("job.out"), folder_.read("job.err")};
  }

 private:
  /// Until none of its processes is left, so that none writes any more; those that it started meanwhile are
  /// killed too if asked.
  void wait(bool kills) {
    for (int i = 0; i < 60000; ++i) {
      if (pid_ > 0 && ::waitpid(pid_, &status_, WNOHANG) == pid_) pid_ = 0;
      const std::vector<pid_t> left = marked_processes(mark_);
      if (pid_ == 0 && left.empty()) return;
      for (const pid_t pid : left) {
        if (kills) static_cast<void>(::kill(pid, SIGKILL));
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    throw std::runtime_error("its processes do not end");
  }

  const Folder& folder_;
  std::string mark_;
  pid_t pid_ = 0;
  int status_ = 0;
};

}  // namespace test
