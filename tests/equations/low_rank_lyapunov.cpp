#include <metalqr/equations/low_rank_lyapunov.hpp>

#include <cmath>
#include <limits>
#include <numbers>
#include <string>
#include <vector>

#include <Eigen/SparseCore>

#include <metalqr/equations/lyapunov.hpp>

#include "support.hpp"

namespace {

using metalqr::closed_loop_operator;
using metalqr::DenseOperator;
using metalqr::DiscreteLyapunov;
using metalqr::linear_operator;
using metalqr::LowRankOptions;
using metalqr::solve_low_rank_lyapunov;
using metalqr::solve_low_rank_lyapunov_adjoint;
using metalqr::Status;
using test::Backend;
using test::dense;
using test::Dense;
using test::Index;
using test::relative_error;
using Matrix = Backend::Matrix;

template <class AnyBackend = Backend>
typename AnyBackend::Matrix matrix(const Dense& values) {
  return test::filled(AnyBackend::zero_matrix(values.rows, values.cols), values);
}

Dense square(const Dense& Z) {
  return Z * test::transpose(Z);
}

/// A diagonal matrix as a user's operator, counting its use.
struct Diagonal {
  std::vector<double> values;
  mutable int calls = 0;
  mutable Index columns = 0;

  Index size() const { return static_cast<Index>(values.size()); }
  Matrix apply(const Matrix& V) const {
    ++calls;
    columns += V.cols();
    Matrix moved = V;
    for (Index j = 0; j < V.cols(); ++j) {
      for (Index i = 0; i < size(); ++i) moved(i, j) *= values[static_cast<std::size_t>(i)];
    }
    return moved;
  }
  Matrix apply_transposed(const Matrix& V) const { return apply(V); }
};

/// Diagonal entries from -rho to rho, the last of them rho.
Diagonal spread(Index n, double rho) {
  Diagonal F;
  for (Index i = 0; i < n; ++i) {
    F.values.push_back(n == 1 ? rho : rho * (2.0 * static_cast<double>(i) / static_cast<double>(n - 1) - 1));
  }
  return F;
}

/// What a diagonal F and C C' give: x_ij = (C C')_ij / (1 - f_i f_j).
Dense closed_form(const Diagonal& F, const Dense& C) {
  Dense X = square(C);
  for (Index i = 0; i < X.rows; ++i) {
    for (Index j = 0; j < X.cols; ++j) {
      X(i, j) /= 1 - static_cast<long double>(F.values[static_cast<std::size_t>(i)]) *
                         F.values[static_cast<std::size_t>(j)];
    }
  }
  return X;
}

}  // namespace

TEST_CASE("a diagonal F has its closed form, and as many products as its spectral radius asks for") {
  auto stream = test::stream(431);
  for (const double rho : {0.0, 0.5, 0.9, 0.99, 0.999}) {
    for (const Index r : {1, 3}) {
      CAPTURE(rho, r);
      const Index n = rho < 0.95 ? 40 : 12;
      const Diagonal F = spread(n, rho);
      Dense C(n, r);
      for (long double& entry : C.entries) entry = stream.rademacher();
      const auto solution = solve_low_rank_lyapunov_adjoint<Backend>(F, matrix(C));
      CHECK(solution.status == Status::converged);
      CHECK(solution.residual.value < 1e-14);
      CHECK(solution.residual.bound < 1e-12);
      CHECK(solution.factor.cols() == solution.rank);
      CHECK(relative_error(square(dense(solution.factor)), closed_form(F, C)) < 1e-14 / (1 - rho));
      CHECK(F.calls == solution.terms + 1);
      CHECK(F.columns == solution.columns);
      if (rho > 0) {
        // The last term has a square between r rho^(2t) and n r rho^(2t), is to be below 1e-15 times the sum
        // (in fact a sixteenth of that), and the sum has a norm between n sqrt(r) and n r / (1 - rho^2).
        CHECK(solution.terms <= 1 + std::log(1e-15 / 16 / 2) / (2 * std::log(rho)));
        CHECK(solution.terms >=
              std::log(1e-15 * static_cast<double>(n) / (1 - rho * rho)) / (2 * std::log(rho)));
        CHECK(solution.columns <= r * solution.terms + solution.rank);
      }
    }
  }
}

