// All benchmarks of metalqr in one Google Benchmark program.

#include <iostream>

#ifdef _OPENMP
#include <omp.h>
#endif

#include <benchmark/benchmark.h>
#include <Eigen/Core>

#include <metalqr/core/version.hpp>

#ifdef METALQR_BENCHMARKS_SLICOT
#include "slicot.hpp"
#endif

namespace {

#define METALQR_BENCHMARKS_TEXT(x) #x
#define METALQR_BENCHMARKS_VALUE(x) METALQR_BENCHMARKS_TEXT(x)

void describe() {
  benchmark::AddCustomContext("metalqr", METALQR_BENCHMARKS_VALUE(METALQR_ABI));
#ifdef __clang__
  benchmark::AddCustomContext("compiler", "clang " __clang_version__);
#else
  benchmark::AddCustomContext("compiler", "gcc " __VERSION__);
#endif
  benchmark::AddCustomContext("simd", Eigen::SimdInstructionSetsInUse());
#ifdef METALQR_BENCHMARKS_SLICOT
  benchmark::AddCustomContext("blas", benchmarks::slicot::loaded_blas());
#else
  benchmark::AddCustomContext("blas", "none");
  std::cerr << "Without SLICOT (libslicot-dev, libopenblas-dev): its rows are left out.\n";
#endif
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
    // One thread, but where a row asks for more.
#ifdef _OPENMP
  omp_set_num_threads(1);
#endif
  Eigen::setNbThreads(1);
#ifdef METALQR_BENCHMARKS_SLICOT
  benchmarks::slicot::use_one_thread();
#endif
  describe();
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
