#include <metalqr/io/simulation_state.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <metalqr/federated/compressed_agents.hpp>
#include <metalqr/federated/compression.hpp>

#include "federated/bowls.hpp"
#include "federated/resumable.hpp"
#include "support.hpp"

namespace fed = metalqr::federated;
namespace zo = metalqr::zeroth_order;
using metalqr::Index;
using metalqr::io::Json;
using metalqr::io::JsonDocument;
using Small = metalqr::EigenBackend<double, 2, 1>;

namespace {

template <class Backend, class Memory>
std::string written(const fed::SimulationState<Backend, Memory>& state) {
  return metalqr::io::to_json(state).dump();
}

/// What is read of what was written, which is written again as it was.
const auto through_json = [](const auto& state) {
  const std::string text = written(state);
  const auto read = []<class Backend, class Memory>(const std::string& from,
                                                    const fed::SimulationState<Backend, Memory>&) {
    return metalqr::io::read_simulation_state<Backend, Memory>(JsonDocument(from, "s.json"));
  };
  auto result = read(text, state);
  CHECK(written(result) == text);
  return result;
};

/// Small bowls that lose messages, come and go, and are asked, on any backend.
template <class Backend>
auto bowl_run() {
  return test::Resumable{[] {
                           auto agents = test::bowls<Small>(6, 4);
                           test::BowlsOf<Backend> result{.centres = {}, .ceiling = 30};
                           for (const auto& centre : agents.centres) result.centres.emplace_back(centre);
                           return result;
                         },
                         [] {
                           return fed::make_server<Backend>(typename Backend::Gain(Small::Gain(0.1, 0.2)),
                                                            fed::bounded(fed::Buffered{.count = 2}, 2),
                                                            {.step = 3, .retry_after = 5}, fed::Mean{},
                                                            fed::Adam{});
                         },
                         test::unreliable(6, 4), fed::VirtualTimeOptions{.max_events = 200, .seed = 4}};
}

/// A state in the middle of that run, as a document that may be damaged.
Json middle() {
  const auto run = bowl_run<Small>();
  auto agents = run.make_agents();
  auto server = run.make_server();
  Json found;
  fed::simulate(server, agents, run.profiles, run.options, metalqr::NoObserver{}, [&](const auto& moment) {
    const auto state = moment.state();
    int asked = 0;
    int working = 0;
    int away = 0;
    for (const fed::Seat& seat : state.seats) {
      asked += seat.question > 0 ? 1 : 0;
      working += seat.working ? 1 : 0;
      away += seat.present ? 0 : 1;
    }
    if (moment.events() < 40 || asked == 0 || working == 0 || away == 0) return false;
    found = metalqr::io::to_json(state);
    return true;
  });
  return found;
}

}  // namespace

TEST_CASE("a run resumed from what was written after any event is the run that was not interrupted") {
  const auto seen = test::interrupt(bowl_run<Small>(), through_json);
  CHECK(seen.states == 200);
  CHECK(seen.different == 0);
  CHECK(seen.asked > 10);
  CHECK(seen.timers > 100);
  CHECK(seen.absent > 10);
  CHECK(seen.idle > 5);
  CHECK(seen.reports > 10);
  CHECK(test::interrupt(bowl_run<Small>(), through_json, 13, 2).different == 0);
}

TEST_CASE("the states of a run that is resumed are those of the run that was not interrupted") {
  const auto run = bowl_run<Small>();
  std::vector<std::string> states;
  auto agents = run.make_agents();
  auto server = run.make_server();
  const auto keep = [&](const auto& moment) { states.push_back(written(moment.state())); };
  fed::simulate(server, agents, run.profiles, run.options, metalqr::NoObserver{}, keep);
  REQUIRE(states.size() == 200);
  for (const std::size_t i : {0U, 1U, 50U, 133U}) {
    std::size_t next = i + 1;
    int different = 0;
    auto other = run.make_server();
    fed::resume_simulation(
        metalqr::io::read_simulation_state<Small>(JsonDocument(states[i], "s.json")), other, agents,
        run.profiles, run.options, metalqr::NoObserver{},
        [&](const auto& moment) { different += written(moment.state()) == states[next++] ? 0 : 1; });
    CHECK(next == 200);
    CHECK(different == 0);
  }
}

TEST_CASE("memories of agents are written with the state") {
  // On matrices of any size, which have no entries before there is something to remember.
  const auto plain = bowl_run<test::Backend>();
  const test::Resumable run{[&] { return fed::CompressedAgents(plain.make_agents(), fed::TopK{.count = 1}); },
                            plain.make_server, plain.profiles, plain.options};
  CHECK(test::interrupt(run, through_json, 3).different == 0);
}