TEST_CASE("both equations have the solutions of the doubling with full matrices") {
  for (const Index n : {1, 2, 25, 60}) {
    for (const double rho : {0.3, 0.9, 0.98}) {
      CAPTURE(n, rho);
      auto stream = test::stream(432, static_cast<std::uint64_t>(n));
      const Matrix F = matrix(test::random_with_radius(n, rho, stream));
      const Index r = std::min<Index>(n, 3);
      const Matrix C = matrix(test::random_matrix(r, n, stream));
      const Matrix W = matrix(test::random_matrix(n, r, stream));
      const DiscreteLyapunov<Backend> full(F);
      REQUIRE(full.is_stable());
      const DenseOperator<Backend> thin(F);
      const auto P = solve_low_rank_lyapunov<Backend>(thin, C);
      const auto X = solve_low_rank_lyapunov_adjoint<Backend>(thin, W);
      CHECK(P.status == Status::converged);
      CHECK(X.status == Status::converged);
      CHECK(P.residual.value < 1e-13);
      CHECK(X.residual.value < 1e-13);
      const auto check = [&](const Matrix& Z, double bound, const Matrix& want, double residual,
                             const Matrix& identity_solution) {
        const double error = relative_error(square(dense(Z)), dense(want));
        // An error E = R + F'EF is at most |R|_2 times what solves the equation for the identity, and the
        // terms whose norms are the residual's scale are each at most the solution.
        CHECK(error < 3.1 * (bound + residual) * identity_solution.norm());
        if (rho < 0.95) CHECK(error < 1e-11);
      };
      const Matrix identity = Matrix::Identity(n, n);
      const Matrix Q = C.transpose() * C;
      const Matrix S = W * W.transpose();
      const Matrix full_P = full.solve(Q);
      const Matrix full_X = full.solve_adjoint(S);
      check(P.factor, P.residual.bound, full_P, metalqr::lyapunov_residual<Backend>(F, Q, full_P),
            full.solve(identity));
      check(X.factor, X.residual.bound, full_X, metalqr::lyapunov_residual<Backend>(F.transpose(), S, full_X),
            full.solve_adjoint(identity));
      // tr(P W W') = tr(C'C X).
      const Matrix left = P.factor.transpose() * W;
      const Matrix right = C * X.factor;
      CHECK(left.squaredNorm() == Catch::Approx(right.squaredNorm()).epsilon(1e-12));
    }
  }
}

TEST_CASE("the residual and its bound are those of the full matrices") {
  auto stream = test::stream(433);
  const Dense F = test::rounded(test::random_with_radius(40, 0.9, stream));
  const Dense C = test::rounded(test::random_matrix(40, 2, stream));
  for (const double truncation : {1e-15, 1e-10, 1e-4}) {
    const auto solution = solve_low_rank_lyapunov_adjoint<Backend>(
        DenseOperator<Backend>(matrix(F)), matrix(C), {.tolerance = 1e-2, .truncation = truncation});
    CHECK(solution.status == Status::converged);
    const Dense X = square(dense(solution.factor));
    const Dense moved = F * X * test::transpose(F);
    const long double residual =
        test::norm(square(C) + moved - X) / (test::norm(square(C)) + test::norm(moved) + test::norm(X));
    CHECK(residual <= solution.residual.bound);
    CHECK(std::abs(solution.residual.value - residual) < 1e-9L * residual + 1e-14L);
    CHECK(residual < 10 * truncation);
  }
}

