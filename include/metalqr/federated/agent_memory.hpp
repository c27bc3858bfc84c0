#pragma once

/// @file
/// What an agent carries from one report to the next.

#include <cstddef>
#include <utility>
#include <vector>

#include <metalqr/core/index.hpp>

namespace metalqr::inline METALQR_ABI::federated {

/// A state of each agent that its work renews in two phases: `work` computes the next state and proposes it,
/// `reported` makes it the state once the report has left the agent. Work that an engine throws away, or
/// begins earlier on another thread, so leaves no trace; results are a function of the reports alone.
/// Different agents may be worked on from several threads at once. O(1) a call.
template <class State>
class AgentMemory {
 public:
  /// @param agents how many.
  /// @param first the state that each begins with.
  explicit AgentMemory(Index agents, const State& first = {})
      : slots_(static_cast<std::size_t>(agents), Slot{.now = first, .next = first}) {}

  /// The state after the last report.
  const State& operator[](Index agent) const { return slots_[static_cast<std::size_t>(agent)].now; }
  /// Keeps what the state will be when this round's report leaves, in place of any earlier proposal.
  void propose(Index agent, Index round, State next) {
    Slot& slot = slots_[static_cast<std::size_t>(agent)];
    slot.next = std::move(next);
    slot.round = round;
  }
  /// Makes the proposal of that round the state; does nothing if the last proposal was another round's.
  void accept(Index agent, Index round) {
    Slot& slot = slots_[static_cast<std::size_t>(agent)];
    if (slot.round != round) return;
    slot.now = std::move(slot.next);
    slot.round = none;
  }

 private:
  static constexpr Index none = -1;

  struct Slot {
    State now;
    State next;
    Index round = none;  // of the proposal
  };

  std::vector<Slot> slots_;
};

}  // namespace metalqr::inline METALQR_ABI::federated
