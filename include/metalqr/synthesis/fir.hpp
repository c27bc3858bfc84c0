#pragma once

/// @file
/// Robust system-level synthesis of a dynamic controller with finite responses.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include <metalqr/core/backend.hpp>
#include <metalqr/equations/spectral_norm.hpp>
#include <metalqr/lqr/evaluation.hpp>
#include <metalqr/synthesis/certificate.hpp>
#include <metalqr/synthesis/fir_controller.hpp>
#include <metalqr/synthesis/fir_cost.hpp>
#include <metalqr/synthesis/fir_design.hpp>
#include <metalqr/synthesis/fir_level.hpp>
#include <metalqr/synthesis/fir_programme.hpp>
#include <metalqr/synthesis/fir_reach.hpp>
#include <metalqr/synthesis/input_units.hpp>
#include <metalqr/synthesis/problem.hpp>
#include <metalqr/synthesis/robust_gain.hpp>
#include <metalqr/synthesis/robust_options.hpp>
#include <metalqr/synthesis/sdp.hpp>

namespace metalqr::inline METALQR_ABI::synthesis {

namespace detail {

/// Synthesis with finite responses for one problem, at any level.
template <DecomposingBackend Backend, SdpSolver Solver>
class FirSynthesis {
 public:
  using StateMatrix = typename Backend::StateMatrix;
  using Gain = typename Backend::Gain;
  using Scalar = typename Backend::Scalar;

  FirSynthesis(const RobustProblem<Backend>& problem, const Solver& solver, const FirOptions& options)
      : FirSynthesis(validated(problem, options), solver, options,
                     input_unit(problem.estimate, problem.epsilon_B)) {}

  /// Whether there is any response of this length.
  bool exists() const {
    const Task<Backend>& task = problem_.estimate;
    return slack_ || can_end<Backend>(closed_loop(task, cost_.K), task.B(), length_);
  }

  /// The least level; infinity if the solver does not find it.
  double least_level() {
    const double unit = largest_radius();
    const FirProgramme<Backend> programme = at_level(unit > 0 ? unit : 1);
    ++solves_;
    const SdpSolution solution = solver_(programme.least_level(shares_));
    if (!has_solution(solution.status)) return std::numeric_limits<double>::infinity();
    const double objective = std::max(-solution.primal_objective, 0.0);
    const double level = slack_ ? objective : std::sqrt(objective);
    // Radii that are zero leave any level; what stands for them shall too.
    if (!(unit > 0) && level > 0.5) floor_ *= 0.5 / level;
    return unit * level;
  }

  /// The level of responses that need no programme, not below the least one.
  double certain_level() const {
    const FirController<Backend> controller = horizon();
    if (controller.length() == 0) return std::numeric_limits<double>::infinity();
    return level(problem_, controller, alpha_).value + end(problem_.estimate, controller);
  }

  /// Whether a least level of the programme that is not below `gamma` proves that the true one is not: its
  /// floors may raise it.
  bool is_proved(double gamma, double least) const {
    if (!(largest_radius() > 0)) return false;
    // A level is never below epsilon_A, since Phi_x begins with I.
    if (gamma <= problem_.epsilon_A / std::sqrt(alpha_.value_or(1))) return true;
    const auto floor = [this](double radius, double share) {
      const double least_radius = floor_ * largest_radius();
      return radius < least_radius ? least_radius / std::sqrt(share) : 0;
    };
    return gamma + added_by_floors(problem_, length_, gamma,
                                   floor(problem_.epsilon_B, 1 - alpha_.value_or(0)),
                                   floor(problem_.epsilon_A, alpha_.value_or(1))) <=
           least * (1 + 1e-6);
  }

  /// The design at a level, `solved` if it passed the checks. Where the level is not active, the programme
  /// only finds the responses of least cost that end, which is hard for its solver if there are few others.
  FirDesign<Backend> design(double gamma) {
    FirDesign<Backend> result = programmed(gamma);
    verify(result);
    if (result.status == SynthesisStatus::solved || slack_) return result;
    FirDesign<Backend> other;
    other.gamma = gamma;
    const FirController<Backend> controller = horizon();
    if (controller.length() == 0) return result;
    other.alpha = alpha_.value_or(level(problem_, controller, alpha_).argument);
    complete(other, controller.state_response(), controller.input_response());
    verify(other);
    return other.status == SynthesisStatus::solved ? other : result;
  }

  int solves() const { return solves_; }

