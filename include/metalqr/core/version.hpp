#pragma once

/// @file
/// Version of the library (read by CMake from here) and the name of its inline namespace.

/// Major version: raised by incompatible changes of the interface.
#define METALQR_VERSION_MAJOR 0
/// Minor version: raised by additions (and, before 1.0, by incompatible changes).
#define METALQR_VERSION_MINOR 1
/// Patch version: raised by corrections.
#define METALQR_VERSION_PATCH 0

// A build with OpenMP, or with packs of lanes, defines some inline functions differently from one without;
// giving each its own inline namespace turns mixing them in one program into a link error.
#if defined(_OPENMP) && defined(METALQR_LANES)
/// Inline namespace that carries the version and the build variant in every symbol's name.
#define METALQR_ABI v0_1_openmp_lanes
#elif defined(_OPENMP)
/// Inline namespace that carries the version and the build variant in every symbol's name.
#define METALQR_ABI v0_1_openmp
#elif defined(METALQR_LANES)
/// Inline namespace that carries the version and the build variant in every symbol's name.
#define METALQR_ABI v0_1_lanes
#else
/// Inline namespace that carries the version and the build variant in every symbol's name.
#define METALQR_ABI v0_1
#endif

namespace metalqr::inline METALQR_ABI {

/// A release of the library, ordered by major, minor, patch.
struct Version {
  int major_number;
  int minor_number;
  int patch_number;
};

/// The version of the headers that are being compiled.
inline constexpr Version version{METALQR_VERSION_MAJOR, METALQR_VERSION_MINOR, METALQR_VERSION_PATCH};

}  // namespace metalqr::inline METALQR_ABI
