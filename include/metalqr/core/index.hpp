#pragma once

/// @file
/// The type of sizes and indices.

#include <cstddef>

#include <metalqr/core/version.hpp>

namespace metalqr::inline METALQR_ABI {

/// Signed type of sizes and indices.
using Index = std::ptrdiff_t;

}  // namespace metalqr::inline METALQR_ABI
