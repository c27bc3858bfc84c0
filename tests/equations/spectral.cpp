#include <metalqr/equations/spectral.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "reference.hpp"
#include "support.hpp"

namespace {

using metalqr::EigenBackend;
using metalqr::is_stable;
using metalqr::spectral_radius;
using metalqr::Status;
using metalqr::visit_powers;
using metalqr::detail::is_stable_by;
using metalqr::detail::settled;
using test::Backend;
using test::Dense;
using test::Index;
using test::state_matrix;
using Long = EigenBackend<long double>;
using Single = EigenBackend<float>;
using Fixed = EigenBackend<double, 4, 2>;

double radius_of(const Dense& F) {
  return spectral_radius<Backend>(state_matrix(F));
}
bool stable(const Dense& F) {
  return is_stable<Backend>(state_matrix(F));
}

/// n x n with `value` on the diagonal and ones above it.
Dense jordan_block(Index n, double value) {
  Dense x(n, n);
  for (Index i = 0; i < n; ++i) {
    x(i, i) = value;
    if (i + 1 < n) x(i, i + 1) = 1;
  }
  return x;
}

/// An n x n matrix of doubles with an eigenvalue of exactly rho, a number of few bits, and none larger: by an
/// integer similarity transform.
Dense with_exact_radius(Index n, double rho, metalqr::Stream& stream) {
  Dense L = test::identity(n);
  for (Index i = 0; i < n; ++i) {
    for (Index j = 0; j < i; ++j) L(i, j) = std::floor(stream.uniform(-2, 3));
  }
  Dense T(n, n);
  for (Index i = 0; i < n; ++i) {
    T(i, i) = i == 2 ? rho : 0.25 * static_cast<double>(std::min(i, Index{2}));
    for (Index j = i + 1; j < n; ++j) T(i, j) = std::floor(stream.uniform(-3, 4));
  }
  return L * T * test::solve(L, test::identity(n));
}

/// What powers report that have vanished without a proof.
metalqr::PowerReport<double> open_report() {
  metalqr::PowerReport<double> report;
  report.vanished = true;
  return report;
}

Dense rotation(double radius, double angle) {
  return {{radius * std::cos(angle), -radius * std::sin(angle)},
          {radius * std::sin(angle), radius * std::cos(angle)}};
}

}  // namespace

TEST_CASE("the spectral radius of the reference closed loops is the published one") {
  for (const auto& c : test::reference_cases()) {
    CAPTURE(c.name);
    const Dense F = c.task.closed_loop(c.K);
    CHECK(test::relative_error(radius_of(F), c.rho) < 1e-12);
    CHECK(test::relative_error(spectral_radius<Long>(state_matrix<Long>(F)), c.rho) < 1e-14);
    CHECK(test::relative_error(spectral_radius<Single>(state_matrix<Single>(F)), c.rho) < 1e-3);
    if (c.fits<Fixed>()) {
      CHECK(test::relative_error(spectral_radius<Fixed>(state_matrix<Fixed>(F)), c.rho) < 1e-12);
    }
    CHECK(stable(F));
  }
}

TEST_CASE("the spectral radius of matrices with known eigenvalues") {
  CHECK(radius_of({{0}}) == 0);
  CHECK(radius_of({{-3}}) == Catch::Approx(3).epsilon(1e-15));
  CHECK(radius_of(Dense(5, 5)) == 0);
  CHECK(radius_of(test::identity(7)) == Catch::Approx(1).epsilon(1e-14));
  CHECK(radius_of({{0, 1}, {0, 0}}) == 0);
  CHECK(radius_of({{0, 1, 5}, {0, 0, 1}, {0, 0, 0}}) == 0);
  CHECK(radius_of({{0.5, 1e8}, {0, -0.25}}) == Catch::Approx(0.5).epsilon(1e-13));
  for (const double angle : {0.01, 1.0, 1.5707963267948966, 3.0}) {
    CHECK(radius_of(rotation(0.75, angle)) == Catch::Approx(0.75).epsilon(1e-13));
  }
  auto stream = test::stream(1);
  for (const Index n : {1, 2, 5, 12, 40}) {
    for (const double rho : {1e-3, 0.5, 1 - 1e-9, 1.0, 1 + 1e-9, 7.0}) {
      CAPTURE(n, rho);
      // The eigenvalues of this family are well conditioned up to the size of its upper part.
      CHECK(radius_of(test::random_with_radius(n, rho, stream)) == Catch::Approx(rho).epsilon(1e-8));
    }
  }
}

