#include <metalqr/synthesis/ipopt.hpp>

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <thread>
#include <vector>

#include "support.hpp"

namespace {

namespace synthesis = metalqr::synthesis;
using metalqr::DimensionMismatch;
using metalqr::InvalidOption;
using metalqr::NotFinite;
using synthesis::IpoptSolver;
using synthesis::QpProblem;
using synthesis::QpSolution;
using synthesis::QpStatus;

static_assert(synthesis::QpSolver<IpoptSolver>);

const double not_a_number = std::numeric_limits<double>::quiet_NaN();
const double infinity = std::numeric_limits<double>::infinity();

/// min x^2 + x y + y^2 - 3 x s.t. x + y <= 1, y >= 0: (1, 0), -2; without the row (1.5, 0), without any bound
/// (2, -1).
QpProblem corner() {
  return {.objective = {-3, 0},
          .curvature = {{0, 0, 2}, {1, 0, 1}, {1, 1, 2}},
          .variables = {{}, {.low = 0}},
          .matrix = {{0, 0, 1}, {0, 1, 1}},
          .rows = {{.high = 1}}};
}

/// max 3 x + 5 y s.t. x <= 4, 2 y <= 12, 3 x + 2 y <= 18, x, y >= 0: (2, 6), 36 (Dantzig's example).
QpProblem factory() {
  return {.objective = {-3, -5},
          .curvature = {},
          .variables = {{0, 4}, {0, infinity}},
          .matrix = {{0, 1, 2}, {1, 0, 3}, {1, 1, 2}},
          .rows = {{-infinity, 12}, {-infinity, 18}}};
}

void check_solution(const QpProblem& problem, const std::vector<double>& x, double value) {
  const QpSolution solution = IpoptSolver()(problem);
  REQUIRE(solution.status == QpStatus::solved);
  CHECK(solution.objective == Catch::Approx(value).epsilon(1e-7));
  REQUIRE(solution.x.size() == x.size());
  for (std::size_t i = 0; i < x.size(); ++i) CHECK(std::abs(solution.x[i] - x[i]) < 1e-6);
}

}  // namespace

TEST_CASE("quadratic programmes by hand") {
  check_solution(corner(), {1, 0}, -2);
  QpProblem free = corner();
  free.rows.clear();
  free.matrix.clear();
  check_solution(free, {1.5, 0}, -2.25);
  free.variables[1] = {};
  check_solution(free, {2, -1}, -3);
  QpProblem fixed = corner();
  fixed.variables[1] = {0.5, 0.5};
  check_solution(fixed, {0.5, 0.5}, 0.25 + 0.25 + 0.25 - 1.5);
  // Entries of one place add up.
  QpProblem split = corner();
  split.curvature = {{0, 0, 1}, {0, 0, 1}, {1, 0, 3}, {1, 0, -2}, {1, 1, 2}};
  split.matrix = {{0, 0, 0.5}, {0, 1, 1}, {0, 0, 0.5}};
  check_solution(split, {1, 0}, -2);
}

TEST_CASE("linear programmes by hand") {
  check_solution(factory(), {2, 6}, -36);
  QpProblem equal = factory();
  equal.rows[1] = {18, 18};
  equal.objective = {1, 0};
  check_solution(equal, {2, 6}, 2);
}

TEST_CASE("multipliers are prices of the rows' bounds, and prove the optimum") {
  // Dantzig's example: 3/2 a unit of the second row's bound, 1 of the third's; minus, of upper bounds.
  const QpSolution found = IpoptSolver()(factory());
  REQUIRE(found.multipliers.size() == 2);
  CHECK(found.multipliers[0] == Catch::Approx(-1.5).epsilon(1e-6));
  CHECK(found.multipliers[1] == Catch::Approx(-1).epsilon(1e-6));
  // min x s.t. 1000 x >= 2000 and x <= 5: 1/1000 a unit, of a lower bound.
  const QpProblem low{.objective = {1},
                      .curvature = {},
                      .variables = {{-10, 10}},
                      .matrix = {{0, 0, 1000}, {1, 0, 1}},
                      .rows = {{.low = 2000}, {.high = 5}}};
  const QpSolution least = IpoptSolver()(low);
  REQUIRE(least.multipliers.size() == 2);
  CHECK(least.multipliers[0] == Catch::Approx(1e-3).epsilon(1e-6));
  CHECK(least.multipliers[1] == Catch::Approx(0).margin(1e-7));
  CHECK(synthesis::lower_bound(low, least.multipliers) <= 2);
  CHECK(synthesis::lower_bound(low, least.multipliers) > 2 - 1e-6);
  // H x + c = A'y: 2 - 3 = -1 at the corner.
  CHECK(IpoptSolver()(corner()).multipliers.at(0) == Catch::Approx(-1).epsilon(1e-6));
}

