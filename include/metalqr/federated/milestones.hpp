#pragma once

/// @file
/// The gains that a server may return to when an agent refuses the current one.

#include <metalqr/core/backend.hpp>
#include <metalqr/federated/server_state.hpp>

namespace metalqr::inline METALQR_ABI::federated::detail {

/// Notes that all agents that are present have accepted a gain.
template <MatrixBackend Backend>
void confirm(ServerState<Backend>& state, const typename Backend::Gain& gain, Index version) {
  state.confirmed = {.gain = gain, .version = version};
  if (state.present == state.known) state.safe = state.confirmed;
}

/// The newest gain before the current one that others accepted; none before the first.
template <MatrixBackend Backend>
const Milestone<Backend>* newest_accepted(const ServerState<Backend>& state) {
  for (const Milestone<Backend>* milestone : {&state.confirmed, &state.safe, &state.start}) {
    if (milestone->version < state.origin) return milestone;
  }
  return nullptr;
}

/// Makes an earlier gain the current one, as a new version; all that came of later ones is void.
template <MatrixBackend Backend>
void return_to(ServerState<Backend>& state, const Milestone<Backend>& target) {
  state.gain = target.gain;
  state.origin = target.version;
  state.confirmed = {.gain = state.gain, .version = state.origin};
  if (state.safe.version > state.origin) state.safe = state.confirmed;
  state.returned = ++state.version;
  state.question.open = false;
  state.statistics.abandoned += static_cast<Index>(state.reports.size());
  state.reports.clear();
  state.idle.clear();
  state.optimizer = {};
  ++state.statistics.rollbacks;
}

}  // namespace metalqr::inline METALQR_ABI::federated::detail
