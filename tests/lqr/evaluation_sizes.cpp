#include <metalqr/lqr/evaluation.hpp>

#include <metalqr/core/eigen.hpp>

#include "problems.hpp"
#include "reference_errors.hpp"
#include "support.hpp"

using metalqr::EigenBackend;
using test::Index;
using test::published_start;
using test::ReferenceCase;

TEMPLATE_TEST_CASE("every quantity agrees with the reference values", "", EigenBackend<double>,
                   (EigenBackend<double, 4, 2>)) {
  test::check_reference_cases<TestType>();
}

TEMPLATE_TEST_CASE("blocks and expressions are accepted as gains", "", EigenBackend<double>,
                   (EigenBackend<double, 4, 2>)) {
  using Backend = TestType;
  const ReferenceCase& c = published_start();
  const metalqr::Task<Backend> task = test::make_task<Backend>(c.task);
  const typename Backend::Gain K = test::gain<Backend>(c.K);
  const typename Backend::Gain zero = Backend::zero_like(K);
  typename Backend::Matrix large = Backend::zero_matrix(6, 9);
  for (Index i = 0; i < 2; ++i) {
    for (Index j = 0; j < 4; ++j) large(3 + i, 2 + j) = K(i, j);
  }
  const double cost = metalqr::cost(task, K);
  CHECK(metalqr::cost(task, large.block(3, 2, 2, 4)) == cost);
  CHECK(metalqr::cost(task, zero + 1.0 * K) == cost);
  CHECK(metalqr::is_stabilizing(task, 1.0 * K));
  CHECK(metalqr::spectral_radius(task, 1.0 * K) == metalqr::spectral_radius(task, K));
  const metalqr::Evaluation at(task, large.block(3, 2, 2, 4));
  CHECK(at.cost() == cost);
  CHECK(Backend::norm(at.hessian(K - zero) - at.hessian(large.block(3, 2, 2, 4))) == 0);
  CHECK(at.hessian_form(2 * K) == 4 * at.hessian_form(K));
}
