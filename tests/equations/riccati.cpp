#include <metalqr/equations/riccati.hpp>

#include <cmath>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "reference.hpp"
#include "support.hpp"

namespace {

using metalqr::EigenBackend;
using metalqr::is_stable;
using metalqr::NoConvergence;
using metalqr::NotPositiveDefinite;
using metalqr::NotStabilizable;
using metalqr::riccati_residual;
using metalqr::RiccatiSolution;
using metalqr::solve_dare;
using metalqr::Status;
using test::Backend;
using test::control_matrix;
using test::dense;
using test::Dense;
using test::identity;
using test::Index;
using test::input_matrix;
using test::relative_error;
using test::state_matrix;
using test::transpose;
using Long = EigenBackend<long double>;
using Single = EigenBackend<float>;

/// A problem in long double.
struct Problem {
  Dense A, B, Q, R, N;
};

Problem problem(Dense A, Dense B, Dense Q, Dense R) {
  Dense N(B.rows, B.cols);
  return {std::move(A), std::move(B), std::move(Q), std::move(R), std::move(N)};
}

/// Plant and cost from normal entries; A scaled to a spectral norm of about `size`.
Problem random_problem(Index nx, Index nu, double size, metalqr::Stream& stream) {
  Dense A = test::random_matrix(nx, nx, stream);
  A = (size / std::sqrt(static_cast<long double>(4 * nx))) * A;
  return problem(test::rounded(A), test::rounded(test::random_matrix(nx, nu, stream)),
                 test::rounded(test::random_definite(nx, stream)),
                 test::rounded(test::random_definite(nu, stream)));
}

template <class AnyBackend = Backend>
RiccatiSolution<AnyBackend> solved(const Problem& p, const metalqr::RiccatiOptions& options = {}) {
  return solve_dare<AnyBackend>(state_matrix<AnyBackend>(p.A), input_matrix<AnyBackend>(p.B),
                                state_matrix<AnyBackend>(p.Q), control_matrix<AnyBackend>(p.R),
                                input_matrix<AnyBackend>(p.N), options);
}

/// Another algorithm: value iteration in long double, 20000 steps.
struct ValueIteration {
  Dense P, K;
  explicit ValueIteration(const Problem& p) : P(identity(p.A.rows)), K(p.B.cols, p.A.rows) {
    for (int step = 0; step < 20000; ++step) {
      const Dense BP = transpose(p.B) * P;
      K = test::solve(p.R + BP * p.B, BP * p.A + transpose(p.N));
      const Dense F = p.A - p.B * K;
      const Dense next = p.Q + transpose(K) * p.R * K - p.N * K - transpose(p.N * K) + transpose(F) * P * F;
      const long double change = test::norm(next - P);
      P = next;
      if (change <= 1e-18L * test::norm(P)) break;
    }
  }
};

/// Diagonal matrix.
Dense diagonal(const std::vector<long double>& entries) {
  Dense x(static_cast<Index>(entries.size()), static_cast<Index>(entries.size()));
  for (Index i = 0; i < x.rows; ++i) x(i, i) = entries[static_cast<std::size_t>(i)];
  return x;
}
Dense inverse(const Dense& d) {
  Dense x = d;
  for (Index i = 0; i < x.rows; ++i) x(i, i) = 1 / d(i, i);
  return x;
}

/// The largest error of P entry by entry, in units of sqrt(P_ii P_jj): what a change of units leaves alone.
double scaled_error(const Dense& got, const Dense& want) {
  long double worst = 0;
  for (Index i = 0; i < want.rows; ++i) {
    for (Index j = 0; j < want.cols; ++j) {
      const long double error = std::abs(got(i, j) - want(i, j)) / std::sqrt(want(i, i) * want(j, j));
      if (!(error <= worst)) worst = error;
    }
  }
  return static_cast<double>(worst);
}

template <class AnyBackend>
void check_reference(const test::ReferenceCase& c, double tolerance) {
  const Problem p = problem(c.task.A, c.task.B, c.task.Q, c.task.R);
  const auto optimal = solved<AnyBackend>(p);
  CHECK(relative_error(dense<AnyBackend>(optimal.value), c.P_star) < tolerance);
  CHECK(relative_error(dense<AnyBackend>(optimal.gain), c.K_star) < tolerance);
  CHECK(relative_error(test::inner(dense<AnyBackend>(optimal.value), c.task.Sigma0), c.cost_star) <
        tolerance);
  CHECK(optimal.status == Status::converged);
  CHECK(optimal.residual < typename AnyBackend::Scalar(100) * AnyBackend::epsilon());
}

}  // namespace

