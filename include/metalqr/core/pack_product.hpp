#pragma once

/// @file
/// Products of small matrices whose entries are packs: whole tiles of the result are kept in registers, since
/// no entry can be vectorised further.

#include <type_traits>

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

/// The sum of x[i] y[i], in four sums that do not wait for each other.
template <class Pack>
inline Pack inner_product(const Pack* x, const Pack* y, Index size) {
  Pack sums[4] = {Pack(0), Pack(0), Pack(0), Pack(0)};
  const Index whole = size / 4 * 4;
  for (Index i = 0; i < whole; i += 4) {
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) sums[k] = multiply_add(x[i + k], y[i + k], sums[k]);
  }
  for (Index i = whole; i < size; ++i) sums[0] = multiply_add(x[i], y[i], sums[0]);
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

/// A size that is a constant of the type, or a variable where it is negative.
template <Index constant>
struct Size {
  constexpr explicit Size(Index /*value*/) {}
  constexpr Index operator()() const { return constant; }
};
template <Index constant>
requires(constant < 0) struct Size<constant> {
  constexpr explicit Size(Index value) : value_(value) {}
  constexpr Index operator()() const { return value_; }

 private:
  Index value_;
};

/// A matrix or its transposed: entry (i, j), or (j, i), is at data[i + j * stride].
template <class Pack, Index stride_, bool transposed_ = false>
struct ColumnMajor {
  static constexpr bool transposed = transposed_;
  Pack* data;
  Size<stride_> stride;

  ColumnMajor<Pack, stride_, !transposed> transpose() const { return {data, stride}; }
  ColumnMajor from(Index i, Index j) const {
    return {transposed ? data + j + i * stride() : data + i + j * stride(), stride};
  }
  Pack& operator()(Index i, Index j) const {
    return transposed ? data[j + i * stride()] : data[i + j * stride()];
  }
};

/// Which entries of a tile are computed.
enum class Tile {
  whole,
  below,  ///< all, of a tile below the diagonal of a symmetric matrix: they are copied to their mirror images
  diagonal  ///< those on and below the diagonal, and copied likewise
};

/// The Rows x Cols tile z = x y, or z += x y; `mirror` is the image of a tile of a symmetric matrix. A
/// function of its own, because gcc, where it inlines several, keeps their entries in registers that it does
/// not have.
template <int Rows, int Cols, bool add, Tile kind, class Depth, class X, class Y, class Z>
[[gnu::noinline]] void multiply_tile(Depth depth, X x, Y y, Z z, Z mirror) {
  using Pack = std::remove_cvref_t<decltype(z(0, 0))>;
  constexpr auto skips = [](int i, int j) { return kind == Tile::diagonal && j > i; };
  Pack sums[Cols][Rows];
#pragma GCC unroll 4
  for (int j = 0; j < Cols; ++j) {
#pragma GCC unroll 4
    for (int i = 0; i < Rows; ++i) {
      if (!skips(i, j)) sums[j][i] = add ? z(i, j) : x(i, 0) * y(0, j);
    }
  }
  for (Index k = add ? 0 : 1; k < depth(); ++k) {
    Pack column[Rows];
#pragma GCC unroll 4
    for (int i = 0; i < Rows; ++i) column[i] = x(i, k);
#pragma GCC unroll 4
    for (int j = 0; j < Cols; ++j) {
      const Pack factor = y(k, j);
#pragma GCC unroll 4
      for (int i = 0; i < Rows; ++i) {
        if (!skips(i, j)) sums[j][i] = multiply_add(column[i], factor, sums[j][i]);
      }
    }
  }
#pragma GCC unroll 4
  for (int j = 0; j < Cols; ++j) {
#pragma GCC unroll 4
    for (int i = 0; i < Rows; ++i) {
      if (skips(i, j)) continue;
      z(i, j) = sums[j][i];
      if (kind != Tile::whole) mirror(j, i) = sums[j][i];
    }
  }
}

/// All tiles of a column of tiles, `Cols` wide, from row i0 on.
template <int Rows, int Cols, bool add, bool symmetric, class Depth, class X, class Y, class Z>
inline void tiles_below(Index i0, Index j0, Index rows, Depth depth, const X& x, const Y& y, const Z& z) {
  constexpr Tile kind = symmetric ? Tile::below : Tile::whole;
  for (; i0 + Rows <= rows; i0 += Rows) {
    multiply_tile<Rows, Cols, add, kind>(depth, x.from(i0, 0), y.from(0, j0), z.from(i0, j0), z.from(j0, i0));
  }
  if constexpr (Rows > 1) tiles_below<Rows / 2, Cols, add, symmetric>(i0, j0, rows, depth, x, y, z);
}

/// Z = X Y or Z += X Y, rows x depth x cols with depth > 0; Z must be neither X nor Y. Of a `symmetric` Z
/// only the lower triangle is computed.
template <bool add, bool symmetric, int Cols = tile_cols, class Depth, class X, class Y, class Z>
inline void tiled_product(Index rows, Index cols, Depth depth, const X& x, const Y& y, const Z& z,
                          Index j0 = 0) {
  for (; j0 + Cols <= cols; j0 += Cols) {
    Index i0 = 0;
    if constexpr (symmetric) {
      const Z tile = z.from(j0, j0);
      multiply_tile<Cols, Cols, add, Tile::diagonal>(depth, x.from(j0, 0), y.from(0, j0), tile, tile);
      i0 = j0 + Cols;
    }
    tiles_below<tile_rows, Cols, add, symmetric>(i0, j0, rows, depth, x, y, z);
  }
  if constexpr (Cols > 1) tiled_product<add, symmetric, Cols / 2>(rows, cols, depth, x, y, z, j0);
}

/// S += X'SX for symmetric n x n S, without storing SX: for sizes at which the sums of a triangle fit into
/// registers.
template <int n, class X, class S>
[[gnu::noinline]] void add_small_congruence(X x, S s) {
  using Pack = std::remove_cvref_t<decltype(s(0, 0))>;
  Pack sums[n][n];
#pragma GCC unroll 4
  for (int j = 0; j < n; ++j) {
#pragma GCC unroll 4
    for (int i = j; i < n; ++i) sums[j][i] = s(i, j);
  }
#pragma GCC unroll 4
  for (int j = 0; j < n; ++j) {
    Pack column[n];  // of SX
#pragma GCC unroll 4
    for (int i = 0; i < n; ++i) column[i] = s(i, 0) * x(0, j);
#pragma GCC unroll 4
    for (int k = 1; k < n; ++k) {
#pragma GCC unroll 4
      for (int i = 0; i < n; ++i) column[i] = multiply_add(s(i, k), x(k, j), column[i]);
    }
#pragma GCC unroll 4
    for (int k = 0; k < n; ++k) {
#pragma GCC unroll 4
      for (int i = j; i < n; ++i) sums[j][i] = multiply_add(x(k, i), column[k], sums[j][i]);
    }
  }
#pragma GCC unroll 4
  for (int j = 0; j < n; ++j) {
#pragma GCC unroll 4
    for (int i = j; i < n; ++i) {
      s(i, j) = sums[j][i];
      s(j, i) = sums[j][i];
    }
  }
}

}  // namespace metalqr::inline METALQR_ABI::detail
