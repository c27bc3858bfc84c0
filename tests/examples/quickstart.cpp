#include <cstdlib>
#include <filesystem>
#include <string>

#include <metalqr/io/csv.hpp>

#include "catch.hpp"
#include "run_program.hpp"

namespace {

using Catch::Matchers::ContainsSubstring;

bool has_gnuplot() {
  return std::system("command -v gnuplot >/dev/null 2>&1") == 0;
}

}  // namespace

TEST_CASE("a brief quickstart prints tables, writes its files, and ends with a line of JSON") {
  const test::Folder folder;
  const auto outcome =
      test::run_program(folder, "quickstart", "--iterations 5 --tasks 3 --seed 11 --out here");
  INFO(outcome.err);
  REQUIRE(outcome.status == 0);
  CHECK_THAT(outcome.out, ContainsSubstring("Files in here:"));
  const auto last = outcome.last_line();
  CHECK(last.at("program") == "quickstart");
  CHECK(last.at("seed") == 11);
  CHECK(last.at("optimal_cost").get<double>() == Catch::Approx(2.7147945922).epsilon(1e-10));
  CHECK(last.at("gap").at("0").get<double>() == Catch::Approx(22.546370377 - 2.7147945922).epsilon(1e-9));
  CHECK(last.at("published").at("oracle_calls") == 5 * 3 * 120);
  CHECK(last.at("adaptation").size() == 6);
  for (const auto& file : last.at("files"))
    CHECK(std::filesystem::is_regular_file(folder.path() / "here" / file.get<std::string>()));

  const auto literal = metalqr::io::read_csv(folder.file("here/literal.csv"));
  REQUIRE(literal.rows.size() == 6);
  CHECK(literal.rows[5][literal.column("calls")] == 5 * 3 * 120);
  CHECK(literal.rows[5][literal.column("gap")] == last.at("published").at("final_gap").get<double>());
  const auto published = metalqr::io::read_csv(folder.file("here/published.csv"));
  CHECK_THAT(published.comments.at(0), ContainsSubstring("L4DC 2024"));
  CHECK(published.rows.size() == 8);
  const auto adaptation = metalqr::io::read_csv(folder.file("here/adaptation.csv"));
  CHECK(adaptation.columns.size() == 7);
  CHECK(adaptation.rows.size() == 301);
  if (has_gnuplot()) {
    CHECK(outcome.err.empty());
    CHECK(folder.read("here/quickstart.png").substr(1, 3) == "PNG");
    CHECK_THAT(folder.read("here/quickstart.svg"), ContainsSubstring("<svg"));
  }
}

TEST_CASE("the quickstart depends on its seed alone") {
  const test::Folder folder;
  const auto run = [&](const std::string& arguments) {
    return test::run_program(folder, "quickstart", "--iterations 3 --out x " + arguments).last_line();
  };
  const auto once = run("--seed 3");
  CHECK(once == run("--seed 3"));
  CHECK(once.at("published") != run("--seed 4").at("published"));
}

TEST_CASE("the published setting reaches the published gaps, and the default needs far fewer oracle calls") {
  const test::Folder folder;
  const auto last = test::run_program(folder, "quickstart", "").last_line();
  CHECK(std::filesystem::is_regular_file(folder.path() / "out" / "quickstart" / "literal.csv"));
  // Single runs scatter around the published curve; the bands of medians are tested elsewhere.
  CHECK(last.at("gap").at("50").get<double>() == Catch::Approx(1.035).epsilon(0.25));
  CHECK(last.at("gap").at("200").get<double>() == Catch::Approx(0.228).epsilon(0.25));
  CHECK(last.at("published").at("oracle_calls") == 240000);
  CHECK(last.at("first_order").at("calls_to_0.228").get<long>() < 3500);
  CHECK(last.at("first_order").at("calls_to_0.01").get<long>() < 16000);
  CHECK(last.at("average").at("calls_to_0.228").get<long>() < 2400);
  CHECK(last.at("average").at("calls_to_0.01").get<long>() < 10000);
  for (const auto& curve : last.at("adaptation"))
    CHECK(curve.at("gap").at("300").get<double>() < curve.at("gap").at("0").get<double>());
}

TEST_CASE("a folder that cannot be made, or levels that cannot be, are errors with nothing on stdout") {
  const test::Folder folder;
  const std::string file = folder.write("file", "");
  const auto blocked = test::run_program(folder, "quickstart", "--iterations 1 --out file/sub");
  CHECK(blocked.status == 1);
  CHECK_THAT(blocked.err, ContainsSubstring("quickstart: FileError: --out file/sub"));
  CHECK(blocked.out.empty());
  const auto level = test::run_program(folder, "quickstart", "--level nan");
  CHECK(level.status == 1);
  CHECK_THAT(level.err, ContainsSubstring("quickstart: InvalidOption: level.A"));
  CHECK(level.out.empty());
  for (const char* arguments : {"--level 2", "--tasks 0", "--iterations 0"}) {
    INFO(arguments);
    CHECK(test::run_program(folder, "quickstart", arguments).status == 2);
  }
}
