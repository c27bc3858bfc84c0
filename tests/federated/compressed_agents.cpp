#include <metalqr/federated/compressed_agents.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>
#include <utility>
#include <vector>

#include <metalqr/federated/virtual_time.hpp>

#include "federated/bowls.hpp"
#include "support.hpp"

namespace fed = metalqr::federated;
using metalqr::Index;
using Backend = metalqr::EigenBackend<double, 4, 2>;
using Gain = Backend::Gain;
using test::Bowls;
using test::bowls;
using test::unreliable;
using Profiles = std::vector<fed::AgentProfile>;

namespace {

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

/// Agents whose estimates are given, by round, the same for all of them.
template <class AnyBackend>
struct Scripted {
  using Backend = AnyBackend;

  std::vector<typename AnyBackend::Gain> estimates;
  std::vector<Index> told{};

  static Index size() { return 2; }
  static double cost(Index agent, Index question, const typename AnyBackend::Gain& K) {
    return static_cast<double>(100 * agent + 10 * question) + K(0, 0);
  }
  static double limit(Index agent) { return 5 + static_cast<double>(agent); }
  fed::Report<AnyBackend> work(Index agent, Index round, Index version,
                               const typename AnyBackend::Gain& /*K*/) const {
    return {.agent = agent,
            .version = version,
            .estimate = estimates[static_cast<std::size_t>(round)],
            .cost = 2,
            .weight = 3};
  }
  void reported(Index agent, Index round) { told.insert(told.end(), {agent, round}); }
};

using Row = metalqr::EigenBackend<double, 2, 1>;
Row::Gain row(double x, double y) {
  return Row::Gain{{x, y}};
}

template <class G>
bool same(const G& x, const G& y) {
  return x.rows() == y.rows() && x.cols() == y.cols() && (x.array() == y.array()).all();
}

/// What a user might write: half of everything.
struct Halves {
  template <metalqr::MatrixBackend AnyBackend>
  fed::Compressed<AnyBackend> compress(const typename AnyBackend::Gain& estimate,
                                       const metalqr::StreamKey& /*key*/) const {
    return {.sent = estimate / 2, .bits = 1};
  }
};

template <class Result>
bool same_history(const Result& x, const Result& y) {
  if (x.history.size() != y.history.size() || x.time != y.time) return false;
  for (std::size_t i = 0; i < x.history.size(); ++i) {
    if (x.history[i].time != y.history[i].time || !same(x.history[i].commit.gain, y.history[i].commit.gain))
      return false;
  }
  return true;
}

}  // namespace

TEST_CASE("an agent sends its largest entry, and the others when they have grown") {
  Scripted<Row> script{{row(3, -2), row(1, -2), row(0.5, 0.25)}};
  fed::CompressedAgents agents(script, fed::TopK{.count = 1});
  const fed::Report<Row> first = agents.work(1, 0, 7, row(0, 0));
  CHECK(same(first.estimate, row(3, 0)));
  CHECK((first.agent == 1 && first.version == 7 && first.cost == 2 && first.weight == 3));
  agents.reported(1, 0);
  CHECK(same(agents.feedback(1).residual, row(0, -2)));
  // (1, -2) + (0, -2).
  CHECK(same(agents.work(1, 1, 7, row(0, 0)).estimate, row(0, -4)));
  agents.reported(1, 1);
  CHECK(same(agents.feedback(1).residual, row(1, 0)));
  CHECK(same(agents.work(1, 2, 7, row(0, 0)).estimate, row(1.5, 0)));
  // Each time a number of 64 bits and an index of one.
  CHECK(agents.sent_bits(1) == 2 * 65);
  CHECK(agents.sent_bits(0) == 0);
  CHECK(same(agents.feedback(0).residual, row(0, 0)));
}

TEST_CASE("work that is thrown away leaves no trace in what an agent has kept") {
  Scripted<Row> script{{row(3, -2), row(9, 8), row(1, -2)}};
  fed::CompressedAgents agents(script, fed::TopK{.count = 1});
  agents.work(0, 0, 0, row(0, 0));
  agents.reported(0, 0);
  const auto before = agents.feedback(0).residual;
  agents.work(0, 1, 0, row(0, 0));
  CHECK(same(agents.feedback(0).residual, before));
  CHECK(same(agents.work(0, 2, 0, row(0, 0)).estimate, row(0, -4)));
  agents.reported(0, 2);
  CHECK(same(agents.feedback(0).residual, row(1, 0)));
  CHECK(agents.sent_bits(0) == 2 * 65);
}

