#pragma once

/// @file
/// Whether the parts of a simulation's state fit together.

#include <cmath>
#include <cstddef>
#include <string>
#include <type_traits>
#include <vector>

#include <metalqr/core/check.hpp>
#include <metalqr/core/error.hpp>
#include <metalqr/federated/simulation_state.hpp>

namespace metalqr::inline METALQR_ABI::federated {

namespace detail {

/// Checks a state; what is wrong is said of its field.
template <class Backend, class Memory>
class SimulationStateCheck {
 public:
  SimulationStateCheck(const SimulationState<Backend, Memory>& state, Index agents)
      : state_(state), agents_(agents), begun_(static_cast<std::size_t>(agents)) {}

  void run() {
    check_counts();
    for (std::size_t i = 0; i < state_.seats.size(); ++i) check_seat(i);
    for (std::size_t i = 0; i < state_.waiting.size(); ++i) check_waiting(i);
    for (std::size_t i = 0; i < begun_.size(); ++i) check_begun(i);
    for (std::size_t i = begun_.size(); i < state_.server.agents.size(); ++i) {
      require(!state_.server.agents[i].present, entry("server.agents", i, "present"), 1,
              "0 of an agent that the run has not");
    }
  }

 private:
  /// What waits for an agent.
  struct Begun {
    Index reports = 0;
    Index verdicts = 0;
    Index moves = 0;  // comings and goings
  };

  static std::string entry(const char* list, std::size_t i, const char* name = nullptr) {
    return std::string(list) + "[" + std::to_string(i) + "]" + (name ? std::string(".") + name : "");
  }
  static void require(bool fits, const std::string& name, Index value, const std::string& expected) {
    if (fits) return;
    throw InvalidOption(name + ": expected " + expected + ", got " + std::to_string(value));
  }
  static void require_count(Index value, const std::string& name) {
    require(value >= 0, name, value, "a number >= 0");
  }
  void require_size(std::size_t size, const char* name, bool may_be_empty) const {
    require(size == begun_.size() || (may_be_empty && size == 0), name, static_cast<Index>(size),
            "one for each of " + std::to_string(agents_) + " agents");
  }
  /// Of the shape of the server's gain.
  void require_gain(const typename Backend::Gain& gain, const std::string& name) const {
    const auto& like = state_.server.gain;
    metalqr::detail::require_shape<Backend>(gain, Backend::rows(like), Backend::cols(like), name.c_str());
    metalqr::detail::require_finite<Backend>(gain, name.c_str());
  }

  void check_counts() const {
    metalqr::detail::require_option(std::isfinite(state_.time) && state_.time >= 0, "time", state_.time,
                                    "a finite time >= 0");
    require_count(state_.updates, "updates");
    require_count(state_.timers, "timers");
    require_size(state_.seats.size(), "seats", false);
    require_size(state_.orders.size(), "orders", false);
    require_size(state_.candidates.size(), "candidates", true);
    if constexpr (std::is_same_v<Memory, NoMemory>) {
      require(state_.memories.empty(), "memories", static_cast<Index>(state_.memories.size()),
              "none for agents without memory");
    } else {
      require_size(state_.memories.size(), "memories", false);
    }
  }