TEST_CASE("any multipliers give a lower bound") {
  QpProblem problem = factory();
  problem.variables[1].high = 10;
  // By hand: y = (-3/2, -1) proves 36; y = 0 leaves the box, 3 * 4 + 5 * 10.
  CHECK(synthesis::lower_bound(problem, {-1.5, -1}) == Catch::Approx(-36).epsilon(1e-12));
  CHECK(synthesis::lower_bound(problem, {-1.5, -1}) <= -36);
  for (const std::vector<double>& nothing :
       {std::vector<double>{0, 0}, {}, {1}, {2, 3}, {not_a_number, infinity}, {-infinity, 0}}) {
    CHECK(synthesis::lower_bound(problem, nothing) == Catch::Approx(-62).epsilon(1e-12));
  }
  CHECK(synthesis::lower_bound(problem, {-1e308, -1e308}) == -infinity);
  // What is not bounded proves nothing, unless its factor has a sign: 36 also without upper bounds of x.
  problem.variables = {{0, infinity}, {0, infinity}};
  CHECK(synthesis::lower_bound(problem, {0, 0}) == -infinity);
  CHECK(synthesis::lower_bound(problem, {-2, -1.1}) == Catch::Approx(-12 * 2 - 18 * 1.1).epsilon(1e-12));
  metalqr::Stream stream = test::stream(532);
  problem.variables = {{0, 4}, {0, 10}};
  double best = -infinity;
  for (int sample = 0; sample < 20000; ++sample) {
    best = std::max(best, synthesis::lower_bound(problem, {stream.uniform(-2, 1), stream.uniform(-2, 1)}));
  }
  CHECK(best <= -36);
  CHECK(best > -36.5);
}

TEST_CASE("least norm on a simplex of random numbers, by its formula") {
  // The point of the hyperplane a'x = 1 nearest to the origin is a / |a|^2.
  metalqr::Stream stream = test::stream(531);
  QpProblem problem{.objective = {}, .curvature = {}, .variables = {}, .matrix = {}, .rows = {{1, 1}}};
  std::vector<double> a;
  double squares = 0;
  for (int i = 0; i < 40; ++i) {
    a.push_back(stream.normal());
    squares += a.back() * a.back();
    problem.objective.push_back(0);
    problem.variables.push_back({});
    problem.curvature.push_back({i, i, 2});
    problem.matrix.push_back({0, i, a.back()});
  }
  std::vector<double> nearest;
  for (const double x : a) nearest.push_back(x / squares);
  check_solution(problem, nearest, 1 / squares);
}

TEST_CASE("programmes without a solution are recognised") {
  QpProblem problem = corner();
  problem.rows.push_back({.low = 2});
  problem.matrix.push_back({1, 0, 1});
  problem.matrix.push_back({1, 1, 1});
  CHECK(IpoptSolver()(problem).status == QpStatus::infeasible);
  QpProblem linear = factory();
  linear.rows[1].low = 17;
  linear.variables[0].high = 1;
  linear.rows[0].high = 12;
  CHECK(IpoptSolver()(linear).status == QpStatus::infeasible);
  linear = factory();
  linear.rows[0].high = linear.rows[1].high = infinity;
  linear.variables[0].high = infinity;
  CHECK_FALSE(synthesis::has_solution(IpoptSolver()(linear).status));
  CHECK(IpoptSolver({.max_iterations = 1})(factory()).status == QpStatus::failed);
}

