#include <cmath>
#include <string>

#include <nlohmann/json.hpp>

#include "catch.hpp"
#include "coarse_id.hpp"
#include "json_matrix.hpp"
#include "run_program.hpp"
#include "support.hpp"

namespace {

using Catch::Matchers::ContainsSubstring;
using nlohmann::json;
using test::Dense;
using test::matrix;
using test::ReferenceDesign;
using test::ReferenceDesigns;
using test::rows;

json problem(const test::UncertainSystem& system, double epsilon_A, double epsilon_B,
             const std::string& method) {
  return {{"A", rows(system.task.A)}, {"B", rows(system.task.B)}, {"Q", rows(system.task.Q)},
          {"R", rows(system.task.R)}, {"epsilon_A", epsilon_A},   {"epsilon_B", epsilon_B},
          {"method", method}};
}

json problem(const ReferenceDesigns& designs, const std::string& method, const json& gamma) {
  json result = problem(designs.system, designs.epsilon_A, designs.epsilon_B, method);
  result["gamma"] = gamma;
  if (designs.alpha > 0) result["alpha"] = designs.alpha;
  if (designs.length > 0) result["length"] = designs.length;
  return result;
}

json synthesized(const json& input, const std::string& arguments = "") {
  const test::Folder folder;
  const auto outcome = test::run_program(folder, "synthesize", "- " + arguments, input.dump());
  INFO(outcome.err);
  REQUIRE(outcome.status == 0);
  CHECK(outcome.err.empty());
  return outcome.last_line();
}

std::string refused(const std::string& text) {
  const test::Folder folder;
  const auto outcome = test::run_program(folder, "synthesize", "-", text);
  CHECK(outcome.status == 1);
  CHECK(outcome.out.empty());
  return outcome.err;
}

const json scalar = {{"A", {{0.9}}}, {"B", {{1}}},        {"Q", {{1}}},
                     {"R", {{1}}},   {"epsilon_A", 0.01}, {"epsilon_B", 0.05}};

json scalar_with(const std::string& field, const json& value) {
  json result = scalar;
  result[field] = value;
  return result;
}

}  // namespace

TEST_CASE("synthesize gives the reference designs of common Lyapunov synthesis") {
  for (const ReferenceDesigns& designs : test::coarse_id_reference().common_lyapunov) {
    for (const ReferenceDesign& expected : designs.fixed) {
      INFO(designs.name() << ", gamma " << expected.gamma);
      const json got = synthesized(problem(designs, "common_lyapunov", expected.gamma));
      CHECK(got.at("program") == "synthesize");
      CHECK(got.at("status") == "solved");
      CHECK(got.at("certified") == true);
      CHECK(got.at("gamma") == expected.gamma);
      CHECK(got.at("gamma_min").get<double>() == Catch::Approx(designs.gamma_min).epsilon(1e-5));
      CHECK(got.at("h2_squared").get<double>() == Catch::Approx(expected.h2_squared).epsilon(1e-6));
      CHECK(got.at("cost_bound").get<double>() == Catch::Approx(expected.cost_bound).epsilon(1e-6));
      CHECK(test::relative_error(matrix(got.at("gain")), expected.K) < 1e-3);
    }
    const json best = synthesized(problem(designs, "common_lyapunov", "optimise"));
    CHECK(std::abs(best.at("gamma").get<double>() - designs.best.gamma) < 2e-3);
    CHECK(best.at("cost_bound").get<double>() == Catch::Approx(designs.best.cost_bound).epsilon(1e-6));
    CHECK(best.at("achieved_hinf").get<double>() <= best.at("gamma").get<double>() * (1 + 1e-6));
  }
}

TEST_CASE("synthesize gives the reference designs with finite responses, which obey the plant") {
  for (const ReferenceDesigns& designs : test::coarse_id_reference().fir) {
    if (designs.length > 8) continue;
    const ReferenceDesign& expected = designs.fixed.back();
    INFO(designs.name() << ", gamma " << expected.gamma);
    const json got = synthesized(problem(designs, "fir", expected.gamma), "--state-space");
    CHECK(got.at("status") == "solved");
    CHECK_FALSE(got.contains("gain"));
    CHECK(got.at("h2_squared").get<double>() == Catch::Approx(expected.h2_squared).epsilon(1e-5));
    CHECK(got.at("cost_bound").get<double>() == Catch::Approx(expected.cost_bound).epsilon(1e-5));
    const json& states = got.at("state_response");
    const json& inputs = got.at("input_response");
    REQUIRE(states.size() == static_cast<std::size_t>(designs.length));
    REQUIRE(inputs.size() == states.size());
    // Phi_x(1) = I, Phi_x(k + 1) = A Phi_x(k) + B Phi_u(k), and zero after the last one.
    Dense response = test::identity(designs.system.task.A.rows);
    long double squared = 0;
    for (std::size_t k = 0; k < states.size(); ++k) {
      const Dense x = matrix(states[k]);
      const Dense u = matrix(inputs[k]);
      CHECK(test::norm(x - response) < 1e-9);
      squared += test::inner(x, designs.system.task.Q * x) + test::inner(u, designs.system.task.R * u);
      response = designs.system.task.A * x + designs.system.task.B * u;
    }
    CHECK(test::norm(response) < 1e-6);
    CHECK(got.at("h2_squared").get<double>() == Catch::Approx(static_cast<double>(squared)).epsilon(1e-9));
    CHECK(got.at("state_space").at("D") == inputs[0]);
    CHECK(got.at("state_space").at("A").size() == states[0].size() * (states.size() - 1));
  }
}

