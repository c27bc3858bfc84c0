#include <metalqr/federated/event_queue.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "support.hpp"

namespace {

using metalqr::InvalidOption;
using metalqr::NotFinite;
using metalqr::federated::EventQueue;
using test::Index;

const double infinity = std::numeric_limits<double>::infinity();
const double not_a_number = std::numeric_limits<double>::quiet_NaN();
const double largest = std::numeric_limits<double>::max();

using Queue = EventQueue<std::string>;
using Row = std::tuple<double, Index, std::uint64_t, std::string>;

Row row(const Queue::Entry& entry) {
  return {entry.time, entry.agent, entry.sequence, entry.payload};
}

std::vector<Row> rows(const std::vector<Queue::Entry>& entries) {
  std::vector<Row> result;
  result.reserve(entries.size());
  for (const Queue::Entry& entry : entries) result.push_back(row(entry));
  return result;
}

std::vector<Row> drain(Queue queue) {
  std::vector<Row> result;
  while (!queue.empty()) {
    const std::string next = queue.next();
    result.push_back(row(queue.pop()));
    CHECK(next == std::get<3>(result.back()));
  }
  return result;
}

/// A list in no order, searched as a whole for its earliest entry.
class SlowQueue {
 public:
  void push(double time, Index agent, const std::string& payload) {
    rows_.emplace_back(time, agent, next_++, payload);
  }
  Row pop() {
    const auto first = std::min_element(rows_.begin(), rows_.end());
    Row result = *first;
    rows_.erase(first);
    return result;
  }
  const std::vector<Row>& waiting() const { return rows_; }

 private:
  std::vector<Row> rows_;
  std::uint64_t next_ = 0;
};

/// Times from now on: few different ones, so that ties are frequent, or (nearly) all different.
double later(double now, bool ties, metalqr::Stream& stream) {
  return ties ? now + static_cast<double>(stream.bits() % 4) : now + stream.uniform(0, 4);
}

/// A queue in the middle of its work, with free slots.
Queue used_queue(std::uint64_t seed, int size) {
  metalqr::Stream stream = test::stream(seed);
  Queue queue;
  for (int i = 0; i < 2 * size; ++i) {
    queue.push(later(0, i % 2 == 0, stream), static_cast<Index>(stream.bits() % 5), std::to_string(i));
  }
  for (int i = 0; i < size; ++i) queue.pop();
  return queue;
}

}  // namespace

TEST_CASE("random pushes and pops give what a search through a list gives, with and without ties") {
  for (const bool ties : {false, true}) {
    for (std::uint64_t run = 0; run < 20; ++run) {
      INFO("ties " << ties << ", run " << run);
      metalqr::Stream stream = test::stream(run, ties ? 1 : 0);
      Queue queue;
      SlowQueue slow;
      double now = 0;
      int different = 0;
      for (int step = 0; step < 3000; ++step) {
        // Grows, shrinks to nothing and grows again.
        const double growth = step % 1000 < 500 ? 0.6 : 0.35;
        if (slow.waiting().empty() || stream.uniform() < growth) {
          const double time = later(now, ties, stream);
          const Index agent = static_cast<Index>(stream.bits() % 4) - 1;
          queue.push(time, agent, std::to_string(step));
          slow.push(time, agent, std::to_string(step));
        } else {
          const double next = queue.next_time();
          const Row expected = slow.pop();
          now = std::get<0>(expected);
          different += row(queue.pop()) == expected && next == now ? 0 : 1;
        }
        different += queue.size() == slow.waiting().size() && queue.empty() == slow.waiting().empty() ? 0 : 1;
        different += queue.now() == now ? 0 : 1;
      }
      CHECK(different == 0);
    }
  }
}

TEST_CASE(
    "queues of every size up to 200 are drained in order, pushed in ascending, descending, random order") {
  for (int size = 0; size <= 200; ++size) {
    std::vector<int> order(static_cast<std::size_t>(size));
    std::iota(order.begin(), order.end(), 0);
    const std::vector<int> ascending = order;
    std::vector<std::vector<int>> orders{ascending, {ascending.rbegin(), ascending.rend()}};
    metalqr::Stream stream = test::stream(static_cast<std::uint64_t>(size));
    for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[stream.bits() % i]);
    orders.push_back(order);
    for (const std::vector<int>& one : orders) {
      EventQueue<int> queue;
      for (const int i : one) queue.push(0.5 * i, 7, i);
      std::vector<int> popped;
      while (!queue.empty()) popped.push_back(queue.pop().payload);
      CHECK(popped == ascending);
    }
  }
}

