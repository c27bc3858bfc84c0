#include <string>

#include <nlohmann/json.hpp>

#include "catch.hpp"
#include "json_matrix.hpp"
#include "reference.hpp"
#include "run_program.hpp"
#include "support.hpp"

namespace {

using Catch::Matchers::ContainsSubstring;
using nlohmann::json;
using test::matrix;
using test::rows;

json problem(const test::ReferenceCase& one) {
  return {{"A", rows(one.task.A)}, {"B", rows(one.task.B)},           {"Q", rows(one.task.Q)},
          {"R", rows(one.task.R)}, {"Sigma0", rows(one.task.Sigma0)}, {"K", rows(one.K)},
          {"X", rows(one.X)}};
}

/// What evaluate says about a problem that it accepts.
json evaluated(const json& input) {
  const test::Folder folder;
  folder.write("task.json", input.dump());
  const auto outcome = test::run_program(folder, "evaluate", "task.json");
  INFO(outcome.err);
  REQUIRE(outcome.status == 0);
  CHECK(outcome.err.empty());
  return outcome.last_line();
}

/// What evaluate says on stderr about text that it refuses: then stdout is empty.
std::string refused(const std::string& text, const std::string& arguments = "task.json") {
  const test::Folder folder;
  folder.write("task.json", text);
  const auto outcome = test::run_program(folder, "evaluate", arguments);
  CHECK(outcome.status >= 1);
  CHECK(outcome.status <= 125);
  CHECK(outcome.out.empty());
  return outcome.err;
}

const json scalar = {{"A", {{0.5}}}, {"B", {{1}}}, {"Q", {{1}}}, {"R", {{1}}}};

json scalar_with(const std::string& field, const json& value) {
  json result = scalar;
  result[field] = value;
  return result;
}

}  // namespace

TEST_CASE("evaluate prints the reference values of every case") {
  for (const test::ReferenceCase& one : test::reference_cases()) {
    INFO(one.name);
    const json got = evaluated(problem(one));
    const double tolerance = one.tolerance();
    CHECK(got.at("program") == "evaluate");
    CHECK(test::relative_error(got.at("rho").get<double>(), one.rho) < tolerance);
    CHECK(test::relative_error(got.at("cost").get<double>(), one.cost) < tolerance);
    CHECK(test::relative_error(matrix(got.at("P")), one.P) < tolerance);
    CHECK(test::relative_error(matrix(got.at("Sigma")), one.Sigma) < tolerance);
    CHECK(test::relative_error(matrix(got.at("gradient")), one.gradient, one.task.gradient_scale(one.K)) <
          tolerance);
    CHECK(test::relative_error(matrix(got.at("hessian")), one.hessian_X) < tolerance);
    CHECK(test::relative_error(got.at("hessian_form").get<double>(), one.hessian_form_X) < tolerance);
    CHECK(test::relative_error(matrix(got.at("paper_hessian")), one.paper_hessian_X) < tolerance);
    const json& optimal = got.at("optimal");
    CHECK(test::relative_error(matrix(optimal.at("gain")), one.K_star) < tolerance);
    CHECK(test::relative_error(matrix(optimal.at("value")), one.P_star) < tolerance);
    CHECK(test::relative_error(optimal.at("cost").get<double>(), one.cost_star) < tolerance);
    CHECK(optimal.at("residual").get<double>() < 1e-12);
    CHECK(optimal.at("iterations").get<int>() > 0);
  }
}

TEST_CASE("evaluate reads standard input, and writes a copy where it is told to") {
  const test::Folder folder;
  const auto outcome = test::run_program(folder, "evaluate", "- --out copy --seed 5",
                                         problem(test::reference_cases()[0]).dump());
  REQUIRE(outcome.status == 0);
  json copy = json::parse(folder.read("copy/evaluation.json"));
  copy["program"] = "evaluate";
  copy["seed"] = 5;
  CHECK(copy == outcome.last_line());
  CHECK(folder.count() == 1);
}

TEST_CASE("fields that need K or X are there only with them; Sigma0 is the identity if absent") {
  const json without = evaluated(scalar);
  for (const char* field :
       {"rho", "cost", "gradient", "P", "Sigma", "hessian", "hessian_form", "paper_hessian"})
    CHECK_FALSE(without.contains(field));
  CHECK(without.at("optimal").at("cost") == without.at("optimal").at("value")[0][0]);
  const json with_K = evaluated(scalar_with("K", {{0.25}}));
  CHECK(with_K.at("rho") == 0.25);
  CHECK(with_K.at("Sigma")[0][0].get<double>() == Catch::Approx(1 / (1 - 0.0625)).epsilon(1e-14));
  CHECK(with_K.at("cost").get<double>() == Catch::Approx((1 + 0.0625) / (1 - 0.0625)).epsilon(1e-14));
  CHECK_FALSE(with_K.contains("hessian"));
  CHECK_FALSE(evaluated(scalar_with("X", {{1}})).contains("hessian"));
}

