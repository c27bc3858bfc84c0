#pragma once

/// @file
/// Writing a file so that it is never seen half-written. POSIX only.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include <metalqr/core/error.hpp>

namespace metalqr::inline METALQR_ABI::io {

namespace detail {

/// "FILE: expected a writable file, got 'Permission denied' (what failed)".
[[noreturn]] inline void throw_unwritable(const std::string& path, const char* what, int error) {
  throw FileError(path + ": expected a writable file, got '" + std::strerror(error) + "' (" + what + ")");
}

/// A file of a name of its own, which disappears unless it is moved to its place.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& target) : target_(target) {
    static std::atomic<unsigned> counter{0};
    for (int attempt = 0; attempt < 1000 && descriptor_ < 0; ++attempt) {
      path_ = target + ".tmp-" + std::to_string(::getpid()) + "-" + std::to_string(counter++);
      descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
      if (descriptor_ < 0 && errno != EEXIST) break;
    }
    if (descriptor_ < 0) throw_unwritable(target_, "creating a temporary file beside it", errno);
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  TemporaryFile(TemporaryFile&&) = delete;
  TemporaryFile& operator=(TemporaryFile&&) = delete;
  ~TemporaryFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
    if (!moved_) ::unlink(path_.c_str());
  }

  void write(std::string_view text) {
    while (!text.empty()) {
      const ::ssize_t count = ::write(descriptor_, text.data(), text.size());
      if (count >= 0) {
        text.remove_prefix(static_cast<std::size_t>(count));
      } else if (errno != EINTR) {
        throw_unwritable(target_, "writing", errno);
      }
    }
  }
  void move_into_place() {
    struct ::stat old {};
    if (::stat(target_.c_str(), &old) == 0) {
      if (!S_ISREG(old.st_mode)) throw FileError(target_ + ": expected a regular file or none");
      if (::fchmod(descriptor_, old.st_mode & 07777) != 0)
        throw_unwritable(target_, "setting its mode", errno);
    }
    if (::fsync(descriptor_) != 0) throw_unwritable(target_, "flushing to the disk", errno);
    const int descriptor = descriptor_;
    descriptor_ = -1;
    if (::close(descriptor) != 0) throw_unwritable(target_, "closing", errno);
    if (::rename(path_.c_str(), target_.c_str()) != 0) throw_unwritable(target_, "renaming", errno);
    moved_ = true;
  }

 private:
  std::string target_;
  std::string path_;
  int descriptor_ = -1;
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

/// Makes the renaming of a file last through a power failure, where the file system can.
inline void flush_folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;
  static_cast<void>(::fsync(descriptor));
  ::close(descriptor);
}

}  // namespace detail

/// Replaces the content of the file `path` (which need not exist, its folder must) by `text`: a temporary
/// file in the same folder is written, flushed to the disk and renamed, so that a reader, or a crash at any
/// moment, finds the old content or the new, never a part. A symbolic link is followed, and the mode of an
/// existing file is kept.
/// @throws FileError naming the file and what failed; then the old content is untouched.
inline void write_atomically(const std::string& path, std::string_view text) {
  const std::string target = detail::followed(path);
  detail::TemporaryFile file(target);
  file.write(text);
  file.move_into_place();
  detail::flush_folder_of(target);
}

}  // namespace metalqr::inline METALQR_ABI::io
