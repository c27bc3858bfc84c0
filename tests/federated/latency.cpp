#include <metalqr/federated/latency.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "support.hpp"

namespace {

namespace federated = metalqr::federated;
using federated::ConstantLatency;
using federated::ExponentialLatency;
using federated::HalfNormalLatency;
using federated::Latency;
using federated::ParetoLatency;
using federated::TraceLatency;
using federated::UniformLatency;
using metalqr::InvalidOption;
using metalqr::Purpose;
using metalqr::StreamKey;

const double infinity = std::numeric_limits<double>::infinity();
const double not_a_number = std::numeric_limits<double>::quiet_NaN();
const double largest = std::numeric_limits<double>::max();
constexpr std::uint64_t count = 200000;

StreamKey agent(std::uint64_t task) {
  return {.seed = 31, .iteration = 2, .task = task};
}

/// Draws 0, 1, ... of agent 4.
std::vector<double> draws(const Latency& latency) {
  std::vector<double> sample;
  for (std::uint64_t i = 0; i < count; ++i) sample.push_back(federated::draw(latency, agent(4), i));
  return sample;
}

/// Draw 3 of agents 0, 1, ...
std::vector<double> draws_of_agents(const Latency& latency) {
  std::vector<double> sample;
  for (std::uint64_t i = 0; i < count; ++i) sample.push_back(federated::draw(latency, agent(i), 3));
  return sample;
}

/// Largest distance between the sample's distribution function and `distribution`, times sqrt(count).
/// Exceeds 2.7 with probability 2 exp(-2 2.7^2) = 9e-7 if the sample follows `distribution`.
double kolmogorov_smirnov(std::vector<double> sample, const std::function<double(double)>& distribution) {
  std::sort(sample.begin(), sample.end());
  const double n = static_cast<double>(sample.size());
  double distance = 0;
  for (std::size_t i = 0; i < sample.size(); ++i) {
    const double p = distribution(sample[i]);
    distance = std::max({distance, static_cast<double>(i + 1) / n - p, p - static_cast<double>(i) / n});
  }
  return distance * std::sqrt(n);
}

/// (mean of the sample - expected) in units of its standard deviation: beyond 5 with probability 6e-7.
double z_score(const std::vector<double>& sample, double expected, double variance) {
  long double sum = 0;
  for (const double x : sample) sum += x;
  const double n = static_cast<double>(sample.size());
  return (static_cast<double>(sum) / n - expected) / std::sqrt(variance / n);
}

struct Law {
  Latency latency;
  std::function<double(double)> distribution;  // P(X <= x)
  double mean;
  double variance;
};

std::vector<Law> laws() {
  const double pi = 3.14159265358979323846;
  return {{UniformLatency{.low = 2, .high = 5}, [](double x) { return (x - 2) / 3; }, 3.5, 0.75},
          {ExponentialLatency{.mean = 3}, [](double x) { return 1 - std::exp(-x / 3); }, 3, 9},
          {HalfNormalLatency{.scale = 2}, [](double x) { return std::erf(x / std::sqrt(8.0)); },
           2 * std::sqrt(2 / pi), 4 * (1 - 2 / pi)},
          {ParetoLatency{.scale = 2, .shape = 6}, [](double x) { return 1 - std::pow(2 / x, 6); }, 2.4,
           4 * 6 / (25.0 * 4)}};
}

}  // namespace

TEST_CASE("latencies follow their law, over the draws of an agent and over the agents; false alarm 1e-6") {
  for (const Law& law : laws()) {
    INFO("law " << law.latency.index());
    CHECK(kolmogorov_smirnov(draws(law.latency), law.distribution) < 2.7);
    CHECK(kolmogorov_smirnov(draws_of_agents(law.latency), law.distribution) < 2.7);
  }
}

TEST_CASE("the test of a law's distribution notices a latency that is 3 percent too long") {
  for (const Law& law : laws()) {
    INFO("law " << law.latency.index());
    std::vector<double> sample = draws(law.latency);
    for (double& x : sample) x *= 1.03;
    CHECK(kolmogorov_smirnov(sample, law.distribution) > 2.7);
  }
}

TEST_CASE("the mean of many latencies is their law's; false alarm 1e-6 each") {
  for (const Law& law : laws()) {
    INFO("law " << law.latency.index());
    CHECK(federated::mean(law.latency) == Catch::Approx(law.mean).epsilon(1e-15));
    CHECK(std::abs(z_score(draws(law.latency), federated::mean(law.latency), law.variance)) < 5);
  }
}

