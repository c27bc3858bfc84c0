#include <metalqr/systems/maml_objective.hpp>

#include <cmath>
#include <limits>
#include <vector>

#include <metalqr/systems/families.hpp>
#include <metalqr/systems/plants.hpp>
#include <metalqr/systems/random_task.hpp>

#include "support.hpp"

using metalqr::EigenBackend;
using test::Backend;
using test::dense;
using test::Dense;
using test::message_of;
using Task = metalqr::Task<Backend>;

namespace systems = metalqr::systems;

namespace {

const double published_step = 0.8e-5;

/// J_ML by its definition, from dense solutions of the Lyapunov equations.
template <class Fleet>
long double dense_maml_cost(const Fleet& fleet, double eta_l, const Dense& K) {
  long double sum = 0;
  for (const auto& member : fleet) {
    const test::DenseTask task = dense(member);
    sum += task.cost(K - eta_l * task.gradient(K));
  }
  return sum / static_cast<long double>(fleet.size());
}

template <class Fleet>
Dense finite_differences(const Fleet& fleet, double eta_l, const Dense& K, long double h) {
  Dense gradient(K.rows, K.cols);
  for (metalqr::Index i = 0; i < K.rows; ++i) {
    for (metalqr::Index j = 0; j < K.cols; ++j) {
      Dense above = K;
      Dense below = K;
      above(i, j) += h;
      below(i, j) -= h;
      gradient(i, j) =
          (dense_maml_cost(fleet, eta_l, above) - dense_maml_cost(fleet, eta_l, below)) / (2 * h);
    }
  }
  return gradient;
}

/// x+ = a x + b u, cost q x^2 + r u^2, E[x0^2] = s, in closed form.
struct Scalar {
  double a, b, q, r, s;

  double J(double k) const { return s * (q + r * k * k) / (1 - (a - b * k) * (a - b * k)); }
  double slope(double k) const {
    const double n = q + r * k * k;
    const double d = 1 - (a - b * k) * (a - b * k);
    return s * (2 * r * k * d - n * 2 * b * (a - b * k)) / (d * d);
  }
  double curvature(double k) const {
    const double n = q + r * k * k;
    const double dn = 2 * r * k;
    const double d = 1 - (a - b * k) * (a - b * k);
    const double dd = 2 * b * (a - b * k);
    return s * ((2 * r * d + n * 2 * b * b) / (d * d) - 2 * dd * (dn * d - n * dd) / (d * d * d));
  }
  Task task() const { return test::make_task({{{a}}, {{b}}, {{q}}, {{r}}, {{s}}}); }
};

const Scalar plants[] = {{0.9, 1, 1, 0.5, 1}, {1.3, 0.7, 2, 1, 0.5}, {-1.1, 2, 0.1, 3, 2}};
const double gains[] = {0.6, 1.2, -0.4};

}  // namespace

TEMPLATE_TEST_CASE("the MAML cost and gradient agree with their definitions on a published fleet", "",
                   (EigenBackend<double>), (EigenBackend<double, 4, 2>)) {
  for (const bool code : {false, true}) {
    auto nominal = systems::modified_boeing<TestType>();
    if (code) nominal = nominal.with_initial_state(systems::published_initial_second_moment<TestType>());
    const auto fleet = systems::perturbed_family(nominal, {.count = 3}, 7);
    const typename TestType::Gain K = systems::modified_boeing_initial_gain<TestType>();
    for (const double eta_l : {1e-7, 1e-6, published_step}) {
      const double value = systems::maml_cost(fleet, eta_l, K);
      CHECK(test::relative_error(value, dense_maml_cost(fleet, eta_l, dense<TestType>(K))) < 1e-10);
      const Dense gradient = dense<TestType>(systems::maml_gradient(fleet, eta_l, K));
      // The differences' own error is about (1e-7)^2 times the ratio of third to first derivatives.
      CHECK(test::relative_error(gradient, finite_differences(fleet, eta_l, dense<TestType>(K), 1e-7L)) <
            2e-9);
    }
  }
}

TEST_CASE("the MAML gradient agrees with finite differences on random fleets") {
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    const Task nominal =
        systems::random_task<Backend>({.states = 3, .inputs = 2, .spectral_radius = 0.8}, seed);
    const auto fleet = systems::perturbed_family(nominal, {.count = 3, .level = 0.02}, seed);
    const Backend::Gain K = Backend::zero_gain(2, 3);
    const Dense gradient = dense(systems::maml_gradient(fleet, 1e-4, K));
    CHECK(test::relative_error(gradient, finite_differences(fleet, 1e-4, dense(K), 1e-6L)) < 1e-7);
  }
}

