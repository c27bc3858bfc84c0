#include <metalqr/io/server_state.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>
#include <variant>
#include <vector>

#include <metalqr/federated/robust.hpp>
#include <metalqr/federated/server.hpp>

#include "catch.hpp"
#include "support.hpp"

namespace {

namespace fed = metalqr::federated;
using metalqr::Index;
using metalqr::io::Json;
using metalqr::io::JsonDocument;
using Fixed = metalqr::EigenBackend<double, 2, 1>;

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

template <class Backend>
JsonDocument written(const fed::ServerState<Backend>& state) {
  return JsonDocument(metalqr::io::to_json(state).dump(), "s.json");
}

bool same_bits(double x, double y) {
  return std::bit_cast<std::uint64_t>(x) == std::bit_cast<std::uint64_t>(y);
}
template <class Gain>
bool same_gain(const Gain& x, const Gain& y) {
  if (x.rows() != y.rows() || x.cols() != y.cols()) return false;
  for (Index i = 0; i < x.rows(); ++i) {
    for (Index j = 0; j < x.cols(); ++j) {
      if (!same_bits(x(i, j), y(i, j))) return false;
    }
  }
  return true;
}
template <class Backend>
bool same(const fed::Command<Backend>& x, const fed::Command<Backend>& y) {
  if (x.index() != y.index()) return false;
  return std::visit(
      [&y](const auto& a) {
        using Message = std::remove_cvref_t<decltype(a)>;
        const Message& b = std::get<Message>(y);
        if constexpr (std::is_same_v<Message, fed::Send<Backend>>) {
          return a.agent == b.agent && a.version == b.version && same_gain(a.gain, b.gain) &&
                 a.restart == b.restart;
        } else if constexpr (std::is_same_v<Message, fed::Ask<Backend>>) {
          return a.agent == b.agent && a.candidate == b.candidate && same_gain(a.gain, b.gain);
        } else if constexpr (std::is_same_v<Message, fed::Commit<Backend>>) {
          return a.version == b.version && same_gain(a.gain, b.gain) && a.reports == b.reports &&
                 same_bits(a.step, b.step);
        } else if constexpr (std::is_same_v<Message, fed::Reject>) {
          return a.candidate == b.candidate;
        } else if constexpr (std::is_same_v<Message, fed::Expel>) {
          return a.agent == b.agent;
        } else {
          return a.id == b.id && same_bits(a.delay, b.delay);
        }
      },
      x);
}

/// Seven agents with the costs |K - c_i|^2 + 1, told what the server says and reporting when chance wants:
/// they come and go, lose messages, answer late, and send what cannot be used. Every event is kept.
template <class Backend>
class Crowd {
 public:
  using Gain = typename Backend::Gain;

  explicit Crowd(std::uint64_t seed) : stream_(test::stream(seed)) {
    for (std::size_t i = 0; i < agents_.size(); ++i) {
      agents_[i].centre = Backend::zero_gain(1, 2);
      metalqr::fill_normal<Backend>(agents_[i].centre, stream_);
    }
  }

  /// The next event of a server that is being told the earlier ones.
  fed::Event<Backend> next() {
    for (;;) {
      const Index agent = static_cast<Index>(stream_.uniform() * 7);
      Agent& own = agents_[static_cast<std::size_t>(agent)];
      const double what = stream_.uniform();
      if (!own.present) {
        if (what > 0.2) continue;
        own.present = true;
        return fed::Joined<Backend>{.agent = agent, .limit = agent == 3 ? infinity : 12};
      }
      if (what < 0.03) {
        own.present = own.working = false;
        own.asked = 0;
        return fed::Left{.agent = agent};
      }
      if (what < 0.08) return fed::Timer{.id = what < 0.06 ? 0 : 1};
      if (what < 0.35 && own.asked > 0) {
        const Index candidate = own.asked;
        own.asked = 0;
        return fed::Verdict<Backend>{
            .agent = agent, .candidate = candidate, .cost = cost(own, own.candidate)};
      }
      if (what < 0.4 && own.working) {  // lost
        own.working = false;
      } else if (what < 0.75 && own.working) {
        own.working = false;
        fed::Report<Backend> report{.agent = agent,
                                    .version = own.version,
                                    .estimate = 2 * (own.gain - own.centre),
                                    .cost = stream_.uniform() < 0.3 ? not_a_number : cost(own, own.gain),
                                    .weight = 1 + stream_.uniform()};
        if (stream_.uniform() < 0.05) report.estimate(0, 1) = infinity;
        return report;
      }
    }
  }