TEST_CASE("the optimal value, gain and cost of the reference cases") {
  for (const auto& c : test::reference_cases()) {
    CAPTURE(c.name);
    check_reference<Backend>(c, 1e-10);
    check_reference<Long>(c, 1e-10);
    check_reference<Single>(c, 1e-3);
    if (c.fits<EigenBackend<double, 4, 2>>()) check_reference<EigenBackend<double, 4, 2>>(c, 1e-10);
  }
}

TEST_CASE("a scalar plant has its closed form") {
  for (const double a : {0.0, 0.3, -0.95, 1.0, -1.0, 1.5, -40.0, 1e6}) {
    for (const double b : {1.0, -0.01, 30.0}) {
      for (const double q : {1.0, 1e-3, 1e4}) {
        for (const double r : {1.0, 1e-6, 1e6}) {
          CAPTURE(a, b, q, r);
          // b^2 P^2 - (q b^2 + (a^2 - 1) r) P - q r = 0.
          const long double half =
              (static_cast<long double>(q) * b * b + (static_cast<long double>(a) * a - 1) * r) / 2;
          const long double c = static_cast<long double>(q) * r * b * b;
          const long double root = std::sqrt(half * half + c);
          const long double P =
              (half > 0 ? half + root : c / (root - half)) / (b * static_cast<long double>(b));
          const long double K = b * P * a / (r + b * b * P);
          const double tolerance = 1e-13 + 1e-15 / static_cast<double>(1 - std::abs(a - b * K));
          const auto s = solved(problem({{a}}, {{b}}, {{q}}, {{r}}));
          CHECK(relative_error(s.value(0, 0), P) < tolerance);
          CHECK(relative_error(s.gain(0, 0), K) < tolerance);
        }
      }
    }
  }
}

TEST_CASE("the solution is that of value iteration, with and without a cross term") {
  for (std::uint64_t sample = 0; sample < 40; ++sample) {
    CAPTURE(sample);
    auto stream = test::stream(31, sample);
    const Index nx = 1 + static_cast<Index>(sample % 6);
    const Index nu = 1 + static_cast<Index>(sample % 4);
    Problem p = random_problem(nx, nu, stream.uniform(0.2, 3), stream);
    if (sample % 2 == 1) {
      const Dense joint = test::random_definite(nx + nu, stream);
      for (Index i = 0; i < nx; ++i) {
        for (Index j = 0; j < nx; ++j) p.Q(i, j) = static_cast<double>(joint(i, j));
        for (Index j = 0; j < nu; ++j) p.N(i, j) = static_cast<double>(joint(i, nx + j));
      }
      for (Index i = 0; i < nu; ++i) {
        for (Index j = 0; j < nu; ++j) p.R(i, j) = static_cast<double>(joint(nx + i, nx + j));
      }
    }
    const auto s = solved(p);
    const ValueIteration oracle(p);
    CHECK(relative_error(dense(s.value), oracle.P) < 1e-9);
    CHECK(relative_error(dense(s.gain), oracle.K) < 1e-9);
    CHECK(s.residual == riccati_residual<Backend>(state_matrix(p.A), input_matrix(p.B), state_matrix(p.Q),
                                                  control_matrix(p.R), input_matrix(p.N), s.value));
    CHECK(is_stable<Backend>(state_matrix(p.A - p.B * dense(s.gain))));
    CHECK(dense(s.value).entries == transpose(dense(s.value)).entries);
  }
}

