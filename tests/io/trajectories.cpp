#include <metalqr/io/trajectories.hpp>

#include <string>

#include <metalqr/identification/experiment.hpp>
#include <metalqr/systems/plants.hpp>

#include "catch.hpp"
#include "folder.hpp"
#include "support.hpp"

namespace {

using metalqr::Index;
using metalqr::ParseError;
using metalqr::io::TrajectoryColumns;
using test::Backend;
using Data = metalqr::identification::Dataset<Backend>;

Data parse(const std::string& text, const TrajectoryColumns& columns = {}) {
  return metalqr::io::parse_trajectories<Backend>(text, "t.csv", columns);
}

std::string reason(const std::string& text, const TrajectoryColumns& columns = {}) {
  return test::message_of<ParseError>([&] { parse(text, columns); });
}

bool equal(const Data& x, const Data& y) {
  if (x.size() != y.size()) return false;
  for (Index i = 0; i < x.size(); ++i) {
    if (x[i].states != y[i].states || x[i].inputs != y[i].inputs) return false;
  }
  return true;
}

const std::string head = "rollout,x1,x2,u1\n";

}  // namespace

TEST_CASE("rows become rollouts, whatever the order of the columns") {
  const Data data = parse("u1,rollout,x2,x1\n5,7,2,1\n6,7,4,3\n,7,6,5\n8,-1,9,7\nnan,-1,0,0\n");
  REQUIRE(data.size() == 2);
  CHECK(test::dense(data[0].states).entries == test::Dense{{1, 2}, {3, 4}, {5, 6}}.entries);
  CHECK(test::dense(data[0].inputs).entries == test::Dense{{5}, {6}}.entries);
  CHECK(data.steps(1) == 1);
  CHECK(data[1].states(0, 0) == 7);
  CHECK(data[1].inputs(0, 0) == 8);
}

TEST_CASE("without a column of rollouts all rows are one trajectory; other columns are ignored by name") {
  const Data data = parse("x1,u1\n1,2\n3,4\n5,6\n");
  CHECK(data.size() == 1);
  CHECK(data.transitions() == 2);
  const Data named = parse("time,run,x1,u1\n0,1,1,2\n0.1,1,3,4\n0,2,5,6\n0.1,2,7,8\n",
                           {.rollout = "run", .ignored = {"time"}});
  CHECK(named.size() == 2);
  CHECK(parse("time,x1,u1\n,1,2\nnan,3,4\n", {.ignored = {"time"}}).transitions() == 1);
}

TEST_CASE(
    "what spreadsheets write is read: quotes, blanks, Windows line ends, a byte order mark, blank lines") {
  const Data plain = parse("rollout,x1,u1\n1,2,3\n1,4,5\n2,6,7\n2,8,9\n");
  CHECK(equal(
      parse(
          "\xef\xbb\xbf\"rollout\", \"x1\" ,\"u1\"\r\n1,2,3\r\n1, 4 ,5\r\n\r\n2,\"6\",7\r\n2,8,9\r\n  \r\n"),
      plain));
  CHECK(equal(parse("# a comment\nrollout,x1,u1\n1,2,3\n1,4,5\n2,6,7\n2,8,9"), plain));
  CHECK(reason("\"rollout\",\"x1\",\"u,1\"\n1,2,3\n").find("column u1") != std::string::npos);
}

TEST_CASE("data survive a file bit by bit") {
  const Data data = metalqr::identification::collect(metalqr::systems::laplacian_3<Backend>(),
                                                     {.rollouts = 7, .horizon = 4}, {.seed = 12});
  const test::Folder folder;
  metalqr::io::write_csv(folder.file("t.csv"), metalqr::io::to_table(data));
  const Data read = metalqr::io::read_trajectories<Backend>(folder.file("t.csv"));
  CHECK(equal(read, data));
  using Fixed = metalqr::EigenBackend<double, 3, 3>;
  CHECK(metalqr::io::read_trajectories<Fixed>(folder.file("t.csv")).size() == 7);
}

