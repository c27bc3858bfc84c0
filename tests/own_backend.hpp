#pragma once

/// @file
/// A backend that knows nothing of Eigen and offers the least that the library asks for.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>
#include <vector>

#include <metalqr/core/backend.hpp>

namespace test {

using metalqr::Index;

/// Row-major, naive.
class Plain {
 public:
  Plain() = default;
  Plain(Index rows, Index cols)
      : rows_(rows), cols_(cols), entries_(static_cast<std::size_t>(rows * cols), 0.0) {}

  Index rows() const { return rows_; }
  Index cols() const { return cols_; }
  double& operator()(Index i, Index j) { return entries_[static_cast<std::size_t>(i * cols_ + j)]; }
  double operator()(Index i, Index j) const { return entries_[static_cast<std::size_t>(i * cols_ + j)]; }
  const std::vector<double>& entries() const { return entries_; }

  Plain& operator+=(const Plain& y) {
    for (std::size_t i = 0; i < entries_.size(); ++i) entries_[i] += y.entries_[i];
    return *this;
  }
  Plain& operator-=(const Plain& y) {
    for (std::size_t i = 0; i < entries_.size(); ++i) entries_[i] -= y.entries_[i];
    return *this;
  }
  friend Plain operator+(Plain x, const Plain& y) { return x += y; }
  friend Plain operator-(Plain x, const Plain& y) { return x -= y; }
  friend Plain operator*(double s, Plain x) {
    for (double& entry : x.entries_) entry *= s;
    return x;
  }
  friend Plain operator*(const Plain& x, double s) { return s * x; }
  friend Plain operator/(Plain x, double s) {
    for (double& entry : x.entries_) entry /= s;
    return x;
  }

 private:
  Index rows_ = 0;
  Index cols_ = 0;
  std::vector<double> entries_;
};

/// The least that the library asks for.
struct OwnBackend {
  using Scalar = double;
  using StateMatrix = Plain;
  using InputMatrix = Plain;
  using Gain = Plain;
  using ControlMatrix = Plain;
  using StateVector = Plain;
  using ControlVector = Plain;
  using Matrix = Plain;
  static constexpr int states = -1;
  static constexpr int inputs = -1;

  static const char* name() { return "own"; }
  static double epsilon() { return std::numeric_limits<double>::epsilon(); }
  static double to_double(double s) { return s; }
  static Index rows(const Plain& x) { return x.rows(); }
  static Index cols(const Plain& x) { return x.cols(); }

  static Plain zero_like(const Plain& x) { return {x.rows(), x.cols()}; }
  static Plain identity_like(const Plain& x) {
    Plain y(x.rows(), x.cols());
    for (Index i = 0; i < x.rows(); ++i) y(i, i) = 1;
    return y;
  }
  static Plain zero_state_matrix(Index nx) { return {nx, nx}; }
  static Plain zero_input_matrix(Index nx, Index nu) { return {nx, nu}; }
  static Plain zero_gain(Index nu, Index nx) { return {nu, nx}; }
  static Plain zero_control_matrix(Index nu) { return {nu, nu}; }
  static Plain zero_state(Index nx) { return {nx, 1}; }
  static Plain zero_matrix(Index rows, Index cols) { return {rows, cols}; }