TEST_CASE("a Jordan block loses no more digits than its eigenvalue's conditioning") {
  // The norm of the 2^k-th power is rho^(2^k) times a polynomial in 2^k, whose 2^k-th root tends to one.
  for (const Index n : {2, 4, 8}) {
    for (const double value : {0.5, 0.99, 1.0, 1.01}) {
      CHECK(radius_of(jordan_block(n, value)) == Catch::Approx(value).epsilon(1e-12));
    }
  }
}

TEST_CASE("the spectral radius scales with the matrix from 1e-150 to 1e150 and is similarity invariant") {
  auto stream = test::stream(2);
  const Dense F = test::random_with_radius(6, 0.8, stream);
  for (const double scale : {1e-300, 1e-150, 1e150, 1e300}) {
    CAPTURE(scale);
    CHECK(radius_of(scale * F) / scale == Catch::Approx(0.8).epsilon(1e-11));
  }
  Dense D = test::identity(6);
  Dense inverse = test::identity(6);
  for (Index i = 0; i < 6; ++i) {
    D(i, i) = std::pow(10.0L, 2 * static_cast<long double>(i) - 5);
    inverse(i, i) = 1 / D(i, i);
  }
  CHECK(radius_of(inverse * F * D) == Catch::Approx(0.8).epsilon(1e-8));
}

TEST_CASE("a NaN or an infinity has no spectral radius and is never stable") {
  for (const double bad : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(),
                           -std::numeric_limits<double>::infinity()}) {
    for (Index i = 0; i < 2; ++i) {
      for (Index j = 0; j < 2; ++j) {
        Backend::StateMatrix F = state_matrix(0.1 * test::identity(2));
        F(i, j) = bad;
        CHECK_THROWS_AS(spectral_radius<Backend>(F), metalqr::NotFinite);
        CHECK_FALSE(is_stable<Backend>(F));
        const auto report = visit_powers<Backend>(F, [](const Backend::StateMatrix&) {});
        CHECK(report.status() == Status::unstable);
      }
    }
  }
}

TEST_CASE("stability is proved for stable matrices, also near the limit") {
  CHECK(stable({{0}}));
  CHECK(stable(Dense(3, 3)));
  for (const double margin : {0.5, 1e-3, 1e-6, 1e-9, 1e-12, 1e-14}) {
    CAPTURE(margin);
    CHECK(stable({{1 - margin}}));
    CHECK(stable({{margin - 1}}));
  }
  for (const double margin : {0.5, 1e-3, 1e-6, 1e-9, 1e-12}) {
    CAPTURE(margin);
    CHECK(stable(rotation(1 - margin, 1.0)));
    auto stream = test::stream(3);
    if (margin >= 1e-9) CHECK(stable(test::random_with_radius(6, 1 - margin, stream)));
  }
  for (const Index n : {2, 4, 8}) {
    CHECK(stable(jordan_block(n, 0.5)));
    CHECK(stable(jordan_block(n, 0.0)));
  }
  CHECK(stable(1e6 * jordan_block(6, 0.0)));
  CHECK(is_stable<Fixed>(state_matrix<Fixed>(jordan_block(4, 0.5))));
}

TEST_CASE("stability is proved through a Lyapunov function where the powers of F grow too much") {
  // The second power has entries of 1e18, whose rounding errors the powers alone cannot exclude; in good
  // units the off-diagonal entries are about 0.2.
  const Dense F = Dense{{0.5, 1e9, 0}, {0, 0.4, 1e9}, {1e-20, 0, 0.3}};
  const auto quick = visit_powers<Backend>(state_matrix(F), [](const Backend::StateMatrix&) {});
  CHECK(quick.status() == Status::inconclusive);
  CHECK(stable(F));
  // In other units.
  auto stream = test::stream(4);
  const Dense G = test::random_with_radius(6, 0.9, stream);
  Dense D = test::identity(6);
  Dense inverse = test::identity(6);
  for (Index i = 0; i < 6; ++i) {
    D(i, i) = std::ldexp(1.0L, static_cast<int>(9 * i) - 20);
    inverse(i, i) = 1 / D(i, i);
  }
  CHECK(stable(inverse * G * D));
}

