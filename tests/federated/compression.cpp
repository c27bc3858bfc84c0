#include <metalqr/federated/compression.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "support.hpp"

namespace {

namespace fed = metalqr::federated;
using metalqr::DimensionMismatch;
using metalqr::InvalidOption;
using metalqr::NotFinite;
using metalqr::StreamKey;
using test::Backend;
using test::Dense;
using test::Index;
using Fixed = metalqr::EigenBackend<double, 4, 2>;
using Gain = Backend::Gain;
using Memory = fed::ErrorFeedback<Backend>;

const double infinity = std::numeric_limits<double>::infinity();
const double not_a_number = std::numeric_limits<double>::quiet_NaN();

/// Sends the signs.
struct Signs {
  template <class AnyBackend>
  fed::Compressed<AnyBackend> compress(const typename AnyBackend::Gain& estimate, const StreamKey&) const {
    fed::Compressed<AnyBackend> result{.sent = estimate, .bits = estimate.size()};
    for (Index i = 0; i < estimate.rows(); ++i) {
      for (Index j = 0; j < estimate.cols(); ++j) result.sent(i, j) = estimate(i, j) < 0 ? -1 : 1;
    }
    return result;
  }
};

static_assert(fed::Compressor<fed::NoCompression, Backend>);
static_assert(fed::Compressor<fed::TopK, Fixed>);
static_assert(fed::Compressor<fed::Quantizer, Backend>);
static_assert(fed::Compressor<Signs, Backend>);
static_assert(!fed::Compressor<int, Backend>);

Gain row(const std::vector<double>& entries) {
  Gain X = Backend::zero_gain(1, static_cast<Index>(entries.size()));
  for (std::size_t j = 0; j < entries.size(); ++j) X(0, static_cast<Index>(j)) = entries[j];
  return X;
}

Gain random_gain(Index nu, Index nx, metalqr::Stream& stream) {
  return test::gain(test::random_matrix(nu, nx, stream));
}

StreamKey key(std::uint64_t sample) {
  return {.seed = 7, .iteration = 3, .task = 5, .sample = sample};
}

}  // namespace

TEST_CASE("without compression everything is sent") {
  const auto all = fed::compress<Backend>(fed::NoCompression{}, row({1, -2.5, 0}));
  CHECK(all.sent == row({1, -2.5, 0}));
  CHECK(all.bits == 3 * 64);
  using Single = metalqr::EigenBackend<float>;
  CHECK(fed::compress<Single>(fed::NoCompression{}, Single::Gain::Ones(2, 4)).bits == 8 * 32);
}

TEST_CASE("the largest entries are sent, the first of equal ones") {
  const Gain X = row({1, -5, 3, 0, 5, -3});
  const auto sent = [&](int count) { return fed::compress<Backend>(fed::TopK{.count = count}, X).sent; };
  CHECK(sent(1) == row({0, -5, 0, 0, 0, 0}));
  CHECK(sent(2) == row({0, -5, 0, 0, 5, 0}));
  CHECK(sent(3) == row({0, -5, 3, 0, 5, 0}));
  CHECK(sent(4) == row({0, -5, 3, 0, 5, -3}));
  CHECK(sent(5) == row({1, -5, 3, 0, 5, -3}));
  CHECK(sent(6) == X);
  CHECK(sent(1000) == X);
  // Row by row: (0, 1) comes before (1, 0).
  Gain square = Backend::zero_gain(2, 2);
  square(0, 1) = -2;
  square(1, 0) = 2;
  Gain expected = Backend::zero_gain(2, 2);
  expected(0, 1) = -2;
  CHECK(fed::compress<Backend>(fed::TopK{}, square).sent == expected);
}

TEST_CASE("a message of the largest entries counts numbers and indices, or all numbers if that is less") {
  const auto bits = [](int count, Index nu, Index nx) {
    return fed::compress<Backend>(fed::TopK{.count = count}, Gain::Ones(nu, nx)).bits;
  };
  // 3 bits tell 8 entries apart, 4 are needed for 9.
  CHECK(bits(1, 2, 4) == 64 + 3);
  CHECK(bits(2, 3, 3) == 2 * (64 + 4));
  CHECK(bits(7, 2, 4) == 7 * (64 + 3));
  CHECK(bits(8, 2, 4) == 8 * 64);
  CHECK(bits(100, 2, 4) == 8 * 64);
  CHECK(bits(1, 1, 1) == 64);
  // 31 of 32 entries would take 31 * 69.
  CHECK(bits(31, 4, 8) == 32 * 64);
  using Single = metalqr::EigenBackend<float>;
  CHECK(fed::compress<Single>(fed::TopK{.count = 2}, Single::Gain::Ones(2, 4)).bits == 2 * (32 + 3));
}

