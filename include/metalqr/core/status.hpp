#pragma once

/// @file
/// How an iteration ended.

#include <metalqr/core/version.hpp>

namespace metalqr::inline METALQR_ABI {

/// How an iterative computation ended.
enum class Status {
  converged,        ///< the tolerance was met
  unstable,         ///< the system is not stable, so the quantity does not exist
  inconclusive,     ///< too close to the stability limit to be decided in this precision
  iteration_limit,  ///< the cap on iterations was reached first
  stalled,          ///< no further progress was possible before the tolerance was met
  stopped           ///< the observer asked to stop
};

/// The enumerator's name.
constexpr const char* to_string(Status status) {
  switch (status) {
    case Status::converged:
      return "converged";
    case Status::unstable:
      return "unstable";
    case Status::inconclusive:
      return "inconclusive";
    case Status::iteration_limit:
      return "iteration_limit";
    case Status::stalled:
      return "stalled";
    case Status::stopped:
      return "stopped";
  }
  return "unknown";
}

}  // namespace metalqr::inline METALQR_ABI
