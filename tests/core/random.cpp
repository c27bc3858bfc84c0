#include <metalqr/core/random.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <set>
#include <vector>

#include "support.hpp"

namespace {

using metalqr::Purpose;
using metalqr::Stream;
using metalqr::StreamKey;

using Block = std::array<std::uint64_t, 4>;

/// The two halves of a 128-bit product, by the schoolbook method on 32-bit digits.
std::uint64_t high_product(std::uint64_t a, std::uint64_t b) {
  const std::uint64_t mask = 0xffffffffU;
  const std::uint64_t low = (a & mask) * (b & mask);
  const std::uint64_t first = (a >> 32U) * (b & mask) + (low >> 32U);
  const std::uint64_t second = (a & mask) * (b >> 32U) + (first & mask);
  return (a >> 32U) * (b >> 32U) + (first >> 32U) + (second >> 32U);
}

/// Philox4x64-10 as published (Salmon et al., SC 2011, section 3.3), for comparison with the library's use of
/// Random123.
Block philox(Block counter, std::uint64_t key0, std::uint64_t key1) {
  const std::uint64_t m0 = 0xD2E7470EE14C6C93U;
  const std::uint64_t m1 = 0xCA5A826395121157U;
  for (int round = 0; round < 10; ++round) {
    counter = {high_product(m1, counter[2]) ^ counter[1] ^ key0, m1 * counter[2],
               high_product(m0, counter[0]) ^ counter[3] ^ key1, m0 * counter[0]};
    key0 += 0x9E3779B97F4A7C15U;
    key1 += 0xBB67AE8584CAA73BU;
  }
  return counter;
}

const StreamKey key{.seed = 2026, .purpose = Purpose::excitation, .iteration = 3, .task = 5, .sample = 7};

/// Largest distance between the sample's distribution function and `distribution`, times sqrt(count).
/// Exceeds 2.7 with probability 2 exp(-2 2.7^2) = 9e-7.
template <class Distribution>
double kolmogorov_smirnov(std::vector<double> sample, const Distribution& distribution) {
  std::sort(sample.begin(), sample.end());
  const double n = static_cast<double>(sample.size());
  double distance = 0;
  for (std::size_t i = 0; i < sample.size(); ++i) {
    const double p = distribution(sample[i]);
    distance = std::max({distance, static_cast<double>(i + 1) / n - p, p - static_cast<double>(i) / n});
  }
  return distance * std::sqrt(n);
}

/// (mean of the sample's powers - expected) in units of its standard deviation: beyond 5 with probability
/// 6e-7.
double z_score(const std::vector<double>& sample, int power, double expected, double variance) {
  long double sum = 0;
  for (const double x : sample) sum += std::pow(x, power);
  const double n = static_cast<double>(sample.size());
  return (static_cast<double>(sum) / n - expected) / std::sqrt(variance / n);
}

/// Correlation of x_i with y_i, both of mean 0 and variance 1, times sqrt(count).
double correlation(const std::vector<double>& x, const std::vector<double>& y) {
  double sum = 0;
  for (std::size_t i = 0; i < y.size(); ++i) sum += x[i] * y[i];
  return sum / std::sqrt(static_cast<double>(y.size()));
}

std::vector<double> normals(const StreamKey& at, int count) {
  Stream stream(at);
  std::vector<double> sample;
  for (int i = 0; i < count; ++i) sample.push_back(stream.normal());
  return sample;
}

}  // namespace

TEST_CASE("Philox4x64-10 gives the known answers of Random123") {
  struct Vector {
    Block counter;
    std::array<std::uint64_t, 2> key;
    Block answer;
  };
  constexpr std::uint64_t ones = ~std::uint64_t{0};
  const std::vector<Vector> vectors{
      {{0, 0, 0, 0},
       {0, 0},
       {0x16554d9eca36314cU, 0xdb20fe9d672d0fdcU, 0xd7e772cee186176bU, 0x7e68b68aec7ba23bU}},
      {{ones, ones, ones, ones},
       {ones, ones},
       {0x87b092c3013fe90bU, 0x438c3c67be8d0224U, 0x9cc7d7c69cd777b6U, 0xa09caebf594f0ba0U}},
      {{0x243f6a8885a308d3U, 0x13198a2e03707344U, 0xa4093822299f31d0U, 0x082efa98ec4e6c89U},
       {0x452821e638d01377U, 0xbe5466cf34e90c6cU},
       {0xa528f45403e61d95U, 0x38c72dbd566e9788U, 0xa5a1610e72fd18b5U, 0x57bd43b5e52b7fe6U}}};
  for (const Vector& v : vectors) {
    CHECK(philox(v.counter, v.key[0], v.key[1]) == v.answer);
    const r123::Philox4x64::ctr_type block = r123::Philox4x64{}(
        {{v.counter[0], v.counter[1], v.counter[2], v.counter[3]}}, {{v.key[0], v.key[1]}});
    for (std::size_t i = 0; i < 4; ++i) CHECK(block[i] == v.answer[i]);
  }
  Stream at_zero(StreamKey{.seed = 0, .purpose = static_cast<Purpose>(0)});
  for (const std::uint64_t word : vectors[0].answer) CHECK(at_zero.bits() == word);
}

