#pragma once

/// @file
/// Lists of tasks: what everything that works on a fleet accepts.

#include <cstddef>
#include <span>
#include <string>
#include <utility>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/check.hpp>
#include <metalqr/core/error.hpp>
#include <metalqr/lqr/task.hpp>

namespace metalqr::inline METALQR_ABI {

namespace detail {

template <class T>
inline constexpr bool is_task = false;
template <class Backend>
inline constexpr bool is_task<Task<Backend>> = true;

/// The element of what converts to a span.
template <class T>
using ElementOf = typename decltype(std::span(std::declval<const T&>()))::value_type;

}  // namespace detail

/// Tasks over one backend, contiguous in memory: a `Family`, `std::vector`, `std::array` or `std::span` of
/// `Task`s.
template <class T>
concept TaskList = detail::is_task<detail::ElementOf<T>>;

/// The backend of a list of tasks.
template <TaskList Tasks>
using BackendOf = typename detail::ElementOf<Tasks>::Backend;

/// Gains of the tasks in a list (n_u x n_x).
template <TaskList Tasks>
using GainOf = typename BackendOf<Tasks>::Gain;

/// Numbers of the tasks in a list.
template <TaskList Tasks>
using ScalarOf = typename BackendOf<Tasks>::Scalar;

/// The list as a span, which must not outlive it, after checking that it can be worked on as one fleet.
/// @throws InvalidOption if it is empty, DimensionMismatch if the tasks differ in shape.
template <TaskList Tasks>
std::span<const Task<BackendOf<Tasks>>> checked_fleet(const Tasks& tasks) {
  const std::span<const Task<BackendOf<Tasks>>> fleet(tasks);
  if (fleet.empty()) throw InvalidOption("tasks: expected at least one task, got an empty list");
  for (std::size_t i = 1; i < fleet.size(); ++i) {
    if (fleet[i].nx() == fleet[0].nx() && fleet[i].nu() == fleet[0].nu()) continue;
    throw DimensionMismatch("tasks: expected B of shape " + detail::shape(fleet[0].nx(), fleet[0].nu()) +
                            " in every task, got " + detail::shape(fleet[i].nx(), fleet[i].nu()) +
                            " in task " + std::to_string(i));
  }
  return fleet;
}

}  // namespace metalqr::inline METALQR_ABI
