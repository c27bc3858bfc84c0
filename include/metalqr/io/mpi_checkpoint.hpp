#pragma once

/// @file
/// Meta-training on several ranks that survives being killed. Needs nlohmann-json and MPI (CMake components
/// metalqr::json and metalqr::mpi). POSIX only.
///
/// The first rank reads and writes the files, which hold the state of all tasks: a run goes on with any
/// number of ranks, and in one process with `train_or_resume` of meta_checkpoint.hpp. What fails at the files
/// is thrown on the first rank, and as `mpi::RemoteError` on the others.

#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <metalqr/io/meta_checkpoint.hpp>
#include <metalqr/meta/mpi.hpp>

namespace metalqr::inline METALQR_ABI::io {

namespace detail {

/// The lists of a rank's tasks, behind those that are there.
template <class Backend>
void append_lists(meta::State<Backend>& state, std::span<const std::byte> bytes) {
  ByteReader in(bytes);
  for (auto* list : {&state.start_costs, &state.costs}) {
    for (auto left = in.get<std::uint64_t>(); left > 0; --left) {
      list->push_back(in.get<typename Backend::Scalar>());
    }
  }
  for (auto left = in.get<std::uint64_t>(); left > 0; --left) {
    state.curvature_directions.push_back(Backend::zero_like(state.descent.K));
    in.get_entries<Backend>(state.curvature_directions.back());
  }
  in.require_end();
}

template <class Backend>
Bytes lists_of(const meta::State<Backend>& state) {
  ByteWriter out;
  for (const auto* list : {&state.start_costs, &state.costs}) {
    out.put(static_cast<std::uint64_t>(list->size()));
    for (const auto& number : *list) out.put(number);
  }
  out.put(static_cast<std::uint64_t>(state.curvature_directions.size()));
  for (const auto& X : state.curvature_directions) out.put_entries<Backend>(X);
  return out.take();
}

/// Leaves the tasks of a shard in a list of all tasks, or an empty list as it is.
template <class T>
void keep(std::vector<T>& list, const Shard& shard) {
  if (list.empty()) return;
  const auto first = list.begin() + static_cast<std::ptrdiff_t>(shard.first);
  list = std::vector<T>(first, first + static_cast<std::ptrdiff_t>(shard.count));
}

/// The checkpoints of one run on several ranks, which call its functions together.
template <class Backend>
class RankCheckpoints {
 public:
  using State = meta::State<Backend>;

  RankCheckpoints(mpi::Communicator& ranks, const CheckpointOptions& where, const Json& run) : ranks_(ranks) {
    const Bytes start = ranks.broadcast_of([&] {
      checkpoints_.emplace(where, meta_checkpoint_kind, run);
      const std::optional<Checkpoint> last = checkpoints_->last();
      ByteWriter out;
      out.put(where.at_end);
      out.put_text(last ? last->path : "");
      out.put_text(last ? last->document.root().at("state").dump() : "");
      return out.take();
    });
    ByteReader in(start);
    at_end_ = in.get<std::uint8_t>() != 0;
    path_ = in.get_text();
    const std::string state = in.get_text();
    if (!state.empty()) last_ = read_meta_state<Backend>(JsonDocument(state, path_));
  }

  /// The state of all tasks in the last checkpoint, if there is one.
  std::optional<State>& last() { return last_; }
  /// The file that it is from.
  const std::string& path() const { return path_; }

  /// After an iteration.
  void iteration(const State& state) {
    if (write(state, [](Checkpointer& writer, const auto& json) { return writer.iteration(json); })) {
      unwritten_.reset();
    } else if (at_end_) {
      // What the run ends with may be further than the last iteration, which it would repeat.
      unwritten_ = state;
    }
  }
  /// After the last one.
  void end() {
    if (unwritten_)
      write(*unwritten_, [](Checkpointer& writer, const auto& json) { return writer.end(json); });
  }
  /// What happened so far, on all ranks.
  CheckpointReport report() {
    const Bytes bytes = ranks_.broadcast_of([&] {
      const CheckpointReport& own = checkpoints_->report();
      ByteWriter out;
      out.put_text(own.resumed_from);
      out.put_text(own.damage);
      out.put(own.written);
      return out.take();
    });
    ByteReader in(bytes);
    CheckpointReport report;
    report.resumed_from = in.get_text();
    report.damage = in.get_text();
    report.written = in.get<Index>();
    return report;
  }

