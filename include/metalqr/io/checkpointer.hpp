#pragma once

/// @file
/// When a run writes checkpoints. Needs nlohmann-json (CMake component metalqr::json). POSIX only.

#include <chrono>
#include <cmath>
#include <optional>
#include <string>
#include <utility>

#include <metalqr/core/error.hpp>
#include <metalqr/core/index.hpp>
#include <metalqr/io/checkpoint.hpp>

namespace metalqr::inline METALQR_ABI::io {

/// Where and how often a run writes checkpoints. The run itself does not depend on it.
struct CheckpointOptions {
  std::string path;  ///< of the file; `path`.previous is the one before it (see checkpoint.hpp)
  Index every = 0;   ///< iterations from one checkpoint to the next, at most; 0: any number
  double seconds =
      60;  ///< time from one to the next, at most, but for the length of an iteration; infinity: any
  bool at_end = true;  ///< whether there is one when the run ends
  /// What the run is about that the rest of its fingerprint does not say, such as a digest of its data or the
  /// name of a strategy. A checkpoint with another label is refused.
  std::string label{};
};

/// Throws `InvalidOption` naming the first field out of its range.
inline void validate(const CheckpointOptions& options) {
  using metalqr::detail::require_option;
  if (options.path.empty()) throw InvalidOption("path: expected the name of a file, got an empty text");
  require_option(options.every >= 0, "every", static_cast<double>(options.every), "a number >= 0");
  require_option(options.seconds >= 0, "seconds", options.seconds, "a number of seconds >= 0");
}

/// Where a run goes on from, and what it wrote.
struct CheckpointReport {
  std::string resumed_from{};  ///< the file; empty: the run began anew
  std::string damage{};        ///< why that is not the newest file; empty if it is
  Index written = 0;           ///< checkpoints
};

/// A run with checkpoints.
template <class Result>
struct CheckpointedRun {
  Result result;                   ///< of the run
  CheckpointReport checkpoints{};  ///< where it went on from, and what it wrote
};

/// Writes the checkpoints of one run when it is time. To be told after each iteration; where it costs, the
/// state is made to JSON only when it is written.
class Checkpointer {
 public:
  /// Takes the path over: temporary files that a killed writer left there are removed, and one is made and
  /// removed, to see whether there will be checkpoints before the first is due.
  /// @param kind of run.
  /// @param fingerprint an object that tells it from others of its kind; the label is added.
  /// @throws InvalidOption; FileError if no file can be written there, or `path` or the one before it is no
  /// regular file.
  Checkpointer(CheckpointOptions options, std::string kind, Json fingerprint)
      : options_(std::move(options)), kind_(std::move(kind)), fingerprint_(std::move(fingerprint)) {
    validate(options_);
    fingerprint_["label"] = options_.label;
    const std::string previous = previous_checkpoint(options_.path);
    for (const std::string& file : {options_.path, previous}) detail::require_regular(file);
    remove_abandoned(options_.path);
    remove_abandoned(previous);
    static_cast<void>(detail::TemporaryFile(detail::followed(options_.path)));
    last_ = Clock::now();
  }

  /// Adds to what tells the run from others of its kind, before the last checkpoint is asked for.
  void distinguish(const std::string& name, Json value) { fingerprint_[name] = std::move(value); }

  /// The last good checkpoint of this run; none if there are no files.
  /// @throws ParseError if no file is good; InvalidOption if it is another run's, naming what differs.
  std::optional<Checkpoint> last() {
    std::optional<Checkpoint> found = read_last_good(options_.path);
    if (!found) return found;
    require_run(*found, kind_, fingerprint_);
    report_.resumed_from = found->path;
    report_.damage = found->damage;
    return found;
  }

  /// Counts an iteration. Writes the state after it, which `state()` gives as JSON, if it is time: then true.
  /// A state with a NaN or infinity in its matrices is no good to go on from, and is passed over: the run
  /// goes on from the one before, to the same end.
  /// @throws FileError; InvalidOption for texts that are not UTF-8.
  template <class State>
  bool iteration(const State& state) {
    ++age_;
    const bool is_due = (options_.every > 0 && age_ >= options_.every) ||
                        std::chrono::duration<double>(Clock::now() - last_).count() >= options_.seconds;
    return is_due && write(state);
  }

  /// Writes the state at the end of the run, if that is wanted and it has not been written.
  template <class State>
  bool end(const State& state) {
    return options_.at_end && (age_ > 0 || report_.written == 0) && write(state);
  }

  /// Whether the last iteration has been written.
  bool is_written() const noexcept { return age_ == 0; }
  /// What happened so far.
  const CheckpointReport& report() const noexcept { return report_; }
  /// What it was told.
  const CheckpointOptions& options() const noexcept { return options_; }

 private:
  using Clock = std::chrono::steady_clock;

  template <class State>
  bool write(const State& state) {
    Json json;
    try {
      json = state();
    } catch (const NotFinite&) {
      return false;
    }
    write_checkpoint(options_.path, kind_, fingerprint_, json);
    ++report_.written;
    age_ = 0;
    last_ = Clock::now();
    return true;
  }

  CheckpointOptions options_;
  std::string kind_;
  Json fingerprint_;
  CheckpointReport report_{};
  Index age_ = 0;  // iterations since the last checkpoint
  Clock::time_point last_{};
};

}  // namespace metalqr::inline METALQR_ABI::io
