#include <metalqr/federated/robust.hpp>

#include <algorithm>
#include <cstddef>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "estimates.hpp"

namespace {

namespace fed = metalqr::federated;
using metalqr::InvalidOption;
using test::Backend;
using test::combined;
using test::corrupted_list;
using test::Dense;
using test::Estimates;
using test::estimates_of;
using test::Index;

using Numbers = std::vector<long double>;

const double not_a_number = std::numeric_limits<double>::quiet_NaN();

static_assert(fed::Combiner<fed::CoordinateMedian, Backend>);
static_assert(fed::Combiner<fed::TrimmedMean, test::Fixed>);

/// Weights 1 ... 4.
Estimates<> with_whole_weights(std::size_t count, metalqr::Stream& stream) {
  Estimates<> list = test::random_estimates(count, stream, false);
  for (auto& vote : list) vote.weight = 1 + static_cast<double>(stream.bits() % 4);
  return list;
}

/// The entries of a list at one place, ascending.
std::vector<double> sorted_entries(const Estimates<>& list, Index i, Index j) {
  std::vector<double> entries;
  for (const auto& vote : list) entries.push_back(vote.estimate(i, j));
  std::sort(entries.begin(), entries.end());
  return entries;
}

}  // namespace

TEST_CASE("the coordinate median takes the middle of each entry") {
  CHECK(combined(fed::CoordinateMedian{}, estimates_of({{3, 1}, {1, 9}, {2, 5}})).entries == Numbers{2, 5});
  CHECK(combined(fed::CoordinateMedian{}, estimates_of({{3, 1}, {1, 9}, {2, 5}, {8, 6}})).entries ==
        Numbers{2.5, 5.5});
  CHECK(combined(fed::CoordinateMedian{}, estimates_of({{4, 7}})).entries == Numbers{4, 7});
  CHECK(combined(fed::CoordinateMedian{}, estimates_of({{4}, {5}})).entries == Numbers{4.5});
  // 3 of 5 are on the first one.
  CHECK(combined(fed::CoordinateMedian{}, estimates_of({{3}, {1}, {2}}, {3, 1, 1})).entries == Numbers{3});
  // Half of the weight is on 1 and 2, half on 3: the middle, however the weights round.
  CHECK(combined(fed::CoordinateMedian{}, estimates_of({{3}, {1}, {2}}, {0.3, 0.1, 0.2})).entries ==
        Numbers{2.5});
  CHECK(combined(fed::CoordinateMedian{}, estimates_of({{3}, {1}, {2}}, {0.3, 0.2, 0.1})).entries ==
        Numbers{2.5});
  CHECK(combined(fed::CoordinateMedian{}, estimates_of({{3}, {1}, {2}}, {0.301, 0.2, 0.1})).entries ==
        Numbers{3});
  CHECK(combined(fed::CoordinateMedian{}, estimates_of({{3}, {1}, {2}}, {0.299, 0.2, 0.1})).entries ==
        Numbers{2});
  CHECK(combined(fed::CoordinateMedian{}, estimates_of({{1.7e308}, {1.5e308}})).entries ==
        Numbers{0.5L * 1.7e308 + 0.5L * 1.5e308});
}

TEST_CASE("the weighted median is the median of a list in which estimates are repeated") {
  for (std::uint64_t trial = 0; trial < 200; ++trial) {
    metalqr::Stream stream = test::stream(1, trial);
    const auto list = with_whole_weights(1 + trial % 9, stream);
    Dense expected(2, 4);
    for (Index i = 0; i < 2; ++i) {
      for (Index j = 0; j < 4; ++j) {
        const std::vector<double> entries = sorted_entries(test::repeated(list), i, j);
        const std::size_t n = entries.size();
        expected(i, j) = n % 2 == 1 ? entries[n / 2] : entries[n / 2 - 1] / 2 + entries[n / 2] / 2;
      }
    }
    CHECK(combined(fed::CoordinateMedian{}, list).entries == expected.entries);
  }
}

TEST_CASE("the trimmed mean leaves out its share at each end") {
  const auto five = estimates_of({{5, 0}, {-900, 0}, {3, 0}, {800, 0}, {4, 7}});
  CHECK(combined(fed::TrimmedMean{.fraction = 0.2}, five).entries[0] == Approx(4));
  // The largest zero goes as well as the smallest.
  CHECK(combined(fed::TrimmedMean{.fraction = 0.2}, five).entries[1] == 0);
  CHECK(combined(fed::TrimmedMean{.fraction = 0}, five).entries[0] == Approx(-88.0 / 5));
  // A tenth of the weight is half an estimate: (-450 + 3 + 4 + 5 + 400)/4.
  CHECK(combined(fed::TrimmedMean{}, five).entries[0] == Approx(-38.0 / 4));
  // 2 of 8 go at each end: 1, half of 2; and 4 of 6 from 9 at weight 3 (one half of 2, two thirds of 9).
  CHECK(combined(fed::TrimmedMean{.fraction = 0.25}, estimates_of({{9}, {1}, {2}, {5}}, {3, 1, 2, 2}))
            .entries[0] == Approx((2.0 * 1 + 5 * 2 + 9 * 1) / 4));
  CHECK(combined(fed::TrimmedMean{.fraction = 0.4999999999999}, five).entries[0] == 4);
  CHECK(combined(fed::TrimmedMean{.fraction = 0.4999999999999}, estimates_of({{1}, {2}, {6}, {7}})).entries ==
        Numbers{4});
  CHECK(
      combined(fed::TrimmedMean{.fraction = 0}, estimates_of({{1.7e308}, {1.7e308}, {1.7e308}})).entries[0] ==
      Approx(1.7e308).epsilon(1e-14));
}

