#pragma once

/// @file
/// Rules of aggregation: when the server updates the gain, which reports count, and how much.

#include <cmath>
#include <concepts>
#include <string>

#include <metalqr/core/check.hpp>
#include <metalqr/core/index.hpp>

namespace metalqr::inline METALQR_ABI::federated {

/// What a rule decides on.
struct Standing {
  Index reports = 0;  ///< received and not used yet
  Index working = 0;  ///< agents that are present and at work
  Index present = 0;  ///< agents that are present
};

/// A rule of aggregation: plain data with `bool is_ready(const Standing&) const`, which says whether to
/// update now and is asked after each event, and with any of the members that the functions below ask for.
template <class T>
concept Rule = std::copyable<T> && requires(const T& rule, const Standing& standing) {
  { rule.is_ready(standing) } -> std::same_as<bool>;
};

/// Whether a report is used whose gain is `staleness` versions old: `rule.admits(staleness)`, else always.
template <Rule T>
bool admits(const T& rule, Index staleness) {
  if constexpr (requires { rule.admits(staleness); }) {
    return rule.admits(staleness);
  } else {
    return true;
  }
}
/// The weight of a report among those of an update, besides that of its data: `rule.weight(staleness)`,
/// else 1.
template <Rule T>
double weight(const T& rule, Index staleness) {
  if constexpr (requires { rule.weight(staleness); }) {
    return rule.weight(staleness);
  } else {
    return 1;
  }
}
/// The factor of the step size where the oldest report of an update is `staleness` versions old:
/// `rule.step_factor(staleness)`, else 1.
template <Rule T>
double step_factor(const T& rule, Index staleness) {
  if constexpr (requires { rule.step_factor(staleness); }) {
    return rule.step_factor(staleness);
  } else {
    return 1;
  }
}
/// The time between updates that a clock triggers: `rule.window()`, else 0, which means none.
template <Rule T>
double window(const T& rule) {
  if constexpr (requires { rule.window(); }) {
    return rule.window();
  } else {
    return 0;
  }
}
/// Whether an agent that has reported goes on at once, at the current gain: `rule.keeps_working()`, else it
/// waits for the next one.
template <Rule T>
bool keeps_working(const T& rule) {
  if constexpr (requires { rule.keeps_working(); }) {
    return rule.keeps_working();
  } else {
    return false;
  }
}
/// An agent at work is restarted when its gain is older than so many versions: `rule.refresh_after()`, else
/// -1, which means never.
template <Rule T>
Index refresh_after(const T& rule) {
  if constexpr (requires { rule.refresh_after(); }) {
    return rule.refresh_after();
  } else {
    return -1;
  }
}
/// Throws `InvalidOption` naming the first field of a rule out of its range: `rule.validate()`, if there is
/// one.
template <Rule T>
void validate(const T& rule) {
  if constexpr (requires { rule.validate(); }) rule.validate();
}

/// Waits for every agent that is present (FedLQR: Wang, Toso, Mitra, Anderson, "Model-free learning with
/// heterogeneous dynamical systems: a federated LQR approach", 2023).
struct Synchronous {
  /// When nobody is at work any more.
  static bool is_ready(const Standing& standing) { return standing.working == 0 && standing.reports > 0; }
};

/// Updates with every `count` reports, whoever they come from (Toso, Wang, Anderson, "Asynchronous
/// heterogeneous linear quadratic regulator design", 2024, algorithm 1; FedBuff: Nguyen et al., AISTATS
/// 2022). With fewer at work than are missing, which would wait for ever, it updates when all have reported.
struct Buffered {
  Index count = 20;  ///< reports of an update, b in the paper

  /// When that many have come, or no more can.
  bool is_ready(const Standing& standing) const {
    return standing.reports >= count || (standing.working == 0 && standing.reports > 0);
  }
  /// @throws InvalidOption.
  void validate() const {
    metalqr::detail::require_option(count >= 1, "count", static_cast<double>(count), "at least 1");
  }
};

/// Updates with every report unless it is too old, and keeps everybody at work (Ringmaster ASGD: Maranjyan,
/// Tyurin, Richtarik, 2025).
struct Ringmaster {
  Index limit = 10;  ///< reports of this staleness and above are dropped

  static bool is_ready(const Standing& standing) { return standing.reports > 0; }  ///< with any report
  bool admits(Index staleness) const { return staleness < limit; }                 ///< below the limit
  static bool keeps_working() { return true; }                                     ///< everybody
  /// @throws InvalidOption.
  void validate() const {
    metalqr::detail::require_option(limit >= 1, "limit", static_cast<double>(limit), "at least 1");
  }
};

/// Updates with `count` reports on the current gain, drops all others and keeps everybody at work (Rennala
/// SGD: Tyurin, Richtarik, NeurIPS 2023).
struct Rennala {
  Index count = 20;  ///< reports of an update

  bool is_ready(const Standing& standing) const { return standing.reports >= count; }  ///< with that many
  static bool admits(Index staleness) { return staleness == 0; }                       ///< the current gain's
  static bool keeps_working() { return true; }                                         ///< everybody
  /// @throws InvalidOption.
  void validate() const {
    metalqr::detail::require_option(count >= 1, "count", static_cast<double>(count), "at least 1");
  }
};

/// Updates at equal intervals with the reports that have come until then.
struct TimeWindow {
  double ticks = 1;  ///< time between updates

