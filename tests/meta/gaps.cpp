#include <metalqr/meta/gaps.hpp>

#include <cmath>
#include <limits>
#include <vector>

#include "setting.hpp"

namespace {

using Backend = metalqr::EigenBackend<double, 1, 1>;
using metalqr::meta::gaps;
using metalqr::meta::Record;

}  // namespace

TEST_CASE("gaps of a scalar plant follow its closed form, and are infinite where stability is lost") {
  const double a = 1.1;
  const double b = 0.5;
  const double q = 2;
  const double r = 0.3;
  const double s = 0.7;
  using Number = Backend::StateMatrix;
  const metalqr::Task<Backend> task{Number(a), Number(b), Number(q), Number(r), Number(s)};
  const auto cost = [&](double k) {
    const double f = a - b * k;
    return s * (q + r * k * k) / (1 - f * f);
  };
  std::vector<Record<Backend>> history;
  double best = std::numeric_limits<double>::infinity();
  for (double k = 0.3; k < 4.1; k += 1e-5) best = std::min(best, cost(k));
  for (const double k : {0.5, 1.0, 2.0, 5.0, -1.0}) history.push_back({.gain = Backend::Gain(k)});
  const std::vector<double> result = gaps(task, history);
  REQUIRE(result.size() == history.size());
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(result[i] == Approx(cost(history[i].gain(0, 0)) - best).epsilon(1e-8));
  }
  CHECK(std::isinf(result[3]));
  CHECK(std::isinf(result[4]));
  CHECK(gaps(task, std::vector<Record<Backend>>{}).empty());
}

TEST_CASE("the gap of the published start is the published one") {
  const auto task = metalqr::systems::modified_boeing<test::Boeing>().with_initial_state(
      metalqr::systems::published_gap_second_moment<test::Boeing>());
  const auto result = gaps(task, std::vector<Record<test::Boeing>>{{.gain = test::first_gain()}});
  CHECK(result.front() == Approx(22.546370377 - 2.7147945922).epsilon(1e-9));
}
