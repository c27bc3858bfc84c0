#include <metalqr/core/version.hpp>

#include "catch.hpp"

TEST_CASE("the version constant agrees with the macros") {
  CHECK(metalqr::version.major_number == METALQR_VERSION_MAJOR);
  CHECK(metalqr::version.minor_number == METALQR_VERSION_MINOR);
  CHECK(metalqr::version.patch_number == METALQR_VERSION_PATCH);
}
