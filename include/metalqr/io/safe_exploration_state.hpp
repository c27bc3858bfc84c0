#pragma once

/// @file
/// The state of a safe exploration as JSON. Needs nlohmann-json (CMake component metalqr::json).

#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <metalqr/adaptive/safe_exploration.hpp>
#include <metalqr/io/adaptive_state.hpp>
#include <metalqr/io/json.hpp>
#include <metalqr/io/json_document.hpp>
#include <metalqr/io/json_field.hpp>
#include <metalqr/io/matrix_field.hpp>

namespace metalqr::inline METALQR_ABI::io {

/// What the field `format` of a safe exploration says.
inline constexpr const char* safe_exploration_format = "metalqr safe exploration";
/// What its field `format_version` says.
inline constexpr Index safe_exploration_format_version = 1;

namespace detail {

inline Json numbers_to_json(const std::vector<double>& numbers) {
  Json list = Json::array();
  for (const double number : numbers) list.push_back(number_to_json(number));
  return list;
}

inline std::vector<double> read_numbers(const JsonField& field) {
  return read_entries(field, [](const JsonField& entry) { return entry.number(); });
}

inline Json limits_to_json(const std::vector<synthesis::SafetyLimit>& limits) {
  Json list = Json::array();
  for (const auto& [weights, limit] : limits)
    list.push_back({{"weights", numbers_to_json(weights)}, {"limit", number_to_json(limit)}});
  return list;
}

inline std::vector<synthesis::SafetyLimit> read_limits(const JsonField& field) {
  return read_entries(field, [](const JsonField& entry) {
    return synthesis::SafetyLimit{.weights = read_numbers(entry.field("weights")),
                                  .limit = entry.field("limit").number()};
  });
}

template <MatrixBackend Backend>
Json problem_to_json(const synthesis::SafeProblem<Backend>& problem) {
  const auto& [estimate, epsilon_A, epsilon_B, noise, exploration, state_limits, input_limits, x0] = problem;
  Json json{{"nx", estimate.nx()},
            {"nu", estimate.nu()},
            {"estimate", to_json<Backend>(estimate)},
            {"epsilon_A", number_to_json(epsilon_A)},
            {"epsilon_B", number_to_json(epsilon_B)},
            {"noise", number_to_json(noise)},
            {"exploration", number_to_json(exploration)},
            {"state_limits", limits_to_json(state_limits)},
            {"input_limits", limits_to_json(input_limits)}};
  if (x0) json["x0"] = to_json<Backend>(*x0, "x0");
  return json;
}

template <MatrixBackend Backend>
synthesis::SafeProblem<Backend> read_problem(const JsonField& field) {
  const Index nx = read_size<Backend>(field.field("nx"), true);
  const Index nu = read_size<Backend>(field.field("nu"), false);
  const JsonField task = field.field("estimate");
  synthesis::SafeProblem<Backend> problem{
      .estimate = {read_like<Backend>(task.field("A"), Backend::zero_state_matrix(nx)),
                   read_like<Backend>(task.field("B"), Backend::zero_input_matrix(nx, nu)),
                   read_like<Backend>(task.field("Q"), Backend::zero_state_matrix(nx)),
                   read_like<Backend>(task.field("R"), Backend::zero_control_matrix(nu)),
                   read_like<Backend>(task.field("Sigma0"), Backend::zero_state_matrix(nx))},
      .epsilon_A = field.field("epsilon_A").number(),
      .epsilon_B = field.field("epsilon_B").number(),
      .noise = field.field("noise").number(),
      .exploration = field.field("exploration").number(),
      .state_limits = read_limits(field.field("state_limits")),
      .input_limits = read_limits(field.field("input_limits"))};
  if (field.has("x0")) problem.x0 = read_like<Backend>(field.field("x0"), Backend::zero_state(nx));
  return problem;
}

/// Without the controller, which is in the loop and has gone on.
template <MatrixBackend Backend>
Json design_to_json(const synthesis::SafeDesign<Backend>& design) {
  return {{"tau_min", number_to_json(design.tau_min)},
          {"tau", number_to_json(design.tau)},
          {"level", number_to_json(design.certificate.level)},
          {"state_margins", numbers_to_json(design.certificate.state_margins)},
          {"input_margins", numbers_to_json(design.certificate.input_margins)},
          {"nominal_cost", number_to_json(design.nominal_cost)},
          {"solves", design.solves}};
}

}  // namespace detail

/// An exploration that has a controller as an object that `read_safe_exploration` reads, but for the records
/// of its epochs: what goes on from it is bitwise what was not interrupted.
/// @throws InvalidOption if it has no controller; NotFinite for a NaN or infinity in one of its matrices,
/// which it never has.
template <MatrixBackend Backend>
Json to_json(const adaptive::SafeExploration<Backend>& exploration) {
  if (exploration.controller.length() == 0)
    throw InvalidOption("exploration: expected one with a controller, got one without");
  return {{"format", safe_exploration_format},
          {"format_version", safe_exploration_format_version},
          {"problem", detail::problem_to_json(exploration.problem)},
          {"design", detail::design_to_json(exploration.design)},
          {"controller", detail::controller_to_json<Backend>(exploration.controller)},
          {"epochs_run", exploration.epochs_run}};
}

/// The exploration in a document that `to_json` wrote, or in one of its fields; it has no records of epochs.
/// @throws ParseError naming the source and the field; DimensionMismatch, NotFinite, NotPositiveDefinite,
/// InvalidOption for parts that do not fit together.
template <MatrixBackend Backend>
adaptive::SafeExploration<Backend> read_safe_exploration(const JsonDocument& document,
                                                         const std::string& field = "") {
  const JsonField whole(document);
  const JsonField root = field.empty() ? whole : whole.field(field);
  detail::require_format(root, safe_exploration_format, safe_exploration_format_version);
  const synthesis::SafeProblem<Backend> problem = detail::read_problem<Backend>(root.field("problem"));
  synthesis::validate(problem);
  static_cast<void>(root.field("problem").field("x0"));
  const JsonField responses = root.field("controller");
  synthesis::FirController<Backend> controller =
      detail::read_fir_controller<Backend>(responses, problem.estimate.nx(), problem.estimate.nu());
  const JsonField own = root.field("design");
  synthesis::SafeDesign<Backend> design{
      .status = synthesis::SynthesisStatus::solved,
      .controller = {controller.state_response(), controller.input_response()},
      .tau_min = own.field("tau_min").number(),
      .tau = own.field("tau").number(),
      .certificate = {.level = own.field("level").number(),
                      .state_margins = detail::read_numbers(own.field("state_margins")),
                      .input_margins = detail::read_numbers(own.field("input_margins"))},
      .nominal_cost = own.field("nominal_cost").number(),
      .solves = static_cast<int>(own.field("solves").integer(0, std::numeric_limits<int>::max()))};
  return {adaptive::SafeExplorationStatus::finished, {}, problem, std::move(design), std::move(controller),
          root.field("epochs_run").integer()};
}

}  // namespace metalqr::inline METALQR_ABI::io
