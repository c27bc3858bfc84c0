// Uses the optional component sdp.
#include <cstdio>

#include <metalqr/metalqr.hpp>
#include <metalqr/synthesis/csdp.hpp>

namespace synthesis = metalqr::synthesis;
using Backend = metalqr::EigenBackend<double, 3, 3>;

int main() {
  const auto plant = metalqr::systems::laplacian_3<Backend>();
  const auto design =
      synthesis::common_lyapunov(synthesis::RobustProblem<Backend>{plant, 0.05, 0.05}, synthesis::Csdp());
  std::printf("%s, least level %.4f, cost %.4f, at most %.4f\n", synthesis::to_string(design.status),
              design.gamma_min, design.nominal_cost, design.certified_cost);
  return design.status == synthesis::SynthesisStatus::solved ? 0 : 1;
}
