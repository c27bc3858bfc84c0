#include <metalqr/equations/low_rank_lyapunov.hpp>

#include "support.hpp"

namespace {

using metalqr::DenseOperator;
using metalqr::EigenBackend;
using test::Dense;

template <class AnyBackend>
typename AnyBackend::Matrix matrix(const Dense& values) {
  return test::filled(AnyBackend::zero_matrix(values.rows, values.cols), values);
}

}  // namespace

TEST_CASE("low-rank solutions in float, long double and with a fixed number of states") {
  const auto check = [](auto backend, double tolerance) {
    using Other = decltype(backend);
    auto stream = test::stream(436);
    const Dense G = test::rounded(test::random_with_radius(6, 0.7, stream));
    const Dense C = test::rounded(test::random_matrix(1, 6, stream));
    const auto other =
        metalqr::solve_low_rank_lyapunov<Other>(DenseOperator<Other>(matrix<Other>(G)), matrix<Other>(C),
                                                {.tolerance = tolerance, .truncation = tolerance / 1e3});
    CHECK(other.status == metalqr::Status::converged);
    const Dense Z = test::dense<Other>(other.factor);
    CHECK(test::relative_error(Z * test::transpose(Z), test::lyapunov(G, test::transpose(C) * C)) <
          10 * tolerance);
  };
  check(EigenBackend<float>{}, 1e-4);
  check(EigenBackend<long double>{}, 1e-15);
  check(EigenBackend<double, 6, 1>{}, 1e-12);
}
