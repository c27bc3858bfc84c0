#pragma once

/// @file
/// Numbers and matrices as bytes, for messages between processes of one kind of machine.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <metalqr/core/error.hpp>
#include <metalqr/core/index.hpp>

namespace metalqr::inline METALQR_ABI {

/// The content of a message.
using Bytes = std::vector<std::byte>;

/// Something whose bytes are all that it is.
template <class T>
concept Plain = std::is_trivially_copyable_v<T> && !std::is_pointer_v<T>;

/// Puts values one behind the other. The scalars of matrices must be `Plain`.
class ByteWriter {
 public:
  /// Appends a value.
  template <Plain T>
  void put(const T& value) {
    const auto* first = reinterpret_cast<const std::byte*>(&value);
    bytes_.insert(bytes_.end(), first, first + sizeof value);
  }
  /// Appends a text and its length.
  void put_text(const std::string& text) {
    put(static_cast<std::uint64_t>(text.size()));
    for (const char c : text) bytes_.push_back(static_cast<std::byte>(c));
  }
  /// Appends the entries of a matrix, row by row, without its shape.
  template <class Backend, class X>
  void put_entries(const X& x) {
    for (Index i = 0; i < Backend::rows(x); ++i) {
      for (Index j = 0; j < Backend::cols(x); ++j) put(typename Backend::Scalar(x(i, j)));
    }
  }

  /// What was written so far.
  const Bytes& bytes() const noexcept { return bytes_; }
  /// Hands over what was written.
  Bytes take() { return std::move(bytes_); }

 private:
  Bytes bytes_;
};

/// Takes values in the order in which a `ByteWriter` put them. The bytes must outlive it.
class ByteReader {
 public:
  /// Begins with the first byte.
  explicit ByteReader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  /// The next value.
  /// @throws ParseError if fewer bytes are left.
  template <Plain T>
  T get() {
    T value;
    require(sizeof value);
    std::memcpy(&value, bytes_.data() + position_, sizeof value);
    position_ += sizeof value;
    return value;
  }
  /// The next text.
  /// @throws ParseError if fewer bytes are left.
  std::string get_text() {
    const auto length = static_cast<std::size_t>(get<std::uint64_t>());
    require(length);
    std::string text(length, '\0');
    if (length > 0) std::memcpy(text.data(), bytes_.data() + position_, length);
    position_ += length;
    return text;
  }
  /// The entries of the next matrix, which has the shape of `x`.
  /// @throws ParseError if fewer bytes are left.
  template <class Backend, class X>
  void get_entries(X& x) {
    for (Index i = 0; i < Backend::rows(x); ++i) {
      for (Index j = 0; j < Backend::cols(x); ++j) x(i, j) = get<typename Backend::Scalar>();
    }
  }

  /// Bytes that are left.
  std::size_t left() const noexcept { return bytes_.size() - position_; }
  /// Throws `ParseError` unless everything was taken.
  void require_end() const {
    if (left() == 0) return;
    throw ParseError("message: expected its end after " + std::to_string(position_) + " bytes, got " +
                     std::to_string(left()) + " more");
  }

 private:
  void require(std::size_t count) const {
    if (count <= left()) return;
    throw ParseError("message: expected " + std::to_string(count) + " more bytes after " +
                     std::to_string(position_) + ", got " + std::to_string(left()));
  }

  std::span<const std::byte> bytes_;
  std::size_t position_ = 0;
};

}  // namespace metalqr::inline METALQR_ABI
