#pragma once

/// @file
/// What the tests share: dense reference arithmetic in long double that uses nothing of the library, random
/// problems of known spectral radius, and the errors' measures.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <typeinfo>
#include <utility>
#include <vector>

#include <metalqr/core/eigen.hpp>
#include <metalqr/core/random.hpp>
#include <metalqr/lqr/task.hpp>

#include "catch.hpp"

namespace test {

using metalqr::Index;

/// Dynamic sizes in double, which most tests use.
using Backend = metalqr::EigenBackend<double>;

/// A matrix for oracles: long double, naive loops.
struct Dense {
  Index rows = 0;
  Index cols = 0;
  std::vector<long double> entries;

  Dense() = default;
  Dense(Index rows_, Index cols_)
      : rows(rows_), cols(cols_), entries(static_cast<std::size_t>(rows_ * cols_), 0.0L) {}
  Dense(std::initializer_list<std::initializer_list<double>> values)
      : Dense(static_cast<Index>(values.size()), static_cast<Index>(values.begin()->size())) {
    Index i = 0;
    for (const auto& row : values) {
      Index j = 0;
      for (const double value : row) (*this)(i, j++) = value;
      ++i;
    }
  }

  long double& operator()(Index i, Index j) { return entries[static_cast<std::size_t>(i * cols + j)]; }
  long double operator()(Index i, Index j) const { return entries[static_cast<std::size_t>(i * cols + j)]; }
};

inline Dense identity(Index n) {
  Dense x(n, n);
  for (Index i = 0; i < n; ++i) x(i, i) = 1;
  return x;
}

inline Dense transpose(const Dense& x) {
  Dense y(x.cols, x.rows);
  for (Index i = 0; i < x.rows; ++i) {
    for (Index j = 0; j < x.cols; ++j) y(j, i) = x(i, j);
  }
  return y;
}

inline bool all_nan(const Dense& x) {
  return std::all_of(x.entries.begin(), x.entries.end(), [](long double e) { return std::isnan(e); });
}

inline Dense operator*(const Dense& x, const Dense& y) {
  if (x.cols != y.rows) throw std::logic_error("product of shapes that do not fit");
  Dense z(x.rows, y.cols);
  for (Index i = 0; i < x.rows; ++i) {
    for (Index j = 0; j < y.cols; ++j) {
      for (Index k = 0; k < x.cols; ++k) z(i, j) += x(i, k) * y(k, j);
    }
  }
  return z;
}

inline Dense operator*(long double s, Dense x) {
  for (long double& entry : x.entries) entry *= s;
  return x;
}

inline Dense operator+(Dense x, const Dense& y) {
  if (x.rows != y.rows || x.cols != y.cols) throw std::logic_error("sum of shapes that do not fit");
  for (std::size_t i = 0; i < x.entries.size(); ++i) x.entries[i] += y.entries[i];
  return x;
}

inline Dense operator-(const Dense& x, const Dense& y) {
  return x + (-1.0L) * y;
}

/// tr(X'Y).
inline long double inner(const Dense& x, const Dense& y) {
  if (x.rows != y.rows || x.cols != y.cols) throw std::logic_error("inner product of different shapes");
  long double sum = 0;
  for (std::size_t i = 0; i < x.entries.size(); ++i) sum += x.entries[i] * y.entries[i];
  return sum;
}

/// Frobenius norm.
inline long double norm(const Dense& x) {
  return std::sqrt(inner(x, x));
}

/// Largest singular value, by 3000 steps of power iteration.
inline long double spectral_norm(const Dense& x) {
  const Dense squared = transpose(x) * x;
  Dense v(x.cols, 1);
  for (Index i = 0; i < x.cols; ++i) v(i, 0) = 1 + 0.1L * static_cast<long double>(i);
  long double value = 0;
  for (int step = 0; step < 3000; ++step) {
    v = (1 / norm(v)) * (squared * v);
    value = norm(v);
  }
  return std::sqrt(value);
}

/// X^-1 Y by Gaussian elimination with partial pivoting.
inline Dense solve(Dense x, Dense y) {
  const Index n = x.rows;
  for (Index k = 0; k < n; ++k) {
    Index pivot = k;
    for (Index i = k + 1; i < n; ++i) {
      if (std::abs(x(i, k)) > std::abs(x(pivot, k))) pivot = i;
    }
    for (Index j = 0; j < n; ++j) std::swap(x(k, j), x(pivot, j));
    for (Index j = 0; j < y.cols; ++j) std::swap(y(k, j), y(pivot, j));
    for (Index i = k + 1; i < n; ++i) {
      const long double factor = x(i, k) / x(k, k);
      if (factor == 0) continue;
      for (Index j = k; j < n; ++j) x(i, j) -= factor * x(k, j);
      for (Index j = 0; j < y.cols; ++j) y(i, j) -= factor * y(k, j);
    }
  }
  for (Index k = n; k-- > 0;) {
    for (Index j = 0; j < y.cols; ++j) {
      for (Index i = k + 1; i < n; ++i) y(k, j) -= x(k, i) * y(i, j);
      y(k, j) /= x(k, k);
    }
  }
  return y;
}

/// P = Q + F'PF as one linear system with n^2 unknowns (the Kronecker product).
inline Dense lyapunov(const Dense& F, const Dense& Q) {
  const Index n = F.rows;
  Dense system = identity(n * n);
  Dense right(n * n, 1);
  for (Index i = 0; i < n; ++i) {
    for (Index j = 0; j < n; ++j) {
      right(i * n + j, 0) = Q(i, j);
      for (Index k = 0; k < n; ++k) {
        for (Index l = 0; l < n; ++l) system(i * n + j, k * n + l) -= F(k, i) * F(l, j);
      }
    }
  }
  const Dense solution = solve(std::move(system), std::move(right));
  Dense P(n, n);
  P.entries = solution.entries;
  return P;
}

/// A task in long double, with the quantities at a gain by their definitions.
struct DenseTask {
  Dense A, B, Q, R, Sigma0;

