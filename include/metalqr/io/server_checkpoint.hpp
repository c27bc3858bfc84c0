#pragma once

/// @file
/// Federated runs in real time whose server survives being killed. Needs nlohmann-json (CMake component
/// metalqr::json). POSIX only.

#include <algorithm>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include <metalqr/federated/rule.hpp>
#include <metalqr/federated/run_result.hpp>
#include <metalqr/federated/server.hpp>
#include <metalqr/io/checkpointer.hpp>
#include <metalqr/io/digest.hpp>
#include <metalqr/io/fingerprint.hpp>
#include <metalqr/io/json_field.hpp>
#include <metalqr/io/server_state.hpp>
#include <metalqr/lqr/descent.hpp>

namespace metalqr::inline METALQR_ABI::io {

/// The kind of run in the checkpoints of a server.
inline constexpr const char* server_checkpoint_kind = "federated server";

namespace detail {

/// An option that is added is missed here, and so not forgotten.
inline Json options_to_json(const federated::ServerOptions& options) {
  const auto& [step, guard, max_halvings, retry_after, max_agents] = options;
  return {{"step", number_to_json(step)},
          {"guard", static_cast<int>(guard)},
          {"max_halvings", max_halvings},
          {"retry_after", number_to_json(retry_after)},
          {"max_agents", max_agents}};
}

/// A rule may be any type: what it says is compared, with every number of reports that matters to so many
/// agents (up to 1000) and every staleness up to 100.
template <federated::Rule Rule>
Json rule_to_json(const Rule& rule, Index agents) {
  std::string said;
  for (Index reports = 0; reports <= std::min<Index>(2 * agents + 1, 1000); ++reports) {
    for (const Index working : {Index{0}, Index{1}, agents}) {
      said += rule.is_ready({.reports = reports, .working = working, .present = agents}) ? '1' : '0';
    }
  }
  Json by_staleness = Json::array();
  for (Index staleness = 0; staleness <= 100; ++staleness) {
    by_staleness.push_back({federated::admits(rule, staleness),
                            number_to_json(federated::weight(rule, staleness)),
                            number_to_json(federated::step_factor(rule, staleness))});
  }
  return {{"is_ready", hex(fnv1a(said))},
          {"by_staleness", hex(fnv1a(by_staleness.dump()))},
          {"window", number_to_json(federated::window(rule))},
          {"keeps_working", federated::keeps_working(rule)},
          {"refresh_after", federated::refresh_after(rule)}};
}

/// A server does not know how many agents it will have: its rule is compared as if they were so many.
inline constexpr Index agents_of_any_server = 500;

}  // namespace detail

/// The checkpoints of a server whose engine runs in real time, where nothing can go on bitwise: gain,
/// version, statistics and what the server knows of its agents go on from the last checkpoint, and what was
/// under way is asked for again.
///
///     io::ServerCheckpoints<Backend> checkpoints({.path = "run", .every = 10}, K0, options);
///     auto server = checkpoints.server(rule);
///     federated::run_threads(server, agents, profiles, {}, checkpoints.observer());
///     checkpoints.end(server);
///
/// A checkpoint is this server's if K0, options, what the rule says (of up to 1000 reports, and a staleness
/// of up to 100) and label are the same. Combiner, optimiser and agents it cannot compare: their names belong
/// into `CheckpointOptions::label`. What agents remember is not in it.
/// To run on in virtual time bitwise, the engine's own state is needed as well.
template <MatrixBackend Backend>
class ServerCheckpoints {
 public:
  using Gain = typename Backend::Gain;  ///< n_u x n_x

  /// @throws InvalidOption; FileError if none can be written.
  ServerCheckpoints(const CheckpointOptions& where, const Gain& K0,
                    const federated::ServerOptions& options = {})
      : K0_(K0),
        options_(options),
        checkpoints_(where, server_checkpoint_kind,
                     {{"K0", fingerprint<Backend>(K0)}, {"options", detail::options_to_json(options)}}) {
    detail::require_kept_by_json<Backend>();
  }

  /// The server as the last checkpoint has it, or a new one if there is none; with a new rule, combiner and
  /// optimiser, which are those of before.
  /// @throws ParseError if there are checkpoints but none is good; InvalidOption if they are another
  /// server's, naming what differs; otherwise as the constructors of `Server`.
  template <federated::Rule RuleType, class CombinerType = federated::Mean,
            class OptimizerType = federated::PlainStep>
  federated::Server<Backend, RuleType, CombinerType, OptimizerType> server(
      const RuleType& rule, const CombinerType& combiner = {}, const OptimizerType& optimizer = {}) {
    checkpoints_.distinguish("rule", detail::rule_to_json(rule, detail::agents_of_any_server));
    if (const std::optional<Checkpoint> last = checkpoints_.last())
      return {read_server_state<Backend>(last->document, "state"), rule, options_, combiner, optimizer};
    return {K0_, rule, options_, combiner, optimizer};
  }

  /// What to give to an engine: after each commit it calls `other`, and writes a checkpoint if it is time.
  /// This must outlive it.
  template <class Observer = NoObserver>
  auto observer(Observer other = {}) {
    return [this, other = std::move(other)](const federated::RunInfo<Backend>& info) mutable {
      const bool stop = metalqr::detail::wants_to_stop(other, info);
      checkpoints_.iteration([&] { return to_json(info.state); });
      return stop;
    };
  }

  /// Writes the state in which a run has left its server, if that is wanted.
  template <class ServerType>
  void end(const ServerType& server) {
    checkpoints_.end([&] { return to_json(server.state()); });
  }

  /// What happened so far.
  const CheckpointReport& report() const noexcept { return checkpoints_.report(); }

 private:
  Gain K0_;
  federated::ServerOptions options_;
  Checkpointer checkpoints_;
};

}  // namespace metalqr::inline METALQR_ABI::io
