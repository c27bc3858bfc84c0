/// A server of any configuration hears any events: its state keeps its invariants, what cannot be meant
/// changes nothing but counts, it speaks to agents that are present, and a server that continues from a copy
/// of its state, or from the state as JSON, says the same.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <type_traits>
#include <variant>
#include <vector>

#include <metalqr/core/error.hpp>
#include <metalqr/federated/server.hpp>
#include <metalqr/io/server_state.hpp>

#include "fuzz.hpp"
#include "policies.hpp"
#include "states.hpp"

namespace {

using fuzz::Backend;
using fuzz::Bytes;
using fuzz::Command;
using fuzz::Event;
using fuzz::fail;
using fuzz::Index;
using fuzz::require;
using fuzz::same;
using fuzz::same_matrix;
using fuzz::State;
namespace fed = metalqr::federated;
using Server = fed::Server<Backend, fuzz::AnyRule, fuzz::AnyCombiner, fuzz::AnyOptimizer>;

constexpr std::size_t longest = 1024;

/// A value is mostly given by its last sense, else any.
Index number(Bytes& bytes, Index sensible) {
  constexpr Index odd[] = {-1, 6, std::numeric_limits<Index>::max(), std::numeric_limits<Index>::min()};
  const unsigned kind = bytes.byte();
  if (kind < std::size(odd)) return odd[kind];
  if (kind < 32) return static_cast<Index>(kind) % 6;
  return sensible;
}

Backend::Gain matrix(Bytes& bytes, Index rows, Index cols) {
  Backend::Gain X = Backend::zero_gain(rows, cols);
  for (Index i = 0; i < rows; ++i) {
    for (Index j = 0; j < cols; ++j) X(i, j) = bytes.number();
  }
  return X;
}

Backend::Gain finite_matrix(Bytes& bytes, Index rows, Index cols) {
  const Backend::Gain X = matrix(bytes, rows, cols);
  return Backend::is_finite(X) ? X : Backend::zero_gain(rows, cols);
}

/// Configuration, server, and what an engine would know.
class Run {
 public:
  Run(Bytes& bytes, bool may_write)
      : bytes_(bytes),
        may_write_(may_write),
        nu_(1 + bytes.below(2)),
        nx_(1 + bytes.below(2)),
        rule_(fuzz::read_rule(bytes)),
        options_(fuzz::read_options(bytes)),
        combiner_(fuzz::read_combiner(bytes)),
        optimizer_(fuzz::read_optimizer(bytes)),
        server_(finite_matrix(bytes, nu_, nx_), rule_, options_, combiner_, optimizer_),
        gain_(server_.gain()) {}

  void run() {
    int writings = may_write_ ? 2 : 0;
    while (!bytes_.empty()) {
      const int kind = bytes_.below(32);
      if (kind == 0) {
        interrupt();
      } else if (kind == 1) {
        follow_copy();
      } else if (kind == 2 && writings > 0) {
        --writings;
        follow_written();
      } else {
        hear(event());
      }
    }
    if (may_write_) follow_written();
  }

 private:
  const State& state() const { return server_.state(); }

  const fed::AgentRecord<Backend>* find(Index agent) const {
    if (agent < 0 || static_cast<std::size_t>(agent) >= state().agents.size()) return nullptr;
    const auto& record = state().agents[static_cast<std::size_t>(agent)];
    return record.known ? &record : nullptr;
  }

  Event event() {
    const Index agent = number(bytes_, bytes_.below(6));
    switch (bytes_.below(8)) {
      case 0:
        return fed::Left{.agent = agent};
      case 1:
        return fed::Timer{.id = number(bytes_, bytes_.below(2))};
      case 2:
      case 3:
        return fed::Joined<Backend>{.agent = agent, .limit = bytes_.number()};
      case 4:
        return fed::Verdict<Backend>{
            .agent = agent, .candidate = number(bytes_, state().question.id), .cost = bytes_.number()};
      default: {
        const auto* record = find(agent);
        const Index version = number(bytes_, record != nullptr ? record->version : state().version);
        const bool fits = bytes_.byte() < 240;
        const Index nu = fits ? nu_ : bytes_.below(4);
        const Index nx = fits ? nx_ : bytes_.below(4);
        return fed::Report<Backend>{.agent = agent,
                                    .version = version,
                                    .estimate = matrix(bytes_, nu, nx),
                                    .cost = bytes_.number(),
                                    .weight = bytes_.flag() ? 1 : bytes_.number()};
      }
    }
  }