TEST_CASE("instability is never taken for stability, however near the limit") {
  int trials = 0;
  for (const double excess : {0.0, 1e-15, 1e-14, 1e-12, 1e-9, 1e-6, 1e-3, 0.1, 1.0, 1e10, 1e300}) {
    const double rho = 1 + excess;
    CHECK_FALSE(stable({{rho}}));
    CHECK_FALSE(stable({{-rho}}));
    for (const Index n : {2, 3, 8}) {
      CHECK_FALSE(stable(rho * test::identity(n)));
      Dense triangular = jordan_block(n, 0.3);
      triangular(n - 1, n - 1) = rho;
      CHECK_FALSE(stable(triangular));
    }
    if (excess > 1e10) continue;
    for (int sample = 0; sample < 20; ++sample, ++trials) {
      // Integer similarity transforms and an exactly representable eigenvalue: the eigenvalue of the matrix
      // of doubles is rho itself. L is unit lower triangular with entries -2 ... 2.
      auto stream = test::stream(5, static_cast<std::uint64_t>(sample));
      const double exact = 1 + std::ldexp(std::round(std::ldexp(excess, 30)), -30);
      const Index n = 4;
      Dense L = test::identity(n);
      for (Index i = 0; i < n; ++i) {
        for (Index j = 0; j < i; ++j) L(i, j) = std::floor(stream.uniform(-2, 3));
      }
      Dense T(n, n);
      for (Index i = 0; i < n; ++i) {
        T(i, i) = i == 2 ? exact : 0.25 * static_cast<double>(i);
        for (Index j = i + 1; j < n; ++j) T(i, j) = std::floor(stream.uniform(-3, 4));
      }
      const Dense F = L * T * test::solve(L, test::identity(n));
      CHECK_FALSE(stable(F));
    }
  }
  CHECK(trials == 200);
}

TEST_CASE("no Lyapunov function, offered or not, proves an unstable matrix stable") {
  // The matrices of this family have an eigenvalue of exactly rho.
  int trials = 0;
  for (const double rho : {1.0, 1 + 0x1p-30, 1 + 0x1p-20, 1 + 0x1p-10, 1.5, 1024.0}) {
    for (int sample = 0; sample < 60; ++sample) {
      CAPTURE(rho, sample);
      auto stream = test::stream(6, static_cast<std::uint64_t>(sample));
      const Dense F = with_exact_radius(4, rho, stream);
      const Dense near = with_exact_radius(4, 0.75, stream);
      // What a stable neighbour's Lyapunov function is, and what this matrix would have if it were smaller.
      std::vector<Dense> hints{test::random_matrix(4, 4, stream),
                               test::random_definite(4, stream),
                               test::random_semidefinite(4, 2, stream),
                               -1 * test::random_definite(4, stream),
                               test::identity(4),
                               Dense(4, 4),
                               test::lyapunov(near, test::identity(4)),
                               test::lyapunov(0.875L * (1 / rho) * F, test::identity(4)),
                               test::lyapunov((0.9999999L / rho) * F, test::random_definite(4, stream)),
                               test::lyapunov((1.0000001L / rho) * F, test::identity(4))};
      hints.push_back(hints.back());
      hints.back()(1, 2) = std::numeric_limits<double>::quiet_NaN();
      hints.push_back(test::identity(4));
      hints.back()(3, 3) = std::numeric_limits<double>::infinity();
      for (const Dense& hint : hints) {
        for (const long double scale : {1.0L, 1e-300L, 1e-170L, 1e-155L, 1e150L, 1e300L}) {
          const Backend::StateMatrix X = Backend::symmetrised(state_matrix(scale * hint));
          CHECK_FALSE(is_stable_by<Backend>(X, state_matrix(F)));
          CHECK_FALSE(settled<Backend>(open_report(), state_matrix(F), state_matrix(scale * hint)).proved);
          ++trials;
        }
      }
    }
  }
  CHECK(trials == 6 * 60 * 12 * 6);
}

TEST_CASE("a certificate in units so small that its norm underflows proves nothing false") {
  // Rotations by a right angle in far from orthogonal coordinates: rho = 1, and the exact decrease has a
  // trace of zero in the coordinates where F is a rotation, so that only rounding can make it positive.
  auto stream = test::stream(7);
  for (int sample = 0; sample < 20000; ++sample) {
    const double a = std::floor(stream.uniform(-2000, 2000));
    const double b = std::floor(stream.uniform(1, 100));
    // trace 0 and determinant 1, up to the rounding of the last entry upwards in absolute value.
    double c = -(1 + a * a) / b;
    while (-a * a - static_cast<long double>(b) * c < 1) c = std::nextafter(c, -1e300);
    const Dense F{{a, b}, {c, -a}};
    // The invariant form of F, moved by rounding errors.
    Dense X{{-c, a}, {a, b}};
    for (long double& entry : X.entries) entry *= 1 + 1e-15L * stream.uniform(-1, 1);
    X(1, 0) = X(0, 1);
    for (const long double scale : {1.0L, 1e-165L, 1e-200L, 1e-290L, 1e-305L, 1e-316L}) {
      const bool proved =
          metalqr::detail::is_lyapunov_certificate<Backend>(state_matrix(F), state_matrix(scale * X));
      if (proved) {
        CAPTURE(sample, a, b, scale);
        FAIL("a matrix of spectral radius one was called stable");
      }
    }
  }
}

