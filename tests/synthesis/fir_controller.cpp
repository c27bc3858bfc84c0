#include <metalqr/synthesis/fir_controller.hpp>

#include <cmath>
#include <limits>
#include <vector>

#include <metalqr/lqr/evaluation.hpp>

#include "uncertain.hpp"

namespace {

namespace synthesis = metalqr::synthesis;
using metalqr::DimensionMismatch;
using test::Backend;
using test::Dense;
using test::DenseTask;
using test::Index;
using Controller = synthesis::FirController<Backend>;
using Fixed = metalqr::EigenBackend<double, 3, 2>;

/// The responses of length L of a plant to noise with inputs that are random, up to the last coefficient.
struct Responses {
  std::vector<Dense> x, u;
  Responses(const DenseTask& task, Index length, metalqr::Stream& stream) {
    x.push_back(test::identity(task.A.rows));
    for (Index k = 0; k < length; ++k) {
      u.push_back(0.2L * test::random_matrix(task.B.cols, task.A.rows, stream));
      x.push_back(task.A * x.back() + task.B * u.back());
    }
    x.pop_back();
  }
};

template <class AnyBackend = Backend>
synthesis::FirController<AnyBackend> controller(const Responses& responses) {
  std::vector<typename AnyBackend::StateMatrix> x;
  std::vector<typename AnyBackend::Gain> u;
  for (const Dense& phi : responses.x) x.push_back(test::state_matrix<AnyBackend>(phi));
  for (const Dense& phi : responses.u) u.push_back(test::gain<AnyBackend>(phi));
  return {x, u};
}

}  // namespace

TEST_CASE("a pulse of noise has the given responses on the plant that they belong to") {
  metalqr::Stream stream = test::stream(506);
  const DenseTask task = test::random_problem(3, 2, 0.8, stream).task;
  const Responses responses(task, 5, stream);
  Controller u = controller(responses);
  CHECK(u.length() == 5);
  for (Index pulse = 0; pulse < 3; ++pulse) {
    u.reset();
    Dense x(3, 1);
    x(pulse, 0) = 1;
    for (std::size_t t = 0; t < 5; ++t) {
      const Dense input = test::dense(u(test::state_vector(x)));
      for (Index i = 0; i < 3; ++i) CHECK(std::abs(x(i, 0) - responses.x[t](i, pulse)) < 1e-12L);
      for (Index i = 0; i < 2; ++i) CHECK(std::abs(input(i, 0) - responses.u[t](i, pulse)) < 1e-12L);
      x = task.A * x + task.B * input;
    }
  }
}

TEST_CASE("the state space and the running controller are one map") {
  metalqr::Stream stream = test::stream(507);
  for (const Index length : {1, 2, 6}) {
    const DenseTask task = test::random_problem(3, 2, 0.8, stream).task;
    const Responses responses(task, length, stream);
    Controller running = controller(responses);
    auto fixed = controller<Fixed>(responses);
    const auto space = running.state_space();
    const Dense A = test::dense(space.A);
    const Dense B = test::dense(space.B);
    const Dense C = test::dense(space.C);
    const Dense D = test::dense(space.D);
    Dense state(3 * (length - 1), 1);
    for (int t = 0; t < 20; ++t) {
      const Dense x = test::random_matrix(3, 1, stream);
      const Dense expected = C * state + D * x;
      state = A * state + B * x;
      const double scale = 1 + static_cast<double>(test::norm(expected));
      CHECK(static_cast<double>(test::norm(test::dense(running(test::state_vector(x))) - expected)) <
            1e-10 * scale);
      CHECK(static_cast<double>(test::norm(test::dense<Fixed>(fixed(test::state_vector<Fixed>(x))) -
                                           expected)) < 1e-10 * scale);
    }
  }
}

TEST_CASE("one coefficient is a static gain, with its cost") {
  metalqr::Stream stream = test::stream(508);
  const auto random = test::random_problem(3, 2, 0.7, stream);
  const Controller u({test::state_matrix(test::identity(3))}, {test::gain(-1.0L * random.K)});
  const auto task = test::make_task(random.task);
  CHECK(synthesis::cost(task, u.state_space()) == Catch::Approx(metalqr::cost(task, test::gain(random.K))));
  CHECK(test::relative_error(test::dense(synthesis::closed_loop(task, u.state_space())),
                             random.task.closed_loop(random.K)) < 1e-14);
}

