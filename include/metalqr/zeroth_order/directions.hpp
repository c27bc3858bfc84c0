#pragma once

/// @file
/// Directions in which a zeroth-order estimator probes a cost.

#include <cmath>
#include <string>
#include <vector>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/error.hpp>
#include <metalqr/core/random.hpp>

namespace metalqr::inline METALQR_ABI::zeroth_order {

/// Law of the perturbations U of a gain, d = n_u n_x. All have E[vec(U) vec(U)'] = (r^2/d) I for the radius
/// r. All but `coordinate` are symmetric about zero, which estimators without the opposite point rely on.
enum class Directions {
  sphere,      ///< uniform on the Frobenius sphere of radius r
  gaussian,    ///< independent N(0, r^2/d) entries
  rademacher,  ///< independent entries +-r/sqrt(d)
  coordinate,  ///< r times the unit matrices, in order; samples come in blocks of d
  orthonormal  ///< r times the columns of a random rotation of R^d; samples come in blocks of d
};

/// The enumerator's name.
constexpr const char* to_string(Directions directions) {
  switch (directions) {
    case Directions::sphere:
      return "sphere";
    case Directions::gaussian:
      return "gaussian";
    case Directions::rademacher:
      return "rademacher";
    case Directions::coordinate:
      return "coordinate";
    case Directions::orthonormal:
      return "orthonormal";
  }
  return "unknown";
}

/// Whether samples come in blocks of d that span R^d exactly.
constexpr bool comes_in_blocks(Directions directions) {
  return directions == Directions::coordinate || directions == Directions::orthonormal;
}

/// Most samples of one estimate: 10^8, for each of which a direction is kept.
inline constexpr Index max_samples = 100'000'000;

namespace detail {

/// Throws `InvalidOption` unless `samples` is in [`least`, max_samples].
inline void require_samples(Index samples, Index least, const char* expected) {
  metalqr::detail::require_option(samples >= least, "samples", static_cast<double>(samples), expected);
  metalqr::detail::require_option(samples <= max_samples, "samples", static_cast<double>(samples),
                                  "at most 1e8");
}

/// Throws `InvalidOption` unless `radius` is positive and its square far from under- and overflow.
inline void require_radius(double radius) {
  metalqr::detail::require_option(radius > 0 && std::isfinite(radius), "radius", radius, "a positive number");
  metalqr::detail::require_option(radius >= 1e-150 && radius <= 1e150, "radius", radius,
                                  "a number between 1e-150 and 1e150, whose square is a number");
}

/// The d columns, one after the other, of a uniformly distributed d x d orthogonal matrix: Gram-Schmidt,
/// twice, on Gaussian vectors.
inline std::vector<double> random_rotation(std::size_t d, Stream& stream) {
  std::vector<double> columns(d * d);
  for (double* v = columns.data(); v != columns.data() + d * d; v += d) {
    for (std::size_t i = 0; i < d; ++i) v[i] = stream.normal();
    double norm = 0;
    for (int pass = 0; pass < 2; ++pass) {
      for (const double* u = columns.data(); u != v; u += d) {
        double along = 0;
        for (std::size_t i = 0; i < d; ++i) along += u[i] * v[i];
        for (std::size_t i = 0; i < d; ++i) v[i] -= along * u[i];
      }
      norm = 0;
      for (std::size_t i = 0; i < d; ++i) norm += v[i] * v[i];
      norm = std::sqrt(norm);
      for (std::size_t i = 0; i < d; ++i) v[i] /= norm;
    }
  }
  return columns;
}

/// The n_u x n_x matrix with these entries, row by row, times `scale`.
template <class Backend>
typename Backend::Gain to_gain(const double* entries, double scale, Index nu, Index nx) {
  typename Backend::Gain U = Backend::zero_gain(nu, nx);
  for (Index i = 0; i < nu; ++i) {
    for (Index j = 0; j < nx; ++j) {
      U(i, j) = static_cast<typename Backend::Scalar>(scale * entries[i * nx + j]);
    }
  }
  return U;
}

}  // namespace detail

/// `count` perturbations of an n_u x n_x gain with radius r > 0. Sample l (or block l/d) comes from the
/// stream at `key` with sample l (or l/d), so that each is reproduced alone.
/// @throws InvalidOption if count is not between 1 and `max_samples` or no multiple of d for laws in blocks,
/// or radius is not between 1e-150 and 1e150; DimensionMismatch if a gain has no entries.
template <class Backend>
std::vector<typename Backend::Gain> draw_directions(Directions law, Index count, Index nu, Index nx,
                                                    double radius, const StreamKey& key) {
  const Index d = nu * nx;
  if (nu < 1 || nx < 1) {
    throw DimensionMismatch("gain: expected at least one row and one column, got shape " +
                            metalqr::detail::shape(nu, nx));
  }
  detail::require_samples(count, 1, "at least 1");
  detail::require_radius(radius);
  if (comes_in_blocks(law) && count % d != 0) {
    throw InvalidOption("samples: expected a multiple of n_u n_x = " + std::to_string(d) + " for " +
                        to_string(law) + " directions, got " + std::to_string(count));
  }
  const StreamKey base = key.with_purpose(Purpose::directions);
  const auto size = static_cast<std::size_t>(d);
  std::vector<typename Backend::Gain> directions;
  directions.reserve(static_cast<std::size_t>(count));
  if (comes_in_blocks(law)) {
    for (Index block = 0; block < count / d; ++block) {
      std::vector<double> columns;
      if (law == Directions::orthonormal) {
        Stream stream(base.with_sample(static_cast<std::uint64_t>(block)));
        columns = detail::random_rotation(size, stream);
      } else {
        columns.assign(size * size, 0.0);
        for (std::size_t i = 0; i < size; ++i) columns[i * size + i] = 1;
      }
      for (std::size_t i = 0; i < size; ++i) {
        directions.push_back(detail::to_gain<Backend>(columns.data() + i * size, radius, nu, nx));
      }
    }
    return directions;
  }
  const double spread = radius / std::sqrt(static_cast<double>(d));
  std::vector<double> entries(size);
  for (Index l = 0; l < count; ++l) {
    Stream stream(base.with_sample(static_cast<std::uint64_t>(l)));
    double norm = 0;
    for (double& entry : entries) {
      entry = law == Directions::rademacher ? stream.rademacher() : stream.normal();
      norm += entry * entry;
    }
    directions.push_back(detail::to_gain<Backend>(
        entries.data(), law == Directions::sphere ? radius / std::sqrt(norm) : spread, nu, nx));
  }
  return directions;
}

}  // namespace metalqr::inline METALQR_ABI::zeroth_order