TEST_CASE("the solution of its own equation proves what the powers leave open") {
  const Dense F = Dense{{0.5, 1e9, 0}, {0, 0.4, 1e9}, {1e-20, 0, 0.3}};
  const Backend::StateMatrix plain = state_matrix(F);
  const auto report = visit_powers<Backend>(plain, [](const Backend::StateMatrix&) {});
  REQUIRE(report.open());
  // In units in which the off-diagonal entries are about one.
  const Dense D{{1, 0, 0}, {0, 1e-9, 0}, {0, 0, 1e-18}};
  const Dense inverse{{1, 0, 0}, {0, 1e9, 0}, {0, 0, 1e18}};
  const Dense scaled = inverse * F * D;
  const Dense P = test::lyapunov(scaled, test::identity(3));
  CHECK(metalqr::detail::is_lyapunov_certificate<Backend>(state_matrix(scaled), state_matrix(P)));
  CHECK(is_stable_by<Backend>(state_matrix(P), state_matrix(scaled)));
  CHECK(settled<Backend>(report, plain, state_matrix(inverse * P * inverse)).proved);
  CHECK(is_stable_by<Backend>(state_matrix(inverse * P * inverse), plain));
  // A hint that does not help does not hinder.
  for (const Dense& hint : {test::identity(3), Dense(3, 3), -1 * P}) {
    CHECK(settled<Backend>(report, plain, state_matrix(hint)).proved);
    CHECK(is_stable_by<Backend>(state_matrix(hint), plain));
  }
}

TEST_CASE("the solution of a Lyapunov equation is a certificate by itself, in any unit of cost") {
  auto stream = test::stream(8);
  for (const Index n : {1, 2, 5, 8}) {
    for (const double rho : {0.0, 0.5, 0.99}) {
      const Dense F = test::random_with_radius(n, rho, stream);
      const Dense P = test::lyapunov(F, test::random_definite(n, stream));
      for (const long double scale : {1.0L, 1e-250L, 1e-160L, 1e160L, 1e250L}) {
        CAPTURE(n, rho, scale);
        CHECK(metalqr::detail::is_lyapunov_certificate<Backend>(
            state_matrix(F), Backend::symmetrised(state_matrix(scale * P))));
      }
    }
  }
}

TEST_CASE("a hint changes nothing where the powers have decided or not ended") {
  const Backend::StateMatrix F = state_matrix(0.5L * test::identity(2));
  const Backend::StateMatrix X = state_matrix(test::identity(2));
  metalqr::PowerReport<double> report;
  CHECK_FALSE(settled<Backend>(report, F, X).proved);
  report.vanished = report.refuted = true;
  CHECK_FALSE(settled<Backend>(report, F, X).proved);
  report.refuted = false;
  CHECK(settled<Backend>(report, F, X).converged());
}

TEST_CASE("a non-normal matrix with growth of 1e6 is told apart on the two sides of the limit") {
  for (const double coupling : {1e3, 1e6}) {
    CHECK(stable({{0.99, coupling}, {0, 0.98}}));
    CHECK_FALSE(stable({{1.0, coupling}, {0, 0.98}}));
    CHECK_FALSE(stable({{0.99, coupling}, {0, -1.0000001}}));
  }
}

TEST_CASE("the powers that are visited are the squares, and the last norm is below the tolerance") {
  int visits = 0;
  Dense expected{{0.5, 1}, {0.25, -0.5}};
  const auto report = visit_powers<Backend>(state_matrix(expected), [&](const Backend::StateMatrix& power) {
    CHECK(test::relative_error(test::dense(power), expected) < 1e-14);
    expected = expected * expected;
    ++visits;
  });
  CHECK(report.status() == Status::converged);
  CHECK(report.doublings == visits);
  // Beyond the last that was visited.
  CHECK(test::norm(expected) * test::norm(expected) <= Backend::epsilon());
}

TEST_CASE("a matrix that is not square has neither a spectral radius nor stability") {
  const Backend::StateMatrix wide = Backend::zero_matrix(2, 3);
  CHECK(test::message_of<metalqr::DimensionMismatch>([&] { metalqr::spectral_radius<Backend>(wide); }) ==
        "F: expected shape 2x2, got 2x3");
  CHECK(test::message_of<metalqr::DimensionMismatch>([&] { metalqr::is_stable<Backend>(wide); }) ==
        "F: expected shape 2x2, got 2x3");
}
