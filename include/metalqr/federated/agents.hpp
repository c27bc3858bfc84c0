#pragma once

/// @file
/// Agents of a federated run: what they compute at a gain that the server sends.

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include <metalqr/core/error.hpp>
#include <metalqr/core/random.hpp>
#include <metalqr/federated/agent_options.hpp>
#include <metalqr/federated/message.hpp>
#include <metalqr/lqr/cost_and_gradient.hpp>
#include <metalqr/lqr/task_list.hpp>
#include <metalqr/zeroth_order/estimator.hpp>
#include <metalqr/zeroth_order/gradient.hpp>
#include <metalqr/zeroth_order/oracle.hpp>
#include <metalqr/zeroth_order/task_oracles.hpp>

namespace metalqr::inline METALQR_ABI::federated {

/// What a server's side knows of all agents of a run, wherever they work: their number, and `limit(agent)`,
/// the largest cost that each accepts.
template <class T>
concept Fleet = requires(T& agents, Index i) {
  requires MatrixBackend<typename T::Backend>;
  { agents.size() } -> std::same_as<Index>;
  { agents.limit(i) } -> std::same_as<typename T::Backend::Scalar>;
};

/// All agents of a run. Calls for different agents may come from several threads at once.
/// `work(agent, round, version, K)`: the report of an agent that works at K for the round-th time (counted
/// from 0); `cost(agent, question, K)`: its cost at K, which it finds for the question of that number;
/// `limit(agent)`: the largest cost that it accepts.
///
/// Agents that carry something from one report to the next have a member `reported(agent, round)` as well.
/// An engine calls it once when that agent's report of that round has left it, whether or not the report is
/// lost on its way, and never for work that was thrown away because the agent was restarted or went away.
/// The calls for one agent are in order: work(k), reported(k), work(k') with k' > k, ...; without the
/// `reported` where work was thrown away. It may come on another thread than work, and while a cost of the
/// same agent is being found. So that nothing depends on how far ahead an engine works, `work` must not
/// change what later work reads: it prepares the next state, and `reported` takes it over (`AgentMemory`).
template <class T>
concept Agents = Fleet<T> && requires(T& agents, const typename T::Backend::Gain& K, Index i) {
  { agents.work(i, i, i, K) } -> std::same_as<Report<typename T::Backend>>;
  { agents.cost(i, i, K) } -> std::same_as<typename T::Backend::Scalar>;
};

namespace detail {

/// A piece of work or a question among several.
template <class Backend>
struct BatchOrder {
  Index agent = 0;
  Index number = 0;   // of the piece of work, or of the question
  Index version = 0;  // of the gain of a piece of work
  const typename Backend::Gain* gain = nullptr;
};

/// Agents that are best at work together, as they are in other processes: `work_all` and `cost_all` write
/// what agent i reports and finds to place i of lists for all agents.
template <class T>
concept BatchAgents = Agents<T> &&
    requires(T& agents, std::span<const BatchOrder<typename T::Backend>> orders,
             std::span<Report<typename T::Backend>> reports, std::span<typename T::Backend::Scalar> costs) {
  agents.work_all(orders, reports);
  agents.cost_all(orders, costs);
};

/// Tells agents with a memory that a report has left one of them; for engines.
template <Fleet AgentsType>
void note_reported(AgentsType& agents, Index agent, Index round) {
  if constexpr (requires { agents.reported(agent, round); }) agents.reported(agent, round);
}

/// Makes a report say nothing that is in another agent's name, or about another version than was sent: the
/// server refuses it then, and lets the agent wait.
template <class Backend>
void hold_to_order(Report<Backend>& report, Index agent, Index version) {
  if (report.agent == agent && report.version == version) return;
  report.agent = agent;
  report.version = version;
  report.cost = std::numeric_limits<typename Backend::Scalar>::quiet_NaN();
  report.weight = std::numeric_limits<double>::quiet_NaN();
}

/// What an agent reports on what it was sent; for engines.
template <Agents AgentsType>
Report<typename AgentsType::Backend> report_on(AgentsType& agents, Index agent, Index round, Index version,
                                               const typename AgentsType::Backend::Gain& K) {
  Report<typename AgentsType::Backend> report = agents.work(agent, round, version, K);
  hold_to_order(report, agent, version);
  return report;
}

/// A matrix of NaNs in the shape of X.
template <MatrixBackend Backend>
typename Backend::Gain no_estimate(const typename Backend::Gain& X) {
  return std::numeric_limits<typename Backend::Scalar>::quiet_NaN() * X;
}

/// The estimate that an agent reports which descends from K: K minus where it ends, over the local step size,
/// which for one step is the gradient. `gradient(K, l)` is the estimate of the l-th step. It is NaN where one
/// of them is, or where a step leads beyond the range of numbers.
template <MatrixBackend Backend, class Options, class Gradient>
typename Backend::Gain local_progress(const typename Backend::Gain& K, const Options& options,
                                      const Gradient& gradient) {
  typename Backend::Gain progress = gradient(K, 0);
  const auto step = static_cast<typename Backend::Scalar>(options.local_step);
  for (int l = 1; l < options.local_steps; ++l) {
    const typename Backend::Gain here = K - step * progress;
    if (!Backend::is_finite(here)) return no_estimate<Backend>(K);
    progress += gradient(here, l);
  }
  return progress;
}

/// The largest cost that an agent accepts of which the first gain costs so much.
template <class Scalar, class Options>
Scalar limit_of(Scalar first_cost, const Options& options) {
  using std::abs;
  return first_cost + static_cast<Scalar>(options.slack) * abs(first_cost);
}

/// The smallest radius of an estimator.
template <class Estimator>
double smallest_radius(const Estimator& options) {
  if constexpr (requires { options.radius; }) {
    return options.radius;
  } else {
    return std::min(options.anchor.radius, options.inner.radius);
  }
}

/// What agents have in common that know only a cost oracle each, whatever their estimator is.
template <MatrixBackend Backend_, class Oracle, class Options_>
class OracleFleet {
 public:
  using Backend = Backend_;                 ///< matrix library
  using Gain = typename Backend::Gain;      ///< n_u x n_x
  using Scalar = typename Backend::Scalar;  ///< number type
  using Options = Options_;                 ///< of an agent

