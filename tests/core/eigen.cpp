#include <metalqr/core/eigen.hpp>

#include <algorithm>
#include <cmath>
#include <complex>
#include <limits>
#include <tuple>
#include <type_traits>
#include <vector>

#include "support.hpp"

namespace {

using metalqr::EigenBackend;
using test::dense;
using test::Dense;
using test::Index;
using test::relative_error;

/// The library's matrices of one backend with random entries, and the same in long double.
template <class B>
struct Operands {
  Index nx = B::states == metalqr::dynamic ? 5 : B::states;
  Index nu = B::inputs == metalqr::dynamic ? 3 : B::inputs;
  Dense F, G, input, gain, S, R, x;

  explicit Operands(metalqr::Stream stream) {
    F = test::random_matrix(nx, nx, stream) + 3 * test::identity(nx);
    G = test::random_matrix(nu, nx, stream);
    input = test::random_matrix(nx, nu, stream);
    gain = test::random_matrix(nu, nx, stream);
    S = test::random_definite(nx, stream);
    R = test::random_definite(nu, stream);
    x = test::random_matrix(nx, 1, stream);
  }
};

/// Rounding of the entries and of a product of `terms` matrices of this size.
template <class B>
double allowed() {
  return 64 * static_cast<double>(B::epsilon());
}

template <class B, class X>
double error(const X& got, const Dense& want) {
  return relative_error(dense<B>(got), want);
}

using Backends = std::tuple<EigenBackend<double>, EigenBackend<double, 4, 2>, EigenBackend<double, 1, 1>>;

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
    // Backward stable: the defect of a solution is a few units of |X| |solution|.
    const Dense solved = dense<B>(B::solve(F, input));
    CHECK(norm(o.F * solved - o.input) <= tolerance * static_cast<double>(norm(o.F) * norm(solved)));
    const Dense spd = dense<B>(B::solve_spd(R, K));
    CHECK(norm(o.R * spd - o.gain) <= tolerance * static_cast<double>(norm(o.R) * norm(spd)));
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

TEMPLATE_LIST_TEST_CASE("finiteness and definiteness are decided as they should be", "", Backends) {
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
  auto R = test::control_matrix<B>(o.R);
  CHECK(B::is_positive_definite(R));
  R(o.nu - 1, o.nu - 1) = Scalar(-1);
  CHECK_FALSE(B::is_positive_definite(R));
  R(o.nu - 1, o.nu - 1) = std::numeric_limits<Scalar>::quiet_NaN();
  CHECK_FALSE(B::is_positive_definite(R));
  CHECK_FALSE(B::is_positive_definite(B::zero_control_matrix(o.nu)));
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

TEST_CASE("a singular system gives entries that are not finite") {
  using B = EigenBackend<double>;
  const B::StateMatrix zero = B::zero_state_matrix(3);
  const B::StateMatrix one = B::identity_like(zero);
  CHECK_FALSE(B::is_finite(B::solve(zero, one)));
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

TEST_CASE("eigenvalues of a matrix made from known ones are found") {
  using B = EigenBackend<double>;
  const Dense S{{2, 1, 0, 3}, {0, 1, 1, -1}, {1, 0, 1, 0}, {0, 2, 0, 1}};
  // Eigenvalues 0.5 +- 0.25i, -2, 7.
  const Dense D{{0.5, 0.25, 0, 0}, {-0.25, 0.5, 0, 0}, {0, 0, -2, 0}, {0, 0, 0, 7}};
  const Dense A = transpose(solve(transpose(S), transpose(S * D)));
  std::vector<std::complex<double>> values = B::eigenvalues(test::state_matrix(A));
  std::sort(values.begin(), values.end(), [](const auto& a, const auto& b) {
    return std::pair(a.real(), a.imag()) < std::pair(b.real(), b.imag());
  });
  REQUIRE(values.size() == 4);
  CHECK(std::abs(values[0] - std::complex<double>(-2, 0)) < 1e-12);
  CHECK(std::abs(values[1].real() - 0.5) < 1e-12);
  CHECK(std::abs(std::abs(values[1].imag()) - 0.25) < 1e-12);
  CHECK(std::abs(values[2] - std::conj(values[1])) < 1e-12);
  CHECK(std::abs(values[3] - std::complex<double>(7, 0)) < 1e-12);
}

TEST_CASE("symmetric eigenvalues come in ascending order") {
  using B = EigenBackend<double>;
  metalqr::Stream stream = test::stream(5);
  const Dense v = test::random_matrix(4, 1, stream);
  const Dense U = test::identity(4) - (2 / inner(v, v)) * (v * transpose(v));
  const Dense D{{3, 0, 0, 0}, {0, -1, 0, 0}, {0, 0, 0.5, 0}, {0, 0, 0, 10}};
  const std::vector<double> values = B::symmetric_eigenvalues(test::state_matrix(U * D * transpose(U)));
  const std::vector<double> expected{-1, 0.5, 3, 10};
  REQUIRE(values.size() == 4);
  for (std::size_t i = 0; i < 4; ++i) CHECK(std::abs(values[i] - expected[i]) < 1e-13);
}

TEST_CASE("a real Schur form is orthogonal, quasi triangular and gives the matrix back") {
  using B = EigenBackend<double>;
  metalqr::Stream stream = test::stream(6);
  const Dense A = test::random_with_radius(6, 0.9, stream);
  const auto schur = B::real_schur(test::state_matrix(A));
  const Dense U = dense(schur.U);
  const Dense T = dense(schur.T);
  CHECK(relative_error(transpose(U) * U, test::identity(6)) < 1e-14);
  CHECK(relative_error(U * T * transpose(U), A) < 1e-14);
  for (Index i = 2; i < 6; ++i) {
    for (Index j = 0; j + 1 < i; ++j) CHECK(T(i, j) == 0);
    CHECK(T(i, i - 1) * T(i - 1, i - 2) == 0);
  }
}
