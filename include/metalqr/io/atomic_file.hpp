#pragma once

/// @file
/// Writing a file so that it is never seen half-written. POSIX only.

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <metalqr/core/error.hpp>
#include <metalqr/core/index.hpp>

namespace metalqr::inline METALQR_ABI::io {

namespace detail {

/// "FILE: expected a writable file, got 'Permission denied' (what failed)".
[[noreturn]] inline void throw_unwritable(const std::string& path, const char* what, int error) {
  throw FileError(path + ": expected a writable file, got '" + std::strerror(error) + "' (" + what + ")");
}

/// What stands between the name of a file and two numbers in that of a temporary one beside it.
inline constexpr std::string_view temporary_mark = ".tmp-";

/// A name beside `target` that this process has not used yet: "TARGET.tmp-PROCESS-NUMBER".
inline std::string temporary_name(const std::string& target) {
  static std::atomic<unsigned> counter{0};
  return target + std::string(temporary_mark) + std::to_string(::getpid()) + "-" + std::to_string(counter++);
}

/// An open file that is closed when this goes out of scope; negative: none.
class Descriptor {
 public:
  explicit Descriptor(int number = -1) : number_(number) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  Descriptor(Descriptor&&) = delete;
  Descriptor& operator=(Descriptor&&) = delete;
  ~Descriptor() { close(); }

  int number() const { return number_; }
  bool is_open() const { return number_ >= 0; }
  /// Closes it, and takes this one instead.
  void reset(int number) {
    close();
    number_ = number;
  }
  /// 0 or what went wrong.
  int close() {
    if (number_ < 0) return 0;
    const int result = ::close(std::exchange(number_, -1));
    return result == 0 ? 0 : errno;
  }

 private:
  int number_;
};

/// Makes what was written to a descriptor last through a power failure: 0 or what went wrong.
inline int flush(const Descriptor& file) {
  while (::fsync(file.number()) != 0) {
    if (errno != EINTR) return errno;
  }
  return 0;
}

/// A file of a name of its own, which disappears unless it is moved to its place. It is locked as long as it
/// has that name, by which `remove_abandoned` tells it from what a writer that was killed left behind: a lock
/// ends with its process, whereas the number of that process may be another's by then.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& target) : target_(target) {
    for (int attempt = 0; attempt < 1000 && !file_.is_open(); ++attempt) {
      path_ = temporary_name(target);
      file_.reset(::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
      if (!file_.is_open() && errno != EEXIST) break;
      if (file_.is_open() && !lock()) file_.close();
    }
    if (!file_.is_open()) throw_unwritable(target_, "creating a temporary file beside it", errno);
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  TemporaryFile(TemporaryFile&&) = delete;
  TemporaryFile& operator=(TemporaryFile&&) = delete;
  ~TemporaryFile() {
    if (!moved_) ::unlink(path_.c_str());
  }

  void write(std::string_view text) {
    while (!text.empty()) {
      const ::ssize_t count = ::write(file_.number(), text.data(), text.size());
      if (count >= 0) {
        text.remove_prefix(static_cast<std::size_t>(count));
      } else if (errno != EINTR) {
        throw_unwritable(target_, "writing", errno);
      }
    }
  }
  /// Gives it the mode of what is in its place, and makes its content last.
  void finish() {
    struct ::stat old {};
    if (::stat(target_.c_str(), &old) == 0) {
      if (!S_ISREG(old.st_mode)) throw FileError(target_ + ": expected a regular file or none");
      if (::fchmod(file_.number(), old.st_mode & 07777) != 0)
        throw_unwritable(target_, "setting its mode", errno);
    }
    if (const int error = flush(file_)) throw_unwritable(target_, "flushing to the disk", error);
    // The copy keeps the lock until the name is gone.
    lock_.reset(::fcntl(file_.number(), F_DUPFD_CLOEXEC, 0));
    if (const int error = file_.close()) throw_unwritable(target_, "closing", error);
  }
  /// After `finish`.
  void move_into_place() {
    if (::rename(path_.c_str(), target_.c_str()) != 0) throw_unwritable(target_, "renaming", errno);
    moved_ = true;
  }

 private:
  /// False if `remove_abandoned` was faster. Some file systems have no locks; it removes nothing there.
  bool lock() {
    while (::flock(file_.number(), LOCK_EX) != 0 && errno == EINTR) continue;
    struct ::stat own {};
    return ::fstat(file_.number(), &own) != 0 || own.st_nlink > 0;
  }

  std::string target_;
  std::string path_;
  Descriptor file_{};
  Descriptor lock_{};
  bool moved_ = false;
};

/// What a symbolic link leads to; any other path as it is, and so is a link that leads nowhere.
inline std::string followed(const std::string& path) {
  struct ::stat status {};
  if (::lstat(path.c_str(), &status) != 0 || !S_ISLNK(status.st_mode)) return path;
  char* const resolved = ::realpath(path.c_str(), nullptr);
  if (resolved == nullptr) return path;
  std::string target(resolved);
  std::free(resolved);
  return target;
}

/// The folder of a file, with a slash at its end unless it is the current one.
inline std::string folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash + 1);
}