TEST_CASE("the largest entries leave the smallest part of the square, at most the share 1 - k/d") {
  for (std::uint64_t trial = 0; trial < 50; ++trial) {
    metalqr::Stream stream = test::stream(1, trial);
    const Gain X = random_gain(3, 4, stream);
    std::vector<double> squares;
    for (Index i = 0; i < 3; ++i) {
      for (Index j = 0; j < 4; ++j) squares.push_back(X(i, j) * X(i, j));
    }
    std::sort(squares.begin(), squares.end());
    for (int count = 1; count <= 12; ++count) {
      const auto message = fed::compress<Backend>(fed::TopK{.count = count}, X);
      double expected = 0;
      for (std::size_t k = 0; k + static_cast<std::size_t>(count) < 12; ++k) expected += squares[k];
      const double lost = (X - message.sent).squaredNorm();
      CHECK(lost == Approx(expected).epsilon(1e-13));
      CHECK(lost <= (1 - count / 12.0) * X.squaredNorm());
    }
  }
  // Equal magnitudes attain the bound.
  const auto message = fed::compress<Backend>(fed::TopK{.count = 3}, row({1, -1, 1, -1}));
  CHECK((row({1, -1, 1, -1}) - message.sent).squaredNorm() == 1);
}

TEST_CASE("the quantiser sends multiples of a level, one beside the entry, and whole levels as they are") {
  // Two bits: -m, 0, m; three bits: levels of a third.
  CHECK(fed::compress<Backend>(fed::Quantizer{.bits = 2}, row({0, 4, -4})).sent == row({0, 4, -4}));
  CHECK(fed::compress<Backend>(fed::Quantizer{.bits = 4}, row({1, -6, 7, 0})).sent == row({1, -6, 7, 0}));
  CHECK(fed::compress<Backend>(fed::Quantizer{.bits = 8}, row({0, 0})).sent == row({0, 0}));
  for (const int bits : {2, 3, 8, 20, 32}) {
    const double levels = std::pow(2.0, bits - 1) - 1;
    for (std::uint64_t trial = 0; trial < 50; ++trial) {
      metalqr::Stream stream = test::stream(2, trial);
      const Gain X = random_gain(2, 4, stream);
      const auto message = fed::compress<Backend>(fed::Quantizer{.bits = bits}, X, key(trial));
      const double unit = X.cwiseAbs().maxCoeff() / levels;
      CHECK(message.bits == 8 * bits + 64);
      for (Index i = 0; i < 2; ++i) {
        for (Index j = 0; j < 4; ++j) {
          const double level = message.sent(i, j) / unit;
          CHECK(std::abs(level - std::round(level)) < 1e-15 * levels);
          CHECK(std::abs(std::round(level)) <= levels);
          const double at = X(i, j) / unit;
          CHECK((std::round(level) == std::floor(at) || std::round(level) == std::ceil(at)));
        }
      }
      CHECK(message.sent.cwiseAbs().maxCoeff() == X.cwiseAbs().maxCoeff());
    }
  }
}

// A count of N independent roundings with probability p is beyond 5.5 sqrt(N p (1 - p)) of N p with
// probability about 4e-8; 7 entries of 3 settings.
TEST_CASE("the quantiser's mean is the estimate, with the variance of a coin; false alarm 1e-6") {
  const std::vector<double> entries{1, -0.9, 0.55, -0.3, 0.77, 0.05, -0.62, 0.11};
  const int count = 20000;
  for (const int bits : {2, 3, 5}) {
    const double unit = 1 / (std::pow(2.0, bits - 1) - 1);
    Gain sum = Backend::zero_gain(1, 8);
    for (int l = 0; l < count; ++l) {
      sum += fed::compress<Backend>(fed::Quantizer{.bits = bits}, row(entries),
                                    key(static_cast<std::uint64_t>(l)))
                 .sent;
    }
    CHECK(sum(0, 0) == count);
    for (std::size_t j = 1; j < 8; ++j) {
      const double up = entries[j] / unit - std::floor(entries[j] / unit);
      const double deviation = unit * std::sqrt(count * up * (1 - up));
      CAPTURE(bits, j, deviation);
      CHECK(deviation > 0);
      CHECK(std::abs(sum(0, static_cast<Index>(j)) - count * entries[j]) < 5.5 * deviation);
    }
  }
}