  void hear(const std::vector<fed::Command<Backend>>& commands) {
    for (const auto& command : commands) {
      if (const auto* send = std::get_if<fed::Send<Backend>>(&command)) {
        Agent& own = agents_[static_cast<std::size_t>(send->agent)];
        if (own.working && !send->restart) continue;
        own.working = true;
        own.version = send->version;
        own.gain = send->gain;
      } else if (const auto* ask = std::get_if<fed::Ask<Backend>>(&command)) {
        Agent& own = agents_[static_cast<std::size_t>(ask->agent)];
        own.asked = ask->candidate;
        own.candidate = ask->gain;
      }
    }
  }

 private:
  struct Agent {
    Gain centre{};
    bool present = false;
    bool working = false;
    Index version = 0;
    Index asked = 0;
    Gain gain{};
    Gain candidate{};
  };

  static double cost(const Agent& agent, const Gain& K) {
    const double value = 1 + (K - agent.centre).squaredNorm();
    return value < 30 ? value : infinity;
  }

  metalqr::Stream stream_;
  std::vector<Agent> agents_ = std::vector<Agent>(7);
};

/// In how many of the states that were read something was under way.
struct Seen {
  int states = 0;
  int open_candidate = 0;
  int open_version = 0;
  int idle = 0;
  int sent = 0;
  int reports = 0;
  int unknown_costs = 0;
  int optimizer = 0;
  int returned = 0;
  int overdue = 0;
  int absent = 0;
  int infinite_limit = 0;

  template <class Backend>
  void add(const fed::ServerState<Backend>& state) {
    ++states;
    open_candidate += state.question.open && state.question.version < 0 ? 1 : 0;
    open_version += state.question.open && state.question.version >= 0 ? 1 : 0;
    idle += state.idle.empty() ? 0 : 1;
    sent += state.sent.empty() ? 0 : 1;
    reports += state.reports.empty() ? 0 : 1;
    for (const auto& report : state.reports) unknown_costs += std::isnan(report.cost) ? 1 : 0;
    optimizer += state.optimizer.steps > 0 ? 1 : 0;
    returned += state.returned > 0 ? 1 : 0;
    for (const auto& agent : state.agents) {
      overdue += agent.overdue ? 1 : 0;
      absent += agent.present ? 0 : 1;
      infinite_limit += agent.limit == infinity ? 1 : 0;
    }
  }
};

/// Runs a server through 300 events and continues from each of 12 written states; the number of events after
/// which the commands, or in the end the states, are not the same.
template <class Backend, class Rule, class Optimizer>
int differences(const Rule& rule, const fed::ServerOptions& options, const Optimizer& optimizer,
                std::uint64_t seed, Seen& seen) {
  using Server = fed::Server<Backend, Rule, fed::Mean, Optimizer>;
  Crowd<Backend> crowd(seed);
  Server server(Backend::zero_gain(1, 2), rule, options, {}, optimizer);
  std::vector<Server> continued;
  metalqr::Stream stream = test::stream(seed, 1);
  int different = 0;
  for (int i = 0; i < 300; ++i) {
    if (stream.uniform() < 0.04) {
      const JsonDocument document = written(server.state());
      const auto state = metalqr::io::read_server_state<Backend>(document);
      different += metalqr::io::to_json(state) == document.root() ? 0 : 1;
      seen.add(state);
      continued.emplace_back(state, rule, options, fed::Mean{}, optimizer);
    }
    const auto event = crowd.next();
    const auto commands = server.on(event);
    crowd.hear(commands);
    for (Server& other : continued) {
      const auto others = other.on(event);
      different +=
          std::equal(commands.begin(), commands.end(), others.begin(), others.end(), same<Backend>) ? 0 : 1;
    }
  }
  const Json last = metalqr::io::to_json(server.state());
  for (const Server& other : continued) different += metalqr::io::to_json(other.state()) == last ? 0 : 1;
  return different;
}

}  // namespace

