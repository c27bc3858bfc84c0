#pragma once

/// @file
/// What takes long to compile and what most tests use is instantiated once, in instances.cpp. Part of the
/// precompiled header; a test works without it as well.

#include <metalqr/core/eigen.hpp>
#include <metalqr/equations/h_infinity.hpp>
#include <metalqr/equations/spectral.hpp>
#include <metalqr/lqr/evaluation.hpp>
#include <metalqr/lqr/optimal_gain.hpp>

// TEST_INSTANCES(extern) declares, TEST_INSTANCES() defines.
#define TEST_INSTANCES(storage)                                                                            \
  namespace metalqr::inline METALQR_ABI {                                                                  \
  storage template RiccatiSolution<EigenBackend<double>> solve_dare<EigenBackend<double>>(                 \
      const Task<EigenBackend<double>>&, const RiccatiOptions&);                                           \
  storage template class Task<EigenBackend<double>>;                                                       \
  storage template class Evaluation<EigenBackend<double>>;                                                 \
  storage template HInfinityNorm<double> h_infinity_norm<EigenBackend<double>>(const Eigen::MatrixXd&,     \
                                                                               const Eigen::MatrixXd&,     \
                                                                               const Eigen::MatrixXd&,     \
                                                                               const Eigen::MatrixXd&,     \
                                                                               const HInfinityOptions&);   \
  storage template bool is_stable<EigenBackend<double>>(const Eigen::MatrixXd&);                           \
  storage template double spectral_radius<EigenBackend<double>>(const Eigen::MatrixXd&);                   \
  }                                                                                                        \
  namespace Eigen::internal {                                                                              \
  storage template struct gebp_kernel<double, double, Index, blas_data_mapper<double, Index, ColMajor>,    \
                                      gebp_traits<double, double>::mr, gebp_traits<double, double>::nr,    \
                                      false, false>;                                                       \
  storage template struct general_matrix_matrix_product<Index, double, ColMajor, false, double, ColMajor,  \
                                                        false, ColMajor, 1>;                               \
  storage template struct general_matrix_matrix_product<Index, double, RowMajor, false, double, ColMajor,  \
                                                        false, ColMajor, 1>;                               \
  storage template struct general_matrix_matrix_product<Index, double, ColMajor, false, double, RowMajor,  \
                                                        false, ColMajor, 1>;                               \
  }                                                                                                        \
  namespace Eigen {                                                                                        \
  storage template LLT<MatrixXd>& LLT<MatrixXd>::compute<MatrixXd>(const EigenBase<MatrixXd>&);            \
  storage template JacobiSVD<MatrixXd>& JacobiSVD<MatrixXd>::compute(const MatrixXd&, unsigned int);       \
  storage template PartialPivLU<MatrixXd>& PartialPivLU<MatrixXd>::compute<MatrixXd>(                      \
      const EigenBase<MatrixXd>&);                                                                         \
  storage template RealSchur<MatrixXd>& RealSchur<MatrixXd>::compute<MatrixXd>(const EigenBase<MatrixXd>&, \
                                                                               bool);                      \
  storage template EigenSolver<MatrixXd>& EigenSolver<MatrixXd>::compute<MatrixXd>(                        \
      const EigenBase<MatrixXd>&, bool);                                                                   \
  storage template SelfAdjointEigenSolver<MatrixXd>& SelfAdjointEigenSolver<MatrixXd>::compute<MatrixXd>(  \
      const EigenBase<MatrixXd>&, int);                                                                    \
  }

TEST_INSTANCES(extern)
