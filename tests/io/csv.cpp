#include <metalqr/io/csv.hpp>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "catch.hpp"
#include "folder.hpp"
#include "support.hpp"

namespace {

using metalqr::io::Table;

std::string reason(const std::string& text) {
  return test::message_of<metalqr::ParseError>([&] { metalqr::io::parse_csv(text, "t.csv"); });
}

std::uint64_t bits(double value) {
  return std::bit_cast<std::uint64_t>(value);
}

}  // namespace

TEST_CASE("a table reads as its comments, its names, its rows") {
  const Table table{
      .comments = {"source: here", ""}, .columns = {"iteration", "gap"}, .rows = {{0, 0.1}, {1, -2.5e-300}}};
  CHECK(metalqr::io::to_csv(table) == "# source: here\n# \niteration,gap\n0,0.1\n1,-2.5e-300\n");
}

TEST_CASE("tables survive a file bit by bit: zeros, subnormals, the largest, infinities, random bits") {
  Table table{.comments = {"# twice", "  indented"}, .columns = {"x", "y z"}};
  const double edges[] = {0.0,
                          -0.0,
                          5e-324,
                          -2.2250738585072009e-308,
                          2.2250738585072014e-308,
                          1.7976931348623157e308,
                          1e308,
                          0.1,
                          1.0 / 3,
                          9007199254740993.0,
                          std::numeric_limits<double>::infinity(),
                          -std::numeric_limits<double>::infinity()};
  for (const double value : edges) table.rows.push_back({value, -value});
  auto stream = test::stream(41);
  for (int i = 0; i < 10000; ++i) {
    const double value = std::ldexp(stream.uniform(0.5, 1), static_cast<int>(stream.uniform(-1073, 1024)));
    table.rows.push_back({value, stream.normal()});
  }
  const test::Folder folder;
  metalqr::io::write_csv(folder.file("t.csv"), table);
  const Table read = metalqr::io::read_csv(folder.file("t.csv"));
  CHECK(read.comments == table.comments);
  CHECK(read.columns == table.columns);
  REQUIRE(read.rows.size() == table.rows.size());
  int different = 0;
  for (std::size_t i = 0; i < read.rows.size(); ++i) {
    for (std::size_t j = 0; j < 2; ++j) different += bits(read.rows[i][j]) == bits(table.rows[i][j]) ? 0 : 1;
  }
  CHECK(different == 0);
}

TEST_CASE("a NaN of either sign is written as nan and read as one") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::string text = metalqr::io::to_csv({.columns = {"x"}, .rows = {{nan}, {-nan}}});
  CHECK(text == "x\nnan\nnan\n");
  CHECK(std::isnan(metalqr::io::parse_csv(text).rows[1][0]));
}

TEST_CASE("blanks, empty lines, plus signs and Windows line ends are read; so is a last line without end") {
  const Table table = metalqr::io::parse_csv("#a\r\n\r\n x ,y\r\n\r\n +1 ,\t2e3\r\n3,4");
  CHECK(table.comments == std::vector<std::string>{"a"});
  CHECK(table.columns == std::vector<std::string>{"x", "y"});
  CHECK(table.rows == std::vector<std::vector<double>>{{1, 2000}, {3, 4}});
  CHECK(table.column("y") == 1);
  CHECK_THROWS_WITH(static_cast<void>(table.column("z")), "name: expected a column of the table, got 'z'");
}

TEST_CASE("quotes around cells and a byte order mark, as spreadsheets write them, are read") {
  const Table table = metalqr::io::parse_csv("\xef\xbb\xbf\"x\" , \"y, z\",\" w \"\n\"1\",2, \"-3\" \n \t\n");
  CHECK(table.columns == std::vector<std::string>{"x", "y, z", "w"});
  CHECK(table.rows == std::vector<std::vector<double>>{{1, 2, -3}});
  CHECK(reason("x,y\n\"1,2\n") == "t.csv: line 2: expected 2 cells, got 1");
  CHECK(reason("x\n\"1\n") == "t.csv: line 2, column x: expected a number, got '\"1'");
}

TEST_CASE("text that is no table is refused with line and column") {
  CHECK(reason("") == "t.csv: expected a line with the names of the columns, got none");
  CHECK(reason("# only a comment\n") == "t.csv: expected a line with the names of the columns, got none");
  CHECK(reason("x,y\n1,2\n3\n") == "t.csv: line 3: expected 2 cells, got 1");
  CHECK(reason("x,y\n1,2,3\n") == "t.csv: line 2: expected 2 cells, got 3");
  CHECK(reason("x,y\n1,two\n") == "t.csv: line 2, column y: expected a number, got 'two'");
  CHECK(reason("x,y\n1,\n") == "t.csv: line 2, column y: expected a number, got ''");
  CHECK(reason("x\n1 2\n") == "t.csv: line 2, column x: expected a number, got '1 2'");
  CHECK(reason("x\n1e999\n") == "t.csv: line 2, column x: expected a number, got '1e999'");
  CHECK(reason("x\n+-1\n") == "t.csv: line 2, column x: expected a number, got '+-1'");
  CHECK(reason("# c\nx\n1\n# late\n") == "t.csv: line 4, column x: expected a number, got '# late'");
  CHECK_THROWS_AS(metalqr::io::read_csv("/nowhere/t.csv"), metalqr::ParseError);
}

TEST_CASE("what cannot be written as a table is refused, and the file stays as it was") {
  const test::Folder folder;
  const std::string path = folder.write("t.csv", "old");
  const auto write = [&](const Table& table) { metalqr::io::write_csv(path, table); };
  CHECK_THROWS_WITH(write({.columns = {"x"}, .rows = {{1}, {1, 2}}}),
                    "rows: expected 1 numbers in each, got 2 in row 1");
  CHECK_THROWS_AS(write({.columns = {"x"}, .rows = {{}}}), metalqr::DimensionMismatch);
  CHECK_THROWS_AS(write({}), metalqr::InvalidOption);
  for (const char* name : {"", "a,b", "a\nb", "\"a\"", "#a"})
    CHECK_THROWS_AS(write({.columns = {name}}), metalqr::InvalidOption);
  CHECK_THROWS_AS(write({.comments = {"two\nlines"}, .columns = {"x"}}), metalqr::InvalidOption);
  CHECK(folder.read("t.csv") == "old");
}
