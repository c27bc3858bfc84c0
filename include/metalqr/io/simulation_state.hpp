#pragma once

/// @file
/// The state of a simulation of a federated run as JSON. Needs nlohmann-json (CMake component
/// metalqr::json).

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <metalqr/core/error.hpp>
#include <metalqr/federated/simulation_state.hpp>
#include <metalqr/federated/simulation_state_check.hpp>
#include <metalqr/io/agent_memory.hpp>
#include <metalqr/io/json.hpp>
#include <metalqr/io/json_document.hpp>
#include <metalqr/io/json_field.hpp>
#include <metalqr/io/matrix_field.hpp>
#include <metalqr/io/server_state.hpp>

namespace metalqr::inline METALQR_ABI::io {

/// What the field `format` of a simulation's state says.
inline constexpr const char* simulation_state_format = "metalqr simulation state";
/// What its field `format_version` says.
inline constexpr Index simulation_state_format_version = 1;

namespace detail {

inline constexpr std::array<std::string_view, 5> happening_kinds{"report", "verdict", "timer", "joins",
                                                                 "leaves"};
inline constexpr std::array<Named<federated::Seat, bool>, 2> seat_flags{
    {{"present", &federated::Seat::present}, {"working", &federated::Seat::working}}};
inline constexpr std::array<Named<federated::Seat, Index>, 6> seat_counts{
    {{"first_round", &federated::Seat::first_round},
     {"works", &federated::Seat::works},
     {"question", &federated::Seat::question},
     {"answers", &federated::Seat::answers},
     {"messages", &federated::Seat::messages},
     {"absences", &federated::Seat::absences}}};

inline Json seat_to_json(const federated::Seat& seat) {
  Json json = Json::object();
  for (const auto& flag : seat_flags) json[flag.name] = seat.*flag.member;
  for (const auto& count : seat_counts) json[count.name] = seat.*count.member;
  return json;
}
inline federated::Seat read_seat(const JsonField& field) {
  federated::Seat seat;
  for (const auto& flag : seat_flags) seat.*flag.member = field.field(flag.name).flag();
  for (const auto& count : seat_counts) seat.*count.member = field.field(count.name).integer();
  return seat;
}

inline Json waiting_to_json(const federated::WaitingHappening& next) {
  return {{"time", number_to_json(next.time)},
          {"agent", next.agent},
          {"kind", happening_kinds[static_cast<std::size_t>(next.what.kind)]},
          {"number", next.what.number}};
}
inline federated::WaitingHappening read_waiting(const JsonField& field) {
  federated::WaitingHappening next{.time = field.field("time").number(),
                                   .agent = field.field("agent").integer(),
                                   .what = {.number = field.field("number").integer()}};
  const std::string kind = field.field("kind").text();
  for (std::size_t i = 0; i < happening_kinds.size(); ++i) {
    if (kind != happening_kinds[i]) continue;
    next.what.kind = static_cast<federated::Happening::Kind>(i);
    return next;
  }
  field.field("kind").fail(R"(expected "report", "verdict", "timer", "joins" or "leaves", got ")" + kind +
                           "\"");
}

/// The gains of those agents that `has` one, with what `add` says besides.
template <MatrixBackend Backend, class Has, class GainOfAgent, class Add>
Json gains_to_json(std::size_t agents, const Has& has, const GainOfAgent& gain, const Add& add) {
  Json list = Json::array();
  for (std::size_t i = 0; i < agents; ++i) {
    if (!has(i)) continue;
    Json entry{{"agent", i}, {"gain", to_json<Backend>(gain(i), "gain")}};
    add(i, entry);
    list.push_back(std::move(entry));
  }
  return list;
}

}  // namespace detail

