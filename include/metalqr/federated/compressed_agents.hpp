#pragma once

/// @file
/// Agents that send less than their whole estimates.

#include <cstdint>
#include <utility>

#include <metalqr/core/check.hpp>
#include <metalqr/core/random.hpp>
#include <metalqr/federated/agent_memory.hpp>
#include <metalqr/federated/agents.hpp>
#include <metalqr/federated/compression.hpp>
#include <metalqr/federated/message.hpp>

namespace metalqr::inline METALQR_ABI::federated {

/// What an agent carries that compresses its estimates.
template <class Backend>
struct CompressionMemory {
  ErrorFeedback<Backend> feedback{};  ///< what it has not sent yet
  Index bits = 0;                     ///< size of the estimates that it has sent, in all
};

/// What an agent carries that compresses its estimates, and is one of agents that carry something themselves.
template <class Backend, class Inner>
struct CompressedAgentMemory {
  CompressionMemory<Backend> compression{};  ///< of its estimates
  Inner agent{};                             ///< what it carries without compression, maybe `NoMemory`
};

/// Agents whose estimates are compressed before they are sent, with error feedback: each keeps what it has
/// not sent yet and adds it to its next estimate. The server receives what it can restore. An estimate that
/// is not finite, or not with what was kept, is sent as it is, and what was kept stays. A report that is lost
/// on its way, or not used by the server, counts as sent.
template <Agents AgentsType, Compressor<typename AgentsType::Backend> Policy>
class CompressedAgents {
 public:
  using Backend = typename AgentsType::Backend;  ///< matrix library
  using Gain = typename Backend::Gain;           ///< n_u x n_x
  using Scalar = typename Backend::Scalar;       ///< number type
  /// What an agent carries from one report to the next.
  using Memory = CompressedAgentMemory<Backend, MemoryOf<AgentsType>>;

  /// @param agents what they are without compression.
  /// @param compressor of the library or your own.
  /// @param seed of its random numbers, if it draws any; report k of agent i draws at (seed, iteration k,
  /// task i).
  /// @param first number of the first of these agents in their fleet, from which i counts.
  /// @throws InvalidOption for a compressor out of range.
  CompressedAgents(AgentsType agents, Policy compressor, std::uint64_t seed = 0, Index first = 0)
      : agents_(std::move(agents)),
        compressor_(std::move(compressor)),
        seed_(seed),
        first_(first),
        memory_(agents_.size()) {
    if constexpr (requires { validate(compressor_); }) validate(compressor_);
  }

  /// Number of agents.
  Index size() const { return agents_.size(); }
  /// The largest cost that it accepts.
  Scalar limit(Index agent) { return agents_.limit(agent); }
  /// Its cost at K.
  Scalar cost(Index agent, Index question, const Gain& K) { return agents_.cost(agent, question, K); }
  /// The report with the estimate that arrives.
  Report<Backend> work(Index agent, Index round, Index version, const Gain& K) {
    Report<Backend> report = agents_.work(agent, round, version, K);
    CompressionMemory<Backend> next = memory_[agent];
    if (is_sendable(next.feedback, report.estimate)) {
      const StreamKey key{.seed = seed_,
                          .purpose = Purpose::directions,
                          .iteration = static_cast<std::uint64_t>(round),
                          .task = static_cast<std::uint64_t>(first_ + agent)};
      Compressed<Backend> compressed = compress<Backend>(compressor_, next.feedback, report.estimate, key);
      report.estimate = std::move(compressed.sent);
      next.bits += compressed.bits;
    } else {
      next.bits += Backend::rows(report.estimate) * Backend::cols(report.estimate) * detail::bits_of<Scalar>;
    }
    memory_.propose(agent, round, std::move(next));
    return report;
  }
  /// The report of that round has left the agent.
  void reported(Index agent, Index round) {
    detail::note_reported(agents_, agent, round);
    memory_.accept(agent, round);
  }

  /// What the agent has not sent yet.
  const ErrorFeedback<Backend>& feedback(Index agent) const { return memory_[agent].feedback; }
  /// Size of the estimates that it has sent, in all; see `Compressed`.
  Index sent_bits(Index agent) const { return memory_[agent].bits; }
  /// What the agent carries, with what it does without compression.
  Memory memory(Index agent) const {
    return {.compression = memory_[agent], .agent = detail::memory_of(agents_, agent)};
  }
  /// Makes it what the agent carries.
  /// @throws NotFinite for feedback with a NaN or infinity, InvalidOption for a negative number of bits, and
  /// what the agents without compression throw.
  void remember(Index agent, Memory memory) {
    metalqr::detail::require_finite<Backend>(memory.compression.feedback.residual, "feedback");
    metalqr::detail::require_option(memory.compression.bits >= 0, "bits",
                                    static_cast<double>(memory.compression.bits), "a number >= 0");
    detail::remember(agents_, agent, std::move(memory.agent));
    memory_.set(agent, std::move(memory.compression));
  }
  /// The agents without compression.
  const AgentsType& agents() const noexcept { return agents_; }

 private:
  static bool is_sendable(const ErrorFeedback<Backend>& feedback, const Gain& estimate) {
    if (!Backend::is_finite(estimate)) return false;
    const Gain& kept = feedback.residual;
    if (Backend::rows(kept) != Backend::rows(estimate) || Backend::cols(kept) != Backend::cols(estimate))
      return true;
    return Backend::is_finite(Gain(estimate + kept));
  }

  AgentsType agents_;
  Policy compressor_;
  std::uint64_t seed_;
  Index first_;
  AgentMemory<CompressionMemory<Backend>> memory_;
};

}  // namespace metalqr::inline METALQR_ABI::federated
