#include <metalqr/io/json_field.hpp>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "catch.hpp"
#include "support.hpp"

namespace {

using metalqr::Index;
using metalqr::io::Json;
using metalqr::io::JsonDocument;
using metalqr::io::JsonField;

/// Why `read` refuses the value of the field x.y[1].
template <class Read>
std::string refused(const std::string& value, const Read& read) {
  const JsonDocument document(R"({"x": {"y": [0, )" + value + "]}}", "t.json");
  const std::string message = test::message_of<metalqr::ParseError>(
      [&] { static_cast<void>(read(JsonField(document).field("x").field("y").entry(1))); });
  const std::string place = "t.json: field x.y[1]";
  REQUIRE(message.starts_with(place));
  return message.substr(place.size());
}

}  // namespace

TEST_CASE("a field is read where it is, as what it is") {
  const JsonDocument document(R"({"a": {"b": [true, "x", -3, 2.5, [[1, 2]], []]}})");
  const JsonField list = JsonField(document).field("a").field("b");
  REQUIRE(list.size() == 6);
  CHECK(list.entry(0).flag());
  CHECK(list.entry(1).text() == "x");
  CHECK(list.entry(2).integer(-3, 7) == -3);
  CHECK(list.entry(2).number() == -3);
  CHECK(list.entry(3).number() == 2.5);
  CHECK(list.entry(4).matrix() == std::vector<std::vector<double>>{{1, 2}});
  CHECK(list.entry(5).is_empty());
  CHECK_FALSE(list.entry(4).is_empty());
  CHECK(list.entry(4).place() == "a.b[4]");
  CHECK(list.source() == "text");
}

TEST_CASE("numbers survive as JSON to the last bit, infinities and NaN as texts") {
  metalqr::Stream stream = test::stream(3);
  std::vector<double> values{0.0,
                             -0.0,
                             5e-324,
                             std::numeric_limits<double>::max(),
                             1.0 / 3,
                             std::numeric_limits<double>::infinity(),
                             -std::numeric_limits<double>::infinity()};
  for (int i = 0; i < 1000; ++i)
    values.push_back(std::ldexp(stream.normal(), static_cast<int>(stream.uniform(-1000, 1000))));
  Json list = Json::array();
  for (const double value : values) list.push_back(metalqr::io::number_to_json(value));
  list.push_back(metalqr::io::number_to_json(std::numeric_limits<double>::quiet_NaN()));
  const JsonDocument document(Json{{"x", list}}.dump());
  const JsonField field = JsonField(document).field("x");
  REQUIRE(field.size() == values.size() + 1);
  int different = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto read = std::bit_cast<std::uint64_t>(field.entry(i).number());
    different += read == std::bit_cast<std::uint64_t>(values[i]) ? 0 : 1;
  }
  CHECK(different == 0);
  CHECK(std::isnan(field.entry(values.size()).number()));
}

TEST_CASE("a value of another kind is refused with its place and what it is") {
  CHECK(refused("1", [](const JsonField& f) { return f.flag(); }) ==
        ": expected a truth value, got the number 1");
  CHECK(refused("1", [](const JsonField& f) { return f.text(); }) == ": expected a text, got the number 1");
  CHECK(refused("1", [](const JsonField& f) { return f.size(); }) == ": expected a list, got the number 1");
  CHECK(refused("1", [](const JsonField& f) { return f.field("z"); }) ==
        ": expected an object, got the number 1");
  CHECK(refused("{}", [](const JsonField& f) { return f.field("z"); }) ==
        ".z: expected a value, the field is missing");
  CHECK(refused("\"Inf\"", [](const JsonField& f) { return f.number(); }) ==
        ": expected a number, \"inf\", \"-inf\" or \"nan\", got the text \"Inf\"");
  CHECK(refused("[[1], [2, 3]]", [](const JsonField& f) { return f.matrix(); }) ==
        ", row 1: expected 1 numbers as in row 0, got 2");
}

TEST_CASE("a whole number is one, within its range and that of the type") {
  const auto read = [](const JsonField& f) { return f.integer(); };
  CHECK(refused("1.0", read) == ": expected a whole number of at least 0, got the number 1.0");
  CHECK(refused("-1", read) == ": expected a whole number of at least 0, got the number -1");
  CHECK(refused("9223372036854775808", read) ==
        ": expected a whole number of at least 0, got the number 9223372036854775808");
  CHECK(refused("true", read) == ": expected a whole number of at least 0, got a truth value");
  CHECK(refused("8", [](const JsonField& f) { return f.integer(-1, 7); }) ==
        ": expected a whole number from -1 to 7, got the number 8");
  const JsonDocument document(R"({"x": 9223372036854775807})");
  CHECK(JsonField(document).field("x").integer() == std::numeric_limits<Index>::max());
}