TEST_CASE("synthesize gives the reference designs for an ellipsoid") {
  for (const test::ReferenceEllipsoid& expected : test::coarse_id_reference().ellipsoid) {
    // With shares of one half the ellipsoid around two balls is one of sqrt(2) times their radius.
    json input = problem(expected.system, expected.epsilon / std::sqrt(2.0),
                         expected.epsilon / std::sqrt(2.0), "ellipsoid");
    input["alpha"] = 0.5;
    const json got = synthesized(input);
    CHECK(got.at("cost_bound").get<double>() == Catch::Approx(expected.worst_case_cost).epsilon(1e-6));
    CHECK(test::relative_error(matrix(got.at("gain")), expected.K) < 1e-3);
    CHECK_FALSE(got.contains("gamma"));
    input["alpha"] = "free";
    const json best = synthesized(input);
    CHECK(best.at("cost_bound").get<double>() <= expected.worst_case_cost * (1 + 1e-6));
    CHECK(best.at("alpha") != 0.5);
    input.erase("method");
    input.erase("alpha");
    CHECK(synthesized(input) == best);
  }
}

TEST_CASE("synthesize evaluates a certainty-equivalent gain on the estimate and on the truth") {
  for (const test::UncertainSystem& system : test::coarse_id_reference().systems) {
    json input = problem(system, 1e-3, 1e-3, "certainty_equivalence");
    test::DenseTask truth = system.task;
    truth.A(0, 0) += 1e-3L;
    input["true_A"] = rows(truth.A);
    input["true_B"] = rows(truth.B);
    const json got = synthesized(input);
    CHECK(got.at("certified") == true);
    CHECK(got.at("nominal_cost").get<double>() == Catch::Approx(system.cost).epsilon(1e-9));
    // u = -K x: the reference is brought to this sign.
    CHECK(test::relative_error(matrix(got.at("gain")), system.K) < 1e-8);
    CHECK(got.at("true_cost").get<double>() ==
          Catch::Approx(static_cast<double>(truth.cost(system.K))).epsilon(1e-7));
    CHECK(got.at("true_cost").get<double>() > got.at("true_optimal_cost").get<double>());
    CHECK(got.at("true_cost").get<double>() <= got.at("cost_bound").get<double>());
    CHECK(got.at("true_error_A").get<double>() == Catch::Approx(1e-3).epsilon(1e-9));
    CHECK(got.at("true_error_B") == 0.0);
    // A covariance of noise scales costs, not gains.
    input["Sigma0"] = rows(4.0L * test::identity(system.task.A.rows));
    CHECK(synthesized(input).at("true_cost").get<double>() ==
          Catch::Approx(4 * got.at("true_cost").get<double>()).epsilon(1e-12));
  }
  json wrong = scalar_with("true_A", {{5}});
  wrong["true_B"] = {{1}};
  wrong["method"] = "certainty_equivalence";
  CHECK(synthesized(wrong).at("true_cost").is_null());
  wrong["true_B"] = {{0}};
  CHECK(synthesized(wrong).at("true_cost").is_null());
  CHECK(synthesized(wrong).at("true_optimal_cost").is_null());
}

TEST_CASE("where no controller is robust enough, synthesize says how far off the bounds are") {
  // Of gains K, (epsilon_A + epsilon_B |K|) / (1 - |a - b K|) is the level; deadbeat is best here.
  json input = scalar;
  input["epsilon_A"] = 1.5;
  input["epsilon_B"] = 1;
  for (const char* method : {"common_lyapunov", "fir"}) {
    INFO(method);
    input["method"] = method;
    const json got = synthesized(input);
    CHECK(got.at("status") == "infeasible");
    CHECK(got.at("certified") == false);
    CHECK(got.at("gamma_min").get<double>() == Catch::Approx(1.5 + 0.9).epsilon(1e-5));
    for (const char* field : {"gain", "cost_bound", "h2_squared", "true_cost"})
      CHECK_FALSE(got.contains(field));
  }
  input["method"] = "ellipsoid";
  CHECK(synthesized(input).at("status") == "infeasible");
  input["method"] = "certainty_equivalence";
  const json bare = synthesized(input);
  CHECK(bare.at("status") == "solved");
  CHECK(bare.at("certified") == false);
  CHECK(bare.at("cost_bound").is_null());
}