TEST_CASE("bad quadratic programmes are refused by name before the solver sees them") {
  using Catch::Matchers::ContainsSubstring;
  const auto refuse = [](auto type, const char* name, const auto& change) {
    QpProblem problem = corner();
    change(problem);
    CHECK_THAT(test::message_of<decltype(type)>([&] { IpoptSolver()(problem); }), ContainsSubstring(name));
  };
  const InvalidOption option("");
  const DimensionMismatch shape("");
  const NotFinite number("");
  refuse(option, "variables", [](QpProblem& x) { x.variables.clear(); });
  refuse(shape, "objective", [](QpProblem& x) { x.objective.pop_back(); });
  refuse(number, "objective[1]", [](QpProblem& x) { x.objective[1] = not_a_number; });
  refuse(option, "variables[1]", [](QpProblem& x) { x.variables[1] = {1, 0}; });
  refuse(option, "variables[0]", [](QpProblem& x) { x.variables[0].low = not_a_number; });
  refuse(option, "variables[0]", [](QpProblem& x) { x.variables[0] = {infinity, infinity}; });
  refuse(option, "rows[0]", [](QpProblem& x) { x.rows[0].high = -infinity; });
  refuse(shape, "matrix[1]", [](QpProblem& x) { x.matrix[1].column = 2; });
  refuse(shape, "matrix[0]", [](QpProblem& x) { x.matrix[0].row = 1; });
  refuse(shape, "matrix[0]", [](QpProblem& x) { x.matrix[0].row = -1; });
  refuse(number, "matrix[0]", [](QpProblem& x) { x.matrix[0].value = infinity; });
  refuse(shape, "curvature[2]", [](QpProblem& x) { x.curvature[2].row = 2; });
  refuse(shape, "curvature[1]", [](QpProblem& x) { x.curvature[1] = {0, 1, 1}; });
  refuse(number, "curvature[0]", [](QpProblem& x) { x.curvature[0].value = not_a_number; });
  CHECK_NOTHROW(synthesis::detail::require_countable(2147483647, "rows"));
  CHECK_THAT(
      test::message_of<InvalidOption>([] { synthesis::detail::require_countable(2147483648, "rows"); }),
      ContainsSubstring("rows: expected at most 2147483647"));
  CHECK_THROWS_AS(IpoptSolver({.tolerance = 0}), InvalidOption);
  CHECK_THROWS_AS(IpoptSolver({.tolerance = not_a_number}), InvalidOption);
  CHECK_THROWS_AS(IpoptSolver({.tolerance = 1}), InvalidOption);
  CHECK_THROWS_AS(IpoptSolver({.max_iterations = 0}), InvalidOption);
}

TEST_CASE("several threads may solve quadratic programmes at once, with bitwise the same results") {
  const std::vector<QpProblem> problems{corner(), factory()};
  std::vector<QpSolution> expected;
  for (const QpProblem& problem : problems) expected.push_back(IpoptSolver()(problem));
  std::vector<int> mismatches(4, 0);
  {
    std::vector<std::jthread> threads;
    for (std::size_t t = 0; t < mismatches.size(); ++t) {
      threads.emplace_back([&, t] {
        for (std::size_t round = 0; round < 10; ++round) {
          const std::size_t which = (round + t) % problems.size();
          if (IpoptSolver()(problems[which]).x != expected[which].x) ++mismatches[t];
        }
      });
    }
  }
  CHECK(mismatches == std::vector<int>(4, 0));
}

TEST_CASE("the solver of quadratic programmes prints nothing") {
  std::FILE* captured = std::tmpfile();
  REQUIRE(captured != nullptr);
  std::fflush(stdout);
  const int saved = dup(1);
  dup2(fileno(captured), 1);
  QpProblem infeasible = corner();
  infeasible.rows.push_back({.low = 2});
  infeasible.matrix.push_back({1, 0, 1});
  infeasible.matrix.push_back({1, 1, 1});
  IpoptSolver()(corner());
  IpoptSolver()(infeasible);
  IpoptSolver({.max_iterations = 2})(factory());
  std::fflush(stdout);
  dup2(saved, 1);
  close(saved);
  std::fseek(captured, 0, SEEK_END);
  CHECK(std::ftell(captured) == 0);
  std::fclose(captured);
}
