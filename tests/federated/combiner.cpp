#include <metalqr/federated/combiner.hpp>

#include <cstddef>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "estimates.hpp"

namespace {

namespace fed = metalqr::federated;
using metalqr::DimensionMismatch;
using metalqr::InvalidOption;
using metalqr::NotFinite;
using test::Backend;
using test::Dense;
using test::Estimates;
using test::estimates_of;
using test::Index;

const double infinity = std::numeric_limits<double>::infinity();
const double not_a_number = std::numeric_limits<double>::quiet_NaN();

/// A combiner of one's own.
struct First {
  template <class AnyBackend>
  typename AnyBackend::Gain operator()(std::span<const fed::WeightedEstimate<AnyBackend>> estimates) const {
    return estimates.front().estimate;
  }
};

using Span = std::span<const fed::WeightedEstimate<Backend>>;

static_assert(fed::Combiner<fed::Mean, Backend>);
static_assert(fed::Combiner<fed::Mean, test::Fixed>);
static_assert(fed::Combiner<First, Backend>);
static_assert(!fed::Combiner<int, Backend>);
static_assert(!fed::Combiner<fed::Mean, int>);

}  // namespace

TEST_CASE("the mean weights each estimate by its share") {
  CHECK(test::combined(fed::Mean{}, estimates_of({{1, 10}, {2, 20}, {6, 60}})).entries ==
        std::vector<long double>{3, 30});
  // (1 * 1 + 3 * 2 + 4 * 6)/8 = 31/8.
  CHECK(test::combined(fed::Mean{}, estimates_of({{1, 10}, {2, 20}, {6, 60}}, {1, 3, 4})).entries ==
        std::vector<long double>{31.0L / 8, 310.0L / 8});
  CHECK(test::combined(fed::Mean{}, estimates_of({{0.1, -0.7}}, {1e-300})).entries ==
        std::vector<long double>{0.1, -0.7});
  CHECK(test::combined(fed::Mean{}, estimates_of({{1, 2}, {1e300, 1e300}}, {5, 0})).entries ==
        std::vector<long double>{1, 2});
}

TEMPLATE_TEST_CASE("the mean equals sums in long double, and is invariant as it should", "", Backend,
                   test::Fixed) {
  for (std::uint64_t trial = 0; trial < 20; ++trial) {
    metalqr::Stream stream = test::stream(1, trial);
    const auto list = test::random_estimates<TestType>(1 + trial, stream, true);
    Dense sum(2, 4);
    long double total = 0;
    for (const auto& vote : list) {
      sum = sum + static_cast<long double>(vote.weight) * test::dense<TestType>(vote.estimate);
      total += vote.weight;
    }
    CHECK(test::relative_error(test::combined<TestType>(fed::Mean{}, list), (1 / total) * sum) < 1e-14);
  }
  for (const bool weighted : {false, true}) {
    test::check_invariances<TestType>(fed::Mean{}, weighted, 2, 1e-13);
  }
}

TEST_CASE("the mean of equal weights is the sum over the count, to the bit") {
  metalqr::Stream stream = test::stream(3);
  const auto list = test::random_estimates(7, stream, false);
  Backend::Gain sum = Backend::zero_gain(2, 4);
  for (const auto& vote : list) sum += vote.estimate;
  const Dense expected = test::dense(Backend::Gain(sum / 7.0));
  CHECK(test::combined(fed::Mean{}, list).entries == expected.entries);
  auto heavier = list;
  for (auto& vote : heavier) vote.weight = 0.1;
  CHECK(test::combined(fed::Mean{}, heavier).entries == expected.entries);
}

TEST_CASE("neither weights nor entries near the largest number overflow the mean") {
  const double largest = std::numeric_limits<double>::max();
  const Dense mean =
      test::combined(fed::Mean{}, estimates_of({{1e308, -1e308}, {1.5e308, 1e308}, {1.1e308, 1.5e308}}));
  CHECK(test::relative_error(mean, Dense{{1.2e308, 0.5e308}}) < 1e-14);
  CHECK(test::combined(fed::Mean{}, estimates_of({{1}, {2}, {3}}, {largest, largest, largest})).entries ==
        std::vector<long double>{2});
  const double smallest = std::numeric_limits<double>::denorm_min();
  CHECK(test::combined(fed::Mean{}, estimates_of({{1}, {2}, {3}}, {smallest, smallest, smallest})).entries ==
        std::vector<long double>{2});
}