TEST_CASE("a stream is Philox on the counter (block, sample, task, iteration) and the key (seed, purpose)") {
  Stream stream(key);
  for (std::uint64_t block = 0; block < 100; ++block) {
    const Block words = philox({block, 7, 5, 3}, 2026, static_cast<std::uint64_t>(Purpose::excitation));
    for (const std::uint64_t word : words) CHECK(stream.bits() == word);
  }
}

TEST_CASE("the first numbers of a stream are the recorded ones with every compiler") {
  // From a transcription of Philox and Box-Muller in exact integers and 60-digit decimals.
  Stream bits(key);
  for (const std::uint64_t word : {0x373f8f281143d279U, 0x11392b2f0f85cbfbU, 0xc6192d5fab263a0cU,
                                   0xc32c98dc00f81f5bU, 0x0b68b5c9c74e4e96U, 0x01f4db7056585b0bU}) {
    CHECK(bits.bits() == word);
  }
  Stream uniforms(key);
  for (const double value :
       {0.21581358650406856636, 0.06727857493344580053, 0.77382167421014791397, 0.76239924784837886929}) {
    CHECK(uniforms.uniform() == value);
  }
  // The angle's rounding error is at most 2 pi (2^-53 + 2^-53) and the radius' two units: 2e-15 of the pair.
  const std::array<double, 8> recorded{
      1.59704502996309266932, 0.718420288547105036646, 0.0557341672159679411917, -0.713947726821974845831,
      2.49142747290028241,    0.119728096075604070306, 0.524476326862857137753,  0.188618781213587395454};
  Stream stream(key);
  for (std::size_t i = 0; i < recorded.size(); i += 2) {
    const double radius = std::hypot(recorded[i], recorded[i + 1]);
    CHECK(std::abs(stream.normal() - recorded[i]) <= 2e-15 * radius);
    CHECK(std::abs(stream.normal() - recorded[i + 1]) <= 2e-15 * radius);
  }
  CHECK(key.child(11).seed == 0x7e3c0ec65236fc42U);
}

TEST_CASE("what a stream gives does not depend on when others are drawn") {
  const std::vector<double> alone = normals(key, 9);
  const std::vector<double> other_alone = normals(key.with_sample(8), 9);
  Stream stream(key);
  Stream other(key.with_sample(8));
  for (std::size_t i = 0; i < alone.size(); ++i) {
    CHECK(stream.normal() == alone[i]);
    CHECK(other.normal() == other_alone[i]);
  }
  Stream copied(key);
  copied.normal();
  Stream copy = copied;
  CHECK(copy.normal() == alone[1]);
  CHECK(copied.normal() == alone[1]);
}

TEST_CASE("every field of a key matters, and so does every label of a child") {
  std::vector<StreamKey> keys(5, key);
  keys[0].seed += 1;
  keys[1].purpose = Purpose::search;
  keys[2].iteration += 1;
  keys[3].task += 1;
  keys[4].sample += 1;
  keys.push_back(key);
  for (std::uint64_t label = 0; label < 1000; ++label) keys.push_back(key.child(label));
  for (std::uint64_t label = 0; label < 1000; ++label) keys.push_back(key.child(0).child(label));
  std::set<std::uint64_t> first;
  for (const StreamKey& one : keys) first.insert(Stream(one).bits());
  CHECK(first.size() == keys.size());
  // Fields that swap their values.
  StreamKey swapped = key;
  std::swap(swapped.task, swapped.sample);
  CHECK(Stream(swapped).bits() != Stream(key).bits());
}

TEST_CASE("the numbers behind the purposes stay, and with them every stream") {
  const Purpose purposes[] = {Purpose::directions, Purpose::initial_state, Purpose::process_noise,
                              Purpose::tasks,      Purpose::excitation,    Purpose::search,
                              Purpose::user,       Purpose::latencies};
  std::uint64_t number = 0;
  for (const Purpose purpose : purposes) CHECK(static_cast<std::uint64_t>(purpose) == number++);
}

