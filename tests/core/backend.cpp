#include <metalqr/core/backend.hpp>

#include <string>
#include <type_traits>
#include <vector>

#include <metalqr/core/eigen.hpp>

#include "catch.hpp"

namespace {

using metalqr::DecomposingBackend;
using metalqr::EigenBackend;
using metalqr::FactoringBackend;
using metalqr::Index;
using metalqr::MatrixBackend;

static_assert(std::is_signed_v<Index>);

static_assert(MatrixBackend<EigenBackend<double>>);
static_assert(DecomposingBackend<EigenBackend<double>>);
static_assert(MatrixBackend<EigenBackend<float>>);
static_assert(MatrixBackend<EigenBackend<long double>>);
static_assert(MatrixBackend<EigenBackend<double, 4, 2>>);
static_assert(MatrixBackend<EigenBackend<double, 1, 1>>);
static_assert(MatrixBackend<EigenBackend<double, 3, 3>>);
static_assert(MatrixBackend<EigenBackend<double, 4>>);
static_assert(MatrixBackend<EigenBackend<double>::Rebind<float>>);

struct Nothing {};
static_assert(!MatrixBackend<int>);
static_assert(!MatrixBackend<double>);
static_assert(!MatrixBackend<Nothing>);
static_assert(!MatrixBackend<Eigen::MatrixXd>);
static_assert(!MatrixBackend<EigenBackend<double>&>);

using Base = EigenBackend<double>;

// Backends that lack one thing each.
struct NoName : Base {
  static const char* name() = delete;
};
struct NoEpsilon : Base {
  static double epsilon() = delete;
};
struct NoToDouble : Base {
  static double to_double(const double&) = delete;
};
struct NoRows : Base {
  template <class X>
  static Index rows(const X&) = delete;
};
struct NoZeroGain : Base {
  static Gain zero_gain(Index, Index) = delete;
};
struct NoProduct : Base {
  template <class X, class Y>
  static Matrix product(const X&, const Y&) = delete;
};
struct NoTranspose : Base {
  template <class X>
  static X transpose(const X&) = delete;
};
struct NoTrace : Base {
  template <class X>
  static double trace(const X&) = delete;
};
struct NoInner : Base {
  template <class X, class Y>
  static double inner(const X&, const Y&) = delete;
};
struct NoNorm : Base {
  template <class X>
  static double norm(const X&) = delete;
};
struct NoFiniteTest : Base {
  template <class X>
  static bool is_finite(const X&) = delete;
};
struct NoSolve : Base {
  template <class X, class Y>
  static Y solve(const X&, const Y&) = delete;
};
struct NoSpdSolve : Base {
  template <class X, class Y>
  static Y solve_spd(const X&, const Y&) = delete;
};
struct NoCholesky : Base {
  template <class X>
  static bool is_positive_definite(const X&) = delete;
};
static_assert(!MatrixBackend<NoName>);
static_assert(!MatrixBackend<NoEpsilon>);
static_assert(!MatrixBackend<NoToDouble>);
static_assert(!MatrixBackend<NoRows>);
static_assert(!MatrixBackend<NoZeroGain>);
static_assert(!MatrixBackend<NoProduct>);
static_assert(!MatrixBackend<NoTranspose>);
static_assert(!MatrixBackend<NoTrace>);
static_assert(!MatrixBackend<NoInner>);
static_assert(!MatrixBackend<NoNorm>);
static_assert(!MatrixBackend<NoFiniteTest>);
static_assert(!MatrixBackend<NoSolve>);
static_assert(!MatrixBackend<NoSpdSolve>);
static_assert(!MatrixBackend<NoCholesky>);

struct NoOuterCongruence : Base {
  template <class X, class S>
  static X outer_congruence(const X&, const S&) = delete;
};
struct NoZeroState : Base {
  static StateVector zero_state(Index) = delete;
};
struct NoZeroStateMatrix : Base {
  static StateMatrix zero_state_matrix(Index) = delete;
};
struct NoZeroInputMatrix : Base {
  static InputMatrix zero_input_matrix(Index, Index) = delete;
};
struct NoZeroControlMatrix : Base {
  static ControlMatrix zero_control_matrix(Index) = delete;
};
struct NoSchur : Base {
  template <class X>
  static Schur<X> real_schur(const X&) = delete;
};
static_assert(!MatrixBackend<NoOuterCongruence>);
static_assert(!MatrixBackend<NoZeroState>);
static_assert(!MatrixBackend<NoZeroStateMatrix>);
static_assert(!MatrixBackend<NoZeroInputMatrix>);
static_assert(!MatrixBackend<NoZeroControlMatrix>);
static_assert(MatrixBackend<NoSchur>);
static_assert(!DecomposingBackend<NoSchur>);
static_assert(DecomposingBackend<EigenBackend<long double, 4, 2>>);

struct NoTriangularFactor : Base {
  template <class X>
  static X triangular_factor(const X&) = delete;
};
struct NoSingularValues : Base {
  template <class X>
  static std::vector<double> singular_values(const X&) = delete;
};
struct NoCholeskyFactor : Base {
  template <class X>
  static X cholesky_factor(const X&) = delete;
};
static_assert(FactoringBackend<EigenBackend<double>>);
static_assert(FactoringBackend<EigenBackend<long double, 4, 2>>);
static_assert(FactoringBackend<EigenBackend<float, 1, 1>>);
static_assert(MatrixBackend<NoTriangularFactor>);
static_assert(!FactoringBackend<NoTriangularFactor>);
static_assert(!FactoringBackend<NoSingularValues>);
static_assert(!FactoringBackend<NoCholeskyFactor>);

// A backend that returns an expression with references to the arguments.
struct LazyTranspose : Base {
  template <class X>
  static auto transpose(const X& x) {
    return x.transpose();
  }
};
static_assert(!MatrixBackend<LazyTranspose>);

// Gains that cannot be added.
struct ScalarGain : Base {
  using Gain = Nothing;
};
static_assert(!MatrixBackend<ScalarGain>);

// What algorithms may rely on: derived backends are backends of their own.
struct Derived : Base {};
static_assert(MatrixBackend<Derived>);

}  // namespace

TEST_CASE("a backend has a name for messages") {
  CHECK(std::string(EigenBackend<double>::name()) == "Eigen");
}
