#pragma once

/// @file
/// Tasks, gains and results as JSON. Needs nlohmann-json (CMake component metalqr::json).

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <metalqr/core/check.hpp>
#include <metalqr/io/atomic_file.hpp>
#include <metalqr/io/json_document.hpp>
#include <metalqr/lqr/task.hpp>

namespace metalqr::inline METALQR_ABI::io {

namespace detail {

/// The number of states or inputs that the backend has at compile time; below 0 if any.
template <class Backend>
constexpr Index fixed_size(bool states) {
  if constexpr (requires {
                  Backend::states;
                  Backend::inputs;
                }) {
    return states ? Backend::states : Backend::inputs;
  } else {
    return -1;
  }
}

/// The matrix `x`, which has the shape of `rows`, with their numbers.
template <class Backend, class X>
X filled(X x, const std::vector<std::vector<double>>& rows) {
  using Scalar = typename Backend::Scalar;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    for (std::size_t j = 0; j < rows[i].size(); ++j)
      x(static_cast<Index>(i), static_cast<Index>(j)) = static_cast<Scalar>(rows[i][j]);
  }
  return x;
}

/// Reads the matrices of a document into a backend's types.
template <MatrixBackend Backend>
class MatrixReader {
 public:
  explicit MatrixReader(const JsonDocument& document) : document_(document) {}

  typename Backend::StateMatrix state_matrix(const std::string& field) const {
    const auto rows = checked(field, true, true);
    return filled<Backend>(Backend::zero_state_matrix(static_cast<Index>(rows.size())), rows);
  }
  typename Backend::InputMatrix input_matrix(const std::string& field) const {
    const auto rows = checked(field, true, false);
    return filled<Backend>(Backend::zero_input_matrix(static_cast<Index>(rows.size()), columns(rows)), rows);
  }
  typename Backend::ControlMatrix control_matrix(const std::string& field) const {
    const auto rows = checked(field, false, false);
    return filled<Backend>(Backend::zero_control_matrix(static_cast<Index>(rows.size())), rows);
  }
  typename Backend::Gain gain(const std::string& field) const {
    const auto rows = checked(field, false, true);
    return filled<Backend>(Backend::zero_gain(static_cast<Index>(rows.size()), columns(rows)), rows);
  }

 private:
  using Rows = std::vector<std::vector<double>>;

  static Index columns(const Rows& rows) { return static_cast<Index>(rows.front().size()); }

  /// The rows of a matrix with a row for each state or input, and a column for each state or input.
  Rows checked(const std::string& field, bool row_is_state, bool column_is_state) const {
    Rows rows = document_.matrix(field);
    const Index height = static_cast<Index>(rows.size());
    const auto mismatch = [&](const std::string& expected) {
      throw DimensionMismatch(document_.source() + ": field " + field + ": expected " + expected +
                              ", got shape " + metalqr::detail::shape(height, columns(rows)));
    };
    if (row_is_state == column_is_state && height != columns(rows)) mismatch("a square matrix");
    const auto require = [&](Index got, bool states, const char* what) {
      const Index size = fixed_size<Backend>(states);
      if (size >= 0 && got != size) mismatch(std::to_string(size) + what);
    };
    require(height, row_is_state, " rows");
    require(columns(rows), column_is_state, " columns");
    return rows;
  }

  const JsonDocument& document_;
};

template <MatrixBackend Backend>
Task<Backend> read_plain_task(const JsonDocument& document) {
  const MatrixReader<Backend> read(document);
  // A misspelt optional field would be overlooked.
  for (const auto& item : document.root().items()) {
    const std::string& key = item.key();
    if (key == "sigma0" || key == "Sigma_0" || key == "sigma_0" || key == "SIGMA0")
      document.fail(key, -1, "expected the name Sigma0");
  }
  const auto A = read.state_matrix("A");
  const auto B = read.input_matrix("B");
  const auto Q = read.state_matrix("Q");
  const auto R = read.control_matrix("R");
  if (document.has("Sigma0")) return {A, B, Q, R, read.state_matrix("Sigma0")};
  return {A, B, Q, R};
}

}  // namespace detail

