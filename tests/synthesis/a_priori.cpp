#include <metalqr/synthesis/a_priori.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include <metalqr/synthesis/csdp.hpp>
#include <metalqr/synthesis/fir.hpp>
#include <metalqr/systems/plants.hpp>

#include "uncertain.hpp"

namespace {

namespace identification = metalqr::identification;
namespace synthesis = metalqr::synthesis;
using identification::ExperimentOptions;
using metalqr::InvalidOption;
using synthesis::APrioriCertificate;
using synthesis::APrioriOptions;
using synthesis::certify_a_priori;
using synthesis::Guarantee;
using synthesis::rollouts_for_zeta;
using test::Backend;
using test::Dense;
using test::DenseTask;
using test::Index;
using Task = metalqr::Task<Backend>;

const double infinity = std::numeric_limits<double>::infinity();
const double not_a_number = std::numeric_limits<double>::quiet_NaN();
const double root_two = std::sqrt(2.0);

Task laplacian() {
  return metalqr::systems::laplacian_3<Backend>();
}

/// A scalar plant with its solution by the quadratic formula.
struct Scalar {
  double a, b, q, r;

  double P() const {
    const double half = (r * (a * a - 1) + q * b * b) / (2 * b * b);
    return half + std::sqrt(half * half + q * r / (b * b));
  }
  double K() const { return a * b * P() / (r + b * b * P()); }
  double f() const { return a - b * K(); }
  Task task(double noise = 1) const {
    return test::make_task({Dense{{a}}, Dense{{b}}, Dense{{q}}, Dense{{r}}, Dense{{noise}}});
  }
};
constexpr Scalar slow{.a = 1.1, .b = 0.5, .q = 1, .r = 2};

/// The certificate at an error of A that makes zeta what is asked for.
APrioriCertificate at_zeta(const Scalar& plant, double zeta, const APrioriOptions& options) {
  return certify_a_priori(plant.task(), zeta * (1 - std::abs(plant.f())), 0, options);
}

}  // namespace

TEST_CASE("the plant of the published experiment needs errors below 0.0059") {
  const auto at = [](double epsilon) {
    return certify_a_priori(laplacian(), epsilon, epsilon, {.guarantee = Guarantee::published});
  };
  const APrioriCertificate below = at(0.00591);
  CHECK(std::abs(below.gain_norm - 0.0626902) < 5e-8);
  CHECK(std::abs(below.resolvent - 31.7939267730) < 5e-9);
  CHECK(below.zeta == Catch::Approx(0.00591 * 1.0626902 * 31.7939267730).epsilon(1e-7));
  CHECK(below.certified());
  CHECK(below.relative_root == Catch::Approx(5 * below.zeta));
  CHECK(below.relative_cost == Catch::Approx(10 * below.zeta + 25 * below.zeta * below.zeta));
  CHECK(below.cost_bound ==
        Catch::Approx(metalqr::optimal_cost(laplacian()) * (1 + below.relative_cost)).epsilon(1e-9));
  const APrioriCertificate above = at(0.00593);
  CHECK_FALSE(above.certified());
  CHECK(above.relative_root == infinity);
  CHECK(above.relative_cost == infinity);
  CHECK(above.cost_bound == infinity);
  CHECK(above.zeta > 0.2);
}

TEST_CASE("a scalar plant by its closed form") {
  for (const Scalar& plant : {slow, Scalar{0.5, 2, 0.3, 1}, Scalar{-1.2, 1, 1, 0.1}}) {
    const double zeta = (0.01 + 0.02 * std::abs(plant.K())) / (1 - std::abs(plant.f()));
    REQUIRE(zeta < 0.2);
    const APrioriCertificate sharp = certify_a_priori(plant.task(), 0.01, 0.02);
    CHECK(sharp.zeta == Catch::Approx(zeta).epsilon(1e-8));
    CHECK(sharp.level == Catch::Approx(root_two * zeta / (1 - zeta)).epsilon(1e-8));
    const double root = (1 + root_two) * zeta / (1 - (1 + root_two) * zeta);
    CHECK(sharp.relative_root == Catch::Approx(root).epsilon(1e-7));
    CHECK(sharp.relative_cost == Catch::Approx((1 + root) * (1 + root) - 1).epsilon(1e-7));
    CHECK(sharp.cost_bound == Catch::Approx(plant.P() * (1 + root) * (1 + root)).epsilon(1e-7));
    const APrioriCertificate free =
        certify_a_priori(plant.task(), 0.01, 0.02, {.guarantee = Guarantee::free_share});
    CHECK(free.level == Catch::Approx(zeta / (1 - zeta)).epsilon(1e-8));
    CHECK(free.relative_root == Catch::Approx(2 * zeta / (1 - 2 * zeta)).epsilon(1e-7));
    const APrioriCertificate published =
        certify_a_priori(plant.task(), 0.01, 0.02, {.guarantee = Guarantee::published});
    CHECK(published.relative_root == Catch::Approx(5 * zeta).epsilon(1e-8));
    CHECK(free.relative_root < sharp.relative_root);
    CHECK(sharp.relative_root < published.relative_root);
  }
}

