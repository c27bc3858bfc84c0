#pragma once

// Runs that are interrupted after every event and resumed.

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <metalqr/federated/resumed_simulation.hpp>
#include <metalqr/federated/server.hpp>

#include "support.hpp"

namespace test {

/// A run of which everything can be made anew.
template <class MakeAgents, class MakeServer>
struct Resumable {
  MakeAgents make_agents;
  MakeServer make_server;
  std::vector<metalqr::federated::AgentProfile> profiles;
  metalqr::federated::VirtualTimeOptions options;
};
template <class MakeAgents, class MakeServer>
Resumable(MakeAgents, MakeServer, std::vector<metalqr::federated::AgentProfile>,
          metalqr::federated::VirtualTimeOptions) -> Resumable<MakeAgents, MakeServer>;

/// What was under way in the states from which a run was resumed.
struct UnderWay {
  int states = 0;
  int asked = 0;
  int timers = 0;
  int absent = 0;
  int idle = 0;
  int reports = 0;
  int different = 0;  ///< runs that did not end as the one that was not interrupted

  template <class State>
  void add(const State& state) {
    ++states;
    bool is_asked = false;
    bool is_absent = false;
    for (const auto& seat : state.seats) {
      is_asked = is_asked || seat.question > 0;
      is_absent = is_absent || !seat.present;
    }
    asked += is_asked ? 1 : 0;
    absent += is_absent ? 1 : 0;
    for (const auto& next : state.waiting) {
      timers += next.what.kind == metalqr::federated::Happening::Kind::timer ? 1 : 0;
    }
    idle += state.server.idle.empty() ? 0 : 1;
    reports += state.server.reports.empty() ? 0 : 1;
  }
};

template <class Gain>
bool same_entries(const Gain& x, const Gain& y) {
  return x.rows() == y.rows() && x.cols() == y.cols() && (x.array() == y.array()).all();
}

/// Whether a run is the end of another one, bitwise.
template <class Result>
bool is_end_of(const Result& end, const Result& whole) {
  if (end.events != whole.events || end.updates != whole.updates || end.time != whole.time ||
      end.stopped != whole.stopped || !same_entries(end.gain, whole.gain) ||
      end.history.size() > whole.history.size()) {
    return false;
  }
  const std::size_t before = whole.history.size() - end.history.size();
  for (std::size_t i = 0; i < end.history.size(); ++i) {
    const auto& x = end.history[i];
    const auto& y = whole.history[before + i];
    if (x.time != y.time || x.commit.version != y.commit.version || x.commit.step != y.commit.step ||
        x.commit.reports != y.commit.reports || !same_entries(x.commit.gain, y.commit.gain)) {
      return false;
    }
  }
  return true;
}

/// Runs it as a whole, and resumes it after every `stride`-th event from what `carry` makes of the state.
template <class Run, class Carry>
UnderWay interrupt(const Run& run, const Carry& carry, std::size_t stride = 1, int threads = 1) {
  namespace fed = metalqr::federated;
  auto agents = run.make_agents();
  auto server = run.make_server();
  using Numbers = typename decltype(agents)::Backend;
  std::vector<fed::SimulationState<Numbers, fed::MemoryOf<decltype(agents)>>> states;
  std::vector<std::size_t> commits;  // before each state
  std::size_t committed = 0;
  const auto whole = fed::simulate(
      server, agents, run.profiles, run.options, [&](const fed::RunInfo<Numbers>&) { ++committed; },
      [&](const auto& moment) {
        if (moment.events() % stride != 0) return;
        states.push_back(moment.state());
        commits.push_back(committed);
      });
  UnderWay seen;
  auto options = run.options;
  options.threads = threads;
  for (std::size_t i = 0; i < states.size(); ++i) {
    seen.add(states[i]);
    auto others = run.make_agents();
    auto other = run.make_server();
    const auto end = fed::resume_simulation(carry(states[i]), other, others, run.profiles, options);
    const bool is_same = is_end_of(end, whole) && end.history.size() + commits[i] == whole.history.size();
    seen.different += is_same ? 0 : 1;
  }
  return seen;
}

}  // namespace test
