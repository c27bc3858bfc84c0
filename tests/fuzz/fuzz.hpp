#pragma once

/// What the fuzzing targets share: a property that does not hold ends the program.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <string>
#include <string_view>

#include <metalqr/core/eigen.hpp>

namespace fuzz {

using Backend = metalqr::EigenBackend<double>;
using metalqr::Index;

[[noreturn]] inline void fail(const std::string& message) {
  std::fprintf(stderr, "property: %s\n", message.c_str());
  std::abort();
}

inline void require(bool holds, const char* what) {
  if (!holds) fail(what);
}

inline std::string_view text_of(const std::uint8_t* data, std::size_t size) {
  // A string_view of nothing may point nowhere, which nlohmann's iterators do not like.
  return size == 0 ? std::string_view("") : std::string_view(reinterpret_cast<const char*>(data), size);
}

/// The same bits; all NaN are one, as JSON has no others.
inline bool same(double x, double y) {
  return std::bit_cast<std::uint64_t>(x) == std::bit_cast<std::uint64_t>(y) || (x != x && y != y);
}

template <class X>
bool same_matrix(const X& x, const X& y) {
  if (x.rows() != y.rows() || x.cols() != y.cols()) return false;
  for (Index j = 0; j < x.cols(); ++j) {
    for (Index i = 0; i < x.rows(); ++i) {
      if (!same(x(i, j), y(i, j))) return false;
    }
  }
  return true;
}

/// Takes numbers from bytes; when they are used up, zeros.
class Bytes {
 public:
  Bytes(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {}

  bool empty() const { return size_ == 0; }
  unsigned byte() {
    if (size_ == 0) return 0;
    --size_;
    return *data_++;
  }
  /// Below `count`.
  int below(int count) { return static_cast<int>(byte()) % count; }
  bool flag() { return (byte() & 1U) != 0; }
  std::uint64_t word() {
    std::uint64_t word = 0;
    for (int i = 0; i < 8; ++i) word = word << 8 | byte();
    return word;
  }
  /// One of the awkward numbers, a small one, or any.
  double number() {
    constexpr double infinity = std::numeric_limits<double>::infinity();
    constexpr double largest = std::numeric_limits<double>::max();
    constexpr double awkward[] = {0.0,     -0.0,     1.0,
                                  -1.0,    infinity, -infinity,
                                  largest, -largest, std::numeric_limits<double>::denorm_min(),
                                  1e200,   -1e200,   std::numeric_limits<double>::quiet_NaN()};
    const unsigned kind = byte();
    if (kind < std::size(awkward)) return awkward[kind];
    if (kind < 32) return std::bit_cast<double>(word());
    return (static_cast<double>(kind) - 128) / 16;
  }

 private:
  const std::uint8_t* data_;
  std::size_t size_;
};

}  // namespace fuzz
