/// @file
/// Reads a task, and a gain on it, from JSON and prints everything the library knows about them.

#include <iostream>
#include <optional>
#include <string>

#include <metalqr/core/eigen.hpp>
#include <metalqr/equations/riccati.hpp>
#include <metalqr/io/json.hpp>
#include <metalqr/lqr/cross_term.hpp>
#include <metalqr/lqr/evaluation.hpp>

#include "program.hpp"

namespace {

using Backend = metalqr::EigenBackend<double>;
using metalqr::io::Json;
using metalqr::io::to_json;

/// A number for JSON, which has neither NaN nor infinity.
double finite(double value, const char* name) {
  if (value - value == 0) return value;
  throw metalqr::NotFinite(std::string(name) + ": expected a finite number, got " +
                           metalqr::detail::text(value));
}

Json evaluate(const metalqr::io::JsonDocument& document) {
  const auto [task, N] = metalqr::io::read_task_with_cross_term<Backend>(document);
  const metalqr::CrossTermTask<Backend> equivalent = metalqr::with_cross_term(task, N);
  std::optional<Backend::Gain> X;
  if (document.has("X")) {
    X = metalqr::io::read_gain<Backend>(document, "X");
    metalqr::detail::require_shape<Backend>(*X, task.nu(), task.nx(), "X");
  }

  Json result;
  if (document.has("K")) {
    const Backend::Gain K = metalqr::io::read_gain<Backend>(document, "K");
    const metalqr::Evaluation<Backend> at(equivalent.task, equivalent.equivalent_gain(K));
    result["rho"] = finite(at.spectral_radius(), "rho");
    result["cost"] = finite(at.cost(), "cost");
    result["gradient"] = to_json<Backend>(at.gradient(), "gradient");
    result["P"] = to_json<Backend>(at.P(), "P");
    result["Sigma"] = to_json<Backend>(at.Sigma(), "Sigma");
    if (X) {
      result["hessian"] = to_json<Backend>(at.hessian(*X), "hessian");
      result["hessian_form"] = finite(at.hessian_form(*X), "hessian_form");
      result["paper_hessian"] = to_json<Backend>(at.paper_hessian(*X), "paper_hessian");
    }
  }

  try {
    const auto optimal = metalqr::solve_dare<Backend>(task.A(), task.B(), task.Q(), task.R(), N);
    result["optimal"] = {{"gain", to_json<Backend>(optimal.gain, "optimal gain")},
                         {"value", to_json<Backend>(optimal.value, "optimal value")},
                         {"cost", finite(Backend::inner(optimal.value, task.Sigma0()), "optimal cost")},
                         {"residual", finite(optimal.residual, "residual")},
                         {"iterations", optimal.iterations}};
  } catch (const metalqr::NoConvergence& error) {
    // The cost need not see a mode on the stability limit; what was asked of K is known all the same.
    if (!document.has("K")) throw;
    std::cerr << "evaluate: no optimal gain: " << error.what() << '\n';
    result["optimal"] = nullptr;
  }
  return result;
}

}  // namespace

int main(int argc, char** argv) {
  examples::Program program(
      "evaluate",
      "Reads a linear-quadratic regulator problem from a JSON object with the fields A, B, Q, R\n"
      "(lists of rows) and, if you like, Sigma0 (E[x0 x0'], else the identity), N (cross term\n"
      "2 x'Nu of the cost), K (a gain, u = -K x) and X (a direction of the shape of K). Prints the\n"
      "optimal gain and value; with K its spectral radius, cost, gradient, P and Sigma; with K and X\n"
      "also the Hessian H[X], <H[X], X>, and the Hessian as printed in the MAML-LQR paper. Where no\n"
      "optimal gain exists, \"optimal\" is null if K was given.");
  std::string file;
  program.options().add_option("FILE", file, "JSON file; - is standard input")->required();
  program.out_option().default_str("")->description("Folder for a copy, evaluation.json; without it none");
  return program.run(argc, argv, [&] {
    const Json result = evaluate(metalqr::io::JsonDocument::from_file(file));
    if (program.has_out()) metalqr::io::write_json(program.path("evaluation.json"), result);
    return result;
  });
}