TEST_CASE("the MAML cost and gradient of scalar plants have their closed forms") {
  for (const double eta_l : {1e-3, 1e-2}) {
    std::vector<Task> fleet;
    double value = 0;
    double slope = 0;
    const double k = 0.9;
    for (const Scalar& plant : {plants[0], plants[1]}) {
      fleet.push_back(plant.task());
      const double inner = k - eta_l * plant.slope(k);
      value += plant.J(inner) / 2;
      slope += plant.slope(inner) * (1 - eta_l * plant.curvature(k)) / 2;
    }
    CHECK(test::relative_error(systems::maml_cost(fleet, eta_l, test::gain({{k}})), value) < 1e-12);
    CHECK(test::relative_error(systems::maml_gradient(fleet, eta_l, test::gain({{k}}))(0, 0), slope) < 1e-12);
  }
}

TEST_CASE("with a vanishing inner step the MAML cost and gradient are the average ones") {
  for (std::size_t i = 0; i < 3; ++i) {
    const std::vector<Task> fleet{plants[i].task()};
    const auto K = test::gain({{gains[i]}});
    CHECK(test::relative_error(systems::maml_cost(fleet, 1e-15, K), plants[i].J(gains[i])) < 1e-12);
    CHECK(test::relative_error(systems::maml_gradient(fleet, 1e-15, K)(0, 0), plants[i].slope(gains[i])) <
          1e-12);
  }
}

TEST_CASE("at the published step the exact MAML gradient points uphill of the cost") {
  // The published figure is cosine -0.996 with the nominal gradient, for the code's initial states.
  const Task nominal = systems::modified_boeing<Backend>().with_initial_state(
      systems::published_initial_second_moment<Backend>());
  const auto fleet = systems::perturbed_family(nominal, {}, 7);
  const Backend::Gain K = systems::modified_boeing_initial_gain<Backend>();
  const Dense G = dense(systems::maml_gradient(fleet, published_step, K));
  const Dense plain = dense(nominal).gradient(dense(K));
  const long double cosine = test::inner(G, plain) / (test::norm(G) * test::norm(plain));
  CHECK(cosine < -0.99);
}

TEST_CASE("the MAML cost is infinite, never NaN, where K or an inner point is unstable") {
  const double infinity = std::numeric_limits<double>::infinity();
  const std::vector<Task> fleet{plants[0].task()};
  CHECK(systems::maml_cost(fleet, 1e-3, test::gain({{5}})) == infinity);
  CHECK(systems::maml_cost(fleet, 1e3, test::gain({{0.6}})) == infinity);
  CHECK(systems::maml_cost(fleet, 1e300, test::gain({{1.8}})) == infinity);
}

TEST_CASE("bad arguments of the MAML objective are refused by their names") {
  using Catch::Matchers::ContainsSubstring;
  const std::vector<Task> fleet{plants[0].task(), plants[1].task()};
  const auto K = test::gain({{0.6}});
  for (const double bad : {0.0, -1e-5, std::nan(""), HUGE_VAL}) {
    CHECK_THAT(message_of<metalqr::InvalidOption>([&] { systems::maml_cost(fleet, bad, K); }),
               ContainsSubstring("eta_l"));
    CHECK_THAT(message_of<metalqr::InvalidOption>([&] { systems::maml_gradient(fleet, bad, K); }),
               ContainsSubstring("eta_l"));
  }
  const std::vector<Task> none;
  CHECK_THROWS_AS(systems::maml_cost(none, 1e-3, K), metalqr::InvalidOption);
  CHECK_THROWS_AS(systems::maml_gradient(none, 1e-3, K), metalqr::InvalidOption);
  const auto wide = test::gain({{0.6, 1}});
  CHECK_THAT(message_of<metalqr::DimensionMismatch>([&] { systems::maml_cost(fleet, 1e-3, wide); }),
             ContainsSubstring("K: expected shape 1x1, got 1x2"));
  CHECK_THROWS_AS(systems::maml_gradient(fleet, 1e-3, wide), metalqr::DimensionMismatch);
  const auto spoilt = test::gain({{std::nan("")}});
  CHECK_THROWS_AS(systems::maml_cost(fleet, 1e-3, spoilt), metalqr::NotFinite);
  CHECK_THROWS_AS(systems::maml_gradient(fleet, 1e-3, spoilt), metalqr::NotFinite);
  // K = 0.2 stabilises a = 0.9 alone; K = 0.6 both, but a step of 1e3 takes it away.
  CHECK_THAT(
      message_of<metalqr::NotStabilizing>([&] { systems::maml_gradient(fleet, 1e-3, test::gain({{0.2}})); }),
      ContainsSubstring("in task 1"));
  CHECK_THAT(message_of<metalqr::NotStabilizing>([&] { systems::maml_gradient(fleet, 1e3, K); }),
             ContainsSubstring("in task 0"));
}
