#pragma once

/// @file
/// Random streams that depend on what they are for, not on when they are drawn.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>

// Random123 includes the intrinsics of every x86 extension unless told not to, which takes as long to compile
// as the matrix library. These are the extensions that it uses (Philox uses none).
#ifndef R123_USE_X86INTRIN_H
#define R123_USE_X86INTRIN_H 0
#ifdef __SSE2__
#include <emmintrin.h>
#endif
#ifdef __SSE4_1__
#include <smmintrin.h>
#endif
#ifdef __AES__
#include <wmmintrin.h>
#endif
#endif
#include <Random123/philox.h>

#include <metalqr/core/backend.hpp>

namespace metalqr::inline METALQR_ABI {

/// What a stream of random numbers is used for; streams of different purposes are independent. The numbers
/// behind the names belong to the streams, so that new names come last.
enum class Purpose : std::uint64_t {
  directions,     ///< perturbations of a zeroth-order estimator
  initial_state,  ///< x0 of a rollout
  process_noise,  ///< w of a rollout
  tasks,          ///< generation of task families
  excitation,     ///< inputs of an identification experiment
  search,         ///< start vectors of iterative algorithms
  user,           ///< yours
  latencies       ///< durations of work and messages in virtual time
};

/// The address of a stream: equal keys give equal numbers, on any thread and in any order.
struct StreamKey {
  std::uint64_t seed = 0;           ///< seed of the whole run
  Purpose purpose = Purpose::user;  ///< what the numbers are for
  std::uint64_t iteration = 0;      ///< iteration of the algorithm
  std::uint64_t task = 0;           ///< index of the task or agent
  std::uint64_t sample = 0;         ///< index of the sample

  /// Whether two keys address the same stream.
  bool operator==(const StreamKey&) const = default;
  /// The same place in a family of keys that is independent of this one for each `label`.
  StreamKey child(std::uint64_t label) const {
    const r123::Philox4x64::ctr_type mixed =
        r123::Philox4x64{}({{label, 0x6d6574616c717221U, 0, 0}}, {{seed, ~std::uint64_t{0}}});
    StreamKey key = *this;
    key.seed = mixed[0];
    return key;
  }
  /// The same key for another purpose.
  StreamKey with_purpose(Purpose value) const {
    StreamKey key = *this;
    key.purpose = value;
    return key;
  }
  /// The same key for another sample.
  StreamKey with_sample(std::uint64_t value) const {
    StreamKey key = *this;
    key.sample = value;
    return key;
  }
  /// The same key for another task.
  StreamKey with_task(std::uint64_t value) const {
    StreamKey key = *this;
    key.task = value;
    return key;
  }
};

/// A sequence of random numbers from the counter-based generator Philox4x64-10 (Salmon, Moraes, Dror, Shaw,
/// "Parallel random numbers: as easy as 1, 2, 3", SC 2011). 2^66 numbers a key.
class Stream {
 public:
  /// The stream at `key`.
  explicit Stream(const StreamKey& key)
      : key_{{key.seed, static_cast<std::uint64_t>(key.purpose)}},
        counter_{{0, key.sample, key.task, key.iteration}} {}

  /// 64 uniformly distributed bits.
  std::uint64_t bits() {
    if (used_ == 4) {
      block_ = r123::Philox4x64{}(counter_, key_);
      ++counter_[0];
      used_ = 0;
    }
    return block_[used_++];
  }
  /// Uniform on (0, 1), both ends excluded.
  double uniform() { return (static_cast<double>(bits() >> 12U) + 0.5) * 0x1p-52; }
  /// Uniform on (low, high).
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  /// Standard normal, by the Box-Muller transform.
  double normal() {
    if (has_spare_) {
      has_spare_ = false;
      return spare_;
    }
    const double radius = std::sqrt(-2 * std::log(uniform()));
    const double angle = 2 * std::numbers::pi * uniform();
    spare_ = radius * std::sin(angle);
    has_spare_ = true;
    return radius * std::cos(angle);
  }
  /// -1 or +1 with equal probability.
  double rademacher() { return (bits() >> 63U) != 0 ? 1.0 : -1.0; }

 private:
  r123::Philox4x64::key_type key_;
  r123::Philox4x64::ctr_type counter_;
  r123::Philox4x64::ctr_type block_{};
  std::size_t used_ = 4;
  double spare_ = 0;
  bool has_spare_ = false;
};

/// Fills a matrix with independent standard normal numbers, row by row.
template <class Backend, class X>
void fill_normal(X& x, Stream& stream) {
  using Scalar = typename Backend::Scalar;
  for (Index i = 0; i < Backend::rows(x); ++i) {
    for (Index j = 0; j < Backend::cols(x); ++j) x(i, j) = Scalar(stream.normal());
  }
}

}  // namespace metalqr::inline METALQR_ABI
