#include "lqr/batch.hpp"

#include <cstddef>
#include <vector>

namespace {

using metalqr::costs;
using metalqr::EigenBackend;
using metalqr::gradients;
using test::dense;
using test::Dense;
using test::gains_of;
using test::Index;
using test::relative_error;
using Single = EigenBackend<float>;

}  // namespace

TEST_CASE("batches of float agree with the reference values") {
  test::check_reference_cases<Single>();
}

TEST_CASE("costs and gradients of float are those of double at the precision of float") {
  metalqr::Stream stream = test::stream(9);
  const auto [dense_task, K] = test::random_problem(4, 2, 0.8, stream);
  std::vector<Dense> values;
  for (Index i = 0; i < 3 * metalqr::lane_count<Single> + 1; ++i) {
    values.push_back(K + 1e-3L * test::random_matrix(2, 4, stream));
  }
  const auto both = gradients(test::make_task<Single>(dense_task), gains_of<Single>(values));
  const auto single_costs = costs(test::make_task<Single>(dense_task), gains_of<Single>(values));
  for (std::size_t i = 0; i < values.size(); ++i) {
    CHECK(relative_error(both[i].cost, dense_task.cost(values[i])) < 1e-4);
    CHECK(both[i].cost == single_costs[i]);
    CHECK(relative_error(dense<Single>(both[i].gradient), dense_task.gradient(values[i]),
                         dense_task.gradient_scale(values[i])) < 1e-4);
  }
}