TEMPLATE_TEST_CASE("a server that is written at any event, read and continued says the same to the last bit",
                   "", test::Backend, Fixed) {
  Seen seen;
  std::uint64_t seed = 1;
  for (const fed::Guard guard : {fed::Guard::none, fed::Guard::ask, fed::Guard::rollback}) {
    const fed::ServerOptions options{.step = 0.6, .guard = guard, .retry_after = 3};
    const auto continue_all = [&](const auto& rule) {
      CAPTURE(seed);
      CHECK(differences<TestType>(rule, options, fed::PlainStep{}, seed, seen) == 0);
      CHECK(differences<TestType>(rule, options, fed::Momentum{}, seed + 1, seen) == 0);
      CHECK(differences<TestType>(rule, options, fed::Adam{}, seed + 2, seen) == 0);
      seed += 3;
    };
    continue_all(fed::Synchronous{});
    continue_all(fed::Buffered{.count = 3});
    continue_all(fed::Ringmaster{.limit = 3});
    continue_all(fed::Rennala{.count = 3});
    continue_all(fed::TimeWindow{.ticks = 2});
    continue_all(fed::bounded(fed::Buffered{.count = 2}, 2));
    continue_all(fed::weighted(fed::Buffered{.count = 3}, fed::PolynomialWeight{}));
    continue_all(fed::damped(fed::Ringmaster{.limit = 5}, fed::HingeWeight{.knee = 1}));
  }
  CHECK(seen.states > 700);
  CHECK(seen.open_candidate > 20);
  CHECK(seen.open_version > 20);
  CHECK(seen.idle > 20);
  CHECK(seen.sent > 20);
  CHECK(seen.reports > 20);
  CHECK(seen.unknown_costs > 20);
  CHECK(seen.optimizer > 20);
  CHECK(seen.returned > 20);
  CHECK(seen.overdue > 20);
  CHECK(seen.absent > 20);
  CHECK(seen.infinite_limit > 20);
}

