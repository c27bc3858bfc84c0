#pragma once

// Agents with costs of which everything is known.

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include <metalqr/federated/agents.hpp>
#include <metalqr/federated/latency.hpp>
#include <metalqr/federated/profile.hpp>

#include "support.hpp"

namespace test {

/// Agents whose costs are |K - c_i|^2/2 + 1, of which the gradients are known; above a ceiling they count as
/// unstable.
template <class Backend_>
struct BowlsOf {
  using Backend = Backend_;
  using Gain = typename Backend::Gain;
  using Index = metalqr::Index;

  std::vector<Gain> centres;
  double ceiling = 100;

  Index size() const { return static_cast<Index>(centres.size()); }
  double cost(Index agent, Index /*question*/, const Gain& K) const {
    const double value = 1 + (K - centres[static_cast<std::size_t>(agent)]).squaredNorm() / 2;
    return value < ceiling ? value : std::numeric_limits<double>::infinity();
  }
  double limit(Index /*agent*/) const { return 0.99 * ceiling; }
  metalqr::federated::Report<Backend> work(Index agent, Index /*round*/, Index version, const Gain& K) const {
    return {.agent = agent,
            .version = version,
            .estimate = K - centres[static_cast<std::size_t>(agent)],
            .cost = cost(agent, 0, K)};
  }
};
using Bowls = BowlsOf<metalqr::EigenBackend<double, 4, 2>>;
static_assert(metalqr::federated::Agents<Bowls>);

template <class Backend = Bowls::Backend>
BowlsOf<Backend> bowls(metalqr::Index count, std::uint64_t seed, double ceiling = 100) {
  metalqr::Stream stream = test::stream(seed);
  BowlsOf<Backend> result{.centres = {}, .ceiling = ceiling};
  for (metalqr::Index i = 0; i < count; ++i) {
    typename Backend::Gain centre;
    metalqr::fill_normal<Backend>(centre, stream);
    result.centres.push_back(centre);
  }
  return result;
}

/// One fleet in which everything goes wrong that can.
inline std::vector<metalqr::federated::AgentProfile> unreliable(metalqr::Index count, std::uint64_t seed) {
  using metalqr::federated::ExponentialLatency;
  using metalqr::federated::UniformLatency;
  metalqr::Stream stream = test::stream(seed);
  std::vector<metalqr::federated::AgentProfile> profiles;
  for (metalqr::Index i = 0; i < count; ++i) {
    metalqr::federated::AgentProfile profile{.work = ExponentialLatency{.mean = 1 + 3 * stream.uniform()},
                                             .answer = UniformLatency{.low = 0.1, .high = 1},
                                             .loss = 0.1,
                                             .joins = 5 * stream.uniform(),
                                             .presence = ExponentialLatency{.mean = 40},
                                             .absence = ExponentialLatency{.mean = 15}};
    profiles.push_back(profile);
  }
  return profiles;
}

/// Whether two runs committed the same gains, bitwise, and what else of them does not depend on time is the
/// same.
template <class Result>
bool same_gains(const Result& x, const Result& y) {
  if (x.history.size() != y.history.size() || x.updates != y.updates) return false;
  for (std::size_t i = 0; i < x.history.size(); ++i) {
    const auto& a = x.history[i].commit;
    const auto& b = y.history[i].commit;
    if ((a.gain.array() != b.gain.array()).any()) return false;
    if (a.version != b.version || a.reports != b.reports || a.step != b.step) return false;
  }
  return (x.gain.array() == y.gain.array()).all();
}

}  // namespace test
