// The iterations for Riccati equations on several problems at a time, in the lanes of a pack.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <tuple>
#include <utility>
#include <vector>

#include <metalqr/equations/riccati_steps.hpp>

#include "lane_support.hpp"

namespace {

using metalqr::LaneTraits;
using metalqr::detail::riccati_doubling;
using metalqr::detail::riccati_newton;
using metalqr::detail::RiccatiDoubling;
using metalqr::detail::RiccatiNewton;
using metalqr::detail::RiccatiProblem;
using test::Dense;
using test::Index;

template <class Scalar>
using Bounded = metalqr::EigenBackend<Scalar, metalqr::dynamic, metalqr::dynamic, 16, 16>;

using Packs = std::tuple<metalqr::PackOf<double>, metalqr::PackOf<float>>;

struct Problem {
  Dense A, B, Q, R;
  Dense K;  // where Newton's method starts
};

/// The problems in the lanes of a pack.
template <class Scalar>
RiccatiProblem<Bounded<Scalar>> packed(const std::vector<Problem>& lanes) {
  using Lanes = Bounded<Scalar>;
  const Index nx = lanes[0].B.rows;
  const Index nu = lanes[0].B.cols;
  const auto fill = [&lanes](auto zeros, const auto& member) {
    std::vector<Dense> values;
    for (const Problem& lane : lanes) values.push_back(test::rounded_to<Scalar>(lane.*member));
    return test::filled_lanes(zeros, values);
  };
  return {.A = fill(Lanes::zero_state_matrix(nx), &Problem::A),
          .B = fill(Lanes::zero_input_matrix(nx, nu), &Problem::B),
          .Q = fill(Lanes::zero_state_matrix(nx), &Problem::Q),
          .R = fill(Lanes::zero_control_matrix(nu), &Problem::R),
          .N = Lanes::zero_input_matrix(nx, nu),
          .has_cross = false};
}

template <class Scalar>
typename Bounded<Scalar>::Gain packed_gains(const std::vector<Problem>& lanes) {
  std::vector<Dense> values;
  for (const Problem& lane : lanes) values.push_back(test::rounded_to<Scalar>(lane.K));
  return test::filled_lanes(Bounded<Scalar>::zero_gain(values[0].rows, values[0].cols), values);
}

/// Problems that end after different numbers of steps, or do not end well.
std::vector<Problem> mixed_problems(Index nx, Index nu, metalqr::Stream& stream) {
  std::vector<Problem> result;
  const auto add = [&](double rho) -> Problem& {
    const auto [task, K] = test::random_problem(nx, nu, rho, stream);
    result.push_back({task.A, task.B, task.Q, task.R, K});
    return result.back();
  };
  for (const double rho : {0.5, 0.9, 0.999, 0.2}) add(rho);
  add(1.3);                     // Newton's start does not stabilise
  add(0.9).Q = Dense(nx, nx);   // the smallest solution is zero
  add(0.99).A = Dense(nx, nx);  // solved before the first step
  add(0.9).B = Dense(nx, nu);   // not stabilisable
  add(0.9).K = Dense(nu, nx);
  Problem& cheap = add(0.9);  // solved before the first step, where I + GQ rounds to a singular matrix
  cheap.A = Dense(nx, nx);
  cheap.Q = test::identity(nx);
  for (long double& entry : cheap.B.entries) entry = 1;
  cheap.R = 0x1p-60L * test::identity(nu);
  add(0.9).A(0, nx - 1) = std::numeric_limits<double>::quiet_NaN();
  add(0.9).Q(nx - 1, 0) = std::numeric_limits<double>::infinity();
  add(0.9).A(0, 0) = 1e30L;
  Problem& marginal = add(0.9);  // the closed loops tend to the limit
  marginal.A = test::identity(nx);
  marginal.Q = Dense(nx, nx);
  return result;
}

template <class X>
bool same_lane(const X& x, const X& y, Index lane) {
  const std::vector<long double> first = test::lane_of(x, lane).entries;
  const std::vector<long double> second = test::lane_of(y, lane).entries;
  return std::equal(first.begin(), first.end(), second.begin(), second.end(),
                    [](long double a, long double b) { return a == b || (a != a && b != b); });
}

/// Whether the answers in a lane have the same bits.
template <class Scalar>
bool same(const RiccatiDoubling<Bounded<Scalar>>& x, const RiccatiDoubling<Bounded<Scalar>>& y, Index lane) {
  using Lane = LaneTraits<Scalar>;
  const auto finite = [lane](const auto& all) { return Lane::test(Bounded<Scalar>::is_finite(all.H), lane); };
  return Lane::test(x.converged, lane) == Lane::test(y.converged, lane) &&
         Lane::get(x.iterations, lane) == Lane::get(y.iterations, lane) && finite(x) == finite(y) &&
         (!finite(x) || same_lane(x.H, y.H, lane));
}

template <class Scalar>
bool same(const RiccatiNewton<Bounded<Scalar>>& x, const RiccatiNewton<Bounded<Scalar>>& y, Index lane) {
  using Lane = LaneTraits<Scalar>;
  return Lane::test(x.converged, lane) == Lane::test(y.converged, lane) &&
         Lane::test(x.inconclusive, lane) == Lane::test(y.inconclusive, lane) &&
         Lane::get(x.steps, lane) == Lane::get(y.steps, lane) &&
         test::same_bits(Lane::get(x.residual, lane), Lane::get(y.residual, lane)) &&
         same_lane(x.P, y.P, lane) && same_lane(x.K, y.K, lane);
}

template <class Scalar>
RiccatiDoubling<Bounded<Scalar>> doubled(const std::vector<Problem>& lanes) {
  const auto problem = packed<Scalar>(lanes);
  return riccati_doubling<Bounded<Scalar>>(problem.A, problem.control_weight(), problem.Q, 40);
}

/// From the gains of the problems or, `from_solution`, from what doubling found, as the solver does.
template <class Scalar>
RiccatiNewton<Bounded<Scalar>> polished(const std::vector<Problem>& lanes, bool from_solution) {
  using Lanes = Bounded<Scalar>;
  const auto problem = packed<Scalar>(lanes);
  if (!from_solution) {
    return riccati_newton<Lanes>(problem, Lanes::zero_like(problem.Q), packed_gains<Scalar>(lanes), 100);
  }
  auto start = doubled<Scalar>(lanes);
  // What a lane without a solution holds is of no use to anyone.
  metalqr::detail::clear_lanes<Lanes>(!Lanes::is_finite(start.H), start.H);
  return riccati_newton<Lanes>(problem, start.H, problem.gain(start.H), 100);
}

/// How many lanes have other bits beside others than alone, over many ways to put them side by side.
template <class Scalar, class Solve>
int spoiled_lanes(Index nx, Index nu, metalqr::Stream& stream, const Solve& solve) {
  const std::vector<Problem> problems = mixed_problems(nx, nu, stream);
  using Result = decltype(solve(problems));
  constexpr auto width = static_cast<std::size_t>(test::width<Scalar>);
  std::vector<Result> alone;
  for (const Problem& problem : problems) alone.push_back(solve(std::vector<Problem>(width, problem)));
  int spoiled = 0;
  for (int shuffle = 0; shuffle < 100; ++shuffle) {
    std::vector<std::size_t> chosen;
    std::vector<Problem> lanes;
    for (std::size_t lane = 0; lane < width; ++lane) {
      chosen.push_back(static_cast<std::size_t>(stream.uniform(0, static_cast<double>(problems.size()))));
      lanes.push_back(problems[chosen.back()]);
    }
    const Result together = solve(lanes);
    for (std::size_t lane = 0; lane < width; ++lane) {
      if (same<Scalar>(together, alone[chosen[lane]], static_cast<Index>(lane))) continue;
      UNSCOPED_INFO("lane " << lane << " with problem " << chosen[lane] << " of shuffle " << shuffle);
      ++spoiled;
    }
  }
  return spoiled;
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("structured doubling gives each lane what it gives that lane alone", "", Packs) {
  metalqr::Stream stream = test::stream(81);
  for (const auto& [nx, nu] : {std::pair<Index, Index>{2, 1}, {1, 1}, {4, 2}, {9, 3}}) {
    CAPTURE(nx, nu);
    CHECK(spoiled_lanes<TestType>(nx, nu, stream, doubled<TestType>) == 0);
  }
}

TEMPLATE_LIST_TEST_CASE("Newton-Kleinman steps give each lane what they give that lane alone", "", Packs) {
  metalqr::Stream stream = test::stream(82);
  for (const auto& [nx, nu] : {std::pair<Index, Index>{2, 1}, {1, 1}, {4, 2}, {9, 3}}) {
    for (const bool from_solution : {false, true}) {
      CAPTURE(nx, nu, from_solution);
      const auto solve = [&](const std::vector<Problem>& lanes) {
        return polished<TestType>(lanes, from_solution);
      };
      CHECK(spoiled_lanes<TestType>(nx, nu, stream, solve) == 0);
    }
  }
}

TEMPLATE_LIST_TEST_CASE("both iterations solve, in each lane, what they say they have solved", "", Packs) {
  using Lane = LaneTraits<TestType>;
  metalqr::Stream stream = test::stream(83);
  const double epsilon = test::epsilon_of<TestType>();
  int solved = 0;
  for (int sample = 0; sample < 40; ++sample) {
    std::vector<Problem> lanes;
    for (Index lane = 0; lane < Lane::count; ++lane) {
      const auto [task, K] = test::random_problem(3, 2, stream.uniform(0.1, 0.95), stream);
      lanes.push_back({test::rounded_to<TestType>(task.A), test::rounded_to<TestType>(task.B),
                       test::rounded_to<TestType>(task.Q), test::rounded_to<TestType>(task.R), K});
    }
    const auto by_doubling = doubled<TestType>(lanes);
    const auto by_newton = polished<TestType>(lanes, false);
    const auto from_doubling = polished<TestType>(lanes, true);
    for (Index lane = 0; lane < Lane::count; ++lane) {
      const Problem& p = lanes[static_cast<std::size_t>(lane)];
      // P = Q + A'PF for the gain of P, in long double; relative to P, which is at least Q.
      const auto defect = [&p](const Dense& P) {
        const Dense BP = transpose(p.B) * P;
        const Dense K = test::solve(p.R + BP * p.B, BP * p.A);
        return static_cast<double>(norm(p.Q + transpose(p.A) * P * (p.A - p.B * K) - P) / norm(P));
      };
      CHECK(Lane::test(by_doubling.converged, lane));
      CHECK(Lane::test(by_newton.converged, lane));
      CHECK(Lane::test(from_doubling.converged, lane));
      // |A|^2 |K| ... of these plants is below 1e3.
      CHECK(defect(test::lane_of(by_doubling.H, lane)) < 1e4 * epsilon);
      CHECK(defect(test::lane_of(by_newton.P, lane)) < 1e4 * epsilon);
      CHECK(defect(test::lane_of(from_doubling.P, lane)) < 1e4 * epsilon);
      ++solved;
    }
  }
  CHECK(solved >= 40);
}
