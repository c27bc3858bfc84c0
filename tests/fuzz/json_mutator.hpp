#pragma once

/// Mutations of JSON text that keep it valid: its numbers change, where changes of bytes mostly break the
/// text.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include <metalqr/io/csv.hpp>
#include <metalqr/io/json_document.hpp>

namespace fuzz {

struct Span {
  std::size_t begin;
  std::size_t end;
};

/// Where the numbers of a JSON text are, those in strings aside.
inline std::vector<Span> numbers_in(const std::string& text) {
  std::vector<Span> spans;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '"' && (i == 0 || text[i - 1] != '\\')) quoted = !quoted;
    if (quoted || text.find_first_of("-0123456789", i) != i) continue;
    const std::size_t end = std::min(text.find_first_not_of("+-.0123456789eE", i), text.size());
    spans.push_back({i, end});
    i = end - 1;
  }
  return spans;
}

/// The text with one of its numbers changed: to an awkward one, to another one of the text, or by a little.
inline std::string with_another_number(const std::string& text, std::minstd_rand& random) {
  const std::vector<Span> spans = numbers_in(text);
  if (spans.empty()) return text;
  const auto pick = [&random](std::size_t count) { return random() % count; };
  const auto at = [&text](const Span& span) { return text.substr(span.begin, span.end - span.begin); };
  const Span& span = spans[pick(spans.size())];
  const std::string old = at(span);
  const char* const awkward[] = {"0",       "1",      "-1",     "2",    "-0.0",  "1e308",
                                 "-1e308",  "5e-324", "1e-310", "1e16", "1e-16", "9223372036854775807",
                                 "\"nan\"", "\"inf\""};
  std::string changed;
  switch (pick(4)) {
    case 0:
      changed = awkward[pick(std::size(awkward))];
      break;
    case 1:
      changed = at(spans[pick(spans.size())]);
      break;
    case 2: {
      const auto value = static_cast<std::uint64_t>(std::strtoll(old.c_str(), nullptr, 10));
      changed = std::to_string(static_cast<std::int64_t>(value + pick(5) - 2));  // may wrap
      break;
    }
    default: {
      const double sign = pick(2) == 0 ? 1 : -1;
      const double value =
          std::strtod(old.c_str(), nullptr) * (1 + sign * std::ldexp(1.0, -static_cast<int>(pick(53))));
      if (!std::isfinite(value)) return text;
      changed = metalqr::io::full_precision(value);
    }
  }
  return text.substr(0, span.begin) + changed + text.substr(span.end);
}

/// All values inside a value, and it.
inline void collect(metalqr::io::Json& value, std::vector<metalqr::io::Json*>& values) {
  values.push_back(&value);
  if (!value.is_structured()) return;
  for (auto& inner : value) collect(inner, values);
}

/// The text with one of its values replaced by another, repeated or removed; as it is if it is no JSON.
inline std::string with_another_value(const std::string& text, std::minstd_rand& random) {
  using metalqr::io::Json;
  Json root = Json::parse(text, nullptr, false);
  std::vector<Json*> values;
  if (!root.is_discarded()) collect(root, values);
  if (values.size() < 2) return text;
  const auto pick = [&random](std::size_t count) { return random() % count; };
  Json& value = *values[pick(values.size())];
  switch (pick(4)) {
    case 0:
      value = Json(*values[pick(values.size())]);
      break;
    case 1:
      value = Json::parse(R"([null,true,false,[],{},"inf","nan",-1,1.5,[[1]]])")[pick(10)];
      break;
    case 2:
      if (value.is_array()) value.push_back(Json(*values[pick(values.size())]));
      break;
    default:
      if (value.is_structured() && !value.empty()) {
        value.erase(std::next(value.begin(), static_cast<std::ptrdiff_t>(pick(value.size()))));
      }
  }
  return root.dump(-1, ' ', false, Json::error_handler_t::replace);
}

/// One of these mutations.
inline std::string mutated_json(const std::string& text, std::minstd_rand& random) {
  return random() % 3 == 0 ? with_another_value(text, random) : with_another_number(text, random);
}

}  // namespace fuzz
