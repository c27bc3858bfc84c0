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
#include <metalqr/core/check.hpp>
#include <metalqr/lqr/optimal_gain.hpp>
#include <metalqr/synthesis/ellipsoid_programme.hpp>
#include <metalqr/synthesis/fir_controller.hpp>
#include <metalqr/synthesis/fir_level.hpp>
#include <metalqr/synthesis/fir_programme.hpp>
#include <metalqr/synthesis/problem.hpp>
#include <metalqr/synthesis/robust_gain.hpp>
#include <metalqr/synthesis/robust_options.hpp>
#include <metalqr/synthesis/sdp.hpp>

namespace metalqr::inline METALQR_ABI::synthesis {

/// How `fir` works.
struct FirOptions {
  Index length = 16;                        ///< L, coefficients of the responses, at least 1
  std::optional<double> gamma = 0.999;      ///< see `RobustOptions`
  std::optional<double> alpha = optimised;  ///< see `RobustOptions`
  /// Whether the responses may end in V that is not zero, at the price of |V| in the level: for plants that
  /// are slow to settle.
  bool slack = false;
};

/// Checks options.
/// @throws InvalidOption.
inline void validate(const FirOptions& options) {
  metalqr::detail::require_option(options.length >= 1, "length", static_cast<double>(options.length),
                                  "at least 1");
  validate(RobustOptions{.gamma = options.gamma, .alpha = options.alpha});
}

/// A dynamic controller for every plant of a `RobustProblem`; see `RobustGain` for the numbers, whose meaning
/// is the same.
template <MatrixBackend Backend>
struct FirDesign {
  SynthesisStatus status = SynthesisStatus::failed;  ///< the rest but `gamma_min` has a meaning if `solved`
  FirController<Backend> controller;                 ///< u = controller(x); empty unless `solved`
  double gamma_min = 0;  ///< least level at this length; infinity if no response is so short
  double gamma = 0;      ///< the level that was asked for or found
  double alpha = 0;      ///< the share of epsilon_A in it
  double h2_squared = std::numeric_limits<double>::infinity();    ///< of the responses, if the noise were s I
  double cost_bound = std::numeric_limits<double>::infinity();    ///< h2_squared / (1 - gamma)^2
  double nominal_cost = std::numeric_limits<double>::infinity();  ///< on the estimate, from the state space
  double achieved_hinf =
      std::numeric_limits<double>::infinity();  ///< exact level, and |V| where Phi ends in V
  double certified_cost = std::numeric_limits<double>::infinity();  ///< h2_squared / (1 - achieved_hinf)^2
  int solves = 0;                                                   ///< semidefinite programmes solved
};

namespace detail {

/// Synthesis with finite responses for one problem, at any level.
template <DecomposingBackend Backend, SdpSolver Solver>
class FirSynthesis {
 public:
  using StateMatrix = typename Backend::StateMatrix;
  using Gain = typename Backend::Gain;
  using Matrix = typename Backend::Matrix;
  using Scalar = typename Backend::Scalar;

  FirSynthesis(const RobustProblem<Backend>& problem, const Solver& solver, const FirOptions& options)
      : problem_(problem), solver_(solver), length_(options.length), slack_(options.slack) {
    validate(problem);
    validate(options);
    shares_ = {!options.alpha, options.alpha.value_or(0.5)};
    const Task<Backend>& task = problem.estimate;
    const RiccatiSolution<Backend> optimal = solve_dare(task);
    const double cost = Backend::to_double(Backend::trace(optimal.value));
    cost_scale_ = cost > 0 ? cost : Backend::to_double(Backend::max_abs(task.R()));
    noise_scale_ = noise_scale(task);
    K_ = optimal.gain;
    set_cost(optimal);
  }

  /// The least level; infinity if there is no response of this length.
  double least_level(bool& failed) {
    const double unit = std::max(problem_.epsilon_A, problem_.epsilon_B);
    const FirProgramme<Backend> programme = at_level(unit > 0 ? unit : 1);
    ++solves_;
    const SdpSolution solution = solver_(programme.least_level(shares_));
    failed = !has_solution(solution.status) && solution.status != SdpStatus::primal_infeasible;
    if (!has_solution(solution.status)) return std::numeric_limits<double>::infinity();
    const double level = std::max(-solution.primal_objective, 0.0);
    return unit * (slack_ ? level : std::sqrt(level));
  }

