#pragma once

/// @file
/// What has been published on the modified Boeing fleet, to be laid beside our own results.

#include <string>
#include <vector>

#include <metalqr/equations/riccati.hpp>
#include <metalqr/io/csv.hpp>
#include <metalqr/lqr/evaluation.hpp>
#include <metalqr/lqr/optimal_gain.hpp>
#include <metalqr/systems/plants.hpp>

namespace examples {

/// A point of a published curve.
struct PublishedPoint {
  int iteration;
  double gap;
};

/// Where the published numbers are from.
inline const std::string& published_source() {
  static const std::string source =
      "Toso, Zhan, Anderson, Wang, \"Meta-Learning Linear Quadratic Regulators: A Policy Gradient MAML "
      "Approach for Model-free LQR\", L4DC 2024, Figure 1 and the authors' notebooks";
  return source;
}

/// Optimality gap of the nominal task against the iteration of meta-training (Figure 1, left).
inline const std::vector<PublishedPoint>& published_convergence() {
  static const std::vector<PublishedPoint> points{{0, 19.83},  {1, 14.37},   {2, 9.69},    {3, 6.87},
                                                  {50, 1.035}, {100, 0.551}, {118, 0.447}, {200, 0.228}};
  return points;
}

/// Gap after 500 iterations by level of heterogeneity (Figure 1, middle).
struct PublishedHeterogeneity {
  double level;
  double step;  ///< outer step size eta
  double final_gap;
};
inline const std::vector<PublishedHeterogeneity>& published_heterogeneity() {
  static const std::vector<PublishedHeterogeneity> values{
      {1e-3, 0.8e-5, 0.1196}, {1e-2, 0.4e-5, 0.1715}, {1.5e-2, 0.095e-5, 0.856}};
  return values;
}

/// Gap of the unseen task of the notebooks in adaptation from the random gain (Figure 1, right): at the start
/// and after 300 iterations.
inline constexpr double published_unseen_start = 3.797;
inline constexpr double published_unseen_end = 0.0263;

/// The published convergence as a table that names its source.
inline metalqr::io::Table published_convergence_table() {
  metalqr::io::Table table{
      .comments = {published_source(),
                   "gap J(K) - J* of the nominal task from x0 = (0.25, 0.55, 0.35, 0.45)"},
      .columns = {"iteration", "gap"}};
  for (const PublishedPoint& point : published_convergence())
    table.rows.push_back({static_cast<double>(point.iteration), point.gap});
  return table;
}

/// The ends of the published adaptation as a table that names its source.
inline metalqr::io::Table published_adaptation_table() {
  return {.comments = {published_source(),
                       "gap of the notebooks' unseen task in adaptation from the random gain"},
          .columns = {"iteration", "gap"},
          .rows = {{0, published_unseen_start}, {300, published_unseen_end}}};
}

/// Clock of the published comparison of asynchronous and synchronous learning when the gap is 0.3, from the
/// notebook of arXiv 2404.09061, in ticks. In that notebook stragglers are refreshed at every tick, and the
/// synchronous mean divides a sum over 50 agents by 20, so that a faithful run differs.
inline constexpr double published_asynchronous_clock = 99;
inline constexpr double published_synchronous_clock = 1161;

/// J(K) - J* of a task from the papers' x0 = (0.25, 0.55, 0.35, 0.45); +infinity where K does not stabilise.
template <metalqr::MatrixBackend Backend>
class Gap {
 public:
  explicit Gap(const metalqr::Task<Backend>& task)
      : task_(task.with_initial_state(metalqr::systems::published_gap_second_moment<Backend>())),
        optimum_(metalqr::solve_dare(task_)),
        least_(Backend::inner(optimum_.value, task_.Sigma0())) {}

  double operator()(const typename Backend::Gain& K) const { return metalqr::cost(task_, K) - least_; }
  /// J*, the least cost.
  double least() const { return least_; }
  /// The optimal gain and value matrix.
  const metalqr::RiccatiSolution<Backend>& optimum() const { return optimum_; }

 private:
  metalqr::Task<Backend> task_;
  metalqr::RiccatiSolution<Backend> optimum_;
  double least_;
};

}  // namespace examples
