#pragma once

/// @file
/// The reference designs for uncertain plants, computed with another solver by another formulation. Gains are
/// those of u = -K x.

#include <string>
#include <vector>

#include "support.hpp"

namespace test {

/// A plant with its optimal gain.
struct UncertainSystem {
  std::string name;
  DenseTask task;
  Dense K;
  double cost = 0, radius = 0;
  double resolvent = 0;  ///< |(zI - A + BK)^-1| in H-infinity
};

/// What is known of the solution at one gamma; zero or empty what the file does not give.
struct ReferenceDesign {
  double gamma = 0, alpha = 0, h2_squared = 0, cost_bound = 0, nominal_cost = 0, achieved_hinf = 0;
  Dense K;         ///< of static gains
  Dense response;  ///< first coefficient of the response from noise to input
};

/// One plant with radii.
struct ReferenceDesigns {
  UncertainSystem system;
  double epsilon_A = 0, epsilon_B = 0;
  double alpha = 0;  ///< 0: free
  Index length = 0;
  double gamma_min = 0;
  std::vector<ReferenceDesign> fixed;
  ReferenceDesign best;  ///< gamma = 0 if the file has none

  /// "laplacian3, 0.02, 0.05, alpha free".
  std::string name() const;
};

/// The ellipsoid of plants |[A B] - [Ahat Bhat]| <= epsilon.
struct ReferenceEllipsoid {
  UncertainSystem system;
  double epsilon = 0, worst_case_cost = 0, tau = 0, nominal_cost = 0, sampled_worst = 0;
  Dense K;
};

/// Everything in the file, read once.
struct CoarseIdReference {
  std::vector<UncertainSystem> systems;
  std::vector<ReferenceDesigns> common_lyapunov, fir, fir_with_slack;
  std::vector<ReferenceEllipsoid> ellipsoid;
};
const CoarseIdReference& coarse_id_reference();

}  // namespace test
