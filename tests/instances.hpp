#pragma once

/// @file
/// What takes long to compile and what most tests use is instantiated once, in instances.cpp. Part of the
/// precompiled header; a test works without it as well.

#include <metalqr/core/eigen.hpp>
#include <metalqr/equations/h_infinity.hpp>
#include <metalqr/equations/spectral.hpp>
#include <metalqr/lqr/optimal_gain.hpp>

// TEST_INSTANCES(extern) declares, TEST_INSTANCES() defines.
#define TEST_INSTANCES(storage)                                                                            \
  namespace metalqr::inline METALQR_ABI {                                                                  \
  storage template RiccatiSolution<EigenBackend<double>> solve_dare<EigenBackend<double>>(                 \
      const Task<EigenBackend<double>>&, const RiccatiOptions&);                                           \
  storage template HInfinityNorm<double> h_infinity_norm<EigenBackend<double>>(const Eigen::MatrixXd&,     \
                                                                               const Eigen::MatrixXd&,     \
                                                                               const Eigen::MatrixXd&,     \
                                                                               const Eigen::MatrixXd&,     \
                                                                               const HInfinityOptions&);   \
  storage template bool is_stable<EigenBackend<double>>(const Eigen::MatrixXd&);                           \
  storage template double spectral_radius<EigenBackend<double>>(const Eigen::MatrixXd&);                   \
  }                                                                                                        \
  namespace Eigen {                                                                                        \
  storage template RealSchur<MatrixXd>& RealSchur<MatrixXd>::compute<MatrixXd>(const EigenBase<MatrixXd>&, \
                                                                               bool);                      \
  storage template EigenSolver<MatrixXd>& EigenSolver<MatrixXd>::compute<MatrixXd>(                        \
      const EigenBase<MatrixXd>&, bool);                                                                   \
  storage template SelfAdjointEigenSolver<MatrixXd>& SelfAdjointEigenSolver<MatrixXd>::compute<MatrixXd>(  \
      const EigenBase<MatrixXd>&, int);                                                                    \
  }

TEST_INSTANCES(extern)