TEST_CASE("the weighted trimmed mean is that of a list in which estimates are repeated") {
  for (std::uint64_t trial = 0; trial < 200; ++trial) {
    metalqr::Stream stream = test::stream(2, trial);
    const auto list = with_whole_weights(2 + trial % 9, stream);
    const auto all = test::repeated(list);
    const std::size_t n = all.size();
    const std::size_t cut = static_cast<std::size_t>(stream.bits() % ((n + 1) / 2));
    Dense expected(2, 4);
    for (Index i = 0; i < 2; ++i) {
      for (Index j = 0; j < 4; ++j) {
        const std::vector<double> entries = sorted_entries(all, i, j);
        for (std::size_t k = cut; k < n - cut; ++k) {
          expected(i, j) += entries[k] / static_cast<long double>(n - 2 * cut);
        }
      }
    }
    const fed::TrimmedMean combiner{.fraction = static_cast<double>(cut) / static_cast<double>(n)};
    CHECK(test::relative_error(combined(combiner, list), expected) < 1e-13);
  }
}

TEMPLATE_TEST_CASE("combiners of entries are invariant as they should", "", Backend, test::Fixed) {
  for (const bool weighted : {false, true}) {
    test::check_invariances<TestType>(fed::CoordinateMedian{}, weighted, 3, 1e-13);
    test::check_invariances<TestType>(fed::TrimmedMean{.fraction = 0.2}, weighted, 4, 1e-13);
  }
}

TEST_CASE("the median stays among the honest estimates with floor((b - 1)/2) corrupted ones, up to 1e300") {
  for (std::uint64_t trial = 0; trial < 200; ++trial) {
    metalqr::Stream stream = test::stream(6, trial);
    const std::size_t count = 3 + trial % 19;
    const std::size_t most = (count - 1) / 2;
    const auto list = corrupted_list(count, most, stream, trial % 2 == 0);
    CHECK(test::is_between(combined(fed::CoordinateMedian{}, list), list, count - most));
  }
  // One more is too many, so that the test above can fail.
  metalqr::Stream stream = test::stream(7);
  const auto lost = corrupted_list(9, 5, stream, true);
  CHECK_FALSE(test::is_between(combined(fed::CoordinateMedian{}, lost), lost, 4));
}

TEST_CASE("a trimmed mean stays among the honest estimates with its share corrupted, up to 1e300") {
  for (int count = 3; count < 120; ++count) {
    metalqr::Stream stream = test::stream(8, static_cast<std::uint64_t>(count));
    const auto n = static_cast<std::size_t>(count);
    // All shares of whole numbers, whose products with b round to either side, as 0.29 * 100.
    for (int most = 1; 2 * most < count; most += 1 + count / 10) {
      const auto corrupted = static_cast<std::size_t>(most);
      const fed::TrimmedMean combiner{.fraction = most / static_cast<double>(count)};
      const auto list = corrupted_list(n, corrupted, stream, most % 2 == 0);
      CHECK(test::is_between(combined(combiner, list), list, n - corrupted));
    }
  }
  metalqr::Stream stream = test::stream(9);
  const auto lost = corrupted_list(10, 2, stream, true);
  CHECK_FALSE(test::is_between(combined(fed::TrimmedMean{}, lost), lost, 8));
}

TEST_CASE("combiners of entries work in float and long double") {
  const auto check = [](auto backend, double tolerance) {
    using AnyBackend = decltype(backend);
    Estimates<AnyBackend> list;
    for (const double x : {1.0, 2.0, 6.0, 7.0}) {
      auto X = AnyBackend::zero_gain(1, 2);
      X(0, 0) = static_cast<typename AnyBackend::Scalar>(x);
      X(0, 1) = static_cast<typename AnyBackend::Scalar>(x * x);
      list.push_back({.estimate = X});
    }
    const auto at = [&](const auto& combiner) { return combined<AnyBackend>(combiner, list); };
    CHECK(test::relative_error(at(fed::CoordinateMedian{}), Dense{{4, 20}}) < tolerance);
    CHECK(test::relative_error(at(fed::TrimmedMean{.fraction = 0.25}), Dense{{4, 20}}) < tolerance);
  };
  check(metalqr::EigenBackend<float>{}, 1e-6);
  check(metalqr::EigenBackend<long double>{}, 1e-17);
}

TEST_CASE("bad options of combiners of entries are refused") {
  const auto list = estimates_of({{1, 2}, {3, 4}});
  const auto message = [&](const auto& combiner) {
    return test::message_of<InvalidOption>([&] { combined(combiner, list); });
  };
  CHECK(message(fed::TrimmedMean{.fraction = -0.1}) == "fraction: expected a number in [0, 0.5), got -0.1");
  CHECK(message(fed::TrimmedMean{.fraction = 0.5}) == "fraction: expected a number in [0, 0.5), got 0.5");
  CHECK(message(fed::TrimmedMean{.fraction = not_a_number}) ==
        "fraction: expected a number in [0, 0.5), got nan");
  const std::span<const fed::WeightedEstimate<Backend>> none;
  CHECK_THROWS_AS(fed::CoordinateMedian{}(none), InvalidOption);
  CHECK_THROWS_AS(fed::TrimmedMean{}(none), InvalidOption);
}
