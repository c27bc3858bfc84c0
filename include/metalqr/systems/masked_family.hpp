#pragma once

/// @file
/// Families around a nominal task by scaled masks.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <utility>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/check.hpp>
#include <metalqr/core/error.hpp>
#include <metalqr/core/random.hpp>
#include <metalqr/lqr/task.hpp>
#include <metalqr/systems/family.hpp>

namespace metalqr::inline METALQR_ABI::systems {

/// What the masks are multiplied with; level is that of the matrix.
enum class ScalarDistribution {
  uniform,     ///< U(0, level)
  half_normal  ///< level |N(0, 1)|
};

/// What the scalars multiply. Q and R masks are symmetric positive semidefinite, so that the costs stay
/// valid.
template <MatrixBackend Backend>
struct Masks {
  typename Backend::StateMatrix A;    ///< n_x x n_x
  typename Backend::InputMatrix B;    ///< n_x x n_u
  typename Backend::StateMatrix Q;    ///< n_x x n_x
  typename Backend::ControlMatrix R;  ///< n_u x n_u
};

/// The masks of arXiv 2404.09061, section 5: diag(1, ..., n_x) for A, ones for B, 2 I for Q and R.
template <MatrixBackend Backend>
Masks<Backend> published_masks(Index nx, Index nu) {
  using Scalar = typename Backend::Scalar;
  Masks<Backend> masks{.A = Backend::zero_state_matrix(nx),
                       .B = Backend::zero_input_matrix(nx, nu),
                       .Q = Backend::zero_state_matrix(nx),
                       .R = Backend::zero_control_matrix(nu)};
  for (Index i = 0; i < nx; ++i) {
    masks.A(i, i) = static_cast<Scalar>(static_cast<double>(i + 1));
    masks.Q(i, i) = Scalar(2);
    for (Index j = 0; j < nu; ++j) masks.B(i, j) = Scalar(1);
  }
  for (Index i = 0; i < nu; ++i) masks.R(i, i) = Scalar(2);
  return masks;
}

/// What `masked_family` draws.
template <MatrixBackend Backend>
struct MaskedFamily {
  Index count = 10;     ///< number of tasks, the nominal one included
  Levels level = 0.01;  ///< size of the scalars, for each matrix
  ScalarDistribution distribution = ScalarDistribution::uniform;  ///< of the scalars
  std::optional<Masks<Backend>> masks{};                          ///< default: `published_masks`
  int max_redraws = 10000;                                        ///< redraws of one plant before giving up
  std::optional<typename Backend::Gain>
      must_be_stabilised_by{};  ///< redraw plants that this gain (n_u x n_x) loses
};

/// A family as in arXiv 2404.09061, section 5 (and in the report of Toso et al., L4DC 2024): A + a_i Z_A, B +
/// b_i Z_B, Q + q_i Z_Q, R + r_i Z_R with masks Z and independent random scalars a_i, b_i, q_i, r_i >= 0.
/// Task 0 is the nominal task; all tasks have its Sigma0. Task i depends on the seed and i alone, not on
/// `count` or the other tasks.
/// @throws InvalidOption; DimensionMismatch, NotFinite for bad masks; these and NotStabilizing for a bad
/// `must_be_stabilised_by`; NotStabilizable after `max_redraws`; NotPositiveDefinite if a mask spoils Q or R.
template <MatrixBackend Backend>
Family<Backend> masked_family(const Task<Backend>& nominal,
                              const std::type_identity_t<MaskedFamily<Backend>>& options,
                              std::uint64_t seed) {
  using Scalar = typename Backend::Scalar;
  namespace common = metalqr::detail;
  const Index nx = nominal.nx();
  const Index nu = nominal.nu();
  detail::require_generator(options.count, options.level, options.max_redraws);
  const Masks<Backend> masks = options.masks ? *options.masks : published_masks<Backend>(nx, nu);
  common::require_shape<Backend>(masks.A, nx, nx, "masks.A");
  common::require_shape<Backend>(masks.B, nx, nu, "masks.B");
  common::require_shape<Backend>(masks.Q, nx, nx, "masks.Q");
  common::require_shape<Backend>(masks.R, nu, nu, "masks.R");
  common::require_finite<Backend>(masks.A, "masks.A");
  common::require_finite<Backend>(masks.B, "masks.B");
  common::require_finite<Backend>(masks.Q, "masks.Q");
  common::require_finite<Backend>(masks.R, "masks.R");
  const auto& K = options.must_be_stabilised_by;
  if (K) detail::require_stabilises_nominal(nominal, *K);

  Family<Backend> family;
  family.tasks.reserve(static_cast<std::size_t>(options.count));
  family.tasks.push_back(nominal);
  for (std::size_t i = 1; i < static_cast<std::size_t>(options.count); ++i) {
    const auto scalar = [&](double level, std::uint64_t matrix, int attempt) {
      Stream stream(StreamKey{.seed = seed,
                              .purpose = Purpose::tasks,
                              .iteration = static_cast<std::uint64_t>(attempt),
                              .task = i,
                              .sample = matrix});
      const bool uniform = options.distribution == ScalarDistribution::uniform;
      return static_cast<Scalar>(level * (uniform ? stream.uniform() : std::abs(stream.normal())));
    };
    const typename Backend::StateMatrix Q = nominal.Q() + scalar(options.level.Q, 2, 0) * masks.Q;
    const typename Backend::ControlMatrix R = nominal.R() + scalar(options.level.R, 3, 0) * masks.R;
    for (int redraws = 0;; ++redraws) {
      const typename Backend::StateMatrix A = nominal.A() + scalar(options.level.A, 0, redraws) * masks.A;
      const typename Backend::InputMatrix B = nominal.B() + scalar(options.level.B, 1, redraws) * masks.B;
      Task<Backend> task = detail::member(nominal, A, B, Q, R, i);
      if (!K || is_stabilizing(task, *K)) {
        family.tasks.push_back(std::move(task));
        break;
      }
      ++family.destabilised;
      if (redraws == options.max_redraws) detail::give_up_stabilising(i, redraws);
    }
  }
  return family;
}

}  // namespace metalqr::inline METALQR_ABI::systems
