#pragma once

/// @file
/// How fast the powers of a stable matrix decay.

#include <algorithm>
#include <cmath>
#include <optional>
#include <type_traits>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/check.hpp>
#include <metalqr/core/error.hpp>
#include <metalqr/equations/spectral.hpp>
#include <metalqr/equations/spectral_norm.hpp>

namespace metalqr::inline METALQR_ABI::synthesis {

/// |F^t|_2 <= constant * rate^t for t = 0, 1, ...
struct Decay {
  double constant = 1;  ///< at least 1
  double rate = 0;      ///< in (0, 1)

  /// A bound on |(F + D)^t|_2 for any D with |D|_2 <= distance: of the products of t factors F or D, those
  /// with k factors D are at most constant^(k+1) rate^(t-k) distance^k each, and the sum over all of them is
  /// constant (rate + constant * distance)^t.
  double of_neighbours(double distance, Index t) const {
    return constant * std::pow(rate + constant * distance, static_cast<double>(t));
  }
};

namespace detail {

/// See `decay`; nothing if T is above `most`, or if rho(F) < rate is not proved.
template <MatrixBackend Backend>
std::optional<Decay> find_decay(const typename Backend::StateMatrix& F, double rate, int most) {
  using StateMatrix = typename Backend::StateMatrix;
  const StateMatrix scaled = F / static_cast<typename Backend::Scalar>(rate);
  if (!is_stable<Backend>(scaled)) return std::nullopt;
  Decay result{.constant = 1, .rate = rate};
  StateMatrix power = scaled;
  for (int t = 1; t <= most && Backend::is_finite(power); ++t) {
    const double size = Backend::to_double(metalqr::spectral_norm<Backend>(power));
    if (size <= 1) return result;
    result.constant = std::max(result.constant, size);
    power = Backend::product(power, scaled);
  }
  return std::nullopt;
}

}  // namespace detail

/// The least constant for a rate above the spectral radius, up to rounding: the largest |F^t|_2 rate^-t
/// before the first T with |F^T|_2 <= rate^T, from where on nothing is larger, since norms of products are at
/// most products of norms. T grows without limit as the rate falls to rho(F), and takes T products and norms.
/// @throws DimensionMismatch, NotFinite for a bad F; InvalidOption unless rho(F) < rate < 1, where T is above
/// 100 000, or where powers overflow.
template <MatrixBackend Backend>
Decay decay(const std::type_identity_t<typename Backend::StateMatrix>& F, double rate) {
  metalqr::detail::require_shape<Backend>(F, Backend::rows(F), Backend::rows(F), "F");
  metalqr::detail::require_finite<Backend>(F, "F");
  const std::optional<Decay> found =
      rate > 0 && rate < 1 ? detail::find_decay<Backend>(F, rate, 100000) : std::nullopt;
  if (found) return *found;
  const double radius = Backend::to_double(spectral_radius<Backend>(F));
  throw InvalidOption("rate: expected a number below 1 and well above the spectral radius of F, " +
                      metalqr::detail::text(radius) + ", got " + metalqr::detail::text(rate));
}

}  // namespace metalqr::inline METALQR_ABI::synthesis
