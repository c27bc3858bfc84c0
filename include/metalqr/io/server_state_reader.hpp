#pragma once

/// @file
/// What reads the state of a federated server from JSON. Needs nlohmann-json (CMake component metalqr::json).

#include <array>
#include <cstddef>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <metalqr/core/error.hpp>
#include <metalqr/federated/server_state.hpp>
#include <metalqr/io/json.hpp>
#include <metalqr/io/json_field.hpp>
#include <metalqr/io/server_state_check.hpp>

namespace metalqr::inline METALQR_ABI::io {

/// What the field `format` of a server's state says.
inline constexpr const char* server_state_format = "metalqr server state";
/// What its field `format_version` says: the version of the format, not of a gain.
inline constexpr Index server_state_format_version = 1;

namespace detail {

/// A field of a struct and its name in a document, which is the same for writing and for reading.
template <class Struct, class Value>
struct Named {
  const char* name;
  Value Struct::*member;
};

inline constexpr std::array<Named<federated::ServerStatistics, Index>, 15> statistics_counts{
    {{"reports", &federated::ServerStatistics::reports},
     {"used", &federated::ServerStatistics::used},
     {"refused", &federated::ServerStatistics::refused},
     {"repeated", &federated::ServerStatistics::repeated},
     {"too_old", &federated::ServerStatistics::too_old},
     {"abandoned", &federated::ServerStatistics::abandoned},
     {"updates", &federated::ServerStatistics::updates},
     {"questions", &federated::ServerStatistics::questions},
     {"halvings", &federated::ServerStatistics::halvings},
     {"rejections", &federated::ServerStatistics::rejections},
     {"rollbacks", &federated::ServerStatistics::rollbacks},
     {"refreshes", &federated::ServerStatistics::refreshes},
     {"retries", &federated::ServerStatistics::retries},
     {"expelled", &federated::ServerStatistics::expelled},
     {"unawaited", &federated::ServerStatistics::unawaited}}};

template <class Backend, class Record = federated::AgentRecord<Backend>>
inline constexpr std::array<Named<Record, bool>, 5> agent_flags{{{"known", &Record::known},
                                                                 {"present", &Record::present},
                                                                 {"working", &Record::working},
                                                                 {"waiting", &Record::waiting},
                                                                 {"overdue", &Record::overdue}}};
template <class Backend, class Record = federated::AgentRecord<Backend>>
inline constexpr std::array<Named<Record, Index>, 7> agent_counts{
    {{"version", &Record::version},
     {"accepted", &Record::accepted},
     {"reported", &Record::reported},
     {"asked", &Record::asked},
     {"sends", &Record::sends},
     {"reports", &Record::reports},
     {"participations", &Record::participations}}};

/// Reads a server's state from an object.
template <MatrixBackend Backend>
class ServerStateReader {
 public:
  using Gain = typename Backend::Gain;
  using Scalar = typename Backend::Scalar;
  using State = federated::ServerState<Backend>;

  explicit ServerStateReader(JsonField root) : root_(std::move(root)) {}

  State read() {
    require_format(root_, server_state_format, server_state_format_version);
    State state;
    state.gain = first_gain(root_.field("gain"));
    state.version = root_.field("version").integer();
    state.origin = root_.field("origin").integer(0, state.version);
    state.returned = root_.field("returned").integer(0, state.version);
    nu_ = Backend::rows(state.gain);
    nx_ = Backend::cols(state.gain);
    state.agents = list(root_.field("agents"), agent);
    const Index last = static_cast<Index>(state.agents.size()) - 1;
    const auto number = [last](const JsonField& field) { return field.integer(0, last); };
    state.known = root_.field("known").integer();
    state.present = root_.field("present").integer();
    state.working = root_.field("working").integer();
    state.idle = list(root_.field("idle"), number);
    state.sent = list(root_.field("sent"), [&](const JsonField& bucket) { return list(bucket, number); });
    state.reports =
        list(root_.field("reports"), [&](const JsonField& field) { return report(field, number); });
    state.optimizer = optimizer(root_.field("optimizer"));
    state.question = question(root_.field("question"));
    state.start = milestone(root_.field("start"));
    state.safe = milestone(root_.field("safe"));
    state.confirmed = milestone(root_.field("confirmed"));
    state.window_armed = root_.field("window_armed").flag();
    state.retry_armed = root_.field("retry_armed").flag();
    state.statistics = statistics(root_.field("statistics"));
    require_consistent(state, root_);
    return state;
  }

