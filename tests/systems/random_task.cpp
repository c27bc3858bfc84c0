#include <metalqr/systems/random_task.hpp>

#include <cmath>
#include <complex>

#include <metalqr/equations/spectral.hpp>

#include "support.hpp"

using test::Backend;
using test::message_of;

namespace systems = metalqr::systems;

TEST_CASE("a random task has the spectral radius that was asked for, dense and with complex pairs") {
  for (const metalqr::Index n : {1, 2, 3, 4, 7, 12}) {
    for (const double radius : {0.0, 0.5, 0.99, 1.7}) {
      const auto task =
          systems::random_task<Backend>({.states = n, .inputs = 2, .spectral_radius = radius}, 11);
      double largest = 0;
      bool complex_pair = false;
      for (const std::complex<double>& value : Backend::eigenvalues(task.A())) {
        // A defective zero eigenvalue of multiplicity n moves by eps^(1/n).
        if (std::abs(value) > largest) {
          largest = std::abs(value);
          complex_pair = std::abs(value.imag()) > 0.01 * radius;
        }
      }
      INFO(n << " states, radius " << radius);
      if (radius > 0) {
        CHECK(test::relative_error(largest, radius) < 1e-11);
        CHECK(complex_pair == (n > 1));
        for (metalqr::Index i = 0; i < n; ++i) {
          for (metalqr::Index j = 0; j < n; ++j) CHECK(task.A()(i, j) != 0);
        }
      }
      CHECK(task.nu() == 2);
    }
  }
}

TEST_CASE("a random task depends on its seed alone, in every scalar and size type") {
  using Fixed = metalqr::EigenBackend<double, 4, 2>;
  const test::DenseTask first = test::dense(systems::random_task<Backend>({}, 5));
  CHECK(test::norm(first.A - test::dense(systems::random_task<Backend>({}, 5)).A) == 0);
  CHECK(test::norm(first.A - test::dense(systems::random_task<Backend>({}, 6)).A) > 0.1);
  const auto fixed = systems::random_task<Fixed>({}, 5);
  CHECK(test::relative_error(test::dense<Fixed>(fixed.A()), first.A) < 1e-13);
  CHECK(test::relative_error(test::dense<Fixed>(fixed.R()), first.R) < 1e-13);
}

TEST_CASE("random costs are at least the identity") {
  const test::DenseTask task = test::dense(systems::random_task<Backend>({.states = 5, .inputs = 3}, 2));
  for (const auto& cost : {task.Q, task.R}) {
    const auto rest =
        test::filled(Backend::zero_matrix(cost.rows, cost.cols), cost - test::identity(cost.rows));
    CHECK(Backend::symmetric_eigenvalues(rest).front() > 0);
  }
}

TEST_CASE("the options of a random task are checked") {
  const auto message = [](const systems::RandomTask& options) {
    return message_of<metalqr::InvalidOption>([&] { systems::random_task<Backend>(options, 1); });
  };
  using Catch::Matchers::ContainsSubstring;
  CHECK_THAT(message({.states = 0}), ContainsSubstring("states"));
  CHECK_THAT(message({.inputs = 0}), ContainsSubstring("inputs"));
  for (const double bad : {-0.1, std::nan(""), HUGE_VAL}) {
    CHECK_THAT(message({.spectral_radius = bad}), ContainsSubstring("spectral_radius"));
  }
  using Fixed = metalqr::EigenBackend<double, 4, 2>;
  CHECK_THAT(message_of<metalqr::DimensionMismatch>([] { systems::random_task<Fixed>({.states = 3}, 1); }),
             ContainsSubstring("4x2, got 3x2"));
}
