#include <metalqr/core/pack_product.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "lane_support.hpp"

namespace {

using metalqr::LaneTraits;
using metalqr::detail::ColumnMajor;
using test::Dense;
using test::Index;
using test::LaneScalars;

/// An n_rows x n_cols matrix of packs in memory, column by column with a gap behind each column.
template <class Scalar>
struct Stored {
  Index rows, cols, stride;
  std::vector<Scalar> data;
  std::vector<Dense> lanes;

  Stored(Index rows_, Index cols_, metalqr::Stream& stream)
      : rows(rows_), cols(cols_), stride(rows_ + 1), data(static_cast<std::size_t>(stride * cols_)) {
    fill(test::for_lanes<Scalar>([&] { return test::random_matrix(rows, cols, stream); }));
  }
  void fill(std::vector<Dense> values) {
    lanes = std::move(values);
    std::fill(data.begin(), data.end(), Scalar(77));
    for (Index j = 0; j < cols; ++j) {
      for (Index i = 0; i < rows; ++i) {
        data[static_cast<std::size_t>(i + j * stride)] = LaneTraits<Scalar>::make([&](Index lane) {
          return static_cast<test::ValueOf<Scalar>>(lanes[static_cast<std::size_t>(lane)](i, j));
        });
      }
    }
  }
  ColumnMajor<const Scalar, -1> view() const { return {data.data(), metalqr::detail::Size<-1>(stride)}; }
  ColumnMajor<Scalar, -1> view() { return {data.data(), metalqr::detail::Size<-1>(stride)}; }
  Dense in(Index lane) const {
    Dense x(rows, cols);
    for (Index i = 0; i < rows; ++i) {
      for (Index j = 0; j < cols; ++j) {
        x(i, j) = LaneTraits<Scalar>::get(data[static_cast<std::size_t>(i + j * stride)], lane);
      }
    }
    return x;
  }
  bool gaps_are_untouched() const {
    for (Index j = 0; j < cols; ++j) {
      for (Index lane = 0; lane < LaneTraits<Scalar>::count; ++lane) {
        if (LaneTraits<Scalar>::get(data[static_cast<std::size_t>(rows + j * stride)], lane) != 77)
          return false;
      }
    }
    return true;
  }
};

/// z = x y or z += x y.
template <bool add, bool symmetric, class X, class Y, class Scalar>
void multiply(Index depth, const X& x, const Y& y, Stored<Scalar>& z) {
  metalqr::detail::tiled_product<add, symmetric>(z.rows, z.cols, metalqr::detail::Size<-1>(depth), x, y,
                                                 z.view());
}

/// Largest error of an entry in units of epsilon times its sum of absolute products.
template <class Scalar>
double error_in(const Dense& got, const Dense& x, const Dense& y, const Dense& start) {
  double worst = 0;
  for (Index i = 0; i < got.rows; ++i) {
    for (Index j = 0; j < got.cols; ++j) {
      long double sum = start(i, j);
      long double size = std::abs(start(i, j));
      for (Index k = 0; k < x.cols; ++k) {
        sum += x(i, k) * y(k, j);
        size += std::abs(x(i, k) * y(k, j));
      }
      const double error = static_cast<double>(std::abs(got(i, j) - sum) / size) / test::epsilon_of<Scalar>();
      worst = error <= worst ? worst : error;
    }
  }
  return worst;
}

/// Products of every size, in units of their rounding error. A sum of k products in any order is off by at
/// most k units of its absolute sum (Higham, eq. 3.5), whatever is contracted.
template <bool add, class Scalar>
double worst_product(Index rows, Index depth, Index cols, metalqr::Stream& stream) {
  const Stored<Scalar> x(rows, depth, stream);
  const Stored<Scalar> y(depth, cols, stream);
  const Stored<Scalar> xt(depth, rows, stream);
  const Stored<Scalar> yt(cols, depth, stream);
  double worst = 0;
  for (const int transposes : {0, 1, 2, 3}) {
    Stored<Scalar> z(rows, cols, stream);
    const std::vector<Dense> before = z.lanes;
    switch (transposes) {
      case 0:
        multiply<add, false>(depth, x.view(), y.view(), z);
        break;
      case 1:
        multiply<add, false>(depth, xt.view().transpose(), y.view(), z);
        break;
      case 2:
        multiply<add, false>(depth, x.view(), yt.view().transpose(), z);
        break;
      default:
        multiply<add, false>(depth, xt.view().transpose(), yt.view().transpose(), z);
    }
    if (!z.gaps_are_untouched()) return std::numeric_limits<double>::infinity();
    for (Index lane = 0; lane < test::width<Scalar>; ++lane) {
      const auto l = static_cast<std::size_t>(lane);
      const Dense left = (transposes & 1) ? transpose(xt.lanes[l]) : x.lanes[l];
      const Dense right = (transposes & 2) ? transpose(yt.lanes[l]) : y.lanes[l];
      const Dense start = add ? before[l] : Dense(rows, cols);
      worst =
          std::max(worst, error_in<Scalar>(z.in(lane), left, right, start) / static_cast<double>(depth + 1));
    }
  }
  return worst;
}

/// X'X or Z + X'X by the lower triangle: how far off it is; infinite unless exactly symmetric.
template <bool add, class Scalar>
double worst_symmetric(Index n, Index depth, metalqr::Stream& stream) {
  const Stored<Scalar> x(depth, n, stream);
  Stored<Scalar> z(n, n, stream);
  z.fill(test::for_lanes<Scalar>([&] { return test::random_definite(n, stream); }));
  const std::vector<Dense> before = z.lanes;
  multiply<add, true>(depth, x.view().transpose(), x.view(), z);
  if (!z.gaps_are_untouched()) return std::numeric_limits<double>::infinity();
  double worst = 0;
  for (Index lane = 0; lane < test::width<Scalar>; ++lane) {
    const auto l = static_cast<std::size_t>(lane);
    const Dense got = z.in(lane);
    for (Index i = 0; i < n; ++i) {
      for (Index j = 0; j < i; ++j) {
        if (got(i, j) != got(j, i)) return std::numeric_limits<double>::infinity();
      }
    }
    const Dense start = add ? before[l] : Dense(n, n);
    worst = std::max(worst, error_in<Scalar>(got, transpose(x.lanes[l]), x.lanes[l], start) /
                                static_cast<double>(depth + 1));
  }
  return worst;
}

const std::vector<Index> sizes{1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 16, 17};

}  // namespace

