// Uses the optional components json, lanes and openmp.
#include <cstdio>
#include <metalqr/metalqr.hpp>
#include <nlohmann/json.hpp>

#ifndef _OPENMP
#error "metalqr::openmp does not turn OpenMP on"
#endif

#ifndef METALQR_LANES
#error "metalqr::lanes does not turn lanes on"
#endif
static_assert(metalqr::lane_count<metalqr::EigenBackend<>> > 1);

int main() {
  const nlohmann::json line{{"minor", metalqr::version.minor_number}};
  std::printf("%s\n", line.dump().c_str());
  return 0;
}
