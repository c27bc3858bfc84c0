#pragma once

/// @file
/// Families around a nominal task by random directions with a pairwise bound.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <metalqr/core/backend.hpp>
#include <metalqr/core/error.hpp>
#include <metalqr/core/random.hpp>
#include <metalqr/equations/spectral_norm.hpp>
#include <metalqr/lqr/task.hpp>
#include <metalqr/systems/family.hpp>

namespace metalqr::inline METALQR_ABI::systems {

/// What `perturbed_family` draws.
template <MatrixBackend Backend>
struct PerturbedFamily {
  Index count = 10;     ///< number of tasks, the nominal one (task 0) included
  Levels level = 0.01;  ///< bound on the spectral-norm distance of any two tasks, for each matrix
  double relative_size =
      0.6;                  ///< distance of every drawn matrix from the nominal one, as a share of its level
  int max_redraws = 10000;  ///< redraws of one matrix, and of one plant, before giving up
  std::optional<typename Backend::Gain>
      must_be_stabilised_by{};  ///< redraw plants that this gain (n_u x n_x) loses
  /// Draw the tasks first ... first + count - 1 of the family alone: not 0 only where `relative_size` is
  /// below 1/2, as tasks then do not depend on those before. Then `count` may be 0, for an empty family.
  Index first = 0;
};

namespace detail {

/// Draws one matrix of the tasks of a family after another.
template <MatrixBackend Backend, class X>
class DirectionSource {
 public:
  using Scalar = typename Backend::Scalar;

  DirectionSource(const X& nominal, const char* name, double level, bool symmetric,
                  const PerturbedFamily<Backend>& options, const StreamKey& key)
      : name_(name),
        level_(static_cast<Scalar>(level)),
        size_(static_cast<Scalar>(options.relative_size) * level_),
        symmetric_(symmetric),
        bound_is_certain_(2 * options.relative_size < 1),
        max_redraws_(options.max_redraws),
        key_(key),
        accepted_{nominal} {}

  /// A matrix for `task` that keeps the pairwise bound with all matrices that were kept; `attempt` counts up.
  X draw(std::size_t task, std::uint64_t& attempt, Index& redrawn) const {
    if (!(level_ > Scalar(0))) return accepted_.front();
    for (int redraws = 0;; ++redraws) {
      StreamKey key = key_.with_task(task);
      key.iteration = attempt++;
      X candidate = accepted_.front() + direction(key);
      if (keeps_bound(candidate)) return candidate;
      ++redrawn;
      if (redraws == max_redraws_) {
        throw NoConvergence(std::string("level: no ") + name_ + " within the pairwise bound after " +
                            std::to_string(redraws) + " redraws (max_redraws) of task " +
                            std::to_string(task) + "; lower relative_size");
      }
    }
  }
  /// Makes `x` bind the matrices to come.
  void keep(const X& x) {
    if (!bound_is_certain_) accepted_.push_back(x);
  }

 private:
  X direction(const StreamKey& key) const {
    Stream stream(key);
    X G = Backend::zero_like(accepted_.front());
    if (Backend::rows(G) * Backend::cols(G) == 1) {
      // A number has only two directions, of which the pairwise bound leaves one: its size is drawn instead.
      G(0, 0) = size_ * static_cast<Scalar>(stream.uniform(-1, 1));
      return G;
    }
    fill_normal<Backend>(G, stream);
    if constexpr (std::is_same_v<X, typename Backend::StateMatrix> ||
                  std::is_same_v<X, typename Backend::ControlMatrix>) {
      if (symmetric_) G = Backend::symmetrised(G);
    }
    return (size_ / spectral_norm<Backend>(G)) * G;
  }
  bool keeps_bound(const X& candidate) const {
    if (bound_is_certain_) return true;
    return std::all_of(accepted_.begin(), accepted_.end(), [&](const X& other) {
      const X difference = candidate - other;
      return spectral_norm<Backend>(difference) < level_;
    });
  }

