#include "memory.hpp"

#include <malloc.h>

#include <atomic>
#include <cstdlib>
#include <new>

namespace {

std::atomic<bool> counting{false};
std::atomic<long long> live{0};
std::atomic<long long> most{0};

void* counted(void* memory) {
  if (memory == nullptr) throw std::bad_alloc();
  if (counting.load(std::memory_order_relaxed)) {
    const auto size = static_cast<long long>(malloc_usable_size(memory));
    const long long now = live.fetch_add(size) + size;
    long long before = most.load();
    while (before < now && !most.compare_exchange_weak(before, now)) {
    }
  }
  return memory;
}

void release(void* memory) noexcept {
  if (counting.load(std::memory_order_relaxed)) {
    live.fetch_sub(static_cast<long long>(malloc_usable_size(memory)));
  }
  std::free(memory);
}

}  // namespace

void* operator new(std::size_t size) {
  return counted(std::malloc(size != 0 ? size : 1));
}
// Sanitizers bring their own form of what is not replaced; std::stable_sort takes this one.
void* operator new(std::size_t size, const std::nothrow_t& /*tag*/) noexcept {
  try {
    return operator new(size);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
void* operator new(std::size_t size, std::align_val_t alignment) {
  const auto unit = static_cast<std::size_t>(alignment);
  return counted(std::aligned_alloc(unit, (size + unit - 1) / unit * unit));
}
void operator delete(void* memory) noexcept {
  release(memory);
}
void operator delete(void* memory, std::size_t /*size*/) noexcept {
  release(memory);
}
void operator delete(void* memory, const std::nothrow_t& /*tag*/) noexcept {
  release(memory);
}
void operator delete(void* memory, std::align_val_t /*alignment*/) noexcept {
  release(memory);
}
void operator delete(void* memory, std::size_t /*size*/, std::align_val_t /*alignment*/) noexcept {
  release(memory);
}

namespace test {

MemoryCount::MemoryCount() {
  live = 0;
  most = 0;
  counting = true;
}
MemoryCount::~MemoryCount() {
  counting = false;
}
std::size_t MemoryCount::peak() const {
  return static_cast<std::size_t>(most.load());
}

}  // namespace test