  /// The design at a level, its level not checked yet.
  FirDesign<Backend> design(double gamma) {
    const FirProgramme<Backend> programme = at_level(gamma > 0 ? gamma : 1);
    ++solves_;
    const SdpSolution solution = solver_(programme.least_cost(shares_, U_, T_));
    FirDesign<Backend> result;
    result.gamma = gamma;
    if (!has_solution(solution.status)) return result;
    result.alpha = shares_.free ? programme.alpha(solution) : shares_.alpha;

    // Along the dynamics, where the stabilising K keeps the programme's residuals from growing.
    const Task<Backend>& task = problem_.estimate;
    const Index q = Backend::rows(U_);
    std::vector<StateMatrix> states;
    std::vector<Gain> inputs;
    StateMatrix state = Backend::identity_like(task.A());
    Scalar cost(0);
    for (Index k = 0; k < length_; ++k) {
      Gain root = Backend::zero_like(K_);
      StateMatrix deviation = state;
      for (Index j = 0; j < task.nx(); ++j) {
        for (Index a = 0; a < task.nu(); ++a) {
          root(a, j) = static_cast<Scalar>(programme.cost_root(solution, k, q - task.nu() + a, j, q));
        }
        for (Index i = 0; slack_ && i < task.nx(); ++i) {
          deviation(i, j) -= static_cast<Scalar>(programme.state(solution, k, i, j));
        }
      }
      const Gain input = Gain(Backend::solve(S_, root)) - Gain(Backend::product(K_, deviation));
      cost += Backend::inner(state, StateMatrix(Backend::product(task.Q(), state))) +
              Backend::inner(input, Gain(Backend::product(task.R(), input)));
      states.push_back(state);
      inputs.push_back(input);
      state = StateMatrix(Backend::product(task.A(), state)) + StateMatrix(Backend::product(task.B(), input));
    }
    if (!Backend::is_finite(state)) return result;
    result.controller = FirController<Backend>(std::move(states), std::move(inputs));
    result.h2_squared = noise_scale_ * Backend::to_double(cost);
    result.cost_bound = result.h2_squared / ((1 - gamma) * (1 - gamma));
    return result;
  }

  /// Fills in what the controller does on the estimate, and sets `solved` if it is proved stable, its level
  /// at most gamma and its cost at most h2_squared, up to 1e-6 relative.
  void verify(FirDesign<Backend>& result) const {
    constexpr double slack = 1 + 1e-6;
    if (result.controller.length() == 0) return;
    const Task<Backend>& task = problem_.estimate;
    result.nominal_cost = cost(task, result.controller.state_space());
    // What the responses leave at their end counts as a perturbation.
    const StateMatrix rest = ending(result.controller);
    const double end = Backend::to_double(metalqr::spectral_norm<Backend>(rest));
    result.achieved_hinf = split_level(problem_.epsilon_A, problem_.epsilon_B, result.alpha,
                                       [&](double x, double y) {
                                         return fir_level<Backend>(result.controller.state_response(),
                                                                   result.controller.input_response(), x, y);
                                       }) +
                           end;
    const double margin = 1 - result.achieved_hinf;
    if (margin > 0) result.certified_cost = result.h2_squared / (margin * margin);
    if (margin > 0 && result.achieved_hinf <= result.gamma * slack + 1e-7 &&
        result.nominal_cost * (1 - end) * (1 - end) <= result.h2_squared * slack) {
      result.status = SynthesisStatus::solved;
    }
  }

  int solves() const { return solves_; }

