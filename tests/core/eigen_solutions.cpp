#include <metalqr/core/eigen.hpp>

#include <cstdint>
#include <limits>

#include "operands.hpp"
#include "support.hpp"

using metalqr::EigenBackend;
using test::allowed;
using test::Backends;
using test::dense;
using test::Dense;
using test::Operands;

TEMPLATE_LIST_TEST_CASE("solutions of linear systems are backward stable", "", Backends) {
  using Backend = TestType;
  const double tolerance = allowed<Backend>();
  for (std::uint64_t sample = 0; sample < 20; ++sample) {
    const Operands<Backend> o(test::stream(1, sample));
    const auto F = test::state_matrix<Backend>(o.F);
    const auto input = test::input_matrix<Backend>(o.input);
    const auto K = test::gain<Backend>(o.gain);
    const auto R = test::control_matrix<Backend>(o.R);
    // The defect of a solution is a few units of |X| |solution|.
    const Dense solved = dense<Backend>(Backend::solve(F, input));
    CHECK(norm(o.F * solved - o.input) <= tolerance * static_cast<double>(norm(o.F) * norm(solved)));
    const Dense spd = dense<Backend>(Backend::solve_spd(R, K));
    CHECK(norm(o.R * spd - o.gain) <= tolerance * static_cast<double>(norm(o.R) * norm(spd)));
  }
}

TEMPLATE_LIST_TEST_CASE("definiteness is decided as it should be", "", Backends) {
  using Backend = TestType;
  using Scalar = typename Backend::Scalar;
  const Operands<Backend> o(test::stream(3));
  auto R = test::control_matrix<Backend>(o.R);
  CHECK(Backend::is_positive_definite(R));
  R(o.nu - 1, o.nu - 1) = Scalar(-1);
  CHECK_FALSE(Backend::is_positive_definite(R));
  R(o.nu - 1, o.nu - 1) = std::numeric_limits<Scalar>::quiet_NaN();
  CHECK_FALSE(Backend::is_positive_definite(R));
  CHECK_FALSE(Backend::is_positive_definite(Backend::zero_control_matrix(o.nu)));
}

TEST_CASE("a singular system gives entries that are not finite") {
  using Backend = EigenBackend<double>;
  const Backend::StateMatrix zero = Backend::zero_state_matrix(3);
  const Backend::StateMatrix one = Backend::identity_like(zero);
  CHECK_FALSE(Backend::is_finite(Backend::solve(zero, one)));
}
