#pragma once

/// @file
/// The reference cases: problems with values computed with 50 digits, rounded to 17.

#include <string>
#include <vector>

#include "support.hpp"

namespace test {

/// One gain on one task, with a direction X.
struct ReferenceCase {
  std::string name;
  DenseTask task;
  Dense K, X;
  double rho = 0;
  Dense P, Sigma, gradient, hessian_X, paper_hessian_X;
  double cost = 0, hessian_form_X = 0;
  Dense P_star, K_star;
  double cost_star = 0;

  /// What the values' relative errors must stay below in double.
  double tolerance() const { return rho > 0.995 ? 1e-8 : 1e-10; }
  /// Whether the sizes are those of a backend with fixed or dynamic sizes.
  template <class AnyBackend>
  bool fits() const {
    return (AnyBackend::states == metalqr::dynamic || AnyBackend::states == task.B.rows) &&
           (AnyBackend::inputs == metalqr::dynamic || AnyBackend::inputs == task.B.cols);
  }
};

/// All cases of the file, read once; compiled apart (reference.cpp), since reading JSON is costly to compile.
const std::vector<ReferenceCase>& reference_cases();

}  // namespace test