namespace {

/// A state of which every field is in use: an open candidate, a report that waits, an idle agent, one that is
/// away, refresh buckets, momentum.
Json full() {
  using Server = fed::Server<test::Backend, fed::StalenessBounded<fed::Buffered>, fed::Mean, fed::Momentum>;
  test::Backend::Gain K = test::Backend::zero_gain(1, 2);
  K << 0.5, -2;
  Server server(K, fed::bounded(fed::Buffered{.count = 2}, 3), {.step = 0.125, .retry_after = 4});
  const auto report = [&](Index agent, Index version, double x, double cost) {
    server.on(fed::Report<test::Backend>{
        .agent = agent, .version = version, .estimate = K * x, .cost = cost, .weight = 2});
  };
  const auto accept = [&](Index question) {
    for (Index agent = 0; agent < 4; ++agent)
      server.on(fed::Verdict<test::Backend>{.agent = agent, .candidate = question, .cost = 1});
  };
  for (Index agent = 0; agent < 4; ++agent)
    server.on(fed::Joined<test::Backend>{.agent = agent, .limit = agent == 1 ? infinity : 5});
  report(0, 0, 0.1, 2);
  report(1, 0, 0.2, not_a_number);
  accept(1);
  server.on(fed::Left{.agent = 3});
  report(0, 1, 0.3, 2);
  report(2, 0, 0.4, 2);
  report(1, 1, 0.7, not_a_number);
  server.on(fed::Verdict<test::Backend>{.agent = 0, .candidate = 2, .cost = 1});
  return metalqr::io::to_json(server.state());
}

JsonDocument document(const Json& json) {
  return JsonDocument(json.dump(), "s.json");
}
/// Why a state with this value in one of its fields is refused.
std::string refused(const std::string& pointer, const Json& value) {
  Json json = full();
  REQUIRE(json.contains(Json::json_pointer(pointer)));
  json[Json::json_pointer(pointer)] = value;
  const JsonDocument read = document(json);
  return test::message_of<metalqr::ParseError>([&] { metalqr::io::read_server_state<test::Backend>(read); });
}
std::string wrong_shape(const std::string& pointer, const Json& value) {
  Json json = full();
  json[Json::json_pointer(pointer)] = value;
  const JsonDocument read = document(json);
  return test::message_of<metalqr::DimensionMismatch>(
      [&] { metalqr::io::read_server_state<test::Backend>(read); });
}

/// Calls visit(pointer, place, value) for every field of the objects in `json`.
template <class Visit>
void for_each_field(const Json& json, const std::string& pointer, const std::string& place,
                    const Visit& visit) {
  if (json.is_object()) {
    for (const auto& item : json.items()) {
      const std::string own = place.empty() ? item.key() : place + "." + item.key();
      visit(pointer + "/" + item.key(), own, item.value());
      for_each_field(item.value(), pointer + "/" + item.key(), own, visit);
    }
  } else if (json.is_array()) {
    for (std::size_t i = 0; i < json.size(); ++i) {
      for_each_field(json[i], pointer + "/" + std::to_string(i), place + "[" + std::to_string(i) + "]",
                     visit);
    }
  }
}

}  // namespace

TEST_CASE("a field that is missing or of another type is refused by name, whichever it is") {
  const Json json = full();
  CHECK_NOTHROW(metalqr::io::read_server_state<test::Backend>(document(json)));
  int fields = 0;
  for_each_field(json, "", "", [&](const std::string& pointer, const std::string& place, const Json& value) {
    CAPTURE(place);
    ++fields;
    Json without = json;
    const auto parent = Json::json_pointer(pointer).parent_pointer();
    without[parent].erase(Json::json_pointer(pointer).back());
    const JsonDocument missing = document(without);
    CHECK(test::message_of<metalqr::ParseError>([&] {
            metalqr::io::read_server_state<test::Backend>(missing);
          }) == "s.json: field " + place + ": expected a value, the field is missing");
    const Json other = value.is_object() ? Json(7.5) : Json::object();
    CHECK_THAT(refused(pointer, other),
               Catch::Matchers::StartsWith("s.json: field " + place + ": expected "));
    if (value.is_number_integer()) {
      for (const Json& bad : {Json(1.5), Json(-2), Json("1"), Json(nullptr), Json(true), Json(~0ULL)})
        CHECK_THAT(refused(pointer, bad),
                   Catch::Matchers::StartsWith("s.json: field " + place + ": expected "));
    }
  });
  CHECK(fields > 90);
}

TEST_CASE("texts stand for infinities and NaN alone, and for no other numbers") {
  CHECK(full()["agents"][1]["limit"] == "inf");
  CHECK(full()["reports"][0]["cost"] == "nan");
  CHECK(refused("/agents/1/limit", "Infinity") ==
        "s.json: field agents[1].limit: expected a number, \"inf\", \"-inf\" or \"nan\", got the text "
        "\"Infinity\"");
  CHECK(refused("/gain", {{0.5, "inf"}}) ==
        "s.json: field gain, row 0: expected a number in column 1, got the text \"inf\"");
  CHECK(refused("/reports/0/cost", "inf") ==
        "s.json: field reports[0].cost: expected a finite number or \"nan\", got inf");
  CHECK(refused("/reports/0/weight", 0) ==
        "s.json: field reports[0].weight: expected a positive number, got 0");
  CHECK_THAT(refused("/reports/0/weight", "nan"), Catch::Matchers::EndsWith("got nan"));
  CHECK_THAT(refused("/question/step_size", "inf"),
             Catch::Matchers::EndsWith("expected a number >= 0, got inf"));
  CHECK_THAT(refused("/question/step_size", -1), Catch::Matchers::EndsWith("expected a number >= 0, got -1"));
}

