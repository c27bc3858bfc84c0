#include <metalqr/synthesis/safe_fir.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <metalqr/synthesis/ipopt.hpp>

#include "safe.hpp"

namespace {

namespace synthesis = metalqr::synthesis;
using metalqr::DimensionMismatch;
using metalqr::InvalidOption;
using metalqr::NotFinite;
using synthesis::box_limits;
using synthesis::IpoptSolver;
using synthesis::SafetyLimit;
using synthesis::SynthesisStatus;
using test::Backend;
using test::Dense;
using test::DenseTask;
using test::Index;
using test::integrator;
using test::safe_integrator;
using Problem = synthesis::SafeProblem<Backend>;
using Design = synthesis::SafeDesign<Backend>;
using Controller = synthesis::FirController<Backend>;

const double infinity = std::numeric_limits<double>::infinity();
const double not_a_number = std::numeric_limits<double>::quiet_NaN();

/// x+ = a x + b u + w with the cost q x^2 + r u^2.
DenseTask scalar_task(double a, double b, double q, double r) {
  return {Dense{{a}}, Dense{{b}}, Dense{{q}}, Dense{{r}}, Dense{{1}}};
}

/// A plant and a controller in plain loops. The controller is u = Phi_u d + eta, d_t = x_t - ..., or a static
/// gain if there are no responses.
struct Loop {
  Dense A, B, K;
  std::vector<Dense> x_response, u_response;

  struct Path {
    std::vector<std::vector<double>> x, u;
  };
  /// From x0, with eta_0 = first_eta and without noise.
  Path run(const std::vector<double>& x0, const std::vector<double>& first_eta, int steps) const {
    const auto n = static_cast<std::size_t>(A.rows);
    const auto p = static_cast<std::size_t>(B.cols);
    const std::size_t length = x_response.size();
    std::vector<std::vector<double>> d;
    Path path;
    std::vector<double> x = x0;
    for (int t = 0; t < steps; ++t) {
      std::vector<double> u(p, 0.0);
      d.push_back(x);
      if (t == 0) u = first_eta;
      for (std::size_t k = 0; k < std::max<std::size_t>(length, 1) && k < d.size(); ++k) {
        const std::size_t at = d.size() - 1 - k;
        for (std::size_t i = 0; i < n && k > 0; ++i) {
          for (std::size_t j = 0; j < n; ++j) d.back()[i] -= entry(x_response[k], i, j) * d[at][j];
        }
      }
      for (std::size_t k = 0; k < std::max<std::size_t>(length, 1) && k < d.size(); ++k) {
        const std::size_t at = d.size() - 1 - k;
        for (std::size_t i = 0; i < p; ++i) {
          for (std::size_t j = 0; j < n; ++j) {
            u[i] += length > 0 ? entry(u_response[k], i, j) * d[at][j] : -entry(K, i, j) * x[j];
          }
        }
      }
      path.x.push_back(x);
      path.u.push_back(u);
      std::vector<double> next(n, 0.0);
      for (std::size_t i = 0; i < n; ++i) {
        for (std::size_t j = 0; j < n; ++j) next[i] += entry(A, i, j) * x[j];
        for (std::size_t j = 0; j < p; ++j) next[i] += entry(B, i, j) * u[j];
      }
      x = next;
    }
    return path;
  }
  static double entry(const Dense& x, std::size_t i, std::size_t j) {
    return static_cast<double>(x(static_cast<Index>(i), static_cast<Index>(j)));
  }
};

std::vector<double> unit(Index size, Index i) {
  std::vector<double> x(static_cast<std::size_t>(size), 0.0);
  if (i >= 0) x[static_cast<std::size_t>(i)] = 1;
  return x;
}

double weigh(const std::vector<double>& weights, const std::vector<double>& x) {
  double sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i) sum += weights[i] * x[i];
  return sum;
}

