#pragma once

/// @file
/// The ways from a data set to a controller that are compared.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <metalqr/synthesis/certificate.hpp>
#include <metalqr/synthesis/common_lyapunov.hpp>
#include <metalqr/synthesis/csdp.hpp>
#include <metalqr/synthesis/ellipsoid.hpp>
#include <metalqr/synthesis/fir.hpp>

#include "coarse_id_identification.hpp"
#include "coarse_id_study.hpp"

namespace examples::coarse_id {

namespace synthesis = metalqr::synthesis;

/// A controller on one data set.
struct Outcome {
  bool found = false;               ///< whether there is one
  double suboptimality = infinity;  ///< J/J* - 1 on the true plant; infinite where it does not stabilise that
  double promise = infinity;        ///< the same of the bound that is certified
  double level = std::nan("");      ///< gamma, asked for or found; NaN where the way has none
};

/// A way to a controller.
struct Contender {
  std::string name;                                  ///< in files
  std::string label;                                 ///< for people
  Index trials = 0;                                  ///< data sets for each N
  std::function<Outcome(const Sample&)> controller;  ///< on one of them
  std::vector<std::vector<Outcome>> outcomes{};      ///< by N, by data set

  /// A number of each outcome.
  std::vector<double> values(std::size_t at, double Outcome::*member) const {
    std::vector<double> result;
    for (const Outcome& outcome : outcomes[at]) result.push_back(outcome.*member);
    return result;
  }
  double found(std::size_t at) const {
    const auto count = std::count_if(outcomes[at].begin(), outcomes[at].end(), std::mem_fn(&Outcome::found));
    return static_cast<double>(count) / static_cast<double>(outcomes[at].size());
  }
};

namespace detail {

/// Whose errors a robust design is told.
enum class Errors { truth, bootstrap };

inline synthesis::RobustProblem<Backend> problem_of(const Plant& plant, const Sample& sample, Errors errors) {
  const Pair& radii = errors == Errors::truth ? sample.error : sample.bootstrap;
  return {{sample.estimate.A, sample.estimate.B, plant.task.Q(), plant.task.R()}, radii.A, radii.B};
}

/// Of a static gain, as `common_lyapunov` and `ellipsoid` give it.
inline Outcome outcome_of(const Plant& plant, const synthesis::RobustGain<Backend>& design) {
  if (design.status != synthesis::SynthesisStatus::solved) return {};
  return {true, plant.suboptimality(design.gain),
          std::min(design.cost_bound, design.certified_cost) / plant.optimal_cost - 1, design.gamma};
}

inline Outcome outcome_of(const Plant& plant, const synthesis::FirDesign<Backend>& design) {
  if (design.status != synthesis::SynthesisStatus::solved) return {};
  return {true, synthesis::cost(plant.task, design.controller.state_space()) / plant.optimal_cost - 1,
          std::min(design.cost_bound, design.certified_cost) / plant.optimal_cost - 1, design.gamma};
}

/// The ellipsoid that the regressors draw, just large enough for the true plant, or by the data-dependent
/// bound.
inline Outcome ellipsoid_outcome(const Plant& plant, const Settings& settings, const Sample& sample,
                                 Errors errors) {
  const auto set =
      identification::data_bound(sample.estimate, {.delta = settings.delta, .noise = 1, .rigorous = false})
          .ellipsoid;
  const double level =
      errors == Errors::truth ? set.level_of(plant.task.A(), plant.task.B()) * (1 + 1e-9) : set.level;
  const Backend::Matrix squares = Backend::transpose_product(set.factor, set.factor);
  const synthesis::EllipsoidProblem<Backend> problem{
      {sample.estimate.A, sample.estimate.B, plant.task.Q(), plant.task.R()},
      Backend::Matrix(squares / level)};
  Outcome outcome = outcome_of(plant, synthesis::ellipsoid(problem, synthesis::Csdp()));
  outcome.level = std::nan("");
  return outcome;
}

}  // namespace detail

/// All ways, each twice but the first: with the true errors, which nobody knows, and with those that the data
/// suggest.
inline std::vector<Contender> contenders(const Plant& plant, const Settings& settings) {
  using detail::Errors;
  std::vector<Contender> all;
  all.push_back({"nominal", "optimal gain of the estimate", settings.trials, [&plant](const Sample& sample) {
                   const double value = certainty_equivalent(plant, sample.estimate);
                   const auto bound = [&] {
                     try {
                       const auto problem = detail::problem_of(plant, sample, Errors::bootstrap);
                       const auto gain = metalqr::solve_dare(problem.estimate).gain;
                       return synthesis::certify(problem, gain).cost_bound / plant.optimal_cost - 1;
                     } catch (const metalqr::Error&) {
                       return infinity;
                     }
                   };
                   return Outcome{.found = true, .suboptimality = value, .promise = bound()};
                 }});
  // A share of an estimate that no gain stabilises is no design, as one that is too uncertain.
  const auto guarded = [](const auto& design) {
    return [design](const Sample& sample) {
      try {
        return design(sample);
      } catch (const metalqr::NotStabilizable&) {
        return Outcome{};
      }
    };
  };
  for (const Errors errors : {Errors::truth, Errors::bootstrap}) {
    const std::string suffix = errors == Errors::truth ? "_true" : "_data";
    const std::string whose = errors == Errors::truth ? ", true errors" : ", bootstrap";
    const auto lyapunov = [&plant, errors](const std::optional<double>& gamma) {
      return [&plant, errors, gamma](const Sample& sample) {
        return detail::outcome_of(plant, synthesis::common_lyapunov(detail::problem_of(plant, sample, errors),
                                                                    synthesis::Csdp(), {.gamma = gamma}));
      };
    };
    all.push_back(
        {"lyapunov" + suffix, "common Lyapunov" + whose, settings.trials, guarded(lyapunov(0.999))});
    all.push_back({"lyapunov_best" + suffix, "common Lyapunov, least bound" + whose, settings.trials,
                   guarded(lyapunov(synthesis::optimised))});
    all.push_back({"fir" + suffix, "finite response" + whose, std::min(settings.fir_trials, settings.trials),
                   guarded([&plant, &settings, errors](const Sample& sample) {
                     return detail::outcome_of(
                         plant, synthesis::fir(detail::problem_of(plant, sample, errors), synthesis::Csdp(),
                                               {.length = settings.length, .gamma = 0.999, .alpha = 0.5}));
                   })});
    all.push_back({"ellipsoid" + suffix,
                   errors == Errors::truth ? "ellipsoid, true size" : "ellipsoid, data-dependent bound",
                   settings.trials, guarded([&plant, &settings, errors](const Sample& sample) {
                     return detail::ellipsoid_outcome(plant, settings, sample, errors);
                   })});
  }
  all.push_back({"ellipsoid_radii_data", "ellipsoid around the bootstrap balls", settings.trials,
                 guarded([&plant](const Sample& sample) {
                   Outcome outcome = detail::outcome_of(
                       plant, synthesis::ellipsoid(detail::problem_of(plant, sample, Errors::bootstrap),
                                                   synthesis::Csdp(), 0.5));
                   outcome.level = std::nan("");
                   return outcome;
                 })});
  return all;
}

}  // namespace examples::coarse_id
