#include <metalqr/synthesis/csdp.hpp>

#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "programmes.hpp"

namespace {

namespace synthesis = metalqr::synthesis;
using metalqr::DimensionMismatch;
using metalqr::InvalidOption;
using metalqr::NotFinite;
using synthesis::Csdp;
using synthesis::SdpProblem;
using synthesis::SdpSolution;
using synthesis::SdpStatus;
using test::Dense;
using test::Index;

static_assert(synthesis::SdpSolver<Csdp>);

const double not_a_number = std::numeric_limits<double>::quiet_NaN();
const double infinity = std::numeric_limits<double>::infinity();

// Where the solution is right by its definition: feasible, semidefinite, without a gap.
void check_optimal(const SdpProblem& problem, double value, double tolerance = 1e-7) {
  const SdpSolution solution = Csdp()(problem);
  REQUIRE(solution.status == SdpStatus::solved);
  CHECK(std::abs(solution.primal_objective - value) < tolerance);
  CHECK(std::abs(solution.dual_objective - value) < tolerance);
  CHECK(std::abs(test::inner(problem.objective, solution.X) - value) < tolerance);
  double dual = 0;
  for (std::size_t i = 0; i < problem.constraints.size(); ++i) {
    dual += problem.constraints[i].right * solution.y.at(i);
  }
  CHECK(std::abs(dual - value) < tolerance);
  CHECK(test::primal_residual(problem, solution) < tolerance);
  CHECK(test::dual_residual(problem, solution) < tolerance);
  REQUIRE(solution.X.size() == problem.blocks.size());
  for (std::size_t b = 0; b < problem.blocks.size(); ++b) {
    CHECK(solution.X[b].order == problem.blocks[b]);
    CHECK(test::least_shift(solution.X[b]) < tolerance);
    CHECK(test::least_shift(solution.Z[b]) < tolerance);
  }
}

SdpProblem pentagon() {
  return test::lovasz_theta(5, test::cycle(5));
}

}  // namespace

TEST_CASE("the largest eigenvalue of a matrix by hand") {
  // [2 1; 1 2] has 1 and 3; the block of order 1 is the number 2.5.
  check_optimal(test::largest_eigenvalue(Dense{{2, 1}, {1, 2}}), 3);
  check_optimal(test::largest_eigenvalue(Dense{{-4}}), -4);
  SdpProblem two = test::largest_eigenvalue(Dense{{2, 1}, {1, 2}});
  two.blocks.push_back(1);
  two.objective.push_back({1, 0, 0, 2.5});
  two.constraints[0].entries.push_back({1, 0, 0, 1});
  check_optimal(two, 3);
  two.objective.back().value = 3.5;
  check_optimal(two, 3.5);
}

TEST_CASE("the largest eigenvalue agrees with the spectral norm of a random semidefinite matrix") {
  metalqr::Stream stream = test::stream(501);
  for (const Index n : {1, 2, 5, 9}) {
    const Dense S = test::rounded(test::random_definite(n, stream));
    check_optimal(test::largest_eigenvalue(S), static_cast<double>(test::spectral_norm(S)));
  }
}

TEST_CASE("Lovasz's theta of cycles, n cos(pi/n) / (1 + cos(pi/n)) for odd n, n/2 for even n") {
  check_optimal(pentagon(), std::sqrt(5.0));
  const double cosine = std::cos(3.141592653589793 / 7);
  check_optimal(test::lovasz_theta(7, test::cycle(7)), 7 * cosine / (1 + cosine));
  check_optimal(test::lovasz_theta(6, test::cycle(6)), 3);
}

TEST_CASE("entries count in any order, and those of one place add up") {
  SdpProblem problem = pentagon();
  for (auto& constraint : problem.constraints) {
    std::vector<synthesis::SdpEntry> mirrored;
    for (auto entry = constraint.entries.rbegin(); entry != constraint.entries.rend(); ++entry) {
      mirrored.push_back({entry->block, entry->column, entry->row, entry->value / 4});
      mirrored.push_back({entry->block, entry->row, entry->column, entry->value * 3 / 4});
    }
    // What cancels is nothing.
    mirrored.push_back({0, 0, 2, 5});
    mirrored.push_back({0, 2, 0, -5});
    constraint.entries = mirrored;
  }
  check_optimal(problem, std::sqrt(5.0));
}

TEST_CASE("constraints with many entries, which CSDP treats as dense") {
  // max tr X with <J, X> = 1 for the matrix J of ones plus the identity: the smallest eigenvalue is 1.
  const Index n = 12;
  SdpProblem problem{.blocks = {n, n}, .objective = test::identity_entries(n), .constraints = {{{}, 1}}};
  for (Index block = 0; block < 2; ++block) {
    for (Index i = 0; i < n; ++i) {
      for (Index j = i; j < n; ++j)
        problem.constraints[0].entries.push_back({block, i, j, i == j ? 2.0 : 1.0});
    }
  }
  check_optimal(problem, 1);
}

TEST_CASE("infeasible programmes are recognised on either side") {
  // tr X = -1 has no semidefinite solution.
  SdpProblem primal = test::largest_eigenvalue(Dense{{2, 1}, {1, 2}});
  primal.constraints[0].right = -1;
  CHECK(Csdp()(primal).status == SdpStatus::primal_infeasible);
  // X_11 = 1 leaves X_22 free, whose cost grows: (P) is unbounded.
  const SdpProblem dual{.blocks = {2}, .objective = {{0, 1, 1, 1}}, .constraints = {{{{0, 0, 0, 1}}, 1}}};
  CHECK(Csdp()(dual).status == SdpStatus::dual_infeasible);
}

