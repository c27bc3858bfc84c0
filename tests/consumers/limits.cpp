// Uses the optional component qp.
#include <cstdio>

#include <metalqr/metalqr.hpp>
#include <metalqr/synthesis/ipopt.hpp>

using namespace metalqr;
using Backend = EigenBackend<double, 1, 1>;

int main() {
  const auto one = [](double value) { return Backend::StateMatrix::Constant(value); };
  const synthesis::SafeProblem<Backend> problem{.estimate = Task<Backend>(one(0.9), one(1), one(1), one(1)),
                                                .epsilon_A = 0.05,
                                                .epsilon_B = 0.05,
                                                .noise = 0.1,
                                                .exploration = 0.1,
                                                .state_limits = synthesis::box_limits(1, 1.0),
                                                .input_limits = synthesis::box_limits(1, 1.0),
                                                .x0 = {}};
  const auto design = synthesis::safe_fir(problem, synthesis::IpoptSolver(), {.length = 4});
  std::printf("%s\n", to_string(design.status));
  return design.status == synthesis::SynthesisStatus::solved ? 0 : 1;
}