TEST_CASE("a cross term that completes the square moves the gain by R^-1 N' and leaves the value") {
  auto stream = test::stream(32);
  const Problem plain = random_problem(4, 2, 2, stream);
  const Dense L = test::random_matrix(2, 4, stream);
  // With u = v - L x in the plant x+ = (A + BL) x + B u, the cost x'Qx + v'Rv has the cross term L'R.
  Problem crossed = plain;
  crossed.A = plain.A + plain.B * L;
  crossed.Q = plain.Q + transpose(L) * plain.R * L;
  crossed.N = transpose(L) * plain.R;
  const auto s = solved(plain);
  const auto t = solved(crossed);
  CHECK(relative_error(dense(t.value), dense(s.value)) < 1e-12);
  CHECK(relative_error(dense(t.gain), dense(s.gain) + L) < 1e-12);
}

TEST_CASE("changes of units of the states, of the inputs and of the cost transform the answer exactly") {
  for (std::uint64_t sample = 0; sample < 60; ++sample) {
    CAPTURE(sample);
    auto stream = test::stream(33, sample);
    const Index nx = 1 + static_cast<Index>(sample % 8);
    const Index nu = 1 + static_cast<Index>(sample % 3);
    const Problem p = random_problem(nx, nu, 2, stream);
    const ValueIteration oracle(p);
    std::vector<long double> d;
    std::vector<long double> e;
    for (Index i = 0; i < nx; ++i) d.push_back(std::pow(10.0L, stream.uniform(-6, 6)));
    for (Index i = 0; i < nu; ++i) e.push_back(std::pow(10.0L, stream.uniform(-6, 6)));
    const long double cost = std::pow(10.0L, stream.uniform(-8, 8));
    const Dense D = diagonal(d);
    const Dense E = diagonal(e);
    const Problem scaled =
        problem(inverse(D) * p.A * D, inverse(D) * p.B * E, cost * (D * p.Q * D), cost * (E * p.R * E));
    const auto s = solved(scaled);
    CHECK(s.residual < 1e-12);
    CHECK(scaled_error(dense(s.value), cost * (D * oracle.P * D)) < 1e-9);
    CHECK(relative_error(E * dense(s.gain) * inverse(D), oracle.K) < 1e-8);
    CHECK(is_stable<Backend>(state_matrix(scaled.A - scaled.B * dense(s.gain))));
  }
}

TEST_CASE("eight unstable states with entries of B down to 1e-6 and R = 1e6") {
  int solved_ones = 0;
  for (std::uint64_t sample = 0; sample < 50; ++sample) {
    CAPTURE(sample);
    auto stream = test::stream(34, sample);
    Problem p = random_problem(8, 2, 3, stream);
    for (long double& entry : p.B.entries) entry *= std::pow(10.0L, stream.uniform(-6, 0));
    p.B = test::rounded(p.B);
    p.R = 1e6L * identity(2);
    try {
      const auto s = solved(p);
      const auto wide = solved<Long>(p);
      CHECK(s.residual < 1e-9);
      CHECK(scaled_error(dense(s.value), dense<Long>(wide.value)) < 1e-5);
      CHECK(is_stable<Long>(state_matrix<Long>(p.A - p.B * dense(s.gain))));
      ++solved_ones;
    } catch (const NotStabilizable&) {
    } catch (const NoConvergence&) {
    }
  }
  CHECK(solved_ones >= 48);
}

