#include <filesystem>
#include <string>

#include <metalqr/io/csv.hpp>

#include "catch.hpp"
#include "run_program.hpp"

namespace {

nlohmann::json study(const test::Folder& folder, const std::string& name, const std::string& arguments) {
  const auto outcome = test::run_program(folder, name, arguments + " --out here");
  INFO(outcome.err);
  REQUIRE(outcome.status == 0);
  const auto last = outcome.last_line();
  CHECK(last.at("program") == name);
  if (last.contains("files")) {
    for (const auto& file : last.at("files"))
      CHECK(std::filesystem::is_regular_file(folder.path() / "here" / file.get<std::string>()));
  }
  return last;
}

}  // namespace

TEST_CASE(
    "maml_figures draws the three panels: more heterogeneity, slower; the meta-trained gain adapts best") {
  const test::Folder folder;
  const auto last =
      study(folder, "maml_figures",
            "--seeds 2 --guard --iterations 30 --long-iterations 40 --adaptation-iterations 20");
  const auto& levels = last.at("heterogeneity");
  REQUIRE(levels.size() == 3);
  CHECK(levels[0].at("median").get<double>() < levels[1].at("median").get<double>());
  CHECK(levels[1].at("median").get<double>() < levels[2].at("median").get<double>());
  const auto& adaptation = last.at("adaptation");
  CHECK(adaptation.at("meta").at("start").get<double>() < adaptation.at("random").at("start").get<double>());
  CHECK(adaptation.at("random").at("median").get<double>() <
        adaptation.at("random").at("start").get<double>());
  const auto table = metalqr::io::read_csv(folder.file("here/convergence.csv"));
  REQUIRE(table.rows.size() == 31);
  CHECK(table.rows[0][table.column("gap_median")] ==
        Catch::Approx(22.546370377 - 2.7147945922).epsilon(1e-9));
  CHECK(table.rows[30][table.column("gap_median")] == last.at("convergence").at("median").get<double>());
}

TEST_CASE(
    "meta_comparison compares at equal calls: no inner step leads after a few, and budgets must ascend") {
  const test::Folder folder;
  const auto last = study(folder, "meta_comparison", "--seeds 2 --exact-only --budgets 1000 2400");
  REQUIRE(last.at("winners").size() == 4);
  for (const auto& winner : last.at("winners")) CHECK(winner.at("gap") == nlohmann::json{"average"});
  const auto table = metalqr::io::read_csv(folder.file("here/comparison.csv"));
  CHECK(table.rows.size() == 2 * 4 * 2);
  const auto bad = test::run_program(folder, "meta_comparison", "--budgets 20 10 --out here");
  CHECK(bad.status == 1);
  CHECK(bad.out.empty());
  CHECK_THAT(bad.err, Catch::Matchers::ContainsSubstring("budgets: expected ascending"));
}

TEST_CASE("stability_study counts no unstable iterate under the guard") {
  const test::Folder folder;
  const auto last = study(folder, "stability_study", "--seeds 4 --iterations 40");
  REQUIRE(last.at("settings").size() == 4);
  for (const auto& setting : last.at("settings")) {
    if (setting.at("guard").get<bool>()) CHECK(setting.at("unstable_iterate") == 0.0);
  }
}

TEST_CASE(
    "async_figures: stragglers hold up the synchronous server alone, and a corrupted fifth ruins a mean, and "
    "rules that take one report at a time") {
  const test::Folder folder;
  const auto last = study(folder, "async_figures", "--quick --seeds 1 --updates 60");
  const auto& curves = last.at("curves");
  for (const std::string stragglers : {"1", "10"}) {
    const auto& fast = curves.at("asynchronous_" + stragglers);
    const auto& slow = curves.at("synchronous_" + stragglers);
    CHECK(slow.at("clock").get<double>() >= 20 * fast.at("clock").get<double>());
    CHECK(fast.at("updates").get<double>() == Catch::Approx(slow.at("updates").get<double>()).epsilon(0.1));
    CHECK(slow.at("clock").get<double>() == 20 * slow.at("updates").get<double>());
  }
  for (const char* combiner : {"honest", "median", "trimmed", "geometric", "krum"}) {
    CAPTURE(combiner);
    CHECK(curves.at(std::string("combiner_") + combiner).at("clock").is_number());
    CHECK(curves.at(std::string("combiner_") + combiner).at("lost") == 0);
  }
  CHECK(curves.at("combiner_mean").at("clock").is_null());
  CHECK(curves.at("combiner_mean").at("lost") == 1);
  CHECK(curves.at("combiner_mean_guarded").at("lost") == 0);
  for (const std::string rule : {"buffered", "polynomial", "hinge", "bounded", "delay_adaptive",
                                 "synchronous", "rennala", "window", "fedasync", "ringmaster"}) {
    CAPTURE(rule);
    const auto& unguarded = curves.at("corrupted_" + rule);
    const auto& guarded = curves.at("corrupted_" + rule + "_guarded");
    const bool one_report = rule == "fedasync" || rule == "ringmaster";
    CHECK(unguarded.at("clock").is_null() == one_report);
    CHECK(unguarded.at("lost") == (one_report ? 1 : 0));
    CHECK((unguarded.at("reports") == 1) == one_report);
    CHECK(guarded.at("lost") == 0);
    CHECK(guarded.at("reports") > 5);
    CHECK(guarded.at("last_gap") < 1.3480278583);
    if (!one_report) CHECK(guarded.at("clock").is_number());
  }
  CHECK(metalqr::io::read_csv(folder.file("here/corrupted_rules.csv")).columns.size() == 31);
  CHECK(last.at("timeline").at("asynchronous") > last.at("timeline").at("synchronous"));
  const auto table = metalqr::io::read_csv(folder.file("here/stragglers.csv"));
  CHECK(table.rows[0][table.column("synchronous_10_median")] == Catch::Approx(1.3480278583).epsilon(1e-9));
}
