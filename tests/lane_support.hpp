#pragma once

/// @file
/// What the tests of lanes share: the number types that algorithms run on, and values that tell the lanes
/// apart.

#include <cstdint>
#include <cstring>
#include <limits>
#include <tuple>
#include <type_traits>
#include <vector>

#include <metalqr/core/eigen.hpp>
#include <metalqr/core/lanes.hpp>

#include "support.hpp"

namespace test {

#if defined(METALQR_LANES) && defined(__SSE2__)
/// Two numbers, whatever else the program is compiled for.
using TwoDoubles = xsimd::batch<double, xsimd::sse2>;
#else
using TwoDoubles = double;
#endif

/// Plain numbers and, where lanes are compiled in, packs of them.
using LaneScalars = std::tuple<double, metalqr::PackOf<double>, metalqr::PackOf<float>, TwoDoubles>;

/// The number in a lane of `Scalar`.
template <class Scalar>
using ValueOf = typename metalqr::LaneTraits<Scalar>::Value;

template <class Scalar>
inline constexpr Index width = metalqr::LaneTraits<Scalar>::count;

template <class Scalar>
double epsilon_of() {
  return static_cast<double>(std::numeric_limits<ValueOf<Scalar>>::epsilon());
}

/// The matrix in a lane of a matrix of packs.
template <class X>
Dense lane_of(const X& x, Index lane) {
  using Scalar = std::remove_cvref_t<decltype(x(Index{0}, Index{0}))>;
  Dense result(x.rows(), x.cols());
  for (Index i = 0; i < result.rows; ++i) {
    for (Index j = 0; j < result.cols; ++j) {
      result(i, j) = static_cast<long double>(metalqr::LaneTraits<Scalar>::get(x(i, j), lane));
    }
  }
  return result;
}

/// `zeros` with `lanes[l]` in lane l.
template <class X>
X filled_lanes(X zeros, const std::vector<Dense>& lanes) {
  using Scalar = std::remove_cvref_t<decltype(zeros(Index{0}, Index{0}))>;
  using Lane = metalqr::LaneTraits<Scalar>;
  for (Index i = 0; i < zeros.rows(); ++i) {
    for (Index j = 0; j < zeros.cols(); ++j) {
      zeros(i, j) = Lane::make([&](Index lane) {
        return static_cast<typename Lane::Value>(lanes[static_cast<std::size_t>(lane)](i, j));
      });
    }
  }
  return zeros;
}

/// Rounded to the numbers in the lanes of `Scalar`.
template <class Scalar>
Dense rounded_to(Dense x) {
  for (long double& entry : x.entries) entry = static_cast<ValueOf<Scalar>>(entry);
  return x;
}

/// A matrix of its own for each lane, from `make()`, in numbers that the lanes hold exactly.
template <class Scalar, class Make>
std::vector<Dense> for_lanes(const Make& make) {
  std::vector<Dense> lanes;
  for (Index lane = 0; lane < width<Scalar>; ++lane) lanes.push_back(rounded_to<Scalar>(make()));
  return lanes;
}

/// Whether two numbers have the same bits, or are both NaN.
template <class Value>
bool same_bits(Value x, Value y) {
  if (x != x || y != y) return x != x && y != y;
  return std::memcmp(&x, &y, sizeof(Value)) == 0;
}

}  // namespace test
