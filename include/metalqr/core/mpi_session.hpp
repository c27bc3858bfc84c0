#pragma once

/// @file
/// Start and end of message passing between processes (MPI 3, plain C interface), and its errors. Needs the
/// component `mpi`.

#include <cstddef>
#include <exception>
#include <string>

// The C++ bindings, removed from the standard in 2012, would have to be linked.
#ifndef OMPI_SKIP_MPICXX
#define OMPI_SKIP_MPICXX 1
#endif
#ifndef MPICH_SKIP_MPICXX
#define MPICH_SKIP_MPICXX 1
#endif
#include <mpi.h>

#include <metalqr/core/error.hpp>

namespace metalqr::inline METALQR_ABI::mpi {

/// A call of MPI failed; `what()` names the call and says what MPI says.
class MpiError : public Error {
 public:
  /// @param call name of the function.
  /// @param code what it returned.
  MpiError(const char* call, int code) : Error(std::string(call) + ": " + text_of(code)), code_(code) {}

  /// What the call returned.
  int code() const noexcept { return code_; }

 private:
  static std::string text_of(int code) {
    char text[MPI_MAX_ERROR_STRING] = {};
    int length = 0;
    if (MPI_Error_string(code, text, &length) != MPI_SUCCESS) return "error " + std::to_string(code);
    return {text, static_cast<std::size_t>(length)};
  }

  int code_;
};

/// Another rank failed in a step that all take together; `what()` names it and says what it said.
class RemoteError : public Error {
 public:
  /// @param rank the one that failed (the first of them).
  /// @param message what its exception said.
  RemoteError(int rank, const std::string& message)
      : Error("rank " + std::to_string(rank) + ": " + message), rank_(rank) {}

  /// The rank that failed (the first of them).
  int rank() const noexcept { return rank_; }

 private:
  int rank_;
};

namespace detail {

inline void check(int code, const char* call) {
  if (code != MPI_SUCCESS) throw MpiError(call, code);
}

}  // namespace detail

/// MPI from its start to its end; one at a time, in `main`. Does nothing where the program started MPI
/// itself. The thread that made it is the only one that may call MPI.
class Session {
 public:
  /// @throws MpiError if MPI cannot be started, or not in a program with threads.
  Session() : exceptions_(std::uncaught_exceptions()) {
    int running = 0;
    detail::check(MPI_Initialized(&running), "MPI_Initialized");
    if (running != 0) return;
    int provided = 0;
    detail::check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided), "MPI_Init_thread");
    if (provided < MPI_THREAD_FUNNELED) {
      MPI_Finalize();
      throw MpiError("MPI_Init_thread without support of threads", MPI_ERR_OTHER);
    }
    owned_ = true;
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  Session(Session&&) = delete;
  Session& operator=(Session&&) = delete;
  /// Ends MPI, unless an exception is on its way: the end waits for all ranks, and those that wait for this
  /// one would never come. The launcher ends them when this process exits.
  ~Session() {
    if (!owned_ || std::uncaught_exceptions() > exceptions_) return;
    int ended = 0;
    if (MPI_Finalized(&ended) == MPI_SUCCESS && ended == 0) MPI_Finalize();
  }

 private:
  int exceptions_;
  bool owned_ = false;
};

}  // namespace metalqr::inline METALQR_ABI::mpi