/// The largest overshoot of any limit within the steps, over all noise and exploration: sums of absolute
/// values of impulse responses, those of noise being those of first states.
double worst_overshoot(const Problem& problem, const Loop& loop, int steps = 80) {
  const Index n = loop.A.rows;
  const Index p = loop.B.cols;
  std::vector<Loop::Path> noise;
  std::vector<Loop::Path> exploration;
  for (Index i = 0; i < n; ++i) noise.push_back(loop.run(unit(n, i), unit(p, -1), steps));
  for (Index i = 0; i < p; ++i) exploration.push_back(loop.run(unit(n, -1), unit(p, i), steps));
  double worst = -infinity;
  const auto check = [&](const SafetyLimit& limit, auto member) {
    double driven = 0;
    for (int t = 0; t < steps; ++t) {
      const auto at = static_cast<std::size_t>(t);
      for (const Loop::Path& path : exploration) {
        driven += problem.exploration * std::abs(weigh(limit.weights, (path.*member)[at]));
      }
      double start = 0;
      for (Index j = 0; problem.x0 && j < n; ++j) {
        start += (*problem.x0)(j, 0) * weigh(limit.weights, (noise[static_cast<std::size_t>(j)].*member)[at]);
      }
      worst = std::max(worst, driven + start - limit.limit);
      for (const Loop::Path& path : noise) {
        driven += problem.noise * std::abs(weigh(limit.weights, (path.*member)[at]));
      }
    }
    worst = std::max(worst, driven - limit.limit);
  };
  for (const SafetyLimit& limit : problem.state_limits) check(limit, &Loop::Path::x);
  for (const SafetyLimit& limit : problem.input_limits) check(limit, &Loop::Path::u);
  return worst;
}

/// Rows on the boundary of the ball of |.|_inf: corners, or in between.
Dense within(Index rows, Index columns, double radius, metalqr::Stream& stream) {
  Dense x(rows, columns);
  const bool corners = stream.rademacher() > 0;
  for (Index i = 0; i < rows; ++i) {
    long double sum = 0;
    const auto chosen = static_cast<Index>(stream.uniform(0, static_cast<double>(columns)));
    for (Index j = 0; j < columns; ++j) {
      x(i, j) = corners ? (j == chosen ? stream.rademacher() : 0) : stream.normal();
      sum += std::abs(x(i, j));
    }
    for (Index j = 0; j < columns; ++j) x(i, j) *= radius / sum;
  }
  return x;
}

Loop loop_of(const Problem& problem, const Controller& controller) {
  Loop loop{test::dense(problem.estimate.A()), test::dense(problem.estimate.B()), {}, {}, {}};
  for (const auto& phi : controller.state_response()) loop.x_response.push_back(test::dense(phi));
  for (const auto& phi : controller.input_response()) loop.u_response.push_back(test::dense(phi));
  return loop;
}

Loop perturbed(Loop loop, const Problem& problem, metalqr::Stream& stream) {
  loop.A = loop.A + within(loop.A.rows, loop.A.cols, problem.epsilon_A, stream);
  loop.B = loop.B + within(loop.B.rows, loop.B.cols, problem.epsilon_B, stream);
  return loop;
}

}  // namespace

// Two coefficients: Phi_x = (1, y), Phi_u = ((y - a) / b, -a y / b), one free number.
TEST_CASE("the scalar problem with two coefficients, by hand") {
  const double a = 0.9;
  const double b = 2;
  const double r = 10;
  Problem problem{.estimate = test::make_task(scalar_task(a, b, 1, r)),
                  .epsilon_A = 0,
                  .epsilon_B = 0,
                  .noise = 0.3,
                  .exploration = 0.05,
                  .state_limits = {},
                  .input_limits = {},
                  .x0 = {}};
  const auto cost = [&](double y) { return 1 + y * y + r * ((y - a) * (y - a) + a * a * y * y) / (b * b); };
  const double free = r * a / (b * b + r * (1 + a * a));
  const auto check = [&](double y) {
    const Design found = synthesis::safe_fir(problem, IpoptSolver(), {.length = 2});
    REQUIRE(found.status == SynthesisStatus::solved);
    CHECK(found.tau_min == 0);
    CHECK(found.nominal_cost == Catch::Approx(cost(y)).epsilon(1e-6));
    CHECK(found.controller.state_response()[1](0, 0) == Catch::Approx(y).margin(2e-4));
    CHECK(found.certificate.safe());
  };
  check(free);
  // (1 + |y|) (noise + b exploration) <= limit, of which the upper one alone is given.
  problem.state_limits = {{{1}, 0.4 * 1.2}};
  check(0.2);
  problem.state_limits = {{{-2}, 2 * 0.4 * 1.3}};
  check(0.3);
  problem.state_limits = box_limits(1, 0.4 * 2);
  check(free);
  // (a - y + a y) / b (noise + b exploration) + exploration <= limit.
  const double wanted = 0.7;
  REQUIRE(wanted > free);
  // Limits are kept by 1e-7 of them.
  problem.input_limits = box_limits(1, ((a - (1 - a) * wanted) / b * 0.4 + 0.05) / (1 - 1e-7));
  check(wanted);
}

