#pragma once

/// @file
/// Estimates made smaller before they are sent, and a memory that sends later what was left out.

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <type_traits>
#include <utility>
#include <vector>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/check.hpp>
#include <metalqr/core/error.hpp>
#include <metalqr/core/random.hpp>

namespace metalqr::inline METALQR_ABI::federated {

/// What is sent in place of an estimate.
template <class Backend>
struct Compressed {
  typename Backend::Gain sent;  ///< n_u x n_x, as the receiver restores it
  /// Size of the message. The receiver knows the shape and the compressor, which are not counted; a plain
  /// number counts with its size in memory (64 for double).
  Index bits = 0;
};

/// Something that makes an estimate smaller: `compressor.template compress<Backend>(estimate, key)` for a
/// finite n_u x n_x estimate, with random numbers, if any, of that key.
template <class T, class Backend>
concept Compressor = MatrixBackend<Backend> && std::copy_constructible<T> &&
    requires(const T& compressor, const typename Backend::Gain& estimate, const StreamKey& key) {
  { compressor.template compress<Backend>(estimate, key) } -> std::convertible_to<Compressed<Backend>>;
};

namespace detail {

/// Label of the child key that the rounding draws from, so that an estimate's own key may be passed on.
inline constexpr std::uint64_t rounding_label = 0x726f756e64;

template <class Scalar>
inline constexpr Index bits_of = static_cast<Index>(8 * sizeof(Scalar));

/// Bits of an index below `count`.
inline Index index_bits(Index count) {
  Index bits = 0;
  while ((Index{1} << bits) < count) ++bits;
  return bits;
}

}  // namespace detail

/// Sends everything: n_u n_x plain numbers.
struct NoCompression {
  /// The estimate itself.
  template <MatrixBackend Backend>
  Compressed<Backend> compress(const typename Backend::Gain& estimate, const StreamKey& /*key*/) const {
    return {.sent = estimate,
            .bits = Backend::rows(estimate) * Backend::cols(estimate) *
                    detail::bits_of<typename Backend::Scalar>};
  }
};

/// Sends the `count` entries of largest magnitude, of equal ones the first row by row, and zeros in place of
/// the others (Aji, Heafield, EMNLP 2017): of d entries it loses at most the share 1 - count/d of |X|_F^2.
/// Bits: each entry as a plain number and an index of ceil(log2 d) bits, or all d numbers without indices
/// where that is less. All entries if there are no more than `count`.
struct TopK {
  int count = 1;  ///< entries that are sent, at least 1

  /// The estimate with its small entries set to zero.
  template <MatrixBackend Backend>
  Compressed<Backend> compress(const typename Backend::Gain& estimate, const StreamKey& /*key*/) const {
    using std::abs;
    using Scalar = typename Backend::Scalar;
    const Index nx = Backend::cols(estimate);
    const Index d = Backend::rows(estimate) * nx;
    const Index kept = std::min<Index>(count, d);
    std::vector<Index> order(static_cast<std::size_t>(d));
    std::iota(order.begin(), order.end(), Index{0});
    const auto magnitude = [&](Index k) { return abs(Scalar(estimate(k / nx, k % nx))); };
    std::nth_element(order.begin(), order.begin() + (kept - 1), order.end(), [&](Index a, Index b) {
      const Scalar of_a = magnitude(a);
      const Scalar of_b = magnitude(b);
      return of_b < of_a || (!(of_a < of_b) && a < b);
    });
    constexpr Index number = detail::bits_of<Scalar>;
    Compressed<Backend> result{.sent = Backend::zero_like(estimate),
                               .bits = std::min(kept * (number + detail::index_bits(d)), d * number)};
    for (Index l = 0; l < kept; ++l) {
      const Index k = order[static_cast<std::size_t>(l)];
      result.sent(k / nx, k % nx) = estimate(k / nx, k % nx);
    }
    return result;
  }
};

/// Sends each entry as one of the 2 L + 1 multiples of max|X|/L from -max|X| to max|X|, L = 2^(bits - 1) - 1,
/// rounded up or down at random so that its mean is the entry (as in QSGD, Alistarh et al., NeurIPS 2017,
/// with the largest entry for scale). An entry errs by less than max|X|/L; zero and the largest entry are
/// exact. Bits: `bits` for each entry, and the scale as a plain number.
struct Quantizer {
  int bits = 8;  ///< for an entry with its sign, in [2, 32]