  /// Number of agents.
  Index size() const noexcept { return static_cast<Index>(oracles_.size()); }
  /// J_i(K0), with some slack if the options say so.
  Scalar limit(Index agent) const { return limits_[static_cast<std::size_t>(agent)]; }
  /// J_i(K); +infinity if K does not stabilise. The same random numbers for every question.
  Scalar cost(Index agent, Index /*question*/, const Gain& K) const {
    return zeroth_order::call<Backend>(oracle(agent), K, assessment_key(agent));
  }

 protected:
  OracleFleet(std::span<const Oracle> oracles, const Gain& K0, std::span<const Options> options)
      : oracles_(oracles), options_(options, static_cast<Index>(oracles.size())) {
    if (oracles.empty()) throw InvalidOption("oracles: expected at least one, got an empty list");
    limits_.reserve(oracles.size());
    for (Index i = 0; i < size(); ++i) {
      limits_.push_back(limit_of(cost(i, 0, K0), options_[i]));
      if (limits_.back() < std::numeric_limits<Scalar>::infinity()) continue;
      throw InvalidOption("K0: expected a gain that stabilises every agent, got an infinite cost of agent " +
                          std::to_string(i));
    }
  }

  /// The report of an agent at K. `estimate(oracle, K, options, key)`: a `GradientEstimate`.
  template <class Estimate>
  Report<Backend> report(Index agent, Index round, Index version, const Gain& K,
                         const Estimate& estimate) const {
    const Options& options = options_[agent];
    Report<Backend> report{.agent = agent, .version = version};
    if (options.report_cost) report.cost = cost(agent, 0, K);
    const StreamKey key{.seed = options.seed,
                        .purpose = Purpose::directions,
                        .iteration = static_cast<std::uint64_t>(round),
                        .task = number(agent)};
    Index samples = 0;
    const auto gradient = [&](const Gain& at, int l) -> Gain {
      // Its own steps may lead an agent to gains so large that they cannot be perturbed.
      const double radius = smallest_radius(options.estimator);
      if (l > 0 && !zeroth_order::detail::is_resolved<Backend>(radius, at)) return no_estimate<Backend>(at);
      const StreamKey own = l == 0 ? key : key.child(static_cast<std::uint64_t>(l));
      const zeroth_order::GradientEstimate<Backend> found =
          estimate(oracle(agent), at, options.estimator, own);
      samples += found.used;
      return found.used > 0 ? found.gradient : no_estimate<Backend>(at);
    };
    report.estimate = local_progress<Backend>(K, options, gradient);
    if (options.weigh_by_samples && samples > 0) report.weight = static_cast<double>(samples);
    return report;
  }

 private:
  const Oracle& oracle(Index agent) const { return oracles_[static_cast<std::size_t>(agent)]; }
  /// Among all agents of the fleet.
  std::uint64_t number(Index agent) const {
    return static_cast<std::uint64_t>(options_[agent].first + agent);
  }
  StreamKey assessment_key(Index agent) const {
    return StreamKey{.seed = options_[agent].seed, .task = number(agent)}.child(1);
  }

