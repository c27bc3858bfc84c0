#include <metalqr/core/lanes.hpp>

#include <cmath>
#include <limits>
#include <tuple>
#include <type_traits>

#include "catch.hpp"
#include "lane_support.hpp"

namespace {

using metalqr::is_pack;
using metalqr::LaneTraits;
using metalqr::MaskOf;
using metalqr::PackOf;
using test::Index;
using test::LaneScalars;

/// Distinct numbers with no simple pattern: 1, -2, 3, ...
template <class Scalar>
Scalar ramp() {
  return LaneTraits<Scalar>::make([](Index lane) {
    return static_cast<test::ValueOf<Scalar>>((lane % 2 == 0 ? 1 : -1) * static_cast<double>(lane + 1));
  });
}

/// The mask whose lane l is bit l of `pattern`.
template <class Scalar>
MaskOf<Scalar> mask_of(unsigned pattern) {
  return LaneTraits<Scalar>::make_mask([pattern](Index lane) { return ((pattern >> lane) & 1U) != 0; });
}

}  // namespace

static_assert(std::is_same_v<MaskOf<double>, bool> && !is_pack<double> && !is_pack<long double>);
static_assert(LaneTraits<double>::count == 1 && LaneTraits<float>::count == 1);
static_assert(std::is_same_v<PackOf<long double>, long double>);
static_assert(std::is_same_v<LaneTraits<PackOf<float>>::Value, float>);
static_assert(std::is_same_v<LaneTraits<PackOf<double>>::Value, double>);
#ifdef METALQR_LANES
static_assert(is_pack<PackOf<double>> && is_pack<PackOf<float>>);
static_assert(LaneTraits<PackOf<double>>::count >= 2);
static_assert(LaneTraits<PackOf<float>>::count == 2 * LaneTraits<PackOf<double>>::count);
#else
static_assert(std::is_same_v<PackOf<double>, double> && std::is_same_v<PackOf<float>, float>);
#endif

TEMPLATE_LIST_TEST_CASE("what is put into a lane is found in that lane", "", LaneScalars) {
  using Lane = LaneTraits<TestType>;
  using Value = typename Lane::Value;
  const TestType numbers = ramp<TestType>();
  for (Index lane = 0; lane < Lane::count; ++lane) {
    CHECK(Lane::get(numbers, lane) ==
          static_cast<Value>((lane % 2 == 0 ? 1 : -1) * static_cast<double>(lane + 1)));
    CHECK(Lane::get(Lane::number(0.1), lane) == static_cast<Value>(0.1));
    CHECK(Lane::get(Lane::infinity(), lane) == std::numeric_limits<Value>::infinity());
    CHECK(Lane::get(TestType(2) * numbers + TestType(1), lane) == 2 * Lane::get(numbers, lane) + 1);
  }
}

TEMPLATE_LIST_TEST_CASE("a mask has each pattern of lanes, and any, all and select follow it", "",
                        LaneScalars) {
  using Lane = LaneTraits<TestType>;
  const unsigned full = (1U << Lane::count) - 1;
  const unsigned step = full > 1000 ? 37 : 1;  // of 65536 patterns of 16 lanes only some
  const TestType numbers = ramp<TestType>();
  unsigned wrong = 0;
  for (unsigned pattern = 0; pattern <= full; pattern += step) {
    const MaskOf<TestType> mask = mask_of<TestType>(pattern);
    if (Lane::any(mask) != (pattern != 0)) ++wrong;
    if (Lane::all(mask) != (pattern == full)) ++wrong;
    if (Lane::any(!mask) != (pattern != full)) ++wrong;
    const unsigned other_pattern = (pattern * 7 + 3) & full;
    const MaskOf<TestType> other = mask_of<TestType>(other_pattern);
    const TestType selected = Lane::select(mask, numbers, Lane::number(100));
    for (Index lane = 0; lane < Lane::count; ++lane) {
      const bool bit = ((pattern >> lane) & 1U) != 0;
      const bool other_bit = ((other_pattern >> lane) & 1U) != 0;
      if (Lane::test(mask, lane) != bit || Lane::test(!mask, lane) == bit) ++wrong;
      if (Lane::test(mask && other, lane) != (bit && other_bit)) ++wrong;
      if (Lane::test(mask || other, lane) != (bit || other_bit)) ++wrong;
      if (Lane::get(selected, lane) != (bit ? Lane::get(numbers, lane) : 100)) ++wrong;
    }
  }
  CHECK(wrong == 0);
  CHECK(Lane::all(mask_of<TestType>(full)));
}

TEMPLATE_LIST_TEST_CASE("a selection takes nothing from the side that was not chosen, NaN included", "",
                        LaneScalars) {
  using Lane = LaneTraits<TestType>;
  using Value = typename Lane::Value;
  const TestType nan = Lane::infinity() - Lane::infinity();
  const TestType numbers = ramp<TestType>();
  const TestType cleared = Lane::select(numbers > TestType(0), numbers, nan);
  for (Index lane = 0; lane < Lane::count; ++lane) {
    CHECK(std::isnan(Lane::get(nan, lane)));
    if (lane % 2 == 0) {
      CHECK(Lane::get(cleared, lane) == static_cast<Value>(lane + 1));
    } else {
      CHECK(std::isnan(Lane::get(cleared, lane)));
    }
  }
}

TEMPLATE_LIST_TEST_CASE("comparisons with a NaN hold in no lane, those with infinity where they should", "",
                        LaneScalars) {
  using Lane = LaneTraits<TestType>;
  using Value = typename Lane::Value;
  const Value nan = std::numeric_limits<Value>::quiet_NaN();
  // A NaN in the first lane alone.
  const TestType numbers = Lane::make([nan](Index lane) { return lane == 0 ? nan : Value(1); });
  for (const MaskOf<TestType>& mask :
       {MaskOf<TestType>(numbers > TestType(0)), MaskOf<TestType>(numbers < Lane::infinity()),
        MaskOf<TestType>(numbers >= TestType(1)), MaskOf<TestType>(numbers <= TestType(1)),
        MaskOf<TestType>(numbers == TestType(1))}) {
    for (Index lane = 0; lane < Lane::count; ++lane) CHECK(Lane::test(mask, lane) == (lane != 0));
    CHECK_FALSE(Lane::all(mask));
    CHECK(Lane::any(mask) == (Lane::count > 1));
  }
  CHECK_FALSE(Lane::any(Lane::infinity() < Lane::infinity()));
  CHECK(Lane::all(Lane::number(std::numeric_limits<Value>::max()) < Lane::infinity()));
  CHECK(Lane::all(Lane::infinity() > Lane::number(std::numeric_limits<Value>::max())));
}

TEMPLATE_LIST_TEST_CASE("functions of a pack are those of the numbers in its lanes", "", LaneScalars) {
  using std::abs;
  using std::sqrt;
  using Lane = LaneTraits<TestType>;
  using Value = typename Lane::Value;
  const TestType numbers = ramp<TestType>() / Lane::number(3);
  for (Index lane = 0; lane < Lane::count; ++lane) {
    const Value value = Lane::get(numbers, lane);
    CHECK(Lane::get(TestType(abs(numbers)), lane) == std::abs(value));
    CHECK(Lane::get(TestType(sqrt(abs(numbers))), lane) == std::sqrt(std::abs(value)));
    CHECK(Lane::get(TestType(TestType(1) / numbers), lane) == 1 / value);
    CHECK(Lane::get(TestType(-numbers), lane) == -value);
  }
}
