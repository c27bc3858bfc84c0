#pragma once

/// @file
/// A problem with limits on states and inputs.

#include <metalqr/synthesis/safe_problem.hpp>

#include "support.hpp"

namespace test {

/// A double integrator sampled every half unit of time.
inline DenseTask integrator() {
  return {Dense{{1, 0.5}, {0, 1}}, Dense{{0.125}, {0.5}}, identity(2), Dense{{0.5}}, identity(2)};
}

inline metalqr::synthesis::SafeProblem<Backend> safe_integrator(double epsilon, double exploration,
                                                                double position, double input) {
  metalqr::synthesis::SafeProblem<Backend> problem{.estimate = make_task(integrator()),
                                                   .epsilon_A = epsilon,
                                                   .epsilon_B = epsilon,
                                                   .noise = 0.1,
                                                   .exploration = exploration,
                                                   .state_limits = {},
                                                   .input_limits = metalqr::synthesis::box_limits(1, input),
                                                   .x0 = {}};
  problem.state_limits = {{{1, 0}, position}, {{-1, 0}, position}};
  return problem;
}

}  // namespace test