TEST_CASE("the example in synthesize's help runs, and a copy is written where it is told to") {
  const test::Folder folder;
  const auto help = test::run_program(folder, "synthesize", "--help");
  REQUIRE(help.status == 0);
  CHECK_THAT(help.out, ContainsSubstring("u = -K x"));
  const std::size_t begin = help.out.find('{');
  const std::size_t end = help.out.find('}');
  REQUIRE(begin < end);
  folder.write("example.json", help.out.substr(begin, end + 1 - begin));
  const auto outcome = test::run_program(folder, "synthesize", "example.json --out copy");
  REQUIRE(outcome.status == 0);
  json copy = json::parse(folder.read("copy/synthesis.json"));
  CHECK(copy.at("status") == "solved");
  copy["program"] = "synthesize";
  copy["seed"] = 0;
  CHECK(copy == outcome.last_line());
}

TEST_CASE("synthesize refuses every bad input by the name of its field") {
  const auto with = [](const char* field, const json& value) { return scalar_with(field, value).dump(); };
  for (const char* field : {"A", "B", "Q", "R", "epsilon_A", "epsilon_B"}) {
    json input = scalar;
    input.erase(field);
    CHECK_THAT(refused(input.dump()),
               ContainsSubstring("ParseError: standard input: field " + std::string(field) + ": expected a"));
  }
  CHECK_THAT(refused("{"), ContainsSubstring("ParseError: standard input: expected valid JSON"));
  CHECK_THAT(refused(with("gama", 0.5)), ContainsSubstring("field gama: expected one of the fields A, B, Q"));
  CHECK_THAT(refused(with("N", {{0}})), ContainsSubstring("field N: expected one of the fields"));
  CHECK_THAT(refused(with("A", {{0.9, 1}})), ContainsSubstring("DimensionMismatch: standard input: field A"));
  CHECK_THAT(refused(with("B", {{1}, {1}})), ContainsSubstring("DimensionMismatch: B"));
  CHECK_THAT(refused(with("R", {{0}})), ContainsSubstring("NotPositiveDefinite: R"));
  CHECK_THAT(refused(with("Q", {{"x"}})), ContainsSubstring("field Q, row 0"));
  CHECK_THAT(refused(with("epsilon_A", -0.1)), ContainsSubstring("InvalidOption: epsilon_A"));
  CHECK_THAT(refused(with("epsilon_A", 0)), ContainsSubstring("common_lyapunov and fir take zero"));
  CHECK_THAT(refused(with("epsilon_B", 0)), ContainsSubstring("InvalidOption: epsilon_B"));
  CHECK_THAT(refused(with("epsilon_B", "small")), ContainsSubstring("field epsilon_B: expected a number"));
  CHECK_THAT(refused(with("method", "lqg")), ContainsSubstring("field method: expected one of certainty"));
  CHECK_THAT(refused(with("method", 3)), ContainsSubstring("field method: expected a text"));
  for (const double gamma : {0.0, 1.0, -0.5}) {
    CHECK_THAT(refused(with("gamma", gamma)), ContainsSubstring("InvalidOption: gamma"));
    CHECK_THAT(refused(with("alpha", gamma)), ContainsSubstring("InvalidOption: alpha"));
  }
  CHECK_THAT(refused(with("gamma", "free")),
             ContainsSubstring(R"(field gamma: expected a number in (0, 1) or)"));
  CHECK_THAT(refused(with("alpha", json::array())), ContainsSubstring("field alpha: expected a number"));
  CHECK_THAT(refused(with("length", 0)), ContainsSubstring("field length: expected a whole number"));
  CHECK_THAT(refused(with("length", 2.5)), ContainsSubstring("field length: expected a whole number"));
  CHECK_THAT(refused(with("slack", 1)), ContainsSubstring("field slack: expected a truth value"));
  CHECK_THAT(refused(with("true_A", {{1}})), ContainsSubstring("field true_B: expected a matrix"));
  CHECK_THAT(refused(with("true_B", {{1}})), ContainsSubstring("field true_A: expected a matrix"));
  json truth = scalar_with("true_A", {{1}});
  truth["true_B"] = {{1, 2}};
  CHECK_THAT(refused(truth.dump()), ContainsSubstring("DimensionMismatch: standard input: field true_B"));
  json unreachable = scalar_with("A", {{2}});
  unreachable["B"] = {{0}};
  CHECK_THAT(refused(unreachable.dump()), ContainsSubstring("NotStabilizable: A, B"));
}