  static bool is_ready(const Standing& /*standing*/) { return false; }  ///< by the clock alone
  double window() const { return ticks; }                               ///< that time
  /// @throws InvalidOption.
  void validate() const {
    metalqr::detail::require_option(std::isfinite(ticks) && ticks > 0, "ticks", ticks, "a positive number");
  }
};

/// s(tau) = 1: the constant weight of FedAsync (Xie, Koyejo, Gupta, "Asynchronous federated optimization",
/// 2019).
struct ConstantWeight {
  double operator()(Index /*staleness*/) const { return 1; }  ///< s
  void validate() const {}                                    ///< nothing to check
};

/// s(tau) = (1 + tau)^-exponent: the polynomial weight of FedAsync.
struct PolynomialWeight {
  double exponent = 0.5;  ///< a

  double operator()(Index staleness) const {  ///< s
    return std::pow(1.0 + static_cast<double>(staleness), -exponent);
  }
  /// @throws InvalidOption.
  void validate() const {
    metalqr::detail::require_option(std::isfinite(exponent) && exponent >= 0, "exponent", exponent,
                                    "a number >= 0");
  }
};

/// s(tau) = 1 up to tau = knee, then 1/(slope (tau - knee) + 1): the hinge weight of FedAsync.
struct HingeWeight {
  double slope = 10;  ///< a
  Index knee = 4;     ///< b

  double operator()(Index staleness) const {  ///< s
    return staleness <= knee ? 1 : 1 / (slope * static_cast<double>(staleness - knee) + 1);
  }
  /// @throws InvalidOption.
  void validate() const {
    metalqr::detail::require_option(std::isfinite(slope) && slope >= 0, "slope", slope, "a number >= 0");
    metalqr::detail::require_option(knee >= 0, "knee", static_cast<double>(knee), "a number >= 0");
  }
};

/// A rule whose other members are those of another one.
template <Rule Base>
struct RuleOn {
  Base base{};  ///< the other one

  bool is_ready(const Standing& standing) const { return base.is_ready(standing); }              ///< the same
  bool admits(Index staleness) const { return federated::admits(base, staleness); }              ///< the same
  double weight(Index staleness) const { return federated::weight(base, staleness); }            ///< the same
  double step_factor(Index staleness) const { return federated::step_factor(base, staleness); }  ///< the same
  double window() const { return federated::window(base); }                                      ///< the same
  bool keeps_working() const { return federated::keeps_working(base); }                          ///< the same
  Index refresh_after() const { return federated::refresh_after(base); }                         ///< the same
  void validate() const { federated::validate(base); }                                           ///< the same
};

/// A rule whose reports have weights that fall with their staleness: an update is their weighted mean.
template <Rule Base, class Law>
struct StalenessWeighted : RuleOn<Base> {
  Law law{};  ///< s(tau)

  double weight(Index staleness) const {
    return RuleOn<Base>::weight(staleness) * law(staleness);
  }  ///< times s
  /// @throws InvalidOption.
  void validate() const {
    RuleOn<Base>::validate();
    law.validate();
  }
};

/// A rule whose steps are shorter by s(tau) of the oldest report: with `Buffered{.count = 1}` FedAsync, with
/// `PolynomialWeight{1}` the delay-adaptive step eta/(1 + tau).
template <Rule Base, class Law>
struct StalenessDamped : RuleOn<Base> {
  Law law{};  ///< s(tau)

  /// Times s.
  double step_factor(Index staleness) const { return RuleOn<Base>::step_factor(staleness) * law(staleness); }
  /// @throws InvalidOption.
  void validate() const {
    RuleOn<Base>::validate();
    law.validate();
  }
};

/// A rule that never uses a report older than a bound: an agent that falls behind is given the current gain
/// and starts again, so that its work is lost but not its turn.
template <Rule Base>
struct StalenessBounded : RuleOn<Base> {
  Index bound = 10;  ///< tau_max

  /// Up to the bound.
  bool admits(Index staleness) const { return staleness <= bound && RuleOn<Base>::admits(staleness); }
  Index refresh_after() const { return bound; }  ///< the bound
  /// @throws InvalidOption.
  void validate() const {
    RuleOn<Base>::validate();
    metalqr::detail::require_option(bound >= 0, "bound", static_cast<double>(bound), "a number >= 0");
  }
};

/// The rule with reports weighted by s(tau).
template <Rule Base, class Law>
StalenessWeighted<Base, Law> weighted(const Base& rule, const Law& law) {
  return {{rule}, law};
}
/// The rule with steps damped by s(tau).
template <Rule Base, class Law>
StalenessDamped<Base, Law> damped(const Base& rule, const Law& law) {
  return {{rule}, law};
}
/// The rule with a bound on the staleness.
template <Rule Base>
StalenessBounded<Base> bounded(const Base& rule, Index bound) {
  return {{rule}, bound};
}

}  // namespace metalqr::inline METALQR_ABI::federated