TEST_CASE("means in closed form") {
  CHECK(federated::mean(ConstantLatency{.ticks = 20}) == 20);
  CHECK(federated::mean(UniformLatency{.low = 0, .high = largest}) == largest / 2);
  CHECK(federated::mean(HalfNormalLatency{.scale = 3}) == Catch::Approx(2.393653682408596).epsilon(1e-15));
  CHECK(federated::mean(ParetoLatency{.scale = 2, .shape = 1.5}) == 6);
  CHECK(federated::mean(ParetoLatency{.scale = 2, .shape = 1}) == infinity);
  CHECK(federated::mean(ParetoLatency{.scale = 2, .shape = 0.5}) == infinity);
  CHECK(federated::mean(TraceLatency{{20, 1, 1, 2}}) == 6);
  CHECK(federated::mean(TraceLatency{{largest, largest}}) == largest);
}

TEST_CASE("the tail of a Pareto law falls as a power, far beyond a mean that is infinite; false alarm 5e-6") {
  const double shape = 0.7;
  const std::vector<double> sample = draws(ParetoLatency{.scale = 3, .shape = shape});
  CHECK(*std::min_element(sample.begin(), sample.end()) >= 3);
  // Each count is binomial with an expectation of at least 300: beyond 5.5 deviations with probability below
  // 1e-6, skewness included.
  for (const double x : {3e1, 3e2, 3e3, 3e4}) {
    const double p = std::pow(x / 3, -shape);
    const double above = static_cast<double>(
        std::count_if(sample.begin(), sample.end(), [x](double value) { return value > x; }));
    const double n = static_cast<double>(count);
    CHECK(std::abs(above - n * p) < 5.5 * std::sqrt(n * p * (1 - p)));
  }
  // log(X / scale) is exponential with mean 1 / shape: Hill's estimate of the tail.
  std::vector<double> logarithms;
  for (const double x : sample) logarithms.push_back(std::log(x / 3));
  CHECK(std::abs(z_score(logarithms, 1 / shape, 1 / (shape * shape))) < 5);
}

TEST_CASE("a latency beyond the largest double is the largest double") {
  // P(X > largest) = largest^-0.001 = 0.4918.
  const std::vector<double> sample = draws(ParetoLatency{.scale = 1, .shape = 1e-3});
  const double capped = static_cast<double>(std::count(sample.begin(), sample.end(), largest));
  const double n = static_cast<double>(count);
  CHECK(std::abs(capped - 0.49183 * n) < 5 * std::sqrt(n) / 2 + 1e-5 * n);
  CHECK(std::all_of(sample.begin(), sample.end(), [](double x) { return x >= 1 && x <= largest; }));
  CHECK(federated::draw(ParetoLatency{.scale = 5e-324, .shape = 5e-324}, agent(0), 0) == largest);
  std::vector<double> long_ones = draws(ExponentialLatency{.mean = largest});
  CHECK(*std::max_element(long_ones.begin(), long_ones.end()) == largest);
}

TEST_CASE("the edges of the laws: no latency at all, uniform between equal bounds, the bounds themselves") {
  for (const Latency& none : std::vector<Latency>{ConstantLatency{.ticks = 0}, ExponentialLatency{.mean = 0},
                                                  HalfNormalLatency{.scale = 0}, TraceLatency{{0}},
                                                  UniformLatency{.low = 0, .high = 0}}) {
    CHECK_NOTHROW(federated::validate(none));
    for (std::uint64_t i = 0; i < 100; ++i) CHECK(federated::draw(none, agent(1), i) == 0);
    CHECK(federated::mean(none) == 0);
  }
  CHECK(federated::draw(UniformLatency{.low = 0.1, .high = 0.1}, agent(1), 5) == 0.1);
  CHECK(federated::draw(ConstantLatency{.ticks = 20}, agent(1), 5) == 20);
  const std::vector<double> sample = draws(UniformLatency{.low = 1, .high = 1.5});
  CHECK(*std::min_element(sample.begin(), sample.end()) >= 1);
  CHECK(*std::max_element(sample.begin(), sample.end()) <= 1.5);
}

TEST_CASE("a trace is used in its order, by the number of the draw alone, and begins again at its end") {
  const Latency trace = TraceLatency{{3, 1, 4, 1, 5}};
  const std::vector<double> expected{3, 1, 4, 1, 5, 3, 1, 4, 1, 5, 3, 1};
  for (std::uint64_t i = expected.size(); i-- > 0;) {
    CHECK(federated::draw(trace, agent(i), i) == expected[i]);
    CHECK(federated::draw(trace, agent(7), i) == expected[i]);
  }
  // 2^64 = 1 modulo 5.
  CHECK(federated::draw(trace, agent(7), ~std::uint64_t{0}) == 3);
  CHECK(federated::draw(trace, agent(7), ~std::uint64_t{0} - 1) == 5);
}

