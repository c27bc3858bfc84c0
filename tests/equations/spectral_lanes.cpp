// The powers of several matrices at a time, in the lanes of a pack, and what is proved of each.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <optional>
#include <tuple>
#include <vector>

#include <metalqr/equations/spectral.hpp>

#include "lane_support.hpp"

namespace {

using metalqr::EigenBackend;
using metalqr::LaneTraits;
using metalqr::PackOf;
using metalqr::visit_powers;
using test::Dense;
using test::Index;

template <class Scalar>
using Bounded = EigenBackend<Scalar, metalqr::dynamic, metalqr::dynamic, 16, 16>;

using Scalars = std::tuple<double, PackOf<double>, PackOf<float>>;

template <class Scalar>
struct Visited {
  metalqr::PowerReport<Scalar> report;
  std::vector<std::vector<Dense>> powers;  // [visit][lane]
};

template <class Scalar>
Visited<Scalar> powers_of(const std::vector<Dense>& F) {
  using StateMatrix = typename Bounded<Scalar>::StateMatrix;
  const StateMatrix packed = test::filled_lanes(StateMatrix(F[0].rows, F[0].cols), F);
  Visited<Scalar> result;
  result.report = visit_powers<Bounded<Scalar>>(packed, [&result](const StateMatrix& power) {
    result.powers.emplace_back();
    for (Index lane = 0; lane < test::width<Scalar>; ++lane) {
      result.powers.back().push_back(test::lane_of(power, lane));
    }
  });
  return result;
}

/// Whether the square of the last power that was visited in a lane has a norm whose square overflows.
template <class Scalar>
bool overflows(const Visited<Scalar>& visited, Index lane) {
  Dense last;
  for (const auto& power : visited.powers) {
    const Dense& own = power[static_cast<std::size_t>(lane)];
    if (norm(own) > 0) last = own;
  }
  return norm(last * last) >
         0.1L * std::sqrt(static_cast<long double>(std::numeric_limits<test::ValueOf<Scalar>>::max()));
}

Dense diagonal(double value, Index n = 3) {
  Dense x(n, n);
  for (Index i = 0; i < n; ++i) x(i, i) = value / static_cast<double>(i + 1);
  return x;
}

/// n x n with the largest eigenvalues a complex pair of absolute value rho.
Dense with_pair(Index n, double rho, double angle, metalqr::Stream& stream) {
  Dense T(n, n);
  T(0, 0) = T(1, 1) = rho * std::cos(angle);
  T(0, 1) = -rho * std::sin(angle);
  T(1, 0) = rho * std::sin(angle);
  for (Index i = 2; i < n; ++i) T(i, i) = 0.5 * stream.uniform(-1, 1);
  for (Index i = 0; i < n; ++i) {
    for (Index j = std::max(i + 1, Index{2}); j < n; ++j) T(i, j) = 0.3 * stream.normal();
  }
  return T;
}

template <class Scalar>
std::vector<Dense> everywhere(const Dense& F) {
  return std::vector<Dense>(static_cast<std::size_t>(test::width<Scalar>), F);
}

struct Exact {
  Dense F;
  double rho;
};

/// A full, far from normal matrix whose spectral radius is known although it was rounded: numbers of few
/// bits, 2x2 blocks for complex pairs, and an integer similarity transform, all exact in `Scalar`.
template <class Scalar>
std::optional<Exact> exact_matrix(Index n, double lowest, double highest, double coupling,
                                  metalqr::Stream& stream) {
  const double unit = std::is_same_v<test::ValueOf<Scalar>, float> ? 0x1p-14 : 0x1p-20;
  const auto dyadic = [unit](double x) { return std::nearbyint(x / unit) * unit; };
  Dense T(n, n);
  double rho = 0;
  for (Index i = 0; i < n; ++i) {
    const double radius = i == 0 ? stream.uniform(lowest, highest) : lowest * stream.uniform(0, 1);
    const Index size = i + 1 < n && stream.uniform(0, 1) < 0.5 ? 2 : 1;
    if (size == 2) {
      const double angle = stream.uniform(0, 3.141592653589793);
      T(i, i) = T(i + 1, i + 1) = dyadic(radius * std::cos(angle));
      T(i + 1, i) = dyadic(radius * std::sin(angle));
      T(i, i + 1) = -T(i + 1, i);
      rho = std::max(rho, static_cast<double>(std::hypot(T(i, i), T(i + 1, i))));
    } else {
      T(i, i) = dyadic(radius) * stream.rademacher();
      rho = std::max(rho, static_cast<double>(std::abs(T(i, i))));
    }
    for (Index row = i; row < i + size; ++row) {
      for (Index j = i + size; j < n; ++j) T(row, j) = std::floor(coupling * stream.uniform(-1, 1));
    }
    i += size - 1;
  }
  Dense L = test::identity(n);
  for (Index i = 0; i < n; ++i) {
    for (Index j = 0; j < i; ++j) L(i, j) = stream.uniform(0, 1) < 0.25 ? stream.rademacher() : 0;
  }
  const Dense F = L * T * test::solve(L, test::identity(n));
  if (test::rounded_to<Scalar>(F).entries != F.entries || rho < lowest || rho > highest) return std::nullopt;
  return Exact{F, rho};
}

template <class Scalar>
std::vector<Exact> exact_lanes(Index n, double lowest, double highest, double coupling,
                               metalqr::Stream& stream) {
  std::vector<Exact> result;
  while (static_cast<Index>(result.size()) < test::width<Scalar>) {
    if (auto one = exact_matrix<Scalar>(n, lowest, highest, coupling, stream)) result.push_back(*one);
  }
  return result;
}

std::vector<Dense> matrices(const std::vector<Exact>& lanes) {
  std::vector<Dense> result;
  for (const Exact& lane : lanes) result.push_back(lane.F);
  return result;
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("each lane has its own powers, proof and end, and sees zeros beyond it", "",
                        Scalars) {
  using Lane = LaneTraits<TestType>;
  const std::vector<double> values{0.99, 0.1, 1.5, 0.9, -2, 0, 0.999, std::nan("")};
  for (std::size_t shift = 0; shift < values.size(); ++shift) {
    const auto value = [&](Index lane) {
      return values[(shift + static_cast<std::size_t>(lane)) % values.size()];
    };
    std::vector<Dense> F;
    for (Index lane = 0; lane < Lane::count; ++lane) {
      F.push_back(test::rounded_to<TestType>(diagonal(value(lane))));
    }
    const auto visited = powers_of<TestType>(F);
    CHECK(static_cast<int>(visited.powers.size()) == visited.report.doublings);
    for (Index lane = 0; lane < Lane::count; ++lane) {
      const auto l = static_cast<std::size_t>(lane);
      const double rho = std::abs(value(lane));
      CAPTURE(rho, lane);
      CHECK(Lane::test(visited.report.converged(), lane) == (rho < 1));
      CHECK(Lane::test(visited.report.proved, lane) == (rho < 1));
      CHECK(Lane::test(visited.report.refuted, lane) == !(rho < 1));
      CHECK_FALSE(Lane::test(visited.report.open(), lane));
      // Squares until nothing is left to add, zeros from the end on.
      Dense expected = F[l];
      bool over = false;
      for (const auto& power : visited.powers) {
        const long double size = norm(power[l]);
        CHECK(std::isfinite(size));
        over = over || size == 0;
        if (over) {
          CHECK(size == 0);
        } else {
          CHECK(test::relative_error(power[l], expected) < 1e5 * test::epsilon_of<TestType>());
        }
        if (rho < 1 && norm(expected) * norm(expected) > 2 * test::epsilon_of<TestType>()) CHECK_FALSE(over);
        expected = expected * expected;
      }
    }
  }
}

TEMPLATE_LIST_TEST_CASE("a lane's proof does not depend on its neighbours", "", Scalars) {
  using Lane = LaneTraits<TestType>;
  metalqr::Stream stream = test::stream(1);
  for (int sample = 0; sample < 100; ++sample) {
    const auto F = test::for_lanes<TestType>(
        [&] { return test::random_with_radius(4, stream.uniform(0.5, 1.2), stream); });
    const auto together = powers_of<TestType>(F).report;
    for (Index lane = 0; lane < Lane::count; ++lane) {
      const auto alone = powers_of<TestType>(everywhere<TestType>(F[static_cast<std::size_t>(lane)])).report;
      CHECK(Lane::test(together.proved, lane) == Lane::test(alone.proved, 0));
      CHECK(Lane::test(together.refuted, lane) == Lane::test(alone.refuted, 0));
      CHECK(Lane::test(together.vanished && !together.refuted, lane) ==
            Lane::test(alone.vanished && !alone.refuted, 0));
    }
  }
}

TEMPLATE_LIST_TEST_CASE("an unstable lane takes no more doublings than stable neighbours", "", Scalars) {
  // Stable neighbours at rho = 0.95 take about log2(36 / 0.05) doublings in double. A lane of spectral radius
  // rho > 1 is refuted as soon as |tr F^(2^k)| > n, after about log2(log(n) / (rho - 1)) doublings, and one
  // or two more where the eigenvalues of largest modulus cancel in a trace.
  metalqr::Stream stream = test::stream(2);
  const Index n = 4;
  const auto single = test::random_with_radius(n, 0.95, stream);
  const int stable = powers_of<TestType>(everywhere<TestType>(single)).report.doublings;
  for (const double rho : {1 + 1e-3, 1.05, 1.5, 3.0, 1e30}) {
    int most = 0;
    for (int sample = 0; sample < 200; ++sample) {
      const Dense bad = sample % 2 == 0 ? with_pair(n, rho, stream.uniform(0.001, 3.14), stream)
                                        : test::random_with_radius(n, rho, stream);
      std::vector<Dense> F = everywhere<TestType>(single);
      F.back() = test::rounded_to<TestType>(bad);
      const auto report = powers_of<TestType>(F).report;
      CHECK(LaneTraits<TestType>::test(report.refuted, test::width<TestType> - 1));
      most = std::max(most, report.doublings);
    }
    const double expected = std::log2(std::log(2.0 * static_cast<double>(n)) / std::log(rho)) +
                            (std::is_same_v<test::ValueOf<TestType>, float> ? 5 : 3);
    CAPTURE(rho, stable, most, expected);
    if (test::width < TestType >> 1) CHECK(most >= stable);
    CHECK(most <= std::max(stable, static_cast<int>(std::ceil(expected))));
    if (rho >= 1.05) CHECK(most <= stable + 1);
  }
}

TEMPLATE_LIST_TEST_CASE("a stable matrix is never refuted and an unstable one never proved", "", Scalars) {
  using Lane = LaneTraits<TestType>;
  metalqr::Stream stream = test::stream(3);
  Index count = 0;
  Index wrong = 0;
  Index overflowed = 0;
  // Of matrices that are not far from normal.
  Index near_normal = 0;
  Index proved = 0;
  Index refuted = 0;
  for (Index n = 1; n <= 8; ++n) {
    for (int sample = 0; sample < 400; ++sample) {
      const double coupling = std::array{1.0, 5.0, 100.0, 1000.0}[static_cast<std::size_t>(sample % 4)];
      const auto stable = exact_lanes<TestType>(n, sample % 3 == 0 ? 0.99 : 0.5,
                                                sample % 3 == 0 ? 0.9999 : 0.99, coupling, stream);
      const auto unstable = exact_lanes<TestType>(n, 1.0001, sample % 2 == 0 ? 1.01 : 2, coupling, stream);
      const auto below = powers_of<TestType>(matrices(stable));
      const auto above = powers_of<TestType>(matrices(unstable));
      for (Index lane = 0; lane < Lane::count; ++lane) {
        ++count;
        if (coupling == 1) {
          ++near_normal;
          if (Lane::test(below.report.proved, lane)) ++proved;
          if (Lane::test(above.report.refuted, lane)) ++refuted;
        }
        if (Lane::test(above.report.proved, lane)) ++wrong;
        if (!Lane::test(below.report.refuted, lane)) continue;
        // The other meaning of `refuted`: rounding errors have grown with the powers until they overflow.
        if (overflows<TestType>(below, lane)) {
          ++overflowed;
        } else {
          ++wrong;
        }
      }
    }
  }
  CHECK(wrong == 0);
  CHECK(count >= 3200);
  // And the answers are useful, in float too, whose rounding errors grow 5e8 times sooner.
  const bool single = std::is_same_v<test::ValueOf<TestType>, float>;
  CHECK(overflowed < count / 2);
  CHECK(static_cast<double>(proved) >= (single ? 0.6 : 0.9) * static_cast<double>(near_normal));
  CHECK(static_cast<double>(refuted) >= 0.9 * static_cast<double>(near_normal));
}

TEMPLATE_LIST_TEST_CASE("what a Lyapunov function proves in a lane is what it proves alone, and is true", "",
                        Scalars) {
  using Lane = LaneTraits<TestType>;
  using Lanes = Bounded<TestType>;
  metalqr::Stream stream = test::stream(4);
  constexpr Index n = 3;
  const auto packed = [](const std::vector<Dense>& lanes) {
    return test::filled_lanes(Lanes::zero_state_matrix(n), lanes);
  };
  int proved_open_ones = 0;
  for (int sample = 0; sample < 300; ++sample) {
    const auto stable = exact_lanes<TestType>(n, 0.5, 0.99, 10, stream);
    const auto unstable = exact_lanes<TestType>(n, 1.0001, 1.5, 10, stream);
    std::vector<Dense> F;
    std::vector<Dense> X;
    std::vector<bool> is_stable;
    for (std::size_t l = 0; l < stable.size(); ++l) {
      is_stable.push_back(stream.uniform(0, 1) < 0.6);
      F.push_back(is_stable[l] ? stable[l].F : unstable[l].F);
      Dense hint = test::random_definite(n, stream);
      // Its own, a neighbour's, or none at all.
      if (sample % 4 == 0 && is_stable[l]) hint = test::lyapunov(F[l], hint);
      if (sample % 4 == 1) hint = test::lyapunov(stable[0].F, hint);
      if (sample % 4 == 2) hint = test::random_matrix(n, n, stream);
      hint = std::pow(10.0L, sample % 3 == 0 ? stream.uniform(-15, 15) : 0.0) * hint;
      X.push_back(test::rounded_to<TestType>(0.5L * (hint + transpose(hint))));
      if (sample % 7 == 3 && l == 0) X[l](0, 0) = std::numeric_limits<double>::quiet_NaN();
    }
    if (sample % 5 == 0) {
      // In units in which the powers grow until they prove nothing; all scales are powers of two.
      for (Dense& x : F) {
        for (Index i = 0; i < n; ++i) {
          for (Index j = 0; j < n; ++j) x(i, j) = std::ldexp(x(i, j), static_cast<int>(15 * (j - i)));
        }
      }
      for (Dense& x : X) {
        for (Index i = 0; i < n; ++i) {
          for (Index j = 0; j < n; ++j) x(i, j) = std::ldexp(x(i, j), static_cast<int>(15 * (j + i)));
        }
      }
    }
    const auto report = powers_of<TestType>(F).report;
    const auto by = metalqr::detail::is_stable_by<Lanes>(packed(X), packed(F));
    const auto decided = metalqr::detail::settled<Lanes>(report, packed(F), packed(X));
    for (Index lane = 0; lane < Lane::count; ++lane) {
      CAPTURE(sample, lane);
      const auto l = static_cast<std::size_t>(lane);
      const auto own_F = everywhere<TestType>(F[l]);
      const auto own_X = everywhere<TestType>(X[l]);
      const auto own_report = powers_of<TestType>(own_F).report;
      CHECK(Lane::test(by, lane) ==
            Lane::test(metalqr::detail::is_stable_by<Lanes>(packed(own_X), packed(own_F)), lane));
      const auto own = metalqr::detail::settled<Lanes>(own_report, packed(own_F), packed(own_X));
      CHECK(Lane::test(decided.proved, lane) == Lane::test(own.proved, lane));
      if (!is_stable[l]) {
        CHECK_FALSE(Lane::test(by, lane));
        CHECK_FALSE(Lane::test(decided.proved, lane));
      } else if (Lane::test(report.open(), lane) && Lane::test(decided.proved, lane)) {
        CHECK(Lane::test(by, lane));
        ++proved_open_ones;
      }
    }
  }
  CHECK(proved_open_ones >= 10);
}

TEST_CASE("instability is proved by a trace long before the powers overflow") {
  for (const double rho : {1.05, 1.5, 3.0}) {
    const auto visited = powers_of<double>({diagonal(rho, 4)});
    CHECK(visited.report.refuted);
    CHECK(visited.report.status() == metalqr::Status::unstable);
    CHECK(visited.report.doublings <= std::ceil(std::log2(std::log(4.5) / std::log(rho))) + 1);
    for (const auto& power : visited.powers) CHECK(norm(power[0]) < 100);
  }
}
