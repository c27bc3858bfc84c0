#pragma once

/// @file
/// Reading a text file as a whole.

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>

#include <metalqr/core/error.hpp>

namespace metalqr::inline METALQR_ABI::io {

namespace detail {

/// "FILE: expected a readable file, got 'No such file or directory'".
[[noreturn]] inline void throw_unreadable(const std::string& path, int error) {
  throw ParseError(path + ": expected a readable file, got '" + std::strerror(error) + "'");
}

}  // namespace detail

/// Everything in the file `path`; "-" is standard input.
/// @throws ParseError naming the file if it cannot be read.
inline std::string read_text(const std::string& path) {
  struct Close {
    void operator()(std::FILE* file) const {
      if (file != stdin) static_cast<void>(std::fclose(file));
    }
  };
  errno = 0;
  const std::unique_ptr<std::FILE, Close> file(path == "-" ? stdin : std::fopen(path.c_str(), "rb"));
  if (!file) detail::throw_unreadable(path, errno);
  std::string text;
  char buffer[1 << 14];
  for (;;) {
    errno = 0;
    const std::size_t count = std::fread(buffer, 1, sizeof buffer, file.get());
    text.append(buffer, count);
    if (count == sizeof buffer) continue;
    if (std::ferror(file.get()) != 0) detail::throw_unreadable(path, errno);
    return text;
  }
}

}  // namespace metalqr::inline METALQR_ABI::io