  static Plain transpose(const Plain& x) {
    Plain y(x.cols(), x.rows());
    for (Index i = 0; i < x.rows(); ++i) {
      for (Index j = 0; j < x.cols(); ++j) y(j, i) = x(i, j);
    }
    return y;
  }
  static Plain product(const Plain& x, const Plain& y) {
    Plain z(x.rows(), y.cols());
    for (Index i = 0; i < x.rows(); ++i) {
      for (Index k = 0; k < x.cols(); ++k) {
        for (Index j = 0; j < y.cols(); ++j) z(i, j) += x(i, k) * y(k, j);
      }
    }
    return z;
  }
  static Plain transpose_product(const Plain& x, const Plain& y) { return product(transpose(x), y); }
  static Plain product_transpose(const Plain& x, const Plain& y) { return product(x, transpose(y)); }
  static Plain congruence(const Plain& x, const Plain& s) { return transpose_product(x, product(s, x)); }
  static Plain outer_congruence(const Plain& x, const Plain& s) {
    return product_transpose(product(x, s), x);
  }
  static void multiply(const Plain& x, const Plain& y, Plain& z) { z = product(x, y); }
  static void add_symmetric_product(Plain& s, const Plain& x, const Plain& y) {
    s += transpose_product(x, y);
    s = symmetrised(s);
  }
  static void add_symmetric_outer_product(Plain& s, const Plain& x, const Plain& y) {
    s += product_transpose(x, y);
    s = symmetrised(s);
  }
  static void add_congruence(Plain& s, const Plain& x, Plain& work) {
    work = congruence(x, s);
    s += work;
  }
  static void add_outer_congruence(Plain& s, const Plain& x, Plain& work) {
    work = outer_congruence(x, s);
    s += work;
  }
  static Plain symmetrised(const Plain& x) { return 0.5 * (x + transpose(x)); }

  static double trace(const Plain& x) {
    double sum = 0;
    for (Index i = 0; i < x.rows(); ++i) sum += x(i, i);
    return sum;
  }
  static double inner(const Plain& x, const Plain& y) {
    double sum = 0;
    for (std::size_t i = 0; i < x.entries().size(); ++i) sum += x.entries()[i] * y.entries()[i];
    return sum;
  }
  static double norm(const Plain& x) { return std::sqrt(inner(x, x)); }
  static double max_abs(const Plain& x) {
    double largest = 0;
    for (const double entry : x.entries()) largest = std::max(largest, std::abs(entry));
    return largest;
  }
  static bool is_finite(const Plain& x) {
    return std::all_of(x.entries().begin(), x.entries().end(), [](double e) { return std::isfinite(e); });
  }

  /// Gauss-Jordan elimination with partial pivoting.
  static Plain solve(Plain x, Plain y) {
    const Index n = x.rows();
    for (Index k = 0; k < n; ++k) {
      Index pivot = k;
      for (Index i = k + 1; i < n; ++i) {
        if (std::abs(x(i, k)) > std::abs(x(pivot, k))) pivot = i;
      }
      for (Index j = 0; j < n; ++j) std::swap(x(k, j), x(pivot, j));
      for (Index j = 0; j < y.cols(); ++j) std::swap(y(k, j), y(pivot, j));
      for (Index i = 0; i < n; ++i) {
        if (i == k) continue;
        const double factor = x(i, k) / x(k, k);
        for (Index j = k; j < n; ++j) x(i, j) -= factor * x(k, j);
        for (Index j = 0; j < y.cols(); ++j) y(i, j) -= factor * y(k, j);
      }
    }
    for (Index i = 0; i < n; ++i) {
      for (Index j = 0; j < y.cols(); ++j) y(i, j) /= x(i, i);
    }
    return y;
  }
  static Plain solve_spd(const Plain& x, const Plain& y) { return solve(x, y); }
  static void solve_both(const Plain& x, Plain& y, Plain& z) {
    y = solve(x, y);
    z = solve(x, z);
  }
  /// By the pivots of Cholesky's factorisation.
  static bool is_positive_definite(const Plain& x) {
    Plain L(x.rows(), x.cols());
    for (Index j = 0; j < x.rows(); ++j) {
      double pivot = x(j, j);
      for (Index k = 0; k < j; ++k) pivot -= L(j, k) * L(j, k);
      if (!(pivot > 0)) return false;
      L(j, j) = std::sqrt(pivot);
      for (Index i = j + 1; i < x.rows(); ++i) {
        double entry = x(i, j);
        for (Index k = 0; k < j; ++k) entry -= L(i, k) * L(j, k);
        L(i, j) = entry / L(j, j);
      }
    }
    return true;
  }
};

}  // namespace test