TEST_CASE("each guarantee ends at its own zeta") {
  const auto certified = [](double zeta, Guarantee guarantee) {
    return at_zeta(slow, zeta, {.guarantee = guarantee}).certified();
  };
  const std::pair<Guarantee, double> limits[] = {
      {Guarantee::published, 0.2}, {Guarantee::sharp, root_two - 1}, {Guarantee::free_share, 0.5}};
  for (const auto& [guarantee, limit] : limits) {
    CHECK(certified(limit * (1 - 1e-8), guarantee));
    CHECK_FALSE(certified(limit * (1 + 1e-8), guarantee));
  }
}

TEST_CASE("the zeta for a suboptimality is the inverse of the guarantee") {
  for (const Guarantee guarantee : {Guarantee::published, Guarantee::sharp, Guarantee::free_share}) {
    for (const double root : {0.01, 0.1, 0.5, 0.99}) {
      const double zeta = synthesis::zeta_for(root, guarantee);
      CHECK(at_zeta(slow, zeta * (1 - 1e-9), {.guarantee = guarantee}).relative_root ==
            Catch::Approx(root).epsilon(1e-6));
    }
  }
  CHECK(synthesis::zeta_for(100, Guarantee::published) == 0.2);
  CHECK(synthesis::zeta_for(infinity) == Catch::Approx(root_two - 1));
}

TEST_CASE("guarantees grow with the errors and shrink with the length") {
  double last = 0;
  for (const double factor : {0.0, 0.5, 1.0, 2.0, 3.0}) {
    const double in_A = certify_a_priori(laplacian(), 0.001 * factor, 0.001).relative_root;
    const double in_B = certify_a_priori(laplacian(), 0.001, 0.001 * factor).relative_root;
    const double in_both = certify_a_priori(laplacian(), 0.001 * factor, 0.001 * factor).relative_root;
    CHECK(in_both >= last);
    CHECK((factor < 1 ? in_A < in_B : in_A >= in_B));
    last = in_both;
  }
  CHECK(last < infinity);
  const double limit = certify_a_priori(laplacian(), 0.002, 0.002).relative_root;
  last = infinity;
  for (const Index length : {50, 200, 400, 800, 1600}) {
    const APrioriCertificate found = certify_a_priori(laplacian(), 0.002, 0.002, {.length = length});
    CHECK(found.relative_root <= last);
    last = found.relative_root;
  }
  CHECK(certify_a_priori(laplacian(), 0.002, 0.002, {.length = 1}).relative_root == infinity);
  CHECK(last >= limit);
  CHECK(last == Catch::Approx(limit).epsilon(1e-5));
}

TEST_CASE("finite responses of a scalar plant by hand") {
  // |f^t| <= rate^t for any rate above f, and |(f + d)^L| <= (rate + d)^L.
  const Index length = 60;
  const double rate = 0.99 * std::abs(slow.f()) + 0.01;
  const double zeta = 0.05;
  const double distance = zeta * (1 - std::abs(slow.f()));
  const double v = std::pow(rate + distance, static_cast<double>(length));
  const double level = root_two * zeta * (1 + v) / (1 - zeta) + v;
  const APrioriCertificate found = at_zeta(slow, zeta, {.length = length, .rate = rate});
  CHECK(found.decay.constant == 1);
  CHECK(found.decay.rate == rate);
  CHECK(found.remainder == Catch::Approx(v).epsilon(1e-8));
  CHECK(found.level == Catch::Approx(level).epsilon(1e-8));
  CHECK(found.relative_root == Catch::Approx(1 / ((1 - zeta) * (1 - level)) - 1).epsilon(1e-7));
  // The best of the rates is not worse than one that is a little further from f than the closest of them.
  const double near = std::abs(slow.f()) + (1 - std::abs(slow.f())) / 31;
  CHECK(at_zeta(slow, zeta, {.length = length}).remainder <=
        at_zeta(slow, zeta, {.length = length, .rate = near}).remainder);
}

