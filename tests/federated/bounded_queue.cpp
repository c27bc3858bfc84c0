#include <metalqr/federated/bounded_queue.hpp>

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>
#include <vector>

#include "support.hpp"

using metalqr::federated::detail::BoundedQueue;
using Clock = std::chrono::steady_clock;

namespace {

Clock::time_point soon() {
  return Clock::now() + std::chrono::milliseconds(20);
}
Clock::time_point late() {
  return Clock::now() + std::chrono::minutes(10);
}

}  // namespace

TEST_CASE("values come out in the order in which they went in, and nothing comes out of an empty queue") {
  BoundedQueue<std::unique_ptr<int>> queue(3);
  for (int i = 0; i < 3; ++i) CHECK(queue.push(std::make_unique<int>(i), {}));
  for (int i = 0; i < 3; ++i) CHECK(**queue.pop_until(late()) == i);
  CHECK_FALSE(queue.pop_until(soon()));
  CHECK_THROWS_AS(BoundedQueue<int>(0), metalqr::InvalidOption);
}

TEST_CASE("a full queue holds its writers up until there is room") {
  constexpr int writers = 4;
  constexpr int values = 500;
  BoundedQueue<int> queue(2);
  std::atomic<int> inside = 0;  // put in and not taken out: two, and one that the reader has not counted yet
  std::atomic<bool> overfull = false;
  std::vector<std::jthread> threads;
  for (int w = 0; w < writers; ++w) {
    threads.emplace_back([&](const std::stop_token& stop) {
      for (int i = 0; i < values; ++i) {
        queue.push(i, stop);
        if (++inside > 2 + 1) overfull = true;
      }
    });
  }
  long sum = 0;
  for (int i = 0; i < writers * values; ++i) {
    sum += *queue.pop_until(late());
    --inside;
  }
  CHECK(sum == static_cast<long>(writers) * values * (values - 1) / 2);
  CHECK_FALSE(overfull);
}

TEST_CASE("a writer that is asked to stop does not wait for room") {
  BoundedQueue<int> queue(1);
  CHECK(queue.push(1, {}));
  std::atomic<int> refused = 0;
  {
    std::vector<std::jthread> threads;
    for (int w = 0; w < 3; ++w) {
      threads.emplace_back([&](const std::stop_token& stop) {
        if (!queue.push(2, stop)) ++refused;
      });
    }
  }
  CHECK(refused == 3);
  CHECK(*queue.pop_until(late()) == 1);
  CHECK_FALSE(queue.pop_until(soon()));
}

TEST_CASE("a reader wakes when a value comes") {
  BoundedQueue<int> queue(1);
  std::jthread writer([&](const std::stop_token& stop) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    queue.push(7, stop);
  });
  CHECK(queue.pop_until(late()) == 7);
}
