#pragma once

/// @file
/// The trials of the parametric bootstrap: experiments on a known plant, several at a time, and the errors of
/// least squares on them.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <metalqr/core/lane_matrix.hpp>
#include <metalqr/core/pack_product.hpp>
#include <metalqr/core/random.hpp>
#include <metalqr/identification/excitation.hpp>
#include <metalqr/identification/mixed_rollouts.hpp>

namespace metalqr::inline METALQR_ABI::identification::detail {

/// The largest singular value of `count` rows of X, to 1e-12 relative: from the Gram matrix G, which
/// repeated squaring makes a projector S onto the eigenvectors that count, as tr(S G)/tr(S).
template <MatrixBackend Lanes>
typename Lanes::Scalar norm_of_rows(const typename Lanes::Matrix& x, Index first, Index count) {
  using std::sqrt;
  using Pack = typename Lanes::Scalar;
  using Matrix = typename Lanes::Matrix;
  constexpr int squarings = 40;
  const Index cols = Lanes::cols(x);
  Matrix rows = Lanes::zero_matrix(count, cols);
  for (Index j = 0; j < cols; ++j) {
    for (Index i = 0; i < count; ++i) rows(i, j) = x(first + i, j);
  }
  const Matrix gram =
      count <= cols ? Lanes::product_transpose(rows, rows) : Lanes::transpose_product(rows, rows);
  const Pack size = Lanes::trace(gram);
  const auto nonzero = size > Pack(0);
  Matrix power = gram;
  for (int k = 0; k < squarings && Lanes::rows(gram) > 1; ++k) {
    power = power / Lanes::trace(power);
    const Matrix square = Lanes::transpose_product(power, power);
    power = square;
  }
  const Pack largest = Lanes::inner(power, gram) / Lanes::trace(power);
  return LaneTraits<Pack>::select(nonzero, sqrt(largest), Pack(0));
}

/// Trials in the lanes of a pack, of rollouts that are mixed or as they were recorded.
template <FactoringBackend Backend, class Rollouts = MixedRollouts<typename Backend::Scalar>>
class BootstrapTrials {
 public:
  using Scalar = typename Backend::Scalar;
  using Lanes = LanesOf<Backend>;
  using Pack = typename Lanes::Scalar;
  static constexpr Index lanes = LaneTraits<Pack>::count;

  /// Experiments with feedback K (n_u x n_x), random inputs of standard deviation `excitation` (recorded ones
  /// times `excitation`) and process noise of standard deviation `noise`. `factor` is the triangular factor
  /// of regressors like the trials' (of the data): in its coordinates they are of size one and uncorrelated,
  /// so that their normal equations lose nothing. Any other invertible one gives the same up to rounding.
  BootstrapTrials(const typename Backend::StateMatrix& A, const typename Backend::InputMatrix& B,
                  const typename Backend::Gain& K, const typename Backend::Matrix& factor, double excitation,
                  double noise, const std::vector<Rollouts>& rollouts)
      : nx_(Backend::rows(A)),
        nu_(Backend::cols(B)),
        excitation_(LaneTraits<Pack>::number(excitation)),
        noise_(LaneTraits<Pack>::number(noise)),
        rollouts_(&rollouts) {
    for (Index i = 0; i < nx_; ++i) {
      for (Index j = 0; j < nx_; ++j) plant_.push_back(Pack(A(i, j)));
      for (Index j = 0; j < nu_; ++j) plant_.push_back(Pack(B(i, j)));
    }
    for (Index i = 0; i < nu_; ++i) {
      for (Index j = 0; j < nx_; ++j) {
        gain_.push_back(Pack(K(i, j)));
        has_feedback_ = has_feedback_ || K(i, j) != Scalar(0);
      }
    }
    const typename Backend::Matrix inverse = Backend::solve(factor, Backend::identity_like(factor));
    for (Index i = 0; i < nx_ + nu_; ++i) {
      for (Index j = 0; j <= i; ++j) whitening_.push_back(Pack(inverse(j, i)));
    }
  }

