#include <metalqr/equations/lyapunov.hpp>

#include <cmath>
#include <limits>
#include <string>

#include "reference.hpp"
#include "support.hpp"

namespace {

using metalqr::DiscreteLyapunov;
using metalqr::EigenBackend;
using metalqr::lyapunov_residual;
using metalqr::solve_lyapunov;
using metalqr::Status;
using test::Backend;
using test::dense;
using test::Dense;
using test::Index;
using test::relative_error;
using test::state_matrix;
using Long = EigenBackend<long double>;
using Single = EigenBackend<float>;

/// P and Sigma of a reference case.
template <class AnyBackend>
void check_reference(const test::ReferenceCase& c, double tolerance) {
  const typename AnyBackend::StateMatrix F = state_matrix<AnyBackend>(c.task.closed_loop(c.K));
  const Dense stage = c.task.Q + test::transpose(c.K) * c.task.R * c.K;
  const DiscreteLyapunov<AnyBackend> solver(F);
  REQUIRE(solver.is_stable());
  const auto P = solver.solve(state_matrix<AnyBackend>(stage));
  const auto Sigma = solver.solve_adjoint(state_matrix<AnyBackend>(c.task.Sigma0));
  CHECK(relative_error(dense<AnyBackend>(P), c.P) < tolerance);
  CHECK(relative_error(dense<AnyBackend>(Sigma), c.Sigma) < tolerance);
  const auto once = solve_lyapunov<AnyBackend>(F, state_matrix<AnyBackend>(stage));
  CHECK(once.status == Status::converged);
  CHECK(once.iterations == solver.doublings());
  CHECK(relative_error(dense<AnyBackend>(once.value), c.P) < tolerance);
  CHECK(once.residual <= typename AnyBackend::Scalar(100) * AnyBackend::epsilon());
}

}  // namespace

TEST_CASE("P and Sigma of the reference cases") {
  for (const auto& c : test::reference_cases()) {
    CAPTURE(c.name);
    check_reference<Backend>(c, c.tolerance());
    check_reference<Long>(c, c.tolerance());
    if (c.fits<EigenBackend<double, 4, 2>>()) check_reference<EigenBackend<double, 4, 2>>(c, c.tolerance());
    // epsilon / (1 - rho) = 1e-7 / 0.1.
    if (c.rho < 0.9) check_reference<Single>(c, 1e-4);
  }
}

TEST_CASE("the solution is that of the Kronecker system, for right-hand sides of any kind") {
  for (const Index n : {1, 2, 3, 5, 8}) {
    for (const double rho : {0.0, 0.5, 0.9, 0.99, 1 - 1e-4}) {
      CAPTURE(n, rho);
      auto stream = test::stream(11, static_cast<std::uint64_t>(n));
      const Dense F = test::rounded(test::random_with_radius(n, rho, stream));
      const DiscreteLyapunov<Backend> solver(state_matrix(F));
      REQUIRE(solver.is_stable());
      // The condition of the equation is about 1 / (1 - rho) here.
      const double tolerance = 1e-12 / (1 - rho);
      for (const Dense& Q : {test::rounded(test::random_matrix(n, n, stream)),
                             test::rounded(test::random_semidefinite(n, 1, stream)), Dense(n, n)}) {
        const Dense P = dense(solver.solve(state_matrix(Q)));
        const Dense Sigma = dense(solver.solve_adjoint(state_matrix(Q)));
        CHECK(relative_error(P, test::lyapunov(F, Q)) < tolerance);
        CHECK(relative_error(Sigma, test::lyapunov(test::transpose(F), Q)) < tolerance);
      }
    }
  }
}

TEST_CASE("forty states with a spectral radius of 1 - 1e-7 leave a small residual") {
  auto stream = test::stream(12);
  const Index n = 40;
  for (const double rho : {0.9, 1 - 1e-7}) {
    CAPTURE(rho);
    // A normal matrix: eigenvalues up to rho in the basis of a reflection.
    Dense D(n, n);
    for (Index i = 0; i < n; ++i) D(i, i) = i == 0 ? rho : stream.uniform(-rho, rho);
    const Dense v = test::random_matrix(n, 1, stream);
    const Dense U = test::identity(n) - (2 / test::inner(v, v)) * (v * test::transpose(v));
    const auto F = state_matrix(U * D * U);
    const auto Q = state_matrix(test::identity(n));
    const auto solution = solve_lyapunov<Backend>(F, Q);
    CHECK(solution.status == Status::converged);
    CHECK(solution.residual < 1e-13);
    CHECK(solution.residual == lyapunov_residual<Backend>(F, Q, solution.value));
  }
}