TEST_CASE("a cross term gives the values of the scalar plant in closed form") {
  // a = .5, b = q = r = 1, n = .3, k = .4: f = .1, p = (q - 2 n k + r k^2)/(1 - f^2), s = 1/(1 - f^2).
  json input = scalar;
  input["N"] = {{0.3}};
  input["K"] = {{0.4}};
  input["X"] = {{1}};
  const json got = evaluated(input);
  const double p = (1 - 0.24 + 0.16) / 0.99;
  const double s = 1 / 0.99;
  CHECK(got.at("rho").get<double>() == Catch::Approx(0.1).epsilon(1e-13));
  CHECK(got.at("P")[0][0].get<double>() == Catch::Approx(p).epsilon(1e-13));
  CHECK(got.at("cost").get<double>() == Catch::Approx(p).epsilon(1e-13));
  // dJ/dk of that quotient, and the optimum by its Riccati equation.
  const double slope = 2 * (0.4 - 0.3 - p * 0.1) * s;
  CHECK(got.at("gradient")[0][0].get<double>() == Catch::Approx(slope).epsilon(1e-12));
  const double P = got.at("optimal").at("value")[0][0].get<double>();
  const double gain = (0.5 * P + 0.3) / (1 + P);
  CHECK(P == Catch::Approx(1 + 0.25 * P - gain * gain * (1 + P)).epsilon(1e-13));
  CHECK(got.at("optimal").at("gain")[0][0].get<double>() == Catch::Approx(gain).epsilon(1e-13));
}

TEST_CASE(
    "a gain is evaluated also where no optimal gain exists: then optimal is null, and stderr says why") {
  // The cost does not see the first mode, which sits on the stability limit until K moves it.
  const json marginal = {
      {"A", {{1, 0}, {0, 0.5}}}, {"B", {{1, 0}, {0, 1}}}, {"Q", {{0, 0}, {0, 1}}}, {"R", {{1, 0}, {0, 1}}}};
  CHECK_THAT(refused(marginal.dump()), ContainsSubstring("NoConvergence"));
  json with_gain = marginal;
  with_gain["K"] = {{0.5, 0}, {0, 0}};
  const test::Folder folder;
  folder.write("task.json", with_gain.dump());
  const auto outcome = test::run_program(folder, "evaluate", "task.json");
  REQUIRE(outcome.status == 0);
  CHECK_THAT(outcome.err, ContainsSubstring("no optimal gain"));
  CHECK(outcome.last_line().at("optimal").is_null());
  // J = k^2/(1 - (1 - k)^2) + 1/(1 - 1/4) from unit second moments.
  CHECK(outcome.last_line().at("cost").get<double>() == Catch::Approx(0.25 / 0.75 + 1 / 0.75));
}

TEST_CASE("a destabilising gain is refused by its error's name, with nothing on stdout") {
  const std::string message = refused(scalar_with("K", {{-0.75}}).dump());
  CHECK_THAT(message, ContainsSubstring("evaluate: NotStabilizing: K: "));
  CHECK_THAT(message, ContainsSubstring("got 1.25"));
  CHECK_THAT(refused(scalar_with("K", {{-0.5}}).dump()), ContainsSubstring("NotStabilizing"));
}

TEST_CASE("every bad input is refused by name, with nothing on stdout") {
  json without_B = scalar;
  without_B.erase("B");
  CHECK_THAT(refused(without_B.dump()), ContainsSubstring("ParseError: task.json: field B"));
  CHECK_THAT(refused("{"), ContainsSubstring("ParseError: task.json: expected valid JSON"));
  CHECK_THAT(refused(R"({"A": [[1e999]]})"), ContainsSubstring("ParseError: task.json: field A, row 0"));
  CHECK_THAT(refused(scalar_with("K", {{"x"}}).dump()),
             ContainsSubstring("ParseError: task.json: field K, row 0"));
  CHECK_THAT(refused(scalar_with("K", {{1, 2}}).dump()), ContainsSubstring("DimensionMismatch: K: "));
  CHECK_THAT(refused(scalar_with("X", {{1, 2}}).dump()), ContainsSubstring("DimensionMismatch: X: "));
  CHECK_THAT(refused(scalar_with("N", {{1}, {2}}).dump()), ContainsSubstring("DimensionMismatch: N: "));
  CHECK_THAT(refused(scalar_with("N", {{3}}).dump()), ContainsSubstring("NotPositiveDefinite: [Q N; N' R]"));
  CHECK_THAT(refused(scalar_with("R", {{0}}).dump()), ContainsSubstring("NotPositiveDefinite: R"));
  CHECK_THAT(refused(scalar_with("Q", {{-1}}).dump()), ContainsSubstring("NotPositiveDefinite: Q"));
  json unreachable = scalar;
  unreachable["A"] = {{2}};
  unreachable["B"] = {{0}};
  CHECK_THAT(refused(unreachable.dump()), ContainsSubstring("NotStabilizable: A, B"));
  CHECK_THAT(refused("", "none.json"), ContainsSubstring("ParseError: none.json: expected a readable file"));
  CHECK_THAT(refused(scalar.dump(), "task.json --out task.json/sub"), ContainsSubstring("FileError: --out"));
}

TEST_CASE("bad usage ends with status 2 and a hint; help is for stdout") {
  const test::Folder folder;
  for (const char* arguments :
       {"", "task.json --nonsense", "task.json --seed -1", "task.json --seed x", "a b"}) {
    const auto outcome = test::run_program(folder, "evaluate", arguments);
    INFO(arguments);
    CHECK(outcome.status == 2);
    CHECK(outcome.out.empty());
    CHECK_THAT(outcome.err, ContainsSubstring("Try evaluate --help"));
  }
  const auto help = test::run_program(folder, "evaluate", "--help");
  CHECK(help.status == 0);
  CHECK_THAT(help.out,
             ContainsSubstring("--seed") && ContainsSubstring("--out") && ContainsSubstring("FILE"));
  CHECK(folder.count() == 0);
}
