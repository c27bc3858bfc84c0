#include <metalqr/lqr/task_lanes.hpp>

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <utility>
#include <vector>

#include <metalqr/lqr/batch.hpp>

#include "lane_support.hpp"
#include "support.hpp"

// Allocations are counted where the C library lets its `malloc` be replaced and no sanitizer does so already.
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define TEST_UNDER_SANITIZER
#endif
#endif
#if defined(__GLIBC__) && !defined(TEST_UNDER_SANITIZER) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)
#define TEST_COUNTS_ALLOCATIONS

namespace {
std::atomic<long> allocations{0};
}

extern "C" {
void* __libc_malloc(std::size_t size);
void* malloc(std::size_t size) noexcept {
  ++allocations;
  return __libc_malloc(size);
}
}
#endif

namespace {

using metalqr::dynamic;
using metalqr::EigenBackend;
using metalqr::LaneTraits;
using metalqr::detail::fits_lanes;
using metalqr::detail::may_fit_lanes;
using test::Backend;
using test::Dense;
using test::DenseTask;
using test::Index;
using Lanes = metalqr::LanesOf<Backend>;
using Pack = Lanes::Scalar;

static_assert(fits_lanes(1, 1) && fits_lanes(16, 16) && !fits_lanes(17, 1) && !fits_lanes(1, 17));
static_assert(may_fit_lanes<EigenBackend<double>> && may_fit_lanes<EigenBackend<double, 16, 2>>);
static_assert(!may_fit_lanes<EigenBackend<double, 17, 2>> && !may_fit_lanes<EigenBackend<double, 2, 17>>);
static_assert(may_fit_lanes<EigenBackend<double, dynamic, 3>>);
// Bounded sizes live in the object itself.
static_assert(sizeof(Lanes::StateMatrix) >= 256 * sizeof(Pack));
static_assert(sizeof(metalqr::LanesOf<EigenBackend<double, 4, 2>>::Gain) == 8 * sizeof(Pack));

DenseTask random_task(Index nx, Index nu, metalqr::Stream& stream) {
  return test::random_problem(nx, nu, 0.9, stream).task;
}

}  // namespace

TEST_CASE("each lane of packed tasks holds every matrix of its own task") {
  metalqr::Stream stream = test::stream(1);
  for (const auto& [nx, nu] : std::vector<std::pair<Index, Index>>{{1, 1}, {3, 2}, {2, 4}, {16, 16}}) {
    std::vector<metalqr::Task<Backend>> tasks;
    for (Index lane = 0; lane < LaneTraits<Pack>::count; ++lane) {
      tasks.push_back(test::make_task<Backend>(random_task(nx, nu, stream)));
    }
    const auto packed = metalqr::detail::pack_tasks<Lanes>(
        nx, nu, [&](Index lane) -> const auto& { return tasks[static_cast<std::size_t>(lane)]; });
    CHECK(packed.nx() == nx);
    CHECK(packed.nu() == nu);
    for (Index lane = 0; lane < LaneTraits<Pack>::count; ++lane) {
      const DenseTask own = test::dense(tasks[static_cast<std::size_t>(lane)]);
      CHECK(test::lane_of(packed.A(), lane).entries == own.A.entries);
      CHECK(test::lane_of(packed.B(), lane).entries == own.B.entries);
      CHECK(test::lane_of(packed.Q(), lane).entries == own.Q.entries);
      CHECK(test::lane_of(packed.R(), lane).entries == own.R.entries);
      CHECK(test::lane_of(packed.Sigma0(), lane).entries == own.Sigma0.entries);
    }
  }
}

TEST_CASE("packs cover every index once and begin at the same places for any number of threads") {
  for (const Index count : {0, 1, 7, 8, 9, 1000}) {
    for (const Index width : {1, 2, 8}) {
      for (const int threads : {0, 1, 2, 8}) {
        // A size that has no threads for so little work, and one that has.
        for (const Index nx : {2, 100}) {
          CAPTURE(count, width, threads, nx);
          std::vector<Index> size_at(static_cast<std::size_t>(count) + 1, 0);
          metalqr::detail::for_each_pack(count, width, nx, threads, [&](Index first, Index size) {
            size_at[static_cast<std::size_t>(first)] += size;
          });
          Index wrong = 0;
          for (Index i = 0; i < count; ++i) {
            const Index expected = i % width != 0 ? 0 : i + width <= count ? width : count - i;
            if (size_at[static_cast<std::size_t>(i)] != expected) ++wrong;
          }
          CHECK(wrong == 0);
        }
      }
    }
  }
}

#ifdef TEST_COUNTS_ALLOCATIONS

namespace {

template <class Call>
long allocations_of(const Call& call) {
  call();  // whatever is made once is made here
  const long before = allocations;
  call();
  return allocations - before;
}

/// Allocations beyond those of the result when so many gains are evaluated.
template <class AnyBackend>
std::pair<long, long> beyond_result(Index nx, Index nu, Index count, double rho) {
  metalqr::Stream stream = test::stream(2);
  const auto [dense_task, K] = test::random_problem(nx, nu, rho, stream);
  const auto task = test::make_task<AnyBackend>(dense_task);
  const std::vector<typename AnyBackend::Gain> gains(static_cast<std::size_t>(count),
                                                     test::gain<AnyBackend>(K));
  const long for_costs = allocations_of([&] { metalqr::costs(task, gains, 1); });
  const long for_gradients = allocations_of([&] { metalqr::gradients(task, gains, 1); });
  // A gradient of dynamic size has memory of its own.
  const long of_gradients = AnyBackend::inputs == dynamic ? static_cast<long>(count) : 0;
  return {for_costs, for_gradients - of_gradients};
}

}  // namespace

TEST_CASE("allocations are counted at all") {
  // Kept, so that the compiler cannot leave them out.
  std::vector<std::vector<double>> vectors(2);
  std::vector<Backend::StateMatrix> matrices(2);
  std::size_t next = 0;
  CHECK(allocations_of([&] { vectors[next++] = std::vector<double>(1000, 1.0); }) == 1);
  next = 0;
  CHECK(allocations_of([&] { matrices[next++] = Backend::zero_state_matrix(5); }) == 1);
}

TEST_CASE("batches of systems of up to 16 states allocate their result and nothing in the loop") {
  for (const double rho : {0.9, 1.5}) {
    for (const auto& [nx, nu] : std::vector<std::pair<Index, Index>>{{1, 1}, {4, 2}, {3, 7}, {16, 16}}) {
      CAPTURE(nx, nu, rho);
      const auto few = beyond_result<Backend>(nx, nu, 3, rho);
      const auto many = beyond_result<Backend>(nx, nu, 500, rho);
      CHECK(few == many);
      CHECK(many.first == 1);
      CHECK(many.second == 1);
    }
  }
}

#endif
