#pragma once

/// @file
/// What the ranks of a meta-training run must agree on before it starts.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <metalqr/core/mpi.hpp>
#include <metalqr/meta/train.hpp>

namespace metalqr::inline METALQR_ABI::meta::detail {

inline void put(ByteWriter& out, const zeroth_order::EstimatorOptions& estimator) {
  const auto& [points, directions, samples, radius, unstable, common, shared, check] = estimator;
  out.put(points);
  out.put(directions);
  out.put(samples);
  out.put(radius);
  out.put(unstable);
  out.put(common);
  out.put(shared);
  out.put(check);
}

/// All that a run's result depends on: not the number of threads.
inline void put(ByteWriter& out, const Options& options) {
  const auto& [order, iterations, inner_steps, inner_step, check_inner_step, outer, estimator, repeat_base,
               guard, tolerance, seed, threads] = options;
  const auto& [rule, initial, shrink, grow, decrease, max_trials, memory] = outer;
  static_cast<void>(threads);
  out.put(order);
  for (const int number : {iterations, inner_steps, max_trials, memory}) out.put(number);
  for (const double number : {inner_step, initial, shrink, grow, decrease, tolerance}) out.put(number);
  for (const bool yes : {check_inner_step, repeat_base, guard}) out.put(yes);
  out.put(rule);
  put(out, estimator);
  out.put(seed);
}

/// All of a state but its gain and its lists of tasks.
template <class Backend>
void put_common(ByteWriter& out, const State<Backend>& state) {
  const DescentState<Backend>& descent = state.descent;
  const zeroth_order::OracleCalls& calls = state.calls;
  for (const int number : {descent.iteration, descent.refused, descent.failures, descent.skipped_pairs,
                           state.guard_refusals, state.skipped_inner_points, state.reduced_inner_steps}) {
    out.put(number);
  }
  for (const Index number :
       {state.unstable_probes, calls.probes, calls.base, calls.assessments, calls.curvature}) {
    out.put(number);
  }
  out.put(state.inner_step);
  out.put(state.first_norm);
  out.put(descent.at.value);
  out.put(descent.at.acceptable);
  out.put(descent.last_step);
  out.put(descent.has_previous);
  if (descent.has_previous) {
    out.put_entries<Backend>(descent.previous_K);
    out.put_entries<Backend>(descent.previous_direction);
  }
  for (const auto& pair : descent.pairs) {
    out.put_entries<Backend>(pair.step);
    out.put_entries<Backend>(pair.change);
  }
}

/// One thing that ranks agree on.
struct Topic {
  std::string name;
  std::string content{};
  bool only_with_tasks = false;  // ranks without tasks have nothing to say
};

/// Throws `InvalidOption` on all ranks unless they say the same. What `describe()` throws on one rank, the
/// others throw as `RemoteError`.
/// @param has_tasks whether this rank has any.
/// @param describe returns the same topics on all ranks, up to their content.
template <class Describe>
void require_agreement(mpi::Communicator& ranks, bool has_tasks, const Describe& describe) {
  const std::vector<Bytes> said = ranks.all_gather_of([&] {
    ByteWriter out;
    out.put(has_tasks);
    for (const Topic& topic : describe()) {
      out.put_text(topic.name);
      out.put(topic.only_with_tasks);
      out.put_text(topic.content);
    }
    return out.take();
  });
  struct First {
    std::size_t rank;
    std::string content;
  };
  std::vector<std::vector<First>> first;  // of each topic, the first rank that has a say
  bool any_tasks = false;
  for (std::size_t rank = 0; rank < said.size(); ++rank) {
    ByteReader in(said[rank]);
    const bool tasks = in.get<std::uint8_t>() != 0;  // a byte that may say anything
    any_tasks = any_tasks || tasks;
    for (std::size_t t = 0; in.left() > 0; ++t) {
      const std::string name = in.get_text();
      const bool only_with_tasks = in.get<std::uint8_t>() != 0;
      const std::string content = in.get_text();
      if (t == first.size()) first.emplace_back();
      if (only_with_tasks && !tasks) continue;
      if (first[t].empty()) first[t].push_back({rank, content});
      if (first[t].front().content == content) continue;
      throw InvalidOption(name + ": expected the same on all ranks, got another on rank " +
                          std::to_string(rank) + " than on rank " + std::to_string(first[t].front().rank));
    }
  }
  if (!any_tasks) throw InvalidOption("tasks: expected at least one on any rank, got none");
}

/// Checks on each rank what it was given, and on all that it is the same.
/// @param fleet null on a rank without tasks.
/// @param name of the gain of the state.
template <zeroth_order::Fleet Fleet>
void require_agreement(mpi::Communicator& ranks, const Fleet* fleet,
                       const State<typename Fleet::Backend>& state, const Options& options,
                       const char* name) {
  using Backend = typename Fleet::Backend;
  static_assert(Plain<typename Backend::Scalar>, "ranks exchange numbers as bytes");
  const auto text = [](const auto& put_all) {
    ByteWriter out;
    put_all(out);
    const Bytes& bytes = out.bytes();
    return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  };
  require_agreement(ranks, fleet != nullptr, [&] {
    validate(options);
    std::vector<Topic> topics(5);
    const typename Backend::Gain& K = state.descent.K;
    if (fleet != nullptr) {
      require_fitting(*fleet, state, options, name);
    } else {
      metalqr::detail::require_shape<Backend>(K, Backend::rows(K), Backend::cols(K), name);
      metalqr::detail::require_finite<Backend>(K, name);
      validate(state, 0, false);
    }
    topics[0] = {"options", text([&](ByteWriter& out) { put(out, options); })};
    topics[1] = {name, text([&](ByteWriter& out) {
                   out.put(Backend::rows(K));
                   out.put(Backend::cols(K));
                   out.put_entries<Backend>(K);
                 })};
    topics[2] = {"state", text([&](ByteWriter& out) { put_common(out, state); })};
    topics[3] = {"state's lists", text([&](ByteWriter& out) {
                   for (const bool missing : {state.start_costs.empty(), state.costs.empty(),
                                              state.curvature_directions.empty()}) {
                     out.put(missing);
                   }
                 }),
                 true};
    topics[4] = {"the fleet's estimator", "", true};
    if constexpr (requires { put(std::declval<ByteWriter&>(), fleet->options()); }) {
      if (fleet != nullptr) topics[4].content = text([&](ByteWriter& out) { put(out, fleet->options()); });
    }
    return topics;
  });
}

}  // namespace metalqr::inline METALQR_ABI::meta::detail
