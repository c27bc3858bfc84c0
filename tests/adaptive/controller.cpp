#include <metalqr/adaptive/controller.hpp>

#include <cmath>
#include <vector>

#include "support.hpp"

namespace {

namespace adaptive = metalqr::adaptive;
using metalqr::DimensionMismatch;
using test::Backend;
using test::Dense;
using Controller = adaptive::Controller<Backend>;
using Fir = metalqr::synthesis::FirController<Backend>;

/// The controller of finite responses that is the gain K on a plant whose closed loop is nilpotent of order
/// L.
Fir nilpotent(const test::DenseTask& task, const Dense& K, int length) {
  std::vector<Backend::StateMatrix> states;
  std::vector<Backend::Gain> inputs;
  Dense power = test::identity(task.A.rows);
  for (int k = 0; k < length; ++k) {
    states.push_back(test::state_matrix(power));
    inputs.push_back(test::gain(-1.0L * (K * power)));
    power = task.closed_loop(K) * power;
  }
  return {states, inputs};
}

/// F = A - BK = [0 1; 0 0].
const test::DenseTask deadbeat{
    {{0.5, 1}, {0.2, -0.4}}, {{1, 0}, {0, 2}}, {{2, 0}, {0, 1}}, {{1, 0}, {0, 3}}, {{1, 0.2}, {0.2, 2}}};
const Dense deadbeat_gain{{0.5, 0}, {0.1, -0.2}};

}  // namespace

TEST_CASE("a gain and the same controller as finite responses act alike and cost alike") {
  const auto plant = test::make_task(deadbeat);
  Controller K = test::gain(deadbeat_gain);
  Controller fir = nilpotent(deadbeat, deadbeat_gain, 2);
  Dense x{{1}, {-2}};
  for (int t = 0; t < 4; ++t) {
    const Dense u = test::dense(adaptive::respond<Backend>(K, test::state_vector(x)));
    CHECK(test::relative_error(u, -1.0L * (deadbeat_gain * x)) < 1e-15);
    CHECK(test::relative_error(test::dense(adaptive::respond<Backend>(fir, test::state_vector(x))), u, 1) <
          1e-15);
    x = deadbeat.A * x + deadbeat.B * u;
  }
  // P = S + F'SF, S = Q + K'RK.
  const Dense S = deadbeat.Q + test::transpose(deadbeat_gain) * deadbeat.R * deadbeat_gain;
  const Dense F{{0, 1}, {0, 0}};
  const double expected = static_cast<double>(test::inner(S + test::transpose(F) * S * F, deadbeat.Sigma0));
  CHECK(adaptive::average_cost(plant, K) == Catch::Approx(expected).epsilon(1e-14));
  CHECK(adaptive::average_cost(plant, fir) == Catch::Approx(expected).epsilon(1e-14));
}

TEST_CASE("a controller that does not stabilise costs infinitely much") {
  test::DenseTask unstable = deadbeat;
  unstable.A = unstable.A + 3 * test::identity(2);
  const auto plant = test::make_task(unstable);
  CHECK(std::isinf(adaptive::average_cost<Backend>(plant, test::gain(deadbeat_gain))));
  CHECK(std::isinf(adaptive::average_cost<Backend>(plant, nilpotent(deadbeat, deadbeat_gain, 2))));
}

TEST_CASE("a controller asked about a state of another size says so") {
  Controller K = test::gain(deadbeat_gain);
  Controller fir = nilpotent(deadbeat, deadbeat_gain, 2);
  const auto x = test::state_vector(Dense{{1}, {2}, {3}});
  CHECK_THROWS_AS(adaptive::respond<Backend>(K, x), DimensionMismatch);
  CHECK_THROWS_AS(adaptive::respond<Backend>(fir, x), DimensionMismatch);
}
