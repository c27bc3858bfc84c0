// The optimal gains of many tasks in float.

#include "lqr/optimal_gains.hpp"

TEST_CASE("optimal gains in float are those of each task") {
  using Single = metalqr::EigenBackend<float, 4, 2>;
  metalqr::Stream stream = test::stream(97);
  test::check_one_by_one<Single>(4, 2, stream);
  test::check_reference_gains<Single>(1e-3);
}
