#include <metalqr/core/pack_solve.hpp>

#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "lane_support.hpp"

namespace {

using metalqr::EigenBackend;
using metalqr::LaneTraits;
using test::Dense;
using test::Index;
using test::LaneScalars;

template <class Scalar>
using Square = typename EigenBackend<Scalar, metalqr::dynamic, metalqr::dynamic, 16, 16>::StateMatrix;
template <class Scalar>
using Right = typename EigenBackend<Scalar, metalqr::dynamic, metalqr::dynamic, 16, 16>::InputMatrix;

template <class Scalar>
Square<Scalar> square(const std::vector<Dense>& lanes) {
  return test::filled_lanes(Square<Scalar>(lanes[0].rows, lanes[0].cols), lanes);
}
template <class Scalar>
Right<Scalar> right(const std::vector<Dense>& lanes) {
  return test::filled_lanes(Right<Scalar>(lanes[0].rows, lanes[0].cols), lanes);
}

/// |X Z - Y| / (|X| |Z|) in units of epsilon: a few n for a backward stable solution Z.
template <class Scalar>
double defect(const Dense& x, const Dense& z, const Dense& y) {
  return static_cast<double>(norm(x * z - y) / (norm(x) * norm(z))) / test::epsilon_of<Scalar>();
}

bool all_finite(const Dense& x) {
  for (const long double entry : x.entries) {
    if (!std::isfinite(entry)) return false;
  }
  return true;
}
bool none_finite(const Dense& x) {
  for (const long double entry : x.entries) {
    if (std::isfinite(entry)) return false;
  }
  return true;
}

template <class Scalar>
std::vector<Dense> solve_lanes(const std::vector<Dense>& x, const std::vector<Dense>& y) {
  Square<Scalar> factors = square<Scalar>(x);
  Right<Scalar> solution = right<Scalar>(y);
  metalqr::detail::eliminate(factors, solution);
  std::vector<Dense> result;
  for (Index lane = 0; lane < test::width<Scalar>; ++lane) {
    result.push_back(test::lane_of(solution, lane));
  }
  return result;
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("elimination solves the system in each lane", "", LaneScalars) {
  metalqr::Stream stream = test::stream(1);
  for (Index n = 1; n <= 16; ++n) {
    for (const Index cols : {Index{1}, Index{2}, n}) {
      const auto x = test::for_lanes<TestType>([&] { return test::random_matrix(n, n, stream); });
      const auto y = test::for_lanes<TestType>([&] { return test::random_matrix(n, cols, stream); });
      const auto z = solve_lanes<TestType>(x, y);
      for (std::size_t lane = 0; lane < z.size(); ++lane) {
        CAPTURE(n, cols, lane);
        CHECK(defect<TestType>(x[lane], z[lane], y[lane]) <= 8 * static_cast<double>(n));
      }
    }
  }
}

TEMPLATE_LIST_TEST_CASE("each lane has pivots of its own", "", LaneScalars) {
  // Permutations, a different one in each lane, with tiny numbers where a pivot would be without exchange.
  metalqr::Stream stream = test::stream(2);
  const Index n = 5;
  Index shift = 0;
  const auto x = test::for_lanes<TestType>([&] {
    Dense lane = 1e-20L * test::random_matrix(n, n, stream);
    for (Index i = 0; i < n; ++i) lane(i, (i + shift) % n) += 1 + static_cast<long double>(i);
    ++shift;
    return lane;
  });
  const auto y = test::for_lanes<TestType>([&] { return test::random_matrix(n, 3, stream); });
  const auto z = solve_lanes<TestType>(x, y);
  for (std::size_t lane = 0; lane < z.size(); ++lane) {
    CHECK(test::relative_error(z[lane], test::solve(x[lane], y[lane])) <= 4 * test::epsilon_of<TestType>());
  }
}

TEMPLATE_LIST_TEST_CASE("a system is solved up to its conditioning however its rows are scaled", "",
                        LaneScalars) {
  // Powers of two: the scaled problem has the same solution in exact arithmetic.
  metalqr::Stream stream = test::stream(3);
  const auto x = test::for_lanes<TestType>([&] {
    Dense lane = test::random_matrix(4, 4, stream) + 4 * test::identity(4);
    for (Index i = 0; i < 4; ++i) {
      for (Index j = 0; j < 4; ++j) lane(i, j) = std::ldexp(lane(i, j), static_cast<int>(9 * i) - 18);
    }
    return lane;
  });
  const auto y = test::for_lanes<TestType>([&] { return test::random_matrix(4, 2, stream); });
  const auto z = solve_lanes<TestType>(x, y);
  for (std::size_t lane = 0; lane < z.size(); ++lane) {
    CHECK(test::relative_error(z[lane], test::solve(x[lane], y[lane])) <= 1e3 * test::epsilon_of<TestType>());
  }
}

TEMPLATE_LIST_TEST_CASE("a singular lane has no finite entry, and the others have the bits that they had", "",
                        LaneScalars) {
  const std::vector<Dense> singular{
      Dense(3, 3),
      {{1, 2, 3}, {2, 4, 6}, {0, 1, 1}},
      {{0, 1, 2}, {0, 3, 4}, {0, 5, 6}},
      {{1, 0, 0}, {0, 1, 0}, {0, 0, 0}},
      {{std::numeric_limits<double>::quiet_NaN(), 1, 0}, {1, 3, 0}, {0, 0, 1}},
  };
  metalqr::Stream stream = test::stream(4);
  const auto x = test::for_lanes<TestType>([&] { return test::random_matrix(3, 3, stream); });
  const auto y = test::for_lanes<TestType>([&] { return test::random_matrix(3, 2, stream); });
  const auto z = solve_lanes<TestType>(x, y);
  for (const Dense& bad : singular) {
    for (std::size_t spoiled = 0; spoiled < x.size(); ++spoiled) {
      auto with_bad = x;
      with_bad[spoiled] = bad;
      const auto got = solve_lanes<TestType>(with_bad, y);
      for (std::size_t lane = 0; lane < x.size(); ++lane) {
        CAPTURE(spoiled, lane);
        if (lane == spoiled) {
          CHECK_FALSE(all_finite(got[lane]));
        } else {
          CHECK(got[lane].entries == z[lane].entries);
        }
      }
    }
  }
  // Columns are solved by themselves, and each says that there is no solution.
  const auto nothing = solve_lanes<TestType>(std::vector<Dense>(x.size(), singular[0]), y);
  CHECK(none_finite(nothing[0]));
}

TEMPLATE_LIST_TEST_CASE("a Cholesky factorisation solves in each lane", "", LaneScalars) {
  metalqr::Stream stream = test::stream(5);
  for (Index n = 1; n <= 16; ++n) {
    const auto x = test::for_lanes<TestType>([&] { return test::random_definite(n, stream); });
    const auto y = test::for_lanes<TestType>([&] { return test::random_matrix(n, 3, stream); });
    Square<TestType> factor = square<TestType>(x);
    // Only the lower triangle counts.
    for (Index i = 0; i < n; ++i) {
      for (Index j = i + 1; j < n; ++j) factor(i, j) = LaneTraits<TestType>::infinity();
    }
    Right<TestType> solution = right<TestType>(y);
    CHECK(LaneTraits<TestType>::all(metalqr::detail::cholesky(factor)));
    metalqr::detail::solve_cholesky(factor, solution);
    for (Index lane = 0; lane < test::width<TestType>; ++lane) {
      const auto l = static_cast<std::size_t>(lane);
      CAPTURE(n, lane);
      CHECK(defect<TestType>(x[l], test::lane_of(solution, lane), y[l]) <= 8 * static_cast<double>(n));
      // L L' = X, with the diagonal of L inverted.
      Dense L = test::lane_of(factor, lane);
      for (Index i = 0; i < n; ++i) {
        L(i, i) = 1 / L(i, i);
        for (Index j = i + 1; j < n; ++j) L(i, j) = 0;
      }
      CHECK(test::relative_error(L * transpose(L), x[l]) <=
            4 * static_cast<double>(n) * test::epsilon_of<TestType>());
    }
  }
}

TEMPLATE_LIST_TEST_CASE("the mask of a Cholesky factorisation tells the lanes apart", "", LaneScalars) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinity = std::numeric_limits<double>::infinity();
  const std::vector<std::pair<Dense, bool>> cases{
      {{{2, 1}, {1, 2}}, true},      {{{1, 0}, {0, 1e-30}}, true},     {{{1, 2}, {2, 1}}, false},
      {{{0, 0}, {0, 0}}, false},     {{{-1, 0}, {0, 1}}, false},       {{{1, 0}, {0, -1e-30}}, false},
      {{{1, 1}, {1, 1}}, false},     {{{nan, 0}, {0, 1}}, false},      {{{1, 0}, {0, nan}}, false},
      {{{1, nan}, {nan, 1}}, false}, {{{infinity, 0}, {0, 1}}, false}, {{{1, 0}, {0, infinity}}, false},
      {{{1, 1}, {1, 1.5}}, true},
  };
  // Every case in every lane, beside every other one in turn.
  for (std::size_t first = 0; first < cases.size(); ++first) {
    std::vector<Dense> x;
    const auto at = [&](Index lane) {
      return cases[(first + static_cast<std::size_t>(lane)) % cases.size()];
    };
    for (Index lane = 0; lane < test::width<TestType>; ++lane) x.push_back(at(lane).first);
    Square<TestType> factor = square<TestType>(x);
    const auto mask = metalqr::detail::cholesky(factor);
    for (Index lane = 0; lane < test::width<TestType>; ++lane) {
      CAPTURE(first, lane);
      CHECK(LaneTraits<TestType>::test(mask, lane) == at(lane).second);
    }
  }
}
