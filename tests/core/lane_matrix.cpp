#include <metalqr/core/lane_matrix.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <limits>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "lane_support.hpp"

namespace {

using metalqr::dynamic;
using metalqr::EigenBackend;
using metalqr::LanesOf;
using metalqr::LaneTraits;
using metalqr::MatrixBackend;
using metalqr::PackOf;
using test::Dense;
using test::Index;

static_assert(MatrixBackend<EigenBackend<PackOf<double>, 4, 2>>);
static_assert(MatrixBackend<EigenBackend<PackOf<float>, 4, 2>>);
static_assert(MatrixBackend<EigenBackend<PackOf<double>, 1, 1>>);
static_assert(MatrixBackend<EigenBackend<PackOf<double>, 3, 5>>);
static_assert(MatrixBackend<EigenBackend<PackOf<double>>>);
static_assert(MatrixBackend<EigenBackend<PackOf<double>, dynamic, dynamic, 16, 16>>);
static_assert(MatrixBackend<EigenBackend<PackOf<float>, 4, dynamic, 4, 16>>);
static_assert(MatrixBackend<EigenBackend<PackOf<float>, dynamic, 1, 16, 1>>);

static_assert(std::is_same_v<LanesOf<EigenBackend<double, 4, 2>>, EigenBackend<PackOf<double>, 4, 2>>);
static_assert(
    std::is_same_v<LanesOf<EigenBackend<float>>, EigenBackend<PackOf<float>, dynamic, dynamic, 16, 16>>);
static_assert(metalqr::lane_count<EigenBackend<double>> == LaneTraits<PackOf<double>>::count);
static_assert(metalqr::lane_count<EigenBackend<long double>> == 1);

/// A backend without lanes.
struct Laneless : EigenBackend<double> {
  using Lanes = void;
};
static_assert(std::is_same_v<LanesOf<Laneless>, Laneless> && metalqr::lane_count<Laneless> == 1);

template <class Scalar>
using Bounded = EigenBackend<Scalar, dynamic, dynamic, 16, 16>;

// Row vectors of fixed size, and sizes known at run time. Without lanes the fixed sizes are those of the
// plain backend, which has tests of its own.
#ifdef METALQR_LANES
using Backends = std::tuple<EigenBackend<PackOf<float>, 5, 1>, Bounded<PackOf<double>>>;
#else
using Backends = std::tuple<Bounded<double>>;
#endif

/// Operands in each lane, as the plain backend, the packs and long double have them.
template <class Backend>
struct Operands {
  using Scalar = typename Backend::Scalar;
  using Plain = typename Backend::template Rebind<test::ValueOf<Scalar>>;
  Index nx, nu;
  std::vector<Dense> F, S, B, K, G, R, x, u;

  Operands(Index nx_, Index nu_, metalqr::Stream& stream) : nx(nx_), nu(nu_) {
    const auto random = [&](Index rows, Index cols) {
      return test::for_lanes<Scalar>([&] { return test::random_matrix(rows, cols, stream); });
    };
    F = random(nx, nx);
    for (Dense& f : F) f = test::rounded_to<Scalar>(f + 3 * test::identity(nx));
    S = test::for_lanes<Scalar>([&] { return test::random_definite(nx, stream); });
    B = random(nx, nu);
    K = random(nu, nx);
    G = random(nu, nx);
    R = test::for_lanes<Scalar>([&] { return test::random_definite(nu, stream); });
    x = random(nx, 1);
    u = random(nu, 1);
  }
};

template <class Backend>
Index states_of(Index wanted) {
  return Backend::states == dynamic ? wanted : Backend::states;
}
template <class Backend>
Index inputs_of(Index wanted) {
  return Backend::inputs == dynamic ? wanted : Backend::inputs;
}

/// Largest deviation of a pack's lanes from `expected(l)`, relative to `size(l)`, in units of epsilon.
using OfLane = std::function<Dense(std::size_t)>;
using SizeOf = std::function<long double(std::size_t)>;
double deviation(const std::vector<Dense>& got, const OfLane& expected, const SizeOf& size, double epsilon) {
  double worst = 0;
  for (std::size_t lane = 0; lane < got.size(); ++lane) {
    const Dense want = expected(lane);
    const double error = got[lane].rows == want.rows && got[lane].cols == want.cols
                             ? static_cast<double>(norm(got[lane] - want) / size(lane))
                             : std::numeric_limits<double>::infinity();
    worst = std::max(worst, error / epsilon);
  }
  return worst;
}

template <class X>
std::vector<Dense> lanes_of(const X& packed) {
  using Scalar = std::remove_cvref_t<decltype(packed(Index{0}, Index{0}))>;
  std::vector<Dense> lanes;
  for (Index lane = 0; lane < test::width<Scalar>; ++lane) lanes.push_back(test::lane_of(packed, lane));
  return lanes;
}

const std::vector<std::pair<Index, Index>> sizes{{5, 3}, {16, 16}, {1, 1}, {2, 7}};

}  // namespace

