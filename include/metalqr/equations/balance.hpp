#pragma once

/// @file
/// Diagonal scaling of a Riccati equation by powers of two, so that a problem in badly chosen units is solved
/// as accurately as in good ones. Scales are n x 1; for packs, each lane has its own.

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/lane_matrix.hpp>

namespace metalqr::inline METALQR_ABI::detail {

/// Multiplies row i by scales(i); exact if these are powers of two and nothing underflows.
template <class X, class Scales>
void scale_rows(X& x, const Scales& scales, Index rows, Index cols) {
  for (Index j = 0; j < cols; ++j) {
    for (Index i = 0; i < rows; ++i) x(i, j) = x(i, j) * scales(i, 0);
  }
}

/// Multiplies column j by scales(j).
template <class X, class Scales>
void scale_cols(X& x, const Scales& scales, Index rows, Index cols) {
  for (Index j = 0; j < cols; ++j) {
    for (Index i = 0; i < rows; ++i) x(i, j) = x(i, j) * scales(j, 0);
  }
}

/// Multiplies the entry (i, j) of a square matrix by rows_i cols_j.
template <MatrixBackend Backend>
void scale_entries(typename Backend::StateMatrix& x, const typename Backend::StateVector& rows,
                   const typename Backend::StateVector& cols) {
  const Index n = Backend::rows(x);
  scale_rows(x, rows, n, n);
  scale_cols(x, cols, n, n);
}

/// n ones.
template <MatrixBackend Backend>
typename Backend::StateVector unit_scales(Index n) {
  typename Backend::StateVector ones = Backend::zero_state(n);
  for (Index i = 0; i < n; ++i) ones(i, 0) = typename Backend::Scalar(1);
  return ones;
}

/// One over each.
template <MatrixBackend Backend>
typename Backend::StateVector inverses(const typename Backend::StateVector& scales) {
  typename Backend::StateVector result = scales;
  for (Index i = 0; i < Backend::rows(scales); ++i) {
    result(i, 0) = typename Backend::Scalar(1) / scales(i, 0);
  }
  return result;
}

/// The magnitudes of the blocks of the symplectic pencil [A -G; Q A'].
template <MatrixBackend Backend>
struct PencilMagnitudes {
  using Scalar = typename Backend::Scalar;
  using StateMatrix = typename Backend::StateMatrix;

  PencilMagnitudes(const StateMatrix& A, const StateMatrix& G, const StateMatrix& Q) : a(A), g(G), q(Q) {
    using std::abs;
    const Index n = Backend::rows(A);
    for (Index j = 0; j < n; ++j) {
      for (Index i = 0; i < n; ++i) {
        a(i, j) = abs(A(i, j));
        g(i, j) = abs(G(i, j));
        q(i, j) = abs(Q(i, j));
      }
    }
  }

  Scalar total() const {
    Scalar sum(0);
    for (Index j = 0; j < Backend::rows(a); ++j) {
      for (Index i = 0; i < Backend::rows(a); ++i) sum += Scalar(2) * a(i, j) + g(i, j) + q(i, j);
    }
    return sum;
  }

  /// Applies x_i = t x'_i to all blocks.
  void scale(Index i, const Scalar& t) {
    const Scalar inverse = Scalar(1) / t;
    for (Index j = 0; j < Backend::rows(a); ++j) {
      a(i, j) *= inverse, a(j, i) *= t;
      g(i, j) *= inverse, g(j, i) *= inverse;
      q(i, j) *= t, q(j, i) *= t;
    }
  }

  /// What need not be lowered further, because no scaling of the states changes it; keeps a scale from
  /// running away where a block is zero.
  Scalar floor() const {
    using std::sqrt;
    using Lane = LaneTraits<Scalar>;
    const auto larger = [](const Scalar& x, const Scalar& y) { return Lane::select(x < y, y, x); };
    const Scalar of_a = Backend::max_abs(a);
    const Scalar of_products = sqrt(Backend::max_abs(g)) * sqrt(Backend::max_abs(q));
    // Shares of the largest products, so that they do not overflow.
    const Scalar unit_a = inverse_or_one(of_a);
    const Scalar unit_products = inverse_or_one(of_products);
    Scalar share_a(0);
    Scalar share_products(0);
    for (Index i = 0; i < Backend::rows(a); ++i) {
      for (Index j = 0; j <= i; ++j) {
        share_a = larger(share_a, (a(i, j) * unit_a) * (a(j, i) * unit_a));
        share_products = larger(share_products, (g(i, j) * unit_products) * (q(i, j) * unit_products));
      }
    }
    const Scalar floor = larger(of_a * sqrt(share_a), of_products * sqrt(share_products));
    const Scalar other = Lane::select(of_a > Scalar(0), of_a, of_products);
    return Lane::select(floor > Scalar(0), floor, other);
  }

  StateMatrix a, g, q;