TEST_CASE("equal keys round alike, and every part of a key matters") {
  metalqr::Stream stream = test::stream(4);
  const Gain X = random_gain(2, 4, stream);
  const fed::Quantizer quantizer{.bits = 16};
  const Gain sent = fed::compress<Backend>(quantizer, X, key(1)).sent;
  CHECK(fed::compress<Backend>(quantizer, X, key(1)).sent == sent);
  CHECK(fed::compress<Backend>(quantizer, X, key(2)).sent != sent);
  CHECK(fed::compress<Backend>(quantizer, X, key(1).with_task(6)).sent != sent);
  CHECK(fed::compress<Backend>(quantizer, X, key(1).with_purpose(metalqr::Purpose::directions)).sent != sent);
  // Where the estimate itself was drawn at the key, its rounding must not follow from the same numbers.
  metalqr::Stream same(key(1));
  const double low = same.uniform();
  CHECK(metalqr::Stream(key(1).child(fed::detail::rounding_label)).uniform() != low);
}

TEMPLATE_TEST_CASE("with error feedback nothing is lost: sent + kept = estimate + kept before", "", Backend,
                   Fixed) {
  using AnyBackend = TestType;
  const auto check = [](const auto& compressor, double tolerance) {
    fed::ErrorFeedback<AnyBackend> memory;
    Dense kept(2, 4);
    for (std::uint64_t t = 0; t < 200; ++t) {
      metalqr::Stream stream = test::stream(5, t);
      const auto estimate = test::gain<AnyBackend>(test::random_matrix(2, 4, stream));
      const auto message = fed::compress<AnyBackend>(compressor, memory, estimate, key(t));
      const typename AnyBackend::Gain whole = test::gain<AnyBackend>(kept) + estimate;
      // What is compressed is the estimate and what was kept.
      CHECK(message.sent == fed::compress<AnyBackend>(compressor, whole, key(t)).sent);
      CHECK(message.bits == fed::compress<AnyBackend>(compressor, whole, key(t)).bits);
      kept = test::dense<AnyBackend>(memory.residual);
      CHECK(test::relative_error(test::dense<AnyBackend>(message.sent) + kept,
                                 test::dense<AnyBackend>(whole)) <= tolerance);
    }
  };
  check(fed::NoCompression{}, 0);
  check(fed::TopK{.count = 3}, 0);
  check(fed::Quantizer{.bits = 3}, 1e-15);
}

TEST_CASE("three messages of the largest entry as on paper") {
  Memory memory;
  const fed::TopK one;
  CHECK(fed::compress<Backend>(one, memory, row({3, 2, -1})).sent == row({3, 0, 0}));
  CHECK(memory.residual == row({0, 2, -1}));
  CHECK(fed::compress<Backend>(one, memory, row({3, 2, -1})).sent == row({0, 4, 0}));
  CHECK(memory.residual == row({3, 0, -2}));
  CHECK(fed::compress<Backend>(one, memory, row({3, 2, -1})).sent == row({6, 0, 0}));
  CHECK(memory.residual == row({0, 2, -3}));
}

TEST_CASE("what was sent in all differs from the sum of the estimates by the bounded residual alone") {
  const int rounds = 2000;
  const auto check = [&](const auto& compressor, double bound, bool in_largest_entry) {
    Memory memory;
    Dense sent(2, 4);
    Dense estimates(2, 4);
    for (int t = 0; t < rounds; ++t) {
      metalqr::Stream stream = test::stream(6, static_cast<std::uint64_t>(t));
      // Of norm one, about a common mean: without memory the small entries would never be sent.
      Dense G = test::random_matrix(2, 4, stream);
      for (std::size_t i = 0; i < 8; ++i) G.entries[i] += static_cast<long double>(i);
      G = test::rounded((1 / test::norm(G)) * G);
      sent = sent + test::dense(fed::compress<Backend>(compressor, memory, test::gain(G),
                                                       key(static_cast<std::uint64_t>(t)))
                                    .sent);
      estimates = estimates + G;
      const Dense residual = test::dense(memory.residual);
      long double size = test::norm(residual);
      if (in_largest_entry) {
        size = 0;
        for (const long double entry : residual.entries) size = std::max(size, std::abs(entry));
      }
      REQUIRE(size <= bound * (1 + 1e-12));
    }
    CHECK(test::norm(estimates - sent - test::dense(memory.residual)) < 1e-12);
    return test::norm(estimates - sent);
  };
  // q/(1 - q), q = sqrt(1 - count/d).
  for (const int count : {1, 3, 7}) {
    const double q = std::sqrt(1 - count / 8.0);
    check(fed::TopK{.count = count}, q / (1 - q), false);
  }
  check(fed::Quantizer{.bits = 3}, 1.0 / 2, true);
  check(fed::Quantizer{.bits = 4}, 1.0 / 6, true);
  check(fed::Quantizer{.bits = 8}, 1.0 / 126, true);
  CHECK(check(fed::NoCompression{}, 0, false) < 1e-12);
  // Without memory the sums part, so that the test above can fail.
  Dense lost(2, 4);
  for (int t = 0; t < rounds; ++t) {
    const Dense G{{0.1, 0.2, 0.3, 0.4}, {0.5, 0.6, 0.7, 0.8}};
    lost = lost + G - test::dense(fed::compress<Backend>(fed::TopK{}, test::gain(G)).sent);
  }
  CHECK(test::norm(lost) > 1000);
}