TEST_CASE("a mode that the cost does not see is stabilised: Q = 0, A = 2 gives P = 3") {
  const auto s = solved(problem({{2}}, {{1}}, {{0}}, {{1}}));
  CHECK(s.value(0, 0) == Catch::Approx(3).epsilon(1e-14));
  CHECK(s.gain(0, 0) == Catch::Approx(1.5).epsilon(1e-14));
  // In general with Q = 0: P = a^2 - 1, and a closed loop of 1/a.
  for (const double margin : {1.0, 1e-3, 1e-7, 1e-10}) {
    const auto t = solved(problem({{1 + margin}}, {{1}}, {{0}}, {{1}}));
    CHECK(t.value(0, 0) == Catch::Approx(margin * (2 + margin)).epsilon(1e-15 / margin));
  }
  // One state is seen, the unstable one is not.
  const Problem half = problem({{0.5, 1}, {0, 1.5}}, {{0}, {1}}, {{0, 0}, {0, 0}}, {{1}});
  const auto u = solved(half);
  CHECK(u.residual < 1e-14);
  CHECK(u.value(1, 1) == Catch::Approx(1.25).epsilon(1e-12));
  CHECK(std::abs(u.value(0, 0)) < 1e-12);
}

TEST_CASE("the limits: A = 0, B = 0, near-singular R, singular A, more inputs than states") {
  const auto zero_A = solved(problem(Dense(2, 2), {{1}, {2}}, {{2, 1}, {1, 3}}, {{1}}));
  CHECK(relative_error(dense(zero_A.value), Dense{{2, 1}, {1, 3}}) < 1e-15);
  CHECK(test::norm(dense(zero_A.gain)) == 0);

  const Dense stable{{0.5, 1}, {0, 0.9}};
  const auto zero_B = solved(problem(stable, Dense(2, 1), identity(2), {{1}}));
  CHECK(relative_error(dense(zero_B.value), test::lyapunov(stable, identity(2))) < 1e-14);
  CHECK(test::norm(dense(zero_B.gain)) == 0);

  const Dense nothing(2, 2);
  CHECK(test::norm(dense(solved(problem(stable, Dense(2, 1), nothing, {{1}})).value)) == 0);

  auto stream = test::stream(35);
  for (const double smallest : {1e-8, 1e-12, 1e-15}) {
    CAPTURE(smallest);
    Problem p = random_problem(4, 2, 2, stream);
    p.R = test::rounded(Dense{{1, 1}, {1, 1}} + smallest * identity(2));
    const auto s = solved(p);
    CHECK(s.residual < 1e-13);
    CHECK(relative_error(dense(s.value), ValueIteration(p).P) < 1e-9);
  }
  for (const double r : {1e-12, 1e12, 1e-300, 1e300}) {
    CAPTURE(r);
    CHECK(solved(problem({{2}}, {{1}}, {{1}}, {{r}})).residual < 1e-14);
  }
  Problem singular = random_problem(5, 7, 2, stream);
  for (Index j = 0; j < 5; ++j) singular.A(3, j) = singular.A(1, j);
  CHECK(relative_error(dense(solved(singular).value), ValueIteration(singular).P) < 1e-11);
}

TEST_CASE("modes that cannot be moved may lie close to the unit circle") {
  for (const double margin : {1e-3, 1e-6, 1e-9, 1e-12}) {
    CAPTURE(margin);
    const auto s = solved(problem({{1 - margin, 0}, {0, 1.2}}, {{0}, {1}}, identity(2), {{1}}));
    const long double f = 1 - static_cast<long double>(1 - margin);
    CHECK(relative_error(s.value(0, 0), 1 / (f * (2 - f))) < 1e-15 / margin);
  }
}

