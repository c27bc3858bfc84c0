#include "second.hpp"

#include <every_header.hpp>

bool is_version_of_second(const metalqr::Version& version) {
  return version.minor_number == metalqr::version.minor_number;
}
