#include "lqr/batch.hpp"

#include <cstddef>
#include <limits>
#include <vector>

namespace {

using metalqr::costs;
using metalqr::EigenBackend;
using metalqr::gradients;
using Fixed = EigenBackend<double, 4, 2>;

}  // namespace

TEST_CASE("batches of fixed size agree with the reference values") {
  test::check_reference_cases<Fixed>();
}

TEST_CASE("gains of fixed size keep their bits beside gains that are not finite or do not stabilise") {
  metalqr::Stream stream = test::stream(8);
  const auto task = test::make_task<Fixed>(test::reference_cases()[0].task);
  auto gains = test::near_first_gain<Fixed>(5 * metalqr::lane_count<Fixed>, stream);
  const auto clean = gradients(task, gains);
  const std::vector<double> bad{std::numeric_limits<double>::quiet_NaN(),
                                std::numeric_limits<double>::infinity(), 1e300, 100, -1e-300};
  for (std::size_t i = 0; i < gains.size(); i += 2) gains[i](1, 2) = bad[(i / 2) % bad.size()];
  const auto beside = gradients(task, gains);
  const auto values = costs(task, gains);
  for (std::size_t i = 0; i < gains.size(); ++i) {
    if (i % 2 == 1) {
      CHECK(test::same(beside[i], clean[i]));
      CHECK(values[i] == clean[i].cost);
    } else {
      CHECK(test::same_bits(values[i], beside[i].cost));
    }
  }
}
