#pragma once

/// @file
/// Settings of the agents of a federated run.

#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <metalqr/core/check.hpp>
#include <metalqr/core/error.hpp>
#include <metalqr/core/index.hpp>
#include <metalqr/zeroth_order/estimator.hpp>

namespace metalqr::inline METALQR_ABI::federated {

/// How an agent works; `Estimator` are the options of its estimator.
template <class Estimator>
struct AgentOptionsFor {
  Estimator estimator{};    ///< of the gradient
  int local_steps = 1;      ///< steps of policy gradient before an agent reports; 1: it reports its gradient
  double local_step = 0;    ///< their size, eta_l; not used for one
  bool report_cost = true;  ///< J_i at the gain that was sent costs a call more, and guards need it
  /// The largest cost that an agent accepts is (1 + slack) J_i(K0): more than the noise of a cost where each
  /// call measures anew, else agents refuse gains as good as K0, and K0 itself. The library's oracles repeat
  /// their random numbers and need none.
  double slack = 0;
  std::uint64_t seed = 0;  ///< of all its random numbers
  /// Number of the first agent of the list in its fleet: where a process owns a part of one, each agent draws
  /// the random numbers that it would in the whole.
  Index first = 0;
  /// The weight of a report is the number of samples behind it, else 1: for fleets of which the agents hold
  /// different amounts of data. Agents with models, who hold none, have weight 1.
  bool weigh_by_samples = false;
};
/// How an agent works that estimates its gradient.
using AgentOptions = AgentOptionsFor<zeroth_order::EstimatorOptions>;

/// Throws `InvalidOption` naming the first field out of its range.
template <class Estimator>
void validate(const AgentOptionsFor<Estimator>& options) {
  using metalqr::detail::require_option;
  validate(options.estimator);
  require_option(options.local_steps >= 1, "local_steps", options.local_steps, "at least 1");
  require_option(std::isfinite(options.slack) && options.slack >= 0, "slack", options.slack, "a number >= 0");
  require_option(options.first >= 0, "first", static_cast<double>(options.first), "a number >= 0");
  if (options.local_steps > 1) {
    require_option(std::isfinite(options.local_step) && options.local_step > 0, "local_step",
                   options.local_step, "a positive number for several local steps");
  }
}

namespace detail {

/// A list of options, one for each agent.
template <class T, class Options>
concept OptionList = std::convertible_to<const T&, std::span<const Options>>;

/// The options of each agent, which are checked.
template <class Options>
class OptionsByAgent {
 public:
  OptionsByAgent(std::span<const Options> options, Index agents) : options_(options.begin(), options.end()) {
    if (options.size() != 1 && static_cast<Index>(options.size()) != agents) {
      throw InvalidOption("options: expected one, or one for each of " + std::to_string(agents) +
                          " agents, got " + std::to_string(options.size()));
    }
    for (std::size_t i = 0; i < options.size(); ++i) {
      try {
        validate(options[i]);
      } catch (const InvalidOption& error) {
        if (options.size() == 1) throw;
        throw InvalidOption("options[" + std::to_string(i) + "]." + error.what());
      }
    }
  }

  const Options& operator[](Index agent) const {
    return options_[options_.size() == 1 ? 0 : static_cast<std::size_t>(agent)];
  }

 private:
  std::vector<Options> options_;
};

}  // namespace detail
}  // namespace metalqr::inline METALQR_ABI::federated
