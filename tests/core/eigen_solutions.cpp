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
  using B = TestType;
  const double tolerance = allowed<B>();
  for (std::uint64_t sample = 0; sample < 20; ++sample) {
    const Operands<B> o(test::stream(1, sample));
    const auto F = test::state_matrix<B>(o.F);
    const auto input = test::input_matrix<B>(o.input);
    const auto K = test::gain<B>(o.gain);
    const auto R = test::control_matrix<B>(o.R);
    // The defect of a solution is a few units of |X| |solution|.
    const Dense solved = dense<B>(B::solve(F, input));
    CHECK(norm(o.F * solved - o.input) <= tolerance * static_cast<double>(norm(o.F) * norm(solved)));
    const Dense spd = dense<B>(B::solve_spd(R, K));
    CHECK(norm(o.R * spd - o.gain) <= tolerance * static_cast<double>(norm(o.R) * norm(spd)));
  }
}

TEMPLATE_LIST_TEST_CASE("definiteness is decided as it should be", "", Backends) {
  using B = TestType;
  using Scalar = typename B::Scalar;
  const Operands<B> o(test::stream(3));
  auto R = test::control_matrix<B>(o.R);
  CHECK(B::is_positive_definite(R));
  R(o.nu - 1, o.nu - 1) = Scalar(-1);
  CHECK_FALSE(B::is_positive_definite(R));
  R(o.nu - 1, o.nu - 1) = std::numeric_limits<Scalar>::quiet_NaN();
  CHECK_FALSE(B::is_positive_definite(R));
  CHECK_FALSE(B::is_positive_definite(B::zero_control_matrix(o.nu)));
}

TEST_CASE("a singular system gives entries that are not finite") {
  using B = EigenBackend<double>;
  const B::StateMatrix zero = B::zero_state_matrix(3);
  const B::StateMatrix one = B::identity_like(zero);
  CHECK_FALSE(B::is_finite(B::solve(zero, one)));
}
