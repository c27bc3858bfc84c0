#pragma once

/// @file
/// What stands for all rollouts of an experiment where only sums over them matter, and the random numbers
/// that it takes.

#include <cmath>
#include <cstddef>
#include <map>
#include <numbers>
#include <utility>
#include <vector>

#include <metalqr/core/lanes.hpp>
#include <metalqr/core/random.hpp>
#include <metalqr/identification/dataset.hpp>

namespace metalqr::inline METALQR_ABI::identification::detail {

/// The root of a chi-squared number with so many degrees of freedom, >= 1 (Marsaglia, Tsang, "A simple method
/// for generating gamma variables", ACM TOMS 2000).
inline double draw_chi(Index degrees, Stream& stream) {
  if (degrees == 1) return std::abs(stream.normal());
  const double d = 0.5 * static_cast<double>(degrees) - 1.0 / 3;
  const double c = 1 / std::sqrt(9 * d);
  for (;;) {
    const double x = stream.normal();
    const double root = 1 + c * x;
    if (root <= 0) continue;
    const double v = root * root * root;
    if (std::log(stream.uniform()) < 0.5 * x * x + d * (1 - v + std::log(v))) return std::sqrt(2 * d * v);
  }
}

template <class Pack>
struct NormalPair {
  Pack first;
  Pack second;
};

/// Two independent standard normal numbers from the stream of each lane, by the Box-Muller transform of whole
/// packs: the logarithm and the angle's functions are most of the cost of a trial.
template <class Pack>
NormalPair<Pack> draw_normals(std::vector<Stream>& streams) {
  using std::cos;
  using std::log;
  using std::sin;
  using std::sqrt;
  using Lane = LaneTraits<Pack>;
  const auto uniform = [&] {
    return Lane::make([&](Index lane) {
      return static_cast<typename Lane::Value>(streams[static_cast<std::size_t>(lane)].uniform());
    });
  };
  const Pack radius = sqrt(Lane::number(-2) * log(uniform()));
  const Pack angle = Lane::number(2 * std::numbers::pi) * uniform();
  if constexpr (is_pack<Pack>) {
    const auto [sine, cosine] = sincos(angle);
    return {radius * cosine, radius * sine};
  } else {
    return {radius * cos(angle), radius * sin(angle)};
  }
}

/// Rollouts of one length from given initial states, of which only sums over the rollouts of products of two
/// numbers of the same rollout are wanted, as in the normal equations.
///
/// These sums depend on the N rollouts' d = T (n_x + n_u) Gaussian numbers G (d x N) and initial states X0
/// through [X0; G] [X0; G]' alone, which stays the same when the rollouts are mixed by an orthogonal matrix.
/// One that makes X0 = [L0 0] leaves G Gaussian; the rest of G then becomes lower triangular with chi
/// distributed numbers on its diagonal (Bartlett's factor of a Wishart matrix, 1933). So a few mixed
/// rollouts, most of which start late, have exactly the distribution of N.
template <class Scalar>
struct MixedRollouts {
  Index steps = 0;              ///< T
  Index count = 0;              ///< N
  std::vector<Scalar> initial;  ///< the columns of L0, one after the other
};

/// The rollouts of a dataset, by length.
template <FactoringBackend Backend>
std::vector<MixedRollouts<typename Backend::Scalar>> mixed_rollouts(const Dataset<Backend>& data) {
  using Scalar = typename Backend::Scalar;
  std::map<Index, std::vector<Index>> by_length;
  for (Index i = 0; i < data.size(); ++i) by_length[data.steps(i)].push_back(i);
  const Index nx = data.nx();
  std::vector<MixedRollouts<Scalar>> result;
  for (const auto& [steps, rollouts] : by_length) {
    MixedRollouts<Scalar> mixed;
    mixed.steps = steps;
    mixed.count = static_cast<Index>(rollouts.size());
    typename Backend::Matrix starts = Backend::zero_matrix(mixed.count, nx);
    for (Index i = 0; i < mixed.count; ++i) {
      for (Index j = 0; j < nx; ++j) starts(i, j) = data[rollouts[static_cast<std::size_t>(i)]].states(0, j);
    }
    const typename Backend::Matrix L0 = Backend::triangular_factor(starts);
    for (Index i = 0; i < nx; ++i) {
      bool zero = true;
      for (Index j = i; j < nx; ++j) zero = zero && L0(i, j) == Scalar(0);
      if (zero) continue;
      for (Index j = 0; j < nx; ++j) mixed.initial.push_back(L0(i, j));
    }
    result.push_back(std::move(mixed));
  }
  return result;
}

}  // namespace metalqr::inline METALQR_ABI::identification::detail
