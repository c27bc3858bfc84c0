#pragma once

/// @file
/// What a run of learning while controlling is told, carries along, reports and returns.

#include <cmath>
#include <functional>
#include <vector>

#include <metalqr/adaptive/controller.hpp>
#include <metalqr/adaptive/regret.hpp>
#include <metalqr/adaptive/schedule.hpp>
#include <metalqr/core/random.hpp>
#include <metalqr/identification/confidence.hpp>
#include <metalqr/identification/recursive_least_squares.hpp>

namespace metalqr::inline METALQR_ABI::adaptive {

/// What the plant is estimated from when an epoch begins.
enum class Data {
  all,   ///< every transition so far
  epoch  ///< those since the last epoch began, as in the analysis of the published algorithm
};

/// How a run works. The defaults are the setting of the experiments of Dean, Mania, Matni, Recht, Tu, "Regret
/// bounds for robust adaptive control of the linear quadratic regulator", NeurIPS 2018.
template <FactoringBackend Backend>
struct Options {
  Schedule schedule{};            ///< epochs and exploration
  Data data = Data::all;          ///< what estimates are from
  double ridge = 1e-5;            ///< of the estimates, weight of |[A B]|_F^2, >= 0
  Index priming_steps = 100;      ///< steps with the first gain before the run, which cost nothing; >= 0
  double priming_excitation = 1;  ///< sigma_u of the random inputs meanwhile, >= 0
  /// How far the plant may be from an estimate, for instance
  /// `[](const auto& estimate) { return identification::trajectory_bound(estimate); }`. If empty, the true
  /// errors, which only a simulation knows, as in the published comparison.
  std::function<identification::Confidence<Backend>(const identification::Estimate<Backend>&)> bound{};
};

/// @throws InvalidOption, which names the field.
template <FactoringBackend Backend>
void validate(const Options<Backend>& options) {
  using metalqr::detail::require_option;
  validate(options.schedule);
  require_option(options.ridge >= 0 && std::isfinite(options.ridge), "ridge", options.ridge,
                 "a finite number >= 0");
  require_option(options.priming_steps >= 0, "priming_steps", static_cast<double>(options.priming_steps),
                 "a number >= 0");
  require_option(options.priming_excitation >= 0 && std::isfinite(options.priming_excitation),
                 "priming_excitation", options.priming_excitation, "a finite number >= 0");
  if (options.data == Data::epoch && options.schedule.epochs == Epochs::determinant) {
    throw InvalidOption("data: expected Data::all where epochs end by the determinant, got Data::epoch");
  }
}

/// Everything that a run carries from one step to the next: continuing from a copy gives the same run,
/// bitwise. Random numbers need no place here: those of step t come from the streams of `key` with iteration
/// t, the exploration from `Purpose::excitation`, the process noise from `Purpose::process_noise`.
template <FactoringBackend Backend>
struct State {
  StreamKey key;                                        ///< of all random numbers
  Index step = 0;                                       ///< steps done, without the priming
  Index epochs = 0;                                     ///< epochs begun
  Index epoch_start = 0;                                ///< step at which the last one began
  typename Backend::StateVector x;                      ///< x_t, n_x
  Controller<Backend> controller;                       ///< in the loop
  identification::RecursiveLeastSquares<Backend> data;  ///< what the next estimate is from
  double log_determinant = 0;  ///< of the regressors' squares when the last epoch began
  Regret regret{};             ///< so far
  Index kept = 0;              ///< epochs without a new controller, whose predecessor remained
  double epsilon_A = 0;        ///< radius about the last estimate of A; infinity if there was no estimate
  double epsilon_B = 0;        ///< the same for B
  bool overflowed = false;     ///< whether the state overflowed: then nothing more happens
};

/// A step of a run, for observers.
template <FactoringBackend Backend>
struct Info {
  const State<Backend>& state;  ///< after the step
  double cost = 0;              ///< x'Qx + u'Ru of the step
  bool new_epoch = false;       ///< whether an epoch began before the step
};

/// How a run ended.
enum class RunStatus {
  completed,  ///< all steps were made
  stopped,    ///< the observer asked to stop
  overflowed  ///< the state overflowed: the closed loop is unstable
};

/// The enumerator's name.
constexpr const char* to_string(RunStatus status) {
  switch (status) {
    case RunStatus::completed:
      return "completed";
    case RunStatus::stopped:
      return "stopped";
    case RunStatus::overflowed:
      return "overflowed";
  }
  return "unknown";
}

/// What some steps of a run gave.
struct RunResult {
  RunStatus status = RunStatus::completed;  ///< how they ended
  std::vector<double> regret;  ///< after each step that was asked for, up to where the observer stopped;
                               ///< +infinity from an overflow on
};

}  // namespace metalqr::inline METALQR_ABI::adaptive
