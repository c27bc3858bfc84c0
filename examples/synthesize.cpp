/// @file
/// Reads an estimate of a plant with its error bounds from JSON, and finds a controller for every plant that
/// is left.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdio>
#include <limits>
#include <optional>
#include <string>

#include <metalqr/core/eigen.hpp>
#include <metalqr/equations/spectral_norm.hpp>
#include <metalqr/io/json.hpp>
#include <metalqr/io/json_field.hpp>
#include <metalqr/lqr/optimal_gain.hpp>

#include "design.hpp"
#include "program.hpp"

namespace {

using examples::Backend;
using examples::Design;
using examples::Json;
using metalqr::io::JsonDocument;
using metalqr::io::JsonField;
using Task = metalqr::Task<Backend>;

constexpr double infinity = std::numeric_limits<double>::infinity();

void refuse_unknown_fields(const JsonDocument& document) {
  static constexpr std::array known{"A",      "B",     "Q",     "R",      "Sigma0", "epsilon_A", "epsilon_B",
                                    "method", "gamma", "alpha", "length", "slack",  "true_A",    "true_B"};
  std::string names;
  for (const char* name : known) names += (names.empty() ? "" : ", ") + std::string(name);
  for (const auto& item : document.root().items()) {
    bool found = false;
    for (const char* name : known) found = found || item.key() == name;
    if (!found) document.fail(item.key(), -1, "expected one of the fields " + names);
  }
}

double radius(const JsonDocument& document, const char* name) {
  const JsonField field = JsonField(document).field(name);
  const Json& value = document.root().at(name);
  if (!value.is_number()) field.fail("expected a number that is not negative, got " + value.dump());
  return value.get<double>();
}

/// The number in a field; none where its word leaves it to the synthesis.
std::optional<double> number_or(const JsonDocument& document, const char* name, const std::string& word,
                                const std::optional<double>& otherwise) {
  if (!document.has(name)) return otherwise;
  const Json& value = document.root().at(name);
  if (value == word) return examples::synthesis::optimised;
  if (!value.is_number()) {
    JsonField(document).field(name).fail("expected a number in (0, 1) or \"" + word + "\", got " +
                                         value.dump());
  }
  return value.get<double>();
}

examples::Method read_method(const JsonDocument& document) {
  if (!document.has("method")) return examples::Method::ellipsoid;
  const JsonField field = JsonField(document).field("method");
  const auto found = examples::methods().find(field.text());
  if (found != examples::methods().end()) return found->second;
  std::string names;
  for (const auto& [name, method] : examples::methods()) names += (names.empty() ? "" : ", ") + name;
  field.fail("expected one of " + names + ", got the text \"" + field.text() + "\"");
}

examples::DesignOptions read_options(const JsonDocument& document, examples::Method method) {
  examples::DesignOptions options;
  options.gamma = number_or(document, "gamma", "optimise", options.gamma);
  options.alpha = number_or(document, "alpha", "free", options.alpha);
  if (document.has("length")) options.length = JsonField(document).field("length").integer(1);
  if (document.has("slack")) options.slack = JsonField(document).field("slack").flag();
  // At a fixed level, slack would use up all of it, and leave a bound that says nothing.
  if (method == examples::Method::fir && options.slack && !document.has("gamma")) options.gamma.reset();
  return options;
}

/// The matrix in a field, of the shape of `like`.
template <class X>
X read_like(const JsonDocument& document, const char* name, X like) {
  const auto rows = document.matrix(name);
  if (static_cast<metalqr::Index>(rows.size()) != Backend::rows(like) ||
      static_cast<metalqr::Index>(rows[0].size()) != Backend::cols(like)) {
    throw metalqr::DimensionMismatch(
        document.source() + ": field " + name + ": expected the shape of the estimate's, " +
        std::to_string(Backend::rows(like)) + " x " + std::to_string(Backend::cols(like)) + ", got " +
        std::to_string(rows.size()) + " x " + std::to_string(rows[0].size()));
  }
  for (metalqr::Index i = 0; i < Backend::rows(like); ++i) {
    for (metalqr::Index j = 0; j < Backend::cols(like); ++j)
      like(i, j) = rows[static_cast<std::size_t>(i)][static_cast<std::size_t>(j)];
  }
  return like;
}

std::optional<Task> read_truth(const JsonDocument& document, const Task& estimate) {
  if (!document.has("true_A") && !document.has("true_B")) return std::nullopt;
  return Task(read_like(document, "true_A", estimate.A()), read_like(document, "true_B", estimate.B()),
              estimate.Q(), estimate.R(), estimate.Sigma0());
}

/// What the design does on the true plant, and whether that is one for which it was made.
Json on_the_truth(const Task& truth, const Task& estimate, const Design& design) {
  Json result = Json::object();
  if (design.gain || design.controller)
    result["true_cost"] = examples::number_or_null(examples::cost_on(truth, design));
  try {
    result["true_optimal_cost"] = Backend::inner(metalqr::solve_dare(truth).value, truth.Sigma0());
  } catch (const metalqr::NotStabilizable&) {
    result["true_optimal_cost"] = nullptr;
  }
  const Backend::StateMatrix error_A = truth.A() - estimate.A();
  const Backend::InputMatrix error_B = truth.B() - estimate.B();
  result["true_error_A"] = metalqr::spectral_norm<Backend>(error_A);
  result["true_error_B"] = metalqr::spectral_norm<Backend>(error_B);
  return result;
}

void explain(const Design& design) {
  using examples::synthesis::SynthesisStatus;
  const double bound =
      std::min(design.cost_bound.value_or(infinity), design.certified_cost.value_or(infinity));
  if (design.status == SynthesisStatus::infeasible) {
    const double least = design.gamma_min.value_or(infinity);
    std::printf(
        "No controller of this kind is proved to stabilise every plant within the error bounds: its "
        "level\ncan be no less than %.6g, and must be below %.6g. %s\n",
        least, design.gamma.value_or(1),
        !(least < infinity) ? "Allow longer responses, or slack."
        : least < 1         ? "Allow a larger gamma."
                            : "Take more data: the bounds are too large.");
  } else if (design.status == SynthesisStatus::failed) {
    std::printf("The solver gave no design that passed the checks.\n");
  } else if (design.certified) {
    std::printf(
        "Stabilises every plant within the error bounds, at a cost of at most %.6g (%.6g on the "
        "estimate).\n",
        bound, design.nominal_cost.value_or(infinity));
  } else {
    std::printf(
        "Not proved to stabilise every plant within the error bounds; the cost on the estimate is "
        "%.6g.\n",
        design.nominal_cost.value_or(infinity));
  }
}

const char* const description =
    R"(Reads an estimate (A, B) of a plant and bounds on its errors from a JSON object, and finds a controller
that stabilises every plant within the bounds, of small cost E[x'Qx + u'Ru] in the long run. For example:
  {"A": [[1.01, 0.01, 0], [0.01, 1.01, 0.01], [0, 0.01, 1.01]],
   "B": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
   "Q": [[0.001, 0, 0], [0, 0.001, 0], [0, 0, 0.001]],
   "R": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
   "epsilon_A": 0.05, "epsilon_B": 0.05, "method": "common_lyapunov", "gamma": "optimise"}
Fields of the input:
  A, B, Q, R            lists of rows; Sigma0: covariance of the noise, the identity if absent
  epsilon_A, epsilon_B  |A - true A| and |B - true B| are at most these, in spectral norm
  method                ellipsoid (default), common_lyapunov, fir, certainty_equivalence
  gamma                 level to stay below, in (0, 1), or "optimise": that of the least cost bound
                        (default 0.999, or of fir with slack "optimise"); for common_lyapunov and fir
  alpha                 share of epsilon_A in the level, in (0, 1), or "free" (default): the best one
  length, slack         of fir: coefficients of the responses (16); may they end in a rest (false)
  true_A, true_B        optional: the true plant, on which the result is then evaluated; costs that no gain
                        makes finite are null
Fields of the last line, where they have a meaning; null is infinite:
  status                solved, infeasible (no such controller: gamma_min tells how far off) or failed
  certified             whether stability on every plant within the bounds is proved
  gamma_min, gamma, alpha, h2_squared, achieved_hinf   levels, share, squared H2 norm, exact level
  cost_bound, certified_cost   each is above the cost on every plant within the bounds
  gain                  K of the control law u = -K x (mind the minus)
  state_response, input_response   of fir, lists Phi_x(1), ..., Phi_u(1), ... of matrices, for
                        d = x - sum_{k>1} Phi_x(k) d[k-1 steps ago], u = + sum_k Phi_u(k) d[k-1 steps ago]
  true_cost, true_optimal_cost, true_error_A, true_error_B   on the true plant)";

}  // namespace