 private:
  /// What the first rank wants of the others.
  enum class Wish : unsigned char { nothing, lists, failure };
  void agree_on(Wish& wish) { ranks_.broadcast(std::as_writable_bytes(std::span(&wish, 1))); }

  // Whether the state was written, with the lists of all ranks; `step` decides on the first rank whether to.
  template <class Step>
  bool write(const State& state, const Step& step) {
    Wish wish = Wish::nothing;
    if (!checkpoints_) {
      agree_on(wish);
      if (wish == Wish::nothing) return false;
      if (wish == Wish::lists) ranks_.gather(lists_of(state));
      return !ranks_.broadcast_of([] { return Bytes(); }).empty();
    }
    bool gathered = false;
    const auto whole = [&] {
      // What can fail here alone comes before the others hand over their lists, or after.
      State all = state;
      all.start_costs.clear();
      all.costs.clear();
      all.curvature_directions.clear();
      const Bytes mine = lists_of(state);
      wish = Wish::lists;
      agree_on(wish);
      const std::vector<Bytes> lists = ranks_.gather(mine);
      gathered = true;
      for (const Bytes& own : lists) append_lists(all, own);
      return to_json(all);
    };
    bool written = false;
    std::exception_ptr error;
    try {
      written = step(*checkpoints_, whole);
    } catch (...) {
      error = std::current_exception();
    }
    // What fails while the ranks hand over their lists, fails on all of them.
    if (error && wish == Wish::lists && !gathered) std::rethrow_exception(error);
    if (wish == Wish::nothing) {
      if (error) wish = Wish::failure;
      agree_on(wish);
      if (!error) return false;
    }
    return !ranks_
                .broadcast_of([&] {
                  if (error) std::rethrow_exception(error);
                  return Bytes(written ? 1 : 0);
                })
                .empty();
  }

