#include <metalqr/synthesis/decay.hpp>

#include <cmath>
#include <limits>

#include "support.hpp"

namespace {

namespace synthesis = metalqr::synthesis;
using metalqr::DimensionMismatch;
using metalqr::InvalidOption;
using metalqr::NotFinite;
using synthesis::decay;
using synthesis::Decay;
using test::Backend;
using test::Dense;
using test::Index;

Decay decay_of(const Dense& F, double rate) {
  return decay<Backend>(test::state_matrix(F), rate);
}

}  // namespace

TEST_CASE("powers of a normal matrix decay at once") {
  CHECK(decay_of({{0.5}}, 0.6).constant == 1);
  CHECK(decay_of({{-0.5}}, 0.6).rate == 0.6);
  CHECK(decay_of({{0.3, -0.4}, {0.4, 0.3}}, 0.51).constant == 1);
  CHECK(decay_of({{0, 0}, {0, 0}}, 0.1).constant == 1);
}

TEST_CASE("a nilpotent matrix by hand") {
  // |F| = 3, F^2 = 0: max(1, 3 / rate).
  CHECK(decay_of({{0, 3}, {0, 0}}, 0.5).constant == Catch::Approx(6));
  CHECK(decay_of({{0, 0.3}, {0, 0}}, 0.5).constant == 1);
}

TEST_CASE("a Jordan block by hand") {
  // F^t = f^(t-1) [f t; 0 f], times rate^-t; (t / f) (f / rate)^t is largest near t = 1 / log(rate / f).
  const double f = 0.8;
  const double rate = 0.85;
  double largest = 1;
  for (int t = 1; t < 400; ++t) {
    const double x = std::pow(f / rate, t);
    const double y = t / f * x;
    // Largest singular value of [x y; 0 x].
    largest = std::max(largest, (y + std::sqrt(y * y + 4 * x * x)) / 2);
  }
  CHECK(decay_of({{f, 1}, {0, f}}, rate).constant == Catch::Approx(largest).epsilon(1e-12));
}

TEST_CASE("no power is above the bound, one attains it, and those of neighbours are below theirs") {
  metalqr::Stream stream = test::stream(520);
  double tightest = 0;
  for (int round = 0; round < 8; ++round) {
    const Index n = 2 + round % 3;
    const Dense F = test::random_with_radius(n, 0.7, stream);
    const double rate = 0.75 + 0.05 * (round % 4);
    const Decay found = decay_of(F, rate);
    Dense power = test::identity(n);
    double largest = 0;
    for (int t = 0; t < 100; ++t) {
      const auto size = static_cast<double>(test::spectral_norm(power)) / std::pow(rate, t);
      largest = std::max(largest, size);
      power = F * power;
    }
    CHECK(found.constant == Catch::Approx(largest).epsilon(1e-9));
    const double distance = 0.3 * (1 - rate) / found.constant;
    for (int sample = 0; sample < 4; ++sample) {
      const Dense D = test::random_matrix(n, 1, stream) * test::random_matrix(1, n, stream);
      const Dense other = F + (distance / test::spectral_norm(D)) * D;
      Dense moved = test::identity(n);
      for (const Index t : {0, 1, 2, 5, 10, 20}) {
        moved = test::identity(n);
        for (Index k = 0; k < t; ++k) moved = other * moved;
        const auto ratio = static_cast<double>(test::spectral_norm(moved)) / found.of_neighbours(distance, t);
        CHECK(ratio <= 1 + 1e-12);
        if (t > 1) tightest = std::max(tightest, ratio);
      }
    }
  }
  CHECK(tightest > 0.3);
}

TEST_CASE("the constant falls as the rate grows") {
  metalqr::Stream stream = test::stream(521);
  const Dense F = test::random_with_radius(4, 0.9, stream);
  double last = std::numeric_limits<double>::infinity();
  for (const double rate : {0.905, 0.92, 0.95, 0.99}) {
    const double constant = decay_of(F, rate).constant;
    CHECK(constant <= last);
    last = constant;
  }
}

TEST_CASE("a rate outside of its range is refused by name") {
  const Dense F{{0.8, 1}, {0, 0.8}};
  for (const double bad : {0.8, 0.5, 0.0, -1.0, 1.0, 2.0, std::numeric_limits<double>::quiet_NaN()}) {
    CHECK(test::message_of<InvalidOption>([&] { decay_of(F, bad); }).find("rate: ") == 0);
  }
  CHECK(test::message_of<DimensionMismatch>([] {
          decay<Backend>(test::input_matrix({{0.5, 0}}), 0.9);
        }).find("F: ") == 0);
  const double not_a_number = std::numeric_limits<double>::quiet_NaN();
  CHECK(test::message_of<NotFinite>([&] { decay_of({{not_a_number}}, 0.9); }).find("F: ") == 0);
}
