#pragma once

/// @file
/// The controllers that can be in the loop: static gains, and those given by finite responses.

#include <string>
#include <variant>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/check.hpp>
#include <metalqr/core/error.hpp>
#include <metalqr/lqr/evaluation.hpp>
#include <metalqr/lqr/task.hpp>
#include <metalqr/synthesis/fir_controller.hpp>

namespace metalqr::inline METALQR_ABI::adaptive {

/// A gain K (n_u x n_x), u = -K x, or a dynamic controller u = controller(x).
template <MatrixBackend Backend>
using Controller = std::variant<typename Backend::Gain, synthesis::FirController<Backend>>;

/// The input for the state x, without exploration; a dynamic controller takes note of x.
/// @throws DimensionMismatch.
template <MatrixBackend Backend>
typename Backend::ControlVector respond(Controller<Backend>& controller,
                                        const typename Backend::StateVector& x) {
  if (const auto* K = std::get_if<0>(&controller)) {
    metalqr::detail::require_shape<Backend>(x, Backend::cols(*K), 1, "x");
    const typename Backend::ControlVector push = Backend::product(*K, x);
    return typename Backend::Scalar(-1) * push;
  }
  return std::get<1>(controller)(x);
}

/// The long-run average cost of a controller on a plant whose noise has the covariance Sigma0; infinity where
/// stability of the closed loop is not proved.
/// @throws DimensionMismatch.
template <MatrixBackend Backend>
double average_cost(const Task<Backend>& plant, const Controller<Backend>& controller) {
  if (const auto* K = std::get_if<0>(&controller)) return Backend::to_double(metalqr::cost(plant, *K));
  return synthesis::cost(plant, std::get<1>(controller).state_space());
}

namespace detail {

/// Throws `DimensionMismatch` or `NotFinite` naming the controller unless it fits a plant.
template <MatrixBackend Backend>
void require_controller(const Controller<Backend>& controller, Index nx, Index nu, const std::string& name) {
  if (const auto* K = std::get_if<0>(&controller)) {
    metalqr::detail::require_shape<Backend>(*K, nu, nx, name.c_str());
    metalqr::detail::require_finite<Backend>(*K, name.c_str());
    return;
  }
  const auto& dynamic = std::get<1>(controller);
  if (dynamic.length() < 1) throw DimensionMismatch(name + ": expected responses, got a controller of none");
  metalqr::detail::require_shape<Backend>(dynamic.input_response().front(), nu, nx, name.c_str());
}

}  // namespace detail
}  // namespace metalqr::inline METALQR_ABI::adaptive