  mpi::Communicator& ranks_;
  std::optional<Checkpointer> checkpoints_;  // of the first rank
  std::optional<State> last_;
  std::string path_;
  std::optional<State> unwritten_;
  bool at_end_ = false;
};

/// @param describe gives, on all ranks together and from the number of all tasks, what the fingerprint says
/// of the fleet.
template <zeroth_order::Fleet Fleet, class Describe, class Observer>
CheckpointedRun<meta::Result<typename Fleet::Backend>> train_or_resume_on_ranks(
    mpi::Communicator& ranks, const Fleet* own, const typename Fleet::Backend::Gain& K0,
    const meta::Options& options, const CheckpointOptions& where, const Describe& describe,
    Observer& observer) {
  using Backend = typename Fleet::Backend;
  using State = meta::State<Backend>;
  require_kept_by_json<Backend>();
  State state;
  state.descent.K = K0;
  meta::detail::require_agreement(ranks, own, state, options, "K0");
  mpi::RankTeam team(ranks, own != nullptr ? own->size() : 0);
  RankCheckpoints<Backend> checkpoints(ranks, where,
                                       {{"fleet", describe(team.total())},
                                        {"K0", fingerprint<Backend>(K0)},
                                        {"options", options_to_json(options)}});
  if (checkpoints.last()) {
    state = std::move(*checkpoints.last());
    require_within(checkpoints.path(), "iterations", state.descent.iteration, options.iterations);
    meta::detail::validate(state, team.total(), options.guard || options.outer.rule != StepRule::constant);
    keep(state.start_costs, team.shard());
    keep(state.costs, team.shard());
    keep(state.curvature_directions, team.shard());
  }
  const auto both = [&](const meta::Info<Backend>& info) {
    // Agreed on before the ranks turn to the files together.
    const bool stop = team.any([&] { return metalqr::detail::wants_to_stop(observer, info); });
    checkpoints.iteration(info.state);
    return stop;
  };
  CheckpointedRun<meta::Result<Backend>> run{.result = meta::resume(ranks, own, state, options, both)};
  checkpoints.end();
  run.checkpoints = checkpoints.report();
  return run;
}

/// `fingerprint_of_tasks` of the tasks of all ranks.
template <TaskList Tasks>
Json fingerprint_of_all(mpi::Communicator& ranks, const Tasks& own, std::size_t total) {
  std::uint64_t hash = fnv1a("");
  Index nx = 0;
  Index nu = 0;
  for (int rank = 0; rank < ranks.size(); ++rank) {
    const Bytes bytes = ranks.broadcast_of(
        [&] {
          for (const auto& task : std::span<const Task<BackendOf<Tasks>>>(own)) {
            hash = digest(task, hash);
            nx = task.nx();
            nu = task.nu();
          }
          ByteWriter out;
          out.put(hash);
          out.put(nx);
          out.put(nu);
          return out.take();
        },
        rank);
    ByteReader in(bytes);
    hash = in.get<std::uint64_t>();
    nx = in.get<Index>();
    nu = in.get<Index>();
  }
  return {{"tasks", total}, {"nx", nx}, {"nu", nu}, {"digest", hex(hash)}};
}

}  // namespace detail

/// Meta-trains as `meta::train` on several ranks, and writes checkpoints as `train_or_resume` in one process:
/// where there is one of this run, from however many ranks, goes on from it bitwise as if it had never
/// stopped. Of the fleet, the checkpoints compare the number of plants and the estimator; the digest of the
/// plants belongs into `CheckpointOptions::label`.
/// @param own fleet of this rank's tasks; null if it has none.
/// @param checkpoints those of the first rank count.
/// @throws as `train_or_resume` and `meta::train` on several ranks.
template <zeroth_order::Fleet Fleet, class Observer = NoObserver>
CheckpointedRun<meta::Result<typename Fleet::Backend>> train_or_resume(
    mpi::Communicator& ranks, const Fleet* own, const std::type_identity_t<typename Fleet::Backend::Gain>& K0,
    const meta::Options& options, const CheckpointOptions& checkpoints, Observer&& observer = {}) {
  const auto describe = [&](std::size_t total) {
    std::string said;
    for (const Bytes& about_one : ranks.all_gather_of(
             [&] { return own == nullptr ? Bytes() : mpi::detail::bytes_of(detail::about(*own).dump()); })) {
      if (said.empty()) said = mpi::detail::text_of(about_one);
    }
    Json about = Json::parse(said);
    about["plants"] = total;
    return about;
  };
  return detail::train_or_resume_on_ranks(ranks, own, K0, options, checkpoints, describe, observer);
}

/// The same with the tasks of all ranks as exact cost oracles; the checkpoints compare the tasks.
/// @param own this rank's tasks; may be empty.
template <TaskList Tasks, class Observer = NoObserver>
CheckpointedRun<meta::Result<BackendOf<Tasks>>> train_or_resume(mpi::Communicator& ranks, const Tasks& own,
                                                                const std::type_identity_t<GainOf<Tasks>>& K0,
                                                                const meta::Options& options,
                                                                const CheckpointOptions& checkpoints,
                                                                Observer&& observer = {}) {
  using Backend = BackendOf<Tasks>;
  using Oracle = zeroth_order::ExactCost<Backend>;
  const std::span<const Task<Backend>> tasks(own);
  const std::vector<Oracle> oracles(tasks.begin(), tasks.end());
  std::optional<zeroth_order::OracleFleet<Backend, Oracle>> fleet;
  ranks.together([&] {
    if (!oracles.empty()) fleet.emplace(std::span<const Oracle>(oracles), options.estimator);
  });
  const auto describe = [&](std::size_t total) {
    return Json{{"exact_costs", detail::fingerprint_of_all(ranks, own, total)}};
  };
  return detail::train_or_resume_on_ranks(ranks, fleet ? &*fleet : nullptr, K0, options, checkpoints,
                                          describe, observer);
}

/// The same with exact derivatives, as `meta::train_with_models` on several ranks.
/// @param own this rank's tasks; may be empty.
template <TaskList Tasks, class Observer = NoObserver>
CheckpointedRun<meta::Result<BackendOf<Tasks>>> train_or_resume_with_models(
    mpi::Communicator& ranks, const Tasks& own, const std::type_identity_t<GainOf<Tasks>>& K0,
    const meta::Options& options, const CheckpointOptions& checkpoints, Observer&& observer = {}) {
  using Backend = BackendOf<Tasks>;
  std::optional<zeroth_order::ModelFleet<Backend>> fleet;
  ranks.together([&] {
    if (!std::span<const Task<Backend>>(own).empty()) fleet.emplace(own);
  });
  const auto describe = [&](std::size_t total) {
    return Json{{"models", detail::fingerprint_of_all(ranks, own, total)}};
  };
  return detail::train_or_resume_on_ranks(ranks, fleet ? &*fleet : nullptr, K0, options, checkpoints,
                                          describe, observer);
}

}  // namespace metalqr::inline METALQR_ABI::io