  const char* name_;
  Scalar level_;
  Scalar size_;
  bool symmetric_;
  bool bound_is_certain_;  // by the triangle inequality
  int max_redraws_;
  StreamKey key_;
  std::vector<X> accepted_;
};

}  // namespace detail

/// A family as in the code of Toso et al., L4DC 2024: each matrix of a task is the nominal one plus a
/// Gaussian direction (symmetrised for Q and R) scaled to the spectral norm 0.6 level, drawn again until its
/// distance from that of every earlier task is below the level; a 1 x 1 matrix is uniform within 0.6 level.
/// O(count^2) distances, none if `relative_size` is below 1/2, where the bound holds by itself. Task 0 is the
/// nominal task; all tasks have its Sigma0. Task i depends on the seed and the tasks before it alone, so a
/// larger family begins with the smaller one. Cost and plant are drawn from streams of their own: two
/// families that differ in the levels of Q and R alone have the same plants.
/// @throws InvalidOption; DimensionMismatch, NotFinite, NotStabilizing for a bad `must_be_stabilised_by`;
/// NotStabilizable, NoConvergence after `max_redraws`; NotPositiveDefinite if a level is too large for Q or
/// R.
template <MatrixBackend Backend>
Family<Backend> perturbed_family(const Task<Backend>& nominal,
                                 const std::type_identity_t<PerturbedFamily<Backend>>& options,
                                 std::uint64_t seed) {
  const bool is_empty = options.count == 0 && options.first > 0;
  detail::require_generator(is_empty ? 1 : options.count, options.level, options.max_redraws);
  metalqr::detail::require_option(options.relative_size > 0 && options.relative_size < 1, "relative_size",
                                  options.relative_size, "a number in (0, 1)");
  metalqr::detail::require_option(options.first >= 0, "first", static_cast<double>(options.first),
                                  "a number >= 0");
  metalqr::detail::require_option(options.first == 0 || 2 * options.relative_size < 1, "relative_size",
                                  options.relative_size, "a number below 1/2 where first is not 0");
  const auto& K = options.must_be_stabilised_by;
  if (K) detail::require_stabilises_nominal(nominal, *K);

  using StateMatrix = typename Backend::StateMatrix;
  using InputMatrix = typename Backend::InputMatrix;
  using ControlMatrix = typename Backend::ControlMatrix;
  const StreamKey key{.seed = seed, .purpose = Purpose::tasks};
  const Levels& level = options.level;
  detail::DirectionSource<Backend, StateMatrix> A(nominal.A(), "A", level.A, false, options,
                                                  key.with_sample(0));
  detail::DirectionSource<Backend, InputMatrix> B(nominal.B(), "B", level.B, false, options,
                                                  key.with_sample(1));
  detail::DirectionSource<Backend, StateMatrix> Q(nominal.Q(), "Q", level.Q, true, options,
                                                  key.with_sample(2));
  detail::DirectionSource<Backend, ControlMatrix> R(nominal.R(), "R", level.R, true, options,
                                                    key.with_sample(3));

  Family<Backend> family;
  family.tasks.reserve(static_cast<std::size_t>(options.count));
  const auto first = static_cast<std::size_t>(options.first);
  if (first == 0) family.tasks.push_back(nominal);
  for (std::size_t i = std::max(first, std::size_t{1}); i < first + static_cast<std::size_t>(options.count);
       ++i) {
    std::uint64_t attempts[4] = {};
    const StateMatrix Qi = Q.draw(i, attempts[2], family.redrawn);
    const ControlMatrix Ri = R.draw(i, attempts[3], family.redrawn);
    for (int redraws = 0;; ++redraws) {
      const StateMatrix Ai = A.draw(i, attempts[0], family.redrawn);
      const InputMatrix Bi = B.draw(i, attempts[1], family.redrawn);
      Task<Backend> task = detail::member(nominal, Ai, Bi, Qi, Ri, i);
      if (!K || is_stabilizing(task, *K)) {
        A.keep(Ai);
        B.keep(Bi);
        family.tasks.push_back(std::move(task));
        break;
      }
      ++family.destabilised;
      if (redraws == options.max_redraws) detail::give_up_stabilising(i, redraws);
    }
    Q.keep(Qi);
    R.keep(Ri);
  }
  return family;
}

}  // namespace metalqr::inline METALQR_ABI::systems
