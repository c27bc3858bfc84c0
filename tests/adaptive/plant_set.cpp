#include <metalqr/adaptive/plant_set.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "support.hpp"

namespace {

namespace adaptive = metalqr::adaptive;
using metalqr::InvalidOption;
using test::Backend;
using test::Dense;
using test::Index;
using Ellipsoid = metalqr::identification::Ellipsoid<Backend>;
using Fixed = metalqr::EigenBackend<double, 3, 2>;

/// A set about a random centre whose factor has entries of quite different sizes.
Ellipsoid random_set(Index nx, Index nu, double level, metalqr::Stream& stream) {
  Dense R = test::random_matrix(nx + nu, nx + nu, stream);
  for (Index i = 0; i < R.rows; ++i) {
    for (Index j = 0; j < i; ++j) R(i, j) = 0;
    R(i, i) = std::exp(stream.uniform(-2, 3));
  }
  return {.A = test::state_matrix(test::random_matrix(nx, nx, stream)),
          .B = test::input_matrix(test::random_matrix(nx, nu, stream)),
          .factor = test::filled(Backend::zero_matrix(nx + nu, nx + nu), R),
          .level = level,
          .trace = true};
}

/// A task with unit costs.
metalqr::Task<Backend> task_of(const Dense& A, const Dense& B) {
  return test::make_task({A, B, test::identity(A.rows), test::identity(B.cols), test::identity(A.rows)});
}

/// [A B] of a task less that of the centre.
Dense displacement(const metalqr::Task<Backend>& task, const Ellipsoid& set) {
  Dense D(task.nx(), task.nx() + task.nu());
  for (Index i = 0; i < task.nx(); ++i) {
    for (Index j = 0; j < task.nx(); ++j) D(i, j) = task.A()(i, j) - set.A(i, j);
    for (Index j = 0; j < task.nu(); ++j) D(i, task.nx() + j) = task.B()(i, j) - set.B(i, j);
  }
  return D;
}

/// tr(D R'R D').
long double level_of(const Dense& D, const Ellipsoid& set) {
  const Dense weighted = D * test::transpose(test::dense(set.factor));
  return test::inner(weighted, weighted);
}

/// Kolmogorov's statistic against the uniform distribution on (0, 1), times sqrt(n): above 2.69 with
/// probability 2 exp(-2 * 2.69^2) = 1e-6.
double kolmogorov(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const auto n = static_cast<double>(values.size());
  double largest = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto rank = static_cast<double>(i);
    largest = std::max({largest, values[i] - rank / n, (rank + 1) / n - values[i]});
  }
  return std::sqrt(n) * largest;
}
constexpr double one_in_a_million = 2.69;

}  // namespace

TEST_CASE("the nearest plant of the set meets the conditions of a minimum") {
  metalqr::Stream stream = test::stream(501);
  for (int trial = 0; trial < 50; ++trial) {
    const Index nx = 1 + trial % 4;
    const Index nu = 1 + trial % 3;
    const double level = std::exp(stream.uniform(-8, 3));
    const Ellipsoid set = random_set(nx, nu, level, stream);
    const double distance = std::exp(stream.uniform(-1, 8));
    const auto far = task_of(test::dense(set.A) + distance * test::random_matrix(nx, nx, stream),
                             test::dense(set.B) + distance * test::random_matrix(nx, nu, stream));
    const Dense M = displacement(far, set);
    REQUIRE(level_of(M, set) > level);
    const Dense X = displacement(adaptive::nearest_plant(far, set), set);
    INFO("trial " << trial << ", level " << level << ", distance " << distance);
    // On the boundary, and M - X = lambda X S with lambda > 0, S = R'R. Rounding is that of A and B.
    const long double rounding = 1e-14L * (test::norm(test::dense(set.A)) + test::norm(test::dense(set.B)));
    const Dense R = test::dense(set.factor);
    const Dense XS = X * test::transpose(R) * R;
    const double slack = static_cast<double>(2 * test::norm(XS) * rounding / level);
    CHECK(static_cast<double>(level_of(X, set) / level) == Catch::Approx(1).margin(1e-12 + slack));
    const long double lambda = test::inner(M - X, XS) / test::inner(XS, XS);
    CHECK(lambda > 0);
    const long double lost = rounding * (1 + lambda * test::norm(test::transpose(R) * R));
    CHECK(test::norm(M - X - lambda * XS) < 1e-10L * test::norm(M) + lost);
  }
}

