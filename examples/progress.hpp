#pragma once

/// @file
/// A progress bar on stderr, drawn only if that is a terminal.

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <utility>

namespace examples {

/// A line that shows how much of `total` steps is done; it disappears with the object.
class Progress {
 public:
  Progress(std::string label, long total) : label_(std::move(label)), total_(std::max(total, 1L)) {}
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  Progress(Progress&&) = delete;
  Progress& operator=(Progress&&) = delete;
  ~Progress() {
    if (drawn_) std::fputs("\r\033[K", stderr);
  }

  /// Says that `done` steps are done; draws at most every twentieth of a second. From one thread only.
  void update(long done) {
    if (!on_terminal_) return;
    const auto now = std::chrono::steady_clock::now();
    if (drawn_ && now - last_ < std::chrono::milliseconds(50)) return;
    last_ = now;
    drawn_ = true;
    constexpr int width = 30;
    const double share = std::clamp(static_cast<double>(done) / static_cast<double>(total_), 0.0, 1.0);
    const int filled = static_cast<int>(share * width);
    std::fprintf(stderr, "\r%s [%s%s] %3.0f %%\033[K", label_.c_str(),
                 std::string(static_cast<std::size_t>(filled), '#').c_str(),
                 std::string(static_cast<std::size_t>(width - filled), '.').c_str(), 100 * share);
  }
  /// One more step is done.
  void advance() { update(++done_); }

 private:
  std::string label_;
  long total_;
  long done_ = 0;
  bool on_terminal_ = ::isatty(STDERR_FILENO) == 1;
  bool drawn_ = false;
  std::chrono::steady_clock::time_point last_;
};

}  // namespace examples
