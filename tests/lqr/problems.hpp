#pragma once

/// @file
/// The problems at which the tests of evaluations look.

#include <cstdint>
#include <vector>

#include "reference.hpp"
#include "support.hpp"

namespace test {

/// Random problems with up to six states and spectral radius up to `largest_radius`.
inline std::vector<RandomProblem> random_problems(int count, double largest_radius, std::uint64_t seed) {
  std::vector<RandomProblem> problems;
  metalqr::Stream numbers = stream(seed);
  for (int i = 0; i < count; ++i) {
    const Index nx = 1 + i % 6;
    const Index nu = 1 + (i / 6) % 3;
    problems.push_back(random_problem(nx, nu, numbers.uniform(0.2, largest_radius), numbers));
  }
  return problems;
}

/// The published start: the first reference case.
inline const ReferenceCase& published_start() {
  return reference_cases().at(0);
}

}  // namespace test