TEST_CASE("scalar and rotated equations have their closed forms") {
  for (const double f : {0.0, 0.5, -0.9, 0.999, 1 - 1e-6}) {
    const DiscreteLyapunov<Backend> solver(state_matrix({{f}}));
    CHECK(solver.solve(state_matrix({{3}}))(0, 0) ==
          Catch::Approx(3 / ((1 - f) * (1 + f))).epsilon(4e-16 / (1 - std::abs(f)) + 1e-15));
  }
  const double r = 0.9;
  const Dense F{{r * std::cos(1.0), -r * std::sin(1.0)}, {r * std::sin(1.0), r * std::cos(1.0)}};
  const Dense P = dense(DiscreteLyapunov<Backend>(state_matrix(F)).solve(state_matrix(test::identity(2))));
  CHECK(relative_error(P, (1 / (1 - 0.81L)) * test::identity(2)) < 1e-14);
}

TEST_CASE("a nilpotent F gives a finite sum") {
  const Dense F{{0, 1e6, 3}, {0, 0, -1e6}, {0, 0, 0}};
  const Dense Q = test::identity(3);
  const Dense expected = Q + test::transpose(F) * Q * F + test::transpose(F * F) * Q * (F * F);
  const DiscreteLyapunov<Backend> solver(state_matrix(F));
  REQUIRE(solver.is_stable());
  CHECK(relative_error(dense(solver.solve(state_matrix(Q))), expected) < 1e-14);
}

TEST_CASE("the two equations are adjoint: tr(P W) = tr(Sigma Q)") {
  for (std::uint64_t sample = 0; sample < 50; ++sample) {
    auto stream = test::stream(13, sample);
    const Index n = 1 + static_cast<Index>(sample % 12);
    const double rho = stream.uniform(0.1, 0.999);
    const DiscreteLyapunov<Backend> solver(state_matrix(test::random_with_radius(n, rho, stream)));
    const Dense Q = test::rounded(test::random_semidefinite(n, n, stream));
    const Dense W = test::rounded(test::random_semidefinite(n, n, stream));
    const long double left = test::inner(dense(solver.solve(state_matrix(Q))), W);
    const long double right = test::inner(Q, dense(solver.solve_adjoint(state_matrix(W))));
    CHECK(relative_error(left, right) < 1e-13 / (1 - rho));
  }
}

TEST_CASE("a similarity transform and a scale of the right-hand side go through") {
  auto stream = test::stream(14);
  const Index n = 5;
  const Dense F = test::rounded(test::random_with_radius(n, 0.9, stream));
  const Dense Q = test::rounded(test::random_definite(n, stream));
  const Dense T = test::identity(n) + 0.2L * test::random_matrix(n, n, stream);
  const Dense moved = test::solve(T, F * T);  // T^-1 F T
  const Dense P = dense(DiscreteLyapunov<Backend>(state_matrix(F)).solve(state_matrix(Q)));
  const Dense in_T =
      dense(DiscreteLyapunov<Backend>(state_matrix(moved)).solve(state_matrix(test::transpose(T) * Q * T)));
  CHECK(relative_error(in_T, test::transpose(T) * P * T) < 1e-12);
  for (const double scale : {1e-150, 1e150}) {
    const Dense scaled = dense(DiscreteLyapunov<Backend>(state_matrix(F)).solve(state_matrix(scale * Q)));
    CHECK(relative_error((1 / static_cast<long double>(scale)) * scaled, P) < 1e-14);
  }
}

TEST_CASE("an unstable F is refused with its spectral radius, whatever overflows on the way") {
  for (const double rho : {1.0, 1 + 1e-10, 1.5, 1e200}) {
    CAPTURE(rho);
    const auto F = state_matrix({{0.5, 0}, {0, -rho}});
    const DiscreteLyapunov<Backend> solver(F);
    CHECK_FALSE(solver.is_stable());
    CHECK(solver.status() != Status::converged);
    const auto Q = state_matrix(test::identity(2));
    try {
      static_cast<void>(solver.solve(Q));
      FAIL("no exception");
    } catch (const metalqr::NotStabilizing& error) {
      CHECK(error.spectral_radius() == Catch::Approx(rho).epsilon(1e-12));
      CHECK_THAT(error.what(), Catch::Matchers::ContainsSubstring("F: expected spectral radius below 1"));
    }
    CHECK_THROWS_AS(solver.solve_adjoint(Q), metalqr::NotStabilizing);
    const auto once = solve_lyapunov<Backend>(F, Q);
    CHECK(once.status != Status::converged);
    CHECK(std::isinf(once.residual));
  }
}

