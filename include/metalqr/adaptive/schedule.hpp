#pragma once

/// @file
/// When an adaptive controller is designed anew, and how much it explores in between.

#include <algorithm>
#include <cmath>

#include <metalqr/core/error.hpp>
#include <metalqr/core/index.hpp>

namespace metalqr::inline METALQR_ABI::adaptive {

/// How long epochs last.
enum class Epochs {
  linear,       ///< epoch i = 0, 1, ... lasts `first` (i + 1) steps
  exponential,  ///< `first` 2^i steps
  determinant   ///< until the determinant of the regressors' squares has doubled
};

/// When there is a new design, and the exploration until then: independent N(0, sigma_i^2) numbers added to
/// each input, sigma_i = `exploration` g_i^-`decay` with g_i = 2^i for exponential epochs and i + 1 for
/// others. A regret of T^(2/3) is proved for sigma_i^2 ~ T_i^(-1/3) with exponential epochs of length T_i
/// (Dean, Mania, Matni, Recht, Tu, "Regret bounds for robust adaptive control of the linear quadratic
/// regulator", NeurIPS 2018). The defaults are the setting of the experiments there.
struct Schedule {
  Epochs epochs = Epochs::linear;  ///< how long epochs last
  Index first = 10;          ///< steps of the first epoch, of each epoch at least for `determinant`; >= 1
  Index longest = 500;       ///< for `determinant`: steps of each epoch at most, >= `first`
  double exploration = 0.1;  ///< sigma_0, standard deviation, >= 0
  double decay = 1.0 / 3;    ///< of the standard deviation, >= 0
};

/// Epochs of 10 (i + 1) steps, exploration 0.1 (i + 1)^(-1/3).
inline Schedule linear_epochs() {
  return {};
}
/// Epochs of 10 2^i steps, exploration 0.1 2^(-i/6).
inline Schedule exponential_epochs() {
  return {.epochs = Epochs::exponential, .decay = 1.0 / 6};
}
/// A new epoch when the determinant has doubled, after 10 to 500 steps, without exploration: for Thompson
/// sampling and optimism (Abbasi-Yadkori, Szepesvari, COLT 2011; Ouyang, Gagrani, Jain, 2017).
inline Schedule determinant_epochs() {
  return {.epochs = Epochs::determinant, .exploration = 0, .decay = 0};
}

/// @throws InvalidOption, which names the field.
inline void validate(const Schedule& schedule) {
  using metalqr::detail::require_option;
  require_option(schedule.first >= 1, "first", static_cast<double>(schedule.first), "at least 1");
  require_option(schedule.longest >= schedule.first, "longest", static_cast<double>(schedule.longest),
                 "at least `first`");
  require_option(schedule.exploration >= 0 && std::isfinite(schedule.exploration), "exploration",
                 schedule.exploration, "a finite number >= 0");
  require_option(schedule.decay >= 0 && std::isfinite(schedule.decay), "decay", schedule.decay,
                 "a finite number >= 0");
}

namespace detail {

/// g_i, which for long runs is beyond any integer.
inline double epoch_growth(const Schedule& schedule, Index epoch) {
  const auto i = static_cast<double>(epoch);
  return schedule.epochs == Epochs::exponential ? std::exp2(i) : i + 1;
}

}  // namespace detail

/// Steps of epoch i = 0, 1, ...; of `determinant` epochs at most, at least `first`. Never more than 2^60.
inline Index epoch_length(const Schedule& schedule, Index epoch) {
  if (schedule.epochs == Epochs::determinant) return schedule.longest;
  constexpr double most = 0x1p60;
  return static_cast<Index>(
      std::min(static_cast<double>(schedule.first) * detail::epoch_growth(schedule, epoch), most));
}

/// sigma_i, the standard deviation of the exploration in epoch i = 0, 1, ...
inline double exploration_level(const Schedule& schedule, Index epoch) {
  return schedule.exploration * std::pow(detail::epoch_growth(schedule, epoch), -schedule.decay);
}

}  // namespace metalqr::inline METALQR_ABI::adaptive
