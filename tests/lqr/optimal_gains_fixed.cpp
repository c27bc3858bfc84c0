// The optimal gains of many tasks of fixed size.

#include "lqr/optimal_gains.hpp"

TEST_CASE("optimal gains of tasks of fixed size are those of each task") {
  using Fixed = metalqr::EigenBackend<double, 4, 2>;
  metalqr::Stream stream = test::stream(96);
  test::check_one_by_one<Fixed>(4, 2, stream);
  test::check_reference_gains<Fixed>(1e-10);
}
