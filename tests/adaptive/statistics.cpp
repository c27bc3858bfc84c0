// The published comparison of adaptive controllers on the Laplacian plant: medians of regret and of the cost
// of the controllers. The reference values are of an independent implementation with other random numbers, of
// 300 trials (optimism: 100).

#include "statistics.hpp"

#include <vector>

#include <metalqr/adaptive/optimism.hpp>
#include <metalqr/adaptive/thompson_sampling.hpp>

namespace {

namespace adaptive = metalqr::adaptive;
using test::check_median;
using test::Comparison;
using test::Comparisons;
using test::Index;

/// Certainty equivalence, Thompson sampling and optimism in so many trials each.
void check_comparison(Index trials, Index trials_of_optimism, std::uint64_t seed) {
  const Comparisons certain = test::compare(adaptive::CertaintyEquivalence{}, {}, trials, seed);
  check_median(certain.at_100, 32, 300, "certainty equivalence, 100 steps");
  check_median(certain.at_200, 111, 300, "certainty equivalence, 200 steps");
  check_median(certain.at_500, 187, 300, "certainty equivalence, 500 steps");
  check_median(certain.first, 0.022, 300, "certainty equivalence, first controller");
  check_median(certain.last, 0.0046, 300, "certainty equivalence, last controller");
  CHECK(certain.kept == 0);
  CHECK(certain.epochs == 10 * trials);

  const adaptive::Options<Comparison> by_determinant{.schedule = adaptive::determinant_epochs()};
  const Comparisons sampled = test::compare(adaptive::ThompsonSampling{}, by_determinant, trials, seed);
  check_median(sampled.at_100, 92, 300, "Thompson sampling, 100 steps");
  check_median(sampled.at_200, 144, 300, "Thompson sampling, 200 steps");
  check_median(sampled.at_500, 246, 300, "Thompson sampling, 500 steps");
  check_median(sampled.first, 0.044, 300, "Thompson sampling, first controller");
  check_median(sampled.last, 0.0087, 300, "Thompson sampling, last controller");
  CHECK(sampled.kept == 0);

  const Comparisons optimist = test::compare(adaptive::Optimism{}, by_determinant, trials_of_optimism, seed);
  check_median(optimist.at_100, 124, 100, "optimism, 100 steps");
  check_median(optimist.at_200, 198, 100, "optimism, 200 steps");
  check_median(optimist.at_500, 366, 100, "optimism, 500 steps");
  check_median(optimist.first, 0.049, 100, "optimism, first controller");
  check_median(optimist.last, 0.0144, 100, "optimism, last controller");
  CHECK(optimist.kept == 0);

  // In the same trials, with the same noise: the loss by sampling and optimism is beyond doubt.
  CHECK(test::median(sampled.last) > 1.5 * test::median(certain.last));
  CHECK(test::median(optimist.last) > 1.2 * test::median(sampled.last));
}

}  // namespace

TEST_CASE("adaptive controllers perform as in the published comparison") {
  check_comparison(300, 60, 571);
}

TEST_CASE("adaptive controllers perform as in the published comparison, with many trials", "[long]") {
  check_comparison(3000, 1000, 572);
}
