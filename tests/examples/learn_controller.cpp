#include <cmath>
#include <string>

#include <nlohmann/json.hpp>

#include <metalqr/identification/bootstrap.hpp>
#include <metalqr/identification/data_bound.hpp>
#include <metalqr/identification/experiment.hpp>
#include <metalqr/identification/least_squares.hpp>
#include <metalqr/io/trajectories.hpp>
#include <metalqr/synthesis/csdp.hpp>
#include <metalqr/synthesis/ellipsoid.hpp>
#include <metalqr/systems/plants.hpp>

#include "catch.hpp"
#include "json_matrix.hpp"
#include "run_program.hpp"
#include "support.hpp"

namespace {

namespace identification = metalqr::identification;
namespace synthesis = metalqr::synthesis;
using Catch::Matchers::ContainsSubstring;
using nlohmann::json;
using test::Backend;
using test::matrix;
using Data = identification::Dataset<Backend>;

metalqr::Task<Backend> plant() {
  return metalqr::systems::laplacian_3<Backend>();
}

Data record(metalqr::Index rollouts, metalqr::Index horizon, std::uint64_t seed) {
  return identification::collect(plant(), {.rollouts = rollouts, .horizon = horizon}, {.seed = seed});
}

struct Run {
  json last;
  std::string text;
};

Run learned(const Data& data, const std::string& arguments) {
  const test::Folder folder;
  metalqr::io::write_csv(folder.file("data.csv"), metalqr::io::to_table(data));
  const auto outcome = test::run_program(folder, "learn_controller", "data.csv " + arguments);
  INFO(outcome.err);
  REQUIRE(outcome.status == 0);
  CHECK(outcome.err.empty());
  return {outcome.last_line(), outcome.out};
}

/// The plant is within the bounds, and the gain on it does what is certified.
void check_truth(const json& last, double noise) {
  const test::DenseTask truth = test::dense(plant());
  const json& used = last.at("confidence").at(last.at("confidence").at("used").get<std::string>());
  CHECK(test::spectral_norm(matrix(last.at("estimate").at("A")) - truth.A) <=
        used.at("epsilon_A").get<double>());
  CHECK(test::spectral_norm(matrix(last.at("estimate").at("B")) - truth.B) <=
        used.at("epsilon_B").get<double>());
  REQUIRE(last.at("certified") == true);
  // By the definition of the cost, in another arithmetic; the certificate uses the noise that it knows.
  const double scale = last.at("estimate").at("noise").get<double>() / noise;
  CHECK(static_cast<double>(truth.cost(matrix(last.at("gain")))) * scale * scale <=
        last.at("cost_bound").get<double>());
}

const std::string tiny = "rollout,x1,u1\n1,0,1\n1,1,-1\n1,0.2,0.5\n1,0.4,-0.3\n1,0.1,0.9\n1,0.8,\n";

std::string refused(const std::string& text, const std::string& arguments = "") {
  const test::Folder folder;
  folder.write("data.csv", text);
  const auto outcome = test::run_program(folder, "learn_controller", "data.csv " + arguments);
  CHECK(outcome.status >= 1);
  CHECK(outcome.status <= 125);
  CHECK(outcome.out.empty());
  return outcome.err;
}

}  // namespace

TEST_CASE("learn_controller gives the library's answers, and the true plant obeys its certificate") {
  const Data data = record(100, 6, 31);
  const Run run = learned(data, "--Q 0.001 --seed 5 --trials 500");
  const json& last = run.last;
  CHECK(last.at("program") == "learn_controller");
  CHECK(last.at("rollouts") == 100);
  CHECK(last.at("transitions") == 600);

  const auto estimate = identification::least_squares(data);
  CHECK(test::relative_error(matrix(last.at("estimate").at("A")), test::dense(estimate.A)) < 1e-10);
  CHECK(test::relative_error(matrix(last.at("estimate").at("B")), test::dense(estimate.B)) < 1e-10);
  const auto bound = identification::data_bound(estimate, {.rigorous = false});
  const json& confidence = last.at("confidence");
  CHECK(confidence.at("bound").at("epsilon_A").get<double>() == Catch::Approx(bound.epsilon_A).epsilon(1e-9));
  CHECK(confidence.at("bound").at("epsilon_B").get<double>() == Catch::Approx(bound.epsilon_B).epsilon(1e-9));
  CHECK(confidence.at("bound").at("rigorous") == false);
  const auto repeated = identification::bootstrap(
      estimate, data, {.trials = 500, .inputs = identification::TrialInputs::recorded}, {.seed = 5});
  CHECK(confidence.at("bootstrap").at("epsilon_A").get<double>() ==
        Catch::Approx(repeated.epsilon_A).epsilon(1e-9));
  CHECK(confidence.at("bootstrap").at("epsilon_B").get<double>() ==
        Catch::Approx(repeated.epsilon_B).epsilon(1e-9));

  const metalqr::Task<Backend> task(estimate.A, estimate.B, plant().Q(), plant().R(),
                                    bound.noise * bound.noise * Backend::identity_like(estimate.A));
  const Backend::Matrix squares = Backend::transpose_product(estimate.factor, estimate.factor);
  const auto design = synthesis::ellipsoid(
      synthesis::EllipsoidProblem<Backend>{task, Backend::Matrix(squares / bound.ellipsoid.level)},
      synthesis::Csdp());
  CHECK(last.at("status") == "solved");
  CHECK(last.at("cost_bound").get<double>() == Catch::Approx(design.cost_bound).epsilon(1e-7));
  CHECK(test::relative_error(matrix(last.at("gain")), test::dense(design.gain)) < 1e-5);
  REQUIRE(bound.ellipsoid.contains(plant().A(), plant().B()));
  check_truth(last, 1);
  for (const char* words : {"100 rollouts, 600 steps", "u(t) = -K x(t)", "6. What was taken on trust:",
                            "The plant is linear", "what the estimate leaves unexplained"})
    CHECK_THAT(run.text, ContainsSubstring(words));
  CHECK(last.at("assumptions").size() >= 5);
}

