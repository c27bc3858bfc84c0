#include <metalqr/equations/lyapunov_schur.hpp>

#include <cmath>
#include <limits>

#include "reference.hpp"
#include "support.hpp"

namespace {

using metalqr::DiscreteLyapunov;
using metalqr::RobustLyapunov;
using metalqr::SchurLyapunov;
using metalqr::Status;
using test::Backend;
using test::dense;
using test::Dense;
using test::Index;
using test::relative_error;
using test::state_matrix;

Dense jordan_block(Index n, double value, double coupling) {
  Dense x(n, n);
  for (Index i = 0; i < n; ++i) {
    x(i, i) = value;
    if (i + 1 < n) x(i, i + 1) = coupling;
  }
  return x;
}

/// Normwise residual in long double, of the equation P = Q + F'PF.
double exact_residual(const Dense& F, const Dense& Q, const Dense& P) {
  const Dense moved = test::transpose(F) * P * F;
  return static_cast<double>(test::norm(Q + moved - P) / (test::norm(Q) + test::norm(moved) + test::norm(P)));
}

/// Residual of a backward stable answer.
double rounding(Index n) {
  return 10 * static_cast<double>(n) * Backend::epsilon();
}

}  // namespace

TEST_CASE("the Schur solution is that of the Kronecker system, also for an unstable F") {
  for (const Index n : {1, 2, 3, 4, 5, 6, 7, 9, 12}) {
    for (const double rho : {0.0, 0.5, 0.99, 1 - 1e-7, 1.5, 30.0}) {
      CAPTURE(n, rho);
      auto stream = test::stream(21, static_cast<std::uint64_t>(n));
      const Dense F = test::rounded(test::random_with_radius(n, rho, stream));
      const SchurLyapunov<Backend> solver(state_matrix(F));
      CHECK(static_cast<double>(solver.spectral_radius()) == Catch::Approx(rho).epsilon(1e-9).margin(1e-12));
      CHECK(solver.is_stable() == (rho < 1));
      const Dense Q = test::rounded(test::random_matrix(n, n, stream));
      const Dense P = dense(solver.solve(state_matrix(Q)));
      const Dense Sigma = dense(solver.solve_adjoint(state_matrix(Q)));
      CHECK(exact_residual(F, Q, P) < rounding(n));
      CHECK(exact_residual(test::transpose(F), Q, Sigma) < rounding(n));
      if (n > 7) continue;
      const double tolerance = rho < 1 ? 1e-12 / (1 - rho) : 1e-9;
      CHECK(relative_error(P, test::lyapunov(F, Q)) < tolerance);
      CHECK(relative_error(Sigma, test::lyapunov(test::transpose(F), Q)) < tolerance);
    }
  }
}

TEST_CASE("the Schur solver gives P and Sigma of the reference cases, in fixed sizes too") {
  const auto check = [](const auto& c, auto backend) {
    using AnyBackend = decltype(backend);
    const auto F = state_matrix<AnyBackend>(c.task.closed_loop(c.K));
    const auto stage = state_matrix<AnyBackend>(c.task.Q + test::transpose(c.K) * c.task.R * c.K);
    const SchurLyapunov<AnyBackend> solver(F);
    CHECK(relative_error(dense<AnyBackend>(solver.solve(stage)), c.P) < c.tolerance());
    CHECK(relative_error(dense<AnyBackend>(solver.solve_adjoint(state_matrix<AnyBackend>(c.task.Sigma0))),
                         c.Sigma) < c.tolerance());
  };
  for (const auto& c : test::reference_cases()) {
    CAPTURE(c.name);
    check(c, Backend{});
    if (c.fits<metalqr::EigenBackend<long double, 3, 3>>()) {
      check(c, metalqr::EigenBackend<long double, 3, 3>{});
    }
  }
}

TEST_CASE("two eigenvalues with product one are refused, near ones solved with their own conditioning") {
  const auto Q = state_matrix(test::identity(2));
  for (const Dense& F : {Dense{{2, 0}, {0, 0.5}}, Dense{{1, 0}, {0, 0.5}}, Dense{{0, -1}, {1, 0}},
                         Dense{{-1, 3}, {0, 0.2}}, Dense{{4, 1}, {0, 0.25}}}) {
    const SchurLyapunov<Backend> solver(state_matrix(F));
    CHECK_THAT(test::message_of<metalqr::NoConvergence>([&] { solver.solve(Q); }),
               Catch::Matchers::ContainsSubstring("F: expected no two eigenvalues with product 1"));
    CHECK_THROWS_AS(solver.solve_adjoint(Q), metalqr::NoConvergence);
  }
  const Dense F{{2, 0}, {0, 0.5 + 1e-6}};
  const Dense P = dense(SchurLyapunov<Backend>(state_matrix(F)).solve(Q));
  CHECK(relative_error(P, test::lyapunov(F, test::identity(2))) < 1e-9);
}

TEST_CASE("nilpotent, Jordan and zero matrices") {
  for (const Dense& F : {jordan_block(6, 0, 1), jordan_block(6, 0, 1e4), jordan_block(5, 0.7, 1),
                         jordan_block(5, -0.95, 2), Dense(4, 4)}) {
    const Dense Q = test::identity(F.rows);
    const SchurLyapunov<Backend> solver(state_matrix(F));
    CHECK(relative_error(dense(solver.solve(state_matrix(Q))), test::lyapunov(F, Q)) < 1e-8);
    CHECK(relative_error(dense(solver.solve_adjoint(state_matrix(Q))),
                         test::lyapunov(test::transpose(F), Q)) < 1e-8);
  }
}