TEST_CASE("a NaN or an infinity in F or in the right-hand side is refused by name") {
  const auto good = state_matrix(0.5 * test::identity(2));
  const DiscreteLyapunov<Backend> stable(good);
  const auto message = [](const auto& call) { return test::message_of<metalqr::NotFinite>(call); };
  auto infinite = good;
  infinite(0, 1) = std::numeric_limits<double>::infinity();
  const std::string rest = ": expected finite entries, got inf at (0, 1)";
  const DiscreteLyapunov<Backend> broken(infinite);
  CHECK(broken.status() == Status::unstable);
  CHECK(message([&] { broken.solve(good); }) == "F" + rest);
  CHECK(message([&] { broken.solve_adjoint(good); }) == "F" + rest);
  CHECK(message([&] { solve_lyapunov<Backend>(infinite, good); }) == "F" + rest);
  CHECK(message([&] { stable.solve(infinite); }) == "Q" + rest);
  CHECK(message([&] { stable.solve_adjoint(infinite); }) == "W" + rest);
  CHECK(message([&] { solve_lyapunov<Backend>(good, infinite); }) == "Q" + rest);
  auto nan = good;
  nan(0, 1) = std::numeric_limits<double>::quiet_NaN();
  CHECK(DiscreteLyapunov<Backend>(nan).status() == Status::unstable);
  CHECK_THROWS_AS(DiscreteLyapunov<Backend>(nan).solve(good), metalqr::NotFinite);
  CHECK_THROWS_AS(solve_lyapunov<Backend>(nan, good), metalqr::NotFinite);
  CHECK_THROWS_AS(stable.solve(nan), metalqr::NotFinite);
  CHECK_THROWS_AS(stable.solve_adjoint(nan), metalqr::NotFinite);
  CHECK_THROWS_AS(solve_lyapunov<Backend>(good, nan), metalqr::NotFinite);
  for (const auto& bad : {infinite, nan}) {
    CHECK(std::isinf(lyapunov_residual<Backend>(good, good, bad)));
    CHECK(std::isinf(lyapunov_residual<Backend>(good, bad, good)));
    CHECK(std::isinf(lyapunov_residual<Backend>(bad, good, good)));
  }
}

TEST_CASE("a solution that overflows is never converged, one near overflow has its residual") {
  const Dense F = 0.9 * test::identity(2);
  const auto Q = state_matrix(1e308 * test::identity(2));
  const auto once = solve_lyapunov<Backend>(state_matrix(F), Q);
  CHECK(once.status == Status::inconclusive);
  CHECK(std::isinf(once.residual));
  const DiscreteLyapunov<Backend> solver(state_matrix(F));
  CHECK(test::message_of<metalqr::NotFinite>([&] {
          solver.solve(Q);
        }).rfind("P: expected finite entries, got ", 0) == 0);
  CHECK(test::message_of<metalqr::NotFinite>([&] {
          solver.solve_adjoint(Q);
        }).rfind("Sigma: expected finite entries, got ", 0) == 0);
  for (const double scale : {1e-300, 1e-200, 1e200, 1e300}) {
    CAPTURE(scale);
    const auto scaled = solve_lyapunov<Backend>(state_matrix(F), state_matrix(scale * test::identity(2)));
    CHECK(scaled.status == Status::converged);
    CHECK(scaled.residual < 10 * Backend::epsilon());
    // P = 2 Q is far from the solution Q / (1 - 0.81): |Q + 1.62 Q - 2 Q| / |Q + 1.62 Q + 2 Q|.
    CHECK(lyapunov_residual<Backend>(state_matrix(F), state_matrix(scale * test::identity(2)),
                                     state_matrix((2 * scale) * test::identity(2))) ==
          Catch::Approx(0.62 / 4.62));
  }
}

TEST_CASE("matrices of other shapes are refused by name") {
  const auto message = [](const auto& call) { return test::message_of<metalqr::DimensionMismatch>(call); };
  const auto F = state_matrix(0.5 * test::identity(2));
  const Backend::StateMatrix wide = Backend::zero_matrix(2, 3);
  const auto large = state_matrix(test::identity(3));
  const DiscreteLyapunov<Backend> solver(F);
  CHECK(message([&] { DiscreteLyapunov<Backend>{wide}; }) == "F: expected shape 2x2, got 2x3");
  CHECK(message([&] { solver.solve(large); }) == "Q: expected shape 2x2, got 3x3");
  CHECK(message([&] { solver.solve_adjoint(large); }) == "W: expected shape 2x2, got 3x3");
  CHECK(message([&] { solve_lyapunov<Backend>(wide, F); }) == "F: expected shape 2x2, got 2x3");
  CHECK(message([&] { solve_lyapunov<Backend>(F, large); }) == "Q: expected shape 2x2, got 3x3");
  CHECK(message([&] { lyapunov_residual<Backend>(wide, F, F); }) == "F: expected shape 2x2, got 2x3");
  CHECK(message([&] { lyapunov_residual<Backend>(F, large, F); }) == "Q: expected shape 2x2, got 3x3");
  CHECK(message([&] { lyapunov_residual<Backend>(F, F, wide); }) == "P: expected shape 2x2, got 2x3");
}

TEST_CASE("the residual is zero for zero data and one for a wrong answer") {
  const auto zero = state_matrix(Dense(2, 2));
  const auto one = state_matrix(test::identity(2));
  CHECK(lyapunov_residual<Backend>(zero, zero, zero) == 0);
  CHECK(lyapunov_residual<Backend>(zero, one, zero) == Catch::Approx(1));
  CHECK(lyapunov_residual<Backend>(zero, one, one) == 0);
}
