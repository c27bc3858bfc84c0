#pragma once

/// @file
/// The direction of one task in one iteration of meta-training.

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include <metalqr/meta/options.hpp>
#include <metalqr/meta/state.hpp>

namespace metalqr::inline METALQR_ABI::meta::detail {

/// What one task contributes to an iteration.
template <class Backend>
struct TaskDirection {
  typename Backend::Gain direction;            // n_u x n_x
  typename Backend::Gain gradient;             // g_i(K)
  typename Backend::Gain curvature_direction;  // for the next iteration's power iteration
  double inner_step = 0;                       // eta_l that was used
  bool usable = false;                         // false: an unstable point was met
  bool unstable = false;                       // no probe around K has a finite cost
  bool inner_point_unstable = false;
  int reductions = 0;
  Index unstable_probes = 0;
  zeroth_order::OracleCalls calls;
};

/// Labels of the random streams of one task and iteration, so that each estimate has its own.
enum Stage : std::uint64_t {
  outer_stage = 1000,
  curvature_stage = 2000,
  product_stage = 3000,
  check_stage = 4000,
  inner_stage = 5000  // and on: one for each inner step after the first
};

template <zeroth_order::Fleet Fleet>
class TaskStep {
 public:
  using Backend = typename Fleet::Backend;
  using Gain = typename Backend::Gain;
  using Scalar = typename Backend::Scalar;

  /// @param task its number in the fleet, which may be part of a larger one.
  /// @param key of its random numbers; carries its number in the larger fleet.
  TaskStep(const Fleet& fleet, const Options& options, std::size_t task, const StreamKey& key)
      : fleet_(fleet), options_(options), task_(task), key_(key) {}

  /// @param cost J_i(K) if it is known.
  /// @param eta eta_l to try first; 0: none known yet.
  /// @param known the gradient at K if it is known.
  TaskDirection<Backend> run(const Gain& K, std::optional<Scalar> cost, double eta,
                             const Gain* curvature_direction,
                             const zeroth_order::GradientEstimate<Backend>* known) {
    out_.direction = Backend::zero_like(K);
    out_.gradient = out_.direction;
    out_.curvature_direction = out_.direction;
    if (options_.order == Order::printed) {
      run_as_printed(K, eta);
    } else {
      Gain g = Backend::zero_like(K);
      out_.unstable = known != nullptr ? !take(*known, g) : !gradient(K, key_, g);
      out_.gradient = g;
      if (options_.order == Order::average) {
        use(g);
      } else if (!out_.unstable) {
        if (options_.order == Order::second) {
          eta = limited_by_curvature(K, g, eta, cost, curvature_direction);
        }
        run_from(K, g, cost, eta);
      }
    }
    return std::move(out_);
  }

 private:
  void use(const Gain& direction) {
    out_.direction = direction;
    out_.usable = !out_.unstable;
  }

  // Inner steps from K, whose gradient is g, and the outer direction at their end.
  void run_from(const Gain& K, Gain g, std::optional<Scalar> cost, double eta) {
    std::vector<Gain> path{K};
    out_.inner_point_unstable = true;  // until the end of the path has a gradient
    for (int s = 0; s < options_.inner_steps; ++s) {
      if (s > 0 && !gradient(path.back(), point_key(static_cast<std::size_t>(s)), g)) return;
      std::optional<Gain> next = inner_step(path.back(), g, cost, eta);
      if (!next) return;
      path.push_back(std::move(*next));
    }
    out_.inner_step = eta;
    if (options_.order == Order::reptile) {
      out_.inner_point_unstable = false;
      use((K - path.back()) / static_cast<Scalar>(eta * options_.inner_steps));
      return;
    }
    if (!gradient(path.back(), key_.child(outer_stage), g)) return;
    out_.inner_point_unstable = false;
    if (options_.order == Order::second && !through_inner_steps(path, eta, g)) return;
    use(g);
  }

  // The chain rule through each inner step, last one first: g <- (I - eta_l H_i) g.
  bool through_inner_steps(const std::vector<Gain>& path, double eta, Gain& g) {
    for (std::size_t s = path.size() - 1; s-- > 0;) {
      const auto product = fleet_.hessian_product(task_, path[s], g, point_key(s).child(product_stage));
      out_.calls.curvature += product.calls;
      if (!product.usable) return false;
      g -= static_cast<Scalar>(eta) * product.product;
    }
    return true;
  }

  // Key of what is estimated at the point before inner step s.
  StreamKey point_key(std::size_t s) const { return s == 0 ? key_ : key_.child(inner_stage + s); }

  // Whether perturbations of K are not lost in its rounding, where a diverging step can lead.
  bool resolves(const Gain& K) const {
    if (!Backend::is_finite(K)) return false;
    if constexpr (requires { fleet_.options().radius; }) {
      return zeroth_order::detail::is_resolved<Backend>(fleet_.options().radius, K);
    }
    return true;
  }

  bool gradient(const Gain& K, const StreamKey& key, Gain& g) {
    return resolves(K) && take(fleet_.gradient(task_, K, key), g);
  }

  bool take(const zeroth_order::GradientEstimate<Backend>& estimate, Gain& g) {
    out_.calls.probes += estimate.calls;
    out_.unstable_probes += estimate.dropped + estimate.shrunk;
    g = estimate.gradient;
    return estimate.used > 0;
  }

