#pragma once

/// @file
/// Learning a plant while every limit on its states and inputs is kept.

#include <algorithm>
#include <cstdint>
#include <exception>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <metalqr/adaptive/set_membership.hpp>
#include <metalqr/core/backend.hpp>
#include <metalqr/core/check.hpp>
#include <metalqr/core/error.hpp>
#include <metalqr/core/random.hpp>
#include <metalqr/identification/dataset.hpp>
#include <metalqr/synthesis/fir_controller.hpp>
#include <metalqr/synthesis/safe_fir.hpp>
#include <metalqr/synthesis/safe_problem.hpp>

namespace metalqr::inline METALQR_ABI::adaptive {

/// How `explore_safely` works.
struct SafeExplorationOptions {
  Index epochs = 3;                 ///< at least 1; each ends with a new estimate and, if there is one, a
                                    ///< new controller
  Index steps = 200;                ///< of an epoch, from 1 to 1 000 000: each is a row of the programmes
  synthesis::SafeOptions design{};  ///< of the controllers
};

/// Checks options.
/// @throws InvalidOption.
inline void validate(const SafeExplorationOptions& options) {
  using metalqr::detail::require_option;
  require_option(options.epochs >= 1, "epochs", static_cast<double>(options.epochs), "at least 1");
  require_option(options.steps >= 1 && options.steps <= 1'000'000, "steps",
                 static_cast<double>(options.steps), "a number from 1 to 1000000");
  synthesis::validate(options.design);
}

/// How an exploration ended.
enum class SafeExplorationStatus {
  finished,      ///< all epochs were run
  no_controller  ///< no step was taken: there is no safe controller at first, or the solver found none
};

/// The enumerator's name.
constexpr const char* to_string(SafeExplorationStatus status) {
  return status == SafeExplorationStatus::finished ? "finished" : "no_controller";
}

/// What happened in an epoch.
template <MatrixBackend Backend>
struct SafeEpoch {
  identification::Rollout<Backend> data;                          ///< states and inputs, as they were
  double least_margin = std::numeric_limits<double>::infinity();  ///< least distance to a limit; negative if
                                                                  ///< one was broken
  MembershipStatus membership = MembershipStatus::failed;         ///< what the data left of the plants
  double epsilon_A = 0;                                           ///< radius in |.|_inf after the epoch
  double epsilon_B = 0;                                           ///< radius in |.|_inf after the epoch
  bool redesigned = false;  ///< whether a new controller was found for the smaller set; else the old one,
                            ///< whose promise holds for ever, goes on
};

/// An exploration.
template <MatrixBackend Backend>
struct SafeExploration {
  SafeExplorationStatus status = SafeExplorationStatus::no_controller;  ///< how it ended
  std::vector<SafeEpoch<Backend>> epochs;                               ///< in turn
  synthesis::SafeProblem<Backend> problem;  ///< the plants that are left, with the last state as first state
  synthesis::SafeDesign<Backend> design;    ///< the last design that was solved
  synthesis::FirController<Backend> controller;  ///< that design's, as it stands at the last state
  Index epochs_run = 0;  ///< of all calls; the next one's number, which its random numbers depend on
};

namespace detail {

/// The design, or a failed one where the estimate or the solver throws: a plant that runs under an older safe
/// controller must not be left alone for that.
template <DecomposingBackend Backend, synthesis::QpSolver Solver>
synthesis::SafeDesign<Backend> design_if_any(const synthesis::SafeProblem<Backend>& problem,
                                             const Solver& solver, const synthesis::SafeOptions& options) {
  try {
    return synthesis::safe_fir(problem, solver, options);
  } catch (const std::exception&) {
    return {};
  }
}

}  // namespace detail

/// Goes on with an exploration, as if it had not stopped: n epochs and then m are, bitwise, n + m with the
/// same options, key and plant. The controller goes on from what it remembers, with its promise, and is
/// replaced only after an epoch, as ever. One without a controller is given back as it is. Only `epochs` may
/// be dropped in between.
/// @param earlier what `explore_safely` gave.
/// @param plant the same plant, where the last epoch left it.
/// @param key the same as before: epochs have streams of their own.
/// @throws InvalidOption for bad options or an exploration with a controller but no state or number of
/// epochs; DimensionMismatch, NotFinite for a state that the plant gives, or an exploration that does not
/// fit.
template <DecomposingBackend Backend, class Plant, synthesis::QpSolver Solver>
SafeExploration<Backend> explore_safely(SafeExploration<Backend> earlier, Plant&& plant, const Solver& solver,
                                        const SafeExplorationOptions& options = {},
                                        const StreamKey& key = {}) {
  using StateVector = typename Backend::StateVector;
  using ControlVector = typename Backend::ControlVector;
  using Scalar = typename Backend::Scalar;
  validate(options);
  synthesis::validate(earlier.problem);
  SafeExploration<Backend> result = std::move(earlier);
  if (result.controller.length() == 0) return result;
  metalqr::detail::require_option(result.problem.x0.has_value(), "earlier.problem.x0", 0, "the last state");
  metalqr::detail::require_option(result.epochs_run >= 0, "earlier.epochs_run",
                                  static_cast<double>(result.epochs_run), "at least 0");
  const synthesis::SafeProblem<Backend>& problem = result.problem;
  const Index n = problem.estimate.nx();
  const Index p = problem.estimate.nu();
  metalqr::detail::require_shape<Backend>(result.controller.input_response().front(), p, n,
                                          "earlier.controller");
  synthesis::detail::require_practical(problem, options.design.length);
  StateVector x = *problem.x0;
  for (Index e = 0; e < options.epochs; ++e) {
    Stream stream(key.child(static_cast<std::uint64_t>(result.epochs_run)).with_purpose(Purpose::excitation));
    SafeEpoch<Backend> epoch;
    epoch.data = {Backend::zero_matrix(options.steps + 1, n), Backend::zero_matrix(options.steps, p)};
    const auto observe = [&](const std::vector<synthesis::SafetyLimit>& limits, const auto& v) {
      for (const synthesis::SafetyLimit& one : limits) {
        double left = one.limit;
        for (Index i = 0; i < Backend::rows(v); ++i) {
          left -= one.weights[static_cast<std::size_t>(i)] * Backend::to_double(v(i, 0));
        }
        epoch.least_margin = std::min(epoch.least_margin, left);
      }
    };
    for (Index t = 0; t < options.steps; ++t) {
      ControlVector u = result.controller(x);
      for (Index i = 0; i < p; ++i) u(i, 0) += static_cast<Scalar>(problem.exploration * stream.rademacher());
      observe(problem.state_limits, x);
      observe(problem.input_limits, u);
      for (Index i = 0; i < n; ++i) epoch.data.states(t, i) = x(i, 0);
      for (Index i = 0; i < p; ++i) epoch.data.inputs(t, i) = u(i, 0);
      x = plant(u);
      metalqr::detail::require_shape<Backend>(x, n, 1, "plant");
      metalqr::detail::require_finite<Backend>(x, "plant");
    }
    for (Index i = 0; i < n; ++i) epoch.data.states(options.steps, i) = x(i, 0);
    observe(problem.state_limits, x);

    const Membership<Backend> left =
        consistent_plants(result.problem, identification::Dataset<Backend>({epoch.data}), solver);
    epoch.membership = left.status;
    result.problem = left.problem;
    result.problem.x0 = x;
    epoch.epsilon_A = left.problem.epsilon_A;
    epoch.epsilon_B = left.problem.epsilon_B;
    if (left.status == MembershipStatus::solved) {
      synthesis::SafeDesign<Backend> next = detail::design_if_any(result.problem, solver, options.design);
      if (next.status == synthesis::SynthesisStatus::solved) {
        result.design = std::move(next);
        result.controller = result.design.controller;
        epoch.redesigned = true;
      }
    }
    result.epochs.push_back(std::move(epoch));
    ++result.epochs_run;
  }
  result.status = SafeExplorationStatus::finished;
  return result;
}

/// Learns a plant under its safe controllers: u = v + eta, v the controller's and eta = +-sigma_eta in every
/// entry, with equal probability, from streams of `key` with the purpose `excitation`, a child for each
/// epoch. After every epoch the set of plants is cut down to those that agree with its data, and the
/// controller is designed anew for that, from the state where the plant is; where that fails or throws, the
/// old one stays. If the plant is one of the problem's and its noise keeps its bound, no limit is broken at
/// any time (Dean, Tu, Matni and Recht, "Safely learning to control the constrained linear quadratic
/// regulator", ACC 2019, with sets that noise bounds imply instead of confidence). Another call can go on
/// where this one ends.
/// @param plant a callable that applies an input u_t and gives the state x_{t+1}.
/// @param solver a solver of quadratic programmes, such as `IpoptSolver`.
/// @throws what `synthesis::safe_fir` throws for the first design; InvalidOption; DimensionMismatch,
/// NotFinite for a state that the plant gives.
template <DecomposingBackend Backend, class Plant, synthesis::QpSolver Solver>
SafeExploration<Backend> explore_safely(const synthesis::SafeProblem<Backend>& problem, Plant&& plant,
                                        const Solver& solver, const SafeExplorationOptions& options = {},
                                        const StreamKey& key = {}) {
  validate(options);
  SafeExploration<Backend> result{SafeExplorationStatus::no_controller, {}, problem, {}, {}, 0};
  result.design = synthesis::safe_fir(problem, solver, options.design);
  if (result.design.status != synthesis::SynthesisStatus::solved) return result;
  result.controller = result.design.controller;
  if (!problem.x0) result.problem.x0 = Backend::zero_state(problem.estimate.nx());
  return explore_safely(std::move(result), plant, solver, options, key);
}

}  // namespace metalqr::inline METALQR_ABI::adaptive