  void check_seat(std::size_t i) const {
    const Seat& seat = state_.seats[i];
    const auto name = [i](const char* field) { return entry("seats", i, field); };
    require_count(seat.first_round, name("first_round"));
    require_count(seat.works, name("works"));
    require_count(seat.question, name("question"));
    require_count(seat.answers, name("answers"));
    require_count(seat.messages, name("messages"));
    require_count(seat.absences, name("absences"));
    const bool is_known = i < state_.server.agents.size();
    const bool is_present = is_known && state_.server.agents[i].present;
    require(seat.present == is_present, name("present"), seat.present ? 1 : 0,
            is_present ? "1, as in the server's state" : "0, as in the server's state");
    if (seat.working) {
      require(seat.present, name("working"), 1, "0 of an agent that is not present");
      require(seat.works > 0, name("works"), seat.works, "at least 1 of an agent at work");
      require_gain(state_.orders[i].gain, entry("orders", i, "gain"));
      const Index version = state_.orders[i].version;
      require(version >= 0 && version <= state_.server.version, entry("orders", i, "version"), version,
              "a number from 0 to the server's version " + std::to_string(state_.server.version));
    }
    if (seat.question > 0) {
      require(seat.present, name("question"), seat.question, "0 of an agent that is not present");
      require(seat.question <= state_.server.question.id, name("question"), seat.question,
              "at most the server's last question " + std::to_string(state_.server.question.id));
      require(seat.answers > 0, name("answers"), seat.answers, "at least 1 of an agent that is asked");
      require(!state_.candidates.empty(), "candidates", 0, "one for each agent");
      require_gain(state_.candidates[i], entry("candidates", i));
    }
  }

  void check_waiting(std::size_t i) {
    const WaitingHappening& next = state_.waiting[i];
    const auto name = [i](const char* field) { return entry("waiting", i, field); };
    if (!std::isfinite(next.time)) {
      throw NotFinite(name("time") + ": expected a finite time, got " + metalqr::detail::text(next.time));
    }
    const double before = i > 0 ? state_.waiting[i - 1].time : state_.time;
    if (!(next.time >= before)) {
      throw InvalidOption(name("time") + ": expected at least " + metalqr::detail::text(before) +
                          ", the time before, got " + metalqr::detail::text(next.time));
    }
    if (next.what.kind == Happening::Kind::timer) {
      require_count(next.agent, name("agent"));
      require(next.what.number >= 0 && next.what.number < state_.timers, name("number"), next.what.number,
              "the number of one of " + std::to_string(state_.timers) + " timers");
      return;
    }
    require(next.agent >= 0 && next.agent < agents_, name("agent"), next.agent,
            "one of " + std::to_string(agents_) + " agents");
    const Seat& seat = state_.seats[static_cast<std::size_t>(next.agent)];
    Begun& begun = begun_[static_cast<std::size_t>(next.agent)];
    const auto require_number = [&](Index number) {
      require(next.what.number == number, name("number"), next.what.number, std::to_string(number));
    };
    switch (next.what.kind) {
      case Happening::Kind::report:
        ++begun.reports;
        return require_number(seat.first_round + seat.works - 1);
      case Happening::Kind::verdict:
        ++begun.verdicts;
        return require_number(seat.answers - 1);
      case Happening::Kind::joins:
        require(!seat.present, name("agent"), next.agent, "one that is away");
        [[fallthrough]];
      default:
        ++begun.moves;
        return require_number(0);
    }
  }

  void check_begun(std::size_t i) const {
    const Seat& seat = state_.seats[i];
    const Begun& begun = begun_[i];
    const auto require_one = [i](Index count, bool expected, const char* what) {
      require(count == (expected ? 1 : 0), "waiting", count,
              std::string(expected ? "1 " : "no ") + what + " of agent " + std::to_string(i));
    };
    require_one(begun.reports, seat.working, "report");
    require_one(begun.verdicts, seat.question > 0, "verdict");
    require(begun.moves <= 1, "waiting", begun.moves,
            "at most 1 coming or going of agent " + std::to_string(i));
  }

  const SimulationState<Backend, Memory>& state_;
  Index agents_;
  std::vector<Begun> begun_;
};

}  // namespace detail

/// Whether a simulation of so many agents can go on from the state, in which nothing contradicts itself. What
/// the server and the agents' memories hold is looked at where they are put back.
/// @throws InvalidOption, NotFinite, DimensionMismatch naming the first field that is wrong, as in
/// "waiting[3].time".
template <class Backend, class Memory>
void validate(const SimulationState<Backend, Memory>& state, Index agents) {
  detail::SimulationStateCheck<Backend, Memory>(state, agents).run();
}

}  // namespace metalqr::inline METALQR_ABI::federated
