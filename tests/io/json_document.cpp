#include <metalqr/io/json_document.hpp>

#include <string>
#include <vector>

#include "catch.hpp"
#include "folder.hpp"
#include "support.hpp"

namespace {

using Catch::Matchers::ContainsSubstring;
using metalqr::io::JsonDocument;

/// Why text is no document.
std::string invalid(const std::string& text) {
  return test::message_of<metalqr::ParseError>([&] { JsonDocument(text, "t.json"); });
}
/// Why the field A of a document is no matrix.
std::string no_matrix(const std::string& value) {
  const JsonDocument document(R"({"A": )" + value + "}", "t.json");
  return test::message_of<metalqr::ParseError>([&] { static_cast<void>(document.matrix("A")); });
}

}  // namespace

TEST_CASE("matrices are read row by row, from integers and reals of any size") {
  const JsonDocument document(R"({"A": [[1, -2.5], [1e308, 18446744073709551615]], "name": "x"})");
  CHECK(document.matrix("A") == std::vector<std::vector<double>>{{1, -2.5}, {1e308, 18446744073709551616.0}});
  CHECK(document.has("name"));
  CHECK_FALSE(document.has("B"));
  CHECK(document.source() == "text");
}

TEST_CASE("a document is read from a file, which messages name") {
  const test::Folder folder;
  const std::string path = folder.write("t.json", "{\"A\": [[1]]}\n");
  CHECK(JsonDocument::from_file(path).matrix("A")[0][0] == 1);
  CHECK(JsonDocument::from_file(path).source() == path);
  const std::string none = folder.file("none.json");
  CHECK(test::message_of<metalqr::ParseError>([&] { JsonDocument::from_file(none); }) ==
        none + ": expected a readable file, got 'No such file or directory'");
}

TEST_CASE("text that is no JSON is refused with its place") {
  CHECK_THAT(invalid(""), ContainsSubstring("t.json: expected valid JSON, got parse error at line 1"));
  CHECK_THAT(invalid("{\"A\": [[1]"), ContainsSubstring("t.json: field A, row 0: expected valid JSON"));
  CHECK_THAT(
      invalid("{\"A\": [[1]], \"B\": [[1],\n [2,,3]]}"),
      ContainsSubstring("t.json: field B, row 1: expected valid JSON, got parse error at line 2, column 5"));
  CHECK_THAT(invalid("{\"A\": [[1]]} x"), ContainsSubstring("expected valid JSON"));
  CHECK_THAT(invalid("{\"A\": [[NaN]]}"), ContainsSubstring("t.json: field A, row 0: expected valid JSON"));
  CHECK_THAT(invalid("{\"A\": [[Infinity]]}"), ContainsSubstring("field A, row 0"));
  CHECK_THAT(invalid("\xff\xfe"), ContainsSubstring("t.json: expected valid JSON"));
}

TEST_CASE("a number beyond the range of double is refused with its place") {
  CHECK(invalid("{\"A\": [[1], [1e999]]}") ==
        "t.json: field A, row 1: expected valid JSON, got number overflow parsing '1e999'");
  CHECK_THAT(invalid("{\"A\": [[-1e400]]}"), ContainsSubstring("field A, row 0"));
}

TEST_CASE("a document is one object without repeated fields") {
  CHECK(invalid("[1]") == "t.json: expected a JSON object, got a list");
  CHECK(invalid("3") == "t.json: expected a JSON object, got the number 3");
  CHECK(invalid("null") == "t.json: expected a JSON object, got null");
  CHECK(invalid("\"A\"") == "t.json: expected a JSON object, got the text \"A\"");
  CHECK(invalid(R"({"A": [[1]], "B": [[1]], "A": [[2]]})") == "t.json: field A: expected once, got it again");
  CHECK_NOTHROW(JsonDocument(R"({"x": {"A": 1}, "y": {"A": 1}})"));
}

TEST_CASE("a field that is no matrix is refused with field, row and what was found") {
  CHECK(no_matrix("[]") == "t.json: field A: expected a list of rows, got an empty list");
  CHECK(no_matrix("3") == "t.json: field A: expected a list of rows, got the number 3");
  CHECK(no_matrix("null") == "t.json: field A: expected a list of rows, got null");
  CHECK(no_matrix("{}") == "t.json: field A: expected a list of rows, got an object");
  CHECK(no_matrix("[[]]") == "t.json: field A, row 0: expected a list of numbers, got an empty list");
  CHECK(no_matrix("[1, 2]") == "t.json: field A, row 0: expected a list of numbers, got the number 1");
  CHECK(no_matrix("[[1, 2], [3]]") == "t.json: field A, row 1: expected 2 numbers as in row 0, got 1");
  CHECK(no_matrix("[[1], [3, 4]]") == "t.json: field A, row 1: expected 1 numbers as in row 0, got 2");
  CHECK(no_matrix("[[1, 2], [3, \"4\"]]") ==
        "t.json: field A, row 1: expected a number in column 1, got the text \"4\"");
  CHECK(no_matrix("[[true]]") == "t.json: field A, row 0: expected a number in column 0, got a truth value");
  CHECK(no_matrix("[[null]]") == "t.json: field A, row 0: expected a number in column 0, got null");
  CHECK(no_matrix("[[[1]]]") == "t.json: field A, row 0: expected a number in column 0, got a list");
}

TEST_CASE("a missing field is named, with those that are there") {
  const JsonDocument document(R"({"A": [[1]], "Q": 2})", "t.json");
  CHECK(test::message_of<metalqr::ParseError>([&] { static_cast<void>(document.matrix("B")); }) ==
        "t.json: field B: expected a matrix, the field is missing (there are: A, Q)");
}
