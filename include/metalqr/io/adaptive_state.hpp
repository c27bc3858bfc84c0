#pragma once

/// @file
/// The state of a run of learning while controlling as JSON. Needs nlohmann-json (CMake component
/// metalqr::json).

#include <cstdint>
#include <string>
#include <variant>

#include <metalqr/adaptive/state.hpp>
#include <metalqr/io/json.hpp>
#include <metalqr/io/json_document.hpp>
#include <metalqr/io/json_field.hpp>
#include <metalqr/io/matrix_field.hpp>

namespace metalqr::inline METALQR_ABI::io {

/// What the field `format` of an adaptive run's state says.
inline constexpr const char* adaptive_state_format = "metalqr adaptive state";
/// What its field `format_version` says.
inline constexpr Index adaptive_state_format_version = 1;

namespace detail {

inline Json key_to_json(const StreamKey& key) {
  return {{"seed", key.seed},
          {"purpose", static_cast<std::uint64_t>(key.purpose)},
          {"iteration", key.iteration},
          {"task", key.task},
          {"sample", key.sample}};
}

template <MatrixBackend Backend>
Json controller_to_json(const adaptive::Controller<Backend>& controller) {
  if (const auto* K = std::get_if<0>(&controller)) return {{"gain", to_json<Backend>(*K, "controller.gain")}};
  const auto& dynamic = std::get<1>(controller);
  return {{"state_response", list_to_json<Backend>(dynamic.state_response(), "controller.state_response")},
          {"input_response", list_to_json<Backend>(dynamic.input_response(), "controller.input_response")},
          {"past", list_to_json<Backend>(dynamic.past(), "controller.past")}};
}

template <MatrixBackend Backend>
synthesis::FirController<Backend> read_fir_controller(const JsonField& field, Index nx, Index nu) {
  synthesis::FirController<Backend> controller(
      read_list<Backend>(field.field("state_response"), Backend::zero_state_matrix(nx)),
      read_list<Backend>(field.field("input_response"), Backend::zero_gain(nu, nx)));
  controller.resume(read_list<Backend>(field.field("past"), Backend::zero_state(nx)));
  return controller;
}

template <MatrixBackend Backend>
adaptive::Controller<Backend> read_controller(const JsonField& field, Index nx, Index nu) {
  if (field.has("gain")) return read_like<Backend>(field.field("gain"), Backend::zero_gain(nu, nx));
  return read_fir_controller<Backend>(field, nx, nu);
}

}  // namespace detail

/// The state of a run as an object that `read_adaptive_state` reads, with numbers as those of
/// `Backend::to_double`: a run in double that goes on from it is bitwise the run that was not interrupted.
/// @throws NotFinite for a NaN or infinity in one of its matrices, which a run never has.
template <FactoringBackend Backend>
Json to_json(const adaptive::State<Backend>& state) {
  return {{"format", adaptive_state_format},
          {"format_version", adaptive_state_format_version},
          {"key", detail::key_to_json(state.key)},
          {"nx", state.data.nx()},
          {"nu", state.data.nu()},
          {"step", state.step},
          {"epochs", state.epochs},
          {"epoch_start", state.epoch_start},
          {"x", to_json<Backend>(state.x, "x")},
          {"controller", detail::controller_to_json<Backend>(state.controller)},
          {"data",
           {{"ridge", state.data.ridge()},
            {"factor", to_json<Backend>(state.data.factor(), "data.factor")},
            {"transitions", state.data.transitions()}}},
          {"log_determinant", number_to_json(state.log_determinant)},
          {"regret",
           {{"optimal_cost", number_to_json(state.regret.optimal_cost)},
            {"value", number_to_json(state.regret.value)}}},
          {"kept", state.kept},
          {"epsilon_A", number_to_json(state.epsilon_A)},
          {"epsilon_B", number_to_json(state.epsilon_B)},
          {"overflowed", state.overflowed}};
}

/// The state in a document that `to_json` wrote, or in one of its fields.
/// @throws ParseError naming the source and the field; DimensionMismatch, NotFinite, InvalidOption for parts
/// that do not fit together.
template <FactoringBackend Backend>
adaptive::State<Backend> read_adaptive_state(const JsonDocument& document, const std::string& field = "") {
  const JsonField whole(document);
  const JsonField root = field.empty() ? whole : whole.field(field);
  detail::require_format(root, adaptive_state_format, adaptive_state_format_version);
  const JsonField key = root.field("key");
  const Index nx = detail::read_size<Backend>(root.field("nx"), true);
  const Index nu = detail::read_size<Backend>(root.field("nu"), false);
  const JsonField data = root.field("data");
  const Index width = 2 * nx + nu;
  const Index step = root.field("step").integer();
  const Index epochs = root.field("epochs").integer();
  return {.key = {.seed = key.field("seed").unsigned_integer(),
                  .purpose = static_cast<Purpose>(key.field("purpose").unsigned_integer()),
                  .iteration = key.field("iteration").unsigned_integer(),
                  .task = key.field("task").unsigned_integer(),
                  .sample = key.field("sample").unsigned_integer()},
          .step = step,
          .epochs = epochs,
          .epoch_start = root.field("epoch_start").integer(0, step),
          .x = detail::read_like<Backend>(root.field("x"), Backend::zero_state(nx)),
          .controller = detail::read_controller<Backend>(root.field("controller"), nx, nu),
          .data = {nx, nu, data.field("ridge").number(),
                   detail::read_like<Backend>(data.field("factor"), Backend::zero_matrix(width, width)),
                   data.field("transitions").integer()},
          .log_determinant = root.field("log_determinant").number(),
          .regret = {.optimal_cost = root.field("regret").field("optimal_cost").number(),
                     .value = root.field("regret").field("value").number()},
          .kept = root.field("kept").integer(0, epochs),
          .epsilon_A = root.field("epsilon_A").number(),
          .epsilon_B = root.field("epsilon_B").number(),
          .overflowed = root.field("overflowed").flag()};
}

}  // namespace metalqr::inline METALQR_ABI::io