TEST_CASE("the published length of finite responses is enough where it is confirmed") {
  const double zeta = 0.08;
  const double rate = 0.9 * std::abs(slow.f()) + 0.1;
  // The constant is one.
  const auto enough = static_cast<Index>(std::ceil(4 * std::log(1 / zeta) / (1 - rate)));
  const auto at = [&](Index length, double at_rate, double small = 0.08) {
    return at_zeta(slow, small, {.guarantee = Guarantee::published, .length = length, .rate = at_rate});
  };
  const APrioriCertificate found = at(enough, rate);
  CHECK(found.certified());
  CHECK(found.relative_root == Catch::Approx(10 * zeta).epsilon(1e-8));
  CHECK(at_zeta(slow, zeta, {.length = enough, .rate = rate}).relative_root <= found.relative_root);
  CHECK_FALSE(at(enough - 1, rate).certified());
  CHECK_FALSE(at(10 * enough, rate, 0.1001).certified());
  CHECK(at(10 * enough, rate, 0.0999).certified());
  // Without a rate, one is found with which a shorter length is enough.
  CHECK(at_zeta(slow, zeta, {.guarantee = Guarantee::published, .length = enough}).certified());
}

// Theorem 5.1's programme, with the slack, is what `fir` solves.
TEST_CASE("designs from any estimate within the radii are as good as was promised") {
  metalqr::Stream stream = test::stream(530);
  double tightest = 0;
  for (int round = 0; round < 8; ++round) {
    // Cheap inputs, as many as states: an optimal closed loop that settles within eight steps.
    auto random = test::random_problem(2, 2, 0.9, stream);
    random.task.R = 0.01L * random.task.R;
    random.task.Sigma0 = test::identity(2);
    const Task plant = test::make_task(random.task);
    const bool free = round % 2 == 1;
    APrioriOptions options{.guarantee = free ? Guarantee::free_share : Guarantee::sharp, .length = 8};
    const APrioriCertificate unit = certify_a_priori(plant, 1e-3, 1e-3, options);
    const double zeta = round < 4 ? 0.05 : 0.2;
    const double epsilon = 1e-3 * zeta / unit.zeta;
    const APrioriCertificate promise = certify_a_priori(plant, epsilon, epsilon, options);
    INFO("round " << round << ", remainder " << promise.remainder);
    REQUIRE(promise.certified());
    const DenseTask estimate = test::perturbed(random.task, epsilon, epsilon, true, stream);
    const auto design = synthesis::fir(
        synthesis::RobustProblem<Backend>{test::make_task(estimate), epsilon, epsilon}, synthesis::Csdp(),
        {.length = 8,
         .gamma = synthesis::optimised,
         .alpha = free ? std::optional<double>() : std::optional<double>(0.5),
         .slack = true});
    REQUIRE(design.status == synthesis::SynthesisStatus::solved);
    // The search for gamma stops within 1e-3 of the least level.
    CHECK(design.cost_bound <= promise.cost_bound * (1 + 1e-3));
    const double cost = synthesis::cost(plant, design.controller.state_space());
    CHECK(cost <= promise.cost_bound);
    CHECK(cost <= design.cost_bound);
    CHECK(cost >= metalqr::optimal_cost(plant) * (1 - 1e-9));
    tightest = std::max(tightest, design.cost_bound / promise.cost_bound);
  }
  CHECK(tightest > 0.7);
}

TEST_CASE("from rollouts to the cost, end to end") {
  const ExperimentOptions experiment{.rollouts = 500000000, .horizon = 7, .excitation = 2, .noise = 0.5};
  const auto errors = identification::planning_bound(laplacian(), experiment);
  const APrioriCertificate found =
      certify_a_priori(laplacian(), experiment, {}, {.guarantee = Guarantee::published});
  REQUIRE(found.certified());
  CHECK(found.epsilon_A == errors.epsilon_A);
  CHECK(found.epsilon_B == errors.epsilon_B);
  const double root = 80 * 0.5 * 31.7939267730 * (1 / std::sqrt(errors.excitability) + 0.0626902 / 2) *
                      std::sqrt(9 * std::log(36 / 0.05) / 500000000.0);
  CHECK(found.relative_root == Catch::Approx(root).epsilon(1e-7));
  const APrioriCertificate few = certify_a_priori(laplacian(), ExperimentOptions{.rollouts = 100});
  CHECK_FALSE(few.certified());
  CHECK(few.zeta == infinity);
}