TEST_CASE("the least level of scalar problems, by hand") {
  // One coefficient is deadbeat: Phi_x = 1, Phi_u = -a / b.
  Problem problem{.estimate = test::make_task(scalar_task(0.8, 2, 1, 1)),
                  .epsilon_A = 0.1,
                  .epsilon_B = 0.25,
                  .noise = 0.5,
                  .exploration = 0,
                  .state_limits = box_limits(1, 0.7),
                  .input_limits = {},
                  .x0 = {}};
  const Design deadbeat = synthesis::safe_fir(problem, IpoptSolver(), {.length = 1});
  REQUIRE(deadbeat.status == SynthesisStatus::solved);
  CHECK(deadbeat.tau_min == Catch::Approx(0.2).epsilon(1e-6));
  CHECK(deadbeat.certificate.level == Catch::Approx(0.2).epsilon(1e-6));
  // 0.5 / (1 - 0.2) of 0.7.
  CHECK(deadbeat.certificate.state_margins.at(0) == Catch::Approx(0.7 - 0.625).epsilon(1e-6));

  // Two: the level e (a - (1 - a) y) / b falls with y, the state's limit is (1 + y) noise / (1 - tau) <= X.
  const double a = 0.5;
  const double e = 0.4;
  const double X = 1.3;
  problem = {.estimate = test::make_task(scalar_task(a, 1, 1, 1)),
             .epsilon_A = 0,
             .epsilon_B = e,
             .noise = 1,
             .exploration = 0,
             .state_limits = box_limits(1, X),
             .input_limits = {},
             .x0 = {}};
  const double least = e * (1 - (1 - a) * X) / (1 - e * (1 - a) * X);
  const Design found = synthesis::safe_fir(problem, IpoptSolver(), {.length = 2});
  REQUIRE(found.status == SynthesisStatus::solved);
  CHECK(found.tau_min == Catch::Approx(least).epsilon(2e-6));
  CHECK(synthesis::safe_fir(problem, IpoptSolver(), {.length = 2, .tau = 0.99 * least}).status ==
        SynthesisStatus::infeasible);
  CHECK(synthesis::safe_fir(problem, IpoptSolver(), {.length = 2, .tau = 1.01 * least}).status ==
        SynthesisStatus::solved);
}

TEST_CASE("limits hold on thousands of plants, where the optimal gain breaks them") {
  metalqr::Stream stream = test::stream(521);
  const Problem problem = safe_integrator(0.01, 0.02, 0.5, 0.8);
  const Design found = synthesis::safe_fir(problem, IpoptSolver(), {.length = 12, .tau = 0.092});
  REQUIRE(found.status == SynthesisStatus::solved);
  const Loop safe = loop_of(problem, found.controller);
  Loop optimal = safe;
  optimal.x_response.clear();
  optimal.u_response.clear();
  optimal.K = test::dense(metalqr::solve_dare(problem.estimate).gain);
  double largest = -infinity;
  int broken = 0;
  for (int sample = 0; sample < 3000; ++sample) {
    const Loop plant = perturbed(safe, problem, stream);
    largest = std::max(largest, worst_overshoot(problem, plant));
    optimal.A = plant.A;
    optimal.B = plant.B;
    if (worst_overshoot(problem, optimal) > 0.01) ++broken;
  }
  CHECK(largest <= 0);
  CHECK(largest > -0.1);
  CHECK(broken > 1000);
}

TEST_CASE("the corners of the balls, and the first state's limits") {
  Problem problem = safe_integrator(0.002, 0.02, 1.1, 0.6);
  problem.x0 = test::state_vector(Dense{{-1}, {0.1}});
  const Design found = synthesis::safe_fir(problem, IpoptSolver(), {.length = 12, .tau = 0.02});
  REQUIRE(found.status == SynthesisStatus::solved);
  const Loop safe = loop_of(problem, found.controller);
  double largest = -infinity;
  for (int corner = 0; corner < 64; ++corner) {
    Loop plant = safe;
    for (Index i = 0; i < 2; ++i) {
      const int choice = i == 0 ? corner % 4 : corner / 4 % 4;
      plant.A(i, choice % 2) += choice < 2 ? problem.epsilon_A : -problem.epsilon_A;
      const int sign = i == 0 ? corner / 16 % 2 : corner / 32;
      plant.B(i, 0) += sign == 0 ? problem.epsilon_B : -problem.epsilon_B;
    }
    largest = std::max(largest, worst_overshoot(problem, plant));
  }
  CHECK(largest <= 0);
  Loop optimal = safe;
  optimal.x_response.clear();
  optimal.K = test::dense(metalqr::solve_dare(problem.estimate).gain);
  CHECK(worst_overshoot(problem, optimal) > 0.05);
}

