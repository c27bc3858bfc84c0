// Riccati equations of every difficulty, one by one and many at once: an answer that holds, or a typed error.

#include <array>
#include <cmath>
#include <cstddef>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "lqr/optimal_gains.hpp"

namespace {

using metalqr::RiccatiSolution;
using metalqr::solve_dare;
using test::Backend;
using test::dense;
using test::Dense;
using test::DenseTask;
using test::identity;
using test::Index;
using Task = metalqr::Task<Backend>;

const long double epsilon = Backend::epsilon();

Dense diagonal(const std::vector<long double>& entries) {
  Dense x(static_cast<Index>(entries.size()), static_cast<Index>(entries.size()));
  for (Index i = 0; i < x.rows; ++i) x(i, i) = entries[static_cast<std::size_t>(i)];
  return x;
}

/// D^-1 X D.
Dense in_units(Dense x, const Dense& d) {
  for (Index i = 0; i < x.rows; ++i) {
    for (Index j = 0; j < x.cols; ++j) x(i, j) *= d(j, j) / d(i, i);
  }
  return x;
}

Dense random_diagonal(Index n, double low, double high, metalqr::Stream& stream) {
  std::vector<long double> entries;
  for (Index i = 0; i < n; ++i) entries.push_back(std::pow(10.0L, stream.uniform(low, high)));
  return diagonal(entries);
}

/// Eigenvalues at, or at a distance of 1e-16 ... 1 from, the unit circle.
Dense near_the_circle(Index n, metalqr::Stream& stream) {
  std::vector<long double> entries;
  for (Index i = 0; i < n; ++i) {
    const double margin = stream.uniform(0, 1) < 0.2 ? 0 : std::pow(10, stream.uniform(-16, 0));
    entries.push_back(stream.rademacher() * (1 + stream.rademacher() * margin));
  }
  return diagonal(entries);
}

Dense upper_triangular(Dense x) {
  for (Index i = 0; i < x.rows; ++i) {
    for (Index j = 0; j < i; ++j) x(i, j) = 0;
  }
  return x;
}

Dense integers(Dense x) {
  for (long double& entry : x.entries) entry = std::round(entry);
  return x;
}

constexpr int families = 12;

DenseTask random_task(int family, Index nx, Index nu, metalqr::Stream& stream) {
  const auto power = [&stream](double low, double high) {
    return std::pow(10.0L, stream.uniform(low, high));
  };
  const long double size = power(-2, 1) / std::sqrt(4.0L * static_cast<long double>(nx));
  DenseTask task{size * test::random_matrix(nx, nx, stream), test::random_matrix(nx, nu, stream),
                 test::random_definite(nx, stream), test::random_definite(nu, stream), identity(nx)};
  const Index rank = static_cast<Index>(stream.uniform(0, static_cast<double>(nx)));
  const auto singular = [&] {
    return rank == 0 ? Dense(nx, nx) : test::random_semidefinite(nx, rank, stream);
  };
  switch (family) {
    case 0:  // nothing special
      break;
    case 1:  // modes near the circle that the cost sees little of
      task.A = near_the_circle(nx, stream);
      for (Index i = 0; i < nx; ++i) {
        for (Index j = i + 1; j < nx; ++j) task.A(i, j) = 0.3L * stream.normal();
      }
      task.Q = power(-16, 0) * singular();
      break;
    case 2:  // cost of low rank
      task.Q = singular();
      break;
    case 3:  // controls that cost nearly nothing, or nearly everything
      task.R = power(-14, 14) * task.R;
      break;
    case 4: {  // odd units
      const Dense states = random_diagonal(nx, -8, 8, stream);
      const Dense inputs = random_diagonal(nu, -8, 8, stream);
      task.A = in_units(task.A, states);
      for (Index i = 0; i < nx; ++i) {
        for (Index j = 0; j < nu; ++j) task.B(i, j) *= inputs(j, j) / states(i, i);
      }
      task.Q = states * task.Q * states;
      task.R = inputs * task.R * inputs;
      break;
    }
    case 5:  // modes that the inputs hardly move
      task.B = random_diagonal(nx, -14, 0, stream) * task.B;
      task.A = upper_triangular(0.1L * task.A) +
               1.2L * diagonal(std::vector<long double>(static_cast<std::size_t>(nx), 1));
      break;
    case 6:  // far from normal
      task.A = 5 * upper_triangular(test::random_matrix(nx, nx, stream));
      for (Index i = 0; i < nx; ++i) task.A(i, i) = 0.25L * std::floor(stream.uniform(0, 7));
      task.Q = singular();
      break;
    case 7:  // small integers, so that much is singular
      task.A = integers(test::random_matrix(nx, nx, stream));
      task.B = integers(0.5L * test::random_matrix(nx, nu, stream));
      task.Q = transpose(integers(test::random_matrix(nx, nx, stream)));
      task.Q = transpose(task.Q) * task.Q;
      task.R = identity(nu);
      break;
    case 8: {  // all modes on the circle
      const Dense v = test::random_matrix(nx, 1, stream);
      task.A = identity(nx) - (2 / inner(v, v)) * (v * transpose(v));
      task.Q = test::random_semidefinite(nx, 1, stream);
      break;
    }
    case 9:  // no cost of states
      task.A = test::random_with_radius(nx, 1 + static_cast<double>(power(-15, 0.5)), stream);
      task.Q = Dense(nx, nx);
      break;
    case 10: {  // the unit of cost
      const long double unit = power(-100, 100);
      task.Q = unit * task.Q;
      task.R = unit * power(-3, 3) * task.R;
      break;
    }
    default:  // nothing moves, or not for long
      task.A = upper_triangular(task.A);
      for (Index i = 0; i < nx; ++i) task.A(i, i) = 0;
      if (rank == 0) task.A = Dense(nx, nx);
      task.R = power(-20, 0) * task.R;
  }
  return {test::rounded(task.A), test::rounded(task.B), test::rounded(task.Q), test::rounded(task.R),
          test::rounded(task.Sigma0)};
}

/// The claims of a solution, in long double and in states in which P has a unit diagonal.
struct Checked {
  bool sound = false;           ///< finite, symmetric, P >= 0 on its diagonal, up to rounding
  bool stable = false;          ///< a power of the closed loop has a norm below one half
  long double residual = 0;     ///< normalised, of K and P
  long double rounding = 0;     ///< by how much it may be off in double
  long double sensitivity = 0;  ///< |X|_F of X = I + F'XF: by how much a defect is magnified in P
  Dense P, units;

