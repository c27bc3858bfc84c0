#pragma once

/// @file
/// Checkpoints: files that a run which was killed goes on from. Needs nlohmann-json (CMake component
/// metalqr::json). POSIX only.
///
/// A checkpoint is a text of three lines, each ended by a line feed:
///
///     metalqr checkpoint 1
///     {"kind":"...","library":"0.1.0","fingerprint":{...},"state":{...}}
///     fnv1a 0123456789abcdef
///
/// - the version of the format. In every version, this line is the first, and the checksum in the last.
/// - a JSON object: what kind of run it is of; the version of the library that wrote it, which is not
///   compared; what tells this run from others of the kind; and the state of the run. Numbers have all the
///   digits that are needed to read the same doubles back, bit by bit.
/// - the digest `fnv1a` of all before this line, which changes with every single byte.
///
/// The file PATH is the newest checkpoint and PATH.previous the one before it, which is kept because a file
/// may also be damaged after it was written. New ones are written beside PATH, as PATH.tmp-PROCESS-NUMBER,
/// flushed to the disk and renamed, so that whenever the writer is killed, PATH is whole, and so is
/// PATH.previous once there is one.

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <metalqr/core/error.hpp>
#include <metalqr/core/version.hpp>
#include <metalqr/io/atomic_file.hpp>
#include <metalqr/io/digest.hpp>
#include <metalqr/io/json_document.hpp>
#include <metalqr/io/json_field.hpp>
#include <metalqr/io/text_file.hpp>

namespace metalqr::inline METALQR_ABI::io {

/// The version of the format that is written and read.
inline constexpr Index checkpoint_version = 1;

/// A checkpoint that has been read.
struct Checkpoint {
  /// With the fields kind, library, fingerprint and state; for `read_server_state(document, "state")` and
  /// its like.
  JsonDocument document;
  std::string path;      ///< the file that it is from
  std::string damage{};  ///< why it is not from the newest file; empty if it is

