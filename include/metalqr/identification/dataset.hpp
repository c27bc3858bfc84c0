#pragma once

/// @file
/// Recorded states and inputs.

#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/check.hpp>
#include <metalqr/core/error.hpp>

namespace metalqr::inline METALQR_ABI::identification {

/// States and inputs of one rollout of T steps, a row for each time.
template <MatrixBackend Backend>
struct Rollout {
  typename Backend::Matrix states;  ///< (T + 1) x n_x, row t is x_t
  typename Backend::Matrix inputs;  ///< T x n_u, row t is u_t, which leads from x_t to x_{t+1}
};

namespace detail {

/// "rollouts[3].states".
inline std::string member_of_rollout(std::size_t rollout, const char* member) {
  return "rollouts[" + std::to_string(rollout) + "]." + member;
}

/// Copies `count` rows of X from row `first` on.
template <MatrixBackend Backend>
typename Backend::Matrix rows_of(const typename Backend::Matrix& x, Index first, Index count) {
  typename Backend::Matrix result = Backend::zero_matrix(count, Backend::cols(x));
  for (Index j = 0; j < Backend::cols(x); ++j) {
    for (Index i = 0; i < count; ++i) result(i, j) = x(first + i, j);
  }
  return result;
}

}  // namespace detail

/// Rollouts of one plant, checked once when they are put together; their lengths may differ. A single
/// trajectory is one rollout.
template <MatrixBackend Backend>
class Dataset {
 public:
  /// @param rollouts each with at least one step; all with the same numbers of states and of inputs.
  /// @throws DimensionMismatch for no rollouts or shapes that do not fit; NotFinite, which names rollout and
  /// row.
  explicit Dataset(std::vector<Rollout<Backend>> rollouts) : rollouts_(std::move(rollouts)) {
    if (rollouts_.empty()) throw DimensionMismatch("rollouts: expected at least one, got none");
    for (std::size_t i = 0; i < rollouts_.size(); ++i) {
      const Rollout<Backend>& rollout = rollouts_[i];
      const std::string states = detail::member_of_rollout(i, "states");
      const std::string inputs = detail::member_of_rollout(i, "inputs");
      const Index steps = Backend::rows(rollout.states) - 1;
      if (steps < 1) {
        throw DimensionMismatch(states + ": expected at least two rows (one step), got " +
                                std::to_string(steps + 1));
      }
      metalqr::detail::require_shape<Backend>(rollout.states, steps + 1, nx(), states.c_str());
      metalqr::detail::require_shape<Backend>(rollout.inputs, steps, nu(), inputs.c_str());
      metalqr::detail::require_finite<Backend>(rollout.states, states.c_str());
      metalqr::detail::require_finite<Backend>(rollout.inputs, inputs.c_str());
      transitions_ += steps;
    }
  }

  /// Number of states.
  Index nx() const { return Backend::cols(rollouts_.front().states); }
  /// Number of inputs.
  Index nu() const { return Backend::cols(rollouts_.front().inputs); }
  /// Number of rollouts.
  Index size() const { return static_cast<Index>(rollouts_.size()); }
  /// Number of steps of a rollout.
  Index steps(Index rollout) const { return Backend::rows((*this)[rollout].inputs); }
  /// Number of steps of all rollouts.
  Index transitions() const noexcept { return transitions_; }
  /// A rollout, 0 <= i < size().
  const Rollout<Backend>& operator[](Index i) const { return rollouts_[static_cast<std::size_t>(i)]; }
  /// All rollouts.
  std::span<const Rollout<Backend>> rollouts() const noexcept { return rollouts_; }

 private:
  std::vector<Rollout<Backend>> rollouts_;
  Index transitions_ = 0;
};

/// The data in a table with a row for each recorded time, as loggers write it: consecutive rows of one
/// rollout have equal numbers in `rollout_of_row`. The input in a rollout's last row leads nowhere; it is
/// left out and may be anything.
/// @param states rows x n_x.
/// @param inputs rows x n_u.
/// @param rollout_of_row one number for each row; empty if all rows are one trajectory.
/// @throws DimensionMismatch, among others for a rollout of a single row; NotFinite, which names the row of
/// the table.
template <MatrixBackend Backend>
Dataset<Backend> split_rollouts(const typename Backend::Matrix& states,
                                const typename Backend::Matrix& inputs,
                                std::span<const Index> rollout_of_row = {}) {
  const Index rows = Backend::rows(states);
  metalqr::detail::require_shape<Backend>(states, rows, Backend::cols(states), "states");
  metalqr::detail::require_shape<Backend>(inputs, rows, Backend::cols(inputs), "inputs");
  metalqr::detail::require_finite<Backend>(states, "states");
  if (!rollout_of_row.empty() && static_cast<Index>(rollout_of_row.size()) != rows) {
    throw DimensionMismatch("rollout_of_row: expected one number for each of " + std::to_string(rows) +
                            " rows, got " + std::to_string(rollout_of_row.size()));
  }
  const auto number = [&](Index row) {
    return rollout_of_row.empty() ? Index{0} : rollout_of_row[static_cast<std::size_t>(row)];
  };
  std::vector<Rollout<Backend>> rollouts;
  for (Index first = 0; first < rows;) {
    Index next = first + 1;
    while (next < rows && number(next) == number(first)) ++next;
    const Index steps = next - first - 1;
    if (steps < 1) {
      throw DimensionMismatch("rollout_of_row: expected at least two rows for each rollout, got only row " +
                              std::to_string(first) + " for rollout " + std::to_string(number(first)));
    }
    for (Index row = first; row + 1 < next; ++row) {
      const typename Backend::Matrix input = detail::rows_of<Backend>(inputs, row, 1);
      metalqr::detail::require_finite<Backend>(input, ("inputs, row " + std::to_string(row)).c_str());
    }
    rollouts.push_back({.states = detail::rows_of<Backend>(states, first, steps + 1),
                        .inputs = detail::rows_of<Backend>(inputs, first, steps)});
    first = next;
  }
  return Dataset<Backend>(std::move(rollouts));
}

}  // namespace metalqr::inline METALQR_ABI::identification
