#pragma once

/// @file
/// Evaluations by any backend against the reference cases.

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <metalqr/lqr/evaluation.hpp>

#include "reference.hpp"
#include "support.hpp"

namespace test {

using Errors = std::vector<std::pair<std::string, double>>;

/// The relative error of every quantity at a reference case.
template <class Backend>
Errors errors_at(const ReferenceCase& c) {
  const metalqr::Task<Backend> task = make_task<Backend>(c.task);
  const typename Backend::Gain K = gain<Backend>(c.K);
  const typename Backend::Gain X = gain<Backend>(c.X);
  const metalqr::Evaluation<Backend> at(task, K);
  // The gradient is a difference; one case sits at the optimum, where it vanishes.
  const long double gradient_scale =
      (norm(c.task.R * c.K) + norm(transpose(c.task.B) * c.P * c.task.closed_loop(c.K))) * norm(c.Sigma);
  const long double form_scale = norm(c.hessian_X) * norm(c.X);
  return {{"rho", relative_error(at.spectral_radius(), c.rho)},
          {"rho of (task, K)", relative_error(metalqr::spectral_radius(task, K), c.rho)},
          {"P", relative_error(dense<Backend>(at.P()), c.P)},
          {"Sigma", relative_error(dense<Backend>(at.Sigma()), c.Sigma)},
          {"cost", relative_error(at.cost(), c.cost)},
          {"cost of (task, K)", relative_error(metalqr::cost(task, K), c.cost)},
          {"gradient", relative_error(dense<Backend>(at.gradient()), c.gradient, gradient_scale)},
          {"hessian", relative_error(dense<Backend>(at.hessian(X)), c.hessian_X)},
          {"hessian_form", relative_error(at.hessian_form(X), c.hessian_form_X, form_scale)},
          {"paper_hessian", relative_error(dense<Backend>(at.paper_hessian(X)), c.paper_hessian_X)}};
}

/// Checks every quantity at every case that fits the backend's sizes and precision, at least three.
template <class Backend>
void check_reference_cases() {
  const double epsilon_ratio = static_cast<double>(Backend::epsilon()) / 0x1p-52;
  int compared = 0;
  for (const ReferenceCase& c : reference_cases()) {
    if (!c.fits<Backend>()) continue;
    // The inputs are doubles and the values have 17 digits, so a wider scalar is held to the same tolerance;
    // a narrower one to as many units of its rounding, which says nothing when they exceed the value.
    const double tolerance = c.tolerance() * std::max(1.0, epsilon_ratio);
    if (tolerance > 0.1) continue;
    for (const auto& [name, error] : errors_at<Backend>(c)) {
      INFO(c.name << ": " << name);
      CHECK(error <= tolerance);
    }
    ++compared;
  }
  CHECK(compared >= 3);
}

}  // namespace test
