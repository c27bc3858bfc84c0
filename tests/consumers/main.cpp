// What a consumer's first program may look like.
#include <cstdio>
#include <metalqr/metalqr.hpp>

int main() {
  std::printf("metalqr %d.%d.%d\n", metalqr::version.major_number, metalqr::version.minor_number,
              metalqr::version.patch_number);
  return 0;
}