TEST_CASE("too few iterations are a failure, not an answer") {
  CHECK(Csdp({.max_iterations = 2})(pentagon()).status == SdpStatus::failed);
  CHECK_FALSE(synthesis::has_solution(SdpStatus::failed));
  CHECK(synthesis::has_solution(SdpStatus::solved));
}

TEST_CASE("a linear dependence among the constraints ends without a crash") {
  SdpProblem problem = pentagon();
  problem.constraints.push_back(problem.constraints[1]);
  const SdpSolution solution = Csdp()(problem);
  if (synthesis::has_solution(solution.status))
    CHECK(std::abs(solution.dual_objective - std::sqrt(5.0)) < 1e-6);
  problem.constraints.back().right = 0.1;
  CHECK_FALSE(synthesis::has_solution(Csdp()(problem).status));
}

TEST_CASE("bad programmes are refused by name before the solver sees them") {
  using Catch::Matchers::ContainsSubstring;
  const auto message = [](auto type, const SdpProblem& problem) {
    return test::message_of<decltype(type)>([&] { Csdp()(problem); });
  };
  const InvalidOption option("");
  const DimensionMismatch shape("");
  const NotFinite number("");

  SdpProblem problem = pentagon();
  problem.blocks.clear();
  CHECK_THAT(message(option, problem), ContainsSubstring("blocks"));
  problem = pentagon();
  problem.blocks[0] = 0;
  CHECK_THAT(message(shape, problem), ContainsSubstring("blocks[0]"));
  problem = pentagon();
  problem.constraints.clear();
  CHECK_THAT(message(option, problem), ContainsSubstring("constraints"));
  problem = pentagon();
  problem.constraints[2].entries.clear();
  CHECK_THAT(message(option, problem), ContainsSubstring("constraints[2].entries"));
  problem = pentagon();
  problem.constraints[2].entries[0].value = 0;
  CHECK_THAT(message(option, problem), ContainsSubstring("constraints[2].entries"));
  problem = pentagon();
  problem.constraints[2].entries = {{0, 1, 2, 1}, {0, 2, 1, -1}};
  CHECK_THAT(message(option, problem), ContainsSubstring("constraints[2].entries"));
  problem = pentagon();
  problem.constraints[2].entries[0].value = not_a_number;
  CHECK_THAT(message(number, problem), ContainsSubstring("constraints[2].entries[0]"));
  problem = pentagon();
  problem.constraints[2].right = infinity;
  CHECK_THAT(message(number, problem), ContainsSubstring("constraints[2].right"));
  problem = pentagon();
  problem.objective[3].value = infinity;
  CHECK_THAT(message(number, problem), ContainsSubstring("objective[3]"));
  for (const synthesis::SdpEntry& entry :
       {synthesis::SdpEntry{1, 0, 0, 1}, synthesis::SdpEntry{-1, 0, 0, 1}, synthesis::SdpEntry{0, 5, 0, 1},
        synthesis::SdpEntry{0, 0, 5, 1}, synthesis::SdpEntry{0, -1, 0, 1},
        synthesis::SdpEntry{0, 0, -1, 1}}) {
    problem = pentagon();
    problem.objective[0] = entry;
    CHECK_THAT(message(shape, problem), ContainsSubstring("objective[0]"));
  }
  problem = pentagon();
  problem.blocks[0] = 50'000;
  CHECK_THAT(message(option, problem), ContainsSubstring("blocks"));
}

TEST_CASE("options of the solver are checked") {
  CHECK_THROWS_AS(Csdp({.tolerance = 0}), InvalidOption);
  CHECK_THROWS_AS(Csdp({.tolerance = not_a_number}), InvalidOption);
  CHECK_THROWS_AS(Csdp({.tolerance = 1}), InvalidOption);
  CHECK_THROWS_AS(Csdp({.max_iterations = 0}), InvalidOption);
}

TEST_CASE("several threads may solve at once, with bitwise the same results") {
  std::vector<SdpProblem> problems{pentagon(), test::lovasz_theta(7, test::cycle(7)),
                                   test::largest_eigenvalue(Dense{{2, 1}, {1, 2}})};
  std::vector<SdpSolution> expected;
  for (const SdpProblem& problem : problems) expected.push_back(Csdp()(problem));
  std::vector<int> mismatches(4, 0);
  {
    std::vector<std::jthread> threads;
    for (std::size_t t = 0; t < mismatches.size(); ++t) {
      threads.emplace_back([&, t] {
        for (std::size_t round = 0; round < 60; ++round) {
          const std::size_t which = (round + t) % problems.size();
          if (Csdp()(problems[which]).y != expected[which].y) ++mismatches[t];
        }
      });
    }
  }
  CHECK(mismatches == std::vector<int>(4, 0));
}

TEST_CASE("nothing reaches the standard output") {
  std::FILE* captured = std::tmpfile();
  REQUIRE(captured != nullptr);
  std::fflush(stdout);
  const int saved = dup(1);
  dup2(fileno(captured), 1);
  SdpProblem infeasible = pentagon();
  infeasible.constraints[0].right = -1;
  Csdp()(pentagon());
  Csdp()(infeasible);
  Csdp({.max_iterations = 2})(pentagon());
  std::fflush(stdout);
  dup2(saved, 1);
  close(saved);
  std::fseek(captured, 0, SEEK_END);
  CHECK(std::ftell(captured) == 0);
  std::fclose(captured);
}