TEST_CASE("the with functions change one field of a key") {
  const auto fields = [](const StreamKey& k) {
    return std::array<std::uint64_t, 5>{k.seed, static_cast<std::uint64_t>(k.purpose), k.iteration, k.task,
                                        k.sample};
  };
  CHECK(fields(key.with_purpose(Purpose::tasks)) ==
        std::array<std::uint64_t, 5>{2026, static_cast<std::uint64_t>(Purpose::tasks), 3, 5, 7});
  CHECK(fields(key.with_sample(9)) == std::array<std::uint64_t, 5>{2026, fields(key)[1], 3, 5, 9});
  CHECK(fields(key.with_task(9)) == std::array<std::uint64_t, 5>{2026, fields(key)[1], 3, 9, 7});
  CHECK(fields(key.child(1)) == std::array<std::uint64_t, 5>{key.child(1).seed, fields(key)[1], 3, 5, 7});
}

TEST_CASE("uniform numbers lie strictly inside their interval and are uniformly distributed") {
  // Each of the four statistics is beyond its bound with probability below 1e-6.
  Stream stream(key);
  std::vector<double> sample;
  for (int i = 0; i < 200000; ++i) sample.push_back(stream.uniform());
  CHECK(*std::min_element(sample.begin(), sample.end()) > 0);
  CHECK(*std::max_element(sample.begin(), sample.end()) < 1);
  CHECK(std::abs(z_score(sample, 1, 0.5, 1.0 / 12)) < 5);
  CHECK(std::abs(z_score(sample, 2, 1.0 / 3, 4.0 / 45)) < 5);
  CHECK(kolmogorov_smirnov(sample, [](double x) { return x; }) < 2.7);
  std::vector<double> scaled;
  for (int i = 0; i < 100000; ++i) scaled.push_back(stream.uniform(-3, 5));
  CHECK(*std::min_element(scaled.begin(), scaled.end()) > -3);
  CHECK(*std::max_element(scaled.begin(), scaled.end()) < 5);
  CHECK(kolmogorov_smirnov(scaled, [](double x) { return (x + 3) / 8; }) < 2.7);
}

TEST_CASE("normal numbers have the moments and the distribution of N(0, 1)") {
  // Five statistics, each beyond its bound with probability below 1e-6.
  const std::vector<double> sample = normals(key, 200000);
  CHECK(std::abs(z_score(sample, 1, 0, 1)) < 5);
  CHECK(std::abs(z_score(sample, 2, 1, 2)) < 5);
  CHECK(std::abs(z_score(sample, 3, 0, 15)) < 5);
  CHECK(std::abs(z_score(sample, 4, 3, 96)) < 5);
  CHECK(kolmogorov_smirnov(sample, [](double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }) < 2.7);
}

TEST_CASE("normal numbers are not correlated within a stream, nor with neighbouring streams") {
  // Each correlation is beyond 5 with probability 6e-7.
  const int count = 100000;
  const std::vector<double> sample = normals(key, count);
  for (const std::ptrdiff_t lag : {1, 2, 3, 8}) {
    CHECK(std::abs(correlation({sample.begin() + lag, sample.end()}, {sample.begin(), sample.end() - lag})) <
          5);
  }
  StreamKey next_iteration = key;
  ++next_iteration.iteration;
  StreamKey next_seed = key;
  ++next_seed.seed;
  for (const StreamKey& other : {key.with_sample(8), key.with_task(6), next_iteration, next_seed,
                                 key.child(0), key.with_purpose(Purpose::search)}) {
    CHECK(std::abs(correlation(normals(other, count), sample)) < 5);
  }
}

TEST_CASE("normal numbers across the samples of one key are N(0, 1) as well") {
  // As an estimator draws them: the first number of each of many streams.
  std::vector<double> first;
  for (std::uint64_t i = 0; i < 100000; ++i) first.push_back(Stream(key.with_sample(i)).normal());
  CHECK(std::abs(z_score(first, 1, 0, 1)) < 5);
  CHECK(std::abs(z_score(first, 2, 1, 2)) < 5);
  CHECK(kolmogorov_smirnov(first, [](double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }) < 2.7);
}

TEST_CASE("Rademacher numbers are -1 and +1, equally often") {
  Stream stream(key);
  double sum = 0;
  double repeats = 0;
  double last = 0;
  bool only_signs = true;
  for (int i = 0; i < 200000; ++i) {
    const double x = stream.rademacher();
    only_signs = only_signs && std::abs(x) == 1;
    sum += x;
    repeats += x * last;
    last = x;
  }
  CHECK(only_signs);
  CHECK(std::abs(sum) / std::sqrt(200000.0) < 5);
  CHECK(std::abs(repeats) / std::sqrt(200000.0) < 5);
}

TEST_CASE("fill_normal draws row by row") {
  using Backend = metalqr::EigenBackend<double>;
  Stream stream(key);
  Backend::Gain X = Backend::zero_gain(2, 3);
  metalqr::fill_normal<Backend>(X, stream);
  const std::vector<double> expected = normals(key, 7);
  for (metalqr::Index i = 0; i < 6; ++i) CHECK(X(i / 3, i % 3) == expected[static_cast<std::size_t>(i)]);
  CHECK(stream.normal() == expected[6]);
}
