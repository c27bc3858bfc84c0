#include <metalqr/core/status.hpp>

#include <string>

#include "catch.hpp"

TEST_CASE("every status has its enumerator's name") {
  using metalqr::Status;
  using metalqr::to_string;
  CHECK(std::string(to_string(Status::converged)) == "converged");
  CHECK(std::string(to_string(Status::unstable)) == "unstable");
  CHECK(std::string(to_string(Status::inconclusive)) == "inconclusive");
  CHECK(std::string(to_string(Status::iteration_limit)) == "iteration_limit");
  CHECK(std::string(to_string(Status::stalled)) == "stalled");
  CHECK(std::string(to_string(Status::stopped)) == "stopped");
  CHECK(std::string(to_string(static_cast<Status>(99))) == "unknown");
}
