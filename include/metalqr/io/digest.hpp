#pragma once

/// @file
/// Digests: 64 bits that tell contents apart, the same on every machine. They find accidents, not forgeries.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/index.hpp>

namespace metalqr::inline METALQR_ABI::io {

/// FNV-1a of 64 bits (Fowler, Noll, Vo; RFC 9923) of the bytes of a text, or of what `before` is the digest
/// of, followed by them.
constexpr std::uint64_t fnv1a(std::string_view bytes, std::uint64_t before = 0xcbf29ce484222325) {
  std::uint64_t hash = before;
  for (const char byte : bytes) {
    hash ^= static_cast<unsigned char>(byte);
    hash *= 0x100000001b3;
  }
  return hash;
}

/// FNV-1a of a matrix: of its numbers as `Backend::to_double` gives them, row by row, each as the 8 bytes of
/// an IEEE double from the lowest to the highest. Its shape is no part of it; 0 and -0 differ.
template <MatrixBackend Backend, class X>
std::uint64_t digest(const X& x, std::uint64_t before = fnv1a("")) {
  std::uint64_t hash = before;
  for (Index i = 0; i < Backend::rows(x); ++i) {
    for (Index j = 0; j < Backend::cols(x); ++j) {
      const auto bits = std::bit_cast<std::uint64_t>(Backend::to_double(x(i, j)));
      char bytes[8];
      for (std::size_t k = 0; k < 8; ++k) bytes[k] = static_cast<char>(bits >> (8 * k) & 0xff);
      hash = fnv1a(std::string_view(bytes, sizeof bytes), hash);
    }
  }
  return hash;
}

/// 16 digits, of 0-9 and a-f.
inline std::string hex(std::uint64_t value) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text(16, '0');
  for (std::size_t i = 16; i-- > 0; value >>= 4) text[i] = digits[value & 15];
  return text;
}

}  // namespace metalqr::inline METALQR_ABI::io
