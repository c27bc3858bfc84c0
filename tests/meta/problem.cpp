#include <metalqr/meta/problem.hpp>

#include <vector>

#include "memory.hpp"
#include "runs.hpp"

namespace {

namespace meta = metalqr::meta;
namespace zo = metalqr::zeroth_order;
using meta::Options;
using meta::Order;
using test::Boeing;
using test::BoeingTasks;
using test::Index;
using test::Start;
using Gain = Boeing::Gain;

/// An exact oracle that answers one gain at a time.
struct OneByOne {
  explicit OneByOne(const metalqr::Task<Boeing>& plant) : task(&plant) {}
  Index nu() const { return task->nu(); }
  Index nx() const { return task->nx(); }
  double operator()(const Gain& K) const { return cost(*task, K); }
  const metalqr::Task<Boeing>* task;
};

/// The same tasks again and again: their mean direction does not change.
BoeingTasks repeated(const BoeingTasks& tasks, std::size_t count) {
  BoeingTasks result;
  result.reserve(count);
  for (std::size_t i = 0; i < count; ++i) result.push_back(tasks[i % tasks.size()]);
  return result;
}

double difference(const Gain& x, const Gain& y) {
  return test::relative_error(test::dense<Boeing>(x), test::dense<Boeing>(y));
}

std::vector<Options> few_iterations(int iterations) {
  std::vector<Options> result{meta::published(), meta::published_guarded()};
  for (const Order order : {Order::average, Order::first, Order::second}) {
    Options options;
    options.order = order;
    result.push_back(options);
  }
  for (Options& options : result) options.iterations = iterations;
  return result;
}

}  // namespace

TEST_CASE("a published run is bitwise the same for 1, 2 and 8 threads, and to 1e-12 without batches") {
  const BoeingTasks tasks = test::fleet(Start::code, 50);
  Options options = meta::published();
  options.threads = 1;
  const auto one = test::train(tasks, test::first_gain(), options);
  CHECK(one.calls.total() == 240000);
  for (const int threads : {2, 8}) {
    options.threads = threads;
    const auto several = test::train(tasks, test::first_gain(), options);
    CHECK(test::same(several.gain, one.gain));
    CHECK(several.calls.total() == one.calls.total());
  }
  const std::vector<OneByOne> plants(tasks.begin(), tasks.end());
  const auto single = meta::train<Boeing>(plants, test::first_gain(), options);
  CHECK(difference(single.gain, one.gain) < 1e-12);
  CHECK(single.calls.probes == one.calls.probes);
  CHECK(single.calls.base == one.calls.base);
  CHECK(single.unstable_probes == one.unstable_probes);
}

TEST_CASE("guarded runs make the same calls with batches and without") {
  const BoeingTasks tasks = test::fleet(Start::report, 51, 5);
  const std::vector<OneByOne> plants(tasks.begin(), tasks.end());
  for (const Options& options : few_iterations(10)) {
    const auto batched = test::train(tasks, test::first_gain(), options);
    const auto single = meta::train<Boeing>(plants, test::first_gain(), options);
    CHECK(batched.calls.total() == single.calls.total());
    CHECK(batched.guard_refusals == single.guard_refusals);
    CHECK(batched.unstable_probes == single.unstable_probes);
    CHECK(difference(single.gain, batched.gain) < 1e-6);
  }
}

TEST_CASE("a fleet of many blocks of tasks goes where its tasks go") {
  const BoeingTasks few = test::fleet(Start::code, 52, 5);
  const BoeingTasks many = repeated(few, 2500);
  for (const Order order : {Order::first, Order::second}) {
    const Options options{.order = order, .iterations = 4};
    const auto expected = test::train_with_models(few, test::first_gain(), options);
    const auto result = test::train_with_models(many, test::first_gain(), options);
    CHECK(difference(result.gain, expected.gain) < 1e-10);
    CHECK(result.calls.assessments == 500 * expected.calls.assessments);
  }
  Options options = meta::published();
  options.iterations = 2;
  const auto expected = test::train(few, test::first_gain(), options);
  const auto result = test::train(many, test::first_gain(), options);
  CHECK(difference(result.gain, expected.gain) < 1e-12);
  CHECK(result.calls.total() == 500 * expected.calls.total());
}

TEST_CASE("training takes less than 1 KiB of memory a task beyond the tasks, however long it is") {
  const BoeingTasks tasks = repeated(test::fleet(Start::code, 53, 5), 3000);
  const auto peak = [&tasks](Options options) {
    options.threads = 1;
    const test::MemoryCount memory;
    const auto result = test::train(tasks, test::first_gain(), options);
    CHECK(result.iterations == options.iterations);
    return static_cast<double>(memory.peak());
  };
  const std::vector<Options> longer = few_iterations(4);
  const std::vector<Options> shorter = few_iterations(2);
  for (std::size_t i = 0; i < longer.size(); ++i) {
    INFO(meta::to_string(longer[i].order));
    const double bytes = peak(longer[i]);
    CHECK(bytes < 1024 * static_cast<double>(tasks.size()));
    // The history keeps no costs of single tasks: of two more iterations there is not one number a task.
    CHECK(bytes - peak(shorter[i]) < 8 * static_cast<double>(tasks.size()));
  }
}
