#pragma once

/// @file
/// The H-infinity norm of a discrete-time system. Costly to compile (eigenvalues).

#include <algorithm>
#include <cmath>
#include <complex>
#include <limits>
#include <optional>
#include <type_traits>
#include <vector>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/check.hpp>
#include <metalqr/core/error.hpp>
#include <metalqr/core/status.hpp>
#include <metalqr/equations/spectral_norm.hpp>

namespace metalqr::inline METALQR_ABI {

/// How `h_infinity_norm` works.
struct HInfinityOptions {
  double tolerance =
      1e-10;  ///< relative: the norm is between the answer and (1 + tolerance) times it; at least 8 epsilon
  int max_iterations = 50;  ///< cap on the eigenvalue problems solved
};

/// An H-infinity norm.
template <class Scalar>
struct HInfinityNorm {
  Scalar norm{};       ///< largest singular value of the frequency response at `frequency`
  Scalar frequency{};  ///< angle in [0, pi] in radians per sample where it is attained
  int iterations = 0;  ///< eigenvalue problems solved
  Status status = Status::iteration_limit;  ///< converged, or iteration_limit: `norm` is only a lower bound
};

namespace detail {

/// G(z) = C (zI - A)^-1 B + D.
template <DecomposingBackend Backend>
struct TransferFunction {
  using Scalar = typename Backend::Scalar;
  using Matrix = typename Backend::Matrix;
  Matrix A, B, C, D;

  /// [re -im; im re].
  static Matrix embedding(const Matrix& re, const Matrix& im) {
    const Index rows = Backend::rows(re);
    const Index cols = Backend::cols(re);
    Matrix result = Backend::zero_matrix(2 * rows, 2 * cols);
    for (Index i = 0; i < rows; ++i) {
      for (Index j = 0; j < cols; ++j) {
        result(i, j) = result(rows + i, cols + j) = re(i, j);
        result(rows + i, j) = im(i, j);
        result(i, cols + j) = -im(i, j);
      }
    }
    return result;
  }

  /// Largest singular value of G(e^{i angle}), in real arithmetic.
  Scalar gain(const Scalar& angle) const {
    using std::cos;
    using std::sin;
    const Index n = Backend::rows(A);
    const Matrix identity = Backend::identity_like(A);
    const Matrix re = cos(angle) * identity - A;
    const Matrix im = sin(angle) * identity;
    const Matrix zero = Backend::zero_like(B);
    const Matrix states = Backend::solve(embedding(re, im), embedding(B, zero));
    Matrix output = Backend::product(embedding(C, Backend::zero_like(C)), states);
    output += embedding(D, Backend::zero_like(D));
    if (n == 0 || !Backend::is_finite(output)) return std::numeric_limits<Scalar>::infinity();
    return spectral_norm<Backend>(output);
  }

