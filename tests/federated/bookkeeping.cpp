#include <metalqr/federated/virtual_time.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "federated/bowls.hpp"
#include "support.hpp"

// What the server counts is what an onlooker counts who sees only when agents worked at which version, and
// when gains were committed.

namespace fed = metalqr::federated;
using metalqr::Index;
using Backend = metalqr::EigenBackend<double, 2, 1>;
using Gain = Backend::Gain;
using Profiles = std::vector<fed::AgentProfile>;
using End = fed::WorkSpan::End;

namespace {

/// Agents of very different speeds.
Profiles reliable(Index count, std::uint64_t seed) {
  metalqr::Stream stream = test::stream(seed);
  Profiles profiles;
  for (Index i = 0; i < count; ++i) {
    profiles.push_back({.work = fed::ExponentialLatency{.mean = 0.3 + 5 * stream.uniform()},
                        .answer = fed::UniformLatency{.low = 0.1, .high = 1},
                        .joins = stream.uniform()});
  }
  return profiles;
}
/// The same with messages that get lost, and agents that go and come back.
Profiles unreliable(Index count, std::uint64_t seed) {
  Profiles profiles = reliable(count, seed);
  for (fed::AgentProfile& profile : profiles) {
    profile.loss = 0.1;
    profile.presence = fed::ExponentialLatency{.mean = 30};
    profile.absence = fed::ExponentialLatency{.mean = 10};
  }
  return profiles;
}

/// What the onlooker finds.
struct Counts {
  std::vector<Index> staleness{};
  std::vector<Index> participations{};
  std::vector<Index> reports{};
  Index used = 0;
  Index too_old = 0;
  Index restarted = 0;
  Index left_over = 0;

  void use(const fed::WorkSpan& span, Index version) {
    const auto age = static_cast<std::size_t>(version - span.version);
    if (age >= staleness.size()) staleness.resize(age + 1);
    ++staleness[age];
    ++participations[static_cast<std::size_t>(span.agent)];
    ++used;
  }
};

/// Replays a run: a commit uses the oldest of the reports that have arrived and are not refused.
template <class Rule, class Result, class State>
Counts recount(const Rule& rule, const Result& result, const State& state, Index agents) {
  Counts counts;
  counts.participations.resize(static_cast<std::size_t>(agents));
  counts.reports.resize(static_cast<std::size_t>(agents));
  std::vector<fed::WorkSpan> waiting;
  Index version = 0;
  const auto refuse = [&] {
    const auto is_too_old = [&](const fed::WorkSpan& span) {
      return !fed::admits(rule, version - span.version);
    };
    counts.too_old += static_cast<Index>(std::erase_if(waiting, is_too_old));
  };
  const auto use = [&](Index count) {
    REQUIRE(static_cast<Index>(waiting.size()) >= count);
    for (Index k = 0; k < count; ++k) counts.use(waiting[static_cast<std::size_t>(k)], version);
    waiting.erase(waiting.begin(), waiting.begin() + count);
  };
  auto next = result.history.begin();
  const auto commit_until = [&](double time) {
    for (; next != result.history.end() && next->time < time; ++next) {
      use(next->commit.reports);
      ++version;
      REQUIRE(next->commit.version == version);
      refuse();
    }
  };
  for (const fed::WorkSpan& span : result.timeline) {
    counts.restarted += span.how == End::restarted ? 1 : 0;
    if (span.how != End::reported) continue;
    commit_until(span.end);
    ++counts.reports[static_cast<std::size_t>(span.agent)];
    waiting.push_back(span);
    refuse();
  }
  commit_until(std::numeric_limits<double>::infinity());
  // The reports of a candidate count as used before it is committed.
  if (state.question.open && state.question.version < 0) use(state.question.step.reports);
  counts.left_over = static_cast<Index>(waiting.size());
  return counts;
}

template <class Rule>
Counts check_counts(const Rule& rule, const Profiles& profiles, fed::Guard guard, std::uint64_t seed) {
  test::BowlsOf<Backend> agents = test::bowls<Backend>(static_cast<Index>(profiles.size()), seed, 1e6);
  fed::Server<Backend, Rule> server(Gain::Zero(), rule, {.step = 0.02, .guard = guard, .retry_after = 6});
  const auto result =
      fed::simulate(server, agents, profiles,
                    {.until = 3000, .max_updates = 400, .seed = seed, .record = {.timeline = true}});
  const auto& state = server.state();
  const fed::ServerStatistics& statistics = state.statistics;
  // Of these nothing is seen from outside.
  REQUIRE(statistics.rejections == 0);
  REQUIRE(statistics.rollbacks == 0);
  REQUIRE(statistics.refused == 0);
  REQUIRE(statistics.repeated == 0);
  CHECK(result.updates > 50);
  const Counts counts = recount(rule, result, state, agents.size());
  CHECK(statistics.staleness == counts.staleness);
  CHECK(statistics.used == counts.used);
  CHECK(statistics.too_old == counts.too_old);
  CHECK(static_cast<Index>(state.reports.size()) == counts.left_over);
  CHECK(statistics.reports == counts.used + counts.too_old + counts.left_over);
  CHECK(statistics.updates == result.updates);
  CHECK(std::count_if(result.timeline.begin(), result.timeline.end(), [](const fed::WorkSpan& span) {
          return span.how == fed::WorkSpan::End::reported;
        }) == statistics.reports);
  for (std::size_t i = 0; i < profiles.size(); ++i) {
    CAPTURE(i);
    CHECK(state.agents[i].participations == counts.participations[i]);
    CHECK(state.agents[i].reports == counts.reports[i]);
  }
  if (profiles.front().loss == 0) CHECK(statistics.refreshes == counts.restarted);
  return counts;
}

template <class Rule>
Counts check_everywhere(const Rule& rule) {
  Counts last;
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    CAPTURE(seed);
    check_counts(rule, unreliable(12, seed), fed::Guard::none, seed);
    check_counts(rule, unreliable(12, seed), fed::Guard::ask, seed);
    check_counts(rule, reliable(12, seed), fed::Guard::ask, seed);
    last = check_counts(rule, reliable(12, seed), fed::Guard::none, seed);
  }
  return last;
}

}  // namespace

TEST_CASE("staleness and participation are what the timeline says, for a buffer") {
  const Counts counts = check_everywhere(fed::Buffered{.count = 4});
  CHECK(counts.staleness.size() > 5);
  CHECK(counts.too_old == 0);
}

TEST_CASE("staleness and participation are what the timeline says, where old reports are refused") {
  CHECK(check_everywhere(fed::Ringmaster{.limit = 4}).too_old > 0);
  CHECK(check_everywhere(fed::Rennala{.count = 3}).too_old > 0);
  CHECK(check_everywhere(fed::bounded(fed::Buffered{.count = 2}, 5)).restarted > 0);
}

TEST_CASE("staleness and participation are what the timeline says, by the clock and in step") {
  CHECK(check_everywhere(fed::TimeWindow{.ticks = 1.5}).staleness.size() > 1);
  CHECK(check_everywhere(fed::Synchronous{}).staleness.size() == 1);
}
