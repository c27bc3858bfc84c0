#pragma once

/// @file
/// Training as most tests call it: compiled once a file, whatever the observer.

#include <functional>

#include <metalqr/meta/train.hpp>

#include "setting.hpp"

namespace test {

using Info = metalqr::meta::Info<Boeing>;
using Result = metalqr::meta::Result<Boeing>;
using Watch = std::function<void(const Info&)>;

/// On exact costs of the tasks.
inline Result train(
    const BoeingTasks& tasks, const Boeing::Gain& K0, const metalqr::meta::Options& options,
    const Watch& watch = [](const Info&) {}) {
  return metalqr::meta::train(tasks, K0, options, watch);
}

/// With exact derivatives.
inline Result train_with_models(
    const BoeingTasks& tasks, const Boeing::Gain& K0, const metalqr::meta::Options& options,
    const Watch& watch = [](const Info&) {}) {
  return metalqr::meta::train_with_models(tasks, K0, options, watch);
}

}  // namespace test
