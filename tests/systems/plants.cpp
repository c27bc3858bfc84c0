#include <metalqr/systems/plants.hpp>

#include <cmath>

#include <metalqr/lqr/evaluation.hpp>
#include <metalqr/lqr/optimal_gain.hpp>

#include "reference.hpp"

using metalqr::EigenBackend;
using metalqr::InvalidOption;
using test::dense;
using test::Dense;
using test::message_of;

namespace systems = metalqr::systems;

namespace {

/// Whether `value` rounds to `printed`, whose last digit counts `unit`.
bool rounds_to(double value, double printed, double unit) {
  return std::abs(value - printed) <= 0.5 * unit * (1 + 1e-6);
}

template <class Backend>
struct Published {
  metalqr::Task<Backend> plant = systems::modified_boeing<Backend>();
  metalqr::Task<Backend> from_state =
      plant.with_initial_state(systems::published_gap_second_moment<Backend>());
  typename Backend::Gain initial = systems::modified_boeing_initial_gain<Backend>();
  typename Backend::Gain random = systems::modified_boeing_random_gain<Backend>();
  typename Backend::Gain async = systems::modified_boeing_async_gain<Backend>();
};

}  // namespace

TEMPLATE_TEST_CASE("the modified Boeing plant reproduces what the papers print, to all digits", "",
                   (EigenBackend<double>), (EigenBackend<double, 4, 2>), (EigenBackend<long double>)) {
  const Published<TestType> boeing;
  const auto radius = [&](const auto& K) { return static_cast<double>(spectral_radius(boeing.plant, K)); };
  CHECK(rounds_to(radius(boeing.initial), 0.95019, 1e-5));
  CHECK(rounds_to(radius(boeing.random), 0.87933, 1e-5));
  CHECK(rounds_to(radius(boeing.async), 0.88861, 1e-5));

  const auto J = [&](const auto& K) { return static_cast<double>(cost(boeing.from_state, K)); };
  const double least = static_cast<double>(optimal_cost(boeing.from_state));
  CHECK(rounds_to(least, 2.7147945922, 1e-10));
  CHECK(rounds_to(J(boeing.initial), 22.546370377, 1e-9));
  CHECK(rounds_to(J(boeing.initial) - least, 19.83, 1e-2));
  CHECK(rounds_to(J(boeing.random) - least, 3.930, 1e-3));
  CHECK(rounds_to(J(boeing.async), 4.0628224505, 1e-10));
  CHECK(rounds_to(J(boeing.async) - least, 1.3480278583, 1e-10));

  const Dense printed{{0.36613823, -1.58269241, 0.20544098, 0.22588591},
                      {0.78233427, 0.55815597, -0.2676235, -0.65200126}};
  const Dense K = dense<TestType>(metalqr::solve_dare(boeing.plant).gain);
  for (metalqr::Index i = 0; i < 2; ++i) {
    for (metalqr::Index j = 0; j < 4; ++j) {
      CHECK(rounds_to(static_cast<double>(K(i, j)), static_cast<double>(printed(i, j)), 1e-8));
    }
  }
}

TEST_CASE("the plant as printed is unstable with the published initial gain") {
  using Backend = test::Backend;
  const double radius = spectral_radius(systems::modified_boeing_as_printed<Backend>(),
                                        systems::modified_boeing_initial_gain<Backend>());
  CHECK(rounds_to(radius, 3.07, 1e-2));
}

TEST_CASE("the plants are those of the reference") {
  int found = 0;
  for (const auto& reference : test::reference_cases()) {
    const auto same = [&](const test::DenseTask& task) {
      ++found;
      CHECK(test::norm(task.A - reference.task.A) == 0);
      CHECK(test::norm(task.B - reference.task.B) == 0);
      CHECK(test::norm(task.Q - reference.task.Q) == 0);
      CHECK(test::norm(task.R - reference.task.R) == 0);
      CHECK(test::norm(task.Sigma0 - reference.task.Sigma0) == 0);
    };
    if (reference.name.rfind("modified_boeing", 0) == 0)
      same(dense(systems::modified_boeing<test::Backend>()));
    if (reference.name == "laplacian_3") same(dense(systems::laplacian_3<test::Backend>()));
  }
  CHECK(found == 3);
}

TEMPLATE_TEST_CASE("the constants are converted to any scalar", "", float, double, (long double)) {
  using Backend = EigenBackend<TestType>;
  CHECK(systems::modified_boeing<Backend>().A()(1, 1) == static_cast<TestType>(4.7));
  CHECK(systems::modified_boeing_initial_gain<Backend>()(1, 3) == static_cast<TestType>(-0.58220629));
  CHECK(systems::laplacian_3<Backend>().Q()(2, 2) == static_cast<TestType>(1e-3));
  CHECK(systems::double_integrator<Backend>(0.1).B()(1, 0) == static_cast<TestType>(0.1));
}

TEST_CASE("the published second moments are those of the distributions they stand for") {
  using Backend = test::Backend;
  const Dense ones{{1}, {1}, {1}, {1}};
  const Dense training = 0.25L * (ones * test::transpose(ones)) + 1e-6L * test::identity(4);
  CHECK(test::relative_error(dense(systems::published_initial_second_moment<Backend>()), training) < 1e-15);
  const Dense x0{{0.25}, {0.55}, {0.35}, {0.45}};
  CHECK(test::relative_error(dense(systems::published_gap_second_moment<Backend>()),
                             x0 * test::transpose(x0)) < 1e-15);
  CHECK_NOTHROW(systems::modified_boeing<Backend>().with_initial_state(
      systems::published_initial_second_moment<Backend>()));
}

TEST_CASE("two steps of the double integrator with the input held are one of twice the length") {
  const test::DenseTask step = dense(systems::double_integrator<test::Backend>(0.25));
  const test::DenseTask twice = dense(systems::double_integrator<test::Backend>(0.5));
  CHECK(test::relative_error(step.A * step.A, twice.A) < 1e-15);
  CHECK(test::relative_error(step.A * step.B + step.B, twice.B) < 1e-15);
}

TEST_CASE("the parameters of the plants are checked") {
  using Backend = test::Backend;
  const double nan = std::nan("");
  for (const double bad : {0.0, -1.0, nan}) {
    CHECK_THAT(message_of<InvalidOption>([&] { systems::double_integrator<Backend>(bad); }),
               Catch::Matchers::ContainsSubstring("step"));
  }
  for (const double bad : {-1.0, nan}) {
    CHECK_THAT(message_of<InvalidOption>([&] { systems::laplacian_3<Backend>(bad); }),
               Catch::Matchers::ContainsSubstring("state_cost"));
  }
}