 private:
  // Responses of least cost that end or, with slack, those of the optimal gain.
  FirController<Backend> horizon() const {
    return horizon_response(problem_.estimate, cost_.K, cost_.S, length_, !slack_);
  }
  // The design at a level, not checked yet.
  FirDesign<Backend> programmed(double gamma) {
    const FirProgramme<Backend> programme = at_level(gamma > 0 ? gamma : 1);
    ++solves_;
    const SdpSolution solution = solver_(programme.least_cost(shares_, cost_.U, cost_.T));
    FirDesign<Backend> result;
    result.gamma = gamma;
    if (!has_solution(solution.status)) return result;
    result.alpha = shares_.free ? programme.alpha(solution) : shares_.alpha;

    // Along the dynamics, where the stabilising K keeps the programme's residuals from growing.
    const Task<Backend>& task = problem_.estimate;
    const Index q = Backend::rows(cost_.U);
    std::vector<StateMatrix> states;
    std::vector<Gain> inputs;
    StateMatrix state = Backend::identity_like(task.A());
    for (Index k = 0; k < length_; ++k) {
      Gain root = Backend::zero_like(cost_.K);
      StateMatrix deviation = state;
      for (Index j = 0; j < task.nx(); ++j) {
        for (Index a = 0; a < task.nu(); ++a) {
          root(a, j) = static_cast<Scalar>(programme.cost_root(solution, k, q - task.nu() + a, j, q));
        }
        for (Index i = 0; slack_ && i < task.nx(); ++i) {
          deviation(i, j) -= static_cast<Scalar>(programme.state(solution, k, i, j));
        }
      }
      const Gain input = Gain(Backend::solve(cost_.S, root)) - Gain(Backend::product(cost_.K, deviation));
      states.push_back(state);
      inputs.push_back(input);
      state = StateMatrix(Backend::product(task.A(), state)) + StateMatrix(Backend::product(task.B(), input));
    }
    if (Backend::is_finite(state)) complete(result, states, inputs);
    return result;
  }

  // Fills in the controller of responses of the scaled input, and its cost.
  void complete(FirDesign<Backend>& result, const std::vector<StateMatrix>& states,
                std::vector<Gain> inputs) const {
    const Scalar cost = response_cost(problem_.estimate, states, inputs);
    for (Gain& input : inputs) input = input / static_cast<Scalar>(unit_);
    result.controller = FirController<Backend>(states, std::move(inputs));
    result.h2_squared = noise_scale_ * Backend::to_double(cost);
    result.cost_bound = result.h2_squared / ((1 - result.gamma) * (1 - result.gamma));
  }

  // Fills in what the controller does on the estimate, and sets `solved` if it is proved stable, its level
  // at most gamma and its cost at most h2_squared, up to 1e-6 relative.
  void verify(FirDesign<Backend>& result) const {
    constexpr double slack = 1 + 1e-6;
    const double promised = result.cost_bound;
    result.cost_bound = std::numeric_limits<double>::infinity();
    if (result.controller.length() == 0) return;
    result.nominal_cost = cost(given_.estimate, result.controller.state_space());
    // What the responses leave at their end counts as a perturbation.
    const double rest = end(given_.estimate, result.controller);
    result.achieved_hinf = level(given_, result.controller, result.alpha).value + rest;
    const double margin = 1 - result.achieved_hinf;
    if (margin > 0) result.certified_cost = result.h2_squared / (margin * margin);
    if (margin > 0 && result.achieved_hinf <= result.gamma * slack + 1e-7 &&
        result.nominal_cost * (1 - rest) * (1 - rest) <= result.h2_squared * slack) {
      result.status = SynthesisStatus::solved;
      // Where the solver's rounding let the level pass gamma, the bound follows.
      result.cost_bound = std::max(promised, result.achieved_hinf > result.gamma ? result.certified_cost : 0);
    }
  }

