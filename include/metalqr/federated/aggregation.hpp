#pragma once

/// @file
/// What a server makes of reports: one step.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <optional>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/error.hpp>
#include <metalqr/federated/combiner.hpp>
#include <metalqr/federated/message.hpp>
#include <metalqr/federated/rule.hpp>
#include <metalqr/federated/server_optimizer.hpp>
#include <metalqr/federated/server_state.hpp>

namespace metalqr::inline METALQR_ABI::federated::detail {

/// Whether a report can be averaged in: finite, of the gain's shape, of a positive weight, and not from an
/// agent that lost its stability.
template <MatrixBackend Backend>
bool is_usable(const Report<Backend>& report, const typename Backend::Gain& K) {
  return Backend::rows(report.estimate) == Backend::rows(K) &&
         Backend::cols(report.estimate) == Backend::cols(K) && Backend::is_finite(report.estimate) &&
         std::isfinite(report.weight) && report.weight > 0 && !std::isinf(Backend::to_double(report.cost));
}

/// Drops the waiting reports that the rule no longer admits.
template <MatrixBackend Backend, Rule RuleType>
void drop_too_old(ServerState<Backend>& state, const RuleType& rule) {
  const std::size_t before = state.reports.size();
  std::erase_if(state.reports, [&](const Report<Backend>& report) {
    return !federated::admits(rule, state.version - report.version);
  });
  state.statistics.too_old += static_cast<Index>(before - state.reports.size());
}

/// Makes steps; keeps the memory that it works with.
template <MatrixBackend Backend>
class Aggregation {
 public:
  using Gain = typename Backend::Gain;

  /// Uses up the waiting reports. None if no report has a weight, or the combiner finds too few with one; if
  /// the step size is zero; if the step, or where it leads, is not finite.
  template <Rule RuleType, class CombinerType, class OptimizerType>
  std::optional<Step<Backend>> step(ServerState<Backend>& state, const RuleType& rule,
                                    const CombinerType& combiner, const OptimizerType& optimizer,
                                    double step_size) {
    reports_.clear();
    std::swap(reports_, state.reports);
    sort();
    estimates_.clear();
    Index oldest = 0;
    for (const std::size_t i : order_) {
      Report<Backend>& report = reports_[i];
      const Index staleness = state.version - report.version;
      oldest = std::max(oldest, staleness);
      const double weight = report.weight * federated::weight(rule, staleness);
      if (weight > 0) estimates_.push_back({.estimate = std::move(report.estimate), .weight = weight});
      count(state, report.agent, staleness);
    }
    Step<Backend> result{.step = {},
                         .reports = static_cast<Index>(reports_.size()),
                         .size = step_size * federated::step_factor(rule, oldest)};
    if (estimates_.empty() || !(result.size > 0)) return std::nullopt;
    try {
      const Gain direction =
          combine<Backend>(combiner, std::span<const WeightedEstimate<Backend>>(estimates_));
      result.step = advance<Backend>(optimizer, state.optimizer, direction, result.size);
    } catch (const Error&) {  // of what agents send: a sum that overflows, too few weights
      return std::nullopt;
    }
    if (!Backend::is_finite(Gain(state.gain - result.step))) return std::nullopt;
    return result;
  }

 private:
  /// The order of agents, and of versions of one agent's, in which sums do not depend on who was first.
  void sort() {
    // By key: the standard's stable sorts keep elements where their alignment is not respected.
    order_.resize(reports_.size());
    std::iota(order_.begin(), order_.end(), std::size_t{0});
    std::sort(order_.begin(), order_.end(), [this](std::size_t i, std::size_t j) {
      const Report<Backend>& x = reports_[i];
      const Report<Backend>& y = reports_[j];
      return std::tie(x.agent, x.version, i) < std::tie(y.agent, y.version, j);
    });
  }

  static void count(ServerState<Backend>& state, Index agent, Index staleness) {
    ServerStatistics& statistics = state.statistics;
    ++statistics.used;
    ++state.agents[static_cast<std::size_t>(agent)].participations;
    if (static_cast<std::size_t>(staleness) >= statistics.staleness.size()) {
      statistics.staleness.resize(static_cast<std::size_t>(staleness) + 1);
    }
    ++statistics.staleness[static_cast<std::size_t>(staleness)];
  }

  std::vector<Report<Backend>> reports_;
  std::vector<std::size_t> order_;
  std::vector<WeightedEstimate<Backend>> estimates_;
};

}  // namespace metalqr::inline METALQR_ABI::federated::detail
