#include "lqr/batch.hpp"

#include <cstddef>
#include <vector>

namespace {

using metalqr::EigenBackend;
using metalqr::gradients;
using test::dense;
using test::Dense;
using test::gains_of;
using test::Index;
using test::relative_error;

}  // namespace

TEST_CASE("gains of fixed size that are rows or columns are evaluated like others") {
  using OneInput = EigenBackend<double, 3, 1>;
  using OneState = EigenBackend<double, 1, 2>;
  metalqr::Stream stream = test::stream(3);
  const auto compare = [&]<class Sized>(Sized) {
    const auto [dense_task, K] = test::random_problem(Sized::states, Sized::inputs, 0.8, stream);
    std::vector<Dense> values;
    for (Index i = 0; i < 3 * metalqr::lane_count<Sized> - 1; ++i) {
      values.push_back(K + 1e-3L * test::random_matrix(Sized::inputs, Sized::states, stream));
    }
    const auto fixed = gradients(test::make_task<Sized>(dense_task), gains_of<Sized>(values));
    for (std::size_t i = 0; i < fixed.size(); ++i) {
      CHECK(relative_error(fixed[i].cost, dense_task.cost(values[i])) < 1e-12);
      CHECK(relative_error(dense<Sized>(fixed[i].gradient), dense_task.gradient(values[i]),
                           dense_task.gradient_scale(values[i])) < 1e-12);
    }
  };
  compare(OneInput{});
  compare(OneState{});
}
