#pragma once

/// @file
/// The state of a meta-training run as JSON. Needs nlohmann-json (CMake component metalqr::json).

#include <limits>
#include <string>
#include <vector>

#include <metalqr/core/backend.hpp>
#include <metalqr/io/json.hpp>
#include <metalqr/io/json_document.hpp>
#include <metalqr/io/json_field.hpp>
#include <metalqr/io/matrix_field.hpp>
#include <metalqr/meta/state.hpp>

namespace metalqr::inline METALQR_ABI::io {

/// What the field `format` of a meta-training run's state says.
inline constexpr const char* meta_state_format = "metalqr meta state";
/// What its field `format_version` says.
inline constexpr Index meta_state_format_version = 1;

namespace detail {

template <MatrixBackend Backend>
Json scalars_to_json(const std::vector<typename Backend::Scalar>& values) {
  Json list = Json::array();
  for (const auto& value : values) list.push_back(number_to_json(Backend::to_double(value)));
  return list;
}

template <MatrixBackend Backend>
typename Backend::Scalar read_scalar(const JsonField& field) {
  return static_cast<typename Backend::Scalar>(field.number());
}

inline int read_int(const JsonField& field) {
  return static_cast<int>(field.integer(0, std::numeric_limits<int>::max()));
}

/// What is not in use, which may be anything, is left out.
template <MatrixBackend Backend>
Json descent_to_json(const DescentState<Backend>& state) {
  // A field that is added is missed here, and so not forgotten.
  const auto& [K, iteration, at, last_step, refused, failures, skipped_pairs, previous_K, previous_direction,
               has_previous, pairs] = state;
  Json json{{"K", to_json<Backend>(K, "K")},
            {"iteration", iteration},
            {"value", number_to_json(Backend::to_double(at.value))},
            {"acceptable", at.acceptable},
            {"last_step", number_to_json(Backend::to_double(last_step))},
            {"refused", refused},
            {"failures", failures},
            {"skipped_pairs", skipped_pairs}};
  if (has_previous) {
    json["previous"] = {{"K", to_json<Backend>(previous_K, "previous_K")},
                        {"direction", to_json<Backend>(previous_direction, "previous_direction")}};
  }
  Json& list = json["pairs"] = Json::array();
  for (const auto& pair : pairs) {
    list.push_back({{"step", to_json<Backend>(pair.step, "pairs.step")},
                    {"change", to_json<Backend>(pair.change, "pairs.change")}});
  }
  return json;
}

template <MatrixBackend Backend>
DescentState<Backend> read_descent(const JsonField& field, const typename Backend::Gain& zeros) {
  const auto gain = [&zeros](const JsonField& own) { return read_like<Backend>(own, zeros); };
  DescentState<Backend> state;
  state.K = gain(field.field("K"));
  state.iteration = read_int(field.field("iteration"));
  state.at = {.value = read_scalar<Backend>(field.field("value")),
              .acceptable = field.field("acceptable").flag()};
  state.last_step = read_scalar<Backend>(field.field("last_step"));
  state.refused = read_int(field.field("refused"));
  state.failures = read_int(field.field("failures"));
  state.skipped_pairs = read_int(field.field("skipped_pairs"));
  state.has_previous = field.has("previous");
  if (state.has_previous) {
    state.previous_K = gain(field.field("previous").field("K"));
    state.previous_direction = gain(field.field("previous").field("direction"));
  }
  state.pairs = read_entries(field.field("pairs"), [&](const JsonField& pair) {
    return CurvaturePair<Backend>{.step = gain(pair.field("step")), .change = gain(pair.field("change"))};
  });
  return state;
}

}  // namespace detail

/// The state of a run as an object that `read_meta_state` reads, with numbers as those of
/// `Backend::to_double`: a run in double or float that goes on from it is bitwise the run that was not
/// interrupted.
/// @throws NotFinite for a NaN or infinity in one of its matrices, from which no run goes on.
template <MatrixBackend Backend>
Json to_json(const meta::State<Backend>& state) {
  const auto& [descent, inner_step, start_costs, costs, curvature_directions, first_norm, calls,
               guard_refusals, skipped_inner_points, reduced_inner_steps, unstable_probes] = state;
  return {
      {"format", meta_state_format},
      {"format_version", meta_state_format_version},
      {"nx", Backend::cols(descent.K)},
      {"nu", Backend::rows(descent.K)},
      {"descent", detail::descent_to_json(descent)},
      {"inner_step", number_to_json(inner_step)},
      {"start_costs", detail::scalars_to_json<Backend>(start_costs)},
      {"costs", detail::scalars_to_json<Backend>(costs)},
      {"curvature_directions", detail::list_to_json<Backend>(curvature_directions, "curvature_directions")},
      {"first_norm", number_to_json(first_norm)},
      {"calls",
       {{"probes", calls.probes},
        {"base", calls.base},
        {"assessments", calls.assessments},
        {"curvature", calls.curvature}}},
      {"guard_refusals", guard_refusals},
      {"skipped_inner_points", skipped_inner_points},
      {"reduced_inner_steps", reduced_inner_steps},
      {"unstable_probes", unstable_probes}};
}

/// The state in a document that `to_json` wrote, or in one of its fields.
/// @throws ParseError naming the source and the field. Whether it fits a fleet, `meta::resume` checks.
template <MatrixBackend Backend>
meta::State<Backend> read_meta_state(const JsonDocument& document, const std::string& field = "") {
  const JsonField whole(document);
  const JsonField root = field.empty() ? whole : whole.field(field);
  detail::require_format(root, meta_state_format, meta_state_format_version);
  const Index nx = detail::read_size<Backend>(root.field("nx"), true);
  const Index nu = detail::read_size<Backend>(root.field("nu"), false);
  const typename Backend::Gain zeros = Backend::zero_gain(nu, nx);
  const JsonField calls = root.field("calls");
  return {.descent = detail::read_descent<Backend>(root.field("descent"), zeros),
          .inner_step = root.field("inner_step").number(),
          .start_costs = detail::read_entries(root.field("start_costs"), detail::read_scalar<Backend>),
          .costs = detail::read_entries(root.field("costs"), detail::read_scalar<Backend>),
          .curvature_directions = detail::read_list<Backend>(root.field("curvature_directions"), zeros),
          .first_norm = root.field("first_norm").number(),
          .calls = {.probes = calls.field("probes").integer(),
                    .base = calls.field("base").integer(),
                    .assessments = calls.field("assessments").integer(),
                    .curvature = calls.field("curvature").integer()},
          .guard_refusals = detail::read_int(root.field("guard_refusals")),
          .skipped_inner_points = detail::read_int(root.field("skipped_inner_points")),
          .reduced_inner_steps = detail::read_int(root.field("reduced_inner_steps")),
          .unstable_probes = root.field("unstable_probes").integer()};
}

}  // namespace metalqr::inline METALQR_ABI::io
