#include <metalqr/zeroth_order/fleet.hpp>

#include <functional>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include <metalqr/systems/perturbed_family.hpp>
#include <metalqr/systems/plants.hpp>

#include "support.hpp"

namespace {

namespace zo = metalqr::zeroth_order;
using metalqr::DimensionMismatch;
using metalqr::InvalidOption;
using metalqr::StreamKey;
using Backend = metalqr::EigenBackend<double>;
using Gain = Backend::Gain;
using Oracle = zo::ExactCost<Backend>;
static_assert(zo::Fleet<zo::ModelFleet<Backend>>);
static_assert(zo::Fleet<zo::OracleFleet<Backend, Oracle>>);

const double infinity = std::numeric_limits<double>::infinity();

std::vector<metalqr::Task<Backend>> family() {
  return metalqr::systems::perturbed_family(metalqr::systems::modified_boeing<Backend>(), {.count = 4}, 3)
      .tasks;
}

}  // namespace

TEST_CASE("a fleet of models gives exact values without oracle calls") {
  const auto tasks = family();
  const zo::ModelFleet<Backend> fleet(tasks);
  const Gain K = metalqr::systems::modified_boeing_initial_gain<Backend>();
  const test::Dense at = test::dense(K);
  REQUIRE(fleet.size() == 4);
  for (std::size_t i = 0; i < 4; ++i) {
    const test::DenseTask exact = test::dense(tasks[i]);
    CHECK(test::relative_error(fleet.cost(i, K, {}), exact.cost(at)) < 1e-10);
    const auto gradient = fleet.gradient(i, K, {});
    CHECK(test::relative_error(test::dense(gradient.gradient), exact.gradient(at), exact.gradient_scale(at)) <
          1e-10);
    CHECK(gradient.calls == 0);
    CHECK(gradient.used == 1);
    CHECK(gradient.dropped == 0);
    CHECK(gradient.standard_error == 0);
    const long double h = 1e-6L;
    const test::Dense X = test::rounded(0.5L * at);
    const test::Dense expected = (1 / (2 * h)) * (exact.gradient(at + h * X) - exact.gradient(at - h * X));
    const auto product = fleet.hessian_product(i, K, test::gain(X), {});
    CHECK(test::relative_error(test::dense(product.product), expected) < 1e-6);
    CHECK(product.calls == 0);
    CHECK(product.usable);
  }
}

TEST_CASE("a fleet of models says so where a gain does not stabilise") {
  const auto tasks = family();
  const zo::ModelFleet<Backend> fleet(tasks);
  const Gain K = Backend::zero_gain(2, 4);
  CHECK(fleet.cost(1, K, {}) == infinity);
  const auto gradient = fleet.gradient(1, K, {});
  CHECK(gradient.used == 0);
  CHECK(gradient.dropped == 1);
  CHECK(Backend::norm(gradient.gradient) == 0);
  const auto product = fleet.hessian_product(1, K, K, {});
  CHECK_FALSE(product.usable);
  CHECK(Backend::norm(product.product) == 0);
}

TEST_CASE("a fleet of models refuses a gradient that overflows, alone and among others") {
  // The cost is about 1e120, the slope against a gain about 1e200 times that.
  const std::vector<metalqr::Task<Backend>> tasks(
      3, test::make_task<Backend>({{{0.5}}, {{1e200}}, {{1e60}}, {{1}}, {{1e60}}}));
  const zo::ModelFleet<Backend> fleet(tasks);
  const Gain K = Backend::zero_gain(1, 1);
  REQUIRE(fleet.cost(0, K, {}) < infinity);
  CHECK_THROWS_AS(fleet.gradient(0, K, {}), metalqr::NotFinite);
  CHECK_THROWS_AS(fleet.gradients(K, 0, 3, 1), metalqr::NotFinite);
}

