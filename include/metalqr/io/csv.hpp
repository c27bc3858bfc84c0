#pragma once

/// @file
/// Tables of numbers as CSV text.

#include <charconv>
#include <cstddef>
#include <limits>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <metalqr/core/error.hpp>
#include <metalqr/io/atomic_file.hpp>
#include <metalqr/io/text_file.hpp>

namespace metalqr::inline METALQR_ABI::io {

/// A table of numbers with named columns. As text: the comments, each on a line that begins with "# ", the
/// names of the columns, then one line a row, all separated by commas; a NaN ("nan") stands for a value that
/// does not exist.
struct Table {
  std::vector<std::string> comments{};      ///< leading lines, such as the source of the data
  std::vector<std::string> columns{};       ///< names, without commas, quotes and line breaks
  std::vector<std::vector<double>> rows{};  ///< each as long as `columns`

  /// Position of the column `name`.
  /// @throws InvalidOption if there is none.
  std::size_t column(std::string_view name) const {
    for (std::size_t i = 0; i < columns.size(); ++i) {
      if (columns[i] == name) return i;
    }
    throw InvalidOption("name: expected a column of the table, got '" + std::string(name) + "'");
  }
};

/// The shortest text that is read back as the same double, bit by bit: at most 17 digits; "nan", "inf".
inline std::string full_precision(double value) {
  char buffer[32];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
  std::string text(buffer, end);
  if (text == "-nan") text = "nan";
  return text;
}

/// The table as text.
/// @throws DimensionMismatch for a row of another length than `columns`, InvalidOption for a name or comment
/// that cannot be written.
inline std::string to_csv(const Table& table) {
  std::string text;
  const auto join = [&text](const auto& items, const auto& written) {
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (i > 0) text += ',';
      text += written(items[i]);
    }
    text += '\n';
  };
  for (const std::string& comment : table.comments) {
    if (comment.find_first_of("\r\n") != std::string::npos)
      throw InvalidOption("comments: expected one line each, got '" + comment + "'");
    text += "# " + comment + "\n";
  }
  if (table.columns.empty()) throw InvalidOption("columns: expected at least one name, got none");
  for (const std::string& name : table.columns) {
    if (name.empty() || name.front() == '#' || name.find_first_of(",\"\r\n") != std::string::npos)
      throw InvalidOption("columns: expected a name without comma, quote and line break, got '" + name + "'");
  }
  join(table.columns, [](const std::string& name) { return name; });
  for (std::size_t i = 0; i < table.rows.size(); ++i) {
    if (table.rows[i].size() != table.columns.size()) {
      throw DimensionMismatch("rows: expected " + std::to_string(table.columns.size()) +
                              " numbers in each, got " + std::to_string(table.rows[i].size()) + " in row " +
                              std::to_string(i));
    }
    join(table.rows[i], full_precision);
  }
  return text;
}

namespace detail {

/// The cell without blanks around it, nor quotes around the rest.
inline std::string_view trimmed_cell(std::string_view cell) {
  const std::size_t first = cell.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  cell = cell.substr(first, cell.find_last_not_of(" \t") + 1 - first);
  if (cell.size() < 2 || cell.front() != '"' || cell.back() != '"') return cell;
  return trimmed_cell(cell.substr(1, cell.size() - 2));
}

/// The cells of a line; a comma between quotes separates nothing.
inline std::vector<std::string_view> split_csv_line(std::string_view line) {
  std::vector<std::string_view> cells;
  std::size_t begin = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '"') quoted = !quoted;
    if (line[i] != ',' || quoted) continue;
    cells.push_back(trimmed_cell(line.substr(begin, i - begin)));
    begin = i + 1;
  }
  cells.push_back(trimmed_cell(line.substr(begin)));
  return cells;
}

/// The number in a cell; false if it is none. A magnitude beyond the largest double is none either.
inline bool read_cell(std::string_view cell, double& value) {
  if (cell.size() > 1 && cell[0] == '+' && cell[1] != '-') cell.remove_prefix(1);
  const char* const end = cell.data() + cell.size();
  const auto result = std::from_chars(cell.data(), end, value);
  return !cell.empty() && result.ec == std::errc() && result.ptr == end;
}

}  // namespace detail

namespace detail {

/// What an empty cell is.
enum class EmptyCell { error, nan };

/// `parse_csv`, which appends the line of each row, from 1, to `lines`.
inline Table parse_csv(std::string_view text, const std::string& source, EmptyCell empty,
                       std::vector<std::size_t>& lines) {
  Table table;
  std::size_t number = 0;
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);  // the mark of UTF-8 that spreadsheets write
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    ++number;
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (line.find_first_not_of(" \t") == std::string_view::npos) continue;
    if (table.columns.empty() && line.front() == '#') {
      line.remove_prefix(line.starts_with("# ") ? 2 : 1);
      table.comments.emplace_back(line);
      continue;
    }
    const auto cells = split_csv_line(line);
    if (table.columns.empty()) {
      table.columns.assign(cells.begin(), cells.end());
      continue;
    }
    const std::string where = source + ": line " + std::to_string(number);
    if (cells.size() != table.columns.size()) {
      throw ParseError(where + ": expected " + std::to_string(table.columns.size()) + " cells, got " +
                       std::to_string(cells.size()));
    }
    std::vector<double> row(cells.size());
    for (std::size_t i = 0; i < cells.size(); ++i) {
      if (cells[i].empty() && empty == EmptyCell::nan) {
        row[i] = std::numeric_limits<double>::quiet_NaN();
      } else if (!read_cell(cells[i], row[i])) {
        throw ParseError(where + ", column " + table.columns[i] + ": expected a number, got '" +
                         std::string(cells[i]) + "'");
      }
    }
    table.rows.push_back(std::move(row));
    lines.push_back(number);
  }
  if (table.columns.empty())
    throw ParseError(source + ": expected a line with the names of the columns, got none");
  return table;
}

}  // namespace detail

/// Reads a table from text; blanks and quotes around cells, empty lines and Windows line ends are fine,
/// comments stand above the names. `source` names the text in messages.
/// @throws ParseError naming source, line and column: no names, a row of another length, a cell that is no
/// number.
inline Table parse_csv(std::string_view text, const std::string& source = "text") {
  std::vector<std::size_t> lines;
  return detail::parse_csv(text, source, detail::EmptyCell::error, lines);
}

/// Reads a table from a file.
/// @throws ParseError; see `parse_csv`.
inline Table read_csv(const std::string& path) {
  return parse_csv(read_text(path), path);
}

/// Writes a table to a file, atomically; see `write_atomically`.
/// @throws FileError, DimensionMismatch, InvalidOption.
inline void write_csv(const std::string& path, const Table& table) {
  write_atomically(path, to_csv(table));
}

}  // namespace metalqr::inline METALQR_ABI::io
