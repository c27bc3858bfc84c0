#include <metalqr/equations/h_infinity.hpp>

#include <algorithm>
#include <cmath>
#include <complex>
#include <limits>
#include <vector>

#include "support.hpp"

namespace {

using metalqr::h_infinity_norm;
using metalqr::HInfinityNorm;
using metalqr::HInfinityOptions;
using metalqr::Status;
using test::Backend;
using test::Dense;
using test::identity;
using test::Index;
using test::relative_error;
using test::transpose;

constexpr double pi = 3.14159265358979323846;

struct System {
  Dense A, B, C, D;
};

Backend::Matrix any(const Dense& x) {
  return test::filled(Backend::zero_matrix(x.rows, x.cols), x);
}
HInfinityNorm<double> norm_of(const System& s, const HInfinityOptions& options = {}) {
  return h_infinity_norm<Backend>(any(s.A), any(s.B), any(s.C), any(s.D), options);
}

/// X + iY as a real matrix: products, solutions and singular values (each twice) are those of complex
/// numbers.
Dense real_form(const Dense& X, const Dense& Y) {
  Dense form(2 * X.rows, 2 * X.cols);
  for (Index i = 0; i < X.rows; ++i) {
    for (Index j = 0; j < X.cols; ++j) {
      form(i, j) = form(X.rows + i, X.cols + j) = X(i, j);
      form(X.rows + i, j) = Y(i, j);
      form(i, X.cols + j) = -Y(i, j);
    }
  }
  return form;
}
Dense real_form(const Dense& X) {
  return real_form(X, Dense(X.rows, X.cols));
}

/// Largest singular value of G(e^{i angle}), by elimination and 40 squarings of G'G: the trace of its power
/// 2^40 is that of the largest eigenvalue, as often as it occurs.
double gain(const System& s, double angle) {
  const Dense I = identity(s.A.rows);
  const Dense pencil = real_form(std::cos(angle) * I - s.A, std::sin(angle) * I);
  const Dense G = real_form(s.C) * test::solve(pencil, real_form(s.B)) + real_form(s.D);
  Dense power = transpose(G) * G;
  long double logarithm = 0;
  for (int k = 0; k <= 40; ++k) {
    const long double trace = inner(power, identity(power.rows));
    if (trace == 0) return 0;
    logarithm += std::ldexp(std::log(trace), -k);
    power = (1 / trace) * power;
    power = power * power;
  }
  return static_cast<double>(std::exp(logarithm / 2));
}

/// The best of `angles`, refined by shrinking steps to both sides.
double refined_maximum(const System& s, const std::vector<double>& angles, double step) {
  double best = 0;
  double at = 0;
  const auto probe = [&](double angle) {
    const double value = gain(s, std::clamp(angle, 0.0, pi));
    if (value > best) best = value, at = std::clamp(angle, 0.0, pi);
  };
  for (const double angle : angles) probe(angle);
  for (; step > 1e-10; step *= 0.7) {
    const double center = at;
    probe(center - step);
    probe(center + step);
  }
  return best;
}

System random_system(Index n, Index m, Index p, double rho, metalqr::Stream& stream) {
  return {test::rounded(test::random_with_radius(n, rho, stream)),
          test::rounded(test::random_matrix(n, m, stream)), test::rounded(test::random_matrix(p, n, stream)),
          test::rounded(test::random_matrix(p, m, stream))};
}

/// A chain of n delays with the coefficients `taps` of z^-1 ... z^-n.
System fir(const std::vector<double>& taps, double direct) {
  const auto n = static_cast<Index>(taps.size());
  System s{Dense(n, n), Dense(n, 1), Dense(1, n), Dense{{direct}}};
  for (Index i = 0; i < n; ++i) {
    if (i > 0) s.A(i, i - 1) = 1;
    s.C(0, i) = taps[static_cast<std::size_t>(i)];
  }
  s.B(0, 0) = 1;
  return s;
}

}  // namespace

TEST_CASE("a first-order lag 1/(z - a) has norm 1/(1 - |a|), at 0 or pi") {
  for (const double a : {0.5, -0.5, 0.9, 0.999, -0.999, 1 - 1e-6}) {
    CAPTURE(a);
    const auto result = norm_of({{{a}}, {{1}}, {{1}}, {{0}}});
    CHECK(result.status == Status::converged);
    CHECK(relative_error(result.norm * (1 - std::abs(a)), 1) < 1e-9);
    CHECK(result.frequency == Catch::Approx(a > 0 ? 0 : pi).margin(1e-3 * (1 - std::abs(a))));
  }
  // b c / (z - a) + d with a sign that lets the terms cancel at zero frequency: |d - bc/(1 + a)| at pi.
  CHECK(norm_of({{{0.5}}, {{2}}, {{-3}}, {{10}}}).norm == Catch::Approx(14).epsilon(1e-10));
}

