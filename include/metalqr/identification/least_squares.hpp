#pragma once

/// @file
/// Least-squares estimates from a dataset.

#include <cmath>

#include <metalqr/core/check.hpp>
#include <metalqr/identification/dataset.hpp>
#include <metalqr/identification/estimate.hpp>
#include <metalqr/identification/recursive_least_squares.hpp>

namespace metalqr::inline METALQR_ABI::identification {

/// Which transitions of each rollout enter an estimate.
enum class Samples {
  all,  ///< all of them (Dean et al., arXiv 1710.01688, eq. 2.1): the most accurate
  last  ///< the last one (their algorithm 1): rows are independent, as the finite-sample bounds ask
};

/// What is minimised.
struct LeastSquaresOptions {
  Samples samples = Samples::all;  ///< transitions used
  double ridge = 0;                ///< weight of |[A B]|_F^2, >= 0
};

/// @throws InvalidOption, which names the field.
inline void validate(const LeastSquaresOptions& options) {
  metalqr::detail::require_option(options.ridge >= 0 && std::isfinite(options.ridge), "ridge", options.ridge,
                                  "a finite number >= 0");
}

/// The plant that fits the data best, by orthogonal factorisation of the regressors: for many rollouts or
/// for a single trajectory. 8 m (2 n_x + n_u)^2 operations for m transitions at most.
/// @throws RankDeficient (also for fewer transitions than n_x + n_u without a ridge), InvalidOption;
/// NotFinite where sums of squares overflow.
template <FactoringBackend Backend>
Estimate<Backend> least_squares(const Dataset<Backend>& data, const LeastSquaresOptions& options = {}) {
  validate(options);
  RecursiveLeastSquares<Backend> rows(data.nx(), data.nu(), options.ridge);
  bool independent = true;
  for (Index i = 0; i < data.size(); ++i) {
    const Index steps = data.steps(i);
    const Index used = options.samples == Samples::last ? 1 : steps;
    if (used > 1) independent = false;
    rows.add(data[i], steps - used, used);
  }
  Estimate<Backend> estimate = rows.estimate();
  estimate.independent = independent;
  return estimate;
}

}  // namespace metalqr::inline METALQR_ABI::identification