  /// Writes the spectral norms of the errors of A and B in `lanes` trials, each of which draws from the
  /// stream of `key` with its number as the sample; +infinity where the trial does not determine the plant.
  /// `sizes`, if given, gets the mean squares of the regressors in the coordinates of `factor`.
  void run(Index first, const StreamKey& key, Scalar* errors_A, Scalar* errors_B,
           Scalar* sizes = nullptr) const {
    using Matrix = typename Lanes::Matrix;
    const Index size = nx_ + nu_;
    std::vector<Stream> streams;
    for (Index lane = 0; lane < lanes; ++lane) {
      streams.emplace_back(key.with_sample(static_cast<std::uint64_t>(first + lane)));
    }
    Sums sums;
    sums.squares.assign(static_cast<std::size_t>(size * (size + 1) / 2), Pack(0));
    sums.mixed.assign(static_cast<std::size_t>(size * nx_), Pack(0));
    for (const Rollouts& rollouts : *rollouts_) simulate(rollouts, streams, sums);
    Matrix squares = Lanes::zero_matrix(size, size);
    Matrix mixed = Lanes::zero_matrix(size, nx_);
    std::size_t next = 0;
    for (Index j = 0; j < size; ++j) {
      for (Index i = j; i < size; ++i) squares(i, j) = squares(j, i) = sums.squares[next++];
      for (Index i = 0; i < nx_; ++i) mixed(j, i) = sums.mixed[static_cast<std::size_t>(j * nx_ + i)];
    }
    const auto determined = is_determined(squares);
    const Matrix white = Lanes::solve_spd(squares, mixed);
    Matrix errors = Lanes::zero_matrix(size, nx_);
    next = 0;
    for (Index i = 0; i < size; ++i) {
      for (Index j = 0; j <= i; ++j, ++next) {
        for (Index k = 0; k < nx_; ++k) errors(j, k) += whitening_[next] * white(i, k);
      }
    }
    const Pack norm_A = LaneTraits<Pack>::select(determined, norm_of_rows<Lanes>(errors, 0, nx_), infinity());
    const Pack norm_B =
        LaneTraits<Pack>::select(determined, norm_of_rows<Lanes>(errors, nx_, nu_), infinity());
    const Pack mean_square = Lanes::trace(squares) / LaneTraits<Pack>::number(static_cast<double>(size));
    for (Index lane = 0; lane < lanes; ++lane) {
      if (sizes != nullptr) sizes[lane] = LaneTraits<Pack>::get(mean_square, lane);
      errors_A[lane] = LaneTraits<Pack>::get(norm_A, lane);
      errors_B[lane] = LaneTraits<Pack>::get(norm_B, lane);
    }
  }

 private:
  struct Sums {
    std::vector<Pack> squares;  ///< of y y', y = R'^-1 z, the columns of the lower triangle
    std::vector<Pack> mixed;    ///< of w y', column after column
  };

  static Pack infinity() { return LaneTraits<Pack>::infinity(); }

  /// Whether Z'Z, with its diagonal scaled to one, has eigenvalues above its rounding.
  static MaskOf<Pack> is_determined(const typename Lanes::Matrix& squares) {
    using std::sqrt;
    const Index size = Lanes::rows(squares);
    const Pack rounding = LaneTraits<Pack>::number(16.0 * static_cast<double>(size)) * Lanes::epsilon();
    typename Lanes::Matrix scaled = squares;
    for (Index j = 0; j < size; ++j) {
      for (Index i = 0; i < size; ++i) scaled(i, j) = squares(i, j) / sqrt(squares(i, i) * squares(j, j));
      scaled(j, j) = scaled(j, j) - rounding;
    }
    return Lanes::is_positive_definite(scaled);
  }

  /// Adds what the mixed rollouts contribute.
  void simulate(const MixedRollouts<Scalar>& rollouts, std::vector<Stream>& streams, Sums& sums) const {
    const Index size = nx_ + nu_;
    const Index numbers = rollouts.steps * size;
    const Index dense = static_cast<Index>(rollouts.initial.size()) / nx_;
    // The last numbers of a rollout are noise that no regressor has seen.
    const Index late = std::min(numbers - nx_, rollouts.count - dense);
    std::vector<Pack> drawn(static_cast<std::size_t>(numbers));
    std::vector<Pack> x(static_cast<std::size_t>(nx_));
    const auto draw = [&](Index from) {
      for (Index i = from; i < numbers; i += 2) {
        const NormalPair<Pack> pair = draw_normals<Pack>(streams);
        drawn[static_cast<std::size_t>(i)] = pair.first;
        if (i + 1 < numbers) drawn[static_cast<std::size_t>(i + 1)] = pair.second;
      }
    };
    for (Index i = 0; i < dense; ++i) {
      for (Index j = 0; j < nx_; ++j) {
        x[static_cast<std::size_t>(j)] = Pack(rollouts.initial[static_cast<std::size_t>(i * nx_ + j)]);
      }
      draw(0);
      follow(0, rollouts.steps, drawn, x, sums);
    }
    for (Index i = 0; i < late; ++i) {
      std::fill(x.begin(), x.end(), Pack(0));
      if (i > 0) drawn[static_cast<std::size_t>(i - 1)] = Pack(0);
      drawn[static_cast<std::size_t>(i)] = LaneTraits<Pack>::make([&](Index lane) {
        return static_cast<Scalar>(
            draw_chi(rollouts.count - dense - i, streams[static_cast<std::size_t>(lane)]));
      });
      draw(i + 1);
      follow(i / size, rollouts.steps, drawn, x, sums);
    }
  }

