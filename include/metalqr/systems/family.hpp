#pragma once

/// @file
/// A family of tasks, how different its members are, and what the generators of families share.

#include <cmath>
#include <cstddef>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/check.hpp>
#include <metalqr/core/error.hpp>
#include <metalqr/equations/spectral_norm.hpp>
#include <metalqr/lqr/evaluation.hpp>
#include <metalqr/lqr/task.hpp>
#include <metalqr/lqr/task_list.hpp>

namespace metalqr::inline METALQR_ABI::systems {

/// Tasks with the facts about how they were drawn. It reads like a list of tasks.
template <MatrixBackend Backend>
struct Family {
  std::vector<Task<Backend>> tasks;  ///< task 0 is the nominal one
  Index redrawn = 0;                 ///< matrices drawn again because they broke a pairwise bound
  Index destabilised = 0;            ///< plants drawn again because the demanded gain did not stabilise them

  /// First task.
  auto begin() const noexcept { return tasks.begin(); }
  /// Behind the last task.
  auto end() const noexcept { return tasks.end(); }
  /// Number of tasks.
  std::size_t size() const noexcept { return tasks.size(); }
  /// Task i.
  const Task<Backend>& operator[](std::size_t i) const noexcept { return tasks[i]; }
};

/// How far each matrix of a task may be from that of the others; a number alone stands for all four.
struct Levels {
  /// The same level for A, B, Q and R (joint heterogeneity).
  Levels(double joint) : A(joint), B(joint), Q(joint), R(joint) {}  // NOLINT(google-explicit-constructor)
  /// One level for each matrix; 0 keeps the nominal one.
  Levels(double for_A, double for_B, double for_Q, double for_R) : A(for_A), B(for_B), Q(for_Q), R(for_R) {}

  double A;  ///< of the dynamics
  double B;  ///< of the input matrix
  double Q;  ///< of the state cost
  double R;  ///< of the input cost
};

/// Levels of a family whose plants differ while the costs agree.
inline Levels system_levels(double level) {
  return {level, level, 0, 0};
}
/// Levels of a family whose costs differ while the plants agree.
inline Levels cost_levels(double level) {
  return {0, 0, level, level};
}
/// Levels of a family whose plants and costs differ.
inline Levels joint_levels(double level) {
  return {level, level, level, level};
}

/// Throws `InvalidOption` naming the first level that is negative or not finite.
inline void validate(const Levels& level) {
  for (const auto& [value, name] : {std::pair{level.A, "level.A"}, std::pair{level.B, "level.B"},
                                    std::pair{level.Q, "level.Q"}, std::pair{level.R, "level.R"}}) {
    metalqr::detail::require_option(value >= 0 && std::isfinite(value), name, value, "a finite number >= 0");
  }
}

/// Heterogeneity of a fleet: largest spectral-norm distances between its tasks, over all pairs (Toso et al.,
/// L4DC 2024, assumption 1).
template <class Scalar>
struct Heterogeneity {
  Scalar eps1{};  ///< max |A_i - A_j|
  Scalar eps2{};  ///< max |B_i - B_j|
  Scalar eps3{};  ///< max |Q_i - Q_j|
  Scalar eps4{};  ///< max |R_i - R_j|
};

/// Measures the heterogeneity of a fleet: M (M - 1)/2 pairs of four matrices.
/// @throws InvalidOption (empty list), DimensionMismatch.
template <TaskList Tasks>
Heterogeneity<ScalarOf<Tasks>> heterogeneity(const Tasks& tasks) {
  using Backend = BackendOf<Tasks>;
  const auto fleet = checked_fleet(tasks);
  Heterogeneity<ScalarOf<Tasks>> most;
  const auto raise = [](auto& largest, const auto& x, const auto& y) {
    using X = std::remove_cvref_t<decltype(x)>;
    const X difference = x - y;
    const auto distance = spectral_norm<Backend>(difference);
    if (distance > largest) largest = distance;
  };
  for (std::size_t i = 1; i < fleet.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      raise(most.eps1, fleet[i].A(), fleet[j].A());
      raise(most.eps2, fleet[i].B(), fleet[j].B());
      raise(most.eps3, fleet[i].Q(), fleet[j].Q());
      raise(most.eps4, fleet[i].R(), fleet[j].R());
    }
  }
  return most;
}

namespace detail {

inline void require_generator(Index count, const Levels& level, int max_redraws) {
  metalqr::detail::require_option(count >= 1, "count", static_cast<double>(count), "at least 1");
  metalqr::detail::require_option(max_redraws >= 0, "max_redraws", max_redraws, "a number >= 0");
  validate(level);
}

/// Throws unless K has the right shape and stabilises the nominal task, which every family contains.
template <MatrixBackend Backend>
void require_stabilises_nominal(const Task<Backend>& nominal, const typename Backend::Gain& K) {
  metalqr::detail::require_shape<Backend>(K, nominal.nu(), nominal.nx(), "must_be_stabilised_by");
  metalqr::detail::require_finite<Backend>(K, "must_be_stabilised_by");
  if (is_stabilizing(nominal, K)) return;
  const double radius = Backend::to_double(spectral_radius(nominal, K));
  throw NotStabilizing(
      "must_be_stabilised_by: expected a gain that stabilises the nominal task, got spectral radius " +
          metalqr::detail::text(radius),
      radius);
}

[[noreturn]] inline void give_up_stabilising(std::size_t task, Index redraws) {
  throw NotStabilizable("must_be_stabilised_by: no plant that the gain stabilises after " +
                        std::to_string(redraws) + " redraws (max_redraws) of task " + std::to_string(task) +
                        "; lower level.A and level.B or choose another gain");
}

/// The nominal task with other matrices; an error says which task of the family it is about.
template <MatrixBackend Backend>
Task<Backend> member(const Task<Backend>& nominal, const typename Backend::StateMatrix& A,
                     const typename Backend::InputMatrix& B, const typename Backend::StateMatrix& Q,
                     const typename Backend::ControlMatrix& R, std::size_t task) {
  try {
    return {A, B, Q, R, nominal.Sigma0()};
  } catch (const NotPositiveDefinite& error) {
    throw NotPositiveDefinite("level: too large for the nominal cost, task " + std::to_string(task) +
                              " has " + error.what());
  }
}

}  // namespace detail
}  // namespace metalqr::inline METALQR_ABI::systems
