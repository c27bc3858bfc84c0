#include "coarse_id.hpp"

#include <cstdio>
#include <fstream>

#include <nlohmann/json.hpp>

namespace test {

namespace {

using Json = nlohmann::json;

Dense matrix(const Json& rows) {
  Dense x(static_cast<Index>(rows.size()), static_cast<Index>(rows.at(0).size()));
  for (Index i = 0; i < x.rows; ++i) {
    for (Index j = 0; j < x.cols; ++j) {
      x(i, j) = rows.at(static_cast<std::size_t>(i)).at(static_cast<std::size_t>(j)).get<double>();
    }
  }
  return x;
}

double number(const Json& object, const char* key) {
  return object.contains(key) ? object.at(key).get<double>() : 0;
}

/// The file's convention is u = K x.
Dense gain(const Json& object, const char* key) {
  return object.contains(key) ? -1.0L * matrix(object.at(key)) : Dense();
}

ReferenceDesign design(const Json& object) {
  ReferenceDesign result;
  result.gamma = number(object, "gamma");
  result.alpha = number(object, "alpha");
  result.h2_squared = number(object, object.contains("h2sq") ? "h2sq" : "h2sq_sdp");
  result.cost_bound = number(object, "cost_bound");
  result.nominal_cost = number(object, "nominal_J");
  result.achieved_hinf = number(object, "achieved_hinf");
  result.K = gain(object, "K");
  result.response = object.contains("Phi_u1") ? matrix(object.at("Phi_u1")) : Dense();
  return result;
}

}  // namespace

std::string ReferenceDesigns::name() const {
  char text[160];
  std::snprintf(text, sizeof text, "%s, %g, %g, alpha %s, length %td", system.name.c_str(), epsilon_A,
                epsilon_B, alpha > 0 ? "fixed" : "free", length);
  return text;
}

const CoarseIdReference& coarse_id_reference() {
  static const CoarseIdReference reference = [] {
    std::ifstream file(METALQR_TEST_DATA "/coarse_id.json");
    const Json document = Json::parse(file);
    CoarseIdReference result;
    for (const auto& [name, object] : document.at("systems").items()) {
      UncertainSystem& system = result.systems.emplace_back();
      system.name = name;
      system.task = {matrix(object.at("A")), matrix(object.at("B")), matrix(object.at("Q")),
                     matrix(object.at("R")), identity(static_cast<Index>(object.at("A").size()))};
      system.K = gain(object, "K");
      system.cost = number(object, "J");
      system.radius = number(object, "rho_cl");
      system.resolvent = number(object, "resolvent_hinf");
    }
    const auto system_of = [&result](const Json& object) {
      for (const UncertainSystem& system : result.systems) {
        if (system.name == object.at("system").get<std::string>()) return system;
      }
      throw std::logic_error("unknown system in coarse_id.json");
    };
    const auto read = [&](const char* section, std::vector<ReferenceDesigns>& designs) {
      for (const Json& object : document.at(section)) {
        ReferenceDesigns& one = designs.emplace_back();
        one.system = system_of(object);
        one.epsilon_A = number(object, "epsA");
        one.epsilon_B = number(object, "epsB");
        one.alpha = object.at("alpha_mode").is_number() ? object.at("alpha_mode").get<double>() : 0;
        one.length = object.contains("L") ? object.at("L").get<Index>() : 0;
        one.gamma_min = number(object, "gamma_min");
        for (const Json& fixed : object.at("fixed")) {
          if (fixed.at("status").get<std::string>() == "optimal") one.fixed.push_back(design(fixed));
        }
        if (object.contains("opt") && object.at("opt").is_object()) one.best = design(object.at("opt"));
      }
    };
    read("cl", result.common_lyapunov);
    read("fir", result.fir);
    read("fir_v", result.fir_with_slack);
    for (const Json& object : document.at("ellipsoid_common_lyapunov")) {
      ReferenceEllipsoid& one = result.ellipsoid.emplace_back();
      one.system = system_of(object);
      one.epsilon = number(object, "eps");
      one.worst_case_cost = number(object, "worst_case_cost");
      one.tau = number(object, "tau");
      one.nominal_cost = number(object, "nominal_J");
      one.sampled_worst = number(object, "sampled_worst");
      one.K = gain(object, "K");
    }
    return result;
  }();
  return reference;
}

}  // namespace test
