// Links with second.cpp, which includes the same: every header, listed by the build.
#include <every_header.hpp>

#include "second.hpp"

int main() {
  return metalqr::version.minor_number == minor_number_of_second() ? 0 : 1;
}
