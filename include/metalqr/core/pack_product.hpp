#pragma once

/// @file
/// Products of small matrices whose entries are packs: whole tiles of the result are kept in registers, since
/// no entry can be vectorised further.

#include <metalqr/core/lanes.hpp>

namespace metalqr::inline METALQR_ABI::detail {

#if defined(__AVX512F__) || defined(__aarch64__)
inline constexpr int tile_rows = 4;  // 32 vector registers: 16 sums, 4 + 1 factors
#else
inline constexpr int tile_rows = 2;  // 16 vector registers
#endif
inline constexpr int tile_cols = 4;

/// x y + z, in one rounding where the machine has it.
template <class Scalar>
inline Scalar multiply_add(const Scalar& x, const Scalar& y, const Scalar& z) {
  if constexpr (is_pack<Scalar>) {
    return fma(x, y, z);
  } else {
    return x * y + z;
  }
}

/// A matrix in memory: entry (i, j) is at data[i * row + j * col].
template <class Pack>
struct Strided {
  Pack* data;
  Index row;
  Index col;
  Strided<Pack> from(Index i, Index j) const { return {data + i * row + j * col, row, col}; }
  Strided<Pack> transposed() const { return {data, col, row}; }
};

/// The Rows x Cols matrix z = x y, or z += x y. With `lower`, of the entries above the diagonal only copies
/// are made, and `mirror` is where the transposed of z goes (z itself for a tile on the diagonal).
template <int Rows, int Cols, bool add, bool lower, class Pack>
[[gnu::always_inline]] inline void tile(Index depth, Strided<const Pack> x, Strided<const Pack> y,
                                        Strided<Pack> z, Strided<Pack> mirror, bool diagonal) {
  Pack sums[Rows][Cols];
#pragma GCC unroll 4
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < Cols; ++j) sums[i][j] = add ? z.data[i * z.row + j * z.col] : Pack(0);
  }
#pragma GCC unroll 4
  for (Index k = 0; k < depth; ++k) {
#pragma GCC unroll 4
    for (int i = 0; i < Rows; ++i) {
      const Pack left = x.data[i * x.row + k * x.col];
#pragma GCC unroll 4
      for (int j = 0; j < Cols; ++j) {
        if (lower && diagonal && j > i) continue;
        sums[i][j] = multiply_add(left, y.data[k * y.row + j * y.col], sums[i][j]);
      }
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < Cols; ++j) {
      if (lower && diagonal && j > i) continue;
      z.data[i * z.row + j * z.col] = sums[i][j];
      if (lower) mirror.data[j * mirror.row + i * mirror.col] = sums[i][j];
    }
  }
}

/// All tiles of a column of tiles, `Cols` wide, from row i0 on.
template <int Rows, int Cols, bool add, bool lower, class Pack>
[[gnu::always_inline]] inline void tiles_below(Index i0, Index j0, Index rows, Index depth,
                                               Strided<const Pack> x, Strided<const Pack> y,
                                               Strided<Pack> z) {
  for (; i0 + Rows <= rows; i0 += Rows) {
    tile<Rows, Cols, add, lower>(depth, x.from(i0, 0), y.from(0, j0), z.from(i0, j0), z.from(j0, i0), false);
  }
  if constexpr (Rows > 1) tiles_below<Rows / 2, Cols, add, lower>(i0, j0, rows, depth, x, y, z);
}

/// Z = X Y or Z += X Y, rows x depth x cols; Z must be neither X nor Y. With `lower`, Z is symmetric, and
/// only its lower triangle is computed.
template <bool add, bool lower, int Cols = tile_cols, class Pack>
[[gnu::always_inline]] inline void tiled_product(Index rows, Index cols, Index depth, Strided<const Pack> x,
                                                 Strided<const Pack> y, Strided<Pack> z, Index j0 = 0) {
  for (; j0 + Cols <= cols; j0 += Cols) {
    Index i0 = 0;
    if constexpr (lower) {
      tile<Cols, Cols, add, true>(depth, x.from(j0, 0), y.from(0, j0), z.from(j0, j0), z.from(j0, j0), true);
      i0 = j0 + Cols;
    }
    tiles_below<tile_rows, Cols, add, lower>(i0, j0, rows, depth, x, y, z);
  }
  if constexpr (Cols > 1) tiled_product<add, lower, Cols / 2>(rows, cols, depth, x, y, z, j0);
}

}  // namespace metalqr::inline METALQR_ABI::detail
