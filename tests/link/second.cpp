#include "second.hpp"

#include <every_header.hpp>

int minor_number_of_second() {
  return metalqr::version.minor_number;
}
