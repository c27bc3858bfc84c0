#pragma once

/// @file
/// How long work and messages take in virtual time.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numbers>
#include <string>
#include <type_traits>
#include <variant>
#include <vector>

#include <metalqr/core/error.hpp>
#include <metalqr/core/random.hpp>

namespace metalqr::inline METALQR_ABI::federated {

/// Always the same latency.
struct ConstantLatency {
  double ticks = 1;  ///< at least 0
  /// Whether two laws are the same.
  bool operator==(const ConstantLatency&) const = default;
};

/// Uniform between two bounds.
struct UniformLatency {
  double low = 0;   ///< ticks, at least 0
  double high = 2;  ///< ticks, at least `low`
  /// Whether two laws are the same.
  bool operator==(const UniformLatency&) const = default;
};

/// Exponential: P(X > x) = exp(-x / mean).
struct ExponentialLatency {
  double mean = 1;  ///< ticks, at least 0
  /// Whether two laws are the same.
  bool operator==(const ExponentialLatency&) const = default;
};

/// Half-normal: X = scale |Z| with Z standard normal, of mean scale sqrt(2/pi).
struct HalfNormalLatency {
  double scale = 1;  ///< ticks, at least 0; sqrt(E[X^2])
  /// Whether two laws are the same.
  bool operator==(const HalfNormalLatency&) const = default;
};

/// Pareto: P(X > x) = (scale / x)^shape for x >= scale. Heavy-tailed: no variance for shape <= 2, no mean for
/// shape <= 1.
struct ParetoLatency {
  double scale = 1;    ///< ticks, positive; the least latency
  double shape = 1.5;  ///< positive
  /// Whether two laws are the same.
  bool operator==(const ParetoLatency&) const = default;
};

/// Recorded latencies, in their order: the draw of number i gives entry i, after their end as `repeats` says.
struct TraceLatency {
  std::vector<double> ticks{};  ///< each at least 0, at least one
  bool repeats = true;          ///< after the last entry the first follows again; else the last one stays
  /// Whether two laws are the same.
  bool operator==(const TraceLatency&) const = default;
};

/// A law of latencies, in units of virtual time (ticks): plain data.
using Latency = std::variant<ConstantLatency, UniformLatency, ExponentialLatency, HalfNormalLatency,
                             ParetoLatency, TraceLatency>;

namespace detail {

inline bool is_latency(double ticks) {
  return ticks >= 0 && std::isfinite(ticks);
}

inline void require_ticks(double ticks, const std::string& name) {
  metalqr::detail::require_option(is_latency(ticks), name.c_str(), ticks, "a finite number of at least 0");
}

inline void require_positive(double value, const std::string& name) {
  metalqr::detail::require_option(value > 0 && std::isfinite(value), name.c_str(), value,
                                  "a finite positive number");
}

}  // namespace detail

/// Throws `InvalidOption` naming the first field out of range, as `name`.field.
inline void validate(const Latency& latency, const char* name = "latency") {
  const std::string prefix = std::string(name) + ".";
  const auto check = [&prefix](const auto& law) {
    using Law = std::remove_cvref_t<decltype(law)>;
    if constexpr (std::is_same_v<Law, ConstantLatency>) {
      detail::require_ticks(law.ticks, prefix + "ticks");
    } else if constexpr (std::is_same_v<Law, UniformLatency>) {
      detail::require_ticks(law.low, prefix + "low");
      detail::require_ticks(law.high, prefix + "high");
      if (law.low <= law.high) return;
      throw InvalidOption(prefix + "high: expected at least low = " + metalqr::detail::text(law.low) +
                          ", got " + metalqr::detail::text(law.high));
    } else if constexpr (std::is_same_v<Law, ExponentialLatency>) {
      detail::require_ticks(law.mean, prefix + "mean");
    } else if constexpr (std::is_same_v<Law, HalfNormalLatency>) {
      detail::require_ticks(law.scale, prefix + "scale");
    } else if constexpr (std::is_same_v<Law, ParetoLatency>) {
      detail::require_positive(law.scale, prefix + "scale");
      detail::require_positive(law.shape, prefix + "shape");
    } else {
      static_assert(std::is_same_v<Law, TraceLatency>);
      if (law.ticks.empty()) throw InvalidOption(prefix + "ticks: expected at least one latency, got none");
      for (std::size_t i = 0; i < law.ticks.size(); ++i) {
        if (detail::is_latency(law.ticks[i])) continue;
        detail::require_ticks(law.ticks[i], prefix + "ticks[" + std::to_string(i) + "]");
      }
    }
  };
  std::visit(check, latency);
}

/// Latency number `number` of the law, in ticks: finite and at least 0; what exceeds the largest double, as a
/// Pareto law's may, is that. A function of its arguments alone: the stream at `key` with purpose `latencies`
/// and sample `number`, so that agents differ by the key's task. The law must be valid; see `validate`.
/// @throws InvalidOption for an empty trace.
inline double draw(const Latency& latency, const StreamKey& key, std::uint64_t number) {
  const auto value = [&](const auto& law) -> double {
    using Law = std::remove_cvref_t<decltype(law)>;
    if constexpr (std::is_same_v<Law, ConstantLatency>) {
      return law.ticks;
    } else if constexpr (std::is_same_v<Law, TraceLatency>) {
      if (law.ticks.empty()) throw InvalidOption("latency.ticks: expected at least one latency, got none");
      const std::uint64_t size = law.ticks.size();
      return law.ticks[static_cast<std::size_t>(law.repeats ? number % size : std::min(number, size - 1))];
    } else {
      Stream stream(key.with_purpose(Purpose::latencies).with_sample(number));
      if constexpr (std::is_same_v<Law, UniformLatency>) {
        return stream.uniform(law.low, law.high);
      } else if constexpr (std::is_same_v<Law, ExponentialLatency>) {
        return -law.mean * std::log(stream.uniform());
      } else if constexpr (std::is_same_v<Law, HalfNormalLatency>) {
        return law.scale * std::abs(stream.normal());
      } else {
        static_assert(std::is_same_v<Law, ParetoLatency>);
        return law.scale * std::pow(stream.uniform(), -1 / law.shape);
      }
    }
  };
  return std::min(std::visit(value, latency), std::numeric_limits<double>::max());
}

/// The law's mean, in ticks: +infinity for a Pareto law with shape <= 1, that of its entries for a trace. The
/// law must be valid; see `validate`. O(1), but O(length) for a trace.
inline double mean(const Latency& latency) {
  const auto value = [](const auto& law) -> double {
    using Law = std::remove_cvref_t<decltype(law)>;
    if constexpr (std::is_same_v<Law, ConstantLatency>) {
      return law.ticks;
    } else if constexpr (std::is_same_v<Law, UniformLatency>) {
      return law.low + (law.high - law.low) / 2;
    } else if constexpr (std::is_same_v<Law, ExponentialLatency>) {
      return law.mean;
    } else if constexpr (std::is_same_v<Law, HalfNormalLatency>) {
      return law.scale * (std::numbers::sqrt2 * std::numbers::inv_sqrtpi);
    } else if constexpr (std::is_same_v<Law, ParetoLatency>) {
      if (law.shape <= 1) return std::numeric_limits<double>::infinity();
      return law.scale * (law.shape / (law.shape - 1));
    } else {
      static_assert(std::is_same_v<Law, TraceLatency>);
      // A running mean, since the sum of large latencies may exceed the largest double.
      double running = 0;
      for (std::size_t i = 0; i < law.ticks.size(); ++i) {
        running += (law.ticks[i] - running) / static_cast<double>(i + 1);
      }
      return running;
    }
  };
  return std::visit(value, latency);
}

}  // namespace metalqr::inline METALQR_ABI::federated
