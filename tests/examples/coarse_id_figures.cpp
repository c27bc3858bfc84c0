#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <metalqr/identification/bootstrap.hpp>
#include <metalqr/identification/experiment.hpp>
#include <metalqr/identification/least_squares.hpp>
#include <metalqr/io/csv.hpp>
#include <metalqr/lqr/evaluation.hpp>
#include <metalqr/lqr/optimal_gain.hpp>
#include <metalqr/systems/plants.hpp>

#include "catch.hpp"
#include "run_program.hpp"
#include "support.hpp"

namespace {

namespace identification = metalqr::identification;
using nlohmann::json;
using test::Backend;

const std::string brief =
    "--trials 6 --plain-trials 400 --fir-trials 2 --length 6 --bootstrap 200 --rollouts 10 60 100 "
    "--design-rollouts 20 60 --adaptive-trials 20 ";

json figures(const test::Folder& folder, const std::string& arguments) {
  const auto outcome = test::run_program(folder, "coarse_id_figures", arguments + " --out here");
  INFO(outcome.err);
  REQUIRE(outcome.status == 0);
  CHECK(outcome.err.find("gnuplot failed") == std::string::npos);
  return outcome.last_line();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

}  // namespace

TEST_CASE(
    "coarse_id_figures: errors fall, bounds hold, and robust designs stabilise where the nominal fails") {
  const test::Folder folder;
  const json last = figures(folder, brief + "--seed 9");
  CHECK(last.at("program") == "coarse_id_figures");
  CHECK(last.at("optimal_cost").get<double>() == Catch::Approx(0.1372871659781176).epsilon(1e-9));
  for (const auto& file : last.at("files"))
    CHECK(std::filesystem::is_regular_file(folder.path() / "here" / file.get<std::string>()));

  const json& found = last.at("identification");
  REQUIRE(found.size() == 3);
  CHECK(found[0].at("error_A") > found[1].at("error_A"));
  CHECK(found[1].at("error_A") > found[2].at("error_A"));
  // Shares of 400 data sets whose true values are .30, .77, .88 (2000 trials and more): five deviations of a
  // binomial share, a false alarm in a million.
  for (const auto& [at, share] : {std::pair{0, 0.30}, std::pair{1, 0.767}, std::pair{2, 0.884}}) {
    const double deviation = std::sqrt(share * (1 - share) / 400);
    CHECK(std::abs(found[static_cast<std::size_t>(at)].at("nominal_stable").get<double>() - share) <
          5 * deviation + 0.01);
  }
  for (const json& one : found) {
    CHECK(one.at("bootstrap_A") > one.at("error_A"));
    CHECK(one.at("bound_A") > one.at("bootstrap_A"));
    CHECK(one.at("both_bound_last").get<double>() > 0.95);
    CHECK(one.at("error_last_B") > one.at("error_B"));
  }

  const json& designs = last.at("designs");
  REQUIRE(designs.size() == 2);
  for (const json& one : designs) {
    for (const char* name : {"lyapunov_true", "lyapunov_best_true", "fir_true", "ellipsoid_true"}) {
      INFO(name);
      CHECK(one.at(name).at("found") == 1.0);
      CHECK(one.at(name).at("stable") == 1.0);
    }
    CHECK(one.at("lyapunov_true").at("cost") < one.at("lyapunov_best_true").at("cost"));
    CHECK(one.at("lyapunov_true").at("cost") < one.at("lyapunov_data").at("cost"));
    CHECK(one.at("ellipsoid_true").at("promise") > one.at("ellipsoid_true").at("cost"));
    CHECK(one.at("ellipsoid_data").at("promise") < one.at("lyapunov_best_data").at("promise"));
  }
  const auto table = metalqr::io::read_csv(folder.file("here/designs.csv"));
  REQUIRE(table.rows.size() == 2);
  CHECK(table.rows[1][table.column("N")] == 60);
  CHECK(table.rows[1][table.column("lyapunov_true_cost")] ==
        designs[1].at("lyapunov_true").at("cost").get<double>());
  if (std::filesystem::exists(folder.path() / "here" / "designs.png"))
    CHECK(folder.read("here/identification.svg").find("<svg") != std::string::npos);
}

TEST_CASE("coarse_id_figures measures what the library says of the same data") {
  const test::Folder folder;
  const json last =
      figures(folder,
              "--trials 5 --plain-trials 5 --fir-trials 1 --length 2 --bootstrap 150 --rollouts 30 "
              "--design-rollouts 30 --seed 4 --adaptive-trials 2 --steps 20");
  const auto plant = metalqr::systems::laplacian_3<Backend>();
  std::vector<double> errors;
  std::vector<double> reaches;
  std::vector<double> costs;
  for (std::uint64_t i = 0; i < 5; ++i) {
    const metalqr::StreamKey key{.seed = 4, .iteration = 30, .task = i};
    const auto data = identification::collect(plant, {.rollouts = 30}, key);
    const auto estimate = identification::least_squares(data);
    errors.push_back(
        static_cast<double>(test::spectral_norm(test::dense(estimate.B) - test::dense(plant.B()))));
    const auto repeated = identification::bootstrap(
        estimate, data,
        {.trials = 150, .excitation = 1, .noise = 1, .percentiles = identification::Percentiles::separate},
        key);
    reaches.push_back(repeated.epsilon_A);
    const auto gain =
        metalqr::solve_dare(metalqr::Task<Backend>(estimate.A, estimate.B, plant.Q(), plant.R())).gain;
    const test::DenseTask truth = test::dense(plant);
    if (std::isfinite(metalqr::cost(plant, gain)))
      costs.push_back(static_cast<double>(truth.cost(test::dense(gain))) / metalqr::optimal_cost(plant) - 1);
  }
  REQUIRE(!costs.empty());
  const json& found = last.at("identification")[0];
  CHECK(found.at("error_B").get<double>() == Catch::Approx(median(errors)).epsilon(1e-9));
  CHECK(found.at("bootstrap_A").get<double>() == Catch::Approx(median(reaches)).epsilon(1e-9));
  CHECK(found.at("nominal_suboptimality").get<double>() == Catch::Approx(median(costs)).epsilon(1e-6));
  CHECK(found.at("nominal_stable").get<double>() == static_cast<double>(costs.size()) / 5);
  CHECK(last.at("designs")[0].at("nominal").at("cost") == found.at("nominal_suboptimality"));
}

TEST_CASE("coarse_id_figures depends on its seed alone, not on the threads; bad options are refused") {
  const test::Folder folder;
  const std::string tiny =
      "--trials 3 --plain-trials 9 --fir-trials 1 --length 2 --bootstrap 40 --rollouts 20 --design-rollouts "
      "20 --adaptive-trials 6 --steps 60 ";
  const json once = figures(folder, tiny + "--seed 2 --threads 1");
  CHECK(once == figures(folder, tiny + "--seed 2 --threads 3"));
  CHECK(once.at("designs") != figures(folder, tiny + "--seed 3").at("designs"));
  for (const char* arguments :
       {"--trials 0", "--length 0", "--horizon 1", "--rollouts 2", "--threads -1", "x"}) {
    INFO(arguments);
    const auto outcome = test::run_program(folder, "coarse_id_figures", arguments);
    CHECK(outcome.status == 2);
    CHECK(outcome.out.empty());
  }
}
