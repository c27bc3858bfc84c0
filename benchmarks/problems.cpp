#include "problems.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <utility>

#include <metalqr/core/random.hpp>
#include <metalqr/equations/lyapunov.hpp>
#include <metalqr/equations/riccati.hpp>
#include <metalqr/equations/spectral.hpp>
#include <metalqr/lqr/evaluation.hpp>
#include <metalqr/systems/perturbed_family.hpp>
#include <metalqr/systems/plants.hpp>
#include <metalqr/systems/random_task.hpp>

namespace benchmarks {

namespace {

constexpr std::uint64_t seed = 20240615;
constexpr int gain_count = 1024;
constexpr int matrix_count = 20;

bool is_boeing(Size size) {
  return size.nx == 4 && size.nu == 2;
}

std::uint64_t seed_of(Size size) {
  return seed + 1000 * static_cast<std::uint64_t>(size.nx) + static_cast<std::uint64_t>(size.nu);
}

/// A plant and a gain with rho(A - BK) = 0.95.
std::pair<metalqr::Task<Dynamic>, Dynamic::Gain> start(Size size) {
  if (is_boeing(size)) {
    return {metalqr::systems::modified_boeing<Dynamic>(),
            metalqr::systems::modified_boeing_initial_gain<Dynamic>()};
  }
  const auto drawn = metalqr::systems::random_task<Dynamic>(
      {.states = size.nx, .inputs = size.nu, .spectral_radius = 1.1}, seed_of(size));
  const auto optimal = metalqr::solve_dare<Dynamic>(drawn.A(), drawn.B(), drawn.Q(), drawn.R());
  // Scaling A and B scales the closed loop.
  const double scale = 0.95 / metalqr::spectral_radius(drawn, optimal.gain);
  return {metalqr::Task<Dynamic>{scale * drawn.A(), scale * drawn.B(), drawn.Q(), drawn.R()}, optimal.gain};
}

GainProblem make_gain_problem(Size size) {
  auto [task, K0] = start(size);
  GainProblem problem{.task = std::move(task), .gains = {}, .costs = {}};
  for (std::uint64_t i = 0; problem.gains.size() < gain_count; ++i) {
    metalqr::Stream stream({.seed = seed_of(size), .sample = i});
    Dynamic::Gain noise = Dynamic::zero_gain(size.nu, size.nx);
    metalqr::fill_normal<Dynamic>(noise, stream);
    const Dynamic::Gain K = K0 + 1e-3 * noise;
    const auto solution = metalqr::solve_lyapunov<Dynamic>(metalqr::closed_loop(problem.task, K),
                                                           metalqr::stage_cost(problem.task, K));
    if (solution.status != metalqr::Status::converged) continue;
    problem.gains.push_back(K);
    problem.costs.push_back(metalqr::cost(problem.task, K));
    problem.doublings += static_cast<double>(solution.iterations) / gain_count;
  }
  return problem;
}

std::vector<metalqr::Task<Dynamic>> make_riccati_tasks(Size size) {
  if (is_boeing(size)) {
    return metalqr::systems::perturbed_family(metalqr::systems::modified_boeing<Dynamic>(),
                                              {.count = 256, .level = 0.01, .relative_size = 0.45}, seed)
        .tasks;
  }
  const std::uint64_t count = size.nx <= 16 ? 256 : size.nx <= 32 ? 20 : 8;
  std::vector<metalqr::Task<Dynamic>> tasks;
  for (std::uint64_t i = 0; i < count; ++i) {
    tasks.push_back(metalqr::systems::random_task<Dynamic>(
        {.states = size.nx, .inputs = size.nu, .spectral_radius = 1.1}, seed_of(size) + 1000000 * i));
  }
  return tasks;
}

template <class Value, class Make>
const Value& once(Size size, const Make& make) {
  static std::map<std::pair<Index, Index>, Value> made;
  const std::pair<Index, Index> key{size.nx, size.nu};
  const auto found = made.find(key);
  return found != made.end() ? found->second : made.emplace(key, make(size)).first->second;
}

}  // namespace

std::string text(Size size) {
  return std::to_string(size.nx) + "x" + std::to_string(size.nu);
}

const GainProblem& gain_problem(Size size) {
  return once<GainProblem>(size, make_gain_problem);
}

const std::vector<metalqr::Task<Dynamic>>& riccati_tasks(Size size) {
  return once<std::vector<metalqr::Task<Dynamic>>>(size, make_riccati_tasks);
}

std::vector<LyapunovProblem> lyapunov_problems(Index n, double rho) {
  // The draws do not depend on rho: what takes long is done once.
  static std::map<Index, std::vector<LyapunovProblem>> drawn;
  auto& problems = drawn[n];
  for (std::uint64_t i = problems.size(); i < matrix_count; ++i) {
    metalqr::Stream stream({.seed = seed, .task = static_cast<std::uint64_t>(n), .sample = i});
    Dynamic::StateMatrix F = Dynamic::zero_state_matrix(n);
    metalqr::fill_normal<Dynamic>(F, stream);
    F = F / metalqr::spectral_radius<Dynamic>(F);
    Dynamic::StateMatrix G = Dynamic::zero_state_matrix(n);
    metalqr::fill_normal<Dynamic>(G, stream);
    const Dynamic::StateMatrix square = Dynamic::product_transpose(G, G);
    const Dynamic::StateMatrix Q = Dynamic::identity_like(F) + square / static_cast<double>(n);
    problems.push_back({F, Dynamic::symmetrised(Q)});
  }
  std::vector<LyapunovProblem> result = problems;
  for (LyapunovProblem& problem : result) problem.F *= rho;
  return result;
}

double lyapunov_residual(const LyapunovProblem& problem, const Dynamic::StateMatrix& P) {
  return metalqr::lyapunov_residual<Dynamic>(problem.F, problem.Q, P);
}

double riccati_residual(const metalqr::Task<Dynamic>& task, const Dynamic::StateMatrix& P) {
  return metalqr::riccati_residual<Dynamic>(task.A(), task.B(), task.Q(), task.R(),
                                            Dynamic::zero_like(task.B()), P);
}

double median(std::vector<double> values) {
  if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

}  // namespace benchmarks