/// The task in the fields A, B, Q, R and, if present, Sigma0 (else the identity); other fields are left
/// alone. Every number is read as the nearest double and converted.
/// @throws ParseError naming the source, the field and the row, also for a cross term N, which a `Task` has
/// not (see `read_task_with_cross_term`); DimensionMismatch, NotPositiveDefinite, NotFinite.
template <MatrixBackend Backend>
Task<Backend> read_task(const JsonDocument& document) {
  if (document.has("N")) document.fail("N", -1, "expected a task without cross term");
  return detail::read_plain_task<Backend>(document);
}

/// A task and its cross term, as they were read; `with_cross_term` makes them one task.
template <MatrixBackend Backend>
struct ReadTask {
  Task<Backend> task;               ///< without cross term
  typename Backend::InputMatrix N;  ///< n_x x n_u, of the stage cost x'Qx + 2 x'Nu + u'Ru
};

/// The task in the fields A, B, Q, R, the optional Sigma0, and the optional cross term N (n_x x n_u; zero if
/// absent).
/// @throws ParseError naming the source, the field and the row; DimensionMismatch, NotPositiveDefinite,
/// NotFinite.
template <MatrixBackend Backend>
ReadTask<Backend> read_task_with_cross_term(const JsonDocument& document) {
  const Task<Backend> task = detail::read_plain_task<Backend>(document);
  ReadTask<Backend> result{task, Backend::zero_input_matrix(task.nx(), task.nu())};
  if (document.has("N")) {
    result.N = detail::MatrixReader<Backend>(document).input_matrix("N");
    metalqr::detail::require_shape<Backend>(result.N, task.nx(), task.nu(), "N");
  }
  return result;
}

/// The gain (n_u x n_x) in a field.
/// @throws ParseError naming the source, the field and the row; DimensionMismatch.
template <MatrixBackend Backend>
typename Backend::Gain read_gain(const JsonDocument& document, const std::string& field = "K") {
  return detail::MatrixReader<Backend>(document).gain(field);
}

/// The matrix as a list of rows. Its numbers are those of `Backend::to_double`; as text they have all digits
/// that are needed to read the same doubles back, bit by bit.
/// @param name for the message.
/// @throws NotFinite for a NaN or infinity, which JSON has not.
template <MatrixBackend Backend, class X>
Json to_json(const X& x, const char* name = "matrix") {
  metalqr::detail::require_finite<Backend>(x, name);
  Json rows = Json::array();
  for (Index i = 0; i < Backend::rows(x); ++i) {
    Json row = Json::array();
    for (Index j = 0; j < Backend::cols(x); ++j) row.push_back(Backend::to_double(x(i, j)));
    rows.push_back(std::move(row));
  }
  return rows;
}

/// The task as an object with the fields A, B, Q, R, Sigma0, which `read_task` reads.
/// @throws NotFinite if a number is beyond the range of double.
template <MatrixBackend Backend>
Json to_json(const Task<Backend>& task) {
  return {{"A", to_json<Backend>(task.A(), "A")},
          {"B", to_json<Backend>(task.B(), "B")},
          {"Q", to_json<Backend>(task.Q(), "Q")},
          {"R", to_json<Backend>(task.R(), "R")},
          {"Sigma0", to_json<Backend>(task.Sigma0(), "Sigma0")}};
}

/// Writes a JSON value to a file, atomically, one field of the outermost object a line; see
/// `write_atomically`.
/// @throws FileError.
inline void write_json(const std::string& path, const Json& value) {
  if (!value.is_object() || value.empty()) {
    write_atomically(path, value.dump() + "\n");
    return;
  }
  std::string text = "{";
  for (const auto& item : value.items()) {
    text += text.size() > 1 ? ",\n " : "\n ";
    text += Json(item.key()).dump() + ": " + item.value().dump();
  }
  write_atomically(path, text + "\n}\n");
}

}  // namespace metalqr::inline METALQR_ABI::io
