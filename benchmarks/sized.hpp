#pragma once

/// @file
/// The size that a translation unit is compiled for; each has its own.

#include "problems.hpp"

namespace benchmarks {

constexpr Size size{METALQR_BENCHMARKS_NX, METALQR_BENCHMARKS_NU};

/// The backend that knows it.
using Sized = metalqr::EigenBackend<double, METALQR_BENCHMARKS_NX, METALQR_BENCHMARKS_NU>;

}  // namespace benchmarks
