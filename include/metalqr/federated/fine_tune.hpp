#pragma once

/// @file
/// Personal fine-tuning: from the gain of the fleet each agent goes some way towards its own optimum.

#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include <metalqr/core/check.hpp>
#include <metalqr/core/parallel.hpp>
#include <metalqr/federated/agents.hpp>
#include <metalqr/federated/message.hpp>

namespace metalqr::inline METALQR_ABI::federated {

/// How agents fine-tune.
struct FineTuneOptions {
  int steps = 10;      ///< of each agent
  double step = 1e-5;  ///< their size
  int max_halvings =
      30;  ///< of a step that would raise the cost above that at the start, before it is left out
  /// Number of the first piece of work, the s-th step being number first_round + s. Rounds that an agent has
  /// worked already would draw the same random numbers again: take one that training has not reached, such as
  /// the largest `AgentRecord::sends` of the server.
  Index first_round = 0;
  int threads = 1;  ///< 0: up to OpenMP; the result does not depend on it
};

/// Throws `InvalidOption` naming the first field out of its range.
inline void validate(const FineTuneOptions& options) {
  using metalqr::detail::require_option;
  require_option(options.steps >= 0, "steps", options.steps, "a number >= 0");
  require_option(std::isfinite(options.step) && options.step > 0, "step", options.step, "a positive number");
  require_option(options.max_halvings >= 0, "max_halvings", options.max_halvings, "a number >= 0");
  require_option(options.first_round >= 0, "first_round", static_cast<double>(options.first_round),
                 "a number >= 0");
  require_option(options.threads >= 0, "threads", options.threads, "a number >= 0");
}

/// What an agent has made of the fleet's gain.
template <class Backend>
struct FineTuned {
  typename Backend::Gain gain{};      ///< n_u x n_x
  typename Backend::Scalar before{};  ///< its cost at the fleet's gain
  typename Backend::Scalar after{};   ///< its cost at its own gain, not above `before`
  int accepted = 0;                   ///< steps taken
  int halvings = 0;                   ///< of them, and of those that were left out
};

namespace detail {

template <Agents AgentsType>
FineTuned<typename AgentsType::Backend> fine_tune_one(AgentsType& agents, Index agent,
                                                      const typename AgentsType::Backend::Gain& K,
                                                      const FineTuneOptions& options) {
  using Backend = typename AgentsType::Backend;
  using Gain = typename Backend::Gain;
  using Scalar = typename Backend::Scalar;
  // One question, so that agents whose costs are random compare them with the same random numbers.
  const auto cost = [&](const Gain& at) { return agents.cost(agent, 0, at); };
  FineTuned<Backend> result{.gain = K, .before = cost(K)};
  result.after = result.before;
  if (!(result.before < std::numeric_limits<Scalar>::infinity())) return result;
  for (int s = 0; s < options.steps; ++s) {
    const Index round = options.first_round + s;
    const Report<Backend> report = agents.work(agent, round, 0, result.gain);
    note_reported(agents, agent, round);
    if (!Backend::is_finite(report.estimate)) continue;
    double size = options.step;
    for (int halvings = 0;; ++halvings) {
      const Gain candidate = result.gain - static_cast<Scalar>(size) * report.estimate;
      const bool is_gain = Backend::is_finite(candidate);
      const Scalar value = is_gain ? cost(candidate) : std::numeric_limits<Scalar>::infinity();
      if (value <= result.before) {
        result.gain = candidate;
        result.after = value;
        ++result.accepted;
        break;
      }
      if (halvings == options.max_halvings) break;
      ++result.halvings;
      size /= 2;
    }
  }
  return result;
}

}  // namespace detail

/// Lets every agent take steps of policy gradient from the fleet's gain with its own estimates
/// (`agents.work`), each accepted only if the agent's own cost is not above that at the start, halved
/// otherwise. An agent that the fleet's gain does not stabilise stays there, a step of which the estimate is
/// not finite is left out. Costs steps pieces of work and 1 + steps (1 + halvings) costs an agent. Agents
/// with a memory go on from it and keep what they learn here.
/// @param K the fleet's gain, n_u x n_x.
/// @return what each agent has reached, by number.
/// @throws InvalidOption; what agents throw, for a K of another shape.
template <Agents AgentsType>
std::vector<FineTuned<typename AgentsType::Backend>> fine_tune(AgentsType& agents,
                                                               const typename AgentsType::Backend::Gain& K,
                                                               const FineTuneOptions& options = {}) {
  validate(options);
  std::vector<FineTuned<typename AgentsType::Backend>> results(static_cast<std::size_t>(agents.size()));
  parallel_for(
      agents.size(),
      [&](Index agent) {
        results[static_cast<std::size_t>(agent)] = detail::fine_tune_one(agents, agent, K, options);
      },
      options.threads);
  return results;
}

}  // namespace metalqr::inline METALQR_ABI::federated