/// Makes the renaming of a file last through a power failure, where the file system can and the folder may be
/// read.
inline void flush_folder_of(const std::string& path) {
  const Descriptor folder(::open(folder_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const int error = folder.is_open() ? flush(folder) : errno;
  for (const int harmless : {0, EACCES, EINVAL, ENOTSUP, EOPNOTSUPP, ENOSYS}) {
    if (error == harmless) return;
  }
  throw_unwritable(path, "flushing its folder to the disk", error);
}

/// Whether a file's name is that of a temporary one beside `target`.
inline bool is_temporary(std::string_view name, std::string_view target) {
  if (!name.starts_with(target)) return false;
  name.remove_prefix(target.size());
  if (!name.starts_with(temporary_mark)) return false;
  name.remove_prefix(temporary_mark.size());
  const std::size_t dash = name.find('-');
  const auto is_number = [](std::string_view digits) {
    return !digits.empty() && digits.find_first_not_of("0123456789") == std::string_view::npos;
  };
  return dash != std::string_view::npos && is_number(name.substr(0, dash)) &&
         is_number(name.substr(dash + 1));
}

/// Removes a temporary file; whether it was nobody's.
inline bool removed_if_abandoned(const std::string& path) {
  const Descriptor file(::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC));
  struct ::stat status {};
  return file.is_open() && ::fstat(file.number(), &status) == 0 && S_ISREG(status.st_mode) &&
         ::flock(file.number(), LOCK_EX | LOCK_NB) == 0 && ::unlink(path.c_str()) == 0;
}

}  // namespace detail

/// Replaces the content of the file `path` (which need not exist, its folder must) by `text`: a temporary
/// file in the same folder is written, flushed to the disk and renamed, so that a reader, or a crash at any
/// moment, finds the old content or the new, never a part. A symbolic link is followed, and the mode of an
/// existing file is kept.
/// @throws FileError naming the file and what failed; then the old content is untouched, but for an error of
/// the device as the folder is flushed: then the new content is in place, and a power failure may bring the
/// old one back. That a file system cannot flush folders is no error.
inline void write_atomically(const std::string& path, std::string_view text) {
  const std::string target = detail::followed(path);
  detail::TemporaryFile file(target);
  file.write(text);
  file.finish();
  file.move_into_place();
  detail::flush_folder_of(target);
}

/// Removes the temporary files beside `path` that writers of it left behind when they were killed; those of
/// writers that are at work stay. How many there were. Nothing is an error.
inline Index remove_abandoned(const std::string& path) {
  const std::string target = detail::followed(path);
  const std::string folder = detail::folder_of(target);
  const std::string name = target.substr(target.rfind('/') + 1);
  ::DIR* const entries = name.empty() ? nullptr : ::opendir(folder.c_str());
  if (entries == nullptr) return 0;
  std::vector<std::string> found;
  while (const ::dirent* const entry = ::readdir(entries)) {
    if (detail::is_temporary(entry->d_name, name)) found.push_back((folder + "/").append(entry->d_name));
  }
  ::closedir(entries);
  Index removed = 0;
  for (const std::string& file : found) {
    if (detail::removed_if_abandoned(file)) ++removed;
  }
  return removed;
}

}  // namespace metalqr::inline METALQR_ABI::io