  Dense closed_loop(const Dense& K) const { return A - B * K; }
  Dense P(const Dense& K) const { return lyapunov(closed_loop(K), Q + transpose(K) * R * K); }
  Dense Sigma(const Dense& K) const { return lyapunov(transpose(closed_loop(K)), Sigma0); }
  long double cost(const Dense& K) const { return inner(P(K), Sigma0); }
  Dense E(const Dense& K) const { return R * K - transpose(B) * P(K) * closed_loop(K); }
  Dense gradient(const Dense& K) const { return 2 * (E(K) * Sigma(K)); }
  /// |RK|_F + |B'PF|_F times |Sigma|_F: what the gradient is a difference of.
  long double gradient_scale(const Dense& K) const {
    return (norm(R * K) + norm(transpose(B) * P(K) * closed_loop(K))) * norm(Sigma(K));
  }
};

/// A matrix of the library as a `Dense`.
template <class AnyBackend = Backend, class X>
Dense dense(const X& x) {
  Dense result(AnyBackend::rows(x), AnyBackend::cols(x));
  for (Index i = 0; i < result.rows; ++i) {
    for (Index j = 0; j < result.cols; ++j) result(i, j) = static_cast<long double>(x(i, j));
  }
  return result;
}

template <class AnyBackend>
DenseTask dense(const metalqr::Task<AnyBackend>& task) {
  return {dense<AnyBackend>(task.A()), dense<AnyBackend>(task.B()), dense<AnyBackend>(task.Q()),
          dense<AnyBackend>(task.R()), dense<AnyBackend>(task.Sigma0())};
}

/// `zeros` filled with the entries of `values`, which has its shape.
template <class X>
X filled(X zeros, const Dense& values) {
  using Scalar = std::remove_cvref_t<decltype(zeros(0, 0))>;
  for (Index i = 0; i < values.rows; ++i) {
    for (Index j = 0; j < values.cols; ++j) zeros(i, j) = static_cast<Scalar>(values(i, j));
  }
  return zeros;
}

template <class AnyBackend = Backend>
typename AnyBackend::StateMatrix state_matrix(const Dense& values) {
  return filled(AnyBackend::zero_state_matrix(values.rows), values);
}
template <class AnyBackend = Backend>
typename AnyBackend::InputMatrix input_matrix(const Dense& values) {
  return filled(AnyBackend::zero_input_matrix(values.rows, values.cols), values);
}
template <class AnyBackend = Backend>
typename AnyBackend::Gain gain(const Dense& values) {
  return filled(AnyBackend::zero_gain(values.rows, values.cols), values);
}
template <class AnyBackend = Backend>
typename AnyBackend::ControlMatrix control_matrix(const Dense& values) {
  return filled(AnyBackend::zero_control_matrix(values.rows), values);
}
template <class AnyBackend = Backend>
typename AnyBackend::StateVector state_vector(const Dense& values) {
  typename AnyBackend::StateVector x = AnyBackend::zero_state(values.rows);
  for (Index i = 0; i < values.rows; ++i) {
    x(i, 0) = static_cast<typename AnyBackend::Scalar>(values(i, 0));
  }
  return x;
}
template <class AnyBackend = Backend>
metalqr::Task<AnyBackend> make_task(const DenseTask& task) {
  return {state_matrix<AnyBackend>(task.A), input_matrix<AnyBackend>(task.B),
          state_matrix<AnyBackend>(task.Q), control_matrix<AnyBackend>(task.R),
          state_matrix<AnyBackend>(task.Sigma0)};
}

/// |got - want|_F / max(|want|_F, scale); infinity if the shapes differ or an entry is a NaN.
inline double relative_error(const Dense& got, const Dense& want, long double scale = 0) {
  if (got.rows != want.rows || got.cols != want.cols) return std::numeric_limits<double>::infinity();
  const long double difference = norm(got - want);
  const long double size = std::max(norm(want), scale);
  if (difference == 0) return 0;
  const long double error = difference / size;
  return error >= 0 ? static_cast<double>(error) : std::numeric_limits<double>::infinity();
}
inline double relative_error(long double got, long double want, long double scale = 0) {
  Dense a(1, 1);
  Dense b(1, 1);
  a(0, 0) = got;
  b(0, 0) = want;
  return relative_error(a, b, scale);
}

/// The stream number `sample` of a test's own seed.
inline metalqr::Stream stream(std::uint64_t seed, std::uint64_t sample = 0) {
  return metalqr::Stream({.seed = seed, .purpose = metalqr::Purpose::user, .sample = sample});
}

/// Independent standard normal entries.
inline Dense random_matrix(Index rows, Index cols, metalqr::Stream& stream) {
  Dense x(rows, cols);
  for (long double& entry : x.entries) entry = stream.normal();
  return x;
}

/// GG'/cols with G rows x `rank` normal: positive semidefinite of that rank.
inline Dense random_semidefinite(Index n, Index rank, metalqr::Stream& stream) {
  const Dense G = random_matrix(n, rank, stream);
  return (1.0L / static_cast<long double>(rank)) * (G * transpose(G));
}
/// Positive definite with eigenvalues from 0.1 on.
inline Dense random_definite(Index n, metalqr::Stream& stream) {
  return random_semidefinite(n, n, stream) + 0.1L * identity(n);
}

/// A full matrix of spectral radius rho, with complex pairs and not normal: U (D + N) U' with U a Householder
/// reflection, D of rotations times radii up to rho, N strictly upper triangular beyond its blocks.
inline Dense random_with_radius(Index n, double rho, metalqr::Stream& stream) {
  Dense T(n, n);
  for (Index i = 0; i < n; i += 2) {
    const double radius = i == 0 ? rho : rho * stream.uniform(0.2, 1);
    if (i + 1 == n) {
      T(i, i) = radius * stream.rademacher();
      break;
    }
    const double angle = stream.uniform(0, 3.141592653589793);
    T(i, i) = T(i + 1, i + 1) = radius * std::cos(angle);
    T(i, i + 1) = -radius * std::sin(angle);
    T(i + 1, i) = radius * std::sin(angle);
    for (Index j = i + 2; j < n; ++j) {
      T(i, j) = 0.4 * rho * stream.normal();
      T(i + 1, j) = 0.4 * rho * stream.normal();
    }
  }
  const Dense v = random_matrix(n, 1, stream);
  const Dense U = identity(n) - (2 / inner(v, v)) * (v * transpose(v));
  return U * T * transpose(U);
}

/// A task with a gain at which its closed loop has the spectral radius `rho`.
struct RandomProblem {
  DenseTask task;
  Dense K;
};

/// Rounded to double, so that every scalar sees the same problem.
inline Dense rounded(Dense x) {
  for (long double& entry : x.entries) entry = static_cast<double>(entry);
  return x;
}

inline RandomProblem random_problem(Index nx, Index nu, double rho, metalqr::Stream& stream) {
  const Dense F = random_with_radius(nx, rho, stream);
  const Dense B = rounded(random_matrix(nx, nu, stream));
  const Dense K = rounded(0.5L * random_matrix(nu, nx, stream));
  return {{rounded(F + B * K), B, rounded(random_definite(nx, stream)), rounded(random_definite(nu, stream)),
           rounded(random_definite(nx, stream))},
          K};
}

/// What `call` says when it throws exactly `Exception`; otherwise the test fails.
template <class Exception, class Call>
std::string message_of(const Call& call) {
  try {
    call();
  } catch (const Exception& error) {
    if (typeid(error) != typeid(Exception)) FAIL("derived type of exception: " << error.what());
    return error.what();
  } catch (const std::exception& error) {
    FAIL("another type of exception: " << error.what());
  }
  FAIL("no exception");
  return {};
}

}  // namespace test
