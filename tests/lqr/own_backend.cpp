// The algorithms on a backend that knows nothing of Eigen: whatever they use of a matrix library is named by
// the concept.

#include <metalqr/equations/riccati.hpp>
#include <metalqr/lqr/evaluation.hpp>
#include <metalqr/lqr/large_plant.hpp>
#include <metalqr/lqr/policy_gradient.hpp>
#include <metalqr/lqr/rollout.hpp>
#include <metalqr/meta/train.hpp>

#include "own_backend.hpp"
#include "support.hpp"

namespace {

using metalqr::Index;
using test::OwnBackend;
using test::Plain;

static_assert(metalqr::MatrixBackend<OwnBackend>);
static_assert(!metalqr::DecomposingBackend<OwnBackend>);

using test::Backend;
using test::Dense;
using test::gain;
using test::relative_error;

const Dense A{{1.02, 0.3}, {-0.1, 0.95}};
const Dense B{{0.1, 1}, {0.8, 0.2}};
const Dense Q{{2, 0.3}, {0.3, 1}};
const Dense R{{1, 0.1}, {0.1, 0.5}};
const Dense Sigma0{{1, -0.2}, {-0.2, 0.6}};
const Dense K0{{0.1, 0.5}, {0.5, 0.3}};
const Dense X{{1, -2}, {0.5, 0.25}};

/// All matrices are 2 x 2.
template <class AnyBackend>
metalqr::Task<AnyBackend> task(double shift = 0) {
  return test::make_task<AnyBackend>({A + shift * Dense{{1, 0}, {0, 0}}, B, Q, R, Sigma0});
}

template <class Matrix>
Dense dense_of(const Matrix& x) {
  Dense y(x.rows(), x.cols());
  for (Index i = 0; i < y.rows; ++i) {
    for (Index j = 0; j < y.cols; ++j) y(i, j) = x(i, j);
  }
  return y;
}

template <class Mine, class Theirs>
void check_same(const Mine& mine, const Theirs& theirs) {
  CHECK(relative_error(dense_of(mine), dense_of(theirs)) < 1e-10);
}

}  // namespace

TEST_CASE("cost, gradient and Hessian on a backend of one's own") {
  const auto mine_task = task<OwnBackend>();
  const auto theirs_task = task<Backend>();
  const metalqr::Evaluation<OwnBackend> mine(mine_task, gain<OwnBackend>(K0));
  const metalqr::Evaluation<Backend> theirs(theirs_task, gain<Backend>(K0));
  CHECK(relative_error(mine.cost(), theirs.cost()) < 1e-10);
  CHECK(relative_error(mine.spectral_radius(), theirs.spectral_radius()) < 1e-10);
  CHECK(relative_error(metalqr::cost(mine_task, gain<OwnBackend>(K0)), theirs.cost()) < 1e-10);
  check_same(mine.gradient(), theirs.gradient());
  check_same(mine.natural_gradient(), theirs.natural_gradient());
  check_same(mine.gauss_newton_direction(), theirs.gauss_newton_direction());
  check_same(mine.hessian(gain<OwnBackend>(X)), theirs.hessian(gain<Backend>(X)));
  check_same(mine.paper_hessian(gain<OwnBackend>(X)), theirs.paper_hessian(gain<Backend>(X)));
  check_same(mine.hessian_matrix(), theirs.hessian_matrix());
}

TEST_CASE("the Riccati equation on a backend of one's own") {
  const auto mine = task<OwnBackend>();
  const auto theirs = task<Backend>();
  const auto own = metalqr::solve_dare<OwnBackend>(mine.A(), mine.B(), mine.Q(), mine.R());
  const auto expected = metalqr::solve_dare<Backend>(theirs.A(), theirs.B(), theirs.Q(), theirs.R());
  check_same(own.value, expected.value);
  check_same(own.gain, expected.gain);
  CHECK(own.status == metalqr::Status::converged);
}

TEST_CASE("policy gradient on a backend of one's own") {
  for (const auto& step : {metalqr::backtracking(), metalqr::quasi_newton()}) {
    const metalqr::PolicyGradientOptions options{.step = step, .iterations = 8};
    const auto mine = metalqr::policy_gradient(task<OwnBackend>(), gain<OwnBackend>(K0), options);
    const auto theirs = metalqr::policy_gradient(task<Backend>(), gain<Backend>(K0), options);
    check_same(mine.gain, theirs.gain);
    CHECK(relative_error(mine.value, theirs.value) < 1e-10);
  }
}

TEST_CASE("rollouts on a backend of one's own") {
  const auto mine_task = task<OwnBackend>();
  metalqr::Stream mine_stream = test::stream(1);
  metalqr::Stream theirs_stream = test::stream(1);
  const auto x = metalqr::GaussianState<OwnBackend>(mine_task.Sigma0()).sample(mine_stream);
  const auto y = metalqr::GaussianState<Backend>(task<Backend>().Sigma0()).sample(theirs_stream);
  check_same(x, y);
  const auto mine = metalqr::rollout(mine_task, gain<OwnBackend>(K0), x, 20);
  const auto theirs = metalqr::rollout(task<Backend>(), gain<Backend>(K0), y, 20);
  CHECK(relative_error(mine.cost, theirs.cost) < 1e-10);
  check_same(mine.states.back(), theirs.states.back());
}

TEST_CASE("meta-training on a backend of one's own") {
  const std::vector<metalqr::Task<OwnBackend>> mine_tasks{task<OwnBackend>(), task<OwnBackend>(0.05)};
  const std::vector<metalqr::Task<Backend>> theirs_tasks{task<Backend>(), task<Backend>(0.05)};
  const metalqr::meta::Options options{.iterations = 5, .seed = 1};
  const auto mine = metalqr::meta::train_with_models(mine_tasks, gain<OwnBackend>(K0), options);
  const auto theirs = metalqr::meta::train_with_models(theirs_tasks, gain<Backend>(K0), options);
  check_same(mine.gain, theirs.gain);
  // Estimates divide differences of costs by the radius, which amplifies rounding.
  const auto estimated = metalqr::meta::train(mine_tasks, gain<OwnBackend>(K0), options);
  const auto expected = metalqr::meta::train(theirs_tasks, gain<Backend>(K0), options);
  CHECK(relative_error(dense_of(estimated.gain), dense_of(expected.gain)) < 1e-10);
}

TEST_CASE("a large plant on a backend of one's own") {
  const auto evaluation = [](auto backend) {
    using AnyBackend = decltype(backend);
    const auto mine = task<AnyBackend>();
    const typename AnyBackend::Matrix identity = AnyBackend::identity_like(mine.Q());
    return metalqr::evaluate(metalqr::large_plant<AnyBackend>(metalqr::DenseOperator<AnyBackend>(mine.A()),
                                                              mine.B(), identity, mine.R(), identity),
                             gain<AnyBackend>(K0));
  };
  const auto mine = evaluation(OwnBackend{});
  const auto theirs = evaluation(Backend{});
  CHECK(mine.status == metalqr::Status::converged);
  CHECK(relative_error(mine.cost, theirs.cost) < 1e-10);
  check_same(mine.gradient, theirs.gradient);
}
