#include <metalqr/core/error.hpp>

#include <cmath>
#include <limits>
#include <string>
#include <type_traits>

#include "catch.hpp"

namespace {

template <class E>
constexpr bool is_own_error = std::is_base_of_v<metalqr::Error, E> && !std::is_same_v<metalqr::Error, E> &&
                              std::is_nothrow_copy_constructible_v<E>;

static_assert(std::is_base_of_v<std::runtime_error, metalqr::Error>);
static_assert(is_own_error<metalqr::DimensionMismatch>);
static_assert(is_own_error<metalqr::NotFinite>);
static_assert(is_own_error<metalqr::NotPositiveDefinite>);
static_assert(is_own_error<metalqr::NotStabilizing>);
static_assert(is_own_error<metalqr::NotStabilizable>);
static_assert(is_own_error<metalqr::RankDeficient>);
static_assert(is_own_error<metalqr::NoConvergence>);
static_assert(is_own_error<metalqr::InvalidOption>);
static_assert(is_own_error<metalqr::ParseError>);
static_assert(is_own_error<metalqr::FileError>);
// A handler for one kind does not catch another.
static_assert(!std::is_base_of_v<metalqr::NotStabilizing, metalqr::NotStabilizable>);
static_assert(!std::is_base_of_v<metalqr::NotStabilizable, metalqr::NotStabilizing>);
static_assert(!std::is_base_of_v<metalqr::NotFinite, metalqr::NotPositiveDefinite>);

}  // namespace

TEST_CASE("every error is caught as Error, as runtime_error and by its own type, with its message") {
  const auto thrown = [](const auto& error) {
    using E = std::decay_t<decltype(error)>;
    int caught = 0;
    try {
      throw error;
    } catch (const E& e) {
      caught += std::string(e.what()) == "A: wrong" ? 1 : 0;
    }
    try {
      throw error;
    } catch (const metalqr::Error& e) {
      caught += std::string(e.what()) == "A: wrong" ? 1 : 0;
    }
    try {
      throw error;
    } catch (const std::runtime_error& e) {
      caught += std::string(e.what()) == "A: wrong" ? 1 : 0;
    }
    return caught;
  };
  CHECK(thrown(metalqr::DimensionMismatch("A: wrong")) == 3);
  CHECK(thrown(metalqr::NotFinite("A: wrong")) == 3);
  CHECK(thrown(metalqr::NotPositiveDefinite("A: wrong")) == 3);
  CHECK(thrown(metalqr::NotStabilizing("A: wrong", 1.5)) == 3);
  CHECK(thrown(metalqr::NotStabilizable("A: wrong")) == 3);
  CHECK(thrown(metalqr::RankDeficient("A: wrong", 0)) == 3);
  CHECK(thrown(metalqr::NoConvergence("A: wrong")) == 3);
  CHECK(thrown(metalqr::InvalidOption("A: wrong")) == 3);
  CHECK(thrown(metalqr::ParseError("A: wrong")) == 3);
  CHECK(thrown(metalqr::FileError("A: wrong")) == 3);
}

TEST_CASE("NotStabilizing carries the spectral radius") {
  CHECK(metalqr::NotStabilizing("K: no", 1.25).spectral_radius() == 1.25);
  CHECK(std::isinf(
      metalqr::NotStabilizing("K: no", std::numeric_limits<double>::infinity()).spectral_radius()));
}

TEST_CASE("RankDeficient carries the smallest singular value") {
  CHECK(metalqr::RankDeficient("data: no", 0.125).smallest_singular_value() == 0.125);
}

TEST_CASE("an option outside its range is named with its value and what was expected") {
  CHECK_NOTHROW(metalqr::detail::require_option(true, "radius", 1, "a positive number"));
  CHECK_THROWS_WITH(metalqr::detail::require_option(false, "radius", -1, "a positive number"),
                    "radius: expected a positive number, got -1");
  CHECK_THROWS_AS(metalqr::detail::require_option(false, "radius", -1, "a positive number"),
                  metalqr::InvalidOption);
}

TEST_CASE("numbers and shapes read well in a message") {
  using metalqr::detail::text;
  CHECK(text(0.5) == "0.5");
  CHECK(text(-3) == "-3");
  CHECK(text(1e-9) == "1e-09");
  CHECK(text(std::numeric_limits<double>::infinity()) == "inf");
  CHECK(text(-std::numeric_limits<double>::infinity()) == "-inf");
  CHECK(text(-1.23456789e-300).size() < 16);
  CHECK(metalqr::detail::shape(3, 4) == "3x4");
}