  Checked(const DenseTask& task, const RiccatiSolution<Backend>& solution)
      : P(dense(solution.value)), units(identity(P.rows)) {
    const Dense K = dense(solution.gain);
    sound = Backend::is_finite(solution.value) && Backend::is_finite(solution.gain);
    for (Index i = 0; i < P.rows; ++i) {
      sound = sound && P(i, i) >= -epsilon * norm(P);
      for (Index j = 0; j < i; ++j) sound = sound && P(i, j) == P(j, i);
    }
    if (!sound) return;
    const Dense F = task.closed_loop(K);
    const Dense effort = transpose(K) * task.R * K;
    const Dense moved = transpose(F) * P * F;
    const long double scale = norm(task.Q) + norm(effort) + norm(moved) + norm(P);
    residual = scale > 0 ? norm(task.Q + effort + moved - P) / scale : 0;
    // Products of n numbers are off by n epsilon; A - BK may cancel.
    const long double A_and_BK = norm(task.A) + norm(task.B) * norm(K);
    const long double terms = A_and_BK * A_and_BK * norm(P) + norm(K) * norm(K) * norm(task.R) + scale;
    rounding = 4 * static_cast<long double>(K.cols + K.rows) * epsilon * (scale > 0 ? terms / scale : 1);
    for (Index i = 0; i < P.rows; ++i) units(i, i) = P(i, i) > 0 ? 1 / std::sqrt(P(i, i)) : 1;
    Dense power = in_units(F, units);
    Dense X = identity(P.rows);
    for (int k = 0; k < 62 && !stable; ++k) {
      X = X + transpose(power) * X * power;
      power = power * power;
      stable = norm(power) < 0.5L;
    }
    sensitivity = norm(X);
  }
};

struct Counts {
  int answers = 0;
  int errors = 0;
  int compared = 0;
};

/// Whether `solve` gives a solution; other errors than those of the Riccati equation fail the test.
template <class Solve>
auto answer_of(const Solve& solve) -> std::optional<decltype(solve())> {
  try {
    return solve();
  } catch (const metalqr::NotStabilizable&) {
  } catch (const metalqr::NoConvergence&) {
  }
  return std::nullopt;
}

void check(const Checked& checked, const RiccatiSolution<Backend>& solution) {
  CHECK(checked.sound);
  CHECK(checked.stable);
  CHECK(checked.residual <= std::sqrt(epsilon));
  CHECK(solution.residual <= std::sqrt(Backend::epsilon()));
  CHECK(std::abs(checked.residual - static_cast<long double>(solution.residual)) <= checked.rounding);
}

Counts check_tasks(std::uint64_t seed, int per_family) {
  Counts counts;
  std::map<std::pair<Index, Index>, std::vector<DenseTask>> by_size;
  for (int family = 0; family < families; ++family) {
    for (int sample = 0; sample < per_family; ++sample) {
      auto stream = test::stream(seed, static_cast<std::uint64_t>(families * sample + family));
      const auto nx = 1 + static_cast<Index>(stream.uniform(0, 12));
      const auto nu = 1 + static_cast<Index>(stream.uniform(0, 4));
      by_size[{nx, nu}].push_back(random_task(family, nx, nu, stream));
    }
  }
  for (const auto& [size, dense_tasks] : by_size) {
    std::vector<DenseTask> solvable;
    std::vector<Task> tasks;
    std::vector<RiccatiSolution<Backend>> alone;
    for (std::size_t i = 0; i < dense_tasks.size(); ++i) {
      CAPTURE(size.first, size.second, i);
      const Task task = test::make_task<Backend>(dense_tasks[i]);
      const auto solution = answer_of([&] { return solve_dare(task); });
      if (!solution) {
        ++counts.errors;
        continue;
      }
      ++counts.answers;
      check(Checked(dense_tasks[i], *solution), *solution);
      solvable.push_back(dense_tasks[i]);
      tasks.push_back(task);
      alone.push_back(*solution);
    }
    const auto together = solve_dare(tasks);
    for (std::size_t i = 0; i < tasks.size(); ++i) {
      CAPTURE(size.first, size.second, i);
      const Checked one(solvable[i], alone[i]);
      const Checked other(solvable[i], together[i]);
      check(other, together[i]);
      // To first order P is off by the sum of (F^k)' D F^k over all k, with D the defect, and D is the
      // residual times at most four norms of P. Where that is small, both answers are the same.
      const Dense scaled = transpose(one.units) * one.P * one.units;
      const Dense difference = one.units * (other.P - one.P) * one.units;
      const auto defect = [&](const Checked& checked) {
        const Dense F = solvable[i].closed_loop(dense((&checked == &one ? alone : together)[i].gain));
        const Dense K = dense((&checked == &one ? alone : together)[i].gain);
        return norm(
            one.units *
            (solvable[i].Q + transpose(K) * solvable[i].R * K + transpose(F) * checked.P * F - checked.P) *
            one.units);
      };
      const long double bound = 2 * one.sensitivity * (defect(one) + defect(other)) + 1e-15L * norm(scaled);
      if (bound > 1e-2L) continue;
      ++counts.compared;
      CHECK(norm(difference) <= bound);
    }
  }
  return counts;
}

}  // namespace

TEST_CASE("every one of 2000 tasks of every difficulty gets an answer that holds, or a typed error") {
  const Counts counts = check_tasks(101, 170);
  CHECK(counts.answers + counts.errors == 170 * families);
  CHECK(counts.answers >= 1500);
  CHECK(counts.compared >= counts.answers * 9 / 10);
}

TEST_CASE("every one of 60000 tasks of every difficulty gets an answer that holds, or a typed error",
          "[.long]") {
  for (std::uint64_t seed = 102; seed < 112; ++seed) {
    const Counts counts = check_tasks(seed, 500);
    CHECK(counts.answers >= 500 * families * 3 / 4);
  }
}
