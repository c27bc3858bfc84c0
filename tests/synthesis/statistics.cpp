// What robust designs are good for: how often they stabilise the plant of which they know an estimate and its
// errors, and at what cost, on the plant and the data of the published experiment.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include <metalqr/core/eigen.hpp>
#include <metalqr/core/parallel.hpp>
#include <metalqr/identification/experiment.hpp>
#include <metalqr/identification/least_squares.hpp>
#include <metalqr/lqr/optimal_gain.hpp>
#include <metalqr/synthesis/common_lyapunov.hpp>
#include <metalqr/synthesis/csdp.hpp>
#include <metalqr/synthesis/fir.hpp>
#include <metalqr/systems/plants.hpp>

#include "support.hpp"

namespace {

namespace identification = metalqr::identification;
namespace synthesis = metalqr::synthesis;
using synthesis::SynthesisStatus;
using test::Index;
using Plant = metalqr::EigenBackend<double, 3, 3>;

using Problem = synthesis::RobustProblem<Plant>;

const double infinity = std::numeric_limits<double>::infinity();

/// Costs beyond the least, relative to it; infinite where there is no design or it does not stabilise.
using Excess = std::vector<double>;

const metalqr::Task<Plant>& plant() {
  static const auto task = metalqr::systems::laplacian_3<Plant>();
  return task;
}

/// The costs of designs from data sets with N = 60, T = 6, whose true errors are given.
template <class Design>
Excess excess(Index data_sets, const Design& design) {
  const double least = metalqr::optimal_cost(plant());
  Excess result(static_cast<std::size_t>(data_sets));
  metalqr::parallel_for(data_sets, [&](Index i) {
    const auto data = identification::collect(plant(), {.rollouts = 60, .horizon = 6},
                                              {.seed = 512, .task = static_cast<std::uint64_t>(i)}, 1);
    const auto estimate = identification::least_squares(data);
    const Plant::StateMatrix error_A = estimate.A - plant().A();
    const Plant::InputMatrix error_B = estimate.B - plant().B();
    const Problem problem{{estimate.A, estimate.B, plant().Q(), plant().R()},
                          metalqr::spectral_norm<Plant>(error_A),
                          metalqr::spectral_norm<Plant>(error_B)};
    result[static_cast<std::size_t>(i)] = design(problem) / least - 1;
  });
  return result;
}

double cost_of_gain(const Problem& problem) {
  const auto design = synthesis::common_lyapunov(problem, synthesis::Csdp(), {.gamma = 0.999});
  return design.status == SynthesisStatus::solved ? metalqr::cost(plant(), design.gain) : infinity;
}

template <bool slack>
double cost_of_controller(const Problem& problem) {
  const auto design = synthesis::fir(problem, synthesis::Csdp(),
                                     {.length = 16, .gamma = 0.999, .alpha = 0.5, .slack = slack});
  return design.status == SynthesisStatus::solved ? synthesis::cost(plant(), design.controller.state_space())
                                                  : infinity;
}

Index count_finite(const Excess& values) {
  return std::count_if(values.begin(), values.end(), [](double value) { return std::isfinite(value); });
}

/// The upper one where their number is even.
double median(Excess values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// Dynamic controllers cost no more than static gains from the same data in the median, and in the median of
/// pairs.
void check_pairs(const Excess& dynamic, Excess fixed) {
  fixed.resize(dynamic.size());
  Excess difference;
  for (std::size_t i = 0; i < fixed.size(); ++i) difference.push_back(dynamic[i] - fixed[i]);
  CAPTURE(median(fixed), median(dynamic));
  CHECK(median(dynamic) <= median(fixed));
  CHECK(median(difference) <= 0);
}

}  // namespace

TEST_CASE("robust designs stabilise the plant of the published experiment") {
  const Excess fixed = excess(50, cost_of_gain);
  const Excess dynamic = excess(4, cost_of_controller<true>);
  CHECK(count_finite(fixed) == 50);
  CHECK(count_finite(dynamic) == 4);
  check_pairs(dynamic, fixed);
}

TEST_CASE("robust designs stabilise the plant of the published experiment every time", "[long]") {
  const Excess fixed = excess(1000, cost_of_gain);
  CHECK(count_finite(fixed) == 1000);
  // Another program, with another solver, found 0.41 from 60 data sets, within 20 % or so.
  CHECK(median(fixed) > 0.33);
  CHECK(median(fixed) < 0.50);
  const Excess dynamic = excess(200, cost_of_controller<true>);
  CHECK(count_finite(dynamic) == 200);
  check_pairs(dynamic, fixed);
  // Responses that must have ended after 16 steps are another matter: without any uncertainty, the least cost
  // is 0.2405858554 / 0.1372871660 = 1.752 times the optimal one.
  const Excess ending = excess(200, cost_of_controller<false>);
  CHECK(count_finite(ending) == 200);
  CHECK(median(ending) > 0.7);
  CHECK(median(ending) < 0.85);
  WARN("cost beyond the least: static " << median(fixed) << ", dynamic " << median(dynamic)
                                        << ", with responses that end " << median(ending));
}
