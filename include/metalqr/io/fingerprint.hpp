#pragma once

/// @file
/// What tells runs apart in their checkpoints. Needs nlohmann-json (CMake component metalqr::json).

#include <cstdint>
#include <limits>

#include <metalqr/core/backend.hpp>
#include <metalqr/io/digest.hpp>
#include <metalqr/io/json_document.hpp>
#include <metalqr/lqr/task.hpp>
#include <metalqr/lqr/task_list.hpp>

namespace metalqr::inline METALQR_ABI::io {

namespace detail {

/// Whether JSON, whose numbers are doubles, gives a backend's scalars back as they were.
template <MatrixBackend Backend>
inline constexpr bool is_kept_by_json = std::numeric_limits<typename Backend::Scalar>::digits <= 53;

/// Does not compile for a backend whose runs would go on from rounded numbers, to another end.
template <MatrixBackend Backend>
constexpr void require_kept_by_json() {
  static_assert(is_kept_by_json<Backend>,
                "Checkpoints hold doubles: a run with scalars of more than 53 binary digits, such as long "
                "double, would go on from rounded numbers");
}

}  // namespace detail

/// Shape and digest of a matrix, and how many bits its numbers have.
template <MatrixBackend Backend, class X>
Json fingerprint(const X& x) {
  return {{"rows", Backend::rows(x)},
          {"columns", Backend::cols(x)},
          {"bits", std::numeric_limits<typename Backend::Scalar>::digits},
          {"digest", hex(digest<Backend>(x))}};
}

/// Digest of a task's A, B, Q, R and Sigma0, in turn.
template <MatrixBackend Backend>
std::uint64_t digest(const Task<Backend>& task, std::uint64_t before = fnv1a("")) {
  std::uint64_t hash = digest<Backend>(task.A(), before);
  hash = digest<Backend>(task.B(), hash);
  hash = digest<Backend>(task.Q(), hash);
  hash = digest<Backend>(task.R(), hash);
  return digest<Backend>(task.Sigma0(), hash);
}

/// Number, size and digest of the tasks of a fleet.
/// @throws InvalidOption, DimensionMismatch; see `checked_fleet`.
template <TaskList Tasks>
Json fingerprint_of_tasks(const Tasks& tasks) {
  const auto fleet = checked_fleet(tasks);
  std::uint64_t hash = fnv1a("");
  for (const auto& task : fleet) hash = digest(task, hash);
  return {{"tasks", fleet.size()}, {"nx", fleet[0].nx()}, {"nu", fleet[0].nu()}, {"digest", hex(hash)}};
}

}  // namespace metalqr::inline METALQR_ABI::io