TEST_CASE("what agents say besides is passed on") {
  fed::CompressedAgents agents(Scripted<Row>{{row(3, -2)}}, fed::NoCompression{});
  CHECK(agents.size() == 2);
  CHECK(agents.cost(1, 2, row(0.5, 0)) == 120.5);
  CHECK(agents.limit(1) == 6);
  agents.work(1, 0, 0, row(0, 0));
  agents.reported(1, 0);
  CHECK(agents.agents().told == std::vector<Index>{1, 0});
  static_assert(fed::Agents<fed::CompressedAgents<Bowls, fed::TopK>>);
  // One may wrap the other.
  fed::CompressedAgents twice(std::move(agents), fed::TopK{});
  CHECK(same(twice.work(0, 0, 0, row(0, 0)).estimate, row(3, 0)));
  twice.reported(0, 0);
  CHECK(twice.agents().agents().told == std::vector<Index>{1, 0, 0, 0});
}

TEST_CASE("an estimate that is not finite is passed as it is, and what was kept stays") {
  const double infinity = std::numeric_limits<double>::infinity();
  Scripted<Row> script{{row(0x1p1023, 0x1.8p1022), row(not_a_number, 1), row(infinity, 1), row(0, 0x1.8p1023),
                        row(2, -0x1p1022)}};
  fed::CompressedAgents agents(script, fed::TopK{.count = 1});
  agents.work(0, 0, 0, row(0, 0));
  agents.reported(0, 0);
  const auto kept = row(0, 0x1.8p1022);
  REQUIRE(same(agents.feedback(0).residual, kept));
  const auto bits = agents.sent_bits(0);
  CHECK(std::isnan(agents.work(0, 1, 0, row(0, 0)).estimate(0, 0)));
  agents.reported(0, 1);
  CHECK(same(agents.feedback(0).residual, kept));
  CHECK(agents.sent_bits(0) == bits + 128);
  CHECK(agents.work(0, 2, 0, row(0, 0)).estimate(0, 0) == infinity);
  agents.reported(0, 2);
  CHECK(same(agents.feedback(0).residual, kept));
  // Together with what was kept it would overflow.
  CHECK(same(agents.work(0, 3, 0, row(0, 0)).estimate, row(0, 0x1.8p1023)));
  agents.reported(0, 3);
  CHECK(same(agents.feedback(0).residual, kept));
  CHECK(same(agents.work(0, 4, 0, row(0, 0)).estimate, row(0, 0x1p1021)));
}

TEMPLATE_TEST_CASE("what was sent and what is kept are the sum of the estimates", "", test::Backend,
                   Backend) {
  metalqr::Stream stream = test::stream(3);
  Scripted<TestType> script;
  typename TestType::Gain sum = TestType::zero_gain(2, 4);
  for (int round = 0; round < 200; ++round) {
    typename TestType::Gain estimate = TestType::zero_gain(2, 4);
    for (Index i = 0; i < 8; ++i) estimate(i / 4, i % 4) = std::floor(stream.uniform(-1000, 1000));
    script.estimates.push_back(estimate);
    sum += estimate;
  }
  const auto difference = [&](auto compressor) {
    fed::CompressedAgents agents(script, compressor, 5);
    typename TestType::Gain sent = TestType::zero_gain(2, 4);
    for (Index round = 0; round < 200; ++round) {
      sent += agents.work(0, round, 0, sum).estimate;
      agents.reported(0, round);
    }
    CHECK(TestType::norm(agents.feedback(0).residual) > 0);
    const typename TestType::Gain together = sent + agents.feedback(0).residual;
    return TestType::max_abs(typename TestType::Gain(together - sum));
  };
  // Whole numbers, whose sums have no rounding.
  CHECK(difference(fed::TopK{.count = 1}) == 0);
  CHECK(difference(fed::TopK{.count = 3}) == 0);
  CHECK(difference(fed::Quantizer{.bits = 4}) < 1e-8);
  CHECK(difference(Halves{}) < 1e-8);
}

TEST_CASE("rounding is drawn at the key of the seed, the round and the agent") {
  const Row::Gain estimate = row(1, 0.37);
  fed::CompressedAgents agents(Scripted<Row>{std::vector<Row::Gain>(60, estimate)}, fed::Quantizer{.bits = 2},
                               8);
  fed::CompressedAgents others(Scripted<Row>{std::vector<Row::Gain>(60, estimate)}, fed::Quantizer{.bits = 2},
                               9);
  int by_agent = 0;
  int by_seed = 0;
  int up = 0;
  for (Index round = 0; round < 60; ++round) {
    const metalqr::StreamKey key{.seed = 8,
                                 .purpose = metalqr::Purpose::directions,
                                 .iteration = static_cast<std::uint64_t>(round),
                                 .task = 1};
    // No report is noted, so that nothing is kept.
    const Row::Gain sent = agents.work(1, round, 0, estimate).estimate;
    CHECK(same(sent, fed::compress<Row>(fed::Quantizer{.bits = 2}, estimate, key).sent));
    by_agent += same(sent, agents.work(0, round, 0, estimate).estimate) ? 0 : 1;
    by_seed += same(sent, others.work(1, round, 0, estimate).estimate) ? 0 : 1;
    up += sent(0, 1) > 0 ? 1 : 0;
  }
  CHECK(by_agent > 10);
  CHECK(by_seed > 10);
  CHECK((up > 10 && up < 40));
}

