#include <metalqr/lqr/cost_and_gradient.hpp>

#include <cstddef>
#include <limits>
#include <tuple>
#include <vector>

#include "lane_support.hpp"
#include "reference.hpp"
#include "support.hpp"

namespace {

using metalqr::cost_and_gradient;
using metalqr::CostAndGradient;
using metalqr::EigenBackend;
using test::all_nan;
using test::Backend;
using test::dense;
using test::Dense;
using test::Index;
using test::relative_error;

const double infinity = std::numeric_limits<double>::infinity();
const double not_a_number = std::numeric_limits<double>::quiet_NaN();

}  // namespace

using PlainBackends = std::tuple<EigenBackend<double>, EigenBackend<double, 4, 2>>;

TEMPLATE_LIST_TEST_CASE("cost and gradient agree with the reference values", "", PlainBackends) {
  const double epsilon_ratio = static_cast<double>(TestType::epsilon()) / 0x1p-52;
  int compared = 0;
  for (const test::ReferenceCase& c : test::reference_cases()) {
    if (!c.fits<TestType>()) continue;
    const double tolerance = c.tolerance() * std::max(1.0, epsilon_ratio);
    if (tolerance > 0.1) continue;
    const CostAndGradient<TestType> got =
        cost_and_gradient(test::make_task<TestType>(c.task), test::gain<TestType>(c.K));
    const long double gradient_scale =
        (norm(c.task.R * c.K) + norm(transpose(c.task.B) * c.P * c.task.closed_loop(c.K))) * norm(c.Sigma);
    INFO(c.name);
    CHECK(relative_error(got.cost, c.cost) <= tolerance);
    CHECK(relative_error(dense<TestType>(got.gradient), c.gradient, gradient_scale) <= tolerance);
    ++compared;
  }
  CHECK(compared >= 3);
}

TEST_CASE("one pass gives what the evaluation gives") {
  metalqr::Stream stream = test::stream(1);
  for (int sample = 0; sample < 24; ++sample) {
    const auto [dense_task, K] =
        test::random_problem(1 + sample % 8, 1 + sample % 3, stream.uniform(0.2, 0.99), stream);
    const auto task = test::make_task<Backend>(dense_task);
    const metalqr::Evaluation<Backend> at(task, test::gain(K));
    const auto got = cost_and_gradient(task, test::gain(K));
    CHECK(got.cost == metalqr::cost(task, test::gain(K)));
    CHECK(relative_error(got.cost, at.cost()) < 1e-12);
    CHECK(relative_error(dense(got.gradient), dense(at.gradient()), at.gradient_scale()) < 1e-12);
  }
}

TEST_CASE("where the cost is infinite the gradient is NaN, and nothing is thrown") {
  metalqr::Stream stream = test::stream(2);
  for (const Index n : {1, 2, 5}) {
    for (const double rho : {1.0, 1.0 + 1e-12, 1.001, 1.5, 1e3, 1e200}) {
      const auto [dense_task, K] = test::random_problem(n, 1, rho, stream);
      const auto task = test::make_task<Backend>(dense_task);
      const auto got = cost_and_gradient(task, test::gain(K));
      CAPTURE(n, rho);
      // At the limit itself rounding decides on which side the closed loop is.
      if (rho > 1.0 + 1e-9) CHECK(got.cost == infinity);
      CHECK(got.cost == metalqr::cost(task, test::gain(K)));
      if (got.cost == infinity) CHECK(all_nan(dense(got.gradient)));
    }
    const auto [dense_task, K] = test::random_problem(n, 1, 0.5, stream);
    const auto task = test::make_task<Backend>(dense_task);
    for (const double bad : {not_a_number, infinity, -infinity, 1e300}) {
      Dense spoiled = K;
      spoiled(0, n - 1) = bad;
      const auto got = cost_and_gradient(task, test::gain(spoiled));
      CHECK(got.cost == infinity);
      CHECK(all_nan(dense(got.gradient)));
    }
  }
}

TEST_CASE("a cost that is finite is given where the gradient overflows") {
  // x+ = x/2 + 1e200 u: the slope against a gain is about 1e200 times 4/3 Q Sigma, which is finite.
  const auto task = test::make_task<Backend>({{{0.5}}, {{1e200}}, {{1e60}}, {{1}}, {{1e60}}});
  const Backend::Gain K = test::gain({{0}});
  const auto got = cost_and_gradient(task, K);
  CHECK(relative_error(got.cost, 1e120L * 4 / 3) < 1e-14);
  CHECK(got.cost == metalqr::cost(task, K));
  CHECK(all_nan(dense(got.gradient)));
}

TEST_CASE("a gain of another shape is refused") {
  const auto task = test::make_task<Backend>(test::reference_cases()[0].task);
  CHECK(test::message_of<metalqr::DimensionMismatch>(
            [&] { cost_and_gradient(task, Backend::zero_gain(4, 2)); }) == "K: expected shape 2x4, got 4x2");
}