TEST_CASE("every method of learn_controller certifies what the true plant then obeys") {
  const Data data = record(200, 6, 32);
  const std::string common = "--Q 0.001,0.001,1e-3 --R 1 --noise 1 --trials 300 ";
  const json shared = learned(data, common + "--method common_lyapunov").last;
  check_truth(shared, 1);
  check_truth(learned(data, common + "--method common_lyapunov --confidence bootstrap").last, 1);
  check_truth(learned(data, common + "--method ellipsoid --confidence bootstrap").last, 1);
  const json rigorous = learned(data, common + "--samples last --method ellipsoid").last;
  CHECK(rigorous.at("confidence").at("bound").at("rigorous") == true);
  check_truth(rigorous, 1);
  const json fir = learned(data, common + "--method fir --length 4").last;
  CHECK(fir.at("certified") == true);
  CHECK(fir.at("input_response").size() == 4);
  CHECK_FALSE(fir.contains("gain"));
  const Run bare = learned(data, common + "--method certainty_equivalence");
  CHECK(bare.last.at("nominal_cost").get<double>() < shared.at("nominal_cost").get<double>());
  CHECK(bare.last.at("certified") == false);
  CHECK(bare.last.at("cost_bound").is_null());
  CHECK_THAT(bare.text, ContainsSubstring("the level is"));
}

TEST_CASE("too few data end in words and the factor that is missing, not in an error") {
  const Run run = learned(record(6, 6, 33), "--Q 0.001 --trials 200");
  CHECK(run.last.at("status") == "infeasible");
  CHECK(run.last.at("gamma_min").get<double>() > 1);
  CHECK_FALSE(run.last.contains("gain"));
  CHECK_THAT(run.text, ContainsSubstring("times as many data"));
}

TEST_CASE("learn_controller depends on its seed alone, reads weights and feedback from files, and copies") {
  const test::Folder folder;
  // Recorded under u = -K x + e, which the bootstrap must know to find the excitation.
  const Backend::Gain K = 0.2 * Backend::identity_like(plant().A());
  const Data data = identification::collect(plant(), K, Backend::zero_state(3),
                                            {.rollouts = 60, .horizon = 8}, {.seed = 34});
  metalqr::io::write_csv(folder.file("data.csv"), metalqr::io::to_table(data));
  folder.write("cost.json", R"({"Q": [[1,0,0],[0,2,0],[0,0,3]], "R": [[4,0,0],[0,4,0],[0,0,4]]})");
  folder.write("gain.json", R"({"K": [[0.2,0,0],[0,0.2,0],[0,0,0.2]]})");
  const auto run = [&](const std::string& arguments) {
    const auto outcome = test::run_program(folder, "learn_controller", "data.csv --trials 300 " + arguments);
    INFO(outcome.err);
    REQUIRE(outcome.status == 0);
    return outcome.last_line();
  };
  const json once = run("--Q 1,2,3 --R 4 --feedback gain.json --seed 2");
  CHECK(once == run("--Q cost.json --R cost.json --feedback gain.json --seed 2"));
  CHECK(once.at("confidence").at("bootstrap") !=
        run("--Q 1,2,3 --R 4 --feedback gain.json --seed 3").at("confidence").at("bootstrap"));
  CHECK(once.at("confidence").at("bootstrap").at("excitation").get<double>() ==
        Catch::Approx(1).epsilon(0.05));
  CHECK(run("--Q 1,2,3 --R 4").at("confidence").at("bootstrap").at("excitation").get<double>() > 1.05);
  run("--Q 1 --out here");
  CHECK(json::parse(folder.read("here/controller.json")).at("status") == "solved");
}

