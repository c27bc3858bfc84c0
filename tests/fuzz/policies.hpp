#pragma once

/// A rule, a combiner and an optimiser of which the kind is chosen while the program runs, so that one server
/// is compiled for all of them.

#include <span>
#include <variant>

#include <metalqr/federated/geometric_median.hpp>
#include <metalqr/federated/krum.hpp>
#include <metalqr/federated/robust.hpp>
#include <metalqr/federated/rule.hpp>
#include <metalqr/federated/server_optimizer.hpp>
#include <metalqr/federated/server_options.hpp>

#include "fuzz.hpp"

namespace fuzz {

namespace fed = metalqr::federated;

/// The rule in a variant of rules.
template <class... Rules>
struct OneRule {
  std::variant<Rules...> rule{};

  template <class Call>
  auto visit(const Call& call) const {
    return std::visit(call, rule);
  }
  bool is_ready(const fed::Standing& standing) const {
    return visit([&](const auto& r) { return r.is_ready(standing); });
  }
  bool admits(Index staleness) const {
    return visit([&](const auto& r) { return fed::admits(r, staleness); });
  }
  double weight(Index staleness) const {
    return visit([&](const auto& r) { return fed::weight(r, staleness); });
  }
  double step_factor(Index staleness) const {
    return visit([&](const auto& r) { return fed::step_factor(r, staleness); });
  }
  double window() const {
    return visit([](const auto& r) { return fed::window(r); });
  }
  bool keeps_working() const {
    return visit([](const auto& r) { return fed::keeps_working(r); });
  }
  Index refresh_after() const {
    return visit([](const auto& r) { return fed::refresh_after(r); });
  }
  void validate() const {
    visit([](const auto& r) { fed::validate(r); });
  }
};

struct AnyLaw {
  std::variant<fed::ConstantWeight, fed::PolynomialWeight, fed::HingeWeight> law{};

  double operator()(Index staleness) const {
    return std::visit([&](const auto& s) { return s(staleness); }, law);
  }
  void validate() const {
    std::visit([](const auto& s) { s.validate(); }, law);
  }
};

using AnyBase = OneRule<fed::Synchronous, fed::Buffered, fed::Ringmaster, fed::Rennala, fed::TimeWindow>;
using Weighted = fed::StalenessWeighted<AnyBase, AnyLaw>;
using Damped = fed::StalenessDamped<AnyBase, AnyLaw>;
using AnyRule =
    OneRule<AnyBase, Weighted, Damped, fed::StalenessBounded<AnyBase>, fed::StalenessBounded<Weighted>>;

struct AnyCombiner {
  std::variant<fed::Mean, fed::CoordinateMedian, fed::TrimmedMean, fed::GeometricMedian, fed::Krum>
      combiner{};

  Backend::Gain operator()(std::span<const fed::WeightedEstimate<Backend>> estimates) const {
    return std::visit([&](const auto& c) { return c(estimates); }, combiner);
  }
  Index fewest() const {
    return std::visit([](const auto& c) { return fed::fewest_estimates(c); }, combiner);
  }
};

struct AnyOptimizer {
  std::variant<fed::PlainStep, fed::Momentum, fed::Adam> optimizer{};

  Backend::Gain operator()(fed::OptimizerState<Backend>& state, const Backend::Gain& direction,
                           double step) const {
    return std::visit([&](const auto& o) { return o.template operator()<Backend>(state, direction, step); },
                      optimizer);
  }
};

inline AnyRule read_rule(Bytes& bytes) {
  AnyBase base;
  switch (bytes.below(5)) {
    case 0:
      base.rule = fed::Synchronous{};
      break;
    case 1:
      base.rule = fed::Buffered{.count = 1 + bytes.below(4)};
      break;
    case 2:
      base.rule = fed::Ringmaster{.limit = 1 + bytes.below(4)};
      break;
    case 3:
      base.rule = fed::Rennala{.count = 1 + bytes.below(4)};
      break;
    default:
      base.rule = fed::TimeWindow{};
  }
  AnyLaw law;
  switch (bytes.below(3)) {
    case 0:
      break;
    case 1:
      law.law = fed::PolynomialWeight{.exponent = bytes.flag() ? 0.5 : 2000.0};
      break;
    default:
      law.law = fed::HingeWeight{.slope = 1, .knee = bytes.below(3)};
  }
  switch (bytes.below(5)) {
    case 0:
      return {base};
    case 1:
      return {fed::weighted(base, law)};
    case 2:
      return {fed::damped(base, law)};
    case 3:
      return {fed::bounded(base, bytes.below(4))};
    default:
      return {fed::bounded(fed::weighted(base, law), bytes.below(4))};
  }
}

inline AnyCombiner read_combiner(Bytes& bytes) {
  switch (bytes.below(5)) {
    case 0:
      return {};
    case 1:
      return {fed::CoordinateMedian{}};
    case 2:
      return {fed::TrimmedMean{.fraction = bytes.below(5) / 10.0}};
    case 3:
      return {fed::GeometricMedian{}};
    default:
      return {fed::Krum{.corrupted = bytes.below(2), .selected = 1 + bytes.below(3)}};
  }
}

inline AnyOptimizer read_optimizer(Bytes& bytes) {
  switch (bytes.below(3)) {
    case 0:
      return {};
    case 1:
      return {fed::Momentum{}};
    default:
      return {fed::Adam{.floor = bytes.flag() ? 0 : 1e-8}};
  }
}

inline fed::ServerOptions read_options(Bytes& bytes) {
  constexpr double steps[] = {1e-3, 1, 1e-300, 1e300};
  constexpr fed::Guard guards[] = {fed::Guard::none, fed::Guard::ask, fed::Guard::rollback};
  return {.step = steps[bytes.below(4)],
          .guard = guards[bytes.below(3)],
          .max_halvings = bytes.below(4),
          .retry_after = bytes.flag() ? 1.0 : 0.0,
          .max_agents = 6};
}

}  // namespace fuzz
