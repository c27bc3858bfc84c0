#include <metalqr/identification/bootstrap_trials.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include <metalqr/core/eigen.hpp>
#include <metalqr/equations/spectral_norm.hpp>
#include <metalqr/identification/experiment.hpp>
#include <metalqr/identification/least_squares.hpp>
#include <metalqr/systems/plants.hpp>

#include "support.hpp"

using metalqr::StreamKey;
using metalqr::identification::collect;
using metalqr::identification::Dataset;
using metalqr::identification::least_squares;
using metalqr::identification::Rollout;
using metalqr::identification::detail::BootstrapTrials;
using metalqr::identification::detail::mixed_rollouts;
using test::Backend;
using test::dense;
using test::Dense;
using test::Index;

namespace {

/// The same matrices without lanes.
struct NoLanes : metalqr::EigenBackend<double> {
  using Lanes = void;
};

struct Errors {
  std::vector<double> A, B;
};

template <class AnyBackend>
Errors trials_of(const typename AnyBackend::StateMatrix& A, const typename AnyBackend::InputMatrix& B,
                 const typename AnyBackend::Gain& K, double excitation, double noise,
                 const Dataset<AnyBackend>& data, Index count, std::uint64_t seed) {
  using Trials = BootstrapTrials<AnyBackend>;
  const auto rollouts = mixed_rollouts(data);
  const Index size = data.nx() + data.nu();
  typename AnyBackend::Matrix factor = AnyBackend::identity_like(AnyBackend::zero_matrix(size, size));
  factor(0, size - 1) = 0.5;
  factor(0, 0) = 3;
  const Trials trials(A, B, K, factor, excitation, noise, rollouts);
  Errors errors;
  errors.A.resize(static_cast<std::size_t>(count + Trials::lanes));
  errors.B = errors.A;
  for (Index i = 0; i < count; i += Trials::lanes) {
    trials.run(i, {.seed = seed}, errors.A.data() + i, errors.B.data() + i);
  }
  errors.A.resize(static_cast<std::size_t>(count));
  errors.B.resize(static_cast<std::size_t>(count));
  return errors;
}

/// Largest difference of the distribution functions of two samples.
double distance(std::vector<double> a, std::vector<double> b) {
  std::sort(a.begin(), a.end());
  std::sort(b.begin(), b.end());
  double largest = 0;
  for (std::size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    const double value = std::min(a[i], b[j]);
    while (i < a.size() && a[i] <= value) ++i;
    while (j < b.size() && b[j] <= value) ++j;
    largest = std::max(largest, std::abs(static_cast<double>(i) / static_cast<double>(a.size()) -
                                         static_cast<double>(j) / static_cast<double>(b.size())));
  }
  return largest;
}

/// Kolmogorov and Smirnov's distance that two samples of one distribution exceed with probability 1e-6 at
/// most.
double allowed_distance(std::size_t size) {
  return std::sqrt(-0.5 * std::log(0.5e-6)) * std::sqrt(2.0 / static_cast<double>(size));
}

/// Of a plant with one state and one input: rollouts from `starts` of the given lengths, by the definition.
struct Scalar {
  double a, b, k, excitation, noise;
  std::vector<std::pair<double, Index>> rollouts;

  Errors direct(Index count, std::uint64_t seed) const {
    Errors errors;
    metalqr::Stream stream = test::stream(seed);
    for (Index trial = 0; trial < count; ++trial) {
      double xx = 0;
      double xu = 0;
      double uu = 0;
      double xw = 0;
      double uw = 0;
      for (const auto& [start, steps] : rollouts) {
        double x = start;
        for (Index t = 0; t < steps; ++t) {
          const double u = excitation * stream.normal() - k * x;
          const double w = noise * stream.normal();
          xx += x * x;
          xu += x * u;
          uu += u * u;
          xw += x * w;
          uw += u * w;
          x = a * x + b * u + w;
        }
      }
      const double determinant = xx * uu - xu * xu;
      errors.A.push_back(std::abs(uu * xw - xu * uw) / determinant);
      errors.B.push_back(std::abs(xx * uw - xu * xw) / determinant);
    }
    return errors;
  }

  Errors mixed(Index count, std::uint64_t seed) const {
    std::vector<Rollout<Backend>> recorded;
    for (const auto& [start, steps] : rollouts) {
      recorded.push_back({Backend::zero_matrix(steps + 1, 1), Backend::zero_matrix(steps, 1)});
      recorded.back().states(0, 0) = start;
    }
    const auto matrix = [](double value) { return Backend::Matrix::Constant(1, 1, value); };
    return trials_of<Backend>(matrix(a), matrix(b), matrix(k), excitation, noise, Dataset<Backend>(recorded),
                              count, seed);
  }
};

}  // namespace