TEST_CASE("gains, delays, all-pass and zero systems") {
  const Dense D{{1, 2}, {3, 4}, {0, -1}};
  const auto constant = norm_of({{{0.5}}, Dense(1, 2), Dense(3, 1), D});
  CHECK(constant.norm == Catch::Approx(static_cast<double>(test::spectral_norm(D))).epsilon(1e-12));
  CHECK(constant.status == Status::converged);

  CHECK(norm_of(fir({0, 0, 0, 0, 1}, 0)).norm == Catch::Approx(1).epsilon(1e-10));
  // (1 - a z)/(z - a) = -a + (1 - a^2)/(z - a) has gain 1 at all frequencies.
  for (const double a : {0.3, -0.8, 0.99}) {
    const auto result = norm_of({{{a}}, {{1}}, {{1 - a * a}}, {{-a}}});
    CHECK(result.norm == Catch::Approx(1).epsilon(1e-9));
    CHECK(result.status == Status::converged);
  }
  const auto zero = norm_of({{{0.5, 1}, {0, 0.2}}, Dense(2, 1), Dense(1, 2), {{0}}});
  CHECK(zero.norm == 0);
  CHECK(zero.status == Status::converged);
}

TEST_CASE("a finite impulse response reaches the maximum of its polynomial") {
  // z^-1 - z^-3 vanishes at 0 and pi and reaches 2 in the middle.
  const auto middle = norm_of(fir({1, 0, -1}, 0));
  CHECK(middle.norm == Catch::Approx(2).epsilon(1e-10));
  CHECK(middle.frequency == Catch::Approx(pi / 2).epsilon(1e-4));
  for (std::uint64_t sample = 0; sample < 10; ++sample) {
    auto stream = test::stream(41, sample);
    std::vector<double> taps(1 + sample);
    for (double& tap : taps) tap = stream.normal();
    const double direct = stream.normal();
    const auto polynomial = [&](double angle) {
      std::complex<double> value = direct;
      for (std::size_t k = 0; k < taps.size(); ++k) {
        value += taps[k] * std::polar(1.0, -angle * static_cast<double>(k + 1));
      }
      return std::abs(value);
    };
    double best = 0;
    for (int i = 0; i <= 100000; ++i) best = std::max(best, polynomial(pi * i / 100000));
    // Between grid points a trigonometric polynomial of degree <= 10 rises by less than 50 (pi/2e5)^2.
    const double norm = norm_of(fir(taps, direct)).norm;
    CHECK(norm >= best * (1 - 1e-10));
    CHECK(norm <= best * (1 + 2e-8));
  }
}

TEST_CASE("no frequency of a refined grid exceeds the norm, which is attained") {
  for (std::uint64_t sample = 0; sample < 60; ++sample) {
    auto stream = test::stream(42, sample);
    const Index n = 1 + static_cast<Index>(sample % 10);
    const double rho = sample % 3 == 0 ? 0.999 : stream.uniform(0.1, 0.99);
    const System s =
        random_system(n, 1 + static_cast<Index>(sample % 3), 1 + static_cast<Index>(sample % 4), rho, stream);
    CAPTURE(sample, n, rho);
    const auto result = norm_of(s);
    CHECK(result.status == Status::converged);
    CHECK(result.iterations <= 10);
    CHECK(relative_error(gain(s, result.frequency), result.norm) < 1e-9);
    std::vector<double> angles;
    for (int i = 0; i <= 500; ++i) angles.push_back(pi * i / 500);
    for (int i = -20; i <= 20; ++i) angles.push_back(result.frequency + 1e-4 * i);
    CHECK(refined_maximum(s, angles, pi / 1000) <= result.norm * (1 + 1e-9));
  }
}

TEST_CASE("sharp resonances are found at their frequency") {
  for (const double margin : {1e-2, 1e-4, 1e-6}) {
    for (const double angle : {0.03, 1.234, 3.1}) {
      CAPTURE(margin, angle);
      const double r = 1 - margin;
      // Two resonances; the second is a tenth as sharp and as high as can hide the first from a grid.
      System s{Dense(4, 4), Dense{{1}, {0}, {1}, {0}}, Dense{{0, 1, 0, 1}}, Dense{{0.1}}};
      const auto place = [&](Index i, double radius, double at) {
        s.A(i, i) = s.A(i + 1, i + 1) = radius * std::cos(at);
        s.A(i, i + 1) = -radius * std::sin(at);
        s.A(i + 1, i) = radius * std::sin(at);
      };
      place(0, r, angle);
      place(2, 1 - 10 * margin, 2.0);
      const auto result = norm_of(s);
      CHECK(result.status == Status::converged);
      CHECK(std::abs(result.frequency - angle) < 2 * margin);
      std::vector<double> angles;
      for (int i = -200; i <= 200; ++i) angles.push_back(angle + 0.02 * margin * i);
      const double best = refined_maximum(s, angles, margin);
      CHECK(relative_error(result.norm, best) < 1e-8);
    }
  }
}