int main(int argc, char** argv) {
  examples::Program program("synthesize", description);
  std::string file;
  bool state_space = false;
  program.options().add_option("FILE", file, "JSON file; - is standard input")->required();
  program.options().add_flag(
      "--state-space", state_space,
      "With fir, also the controller as a state space: xi+ = A xi + B x, u = C xi + D x");
  program.out_option().default_str("")->description("Folder for a copy, synthesis.json; without it none");
  return program.run(argc, argv, [&] {
    const JsonDocument document = JsonDocument::from_file(file);
    refuse_unknown_fields(document);
    const examples::synthesis::RobustProblem<Backend> problem{metalqr::io::read_task<Backend>(document),
                                                              radius(document, "epsilon_A"),
                                                              radius(document, "epsilon_B")};
    const examples::Method method = read_method(document);
    const examples::DesignOptions options = read_options(document, method);
    const std::optional<Task> truth = read_truth(document, problem.estimate);
    const Design design = examples::make_design(problem, method, options);
    Json result;
    for (const auto& [name, value] : examples::methods()) {
      if (value == method) result["method"] = name;
    }
    result.update(examples::to_json(design));
    if (state_space && design.controller)
      result["state_space"] = examples::state_space_json(*design.controller);
    if (truth) result.update(on_the_truth(*truth, problem.estimate, design));
    if (program.has_out()) metalqr::io::write_json(program.path("synthesis.json"), result);
    explain(design);
    return result;
  });
}
