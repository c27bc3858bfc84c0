#pragma once

/// @file
/// Lanes: several numbers worked on by one instruction. A pack of lanes serves as the scalar of a backend, so
/// that an algorithm written once solves one problem with `double` and a handful at a time with packs.

#include <array>
#include <cstddef>
#include <limits>
#include <type_traits>
#include <utility>

#include <metalqr/core/index.hpp>

#ifdef METALQR_LANES
#include <xsimd/xsimd.hpp>
#endif

namespace metalqr::inline METALQR_ABI {

/// How a number is made of lanes. This form is that of plain numbers, which are their own single lane.
/// Algorithms that run on packs too ask here what `bool` and `?:` cannot say for them: the result of a
/// comparison is a `Mask`, `bool` or one for each lane, to be combined with `&& || !`.
template <class Scalar>
struct LaneTraits {
  using Value = Scalar;              ///< number in a lane
  using Mask = bool;                 ///< result of a comparison
  static constexpr Index count = 1;  ///< number of lanes
  /// Whether the mask holds in some lane.
  static bool any(bool mask) { return mask; }
  /// Whether the mask holds in every lane.
  static bool all(bool mask) { return mask; }
  /// In each lane, `yes` where the mask holds and `no` elsewhere.
  static const Scalar& select(bool mask, const Scalar& yes, const Scalar& no) { return mask ? yes : no; }
  /// The number nearest to `value`, in every lane.
  static Scalar number(double value) { return static_cast<Scalar>(value); }
  /// +infinity in every lane.
  static Scalar infinity() { return std::numeric_limits<Scalar>::infinity(); }
  /// The numbers of all lanes.
  static std::array<Scalar, 1> lanes(const Scalar& number) { return {number}; }
  /// The number in a lane.
  static const Scalar& get(const Scalar& number, Index /*lane*/) { return number; }
  /// The mask's value in a lane.
  static bool test(bool mask, Index /*lane*/) { return mask; }
  /// The number with `value(lane)` in each lane.
  template <class Make>
  static Scalar make(const Make& value) {
    return value(Index{0});
  }
  /// The mask with `value(lane)` in each lane.
  template <class Make>
  static bool make_mask(const Make& value) {
    return value(Index{0});
  }
};

/// The result of comparing two numbers: `bool`, or one for each lane.
template <class Scalar>
using MaskOf = typename LaneTraits<Scalar>::Mask;

/// Whether a number consists of several lanes.
template <class Scalar>
inline constexpr bool is_pack = !std::is_same_v<MaskOf<Scalar>, bool>;

namespace detail {

/// Largest number of states, and of inputs, of a system that is worked on in lanes; larger ones fill the
/// vector units by themselves.
inline constexpr Index most_lane_states = 16;

template <class Scalar>
struct WidestPack {
  using type = Scalar;
};

}  // namespace detail

/// The widest pack of such numbers that the program is compiled for; the number itself where there is none,
/// or without lanes.
template <class Scalar>
using PackOf = typename detail::WidestPack<Scalar>::type;

#ifdef METALQR_LANES

namespace detail {

template <>
struct WidestPack<double> {
  using type = xsimd::batch<double>;
};
template <>
struct WidestPack<float> {
  using type = xsimd::batch<float>;
};

}  // namespace detail

/// Packs of xsimd.
template <class T, class Instructions>
struct LaneTraits<xsimd::batch<T, Instructions>> {
  using Value = T;                                                ///< number in a lane
  using Pack = xsimd::batch<T, Instructions>;                     ///< a number for each lane
  using Mask = xsimd::batch_bool<T, Instructions>;                ///< result of a comparison
  static constexpr Index count = static_cast<Index>(Pack::size);  ///< number of lanes
  /// Whether the mask holds in some lane.
  static bool any(const Mask& mask) { return xsimd::any(mask); }
  /// Whether the mask holds in every lane.
  static bool all(const Mask& mask) { return xsimd::all(mask); }
  /// In each lane, `yes` where the mask holds and `no` elsewhere.
  static Pack select(const Mask& mask, const Pack& yes, const Pack& no) {
    return xsimd::select(mask, yes, no);
  }
  /// The number nearest to `value`, in every lane.
  static Pack number(double value) { return Pack(static_cast<T>(value)); }
  /// +infinity in every lane.
  static Pack infinity() { return Pack(std::numeric_limits<T>::infinity()); }
  /// The numbers of all lanes.
  static std::array<T, Pack::size> lanes(const Pack& pack) {
    std::array<T, Pack::size> result;
    pack.store_unaligned(result.data());
    return result;
  }
  /// The number in a lane.
  static T get(const Pack& pack, Index lane) { return pack.get(static_cast<std::size_t>(lane)); }
  /// The mask's value in a lane.
  static bool test(const Mask& mask, Index lane) { return mask.get(static_cast<std::size_t>(lane)); }
  /// The pack with `value(lane)` in each lane.
  template <class Make>
  static Pack make(const Make& value) {
    // From registers: a load of what was just stored in pieces would wait for the stores.
    return [&value]<std::size_t... lane>(std::index_sequence<lane...>) {
      return Pack{static_cast<T>(value(static_cast<Index>(lane)))...};
    }
    (std::make_index_sequence<Pack::size>());
  }
  /// The mask with `value(lane)` in each lane.
  template <class Make>
  static Mask make_mask(const Make& value) {
    return make([&value](Index lane) { return value(lane) ? T(1) : T(0); }) > Pack(T(0));
  }
};

#endif

}  // namespace metalqr::inline METALQR_ABI