TEMPLATE_LIST_TEST_CASE("every operation on packs is that of naive loops in each lane", "", Backends) {
  using Backend = TestType;
  using Scalar = typename Backend::Scalar;
  using Lane = LaneTraits<Scalar>;
  metalqr::Stream stream = test::stream(1);
  for (const auto& [wanted_nx, wanted_nu] : sizes) {
    if (Backend::states != dynamic && wanted_nx != 5) continue;
    const Operands<Backend> o(states_of<Backend>(wanted_nx), inputs_of<Backend>(wanted_nu), stream);
    CAPTURE(o.nx, o.nu);
    const auto F = test::filled_lanes(Backend::zero_state_matrix(o.nx), o.F);
    const auto S = test::filled_lanes(Backend::zero_state_matrix(o.nx), o.S);
    const auto B = test::filled_lanes(Backend::zero_input_matrix(o.nx, o.nu), o.B);
    const auto K = test::filled_lanes(Backend::zero_gain(o.nu, o.nx), o.K);
    const auto G = test::filled_lanes(Backend::zero_gain(o.nu, o.nx), o.G);
    const auto R = test::filled_lanes(Backend::zero_control_matrix(o.nu), o.R);
    const auto x = test::filled_lanes(Backend::zero_state(o.nx), o.x);
    const auto u = test::filled_lanes(typename Backend::ControlVector(o.nu), o.u);
    // A sum of n products is off by n units of rounding at most.
    const double n = static_cast<double>(std::max(o.nx, o.nu) + 1);
    const double epsilon = n * test::epsilon_of<Scalar>();
    const auto near = [&](const auto& packed, const OfLane& want, const SizeOf& size) {
      CHECK(deviation(lanes_of(packed), want, size, epsilon) <= 1);
    };
    const auto product = [&](const auto& packed, const std::vector<Dense>& X, const std::vector<Dense>& Y) {
      near(
          packed, [&](std::size_t l) { return X[l] * Y[l]; },
          [&](std::size_t l) { return norm(X[l]) * norm(Y[l]); });
    };
    const auto transposed = [](std::vector<Dense> lanes) {
      for (Dense& lane : lanes) lane = transpose(lane);
      return lanes;
    };
    product(Backend::product(F, S), o.F, o.S);
    product(Backend::product(B, K), o.B, o.K);
    product(Backend::product(K, B), o.K, o.B);
    product(Backend::product(K, F), o.K, o.F);
    product(Backend::product(F, B), o.F, o.B);
    product(Backend::product(R, K), o.R, o.K);
    product(Backend::product(B, R), o.B, o.R);
    product(Backend::product(F, x), o.F, o.x);
    product(Backend::product(K, x), o.K, o.x);
    product(Backend::product(B, u), o.B, o.u);
    product(Backend::product(R, u), o.R, o.u);
    product(Backend::transpose_product(B, F), transposed(o.B), o.F);
    product(Backend::transpose_product(B, B), transposed(o.B), o.B);
    product(Backend::transpose_product(K, G), transposed(o.K), o.G);
    product(Backend::product_transpose(K, G), o.K, transposed(o.G));
    product(Backend::product_transpose(B, B), o.B, transposed(o.B));
    product(Backend::product_transpose(x, x), o.x, transposed(o.x));
    const auto congruence = [&](const auto& packed, const std::vector<Dense>& X, const std::vector<Dense>& Y,
                                const std::vector<Dense>& start) {
      near(
          packed, [&](std::size_t l) { return start[l] + transpose(X[l]) * Y[l] * X[l]; },
          [&](std::size_t l) { return 2 * (norm(start[l]) + norm(X[l]) * norm(X[l]) * norm(Y[l])); });
    };
    const auto zeros = [](Index size) {
      return std::vector<Dense>(static_cast<std::size_t>(Lane::count), Dense(size, size));
    };
    congruence(Backend::congruence(K, R), o.K, o.R, zeros(o.nx));
    congruence(Backend::congruence(B, S), o.B, o.S, zeros(o.nu));
    congruence(Backend::outer_congruence(B, R), transposed(o.B), o.R, zeros(o.nx));
    congruence(Backend::outer_congruence(K, S), transposed(o.K), o.S, zeros(o.nu));
    auto sum = S;
    auto work = F;
    Backend::add_congruence(sum, F, work);
    congruence(sum, o.F, o.S, o.S);
    sum = S;
    Backend::add_outer_congruence(sum, F, work);
    congruence(sum, transposed(o.F), o.S, o.S);
    // A destination of another shape takes the product's.
    if constexpr (Backend::states == dynamic) {
      auto z = Backend::zero_state_matrix(3);
      Backend::multiply(B, K, z);
      product(z, o.B, o.K);
    }
    const auto exactly = [&](const auto& packed, const OfLane& want) {
      const std::vector<Dense> got = lanes_of(packed);
      for (std::size_t l = 0; l < got.size(); ++l) CHECK(test::relative_error(got[l], want(l)) == 0);
    };
    exactly(Backend::transpose(K), [&](std::size_t l) { return transpose(o.K[l]); });
    exactly(Backend::transpose(B), [&](std::size_t l) { return transpose(o.B[l]); });
    exactly(Backend::identity_like(F), [&](std::size_t) { return test::identity(o.nx); });
    exactly(Backend::zero_like(K), [&](std::size_t) { return Dense(o.nu, o.nx); });
    exactly(Backend::symmetrised(F), [&](std::size_t l) {
      return test::rounded_to<Scalar>(0.5L * test::rounded_to<Scalar>(o.F[l] + transpose(o.F[l])));
    });
    // The operators of the concept.
    const auto size_of_gains = [&](std::size_t l) { return norm(o.K[l]) + norm(o.G[l]); };
    const typename Backend::Gain linear = Scalar(2) * (K - G) / Scalar(4) + G * Scalar(0.5);
    near(
        linear, [&](std::size_t l) { return 0.5L * o.K[l]; }, size_of_gains);
    typename Backend::Gain updated = K;
    updated += G;
    updated -= K;
    near(
        updated, [&](std::size_t l) { return o.G[l]; }, size_of_gains);
    for (Index lane = 0; lane < Lane::count; ++lane) {
      const auto l = static_cast<std::size_t>(lane);
      long double trace = 0;
      long double largest = 0;
      for (Index i = 0; i < o.nx; ++i) trace += o.F[l](i, i);
      for (const long double entry : o.K[l].entries) largest = std::max(largest, std::abs(entry));
      CHECK(test::relative_error(Lane::get(Backend::trace(F), lane), trace, n * norm(o.F[l])) <= epsilon);
      CHECK(test::relative_error(Lane::get(Backend::inner(K, G), lane), inner(o.K[l], o.G[l]),
                                 n * norm(o.K[l]) * norm(o.G[l])) <= epsilon);
      CHECK(test::relative_error(Lane::get(Backend::norm(K), lane), norm(o.K[l])) <= n * epsilon);
      CHECK(static_cast<long double>(Lane::get(Backend::max_abs(K), lane)) == largest);
      CHECK(Lane::get(Backend::epsilon(), lane) == std::numeric_limits<test::ValueOf<Scalar>>::epsilon());
      const Dense solved = test::lane_of(Backend::solve(F, B), lane);
      CHECK(norm(o.F[l] * solved - o.B[l]) <= 8 * epsilon * norm(o.F[l]) * norm(solved));
      const Dense spd = test::lane_of(Backend::solve_spd(R, K), lane);
      CHECK(norm(o.R[l] * spd - o.K[l]) <= 8 * epsilon * norm(o.R[l]) * norm(spd));
    }
    CHECK(Lane::all(Backend::is_finite(F)));
    CHECK(Lane::all(Backend::is_positive_definite(S)));
  }
}