TEST_CASE("the Schur solver agrees with doubling and keeps duality for transient growth of 1e6") {
  for (const double coupling : {1.0, 1e3, 1e6}) {
    const Dense F{{0.9, coupling, 0}, {0, 0.8, 1}, {0, 0, -0.85}};
    const SchurLyapunov<Backend> schur(state_matrix(F));
    const DiscreteLyapunov<Backend> doubling(state_matrix(F));
    REQUIRE(doubling.is_stable());
    auto stream = test::stream(22);
    const Dense Q = test::rounded(test::random_definite(3, stream));
    const Dense W = test::rounded(test::random_definite(3, stream));
    const Dense P = dense(schur.solve(state_matrix(Q)));
    CHECK(relative_error(P, dense(doubling.solve(state_matrix(Q)))) < 1e-11);
    CHECK(relative_error(test::inner(P, W), test::inner(Q, dense(schur.solve_adjoint(state_matrix(W))))) <
          1e-11);
  }
}

TEST_CASE("forty states are solved through the Schur form") {
  auto stream = test::stream(23);
  const Dense F = test::rounded(test::random_with_radius(40, 0.95, stream));
  const Dense Q = test::identity(40);
  const SchurLyapunov<Backend> solver(state_matrix(F));
  CHECK(exact_residual(F, Q, dense(solver.solve(state_matrix(Q)))) < rounding(40));
  CHECK(exact_residual(test::transpose(F), Q, dense(solver.solve_adjoint(state_matrix(Q)))) < rounding(40));
}

TEST_CASE("the robust solver keeps to doubling where that is proved, and falls back where it is not") {
  auto stream = test::stream(24);
  const Dense good = test::rounded(test::random_with_radius(5, 0.9, stream));
  const Dense Q = test::rounded(test::random_definite(5, stream));
  const RobustLyapunov<Backend> easy(state_matrix(good));
  CHECK_FALSE(easy.uses_schur());
  CHECK(relative_error(dense(easy.solve(state_matrix(Q))), test::lyapunov(good, Q)) < 1e-12);
  CHECK(relative_error(dense(easy.solve_adjoint(state_matrix(Q))), test::lyapunov(test::transpose(good), Q)) <
        1e-12);

  // The rounding errors of the powers exceed 1 - rho, but the triangular form shows the eigenvalues.
  const Dense hard{{1 - std::ldexp(1.0, -49), 1e3, 0}, {0, 0.5, 1}, {0, 0, -0.25}};
  CHECK_FALSE(DiscreteLyapunov<Backend>(state_matrix(hard)).is_stable());
  const RobustLyapunov<Backend> robust(state_matrix(hard));
  CHECK(robust.uses_schur());
  CHECK(robust.status() == Status::converged);
  const Dense one = test::identity(3);
  CHECK(exact_residual(hard, one, dense(robust.solve(state_matrix(one)))) < rounding(3));
  CHECK(exact_residual(test::transpose(hard), one, dense(robust.solve_adjoint(state_matrix(one)))) <
        rounding(3));
}

TEST_CASE("the robust solver refuses what is unstable, and NaN") {
  const auto Q = state_matrix(test::identity(2));
  const RobustLyapunov<Backend> unstable(state_matrix({{0.5, 1}, {0, 1.25}}));
  CHECK_FALSE(unstable.is_stable());
  CHECK(unstable.status() == Status::unstable);
  CHECK(test::message_of<metalqr::NotStabilizing>([&] { unstable.solve(Q); }) ==
        "F: expected spectral radius below 1, got 1.25");
  CHECK_THROWS_AS(unstable.solve_adjoint(Q), metalqr::NotStabilizing);
  auto bad = state_matrix(test::identity(2));
  bad(0, 1) = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_AS(RobustLyapunov<Backend>(bad), metalqr::NotFinite);
  CHECK_THROWS_AS(SchurLyapunov<Backend>(bad), metalqr::NotFinite);
}

TEST_CASE("the Schur and the robust solver refuse bad matrices by name, and report overflow") {
  const auto F = state_matrix(0.9 * test::identity(2));
  const auto check = [&](auto solver) {
    using Solver = decltype(solver);
    const auto shape_message = [](const auto& call) {
      return test::message_of<metalqr::DimensionMismatch>(call);
    };
    const auto value_message = [](const auto& call) { return test::message_of<metalqr::NotFinite>(call); };
    CHECK(shape_message([&] { Solver(Backend::zero_matrix(2, 3)); }) == "F: expected shape 2x2, got 2x3");
    const auto large = state_matrix(test::identity(3));
    CHECK(shape_message([&] { solver.solve(large); }) == "Q: expected shape 2x2, got 3x3");
    CHECK(shape_message([&] { solver.solve_adjoint(large); }) == "W: expected shape 2x2, got 3x3");
    auto bad = F;
    bad(0, 1) = std::numeric_limits<double>::infinity();
    CHECK(value_message([&] { solver.solve(bad); }) == "Q: expected finite entries, got inf at (0, 1)");
    CHECK(value_message([&] { solver.solve_adjoint(bad); }) ==
          "W: expected finite entries, got inf at (0, 1)");
    const auto huge = state_matrix(1e308 * test::identity(2));
    CHECK(value_message([&] { solver.solve(huge); }).rfind("P: expected finite entries", 0) == 0);
    CHECK(value_message([&] { solver.solve_adjoint(huge); }).rfind("Sigma: expected finite entries", 0) == 0);
  };
  check(SchurLyapunov<Backend>(F));
  check(RobustLyapunov<Backend>(F));
}