TEST_CASE("the mean works in float") {
  using Single = metalqr::EigenBackend<float>;
  Estimates<Single> list;
  for (const float x : {1.0F, 2.0F, 6.0F}) {
    list.push_back({.estimate = Single::Gain::Constant(1, 2, x)});
  }
  CHECK(fed::combine<Single>(fed::Mean{}, list)(0, 1) == 3.0F);
}

TEST_CASE("combine takes policies and functions of one's own, and holds them to the shape") {
  const auto list = estimates_of({{1, 2}, {3, 4}});
  CHECK(test::combined(First{}, list).entries == std::vector<long double>{1, 2});
  const auto last = [](Span estimates) { return estimates.back().estimate; };
  static_assert(fed::Combiner<decltype(last), Backend>);
  CHECK(test::combined(last, list).entries == std::vector<long double>{3, 4});
  const auto wrong = [](Span) { return Backend::zero_gain(2, 2); };
  CHECK(test::message_of<DimensionMismatch>([&] { test::combined(wrong, list); }) ==
        "combined estimate: expected shape 1x2, got 2x2");
  const auto worse = [](Span estimates) { return Backend::Gain(estimates[0].estimate * not_a_number); };
  CHECK(test::message_of<NotFinite>([&] { test::combined(worse, list); }) ==
        "combined estimate: expected finite entries, got nan at (0, 0)");
}

TEST_CASE("bad lists are refused by combine and by combiners that are called themselves") {
  const auto check = [](const Estimates<>& list, auto error, const std::string& message) {
    using Exception = decltype(error);
    // Before a combiner sees them.
    const auto never = [](Span estimates) {
      FAIL("called");
      return estimates.front().estimate;
    };
    CHECK(test::message_of<Exception>([&] { fed::combine<Backend>(never, list); }) == message);
    CHECK(test::message_of<Exception>([&] { fed::Mean{}(Span(list)); }) == message);
  };
  check({}, InvalidOption(""), "estimates: expected at least one, got none");
  check(estimates_of({{1, 2}, {1, 2, 3}}), DimensionMismatch(""),
        "estimates[1]: expected shape 1x2, got 1x3");
  check({{.estimate = Backend::Gain()}}, DimensionMismatch(""),
        "estimates[0]: expected at least one row and one column, got shape 0x0");
  check(estimates_of({{1}, {2}}, {1, -1}), InvalidOption(""),
        "estimates[1].weight: expected a finite number >= 0, got -1");
  check(estimates_of({{1}, {2}}, {1, infinity}), InvalidOption(""),
        "estimates[1].weight: expected a finite number >= 0, got inf");
  check(estimates_of({{1}, {2}}, {not_a_number, 1}), InvalidOption(""),
        "estimates[0].weight: expected a finite number >= 0, got nan");
  check(estimates_of({{1}, {2}}, {0, 0}), InvalidOption(""),
        "estimates: expected a positive weight, got only weights of zero");
  check(estimates_of({{1, 2}, {1, 2}, {1, infinity}}), NotFinite(""),
        "estimates[2]: expected finite entries, got inf at (0, 1)");
  // An estimate of weight zero is left out, but must be one.
  check(estimates_of({{1, 2}, {not_a_number, 2}}, {1, 0}), NotFinite(""),
        "estimates[1]: expected finite entries, got nan at (0, 0)");
}

TEST_CASE("a combiner takes one estimate unless it says otherwise") {
  struct Pairs : First {
    Index fewest() const { return 2; }
  };
  CHECK(fed::fewest_estimates(fed::Mean{}) == 1);
  CHECK(fed::fewest_estimates(Pairs{}) == 2);
}
