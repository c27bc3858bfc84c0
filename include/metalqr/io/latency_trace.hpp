#pragma once

/// @file
/// Recorded latencies from CSV text.

#include <cstddef>
#include <string>
#include <string_view>

#include <metalqr/core/error.hpp>
#include <metalqr/federated/latency.hpp>
#include <metalqr/io/csv.hpp>
#include <metalqr/io/text_file.hpp>

namespace metalqr::inline METALQR_ABI::io {

namespace detail {

/// Whether a line can be the name of a column rather than a number that was mistyped.
inline bool is_column_name(std::string_view line) {
  const char first = line.front();
  const bool begins = (first >= 'a' && first <= 'z') || (first >= 'A' && first <= 'Z') || first == '_';
  return begins && line.find(',') == std::string_view::npos;
}

}  // namespace detail

/// Reads recorded latencies, in ticks, from text: one number a line, finite and at least 0; above them
/// comments, on lines that begin with '#', and the name of the column, which begins with a letter, may stand.
/// Blanks around numbers, empty lines and Windows line ends are fine. A `Table` of one column reads so.
/// `source` names the text in messages.
/// @throws ParseError naming source and line for anything else, and for no number at all.
inline federated::TraceLatency parse_latency_trace(std::string_view text,
                                                   const std::string& source = "text") {
  federated::TraceLatency trace;
  bool named = false;
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    const std::size_t first = line.find_first_not_of(" \t\r");
    if (first == std::string_view::npos) continue;
    line = line.substr(first, line.find_last_not_of(" \t\r") + 1 - first);
    const bool above = !named && trace.ticks.empty();
    if (above && line.front() == '#') continue;
    double ticks = 0;
    const bool is_number = detail::read_cell(line, ticks);
    if (above && !is_number && detail::is_column_name(line)) {
      named = true;
      continue;
    }
    if (!is_number || !federated::detail::is_latency(ticks)) {
      throw ParseError(source + ": line " + std::to_string(number) +
                       ": expected one finite number of at least 0, got '" + std::string(line) + "'");
    }
    trace.ticks.push_back(ticks);
  }
  if (trace.ticks.empty()) throw ParseError(source + ": expected at least one latency, got none");
  return trace;
}

/// Reads recorded latencies, in ticks, from a file.
/// @throws ParseError; see `parse_latency_trace`, `read_text`.
inline federated::TraceLatency read_latency_trace(const std::string& path) {
  return parse_latency_trace(read_text(path), path);
}

}  // namespace metalqr::inline METALQR_ABI::io
