#include <metalqr/zeroth_order/directions.hpp>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "support.hpp"

namespace {

namespace zo = metalqr::zeroth_order;
using metalqr::InvalidOption;
using metalqr::StreamKey;
using test::Backend;
using test::Dense;
using test::Index;
using zo::Directions;
using Fixed = metalqr::EigenBackend<double, 4, 2>;

const std::vector<Directions> laws{Directions::sphere, Directions::gaussian, Directions::rademacher,
                                   Directions::coordinate, Directions::orthonormal};
const StreamKey key{.seed = 31, .iteration = 4, .task = 2};

template <class AnyBackend>
std::vector<Dense> draw(Directions law, Index count, Index nu, Index nx, double radius,
                        const StreamKey& at = key) {
  std::vector<Dense> result;
  for (const auto& U : zo::draw_directions<AnyBackend>(law, count, nu, nx, radius, at)) {
    result.push_back(test::dense<AnyBackend>(U));
  }
  return result;
}

/// Variance of U_i U_j for independent directions of unit radius, d entries.
double variance_of_product(Directions law, double d, bool same) {
  switch (law) {
    case Directions::gaussian:
      return (same ? 2.0 : 1.0) / (d * d);
    case Directions::rademacher:
      return same ? 0.0 : 1.0 / (d * d);
    default:  // the sphere: E u_i^4 = 3/(d(d+2)), E u_i^2 u_j^2 = 1/(d(d+2))
      return same ? 3 / (d * (d + 2)) - 1 / (d * d) : 1 / (d * (d + 2));
  }
}

/// Largest z-score of the sample moments of first and second order, where they are not exact.
double largest_z_score(const std::vector<Dense>& sample, Directions law, double radius) {
  const std::size_t d = sample.front().entries.size();
  const double n = static_cast<double>(sample.size());
  double largest = 0;
  for (std::size_t i = 0; i < d; ++i) {
    long double mean = 0;
    for (const Dense& U : sample) mean += U.entries[i] / radius;
    mean /= n;
    largest = std::max(largest, std::abs(static_cast<double>(mean)) * std::sqrt(n * static_cast<double>(d)));
    for (std::size_t j = 0; j <= i; ++j) {
      long double moment = 0;
      for (const Dense& U : sample) moment += U.entries[i] * U.entries[j] / (radius * radius);
      const double defect = static_cast<double>(moment / n) - (i == j ? 1.0 / static_cast<double>(d) : 0.0);
      const double variance = variance_of_product(law, static_cast<double>(d), i == j);
      if (variance == 0) {
        CHECK(std::abs(defect) < 1e-13);
      } else {
        largest = std::max(largest, std::abs(defect) / std::sqrt(variance / n));
      }
    }
  }
  return largest;
}

}  // namespace

// 44 moments a law, each beyond 5.5 standard errors with probability 4e-8: a false alarm in 2e-6 of the
// seeds.
TEST_CASE("independent directions have mean zero and second moment r^2/d I; false alarm 5e-6") {
  for (const Directions law : {Directions::sphere, Directions::gaussian, Directions::rademacher}) {
    INFO(zo::to_string(law));
    CHECK(largest_z_score(draw<Fixed>(law, 20000, 2, 4, 0.3), law, 0.3) < 5.5);
  }
}

// As above: 21 + 6 moments of each of the six columns.
TEST_CASE("each column of a random rotation is uniform on the sphere; false alarm 6e-6") {
  const Index blocks = 5000;
  const std::vector<Dense> sample = draw<Backend>(Directions::orthonormal, 6 * blocks, 3, 2, 0.3);
  for (std::size_t column = 0; column < 6; ++column) {
    std::vector<Dense> own;
    for (std::size_t block = 0; block < static_cast<std::size_t>(blocks); ++block)
      own.push_back(sample[6 * block + column]);
    CHECK(largest_z_score(own, Directions::sphere, 0.3) < 5.5);
  }
}

TEST_CASE("whole blocks have the second moment r^2/d I without sampling error") {
  for (const Directions law : {Directions::coordinate, Directions::orthonormal}) {
    const double radius = 0.7;
    const std::vector<Dense> block = draw<Fixed>(law, 8, 2, 4, radius);
    for (std::size_t i = 0; i < 8; ++i) {
      for (std::size_t j = 0; j < 8; ++j) {
        long double moment = 0;
        for (const Dense& U : block) moment += U.entries[i] * U.entries[j];
        CHECK(std::abs(static_cast<double>(moment) - (i == j ? radius * radius : 0.0)) < 1e-14);
      }
    }
  }
}

TEST_CASE("directions on the sphere, in blocks and of signs have exactly the radius as norm") {
  for (const Directions law : laws) {
    if (law == Directions::gaussian) continue;
    for (const double radius : {1e-8, 1.0, 1e6}) {
      for (const Dense& U : draw<Backend>(law, 60, 3, 2, radius))
        CHECK(std::abs(static_cast<double>(test::norm(U)) / radius - 1) < 1e-14);
    }
  }
}

TEST_CASE("entries of sign directions are +- r/sqrt(d)") {
  for (const Dense& U : draw<Fixed>(Directions::rademacher, 50, 2, 4, 0.5)) {
    for (const long double entry : U.entries)
      CHECK(std::abs(static_cast<double>(entry)) == 0.5 / std::sqrt(8.0));
  }
}