TEST_CASE("learn_controller notices that a feedback is missing, and tells levels from data") {
  const test::Folder folder;
  const Backend::Gain K = 0.8 * Backend::identity_like(plant().A());
  const Data data = identification::collect(plant(), K, Backend::zero_state(3),
                                            {.rollouts = 1, .horizon = 400}, {.seed = 35});
  metalqr::io::write_csv(folder.file("data.csv"), metalqr::io::to_table(data));
  folder.write("gain.json", R"({"K": [[0.8,0,0],[0,0.8,0],[0,0,0.8]]})");
  const auto run = [&](const std::string& arguments) {
    return test::run_program(folder, "learn_controller", "data.csv --trials 100 --Q 0.001 " + arguments);
  };
  CHECK_THAT(run("").out, ContainsSubstring("Warning: the squares of the states and inputs"));
  CHECK_THAT(run("--confidence bootstrap").err, ContainsSubstring("InvalidOption: --confidence"));
  const auto told = run("--confidence bootstrap --feedback gain.json --method common_lyapunov");
  CHECK(told.status == 0);
  CHECK(told.out.find("Warning") == std::string::npos);
  CHECK(told.last_line().at("status") == "solved");
  const auto strict = run("--feedback gain.json --method common_lyapunov --gamma 0.01");
  CHECK(strict.last_line().at("status") == "infeasible");
  CHECK_THAT(strict.out, ContainsSubstring("allow more than"));
}

TEST_CASE("learn_controller refuses bad files by line and column") {
  CHECK_THAT(refused(""), ContainsSubstring("ParseError: data.csv: expected a line with the names"));
  CHECK_THAT(refused("rollout,x1,u1\n"), ContainsSubstring("ParseError: data.csv: expected rows"));
  CHECK_THAT(refused("rollout,x1\n1,2\n"), ContainsSubstring("ParseError: data.csv: column u1"));
  CHECK_THAT(refused("rollout,x1,u1\n1,2,3\n1,2\n"), ContainsSubstring("data.csv: line 3: expected 3 cells"));
  CHECK_THAT(refused("rollout,x1,u1\n1,2,3\n1,two,3\n"), ContainsSubstring("line 3, column x1"));
  CHECK_THAT(refused("rollout,x1,u1\n1,nan,3\n1,2,3\n"), ContainsSubstring("line 2, column x1"));
  CHECK_THAT(refused("time,x1,u1\n1,2,3\n2,2,3\n"), ContainsSubstring("column time"));
  CHECK_THAT(refused(tiny, "--rollout run"), ContainsSubstring("column run: expected a column of this"));
  CHECK_THAT(refused(tiny, "--rollout x1"), ContainsSubstring("column x1: expected the number of the"));
  CHECK_THAT(refused("rollout,x1,u1\n1,1,1\n1,2,2\n1,4,4\n1,8,8\n"),
             ContainsSubstring("RankDeficient: data"));
  CHECK_THAT(refused("rollout,x1,u1\n1,0,1\n1,1,3\n"), ContainsSubstring("RankDeficient: data"));
  CHECK_THAT(refused("rollout,x1,u1\n1,0,1\n1,1,3\n1,2,\n"),
             ContainsSubstring("DimensionMismatch: estimate: expected more than 2 transitions"));
}

TEST_CASE("learn_controller refuses bad options by name") {
  CHECK_THAT(refused(tiny, "--Q 1,2"), ContainsSubstring("DimensionMismatch: --Q: expected one number or 1"));
  CHECK_THAT(refused(tiny, "--Q -1"), ContainsSubstring("NotPositiveDefinite: Q"));
  CHECK_THAT(refused(tiny, "--R 0"), ContainsSubstring("NotPositiveDefinite: R"));
  CHECK_THAT(refused(tiny, "--R none.json"), ContainsSubstring("ParseError: none.json"));
  CHECK_THAT(refused(tiny, "--delta 1"), ContainsSubstring("InvalidOption: delta"));
  CHECK_THAT(refused(tiny, "--noise=-1"), ContainsSubstring("InvalidOption: noise"));
  CHECK_THAT(refused(tiny, "--trials 0"), ContainsSubstring("InvalidOption: trials"));
  CHECK_THAT(refused(tiny, "--method common_lyapunov --gamma 1"), ContainsSubstring("InvalidOption: gamma"));
  CHECK_THAT(refused(tiny, "--method fir --length 0"), ContainsSubstring("InvalidOption: length"));
  // Also where the method has no use for it.
  CHECK_THAT(refused(tiny, "--gamma 2"), ContainsSubstring("InvalidOption: gamma"));
  CHECK_THAT(refused(tiny, "--method certainty_equivalence --length 0"),
             ContainsSubstring("InvalidOption: length"));
  CHECK_THAT(refused(tiny, "--feedback none.json"), ContainsSubstring("ParseError: none.json"));
  CHECK_THAT(refused(tiny, "--samples last --confidence bootstrap"), ContainsSubstring("--samples"));
  CHECK_THAT(refused(tiny, "--method lqg"), ContainsSubstring("--method"));
  CHECK_THAT(refused(tiny, "--confidence hope"), ContainsSubstring("--confidence"));
}
