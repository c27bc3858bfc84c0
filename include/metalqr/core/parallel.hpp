#pragma once

/// @file
/// Loops over independent work, in parallel where OpenMP is on, with the same result for any number of
/// threads.

#include <exception>
#include <limits>

#include <metalqr/core/backend.hpp>

namespace metalqr::inline METALQR_ABI {

/// Calls `body(i)` for i = 0 ... count - 1, on several threads when compiled with OpenMP.
/// The result does not depend on their number as long as `body(i)` writes only what belongs to i; sums belong
/// behind the loop, in index order. If calls throw, the exception of the smallest i is rethrown after the
/// loop.
/// @param threads at most so many threads (and at most 256); 0 leaves it to OpenMP.
template <class Body>
void parallel_for(Index count, const Body& body, [[maybe_unused]] int threads = 0) {
#ifdef _OPENMP
  // More threads than calls are of no use, and a thousand times the processors exhaust the system.
  constexpr int most_threads = 256;
  if (threads > most_threads) threads = most_threads;
  if (threads > count) threads = static_cast<int>(count);
  if (threads == 1 || count <= 1) {
    for (Index i = 0; i < count; ++i) body(i);
    return;
  }
  std::exception_ptr error;
  Index failed = std::numeric_limits<Index>::max();
  const auto guarded = [&](Index i) {
    try {
      body(i);
    } catch (...) {
#pragma omp critical(metalqr_parallel_for)
      if (i < failed) {
        failed = i;
        error = std::current_exception();
      }
    }
  };
  if (threads > 0) {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (Index i = 0; i < count; ++i) guarded(i);
  } else {
#pragma omp parallel for schedule(static)
    for (Index i = 0; i < count; ++i) guarded(i);
  }
  if (error) std::rethrow_exception(error);
#else
  for (Index i = 0; i < count; ++i) body(i);
#endif
}

}  // namespace metalqr::inline METALQR_ABI