TEST_CASE("a document of another format or of a later version is refused") {
  CHECK(refused("/format", "metalqr task") ==
        "s.json: field format: expected \"metalqr server state\", got \"metalqr task\"");
  CHECK(refused("/format_version", 2) ==
        "s.json: field format_version: expected a whole number from 1 to 1, got the number 2");
}

TEST_CASE("fields that contradict each other are refused") {
  const auto ends = [](const std::string& text) { return Catch::Matchers::EndsWith(text); };
  CHECK_THAT(refused("/origin", 2),
             ends("field origin: expected a whole number from 0 to 1, got the number 2"));
  CHECK_THAT(refused("/returned", 2),
             ends("field returned: expected a whole number from 0 to 1, got the number 2"));
  CHECK_THAT(refused("/present", 4),
             ends("field present: expected 3, the number of agents that are present, got 4"));
  CHECK_THAT(refused("/known", 3),
             ends("field known: expected 4, the number of agents that are known, got 3"));
  CHECK_THAT(refused("/working", 1),
             ends("field working: expected 0, the number of agents that are at work, got 1"));
  CHECK_THAT(refused("/idle/0", 4),
             ends("field idle[0]: expected a whole number from 0 to 3, got the number 4"));
  CHECK_THAT(refused("/idle/0", -1),
             ends("field idle[0]: expected a whole number from 0 to 3, got the number -1"));
  CHECK_THAT(
      refused("/idle", Json::array()),
      ends("field agents[0].waiting: expected false of an agent that is not in the list idle, got true"));
  CHECK_THAT(refused("/sent/0/0", 9),
             ends("field sent[0][0]: expected a whole number from 0 to 3, got the number 9"));
  CHECK_THAT(refused("/agents/3/waiting", true),
             ends("field agents[3].waiting: expected false of an agent that is not present, got true"));
  CHECK_THAT(refused("/agents/3/working", true),
             ends("field agents[3].working: expected false of an agent that is not present, got true"));
  CHECK_THAT(refused("/agents/0/working", true),
             ends("field agents[0].waiting: expected false of an agent at work, got true"));
  CHECK_THAT(refused("/agents/2/known", false),
             ends("field agents[2].present: expected false of an agent that is not known, got true"));
  CHECK_THAT(refused("/agents/2/version", 2), ends("expected at most 1, the version of the gain, got 2"));
  CHECK_THAT(refused("/agents/2/accepted", 2), ends("expected at most 1, the version of the gain, got 2"));
  CHECK_THAT(refused("/agents/2/asked", 3),
             ends("expected at most 2, the number of the last question, got 3"));
  CHECK_THAT(refused("/agents/2/participations", 9), ends("expected at most 1, its reports, got 9"));
  CHECK_THAT(refused("/reports/0/agent", 4), ends("expected a whole number from 0 to 3, got the number 4"));
  CHECK_THAT(refused("/reports/0/version", 2), ends("expected at most 1, the version of the gain, got 2"));
  CHECK_THAT(
      refused("/question/waiting", 3),
      ends("field question.waiting: expected 2, the number of agents that have not answered it, got 3"));
  CHECK_THAT(refused("/question/version", 2), ends("expected at most 1, the version of the gain, got 2"));
  CHECK_THAT(refused("/question/reports", 0),
             ends("expected a whole number of at least 1, got the number 0"));
  CHECK_THAT(refused("/start/version", 2), ends("expected at most 1, the version of the safe gain, got 2"));
  CHECK_THAT(refused("/safe/version", 2),
             ends("expected at most 1, the version of the confirmed gain, got 2"));
  CHECK_THAT(refused("/confirmed/version", 2),
             ends("expected at most 1, the version of the current gain when it was committed first, got 2"));
  CHECK_THAT(refused("/statistics/used", 9),
             ends("field statistics.used: expected 4, the sum of the list staleness, got 9"));
  CHECK_THAT(refused("/statistics/staleness/0", 5), ends("got a larger one"));
  CHECK_THAT(refused("/statistics/updates", 2), ends("expected at most 1, the version of the gain, got 2"));
  Json returned = full();
  returned["version"] = returned["returned"] = 2;
  const JsonDocument read = document(returned);
  CHECK_THAT(
      test::message_of<metalqr::ParseError>([&] { metalqr::io::read_server_state<test::Backend>(read); }),
      ends("field reports[0].version: expected at least 2, the version of the last return, got 1"));
}