TEST_CASE("events of one time come by agent, those of one agent as they were pushed") {
  Queue queue;
  queue.push(2, 1, "f");
  queue.push(1, 3, "d");
  queue.push(1, 1, "b");
  queue.push(1, 3, "e");
  queue.push(1, 1, "c");
  queue.push(1, -1, "a");
  const std::vector<Row> expected{{1, -1, 5, "a"}, {1, 1, 2, "b"}, {1, 1, 4, "c"},
                                  {1, 3, 1, "d"},  {1, 3, 3, "e"}, {2, 1, 0, "f"}};
  CHECK(rows(queue.entries()) == expected);
  CHECK(drain(queue) == expected);
  // A thousand of one time and agent.
  EventQueue<int> line;
  for (int i = 0; i < 1000; ++i) line.push(3, 0, i);
  for (int i = 0; i < 1000; ++i) CHECK(line.pop().payload == i);
}

TEST_CASE(
    "an event pushed for the present comes after those popped, before later ones, in its agent's place") {
  Queue queue;
  queue.push(1, 2, "first");
  queue.push(1, 4, "third");
  queue.push(1.5, 0, "fourth");
  CHECK(queue.pop().payload == "first");
  queue.push(1, 3, "second");
  CHECK(queue.pop().payload == "second");
  CHECK(queue.pop().payload == "third");
  CHECK(queue.pop().payload == "fourth");
}

TEST_CASE("events of different times and agents come in one order, however they were pushed") {
  std::vector<std::pair<double, Index>> events;
  for (Index agent = 0; agent < 20; ++agent) {
    for (const double time : {0.0, 1.0, 2.5}) events.emplace_back(time, agent);
  }
  const auto order = [](const std::vector<std::pair<double, Index>>& pushed) {
    Queue queue;
    for (const auto& [time, agent] : pushed) queue.push(time, agent, "");
    std::vector<std::pair<double, Index>> popped;
    while (!queue.empty()) {
      const Queue::Entry entry = queue.pop();
      popped.emplace_back(entry.time, entry.agent);
    }
    return popped;
  };
  std::vector<std::pair<double, Index>> sorted = events;
  std::sort(sorted.begin(), sorted.end());
  CHECK(order(events) == sorted);
  CHECK(order({events.rbegin(), events.rend()}) == sorted);
}

TEST_CASE("the extremes of time keep their order, and both zeros are one time") {
  Queue queue;
  queue.push(largest, 0, "e");
  queue.push(0.0, 1, "b");
  queue.push(-0.0, 2, "c");
  queue.push(-0.0, 0, "a");
  queue.push(5e-324, 0, "d");
  std::string text;
  while (!queue.empty()) text += queue.pop().payload;
  CHECK(text == "abcde");
  CHECK(queue.now() == largest);
}

TEST_CASE("an empty queue has no next time and keeps its clock") {
  Queue queue;
  CHECK(queue.empty());
  CHECK(queue.size() == 0);
  CHECK(queue.next_time() == infinity);
  CHECK(queue.now() == 0);
  CHECK(queue.entries().empty());
  queue.push(3, 0, "");
  CHECK(queue.next_time() == 3);
  CHECK(queue.now() == 0);
  queue.pop();
  CHECK(queue.next_time() == infinity);
  CHECK(queue.now() == 3);
  CHECK(queue.next_sequence() == 1);
}

TEST_CASE("payloads are moved out: those that cannot be copied are allowed, and none is kept") {
  EventQueue<std::unique_ptr<int>> unique;
  for (int i = 0; i < 10; ++i) unique.push(10 - i, 0, std::make_unique<int>(i));
  for (int i = 10; i-- > 0;) CHECK(*unique.pop().payload == i);

  const auto shared = std::make_shared<int>(1);
  EventQueue<std::shared_ptr<int>> queue;
  for (int i = 0; i < 5; ++i) queue.push(i, 0, shared);
  CHECK(shared.use_count() == 6);
  for (int i = 0; i < 3; ++i) queue.pop();
  CHECK(shared.use_count() == 3);
}

TEST_CASE("memory is that of the largest size, however many events have passed") {
  struct Place {
    explicit Place(int& alive) : alive_(&alive) { ++*alive_; }
    Place(const Place& other) : alive_(other.alive_) { ++*alive_; }
    Place& operator=(const Place& other) = default;
    ~Place() { --*alive_; }
    int* alive_;
  };
  int alive = 0;
  EventQueue<Place> queue;
  for (int i = 0; i < 10; ++i) queue.push(0, i, Place(alive));
  for (int i = 0; i < 1000; ++i) {
    const double now = queue.pop().time;
    if (i % 3 == 0) queue.pop();
    queue.push(now + 1, i, Place(alive));
    if (i % 3 == 0) queue.push(now + 2, i, Place(alive));
  }
  CHECK(queue.size() == 10);
  CHECK(alive == 10);
}

