#pragma once

/// @file
/// The normalised residual of a matrix equation.

#include <limits>

#include <metalqr/core/backend.hpp>

namespace metalqr::inline METALQR_ABI::detail {

/// |defect|_F / (sum of |term|_F), for the defect of an equation whose terms these are: a few epsilon for a
/// backward stable answer; zero if all are zero, +infinity if one holds a NaN or infinity. The norms neither
/// overflow nor underflow.
template <MatrixBackend Backend, class X, class... Terms>
typename Backend::Scalar normalised_residual(const X& defect, const Terms&... terms) {
  using Scalar = typename Backend::Scalar;
  if (!Backend::is_finite(defect) || !(Backend::is_finite(terms) && ...)) {
    return std::numeric_limits<Scalar>::infinity();
  }
  Scalar largest = Backend::max_abs(defect);
  const auto include = [&largest](const Scalar& size) {
    if (size > largest) largest = size;
  };
  (include(Backend::max_abs(terms)), ...);
  if (!(largest > Scalar(0))) return Scalar(0);
  const auto size = [&largest](const auto& x) {
    const X scaled = x / largest;
    return Backend::norm(scaled);
  };
  const Scalar scale = (size(terms) + ...);
  return size(defect) / scale;
}

}  // namespace metalqr::inline METALQR_ABI::detail
