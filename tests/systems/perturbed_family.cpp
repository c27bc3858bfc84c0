#include <metalqr/systems/perturbed_family.hpp>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include <metalqr/systems/plants.hpp>

#include "support.hpp"

using metalqr::EigenBackend;
using test::Backend;
using test::dense;
using test::Dense;
using test::message_of;

namespace systems = metalqr::systems;

namespace {

const metalqr::Task<Backend> boeing = systems::modified_boeing<Backend>();

Dense difference(const Dense& x, const Dense& y) {
  return x - y;
}

bool same(const metalqr::Task<Backend>& one, const metalqr::Task<Backend>& other) {
  const test::DenseTask x = dense(one);
  const test::DenseTask y = dense(other);
  return x.A.entries == y.A.entries && x.B.entries == y.B.entries && x.Q.entries == y.Q.entries &&
         x.R.entries == y.R.entries && x.Sigma0.entries == y.Sigma0.entries;
}

}  // namespace

TEMPLATE_TEST_CASE("every drawn matrix is 0.6 level from the nominal one, and no two differ by the level", "",
                   (EigenBackend<double>), (EigenBackend<double, 4, 2>)) {
  const auto nominal = systems::modified_boeing<TestType>();
  const systems::Levels level{0.01, 0.02, 0.03, 0.04};
  const auto family = systems::perturbed_family(nominal, {.count = 12, .level = level}, 7);
  REQUIRE(family.size() == 12);
  CHECK(family.destabilised == 0);
  const auto get = [&](const auto& task, int which) {
    const test::DenseTask d = dense(task);
    return which == 0 ? d.A : which == 1 ? d.B : which == 2 ? d.Q : d.R;
  };
  const double levels[] = {level.A, level.B, level.Q, level.R};
  for (int which = 0; which < 4; ++which) {
    const Dense centre = get(nominal, which);
    CHECK(get(family[0], which).entries == centre.entries);
    for (std::size_t i = 1; i < family.size(); ++i) {
      const Dense own = get(family[i], which);
      CHECK(test::relative_error(test::spectral_norm(difference(own, centre)), 0.6 * levels[which]) < 1e-9);
      for (std::size_t j = 0; j < i; ++j) {
        CHECK(test::spectral_norm(difference(own, get(family[j], which))) < levels[which]);
      }
      if (which >= 2) CHECK(own.entries == test::transpose(own).entries);
    }
  }
  for (const auto& task : family) {
    CHECK(test::norm(dense<TestType>(task.Sigma0()) - dense<TestType>(nominal.Sigma0())) == 0);
  }
}

TEST_CASE("relative_size moves the tasks closer to the nominal one") {
  const auto family = systems::perturbed_family(boeing, {.count = 3, .level = 0.1, .relative_size = 0.25}, 7);
  const Dense moved = difference(dense(family[2].B()), dense(boeing.B()));
  CHECK(test::relative_error(test::spectral_norm(moved), 0.025) < 1e-9);
  CHECK(family.redrawn == 0);
}

TEST_CASE("a family depends on its seed alone, and a larger one begins with the smaller one") {
  const auto small = systems::perturbed_family(boeing, {.count = 5}, 3);
  const auto again = systems::perturbed_family(boeing, {.count = 5}, 3);
  const auto large = systems::perturbed_family(boeing, {.count = 20}, 3);
  const auto other = systems::perturbed_family(boeing, {.count = 5}, 4);
  for (std::size_t i = 0; i < small.size(); ++i) {
    CHECK(same(small[i], again[i]));
    CHECK(same(small[i], large[i]));
    CHECK(same(small[i], other[i]) == (i == 0));
  }
}

TEST_CASE("a part of a family that needs no redraws for its bound is drawn on its own") {
  const systems::PerturbedFamily<Backend> whole{
      .count = 12,
      .level = 0.05,
      .relative_size = 0.45,
      .must_be_stabilised_by = systems::modified_boeing_initial_gain<Backend>()};
  const auto family = systems::perturbed_family(boeing, whole, 5);
  metalqr::Index destabilised = 0;
  for (const auto& [first, count] : {std::pair<metalqr::Index, metalqr::Index>{0, 4}, {4, 1}, {5, 7}}) {
    auto own = whole;
    own.first = first;
    own.count = count;
    const auto part = systems::perturbed_family(boeing, own, 5);
    REQUIRE(part.size() == static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < part.size(); ++i) {
      CHECK(same(part[i], family[static_cast<std::size_t>(first) + i]));
    }
    destabilised += part.destabilised;
  }
  CHECK(destabilised == family.destabilised);
  CHECK(systems::perturbed_family(boeing, {.count = 0, .relative_size = 0.4, .first = 3}, 1).tasks.empty());
  CHECK(test::message_of<metalqr::InvalidOption>([] {
          systems::perturbed_family(boeing, {.relative_size = 0.5, .first = 3}, 1);
        }) == "relative_size: expected a number below 1/2 where first is not 0, got 0.5");
  CHECK(test::message_of<metalqr::InvalidOption>([] {
          systems::perturbed_family(boeing, {.relative_size = 0.4, .first = -1}, 1);
        }) == "first: expected a number >= 0, got -1");
}