TEMPLATE_LIST_TEST_CASE("finiteness and definiteness are decided in each lane by itself", "", Backends) {
  using Backend = TestType;
  using Scalar = typename Backend::Scalar;
  using Lane = LaneTraits<Scalar>;
  using Value = typename Lane::Value;
  metalqr::Stream stream = test::stream(2);
  const Operands<Backend> o(states_of<Backend>(4), inputs_of<Backend>(2), stream);
  const auto K = test::filled_lanes(Backend::zero_gain(o.nu, o.nx), o.K);
  const auto S = test::filled_lanes(Backend::zero_state_matrix(o.nx), o.S);
  for (const Value bad : {std::numeric_limits<Value>::quiet_NaN(), std::numeric_limits<Value>::infinity(),
                          -std::numeric_limits<Value>::infinity()}) {
    for (Index spoiled = 0; spoiled < Lane::count; ++spoiled) {
      auto copy = K;
      copy(o.nu - 1, 0) =
          Lane::make([&](Index lane) { return lane == spoiled ? bad : Lane::get(K(o.nu - 1, 0), lane); });
      const auto finite = Backend::is_finite(copy);
      auto indefinite = S;
      indefinite(o.nx - 1, o.nx - 1) = Lane::make([&](Index lane) {
        return lane == spoiled ? -std::abs(bad) : Lane::get(S(o.nx - 1, o.nx - 1), lane);
      });
      const auto definite = Backend::is_positive_definite(indefinite);
      for (Index lane = 0; lane < Lane::count; ++lane) {
        CHECK(Lane::test(finite, lane) == (lane != spoiled));
        CHECK(Lane::test(definite, lane) == (lane != spoiled));
      }
    }
  }
}

