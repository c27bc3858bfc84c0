// Uses the optional components json and openmp.
#include <cstdio>
#include <metalqr/metalqr.hpp>
#include <nlohmann/json.hpp>

#ifndef _OPENMP
#error "metalqr::openmp does not turn OpenMP on"
#endif

int main() {
  const nlohmann::json line{{"minor", metalqr::version.minor_number}};
  std::printf("%s\n", line.dump().c_str());
  return 0;
}