TEST_CASE("norms of rows are the largest singular values, in every lane") {
  using Lanes = metalqr::LanesOf<Backend>;
  using Pack = Lanes::Scalar;
  metalqr::Stream stream = test::stream(90);
  for (const Index count : {1, 2, 3, 5}) {
    for (const Index cols : {1, 3, 4}) {
      std::vector<Dense> plain;
      Lanes::Matrix X = Lanes::zero_matrix(2 + count, cols);
      for (Index lane = 0; lane < metalqr::lane_count<Backend>; ++lane) {
        plain.push_back(test::random_matrix(count, cols, stream));
        // Singular values that nearly coincide, and none at all.
        if (lane == 1) plain.back() = Dense(count, cols);
        if (lane == 0 && count == 3 && cols == 3) plain.back() = {{1, 0, 0}, {0, 1 - 1e-9, 0}, {0, 0, 0.5}};
      }
      for (Index i = 0; i < count; ++i) {
        for (Index j = 0; j < cols; ++j) {
          X(2 + i, j) = metalqr::LaneTraits<Pack>::make(
              [&](Index lane) { return static_cast<double>(plain[static_cast<std::size_t>(lane)](i, j)); });
        }
      }
      const Pack norms = metalqr::identification::detail::norm_of_rows<Lanes>(X, 2, count);
      for (Index lane = 0; lane < metalqr::lane_count<Backend>; ++lane) {
        const double norm = metalqr::LaneTraits<Pack>::get(norms, lane);
        const Dense& rows = plain[static_cast<std::size_t>(lane)];
        if (test::norm(rows) == 0) {
          CHECK(norm == 0);
        } else {
          const std::vector<double> values =
              Backend::singular_values(test::filled(Backend::zero_matrix(count, cols), rows));
          CHECK(std::abs(norm / values.front() - 1) < 1e-11);
        }
      }
    }
  }
}

// 100000 trials each way make a difference of 1 % of the distribution visible: one degree of freedom too many
// in a chi number is one.
TEST_CASE("mixed rollouts have the errors' distribution of all rollouts; false alarm 1e-5") {
  const Index count = 100000;
  const std::vector<Scalar> problems{
      // From the origin, with more, as many, and fewer rollouts than random numbers in each.
      {0.9, 1.0, 0.0, 1.0, 1.0, {{0, 2}, {0, 2}, {0, 2}, {0, 2}, {0, 2}, {0, 2}}},
      {1.1, 0.5, 0.0, 2.0, 0.5, {{0, 3}, {0, 3}, {0, 3}}},
      // From elsewhere, of different lengths, under feedback.
      {0.8, 1.0, 0.3, 1.0, 1.0, {{2, 1}, {-1, 2}, {0, 2}, {3, 2}, {1, 4}, {0.5, 1}}},
      // One trajectory, from zero and not.
      {0.7, 1.0, 0.0, 1.0, 0.3, {{0, 12}}},
      {0.7, 1.0, 0.2, 1.0, 0.3, {{4, 8}}}};
  std::uint64_t seed = 62;
  for (const Scalar& problem : problems) {
    const Errors direct = problem.direct(count, seed++);
    const Errors mixed = problem.mixed(count, seed++);
    CHECK(distance(direct.A, mixed.A) < allowed_distance(direct.A.size()));
    CHECK(distance(direct.B, mixed.B) < allowed_distance(direct.B.size()));
  }
}

