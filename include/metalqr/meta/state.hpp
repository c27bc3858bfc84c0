#pragma once

/// @file
/// What a meta-training run carries along, reports and returns.

#include <cstddef>
#include <limits>
#include <string>
#include <vector>

#include <metalqr/lqr/descent.hpp>
#include <metalqr/zeroth_order/fleet.hpp>

namespace metalqr::inline METALQR_ABI::meta {

/// Everything that a run carries from one iteration to the next: continuing from a copy gives the same run,
/// bitwise.
template <class Backend>
struct State {
  DescentState<Backend> descent;                      ///< iterate and step rule
  double inner_step = 0;                              ///< eta_l to try next; 0: none yet
  std::vector<typename Backend::Scalar> start_costs;  ///< J_i(K0), for the guard; empty if not assessed
  std::vector<typename Backend::Scalar> costs;        ///< J_i(K); empty if not assessed
  std::vector<typename Backend::Gain> curvature_directions;  ///< estimates of the Hessians' top eigenvectors
  double first_norm = 0;                                     ///< of the first direction; 0: none yet
  zeroth_order::OracleCalls calls;                           ///< so far
  int guard_refusals = 0;                                    ///< trials that the guard refused
  int skipped_inner_points = 0;  ///< tasks left out of an iteration: their inner point is unstable
  int reduced_inner_steps = 0;   ///< halvings of an inner step, or reductions by its curvature
  Index unstable_probes = 0;     ///< perturbed gains without a finite cost
};

namespace detail {

/// Throws `DimensionMismatch` or `InvalidOption` naming the state unless `state` can be that of a run on
/// `tasks` tasks; `assessed`: that run compares costs.
template <class Backend>
void validate(const State<Backend>& state, std::size_t tasks, bool assessed) {
  const typename Backend::Gain& K = state.descent.K;
  const auto require_like_K = [&K](const typename Backend::Gain& X, const char* name) {
    metalqr::detail::require_shape<Backend>(X, Backend::rows(K), Backend::cols(K), name);
  };
  const auto require_length = [tasks](std::size_t length, const char* name) {
    if (length == 0 || length == tasks) return;
    throw InvalidOption(std::string(name) + ": expected one entry for each of the fleet's " +
                        std::to_string(tasks) + " tasks, got " + std::to_string(length));
  };
  metalqr::detail::require_option(state.descent.iteration >= 0, "state.descent.iteration",
                                  state.descent.iteration, "a number >= 0");
  require_length(state.start_costs.size(), "state.start_costs");
  require_length(state.costs.size(), "state.costs");
  require_length(state.curvature_directions.size(), "state.curvature_directions");
  for (const auto& X : state.curvature_directions) require_like_K(X, "state.curvature_directions");
  if (state.descent.has_previous) {
    require_like_K(state.descent.previous_K, "state.descent.previous_K");
    require_like_K(state.descent.previous_direction, "state.descent.previous_direction");
  }
  for (const auto& pair : state.descent.pairs) {
    require_like_K(pair.step, "state.descent.pairs");
    require_like_K(pair.change, "state.descent.pairs");
  }
  if (assessed && state.descent.iteration > 0 && state.start_costs.empty()) {
    throw InvalidOption(
        "state.start_costs: expected the costs at the start, which the guard or the step rule compares with, "
        "got none");
  }
}

}  // namespace detail

/// One outer iteration.
template <class Backend>
struct Record {
  using Scalar = typename Backend::Scalar;  ///< number type

  int iteration = 0;                  ///< counted from 1
  double step = 0;                    ///< accepted outer step; 0 if none was
  int trials = 0;                     ///< outer steps tried
  double inner_step = 0;              ///< smallest eta_l of the tasks
  double direction_norm = 0;          ///< Frobenius norm of the estimated direction
  zeroth_order::OracleCalls calls{};  ///< since the start of the run
  /// Mean of J_i at the new iterate; NaN if not assessed. Observers find the cost of each task in the state.
  Scalar mean_cost = std::numeric_limits<Scalar>::quiet_NaN();
  Scalar worst_cost = std::numeric_limits<Scalar>::quiet_NaN();  ///< largest J_i; NaN if not assessed
  typename Backend::Gain gain{};                                 ///< the new iterate
};

/// What an observer of meta-training sees after each iteration.
template <class Backend>
struct Info {
  const typename Backend::Gain& K;  ///< the new iterate
  const Record<Backend>& record;    ///< of this iteration
  const State<Backend>& state;      ///< to continue from
};

/// The result of meta-training.
template <class Backend>
struct Result {
  typename Backend::Gain gain;  ///< last iterate; stabilises every task if the guard was on
  Status status =
      Status::iteration_limit;           ///< how it ended; `unstable`: a task was lost (only without guard)
  int iterations = 0;                    ///< done
  zeroth_order::OracleCalls calls;       ///< of the whole run
  int guard_refusals = 0;                ///< trials that the guard refused
  int skipped_inner_points = 0;          ///< see `State`
  int reduced_inner_steps = 0;           ///< see `State`
  Index unstable_probes = 0;             ///< see `State`
  std::vector<Record<Backend>> history;  ///< one record an iteration
};

}  // namespace metalqr::inline METALQR_ABI::meta