TEST_CASE("the controller runs as promised under the worst noise and exploration") {
  metalqr::Stream stream = test::stream(522);
  const Problem problem = safe_integrator(0.01, 0.02, 0.5, 0.8);
  const Design found = synthesis::safe_fir(problem, IpoptSolver(), {.length = 12, .tau = 0.092});
  REQUIRE(found.status == SynthesisStatus::solved);
  const int steps = 60;
  double largest = 0;
  for (int sample = 0; sample < 50; ++sample) {
    const Loop plant = perturbed(loop_of(problem, found.controller), problem, stream);
    const bool input = sample % 2 == 0;
    const std::vector<double> weights = input ? std::vector<double>{1} : std::vector<double>{1, 0};
    std::vector<Loop::Path> noise;
    for (Index i = 0; i < 2; ++i) noise.push_back(plant.run(unit(2, i), unit(1, -1), steps));
    const Loop::Path exploration = plant.run(unit(2, -1), unit(1, 0), steps);
    const auto value = [&](const Loop::Path& path, int t) {
      return weigh(weights, (input ? path.u : path.x)[static_cast<std::size_t>(t)]);
    };
    const auto sign = [](double x) { return x < 0 ? -1.0 : 1.0; };
    const auto A = test::state_matrix(plant.A);
    const auto B = test::input_matrix(plant.B);
    Controller controller = found.controller;
    controller.reset();
    Backend::StateVector x = Backend::zero_state(2);
    for (int t = 0; t < steps; ++t) {
      Backend::ControlVector u = controller(x);
      u(0, 0) += problem.exploration * sign(value(exploration, steps - 1 - t));
      CHECK(std::abs(x(0, 0)) <= 0.5);
      CHECK(std::abs(u(0, 0)) <= 0.8);
      largest = std::max({largest, std::abs(x(0, 0)) / 0.5, std::abs(u(0, 0)) / 0.8});
      Backend::StateVector next = A * x + B * u;
      for (Index i = 0; i < 2 && t + 1 < steps; ++i) {
        next(i, 0) += problem.noise * sign(value(noise[static_cast<std::size_t>(i)], steps - 2 - t));
      }
      x = next;
    }
  }
  CHECK(largest > 0.85);
}

TEST_CASE("on the estimate itself the certificate is exact") {
  Problem problem = safe_integrator(0, 0.05, 0.6, 0.9);
  for (const bool started : {false, true}) {
    if (started) problem.x0 = test::state_vector(Dense{{0.5}, {-0.2}});
    const Design found = synthesis::safe_fir(problem, IpoptSolver(), {.length = 10});
    REQUIRE(found.status == SynthesisStatus::solved);
    double least = infinity;
    for (const double margin : found.certificate.state_margins) least = std::min(least, margin);
    for (const double margin : found.certificate.input_margins) least = std::min(least, margin);
    CHECK(worst_overshoot(problem, loop_of(problem, found.controller)) == Catch::Approx(-least).margin(1e-9));
    CHECK(least >= 0);
  }
}

TEST_CASE("more exploration and more uncertainty cost more and need a higher level") {
  double last_cost = 0;
  double last_level = 0;
  const auto check = [&](double epsilon, double exploration, const synthesis::SafeOptions& options) {
    const Design found =
        synthesis::safe_fir(safe_integrator(epsilon, exploration, 0.46, 0.8), IpoptSolver(), options);
    REQUIRE(found.status == SynthesisStatus::solved);
    CHECK(found.nominal_cost >= last_cost * (1 - 1e-4));
    CHECK(found.tau_min >= last_level * (1 - 1e-5));
    last_cost = found.nominal_cost;
    last_level = found.tau_min;
  };
  check(0.01, 0, {.length = 10, .tau = 0.1});
  const double quiet = last_cost;
  check(0.01, 0.03, {.length = 10, .tau = 0.1});
  CHECK(last_cost > quiet * (1 + 1e-3));
  last_cost = last_level = 0;
  check(0, 0.02, {.length = 10});
  const double certain = last_cost;
  check(0.015, 0.02, {.length = 10});
  CHECK(last_cost > certain * (1 + 1e-3));
  CHECK(last_level > 0.1);
}