 private:
  // The programme divides by radii: one that is zero, or far below the other, is replaced.
  FirProgramme<Backend> at_level(double gamma) const {
    const double largest = std::max(problem_.epsilon_A, problem_.epsilon_B);
    const double floor = 1e-3 * (largest > 0 ? largest : gamma);
    return {problem_.estimate,
            length_,
            gamma,
            std::max(problem_.epsilon_A, floor),
            std::max(problem_.epsilon_B, floor),
            slack_};
  }
  // With V = 0, completing squares with the optimal K and S'S = R + B'PB leaves T_u = S, T_x = S K, and tr P
  // besides; else T_u = [0; S], T_x = [Q^1/2; 0] with S'S = R.
  void set_cost(const RiccatiSolution<Backend>& optimal) {
    const Task<Backend>& task = problem_.estimate;
    const Index n = task.nx();
    const Index p = task.nu();
    const auto factor = [this](const auto& x) {
      const Index size = Backend::rows(x);
      Matrix scaled = Backend::zero_matrix(size, size);
      for (Index i = 0; i < size; ++i) {
        for (Index j = 0; j < size; ++j) scaled(i, j) = x(i, j) / static_cast<Scalar>(cost_scale_);
      }
      return Matrix(Backend::transpose(cholesky_factor<Backend>(scaled)));
    };
    using ControlMatrix = typename Backend::ControlMatrix;
    const ControlMatrix curvature = task.R() + ControlMatrix(Backend::congruence(task.B(), optimal.value));
    const Matrix S = slack_ ? factor(task.R()) : factor(curvature);
    S_ = Backend::zero_control_matrix(p);
    for (Index i = 0; i < p; ++i) {
      for (Index j = 0; j < p; ++j) S_(i, j) = S(i, j);
    }
    const Index above = slack_ ? n : 0;
    const Matrix Q = factor(task.Q());
    const Gain SK = Backend::product(S_, K_);
    U_ = Backend::zero_matrix(above + p, p);
    T_ = Backend::zero_matrix(above + p, n);
    for (Index i = 0; i < p; ++i) {
      for (Index j = 0; j < p; ++j) U_(above + i, j) = S(i, j);
      for (Index j = 0; j < n && !slack_; ++j) T_(i, j) = SK(i, j);
    }
    for (Index i = 0; i < above; ++i) {
      for (Index j = 0; j < n; ++j) T_(i, j) = Q(i, j);
    }
  }
  // Phi_x(L + 1).
  StateMatrix ending(const FirController<Backend>& controller) const {
    const Task<Backend>& task = problem_.estimate;
    return StateMatrix(Backend::product(task.A(), controller.state_response().back())) +
           StateMatrix(Backend::product(task.B(), controller.input_response().back()));
  }

  const RobustProblem<Backend>& problem_;
  const Solver& solver_;
  Index length_;
  bool slack_;
  Shares shares_;
  Gain K_;
  typename Backend::ControlMatrix S_;
  Matrix U_;
  Matrix T_;
  double cost_scale_ = 1;
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
/// (2 n + p) L up to 1500 or so is practical. A radius below 1e-3 of the other is taken as that by the
/// programme, not by the checks, and two that are zero as 1e-3 gamma. A design that is returned as `solved`
/// was verified without the solver: stability, level, cost.
/// @param solver a solver of semidefinite programmes, such as `Csdp`.
/// @throws InvalidOption for bad radii or options; NotStabilizable, NoConvergence for the estimate; what the
/// solver throws.
template <DecomposingBackend Backend, SdpSolver Solver>
FirDesign<Backend> fir(const RobustProblem<Backend>& problem, const Solver& solver,
                       const FirOptions& options = {}) {
  detail::FirSynthesis<Backend, Solver> synthesis(problem, solver, options);
  bool failed = false;
  const double least = synthesis.least_level(failed);
  const double allowed = options.gamma.value_or(1);
  FirDesign<Backend> result;
  if (!failed && allowed <= least * (1 + 1e-6)) {
    result.status = SynthesisStatus::infeasible;
    result.gamma = allowed;
  } else if (!failed) {
    const auto design = [&](double gamma) { return synthesis.design(gamma); };
    const bool certain = !(std::max(problem.epsilon_A, problem.epsilon_B) > 0);
    result = options.gamma ? design(*options.gamma)
             : certain     ? design(0)
                           : detail::least_bound(least, design);
    synthesis.verify(result);
    if (result.status != SynthesisStatus::solved) result.controller = {};
  }
  result.gamma_min = least;
  result.solves = synthesis.solves();
  return result;
}

}  // namespace metalqr::inline METALQR_ABI::synthesis
