#include <metalqr/lqr/evaluation.hpp>

#include <limits>
#include <string>
#include <utility>

#include "problems.hpp"
#include "support.hpp"

namespace {

using metalqr::NotStabilizing;
using test::Backend;
using test::Index;
using test::message_of;
using test::published_start;
using test::relative_error;
using Evaluation = metalqr::Evaluation<Backend>;
using Task = metalqr::Task<Backend>;

const double infinity = std::numeric_limits<double>::infinity();
const double not_a_number = std::numeric_limits<double>::quiet_NaN();

}  // namespace

TEST_CASE("the cost of a destabilising gain, or one with NaN or infinity, is infinite and never NaN") {
  metalqr::Stream stream = test::stream(12);
  for (int sample = 0; sample < 200; ++sample) {
    const double rho = sample % 2 == 0 ? stream.uniform(1.0001, 1.2) : stream.uniform(1.2, 50);
    const auto [task, K] = test::random_problem(1 + sample % 6, 1 + sample % 2, rho, stream);
    const Task from = test::make_task<Backend>(task);
    CHECK(metalqr::cost(from, test::gain(K)) == infinity);
    CHECK_FALSE(metalqr::is_stabilizing(from, test::gain(K)));
  }
  const Task task = test::make_task<Backend>(published_start().task);
  for (const double bad : {not_a_number, infinity, -infinity, 1e150, -1e200, 1.7e308}) {
    for (const Index where : {0, 3, 7}) {
      Backend::Gain K = test::gain(published_start().K);
      K(where % 2, where / 2) = bad;
      CHECK(metalqr::cost(task, K) == infinity);
      CHECK_FALSE(metalqr::is_stabilizing(task, K));
    }
  }
  // Marginal: rho = 1.
  const Task marginal =
      test::make_task<Backend>({test::identity(2), {{1}, {1}}, test::identity(2), {{1}}, test::identity(2)});
  CHECK(metalqr::cost(marginal, Backend::zero_gain(1, 2)) == infinity);
}

TEST_CASE("an infinite cost also where the value overflows though the gain stabilises") {
  const Task task = test::make_task<Backend>({{{0.5}}, {{1}}, {{1e308}}, {{1}}, {{1e10}}});
  CHECK(metalqr::cost(task, Backend::zero_gain(1, 1)) == infinity);
}

TEST_CASE("evaluating a destabilising gain throws its spectral radius") {
  metalqr::Stream stream = test::stream(13);
  for (int sample = 0; sample < 50; ++sample) {
    const double rho = stream.uniform(1.01, 5);
    const auto [dense_task, K] = test::random_problem(1 + sample % 6, 2, rho, stream);
    const Task task = test::make_task<Backend>(dense_task);
    try {
      const Evaluation at(task, test::gain(K));
      FAIL("no exception");
    } catch (const NotStabilizing& error) {
      CHECK(relative_error(error.spectral_radius(), rho) < 1e-12);
      CHECK(std::string(error.what())
                .rfind("K: expected a stabilizing gain, spectral radius of A - BK below 1, got ", 0) == 0);
    }
  }
  const Task task =
      test::make_task<Backend>({{{2, 1}, {0, 3}}, {{0}, {1}}, test::identity(2), {{1}}, test::identity(2)});
  CHECK(message_of<NotStabilizing>([&] { Evaluation(task, Backend::zero_gain(1, 2)); }) ==
        "K: expected a stabilizing gain, spectral radius of A - BK below 1, got 3");
  const Task marginal =
      test::make_task<Backend>({test::identity(2), {{1}, {1}}, test::identity(2), {{1}}, test::identity(2)});
  CHECK(message_of<NotStabilizing>([&] { Evaluation(marginal, Backend::zero_gain(1, 2)); }) ==
        "K: expected a stabilizing gain, spectral radius of A - BK below 1, got 1 (too close to 1 to be "
        "decided)");
}

TEST_CASE("a finite gain whose closed loop overflows is destabilising") {
  const Task task =
      test::make_task<Backend>({{{1, 0}, {0, 1}}, {{4}, {1}}, test::identity(2), {{1}}, test::identity(2)});
  const Backend::Gain K = test::gain({{1e308, 1e308}});
  CHECK(message_of<NotStabilizing>([&] { Evaluation(task, K); }).rfind("K: expected a stabilizing gain", 0) ==
        0);
}

TEST_CASE("evaluating a gain of wrong shape or with NaN is refused by name") {
  const Task task = test::make_task<Backend>(published_start().task);
  CHECK(message_of<metalqr::DimensionMismatch>([&] { Evaluation(task, Backend::zero_gain(4, 2)); }) ==
        "K: expected shape 2x4, got 4x2");
  Backend::Gain K = test::gain(published_start().K);
  K(1, 2) = not_a_number;
  CHECK(message_of<metalqr::NotFinite>([&] {
          Evaluation(task, K);
        }).rfind("K: expected finite entries, got ", 0) == 0);
  K(1, 2) = infinity;
  CHECK(message_of<metalqr::NotFinite>([&] { Evaluation(task, K); }) ==
        "K: expected finite entries, got inf at (1, 2)");
}

