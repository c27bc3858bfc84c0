#include <metalqr/identification/mixed_rollouts.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include <metalqr/core/eigen.hpp>

#include "support.hpp"

using metalqr::LaneTraits;
using metalqr::PackOf;
using metalqr::identification::Dataset;
using metalqr::identification::Rollout;
using metalqr::identification::detail::draw_chi;
using metalqr::identification::detail::draw_normals;
using metalqr::identification::detail::mixed_rollouts;
using test::Backend;
using test::dense;
using test::Dense;
using test::Index;

// The mean of the squares of 100000 numbers, and of the fourth powers, within 5 standard errors; moments of
// chi-squared: k, k (k + 2), k (k + 2)(k + 4)(k + 6).
TEST_CASE("chi distributed numbers have the right moments; false alarm 6e-6") {
  metalqr::Stream stream = test::stream(61);
  for (const Index degrees : {1, 2, 3, 10, 99}) {
    const int count = 100000;
    double second = 0;
    double fourth = 0;
    for (int i = 0; i < count; ++i) {
      const double square = std::pow(draw_chi(degrees, stream), 2);
      second += square / count;
      fourth += square * square / count;
    }
    const double k = static_cast<double>(degrees);
    const double variance = k * (k + 2) * ((k + 4) * (k + 6) - k * (k + 2)) / count;
    CHECK(std::abs(second - k) < 5 * std::sqrt(2 * k / count));
    CHECK(std::abs(fourth - k * (k + 2)) < 5 * std::sqrt(variance));
  }
}

TEST_CASE("normal numbers of packs are those of the stream") {
  using Pack = PackOf<double>;
  std::vector<metalqr::Stream> streams;
  std::vector<metalqr::Stream> same;
  for (Index lane = 0; lane < LaneTraits<Pack>::count; ++lane) {
    streams.push_back(test::stream(91, static_cast<std::uint64_t>(lane)));
    same.push_back(streams.back());
  }
  for (int i = 0; i < 1000; ++i) {
    const auto pair = draw_normals<Pack>(streams);
    for (Index lane = 0; lane < LaneTraits<Pack>::count; ++lane) {
      metalqr::Stream& stream = same[static_cast<std::size_t>(lane)];
      const double first = stream.normal();
      const double second = stream.normal();
      REQUIRE(std::abs(LaneTraits<Pack>::get(pair.first, lane) - first) < 1e-14);
      REQUIRE(std::abs(LaneTraits<Pack>::get(pair.second, lane) - second) < 1e-14);
    }
  }
}

TEST_CASE("mixed rollouts keep the second moments of the initial states, by length") {
  metalqr::Stream stream = test::stream(92);
  std::vector<Rollout<Backend>> rollouts;
  Dense moments[2] = {Dense(3, 3), Dense(3, 3)};
  for (Index i = 0; i < 9; ++i) {
    const Index steps = i % 3 == 0 ? 2 : 5;
    rollouts.push_back({Backend::zero_matrix(steps + 1, 3), Backend::zero_matrix(steps, 1)});
    const Dense start = test::rounded(test::random_matrix(3, 1, stream));
    for (Index j = 0; j < 3; ++j) rollouts.back().states(0, j) = static_cast<double>(start(j, 0));
    Dense& moment = moments[steps == 2 ? 0 : 1];
    moment = moment + start * transpose(start);
  }
  const auto mixed = mixed_rollouts(Dataset<Backend>(rollouts));
  REQUIRE(mixed.size() == 2);
  for (std::size_t k = 0; k < 2; ++k) {
    CHECK(mixed[k].steps == (k == 0 ? 2 : 5));
    CHECK(mixed[k].count == (k == 0 ? 3 : 6));
    REQUIRE(mixed[k].initial.size() == 9);
    Dense L0(3, 3);
    std::copy(mixed[k].initial.begin(), mixed[k].initial.end(), L0.entries.begin());
    CHECK(test::relative_error(transpose(L0) * L0, moments[k]) < 1e-14);
  }
}

TEST_CASE("rollouts from the origin, and fewer than states, take no more initial states than there are") {
  const auto initial = [](std::vector<double> starts) {
    std::vector<Rollout<Backend>> rollouts;
    for (const double start : starts) {
      rollouts.push_back({Backend::Matrix::Constant(2, 2, start), Backend::zero_matrix(1, 1)});
    }
    return mixed_rollouts(Dataset<Backend>(rollouts))[0].initial.size() / 2;
  };
  CHECK(initial({0, 0, 0}) == 0);
  CHECK(initial({1}) == 1);
  CHECK(initial({1, 0}) >= 1);
  CHECK(initial({1, 2, 3}) <= 2);
}