TEST_CASE("no point of the set is nearer than the nearest one") {
  metalqr::Stream stream = test::stream(502);
  const Ellipsoid set = random_set(2, 1, 0.5, stream);
  const auto far = task_of(Dense{{3, 1}, {-2, 4}}, Dense{{1}, {5}});
  const auto nearest = adaptive::nearest_plant(far, set);
  const long double distance = test::norm(displacement(far, set) - displacement(nearest, set));
  for (int i = 0; i < 2000; ++i) {
    const auto other = adaptive::draw_plant(far, set, stream);
    CHECK(test::norm(displacement(far, set) - displacement(other, set)) >= distance * (1 - 1e-12L));
  }
}

TEST_CASE("a plant of the set is its own nearest; a set of one point has one nearest") {
  metalqr::Stream stream = test::stream(503);
  Ellipsoid set = random_set(3, 2, 2, stream);
  const auto inside = adaptive::draw_plant(task_of(Dense(3, 3), Dense(3, 2)), set, stream);
  const auto nearest = adaptive::nearest_plant(inside, set);
  CHECK(test::relative_error(test::dense(nearest.A()), test::dense(inside.A())) < 1e-15);
  CHECK(test::relative_error(test::dense(nearest.B()), test::dense(inside.B())) < 1e-15);
  set.level = 0;
  const auto centre = adaptive::nearest_plant(inside, set);
  CHECK(test::norm(displacement(centre, set)) == 0);
  CHECK(test::norm(displacement(adaptive::draw_plant(inside, set, stream), set)) == 0);
}

TEST_CASE("the cost of the task is that of the plants") {
  metalqr::Stream stream = test::stream(504);
  const test::DenseTask task = test::random_problem(3, 2, 0.9, stream).task;
  const auto plant = test::make_task(task);
  const Ellipsoid set = random_set(3, 2, 1, stream);
  for (const auto& made : {adaptive::draw_plant(plant, set, stream), adaptive::nearest_plant(plant, set)}) {
    CHECK(test::relative_error(test::dense(made.Q()), task.Q) < 1e-15);
    CHECK(test::relative_error(test::dense(made.R()), task.R) < 1e-15);
    CHECK(test::relative_error(test::dense(made.Sigma0()), task.Sigma0) < 1e-15);
  }
}

// Uniform in a ball of dimension d: |z|^d is uniform, and so is the angle in the plane.
TEST_CASE("plants are drawn uniformly from the ellipse of a scalar plant") {
  metalqr::Stream stream = test::stream(505);
  const Ellipsoid set = random_set(1, 1, 0.3, stream);
  const Dense R = test::dense(set.factor);
  const auto task = task_of(Dense{{1}}, Dense{{1}});
  std::vector<double> radii;
  std::vector<double> angles;
  for (int i = 0; i < 4000; ++i) {
    const Dense z = R * test::transpose(displacement(adaptive::draw_plant(task, set, stream), set));
    radii.push_back(static_cast<double>(test::inner(z, z)) / 0.3);
    angles.push_back(static_cast<double>(std::atan2(z(1, 0), z(0, 0))) / (2 * std::acos(-1.0)) + 0.5);
  }
  CHECK(kolmogorov(radii) < one_in_a_million);
  CHECK(kolmogorov(angles) < one_in_a_million);
}