TEMPLATE_LIST_TEST_CASE("products by tiles of every shape are those of naive loops in each lane", "",
                        LaneScalars) {
  metalqr::Stream stream = test::stream(1);
  double worst = 0;
  double worst_added = 0;
  for (const Index rows : sizes) {
    for (const Index cols : sizes) {
      for (const Index depth : {1, 3, 8, 17}) {
        if (depth == 17 && rows != cols) continue;
        worst = std::max(worst, worst_product<false, TestType>(rows, depth, cols, stream));
        if (depth == 3) {
          worst_added = std::max(worst_added, worst_product<true, TestType>(rows, depth, cols, stream));
        }
      }
    }
  }
  CHECK(worst <= 1);
  CHECK(worst_added <= 1);
}

TEMPLATE_LIST_TEST_CASE("a symmetric product is exactly symmetric and right from its lower triangle", "",
                        LaneScalars) {
  metalqr::Stream stream = test::stream(2);
  for (const Index n : sizes) {
    for (const Index depth : {1, 2, 3, 5, 8, 17}) {
      CAPTURE(n, depth);
      CHECK(worst_symmetric<false, TestType>(n, depth, stream) <= 1);
      CHECK(worst_symmetric<true, TestType>(n, depth, stream) <= 1);
    }
  }
}

TEMPLATE_LIST_TEST_CASE("a symmetric product does not read what is above the diagonal", "", LaneScalars) {
  using Lane = LaneTraits<TestType>;
  metalqr::Stream stream = test::stream(3);
  for (const Index n : sizes) {
    CAPTURE(n);
    const Stored<TestType> x(3, n, stream);
    Stored<TestType> z(n, n, stream);
    Stored<TestType> poisoned = z;
    for (Index i = 0; i < n; ++i) {
      for (Index j = i + 1; j < n; ++j)
        poisoned.data[static_cast<std::size_t>(i + j * z.stride)] = Lane::infinity() - Lane::infinity();
    }
    multiply<true, true>(3, x.view().transpose(), x.view(), z);
    multiply<true, true>(3, x.view().transpose(), x.view(), poisoned);
    for (Index lane = 0; lane < Lane::count; ++lane) {
      CHECK(poisoned.in(lane).entries == z.in(lane).entries);
    }
  }
}

TEMPLATE_LIST_TEST_CASE("both factors of a product may be one matrix", "", LaneScalars) {
  metalqr::Stream stream = test::stream(4);
  for (const Index n : sizes) {
    CAPTURE(n);
    const Stored<TestType> x(n, n, stream);
    Stored<TestType> square(n, n, stream);
    multiply<false, false>(n, x.view(), x.view(), square);
    for (Index lane = 0; lane < test::width<TestType>; ++lane) {
      const Dense& own = x.lanes[static_cast<std::size_t>(lane)];
      CHECK(error_in<TestType>(square.in(lane), own, own, Dense(n, n)) <= static_cast<double>(n + 1));
    }
  }
}

TEMPLATE_LIST_TEST_CASE("a lane of a product has the same bits whatever its neighbours hold", "",
                        LaneScalars) {
  using Lane = LaneTraits<TestType>;
  using Value = typename Lane::Value;
  metalqr::Stream stream = test::stream(5);
  for (const Index n : sizes) {
    const Stored<TestType> x(n, n, stream);
    const Stored<TestType> y(n, n, stream);
    Stored<TestType> alone(n, n, stream);
    Stored<TestType> beside(n, n, stream);
    // The last lane's matrices in every lane, and beside NaN, infinite and huge ones.
    const Index last = Lane::count - 1;
    const auto with = [&](const Stored<TestType>& all, bool lonely) {
      Stored<TestType> result = all;
      for (TestType& entry : result.data) {
        const Value own = Lane::get(entry, last);
        entry = Lane::make([&](Index lane) {
          if (lonely || lane == last) return own;
          return lane % 3 == 0   ? std::numeric_limits<Value>::quiet_NaN()
                 : lane % 3 == 1 ? std::numeric_limits<Value>::infinity()
                                 : std::numeric_limits<Value>::max();
        });
      }
      return result;
    };
    const auto product = [&](bool lonely, Stored<TestType>& z) {
      const Stored<TestType> left = with(x, lonely);
      const Stored<TestType> right = with(y, lonely);
      multiply<false, false>(n, left.view(), right.view(), z);
    };
    product(true, alone);
    product(false, beside);
    CHECK(alone.in(last).entries == beside.in(last).entries);
    CHECK(alone.in(0).entries == alone.in(last).entries);
  }
}

TEST_CASE("multiply_add is x y + z") {
  using metalqr::PackOf;
  using metalqr::detail::multiply_add;
  CHECK(multiply_add(3.0, 5.0, 7.0) == 22);
  const auto packed = multiply_add(PackOf<double>(3.0), PackOf<double>(5.0), PackOf<double>(7.0));
  CHECK(LaneTraits<PackOf<double>>::get(packed, 0) == 22);
}