 private:
  template <class Read>
  static auto list(const JsonField& field, const Read& read) {
    std::vector<decltype(read(field))> entries;
    const std::size_t size = field.size();
    entries.reserve(size);
    for (std::size_t i = 0; i < size; ++i) entries.push_back(read(field.entry(i)));
    return entries;
  }

  /// The matrix in a field, of the shape that it should have; a negative size is any.
  static Gain matrix(const JsonField& field, Index nu, Index nx) {
    const auto rows = field.matrix();
    const Index height = static_cast<Index>(rows.size());
    const Index width = static_cast<Index>(rows.front().size());
    if ((nu >= 0 && nu != height) || (nx >= 0 && nx != width)) {
      const auto wanted = [](Index size) { return size < 0 ? std::string("any") : std::to_string(size); };
      throw DimensionMismatch(field.source() + ": field " + field.place() + ": expected shape " + wanted(nu) +
                              "x" + wanted(nx) + ", got " + metalqr::detail::shape(height, width));
    }
    return filled<Backend>(Backend::zero_gain(height, width), rows);
  }
  static Gain first_gain(const JsonField& field) {
    return matrix(field, fixed_size<Backend>(false), fixed_size<Backend>(true));
  }
  Gain gain(const JsonField& field) const { return matrix(field, nu_, nx_); }
  static Scalar number(const JsonField& field) { return static_cast<Scalar>(field.number()); }

  federated::Milestone<Backend> milestone(const JsonField& field) const {
    return {.gain = gain(field.field("gain")), .version = field.field("version").integer()};
  }

  static federated::AgentRecord<Backend> agent(const JsonField& field) {
    federated::AgentRecord<Backend> record;
    for (const auto& flag : agent_flags<Backend>) record.*flag.member = field.field(flag.name).flag();
    for (const auto& count : agent_counts<Backend>) {
      // What an agent has not accepted, reported or been asked yet is -1.
      const bool may_be_none = count.member == &federated::AgentRecord<Backend>::accepted ||
                               count.member == &federated::AgentRecord<Backend>::reported ||
                               count.member == &federated::AgentRecord<Backend>::asked;
      record.*count.member = field.field(count.name).integer(may_be_none ? -1 : 0);
    }
    record.limit = number(field.field("limit"));
    return record;
  }

  template <class Number>
  federated::Report<Backend> report(const JsonField& field, const Number& agent_number) const {
    return {.agent = agent_number(field.field("agent")),
            .version = field.field("version").integer(),
            .estimate = gain(field.field("estimate")),
            .cost = number(field.field("cost")),
            .weight = field.field("weight").number()};
  }

  /// Before the first step there need be no matrices.
  federated::OptimizerState<Backend> optimizer(const JsonField& field) const {
    federated::OptimizerState<Backend> state;
    state.steps = static_cast<int>(field.field("steps").integer(0, std::numeric_limits<int>::max()));
    const auto read = [&](const char* name, Gain& X) {
      const JsonField own = field.field(name);
      if (state.steps > 0 || !own.is_empty()) X = gain(own);
    };
    read("first", state.first);
    read("second", state.second);
    return state;
  }

  federated::Question<Backend> question(const JsonField& field) const {
    federated::Question<Backend> question;
    question.gain = question.step.step = Backend::zero_gain(nu_, nx_);
    question.open = field.field("open").flag();
    question.id = field.field("id").integer();
    if (!question.open) return question;
    question.waiting = field.field("waiting").integer();
    question.gain = gain(field.field("gain"));
    question.version = field.field("version").integer(-1);
    if (question.version >= 0) return question;
    question.step.step = gain(field.field("step"));
    question.step.reports = field.field("reports").integer(1);
    question.step.size = field.field("step_size").number();
    question.halvings = static_cast<int>(field.field("halvings").integer(0, std::numeric_limits<int>::max()));
    return question;
  }

  static federated::ServerStatistics statistics(const JsonField& field) {
    federated::ServerStatistics result;
    for (const auto& count : statistics_counts) result.*count.member = field.field(count.name).integer();
    result.staleness = list(field.field("staleness"), [](const JsonField& entry) { return entry.integer(); });
    return result;
  }

  JsonField root_;
  Index nu_ = 0;
  Index nx_ = 0;
};

}  // namespace detail
}  // namespace metalqr::inline METALQR_ABI::io
