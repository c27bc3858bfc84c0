#pragma once

/// @file
/// Reading a text file as a whole.

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <string>

#include <metalqr/core/error.hpp>

namespace metalqr::inline METALQR_ABI::io {

namespace detail {

/// "FILE: expected a readable file, got 'No such file or directory'".
[[noreturn]] inline void throw_unreadable(const std::string& path, int error) {
  throw ParseError(path + ": expected a readable file, got '" + std::strerror(error) + "'");
}

/// A file open for reading, "-" for standard input; closed when it goes out of scope.
class InputFile {
 public:
  explicit InputFile(const std::string& path)
      : stream_(path == "-" ? stdin : std::fopen(path.c_str(), "rb")) {}
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;
  InputFile(InputFile&&) = delete;
  InputFile& operator=(InputFile&&) = delete;
  ~InputFile() {
    if (stream_ != nullptr && stream_ != stdin) static_cast<void>(std::fclose(stream_));
  }
  /// Null if it could not be opened.
  std::FILE* stream() const { return stream_; }

 private:
  std::FILE* stream_;
};

}  // namespace detail

/// Everything in the file `path`; "-" is standard input.
/// @throws ParseError naming the file if it cannot be read.
inline std::string read_text(const std::string& path) {
  errno = 0;
  const detail::InputFile file(path);
  if (file.stream() == nullptr) detail::throw_unreadable(path, errno);
  std::string text;
  char buffer[1 << 14];
  for (;;) {
    errno = 0;
    const std::size_t count = std::fread(buffer, 1, sizeof buffer, file.stream());
    text.append(buffer, count);
    if (count == sizeof buffer) continue;
    if (std::ferror(file.stream()) != 0) detail::throw_unreadable(path, errno);
    return text;
  }
}

}  // namespace metalqr::inline METALQR_ABI::io
