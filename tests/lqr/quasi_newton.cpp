#include <metalqr/lqr/quasi_newton.hpp>

#include <vector>

#include "support.hpp"

namespace {

using metalqr::detail::store_pair;
using test::Backend;
using test::Dense;
using test::Index;
using test::relative_error;
using Gain = Backend::Gain;
using Pair = metalqr::CurvaturePair<Backend>;

/// Entries of a gain, stacked.
Dense stacked(const Gain& K) {
  Dense x(Backend::rows(K) * Backend::cols(K), 1);
  for (Index i = 0; i < x.rows; ++i) x(i, 0) = K(i / Backend::cols(K), i % Backend::cols(K));
  return x;
}

/// The BFGS approximation of the inverse Hessian as a full matrix (Nocedal and Wright, eq. 6.17), from the
/// scaled identity.
Dense inverse_hessian(const std::vector<Pair>& pairs) {
  const Dense s_last = stacked(pairs.back().step);
  const Dense y_last = stacked(pairs.back().change);
  const Index d = s_last.rows;
  Dense H = (inner(s_last, y_last) / inner(y_last, y_last)) * test::identity(d);
  for (const Pair& pair : pairs) {
    const Dense s = stacked(pair.step);
    const Dense y = stacked(pair.change);
    const long double rho = 1 / inner(s, y);
    const Dense V = test::identity(d) - rho * (y * transpose(s));
    H = transpose(V) * H * V + rho * (s * transpose(s));
  }
  return H;
}

std::vector<Pair> random_pairs(int count, metalqr::Stream& stream) {
  std::vector<Pair> pairs;
  while (static_cast<int>(pairs.size()) < count) {
    const Dense s = test::random_matrix(2, 3, stream);
    const Dense y = s + 0.5L * test::random_matrix(2, 3, stream);
    if (inner(s, y) > 0.1) pairs.push_back({test::gain(s), test::gain(y)});
  }
  return pairs;
}

}  // namespace

TEST_CASE("limited-memory BFGS directions are those of the full matrix") {
  metalqr::Stream stream = test::stream(1);
  for (const int count : {1, 2, 5, 10}) {
    const std::vector<Pair> pairs = random_pairs(count, stream);
    const Gain G = test::gain(test::random_matrix(2, 3, stream));
    const Dense H = inverse_hessian(pairs);
    const Gain p = metalqr::detail::quasi_newton_direction<Backend>(pairs, G);
    CHECK(relative_error(stacked(p), H * stacked(G)) < 1e-10);
    // The secant equation, and descent.
    const Gain secant = metalqr::detail::quasi_newton_direction<Backend>(pairs, pairs.back().change);
    CHECK(relative_error(stacked(secant), stacked(pairs.back().step)) < 1e-10);
    CHECK(Backend::inner(p, G) > 0);
  }
}

TEST_CASE("a pair is stored if its curvature is positive, and the oldest makes room") {
  const Gain s = test::gain({{1, 0, 0}, {0, 0, 0}});
  std::vector<Pair> pairs;
  for (const Gain& y : {Gain(-1.0 * s), test::gain({{0, 1, 0}, {0, 0, 0}}), Backend::zero_gain(2, 3),
                        test::gain({{1e-7, 1, 0}, {0, 0, 0}})}) {
    CHECK_FALSE(store_pair<Backend>(pairs, {s, y}, 2));
  }
  CHECK(pairs.empty());
  for (const double factor : {1.0, 2.0, 3.0}) CHECK(store_pair<Backend>(pairs, {s, factor * s}, 2));
  REQUIRE(pairs.size() == 2);
  CHECK(pairs[0].change(0, 0) == 2);
  CHECK(pairs[1].change(0, 0) == 3);
}