TEST_CASE("what is no record of trajectories is refused with line and column") {
  CHECK(reason("") == "t.csv: expected a line with the names of the columns, got none");
  CHECK(reason(head) == "t.csv: expected rows of numbers, got none");
  CHECK(reason(head + "1,2,3,4\n1,2,3\n") == "t.csv: line 3: expected 4 cells, got 3");
  CHECK(reason(head + "1,2,3,4\n\n1,2,three,4\n") ==
        "t.csv: line 4, column x2: expected a number, got 'three'");
  CHECK(reason(head + "1,2,3,4\n1,nan,3,4\n1,2,3,4\n") ==
        "t.csv: line 3, column x1: expected a finite number, got nan");
  CHECK(reason(head + "1,2,3,4\n1,2,,4\n1,2,3,4\n") ==
        "t.csv: line 3, column x2: expected a finite number, got nan");
  CHECK(reason(head + "1,2,3,\n1,2,3,4\n") == "t.csv: line 2, column u1: expected a finite number, got nan");
  CHECK(reason(head + "1,2,3,4\n1,2,inf,4\n") ==
        "t.csv: line 3, column x2: expected a finite number, got inf");
  // The last row of a rollout needs a state, too.
  CHECK(reason(head + "1,2,3,4\n1,,3,4\n2,2,3,4\n2,2,3,4\n") ==
        "t.csv: line 3, column x1: expected a finite number, got nan");
}

TEST_CASE("columns that are missing, twice or unknown are refused by name") {
  CHECK(reason("rollout,x2,u1\n1,2,3\n") ==
        "t.csv: column x1: expected a column of this name, got none (there are: rollout, x2, u1)");
  CHECK(reason("rollout,x1\n1,2\n") ==
        "t.csv: column u1: expected a column of this name, got none (there are: rollout, x1)");
  CHECK(reason("rollout,x1,x3,u1\n1,2,3,4\n").find("t.csv: column x3: expected states x1, x2, ...") == 0);
  CHECK(reason("rollout,x1,u1,x1\n1,2,3,4\n") == "t.csv: column x1: expected once, got it again");
  CHECK(reason("time,x1,u1\n1,2,3\n1,2,3\n").find("t.csv: column time: expected") == 0);
  CHECK(reason("rollout;x1;u1\n1;2;3\n") ==
        "t.csv: line 2, column rollout;x1;u1: expected a number, got '1;2;3'");
}

TEST_CASE("rollouts that are no whole numbers, of one row or in two pieces are refused") {
  CHECK(reason("rollout,x1,u1\n1.5,2,3\n1.5,2,3\n") ==
        "t.csv: line 2, column rollout: expected a whole number, got 1.5");
  CHECK(reason("rollout,x1,u1\n1,2,3\n,2,3\n") ==
        "t.csv: line 3, column rollout: expected a whole number, got nan");
  CHECK(reason("rollout,x1,u1\n1,2,3\n1,2,3\n2,2,3\n3,2,3\n3,2,3\n") ==
        "t.csv: line 4: expected at least two rows for each rollout, got one");
  CHECK(reason("rollout,x1,u1\n1,2,3\n1,2,3\n2,2,3\n2,2,3\n1,2,3\n1,2,3\n") ==
        "t.csv: line 6, column rollout: expected the rows of a rollout one below the other, got rollout 1 "
        "again");
  CHECK_THROWS_AS(metalqr::io::read_trajectories<Backend>("/nowhere/t.csv"), ParseError);
}

TEST_CASE("the column of the rollouts is one of its own, and there if it was named") {
  const auto refused = [](const std::string& name, const std::vector<std::string>& ignored = {}) {
    return test::message_of<ParseError>([&] {
      metalqr::io::parse_trajectories<Backend>("rollout,time,x1,u1\n1,1,2,3\n1,2,2,3\n", "t.csv",
                                               {.rollout = name, .ignored = ignored});
    });
  };
  for (const char* const name : {"x1", "u1"})
    CHECK(refused(name).find("t.csv: column " + std::string(name) + ": expected the number of the rollout") ==
          0);
  CHECK(refused("time", {"time"}).find("t.csv: column time: expected to ignore") == 0);
  CHECK(refused("run", {"time", "rollout"}) ==
        "t.csv: column run: expected a column of this name for the number of the rollout, got none");
}

TEST_CASE("only other columns of the table can be ignored") {
  for (const char* const name : {"x2", "u1", "rollout", "time"}) {
    const std::string text = "rollout,x1,x2,u1\n1,1,2,3\n1,1,2,3\n";
    CHECK(test::message_of<ParseError>([&] {
            metalqr::io::parse_trajectories<Backend>(text, "t.csv", {.ignored = {name}});
          }).find("t.csv: column " + std::string(name) + ": expected to ignore") == 0);
  }
}