TEST_CASE("coordinate directions are the unit matrices, row by row, in each block") {
  const std::vector<Dense> directions = draw<Backend>(Directions::coordinate, 12, 2, 3, 0.25);
  for (std::size_t l = 0; l < directions.size(); ++l) {
    Dense unit(2, 3);
    unit.entries[l % 6] = 0.25L;
    CHECK(test::relative_error(directions[l], unit) == 0);
  }
}

TEST_CASE("orthonormal blocks are orthogonal to rounding, also in 64 dimensions") {
  for (const auto& [nu, nx] : {std::pair<Index, Index>{2, 4}, {1, 1}, {8, 8}}) {
    const std::vector<Dense> block = draw<Backend>(Directions::orthonormal, nu * nx, nu, nx, 1);
    for (std::size_t i = 0; i < block.size(); ++i) {
      for (std::size_t j = 0; j < block.size(); ++j) {
        const double product = static_cast<double>(test::inner(block[i], block[j]));
        CHECK(std::abs(product - (i == j ? 1.0 : 0.0)) < 1e-13);
      }
    }
  }
}

TEST_CASE("a direction depends on its key and index, not on how many are drawn") {
  for (const Directions law : laws) {
    INFO(zo::to_string(law));
    const std::vector<Dense> few = draw<Fixed>(law, 8, 2, 4, 0.1);
    const std::vector<Dense> many = draw<Fixed>(law, 40, 2, 4, 0.1);
    for (std::size_t l = 0; l < few.size(); ++l) CHECK(few[l].entries == many[l].entries);
  }
}

TEST_CASE("directions are the same with fixed and dynamic sizes and scale with the radius") {
  for (const Directions law : laws) {
    const std::vector<Dense> fixed = draw<Fixed>(law, 16, 2, 4, 0.25);
    const std::vector<Dense> dynamic = draw<Backend>(law, 16, 2, 4, 0.25);
    const std::vector<Dense> wide = draw<Backend>(law, 16, 2, 4, 1);
    for (std::size_t l = 0; l < fixed.size(); ++l) {
      CHECK(fixed[l].entries == dynamic[l].entries);
      CHECK(test::relative_error(4.0L * fixed[l], wide[l]) < 1e-15);
    }
  }
}

TEST_CASE("another seed, iteration or task gives other random directions, another purpose the same") {
  StreamKey iteration = key;
  iteration.iteration = 5;
  for (const Directions law : laws) {
    if (law == Directions::coordinate) continue;
    const Dense here = draw<Fixed>(law, 8, 2, 4, 1).front();
    for (const StreamKey& other : {key.child(1), iteration, key.with_task(3)})
      CHECK(test::relative_error(draw<Fixed>(law, 8, 2, 4, 1, other).front(), here) > 0.01);
    CHECK(draw<Fixed>(law, 8, 2, 4, 1, key.with_purpose(metalqr::Purpose::search)).front().entries ==
          here.entries);
  }
}

TEST_CASE("bad counts and radii are refused by name") {
  const double not_a_number = std::numeric_limits<double>::quiet_NaN();
  const double infinity = std::numeric_limits<double>::infinity();
  const auto refusal = [](Directions law, Index count, double radius) {
    return test::message_of<InvalidOption>(
        [&] { zo::draw_directions<Backend>(law, count, 2, 3, radius, key); });
  };
  for (const Directions law : laws) {
    CHECK(refusal(law, 0, 1) == "samples: expected at least 1, got 0");
    CHECK(refusal(law, -6, 1) == "samples: expected at least 1, got -6");
    CHECK(refusal(law, 6, 0) == "radius: expected a positive number, got 0");
    CHECK(refusal(law, 6, -1) == "radius: expected a positive number, got -1");
    CHECK(refusal(law, 6, not_a_number).rfind("radius: expected a positive number, got ", 0) == 0);
    CHECK(refusal(law, 6, infinity) == "radius: expected a positive number, got inf");
    CHECK(zo::comes_in_blocks(law) == (law == Directions::coordinate || law == Directions::orthonormal));
  }
  CHECK(refusal(Directions::orthonormal, 8, 1) ==
        "samples: expected a multiple of n_u n_x = 6 for orthonormal directions, got 8");
  CHECK(refusal(Directions::coordinate, 5, 1) ==
        "samples: expected a multiple of n_u n_x = 6 for coordinate directions, got 5");
  CHECK(draw<Backend>(Directions::sphere, 5, 2, 3, 1).size() == 5);
}

TEST_CASE("gains without entries, radii whose square is no number and too many samples are refused by name") {
  for (const Directions law : laws) {
    for (const auto& [nu, nx] : {std::pair<Index, Index>{0, 0}, {2, 0}, {0, 3}, {-1, 3}}) {
      CHECK_THAT(test::message_of<metalqr::DimensionMismatch>(
                     [&, nu = nu, nx = nx] { zo::draw_directions<Backend>(law, 5, nu, nx, 1, key); }),
                 Catch::Matchers::ContainsSubstring("gain: expected at least one row and one column"));
    }
    const auto refusal = [&](Index count, double radius) {
      return test::message_of<InvalidOption>(
          [&] { zo::draw_directions<Backend>(law, count, 2, 3, radius, key); });
    };
    CHECK(refusal(6, 1e-170) ==
          "radius: expected a number between 1e-150 and 1e150, whose square is a number, got 1e-170");
    CHECK(refusal(6, 1e170).rfind("radius: expected a number between", 0) == 0);
    CHECK(refusal(6 * zo::max_samples, 1) == "samples: expected at most 1e8, got 6e+08");
    CHECK(refusal(std::numeric_limits<Index>::max(), 1).rfind("samples: expected at most 1e8", 0) == 0);
  }
}