TEST_CASE("a latency depends on law, key and number alone, in any order of the draws") {
  std::vector<Law> all = laws();
  for (const Law& law : all) {
    const std::vector<double> forwards = draws(law.latency);
    const Latency copy = law.latency;
    CHECK(copy == law.latency);
    int different = 0;
    for (std::uint64_t i = count; i-- > 0;) {
      federated::draw(copy, agent(5), i);
      different += federated::draw(copy, agent(4), i) == forwards[i] ? 0 : 1;
    }
    CHECK(different == 0);
  }
}

TEST_CASE("latencies have streams of their own: number as sample, whatever purpose and sample the key has") {
  const Latency latency = ExponentialLatency{.mean = 3};
  const StreamKey key = agent(4);
  for (std::uint64_t i = 0; i < 100; ++i) {
    metalqr::Stream stream(
        {.seed = 31, .purpose = Purpose::latencies, .iteration = 2, .task = 4, .sample = i});
    const double expected = -3 * std::log(stream.uniform());
    CHECK(federated::draw(latency, key, i) == expected);
    CHECK(federated::draw(latency, key.with_purpose(Purpose::tasks).with_sample(9), i) == expected);
  }
}

TEST_CASE("latencies of other agents, draws, iterations and seeds are not correlated; false alarm 4e-6") {
  // Products of two independent centred exponentials have mean 0 and variance 1; each mean is beyond 5.5 with
  // probability below 1e-6, their kurtosis of 81 included.
  const Latency latency = ExponentialLatency{};
  StreamKey other_iteration = agent(4);
  ++other_iteration.iteration;
  StreamKey other_seed = agent(4);
  ++other_seed.seed;
  const auto mean_product = [&](const StreamKey& other, std::uint64_t shift) {
    std::vector<double> products;
    for (std::uint64_t i = 0; i < count; ++i) {
      const double x = federated::draw(latency, agent(4), i) - 1;
      products.push_back(x * (federated::draw(latency, other, i + shift) - 1));
    }
    return z_score(products, 0, 1);
  };
  CHECK(std::abs(mean_product(agent(5), 0)) < 5.5);
  CHECK(std::abs(mean_product(agent(4), 1)) < 5.5);
  CHECK(std::abs(mean_product(other_iteration, 0)) < 5.5);
  CHECK(std::abs(mean_product(other_seed, 0)) < 5.5);
  // The same stream is noticed.
  CHECK(mean_product(agent(4), 0) > 100);
}

TEST_CASE("a latency is one tick by default, and every default but the empty trace is valid") {
  CHECK(federated::draw(Latency{}, agent(0), 0) == 1);
  for (const Latency& latency : std::vector<Latency>{
           ConstantLatency{}, UniformLatency{}, ExponentialLatency{}, HalfNormalLatency{}, ParetoLatency{}}) {
    CHECK_NOTHROW(federated::validate(latency));
  }
}

TEST_CASE("laws out of range are refused with the field, its value and what was expected") {
  const auto reason = [](const Latency& latency) {
    return test::message_of<InvalidOption>([&] { federated::validate(latency, "uplink"); });
  };
  const std::vector<std::pair<double, std::string>> not_latencies{
      {-1, "-1"}, {-5e-324, "-4.94066e-324"}, {not_a_number, "nan"}, {infinity, "inf"}};
  const std::string at_least = ": expected a finite number of at least 0, got ";
  const std::string positive = ": expected a finite positive number, got ";
  for (const auto& [value, text] : not_latencies) {
    CHECK(reason(ConstantLatency{.ticks = value}) == "uplink.ticks" + at_least + text);
    CHECK(reason(UniformLatency{.low = value, .high = 1}) == "uplink.low" + at_least + text);
    CHECK(reason(UniformLatency{.low = 0, .high = value}) == "uplink.high" + at_least + text);
    CHECK(reason(ExponentialLatency{.mean = value}) == "uplink.mean" + at_least + text);
    CHECK(reason(HalfNormalLatency{.scale = value}) == "uplink.scale" + at_least + text);
    CHECK(reason(ParetoLatency{.scale = value}) == "uplink.scale" + positive + text);
    CHECK(reason(ParetoLatency{.shape = value}) == "uplink.shape" + positive + text);
    CHECK(reason(TraceLatency{{0, 1, value}}) == "uplink.ticks[2]" + at_least + text);
  }
  CHECK(reason(ParetoLatency{.scale = 0}) == "uplink.scale" + positive + "0");
  CHECK(reason(ParetoLatency{.shape = 0}) == "uplink.shape" + positive + "0");
  CHECK(reason(UniformLatency{.low = 2, .high = 1.5}) == "uplink.high: expected at least low = 2, got 1.5");
  CHECK(reason(TraceLatency{}) == "uplink.ticks: expected at least one latency, got none");
  CHECK_THROWS_WITH(federated::validate(ConstantLatency{.ticks = -1}),
                    "latency.ticks: expected a finite number of at least 0, got -1");
  CHECK_THROWS_AS(federated::draw(TraceLatency{}, agent(0), 0), InvalidOption);
}
