#include "statistics.hpp"

#include <cmath>
#include <vector>

#include "support.hpp"

// The tests of random runs rest on these, so they are held to numbers found by hand.

TEST_CASE("the randomisation test counts signs as by hand") {
  // All eight sums of +-1 +-2 +-3: 6, 4, 2, 0 and their opposites, 0 twice.
  CHECK(test::sign_flip_p_value({1, 2, 3}) == 2.0 / 8);
  CHECK(test::sign_flip_p_value({-1, -2, -3}) == 2.0 / 8);
  CHECK(test::sign_flip_p_value({-1, 2, 3}) == 4.0 / 8);
  CHECK(test::sign_flip_p_value({1, -2, 3}) == 6.0 / 8);
  CHECK(test::sign_flip_p_value({1, 2, -3}) == 1);
  CHECK(test::sign_flip_p_value({5}) == 1);
  // 0.1 + 0.2 - 0.3 rounds to something else than 0.3 - 0.1 - 0.2.
  CHECK(test::sign_flip_p_value({0.1, 0.2, -0.3}) == 1);
  CHECK(test::sign_flip_p_value(std::vector<double>(20, 0.1)) == 2.0 / (1 << 20));
}

TEST_CASE("the randomisation test keeps its level; false alarm 1e-6") {
  // 10 pairs of exponential numbers. p <= 0.05 means at most 50 of the 1024 signs, since they come in twos:
  // of 20000 trials 977 on average, with a standard deviation of 30.5, and beyond five with probability 6e-7.
  metalqr::Stream stream = test::stream(6);
  int alarms = 0;
  for (int trial = 0; trial < 20000; ++trial) {
    std::vector<double> values;
    for (int i = 0; i < 10; ++i) {
      values.push_back(std::log(stream.uniform()) - std::log(stream.uniform()));
    }
    alarms += test::sign_flip_p_value(values) <= 0.05 ? 1 : 0;
  }
  CHECK(std::abs(alarms - 976.6) < 5 * 30.5);
}

TEST_CASE("Page's test counts orders as by hand") {
  CHECK(test::page_statistic({{0.1, 0.5, 0.7}}) == 14);
  CHECK(test::page_statistic({{0.7, 0.5, 0.1}, {0.5, 0.1, 0.7}}) == 10 + 13);
  // Of the six orders of three: L = 14, 13, 13, 11, 11, 10.
  CHECK(test::page_p_value({{1, 2, 3}}) == Approx(1.0 / 6));
  CHECK(test::page_p_value({{2, 1, 3}}) == Approx(3.0 / 6));
  CHECK(test::page_p_value({{3, 1, 2}}) == Approx(5.0 / 6));
  CHECK(test::page_p_value({{3, 2, 1}}) == Approx(1));
  // Two blocks: 27 or more is 14 + 13 either way, or 14 twice.
  CHECK(test::page_p_value({{1, 2, 3}, {2, 1, 3}}) == Approx((2.0 * 2 + 1) / 36));
}

TEST_CASE("median and slope are as by hand") {
  CHECK(test::median({3, 1, 2}) == 2);
  CHECK(test::median({4, 1, 3, 2}) == 2.5);
  CHECK(test::slope({1, 2, 3}, {5, 3, 1}) == Approx(-2));
  CHECK(test::slope({0, 1, 2}, {0, 1, 5}) == Approx(2.5));
  CHECK(test::standard_error({1, 2, 3}) == Approx(1 / std::sqrt(3.0)));
}