TEST_CASE("limits that cannot be kept are an answer") {
  // The noise alone moves the state by 0.1.
  const Design tight = synthesis::safe_fir(safe_integrator(0.01, 0, 0.09, 5), IpoptSolver(), {.length = 8});
  CHECK(tight.status == SynthesisStatus::infeasible);
  CHECK(tight.tau_min == infinity);
  CHECK(tight.controller.length() == 0);
  // The exploration alone exceeds the limit of the input.
  const Design loud = synthesis::safe_fir(safe_integrator(0.01, 0.9, 9, 0.8), IpoptSolver(), {.length = 8});
  CHECK(loud.status == SynthesisStatus::infeasible);
  CHECK(loud.tau_min == infinity);
  // Safe on the estimate, but not on all plants.
  const Design wide =
      synthesis::safe_fir(safe_integrator(0.05, 0.02, 0.55, 0.8), IpoptSolver(), {.length = 8});
  CHECK(wide.status == SynthesisStatus::infeasible);
  CHECK(wide.tau_min > 0.3);
  const Design unstable = synthesis::safe_fir(safe_integrator(0.2, 0, 99, 99), IpoptSolver(), {.length = 8});
  CHECK(unstable.status == SynthesisStatus::infeasible);
  CHECK(unstable.tau_min > 1);
  // One input needs two steps for two states.
  const Design quick = synthesis::safe_fir(safe_integrator(0, 0, 9, 9), IpoptSolver(), {.length = 1});
  CHECK(quick.status != SynthesisStatus::solved);
  // A first state that is out already.
  Problem late = safe_integrator(0.01, 0, 0.55, 5);
  late.x0 = test::state_vector(Dense{{0.6}, {0}});
  CHECK(synthesis::safe_fir(late, IpoptSolver(), {.length = 8}).status == SynthesisStatus::infeasible);
}

TEST_CASE("a solver's wrong or missing solution is not passed on as safe") {
  const Problem problem = safe_integrator(0.01, 0.02, 0.5, 0.8);
  const auto wrong = [](const synthesis::QpProblem& programme) {
    synthesis::QpSolution solution = IpoptSolver()(programme);
    for (double& x : solution.x) x *= 3;
    return solution;
  };
  CHECK(synthesis::safe_fir(problem, wrong, {.length = 8, .tau = 0.3}).status == SynthesisStatus::failed);
  const auto none = [](const synthesis::QpProblem&) { return synthesis::QpSolution{}; };
  CHECK(synthesis::safe_fir(problem, none, {.length = 8}).status == SynthesisStatus::failed);
}

TEST_CASE("bad safe problems are refused by name") {
  using Catch::Matchers::ContainsSubstring;
  const Problem good = safe_integrator(0.01, 0.02, 0.5, 0.8);
  const auto refuse = [&](auto type, const char* name, const auto& change,
                          const synthesis::SafeOptions& options = {}) {
    Problem problem = good;
    change(problem);
    CHECK_THAT(
        test::message_of<decltype(type)>([&] { synthesis::safe_fir(problem, IpoptSolver(), options); }),
        ContainsSubstring(name));
  };
  const InvalidOption option("");
  const DimensionMismatch shape("");
  const NotFinite number("");
  for (const double bad : {-0.1, infinity, not_a_number}) {
    refuse(option, "epsilon_A", [&](Problem& x) { x.epsilon_A = bad; });
    refuse(option, "epsilon_B", [&](Problem& x) { x.epsilon_B = bad; });
    refuse(option, "noise", [&](Problem& x) { x.noise = bad; });
    refuse(option, "exploration", [&](Problem& x) { x.exploration = bad; });
    refuse(option, "tau", [](Problem&) {}, {.tau = bad});
  }
  refuse(option, "tau", [](Problem&) {}, {.tau = 1});
  refuse(option, "length", [](Problem&) {}, {.length = 0});
  refuse(shape, "state_limits[1].weights", [](Problem& x) { x.state_limits[1].weights = {1}; });
  refuse(option, "state_limits[0].weights", [](Problem& x) { x.state_limits[0].weights = {0, 0}; });
  refuse(number, "state_limits[0].limit", [](Problem& x) { x.state_limits[0].limit = infinity; });
  refuse(shape, "input_limits[0].weights", [](Problem& x) { x.input_limits[0].weights = {1, 2}; });
  refuse(number, "input_limits[0].weights", [](Problem& x) { x.input_limits[0].weights = {not_a_number}; });
  refuse(shape, "x0", [](Problem& x) { x.x0 = Backend::zero_state(3); });
  refuse(number, "x0", [](Problem& x) { x.x0 = test::state_vector(Dense{{not_a_number}, {0}}); });
  CHECK_THROWS_AS(synthesis::certify_safety(good, Controller()), DimensionMismatch);
  CHECK_THROWS_AS(synthesis::certify_safety(
                      good, Controller({Backend::zero_state_matrix(3) + Eigen::MatrixXd::Identity(3, 3)},
                                       {Backend::zero_gain(1, 3)})),
                  DimensionMismatch);
}