// Constant, alternating and growing excitation, which no random numbers of one level resemble.
TEST_CASE("recorded rollouts are repeated with new noise alone; false alarm 4e-6") {
  const Index count = 50000;
  for (const double k : {0.0, 0.4}) {
    std::vector<Rollout<Backend>> rollouts;
    const std::vector<std::pair<double, Index>> plans{{0, 5}, {2, 3}, {-1, 4}};
    std::vector<std::vector<double>> excitations;
    for (const auto& [start, steps] : plans) {
      rollouts.push_back({Backend::zero_matrix(steps + 1, 1), Backend::zero_matrix(steps, 1)});
      excitations.emplace_back();
      rollouts.back().states(0, 0) = start;
      for (Index t = 0; t < steps; ++t) {
        const double e = steps == 5 ? 3.0 : steps == 3 ? (t % 2 == 0 ? 1.0 : -1.0) : std::pow(2.0, t);
        excitations.back().push_back(e);
        // Any states; what was excitation is what the feedback leaves of the input.
        rollouts.back().states(t + 1, 0) = 0.3 * static_cast<double>(t) - 1;
        rollouts.back().inputs(t, 0) = e - k * rollouts.back().states(t, 0);
      }
    }
    Errors direct;
    metalqr::Stream stream = test::stream(180);
    for (Index trial = 0; trial < count; ++trial) {
      double xx = 0;
      double xu = 0;
      double uu = 0;
      double xw = 0;
      double uw = 0;
      for (std::size_t i = 0; i < plans.size(); ++i) {
        double x = plans[i].first;
        for (const double e : excitations[i]) {
          const double u = e - k * x;
          const double w = 0.7 * stream.normal();
          xx += x * x;
          xu += x * u;
          uu += u * u;
          xw += x * w;
          uw += u * w;
          x = 0.8 * x + 0.5 * u + w;
        }
      }
      const double determinant = xx * uu - xu * xu;
      direct.A.push_back(std::abs(uu * xw - xu * uw) / determinant);
      direct.B.push_back(std::abs(xx * uw - xu * xw) / determinant);
    }
    const auto number = [](double value) { return Backend::Matrix::Constant(1, 1, value); };
    const Dataset<Backend> data(rollouts);
    const auto recorded = metalqr::identification::detail::recorded_rollouts<Backend>(data, number(k));
    using Recorded = metalqr::identification::detail::RecordedRollout<double>;
    using Trials = BootstrapTrials<Backend, Recorded>;
    const Trials trials(number(0.8), number(0.5), number(k),
                        Backend::identity_like(Backend::zero_matrix(2, 2)), 1, 0.7, recorded);
    Errors repeated;
    repeated.A.resize(static_cast<std::size_t>(count + Trials::lanes));
    repeated.B = repeated.A;
    for (Index i = 0; i < count; i += Trials::lanes)
      trials.run(i, {.seed = 181}, repeated.A.data() + i, repeated.B.data() + i);
    repeated.A.resize(static_cast<std::size_t>(count));
    repeated.B.resize(static_cast<std::size_t>(count));
    CHECK(distance(direct.A, repeated.A) < allowed_distance(direct.A.size()));
    CHECK(distance(direct.B, repeated.B) < allowed_distance(direct.B.size()));
  }
}

TEST_CASE("the distance of distributions would show one degree of freedom too many") {
  const Index count = 100000;
  const Scalar five{0.9, 1.0, 0.0, 1.0, 1.0, {{0, 2}, {0, 2}, {0, 2}, {0, 2}, {0, 2}}};
  Scalar six = five;
  six.rollouts.push_back({0, 2});
  const Errors direct = five.direct(count, 80);
  CHECK(distance(direct.A, six.mixed(count, 81).A) > 3 * allowed_distance(direct.A.size()));
}

TEST_CASE(
    "trials on several states have the distribution of experiments and their estimates; false alarm 4e-6") {
  metalqr::Stream stream = test::stream(63);
  const auto problem = test::random_problem(3, 2, 0.9, stream);
  const auto task = test::make_task(problem.task);
  const Backend::Gain K = test::gain(problem.K);
  const std::size_t count = 3000;
  for (const bool from_origin : {true, false}) {
    std::vector<Backend::StateVector> starts(12, Backend::zero_state(3));
    if (!from_origin) {
      for (auto& start : starts) start = test::state_vector(test::random_matrix(3, 1, stream));
    }
    const auto experiment = [&](std::uint64_t trial) {
      std::vector<Rollout<Backend>> rollouts;
      for (std::size_t i = 0; i < starts.size(); ++i) {
        const auto one =
            collect(task, K, starts[i], {.rollouts = 1, .horizon = 4, .excitation = 0.5, .noise = 0.2},
                    {.seed = 64, .iteration = trial, .task = i});
        rollouts.push_back(one[0]);
      }
      return Dataset<Backend>(rollouts);
    };
    Errors direct;
    for (std::uint64_t trial = 0; trial < count; ++trial) {
      const auto estimate = least_squares(experiment(trial));
      direct.A.push_back(metalqr::spectral_norm<Backend>(Backend::StateMatrix(estimate.A - task.A())));
      direct.B.push_back(metalqr::spectral_norm<Backend>(Backend::InputMatrix(estimate.B - task.B())));
    }
    const Errors mixed =
        trials_of<Backend>(task.A(), task.B(), K, 0.5, 0.2, experiment(0), static_cast<Index>(count), 65);
    CHECK(distance(direct.A, mixed.A) < allowed_distance(count));
    CHECK(distance(direct.B, mixed.B) < allowed_distance(count));
  }
}

