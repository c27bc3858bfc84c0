#pragma once

/// @file
/// What agents carry from one report to the next as JSON. Needs nlohmann-json (CMake component
/// metalqr::json).

#include <metalqr/federated/agent_memory.hpp>
#include <metalqr/federated/compressed_agents.hpp>
#include <metalqr/io/json.hpp>
#include <metalqr/io/json_field.hpp>
#include <metalqr/io/matrix_field.hpp>
#include <metalqr/zeroth_order/variance_reduction.hpp>

namespace metalqr::inline METALQR_ABI::io {

/// How the memory of an agent is written and read, bit by bit: `to_json(memory)`, and
/// `read<Backend>(field, zeros)` with zeros in the shape of a gain, which throws `ParseError` naming the
/// field. To be specialised for memories of your own.
template <class Memory>
struct MemoryFormat;

namespace detail {

/// A matrix that may be without entries still.
template <MatrixBackend Backend, class X>
Json to_json_or_none(const X& x, const char* name) {
  return Backend::rows(x) * Backend::cols(x) == 0 ? Json::array() : to_json<Backend>(x, name);
}
template <MatrixBackend Backend>
typename Backend::Gain read_like_or_none(const JsonField& field, const typename Backend::Gain& zeros) {
  if constexpr (fixed_size<Backend>(true) < 0) {
    if (field.is_empty()) return Backend::zero_gain(0, 0);
  }
  return read_like<Backend>(field, zeros);
}

}  // namespace detail

/// Of agents that carry nothing.
template <>
struct MemoryFormat<federated::NoMemory> {
  /// Null.
  static Json to_json(const federated::NoMemory& /*memory*/) { return nullptr; }
  /// Whatever is there.
  template <MatrixBackend Backend>
  static federated::NoMemory read(const JsonField& /*field*/, const typename Backend::Gain& /*zeros*/) {
    return {};
  }
};

/// Of agents that compress their estimates.
template <class Backend_, class Inner>
struct MemoryFormat<federated::CompressedAgentMemory<Backend_, Inner>> {
  using Memory = federated::CompressedAgentMemory<Backend_, Inner>;  ///< what is written

  /// @throws NotFinite for a NaN or infinity in the feedback, which there never is.
  static Json to_json(const Memory& memory) {
    return {{"feedback", detail::to_json_or_none<Backend_>(memory.compression.feedback.residual, "feedback")},
            {"bits", memory.compression.bits},
            {"agent", MemoryFormat<Inner>::to_json(memory.agent)}};
  }
  /// @throws ParseError.
  template <MatrixBackend Backend>
  static Memory read(const JsonField& field, const typename Backend::Gain& zeros) {
    return {.compression = {.feedback = {detail::read_like_or_none<Backend>(field.field("feedback"), zeros)},
                            .bits = field.field("bits").integer()},
            .agent = MemoryFormat<Inner>::template read<Backend>(field.field("agent"), zeros)};
  }
};

/// Of agents that reuse an estimate at an anchor.
template <class Backend_>
struct MemoryFormat<zeroth_order::VarianceReductionState<Backend_>> {
  using Memory = zeroth_order::VarianceReductionState<Backend_>;  ///< what is written

  /// @throws NotFinite for a NaN or infinity in a matrix, which there never is.
  static Json to_json(const Memory& memory) {
    const auto& found = memory.at_anchor;
    return {{"steps", memory.steps},
            {"calls", memory.calls},
            {"anchor", detail::to_json_or_none<Backend_>(memory.anchor, "anchor")},
            {"at_anchor",
             {{"gradient", detail::to_json_or_none<Backend_>(found.gradient, "at_anchor.gradient")},
              {"standard_error", number_to_json(found.standard_error)},
              {"calls", found.calls},
              {"used", found.used},
              {"dropped", found.dropped},
              {"shrunk", found.shrunk}}}};
  }
  /// @throws ParseError.
  template <MatrixBackend Backend>
  static Memory read(const JsonField& field, const typename Backend::Gain& zeros) {
    const JsonField found = field.field("at_anchor");
    return {.anchor = detail::read_like_or_none<Backend>(field.field("anchor"), zeros),
            .at_anchor = {.gradient = detail::read_like_or_none<Backend>(found.field("gradient"), zeros),
                          .standard_error = found.field("standard_error").number(),
                          .calls = found.field("calls").integer(),
                          .used = found.field("used").integer(),
                          .dropped = found.field("dropped").integer(),
                          .shrunk = found.field("shrunk").integer()},
            .steps = field.field("steps").integer(),
            .calls = field.field("calls").integer()};
  }
};

}  // namespace metalqr::inline METALQR_ABI::io