TEST_CASE("the cost of a dynamic controller is that of its closed loop's Lyapunov equation") {
  metalqr::Stream stream = test::stream(509);
  const auto random = test::random_problem(3, 2, 0.5, stream);
  // The static gain's response cut off: still close to it.
  std::vector<Backend::StateMatrix> x;
  std::vector<Backend::Gain> u;
  Dense power = test::identity(3);
  for (int k = 0; k < 8; ++k) {
    x.push_back(test::state_matrix(power));
    u.push_back(test::gain(-1.0L * (random.K * power)));
    power = random.task.closed_loop(random.K) * power;
  }
  const Controller controller(x, u);
  const auto task = test::make_task(random.task);
  const auto space = controller.state_space();
  const Dense F = test::dense(synthesis::closed_loop(task, space));
  Dense U(2, F.rows);
  for (Index i = 0; i < 2; ++i) {
    for (Index j = 0; j < F.rows; ++j) U(i, j) = j < 3 ? space.D(i, j) : space.C(i, j - 3);
  }
  Dense Q = test::transpose(U) * random.task.R * U;
  Dense S(F.rows, F.rows);
  for (Index i = 0; i < 3; ++i) {
    for (Index j = 0; j < 3; ++j) {
      Q(i, j) += random.task.Q(i, j);
      S(i, j) = random.task.Sigma0(i, j);
    }
  }
  // Simulated, since the Kronecker product of 24 states is large: sum over t of F'^t Q F^t.
  Dense P = Q;
  Dense power_of_F = F;
  for (int k = 0; k < 12; ++k) {
    P = P + test::transpose(power_of_F) * P * power_of_F;
    power_of_F = power_of_F * power_of_F;
  }
  CHECK(synthesis::cost(task, space) == Catch::Approx(static_cast<double>(test::inner(P, S))).epsilon(1e-10));
}

TEST_CASE("a controller that does not stabilise has an infinite cost") {
  const DenseTask task{Dense{{1.5}}, Dense{{1}}, Dense{{1}}, Dense{{1}}, Dense{{1}}};
  const Controller none({test::state_matrix(Dense{{1}})}, {test::gain(Dense{{0}})});
  CHECK(synthesis::cost(test::make_task(task), none.state_space()) ==
        std::numeric_limits<double>::infinity());
}

TEST_CASE("bad responses are refused") {
  const auto one = test::state_matrix(test::identity(2));
  const auto gain = test::gain(Dense{{1, 2}});
  CHECK_THROWS_AS(Controller({}, {}), DimensionMismatch);
  CHECK_THROWS_AS(Controller({one, one}, {gain}), DimensionMismatch);
  CHECK_THROWS_AS(Controller({one, test::state_matrix(test::identity(3))}, {gain, gain}), DimensionMismatch);
  CHECK_THROWS_AS(Controller({one, one}, {gain, test::gain(Dense{{1}})}), DimensionMismatch);
  CHECK_THROWS_AS(Controller({test::state_matrix(Dense{{1, 1}, {0, 1}})}, {gain}), metalqr::InvalidOption);
  CHECK_THROWS_AS(Controller({one}, {test::gain(Dense{{1, std::numeric_limits<double>::quiet_NaN()}})}),
                  metalqr::NotFinite);
  Controller controller({one}, {gain});
  CHECK_THROWS_AS(controller(test::state_vector(Dense{{1}})), DimensionMismatch);
  const DenseTask scalar{Dense{{0.5}}, Dense{{1}}, Dense{{1}}, Dense{{1}}, Dense{{1}}};
  CHECK_THROWS_AS(synthesis::cost(test::make_task(scalar), controller.state_space()), DimensionMismatch);
  const double not_a_number = std::numeric_limits<double>::quiet_NaN();
  CHECK(test::message_of<metalqr::NotFinite>([&] {
          controller(test::state_vector(Dense{{1}, {not_a_number}}));
        }).find("x: ") == 0);
  // What a design that failed holds.
  Controller none;
  CHECK(none.length() == 0);
  CHECK(test::message_of<metalqr::InvalidOption>([&] {
          none(test::state_vector(Dense{{1}}));
        }).find("controller: ") == 0);
  CHECK(test::message_of<metalqr::InvalidOption>([&] { none.state_space(); }).find("controller: ") == 0);
}

TEST_CASE("state spaces that do not fit are refused by the matrix") {
  const auto task = test::make_task(DenseTask{Dense{{0.5}}, Dense{{1}}, Dense{{1}}, Dense{{1}}, Dense{{1}}});
  const auto zeros = [](Index rows, Index cols) { return Backend::zero_matrix(rows, cols); };
  synthesis::ControllerStateSpace<Backend> controller{zeros(2, 2), zeros(2, 1), zeros(1, 2), zeros(1, 1)};
  CHECK(synthesis::cost(task, controller) == Catch::Approx(1 / 0.75));
  const auto refused = [&](auto type, const char* name, auto member, const Backend::Matrix& bad) {
    auto other = controller;
    other.*member = bad;
    CHECK(test::message_of<decltype(type)>([&] { synthesis::cost(task, other); }).find(name) == 0);
  };
  using StateSpace = synthesis::ControllerStateSpace<Backend>;
  refused(DimensionMismatch(""), "controller.A: ", &StateSpace::A, zeros(2, 1));
  refused(DimensionMismatch(""), "controller.B: ", &StateSpace::B, zeros(2, 2));
  refused(DimensionMismatch(""), "controller.C: ", &StateSpace::C, zeros(1, 1));
  refused(DimensionMismatch(""), "controller.D: ", &StateSpace::D, zeros(2, 1));
  const double not_a_number = std::numeric_limits<double>::quiet_NaN();
  refused(metalqr::NotFinite(""), "controller.A: ", &StateSpace::A, zeros(2, 2).array() + not_a_number);
  refused(metalqr::NotFinite(""), "controller.D: ", &StateSpace::D, zeros(1, 1).array() + not_a_number);
}
