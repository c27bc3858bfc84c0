#pragma once

/// @file
/// Recorded trajectories as CSV text.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/error.hpp>
#include <metalqr/identification/dataset.hpp>
#include <metalqr/io/csv.hpp>
#include <metalqr/io/text_file.hpp>

namespace metalqr::inline METALQR_ABI::io {

/// Which columns of a table are not states and inputs.
struct TrajectoryColumns {
  /// Whole numbers, equal in the rows of a rollout. A table without this column is one trajectory, unless
  /// another name than this is given.
  std::string rollout = "rollout";
  std::vector<std::string> ignored{};  ///< such as the time
};

namespace detail {

/// A table of trajectories and where its columns are.
class TrajectoryTable {
 public:
  TrajectoryTable(std::string_view text, const std::string& source, const TrajectoryColumns& columns)
      : source_(source), table_(parse_csv(text, source, EmptyCell::nan, lines_)) {
    for (std::size_t i = 0; i < table_.columns.size(); ++i) {
      const std::string& name = table_.columns[i];
      if (position(name) == i) continue;
      throw ParseError(source_ + ": column " + name + ": expected once, got it again");
    }
    std::vector<std::string> used = columns.ignored;
    states_ = numbered("x", used);
    inputs_ = numbered("u", used);
    rollout_ = position(columns.rollout);
    for (const auto* const part : {&states_, &inputs_}) {
      if (std::find(part->begin(), part->end(), rollout_) == part->end()) continue;
      throw ParseError(source_ + ": column " + columns.rollout +
                       ": expected the number of the rollout, not also a state or an input");
    }
    if (!has_rollouts() && columns.rollout != TrajectoryColumns{}.rollout) {
      throw ParseError(source_ + ": column " + columns.rollout +
                       ": expected a column of this name for the number of the rollout, got none");
    }
    used.push_back(columns.rollout);
    for (const std::string& name : columns.ignored) {
      if (std::count(used.begin(), used.end(), name) == 1 && position(name) < table_.columns.size()) continue;
      throw ParseError(
          source_ + ": column " + name +
          ": expected to ignore, once, a column of the table that is no state, input or rollout");
    }
    for (const std::string& name : table_.columns) {
      if (std::find(used.begin(), used.end(), name) != used.end()) continue;
      throw ParseError(source_ + ": column " + name +
                       ": expected states x1, x2, ..., inputs u1, u2, ... and " + columns.rollout +
                       ", or a column that is to be ignored");
    }
    if (table_.rows.empty()) throw ParseError(source_ + ": expected rows of numbers, got none");
    check_rows();
  }

  const std::vector<std::vector<double>>& rows() const { return table_.rows; }
  const std::vector<std::size_t>& states() const { return states_; }
  const std::vector<std::size_t>& inputs() const { return inputs_; }
  bool has_rollouts() const { return rollout_ < table_.columns.size(); }
  Index rollout(std::size_t row) const { return static_cast<Index>(table_.rows[row][rollout_]); }

 private:
  std::size_t position(const std::string& name) const {
    return static_cast<std::size_t>(std::find(table_.columns.begin(), table_.columns.end(), name) -
                                    table_.columns.begin());
  }
  /// The columns x1, x2, ..., whose names are appended to `used`.
  std::vector<std::size_t> numbered(const std::string& letter, std::vector<std::string>& used) const {
    std::vector<std::size_t> result;
    for (;;) {
      const std::string name = letter + std::to_string(result.size() + 1);
      const std::size_t at = position(name);
      if (at == table_.columns.size()) break;
      result.push_back(at);
      used.push_back(name);
    }
    if (!result.empty()) return result;
    std::string present;
    for (const std::string& name : table_.columns) present += (present.empty() ? "" : ", ") + name;
    throw ParseError(source_ + ": column " + letter +
                     "1: expected a column of this name, got none (there are: " + present + ")");
  }
  [[noreturn]] void fail(std::size_t row, std::size_t column, const std::string& message) const {
    throw ParseError(source_ + ": line " + std::to_string(lines_[row]) + ", column " +
                     table_.columns[column] + ": " + message);
  }
  void require_finite(std::size_t row, const std::vector<std::size_t>& columns) const {
    for (const std::size_t column : columns) {
      const double value = table_.rows[row][column];
      if (!std::isfinite(value)) fail(row, column, "expected a finite number, got " + full_precision(value));
    }
  }
  bool same_rollout(std::size_t row, std::size_t other) const {
    return !has_rollouts() || rollout(row) == rollout(other);
  }
  void check_rows() const {
    const std::size_t count = table_.rows.size();
    std::vector<Index> seen;
    for (std::size_t row = 0; row < count && has_rollouts(); ++row) {
      const double number = table_.rows[row][rollout_];
      // Below 2^53 doubles tell whole numbers apart.
      if (!(std::abs(number) < 0x1p53) || number != std::floor(number))
        fail(row, rollout_, "expected a whole number, got " + full_precision(number));
      if (row == 0 || !same_rollout(row - 1, row)) seen.push_back(rollout(row));
    }
    std::sort(seen.begin(), seen.end());
    const auto again = std::adjacent_find(seen.begin(), seen.end());
    for (std::size_t row = 0; row < count; ++row) {
      const bool first = row == 0 || !same_rollout(row - 1, row);
      const bool last = row + 1 == count || !same_rollout(row, row + 1);
      require_finite(row, states_);
      // The input in the last row of a rollout leads nowhere.
      if (!last) require_finite(row, inputs_);
      if (first && last) {
        throw ParseError(source_ + ": line " + std::to_string(lines_[row]) +
                         ": expected at least two rows for each rollout, got one");
      }
    }
    if (again == seen.end()) return;
    bool left = false;
    for (std::size_t row = 0; row < count; ++row) {
      const bool here = rollout(row) == *again;
      if (here && left)
        fail(row, rollout_,
             "expected the rows of a rollout one below the other, got rollout " + std::to_string(*again) +
                 " again");
      left = left || (row > 0 && !here && rollout(row - 1) == *again);
    }
  }