  /// Adds what a recorded rollout contributes with noise of its own.
  void simulate(const RecordedRollout<Scalar>& rollout, std::vector<Stream>& streams, Sums& sums) const {
    const Index size = nx_ + nu_;
    std::vector<Pack> numbers(static_cast<std::size_t>(rollout.steps * size));
    Index spare = -1;
    for (Index t = 0; t < rollout.steps; ++t) {
      for (Index i = 0; i < nu_; ++i)
        numbers[static_cast<std::size_t>(t * size + i)] =
            Pack(rollout.excitation[static_cast<std::size_t>(t * nu_ + i)]);
      for (Index i = t * size + nu_; i < (t + 1) * size; ++i) {
        if (spare < 0) {
          spare = i;
          continue;
        }
        const NormalPair<Pack> pair = draw_normals<Pack>(streams);
        numbers[static_cast<std::size_t>(spare)] = pair.first;
        numbers[static_cast<std::size_t>(i)] = pair.second;
        spare = -1;
      }
    }
    if (spare >= 0) numbers[static_cast<std::size_t>(spare)] = draw_normals<Pack>(streams).first;
    std::vector<Pack> x;
    for (const Scalar& value : rollout.initial) x.push_back(Pack(value));
    follow(0, rollout.steps, numbers, x, sums);
  }

  /// One rollout from x at time `begin` on.
  void follow(Index begin, Index end, const std::vector<Pack>& drawn, std::vector<Pack>& x,
              Sums& sums) const {
    using metalqr::detail::multiply_add;
    const Index size = nx_ + nu_;
    std::vector<Pack> z(static_cast<std::size_t>(size));
    std::vector<Pack> white(static_cast<std::size_t>(size));
    std::vector<Pack> w(static_cast<std::size_t>(nx_));
    for (Index t = begin; t < end; ++t) {
      const Pack* numbers = drawn.data() + t * size;
      for (Index i = 0; i < nx_; ++i) {
        z[static_cast<std::size_t>(i)] = x[static_cast<std::size_t>(i)];
        w[static_cast<std::size_t>(i)] = noise_ * numbers[nu_ + i];
      }
      for (Index i = 0; i < nu_; ++i) {
        Pack u = excitation_ * numbers[i];
        if (has_feedback_) {
          for (Index j = 0; j < nx_; ++j) {
            u = u - gain_[static_cast<std::size_t>(i * nx_ + j)] * x[static_cast<std::size_t>(j)];
          }
        }
        z[static_cast<std::size_t>(nx_ + i)] = u;
      }
      const Pack* weight = whitening_.data();
      for (Index i = 0; i < size; ++i) {
        Pack sum(0);
        for (Index j = 0; j <= i; ++j, ++weight) {
          sum = multiply_add(*weight, z[static_cast<std::size_t>(j)], sum);
        }
        white[static_cast<std::size_t>(i)] = sum;
      }
      Pack* square = sums.squares.data();
      Pack* mixed = sums.mixed.data();
      for (Index j = 0; j < size; ++j) {
        const Pack zj = white[static_cast<std::size_t>(j)];
        for (Index i = j; i < size; ++i, ++square) {
          *square = multiply_add(white[static_cast<std::size_t>(i)], zj, *square);
        }
        for (Index i = 0; i < nx_; ++i, ++mixed) {
          *mixed = multiply_add(w[static_cast<std::size_t>(i)], zj, *mixed);
        }
      }
      if (t + 1 == end) return;
      const Pack* row = plant_.data();
      for (Index i = 0; i < nx_; ++i) {
        Pack next = w[static_cast<std::size_t>(i)];
        for (Index j = 0; j < size; ++j, ++row) {
          next = multiply_add(*row, z[static_cast<std::size_t>(j)], next);
        }
        x[static_cast<std::size_t>(i)] = next;
      }
    }
  }

  Index nx_;
  Index nu_;
  Pack excitation_;
  Pack noise_;
  bool has_feedback_ = false;
  std::vector<Pack> plant_;      ///< [A B], row after row
  std::vector<Pack> gain_;       ///< K, row after row
  std::vector<Pack> whitening_;  ///< R'^-1, the rows of the lower triangle
  const std::vector<Rollouts>* rollouts_;
};

}  // namespace metalqr::inline METALQR_ABI::identification::detail