 private:
  static Scalar inverse_or_one(const Scalar& x) {
    return Scalar(1) / LaneTraits<Scalar>::select(x > Scalar(0), x, Scalar(1));
  }
};

/// Powers of two d for the change of state x = D x' that lowers the sum of the magnitudes of D^-1 A D
/// (counted twice), D^-1 G D^-1 and D Q D, by cyclic minimisation over one d_i at a time (Osborne, "On
/// pre-conditioning of matrices", J. ACM 7, 1960, with the structure kept). The scale of the cost is part of
/// it: D = s I multiplies Q by s^2 and divides G by s^2. All ones unless the sum falls below half.
template <MatrixBackend Backend>
typename Backend::StateVector balancing_scales(const typename Backend::StateMatrix& A,
                                               const typename Backend::StateMatrix& G,
                                               const typename Backend::StateMatrix& Q) {
  using Scalar = typename Backend::Scalar;
  using Lane = LaneTraits<Scalar>;
  const Index n = Backend::rows(A);
  PencilMagnitudes<Backend> pencil(A, G, Q);
  const Scalar before = pencil.total();
  const Scalar floor = pencil.floor();
  typename Backend::StateVector scales = unit_scales<Backend>(n);
  const MaskOf<Scalar> sound = before < Lane::infinity() && floor > Scalar(0);

  constexpr int sweeps = 50;
  const Scalar largest = Lane::number(lane_to_double<Backend>(Backend::epsilon()) > 1e-10 ? 0x1p50 : 0x1p400);
  const Scalar smallest = Scalar(1) / largest;
  MaskOf<Scalar> changed = sound;
  for (int sweep = 0; Lane::any(changed) && sweep < sweeps; ++sweep) {
    changed = Scalar(1) < Scalar(0);
    for (Index i = 0; i < n; ++i) {
      Scalar growing(0);
      Scalar shrinking(0);
      for (Index j = 0; j < n; ++j) {
        if (j == i) continue;
        growing += pencil.a(j, i) + pencil.q(i, j);
        shrinking += pencil.a(i, j) + pencil.g(i, j);
      }
      growing = Scalar(2) * growing;
      shrinking = Scalar(2) * shrinking;
      const Scalar q = pencil.q(i, i);
      const Scalar g = pencil.g(i, i);
      // With t and its inverse.
      const auto sum = [&](const Scalar& t, const Scalar& inverse) -> Scalar {
        return floor + growing * t + shrinking * inverse + q * t * t + g * inverse * inverse;
      };
      // The sum is convex in log t, so a walk downhill by factors of two finds the best power of two.
      Scalar t(1);
      Scalar inverse(1);
      Scalar least = sum(t, inverse);
      for (const double factor : {2.0, 0.5}) {
        const Scalar up = Lane::number(factor);
        const Scalar down = Lane::number(1 / factor);
        for (;;) {
          const Scalar next = t * up;
          const Scalar next_inverse = inverse * down;
          const Scalar trial = sum(next, next_inverse);
          const Scalar scale = scales(i, 0) * next;
          const MaskOf<Scalar> better =
              sound && trial < Lane::number(0.95) * least && scale <= largest && scale >= smallest;
          if (!Lane::any(better)) break;
          t = Lane::select(better, next, t);
          inverse = Lane::select(better, next_inverse, inverse);
          least = Lane::select(better, trial, least);
        }
      }
      const MaskOf<Scalar> moved = t != Scalar(1);
      if (!Lane::any(moved)) continue;
      changed = changed || moved;
      pencil.scale(i, t);
      scales(i, 0) = scales(i, 0) * t;
    }
  }
  const MaskOf<Scalar> pays = sound && pencil.total() < Lane::number(0.5) * before;
  for (Index i = 0; i < n; ++i) scales(i, 0) = Lane::select(pays, scales(i, 0), Scalar(1));
  return scales;
}

/// The power of two d for which d^2 x is at least 1/2 and below 2, for positive normal x; else 1.
inline double inverse_root_power(double x) {
  if (!(x >= std::numeric_limits<double>::min() && x <= std::numeric_limits<double>::max())) return 1;
  // From the bits of the exponent: frexp and ldexp take longer than all the rest.
  constexpr int digits = std::numeric_limits<double>::digits - 1;
  constexpr std::uint64_t bias = std::numeric_limits<double>::max_exponent - 1;
  static_assert(std::numeric_limits<double>::is_iec559 && sizeof(double) == sizeof(std::uint64_t));
  const std::uint64_t exponent = std::bit_cast<std::uint64_t>(x) >> digits;
  return std::bit_cast<double>((bias + (bias + 1) / 2 - (exponent + 2) / 2) << digits);
}

/// Powers of two d for which D P D has diagonal entries between 1/2 and 2; 1 where P_ii is not positive.
/// Among diagonal scalings this is nearly the best for the condition of P (van der Sluis, Numer. Math. 14,
/// 1969), and hence for the norm of a closed loop F with F'PF <= P.
template <MatrixBackend Backend>
typename Backend::StateVector unit_diagonal_scales(const typename Backend::StateMatrix& P) {
  using Scalar = typename Backend::Scalar;
  using Lane = LaneTraits<Scalar>;
  typename Backend::StateVector scales = unit_scales<Backend>(Backend::rows(P));
  for (Index i = 0; i < Backend::rows(P); ++i) {
    scales(i, 0) = Lane::make([&P, i](Index lane) {
      return static_cast<typename Lane::Value>(inverse_root_power(lane_to_double<Backend>(P(i, i), lane)));
    });
  }
  return scales;
}

}  // namespace metalqr::inline METALQR_ABI::detail
