// The main function of the tests that run on several ranks. All ranks run the same tests in the same order;
// the first failure of any ends all, as the others may wait for the one that failed.
#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#else
#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>
#endif

#include <iostream>
#include <sstream>

#include <metalqr/core/mpi.hpp>

int main(int argc, char** argv) {
  const metalqr::mpi::Session mpi;
  int rank = 0;
  {
    const metalqr::mpi::Communicator ranks;
    rank = ranks.rank();
  }
  Catch::Session tests;
  const int bad_arguments = tests.applyCommandLine(argc, argv);
  if (bad_arguments != 0) return bad_arguments;
  tests.configData().abortAfter = 1;
  // Only the first rank speaks, unless another fails.
  std::ostringstream held_back;
  std::streambuf* const out = std::cout.rdbuf();
  if (rank != 0) std::cout.rdbuf(held_back.rdbuf());
  const int failures = tests.run();
  std::cout.rdbuf(out);
  std::cout.flush();
  if (failures != 0) {
    std::cerr << held_back.str() << "rank " << rank << " failed" << std::endl;
    MPI_Abort(MPI_COMM_WORLD, 1);
  }
  return failures;
}