  static double first_eta(const Scalar& cost, const Gain& K, const Gain& g) {
    return Backend::to_double(metalqr::detail::first_step<Backend>(cost, Backend::inner(g, g), K, g));
  }

  Scalar cost_at(const Gain& K) { return fleet_.cost(task_, K, assessment_key(options_, key_.task)); }

  // K - eta g, with eta halved until the cost falls if that is checked; nothing if no step does.
  std::optional<Gain> inner_step(const Gain& K, const Gain& g, std::optional<Scalar>& cost, double& eta) {
    if (!options_.check_inner_step) return Gain(K - static_cast<Scalar>(eta) * g);
    constexpr int max_halvings = 60;
    if (!cost) {
      cost = cost_at(K);
      ++out_.calls.base;
    }
    const Scalar squared = Backend::inner(g, g);
    if (!(squared > Scalar(0))) return K;
    if (!(eta > 0)) eta = first_eta(*cost, K, g);
    for (int halving = 0; halving < max_halvings; ++halving) {
      const Gain candidate = K - static_cast<Scalar>(eta) * g;
      const Scalar there = cost_at(candidate);
      ++out_.calls.assessments;
      // Along g a quadratic cost falls by at least eta |g|^2/2 exactly as long as its slope does not change
      // sign: then the inner gradient still points downhill at K.
      if (there <= *cost - static_cast<Scalar>(eta / 2) * squared) {
        cost = there;
        return candidate;
      }
      eta = eta / 2;
      ++out_.reductions;
    }
    return std::nullopt;
  }

  // Second order is used only where eta_l lambda_max(H_i(K)) is about 1/2 or below: beyond 1 the
  // meta-gradient points uphill. One power step an iteration underestimates lambda_max by a percent or so.
  double limited_by_curvature(const Gain& K, const Gain& g, double eta, const std::optional<Scalar>& cost,
                              const Gain* known_direction) {
    const bool known = known_direction != nullptr && Backend::norm(*known_direction) > Scalar(0);
    Gain v = known ? *known_direction : g;
    const int rounds = known ? 1 : 4;
    double largest = 0;
    for (int round = 0; round < rounds; ++round) {
      const Scalar size = Backend::norm(v);
      if (!(size > Scalar(0))) break;
      v = v / size;
      const auto product = fleet_.hessian_product(
          task_, K, v, key_.child(curvature_stage + static_cast<std::uint64_t>(round)));
      out_.calls.curvature += product.calls;
      if (!product.usable) break;
      v = product.product;
      largest = Backend::to_double(Backend::norm(v));
    }
    out_.curvature_direction = v;
    if (!(eta > 0) && cost) eta = first_eta(*cost, K, g);
    if (largest > 0 && (eta * largest > 0.5 || !(eta > 0))) {
      eta = 0.5 / largest;
      ++out_.reductions;
    }
    return eta;
  }

  void run_as_printed(const Gain& K, double eta) {
    if constexpr (requires { fleet_.oracle(task_); }) {
      const auto& estimator = fleet_.options();
      out_.unstable = !resolves(K);
      if (out_.unstable) return;
      const auto here = zeroth_order::estimate_as_printed<Backend>(fleet_.oracle(task_), K, estimator, key_,
                                                                   options_.repeat_base_cost);
      count(here.gradient, true);
      out_.unstable = here.gradient.used == 0;
      if (out_.unstable) return;
      out_.gradient = here.gradient.gradient;
      const Gain inner = K - static_cast<Scalar>(eta) * here.gradient.gradient;
      out_.inner_step = eta;
      out_.inner_point_unstable = !resolves(inner);
      if (out_.inner_point_unstable) return;
      zeroth_order::GradientEstimate<Backend> there;
      if (options_.repeat_base_cost) {
        // The notebooks estimate both quantities at the inner point as well, and use the gradient.
        there = zeroth_order::estimate_as_printed<Backend>(fleet_.oracle(task_), inner, estimator,
                                                           key_.child(outer_stage))
                    .gradient;
        count(there, true);
      } else {
        zeroth_order::EstimatorOptions sphere = estimator;
        sphere.directions = zeroth_order::Directions::sphere;
        sphere.points = zeroth_order::Points::two;
        there = zeroth_order::estimate_gradient<Backend>(fleet_.oracle(task_), inner, sphere,
                                                         key_.child(outer_stage));
        count(there, false);
      }
      if (there.used == 0) {
        out_.inner_point_unstable = true;
        return;
      }
      out_.direction =
          there.gradient - static_cast<Scalar>(eta) * Backend::product(here.hessian, there.gradient);
      out_.usable = true;
    } else {
      throw InvalidOption("order: expected average, first, second or reptile with models, got printed");
    }
  }

  void count(const zeroth_order::GradientEstimate<Backend>& estimate, bool with_base) {
    const Index samples = estimate.used + estimate.dropped;
    const Index base = !with_base ? 0 : options_.repeat_base_cost ? samples : 1;
    out_.calls.base += base;
    out_.calls.probes += estimate.calls - base;
    out_.unstable_probes += estimate.dropped + estimate.shrunk;
  }

  const Fleet& fleet_;
  const Options& options_;
  std::size_t task_;
  StreamKey key_;
  TaskDirection<Backend> out_;

 public:
  /// Costs that are compared with each other share their randomness.
  static StreamKey assessment_key(const Options& options, std::uint64_t task) {
    return StreamKey{.seed = options.seed, .task = task}.child(check_stage);
  }
};

}  // namespace metalqr::inline METALQR_ABI::meta::detail