TEST_CASE("plants are drawn uniformly from an ellipsoid of many dimensions") {
  metalqr::Stream stream = test::stream(506);
  constexpr Index size = 10;  // dimension of the matrices D, 2 x 5
  const Ellipsoid set = random_set(2, 3, 7, stream);
  const auto task = task_of(Dense(2, 2), Dense(2, 3));
  constexpr int draws = 4000;
  std::vector<double> radii;
  Dense moments(size, size);
  for (int i = 0; i < draws; ++i) {
    const Dense z =
        displacement(adaptive::draw_plant(task, set, stream), set) * test::transpose(test::dense(set.factor));
    radii.push_back(std::pow(static_cast<double>(test::inner(z, z)) / 7, size / 2.0));
    for (std::size_t j = 0; j < z.entries.size(); ++j) {
      for (std::size_t k = 0; k < z.entries.size(); ++k) {
        moments(static_cast<Index>(j), static_cast<Index>(k)) += z.entries[j] * z.entries[k] / draws;
      }
    }
  }
  CHECK(kolmogorov(radii) < one_in_a_million);
  // E[zz'] = level / (d + 2) I; E[z_i^2 z_j^2] = level^2 / ((d + 2)(d + 4)), three times that for i = j. Six
  // standard deviations for each of 55 numbers: 1e-7 for all.
  const double second = 7.0 / (size + 2);
  const double fourth = 49.0 / ((size + 2) * (size + 4));
  for (Index i = 0; i < size; ++i) {
    for (Index j = 0; j <= i; ++j) {
      const double expected = i == j ? second : 0;
      const double variance = (i == j ? 3 * fourth - second * second : fourth) / draws;
      CHECK(std::abs(static_cast<double>(moments(i, j)) - expected) < 6 * std::sqrt(variance));
    }
  }
}

TEST_CASE("a set that bounds the largest eigenvalue is covered") {
  metalqr::Stream stream = test::stream(507);
  Ellipsoid set = random_set(3, 2, 0.4, stream);
  set.trace = false;
  const auto task = task_of(Dense(3, 3), Dense(3, 2));
  long double largest = 0;
  for (int i = 0; i < 300; ++i) {
    const long double level = level_of(displacement(adaptive::draw_plant(task, set, stream), set), set);
    CHECK(level <= 3 * 0.4L * (1 + 1e-12L));
    largest = std::max(largest, level);
  }
  CHECK(largest > 1.0L);
  const auto far = task_of(10 * test::identity(3), Dense(3, 2));
  const Dense D = displacement(adaptive::nearest_plant(far, set), set);
  CHECK(static_cast<double>(level_of(D, set)) == Catch::Approx(1.2).epsilon(1e-9));
}

TEST_CASE("fixed sizes give the same plants") {
  metalqr::Stream stream = test::stream(508);
  const Ellipsoid set = random_set(3, 2, 2, stream);
  const metalqr::identification::Ellipsoid<Fixed> fixed{set.A, set.B, set.factor, set.level, set.trace};
  const test::DenseTask task{test::identity(3), Dense(3, 2), test::identity(3), test::identity(2),
                             test::identity(3)};
  metalqr::Stream first = test::stream(509);
  metalqr::Stream second = test::stream(509);
  const auto x = adaptive::draw_plant(test::make_task(task), set, first);
  const auto y = adaptive::draw_plant(test::make_task<Fixed>(task), fixed, second);
  CHECK(test::relative_error(test::dense<Fixed>(y.A()), test::dense(x.A())) < 1e-13);
  const auto p = adaptive::nearest_plant(test::make_task(task), set);
  const auto q = adaptive::nearest_plant(test::make_task<Fixed>(task), fixed);
  CHECK(test::relative_error(test::dense<Fixed>(q.B()), test::dense(p.B())) < 1e-12);
}

TEST_CASE("bad sets are refused by name") {
  using Catch::Matchers::ContainsSubstring;
  metalqr::Stream stream = test::stream(510);
  const auto task = task_of(Dense(2, 2), Dense(2, 1));
  const Ellipsoid good = random_set(2, 1, 1, stream);
  const auto refused = [&](const Ellipsoid& set, const char* name) {
    try {
      metalqr::Stream own = test::stream(511);
      adaptive::draw_plant(task, set, own);
      FAIL("no exception");
    } catch (const metalqr::Error& error) {
      CHECK_THAT(error.what(), ContainsSubstring(name));
    }
    CHECK_THROWS_AS(adaptive::nearest_plant(task, set), metalqr::Error);
  };
  Ellipsoid bad = good;
  bad.A = Backend::zero_state_matrix(3);
  refused(bad, "set.A");
  bad = good;
  bad.B(0, 0) = std::numeric_limits<double>::quiet_NaN();
  refused(bad, "set.B");
  bad = good;
  bad.factor = Backend::zero_matrix(2, 2);
  refused(bad, "set.factor");
  for (const double level : {-1.0, std::numeric_limits<double>::infinity()}) {
    bad = good;
    bad.level = level;
    refused(bad, "set.level");
    CHECK_THROWS_AS(adaptive::nearest_plant(task, bad), InvalidOption);
  }
}