  /// Whether an event cannot be meant, so that it must not change anything but counts.
  bool is_malformed(const fed::Report<Backend>& report) const {
    return find(report.agent) == nullptr || report.version < 0 || report.version > state().version;
  }
  bool is_malformed(const fed::Verdict<Backend>& verdict) const {
    return find(verdict.agent) == nullptr || !state().question.open ||
           verdict.candidate != state().question.id || find(verdict.agent)->asked != verdict.candidate;
  }
  bool is_malformed(const fed::Timer& timer) const { return timer.id != 0 && timer.id != 1; }
  bool is_malformed(const fed::Joined<Backend>& joined) const {
    return joined.agent < 0 || joined.agent >= options_.max_agents || joined.limit != joined.limit;
  }
  bool is_malformed(const fed::Left& left) const {
    return find(left.agent) == nullptr || !find(left.agent)->present;
  }

  /// What the server says, and whether it refused to listen.
  static bool say(Server& server, const Event& event, std::vector<Command>& commands) {
    try {
      server.on(event, commands);
      return true;
    } catch (const metalqr::InvalidOption&) {
      return false;
    }
  }

  void hear(const Event& event) {
    const bool malformed = std::visit([this](const auto& message) { return is_malformed(message); }, event);
    const State before = state();
    commands_.clear();
    const bool heard = say(server_, event, commands_);
    const auto* joined = std::get_if<fed::Joined<Backend>>(&event);
    require(heard || (malformed && joined != nullptr), "only a bad newcomer is an error");
    require(heard || same(state(), before), "an error changes nothing");
    if (malformed) {
      require(fuzz::same_but_counts(state(), before), "what cannot be meant changes counts at most");
      require(commands_.empty(), "what cannot be meant has no answer");
    }
    reports_ += std::holds_alternative<fed::Report<Backend>>(event) ? 1 : 0;
    require(state().statistics.reports == reports_, "all reports are counted");
    require(fuzz::has_grown(state().statistics, before.statistics), "counts do not fall");
    require(state().version >= before.version, "versions do not fall");

    if (heard && joined != nullptr) set_present(joined->agent, true);
    if (const auto* left = std::get_if<fed::Left>(&event)) set_present(left->agent, false);
    for (const Command& command : commands_) {
      std::visit([this](const auto& said) { follow(said); }, command);
    }
    audit();

    if (twin_ == nullptr) return;
    twin_commands_.clear();
    require(say(*twin_, event, twin_commands_) == heard, "who continues from a state refuses the same");
    require(same(twin_commands_, commands_), "who continues from a state says the same");
    require(same(twin_->state().gain, state().gain), "who continues from a state has the same gain");
  }
  static bool same(const Backend::Gain& X, const Backend::Gain& Y) { return same_matrix(X, Y); }
  template <class T>
  static bool same(const T& x, const T& y) {
    return fuzz::same(x, y);
  }

  // What an engine sees of the commands.

