#pragma once

/// @file
/// Products of Eigen's matrices.

#include <metalqr/core/eigen_matrix.hpp>
#include <metalqr/core/pack_product.hpp>

namespace metalqr::inline METALQR_ABI::detail {

/// The part of `EigenBackend` that multiplies.
template <class Scalar>
struct EigenProducts {
  /// X'.
  template <class X>
  static Transposed<X> transpose(const X& x) {
    return x.transpose();
  }
  /// X Y.
  template <class X, class Y>
  static RowsByCols<X, Y> product(const X& x, const Y& y) {
    if constexpr (is_pack<Scalar>) {
      RowsByCols<X, Y> result;
      multiply(x, y, result);
      return result;
    } else {
      return x * y;
    }
  }
  /// X' Y.
  template <class X, class Y>
  static ColsByCols<X, Y> transpose_product(const X& x, const Y& y) {
    if constexpr (is_pack<Scalar>) {
      ColsByCols<X, Y> result(x.cols(), y.cols());
      pack_product<false, false, X::RowsAtCompileTime>(column_major(x).transpose(), column_major(y), x.rows(),
                                                       result);
      return result;
    } else {
      return x.transpose() * y;
    }
  }
  /// X Y'.
  template <class X, class Y>
  static RowsByRows<X, Y> product_transpose(const X& x, const Y& y) {
    if constexpr (is_pack<Scalar>) {
      RowsByRows<X, Y> result(x.rows(), y.rows());
      pack_product<false, false, X::ColsAtCompileTime>(column_major(x), column_major(y).transpose(), x.cols(),
                                                       result);
      return result;
    } else {
      return x * y.transpose();
    }
  }
  /// X' S X for symmetric S; symmetric up to rounding.
  template <class X, class S>
  static ColsByCols<X, X> congruence(const X& x, const S& s) {
    if constexpr (is_pack<Scalar>) {
      const auto sx = product(s, x);
      ColsByCols<X, X> result(x.cols(), x.cols());
      pack_product<false, true, X::RowsAtCompileTime>(column_major(x).transpose(), column_major(sx), x.rows(),
                                                      result);
      return result;
    } else {
      return transpose_product(x, product(s, x));
    }
  }
  /// X S X' for symmetric S; symmetric up to rounding.
  template <class X, class S>
  static RowsByRows<X, X> outer_congruence(const X& x, const S& s) {
    if constexpr (is_pack<Scalar>) {
      const auto xs = product(x, s);
      RowsByRows<X, X> result(x.rows(), x.rows());
      pack_product<false, true, X::ColsAtCompileTime>(column_major(xs), column_major(x).transpose(), x.cols(),
                                                      result);
      return result;
    } else {
      return product_transpose(product(x, s), x);
    }
  }

