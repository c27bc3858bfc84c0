#pragma once

/// @file
/// Runs an example program as a user would.

#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "folder.hpp"

namespace test {

/// What a program left behind.
struct Outcome {
  int status = 0;  ///< exit status; -1 if it ended by a signal
  std::string out;
  std::string err;

  /// The last line of stdout as JSON.
  nlohmann::json last_line() const {
    if (out.empty() || out.back() != '\n') throw std::runtime_error("stdout does not end with a line");
    const std::size_t end = out.size() - 1;
    const std::size_t begin = out.rfind('\n', end - 1);
    return nlohmann::json::parse(out.substr(begin == std::string::npos ? 0 : begin + 1));
  }
};

/// Runs the example `name` in `folder` with `arguments` (words without quotes) and `input` on stdin.
inline Outcome run_program(const Folder& folder, const std::string& name, const std::string& arguments,
                           const std::string& input = "") {
  const std::string program = std::string(METALQR_EXAMPLES) + "/" + name;
  if (!std::filesystem::exists(program)) throw std::runtime_error("not built: " + program);
  const Folder streams;
  streams.write("in", input);
  const std::string command = "cd '" + folder.path().string() + "' && '" + program + "' " + arguments +
                              " <'" + streams.file("in") + "' >'" + streams.file("out") + "' 2>'" +
                              streams.file("err") + "'";
  const int status = std::system(command.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, streams.read("out"), streams.read("err")};
}

}  // namespace test
