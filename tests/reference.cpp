#include "reference.hpp"

#include <fstream>

#include <nlohmann/json.hpp>

namespace test {

const std::vector<ReferenceCase>& reference_cases() {
  static const std::vector<ReferenceCase> cases = [] {
    std::ifstream file(METALQR_TEST_DATA "/lqr_cases.json");
    const nlohmann::json document = nlohmann::json::parse(file);
    const auto matrix = [](const nlohmann::json& rows) {
      Dense x(static_cast<Index>(rows.size()), static_cast<Index>(rows.at(0).size()));
      for (Index i = 0; i < x.rows; ++i) {
        for (Index j = 0; j < x.cols; ++j) {
          x(i, j) = rows.at(static_cast<std::size_t>(i)).at(static_cast<std::size_t>(j)).get<double>();
        }
      }
      return x;
    };
    std::vector<ReferenceCase> result;
    for (const nlohmann::json& c : document.at("cases")) {
      ReferenceCase one;
      one.name = c.at("name").get<std::string>();
      one.task = {matrix(c.at("A")), matrix(c.at("B")), matrix(c.at("Q")), matrix(c.at("R")),
                  matrix(c.at("Sigma0"))};
      one.K = matrix(c.at("K"));
      one.X = matrix(c.at("X"));
      one.rho = c.at("rho").get<double>();
      one.P = matrix(c.at("P"));
      one.Sigma = matrix(c.at("Sigma"));
      one.gradient = matrix(c.at("gradient"));
      one.hessian_X = matrix(c.at("hessian_X"));
      one.paper_hessian_X = matrix(c.at("paper_hessian_X"));
      one.cost = c.at("cost").get<double>();
      one.hessian_form_X = c.at("hessian_form_X").get<double>();
      one.P_star = matrix(c.at("P_star"));
      one.K_star = matrix(c.at("K_star"));
      one.cost_star = c.at("cost_star").get<double>();
      result.push_back(one);
    }
    return result;
  }();
  return cases;
}

}  // namespace test
