#include <metalqr/core/eigen.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include "operands.hpp"
#include "support.hpp"

namespace {

using metalqr::EigenBackend;
using test::allowed;
using test::Backends;
using test::dense;
using test::Dense;
using test::Index;
using test::Operands;
using test::relative_error;

template <class B, class X>
double error(const X& got, const Dense& want) {
  return relative_error(dense<B>(got), want);
}

}  // namespace

static_assert(std::is_same_v<EigenBackend<double, 4, 2>::Rebind<float>, EigenBackend<float, 4, 2>>);
static_assert(EigenBackend<double>::states == metalqr::dynamic);
static_assert(EigenBackend<double, 4, 2>::inputs == 2);
static_assert(EigenBackend<double, 4, 2>::Gain::RowsAtCompileTime == 2);

TEMPLATE_LIST_TEST_CASE("backend operations agree with naive loops", "", Backends) {
  using B = TestType;
  const double tolerance = allowed<B>();
  for (std::uint64_t sample = 0; sample < 20; ++sample) {
    const Operands<B> o(test::stream(1, sample));
    const auto F = test::state_matrix<B>(o.F);
    const auto S = test::state_matrix<B>(o.S);
    const auto input = test::input_matrix<B>(o.input);
    const auto K = test::gain<B>(o.gain);
    const auto G = test::gain<B>(o.G);
    const auto R = test::control_matrix<B>(o.R);
    const auto x = test::state_vector<B>(o.x);
    CHECK(B::rows(K) == o.nu);
    CHECK(B::cols(K) == o.nx);
    CHECK(error<B>(B::product(input, K), o.input * o.gain) <= tolerance);
    CHECK(error<B>(B::product(F, S), o.F * o.S) <= tolerance);
    CHECK(error<B>(B::product(K, x), o.gain * o.x) <= tolerance * 10);
    CHECK(error<B>(B::transpose(K), transpose(o.gain)) <= tolerance);
    CHECK(error<B>(B::transpose_product(K, G), transpose(o.gain) * o.G) <= tolerance);
    CHECK(error<B>(B::product_transpose(K, G), o.gain * transpose(o.G)) <= tolerance);
    CHECK(error<B>(B::congruence(K, R), transpose(o.gain) * o.R * o.gain) <= tolerance);
    CHECK(error<B>(B::outer_congruence(K, S), o.gain * o.S * transpose(o.gain)) <= tolerance);
    CHECK(error<B>(B::symmetrised(F), 0.5L * (o.F + transpose(o.F))) <= tolerance);
    long double trace = 0;
    long double largest = 0;
    for (Index i = 0; i < o.nx; ++i) trace += o.F(i, i);
    for (const long double entry : o.gain.entries) largest = std::max(largest, std::abs(entry));
    CHECK(relative_error(B::trace(F), trace, norm(o.F)) <= tolerance);
    CHECK(relative_error(B::inner(K, G), inner(o.gain, o.G), norm(o.gain) * norm(o.G)) <= tolerance);
    CHECK(relative_error(B::norm(K), norm(o.gain)) <= tolerance);
    CHECK(relative_error(B::max_abs(K), largest) <= tolerance);
  }
}

TEMPLATE_LIST_TEST_CASE("zeros and identities have the shape that was asked for", "", Backends) {
  using B = TestType;
  const Operands<B> o(test::stream(2));
  const auto is_zero = [](const Dense& x, Index rows, Index cols) {
    return x.rows == rows && x.cols == cols && norm(x) == 0;
  };
  CHECK(is_zero(dense<B>(B::zero_state_matrix(o.nx)), o.nx, o.nx));
  CHECK(is_zero(dense<B>(B::zero_input_matrix(o.nx, o.nu)), o.nx, o.nu));
  CHECK(is_zero(dense<B>(B::zero_gain(o.nu, o.nx)), o.nu, o.nx));
  CHECK(is_zero(dense<B>(B::zero_control_matrix(o.nu)), o.nu, o.nu));
  CHECK(is_zero(dense<B>(B::zero_state(o.nx)), o.nx, 1));
  CHECK(is_zero(dense<B>(B::zero_matrix(7, 2)), 7, 2));
  CHECK(is_zero(dense<B>(B::zero_like(test::gain<B>(o.gain))), o.nu, o.nx));
  CHECK(error<B>(B::identity_like(test::state_matrix<B>(o.F)), test::identity(o.nx)) == 0);
}

TEMPLATE_LIST_TEST_CASE("finiteness is decided as it should be", "", Backends) {
  using B = TestType;
  using Scalar = typename B::Scalar;
  const Operands<B> o(test::stream(3));
  auto K = test::gain<B>(o.gain);
  CHECK(B::is_finite(K));
  for (const Scalar bad : {std::numeric_limits<Scalar>::quiet_NaN(), std::numeric_limits<Scalar>::infinity(),
                           -std::numeric_limits<Scalar>::infinity()}) {
    auto copy = K;
    copy(o.nu - 1, o.nx - 1) = bad;
    CHECK_FALSE(B::is_finite(copy));
  }
}

TEMPLATE_LIST_TEST_CASE("the result of an operation does not refer to its arguments", "", Backends) {
  using B = TestType;
  const Operands<B> o(test::stream(4));
  auto K = test::gain<B>(o.gain);
  const auto transposed = B::transpose(K);
  const auto product = B::product_transpose(K, K);
  K = B::zero_like(K);
  CHECK(norm(dense<B>(transposed)) > 0);
  CHECK(norm(dense<B>(product)) > 0);
  // An argument may be the destination.
  auto F = test::state_matrix<B>(o.F);
  F = B::product(F, F);
  CHECK(error<B>(F, o.F * o.F) <= allowed<B>());
  F = B::transpose(F);
  CHECK(error<B>(F, transpose(o.F * o.F)) <= allowed<B>());
}

TEST_CASE("epsilon is the distance from one to the next number") {
  CHECK(EigenBackend<float>::epsilon() == std::numeric_limits<float>::epsilon());
  CHECK(EigenBackend<double>::epsilon() == std::numeric_limits<double>::epsilon());
  CHECK(EigenBackend<long double>::epsilon() == std::numeric_limits<long double>::epsilon());
}

namespace {

/// A number with a derivative, as automatic differentiation has it.
struct WithDerivative {
  double v = 0;
  double d = 0;
  double value() const { return v; }
};

}  // namespace

TEST_CASE("to_double gives the value of any number type") {
  CHECK(EigenBackend<double>::to_double(0.1) == 0.1);
  CHECK(EigenBackend<float>::to_double(0.1F) == static_cast<double>(0.1F));
  CHECK(EigenBackend<long double>::to_double(0.1L) == 0.1);
  CHECK(EigenBackend<WithDerivative>::to_double({2.5, 1}) == 2.5);
}