  /// Z = X Y, where Z is neither X nor Y; its storage is used if the shape fits.
  template <class X, class Y, class Z>
  static void multiply(const X& x, const Y& y, Z& z) {
    if constexpr (is_pack<Scalar>) {
      z.resize(x.rows(), y.cols());
      pack_product<false, false, X::ColsAtCompileTime>(column_major(x), column_major(y), x.cols(), z);
    } else {
      z.noalias() = x * y;
    }
  }
  /// S += X' Y for square matrices of which S and X' Y are symmetric, S exactly: so is the result. Half of
  /// the product is saved where that pays.
  template <class X>
  static void add_symmetric_product(X& s, const X& x, const X& y) {
    if constexpr (is_pack<Scalar>) {
      pack_product<true, true, X::RowsAtCompileTime>(column_major(x).transpose(), column_major(y), x.rows(),
                                                     s);
    } else {
      add_nearly_symmetric(s, x.transpose(), y);
      if (!has_cheap_halves(s)) s = symmetrised(s);
    }
  }
  /// S += X Y'; see above.
  template <class X>
  static void add_symmetric_outer_product(X& s, const X& x, const X& y) {
    if constexpr (is_pack<Scalar>) {
      pack_product<true, true, X::ColsAtCompileTime>(column_major(x), column_major(y).transpose(), x.cols(),
                                                     s);
    } else {
      add_nearly_symmetric(s, x, y.transpose());
      if (!has_cheap_halves(s)) s = symmetrised(s);
    }
  }
  /// S += X' S X for symmetric S and square X, symmetric up to rounding; half of the second product is saved
  /// where that pays. `work` is overwritten.
  template <class X>
  static void add_congruence(X& s, const X& x, X& work) {
    if constexpr (is_small_pack<X>) {
      add_small_congruence<X::RowsAtCompileTime>(column_major(x), mutable_column_major(s));
    } else {
      multiply(s, x, work);
      if constexpr (is_pack<Scalar>) {
        add_symmetric_product(s, x, work);
      } else {
        add_nearly_symmetric(s, x.transpose(), work);
      }
    }
  }
  /// S += X S X'; see `add_congruence`.
  template <class X>
  static void add_outer_congruence(X& s, const X& x, X& work) {
    if constexpr (is_small_pack<X>) {
      add_small_congruence<X::RowsAtCompileTime>(column_major(x).transpose(), mutable_column_major(s));
    } else {
      multiply(x, s, work);
      if constexpr (is_pack<Scalar>) {
        add_symmetric_outer_product(s, work, x);
      } else {
        add_nearly_symmetric(s, work, x.transpose());
      }
    }
  }
  /// (X + X')/2.
  template <class X>
  static X symmetrised(const X& x) {
    return Scalar(0.5) * (x + x.transpose());
  }
  /// Sum of the diagonal.
  template <class X>
  static Scalar trace(const X& x) {
    return x.trace();
  }
  /// tr(X' Y).
  template <class X, class Y>
  static Scalar inner(const X& x, const Y& y) {
    if constexpr (is_pack<Scalar> && X::IsRowMajor == Y::IsRowMajor) {
      return inner_product(x.data(), y.data(), x.size());
    } else {
      return x.cwiseProduct(y).sum();
    }
  }
  /// Frobenius norm.
  template <class X>
  static Scalar norm(const X& x) {
    if constexpr (is_pack<Scalar>) {
      return sqrt(inner(x, x));
    } else {
      return x.norm();
    }
  }
  /// Largest absolute entry.
  template <class X>
  static Scalar max_abs(const X& x) {
    if constexpr (is_pack<Scalar>) {
      Scalar largest(0);
      for (Index j = 0; j < x.cols(); ++j) {
        for (Index i = 0; i < x.rows(); ++i) largest = max(largest, abs(x(i, j)));
      }
      return largest;
    } else {
      return x.cwiseAbs().maxCoeff();
    }
  }
  /// Whether no entry is a NaN or an infinity.
  template <class X>
  static MaskOf<Scalar> is_finite(const X& x) {
    if constexpr (is_pack<Scalar>) {
      Scalar sum(0);
      for (Index j = 0; j < x.cols(); ++j) {
        for (Index i = 0; i < x.rows(); ++i) sum += x(i, j) - x(i, j);
      }
      return sum == Scalar(0);
    } else {
      return x.allFinite();
    }
  }

 private:
  // S += X Y, for a result that is symmetric up to rounding.
  template <class S, class X, class Y>
  static void add_nearly_symmetric(S& s, const X& x, const Y& y) {
    if (has_cheap_halves(s)) {
      s.template triangularView<Eigen::Lower>() += x * y;
      s.template triangularView<Eigen::StrictlyUpper>() = s.transpose();
    } else {
      s.noalias() += x * y;
    }
  }
  // Below this, Eigen's whole product is faster than its half.
  template <class X>
  static bool has_cheap_halves(const X& x) {
    constexpr Index threshold = 24;
    constexpr bool never = X::RowsAtCompileTime != Eigen::Dynamic && X::RowsAtCompileTime < threshold;
    return !never && x.rows() >= threshold;
  }

  // Row vectors have a stride of one, as if they were stored by columns.
  template <class X>
  static constexpr Index stride_of = X::IsRowMajor ? 1 : X::RowsAtCompileTime;
  template <class X>
  static ColumnMajor<const Scalar, stride_of<X>> column_major(const X& x) {
    return {x.data(), Size<stride_of<X>>(X::IsRowMajor ? 1 : x.outerStride())};
  }
  template <class X>
  static ColumnMajor<Scalar, stride_of<X>> mutable_column_major(X& x) {
    return {x.data(), column_major(x).stride};
  }
  template <class X>
  static constexpr bool is_small_pack =
      is_pack<Scalar>&& X::RowsAtCompileTime > 0 && X::RowsAtCompileTime <= 4;
  // result = x y or result += x y, by tiles.
  template <bool add, bool symmetric, int depth_, class X, class Y, class Result>
  static void pack_product(const X& x, const Y& y, Index depth, Result& result) {
    tiled_product<add, symmetric>(result.rows(), result.cols(), Size<depth_>(depth), x, y,
                                  mutable_column_major(result));
  }
};

}  // namespace metalqr::inline METALQR_ABI::detail