TEST_CASE("the heat equation with 2000 points, sparse, has the closed form of its sines") {
  const Index n = 2000;
  const double diagonal = 0.5;
  const double beside = 0.2;  // eigenvalues 0.5 + 0.4 cos(i pi / (n + 1))
  Eigen::SparseMatrix<double> A(n, n);
  std::vector<Eigen::Triplet<double>> entries;
  for (int i = 0; i < n; ++i) {
    entries.emplace_back(i, i, diagonal);
    if (i > 0) entries.emplace_back(i, i - 1, beside);
    if (i > 0) entries.emplace_back(i - 1, i, beside);
  }
  A.setFromTriplets(entries.begin(), entries.end());
  const auto F = linear_operator<Backend>(
      n, [&](const Matrix& V) -> Matrix { return A * V; },
      [&](const Matrix& V) -> Matrix { return A.transpose() * V; },
      3 * Backend::epsilon() * (diagonal + 2 * beside));
  Matrix C = Backend::zero_matrix(n, 1);
  C(0, 0) = 1;
  const auto solution = solve_low_rank_lyapunov_adjoint<Backend>(F, C);
  REQUIRE(solution.status == Status::converged);
  CHECK(solution.residual.value < 1e-14);
  CHECK(solution.residual.bound < 1e-12);
  CHECK(solution.rank < 60);
  CHECK(solution.terms < 200);

  // With u_i(p) = sqrt(2 / (n + 1)) sin(i p pi / (n + 1)): x_pq = sum of u_i(p) u_j(q) u_i(1) u_j(1) / (1 -
  // f_i f_j).
  const double step = std::numbers::pi / static_cast<double>(n + 1);
  const auto entry = [&](Index p, Index q) {
    std::vector<double> left;
    std::vector<double> right;
    std::vector<double> f;
    for (Index i = 1; i <= n; ++i) {
      const double angle = step * static_cast<double>(i);
      const double weight = 2 / static_cast<double>(n + 1) * std::sin(angle);
      left.push_back(weight * std::sin(angle * static_cast<double>(p)));
      right.push_back(weight * std::sin(angle * static_cast<double>(q)));
      f.push_back(diagonal + 2 * beside * std::cos(angle));
    }
    double sum = 0;
    for (std::size_t i = 0; i < f.size(); ++i) {
      for (std::size_t j = 0; j < f.size(); ++j) sum += left[i] * right[j] / (1 - f[i] * f[j]);
    }
    return sum;
  };
  for (const auto& [p, q] : {std::pair<Index, Index>{1, 1}, {3, 1}, {7, 7}}) {
    CAPTURE(p, q);
    const double got = solution.factor.row(p - 1).dot(solution.factor.row(q - 1));
    CHECK(got == Catch::Approx(entry(p, q)).epsilon(1e-10));
  }
}

TEST_CASE("a closed loop with a sparse plant satisfies its equation against random vectors") {
  const Index n = 500;
  auto stream = test::stream(434);
  Eigen::SparseMatrix<double> A(n, n);
  std::vector<Eigen::Triplet<double>> entries;
  for (int i = 0; i < n; ++i) {
    for (int k = 0; k < 4; ++k) {
      entries.emplace_back(i, static_cast<int>(stream.uniform() * static_cast<double>(n)),
                           0.35 * stream.normal());
    }
  }
  A.setFromTriplets(entries.begin(), entries.end());
  const Matrix B = matrix(0.01L * test::random_matrix(n, 2, stream));
  const Matrix K = matrix(0.1L * test::random_matrix(2, n, stream));
  const Matrix C = matrix(test::random_matrix(2, n, stream));
  const auto plant = linear_operator<Backend>(
      n, [&](const Matrix& V) -> Matrix { return A * V; },
      [&](const Matrix& V) -> Matrix { return A.transpose() * V; });
  const auto solution = solve_low_rank_lyapunov<Backend>(closed_loop_operator<Backend>(plant, B, K), C);
  REQUIRE(solution.status == Status::converged);
  const auto value = [&](const Matrix& V) -> Matrix {
    return solution.factor * (solution.factor.transpose() * V);
  };
  for (int sample = 0; sample < 3; ++sample) {
    const Matrix v = matrix(test::random_matrix(n, 1, stream));
    const Matrix moved = value(A * v - B * (K * v));
    const Matrix right =
        C.transpose() * (C * v) + A.transpose() * moved - K.transpose() * (B.transpose() * moved);
    CHECK((value(v) - right).norm() < 1e-13 * value(v).norm());
  }
}

