#pragma once

/// @file
/// Matrices of packs and the plain matrices in their lanes.

#include <array>
#include <concepts>
#include <cstddef>
#include <type_traits>

#include <metalqr/core/backend.hpp>

namespace metalqr::inline METALQR_ABI {

namespace detail {

template <MatrixBackend Backend>
struct LaneBackend {
  using type = Backend;
};
template <MatrixBackend Backend>
requires MatrixBackend<typename Backend::Lanes>
struct LaneBackend<Backend> {
  using type = typename Backend::Lanes;
};

}  // namespace detail

/// The backend that works on several systems of `Backend` at a time: `Backend::Lanes` where it exists, else
/// `Backend` itself, with a single lane.
template <MatrixBackend Backend>
using LanesOf = typename detail::LaneBackend<Backend>::type;

/// Number of systems that `LanesOf<Backend>` works on at a time.
template <MatrixBackend Backend>
inline constexpr Index lane_count = LaneTraits<typename LanesOf<Backend>::Scalar>::count;

namespace detail {

/// Writes to `packed` the matrix whose lane l holds `matrix(l)`; all have the shape of the first.
template <class Packed, class Make>
void pack_lanes(Packed& packed, Index rows, Index cols, const Make& matrix) {
  using Pack = std::remove_cvref_t<decltype(packed(Index{0}, Index{0}))>;
  using Plain = std::remove_reference_t<decltype(matrix(Index{0}))>;
  constexpr Index count = LaneTraits<Pack>::count;
  std::array<const Plain*, static_cast<std::size_t>(count)> matrices;
  for (Index lane = 0; lane < count; ++lane) matrices[static_cast<std::size_t>(lane)] = &matrix(lane);
  for (Index j = 0; j < cols; ++j) {
    for (Index i = 0; i < rows; ++i) {
      packed(i, j) = LaneTraits<Pack>::make(
          [&](Index lane) { return (*matrices[static_cast<std::size_t>(lane)])(i, j); });
    }
  }
}

/// Writes to `plain`, which has the shape of `packed`, the matrix in a lane of it.
template <class Packed, class Plain>
void unpack_lane(const Packed& packed, Index lane, Index rows, Index cols, Plain& plain) {
  using Pack = std::remove_cvref_t<decltype(packed(Index{0}, Index{0}))>;
  for (Index j = 0; j < cols; ++j) {
    for (Index i = 0; i < rows; ++i) plain(i, j) = LaneTraits<Pack>::get(packed(i, j), lane);
  }
}

/// The number in a lane, in double precision.
template <MatrixBackend Backend>
double lane_to_double(const typename Backend::Scalar& number, Index lane = 0) {
  using Scalar = typename Backend::Scalar;
  if constexpr (is_pack<Scalar>) {
    return static_cast<double>(LaneTraits<Scalar>::get(number, lane));
  } else {
    return Backend::to_double(number);
  }
}

/// Clears X in the lanes where the mask holds.
template <MatrixBackend Backend, class X>
void clear_lanes(const MaskOf<typename Backend::Scalar>& mask, X& x) {
  using Scalar = typename Backend::Scalar;
  for (Index j = 0; j < Backend::cols(x); ++j) {
    for (Index i = 0; i < Backend::rows(x); ++i) {
      x(i, j) = LaneTraits<Scalar>::select(mask, Scalar(0), x(i, j));
    }
  }
}

/// Copies X to Y in the lanes where the mask holds.
template <MatrixBackend Backend, class X>
void copy_lanes(const MaskOf<typename Backend::Scalar>& mask, const X& x, X& y) {
  using Scalar = typename Backend::Scalar;
  if constexpr (is_pack<Scalar>) {
    for (Index j = 0; j < Backend::cols(x); ++j) {
      for (Index i = 0; i < Backend::rows(x); ++i) {
        y(i, j) = LaneTraits<Scalar>::select(mask, x(i, j), y(i, j));
      }
    }
  } else {
    if (mask) y = x;
  }
}

}  // namespace detail
}  // namespace metalqr::inline METALQR_ABI