  std::string source_;
  std::vector<std::size_t> lines_{};
  Table table_;
  std::vector<std::size_t> states_{};
  std::vector<std::size_t> inputs_{};
  std::size_t rollout_ = 0;
};

}  // namespace detail

/// Reads recorded trajectories from a table with a row for each recorded time: the state in the columns x1,
/// x2, ..., the input that is applied then in u1, u2, ..., and the number of the rollout, whose rows stand
/// one below the other in the order of time; without that column all rows are one trajectory. The input in
/// the last row of a rollout leads nowhere and may be empty. `source` names the text in messages.
/// @throws ParseError naming source, line and column: what `parse_csv` refuses, a column that is missing,
/// twice or unknown, a number that is not finite, a rollout of one row or in two pieces.
template <MatrixBackend Backend>
identification::Dataset<Backend> parse_trajectories(std::string_view text, const std::string& source = "text",
                                                    const TrajectoryColumns& columns = {}) {
  using Scalar = typename Backend::Scalar;
  const detail::TrajectoryTable table(text, source, columns);
  const std::size_t count = table.rows().size();
  const auto part = [&](const std::vector<std::size_t>& from) {
    typename Backend::Matrix result =
        Backend::zero_matrix(static_cast<Index>(count), static_cast<Index>(from.size()));
    for (std::size_t i = 0; i < count; ++i) {
      for (std::size_t j = 0; j < from.size(); ++j) {
        result(static_cast<Index>(i), static_cast<Index>(j)) = static_cast<Scalar>(table.rows()[i][from[j]]);
      }
    }
    return result;
  };
  std::vector<Index> rollouts;
  for (std::size_t i = 0; i < count && table.has_rollouts(); ++i) rollouts.push_back(table.rollout(i));
  return identification::split_rollouts<Backend>(part(table.states()), part(table.inputs()), rollouts);
}

/// Reads recorded trajectories from a file; "-" is standard input.
/// @throws ParseError; see `parse_trajectories`, `read_text`.
template <MatrixBackend Backend>
identification::Dataset<Backend> read_trajectories(const std::string& path,
                                                   const TrajectoryColumns& columns = {}) {
  return parse_trajectories<Backend>(read_text(path), path == "-" ? "standard input" : path, columns);
}

/// The table that `parse_trajectories` reads as the same data, bit by bit; rollouts are numbered from 0, and
/// the inputs in their last rows are NaN.
template <MatrixBackend Backend>
Table to_table(const identification::Dataset<Backend>& data) {
  Table table{.columns = {"rollout"}};
  for (Index j = 0; j < data.nx(); ++j) table.columns.push_back("x" + std::to_string(j + 1));
  for (Index j = 0; j < data.nu(); ++j) table.columns.push_back("u" + std::to_string(j + 1));
  for (Index i = 0; i < data.size(); ++i) {
    for (Index t = 0; t <= data.steps(i); ++t) {
      std::vector<double> row{static_cast<double>(i)};
      for (Index j = 0; j < data.nx(); ++j) row.push_back(Backend::to_double(data[i].states(t, j)));
      for (Index j = 0; j < data.nu(); ++j) {
        row.push_back(t < data.steps(i) ? Backend::to_double(data[i].inputs(t, j))
                                        : std::numeric_limits<double>::quiet_NaN());
      }
      table.rows.push_back(std::move(row));
    }
  }
  return table;
}

}  // namespace metalqr::inline METALQR_ABI::io
