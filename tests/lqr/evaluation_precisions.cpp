#include <metalqr/core/eigen.hpp>

#include "reference_errors.hpp"
#include "support.hpp"

using metalqr::EigenBackend;

TEMPLATE_TEST_CASE("every quantity agrees with the reference values in other precisions", "",
                   EigenBackend<float>, EigenBackend<long double>) {
  test::check_reference_cases<TestType>();
}
