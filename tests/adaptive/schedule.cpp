#include <metalqr/adaptive/schedule.hpp>

#include <cmath>
#include <limits>

#include "support.hpp"

namespace {

namespace adaptive = metalqr::adaptive;
using adaptive::Epochs;
using adaptive::Schedule;
using metalqr::InvalidOption;
using test::Index;

const double not_a_number = std::numeric_limits<double>::quiet_NaN();

}  // namespace

TEST_CASE("epochs grow and exploration decays as in the published schedules") {
  const Schedule linear = adaptive::linear_epochs();
  CHECK(adaptive::epoch_length(linear, 0) == 10);
  CHECK(adaptive::epoch_length(linear, 7) == 80);
  CHECK(adaptive::exploration_level(linear, 0) == 0.1);
  CHECK(adaptive::exploration_level(linear, 7) == Catch::Approx(0.05).epsilon(1e-15));
  const Schedule exponential = adaptive::exponential_epochs();
  CHECK(adaptive::epoch_length(exponential, 0) == 10);
  CHECK(adaptive::epoch_length(exponential, 6) == 640);
  CHECK(adaptive::exploration_level(exponential, 6) == Catch::Approx(0.05).epsilon(1e-15));
  const Schedule determinant = adaptive::determinant_epochs();
  CHECK(adaptive::epoch_length(determinant, 3) == 500);
  CHECK(adaptive::exploration_level(determinant, 0) == 0);
  // The exponents are free.
  CHECK(adaptive::exploration_level({.exploration = 3, .decay = 0.5}, 8) == Catch::Approx(1).epsilon(1e-15));
  CHECK(adaptive::exploration_level({.exploration = 3, .decay = 0}, 8) == 3);
}

TEST_CASE("no epoch is too long for its number") {
  const Schedule exponential = adaptive::exponential_epochs();
  CHECK(adaptive::epoch_length(exponential, 100000) == Index{1} << 60);
  CHECK(adaptive::exploration_level(exponential, 100000) == 0);
}

TEST_CASE("bad schedules are refused by field") {
  using Catch::Matchers::ContainsSubstring;
  const auto message = [](const Schedule& schedule) {
    return test::message_of<InvalidOption>([&] { adaptive::validate(schedule); });
  };
  CHECK_THAT(message({.first = 0}), ContainsSubstring("first"));
  CHECK_THAT(message({.first = 20, .longest = 19}), ContainsSubstring("longest"));
  for (const double bad : {-0.1, not_a_number, std::numeric_limits<double>::infinity()}) {
    CHECK_THAT(message({.exploration = bad}), ContainsSubstring("exploration"));
    CHECK_THAT(message({.decay = bad}), ContainsSubstring("decay"));
  }
  CHECK_NOTHROW(adaptive::validate(adaptive::linear_epochs()));
  CHECK_NOTHROW(adaptive::validate(adaptive::exponential_epochs()));
  CHECK_NOTHROW(adaptive::validate(adaptive::determinant_epochs()));
}
