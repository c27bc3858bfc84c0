#include <metalqr/core/parallel.hpp>

#include <atomic>
#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

#ifdef _OPENMP
#include <omp.h>
#endif

#include <metalqr/core/random.hpp>

#include "catch.hpp"

using metalqr::Index;
using metalqr::parallel_for;

namespace {

std::vector<double> rough_work(Index count, int threads) {
  std::vector<double> result(static_cast<std::size_t>(count));
  parallel_for(
      count,
      [&](Index i) {
        metalqr::Stream stream({.seed = 4, .sample = static_cast<std::uint64_t>(i)});
        double x = 0;
        for (Index k = 0; k < 10 + i % 7; ++k) x = std::sin(x + stream.normal());
        result[static_cast<std::size_t>(i)] = x;
      },
      threads);
  return result;
}

/// The message of the exception that `parallel_for` lets out of 100 calls of which those of `bad` throw.
std::string first_failure(const std::vector<Index>& bad, int threads) {
  std::atomic<int> calls{0};
  try {
    parallel_for(
        100,
        [&](Index i) {
          ++calls;
          for (const Index b : bad) {
            if (i == b) throw std::out_of_range("call " + std::to_string(i));
          }
        },
        threads);
  } catch (const std::out_of_range& error) {
    return error.what();
  }
  return "none in " + std::to_string(calls.load()) + " calls";
}

}  // namespace

TEST_CASE("a loop takes a request for far too many threads") {
  const std::vector<double> serial = rough_work(700, 1);
  CHECK(rough_work(700, 100000) == serial);
  CHECK(rough_work(2, 100000) == rough_work(2, 1));
}

TEST_CASE("a loop gives the same bits with any number of threads") {
  const std::vector<double> serial = rough_work(1000, 1);
  for (const int threads : {2, 3, 8, 0}) CHECK(rough_work(1000, threads) == serial);
}

TEST_CASE("a loop calls its body once for each index") {
  for (const Index count : {1, 2, 7, 64}) {
    std::vector<int> calls(static_cast<std::size_t>(count), 0);
    parallel_for(
        count, [&](Index i) { ++calls[static_cast<std::size_t>(i)]; }, 3);
    CHECK(calls == std::vector<int>(static_cast<std::size_t>(count), 1));
  }
}

TEST_CASE("a loop over nothing does not call its body") {
  for (const int threads : {0, 1, 4}) {
    parallel_for(
        0, [](Index) { FAIL("called"); }, threads);
    parallel_for(
        -1, [](Index) { FAIL("called"); }, threads);
  }
}

TEST_CASE("the exception of the smallest index leaves the loop, with its type") {
  for (const int threads : {0, 1, 2, 8}) {
    CHECK(first_failure({97, 3, 50}, threads) == "call 3");
    CHECK(first_failure({99}, threads) == "call 99");
    CHECK(first_failure({0, 1, 2, 3}, threads) == "call 0");
    CHECK(first_failure({}, threads) == "none in 100 calls");
  }
}

#ifdef _OPENMP
TEST_CASE("a loop uses as many threads as it is told") {
  const auto threads_used = [](Index count, int threads) {
    std::atomic<int> most{0};
    parallel_for(
        count,
        [&](Index) {
          int seen = most;
          while (seen < omp_get_num_threads() && !most.compare_exchange_weak(seen, omp_get_num_threads())) {
          }
        },
        threads);
    return most.load();
  };
  CHECK(threads_used(100, 1) == 1);
  CHECK(threads_used(100, 3) == 3);
  CHECK(threads_used(1, 3) == 1);
}
#endif