TEST_CASE("the scale of C goes through, dependent columns are left out, zero gives zero") {
  auto stream = test::stream(435);
  const Diagonal F = spread(20, 0.8);
  const Matrix C = matrix(test::random_matrix(20, 1, stream));
  const auto one = solve_low_rank_lyapunov_adjoint<Backend>(F, C);
  for (const double scale : {0x1p-600, 0x1p600}) {
    const auto scaled = solve_low_rank_lyapunov_adjoint<Backend>(F, scale * C);
    CHECK(scaled.status == Status::converged);
    CHECK(scaled.factor == scale * one.factor);
    CHECK(scaled.residual.bound == one.residual.bound);
  }
  Matrix repeated(20, 3);
  repeated << C, -C, 2 * C;
  const auto same = solve_low_rank_lyapunov_adjoint<Backend>(F, repeated);
  CHECK(same.columns <= one.columns + 5);
  CHECK(same.rank <= one.rank + 1);
  CHECK(relative_error(square(dense(same.factor)), 6 * square(dense(one.factor))) < 1e-14);
  const auto none = solve_low_rank_lyapunov<Backend>(F, Backend::zero_matrix(2, 20));
  CHECK(none.status == Status::converged);
  CHECK(none.rank == 0);
  CHECK(none.factor.rows() == 20);
  CHECK(none.factor.cols() == 0);
  CHECK(none.residual.bound == 0);
}

TEST_CASE("a nilpotent F of large entries gives a finite sum") {
  const Dense F{{0, 1e6, 3}, {0, 0, -1e6}, {0, 0, 0}};
  const auto solution =
      solve_low_rank_lyapunov<Backend>(DenseOperator<Backend>(matrix(F)), matrix({{1, 1, 1}}));
  // F annihilates most of what it is applied to, which the bound of its rounding does not know.
  CHECK(solution.residual.value < 1e-15);
  CHECK(solution.residual.bound < 1e-8);
  const Dense c{{1}, {1}, {1}};
  const Dense once = test::transpose(F) * c;
  CHECK(relative_error(square(dense(solution.factor)),
                       square(c) + square(once) + square(test::transpose(F) * once)) < 1e-14);
}

TEST_CASE("an unstable F that C excites is never converged, and the sum ends") {
  const Matrix C = matrix({{1}, {1}});
  const auto solve = [&](double f, const LowRankOptions& options = {}) {
    return solve_low_rank_lyapunov_adjoint<Backend>(Diagonal{{0.5, f}}, C, options);
  };
  for (const double f : {1.2, -2.0, 1e100, 1e200}) {
    CAPTURE(f);
    const auto solution = solve(f);
    CHECK(solution.status == Status::unstable);
    CHECK(std::isinf(solution.residual.value));
    CHECK(std::isinf(solution.residual.bound));
    CHECK(solution.terms < 3000);
  }
  for (const double f : {1.0, -1.0, 1 + 1e-6}) {
    CAPTURE(f);
    const auto solution = solve(f);
    CHECK(solution.status == Status::iteration_limit);
    CHECK(solution.terms == 20000);
    CHECK(solution.residual.bound > 1e-6);
  }
  CHECK(solve(0.999, {.max_terms = 10}).status == Status::iteration_limit);
  CHECK(solve(0.999, {.max_terms = 10}).residual.value > 1e-3);
  CHECK(solve(0.999, {.max_terms = 0}).rank == 1);
  // What the unexcited mode would do does not show: the equation is solved.
  const auto hidden = solve_low_rank_lyapunov_adjoint<Backend>(Diagonal{{0.5, 2}}, matrix({{1}, {0}}));
  CHECK(hidden.status == Status::converged);
  CHECK(relative_error(square(dense(hidden.factor)), {{1 / 0.75, 0}, {0, 0}}) < 1e-15);
}

