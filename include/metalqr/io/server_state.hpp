#pragma once

/// @file
/// The state of a federated server as JSON. Needs nlohmann-json (CMake component metalqr::json).

#include <string>

#include <metalqr/federated/server_state.hpp>
#include <metalqr/io/json.hpp>
#include <metalqr/io/json_document.hpp>
#include <metalqr/io/json_field.hpp>
#include <metalqr/io/server_state_reader.hpp>

namespace metalqr::inline METALQR_ABI::io {

namespace detail {

template <class Backend>
Json milestone_to_json(const federated::Milestone<Backend>& milestone) {
  return {{"gain", to_json<Backend>(milestone.gain, "gain")}, {"version", milestone.version}};
}

template <MatrixBackend Backend>
Json agent_to_json(const federated::AgentRecord<Backend>& record) {
  Json json = Json::object();
  for (const auto& flag : agent_flags<Backend>) json[flag.name] = record.*flag.member;
  for (const auto& count : agent_counts<Backend>) json[count.name] = record.*count.member;
  json["limit"] = number_to_json(Backend::to_double(record.limit));
  return json;
}

template <MatrixBackend Backend>
Json report_to_json(const federated::Report<Backend>& report) {
  return {{"agent", report.agent},
          {"version", report.version},
          {"estimate", to_json<Backend>(report.estimate, "estimate")},
          {"cost", number_to_json(Backend::to_double(report.cost))},
          {"weight", number_to_json(report.weight)}};
}

/// What is not in use, which may be anything, is left out.
template <MatrixBackend Backend>
Json question_to_json(const federated::Question<Backend>& question) {
  Json json{{"open", question.open}, {"id", question.id}};
  if (!question.open) return json;
  json["waiting"] = question.waiting;
  json["gain"] = to_json<Backend>(question.gain, "question.gain");
  json["version"] = question.version;
  if (question.version >= 0) return json;
  json["step"] = to_json<Backend>(question.step.step, "question.step");
  json["reports"] = question.step.reports;
  json["step_size"] = number_to_json(question.step.size);
  json["halvings"] = question.halvings;
  return json;
}

}  // namespace detail

/// The state of a server as an object that `read_server_state` reads, with numbers as those of
/// `Backend::to_double`: a state in double comes back bit by bit.
/// @throws NotFinite for a NaN or infinity in one of its matrices, which a server never has.
template <MatrixBackend Backend>
Json to_json(const federated::ServerState<Backend>& state) {
  Json json{{"format", server_state_format},
            {"format_version", server_state_format_version},
            {"version", state.version},
            {"origin", state.origin},
            {"returned", state.returned},
            {"gain", to_json<Backend>(state.gain, "gain")},
            {"known", state.known},
            {"present", state.present},
            {"working", state.working},
            {"window_armed", state.window_armed},
            {"retry_armed", state.retry_armed},
            {"idle", state.idle},
            {"sent", state.sent},
            {"start", detail::milestone_to_json(state.start)},
            {"safe", detail::milestone_to_json(state.safe)},
            {"confirmed", detail::milestone_to_json(state.confirmed)},
            {"question", detail::question_to_json(state.question)},
            {"optimizer",
             {{"steps", state.optimizer.steps},
              {"first", to_json<Backend>(state.optimizer.first, "optimizer.first")},
              {"second", to_json<Backend>(state.optimizer.second, "optimizer.second")}}}};
  Json& reports = json["reports"] = Json::array();
  for (const auto& report : state.reports) reports.push_back(detail::report_to_json(report));
  Json& statistics = json["statistics"] = Json::object();
  for (const auto& count : detail::statistics_counts) statistics[count.name] = state.statistics.*count.member;
  statistics["staleness"] = state.statistics.staleness;
  Json& agents = json["agents"] = Json::array();
  for (const auto& record : state.agents) agents.push_back(detail::agent_to_json(record));
  return json;
}

/// The state of a server in a document, or in one of its fields. A server that continues from it says what
/// the one that was written would have said, given the same rule, options, combiner and optimiser, which the
/// state does not hold. Fields that it does not know are left alone.
/// @throws ParseError naming the source, the field, its value and what was expected, also for fields that
/// contradict each other; DimensionMismatch for a matrix of another shape than the gain.
template <MatrixBackend Backend>
federated::ServerState<Backend> read_server_state(const JsonDocument& document,
                                                  const std::string& field = "") {
  const JsonField root(document);
  return detail::ServerStateReader<Backend>(field.empty() ? root : root.field(field)).read();
}

}  // namespace metalqr::inline METALQR_ABI::io
