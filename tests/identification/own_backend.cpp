// Identification on a backend that knows nothing of Eigen: whatever it uses of a matrix library is named by
// the concepts.

#include "own_backend.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <span>
#include <vector>

#include <metalqr/identification/bootstrap.hpp>
#include <metalqr/identification/data_bound.hpp>
#include <metalqr/identification/experiment.hpp>
#include <metalqr/identification/least_squares.hpp>
#include <metalqr/identification/planning_bound.hpp>
#include <metalqr/identification/trajectory_bound.hpp>
#include <metalqr/systems/plants.hpp>

#include "support.hpp"

namespace {

using test::Index;
using test::Plain;
namespace id = metalqr::identification;

/// With the factorisations of least squares.
struct Factoring : test::OwnBackend {
  /// By Gram and Schmidt's method, with the columns made orthogonal twice.
  static Plain triangular_factor(const Plain& x) {
    Plain Q = x;
    Plain R(x.cols(), x.cols());
    const auto inner_product = [&Q](Index j, Index k) {
      double sum = 0;
      for (Index i = 0; i < Q.rows(); ++i) sum += Q(i, j) * Q(i, k);
      return sum;
    };
    Index kept = 0;  // columns of Q so far; a dependent column adds none
    for (Index j = 0; j < x.cols() && kept < std::min(x.rows(), x.cols()); ++j) {
      const double before = std::sqrt(inner_product(j, j));
      for (int twice = 0; twice < 2; ++twice) {
        for (Index k = 0; k < j; ++k) {
          const double part = inner_product(j, k);
          R(k, j) += part;
          for (Index i = 0; i < Q.rows(); ++i) Q(i, j) -= part * Q(i, k);
        }
      }
      const double left = std::sqrt(inner_product(j, j));
      R(j, j) = left > 1e-15 * before ? left : 0;
      for (Index i = 0; i < Q.rows(); ++i) Q(i, j) = R(j, j) > 0 ? Q(i, j) / left : 0;
      ++kept;
    }
    return R;
  }
  /// By Jacobi's method on the columns.
  static std::vector<double> singular_values(Plain x) {
    if (x.cols() > x.rows()) x = transpose(x);
    for (int sweep = 0; sweep < 60; ++sweep) {
      for (Index j = 0; j < x.cols(); ++j) {
        for (Index k = j + 1; k < x.cols(); ++k) {
          double jj = 0;
          double jk = 0;
          double kk = 0;
          for (Index i = 0; i < x.rows(); ++i) {
            jj += x(i, j) * x(i, j);
            jk += x(i, j) * x(i, k);
            kk += x(i, k) * x(i, k);
          }
          const double angle = 0.5 * std::atan2(2 * jk, jj - kk);
          for (Index i = 0; i < x.rows(); ++i) {
            const double a = x(i, j);
            const double b = x(i, k);
            x(i, j) = std::cos(angle) * a + std::sin(angle) * b;
            x(i, k) = std::cos(angle) * b - std::sin(angle) * a;
          }
        }
      }
    }
    std::vector<double> values;
    for (Index j = 0; j < x.cols(); ++j) {
      double square = 0;
      for (Index i = 0; i < x.rows(); ++i) square += x(i, j) * x(i, j);
      values.push_back(std::sqrt(square));
    }
    std::sort(values.begin(), values.end(), std::greater<>());
    return values;
  }
  static Plain cholesky_factor(const Plain& x) { return x; }  // not needed
};

static_assert(metalqr::FactoringBackend<Factoring>);
static_assert(!metalqr::FactoringBackend<test::OwnBackend>);

/// The largest relative difference of numbers that both backends gave.
double difference(std::span<const double> own, std::span<const double> eigen) {
  double largest = 0;
  for (std::size_t i = 0; i < own.size(); ++i) {
    largest = std::max(largest, std::abs(own[i] / eigen[i] - 1));
  }
  return largest;
}

/// All of it: what an estimate, its bounds and its bootstrap say.
template <class AnyBackend>
std::vector<double> everything() {
  const auto plant = metalqr::systems::laplacian_3<AnyBackend>();
  const auto data = id::collect(plant, {.rollouts = 30}, {.seed = 121});
  const auto last = id::least_squares(data, {.samples = id::Samples::last});
  const auto all = id::least_squares(data);
  const auto ridge = id::least_squares(data, {.ridge = 1e-3});
  const auto bound = id::data_bound(last, {.noise = 1});
  const auto trajectory = id::trajectory_bound(ridge);
  const auto planned = id::planning_bound(plant, {.rollouts = 500});
  const auto boot = id::bootstrap(all, data, {.trials = 40}, {.seed = 122});
  return {all.A(0, 0),          all.B(1, 2),           last.A(2, 1),
          all.condition(),      all.log_determinant(), noise_level(all),
          bound.epsilon_A,      bound.epsilon_B,       trajectory.epsilon_A,
          trajectory.epsilon_B, planned.epsilon_A,     planned.excitability,
          boot.epsilon_A,       boot.epsilon_B,        bound.ellipsoid.level_of(plant.A(), plant.B())};
}

}  // namespace

TEST_CASE("identification on a backend of one's own") {
  CHECK(difference(everything<Factoring>(), everything<test::Backend>()) < 1e-10);
  CHECK_THROWS_AS(id::least_squares(id::collect(metalqr::systems::laplacian_3<Factoring>(), {.horizon = 1})),
                  metalqr::RankDeficient);
}
