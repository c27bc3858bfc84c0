#pragma once

/// @file
/// The published experiment: fleets around the modified Boeing plant in both settings of the initial state.

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include <metalqr/lqr/evaluation.hpp>
#include <metalqr/systems/perturbed_family.hpp>
#include <metalqr/systems/plants.hpp>

#include "support.hpp"

namespace test {

using Boeing = metalqr::EigenBackend<double, 4, 2>;
using BoeingTasks = std::vector<metalqr::Task<Boeing>>;

/// Where training starts from: the published code's N(0.5, 1e-3^2) a component, or the report's N(0, I/4).
enum class Start { code, report };
inline const std::vector<Start> both_starts{Start::code, Start::report};

template <class AnyBackend = Boeing>
metalqr::Task<AnyBackend> nominal(Start start) {
  const auto task = metalqr::systems::modified_boeing<AnyBackend>();
  return start == Start::code
             ? task.with_initial_state(metalqr::systems::published_initial_second_moment<AnyBackend>())
             : task;
}

template <class AnyBackend = Boeing>
typename AnyBackend::Gain first_gain() {
  return metalqr::systems::modified_boeing_initial_gain<AnyBackend>();
}

template <class AnyBackend = Boeing>
std::vector<metalqr::Task<AnyBackend>> fleet(Start start, std::uint64_t seed, Index count = 10) {
  return metalqr::systems::perturbed_family(
             nominal<AnyBackend>(start),
             {.count = count, .level = 0.01, .must_be_stabilised_by = first_gain<AnyBackend>()}, seed)
      .tasks;
}

/// J(K) - J* of the nominal plant from the published state, with the published J*.
template <class AnyBackend = Boeing>
double gap(const typename AnyBackend::Gain& K) {
  static const auto task = metalqr::systems::modified_boeing<AnyBackend>();
  return cost(task, K, metalqr::systems::published_gap_second_moment<AnyBackend>()) - 2.7147945922;
}

inline bool all_stable(const BoeingTasks& tasks, const Boeing::Gain& K) {
  for (const auto& task : tasks) {
    if (!is_stabilizing(task, K)) return false;
  }
  return true;
}

/// Bitwise.
template <class Gain>
bool same(const Gain& x, const Gain& y) {
  for (Index i = 0; i < x.rows(); ++i) {
    for (Index j = 0; j < x.cols(); ++j) {
      if (x(i, j) != y(i, j)) return false;
    }
  }
  return true;
}

}  // namespace test
