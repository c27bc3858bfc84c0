#pragma once

/// @file
/// Error bounds by the parametric bootstrap.

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <metalqr/core/check.hpp>
#include <metalqr/core/parallel.hpp>
#include <metalqr/core/random.hpp>
#include <metalqr/identification/bootstrap_trials.hpp>
#include <metalqr/identification/confidence.hpp>
#include <metalqr/identification/dataset.hpp>
#include <metalqr/identification/estimate.hpp>
#include <metalqr/identification/excitation.hpp>

namespace metalqr::inline METALQR_ABI::identification {

/// What is read from the errors of the trials.
enum class Percentiles {
  joint,    ///< a common multiple of the separate percentiles that bounds both errors in 1 - delta of the
            ///< trials
  halved,   ///< 1 - delta/2 of each error (Bonferroni)
  separate  ///< 1 - delta of each error, as in the paper: both hold at once less often
};

/// What the inputs of a trial are, besides feedback.
enum class TrialInputs {
  redrawn,  ///< new random numbers of the level of the data's, as in the paper: for inputs that were such
  recorded  ///< those of the data, so that only the noise is new: for any inputs; takes the time of all steps
};

/// How `bootstrap` works.
struct BootstrapOptions {
  Index trials = 2000;  ///< simulated data sets, at least 1 / delta, 2 / delta for `halved`
  double delta = 0.05;  ///< probability of failure, in (0, 1)
  std::optional<double> excitation = std::nullopt;  ///< sigma_u, >= 0; without it the data's
  std::optional<double> noise = std::nullopt;       ///< sigma_w, >= 0; without it the level of the residual
  Percentiles percentiles = Percentiles::joint;     ///< what is read from the errors
  TrialInputs inputs = TrialInputs::redrawn;        ///< what drives the trials
};

/// @throws InvalidOption, which names the field.
inline void validate(const BootstrapOptions& options) {
  using metalqr::detail::require_option;
  require_option(options.trials >= 1, "trials", static_cast<double>(options.trials), "at least 1");
  detail::require_delta(options.delta);
  // Of fewer, none is beyond the percentile.
  const bool halved = options.percentiles == Percentiles::halved;
  require_option(static_cast<double>(options.trials) * options.delta >= (halved ? 2 : 1) * (1 - 1e-12),
                 "trials", static_cast<double>(options.trials),
                 halved ? "at least 2 / delta" : "at least 1 / delta");
  detail::require_noise(options.noise);
  if (options.excitation) {
    require_option(*options.excitation >= 0 && std::isfinite(*options.excitation), "excitation",
                   *options.excitation, "a finite number >= 0");
    require_option(options.inputs == TrialInputs::redrawn, "excitation", *options.excitation,
                   "none with recorded inputs");
  }
}

/// What the bootstrap found. Trials that do not determine the plant have infinite errors; a bound is infinite
/// where there are too many of them.
template <class Scalar>
struct Bootstrap {
  double epsilon_A = 0;   ///< bound of |A_hat - A|_2
  double epsilon_B = 0;   ///< bound of |B_hat - B|_2
  double delta = 0;       ///< probability that it fails
  double excitation = 0;  ///< sigma_u that was used
  double noise = 0;       ///< sigma_w that was used
  /// The median over the trials of the mean square of their regressors (x, u), in the coordinates in which it
  /// is one for the data. Far from one, trials are unlike the experiment, and say nothing of it: K may be
  /// missing or wrong.
  double regressor_ratio = 0;
  std::vector<Scalar> errors_A;          ///< spectral norm of the error of A in each trial
  std::vector<Scalar> errors_B;          ///< spectral norm of the error of B in each trial
  std::vector<const char*> assumptions;  ///< what was taken on trust, one sentence each
};

namespace detail {

/// The smallest of the values that is at least as large as the fraction `level` of them.
template <class Scalar>
Scalar percentile(std::vector<Scalar> values, double level) {
  const double count = static_cast<double>(values.size());
  // Rounding must not turn 0.95 * 2000 into 1901.
  const double rank = std::ceil(level * count * (1 - 1e-14));
  const Index index = std::clamp<Index>(static_cast<Index>(rank), 1, static_cast<Index>(values.size())) - 1;
  std::nth_element(values.begin(), values.begin() + index, values.end());
  return values[static_cast<std::size_t>(index)];
}

template <class Scalar>
void read_percentiles(const BootstrapOptions& options, Bootstrap<Scalar>& result) {
  const double level = options.percentiles == Percentiles::halved ? 1 - options.delta / 2 : 1 - options.delta;
  const Scalar scale_A = percentile(result.errors_A, level);
  const Scalar scale_B = percentile(result.errors_B, level);
  const auto is_scale = [](Scalar scale) {
    return scale > Scalar(0) && scale < std::numeric_limits<Scalar>::infinity();
  };
  Scalar factor(1);
  if (options.percentiles == Percentiles::joint && is_scale(scale_A) && is_scale(scale_B)) {
    std::vector<Scalar> ratios(result.errors_A.size());
    for (std::size_t i = 0; i < ratios.size(); ++i) {
      ratios[i] = std::max(result.errors_A[i] / scale_A, result.errors_B[i] / scale_B);
    }
    factor = percentile(std::move(ratios), level);
  }
  result.epsilon_A = static_cast<double>(factor * scale_A);
  result.epsilon_B = static_cast<double>(factor * scale_B);
}

/// Makes the errors of all trials.
template <FactoringBackend Backend, class Rollouts>
void run_trials(const BootstrapTrials<Backend, Rollouts>& trials, Index count, const StreamKey& key,
                int threads, Bootstrap<typename Backend::Scalar>& result) {
  constexpr Index lanes = BootstrapTrials<Backend, Rollouts>::lanes;
  // Whole packs; what is beyond the last trial is cut off.
  const Index packs = (count + lanes - 1) / lanes;
  result.errors_A.resize(static_cast<std::size_t>(packs * lanes));
  result.errors_B.resize(static_cast<std::size_t>(packs * lanes));
  auto sizes = result.errors_A;
  // Not the streams with which the data may have been drawn.
  const StreamKey own = key.child(0x626f6f74);
  parallel_for(
      packs,
      [&](Index i) {
        const Index first = i * lanes;
        trials.run(first, own, result.errors_A.data() + first, result.errors_B.data() + first,
                   sizes.data() + first);
      },
      threads);
  result.errors_A.resize(static_cast<std::size_t>(count));
  result.errors_B.resize(static_cast<std::size_t>(count));
  sizes.resize(static_cast<std::size_t>(count));
  result.regressor_ratio = static_cast<double>(percentile(std::move(sizes), 0.5));
}

}  // namespace detail

/// The parametric bootstrap: the experiment that gave `data` is repeated on the estimated plant, from the
/// same initial states, and the plant is estimated anew from all samples each time; the errors of these
/// estimates stand for that of the first (Dean, Mania, Matni, Recht, Tu, arXiv 1710.01688, algorithm 2). Not
/// a theorem, but closer to the true error than the bounds that are. Trials with redrawn inputs are simulated
/// through sums that have exactly the distribution of those of all rollouts; all run several at a time in
/// lanes. Trial i draws from a stream of its own: the result is bitwise the same for any number of threads.
/// @param estimate by ordinary least squares from all transitions of the same data.
/// @param K n_u x n_x, feedback under which the data were collected.
/// @param threads at most so many; 0 leaves it to OpenMP.
/// @throws DimensionMismatch, NotFinite for a bad K or an estimate of another size or number of transitions;
/// InvalidOption, also for an estimate with a ridge.
template <FactoringBackend Backend>
Bootstrap<typename Backend::Scalar> bootstrap(const Estimate<Backend>& estimate, const Dataset<Backend>& data,
                                              const std::type_identity_t<typename Backend::Gain>& K,
                                              const BootstrapOptions& options = {}, const StreamKey& key = {},
                                              int threads = 0) {
  using Scalar = typename Backend::Scalar;
  validate(options);
  const Index nx = data.nx();
  const Index nu = data.nu();
  metalqr::detail::require_shape<Backend>(estimate.A, nx, nx, "estimate.A");
  metalqr::detail::require_shape<Backend>(estimate.B, nx, nu, "estimate.B");
  validate(estimate);
  metalqr::detail::require_option(estimate.ridge == 0, "estimate.ridge", estimate.ridge,
                                  "0, trials are ordinary least squares");
  if (estimate.transitions != data.transitions()) {
    throw DimensionMismatch("estimate.transitions: expected all " + std::to_string(data.transitions()) +
                            " of the data, as in the trials, got " + std::to_string(estimate.transitions));
  }
  metalqr::detail::require_shape<Backend>(K, nu, nx, "K");
  metalqr::detail::require_finite<Backend>(K, "K");
  Bootstrap<Scalar> result;
  result.delta = options.delta;
  const auto recorded = detail::recorded_rollouts<Backend>(data, K);
  result.excitation = options.excitation ? *options.excitation : detail::excitation_level<Backend>(recorded);
  result.noise = options.noise ? *options.noise : noise_level(estimate);
  const char* inputs = "Inputs are the feedback's plus independent Gaussian numbers of one variance.";
  if (options.inputs == TrialInputs::recorded) {
    using Trials = detail::BootstrapTrials<Backend, detail::RecordedRollout<Scalar>>;
    const Trials trials(estimate.A, estimate.B, K, estimate.factor, 1, result.noise, recorded);
    detail::run_trials(trials, options.trials, key, threads, result);
    inputs = "Inputs are the feedback's plus numbers that do not depend on the noise.";
  } else {
    const auto rollouts = detail::mixed_rollouts(data);
    const detail::BootstrapTrials<Backend> trials(estimate.A, estimate.B, K, estimate.factor,
                                                  result.excitation, result.noise, rollouts);
    detail::run_trials(trials, options.trials, key, threads, result);
  }
  detail::read_percentiles(options, result);
  result.assumptions = {detail::linear_plant, detail::gaussian_noise,
                        options.noise ? detail::given_noise : detail::estimated_noise, inputs,
                        "The errors on the estimated plant are distributed like those on the true one."};
  return result;
}

/// The same for data that were collected without feedback.
template <FactoringBackend Backend>
Bootstrap<typename Backend::Scalar> bootstrap(const Estimate<Backend>& estimate, const Dataset<Backend>& data,
                                              const BootstrapOptions& options = {}, const StreamKey& key = {},
                                              int threads = 0) {
  return bootstrap(estimate, data, Backend::zero_gain(data.nu(), data.nx()), options, key, threads);
}

}  // namespace metalqr::inline METALQR_ABI::identification
