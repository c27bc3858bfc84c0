#pragma once

/// @file
/// What `learn_controller` found, in words.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <optional>
#include <string>

#include <metalqr/equations/spectral.hpp>
#include <metalqr/identification/bootstrap.hpp>
#include <metalqr/identification/data_bound.hpp>
#include <metalqr/io/trajectories.hpp>

#include "design.hpp"

namespace examples::learning {

namespace identification = metalqr::identification;
namespace io = metalqr::io;
using Task = metalqr::Task<Backend>;

/// What the user asked for.
struct Settings {
  std::string file;
  std::string Q = "1";
  std::string R = "1";
  std::string feedback;
  std::string method = has_solver ? "ellipsoid" : "certainty_equivalence";
  std::string confidence = "bound";
  std::string samples = "all";
  io::TrajectoryColumns columns{};
  double delta = 0.05;
  std::optional<double> noise{};
  Index trials = 2000;
  double gamma = 0.999;
  Index length = 16;

  /// Whether the controller is made for the ellipsoid of plants that the data leave.
  bool uses_ellipsoid() const { return method == "ellipsoid" && confidence == "bound"; }
};

/// What the data say of the plant.
struct Knowledge {
  identification::Estimate<Backend> estimate;
  identification::Confidence<Backend> bound;
  identification::Bootstrap<double> bootstrap;
  double epsilon_A = 0;  ///< of the one that is used
  double epsilon_B = 0;  ///< of the one that is used

  /// Whether what the bootstrap repeated is like what was recorded.
  bool trials_resemble_data() const {
    return bootstrap.regressor_ratio > 0.1 && bootstrap.regressor_ratio < 10;
  }
};

template <class X>
void print_matrix(const char* name, const X& x) {
  for (Index i = 0; i < Backend::rows(x); ++i) {
    std::printf("  %-4s", i == 0 ? name : "");
    for (Index j = 0; j < Backend::cols(x); ++j) std::printf(" %11.5g", Backend::to_double(x(i, j)));
    std::printf("\n");
  }
}

/// Sections 1 to 3: data, estimate, confidence.
inline void print_estimate(const identification::Dataset<Backend>& data, const Knowledge& known,
                           const Settings& settings) {
  const auto plural = [](Index count) { return count == 1 ? "" : "s"; };
  std::printf("1. The data: %td rollout%s, %td steps, %td state%s, %td input%s.\n", data.size(),
              plural(data.size()), data.transitions(), data.nx(), plural(data.nx()), data.nu(),
              plural(data.nu()));
  std::printf("\n2. What was estimated: x(t+1) = A x(t) + B u(t) + noise, by least squares on %td steps.\n",
              known.estimate.transitions);
  print_matrix("A =", known.estimate.A);
  print_matrix("B =", known.estimate.B);
  const double rho = metalqr::spectral_radius<Backend>(known.estimate.A);
  std::printf(
      "  Without control this plant is %s: its largest eigenvalue has the modulus %.4g.\n"
      "  Standard deviation sigma_w of the noise in each state: %.4g, %s.\n",
      rho < 1 ? "stable" : "unstable", rho, known.bound.noise,
      settings.noise ? "as you said" : "from what the estimate leaves unexplained");
  std::printf("\n3. How sure that is: but for a chance of %.3g %%, in spectral norm,\n",
              100 * settings.delta);
  const bool bound = settings.confidence == "bound";
  std::printf("  by a bound       A is off by at most %.4g, B by at most %.4g%s\n", known.bound.epsilon_A,
              known.bound.epsilon_B, bound ? "  <- used below" : "");
  std::printf("  by the bootstrap A is off by at most %.4g, B by at most %.4g%s\n", known.bootstrap.epsilon_A,
              known.bootstrap.epsilon_B,
              !bound                       ? "  <- used below"
              : settings.samples == "last" ? "  (of the estimate from all steps)"
                                           : "");
  std::printf(
      "  The bound is a theorem %s.\n"
      "  The bootstrap repeats your experiment %td times on the estimate, with your initial states,\n"
      "  your inputs and noise of its own: closer to the truth, no proof.\n",
      known.bound.rigorous         ? "for these data"
      : known.estimate.independent ? "for these data if sigma_w is not above the figure above"
                                   : "if each rollout gives one step (see --samples last); for all steps "
                                     "it is common practice",
      settings.trials);
  if (!known.trials_resemble_data()) {
    std::printf(
        "  Warning: the squares of the states and inputs that it gets are %.2g times those that you\n"
        "  recorded. If the inputs were those of a feedback, give its gain by --feedback.\n",
        known.bootstrap.regressor_ratio);
  }
}

/// Why there is no controller, and what would help.
inline void print_infeasible(const Design& design, const Settings& settings) {
  const double least = design.gamma_min.value_or(std::numeric_limits<double>::infinity());
  const double allowed = design.gamma.value_or(1);
  if (!std::isfinite(least)) {
    std::printf(
        "  There is none whose responses end after %td steps on the estimate: allow more by --length.\n",
        settings.length);
  } else if (least < 1) {
    std::printf("  None has a level below %.4g, but below 1 some do: allow more than %.4g by --gamma.\n",
                allowed, least);
  } else {
    std::printf(
        "  There is none: the plants that the data leave differ too much for one controller of this "
        "kind.\n");
    std::printf(
        "  Errors would have to be %.2f times smaller: about %.1f times as many data of the same kind, or "
        "stronger\n  inputs%s.\n",
        least, least * least,
        settings.confidence == "bound" ? "; or --confidence bootstrap, whose error bounds are tighter" : "");
  }
}

/// Sections 4 and 5: controller and certificate.
inline void print_design(const Task& task, const Design& design, const Settings& settings) {
  using synthesis::SynthesisStatus;
  constexpr double infinity = std::numeric_limits<double>::infinity();
  std::printf("\n4. The controller, by the method %s:\n", settings.method.c_str());
  if (design.status == SynthesisStatus::failed) {
    std::printf("  None: the solver gave no design that passed the checks.\n");
  } else if (design.status == SynthesisStatus::infeasible) {
    print_infeasible(design, settings);
  } else {
    if (design.gain) {
      std::printf("  u(t) = -K x(t) with\n");
      print_matrix("K =", *design.gain);
    } else {
      std::printf("  u(t) from the last %td states; its responses are in the last line.\n",
                  design.controller->length());
    }
    const double best = Backend::inner(metalqr::solve_dare(task).value, task.Sigma0());
    std::printf("  On the estimate it costs %.5g a step; the least possible there is %.5g.\n",
                *design.nominal_cost, best);
  }
  const double level = design.achieved_hinf.value_or(infinity);
  std::printf("\n5. What is certified:\n");
  if (design.certified) {
    std::printf(
        "  On every plant within the error bounds%s the controller is stable\n"
        "  (level %.3g; 1 is the limit) and costs at most %.5g a step.\n",
        settings.uses_ellipsoid() ? " (the ellipsoid that the data leave)" : "", level,
        std::min(design.cost_bound.value_or(infinity), design.certified_cost.value_or(infinity)));
  } else if (design.status == SynthesisStatus::solved) {
    std::printf(
        "  Only that it is stable on the estimate. On the worst plant within the error bounds it may be "
        "unstable:\n  the level is %.3g and must be below 1. More data%s may help.\n",
        level, has_solver ? " or a robust --method" : "");
  } else {
    std::printf("  Nothing.\n");
  }
}

}  // namespace examples::learning
