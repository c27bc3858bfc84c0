#pragma once

/// @file
/// Matrices and lists of a known shape in a place of a JSON document. Needs nlohmann-json (CMake component
/// metalqr::json).

#include <cstddef>
#include <limits>
#include <utility>
#include <vector>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/error.hpp>
#include <metalqr/io/json.hpp>
#include <metalqr/io/json_document.hpp>
#include <metalqr/io/json_field.hpp>

namespace metalqr::inline METALQR_ABI::io::detail {

/// A list of matrices.
template <MatrixBackend Backend, class Matrices>
Json list_to_json(const Matrices& matrices, const char* name) {
  Json list = Json::array();
  for (const auto& matrix : matrices) list.push_back(to_json<Backend>(matrix, name));
  return list;
}

/// The number of states or inputs in a field, which is that of a backend with fixed sizes.
template <MatrixBackend Backend>
Index read_size(const JsonField& field, bool states) {
  constexpr Index largest = 1 << 20;
  const Index fixed = fixed_size<Backend>(states);
  return fixed < 0 ? field.integer(1, largest) : field.integer(fixed, fixed);
}

/// The matrix in a field, of the shape of `zeros`.
template <MatrixBackend Backend, class X>
X read_like(const JsonField& field, X zeros) {
  const auto rows = field.matrix();
  const Index height = static_cast<Index>(rows.size());
  const Index width = static_cast<Index>(rows.front().size());
  if (height != Backend::rows(zeros) || width != Backend::cols(zeros)) {
    field.fail("expected shape " + metalqr::detail::shape(Backend::rows(zeros), Backend::cols(zeros)) +
               ", got " + metalqr::detail::shape(height, width));
  }
  return filled<Backend>(std::move(zeros), rows);
}

/// A list of what `read` makes of its entries.
template <class Read>
auto read_entries(const JsonField& field, const Read& read) {
  std::vector<decltype(read(field))> entries;
  const std::size_t size = field.size();
  entries.reserve(size);
  for (std::size_t i = 0; i < size; ++i) entries.push_back(read(field.entry(i)));
  return entries;
}

/// The matrices in a list, each of the shape of `zeros`.
template <MatrixBackend Backend, class X>
std::vector<X> read_list(const JsonField& field, const X& zeros) {
  return read_entries(field, [&](const JsonField& entry) { return read_like<Backend>(entry, zeros); });
}

/// The whole numbers in a list, each from `low` to `high`.
inline std::vector<Index> read_counts(const JsonField& field, Index low = 0,
                                      Index high = std::numeric_limits<Index>::max()) {
  return read_entries(field, [&](const JsonField& entry) { return entry.integer(low, high); });
}

}  // namespace metalqr::inline METALQR_ABI::io::detail