TEST_CASE("continuing from a copy of the memory gives the same bits") {
  Memory memory;
  const fed::Quantizer quantizer{.bits = 4};
  metalqr::Stream stream = test::stream(8);
  for (std::uint64_t t = 0; t < 5; ++t) {
    fed::compress<Backend>(quantizer, memory, random_gain(2, 4, stream), key(t));
  }
  Memory copy{.residual = memory.residual};
  const Gain next = random_gain(2, 4, stream);
  CHECK(fed::compress<Backend>(quantizer, memory, next, key(9)).sent ==
        fed::compress<Backend>(quantizer, copy, next, key(9)).sent);
  CHECK(memory.residual == copy.residual);
  CHECK(fed::ErrorFeedback<Fixed>{}.residual == Fixed::Gain::Zero());
  CHECK(Memory{}.residual.size() == 0);
}

TEST_CASE("compressors hold for the smallest and largest numbers") {
  for (const double scale : {1e-320, 1e-300, 1e300, 1e308}) {
    const Gain X = row({scale, -scale, 0});
    CHECK(fed::compress<Backend>(fed::Quantizer{.bits = 2}, X).sent == X);
    CHECK(fed::compress<Backend>(fed::TopK{}, X).sent == row({scale, 0, 0}));
    const Gain sent = fed::compress<Backend>(fed::Quantizer{}, row({scale, 0.3 * scale})).sent;
    CHECK(sent(0, 0) == scale);
    // A level, and the spacing of numbers near zero.
    CHECK(std::abs(sent(0, 1) - 0.3 * scale) <= scale / 127 + 5e-324);
  }
}

TEST_CASE("a compressor of one's own is driven like the library's") {
  Memory memory;
  const auto message = fed::compress<Backend>(Signs{}, memory, row({0.5, -3}));
  CHECK(message.sent == row({1, -1}));
  CHECK(message.bits == 2);
  CHECK(memory.residual == row({-0.5, -2}));
}

TEST_CASE("bad arguments of a compressor are refused and leave the memory as it was") {
  Memory memory{.residual = row({1, 2})};
  const auto option = [&](const auto& compressor) {
    const std::string alone = test::message_of<InvalidOption>([&] {
      fed::compress<Backend>(compressor, row({1, 2}));
    });
    const std::string remembering = test::message_of<InvalidOption>([&] {
      fed::compress<Backend>(compressor, memory, row({1, 2}));
    });
    CHECK(alone == remembering);
    return alone;
  };
  CHECK(option(fed::TopK{.count = 0}) == "count: expected at least 1, got 0");
  CHECK(option(fed::Quantizer{.bits = 1}) == "bits: expected a number between 2 and 32, got 1");
  CHECK(option(fed::Quantizer{.bits = 33}) == "bits: expected a number between 2 and 32, got 33");
  const fed::TopK one;
  CHECK(test::message_of<NotFinite>([&] {
          fed::compress<Backend>(one, row({1, not_a_number}));
        }) == "estimate: expected finite entries, got nan at (0, 1)");
  CHECK(test::message_of<NotFinite>([&] {
          fed::compress<Backend>(one, memory, row({infinity, 1}));
        }) == "estimate: expected finite entries, got inf at (0, 0)");
  CHECK(test::message_of<DimensionMismatch>([&] { fed::compress<Backend>(one, Gain()); }) ==
        "estimate: expected at least one row and one column, got shape 0x0");
  CHECK(test::message_of<DimensionMismatch>([&] {
          fed::compress<Backend>(one, memory, row({1, 2, 3}));
        }) == "memory.residual: expected shape 1x3, got 1x2");
  CHECK(memory.residual == row({1, 2}));
  Memory bad{.residual = row({1, not_a_number})};
  CHECK(test::message_of<NotFinite>([&] {
          fed::compress<Backend>(one, bad, row({1, 2}));
        }) == "memory.residual: expected finite entries, got nan at (0, 1)");
  Memory full{.residual = row({1.7e308, 0})};
  CHECK(test::message_of<NotFinite>([&] {
          fed::compress<Backend>(one, full, row({1.7e308, 2}));
        }) == "estimate + memory.residual: expected finite entries, got inf at (0, 0)");
  CHECK(full.residual == row({1.7e308, 0}));
}