/// The state of a simulation as an object that `read_simulation_state` reads, with numbers as those of
/// `Backend::to_double`: a run in double that is resumed from it is bitwise the run that was not interrupted.
/// Memories of agents are written as `MemoryFormat` says.
/// @throws NotFinite for a NaN or infinity in one of its matrices.
template <MatrixBackend Backend, class Memory>
Json to_json(const federated::SimulationState<Backend, Memory>& state) {
  Json json{{"format", simulation_state_format},
            {"format_version", simulation_state_format_version},
            {"time", number_to_json(state.time)},
            {"events", state.events},
            {"updates", state.updates},
            {"timers", state.timers},
            {"stopped", state.stopped},
            {"server", to_json(state.server)},
            {"seats", Json::array()},
            {"waiting", Json::array()}};
  for (const auto& seat : state.seats) json["seats"].push_back(detail::seat_to_json(seat));
  for (const auto& next : state.waiting) json["waiting"].push_back(detail::waiting_to_json(next));
  json["orders"] = detail::gains_to_json<Backend>(
      state.seats.size(), [&](std::size_t i) { return state.seats[i].working; },
      [&](std::size_t i) -> const auto& { return state.orders[i].gain; },
      [&](std::size_t i, Json& entry) { entry["version"] = state.orders[i].version; });
  json["candidates"] = detail::gains_to_json<Backend>(
      state.seats.size(), [&](std::size_t i) { return state.seats[i].question > 0; },
      [&](std::size_t i) -> const auto& { return state.candidates[i]; }, [](std::size_t, Json&) {});
  if constexpr (!std::is_same_v<Memory, federated::NoMemory>) {
    Json& memories = json["memories"] = Json::array();
    for (const Memory& memory : state.memories) memories.push_back(MemoryFormat<Memory>::to_json(memory));
  }
  return json;
}

/// The state of a simulation in a document, or in one of its fields, of agents with this memory
/// (`federated::MemoryOf`).
/// @throws ParseError naming the source, the field, its value and what was expected, also for fields that
/// contradict each other; DimensionMismatch for a matrix of another shape than the server's gain.
template <MatrixBackend Backend, class Memory = federated::NoMemory>
federated::SimulationState<Backend, Memory> read_simulation_state(const JsonDocument& document,
                                                                  const std::string& field = "") {
  using Gain = typename Backend::Gain;
  const JsonField whole(document);
  const JsonField root = field.empty() ? whole : whole.field(field);
  detail::require_format(root, simulation_state_format, simulation_state_format_version);
  federated::SimulationState<Backend, Memory> state;
  state.time = root.field("time").number();
  state.events = root.field("events").unsigned_integer();
  state.updates = root.field("updates").integer();
  state.timers = root.field("timers").integer();
  state.stopped = root.field("stopped").flag();
  state.server = detail::ServerStateReader<Backend>(root.field("server")).read();
  state.seats = detail::read_entries(root.field("seats"), detail::read_seat);
  state.waiting = detail::read_entries(root.field("waiting"), detail::read_waiting);
  const std::size_t agents = state.seats.size();
  const Gain zeros = Backend::zero_like(state.server.gain);
  // Reads the gains in a list, one for each agent that `has` one and no other.
  const auto read_gains = [&](const char* name, const auto& has, const auto& set) {
    const JsonField list = root.field(name);
    std::vector<char> found(agents, 0);
    for (std::size_t i = 0; i < list.size(); ++i) {
      const JsonField entry = list.entry(i);
      const auto agent =
          static_cast<std::size_t>(entry.field("agent").integer(0, static_cast<Index>(agents) - 1));
      if (!has(state.seats[agent]) || found[agent] != 0) {
        entry.field("agent").fail("expected one that is at work, or asked, and occurs once, got " +
                                  std::to_string(agent));
      }
      found[agent] = 1;
      set(agent, entry, detail::read_like<Backend>(entry.field("gain"), zeros));
    }
    for (std::size_t agent = 0; agent < agents; ++agent) {
      if (has(state.seats[agent]) && found[agent] == 0)
        list.fail("expected an entry for agent " + std::to_string(agent) + ", got none");
    }
    return list.size() > 0;
  };
  state.orders.assign(agents, {.gain = zeros});
  read_gains(
      "orders", [](const federated::Seat& seat) { return seat.working; },
      [&](std::size_t agent, const JsonField& entry, Gain&& gain) {
        state.orders[agent] = {.gain = std::move(gain), .version = entry.field("version").integer()};
      });
  state.candidates.assign(agents, zeros);
  const bool is_asked = read_gains(
      "candidates", [](const federated::Seat& seat) { return seat.question > 0; },
      [&](std::size_t agent, const JsonField&, Gain&& gain) { state.candidates[agent] = std::move(gain); });
  if (!is_asked) state.candidates.clear();
  if constexpr (!std::is_same_v<Memory, federated::NoMemory>) {
    state.memories = detail::read_entries(root.field("memories"), [&](const JsonField& entry) {
      return MemoryFormat<Memory>::template read<Backend>(entry, zeros);
    });
  }
  const auto refuse = [&](const Error& error) { root.fail(error.what()); };
  try {
    validate(state, static_cast<Index>(agents));
  } catch (const InvalidOption& error) {
    refuse(error);
  } catch (const NotFinite& error) {
    refuse(error);
  }
  return state;
}

}  // namespace metalqr::inline METALQR_ABI::io
