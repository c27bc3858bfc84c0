#pragma once

/// @file
/// What the tests of the Eigen backend work on.

#include <tuple>

#include <metalqr/core/eigen.hpp>

#include "support.hpp"

namespace test {

/// Random matrices of the sizes of a backend.
template <class Backend>
struct Operands {
  Index nx = Backend::states == metalqr::dynamic ? 5 : Backend::states;
  Index nu = Backend::inputs == metalqr::dynamic ? 3 : Backend::inputs;
  Dense F, G, input, gain, S, R, x;

  explicit Operands(metalqr::Stream stream) {
    F = random_matrix(nx, nx, stream) + 3 * identity(nx);
    G = random_matrix(nu, nx, stream);
    input = random_matrix(nx, nu, stream);
    gain = random_matrix(nu, nx, stream);
    S = random_definite(nx, stream);
    R = random_definite(nu, stream);
    x = random_matrix(nx, 1, stream);
  }
};

/// The rounding of products of such matrices, relative to their size.
template <class Backend>
double allowed() {
  return 64 * static_cast<double>(Backend::epsilon());
}

/// With run-time sizes, fixed sizes and the smallest.
using Backends = std::tuple<metalqr::EigenBackend<double>, metalqr::EigenBackend<double, 4, 2>,
                            metalqr::EigenBackend<double, 1, 1>>;

}  // namespace test
