#pragma once

/// @file
/// Matrices of Eigen, of plain numbers and of packs.

// Eigen's own parallel products round differently with the number of threads.
#if defined(_OPENMP) && !defined(EIGEN_DONT_PARALLELIZE)
#ifdef EIGEN_CORE_H
#error \
    "With OpenMP, include metalqr before Eigen, or define EIGEN_DONT_PARALLELIZE (as metalqr::openmp does)."
#endif
#define EIGEN_DONT_PARALLELIZE
#endif

#include <Eigen/Core>

#include <metalqr/core/lanes.hpp>

static_assert(EIGEN_VERSION_AT_LEAST(3, 4, 0), "metalqr needs Eigen 3.4 or newer");

#ifdef METALQR_LANES
/// A pack is a number to Eigen.
template <class T, class Instructions>
struct Eigen::NumTraits<xsimd::batch<T, Instructions>>
    : Eigen::GenericNumTraits<xsimd::batch<T, Instructions>> {
  using Pack = xsimd::batch<T, Instructions>;
  using Real = Pack;
  using NonInteger = Pack;
  using Nested = Pack;
  using Literal = Pack;
  enum {
    IsComplex = 0,
    IsInteger = 0,
    IsSigned = 1,
    RequireInitialization = 0,
    ReadCost = 1,
    AddCost = 1,
    MulCost = 1
  };
  static Pack epsilon() { return Pack(Eigen::NumTraits<T>::epsilon()); }
  static Pack dummy_precision() { return Pack(Eigen::NumTraits<T>::dummy_precision()); }
};
#endif

namespace metalqr::inline METALQR_ABI {

/// Size that is known at run time only.
inline constexpr int dynamic = Eigen::Dynamic;

namespace detail {

/// A dense matrix; no larger than MaxRows x MaxCols, in storage of its own, where these are given for sizes
/// known at run time.
template <class Scalar, int Rows, int Cols, int MaxRows = Rows, int MaxCols = Cols>
using EigenMatrix =
    Eigen::Matrix<Scalar, Rows, Cols, Rows == 1 && Cols != 1 ? Eigen::RowMajor : Eigen::ColMajor, MaxRows,
                  MaxCols>;

/// With the rows of X and the columns of Y.
template <class X, class Y>
using RowsByCols = EigenMatrix<typename X::Scalar, X::RowsAtCompileTime, Y::ColsAtCompileTime,
                               X::MaxRowsAtCompileTime, Y::MaxColsAtCompileTime>;
/// With as many rows as X has columns, and the columns of Y.
template <class X, class Y>
using ColsByCols = EigenMatrix<typename X::Scalar, X::ColsAtCompileTime, Y::ColsAtCompileTime,
                               X::MaxColsAtCompileTime, Y::MaxColsAtCompileTime>;
/// With the rows of X, and as many columns as Y has rows.
template <class X, class Y>
using RowsByRows = EigenMatrix<typename X::Scalar, X::RowsAtCompileTime, Y::RowsAtCompileTime,
                               X::MaxRowsAtCompileTime, Y::MaxRowsAtCompileTime>;
/// The shape of X'.
template <class X>
using Transposed = EigenMatrix<typename X::Scalar, X::ColsAtCompileTime, X::RowsAtCompileTime,
                               X::MaxColsAtCompileTime, X::MaxRowsAtCompileTime>;

constexpr int bounded(int size) {
  return size == dynamic ? static_cast<int>(most_lane_states) : size;
}

}  // namespace detail

}  // namespace metalqr::inline METALQR_ABI
