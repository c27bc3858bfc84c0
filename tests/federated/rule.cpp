#include <metalqr/federated/rule.hpp>

#include <limits>

#include "support.hpp"

namespace fed = metalqr::federated;
using fed::Standing;
using metalqr::InvalidOption;

namespace {

/// A user's own rule: every second report of the fleet.
struct Half {
  bool is_ready(const Standing& standing) const { return 2 * standing.reports >= standing.present; }
};
static_assert(fed::Rule<Half>);
static_assert(fed::Rule<fed::Synchronous>);
static_assert(fed::Rule<fed::StalenessWeighted<Half, fed::HingeWeight>>);
static_assert(!fed::Rule<int>);

}  // namespace

TEST_CASE("rules are ready when they say") {
  CHECK_FALSE(fed::Synchronous{}.is_ready({.reports = 3, .working = 1, .present = 4}));
  CHECK(fed::Synchronous{}.is_ready({.reports = 4, .working = 0, .present = 4}));
  CHECK_FALSE(fed::Synchronous{}.is_ready({.reports = 0, .working = 0, .present = 0}));
  const fed::Buffered buffered{.count = 3};
  CHECK_FALSE(buffered.is_ready({.reports = 2, .working = 1, .present = 9}));
  CHECK(buffered.is_ready({.reports = 3, .working = 1, .present = 9}));
  CHECK(buffered.is_ready({.reports = 2, .working = 0, .present = 2}));
  const fed::Rennala rennala{.count = 3};
  CHECK_FALSE(rennala.is_ready({.reports = 2, .working = 0, .present = 2}));
  CHECK(rennala.is_ready({.reports = 3, .working = 2, .present = 2}));
  CHECK(fed::Ringmaster{}.is_ready({.reports = 1, .working = 2, .present = 3}));
  CHECK_FALSE(fed::TimeWindow{.ticks = 2}.is_ready({.reports = 9, .working = 0, .present = 9}));
}

TEST_CASE("a rule has the defaults for what it does not say") {
  CHECK(fed::admits(Half{}, 1000));
  CHECK(fed::weight(Half{}, 7) == 1);
  CHECK(fed::step_factor(Half{}, 7) == 1);
  CHECK(fed::window(Half{}) == 0);
  CHECK_FALSE(fed::keeps_working(Half{}));
  CHECK(fed::refresh_after(Half{}) == -1);
  CHECK_NOTHROW(fed::validate(Half{}));
}

TEST_CASE("rules admit reports by their staleness") {
  CHECK(fed::admits(fed::Ringmaster{.limit = 4}, 3));
  CHECK_FALSE(fed::admits(fed::Ringmaster{.limit = 4}, 4));
  CHECK(fed::admits(fed::Rennala{}, 0));
  CHECK_FALSE(fed::admits(fed::Rennala{}, 1));
  const auto bounded = fed::bounded(fed::Ringmaster{.limit = 4}, 2);
  CHECK(fed::admits(bounded, 2));
  CHECK_FALSE(fed::admits(bounded, 3));
  CHECK(fed::refresh_after(bounded) == 2);
  CHECK(fed::keeps_working(bounded));
  CHECK(fed::window(fed::bounded(fed::TimeWindow{.ticks = 3}, 2)) == 3);
}

TEST_CASE("weights fall with staleness as the laws are printed") {
  CHECK(fed::ConstantWeight{}(9) == 1);
  CHECK(fed::PolynomialWeight{.exponent = 0.5}(3) == 0.5);
  CHECK(fed::PolynomialWeight{.exponent = 1}(0) == 1);
  const fed::HingeWeight hinge{.slope = 2, .knee = 4};
  CHECK(hinge(4) == 1);
  CHECK(hinge(5) == Catch::Approx(1.0 / 3).epsilon(1e-15));
  CHECK(hinge(6) == 0.2);
  const auto both = fed::damped(fed::weighted(fed::Buffered{}, hinge), fed::PolynomialWeight{.exponent = 1});
  CHECK(fed::weight(both, 6) == 0.2);
  CHECK(fed::step_factor(both, 3) == 0.25);
  CHECK(both.is_ready({.reports = 20, .working = 5, .present = 25}));
}

TEST_CASE("rules and laws out of range are refused") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_AS(fed::validate(fed::Buffered{.count = 0}), InvalidOption);
  CHECK_THROWS_AS(fed::validate(fed::Ringmaster{.limit = 0}), InvalidOption);
  CHECK_THROWS_AS(fed::validate(fed::Rennala{.count = 0}), InvalidOption);
  CHECK_THROWS_AS(fed::validate(fed::TimeWindow{.ticks = 0}), InvalidOption);
  CHECK_THROWS_AS(fed::validate(fed::bounded(fed::Buffered{}, -1)), InvalidOption);
  CHECK_THROWS_AS(fed::validate(fed::bounded(fed::Buffered{.count = 0}, 1)), InvalidOption);
  CHECK_THROWS_AS(fed::validate(fed::weighted(fed::Buffered{}, fed::PolynomialWeight{.exponent = -1})),
                  InvalidOption);
  CHECK_THROWS_AS(fed::validate(fed::damped(fed::Buffered{}, fed::HingeWeight{.slope = nan})), InvalidOption);
  CHECK_THROWS_AS(fed::validate(fed::damped(fed::Buffered{}, fed::HingeWeight{.knee = -1})), InvalidOption);
}
