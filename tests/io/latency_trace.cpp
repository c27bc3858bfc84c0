#include <metalqr/io/latency_trace.hpp>

#include <limits>
#include <string>
#include <vector>

#include <metalqr/io/csv.hpp>

#include "catch.hpp"
#include "folder.hpp"
#include "support.hpp"

namespace {

using metalqr::io::parse_latency_trace;

std::string reason(const std::string& text) {
  return test::message_of<metalqr::ParseError>([&] { parse_latency_trace(text, "t.csv"); });
}

std::string not_a_latency(int line, const std::string& text) {
  return "t.csv: line " + std::to_string(line) + ": expected one finite number of at least 0, got '" + text +
         "'";
}

}  // namespace

TEST_CASE("a trace is one number a line, with or without the name of its column") {
  const std::vector<double> expected{1, 20, 0, 2.5};
  CHECK(parse_latency_trace("1\n20\n0\n2.5\n").ticks == expected);
  CHECK(parse_latency_trace("ticks\n1\n20\n0\n2.5").ticks == expected);
  CHECK(parse_latency_trace("_time [ms]\n1\n20\n0\n2.5").ticks == expected);
  CHECK(parse_latency_trace("# a\n#b\n\nticks\r\n\r\n +1 \r\n\t2e1\r\n  \r\n-0\r\n2.5\r\n").ticks ==
        expected);
  CHECK(parse_latency_trace("7").ticks == std::vector<double>{7});
}

TEST_CASE("a table of one column is read from its file as a trace, bit by bit") {
  metalqr::io::Table table{.comments = {"measured: here"}, .columns = {"ticks"}};
  metalqr::Stream stream = test::stream(5);
  std::vector<double> expected{5e-324, 1e-300, std::numeric_limits<double>::max()};
  for (int i = 0; i < 1000; ++i) expected.push_back(stream.uniform(0, 20));
  for (const double x : expected) table.rows.push_back({x});
  const test::Folder folder;
  metalqr::io::write_csv(folder.file("t.csv"), table);
  const metalqr::federated::TraceLatency trace = metalqr::io::read_latency_trace(folder.file("t.csv"));
  CHECK(trace.ticks == expected);
  CHECK_NOTHROW(metalqr::federated::validate(trace));
}

TEST_CASE("text that is no trace is refused with its line") {
  CHECK(reason("") == "t.csv: expected at least one latency, got none");
  CHECK(reason("# only\nticks\n\n") == "t.csv: expected at least one latency, got none");
  CHECK(reason("ticks\n\n1\ntwo\n") == not_a_latency(4, "two"));
  CHECK(reason("ticks\nagain\n1\n") == not_a_latency(2, "again"));
  CHECK(reason("1\nticks\n") == not_a_latency(2, "ticks"));
  CHECK(reason("ticks\n1,2\n") == not_a_latency(2, "1,2"));
  CHECK(reason("time,ticks\n1,2\n") == not_a_latency(1, "time,ticks"));
  CHECK(reason("1 2\n") == not_a_latency(1, "1 2"));
  // A number that was mistyped is no name.
  for (const char* first : {"1.5x", "1,5", ",5", "-", "+-1", "\"1\"", "0x10", "1e999", "1e-999"}) {
    CHECK(reason(std::string(first) + "\n1\n") == not_a_latency(1, first));
  }
  for (const char* bad : {"-1", "-5e-324", "nan", "-nan", "inf", "-inf"}) {
    CHECK(reason(std::string("1\n2\n") + bad + "\n") == not_a_latency(3, bad));
    CHECK(reason(std::string(bad) + "\n1\n") == not_a_latency(1, bad));
  }
  CHECK(reason("1\n# late\n") == not_a_latency(2, "# late"));
  CHECK(reason("ticks\n# late\n1\n") == not_a_latency(2, "# late"));
  // The message ends at the zero byte.
  CHECK(reason(std::string("1\0\n", 3)) + "'" == not_a_latency(1, "1"));
}

TEST_CASE("a trace that cannot be read names its file") {
  const test::Folder folder;
  const auto message = [&](const std::string& path) {
    return test::message_of<metalqr::ParseError>([&] { metalqr::io::read_latency_trace(path); });
  };
  CHECK(message(folder.file("none")) ==
        folder.file("none") + ": expected a readable file, got 'No such file or directory'");
  const std::string path = folder.write("t.csv", "1\nx\n");
  CHECK(message(path) == path + ": line 2: expected one finite number of at least 0, got 'x'");
}
