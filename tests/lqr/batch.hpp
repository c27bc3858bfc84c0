#pragma once

/// @file
/// What the tests of batches share: each file compiles one or two backends.

#include <algorithm>
#include <cstddef>
#include <vector>

#include <metalqr/lqr/batch.hpp>

#include "lane_support.hpp"
#include "reference.hpp"
#include "support.hpp"

namespace test {

template <class AnyBackend>
std::vector<typename AnyBackend::Gain> gains_of(const std::vector<Dense>& values) {
  std::vector<typename AnyBackend::Gain> result;
  for (const Dense& value : values) result.push_back(gain<AnyBackend>(value));
  return result;
}

template <class AnyBackend>
bool same(const metalqr::CostAndGradient<AnyBackend>& x, const metalqr::CostAndGradient<AnyBackend>& y) {
  bool equal = same_bits(x.cost, y.cost) && AnyBackend::rows(x.gradient) == AnyBackend::rows(y.gradient) &&
               AnyBackend::cols(x.gradient) == AnyBackend::cols(y.gradient);
  for (Index i = 0; equal && i < AnyBackend::rows(x.gradient); ++i) {
    for (Index j = 0; equal && j < AnyBackend::cols(x.gradient); ++j) {
      equal = same_bits(x.gradient(i, j), y.gradient(i, j));
    }
  }
  return equal;
}

/// `count` gains around a gain of the first reference case, at which rho is about 0.95.
template <class AnyBackend>
std::vector<typename AnyBackend::Gain> near_first_gain(Index count, metalqr::Stream& stream) {
  std::vector<Dense> result;
  for (Index i = 0; i < count; ++i) {
    result.push_back(reference_cases()[0].K + 1e-3L * random_matrix(2, 4, stream));
  }
  return gains_of<AnyBackend>(result);
}

/// Every reference case that fits the backend, in each lane and as one of several tasks.
template <class AnyBackend>
void check_reference_cases() {
  const double epsilon_ratio = static_cast<double>(AnyBackend::epsilon()) / 0x1p-52;
  int compared = 0;
  for (const ReferenceCase& c : reference_cases()) {
    if (!c.fits<AnyBackend>()) continue;
    const double tolerance = c.tolerance() * std::max(1.0, epsilon_ratio);
    if (tolerance > 0.1) continue;
    const Index count = 2 * metalqr::lane_count<AnyBackend> + 1;
    const auto task = make_task<AnyBackend>(c.task);
    const std::vector<typename AnyBackend::Gain> gains(static_cast<std::size_t>(count),
                                                       gain<AnyBackend>(c.K));
    const std::vector<metalqr::Task<AnyBackend>> tasks(static_cast<std::size_t>(count), task);
    const auto of_gains = metalqr::costs(task, gains);
    const auto of_tasks = metalqr::costs(tasks, gains[0]);
    const auto with_gradients = metalqr::gradients(task, gains);
    const auto of_tasks_with_gradients = metalqr::gradients(tasks, gains[0]);
    const long double scale =
        (norm(c.task.R * c.K) + norm(transpose(c.task.B) * c.P * c.task.closed_loop(c.K))) * norm(c.Sigma);
    for (std::size_t i = 0; i < gains.size(); ++i) {
      INFO(c.name << ", " << i);
      CHECK(relative_error(of_gains[i], c.cost) <= tolerance);
      CHECK(same_bits(of_gains[i], of_tasks[i]));
      CHECK(relative_error(with_gradients[i].cost, c.cost) <= tolerance);
      CHECK(relative_error(dense<AnyBackend>(with_gradients[i].gradient), c.gradient, scale) <= tolerance);
      CHECK(same(with_gradients[i], of_tasks_with_gradients[i]));
    }
    ++compared;
  }
  CHECK(compared >= 3);
}

}  // namespace test