TEST_CASE("a pair that no gain stabilises is refused") {
  const auto refused = [](const Dense& A, const Dense& B) {
    const std::string message =
        test::message_of<NotStabilizable>([&] { solved(problem(A, B, identity(2), {{1}})); });
    CHECK_THAT(message, Catch::Matchers::ContainsSubstring("A, B: expected a stabilisable pair"));
  };
  refused(identity(2), Dense(2, 1));
  refused(2 * identity(2), Dense(2, 1));
  refused({{1.1, 0}, {0, 0.5}}, {{0}, {1}});
  refused({{1, 0}, {0, 0.5}}, {{0}, {1}});
  refused({{0.5, 1}, {0, 1.1}}, {{1}, {0}});
  refused({{0, 1}, {-1, 0}}, Dense(2, 1));
  refused({{1e8, 0}, {0, 0.5}}, {{0}, {1}});
  // The unstable mode in a general basis, where rounding couples it to the input by 1e-17.
  const Dense T{{3, 1}, {1, 2}};
  const Dense inverse_T = test::solve(T, identity(2));
  refused(test::rounded(T * Dense{{1.1, 0}, {0, 0.5}} * inverse_T), test::rounded(T * Dense{{0}, {1}}));
}

TEST_CASE("an unseen mode on the unit circle has no stabilising solution") {
  const auto refused = [](const Problem& p) {
    CHECK_THAT(test::message_of<NoConvergence>([&] { solved(p); }),
               Catch::Matchers::ContainsSubstring("residual") &&
                   Catch::Matchers::ContainsSubstring("spectral radius"));
  };
  refused(problem({{1}}, {{1}}, {{0}}, {{1}}));
  refused(problem({{-1}}, {{1}}, {{0}}, {{1}}));
  refused(problem({{1, 1}, {0, 1}}, {{0}, {1}}, {{0, 0}, {0, 1}}, {{1}}));
  refused(problem({{1, 1}, {0, 1}}, {{0}, {1}}, Dense(2, 2), {{1}}));
  refused(problem({{0, 1}, {-1, 0}}, {{0}, {1}}, Dense(2, 2), {{1}}));
  const double c = std::cos(0.3);
  const double s = std::sin(0.3);
  refused(problem({{c, -s, 1}, {s, c, 0}, {0, 0, 0.5}}, {{1}, {0}, {1}}, diagonal({0, 0, 1}), {{2}}));
}

TEST_CASE("every one of 1000 random problems gets an answer or a typed error") {
  int answers = 0;
  int errors = 0;
  for (std::uint64_t sample = 0; sample < 1000; ++sample) {
    CAPTURE(sample);
    auto stream = test::stream(36, sample);
    const Index nx = 1 + static_cast<Index>(stream.uniform(0, 9));
    const Index nu = 1 + static_cast<Index>(stream.uniform(0, 4));
    Problem p = random_problem(nx, nu, std::pow(10, stream.uniform(-2, 1)), stream);
    const Index rank = 1 + static_cast<Index>(stream.uniform(0, static_cast<double>(nx)));
    p.Q = test::rounded(test::random_semidefinite(nx, rank, stream));
    p.R = test::rounded(test::random_semidefinite(nu, nu, stream) +
                        std::pow(10.0L, stream.uniform(-12, 3)) * identity(nu));
    if (sample % 4 == 1) p.Q = Dense(nx, nx);
    if (sample % 4 == 2) {
      for (long double& entry : p.B.entries) entry *= std::pow(10.0L, stream.uniform(-8, 8));
    }
    if (sample % 5 == 3) {
      // Not normal, with eigenvalues on both sides of the circle and on it.
      for (Index i = 0; i < nx; ++i) {
        for (Index j = 0; j < i; ++j) p.A(i, j) = 0;
        p.A(i, i) = 0.25L * std::floor(stream.uniform(0, 7));
      }
    }
    try {
      const auto s = solved(p);
      ++answers;
      CHECK(s.residual < 1e-8);
      CHECK(Backend::is_finite(s.value));
      CHECK(Backend::is_finite(s.gain));
      const double radius =
          static_cast<double>(metalqr::spectral_radius<Long>(state_matrix<Long>(p.A - p.B * dense(s.gain))));
      CHECK(radius < 1);
    } catch (const NotStabilizable&) {
      ++errors;
    } catch (const NoConvergence&) {
      ++errors;
    }
  }
  CHECK(answers + errors == 1000);
  CHECK(answers > 800);
}

