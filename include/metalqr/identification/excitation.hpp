#pragma once

/// @file
/// What drove an experiment besides its feedback.

#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

#include <metalqr/core/backend.hpp>
#include <metalqr/identification/dataset.hpp>

namespace metalqr::inline METALQR_ABI::identification::detail {

/// A rollout to repeat with other noise.
template <class Scalar>
struct RecordedRollout {
  Index steps = 0;                 ///< T
  std::vector<Scalar> initial;     ///< x_0
  std::vector<Scalar> excitation;  ///< u_t + K x_t, one time after the other
};

/// The rollouts of a dataset that was collected under the feedback u = -K x + e.
/// @param K n_u x n_x.
template <MatrixBackend Backend>
std::vector<RecordedRollout<typename Backend::Scalar>> recorded_rollouts(const Dataset<Backend>& data,
                                                                         const typename Backend::Gain& K) {
  using Scalar = typename Backend::Scalar;
  std::vector<RecordedRollout<Scalar>> result;
  for (const Rollout<Backend>& rollout : data.rollouts()) {
    RecordedRollout<Scalar> recorded;
    recorded.steps = Backend::rows(rollout.inputs);
    for (Index j = 0; j < data.nx(); ++j) recorded.initial.push_back(rollout.states(0, j));
    for (Index t = 0; t < recorded.steps; ++t) {
      for (Index i = 0; i < data.nu(); ++i) {
        Scalar e = rollout.inputs(t, i);
        for (Index j = 0; j < data.nx(); ++j) e += K(i, j) * rollout.states(t, j);
        recorded.excitation.push_back(e);
      }
    }
    result.push_back(std::move(recorded));
  }
  return result;
}

/// The root of the mean square of all excitations.
template <MatrixBackend Backend>
double excitation_level(const std::vector<RecordedRollout<typename Backend::Scalar>>& rollouts) {
  double sum = 0;
  std::size_t count = 0;
  for (const auto& rollout : rollouts) {
    for (const auto& e : rollout.excitation) sum += Backend::to_double(e) * Backend::to_double(e);
    count += rollout.excitation.size();
  }
  return std::sqrt(sum / static_cast<double>(count));
}

}  // namespace metalqr::inline METALQR_ABI::identification::detail
