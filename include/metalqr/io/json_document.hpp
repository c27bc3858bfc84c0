#pragma once

/// @file
/// JSON text as a document whose matrices are checked as they are read. Needs nlohmann-json (CMake component
/// metalqr::json).

#include <cstddef>
#include <exception>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/error.hpp>
#include <metalqr/io/text_file.hpp>

namespace metalqr::inline METALQR_ABI::io {

/// A JSON value whose objects keep the order of their fields.
using Json = nlohmann::ordered_json;

namespace detail {

/// What nlohmann's exceptions say, without their identifiers.
inline std::string plain_message(const std::exception& error) {
  const std::string message = error.what();
  const std::size_t end = message.starts_with("[json.exception") ? message.find("] ") : std::string::npos;
  return end == std::string::npos ? message : message.substr(end + 2);
}

/// "an empty list", "text", ...: what was found instead.
inline std::string kind_of(const Json& value) {
  if (value.is_null()) return "null";
  if (value.is_boolean()) return "a truth value";
  if (value.is_string()) return "the text \"" + value.get<std::string>() + "\"";
  if (value.is_number()) return "the number " + value.dump();
  if (value.is_object()) return "an object";
  return value.empty() ? "an empty list" : "a list";
}

/// The matrix in `value` as a list of rows of equal length. `fail(row, message)`, which must throw, is told
/// what is wrong; a row below 0 is the whole list.
template <class Fail>
std::vector<std::vector<double>> matrix_rows(const Json& value, const Fail& fail) {
  if (!value.is_array() || value.empty()) fail(-1, "expected a list of rows, got " + kind_of(value));
  std::vector<std::vector<double>> rows;
  for (std::size_t i = 0; i < value.size(); ++i) {
    const Json& row = value[i];
    const Index at = static_cast<Index>(i);
    if (!row.is_array() || row.empty()) fail(at, "expected a list of numbers, got " + kind_of(row));
    if (row.size() != value[0].size()) {
      fail(at, "expected " + std::to_string(value[0].size()) + " numbers as in row 0, got " +
                   std::to_string(row.size()));
    }
    std::vector<double> entries;
    for (const Json& entry : row) {
      if (!entry.is_number()) {
        fail(at, "expected a number in column " + std::to_string(entries.size()) + ", got " + kind_of(entry));
      }
      entries.push_back(entry.get<double>());
    }
    rows.push_back(std::move(entries));
  }
  return rows;
}

/// Follows a parser through a text, and says where it stands when something is wrong. `fail(field, row,
/// message)` must throw.
template <class Fail>
class JsonPlaces : public nlohmann::json_sax<Json> {
 public:
  explicit JsonPlaces(Fail fail) : fail_(std::move(fail)) {}

  bool null() override { return true; }
  bool boolean(bool /*value*/) override { return true; }
  bool number_integer(number_integer_t /*value*/) override { return true; }
  bool number_unsigned(number_unsigned_t /*value*/) override { return true; }
  bool number_float(number_float_t /*value*/, const string_t& /*text*/) override { return true; }
  bool string(string_t& /*value*/) override { return true; }
  bool binary(binary_t& /*value*/) override { return true; }
  bool start_object(std::size_t /*size*/) override {
    ++depth_;
    return true;
  }
  bool key(string_t& name) override {
    if (depth_ != 1) return true;
    field_ = name;
    row_ = -1;
    if (!fields_.insert(name).second) fail_(field_, Index{-1}, "expected once, got it again");
    return true;
  }
  bool end_object() override {
    --depth_;
    return true;
  }
  bool start_array(std::size_t /*size*/) override {
    if (depth_ == 2) ++row_;
    ++depth_;
    return true;
  }
  bool end_array() override {
    --depth_;
    return true;
  }
  bool parse_error(std::size_t /*position*/, const std::string& /*token*/,
                   const nlohmann::detail::exception& error) override {
    fail_(field_, row_, "expected valid JSON, got " + plain_message(error));
    return false;
  }

 private:
  Fail fail_;
  int depth_ = 0;
  std::string field_{};
  Index row_ = -1;
  std::set<std::string> fields_{};
};

}  // namespace detail

/// A JSON object that has been read, with the name of its source for messages. Matrices are lists of rows,
/// such as [[1, 2], [3, 4]]; rows and columns are counted from 0.
class JsonDocument {
 public:
  /// Parses text; `source` names it in messages.
  /// @throws ParseError unless it is one JSON object without repeated fields; NaN and numbers beyond the
  /// range of double are none.
  explicit JsonDocument(std::string_view text, std::string source = "text") : source_(std::move(source)) {
    // A pass for the places, then one for the values: a parser with a callback takes a time that grows with
    // the square of the longest list.
    detail::JsonPlaces places([this](const std::string& field, Index row, const std::string& message) {
      fail(field, row, message);
    });
    Json::sax_parse(text.begin(), text.end(), &places);
    root_ = Json::parse(text.begin(), text.end());
    if (!root_.is_object())
      throw ParseError(source_ + ": expected a JSON object, got " + detail::kind_of(root_));
  }
  /// Reads a file; "-" is standard input.
  /// @throws ParseError also if the file cannot be read.
  static JsonDocument from_file(const std::string& path) {
    return JsonDocument(read_text(path), path == "-" ? "standard input" : path);
  }

  /// The whole object.
  const Json& root() const noexcept { return root_; }
  /// Name of the file, or of the text.
  const std::string& source() const noexcept { return source_; }
  /// Whether there is a field of this name.
  bool has(const std::string& field) const { return root_.contains(field); }

  /// The matrix in `field` as a list of rows of equal length.
  /// @throws ParseError naming the field and the row if it is missing, empty, ragged, or has an entry that is
  /// no number.
  std::vector<std::vector<double>> matrix(const std::string& field) const {
    if (!has(field)) {
      std::string present;
      for (const auto& item : root_.items()) present += (present.empty() ? "" : ", ") + item.key();
      fail(field, -1, "expected a matrix, the field is missing (there are: " + present + ")");
    }
    return detail::matrix_rows(root_.at(field),
                               [&](Index row, const std::string& message) { fail(field, row, message); });
  }

  /// Throws `ParseError`: "FILE: field A, row 1: MESSAGE"; a row below 0 is left out.
  [[noreturn]] void fail(const std::string& field, Index row, const std::string& message) const {
    throw ParseError(source_ + ": " + (field.empty() ? "" : "field " + field) +
                     (row < 0 ? "" : ", row " + std::to_string(row)) + (field.empty() ? "" : ": ") + message);
  }

 private:
  std::string source_;
  Json root_;
};

}  // namespace metalqr::inline METALQR_ABI::io
