// Links with second.cpp, which includes the same: every header, listed by the build.
#include <every_header.hpp>

#include "second.hpp"

int main() {
  return is_version_of_second(metalqr::version) ? 0 : 1;
}