TEMPLATE_LIST_TEST_CASE("what is packed into lanes comes out of them again", "", Backends) {
  using Backend = TestType;
  using Scalar = typename Backend::Scalar;
  using Plain = typename Operands<Backend>::Plain;
  using Lane = LaneTraits<Scalar>;
  metalqr::Stream stream = test::stream(3);
  const Operands<Backend> o(states_of<Backend>(4), inputs_of<Backend>(2), stream);
  std::vector<typename Plain::Gain> gains;
  for (const Dense& K : o.K) gains.push_back(test::gain<Plain>(K));
  typename Backend::Gain packed = Backend::zero_gain(o.nu, o.nx);
  metalqr::detail::pack_lanes(packed, o.nu, o.nx, [&](Index lane) -> const typename Plain::Gain& {
    return gains[static_cast<std::size_t>(lane)];
  });
  for (Index lane = 0; lane < Lane::count; ++lane) {
    const auto l = static_cast<std::size_t>(lane);
    CHECK(test::lane_of(packed, lane).entries == o.K[l].entries);
    typename Plain::Gain plain = Plain::zero_gain(o.nu, o.nx);
    metalqr::detail::unpack_lane(packed, lane, o.nu, o.nx, plain);
    CHECK(test::dense<Plain>(plain).entries == o.K[l].entries);
  }
}

TEMPLATE_LIST_TEST_CASE("clearing lanes leaves the others alone, whatever the cleared ones held", "",
                        Backends) {
  using Backend = TestType;
  using Lane = LaneTraits<typename Backend::Scalar>;
  using Value = typename Lane::Value;
  metalqr::Stream stream = test::stream(4);
  const Operands<Backend> o(states_of<Backend>(4), inputs_of<Backend>(2), stream);
  for (Index parity = 0; parity < 2; ++parity) {
    auto K = test::filled_lanes(Backend::zero_gain(o.nu, o.nx), o.K);
    const auto mask = Lane::make_mask([&](Index lane) { return lane % 2 == parity; });
    K(0, o.nx - 1) =
        Lane::select(mask, Lane::number(std::numeric_limits<Value>::quiet_NaN()), K(0, o.nx - 1));
    metalqr::detail::clear_lanes<Backend>(mask, K);
    for (Index lane = 0; lane < Lane::count; ++lane) {
      const Dense expected = lane % 2 == parity ? Dense(o.nu, o.nx) : o.K[static_cast<std::size_t>(lane)];
      CHECK(test::lane_of(K, lane).entries == expected.entries);
    }
  }
}