TEST_CASE("a queue made from entries, sequence number and clock goes on as the one they came from") {
  for (const int size : {0, 1, 2, 5, 50, 700}) {
    Queue queue = used_queue(static_cast<std::uint64_t>(size), size);
    std::vector<Queue::Entry> entries = queue.entries();
    CHECK(entries.size() == queue.size());
    CHECK(rows(entries) == drain(queue));
    for (const bool backwards : {false, true}) {
      if (backwards) std::reverse(entries.begin(), entries.end());
      Queue original = queue;
      Queue restored(entries, queue.next_sequence(), queue.now());
      CHECK(restored.now() == original.now());
      CHECK(restored.next_sequence() == original.next_sequence());
      CHECK(rows(restored.entries()) == rows(original.entries()));
      metalqr::Stream stream = test::stream(77);
      for (int i = 0; i < 500; ++i) {
        if (i % 3 != 2 || original.empty()) {
          const double time = later(original.now(), i % 2 == 0, stream);
          original.push(time, i % 4, std::to_string(i));
          restored.push(time, i % 4, std::to_string(i));
        } else {
          CHECK(row(restored.pop()) == row(original.pop()));
        }
      }
      CHECK(drain(restored) == drain(original));
    }
  }
}

TEST_CASE("times that are not finite or past are refused, and the queue stays as it was") {
  Queue queue = used_queue(3, 20);
  const std::vector<Row> before = rows(queue.entries());
  const std::uint64_t next = queue.next_sequence();
  for (const double time : {not_a_number, infinity, -infinity}) {
    CHECK_THROWS_AS(queue.push(time, 0, "x"), NotFinite);
  }
  CHECK_THROWS_AS(queue.push(std::nextafter(queue.now(), 0.0), 0, "x"), InvalidOption);
  CHECK(rows(queue.entries()) == before);
  CHECK(queue.next_sequence() == next);
  CHECK_NOTHROW(queue.push(queue.now(), 0, "x"));

  Queue fresh;
  CHECK(test::message_of<InvalidOption>([&] { fresh.push(-0.5, 0, ""); }) ==
        "time: expected at least the present time 0, got -0.5");
  CHECK(test::message_of<NotFinite>([&] { fresh.push(not_a_number, 0, ""); }) ==
        "time: expected a finite time, got nan");
  CHECK(test::message_of<InvalidOption>([&] { fresh.pop(); }) ==
        "queue: expected at least one event, got none");
}

TEST_CASE("entries that no queue can have are refused") {
  using Entries = std::vector<Queue::Entry>;
  const auto invalid = [](const Entries& entries, std::uint64_t next, double now) {
    return test::message_of<InvalidOption>([&] { Queue(entries, next, now); });
  };
  const Entries entries{{.time = 2, .agent = 1, .sequence = 4, .payload = ""},
                        {.time = 3, .agent = 0, .sequence = 2, .payload = ""}};
  CHECK_NOTHROW(Queue(entries, 5, 2));
  CHECK(invalid(entries, 5, 2.5) == "entries[0].time: expected at least the present time 2.5, got 2");
  CHECK(invalid(entries, 4, 0) == "next_sequence: expected a number above every entry's, such as 4, got 4");
  CHECK(invalid(entries, 5, -1) == "now: expected at least the present time 0, got -1");
  Entries twice = entries;
  twice[0].sequence = 2;
  CHECK(invalid(twice, 5, 0) == "entries: expected different sequence numbers, got 2 twice");
  for (const double time : {not_a_number, infinity}) {
    CHECK_THROWS_AS(Queue(entries, 5, time), NotFinite);
    Entries bad = entries;
    bad[1].time = time;
    CHECK(test::message_of<NotFinite>([&] { Queue(bad, 5, 0); }) ==
          "entries[1].time: expected a finite time, got " + std::string(time > 0 ? "inf" : "nan"));
  }
}

TEST_CASE("a payload whose move throws leaves the queue as it was") {
  struct Fragile {
    Fragile(int value, bool& breaks) : number(value), breaks_(&breaks) {}
    Fragile(const Fragile& other) : number(other.number), breaks_(other.breaks_) { fail(); }
    Fragile& operator=(const Fragile& other) {
      other.fail();
      number = other.number;
      return *this;
    }
    ~Fragile() = default;
    void fail() const {
      if (*breaks_) throw std::runtime_error("fragile");
    }
    int number;
    bool* breaks_;
  };
  bool breaks = false;
  EventQueue<Fragile> queue;
  std::vector<int> popped;
  for (int i = 0; i < 40; ++i) {
    // Into new places and, later, into free ones.
    if (i % 4 == 3) popped.push_back(queue.pop().payload.number);
    breaks = true;
    CHECK_THROWS_AS(queue.push(i, 0, Fragile(-1, breaks)), std::runtime_error);
    CHECK_THROWS_AS(queue.push(i, 0, Fragile(-1, breaks)), std::runtime_error);
    if (!queue.empty()) CHECK_THROWS_AS(queue.pop(), std::runtime_error);
    breaks = false;
    queue.push(i, 0, Fragile(i, breaks));
  }
  CHECK(queue.next_sequence() == 40);
  while (!queue.empty()) popped.push_back(queue.pop().payload.number);
  std::vector<int> expected(40);
  std::iota(expected.begin(), expected.end(), 0);
  CHECK(popped == expected);
}