TEST_CASE("limits on rank and tolerance are kept and told") {
  const Diagonal F = spread(100, 0.95);
  auto stream = test::stream(437);
  const Matrix C = matrix(test::random_matrix(100, 2, stream));
  const auto full = solve_low_rank_lyapunov_adjoint<Backend>(F, C);
  CHECK(full.status == Status::converged);
  const auto narrow = solve_low_rank_lyapunov_adjoint<Backend>(F, C, {.max_rank = 10});
  CHECK(narrow.status == Status::stalled);
  CHECK(narrow.residual.bound > 1e-10);
  const auto rough = solve_low_rank_lyapunov_adjoint<Backend>(F, C, {.tolerance = 1e-6, .truncation = 1e-8});
  CHECK(rough.status == Status::converged);
  CHECK(rough.rank < full.rank);
  CHECK(3 * rough.columns < 2 * full.columns);
  CHECK(relative_error(square(dense(rough.factor)), square(dense(full.factor))) < 1e-6);
  const auto impossible = solve_low_rank_lyapunov_adjoint<Backend>(F, C, {.tolerance = 1e-17});
  CHECK(impossible.status == Status::stalled);
  CHECK(impossible.residual.value < 1e-14);
}

TEST_CASE("bad arguments and bad products are refused by name") {
  const auto shape = [](const auto& call) { return test::message_of<metalqr::DimensionMismatch>(call); };
  const auto finite = [](const auto& call) { return test::message_of<metalqr::NotFinite>(call); };
  const auto option = [](const auto& call) { return test::message_of<metalqr::InvalidOption>(call); };
  const Diagonal F = spread(3, 0.5);
  const Matrix row = Backend::zero_matrix(1, 3);
  const Matrix column = Backend::zero_matrix(3, 1);
  CHECK(shape([&] { solve_low_rank_lyapunov<Backend>(F, column); }) == "C: expected shape 3x3, got 3x1");
  CHECK(shape([&] { solve_low_rank_lyapunov_adjoint<Backend>(F, row); }) == "C: expected shape 3x3, got 1x3");
  CHECK(shape([&] { solve_low_rank_lyapunov<Backend>(F, Backend::zero_matrix(0, 3)); }) ==
        "C: expected at least one row and one column, got shape 0x3");
  const double nan = std::numeric_limits<double>::quiet_NaN();
  Matrix bad = row;
  bad(0, 1) = nan;
  CHECK(finite([&] { solve_low_rank_lyapunov<Backend>(F, bad); }) ==
        "C: expected finite entries, got nan at (0, 1)");

  const Matrix C = matrix({{1}, {1}, {1}});
  for (const double value : {nan, std::numeric_limits<double>::infinity()}) {
    CHECK(finite([&] {
            solve_low_rank_lyapunov_adjoint<Backend>(Diagonal{{0.5, value, 0}}, C);
          }).rfind("F V: expected finite entries, got ", 0) == 0);
  }
  const auto cut = [](const Matrix& V) -> Matrix { return V.topRows(2); };
  const auto same = [](const Matrix& V) -> Matrix { return V; };
  CHECK(shape([&] { solve_low_rank_lyapunov_adjoint<Backend>(linear_operator<Backend>(3, cut, same), C); }) ==
        "F V: expected shape 3x1, got 2x1");
  CHECK(shape([&] {
          solve_low_rank_lyapunov<Backend>(linear_operator<Backend>(3, same, cut), Matrix(C.transpose()));
        }) == "F V: expected shape 3x1, got 2x1");

  const auto with = [&](const LowRankOptions& options) {
    return option([&] { solve_low_rank_lyapunov_adjoint<Backend>(F, C, options); });
  };
  CHECK(with({.tolerance = 0}) == "tolerance: expected a number between 0 and 1, got 0");
  CHECK(with({.tolerance = nan}) == "tolerance: expected a number between 0 and 1, got nan");
  CHECK(with({.truncation = 1}) == "truncation: expected a number between 0 and 1, got 1");
  CHECK(with({.max_terms = -1}) == "max_terms: expected a number that is not negative, got -1");
  CHECK(with({.max_rank = 0}) == "max_rank: expected a positive number, got 0");
}