  /// The kind of run.
  std::string kind() const { return JsonField(document).field("kind").text(); }
  /// What tells the run from others of its kind.
  const Json& fingerprint() const { return document.root().at("fingerprint"); }
};

namespace detail {

inline constexpr std::string_view checkpoint_mark = "metalqr checkpoint ";
inline constexpr std::string_view checksum_mark = "fnv1a ";
/// "fnv1a 0123456789abcdef\n".
inline constexpr std::size_t checksum_length = checksum_mark.size() + 16 + 1;

inline std::string checksum_line(std::string_view text) {
  return std::string(checksum_mark) + hex(fnv1a(text)) + "\n";
}

/// What is wrong with a text that should be a checkpoint of any version; empty if nothing is.
inline std::string damage_of(std::string_view text) {
  if (!text.starts_with(checkpoint_mark)) {
    const std::string_view found = text.substr(0, text.find('\n')).substr(0, 40);
    return "expected a checkpoint, which begins with '" + std::string(checkpoint_mark) + "', got " +
           (text.empty() ? "an empty file" : "'" + std::string(found) + "'");
  }
  if (text.size() < checksum_length || text.back() != '\n')
    return "expected a checksum in the last line, the file is truncated";
  const std::string_view last = text.substr(text.size() - checksum_length);
  const std::string expected = checksum_line(text.substr(0, text.size() - checksum_length));
  if (last == expected) return "";
  return "expected '" + expected.substr(0, checksum_length - 1) +
         "' in the last line, the file is damaged or truncated";
}

/// Whether there is a file, or a link to one, of any kind.
inline bool exists(const std::string& path) {
  struct ::stat status {};
  return ::stat(path.c_str(), &status) == 0 || errno != ENOENT;
}

/// Throws `FileError` naming what it is, unless there is a regular file, a link to one, or nothing.
inline void require_regular(const std::string& path) {
  struct ::stat status {};
  if (::stat(path.c_str(), &status) != 0 || S_ISREG(status.st_mode)) return;
  const char* const found = S_ISDIR(status.st_mode)    ? "a directory"
                            : S_ISFIFO(status.st_mode) ? "a pipe"
                            : S_ISCHR(status.st_mode)  ? "a character device"
                            : S_ISBLK(status.st_mode)  ? "a block device"
                            : S_ISSOCK(status.st_mode) ? "a socket"
                                                       : "something else";
  throw FileError(path + ": expected a regular file or none, got " + found);
}

/// What is in the file `path` if it is a good checkpoint; none if it is damaged, or there is none.
/// @throws FileError unless it is, or was, a checkpoint.
inline std::optional<std::string> good_content(const std::string& path, const std::string& previous) {
  if (!exists(path)) return std::nullopt;
  require_regular(path);
  std::string text;
  try {
    text = read_text(path);
  } catch (const ParseError& error) {
    throw FileError(error.what());
  }
  const std::string damage = damage_of(text);
  if (damage.empty()) return text;
  // What was a checkpoint has kept its beginning, or has another one before it.
  if (!text.starts_with(checkpoint_mark) && !exists(previous)) throw FileError(path + ": " + damage);
  return std::nullopt;
}

/// A second name for the file `path`; a copy where the file system has no links.
inline void keep_as(const std::string& kept, const std::string& path, std::string_view text) {
  const std::string link = temporary_name(kept);
  if (::link(path.c_str(), link.c_str()) != 0) return write_atomically(kept, text);
  const int result = ::rename(link.c_str(), kept.c_str());
  const int error = errno;
  // If the two were one file already, nothing was renamed.
  ::unlink(link.c_str());
  if (result != 0) throw_unwritable(kept, "renaming", error);
}

/// "options.seed: expected 1, got 2": the first field in which two fingerprints differ; empty if none.
inline std::string difference(const Json& expected, const Json& got, const std::string& place) {
  if (!expected.is_object() || !got.is_object()) {
    return expected == got ? "" : place + ": expected " + expected.dump() + ", got " + got.dump();
  }
  const auto inside = [&](const std::string& name) { return place.empty() ? name : place + "." + name; };
  for (const auto& item : expected.items()) {
    const auto found = got.find(item.key());
    if (found == got.end())
      return inside(item.key()) + ": expected " + item.value().dump() + ", the field is missing";
    std::string inner = difference(item.value(), *found, inside(item.key()));
    if (!inner.empty()) return inner;
  }
  for (const auto& item : got.items()) {
    if (!expected.contains(item.key()))
      return inside(item.key()) + ": expected none, got " + item.value().dump();
  }
  return "";
}

}  // namespace detail

/// The file beside `path` in which `write_checkpoint` keeps the checkpoint before the newest.
inline std::string previous_checkpoint(const std::string& path) {
  return detail::followed(path) + ".previous";
}

/// A checkpoint as text.
/// @param fingerprint an object that tells the run from others of its kind.
/// @param state an object.
/// @throws InvalidOption for a text that is not UTF-8, which JSON cannot hold.
inline std::string checkpoint_text(const std::string& kind, const Json& fingerprint, const Json& state) {
  const std::string library = std::to_string(version.major_number) + "." +
                              std::to_string(version.minor_number) + "." +
                              std::to_string(version.patch_number);
  const Json object{{"kind", kind}, {"library", library}, {"fingerprint", fingerprint}, {"state", state}};
  std::string text = std::string(detail::checkpoint_mark) + std::to_string(checkpoint_version) + "\n";
  try {
    text += object.dump() + "\n";
  } catch (const Json::exception& error) {
    throw InvalidOption("checkpoint: expected texts in UTF-8, got: " + detail::plain_message(error));
  }
  return text + detail::checksum_line(text);
}

/// The checkpoint in a text; `source` names it in messages.
/// @throws ParseError naming it, and what is wrong: that it is something else, damaged, truncated, or of
/// another version of the format.
inline Checkpoint parse_checkpoint(std::string_view text, const std::string& source = "text") {
  const std::string damage = detail::damage_of(text);
  if (!damage.empty()) throw ParseError(source + ": " + damage);
  text.remove_suffix(detail::checksum_length);
  text.remove_prefix(detail::checkpoint_mark.size());
  const std::size_t end = text.find('\n');
  const std::string_view found = text.substr(0, end);
  if (found != std::to_string(checkpoint_version)) {
    throw ParseError(source + ": expected version " + std::to_string(checkpoint_version) +
                     " of the format, got '" + std::string(found.substr(0, 40)) + "'");
  }
  Checkpoint result{.document = JsonDocument(text.substr(end + 1), source), .path = source};
  const JsonField root(result.document);
  static_cast<void>(root.field("kind").text());
  for (const char* name : {"fingerprint", "state"}) {
    const JsonField field = root.field(name);
    if (!result.document.root().at(name).is_object()) field.fail("expected an object");
  }
  return result;
}

/// Reads a checkpoint from this file and no other.
/// @throws ParseError; see `parse_checkpoint`, `read_text`.
inline Checkpoint read_checkpoint(const std::string& path) {
  return parse_checkpoint(read_text(path), path);
}

/// The last good checkpoint of a run that writes to `path`: that file's, or, if it is missing, damaged or
/// truncated, the one before it; then `damage` says what was wrong. None if neither file exists.
/// @throws ParseError if no file is good, naming what is wrong with each, or if the newest is of another
/// version of the format; FileError if one is no regular file.
inline std::optional<Checkpoint> read_last_good(const std::string& path) {
  const std::string previous = previous_checkpoint(path);
  std::string damage;
  for (const std::string& file : {path, previous}) detail::require_regular(file);
  if (detail::exists(path)) {
    const std::string text = read_text(path);
    damage = detail::damage_of(text);
    if (damage.empty()) return parse_checkpoint(text, path);
    damage = path + ": " + damage;
  } else {
    damage = path + ": expected a checkpoint, there is no such file";
  }
  if (detail::exists(previous)) {
    try {
      Checkpoint result = read_checkpoint(previous);
      result.damage = damage;
      return result;
    } catch (const ParseError& error) {
      throw ParseError(damage + "; " + error.what());
    }
  }
  if (detail::exists(path)) throw ParseError(damage + "; " + previous + ": no such file");
  return std::nullopt;
}

/// Makes this the newest checkpoint at `path`, and keeps the one before it if that is good. One process at a
/// time writes to a path. Whenever it is killed, `read_last_good` finds this one or the one before.
/// @throws FileError if it cannot be written, or if `path` is something else than a checkpoint, damaged or
/// not; then the checkpoints are what they were.
inline void write_checkpoint(const std::string& path, const std::string& kind, const Json& fingerprint,
                             const Json& state) {
  const std::string target = detail::followed(path);
  const std::string previous = previous_checkpoint(path);
  const std::string text = checkpoint_text(kind, fingerprint, state);
  const std::optional<std::string> old = detail::good_content(target, previous);
  detail::TemporaryFile file(target);
  file.write(text);
  file.finish();
  if (old) detail::keep_as(previous, target, *old);
  file.move_into_place();
  detail::flush_folder_of(target);
}

/// Throws `InvalidOption` unless the checkpoint is of this kind of run and of the run of this fingerprint:
/// "FILE: options.seed: expected 1, got 2", where what is expected is this run's.
inline void require_run(const Checkpoint& checkpoint, const std::string& kind, const Json& fingerprint) {
  const auto require_same = [&](const Json& expected, const Json& got, const char* place) {
    const std::string found = detail::difference(expected, got, place);
    if (!found.empty()) throw InvalidOption(checkpoint.path + ": the checkpoint is of another run: " + found);
  };
  require_same(kind, checkpoint.kind(), "kind");
  // As it would be read back.
  require_same(Json::parse(fingerprint.dump()), checkpoint.fingerprint(), "");
}

/// Throws `InvalidOption` if the state in the file `path` is beyond where a run is to end: "FILE: the
/// checkpoint is beyond the end of this run: iterations: expected a number >= 7, got 3".
/// @param name of the option `limit`.
/// @param reached by the state.
template <class Number>
void require_within(const std::string& path, const char* name, Number reached, Number limit) {
  if (reached <= limit) return;
  throw InvalidOption(path + ": the checkpoint is beyond the end of this run: " + name +
                      ": expected a number >= " + Json(reached).dump() + ", got " + Json(limit).dump());
}

}  // namespace metalqr::inline METALQR_ABI::io
