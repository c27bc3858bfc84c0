// A run of the published setting: prints the final gain and the costs at it with 17 digits. It is compiled
// for packs of several widths, whose results are to agree.

#include <cstdio>

#include <metalqr/core/eigen.hpp>
#include <metalqr/lqr/batch.hpp>
#include <metalqr/meta/train.hpp>
#include <metalqr/systems/perturbed_family.hpp>
#include <metalqr/systems/plants.hpp>

namespace {

using Backend = metalqr::EigenBackend<double, 4, 2>;

int run() {
  namespace systems = metalqr::systems;
  const Backend::Gain K0 = systems::modified_boeing_initial_gain<Backend>();
  const auto nominal = systems::modified_boeing<Backend>().with_initial_state(
      systems::published_initial_second_moment<Backend>());
  const auto tasks = systems::perturbed_family(
                         nominal, {.count = 10, .level = 0.01, .must_be_stabilised_by = K0}, /*seed*/ 7)
                         .tasks;
  metalqr::meta::Options options = metalqr::meta::published();
  options.seed = 3;
  const auto learned = metalqr::meta::train(tasks, K0, options);
  std::printf("iterations %d\ngain", learned.iterations);
  for (metalqr::Index i = 0; i < 8; ++i) std::printf(" %.17g", learned.gain(i % 2, i / 2));
  std::printf("\ncosts");
  for (const double value : metalqr::costs(tasks, learned.gain)) std::printf(" %.17g", value);
  std::printf("\nnorms");
  for (const auto& one : metalqr::gradients(tasks, learned.gain)) {
    std::printf(" %.17g", Backend::norm(one.gradient));
  }
  std::printf("\n");
  return 0;
}

}  // namespace

int main() {
#if defined(__x86_64__) && defined(__AVX2__)
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return 77;
#endif
  std::fprintf(stderr, "%d lanes\n", static_cast<int>(metalqr::lane_count<Backend>));
  return run();
}
