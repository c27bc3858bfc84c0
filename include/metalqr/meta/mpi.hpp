#pragma once

/// @file
/// Meta-training with the tasks shared out among the ranks of a communicator. Needs the component `mpi`.
///
/// Each rank passes its own part of the fleet alone; the parts, in the order of the ranks, are the fleet.
/// Each but the last must have whole blocks of `reduction_block` tasks (`shard_of` splits so), and a rank may
/// have none. All ranks call with the same gain and options (`threads` may differ), on machines of one kind,
/// and get the same result, bitwise that of `train` on the whole fleet in one process. The observer is called
/// on every rank, and any rank's can end the run; the lists in the state that it sees are those of the rank's
/// own tasks. What is thrown on one rank, by a check, an oracle or the observer, is thrown there; the others
/// throw `mpi::RemoteError` at the end of the step. A gain and options that differ are `InvalidOption`
/// everywhere.

#include <optional>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include <metalqr/core/mpi_team.hpp>
#include <metalqr/meta/mpi_agreement.hpp>

namespace metalqr::inline METALQR_ABI::meta {

namespace detail {

template <zeroth_order::Fleet Fleet, class Observer>
Result<typename Fleet::Backend> run_on_ranks(mpi::Communicator& ranks, const Fleet* own,
                                             State<typename Fleet::Backend>& state, const Options& options,
                                             Observer& observer, const char* name) {
  require_agreement(ranks, own, state, options, name);
  mpi::RankTeam team(ranks, own != nullptr ? own->size() : 0);
  return run(own, team, state, options, observer);
}

}  // namespace detail

/// Continues a run from `state`, whose lists are those of this rank's own tasks and whose other content is
/// the same on all ranks: see `resume` for one process. The number of ranks may be another than before.
/// @param own fleet of this rank's tasks; null if it has none.
template <zeroth_order::Fleet Fleet, class Observer = NoObserver>
Result<typename Fleet::Backend> resume(mpi::Communicator& ranks, const Fleet* own,
                                       State<typename Fleet::Backend>& state, const Options& options,
                                       Observer&& observer = {}) {
  return detail::run_on_ranks(ranks, own, state, options, observer, "state.descent.K");
}

/// Meta-trains on the fleet of all ranks from the gain K0 (n_u x n_x): see `train` for one process.
/// @param own fleet of this rank's tasks; null if it has none.
template <zeroth_order::Fleet Fleet, class Observer = NoObserver>
Result<typename Fleet::Backend> train(mpi::Communicator& ranks, const Fleet* own,
                                      const std::type_identity_t<typename Fleet::Backend::Gain>& K0,
                                      const Options& options = {}, Observer&& observer = {}) {
  State<typename Fleet::Backend> state;
  state.descent.K = K0;
  return detail::run_on_ranks(ranks, own, state, options, observer, "K0");
}

/// Model-free meta-training on the plants of all ranks, known by their cost oracles.
/// @param own oracles of this rank's plants; may be empty.
template <MatrixBackend Backend, zeroth_order::CostOracle<Backend> Oracle, class Observer = NoObserver>
Result<Backend> train(mpi::Communicator& ranks, const std::vector<Oracle>& own,
                      const std::type_identity_t<typename Backend::Gain>& K0, const Options& options = {},
                      Observer&& observer = {}) {
  std::optional<zeroth_order::OracleFleet<Backend, Oracle>> fleet;
  ranks.together([&] {
    if (!own.empty()) fleet.emplace(std::span<const Oracle>(own), options.estimator);
  });
  return train(ranks, fleet ? &*fleet : nullptr, K0, options, std::forward<Observer>(observer));
}

/// Model-free meta-training in which the tasks of all ranks serve as exact cost oracles and nothing else.
/// @param own this rank's tasks; may be empty.
template <TaskList Tasks, class Observer = NoObserver>
Result<BackendOf<Tasks>> train(mpi::Communicator& ranks, const Tasks& own,
                               const std::type_identity_t<GainOf<Tasks>>& K0, const Options& options = {},
                               Observer&& observer = {}) {
  using Backend = BackendOf<Tasks>;
  const std::span<const Task<Backend>> tasks(own);
  const std::vector<zeroth_order::ExactCost<Backend>> oracles(tasks.begin(), tasks.end());
  return train<Backend>(ranks, oracles, K0, options, std::forward<Observer>(observer));
}

/// Model-based meta-training on the tasks of all ranks, with exact derivatives.
/// @param own this rank's tasks; may be empty.
template <TaskList Tasks, class Observer = NoObserver>
Result<BackendOf<Tasks>> train_with_models(mpi::Communicator& ranks, const Tasks& own,
                                           const std::type_identity_t<GainOf<Tasks>>& K0,
                                           const Options& options = {}, Observer&& observer = {}) {
  using Backend = BackendOf<Tasks>;
  std::optional<zeroth_order::ModelFleet<Backend>> fleet;
  ranks.together([&] {
    if (!std::span<const Task<Backend>>(own).empty()) fleet.emplace(own);
  });
  return train(ranks, fleet ? &*fleet : nullptr, K0, options, std::forward<Observer>(observer));
}

}  // namespace metalqr::inline METALQR_ABI::meta
