#include <metalqr/systems/family.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <metalqr/systems/families.hpp>
#include <metalqr/systems/random_task.hpp>

#include "support.hpp"

using test::Backend;
using test::dense;
using test::message_of;
using Task = metalqr::Task<Backend>;

namespace systems = metalqr::systems;

TEST_CASE("the measured heterogeneity is the largest distance over all pairs") {
  std::vector<Task> tasks;
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    tasks.push_back(systems::random_task<Backend>({.states = 3, .inputs = 2}, seed));
  }
  long double most[4] = {};
  for (const Task& one : tasks) {
    for (const Task& other : tasks) {
      most[0] = std::max(most[0], test::spectral_norm(dense(one.A()) - dense(other.A())));
      most[1] = std::max(most[1], test::spectral_norm(dense(one.B()) - dense(other.B())));
      most[2] = std::max(most[2], test::spectral_norm(dense(one.Q()) - dense(other.Q())));
      most[3] = std::max(most[3], test::spectral_norm(dense(one.R()) - dense(other.R())));
    }
  }
  const auto measured = systems::heterogeneity(tasks);
  CHECK(test::relative_error(measured.eps1, most[0]) < 1e-9);
  CHECK(test::relative_error(measured.eps2, most[1]) < 1e-9);
  CHECK(test::relative_error(measured.eps3, most[2]) < 1e-9);
  CHECK(test::relative_error(measured.eps4, most[3]) < 1e-9);

  std::swap(tasks[0], tasks[3]);
  CHECK(systems::heterogeneity(tasks).eps1 == measured.eps1);
  tasks.erase(tasks.begin() + 1, tasks.end());
  CHECK(systems::heterogeneity(tasks).eps1 == 0);
}

TEST_CASE("an empty list has no heterogeneity") {
  CHECK_THROWS_AS(systems::heterogeneity(std::vector<Task>{}), metalqr::InvalidOption);
}

TEST_CASE("levels are one number for all matrices, one for each, or named by what differs") {
  const systems::Levels joint = 0.5;
  CHECK(joint.A + joint.B + joint.Q + joint.R == 2);
  const systems::Levels each{1, 2, 3, 4};
  CHECK((each.A == 1 && each.B == 2 && each.Q == 3 && each.R == 4));
  const systems::Levels system = systems::system_levels(3);
  CHECK((system.A == 3 && system.B == 3 && system.Q == 0 && system.R == 0));
  const systems::Levels cost = systems::cost_levels(3);
  CHECK((cost.A == 0 && cost.B == 0 && cost.Q == 3 && cost.R == 3));
  CHECK(systems::joint_levels(3).R == 3);
}

TEST_CASE("a level that is negative or not finite is refused by its name") {
  for (const double bad : {-1e-3, std::nan(""), std::numeric_limits<double>::infinity()}) {
    const auto message = [&](const systems::Levels& level) {
      return message_of<metalqr::InvalidOption>([&] { validate(level); });
    };
    using Catch::Matchers::ContainsSubstring;
    CHECK_THAT(message({bad, 0, 0, 0}), ContainsSubstring("level.A: expected a finite number >= 0"));
    CHECK_THAT(message({0, bad, 0, 0}), ContainsSubstring("level.B"));
    CHECK_THAT(message({0, 0, bad, 0}), ContainsSubstring("level.Q"));
    CHECK_THAT(message({0, 0, 0, bad}), ContainsSubstring("level.R"));
  }
}

TEST_CASE("both generators refuse bad options by their names") {
  using Catch::Matchers::ContainsSubstring;
  const Task nominal = systems::random_task<Backend>({}, 3);
  const auto check = [&](const auto& generate) {
    for (const metalqr::Index count : {0, -1}) {
      CHECK_THAT(
          message_of<metalqr::InvalidOption>([&] { generate(count, 0.01, 10, Backend::zero_gain(2, 4)); }),
          ContainsSubstring("count: expected at least 1"));
    }
    CHECK_THAT(message_of<metalqr::InvalidOption>([&] { generate(2, -0.01, 10, Backend::zero_gain(2, 4)); }),
               ContainsSubstring("level.A"));
    CHECK_THAT(
        message_of<metalqr::InvalidOption>([&] { generate(2, std::nan(""), 10, Backend::zero_gain(2, 4)); }),
        ContainsSubstring("level.A"));
    CHECK_THAT(message_of<metalqr::InvalidOption>([&] { generate(2, 0.01, -1, Backend::zero_gain(2, 4)); }),
               ContainsSubstring("max_redraws"));
    CHECK_THAT(
        message_of<metalqr::DimensionMismatch>([&] { generate(2, 0.01, 10, Backend::zero_gain(4, 2)); }),
        ContainsSubstring("must_be_stabilised_by: expected shape 2x4, got 4x2"));
    Backend::Gain K = Backend::zero_gain(2, 4);
    K(1, 2) = std::nan("");
    CHECK_THAT(message_of<metalqr::NotFinite>([&] { generate(2, 0.01, 10, K); }),
               ContainsSubstring("must_be_stabilised_by"));
    K(1, 2) = 1e3;
    CHECK_THAT(message_of<metalqr::NotStabilizing>([&] { generate(2, 0.01, 10, K); }),
               ContainsSubstring("must_be_stabilised_by: expected a gain that stabilises the nominal task"));
    // The zero gain stabilises the nominal plant, rho(A) = 0.9, but hardly any at level 100.
    CHECK_THAT(message_of<metalqr::NotStabilizable>([&] { generate(20, 100, 0, Backend::zero_gain(2, 4)); }),
               ContainsSubstring("must_be_stabilised_by: no plant"));
    CHECK_NOTHROW(generate(1, 100, 0, Backend::zero_gain(2, 4)));
  };
  check([&](metalqr::Index count, double level, int max_redraws, const Backend::Gain& K) {
    systems::perturbed_family(
        nominal,
        {.count = count, .level = {level, 0, 0, 0}, .max_redraws = max_redraws, .must_be_stabilised_by = K},
        1);
  });
  check([&](metalqr::Index count, double level, int max_redraws, const Backend::Gain& K) {
    systems::masked_family(
        nominal,
        {.count = count, .level = {level, 0, 0, 0}, .max_redraws = max_redraws, .must_be_stabilised_by = K},
        1);
  });
}