TEST_CASE("memories come back bit by bit, also before there is anything in them") {
  using Dynamic = test::Backend;
  using Memory = fed::CompressedAgentMemory<Dynamic, zo::VarianceReductionState<Dynamic>>;
  using Format = metalqr::io::MemoryFormat<Memory>;
  const Dynamic::Gain zeros = Dynamic::Gain::Zero(1, 2);
  const auto again = [&](const Memory& memory) {
    const JsonDocument document(Json{{"memory", Format::to_json(memory)}}.dump(), "m.json");
    return Format::read<Dynamic>(metalqr::io::JsonField(document).field("memory"), zeros);
  };
  Memory memory;
  CHECK(Format::to_json(again(memory)) == Format::to_json(memory));
  CHECK(again(memory).compression.feedback.residual.size() == 0);
  memory.compression = {.feedback = {Dynamic::Gain::Constant(1, 2, 0.1)}, .bits = 77};
  memory.agent.anchor = Dynamic::Gain::Constant(1, 2, 1.0 / 3);
  memory.agent.at_anchor = {.gradient = Dynamic::Gain::Constant(1, 2, -1e-300),
                            .standard_error = std::numeric_limits<double>::quiet_NaN(),
                            .calls = 5,
                            .used = 4,
                            .dropped = 3,
                            .shrunk = 2};
  memory.agent.steps = 6;
  memory.agent.calls = 99;
  const Memory read = again(memory);
  CHECK(test::same_entries(read.compression.feedback.residual, memory.compression.feedback.residual));
  CHECK(read.compression.bits == 77);
  CHECK(test::same_entries(read.agent.anchor, memory.agent.anchor));
  CHECK(test::same_entries(read.agent.at_anchor.gradient, memory.agent.at_anchor.gradient));
  CHECK(read.agent.at_anchor.standard_error != read.agent.at_anchor.standard_error);
  CHECK(read.agent.at_anchor.calls == 5);
  CHECK(read.agent.at_anchor.used == 4);
  CHECK(read.agent.at_anchor.dropped == 3);
  CHECK(read.agent.at_anchor.shrunk == 2);
  CHECK(read.agent.steps == 6);
  CHECK(read.agent.calls == 99);
  memory.compression.feedback.residual(0, 1) = std::numeric_limits<double>::infinity();
  CHECK_THROWS_AS(again(memory), metalqr::NotFinite);
}

TEST_CASE("a damaged state is refused, and its field named") {
  const Json good = middle();
  REQUIRE(good.is_object());
  const auto refusal = [&](const Json& json) -> std::string {
    try {
      metalqr::io::read_simulation_state<Small>(JsonDocument(json.dump(), "s.json"));
    } catch (const metalqr::ParseError& error) {
      return error.what();
    } catch (const metalqr::DimensionMismatch& error) {
      return error.what();
    }
    return "none";
  };
  REQUIRE(refusal(good) == "none");
  const auto refused = [&](const char* what, const auto& damage) {
    CAPTURE(what);
    Json json = good;
    damage(json);
    const std::string message = refusal(json);
    CAPTURE(message);
    CHECK(message.starts_with("s.json: "));
    CHECK(message.find(what) != std::string::npos);
  };
  // Every field is needed, and none may be of another kind.
  for (const auto& item : good.items()) {
    refused(item.key().c_str(), [&](Json& json) { json.erase(item.key()); });
    refused(item.key().c_str(), [&](Json& json) { json[item.key()] = nullptr; });
  }
  for (const char* list : {"seats", "waiting", "orders"}) {
    for (const auto& item : good[list][0].items()) {
      const std::string place = std::string(list) + "[0]." + item.key();
      refused(place.c_str(), [&](Json& json) { json[list][0].erase(item.key()); });
      refused(place.c_str(), [&](Json& json) { json[list][0][item.key()] = "other"; });
    }
  }
  refused("format", [](Json& json) { json["format"] = "metalqr server state"; });
  refused("format_version", [](Json& json) { json["format_version"] = 2; });
  refused("waiting[0].kind", [](Json& json) { json["waiting"][0]["kind"] = "nap"; });
  refused("waiting[0].time", [](Json& json) { json["waiting"][0]["time"] = -1; });
  refused("waiting[0].time", [](Json& json) { json["waiting"][0]["time"] = "nan"; });
  refused("time", [](Json& json) { json["time"] = "inf"; });
  refused("orders[0].gain", [](Json& json) { json["orders"][0]["gain"][0].push_back(1); });
  refused("orders[0].agent", [](Json& json) { json["orders"][0]["agent"] = 6; });
  refused("orders[1].agent",
          [](Json& json) { json["orders"].insert(json["orders"].begin(), json["orders"][0]); });
  refused("orders", [](Json& json) { json["orders"].erase(0); });
  refused("candidates", [](Json& json) { json["candidates"] = Json::array(); });
  refused("server.version", [](Json& json) { json["server"]["version"] = -1; });
  refused("seats[6].present", [](Json& json) {
    json["seats"].push_back(json["seats"][0]);
    json["seats"][6]["present"] = true;
  });
  refused("waiting", [](Json& json) { json["waiting"].erase(0); });
}