TEST_CASE("the number of rollouts for a zeta is the least that promises it") {
  for (const double target : {0.2, 0.1, 5.0}) {
    const double count = rollouts_for_zeta(laplacian(), target);
    const auto zeta = [](double rollouts) {
      return certify_a_priori(laplacian(), ExperimentOptions{.rollouts = static_cast<Index>(rollouts)}).zeta;
    };
    CHECK(count == std::floor(count));
    CHECK(zeta(count) <= target * (1 + 1e-12));
    CHECK(zeta(count - 1) > target * (1 - 1e-12));
    // A tenth of the zeta takes a hundred times as many.
    CHECK(std::abs(rollouts_for_zeta(laplacian(), target / 10) - 100 * (count - 0.5)) <= 51);
  }
  // What can be had for the rollouts that any bound needs.
  CHECK(rollouts_for_zeta(laplacian(), 1e9) == 119);
  CHECK(rollouts_for_zeta(laplacian(), 0.2, {.noise = 0}) == 119);
  // Without noise, inputs that do not reach a state say nothing of it.
  const Task unreached = test::make_task(
      {{{0.5, 0}, {0, 0.5}}, {{1}, {0}}, test::identity(2), test::identity(1), test::identity(2)});
  CHECK(rollouts_for_zeta(unreached, 0.2, {.noise = 0}) == infinity);
  CHECK(rollouts_for_zeta(unreached, 0.2, {.noise = 1}) < infinity);
}

TEST_CASE("the covariance of the noise enters by its largest eigenvalue") {
  const APrioriCertificate unit = certify_a_priori(slow.task(), 0.01, 0.01);
  const APrioriCertificate loud = certify_a_priori(slow.task(4), 0.01, 0.01);
  CHECK(loud.relative_cost == unit.relative_cost);
  CHECK(loud.cost_bound == Catch::Approx(4 * unit.cost_bound));
}

TEST_CASE("a guarantee says what it checked and what it takes on trust") {
  const APrioriOptions every[] = {{},
                                  {.guarantee = Guarantee::published},
                                  {.guarantee = Guarantee::free_share},
                                  {.length = 100},
                                  {.guarantee = Guarantee::published, .length = 100}};
  for (const APrioriOptions& options : every) {
    const APrioriCertificate found = at_zeta(slow, 0.9, options);
    CHECK_FALSE(found.certified());
    Index checked = 0;
    for (const auto& assumption : found.assumptions) {
      CHECK(std::string(assumption.statement).size() > 10);
      checked += assumption.checked ? 1 : 0;
      CHECK((assumption.checked || assumption.holds));
    }
    CHECK(checked >= 2);
    CHECK(static_cast<Index>(found.assumptions.size()) == checked + 4);
    CHECK(found.assumptions[0].holds);
    CHECK_FALSE(found.assumptions[1].holds);
  }
}

TEST_CASE("fixed and dynamic sizes agree on what to expect") {
  using Fixed = metalqr::EigenBackend<double, 3, 3>;
  const auto fixed = certify_a_priori(metalqr::systems::laplacian_3<Fixed>(), 0.003, 0.003, {.length = 300});
  const auto dynamic = certify_a_priori(laplacian(), 0.003, 0.003, {.length = 300});
  CHECK(fixed.zeta == Catch::Approx(dynamic.zeta).epsilon(1e-9));
  CHECK(fixed.cost_bound == Catch::Approx(dynamic.cost_bound).epsilon(1e-8));
}

TEST_CASE("a rate without a length has no meaning and is refused") {
  CHECK(test::message_of<metalqr::InvalidOption>([] { validate(synthesis::APrioriOptions{.rate = 0.5}); }) ==
        "rate: expected none without a length, got 0.5");
}

TEST_CASE("bad input of the planning is refused by name") {
  const auto refusal = [](double epsilon_A, double epsilon_B, const APrioriOptions& options = {}) {
    return test::message_of<InvalidOption>(
        [&] { certify_a_priori(slow.task(), epsilon_A, epsilon_B, options); });
  };
  for (const double bad : {-0.1, not_a_number, infinity}) {
    CHECK(refusal(bad, 0).find("epsilon_A: ") == 0);
    CHECK(refusal(0, bad).find("epsilon_B: ") == 0);
  }
  CHECK(refusal(0.01, 0.01, {.length = 0}).find("length: ") == 0);
  for (const double bad : {0.0, 0.1, 1.0, -1.0, not_a_number}) {
    CHECK(refusal(0.01, 0.01, {.length = 10, .rate = bad}).find("rate: ") == 0);
  }
  for (const double bad : {0.0, -0.1, infinity, not_a_number}) {
    CHECK(test::message_of<InvalidOption>([&] { rollouts_for_zeta(slow.task(), bad); }).find("zeta: ") == 0);
  }
  for (const double bad : {0.0, -0.1, not_a_number}) {
    CHECK(test::message_of<InvalidOption>([&] { synthesis::zeta_for(bad); }).find("relative_root: ") == 0);
  }
  CHECK(test::message_of<InvalidOption>([] {
          certify_a_priori(slow.task(), ExperimentOptions{.horizon = 1});
        }).find("horizon: ") == 0);
  CHECK_THROWS_AS(certify_a_priori(Scalar{1.1, 0, 1, 1}.task(), 0.1, 0.1), metalqr::NotStabilizable);
}