TEST_CASE("a fleet of oracles estimates each plant with its own options and key") {
  const auto tasks = family();
  const auto oracles = zo::exact_costs(tasks);
  const zo::EstimatorOptions options{.directions = zo::Directions::sphere, .samples = 12, .radius = 1e-3};
  const zo::OracleFleet<Backend, Oracle> fleet(std::span<const Oracle>(oracles), options);
  const Gain K = metalqr::systems::modified_boeing_initial_gain<Backend>();
  const StreamKey key{.seed = 4, .iteration = 2, .task = 1};
  REQUIRE(fleet.size() == 4);
  CHECK(fleet.options().samples == 12);
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(fleet.oracle(i)(K) == oracles[i](K));
    CHECK(fleet.cost(i, K, key) == oracles[i](K));
    const auto gradient = fleet.gradient(i, K, key);
    const auto expected = zo::estimate_gradient<Backend>(oracles[i], K, options, key);
    CHECK(Backend::norm(Gain(gradient.gradient - expected.gradient)) == 0);
    CHECK(gradient.calls == 24);
    const auto product = fleet.hessian_product(i, K, K, key);
    CHECK(Backend::norm(
              Gain(product.product -
                   zo::estimate_hessian_product<Backend>(oracles[i], K, K, options, key).product)) == 0);
    CHECK(product.calls == 48);
  }
}

TEST_CASE("calls add up") {
  const zo::OracleCalls calls{.probes = 1, .base = 20, .assessments = 300, .curvature = 4000};
  CHECK(calls.total() == 4321);
  CHECK(zo::OracleCalls{}.total() == 0);
}

TEST_CASE("an empty list, plants of different sizes and bad estimator options are refused by name") {
  const std::vector<metalqr::Task<Backend>> no_tasks;
  CHECK(test::message_of<InvalidOption>([&] { zo::ModelFleet<Backend> fleet(no_tasks); }) ==
        "tasks: expected at least one task, got an empty list");
  const std::vector<metalqr::Task<Backend>> mixed{metalqr::systems::modified_boeing<Backend>(),
                                                  metalqr::systems::double_integrator<Backend>()};
  CHECK(test::message_of<DimensionMismatch>([&] { zo::ModelFleet<Backend> fleet(mixed); }) ==
        "tasks: expected B of shape 4x2 in every task, got 2x1 in task 1");
  using OracleFleet = zo::OracleFleet<Backend, Oracle>;
  CHECK(test::message_of<InvalidOption>([&] { OracleFleet fleet({}, {}); }) ==
        "oracles: expected at least one, got an empty list");
  const auto tasks = family();
  const auto oracles = zo::exact_costs(tasks);
  CHECK(test::message_of<InvalidOption>([&] {
          OracleFleet fleet(std::span<const Oracle>(oracles), {.samples = -2});
        }) == "samples: expected at least 1, or 0 for n_u n_x, got -2");
  CHECK(test::message_of<InvalidOption>([&] {
          OracleFleet fleet(std::span<const Oracle>(oracles), {.radius = 0});
        }) == "radius: expected a positive number, got 0");
}

TEST_CASE("fleets say the shape of their gains where the oracles do, which must then agree") {
  const auto tasks = family();
  const zo::ModelFleet<Backend> models(tasks);
  const auto oracles = zo::exact_costs(tasks);
  const zo::OracleFleet<Backend, Oracle> plants(std::span<const Oracle>(oracles), {});
  CHECK((models.nu() == 2 && models.nx() == 4));
  CHECK((plants.nu() == 2 && plants.nx() == 4));
  const std::vector<metalqr::Task<Backend>> mixed{metalqr::systems::modified_boeing<Backend>(),
                                                  metalqr::systems::double_integrator<Backend>()};
  const auto costs = zo::exact_costs(mixed);
  using OracleFleet = zo::OracleFleet<Backend, Oracle>;
  CHECK(test::message_of<DimensionMismatch>([&] { OracleFleet fleet(costs, {}); }) ==
        "oracles: expected gains of shape 2x4 for every plant, got 1x2 for plant 1");
}
