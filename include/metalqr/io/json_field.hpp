#pragma once

/// @file
/// A place in a JSON document whose value is checked as it is read. Needs nlohmann-json (CMake component
/// metalqr::json).

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <metalqr/core/index.hpp>
#include <metalqr/io/json_document.hpp>

namespace metalqr::inline METALQR_ABI::io {

/// A number as JSON, which has no NaN and no infinities: they become the texts "nan", "inf", "-inf".
/// `JsonField::number` reads the same double back, bit by bit (of a NaN, that it is one).
inline Json number_to_json(double value) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  if (value == infinity) return "inf";
  if (value == -infinity) return "-inf";
  if (value != value) return "nan";
  return value;
}

/// A value inside a document and where it is, such as "agents[3].version", for messages. The document must
/// outlive it. Every reader throws `ParseError` that names source, place, value and what was expected.
class JsonField {
 public:
  /// The whole document.
  explicit JsonField(const JsonDocument& document) : JsonField(document, document.root(), "") {}

  /// The field of an object.
  JsonField field(const std::string& name) const {
    if (!value_->is_object()) fail("expected an object, got " + detail::kind_of(*value_));
    const std::string place = place_.empty() ? name : place_ + "." + name;
    const auto found = value_->find(name);
    if (found == value_->end()) document_->fail(place, -1, "expected a value, the field is missing");
    return {*document_, *found, place};
  }
  /// Whether it is an object with this field.
  bool has(const std::string& name) const { return value_->is_object() && value_->contains(name); }
  /// Length of a list.
  std::size_t size() const {
    if (!value_->is_array()) fail("expected a list, got " + detail::kind_of(*value_));
    return value_->size();
  }
  /// An entry of a list, counted from 0 and below `size()`.
  JsonField entry(std::size_t i) const {
    return {*document_, (*value_)[i], place_ + "[" + std::to_string(i) + "]"};
  }

  /// A truth value.
  bool flag() const {
    if (!value_->is_boolean()) fail("expected a truth value, got " + detail::kind_of(*value_));
    return value_->get<bool>();
  }
  /// A text.
  std::string text() const {
    if (!value_->is_string()) fail("expected a text, got " + detail::kind_of(*value_));
    return value_->get<std::string>();
  }
  /// A whole number from `low` to `high`.
  Index integer(Index low = 0, Index high = std::numeric_limits<Index>::max()) const {
    const bool fits =
        value_->is_number_integer() &&
        (!value_->is_number_unsigned() ||
         value_->get<std::size_t>() <= static_cast<std::size_t>(std::numeric_limits<Index>::max()));
    const Index value = fits ? value_->get<Index>() : 0;
    if (fits && value >= low && value <= high) return value;
    const std::string range = high == std::numeric_limits<Index>::max()
                                  ? "of at least " + std::to_string(low)
                                  : "from " + std::to_string(low) + " to " + std::to_string(high);
    fail("expected a whole number " + range + ", got " + detail::kind_of(*value_));
  }
  /// A whole number of at least 0, of 64 bits.
  std::uint64_t unsigned_integer() const {
    if (value_->is_number_unsigned()) return value_->get<std::uint64_t>();
    fail("expected a whole number of at least 0, got " + detail::kind_of(*value_));
  }
  /// A number, or one of the texts "nan", "inf", "-inf"; see `number_to_json`.
  double number() const {
    constexpr double infinity = std::numeric_limits<double>::infinity();
    if (value_->is_number()) return value_->get<double>();
    if (*value_ == "inf") return infinity;
    if (*value_ == "-inf") return -infinity;
    if (*value_ == "nan") return std::numeric_limits<double>::quiet_NaN();
    fail(R"(expected a number, "inf", "-inf" or "nan", got )" + detail::kind_of(*value_));
  }
  /// The rows of a matrix; see `JsonDocument::matrix`.
  std::vector<std::vector<double>> matrix() const {
    return detail::matrix_rows(
        *value_, [&](Index row, const std::string& message) { document_->fail(place_, row, message); });
  }
  /// Whether it is an empty list.
  bool is_empty() const { return value_->is_array() && value_->empty(); }

  /// Where it is.
  const std::string& place() const noexcept { return place_; }
  /// Name of the file, or of the text.
  const std::string& source() const noexcept { return document_->source(); }
  /// Throws `ParseError`: "FILE: field agents[3].version: MESSAGE".
  [[noreturn]] void fail(const std::string& message) const { document_->fail(place_, -1, message); }

 private:
  JsonField(const JsonDocument& document, const Json& value, std::string place)
      : document_(&document), value_(&value), place_(std::move(place)) {}

  const JsonDocument* document_;
  const Json* value_;
  std::string place_;
};

namespace detail {

/// Throws `ParseError` unless the fields `format` and `format_version` say this.
inline void require_format(const JsonField& root, const std::string& format, Index version) {
  const std::string found = root.field("format").text();
  if (found != format) root.field("format").fail("expected \"" + format + "\", got \"" + found + "\"");
  root.field("format_version").integer(version, version);
}

}  // namespace detail

}  // namespace metalqr::inline METALQR_ABI::io