  static const RobustProblem<Backend>& validated(const RobustProblem<Backend>& problem,
                                                 const FirOptions& options) {
    validate(problem);
    validate(options);
    require_practical(options, problem.estimate.nx(), problem.estimate.nu());
    return problem;
  }
  FirSynthesis(const RobustProblem<Backend>& problem, const Solver& solver, const FirOptions& options,
               double unit)
      : given_(problem),
        unit_(unit),
        problem_(in_input_unit(problem, unit)),
        solver_(solver),
        length_(options.length),
        slack_(options.slack),
        alpha_(options.alpha),
        shares_{!options.alpha, options.alpha.value_or(0.5)},
        cost_(problem_.estimate, options.slack) {
    noise_scale_ = noise_scale(problem_.estimate);
    if (slack_) return;
    // Responses that must end may cost far more than the optimal ones.
    const FirController<Backend> ending = horizon();
    const double cost = Backend::to_double(
        response_cost(problem_.estimate, ending.state_response(), ending.input_response()));
    if (cost > cost_.scale && std::isfinite(cost)) cost_.rescale(cost);
  }
  double largest_radius() const { return std::max(problem_.epsilon_A, problem_.epsilon_B); }
  // H_alpha, or its least over alpha.
  static LeastPoint<double> level(const RobustProblem<Backend>& problem,
                                  const FirController<Backend>& controller,
                                  const std::optional<double>& alpha) {
    const auto weighted = [&](double x, double y) {
      return fir_level<Backend>(controller.state_response(), controller.input_response(), x, y);
    };
    if (!alpha) return detail::least_level(problem.epsilon_A, problem.epsilon_B, weighted);
    return {*alpha, split_level(problem.epsilon_A, problem.epsilon_B, *alpha, weighted)};
  }
  // |V|: |Phi_x(L + 1)|.
  static double end(const Task<Backend>& task, const FirController<Backend>& controller) {
    const StateMatrix rest = StateMatrix(Backend::product(task.A(), controller.state_response().back())) +
                             StateMatrix(Backend::product(task.B(), controller.input_response().back()));
    return Backend::to_double(metalqr::spectral_norm<Backend>(rest));
  }
  // The programme divides by radii: one that is zero, or far below the other, is replaced.
  FirProgramme<Backend> at_level(double gamma) const {
    const double largest = largest_radius();
    const double floor = floor_ * (largest > 0 ? largest : gamma);
    return {problem_.estimate,
            length_,
            gamma,
            std::max(problem_.epsilon_A, floor),
            std::max(problem_.epsilon_B, floor),
            slack_};
  }

  const RobustProblem<Backend>& given_;
  double unit_;
  RobustProblem<Backend> problem_;  // of the input unit_ u
  const Solver& solver_;
  Index length_;
  bool slack_;
  std::optional<double> alpha_;
  Shares shares_;
  double floor_ = 1e-3;
  FirCost<Backend> cost_;
  double noise_scale_ = 1;
  int solves_ = 0;
};

}  // namespace detail

/// A dynamic controller that stabilises every plant of the problem, with a bound on its cost there: the
/// responses of length L on the estimate, which end in zero unless `slack` lets them end in V, of least cost
/// among those whose level, with |V|_2 added, is below gamma (Dean, Mania, Matni, Recht and Tu, "On the
/// sample complexity of the linear quadratic regulator", Found. Comput. Math. 20, 2020, section 5.1). Less
/// conservative than `common_lyapunov` where L is long enough for the responses to fade.
///
/// Two semidefinite programmes for a fixed gamma, about twenty-five for `optimised`. One has 2 n^2 L + p n L
/// + ... constraints (slack: n^2 L more) on a block of order n L + n + p, and takes O((n (2 n + p) L)^3): n
/// (2 n + p) L up to 1500 or so is practical. Whether there is any response of this length, and whether those
/// of the optimal gain will do, is found without the solver. A radius below 1e-3 of the other is taken as
/// that by the programme, not by the checks (in units of the input in which |Bhat|_2 + epsilon_B is about
/// one), and two that are zero as 1e-3 gamma or less; a level that may be too high for that reason alone is
/// `failed`, not `infeasible`. A design that is returned as `solved` was verified without the solver:
/// stability, level, cost.
/// @param solver a solver of semidefinite programmes, such as `Csdp`.
/// @throws InvalidOption for bad radii or options, and for a length with more than 10 000 constraints;
/// NotStabilizable, NoConvergence for the estimate; what the solver throws.
template <DecomposingBackend Backend, SdpSolver Solver>
FirDesign<Backend> fir(const RobustProblem<Backend>& problem, const Solver& solver,
                       const FirOptions& options = {}) {
  detail::FirSynthesis<Backend, Solver> synthesis(problem, solver, options);
  const double allowed = options.gamma.value_or(1);
  FirDesign<Backend> result;
  if (!synthesis.exists()) {
    result.status = SynthesisStatus::infeasible;
    result.gamma_min = std::numeric_limits<double>::infinity();
    result.gamma = allowed;
    return result;
  }
  const auto is_above = [allowed](double level) { return allowed <= level * (1 + 1e-6); };
  double least = synthesis.least_level();
  if (is_above(least)) {
    const double certain = synthesis.certain_level();
    if (!is_above(certain)) least = certain;
  }
  if (std::isfinite(least) && is_above(least)) {
    if (synthesis.is_proved(allowed, least)) result.status = SynthesisStatus::infeasible;
    result.gamma = allowed;
  } else if (std::isfinite(least)) {
    const auto design = [&](double gamma) { return synthesis.design(gamma); };
    const bool certain = !(std::max(problem.epsilon_A, problem.epsilon_B) > 0);
    result = options.gamma ? design(*options.gamma)
             : certain     ? design(0)
                           : detail::least_bound(least, design);
    if (result.status != SynthesisStatus::solved) result.controller = {};
  }
  result.gamma_min = least;
  result.solves = synthesis.solves();
  return result;
}

}  // namespace metalqr::inline METALQR_ABI::synthesis
