/// @file
/// From recorded trajectories to a controller and a certificate, with a report in words.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include <metalqr/core/check.hpp>
#include <metalqr/core/eigen.hpp>
#include <metalqr/equations/spectral.hpp>
#include <metalqr/identification/bootstrap.hpp>
#include <metalqr/identification/data_bound.hpp>
#include <metalqr/identification/least_squares.hpp>
#include <metalqr/io/json.hpp>
#include <metalqr/io/trajectories.hpp>
#include <metalqr/synthesis/learned_problem.hpp>

#include "design.hpp"
#include "learn_report.hpp"
#include "program.hpp"

namespace {

namespace identification = metalqr::identification;
namespace io = metalqr::io;
using examples::Backend;
using examples::Design;
using examples::Index;
using examples::Json;
using examples::Method;
using examples::learning::Knowledge;
using examples::learning::Settings;
using examples::learning::Task;

/// The numbers between the commas; none unless all are numbers.
std::vector<double> read_list(std::string_view text) {
  std::vector<double> values;
  for (const std::string_view cell : io::detail::split_csv_line(text)) {
    values.emplace_back();
    if (!io::detail::read_cell(cell, values.back())) return {};
  }
  return values;
}

/// A weight of the cost as it stands on the command line: a number, a diagonal, or a JSON file.
template <class X>
X read_weight(const std::string& text, const char* name, X zeros) {
  const Index size = Backend::rows(zeros);
  std::vector<double> diagonal = read_list(text);
  if (diagonal.empty()) {
    const auto rows = io::JsonDocument::from_file(text).matrix(name);
    const auto fits = [size](std::size_t count) { return static_cast<Index>(count) == size; };
    if (!fits(rows.size()) || !fits(rows[0].size())) {
      throw metalqr::DimensionMismatch(text + ": field " + name + ": expected " + std::to_string(size) +
                                       " x " + std::to_string(size) + ", got " + std::to_string(rows.size()) +
                                       " x " + std::to_string(rows[0].size()));
    }
    for (Index i = 0; i < size; ++i) {
      for (Index j = 0; j < size; ++j)
        zeros(i, j) = rows[static_cast<std::size_t>(i)][static_cast<std::size_t>(j)];
    }
    return zeros;
  }
  if (diagonal.size() == 1) diagonal.assign(static_cast<std::size_t>(size), diagonal[0]);
  if (static_cast<Index>(diagonal.size()) != size) {
    throw metalqr::DimensionMismatch("--" + std::string(name) + ": expected one number or " +
                                     std::to_string(size) + ", got " + std::to_string(diagonal.size()));
  }
  for (Index i = 0; i < size; ++i) zeros(i, i) = diagonal[static_cast<std::size_t>(i)];
  return zeros;
}

/// @throws metalqr::Error.
Knowledge learn(const identification::Dataset<Backend>& data, const Settings& settings, std::uint64_t seed) {
  if (settings.samples == "last" && settings.confidence == "bootstrap") {
    throw metalqr::InvalidOption(
        "--samples: expected all with --confidence bootstrap, which repeats the experiment with all of them");
  }
  // Without noise there is no ellipsoid, and no cost.
  if (settings.noise) {
    metalqr::detail::require_option(*settings.noise > 0, "noise", *settings.noise, "a positive number");
  }
  Backend::Gain K = Backend::zero_gain(data.nu(), data.nx());
  if (!settings.feedback.empty()) {
    K = io::read_gain<Backend>(io::JsonDocument::from_file(settings.feedback), "K");
    metalqr::detail::require_shape<Backend>(K, data.nu(), data.nx(), "K");
  }
  const auto samples =
      settings.samples == "last" ? identification::Samples::last : identification::Samples::all;
  const auto estimate = identification::least_squares(data, {.samples = samples});
  const auto all = samples == identification::Samples::all ? estimate : identification::least_squares(data);
  Knowledge result{estimate,
                   identification::data_bound(
                       estimate, {.delta = settings.delta, .noise = settings.noise, .rigorous = false}),
                   identification::bootstrap(all, data, K,
                                             {.trials = settings.trials,
                                              .delta = settings.delta,
                                              .noise = settings.noise,
                                              .inputs = identification::TrialInputs::recorded},
                                             {.seed = seed})};
  const bool bound = settings.confidence == "bound";
  if (!bound && !result.trials_resemble_data()) {
    throw metalqr::InvalidOption(
        "--confidence: expected bound, or the gain of the feedback under which the data were recorded by "
        "--feedback, got bootstrap, whose trials have states and inputs of " +
        metalqr::detail::text(result.bootstrap.regressor_ratio) + " times the data's mean square");
  }
  result.epsilon_A = bound ? result.bound.epsilon_A : result.bootstrap.epsilon_A;
  result.epsilon_B = bound ? result.bound.epsilon_B : result.bootstrap.epsilon_B;
  return result;
}

Design control(const Task& task, const Knowledge& known, const Settings& settings) {
  const Method method = examples::methods().at(settings.method);
  const examples::DesignOptions options{.gamma = settings.gamma, .length = settings.length};
  validate(options);
  if (settings.uses_ellipsoid()) {
    return examples::make_design(metalqr::synthesis::learned_problem(known.bound, task.Q(), task.R()));
  }
  return examples::make_design({task, known.epsilon_A, known.epsilon_B}, method, options);
}

std::vector<std::string> assumptions_of(const Knowledge& known, const Settings& settings) {
  std::vector<std::string> all{"The cost is the long-run average of x'Qx + u'Ru."};
  const auto& used = settings.confidence == "bound" ? known.bound.assumptions : known.bootstrap.assumptions;
  all.insert(all.end(), used.begin(), used.end());
  return all;
}

Json job(examples::Program& program, const Settings& settings) {
  const auto data = io::read_trajectories<Backend>(settings.file, settings.columns);
  const Backend::StateMatrix Q = read_weight(settings.Q, "Q", Backend::zero_state_matrix(data.nx()));
  const Backend::ControlMatrix R = read_weight(settings.R, "R", Backend::zero_control_matrix(data.nu()));
  const Knowledge known = learn(data, settings, program.seed());
  const double variance = known.bound.noise * known.bound.noise;
  const Task plain(known.estimate.A, known.estimate.B, Q, R);
  const Task task = plain.with_process_noise(variance * Backend::identity_like(plain.A()));
  const Design design = control(task, known, settings);
  const std::vector<std::string> assumptions = assumptions_of(known, settings);

  examples::learning::print_estimate(data, known, settings);
  examples::learning::print_design(task, design, settings);
  std::printf("\n6. What was taken on trust:\n");
  for (const std::string& assumption : assumptions) std::printf("  - %s\n", assumption.c_str());

  Json result = {{"rollouts", data.size()},
                 {"transitions", data.transitions()},
                 {"estimate",
                  {{"A", io::to_json<Backend>(known.estimate.A, "A")},
                   {"B", io::to_json<Backend>(known.estimate.B, "B")},
                   {"noise", known.bound.noise},
                   {"rho", metalqr::spectral_radius<Backend>(known.estimate.A)},
                   {"condition", known.estimate.condition()}}},
                 {"confidence",
                  {{"delta", settings.delta},
                   {"used", settings.confidence},
                   {"bound",
                    {{"epsilon_A", known.bound.epsilon_A},
                     {"epsilon_B", known.bound.epsilon_B},
                     {"rigorous", known.bound.rigorous}}},
                   {"bootstrap",
                    {{"epsilon_A", examples::number_or_null(known.bootstrap.epsilon_A)},
                     {"epsilon_B", examples::number_or_null(known.bootstrap.epsilon_B)},
                     {"excitation", known.bootstrap.excitation}}}}},
                 {"method", settings.method}};
  result.update(examples::to_json(design));
  result["assumptions"] = assumptions;
  if (program.has_out()) io::write_json(program.path("controller.json"), result);
  return result;
}

void add_options(CLI::App& options, Settings& settings) {
  options.add_option("FILE", settings.file, "CSV file; - is standard input")->required();
  options.add_option("--Q", settings.Q, "Weight of the state: a number, a diagonal 1,2,3, or a JSON file")
      ->capture_default_str();
  options.add_option("--R", settings.R, "Weight of the input, likewise; files have the fields Q and R")
      ->capture_default_str();
  std::vector<std::string> names;
  for (const auto& [name, method] : examples::methods()) {
    if (examples::has_solver || method == Method::certainty_equivalence) names.push_back(name);
  }
  options.add_option("--method", settings.method, "How the controller is found")
      ->capture_default_str()
      ->check(CLI::IsMember(names));
  options
      .add_option(
          "--confidence", settings.confidence,
          "Error bounds that the controller is made for: bound, or the bootstrap's, which are tighter")
      ->capture_default_str()
      ->check(CLI::IsMember({"bound", "bootstrap"}));
  options
      .add_option("--samples", settings.samples,
                  "Steps used: all, or the last of each rollout, for which the bound is a theorem")
      ->capture_default_str()
      ->check(CLI::IsMember({"all", "last"}));
  options.add_option("--delta", settings.delta, "Probability that the error bounds fail")
      ->capture_default_str();
  options.add_option("--noise", settings.noise,
                     "Standard deviation of the noise in each state, if you know it; else it is estimated");
  options.add_option("--feedback", settings.feedback,
                     "JSON file with the gain K under which the data were recorded, u = -K x + excitation");
  options.add_option("--trials", settings.trials, "Experiments of the bootstrap")->capture_default_str();
  options.add_option("--gamma", settings.gamma, "Level of common_lyapunov and fir, in (0, 1)")
      ->capture_default_str();
  options.add_option("--length", settings.length, "Coefficients of fir's responses")->capture_default_str();
  options
      .add_option("--rollout", settings.columns.rollout, "Name of the column with the number of the rollout")
      ->capture_default_str();
  options.add_option("--ignore", settings.columns.ignored, "Names of columns to ignore, such as the time");
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  examples::Program program(
      "learn_controller",
      "Reads recorded trajectories of a plant, estimates the plant, says how sure the estimate is, and "
      "gives\n"
      "a controller with what is certified of it. The CSV file has the columns rollout, x1, x2, ..., u1,\n"
      "u2, ... in any order, and a row for each time: the state then, and the input applied then. The rows "
      "of\n"
      "a rollout have the same number and stand one below the other; without that column all rows are one\n"
      "rollout. The input in the last row of a rollout may be empty. For example, two rollouts of two "
      "steps:\n"
      "  rollout,x1,x2,u1\n"
      "  1,0.0,0.0,0.7\n"
      "  1,0.1,0.6,-0.2\n"
      "  1,0.4,0.5,\n"
      "  2,0.0,0.0,-1.1\n"
      "  2,-0.1,-1.0,0.3\n"
      "  2,-0.6,-0.8,\n"
      "The input must be excited by more than feedback (by random numbers, best). A gain is K of u = -K x.");
  add_options(program.options(), settings);
  program.out_option().default_str("")->description("Folder for a copy, controller.json; without it none");
  return program.run(argc, argv, [&] { return job(program, settings); });
}