  std::span<const Oracle> oracles_;
  OptionsByAgent<Options> options_;
  std::vector<Scalar> limits_;
};

}  // namespace detail

/// Agents that know only a cost oracle each: two-point or other estimates, after `local_steps` > 1 as in
/// FedLQR with local updates. Sample l of step s of round k of agent i is drawn at the key (seed, iteration
/// k, task i), where i counts from `AgentOptions::first`.
template <MatrixBackend Backend_, zeroth_order::CostOracle<Backend_> Oracle>
class OracleAgents : public detail::OracleFleet<Backend_, Oracle, AgentOptions> {
  using Fleet = detail::OracleFleet<Backend_, Oracle, AgentOptions>;

 public:
  using Backend = Backend_;             ///< matrix library
  using Gain = typename Backend::Gain;  ///< n_u x n_x

  /// The oracles must outlive the agents.
  /// @param K0 the gain whose cost is the limit of each agent.
  /// @param options of all agents.
  /// @throws InvalidOption for an empty list, options out of range, or an agent of which the cost at K0 is
  /// not finite.
  OracleAgents(std::span<const Oracle> oracles, const Gain& K0, const AgentOptions& options = {})
      : Fleet(oracles, K0, {&options, 1}) {}
  /// The same with options for each agent: a list of one for each, or of one for all.
  template <detail::OptionList<AgentOptions> List>
  OracleAgents(std::span<const Oracle> oracles, const Gain& K0, const List& options)
      : Fleet(oracles, K0, options) {}

  /// An estimate of the gradient, or of `local_steps` of them. Where no sample has a finite cost it is NaN.
  Report<Backend> work(Index agent, Index round, Index version, const Gain& K) const {
    const auto estimate = [](const Oracle& oracle, const Gain& at,
                             const zeroth_order::EstimatorOptions& options, const StreamKey& key) {
      return zeroth_order::estimate_gradient<Backend>(oracle, at, options, key);
    };
    return this->report(agent, round, version, K, estimate);
  }
};

/// Agents with models: exact gradients and costs.
template <MatrixBackend Backend_>
class ModelAgents {
 public:
  using Backend = Backend_;                 ///< matrix library
  using Gain = typename Backend::Gain;      ///< n_u x n_x
  using Scalar = typename Backend::Scalar;  ///< number type

  /// The tasks must outlive the agents.
  /// @param K0 the gain whose cost is the limit of each agent.
  /// @throws InvalidOption for an empty list, options out of range, or a task that K0 does not stabilise;
  /// DimensionMismatch.
  template <TaskList Tasks>
  ModelAgents(const Tasks& tasks, const Gain& K0, const AgentOptions& options = {})
      : ModelAgents(tasks, K0, std::span<const AgentOptions>(&options, 1)) {}
  /// The same with options for each agent: a list of one for each, or of one for all.
  template <TaskList Tasks, detail::OptionList<AgentOptions> List>
  ModelAgents(const Tasks& tasks, const Gain& K0, const List& options)
      : tasks_(checked_fleet(tasks)),
        options_(options, static_cast<Index>(tasks_.size())),
        limits_(metalqr::costs(tasks_, K0)) {
    for (std::size_t i = 0; i < limits_.size(); ++i) {
      limits_[i] = detail::limit_of(limits_[i], options_[static_cast<Index>(i)]);
      if (limits_[i] < std::numeric_limits<Scalar>::infinity()) continue;
      throw InvalidOption("K0: expected a gain that stabilises every task, got an unstable task " +
                          std::to_string(i));
    }
  }

  /// Number of agents.
  Index size() const noexcept { return static_cast<Index>(tasks_.size()); }
  /// J_i(K0), with some slack if the options say so.
  Scalar limit(Index agent) const { return limits_[static_cast<std::size_t>(agent)]; }
  /// J_i(K); +infinity if K does not stabilise.
  Scalar cost(Index agent, Index /*question*/, const Gain& K) const {
    return metalqr::cost(tasks_[static_cast<std::size_t>(agent)], K);
  }
  /// The gradient, or the sum of `local_steps` of them; NaN where a gain does not stabilise.
  Report<Backend> work(Index agent, Index /*round*/, Index version, const Gain& K) const {
    const Task<Backend>& task = tasks_[static_cast<std::size_t>(agent)];
    Report<Backend> report{.agent = agent, .version = version};
    const auto gradient = [&](const Gain& at, int l) -> Gain {
      const CostAndGradient<Backend> exact = cost_and_gradient(task, at);
      if (l == 0) report.cost = exact.cost;
      return exact.gradient;
    };
    report.estimate = detail::local_progress<Backend>(K, options_[agent], gradient);
    return report;
  }

 private:
  std::span<const Task<Backend>> tasks_;
  detail::OptionsByAgent<AgentOptions> options_;
  std::vector<Scalar> limits_;
};

}  // namespace metalqr::inline METALQR_ABI::federated