  /// The rounded estimate; one number is drawn for each entry, row by row, from a child of the key.
  template <MatrixBackend Backend>
  Compressed<Backend> compress(const typename Backend::Gain& estimate, const StreamKey& key) const {
    using Scalar = typename Backend::Scalar;
    const Index nu = Backend::rows(estimate);
    const Index nx = Backend::cols(estimate);
    const double levels = std::ldexp(1.0, bits - 1) - 1;
    const Scalar largest = Backend::max_abs(estimate);
    Compressed<Backend> result{.sent = Backend::zero_like(estimate),
                               .bits = nu * nx * Index{bits} + detail::bits_of<Scalar>};
    if (!(largest > Scalar(0))) return result;
    Stream stream(key.child(detail::rounding_label));
    for (Index i = 0; i < nu; ++i) {
      for (Index j = 0; j < nx; ++j) {
        const double at = levels * Backend::to_double(estimate(i, j) / largest);
        const double below = std::floor(at);
        const double level = stream.uniform() < at - below ? below + 1 : below;
        result.sent(i, j) = largest * static_cast<Scalar>(level / levels);
      }
    }
    return result;
  }
};

/// Nothing to check.
inline void validate(const NoCompression& /*compressor*/) {}

/// Throws `InvalidOption` unless at least one entry is sent.
inline void validate(const TopK& compressor) {
  metalqr::detail::require_option(compressor.count >= 1, "count", compressor.count, "at least 1");
}

/// Throws `InvalidOption` unless bits is between 2 and 32.
inline void validate(const Quantizer& compressor) {
  metalqr::detail::require_option(compressor.bits >= 2 && compressor.bits <= 32, "bits", compressor.bits,
                                  "a number between 2 and 32");
}

/// What an agent has not sent yet, plain data: continuing from a copy gives the same bits.
template <class Backend>
struct ErrorFeedback {
  /// n_u x n_x. Zeros before the first message, without entries where sizes are dynamic.
  typename Backend::Gain residual =
      Backend::zero_gain(std::max<Index>(Backend::inputs, 0), std::max<Index>(Backend::states, 0));
};

/// Compresses an estimate. `key` addresses the rounding of this message.
/// @param compressor of the library or your own; its `validate` is called if there is one.
/// @throws InvalidOption for a bad option; DimensionMismatch if the estimate has no entries, or what is sent
/// another shape; NotFinite for a NaN or infinity in the estimate or in what is sent.
template <MatrixBackend Backend, Compressor<Backend> Policy>
Compressed<Backend> compress(const Policy& compressor,
                             const std::type_identity_t<typename Backend::Gain>& estimate,
                             const StreamKey& key = {}) {
  if constexpr (requires { validate(compressor); }) validate(compressor);
  const Index nu = Backend::rows(estimate);
  const Index nx = Backend::cols(estimate);
  metalqr::detail::require_shape<Backend>(estimate, nu, nx, "estimate");
  metalqr::detail::require_finite<Backend>(estimate, "estimate");
  Compressed<Backend> result = compressor.template compress<Backend>(estimate, key);
  metalqr::detail::require_shape<Backend>(result.sent, nu, nx, "sent");
  metalqr::detail::require_finite<Backend>(result.sent, "sent");
  return result;
}

/// Compresses the estimate and what earlier messages left out, and keeps what this one leaves out: sent + new
/// residual = estimate + old residual, exactly for `NoCompression` and `TopK`, up to rounding otherwise. What
/// was sent in all thus differs from the sum of the estimates by the residual alone (Seide, Fu, Droppo, Li,
/// Yu, Interspeech 2014; Karimireddy, Rebjock, Stich, Jaggi, ICML 2019), which stays bounded: if estimates
/// have at most the norm G, below G q/(1 - q), q = sqrt(1 - count/d), for `TopK`, and, in the largest entry,
/// below G/(L - 1) for a `Quantizer` of at least 3 bits (L = 2^(bits - 1) - 1). Of 2 bits it may grow.
/// @param memory is renewed, and stays as it was if this throws; a fresh one to begin with.
/// @throws what `compress` without memory throws, for estimate + residual as well; DimensionMismatch if the
/// residual has another shape than the estimate; NotFinite for a NaN or infinity in the residual.
template <MatrixBackend Backend, Compressor<Backend> Policy>
Compressed<Backend> compress(const Policy& compressor, ErrorFeedback<Backend>& memory,
                             const std::type_identity_t<typename Backend::Gain>& estimate,
                             const StreamKey& key = {}) {
  using Gain = typename Backend::Gain;
  const Index nu = Backend::rows(estimate);
  const Index nx = Backend::cols(estimate);
  metalqr::detail::require_shape<Backend>(estimate, nu, nx, "estimate");
  metalqr::detail::require_finite<Backend>(estimate, "estimate");
  Gain whole = estimate;
  if (Backend::rows(memory.residual) > 0 && Backend::cols(memory.residual) > 0) {
    metalqr::detail::require_shape<Backend>(memory.residual, nu, nx, "memory.residual");
    metalqr::detail::require_finite<Backend>(memory.residual, "memory.residual");
    whole += memory.residual;
    metalqr::detail::require_finite<Backend>(whole, "estimate + memory.residual");
  }
  Compressed<Backend> result = compress<Backend>(compressor, whole, key);
  const Gain residual = whole - result.sent;
  memory.residual = residual;
  return result;
}

}  // namespace metalqr::inline METALQR_ABI::federated
