#include <metalqr/core/check.hpp>

#include <cmath>
#include <limits>
#include <string>
#include <tuple>

#include "support.hpp"

namespace {

using metalqr::DimensionMismatch;
using metalqr::NotFinite;
using metalqr::NotPositiveDefinite;
using test::Backend;
using test::Dense;
using test::Index;
using test::message_of;

template <class AnyBackend = Backend>
void require_semidefinite(const Dense& x) {
  metalqr::detail::require_positive_semidefinite<AnyBackend>(test::state_matrix<AnyBackend>(x), "M");
}
template <class AnyBackend = Backend>
void require_definite(const Dense& x) {
  metalqr::detail::require_positive_definite<AnyBackend>(test::state_matrix<AnyBackend>(x), "M");
}

}  // namespace

TEST_CASE("a wrong shape is named with the expected and the given one") {
  const Backend::InputMatrix B = Backend::zero_input_matrix(3, 2);
  CHECK_NOTHROW(metalqr::detail::require_shape<Backend>(B, 3, 2, "B"));
  CHECK(message_of<DimensionMismatch>([&] { metalqr::detail::require_shape<Backend>(B, 4, 2, "B"); }) ==
        "B: expected shape 4x2, got 3x2");
  CHECK(message_of<DimensionMismatch>([&] { metalqr::detail::require_shape<Backend>(B, 3, 3, "B"); }) ==
        "B: expected shape 3x3, got 3x2");
  const Backend::InputMatrix empty = Backend::zero_input_matrix(0, 2);
  CHECK(message_of<DimensionMismatch>([&] { metalqr::detail::require_shape<Backend>(empty, 0, 2, "B"); }) ==
        "B: expected at least one row and one column, got shape 0x2");
}

TEST_CASE("an entry that is not finite is named with its place") {
  Backend::Gain K = Backend::zero_gain(2, 3);
  CHECK_NOTHROW(metalqr::detail::require_finite<Backend>(K, "K"));
  K(1, 2) = std::numeric_limits<double>::infinity();
  CHECK(message_of<NotFinite>([&] { metalqr::detail::require_finite<Backend>(K, "K"); }) ==
        "K: expected finite entries, got inf at (1, 2)");
  K(0, 1) = -K(1, 2);
  CHECK(message_of<NotFinite>([&] { metalqr::detail::require_finite<Backend>(K, "K"); }) ==
        "K: expected finite entries, got -inf at (0, 1)");
  K(0, 0) = std::numeric_limits<double>::quiet_NaN();
  CHECK(message_of<NotFinite>([&] {
          metalqr::detail::require_finite<Backend>(K, "K");
        }).find("nan at (0, 0)") != std::string::npos);
}

TEST_CASE("asymmetry beyond rounding is refused at every scale, rounding is not") {
  for (const double scale : {1e-200, 1e-8, 1.0, 1e8, 1e200}) {
    CHECK_NOTHROW(require_definite(scale * Dense{{2, 1}, {1 + 1e-12, 2}}));
    CHECK(message_of<NotPositiveDefinite>([&] {
            require_definite(scale * Dense{{2, 1}, {1.01, 2}});
          }).rfind("M: expected a symmetric matrix, got ", 0) == 0);
    CHECK(message_of<NotPositiveDefinite>([&] {
            require_semidefinite(scale * Dense{{2, 0}, {1, 2}});
          }).rfind("M: expected a symmetric matrix, got ", 0) == 0);
  }
}

TEST_CASE("definiteness is decided at every scale") {
  for (const double scale : {1e-250, 1e-8, 1.0, 1e8, 1e250}) {
    CHECK_NOTHROW(require_definite(scale * Dense{{2, 1}, {1, 2}}));
    CHECK_NOTHROW(require_semidefinite(scale * Dense{{1, 1}, {1, 1}}));
    for (const Dense& indefinite :
         {Dense{{1, 2}, {2, 1}}, Dense{{-1, 0}, {0, 1}}, Dense{{1, 0}, {0, -1e-3}}, Dense{{0, 1}, {1, 0}}}) {
      CHECK(message_of<NotPositiveDefinite>([&] {
              require_definite(scale * indefinite);
            }).rfind("M: expected a positive definite matrix, got pivot ", 0) == 0);
      CHECK(message_of<NotPositiveDefinite>([&] {
              require_semidefinite(scale * indefinite);
            }).rfind("M: expected a positive semidefinite matrix, got pivot ", 0) == 0);
    }
  }
  CHECK(message_of<NotPositiveDefinite>([] {
          require_definite({{1, 1}, {1, 1}});
        }).rfind("M: expected a positive definite matrix", 0) == 0);
  CHECK(message_of<NotPositiveDefinite>([] {
          require_definite(Dense(2, 2));
        }).rfind("M: expected a positive definite matrix", 0) == 0);
  CHECK_NOTHROW(require_semidefinite(Dense(2, 2)));
}

TEST_CASE("states in very different units are definite all the same") {
  CHECK_NOTHROW(require_definite({{1, 0}, {0, 1e-30}}));
  CHECK_NOTHROW(require_definite({{1e-30, 0}, {0, 1}}));
  CHECK_NOTHROW(require_semidefinite({{1, 0, 0}, {0, 1e-30, 0}, {0, 0, 1e30}}));
}

using Scalars = std::tuple<metalqr::EigenBackend<float>, metalqr::EigenBackend<double>,
                           metalqr::EigenBackend<long double>>;

TEMPLATE_LIST_TEST_CASE("a thousand semidefinite matrices of rank two pass, rounded to any scalar", "",
                        Scalars) {
  metalqr::Stream stream = test::stream(11);
  int refused = 0;
  for (int sample = 0; sample < 1000; ++sample) {
    const Dense x = test::rounded(test::random_semidefinite(6, 2, stream));
    try {
      require_semidefinite<TestType>(x);
    } catch (const metalqr::Error&) {
      ++refused;
    }
  }
  CHECK(refused == 0);
}

TEMPLATE_LIST_TEST_CASE("a thousand matrices with one slightly negative eigenvalue are refused", "",
                        Scalars) {
  metalqr::Stream stream = test::stream(12);
  // A thousand times what rounding to the scalar can change.
  const double negative = 1e4 * std::max(static_cast<double>(TestType::epsilon()), 2.3e-16);
  int accepted = 0;
  for (int sample = 0; sample < 1000; ++sample) {
    const Dense v = test::random_matrix(6, 1, stream);
    const Dense U = test::identity(6) - (2 / inner(v, v)) * (v * transpose(v));
    Dense D = test::identity(6);
    D(sample % 6, sample % 6) = -negative;
    try {
      require_semidefinite<TestType>(U * D * transpose(U));
      ++accepted;
    } catch (const NotPositiveDefinite&) {
    }
  }
  CHECK(accepted == 0);
}
