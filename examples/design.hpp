#pragma once

/// @file
/// A controller for an uncertain plant by any of the library's methods, and what is known of it, as JSON.

#include <limits>
#include <map>
#include <optional>
#include <string>

#include <metalqr/core/eigen.hpp>
#include <metalqr/io/json.hpp>
#include <metalqr/synthesis/certainty_equivalence.hpp>
#include <metalqr/synthesis/certificate.hpp>
#include <metalqr/synthesis/common_lyapunov.hpp>
#include <metalqr/synthesis/ellipsoid.hpp>
#include <metalqr/synthesis/fir.hpp>
#ifdef METALQR_EXAMPLES_SDP
#include <metalqr/synthesis/csdp.hpp>
#endif

#include "program.hpp"

namespace examples {

using Backend = metalqr::EigenBackend<double>;
using metalqr::Index;
namespace synthesis = metalqr::synthesis;

/// How a controller is found.
enum class Method { certainty_equivalence, common_lyapunov, fir, ellipsoid };

/// The methods by name.
inline const std::map<std::string, Method>& methods() {
  static const std::map<std::string, Method> all{{"certainty_equivalence", Method::certainty_equivalence},
                                                 {"common_lyapunov", Method::common_lyapunov},
                                                 {"fir", Method::fir},
                                                 {"ellipsoid", Method::ellipsoid}};
  return all;
}

/// What the methods are told; each takes what it has a use for.
struct DesignOptions {
  std::optional<double> gamma = 0.999;                 ///< see `synthesis::RobustOptions`
  std::optional<double> alpha = synthesis::optimised;  ///< see `synthesis::RobustOptions`
  Index length = 16;                                   ///< see `synthesis::FirOptions`
  bool slack = false;                                  ///< see `synthesis::FirOptions`
};

/// What a method gave; an absent number is one that the method does not have.
struct Design {
  synthesis::SynthesisStatus status = synthesis::SynthesisStatus::failed;
  bool certified = false;                  ///< proved to stabilise every plant of the problem
  std::optional<double> gamma_min{};       ///< least level that can be reached
  std::optional<double> gamma{};           ///< level asked for or found
  std::optional<double> alpha{};           ///< share of epsilon_A in it
  std::optional<double> h2_squared{};      ///< squared H2 norm that the method minimises
  std::optional<double> nominal_cost{};    ///< on the estimate
  std::optional<double> cost_bound{};      ///< on every plant of the problem
  std::optional<double> certified_cost{};  ///< another such bound, from the exact level
  std::optional<double> achieved_hinf{};   ///< the exact level
  std::optional<Backend::Gain> gain{};     ///< u = -K x
  std::optional<synthesis::FirController<Backend>> controller{};  ///< u = controller(x), of `Method::fir`
};

namespace detail {

/// Of a `RobustGain` or a `FirDesign`.
template <class Result>
Design numbers_of(const Result& result) {
  Design design;
  design.status = result.status;
  design.gamma_min = result.gamma_min;
  if (result.status == synthesis::SynthesisStatus::failed) return design;
  design.gamma = result.gamma;
  if (result.status != synthesis::SynthesisStatus::solved) return design;
  design.certified = true;
  design.alpha = result.alpha;
  design.h2_squared = result.h2_squared;
  design.nominal_cost = result.nominal_cost;
  design.cost_bound = result.cost_bound;
  design.certified_cost = result.certified_cost;
  design.achieved_hinf = result.achieved_hinf;
  return design;
}

inline Design design_of(const synthesis::RobustGain<Backend>& result) {
  Design design = numbers_of(result);
  if (design.certified) design.gain = result.gain;
  return design;
}

inline Design design_of(const synthesis::FirDesign<Backend>& result) {
  Design design = numbers_of(result);
  if (design.certified) design.controller = result.controller;
  return design;
}

inline Design design_of(const synthesis::CertaintyEquivalentGain<Backend>& result) {
  const synthesis::RobustCertificate& certificate = result.certificate;
  return {.status = synthesis::SynthesisStatus::solved,
          .certified = certificate.certified(),
          .alpha = certificate.alpha,
          .h2_squared = certificate.nominal_cost,
          .nominal_cost = certificate.nominal_cost,
          .cost_bound = certificate.cost_bound,
          .achieved_hinf = certificate.level,
          .gain = result.gain};
}

#ifdef METALQR_EXAMPLES_SDP
/// The ellipsoid has no level to be chosen.
inline Design without_level(Design design) {
  design.gamma.reset();
  return design;
}
#endif

}  // namespace detail

/// Whether this program has a semidefinite solver, without which there is only certainty equivalence.
inline constexpr bool has_solver =
#ifdef METALQR_EXAMPLES_SDP
    true;
#else
    false;
#endif

/// What they are for `synthesis::fir`, which takes all of them.
inline synthesis::FirOptions fir_options(const DesignOptions& options) {
  return {.length = options.length, .gamma = options.gamma, .alpha = options.alpha, .slack = options.slack};
}

/// Whatever the method, an option that is wrong is worth a word.
/// @throws metalqr::InvalidOption.
inline void validate(const DesignOptions& options) {
  validate(fir_options(options));
}

/// A controller for every plant within the radii of a problem.
/// @throws metalqr::Error; InvalidOption for a method that needs a solver where there is none.
inline Design make_design(const synthesis::RobustProblem<Backend>& problem, Method method,
                          const DesignOptions& options) {
  validate(options);
  if (method == Method::certainty_equivalence)
    return detail::design_of(synthesis::certainty_equivalence(problem));
#ifdef METALQR_EXAMPLES_SDP
  const synthesis::RobustOptions robust{.gamma = options.gamma, .alpha = options.alpha};
  const synthesis::Csdp solver;
  if (method == Method::common_lyapunov)
    return detail::design_of(synthesis::common_lyapunov(problem, solver, robust));
  if (method == Method::fir) return detail::design_of(synthesis::fir(problem, solver, fir_options(options)));
  return detail::without_level(detail::design_of(synthesis::ellipsoid(problem, solver, options.alpha)));
#else
  throw metalqr::InvalidOption(
      "method: expected certainty_equivalence, the only one without the semidefinite solver CSDP, which was "
      "not there when this program was built");
#endif
}

/// A controller for every plant of an ellipsoid.
/// @throws metalqr::Error; InvalidOption where there is no solver.
inline Design make_design(const synthesis::EllipsoidProblem<Backend>& problem) {
#ifdef METALQR_EXAMPLES_SDP
  Design design = detail::without_level(detail::design_of(synthesis::ellipsoid(problem, synthesis::Csdp())));
  design.alpha.reset();
  return design;
#else
  static_cast<void>(problem);
  throw metalqr::InvalidOption("method: expected certainty_equivalence, got ellipsoid without a solver");
#endif
}

/// The long-run average cost of a design on a plant; infinity where it is not proved to stabilise that.
inline double cost_on(const metalqr::Task<Backend>& plant, const Design& design) {
  if (design.gain) return metalqr::cost(plant, *design.gain);
  if (design.controller) return synthesis::cost(plant, design.controller->state_space());
  return std::numeric_limits<double>::infinity();
}

/// The design's numbers and its gain, or the responses of its controller.
inline Json to_json(const Design& design) {
  Json result = {{"status", to_string(design.status)}, {"certified", design.certified}};
  const auto add = [&result](const char* name, const std::optional<double>& value) {
    if (value) result[name] = number_or_null(*value);
  };
  add("gamma_min", design.gamma_min);
  add("gamma", design.gamma);
  add("alpha", design.alpha);
  add("h2_squared", design.h2_squared);
  add("nominal_cost", design.nominal_cost);
  add("cost_bound", design.cost_bound);
  add("certified_cost", design.certified_cost);
  add("achieved_hinf", design.achieved_hinf);
  if (design.gain) result["gain"] = metalqr::io::to_json<Backend>(*design.gain, "gain");
  if (design.controller) {
    Json states = Json::array();
    Json inputs = Json::array();
    for (const auto& phi : design.controller->state_response())
      states.push_back(metalqr::io::to_json<Backend>(phi, "state_response"));
    for (const auto& phi : design.controller->input_response())
      inputs.push_back(metalqr::io::to_json<Backend>(phi, "input_response"));
    result["state_response"] = states;
    result["input_response"] = inputs;
  }
  return result;
}

/// The state space of a dynamic controller.
inline Json state_space_json(const synthesis::FirController<Backend>& controller) {
  const synthesis::ControllerStateSpace<Backend> space = controller.state_space();
  return {{"A", metalqr::io::to_json<Backend>(space.A, "A")},
          {"B", metalqr::io::to_json<Backend>(space.B, "B")},
          {"C", metalqr::io::to_json<Backend>(space.C, "C")},
          {"D", metalqr::io::to_json<Backend>(space.D, "D")}};
}

}  // namespace examples