  void set_present(Index agent, bool present) {
    const std::size_t i = static_cast<std::size_t>(agent);
    if (agent >= 0 && i < std::size(present_)) present_[i] = present;
  }
  void require_present(Index agent) const {
    require(agent >= 0 && agent < options_.max_agents && present_[agent], "it speaks to who is present");
  }
  void follow(const fed::Send<Backend>& send) const {
    require_present(send.agent);
    require(send.version == version_ && same_matrix(send.gain, gain_), "what is sent is the current gain");
  }
  void follow(const fed::Ask<Backend>& ask) {
    require_present(ask.agent);
    require(ask.candidate >= asked_ && ask.candidate <= state().question.id, "questions are numbered");
    require(Backend::is_finite(ask.gain) && ask.gain.rows() == nu_ && ask.gain.cols() == nx_,
            "what is asked about is a gain");
    asked_ = ask.candidate;
  }
  void follow(const fed::Commit<Backend>& commit) {
    require(commit.version == version_ + 1, "versions are numbered");
    require(Backend::is_finite(commit.gain), "what is committed is finite");
    version_ = commit.version;
    gain_ = commit.gain;
  }
  void follow(const fed::Reject& reject) const {
    require(reject.candidate >= 0 && reject.candidate <= state().question.id, "what is rejected was asked");
  }
  void follow(const fed::Expel& expel) { set_present(expel.agent, false); }
  void follow(const fed::Wake& wake) const {
    require(wake.id == 0 ? wake.delay == rule_.window() : wake.id == 1 && wake.delay == options_.retry_after,
            "timers are those of the window and of retries");
    require(wake.delay > 0, "timers take time");
  }

  void audit() const {
    fuzz::require_invariants(state());
    require(state().version == version_ && same_matrix(state().gain, gain_), "what is current was committed");
    for (std::size_t i = 0; i < std::size(present_); ++i) {
      const auto* record = find(static_cast<Index>(i));
      require(present_[i] == (record != nullptr && record->present),
              "who is present has joined and not left");
    }
    require(state().present == 0 || !(rule_.window() > 0) || state().window_armed, "the window's timer runs");
    require(state().present == 0 || !(options_.retry_after > 0) || state().retry_armed, "retries are timed");
    const bool waits_for_somebody = state().working > 0 || state().question.open || state().window_armed;
    require(state().present == 0 || waits_for_somebody ||
                static_cast<Index>(state().reports.size()) < combiner_.fewest(),
            "something is still to happen");
  }

  void interrupt() {
    server_.interrupt();
    if (twin_ != nullptr) twin_->interrupt();
    std::fill(std::begin(present_), std::end(present_), false);
    require(state().present == 0 && state().working == 0, "nobody is there after an interruption");
    audit();
  }

  void follow_copy() {
    twin_ = std::make_unique<Server>(state(), rule_, options_, combiner_, optimizer_);
    require(same(twin_->state(), state()), "a copy is the same");
  }

  void follow_written() {
    const std::string text = metalqr::io::to_json(state()).dump();
    if (twin_ != nullptr)
      require(metalqr::io::to_json(twin_->state()).dump() == text, "who continued has the same state");
    try {
      State read = metalqr::io::read_server_state<Backend>(metalqr::io::JsonDocument(text));
      require(metalqr::io::to_json(read).dump() == text, "a state comes back from JSON");
      twin_ = std::make_unique<Server>(std::move(read), rule_, options_, combiner_, optimizer_);
    } catch (const metalqr::Error& error) {
      fail(std::string("a state is read again: ") + error.what());
    }
  }

  Bytes& bytes_;
  bool may_write_;
  Index nu_;
  Index nx_;
  fuzz::AnyRule rule_;
  fed::ServerOptions options_;
  fuzz::AnyCombiner combiner_;
  fuzz::AnyOptimizer optimizer_;
  Server server_;
  std::unique_ptr<Server> twin_{};
  std::vector<Command> commands_{};
  std::vector<Command> twin_commands_{};
  bool present_[6] = {};
  Backend::Gain gain_;
  Index version_ = 0;
  Index asked_ = 0;
  Index reports_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > longest) return -1;
  Bytes bytes(data, size);
  // Writing takes a hundred times as long as hearing an event: an eighth of the inputs, whatever they cover.
  std::uint32_t hash = 2166136261U;
  for (std::size_t i = 0; i < size; ++i) hash = (hash ^ data[i]) * 16777619U;
  Run(bytes, hash % 8 == 0).run();
  return 0;
}