TEST_CASE("wrong arguments are refused one by one, by name") {
  const Dense A{{1.1, 0.2}, {0, 0.9}};
  const Dense B{{1}, {0.5}};
  const Dense Q = identity(2);
  const Dense R{{1}};
  const auto with = [&](auto change) {
    Problem p = problem(A, B, Q, R);
    change(p);
    return p;
  };
  using metalqr::DimensionMismatch;
  using metalqr::NotFinite;
  const auto message = [&](auto kind, auto change) {
    using Kind = typename decltype(kind)::type;
    return test::message_of<Kind>([&] {
      const Problem p = with(change);
      const auto any = [](const Dense& x) { return test::filled(Backend::zero_matrix(x.rows, x.cols), x); };
      solve_dare<Backend>(any(p.A), any(p.B), any(p.Q), any(p.R), any(p.N));
    });
  };
  const std::type_identity<DimensionMismatch> shape;
  CHECK(message(shape, [](Problem& p) { p.A = Dense(2, 3); }) == "A: expected shape 2x2, got 2x3");
  CHECK(message(shape, [](Problem& p) { p.B = p.N = Dense(3, 1); }) == "B: expected shape 2x1, got 3x1");
  CHECK(message(shape, [](Problem& p) { p.Q = identity(3); }) == "Q: expected shape 2x2, got 3x3");
  CHECK(message(shape, [](Problem& p) { p.R = identity(2); }) == "R: expected shape 1x1, got 2x2");
  CHECK(message(shape, [](Problem& p) { p.N = Dense(2, 2); }) == "N: expected shape 2x1, got 2x2");
  const std::type_identity<NotFinite> finite;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinity = std::numeric_limits<double>::infinity();
  CHECK(message(finite, [&](Problem& p) { p.A(0, 1) = nan; }).substr(0, 2) == "A:");
  CHECK(message(finite, [&](Problem& p) { p.B(1, 0) = infinity; }).substr(0, 2) == "B:");
  CHECK(message(finite, [&](Problem& p) { p.Q(1, 1) = nan; }).substr(0, 2) == "Q:");
  CHECK(message(finite, [&](Problem& p) { p.R(0, 0) = nan; }).substr(0, 2) == "R:");
  CHECK(message(finite, [&](Problem& p) { p.N(0, 0) = -infinity; }).substr(0, 2) == "N:");
  const std::type_identity<NotPositiveDefinite> definite;
  CHECK(message(definite, [](Problem& p) { p.Q(0, 1) = 0.1L; }).substr(0, 31) ==
        "Q: expected a symmetric matrix,");
  CHECK(message(definite, [](Problem& p) { p.Q(1, 1) = -1; }).substr(0, 42) ==
        "Q: expected a positive semidefinite matrix");
  CHECK(message(definite, [](Problem& p) { p.R(0, 0) = 0; }).substr(0, 38) ==
        "R: expected a positive definite matrix");
  CHECK(message(definite, [](Problem& p) { p.R(0, 0) = -1; }).substr(0, 2) == "R:");
  CHECK(message(definite, [](Problem& p) { p.N(0, 0) = 1.5L; }).substr(0, 54) ==
        "[Q N; N' R]: expected a positive semidefinite matrix, ");
  const Problem good = problem(A, B, Q, R);
  CHECK_THROWS_AS(solved(good, {.max_doublings = 0}), metalqr::InvalidOption);
  CHECK_THROWS_AS(solved(good, {.max_newton_steps = 0}), metalqr::InvalidOption);
  CHECK_THROWS_AS(solved(good, {.tolerance = -1}), metalqr::InvalidOption);
  CHECK_THROWS_AS(solved(good, {.tolerance = nan}), metalqr::InvalidOption);
  CHECK_THROWS_AS(solved(good, {.tolerance = std::numeric_limits<double>::infinity()}),
                  metalqr::InvalidOption);
}
