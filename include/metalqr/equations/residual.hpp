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
  using Lane = LaneTraits<Scalar>;
  // Where no square overflows and those that count do not underflow, the terms are taken as they are.
  const Scalar sum = (Backend::norm(terms) + ...);
  const Scalar difference = Backend::norm(defect);
  const Scalar negligible = sum * Backend::epsilon();
  const auto least = std::numeric_limits<typename Lane::Value>::min();
  const Scalar normal = Scalar(least) / Backend::epsilon();
  const MaskOf<Scalar> sound = sum + difference < Lane::infinity() && negligible * negligible > normal;
  if (Lane::all(sound)) return difference / sum;
  const MaskOf<Scalar> finite = Backend::is_finite(defect) && (Backend::is_finite(terms) && ...);
  if (!Lane::any(finite)) return Lane::infinity();
  Scalar largest = Backend::max_abs(defect);
  const auto include = [&largest](const Scalar& size) {
    largest = Lane::select(size > largest, size, largest);
  };
  (include(Backend::max_abs(terms)), ...);
  const MaskOf<Scalar> zero = !(largest > Scalar(0));
  const Scalar unit = Lane::select(zero || sound, Scalar(1), largest);
  const auto size = [&unit](const auto& x) -> Scalar {
    const X scaled = x / unit;
    return Backend::norm(scaled);
  };
  const Scalar scale = Lane::select(zero, Scalar(1), (size(terms) + ...));
  return Lane::select(finite, size(defect) / scale, Lane::infinity());
}

}  // namespace metalqr::inline METALQR_ABI::detail