TEST_CASE("lanes and plain numbers give the same trials") {
  const auto task = metalqr::systems::laplacian_3<Backend>();
  const auto data = collect(task, {.rollouts = 50}, {.seed = 66});
  std::vector<Rollout<NoLanes>> plain;
  for (const auto& rollout : data.rollouts()) plain.push_back({rollout.states, rollout.inputs});
  const Backend::Gain K = Backend::Gain::Constant(3, 3, 0.1);
  const Errors lanes = trials_of<Backend>(task.A(), task.B(), K, 1, 0.5, data, 33, 67);
  const Errors single = trials_of<NoLanes>(task.A(), task.B(), K, 1, 0.5, Dataset<NoLanes>(plain), 33, 67);
  for (std::size_t i = 0; i < 33; ++i) {
    CHECK(std::abs(lanes.A[i] / single.A[i] - 1) < 1e-11);
    CHECK(std::abs(lanes.B[i] / single.B[i] - 1) < 1e-11);
  }
}

TEST_CASE("trials that do not determine the plant have infinite errors, and without noise there are none") {
  const auto task = metalqr::systems::laplacian_3<Backend>();
  const Backend::Gain K = Backend::zero_gain(3, 3);
  const auto one = collect(task, {.rollouts = 1, .horizon = 3}, {.seed = 68});
  const Errors few = trials_of<Backend>(task.A(), task.B(), K, 1, 1, one, 16, 69);
  for (const double error : few.A) CHECK(error == std::numeric_limits<double>::infinity());
  const Errors still =
      trials_of<Backend>(task.A(), task.B(), K, 0, 1, collect(task, {}, {.seed = 68}), 16, 69);
  for (const double error : still.B) CHECK(error == std::numeric_limits<double>::infinity());
  const Errors exact =
      trials_of<Backend>(task.A(), task.B(), K, 1, 0, collect(task, {}, {.seed = 68}), 16, 69);
  for (const double error : exact.A) CHECK(error == 0);
  for (const double error : exact.B) CHECK(error == 0);
}

TEST_CASE("in the coordinates of the data, rollouts that explode are no harder than others") {
  // States grow by 5 a step in one direction: after 11 steps regressors differ by 1e7, their squares by 1e14.
  const Dense A{{5, 1, 0}, {0, 0.5, 0.2}, {0, 0, 0.3}};
  const Dense mix{{1, 2, -1}, {0, 1, 1}, {1, 0, 1}};
  const Dense full = transpose(solve(transpose(mix), transpose(mix * A)));
  const metalqr::Task<Backend> task =
      test::make_task({full, test::identity(3), test::identity(3), test::identity(3), test::identity(3)});
  const auto data = collect(task, {.rollouts = 20, .horizon = 11}, {.seed = 70});
  const auto estimate = least_squares(data);
  const auto rollouts = mixed_rollouts(data);
  using Trials = BootstrapTrials<Backend>;
  const Trials trials(task.A(), task.B(), Backend::zero_gain(3, 3), estimate.factor, 1, 1, rollouts);
  Errors mixed;
  const Index count = 2000;
  mixed.A.resize(static_cast<std::size_t>(count));
  mixed.B = mixed.A;
  for (Index i = 0; i < count; i += Trials::lanes) {
    trials.run(i, {.seed = 71}, mixed.A.data() + i, mixed.B.data() + i);
  }
  Errors direct;
  for (Index i = 0; i < count; ++i) {
    const auto own = least_squares(collect(task, {.rollouts = 20, .horizon = 11},
                                           {.seed = 72, .task = static_cast<std::uint64_t>(i)}, 1));
    direct.A.push_back(metalqr::spectral_norm<Backend>(Backend::StateMatrix(own.A - task.A())));
    direct.B.push_back(metalqr::spectral_norm<Backend>(Backend::InputMatrix(own.B - task.B())));
  }
  CHECK(distance(direct.A, mixed.A) < allowed_distance(mixed.A.size()));
  CHECK(distance(direct.B, mixed.B) < allowed_distance(mixed.B.size()));
}