TEST_CASE("a matrix of another shape than the gain is refused with both shapes") {
  const Json wide{{1, 2, 3}};
  for (const char* pointer : {"/reports/0/estimate", "/question/gain", "/question/step", "/start/gain",
                              "/safe/gain", "/confirmed/gain", "/optimizer/first", "/optimizer/second"}) {
    CAPTURE(pointer);
    CHECK_THAT(wrong_shape(pointer, wide), Catch::Matchers::EndsWith("expected shape 1x2, got 1x3"));
    CHECK_THAT(refused(pointer, {{1, 2}, {3}}),
               Catch::Matchers::EndsWith(", row 1: expected 2 numbers as in row 0, got 1"));
  }
  const JsonDocument read = document(full());
  using Other = metalqr::EigenBackend<double, 3, 1>;
  CHECK(test::message_of<metalqr::DimensionMismatch>([&] { metalqr::io::read_server_state<Other>(read); }) ==
        "s.json: field gain: expected shape 1x3, got 1x2");
  using Tall = metalqr::EigenBackend<double, Eigen::Dynamic, 2>;
  CHECK(test::message_of<metalqr::DimensionMismatch>([&] { metalqr::io::read_server_state<Tall>(read); }) ==
        "s.json: field gain: expected shape 2xany, got 1x2");
}

TEST_CASE("a server that has not begun is written and read, and its state may stand in a field of its own") {
  const fed::Server<Fixed, fed::Synchronous> server(Fixed::zero_gain(1, 2), {});
  const Json json{{"time", 3}, {"server", metalqr::io::to_json(server.state())}};
  const auto state = metalqr::io::read_server_state<Fixed>(document(json), "server");
  CHECK(metalqr::io::to_json(state) == json["server"]);
  CHECK(test::message_of<metalqr::ParseError>([&] {
          metalqr::io::read_server_state<Fixed>(document(json));
        }) == "s.json: field format: expected a value, the field is missing");
}

TEST_CASE("other scalars go through the nearest doubles") {
  using Wide = metalqr::EigenBackend<long double, 2, 1>;
  Wide::Gain K;
  K << 0.1L, 1 / 3.0L;
  const fed::Server<Wide, fed::Synchronous> server(K, {});
  const auto read = metalqr::io::read_server_state<Wide>(written(server.state()));
  CHECK(read.gain(0, 0) == static_cast<long double>(static_cast<double>(0.1L)));
  using Narrow = metalqr::EigenBackend<float, 2, 1>;
  CHECK(metalqr::io::read_server_state<Narrow>(written(server.state())).gain(0, 1) ==
        static_cast<float>(1 / 3.0));
}

TEST_CASE("a state with a NaN in a matrix is not written") {
  fed::ServerState<Fixed> state = fed::Server<Fixed, fed::Synchronous>(Fixed::zero_gain(1, 2), {}).state();
  state.confirmed.gain(0, 1) = not_a_number;
  CHECK_THROWS_AS(metalqr::io::to_json(state), metalqr::NotFinite);
}