TEST_CASE("sending every entry is sending the estimate, to the last bit of a whole run") {
  const fed::ServerOptions options{.step = 0.1, .guard = fed::Guard::none, .retry_after = 6};
  const auto run = [&](auto agents) {
    fed::Server<Backend, fed::Buffered> server(Gain::Zero(), {.count = 3}, options);
    return fed::simulate(server, agents, unreliable(9, 4), {.until = 600, .seed = 2});
  };
  const Bowls plain = bowls(9, 3);
  const auto expected = run(plain);
  CHECK(expected.updates > 100);
  CHECK(same_history(expected, run(fed::CompressedAgents(plain, fed::NoCompression{}))));
  CHECK(same_history(expected, run(fed::CompressedAgents(plain, fed::TopK{.count = 8}))));
  CHECK_FALSE(same_history(expected, run(fed::CompressedAgents(plain, fed::TopK{.count = 7}))));
}

TEST_CASE("a run that sends one entry in eight reaches the same gain as one that sends all") {
  const Bowls plain = bowls(12, 3);
  Gain mean = Gain::Zero();
  for (const Gain& centre : plain.centres) mean += centre / 12;
  const double step = 5e-4;
  const auto distance = [&](auto agents) {
    fed::Server<Backend, fed::Synchronous> server(Gain::Constant(3), {},
                                                  {.step = step, .guard = fed::Guard::none});
    const auto result = fed::simulate(server, agents, Profiles(1), {.max_updates = 30'000});
    return (result.gain - mean).norm();
  };
  CHECK(distance(plain) < 1e-5);
  // K - step e, e the mean of what is kept, goes the plain way from K: the distance stays below
  // 2 step |e| with |e| < G q/(1 - q), q^2 = 7/8, for estimates of at most the norm G.
  double largest = 0;
  for (const Gain& centre : plain.centres) largest = std::max(largest, (centre - mean).norm());
  const double q = std::sqrt(7.0 / 8);
  const double bound = 2 * step * (1.1 * largest) * q / (1 - q);
  const double compressed = distance(fed::CompressedAgents(plain, fed::TopK{.count = 1}));
  CAPTURE(bound, compressed);
  CHECK(compressed < bound);
  // Agents that keep nothing, because they are never told, end far from there.
  struct Forgetful : Bowls {
    fed::Report<Backend> work(Index agent, Index round, Index version, const Gain& K) const {
      fed::Report<Backend> report = Bowls::work(agent, round, version, K);
      report.estimate = fed::compress<Backend>(fed::TopK{.count = 1}, report.estimate).sent;
      return report;
    }
  };
  CHECK(distance(Forgetful{plain}) > 10 * bound);
}

TEST_CASE("what agents keep does not depend on the number of threads, with work thrown away") {
  const auto run = [](int threads) {
    fed::CompressedAgents agents(bowls(12, 3), fed::TopK{.count = 1});
    fed::Server<Backend, fed::StalenessBounded<fed::Buffered>> server(
        Gain::Constant(3), fed::bounded(fed::Buffered{.count = 3}, 2), {.step = 0.1, .retry_after = 8});
    const auto result =
        fed::simulate(server, agents, unreliable(12, 5), {.until = 2000, .seed = 1, .threads = threads});
    CHECK(result.updates > 50);
    CHECK(server.state().statistics.refreshes > 20);
    return std::tuple(result, agents, server.state().statistics.reports);
  };
  const auto [one, agents, reports] = run(1);
  const auto [many, others, others_reports] = run(8);
  CHECK(same_history(one, many));
  CHECK(reports == others_reports);
  Index bits = 0;
  for (Index agent = 0; agent < 12; ++agent) {
    CHECK(same(agents.feedback(agent).residual, others.feedback(agent).residual));
    CHECK(agents.sent_bits(agent) == others.sent_bits(agent));
    bits += agents.sent_bits(agent);
  }
  // A number and an index of three bits for each report that has left, of which some were lost.
  CHECK(bits % 67 == 0);
  CHECK(bits > 67 * reports);
}

TEST_CASE("a compressor out of range is refused") {
  using Compressed = fed::CompressedAgents<Bowls, fed::TopK>;
  CHECK_THROWS_AS(Compressed(bowls(2, 1), fed::TopK{.count = 0}), metalqr::InvalidOption);
  using Rounded = fed::CompressedAgents<Bowls, fed::Quantizer>;
  CHECK_THROWS_AS(Rounded(bowls(2, 1), fed::Quantizer{.bits = 1}), metalqr::InvalidOption);
}
