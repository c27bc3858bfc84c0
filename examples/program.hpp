#pragma once

/// @file
/// What every example program shares: --help, --seed, --out, errors on stderr with an exit status, and one
/// line of JSON as the last line of stdout.

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <functional>
#include <iostream>
#include <string>
#include <system_error>
#include <utility>

#include <CLI/CLI.hpp>

#include <metalqr/core/error.hpp>
#include <metalqr/io/json_document.hpp>

namespace examples {

using Json = metalqr::io::Json;

/// A number for JSON; null where it is infinite or there is none.
inline Json number_or_null(double value) {
  return std::isfinite(value) ? Json(value) : Json(nullptr);
}

/// The name of an error's type.
inline std::string kind_of(const metalqr::Error& error) {
  if (dynamic_cast<const metalqr::DimensionMismatch*>(&error) != nullptr) return "DimensionMismatch";
  if (dynamic_cast<const metalqr::NotFinite*>(&error) != nullptr) return "NotFinite";
  if (dynamic_cast<const metalqr::NotPositiveDefinite*>(&error) != nullptr) return "NotPositiveDefinite";
  if (dynamic_cast<const metalqr::NotStabilizing*>(&error) != nullptr) return "NotStabilizing";
  if (dynamic_cast<const metalqr::NotStabilizable*>(&error) != nullptr) return "NotStabilizable";
  if (dynamic_cast<const metalqr::RankDeficient*>(&error) != nullptr) return "RankDeficient";
  if (dynamic_cast<const metalqr::NoConvergence*>(&error) != nullptr) return "NoConvergence";
  if (dynamic_cast<const metalqr::InvalidOption*>(&error) != nullptr) return "InvalidOption";
  if (dynamic_cast<const metalqr::ParseError*>(&error) != nullptr) return "ParseError";
  if (dynamic_cast<const metalqr::FileError*>(&error) != nullptr) return "FileError";
  return "Error";
}

/// One program. Make it, add your own options to `options()`, and return `run(argc, argv, job)` from main,
/// where the job prints what a person reads and returns the fields of the JSON line.
class Program {
 public:
  /// @param seed the default of --seed.
  Program(std::string name, const std::string& description, std::uint64_t seed = 0)
      : name_(std::move(name)), app_(description, name_), seed_(seed), out_("out/" + name_) {
    app_.add_option("--seed", seed_, "Seed of every random number")
        ->capture_default_str()
        ->check([](const std::string& text) {
          return text.find('-') == std::string::npos ? "" : "expected an integer not below 0, got " + text;
        });
    out_option_ = app_.add_option("--out", out_, "Folder for the files that are written, made if needed");
    out_option_->type_name("DIR")->capture_default_str();
    app_.footer(
        "The last line on stdout is one JSON object. Exit status: 0, 1 after an error, 2 for bad usage.");
  }

  /// To add options to, before `run`.
  CLI::App& options() { return app_; }
  /// The option --out, to change its description.
  CLI::Option& out_option() { return *out_option_; }
  /// The value of --seed.
  std::uint64_t seed() const { return seed_; }
  /// Whether --out was given.
  bool has_out() const { return out_option_->count() > 0; }
  /// The folder of --out, which is made when it is first asked for.
  /// @throws metalqr::FileError if that is not possible.
  const std::filesystem::path& out() {
    std::error_code error;
    std::filesystem::create_directories(out_, error);
    if (error || !std::filesystem::is_directory(out_, error)) {
      throw metalqr::FileError("--out " + out_.string() + ": expected a folder or a place to make one" +
                               (error ? ", got '" + error.message() + "'" : ""));
    }
    return out_;
  }
  /// The path of a file in that folder.
  std::string path(const std::string& file) { return (out() / file).string(); }

  /// Parses the command line and does the job; the exit status.
  int run(int argc, const char* const* argv, const std::function<Json()>& job) {
    try {
      app_.parse(argc, argv);
    } catch (const CLI::Success& success) {
      return app_.exit(success);
    } catch (const CLI::ParseError& error) {
      std::cerr << name_ << ": " << error.what() << "\nTry " << name_ << " --help\n";
      return 2;
    }
    try {
      Json line = {{"program", name_}, {"seed", seed_}};
      line.update(job());
      std::cout << line.dump() << std::endl;
      if (std::fflush(stdout) != 0 || !std::cout)
        throw metalqr::FileError("standard output: expected to be able to write");
      return 0;
    } catch (const metalqr::Error& error) {
      std::cerr << name_ << ": " << kind_of(error) << ": " << error.what() << '\n';
    } catch (const std::exception& error) {
      std::cerr << name_ << ": " << error.what() << '\n';
    }
    return 1;
  }

 private:
  std::string name_;
  CLI::App app_;
  std::uint64_t seed_;
  std::filesystem::path out_;
  CLI::Option* out_option_ = nullptr;
};

}  // namespace examples
