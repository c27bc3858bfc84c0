#include <metalqr/equations/spectral_norm.hpp>

#include <limits>

#include <Eigen/SVD>

#include "support.hpp"

using metalqr::spectral_norm;
using test::Backend;
using test::Dense;
using test::message_of;

namespace {

Backend::Matrix matrix(const Dense& x) {
  return test::filled(Backend::zero_matrix(x.rows, x.cols), x);
}

}  // namespace

TEST_CASE("the spectral norm agrees with power iteration on random matrices of any shape") {
  metalqr::Stream stream = test::stream(1);
  for (const auto& [rows, cols] : {std::pair{1, 1}, {1, 5}, {5, 1}, {2, 4}, {4, 2}, {7, 7}, {12, 3}}) {
    for (int sample = 0; sample < 20; ++sample) {
      const Dense x = test::rounded(test::random_matrix(rows, cols, stream));
      // Power iteration needs a gap between the singular values; 1e-9 leaves it room.
      CHECK(test::relative_error(spectral_norm<Backend>(matrix(x)), test::spectral_norm(x)) < 1e-9);
    }
  }
}

TEST_CASE("the spectral norm of an orthogonal matrix is one, of all singular values equal") {
  const Dense v{{1}, {2}, {-2}, {0.5}, {3}};
  const Dense reflection = test::identity(5) - (2 / test::inner(v, v)) * (v * test::transpose(v));
  CHECK(test::relative_error(spectral_norm<Backend>(matrix(reflection)), 1) < 4e-15);
  CHECK(test::relative_error(spectral_norm<Backend>(matrix(3 * test::identity(20))), 3) < 4e-15);
}

TEST_CASE("the spectral norm stays exact where all singular values come in pairs") {
  // [X -Y; Y X], the real form of X + iY, has each singular value twice; rounding then mixes the pair.
  metalqr::Stream stream = test::stream(2);
  for (int sample = 0; sample < 3000; ++sample) {
    const Dense x = test::random_matrix(6, 3, stream);
    const Dense y = test::random_matrix(6, 3, stream);
    Backend::Matrix pair = Backend::zero_matrix(12, 6);
    for (int i = 0; i < 6; ++i) {
      for (int j = 0; j < 3; ++j) {
        pair(i, j) = pair(6 + i, 3 + j) = static_cast<double>(x(i, j));
        pair(6 + i, j) = static_cast<double>(y(i, j));
        pair(i, 3 + j) = -pair(6 + i, j);
      }
    }
    // By another algorithm: orthogonal transformations of the matrix itself.
    const double expected = Eigen::JacobiSVD<Backend::Matrix>(pair).singularValues()(0);
    CHECK(test::relative_error(spectral_norm<Backend>(pair), expected) < 1e-14);
  }
}

TEST_CASE("the spectral norm of a matrix of rank one is the product of the vectors' norms") {
  const Dense x = Dense{{3}, {4}} * Dense{{1, 2, 2}};
  CHECK(test::relative_error(spectral_norm<Backend>(matrix(x)), 15) < 4e-15);
}

TEST_CASE("the spectral norm is exact to rounding where the two largest singular values nearly agree") {
  CHECK(test::relative_error(spectral_norm<Backend>(matrix({{1, 0}, {0, 1 - 1e-9}})), 1) < 4e-15);
}

TEST_CASE("the spectral norm scales with the matrix, at the limits of the number format too") {
  const Dense x{{1, 2, 0}, {-1, 0.5, 3}};
  const double norm = spectral_norm<Backend>(matrix(x));
  for (const double scale : {-2.0, 1e-200, 1e-300, 1e200, 1e300}) {
    CHECK(test::relative_error(spectral_norm<Backend>(matrix(scale * x)), std::abs(scale) * norm) < 1e-14);
  }
}

TEST_CASE("the spectral norm of zeros and of nothing is zero") {
  CHECK(spectral_norm<Backend>(Backend::zero_matrix(3, 2)) == 0);
  CHECK(spectral_norm<Backend>(Backend::zero_matrix(0, 2)) == 0);
}

TEST_CASE("the spectral norm refuses entries that are not finite") {
  for (const double bad :
       {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    Backend::Matrix x = Backend::zero_matrix(2, 2);
    x(0, 1) = bad;
    CHECK_THAT(message_of<metalqr::NotFinite>([&] { spectral_norm<Backend>(x); }),
               Catch::Matchers::ContainsSubstring("finite"));
  }
}
