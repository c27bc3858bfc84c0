#pragma once

/// @file
/// The peer for matrix equations: SLICOT's SB03MD and SB02OD on OpenBLAS with one thread.

#include <memory>
#include <string>

#include "problems.hpp"

namespace benchmarks::slicot {

/// The BLAS that the program's calls really reach: file and configuration.
std::string loaded_blas();
/// Keeps the BLAS to one thread.
void use_one_thread();

/// SB03MD for n x n matrices; the workspace is made once.
class Lyapunov {
 public:
  explicit Lyapunov(Index n);
  ~Lyapunov();
  /// P = Q + F'PF; the routine destroys its arguments, so they are copied first. False if it failed.
  bool solve(const Dynamic::StateMatrix& F, const Dynamic::StateMatrix& Q);
  /// The last solution.
  const Dynamic::StateMatrix& P() const;

 private:
  struct Workspace;
  std::unique_ptr<Workspace> work_;
};

/// SB02OD for plants of one size; the workspace is made once.
class Riccati {
 public:
  explicit Riccati(Size size);
  ~Riccati();
  /// The stabilising P; the gain is not computed. False if the routine failed.
  bool solve(const metalqr::Task<Dynamic>& task);
  /// The last solution.
  const Dynamic::StateMatrix& P() const;

 private:
  struct Workspace;
  std::unique_ptr<Workspace> work_;
};

}  // namespace benchmarks::slicot
