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

template <class Backend, class X>
double error(const X& got, const Dense& want) {
  return relative_error(dense<Backend>(got), want);
}

}  // namespace

static_assert(std::is_same_v<EigenBackend<double, 4, 2>::Rebind<float>, EigenBackend<float, 4, 2>>);
static_assert(EigenBackend<double>::states == metalqr::dynamic);
static_assert(EigenBackend<double, 4, 2>::inputs == 2);
static_assert(EigenBackend<double, 4, 2>::Gain::RowsAtCompileTime == 2);

TEMPLATE_LIST_TEST_CASE("backend operations agree with naive loops", "", Backends) {
  using Backend = TestType;
  const double tolerance = allowed<Backend>();
  for (std::uint64_t sample = 0; sample < 20; ++sample) {
    const Operands<Backend> o(test::stream(1, sample));
    const auto F = test::state_matrix<Backend>(o.F);
    const auto S = test::state_matrix<Backend>(o.S);
    const auto input = test::input_matrix<Backend>(o.input);
    const auto K = test::gain<Backend>(o.gain);
    const auto G = test::gain<Backend>(o.G);
    const auto R = test::control_matrix<Backend>(o.R);
    const auto x = test::state_vector<Backend>(o.x);
    CHECK(Backend::rows(K) == o.nu);
    CHECK(Backend::cols(K) == o.nx);
    CHECK(error<Backend>(Backend::product(input, K), o.input * o.gain) <= tolerance);
    CHECK(error<Backend>(Backend::product(F, S), o.F * o.S) <= tolerance);
    CHECK(error<Backend>(Backend::product(K, x), o.gain * o.x) <= tolerance * 10);
    CHECK(error<Backend>(Backend::transpose(K), transpose(o.gain)) <= tolerance);
    CHECK(error<Backend>(Backend::transpose_product(K, G), transpose(o.gain) * o.G) <= tolerance);
    CHECK(error<Backend>(Backend::product_transpose(K, G), o.gain * transpose(o.G)) <= tolerance);
    CHECK(error<Backend>(Backend::congruence(K, R), transpose(o.gain) * o.R * o.gain) <= tolerance);
    CHECK(error<Backend>(Backend::outer_congruence(K, S), o.gain * o.S * transpose(o.gain)) <= tolerance);
    CHECK(error<Backend>(Backend::symmetrised(F), 0.5L * (o.F + transpose(o.F))) <= tolerance);
    long double trace = 0;
    long double largest = 0;
    for (Index i = 0; i < o.nx; ++i) trace += o.F(i, i);
    for (const long double entry : o.gain.entries) largest = std::max(largest, std::abs(entry));
    CHECK(relative_error(Backend::trace(F), trace, norm(o.F)) <= tolerance);
    CHECK(relative_error(Backend::inner(K, G), inner(o.gain, o.G), norm(o.gain) * norm(o.G)) <= tolerance);
    CHECK(relative_error(Backend::norm(K), norm(o.gain)) <= tolerance);
    CHECK(relative_error(Backend::max_abs(K), largest) <= tolerance);
  }
}

TEMPLATE_LIST_TEST_CASE("zeros and identities have the shape that was asked for", "", Backends) {
  using Backend = TestType;
  const Operands<Backend> o(test::stream(2));
  const auto is_zero = [](const Dense& x, Index rows, Index cols) {
    return x.rows == rows && x.cols == cols && norm(x) == 0;
  };
  CHECK(is_zero(dense<Backend>(Backend::zero_state_matrix(o.nx)), o.nx, o.nx));
  CHECK(is_zero(dense<Backend>(Backend::zero_input_matrix(o.nx, o.nu)), o.nx, o.nu));
  CHECK(is_zero(dense<Backend>(Backend::zero_gain(o.nu, o.nx)), o.nu, o.nx));
  CHECK(is_zero(dense<Backend>(Backend::zero_control_matrix(o.nu)), o.nu, o.nu));
  CHECK(is_zero(dense<Backend>(Backend::zero_state(o.nx)), o.nx, 1));
  CHECK(is_zero(dense<Backend>(Backend::zero_matrix(7, 2)), 7, 2));
  CHECK(is_zero(dense<Backend>(Backend::zero_like(test::gain<Backend>(o.gain))), o.nu, o.nx));
  CHECK(error<Backend>(Backend::identity_like(test::state_matrix<Backend>(o.F)), test::identity(o.nx)) == 0);
}

TEMPLATE_LIST_TEST_CASE("finiteness is decided as it should be", "", Backends) {
  using Backend = TestType;
  using Scalar = typename Backend::Scalar;
  const Operands<Backend> o(test::stream(3));
  auto K = test::gain<Backend>(o.gain);
  CHECK(Backend::is_finite(K));
  for (const Scalar bad : {std::numeric_limits<Scalar>::quiet_NaN(), std::numeric_limits<Scalar>::infinity(),
                           -std::numeric_limits<Scalar>::infinity()}) {
    auto copy = K;
    copy(o.nu - 1, o.nx - 1) = bad;
    CHECK_FALSE(Backend::is_finite(copy));
  }
}

TEMPLATE_LIST_TEST_CASE("the result of an operation does not refer to its arguments", "", Backends) {
  using Backend = TestType;
  const Operands<Backend> o(test::stream(4));
  auto K = test::gain<Backend>(o.gain);
  const auto transposed = Backend::transpose(K);
  const auto product = Backend::product_transpose(K, K);
  K = Backend::zero_like(K);
  CHECK(norm(dense<Backend>(transposed)) > 0);
  CHECK(norm(dense<Backend>(product)) > 0);
  // An argument may be the destination.
  auto F = test::state_matrix<Backend>(o.F);
  F = Backend::product(F, F);
  CHECK(error<Backend>(F, o.F * o.F) <= allowed<Backend>());
  F = Backend::transpose(F);
  CHECK(error<Backend>(F, transpose(o.F * o.F)) <= allowed<Backend>());
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
