#pragma once

/// @file
/// The samples of an estimator: the costs around a gain.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include <metalqr/zeroth_order/estimator.hpp>

namespace metalqr::inline METALQR_ABI::zeroth_order::detail {

/// How the samples of an estimate come by J(K).
template <class Scalar>
struct BaseCost {
  enum class Asked { never, once, always };
  Asked asked = Asked::never;  ///< by the first sample, or by each
  std::uint64_t label = 0;     ///< where random numbers are not common: of the child of the sample's key
  Scalar value{};              ///< of samples that do not ask
};

/// The costs of one sample.
template <class Scalar>
struct Probe {
  Scalar base{};    ///< J(K)
  Scalar ahead{};   ///< J(K + scale U)
  Scalar behind{};  ///< J(K - scale U), or J(K), or 0
  Scalar scale{1};  ///< 1, or less if the perturbation was shrunk
  Index calls = 0;
  bool usable = false;  ///< whether `ahead` and `behind` are finite
};

/// Asks for the costs of samples, of many in one call.
template <MatrixBackend Backend, class Oracle>
class Prober {
 public:
  using Gain = typename Backend::Gain;
  using Scalar = typename Backend::Scalar;
  using Base = BaseCost<Scalar>;

  Prober(const Oracle& oracle, const Gain& K, const EstimatorOptions& options, const Base& base)
      : oracle_(oracle), K_(K), options_(options), base_(base) {}

  /// Calls visit(l, probe) for each sample in order: along directions[l], with the key `key_at(l)`.
  template <class KeyAt, class Visit>
  void run(std::span<const Gain> directions, const KeyAt& key_at, const Visit& visit) {
    constexpr std::size_t most_at_once = 256;
    const std::size_t most = std::min(directions.size(), most_at_once);
    samples_.reserve(most);
    open_.reserve(most);
    gains_.reserve(3 * most);
    keys_.reserve(3 * most);
    for (std::size_t first = 0; first < directions.size(); first += most_at_once) {
      samples_.clear();
      for (std::size_t l = first; l < directions.size() && l < first + most_at_once; ++l) {
        const bool asks = base_.asked == Base::Asked::always || (base_.asked == Base::Asked::once && l == 0);
        samples_.push_back({.U = &directions[l], .key = key_at(static_cast<Index>(l)), .asks_base = asks});
      }
      ask_and_shrink();
      for (std::size_t i = 0; i < samples_.size(); ++i) {
        visit(static_cast<Index>(first + i), samples_[i].probe);
      }
    }
  }

 private:
  struct Sample {
    const Gain* U;
    StreamKey key;
    bool asks_base;
    Probe<Scalar> probe{};
  };

  // Each round asks for the samples that have no finite costs yet.
  void ask_and_shrink() {
    constexpr int max_halvings = 10;
    open_.clear();
    for (Sample& sample : samples_) open_.push_back(&sample);
    for (int halving = 0;; ++halving) {
      ask();
      if (options_.unstable == Unstable::drop || halving == max_halvings) return;
      std::erase_if(open_, [](const Sample* sample) { return sample->probe.usable; });
      if (open_.empty()) return;
      for (Sample* sample : open_) sample->probe.scale = sample->probe.scale / Scalar(2);
    }
  }

  void ask() {
    gains_.clear();
    keys_.clear();
    for (const Sample* sample : open_) request(*sample);
    const std::vector<Scalar> values = call_all<Backend>(oracle_, gains_, keys_);
    const Scalar* value = values.data();
    for (Sample* sample : open_) value = answer(*sample, value);
  }

  void request(const Sample& sample) {
    const bool common = options_.common_random_numbers;
    if (sample.asks_base && sample.probe.calls == 0) {
      gains_.push_back(K_);
      keys_.push_back(common || base_.label == 0 ? sample.key : sample.key.child(base_.label));
    }
    gains_.push_back(K_ + sample.probe.scale * *sample.U);
    keys_.push_back(sample.key);
    if (options_.points == Points::two) {
      gains_.push_back(K_ - sample.probe.scale * *sample.U);
      keys_.push_back(common ? sample.key : sample.key.child(1));
    }
  }

  const Scalar* answer(Sample& sample, const Scalar* value) {
    constexpr Scalar infinity = std::numeric_limits<Scalar>::infinity();
    Probe<Scalar>& probe = sample.probe;
    const Scalar* const begin = value;
    if (sample.asks_base && probe.calls == 0) base_.value = *value++;
    if (probe.calls == 0) probe.base = base_.value;
    probe.ahead = *value++;
    if (options_.points == Points::two) probe.behind = *value++;
    if (options_.points == Points::one_with_baseline) probe.behind = probe.base;
    probe.calls += value - begin;
    probe.usable = probe.ahead < infinity && probe.behind < infinity;
    return value;
  }

  const Oracle& oracle_;
  const Gain& K_;
  const EstimatorOptions& options_;
  Base base_;
  std::vector<Sample> samples_;
  std::vector<Sample*> open_;
  std::vector<Gain> gains_;
  std::vector<StreamKey> keys_;
};

/// The slope of the cost along U, <grad J, U> up to the estimator's error.
template <class Scalar>
Scalar slope(const Probe<Scalar>& probe, Points points) {
  const Scalar width = points == Points::two ? Scalar(2) * probe.scale : probe.scale;
  return (probe.ahead - probe.behind) / width;
}

}  // namespace metalqr::inline METALQR_ABI::zeroth_order::detail
