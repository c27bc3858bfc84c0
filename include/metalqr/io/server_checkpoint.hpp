#pragma once

/// @file
/// Federated runs in real time whose server survives being killed. Needs nlohmann-json (CMake component
/// metalqr::json). POSIX only.

#include <optional>
#include <type_traits>
#include <utility>

#include <metalqr/federated/run_result.hpp>
#include <metalqr/federated/server.hpp>
#include <metalqr/io/checkpointer.hpp>
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
/// A checkpoint is this server's if K0, options and label are the same. Rule, combiner, optimiser and agents
/// it cannot compare: their names belong into `CheckpointOptions::label`. What agents remember is not in it.
/// To run on in virtual time bitwise, the engine's own state is needed as well.
template <MatrixBackend Backend>
class ServerCheckpoints {
 public:
  using Gain = typename Backend::Gain;  ///< n_u x n_x

  /// @throws InvalidOption.
  ServerCheckpoints(const CheckpointOptions& where, const Gain& K0,
                    const federated::ServerOptions& options = {})
      : K0_(K0),
        options_(options),
        checkpoints_(where, server_checkpoint_kind,
                     {{"K0", fingerprint<Backend>(K0)}, {"options", detail::options_to_json(options)}}) {}

  /// The server as the last checkpoint has it, or a new one if there is none; with a new rule, combiner and
  /// optimiser, which are those of before.
  /// @throws ParseError if there are checkpoints but none is good; InvalidOption if they are another
  /// server's, naming what differs; otherwise as the constructors of `Server`.
  template <federated::Rule RuleType, class CombinerType = federated::Mean,
            class OptimizerType = federated::PlainStep>
  federated::Server<Backend, RuleType, CombinerType, OptimizerType> server(
      const RuleType& rule, const CombinerType& combiner = {}, const OptimizerType& optimizer = {}) {
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
