#pragma once

/// @file
/// What the tasks contribute to an iteration of meta-training, and its sum.

#include <cstddef>
#include <limits>
#include <string>

#include <metalqr/meta/direction.hpp>

namespace metalqr::inline METALQR_ABI::meta::detail {

/// Sum of what tasks contribute to the direction. `write` and `read` are for an `OrderedSum` whose parts
/// come from several processes.
template <class Backend>
struct DirectionSum {
  using Gain = typename Backend::Gain;

  Gain directions;  // n_u x n_x
  Gain gradients;   // n_u x n_x
  int usable = 0;
  int reductions = 0;
  int inner_points_unstable = 0;
  int lost = 0;                    // tasks whose cost at the iterate was asked for and is infinite
  double smallest_inner_step = 0;  // 0: none
  Index unstable_probes = 0;
  zeroth_order::OracleCalls calls{};

  explicit DirectionSum(const Gain& K)
      : directions(Backend::zero_like(K)), gradients(Backend::zero_like(K)) {}

  void add(const TaskDirection<Backend>& part) {
    add(part.calls);
    unstable_probes += part.unstable_probes;
    inner_points_unstable += part.inner_point_unstable ? 1 : 0;
    reductions += part.reductions;
    add_inner_step(part.inner_step);
    if (!part.usable) return;
    directions += part.direction;
    gradients += part.gradient;
    ++usable;
  }
  DirectionSum& operator+=(const DirectionSum& other) {
    add(other.calls);
    unstable_probes += other.unstable_probes;
    inner_points_unstable += other.inner_points_unstable;
    reductions += other.reductions;
    lost += other.lost;
    add_inner_step(other.smallest_inner_step);
    directions += other.directions;
    gradients += other.gradients;
    usable += other.usable;
    return *this;
  }

  template <class Writer>
  void write(Writer& out) const {
    out.template put_entries<Backend>(directions);
    out.template put_entries<Backend>(gradients);
    for (const int number : {usable, reductions, inner_points_unstable, lost}) out.put(number);
    out.put(smallest_inner_step);
    for (const Index number :
         {unstable_probes, calls.probes, calls.base, calls.assessments, calls.curvature}) {
      out.put(number);
    }
  }
  template <class Reader>
  void read(Reader& in) {
    in.template get_entries<Backend>(directions);
    in.template get_entries<Backend>(gradients);
    for (int* number : {&usable, &reductions, &inner_points_unstable, &lost})
      *number = in.template get<int>();
    smallest_inner_step = in.template get<double>();
    for (Index* number :
         {&unstable_probes, &calls.probes, &calls.base, &calls.assessments, &calls.curvature}) {
      *number = in.template get<Index>();
    }
  }

 private:
  void add(const zeroth_order::OracleCalls& others) {
    calls.probes += others.probes;
    calls.base += others.base;
    calls.assessments += others.assessments;
    calls.curvature += others.curvature;
  }
  void add_inner_step(double eta) {
    if (eta > 0 && (smallest_inner_step == 0 || eta < smallest_inner_step)) smallest_inner_step = eta;
  }
};

/// What is known of the tasks' costs at a gain.
template <class Scalar>
struct CostSum {
  Scalar mean{};                                            // sum of the costs over the number of all tasks
  Scalar worst = -std::numeric_limits<Scalar>::infinity();  // largest
  int infinite = 0;                                         // costs that are not finite
  int above_start = 0;                                      // costs above those at the start

  /// The cost of one of `tasks` tasks, and that at the start.
  void add(const Scalar& cost, const Scalar& at_start, std::size_t tasks) {
    mean += cost / static_cast<Scalar>(static_cast<double>(tasks));
    if (worst < cost) worst = cost;
    infinite += cost < std::numeric_limits<Scalar>::infinity() ? 0 : 1;
    above_start += cost <= at_start ? 0 : 1;
  }
  CostSum& operator+=(const CostSum& other) {
    mean += other.mean;
    if (worst < other.worst) worst = other.worst;
    infinite += other.infinite;
    above_start += other.above_start;
    return *this;
  }

  template <class Writer>
  void write(Writer& out) const {
    out.put(mean);
    out.put(worst);
    out.put(infinite);
    out.put(above_start);
  }
  template <class Reader>
  void read(Reader& in) {
    mean = in.template get<Scalar>();
    worst = in.template get<Scalar>();
    infinite = in.template get<int>();
    above_start = in.template get<int>();
  }
};

/// Throws `NotStabilizing`: K0 loses the task.
[[noreturn]] inline void throw_lost_start(std::size_t task) {
  throw NotStabilizing("K0: expected a gain that stabilizes every task, the cost of task " +
                           std::to_string(task) + " is infinite",
                       std::numeric_limits<double>::infinity());
}

}  // namespace metalqr::inline METALQR_ABI::meta::detail
