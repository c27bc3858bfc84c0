#pragma once

/// @file
/// The error hierarchy: what the caller got wrong, or what the mathematics forbids.

#include <cstdio>
#include <stdexcept>
#include <string>

#include <metalqr/core/version.hpp>

namespace metalqr::inline METALQR_ABI {

/// Base of every exception of the library; `what()` names the argument, its value and what was expected.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A matrix or list has the wrong shape or length.
class DimensionMismatch : public Error {
 public:
  using Error::Error;
};

/// An argument holds a NaN or an infinity.
class NotFinite : public Error {
 public:
  using Error::Error;
};

/// A matrix that must be symmetric positive (semi)definite is not.
class NotPositiveDefinite : public Error {
 public:
  using Error::Error;
};

/// A gain does not stabilise its plant: the spectral radius of A - B K is not below one.
class NotStabilizing : public Error {
 public:
  /// @param message what was given and what was expected.
  /// @param spectral_radius rho(A - B K).
  NotStabilizing(const std::string& message, double spectral_radius)
      : Error(message), spectral_radius_(spectral_radius) {}

  /// rho(A - B K) of the rejected gain.
  double spectral_radius() const noexcept { return spectral_radius_; }

 private:
  double spectral_radius_;
};

/// No gain stabilises the pair (A, B), or none was found within the method's limits.
class NotStabilizable : public Error {
 public:
  using Error::Error;
};

/// Data do not determine what is estimated from them: the regressors have no full rank.
class RankDeficient : public Error {
 public:
  /// @param message what was given and what was expected.
  /// @param smallest_singular_value of the regressors with columns scaled to norm one; 0 if they have fewer
  /// rows than columns.
  RankDeficient(const std::string& message, double smallest_singular_value)
      : Error(message), smallest_singular_value_(smallest_singular_value) {}

  /// Of the rejected regressors, their columns scaled to norm one.
  double smallest_singular_value() const noexcept { return smallest_singular_value_; }

 private:
  double smallest_singular_value_;
};

/// An iteration reached its cap, or stalled, before it met its tolerance.
class NoConvergence : public Error {
 public:
  using Error::Error;
};

/// An option is outside its range.
class InvalidOption : public Error {
 public:
  using Error::Error;
};

/// A file or text cannot be read as what it should be.
class ParseError : public Error {
 public:
  using Error::Error;
};

/// A file cannot be written; what was there before is untouched.
class FileError : public Error {
 public:
  using Error::Error;
};

namespace detail {

/// Shortest readable form of a number for a message.
inline std::string text(double value) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.6g", value);
  return buffer;
}

/// "3x4", for a message.
template <class Rows, class Cols>
std::string shape(Rows rows, Cols cols) {
  return std::to_string(rows) + "x" + std::to_string(cols);
}

/// Throws `InvalidOption` unless `holds`: "radius: expected a positive number, got -1".
inline void require_option(bool holds, const char* name, double value, const char* expected) {
  if (!holds) throw InvalidOption(std::string(name) + ": expected " + expected + ", got " + text(value));
}

}  // namespace detail
}  // namespace metalqr::inline METALQR_ABI
