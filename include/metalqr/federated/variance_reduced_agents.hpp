#pragma once

/// @file
/// Agents that reuse an accurate estimate at an anchor of their own (SVRPG).

#include <span>
#include <utility>

#include <metalqr/core/random.hpp>
#include <metalqr/federated/agent_memory.hpp>
#include <metalqr/federated/agent_options.hpp>
#include <metalqr/federated/agents.hpp>
#include <metalqr/federated/message.hpp>
#include <metalqr/zeroth_order/oracle.hpp>
#include <metalqr/zeroth_order/variance_reduction.hpp>

namespace metalqr::inline METALQR_ABI::federated {

/// How an agent works that estimates its gradient with an anchor.
using VarianceReducedAgentOptions = AgentOptionsFor<zeroth_order::VarianceReductionOptions>;

/// Agents like `OracleAgents` whose estimates are those of `zeroth_order::estimate_variance_reduced`: each
/// keeps a gain at which it has estimated its gradient accurately, its anchor, and estimates only the
/// difference from there.
///
/// The anchor belongs to the agent, not to a version of the server's gain: it stays while the server goes on.
/// It is renewed at the gain at which the agent works next (with local steps: at which it is) when it has
/// served `inner_length` of this agent's estimates, each local step being one, or when that gain is further
/// than `max_distance` from it. An agent that reports seldom finds the gain moved by many updates in between,
/// and so does one after the server returned to an earlier gain: `max_distance` is what protects the estimate
/// then. Work that is thrown away does not age the anchor, and an anchor that was renewed in it is not kept.
///
/// Five agents with the modified Boeing plant and starts N(0, I/4) reached 0.2 % of the gap at the gain of
/// the asynchronous experiments with 22 000 oracle calls (median of 15 seeds; anchors of 8 samples, one inner
/// sample, length 20, distance 0.005, step 8e-5, synchronous updates), plain ones of as many samples and that
/// step with 71 000, and with 37 000 in the best of the settings tried that lost no run (4 samples, or one
/// with a quarter of the step). To 5 % of the gap there was nothing to save.
///
/// With `weigh_by_samples` the samples of a report are those at the anchor, for each of its estimates: the
/// difference adds little noise.
template <MatrixBackend Backend_, zeroth_order::CostOracle<Backend_> Oracle>
class VarianceReducedAgents : public detail::OracleFleet<Backend_, Oracle, VarianceReducedAgentOptions> {
  using Fleet = detail::OracleFleet<Backend_, Oracle, VarianceReducedAgentOptions>;

 public:
  using Backend = Backend_;                                     ///< matrix library
  using Gain = typename Backend::Gain;                          ///< n_u x n_x
  using State = zeroth_order::VarianceReductionState<Backend>;  ///< what an agent carries
  using Memory = State;                                         ///< the same, for what keeps it

  /// The oracles must outlive the agents.
  /// @param K0 the gain whose cost is the limit of each agent.
  /// @param options of all agents.
  /// @throws InvalidOption for an empty list, options out of range, or an agent of which the cost at K0 is
  /// not finite.
  VarianceReducedAgents(std::span<const Oracle> oracles, const Gain& K0,
                        const VarianceReducedAgentOptions& options = {})
      : Fleet(oracles, K0, {&options, 1}), memory_(this->size(), no_anchor(K0)) {}
  /// The same with options for each agent: a list of one for each, or of one for all.
  template <detail::OptionList<VarianceReducedAgentOptions> List>
  VarianceReducedAgents(std::span<const Oracle> oracles, const Gain& K0, const List& options)
      : Fleet(oracles, K0, options), memory_(this->size(), no_anchor(K0)) {}

  /// An estimate of the gradient, or of `local_steps` of them. Where no sample has a finite cost it is NaN.
  Report<Backend> work(Index agent, Index round, Index version, const Gain& K) {
    State next = memory_[agent];
    const auto estimate = [&next](const Oracle& oracle, const Gain& at,
                                  const zeroth_order::VarianceReductionOptions& options,
                                  const StreamKey& key) {
      zeroth_order::GradientEstimate<Backend> found =
          zeroth_order::estimate_variance_reduced<Backend>(oracle, at, options, next, key);
      if (found.used > 0) found.used = next.at_anchor.used;
      return found;
    };
    Report<Backend> report = this->report(agent, round, version, K, estimate);
    memory_.propose(agent, round, std::move(next));
    return report;
  }
  /// The report of that round has left the agent.
  void reported(Index agent, Index round) { memory_.accept(agent, round); }

  /// What the agent carries: its anchor, how many estimates it has served, and the oracle calls of all
  /// estimates that were reported.
  const State& state(Index agent) const { return memory_[agent]; }
  /// The same.
  const Memory& memory(Index agent) const { return memory_[agent]; }
  /// Makes it what the agent carries.
  /// @throws InvalidOption for negative counts; DimensionMismatch, NotFinite for an anchor or gradient that
  /// no estimate can go on from.
  void remember(Index agent, Memory memory) {
    zeroth_order::detail::require_continuable<Backend>(memory, memory_[agent].anchor);
    memory_.set(agent, std::move(memory));
  }

 private:
  static State no_anchor(const Gain& K0) {
    State state;
    state.anchor = state.at_anchor.gradient = Backend::zero_like(K0);
    return state;
  }

  AgentMemory<State> memory_;
};

}  // namespace metalqr::inline METALQR_ABI::federated