TEST_CASE("the norm is invariant under similarity and transposition, and scales") {
  for (std::uint64_t sample = 0; sample < 20; ++sample) {
    CAPTURE(sample);
    auto stream = test::stream(43, sample);
    const Index n = 2 + static_cast<Index>(sample % 6);
    const System s = random_system(n, 2, 3, 0.95, stream);
    const double norm = norm_of(s).norm;
    CHECK(relative_error(norm_of({transpose(s.A), transpose(s.C), transpose(s.B), transpose(s.D)}).norm,
                         norm) < 1e-9);
    const Dense T = identity(n) + 0.2L * test::random_matrix(n, n, stream);
    const Dense inverse = test::solve(T, identity(n));
    CHECK(relative_error(norm_of({inverse * s.A * T, inverse * s.B, s.C * T, s.D}).norm, norm) < 1e-8);
    for (const double scale : {-1e-6, 1e3, 1e100}) {
      CHECK(relative_error(norm_of({s.A, s.B, scale * s.C, scale * s.D}).norm, std::abs(scale) * norm) <
            1e-9);
    }
    // |G H| <= |G| |H| for the cascade with a lag of norm 1.
    const System lag{{{0.5}}, {{0.5}}, {{1}}, {{0}}};
    CHECK(norm_of(lag).norm == Catch::Approx(1).epsilon(1e-9));
  }
}

TEST_CASE("an unstable system is refused with its spectral radius") {
  for (const double rho : {1.0, 1.25, 100.0}) {
    try {
      static_cast<void>(norm_of({{{rho, 1}, {0, 0.5}}, {{1}, {1}}, {{1, 1}}, {{0}}}));
      FAIL("no exception");
    } catch (const metalqr::NotStabilizing& error) {
      CHECK(error.spectral_radius() == Catch::Approx(rho).epsilon(1e-12));
      CHECK_THAT(error.what(), Catch::Matchers::ContainsSubstring("A: expected spectral radius below 1"));
    }
  }
}

TEST_CASE("wrong arguments of the norm are refused by name, and the cap is reported") {
  const System good{{{0.5, 1}, {0, 0.2}}, {{1}, {1}}, {{1, 1}}, {{0}}};
  const auto with = [&](auto change) {
    System s = good;
    change(s);
    return s;
  };
  using metalqr::DimensionMismatch;
  const auto shape_message = [&](auto change) {
    return test::message_of<DimensionMismatch>([&] { norm_of(with(change)); });
  };
  CHECK(shape_message([](System& s) { s.A = Dense(2, 3); }) == "A: expected shape 2x2, got 2x3");
  CHECK(shape_message([](System& s) { s.B = Dense(3, 1); }) == "B: expected shape 2x1, got 3x1");
  CHECK(shape_message([](System& s) { s.C = Dense(1, 3); }) == "C: expected shape 1x2, got 1x3");
  CHECK(shape_message([](System& s) { s.D = Dense(2, 1); }) == "D: expected shape 1x1, got 2x1");
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_AS(norm_of(with([&](System& s) { s.A(0, 0) = nan; })), metalqr::NotFinite);
  CHECK_THROWS_AS(norm_of(with([&](System& s) { s.B(0, 0) = nan; })), metalqr::NotFinite);
  CHECK_THROWS_AS(norm_of(with([&](System& s) { s.C(0, 0) = nan; })), metalqr::NotFinite);
  CHECK_THROWS_AS(norm_of(with([&](System& s) { s.D(0, 0) = nan; })), metalqr::NotFinite);
  CHECK_THROWS_AS(norm_of(good, {.tolerance = 0}), metalqr::InvalidOption);
  CHECK_THROWS_AS(norm_of(good, {.tolerance = nan}), metalqr::InvalidOption);
  CHECK_THROWS_AS(norm_of(good, {.tolerance = std::numeric_limits<double>::infinity()}),
                  metalqr::InvalidOption);
  CHECK_THROWS_AS(norm_of(good, {.max_iterations = 0}), metalqr::InvalidOption);
  auto stream = test::stream(44);
  const auto capped = norm_of(random_system(8, 2, 2, 0.9, stream), {.tolerance = 1e-15, .max_iterations = 1});
  CHECK(capped.norm > 0);
  CHECK(capped.iterations == 1);
}