TEST_CASE("the free functions refuse a gain or a moment of wrong shape by name") {
  const Task task = test::make_task<Backend>(published_start().task);
  const Backend::Gain K = test::gain(published_start().K);
  const auto message = [](const auto& call) { return message_of<metalqr::DimensionMismatch>(call); };
  for (const auto& [rows, cols] : {std::pair<Index, Index>{4, 2}, {1, 4}, {2, 3}, {3, 4}, {2, 5}}) {
    CAPTURE(rows, cols);
    const Backend::Gain bad = Backend::zero_gain(rows, cols);
    const std::string expected =
        "K: expected shape 2x4, got " + std::to_string(rows) + "x" + std::to_string(cols);
    CHECK(message([&] { metalqr::cost(task, bad); }) == expected);
    CHECK(message([&] { metalqr::cost(task, bad, task.Sigma0()); }) == expected);
    CHECK(message([&] { metalqr::is_stabilizing(task, bad); }) == expected);
    CHECK(message([&] { metalqr::spectral_radius(task, bad); }) == expected);
    CHECK(message([&] { metalqr::closed_loop(task, bad); }) == expected);
    CHECK(message([&] { metalqr::stage_cost(task, bad); }) == expected);
  }
  for (const Index n : {3, 5}) {
    CHECK(message([&] { metalqr::cost(task, K, Backend::zero_state_matrix(n)); }) ==
          "S: expected shape 4x4, got " + std::to_string(n) + "x" + std::to_string(n));
  }
}

TEST_CASE("the Hessian and the average cost refuse arguments of wrong shape or with NaN by name") {
  const Task task = test::make_task<Backend>(published_start().task);
  const Backend::Gain K = test::gain(published_start().K);
  const Evaluation at(task, K);
  const auto shape_message = [](const auto& call) { return message_of<metalqr::DimensionMismatch>(call); };
  const auto value_message = [](const auto& call) { return message_of<metalqr::NotFinite>(call); };
  for (const auto& [rows, cols] : {std::pair<Index, Index>{4, 2}, {1, 4}, {2, 3}, {3, 4}, {2, 5}}) {
    CAPTURE(rows, cols);
    const Backend::Gain X = Backend::zero_gain(rows, cols);
    const std::string expected =
        "X: expected shape 2x4, got " + std::to_string(rows) + "x" + std::to_string(cols);
    CHECK(shape_message([&] { at.hessian(X); }) == expected);
    CHECK(shape_message([&] { at.hessian_form(X); }) == expected);
    CHECK(shape_message([&] { at.paper_hessian(X); }) == expected);
  }
  for (const Index n : {1, 3, 5}) {
    CHECK(shape_message([&] { at.average_cost(Backend::zero_state_matrix(n)); }) ==
          "W: expected shape 4x4, got " + std::to_string(n) + "x" + std::to_string(n));
  }
  Backend::Gain X = K;
  X(1, 2) = infinity;
  const std::string expected = "X: expected finite entries, got inf at (1, 2)";
  CHECK(value_message([&] { at.hessian(X); }) == expected);
  CHECK(value_message([&] { at.hessian_form(X); }) == expected);
  CHECK(value_message([&] { at.paper_hessian(X); }) == expected);
  Backend::StateMatrix W = task.Sigma0();
  W(2, 3) = not_a_number;
  CHECK(value_message([&] { at.average_cost(W); }).rfind("W: expected finite entries, got ", 0) == 0);
}

TEST_CASE("what overflows is named, and nothing that an evaluation gives is infinite") {
  const auto message = [](const auto& call) { return message_of<metalqr::NotFinite>(call); };
  const auto starts = [](const std::string& text, const std::string& with) {
    return text.rfind(with, 0) == 0;
  };
  const Backend::Gain K = Backend::zero_gain(1, 2);
  const Backend::Gain X = test::gain({{1, 2}});
  const auto task_with = [](double q, double s) {
    return test::make_task<Backend>(
        {{{0.9, 0}, {0, 0.9}}, {{1}, {1}}, q * test::identity(2), {{1}}, s * test::identity(2)});
  };
  // The products of P and Sigma overflow.
  const Task both = task_with(1e200, 1e200);
  const Evaluation at(both, K);
  CHECK(at.P()(0, 0) > 1e200);
  CHECK(at.Sigma()(0, 0) > 1e200);
  CHECK(message([&] { at.cost(); }) == "J: expected a finite number, got inf");
  CHECK(message([&] { at.average_cost(both.Sigma0()); }) == "tr(P W): expected a finite number, got inf");
  CHECK(starts(message([&] { at.gradient(); }), "gradient: expected finite entries, got "));
  CHECK(starts(message([&] { at.hessian(X); }), "H[X]: expected finite entries, got "));
  CHECK(starts(message([&] { at.hessian_form(X); }), "H[X]: expected finite entries, got "));
  CHECK(starts(message([&] { at.paper_hessian(X); }), "H[X]: expected finite entries, got "));
  CHECK(starts(message([&] { at.hessian_matrix(); }), "H[X]: expected finite entries, got "));
  CHECK(metalqr::cost(both, K) == infinity);
  // One of them overflows by itself.
  const Task value = task_with(1e308, 1);
  const Evaluation of_value(value, K);
  for (const auto& text : {message([&] { of_value.P(); }), message([&] { of_value.cost(); }),
                           message([&] { of_value.gradient(); })}) {
    CHECK(starts(text, "P: expected finite entries, got "));
  }
  const Task moment = task_with(1, 1e308);
  const Evaluation of_moment(moment, K);
  CHECK(starts(message([&] { of_moment.Sigma(); }), "Sigma: expected finite entries, got "));
  CHECK(starts(message([&] { of_moment.gradient(); }), "Sigma: expected finite entries, got "));
}
