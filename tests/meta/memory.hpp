#pragma once

/// @file
/// How much memory a call takes from operator new at most.

#include <cstddef>

namespace test {

/// Counts while it lives; one at a time.
class MemoryCount {
 public:
  MemoryCount();
  ~MemoryCount();
  MemoryCount(const MemoryCount&) = delete;
  MemoryCount& operator=(const MemoryCount&) = delete;
  /// Largest number of bytes that were allocated, and not freed, at one time since the start.
  std::size_t peak() const;
};

}  // namespace test
