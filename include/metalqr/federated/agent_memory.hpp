#pragma once

/// @file
/// What an agent carries from one report to the next.

#include <concepts>
#include <cstddef>
#include <type_traits>
#include <utility>
#include <vector>

#include <metalqr/core/index.hpp>

namespace metalqr::inline METALQR_ABI::federated {

/// What agents carry that carry nothing.
struct NoMemory {};

/// Agents that hand out what each carries from one report to the next, and take it back:
/// `memory(agent)` and `remember(agent, memory)`, with the type `Memory`, plain data. Agents with that memory
/// do what those did from which it was taken, bitwise. Work that was not reported is no part of it.
template <class T>
concept RememberingAgents = requires(T& agents, Index i, typename T::Memory memory) {
  { agents.memory(i) } -> std::convertible_to<typename T::Memory>;
  agents.remember(i, memory);
};

namespace detail {

template <class T>
struct MemoryOfAgents {
  using Type = NoMemory;
};
template <RememberingAgents T>
struct MemoryOfAgents<T> {
  using Type = typename T::Memory;
};

/// Refuses agents that carry something but do not hand it out.
template <class T>
constexpr void require_memory() {
  static_assert(
      RememberingAgents<T> || !requires(T & agents, Index i) { agents.reported(i, i); },
      "agents with a member 'reported' need 'Memory', 'memory' and 'remember' to be resumed");
}

template <class T>
typename MemoryOfAgents<std::remove_const_t<T>>::Type memory_of(T& agents, Index agent) {
  require_memory<std::remove_const_t<T>>();
  if constexpr (RememberingAgents<std::remove_const_t<T>>) {
    return agents.memory(agent);
  } else {
    return {};
  }
}
template <class T>
void remember(T& agents, Index agent, typename MemoryOfAgents<std::remove_const_t<T>>::Type memory) {
  require_memory<std::remove_const_t<T>>();
  if constexpr (RememberingAgents<T>) agents.remember(agent, std::move(memory));
}

}  // namespace detail

/// What each of the agents carries from one report to the next; `NoMemory` if nothing.
template <class T>
using MemoryOf = typename detail::MemoryOfAgents<std::remove_const_t<T>>::Type;

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
  /// Makes a state that was kept the state after the last report; a proposal is thrown away.
  void set(Index agent, State state) {
    Slot& slot = slots_[static_cast<std::size_t>(agent)];
    slot.now = std::move(state);
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