  /// The frequencies w at which the continuous-time system that the bilinear transform z = (1 + s)/(1 - s)
  /// makes of this one may have the singular value gamma: imaginary parts of the eigenvalues of its
  /// Hamiltonian matrix, as angles 2 atan(w). All eigenvalues are taken, since rounding moves those of nearly
  /// equal frequencies off the imaginary axis. None if the matrix overflows.
  std::optional<std::vector<Scalar>> crossing_angles(const Scalar& gamma) const {
    using std::abs;
    using std::atan;
    using std::sqrt;
    const Index n = Backend::rows(A);
    const Matrix identity = Backend::identity_like(A);
    const Matrix plus = identity + A;
    const Matrix minus = A - identity;
    const Matrix Ac = Backend::solve(plus, minus);
    Matrix Bc = Backend::solve(plus, B);
    const Matrix Dc = D - Backend::product(C, Bc);
    const Matrix left = Backend::solve(Backend::transpose(plus), Backend::transpose(C));
    Matrix Cc = Scalar(2) * Backend::transpose(left);
    const Scalar b_size = Backend::norm(Bc);
    const Scalar c_size = Backend::norm(Cc);
    if (b_size == Scalar(0) || c_size == Scalar(0)) return std::vector<Scalar>{};
    const Scalar ratio = sqrt(c_size) / sqrt(b_size);
    Bc = ratio * Bc;
    Cc = Cc / ratio;

    // With R = gamma^2 I - D'D and S = gamma^2 I - DD', scaled by gamma.
    const Matrix E = Dc / gamma;
    const Matrix left_gram = Backend::transpose_product(E, E);
    const Matrix right_gram = Backend::product_transpose(E, E);
    const Matrix R = Backend::identity_like(left_gram) - left_gram;
    const Matrix S = Backend::identity_like(right_gram) - right_gram;
    const Matrix EC = Backend::transpose_product(E, Cc);
    const Matrix corner = Ac + Backend::product(Bc, Backend::solve(R, EC)) / gamma;
    const Matrix upper = Backend::product(Bc, Backend::solve(R, Backend::transpose(Bc))) / gamma;
    const Matrix lower = Backend::transpose_product(Cc, Backend::solve(S, Cc)) / gamma;
    Matrix hamiltonian = Backend::zero_matrix(2 * n, 2 * n);
    for (Index i = 0; i < n; ++i) {
      for (Index j = 0; j < n; ++j) {
        hamiltonian(i, j) = corner(i, j);
        hamiltonian(n + i, n + j) = -corner(j, i);
        hamiltonian(i, n + j) = upper(i, j);
        hamiltonian(n + i, j) = -lower(i, j);
      }
    }
    std::vector<Scalar> angles;
    if (!Backend::is_finite(hamiltonian)) return std::nullopt;
    for (const std::complex<Scalar>& value : Backend::eigenvalues(hamiltonian)) {
      if (value.imag() >= Scalar(0)) angles.push_back(Scalar(2) * atan(value.imag()));
    }
    std::sort(angles.begin(), angles.end());
    return angles;
  }
};

}  // namespace detail

/// The H-infinity norm of the stable discrete-time system G(z) = C (zI - A)^-1 B + D: the largest singular
/// value of its frequency response over all frequencies. A is n x n, B n x m, C p x n, D p x m, of any sizes.
///
/// Two-step iteration (Bruinsma and Steinbuch, "A fast algorithm to compute the H-infinity norm of a transfer
/// function matrix", Syst. Control Lett. 14, 1990), quadratically convergent: O((2n)^3) an iteration.
/// @throws DimensionMismatch, NotFinite, InvalidOption on bad arguments; NotStabilizing if rho(A) >= 1.
template <DecomposingBackend Backend>
HInfinityNorm<typename Backend::Scalar> h_infinity_norm(
    const std::type_identity_t<typename Backend::Matrix>& A,
    const std::type_identity_t<typename Backend::Matrix>& B,
    const std::type_identity_t<typename Backend::Matrix>& C,
    const std::type_identity_t<typename Backend::Matrix>& D, const HInfinityOptions& options = {}) {
  using std::abs;
  using std::arg;
  using Scalar = typename Backend::Scalar;
  const Index n = Backend::rows(A);
  detail::require_shape<Backend>(A, n, n, "A");
  detail::require_shape<Backend>(B, n, Backend::cols(B), "B");
  detail::require_shape<Backend>(C, Backend::rows(C), n, "C");
  detail::require_shape<Backend>(D, Backend::rows(C), Backend::cols(B), "D");
  detail::require_finite<Backend>(A, "A");
  detail::require_finite<Backend>(B, "B");
  detail::require_finite<Backend>(C, "C");
  detail::require_finite<Backend>(D, "D");
  detail::require_option(std::isfinite(options.tolerance) && options.tolerance > 0, "tolerance",
                         options.tolerance, "a positive number");
  detail::require_option(options.max_iterations >= 1, "max_iterations", options.max_iterations, "at least 1");

  const Scalar pi = std::acos(Scalar(-1));
  HInfinityNorm<Scalar> best;
  const detail::TransferFunction<Backend> system{A, B, C, D};
  const auto probe = [&](const Scalar& angle) {
    const Scalar value = system.gain(angle);
    if (value > best.norm) best.norm = value, best.frequency = angle;
  };
  Scalar radius(0);
  std::vector<Scalar> angles{Scalar(0.45), Scalar(1.13), Scalar(1.76), Scalar(2.61)};
  for (const std::complex<Scalar>& pole : Backend::eigenvalues(A)) {
    radius = std::max(radius, Scalar(abs(pole)));
    if (pole.imag() >= Scalar(0)) angles.push_back(Scalar(arg(pole)));
  }
  if (!(radius < Scalar(1))) {
    const double rho = Backend::to_double(radius);
    throw NotStabilizing("A: expected spectral radius below 1, got " + detail::text(rho), rho);
  }
  // The bilinear transform sends one of z = -1 and z = 1 to infinity: the one with the smaller gain.
  probe(Scalar(0));
  const Scalar at_one = best.norm;
  const Scalar at_minus_one = system.gain(pi);
  const bool flip = at_minus_one > at_one;
  if (flip) best = {.norm = at_minus_one, .frequency = pi};
  for (const Scalar& angle : angles) probe(angle);

  detail::TransferFunction<Backend> seen = system;
  if (flip) {
    seen.A = Scalar(-1) * A;
    seen.C = Scalar(-1) * C;
  }
  const Scalar tolerance = std::max(Scalar(options.tolerance), Scalar(8) * Backend::epsilon());
  for (;;) {
    if (!(best.norm > Scalar(0))) {
      best.status = Status::converged;
      return best;
    }
    if (best.iterations == options.max_iterations) return best;
    ++best.iterations;
    const Scalar target = (Scalar(1) + tolerance) * best.norm;
    const auto crossings = seen.crossing_angles(target);
    if (!crossings) return best;
    angles = *crossings;
    if (flip) {
      for (Scalar& angle : angles) angle = pi - angle;
    }
    for (std::size_t i = 0; i < angles.size(); ++i) {
      probe(angles[i]);
      if (i > 0) probe((angles[i - 1] + angles[i]) / Scalar(2));
    }
    if (best.norm <= target) {
      best.status = Status::converged;
      return best;
    }
  }
}

}  // namespace metalqr::inline METALQR_ABI