TEST_CASE("families that differ in system and in cost are the halves of the joint one") {
  const auto joint = systems::perturbed_family(boeing, {.level = systems::joint_levels(0.02)}, 9);
  const auto system = systems::perturbed_family(boeing, {.level = systems::system_levels(0.02)}, 9);
  const auto cost = systems::perturbed_family(boeing, {.level = systems::cost_levels(0.02)}, 9);
  for (std::size_t i = 0; i < joint.size(); ++i) {
    CHECK(test::norm(dense(joint[i].A()) - dense(system[i].A())) == 0);
    CHECK(test::norm(dense(joint[i].B()) - dense(system[i].B())) == 0);
    CHECK(test::norm(dense(joint[i].Q()) - dense(cost[i].Q())) == 0);
    CHECK(test::norm(dense(joint[i].R()) - dense(cost[i].R())) == 0);
    CHECK(test::norm(dense(system[i].Q()) - dense(boeing.Q())) == 0);
    CHECK(test::norm(dense(cost[i].A()) - dense(boeing.A())) == 0);
  }
  const auto measured = systems::heterogeneity(system);
  CHECK(measured.eps1 > 0.012);
  CHECK(measured.eps3 == 0);
  CHECK(measured.eps4 == 0);
}

TEST_CASE("the numbers of one-dimensional plants are uniform within relative_size of the level") {
  const auto nominal = test::make_task({{{0.5}}, {{1}}, {{1}}, {{1}}, {{1}}});
  const auto bounded = systems::perturbed_family(nominal, {.count = 50, .level = 0.1}, 21);
  for (std::size_t i = 1; i < bounded.size(); ++i) {
    CHECK(std::abs(bounded[i].A()(0, 0) - 0.5) <= 0.06);
    for (std::size_t j = 0; j < i; ++j) {
      const double distance = std::abs(bounded[i].A()(0, 0) - bounded[j].A()(0, 0));
      CHECK((distance > 0 && distance < 0.1));
    }
  }
  // Without redraws 400 numbers are independent and uniform: the largest distance of their distribution from
  // the uniform one exceeds 2.6/sqrt(n) with probability below 2 exp(-2 * 2.6^2) = 3e-6 (Massart).
  const std::size_t n = 400;
  const auto free =
      systems::perturbed_family(nominal, {.count = n + 1, .level = 0.1, .relative_size = 0.4}, 22);
  CHECK(free.redrawn == 0);
  std::vector<double> places;
  for (std::size_t i = 1; i <= n; ++i) places.push_back((free[i].A()(0, 0) - 0.5) / 0.08 + 0.5);
  std::sort(places.begin(), places.end());
  for (std::size_t i = 0; i < n; ++i) {
    CHECK(std::abs(places[i] - (static_cast<double>(i) + 0.5) / n) <
          (2.6 + 0.5 / std::sqrt(n)) / std::sqrt(n));
  }
}

TEST_CASE("directions have no preferred sign") {
  // The sum of n independent symmetric entries, each at most 0.6, exceeds 5 * 0.6 sqrt(n) with probability
  // below 2 exp(-12.5) = 8e-6 (Hoeffding) for each of the 16 entries of A: 1.2e-4 in all, with 100 families.
  const int n = 100;
  Dense sum(4, 4);
  for (std::uint64_t seed = 0; seed < n; ++seed) {
    const auto family = systems::perturbed_family(boeing, {.count = 2, .level = {1, 0, 0, 0}}, seed);
    sum = sum + difference(dense(family[1].A()), dense(boeing.A()));
  }
  for (const long double entry : sum.entries) CHECK(std::abs(entry) < 5 * 0.6 * std::sqrt(n));
}

TEST_CASE("a gain that every plant must keep is kept, by redrawing and counting") {
  const Backend::Gain K = systems::modified_boeing_initial_gain<Backend>();
  metalqr::Index destabilised = 0;
  metalqr::Index lost = 0;
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    const auto free = systems::perturbed_family(boeing, {.count = 20, .level = 0.05}, seed);
    for (const auto& task : free) lost += is_stabilizing(task, K) ? 0 : 1;
    const auto kept =
        systems::perturbed_family(boeing, {.count = 20, .level = 0.05, .must_be_stabilised_by = K}, seed);
    for (const auto& task : kept) CHECK(is_stabilizing(task, K));
    destabilised += kept.destabilised;
    const auto h = systems::heterogeneity(kept);
    CHECK((h.eps1 < 0.05 && h.eps2 < 0.05));
  }
  CHECK(lost > 0);
  CHECK(destabilised > 0);
}

TEST_CASE("a family that cannot be drawn ends with an error that names the option") {
  using Catch::Matchers::ContainsSubstring;
  for (const double bad : {0.0, -0.5, 1.0, std::nan("")}) {
    CHECK_THAT(message_of<metalqr::InvalidOption>(
                   [&] { systems::perturbed_family(boeing, {.relative_size = bad}, 1); }),
               ContainsSubstring("relative_size"));
  }
  CHECK_THAT(message_of<metalqr::NoConvergence>([] {
               systems::perturbed_family(boeing, {.count = 50, .relative_size = 0.95, .max_redraws = 0}, 1);
             }),
             ContainsSubstring("within the pairwise bound after 0 redraws (max_redraws)"));
  // Q = 1e-3 I: a change of 0.06 leaves it indefinite.
  CHECK_THAT(message_of<metalqr::NotPositiveDefinite>(
                 [] { systems::perturbed_family(systems::laplacian_3<Backend>(), {.level = 0.1}, 1); }),
             ContainsSubstring("level: too large for the nominal cost, task 1 has Q"));
}
