// The most multiply-add operations a second that one core does in double precision.

#include <benchmark/benchmark.h>

namespace benchmarks {

namespace {

#if defined(__AVX512F__)
constexpr int vector_bytes = 64;
#elif defined(__AVX__)
constexpr int vector_bytes = 32;
#else
constexpr int vector_bytes = 16;
#endif
using Vector [[gnu::vector_size(vector_bytes)]] = double;
constexpr int lanes = vector_bytes / 8;

// Enough independent chains for a latency of 5 cycles and two units; with the constants they fit into 16
// registers.
constexpr int chains = 12;
constexpr int steps = 512;

void run_peak(benchmark::State& state) {
  // Unknown to the compiler.
  const volatile double factor = 0.999;
  const volatile double summand = 0.001;
  const Vector x = Vector{} + factor;
  const Vector y = Vector{} + summand;
  Vector a[chains];
  for (int c = 0; c < chains; ++c) a[c] = Vector{} + (1 + 0.01 * c);
  for (auto _ : state) {
    for (int i = 0; i < steps; ++i) {
#pragma GCC unroll 12
      for (int c = 0; c < chains; ++c) a[c] = a[c] * x + y;
    }
  }
  double sum = 0;
  for (const Vector& chain : a) {
    for (int lane = 0; lane < lanes; ++lane) sum += chain[lane];
  }
  if (!(sum > 0)) state.SkipWithError("the sum is wrong");
  const double flops = 2.0 * lanes * chains * steps * static_cast<double>(state.iterations());
  state.counters["gflops"] = benchmark::Counter(flops * 1e-9, benchmark::Counter::kIsRate);
}

[[maybe_unused]] const bool registered = benchmark::RegisterBenchmark("peak_fma", run_peak) != nullptr;

}  // namespace

}  // namespace benchmarks
