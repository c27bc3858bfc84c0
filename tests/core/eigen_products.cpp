#include <metalqr/core/eigen_products.hpp>

#include <metalqr/core/eigen.hpp>
#include <metalqr/equations/lyapunov.hpp>

#ifdef _OPENMP
#include <omp.h>
#endif

#include "support.hpp"

using test::Backend;
using test::Index;
using Matrix = Backend::StateMatrix;

#ifdef _OPENMP
TEST_CASE("products and solutions of large matrices have the same bits for any number of threads") {
  auto stream = test::stream(1);
  Matrix x = Backend::zero_state_matrix(200);
  metalqr::fill_normal<Backend>(x, stream);
  x = x * (0.9 / metalqr::spectral_radius<Backend>(x));
  const Matrix Q = Backend::identity_like(x);
  const int threads = omp_get_max_threads();
  omp_set_num_threads(1);
  Backend::Matrix tall = Backend::zero_matrix(5000, 150);
  metalqr::fill_normal<Backend>(tall, stream);
  const Backend::Matrix gram = Backend::transpose_product(tall, tall);
  const Matrix P = metalqr::solve_lyapunov<Backend>(x, Q).value;
  for (const int count : {2, 3, 8}) {
    CAPTURE(count);
    omp_set_num_threads(count);
    const bool same_gram = Backend::transpose_product(tall, tall) == gram;
    CHECK(same_gram);
    const bool same_P = metalqr::solve_lyapunov<Backend>(x, Q).value == P;
    CHECK(same_P);
  }
  omp_set_num_threads(threads);
}
#endif

TEST_CASE(
    "a sum of symmetric products is what the whole products give, at sizes where halves are saved too") {
  auto stream = test::stream(2);
  for (const Index n : {1, 4, 23, 24, 60}) {
    CAPTURE(n);
    Matrix x = Backend::zero_state_matrix(n);
    Matrix s = x;
    metalqr::fill_normal<Backend>(x, stream);
    metalqr::fill_normal<Backend>(s, stream);
    s = Matrix(s + s.transpose());
    const Matrix expected = s + x.transpose() * s * x;
    const Matrix outer = s + x * s * x.transpose();
    const double allowed = 1e-14 * static_cast<double>(n) * x.squaredNorm() * s.norm();
    Matrix sum = s;
    Matrix work;
    Backend::add_congruence(sum, x, work);
    CHECK((sum - expected).norm() <= allowed);
    sum = s;
    Backend::add_outer_congruence(sum, x, work);
    CHECK((sum - outer).norm() <= allowed);
    const Matrix sx = s * x;
    sum = s;
    Backend::add_symmetric_product(sum, x, sx);
    CHECK((sum - expected).norm() <= allowed);
    CHECK((sum.array() == sum.transpose().array()).all());  // to the last bit
    const Matrix xs = x * s;
    sum = s;
    Backend::add_symmetric_outer_product(sum, xs, x);
    CHECK((sum - outer).norm() <= allowed);
    CHECK((sum.array() == sum.transpose().array()).all());
  }
}
